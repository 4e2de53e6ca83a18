"""Conformance to gymnasium."""

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit

from proofgym.envs import AnyText, Env, EnvError, list_envs, listed
from proofgym.envs.bundled import BUNDLED
from proofgym.verifiers import Task, exact

ACTIONS = ("12", "<tool_call>{}</tool_call>")
ONE_OF_EACH_FAMILY = {id.partition("/")[0]: id for id in BUNDLED}.values()
QUICK_FIRST = [
    pytest.param(id, marks=[] if id in ONE_OF_EACH_FAMILY else pytest.mark.slow) for id in BUNDLED
]
"""All of them, of which the quick tests take one of each family: each starts four processes."""


@pytest.mark.parametrize("id", BUNDLED)
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_bundled_environment_passes_check_env_without_a_warning(
    id: str, wrapped: bool
) -> None:
    env = gymnasium.make(id)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        if wrapped:
            env.reset(seed=1)
            env.step("12")


@pytest.mark.parametrize("id", QUICK_FIRST)
def test_every_bundled_environment_is_vectorised_the_same_in_and_out_of_process(id: str) -> None:
    seen: list[Any] = []
    for mode, kwargs in (
        ("sync", {}),
        ("async", {"shared_memory": True}),
        ("async", {"shared_memory": False}),
    ):
        envs = gymnasium.make_vec(id, num_envs=2, vectorization_mode=mode, vector_kwargs=kwargs)
        try:
            observations, _ = envs.reset(seed=5)
            texts, rewards = [tuple(observations)], []
            for _ in range(4):
                observations, reward, *_ = envs.step(ACTIONS)
                texts.append(tuple(observations))
                rewards.append(reward.tolist())
            seen.append((texts, rewards))
        finally:
            envs.close()
    assert seen[0] == seen[1] == seen[2]
    assert any(seen[0][0][0])


@pytest.mark.parametrize("id", BUNDLED)
def test_the_same_seed_gives_the_same_episodes(id: str) -> None:
    first, second = gymnasium.make(id), gymnasium.make(id)
    assert first.reset(seed=3) == second.reset(seed=3)
    for action in ACTIONS[:1]:
        assert first.step(action) == second.step(action)
    assert first.reset()[0] == second.reset()[0]


def test_gymnasiums_wrappers_work() -> None:
    env = TimeLimit(RecordEpisodeStatistics(gymnasium.make("games/guess-number-v0")), 2)
    env.reset(seed=1)
    env.step("zero")
    _, _, terminated, truncated, _ = env.step("zero")
    assert (terminated, truncated) == (False, True)


@pytest.mark.parametrize(
    "program",
    [
        "import proofgym, gymnasium",
        "import gymnasium, proofgym",
        pytest.param("import gymnasium, proofgym.envs", marks=pytest.mark.slow),
        pytest.param(
            "import proofgym; from gymnasium.utils import seeding; import gymnasium",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_importing_proofgym_is_enough_in_any_order(program: str) -> None:
    code = f"{program}; print(gymnasium.make('tools/calculator-v0').reset(seed=1)[0])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_listing_and_registering_import_no_bundled_environment() -> None:
    code = (
        "import sys, proofgym.envs as e; e.list_envs();"
        "print([m for m in sys.modules if m.startswith('proofgym.envs.library.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(BUNDLED) <= {entry.id for entry in list_envs()}


def test_ansi_rendering_shows_the_conversation() -> None:
    env = gymnasium.make("tools/calculator-v0", render_mode="ansi")
    prompt, _ = env.reset(seed=1)
    env.step("12")
    assert env.render() == f"[user] {prompt}\n[assistant] 12"


class TestAnyText:
    """The space of texts."""

    def test_it_holds_every_text_and_nothing_else(self) -> None:
        space = AnyText()
        assert "" in space
        assert "😀\x00\ud800" + "x" * 10**6 in space
        assert 3 not in space
        assert all(space.sample() in space for _ in range(20))
        assert AnyText(seed=3).sample() == AnyText(seed=3).sample()

    @pytest.mark.parametrize("text", ["", "a\x00b", "😀é\ud800", "x" * 64])
    def test_it_flattens_and_back(self, text: str) -> None:
        space = AnyText(64)
        flat = gymnasium.spaces.flatten(space, text)
        assert flat in gymnasium.spaces.flatten_space(space)
        assert gymnasium.spaces.unflatten(space, flat) == text

    def test_a_text_that_does_not_fit_raises_instead_of_being_cut(self) -> None:
        with pytest.raises(EnvError, match=r"at most 64 characters, got 65.*shared_memory"):
            gymnasium.spaces.flatten(AnyText(64), "x" * 65)

    def test_two_of_them_are_equal(self) -> None:
        assert AnyText() == AnyText()
        assert AnyText() != AnyText(64)
        assert AnyText() != gymnasium.spaces.Text(5)


def test_a_local_class_is_made_by_its_id() -> None:
    class Local(Env, id="test/local-v0"):
        tasks = listed([Task(id="1", prompt="p")], heldout=0.0)
        rubric = exact()

    assert isinstance(gymnasium.make("test/local-v0").unwrapped, Local)
