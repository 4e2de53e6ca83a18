"""gymnasium's environments, played in words."""

import gymnasium
import pytest
from gymnasium.spaces import Box

from proofgym.envs import Env, EnvError
from proofgym.envs.adapters.gymnasium_text import gymnasium_environment

WAY = ["down", "down", "right", "right", "down", "right"]


def lake() -> "gymnasium.Env[int, int]":
    return gymnasium.make("FrozenLake-v1", is_slippery=False)


@pytest.fixture(scope="module")
def frozen_lake() -> type[Env]:
    return gymnasium_environment(
        "test/frozen-lake-v0",
        lake,
        prompt="Cross the frozen lake from 0 to 15.",
        show=lambda place: f"You are at {place}.",
        actions=("left", "down", "right", "up"),
        turns=20,
        best=1.0,
        oracle=lambda task: WAY,
    )


def test_the_way_across_pays_what_gymnasium_pays(frozen_lake: type[Env]) -> None:
    env = frozen_lake()
    opening, _ = env.reset(seed=1)
    assert opening == "Cross the frozen lake from 0 to 15.\n\nYou are at 0."
    steps = [env.step(word) for word in WAY]
    assert [step[1] for step in steps] == [0.0] * 5 + [1.0]
    assert [step[2] for step in steps] == [False] * 5 + [True]
    assert steps[0][0] == "You are at 4."


def test_a_word_that_is_no_action_is_answered_and_moves_nothing(frozen_lake: type[Env]) -> None:
    env = frozen_lake()
    env.reset(seed=1)
    for word in ("", "Down", "1", "jump"):
        assert env.step(word)[:3] == ("Say one of: left, down, right, up.", 0.0, False)
    assert env.step(" down ")[0] == "You are at 4."


def test_a_fork_goes_its_own_way(frozen_lake: type[Env]) -> None:
    env = frozen_lake()
    env.reset(seed=1)
    env.step("down")
    (twin,) = env.fork(1)
    assert twin.step("down")[0] == "You are at 8."
    assert env.step("right")[:3] == ("You are at 5.", 0.0, True)


def test_numbers_stand_for_actions_without_words_and_seeds_are_tasks() -> None:
    cls = gymnasium_environment(
        "test/cart-v0", lambda: gymnasium.make("CartPole-v1"), prompt="Balance."
    )
    env = cls()
    assert env.reset(seed=1)[0] != env.reset(seed=2)[0]
    assert env.step("0")[1] == 1.0
    assert env.step("2")[0] == "Say one of: 0, 1."
    assert cls.tasks.task("heldout", 0) != cls.tasks.task("train", 0)


class Steering(gymnasium.Env[int, float]):
    action_space = Box(0, 1)


def test_other_action_spaces_and_wrong_words_are_refused() -> None:
    with pytest.raises(EnvError, match="expected a Discrete or Text action space, got Box"):
        gymnasium_environment("test/steering-v0", Steering, prompt="")
    with pytest.raises(EnvError, match="one word for each action"):
        gymnasium_environment("test/words-v0", lake, prompt="", actions=("left",))
