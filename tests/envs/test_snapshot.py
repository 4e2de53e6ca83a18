"""Snapshots, forks and replays."""

import asyncio
from typing import Any

import pytest

from proofgym.envs import Env, EnvError, Session, listed, make, tool
from proofgym.verifiers import Secret, Task, assistant, tool_call

TASK = Task(id="d", prompt="roll", answer=Secret("x"))


class Dice(Env):
    tasks = listed([TASK], heldout=0.0)

    def start(self, episode: Session) -> None:
        episode.state["rolls"] = []
        self.cup = episode.state["rolls"]  # shared with the state, and must stay so in a copy

    @tool
    def roll(self, episode: Session) -> str:
        """Roll."""
        self.cup.append(int(episode.rng.integers(10**9)))
        episode.reward(1.0)
        return str(episode.state["rolls"])


ROLL = assistant("", tool_call("roll"))


def started(rolls: int = 0, seed: int = 1) -> Dice:
    env = Dice()
    asyncio.run(env.areset(TASK, seed=seed))
    for _ in range(rolls):
        env.step(ROLL)
    return env


def test_a_restored_episode_goes_on_as_the_first_time() -> None:
    env = started(rolls=2)
    snapshot = env.snapshot()
    first = [env.step(ROLL) for _ in range(3)]
    for _ in range(2):
        env.restore(snapshot)
        assert [env.step(ROLL) for _ in range(3)] == first
    other = started(seed=9)
    other.restore(snapshot)
    assert [other.step(ROLL) for _ in range(3)] == first


def test_forks_go_on_alike_and_apart() -> None:
    env = started(rolls=1)
    one, two = env.fork(2)
    assert one.step(ROLL) == two.step(ROLL)
    two.step(ROLL)
    assert [len(e.episode.state["rolls"]) for e in (env, one, two)] == [1, 2, 3]
    assert [e.episode.rewards for e in (env, one)] == [[1.0], [1.0, 1.0]]
    assert len({id(e.action_space) for e in (env, one, two)}) == 3


def test_a_snapshot_survives_the_end_and_a_reset() -> None:
    env = started(rolls=1)
    snapshot = env.snapshot()
    assert env.step("done")[2]
    env.reset(seed=3)
    env.restore(snapshot)
    assert env.step(ROLL)[2] is False


def test_a_snapshot_of_another_class_is_refused() -> None:
    with pytest.raises(EnvError, match="a snapshot of Calculator, got one of Dice"):
        make("tools/calculator-v0").restore(started().snapshot())


def test_randomness_comes_from_task_and_seed_alone() -> None:
    def rolls(seed: int, task: Task = TASK) -> Any:
        env = Dice()
        asyncio.run(env.areset(task, seed=seed))
        return env.step(ROLL)[0]

    assert rolls(1) == rolls(1)
    assert len({rolls(1), rolls(2), rolls(1, Task(id="e", prompt="roll"))}) == 3
