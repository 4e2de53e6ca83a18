"""TextArena's games for one player: side by side, repeatable, copied, and won."""

import importlib.util
import random
import subprocess
import sys

import numpy as np
import pytest

from proofgym.envs import Env, EnvError, environment_class, make
from proofgym.envs.adapters import textarena as adapter

installed = pytest.mark.skipif(
    importlib.util.find_spec("textarena") is None, reason="needs pip install 'proofgym[textarena]'"
)
MOVES = ("nonsense", "[1 2]", "[up]", "[left]", "[3]", "[1 2 3]")


def conversation(env: Env, seed: int, moves: tuple[str, ...] = MOVES) -> list[object]:
    """Play some moves, and keep all that came."""
    seen: list[object] = [env.reset(seed=seed)[0]]
    for move in moves:
        told, reward, terminated, truncated, _ = env.step(move)
        seen.append((told, reward))
        if terminated or truncated:
            break
    return seen


@pytest.mark.parametrize(
    ("game", "id"),
    [
        ("2048-v0-super-easy", "textarena/2048-super-easy-v0"),
        ("TowerOfHanoi-v0", "textarena/tower-of-hanoi-v0"),
        ("Mastermind-v0-hard", "textarena/mastermind-hard-v0"),
    ],
)
def test_an_environment_is_found_by_its_id(game: str, id: str) -> None:
    assert adapter.environment_id(game) == id
    assert environment_class(id) is adapter.ENVIRONMENTS[game]
    assert len({cls.id for cls in adapter.ENVIRONMENTS.values()}) == len(adapter.ENVIRONMENTS)


def test_naming_an_environment_imports_nothing_of_textarena() -> None:
    program = "import proofgym as pg, sys; pg.make('textarena/set-v0'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "textarena" not in done.stdout.split()


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "textarena", None)
    with pytest.raises(EnvError, match=r"pip install 'proofgym\[textarena\]'"):
        make("textarena/set-v0").reset(seed=1)


@installed
def test_a_game_that_cannot_be_played_alone_says_why() -> None:
    nim = adapter.textarena_environment("test/nim-v0", "Nim-v0")
    with pytest.raises(EnvError, match="expected TextArena to start Nim-v0 for one player, got"):
        nim().reset(seed=1)


@installed
@pytest.mark.slow
@pytest.mark.parametrize("game", adapter.ENVIRONMENTS)
def test_a_game_repeats_itself_whatever_is_drawn_elsewhere(game: str) -> None:
    env = adapter.ENVIRONMENTS[game]()
    random.seed(5)
    first = conversation(env, seed=3)
    drawn = random.random(), np.random.random()
    assert conversation(adapter.ENVIRONMENTS[game](), seed=3) == first
    random.seed(5)
    assert drawn[0] == random.random()  # the game has drawn nothing from ours
    assert len(str(first[0])) > 50


@installed
def test_games_side_by_side_do_not_disturb_one_another() -> None:
    cls = environment_class("textarena/2048-v0")
    moves = ("[Up]", "[Left]", "[Down]", "[Right]") * 5
    alone = [conversation(cls(), seed, moves) for seed in (1, 2)]
    envs = [cls(), cls()]
    beside = [[env.reset(seed=seed)[0]] for env, seed in zip(envs, (1, 2), strict=True)]
    for move in moves:
        for env, seen in zip(envs, beside, strict=True):
            if len(seen) < len(alone[envs.index(env)]):
                seen.append(env.step(move)[:2])
    assert beside == alone


@installed
def test_a_copy_goes_on_as_the_game_would_have() -> None:
    env = environment_class("textarena/2048-v0")()
    conversation(env, seed=4, moves=("[Up]", "[Left]"))
    kept = env.snapshot()
    moves = ("[Down]", "[Right]", "[Up]", "[Left]")
    first = [env.step(move)[:2] for move in moves]
    env.restore(kept)
    assert [env.step(move)[:2] for move in moves] == first


@installed
def test_a_text_that_would_hang_a_games_pattern_is_cut_to_its_end() -> None:
    env = make("textarena/bandit-v0")
    env.reset(seed=1)
    told = env.step("[" * 1_000_000 + "blue")[0]  # r"\[(.*)\]" would take hours
    assert "invalid move" in told
    env.reset(seed=1)
    assert "invalid" not in env.step("x" * 1_000_000 + "[blue]")[0]


@installed
def test_a_win_is_solved_and_a_lost_game_ends_with_what_the_game_pays() -> None:
    env = make("textarena/guess-the-number-v0")
    env.reset(seed=2)
    low, high = 1, 20
    for _ in range(8):
        guess = (low + high) // 2
        told, reward, over, _, info = env.step(f"[{guess}]")
        if over:
            break
        low, high = (guess + 1, high) if "higher" in told else (low, guess - 1)
    assert (reward, over, info["solved"]) == (1.0, True, True)
    assert "Congratulations" in told

    env.reset(seed=2)
    outcomes = [env.step("no number") for _ in range(2)]
    assert [outcome[2] for outcome in outcomes] == [False, True]
    assert outcomes[-1][1] < 1
    assert outcomes[-1][4]["solved"] is False
