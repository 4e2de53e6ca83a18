"""When batches begin, in which order they come out, and what is given up; on a fake driver."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from proofgym.agents import Assignment
from proofgym.envs import Episode, Stop
from proofgym.trainers.rollouts import LateConfig, Rollouts
from proofgym.trainers.run_config import RlConfig
from proofgym.verifiers import Task

GROUPS, SIZE = 4, 2


class Gated:
    """Plays an assignment when its group's gate is open."""

    max_live = 100

    def __init__(self) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.began: list[int] = []
        self.cancelled: list[int] = []

    def gate(self, group: int) -> asyncio.Event:
        return self.gates.setdefault(group, asyncio.Event())

    def open(self, *groups: int) -> None:
        for group in groups:
            self.gate(group).set()

    async def play(self, assignment: Assignment) -> Episode:
        self.began.append(assignment.group)
        try:
            await self.gate(assignment.group).wait()
        except asyncio.CancelledError:
            self.cancelled.append(assignment.group)
            raise
        return Episode(
            env_id="e", task_id="t", group=assignment.group, rollout=assignment.rollout, seed=0,
            messages=(), turns=(), rewards=(), score=None, stop=Stop.FINISHED,
        )  # fmt: skip


def draw(step: int, extra_round: int) -> list[Assignment]:
    first = (100 * extra_round + step) * GROUPS
    return [
        Assignment(task=Task(id="t", prompt="p"), seed=0, group=first + g, rollout=r)
        for g in range(GROUPS)
        for r in range(SIZE)
    ]


def made(driver: Gated, *, staleness: int, total: int = 9, **late: Any) -> Rollouts:
    stand_in: Any = driver
    return Rollouts(
        stand_in,
        draw,
        first=0,
        total=total,
        staleness=staleness,
        late=LateConfig(**late),
        on_issue=lambda step, assignments: None,
    )


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), timeout=20)

    asyncio.run(bounded())


def groups(episodes: Sequence[Episode]) -> list[int]:
    return list(dict.fromkeys(episode.group for episode in episodes))


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


@pytest.mark.parametrize("staleness", [0, 1, 4])
def test_no_batch_begins_further_ahead_than_the_staleness_allows(staleness: int) -> None:
    async def work() -> None:
        driver = Gated()
        rollouts = made(driver, staleness=staleness)
        for step in range(3):
            driver.open(*range(step * GROUPS, (step + 1) * GROUPS))
            await rollouts.batch(step)
            assert max(driver.began) == (step + staleness + 1) * GROUPS - 1
        await rollouts.close()

    run(work)


def test_groups_come_out_in_the_order_of_issue_whichever_ends_first() -> None:
    async def work() -> None:
        driver = Gated()
        rollouts = made(driver, staleness=1)
        waiting = asyncio.create_task(rollouts.batch(0))
        await settle()
        driver.open(7, 6, 5, 4, 3, 2, 1)  # the next batch is done, and most of this one
        await settle()
        assert not waiting.done()
        driver.open(0)
        taken = await waiting
        assert groups(taken.episodes) == [0, 1, 2, 3]
        assert [episode.rollout for episode in taken.episodes[:SIZE]] == [0, 1]
        assert groups((await rollouts.batch(1)).episodes) == [4, 5, 6, 7]
        await rollouts.close()

    run(work)


def test_late_groups_join_a_later_batch_or_are_dropped_as_stale() -> None:
    async def work() -> None:
        driver = Gated()
        rollouts = made(driver, staleness=1, fraction=0.5, steps=1)
        driver.open(0, 1, 4, 5, 6, 7)
        first = await rollouts.batch(0)
        assert (groups(first.episodes), first.stale) == ([0, 1], [])
        driver.open(2)
        await settle()
        second = await rollouts.batch(1)
        assert groups(second.episodes) == [2, 4, 5, 6, 7]
        assert [(one.group, one.rollout) for one in second.stale] == [(3, 0), (3, 1)]
        assert driver.cancelled == [3, 3]
        await rollouts.close()

    run(work)


def test_the_last_step_waits_for_all_that_can_still_be_trained_on() -> None:
    async def work() -> None:
        driver = Gated()
        rollouts = made(driver, staleness=1, total=2, fraction=0.5, steps=3)
        driver.open(0, 1)
        await rollouts.batch(0)
        waiting = asyncio.create_task(rollouts.batch(1))
        await settle()
        assert not waiting.done()
        driver.open(*range(8))
        assert groups((await waiting).episodes) == [2, 3, 4, 5, 6, 7]

    run(work)


def test_closing_gives_up_what_is_in_flight() -> None:
    async def work() -> None:
        driver = Gated()
        rollouts = made(driver, staleness=2)
        driver.open(0, 1, 2, 3)
        await rollouts.batch(0)
        await rollouts.close()
        assert sorted(set(driver.cancelled)) == [*range(4, 12)]

    run(work)


def test_late_groups_need_staleness() -> None:
    raw = {"kind": "rl", "steps": 4, "optimizer": {"lr": 1e-2}, "late": {"fraction": 0.1}}
    RlConfig.model_validate({**raw, "staleness": 1})
    with pytest.raises(ValueError, match="staleness of at least 1"):
        RlConfig.model_validate(raw)


def test_more_groups_are_played_for_a_step_that_is_short_of_them() -> None:
    async def work() -> None:
        driver = Gated()
        rollouts = made(driver, staleness=0)
        driver.open(*range(4), *range(400, 404))
        await rollouts.batch(0)
        assert groups(await rollouts.more(0, 1, 3)) == [400, 401, 402]
        assert set(driver.began) == {0, 1, 2, 3, 400, 401, 402}

    run(work)
