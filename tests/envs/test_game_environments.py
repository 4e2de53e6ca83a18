"""Grid world, Wordle, tic-tac-toe and cart-pole."""

import asyncio
import itertools
import math

import gymnasium
import numpy as np
import pytest

from proofgym.envs import environment_class, make
from proofgym.envs.audit.play import play
from proofgym.envs.library.games import cart_pole, tic_tac_toe
from proofgym.envs.library.games.grid_world import shortest
from proofgym.envs.library.games.wordle import WORDS, signs
from proofgym.verifiers import Secret, Task


@pytest.mark.parametrize(
    ("guess", "word", "expected"),
    [
        ("crane", "crane", "GGGGG"),
        ("speed", "abide", "--Y-Y"),
        ("speed", "erase", "Y-YY-"),
        ("speed", "steal", "G-G--"),
        ("allow", "loyal", "YYYY-"),
        ("geese", "those", "---GG"),
    ],
)
def test_wordle_marks_a_letter_as_often_as_the_word_has_it(
    guess: str, word: str, expected: str
) -> None:
    assert signs(guess, word) == expected


def test_wordle_charges_for_words_that_are_ruled_out() -> None:
    env = make("games/wordle-v0")
    env.reset(seed=1, options={"task": Task(id="w", prompt="p", answer=Secret("steam"))})
    told = [env.step(word)[:2] for word in ("speed", "speed", "xxxxx", "steel", "sweat")]
    assert told == [
        ("G-G--", 0.0),
        ("G-G--", -0.05),
        ("say one common word of five letters", -0.05),
        ("GGG--", -0.05),  # with it, speed would have got another G
        ("say one common word of five letters", -0.05),
    ]
    assert env.step("STEAM ")[1:3] == (1.0, True)


def test_eliminating_finds_most_words_in_six_turns() -> None:
    cls = environment_class("games/wordle-v0")
    tasks = [cls.tasks.task("train", index) for index in range(25)]
    voice = cls.demonstrator("eliminate")
    solved = [asyncio.run(play(cls(), task, voice)).solved for task in tasks]
    assert sum(map(bool, solved)) >= 20
    assert len(WORDS) > 400


def test_a_maze_pays_for_its_shortest_way_and_no_more() -> None:
    env = make("games/grid-world-v0")
    rows = ["..#", ".#.", "..."]
    data = {"rows": rows, "start": [0, 0], "goal": [2, 2], "shortest": 4}
    env.reset(seed=1, options={"task": Task(id="m", prompt="p", data=data)})
    replies = [env.step(word)[0] for word in ("left", "down", "jump", "right", "down", "right")]
    assert replies == [
        "a wall is in the way",
        "..#\n@#.\n..G",
        "say up, down, left or right",
        "a wall is in the way",
        "..#\n.#.\n@.G",
        "..#\n.#.\n.@G",
    ]
    observation, reward, terminated, _, info = env.step("right")
    assert (observation, terminated, info["solved"]) == ("you are there", True, True)
    assert reward == pytest.approx(0.99)
    assert info["score"] == pytest.approx(1 - 0.07)


def test_the_shortest_way_is_as_long_as_relaxing_all_cells_says() -> None:
    source = environment_class("games/grid-world-v0").tasks
    for index in range(30):
        data = source.task("train", index).data
        rows, size = data["rows"], len(data["rows"])
        far = dict.fromkeys(itertools.product(range(size), repeat=2), math.inf)
        far[tuple(data["start"])] = 0
        for _ in range(size * size):
            for (r, c), (dr, dc) in itertools.product(far, ((0, 1), (1, 0), (0, -1), (-1, 0))):
                if rows[r][c] != "#":
                    far[r, c] = min(far[r, c], far.get((r + dr, c + dc), math.inf) + 1)
        assert far[tuple(data["goal"])] == data["shortest"]
        start, goal = tuple(data["start"]), tuple(data["goal"])
        assert len(shortest(rows, start, goal) or ()) == data["shortest"]


@pytest.mark.parametrize(
    ("board", "answered"),
    [
        ("OO.XX....", "OOOXX...."),  # it wins
        ("XX.O.....", "XXOO....."),  # it prevents
        (".........", "........O"),  # it takes what it likes
        ("X........", "X.......O"),
    ],
)
def test_the_opponent_wins_else_prevents_else_does_as_it_likes(board: str, answered: str) -> None:
    assert tic_tac_toe.reply(board, "876543210") == answered


def test_tic_tac_toe_is_solved_exactly() -> None:
    def most(board: str, likes: str) -> float:
        """Try all of X's moves, without the product's own search."""
        found = []
        for place in [p for p in range(9) if board[p] == "."]:
            after = board[:place] + "X" + board[place + 1 :]
            if tic_tac_toe.won(after, "X"):
                return 1.0
            if "." not in after:
                found.append(0.5)
                continue
            after = tic_tac_toe.reply(after, likes)
            lost = tic_tac_toe.won(after, "O")
            found.append(0.0 if lost else most(after, likes) if "." in after else 0.5)
        return max(found)

    cls = environment_class("games/tic-tac-toe-v0")
    for index in range(6):
        task = cls.tasks.task("train", index)
        assert cls.bounds(task).best == most(task.data["board"], task.hidden["likes"].reveal())


def test_tic_tac_toe_ends_with_a_loss_and_charges_illegal_moves() -> None:
    env = make("games/tic-tac-toe-v0")
    task = Task(
        id="t",
        prompt="p",
        hidden={"likes": Secret("048123567")},
        data={"board": "........."},
    )
    env.reset(seed=1, options={"task": task})
    assert env.step("0")[:2] == ("say the number of a free square", -0.1)
    assert env.step("2")[0] == "O X 3\n4 5 6\n7 8 9"
    assert env.step("1")[1] == -0.1
    assert env.step("3")[0] == "O X X\n4 O 6\n7 8 9"
    observation, reward, terminated, _, info = env.step("4")
    assert (observation, reward, terminated) == ("O X X\nX O 6\n7 8 O\nyou lose", 0.0, True)
    assert info["solved"] is False


def test_cart_pole_moves_as_gymnasiums_does() -> None:
    theirs = gymnasium.make("CartPole-v1").unwrapped
    theirs.reset(seed=1)
    rng = np.random.default_rng(0)
    state = tuple(float(x) for x in rng.uniform(-0.05, 0.05, 4))
    theirs.state = state  # type: ignore[attr-defined]  # its own attribute
    for push in (0, 1, 1, 0) * 3:
        theirs.step(int(push))
        state = cart_pole.pushed(state, cart_pole.FORCE if push else -cart_pole.FORCE)
        assert state == pytest.approx(tuple(theirs.state), abs=1e-12)  # type: ignore[attr-defined]


def test_a_falling_pole_ends_the_episode_with_what_it_was_paid() -> None:
    env = make("games/cart-pole-v0")
    env.reset(seed=2)
    rewards, terminated = [], False
    while not terminated:
        _, reward, terminated, _, info = env.step("left")
        rewards.append(reward)
    assert set(rewards) == {1.0}
    assert 5 < len(rewards) < 15
    assert (info["solved"], info["score"]) == (False, float(len(rewards)))
