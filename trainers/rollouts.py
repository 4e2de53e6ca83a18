"""Play a stage's batches ahead of the learner, and hand them out in the order of issue.

With staleness k, the batch of step n may begin once n - k steps are trained: so its tokens are at
most k steps old when it trains. Batches, and the groups in them, come out in the order in which
they went in, whichever ended first: a short rollout is not trained on before a long one for being
short, and none waits longer than another.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from proofgym.agents import Assignment
from proofgym.agents.driver import Player
from proofgym.envs import Episode

Draw = Callable[[int, int], list[Assignment]]
"""From a step's number and the round, its assignments: the groups one after the other."""


class LateConfig(BaseModel):
    """Which groups of a batch the learner does not wait for.

    The learner goes on once all but ``fraction`` of a batch's groups have ended. The rest is
    trained on with the first later batch that finds it done, at most ``steps`` steps late, and is
    dropped as stale after that. It saves waiting for stragglers, and is a bias against them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fraction: float = Field(default=0.0, ge=0, lt=1)
    steps: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a step trains on.

    Args:
        episodes: in the order of issue.
        stale: rollouts that came too late, and are given up.
    """

    episodes: Sequence[Episode]
    stale: Sequence[Assignment]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Group:
    """A group in flight, of the batch of a step."""

    step: int
    members: Sequence[Assignment]
    task: "asyncio.Task[list[Episode]]"


class Rollouts:
    """Keep up to ``staleness + 1`` batches in flight.

    Args:
        driver: plays.
        draw: gives each step's assignments.
        first: the first step that needs a batch.
        total: how many steps there are in all.
        staleness: how many steps a batch may begin ahead of its own.
        late: which groups are not waited for.
        on_issue: called with every batch as it begins.
        on_episode: called as each rollout ends.
    """

    def __init__(
        self,
        driver: Player,
        draw: Draw,
        *,
        first: int,
        total: int,
        staleness: int,
        late: LateConfig,
        on_issue: Callable[[int, Sequence[Assignment]], None],
        on_episode: Callable[[Episode], None] | None = None,
    ) -> None:
        self.driver = driver
        self.draw = draw
        self.total = total
        self.staleness = staleness
        self.late = late
        self.on_issue = on_issue
        self.on_episode = on_episode
        self._next = first
        self._slots = asyncio.Semaphore(driver.max_live)
        self._flying: list[_Group] = []

    def issue(self, *, trained: int) -> None:
        """Begin every batch that may begin once so many steps are trained and published."""
        while self._next < min(self.total, trained + self.staleness + 1):
            assignments = self.draw(self._next, 0)
            self.on_issue(self._next, assignments)
            self._begin(self._next, assignments)
            self._next += 1

    def replay(self, step: int, assignments: Sequence[Assignment]) -> None:
        """Begin groups again that a run which was killed had in flight; oldest first."""
        self._begin(step, assignments)

    async def batch(self, step: int) -> Taken:
        """Wait for a step's batch; steps are asked for in order."""
        self.issue(trained=step)
        due = [group for group in self._flying if group.step <= step]
        own = [group for group in due if group.step == step]
        last = step + 1 == self.total  # nothing comes after it that could take late groups
        spare = 0 if last else math.floor(self.late.fraction * len(own))
        await self._until(due if last else own, spare)
        done = [group for group in due if group.task.done()]
        stale = [
            group for group in due if group not in done and step - group.step >= self.late.steps
        ]
        gone = {id(group) for group in (*done, *stale)}
        self._flying = [group for group in self._flying if id(group) not in gone]
        await _cancel(stale)
        episodes = [episode for group in done for episode in group.task.result()]
        return Taken(episodes=episodes, stale=[one for group in stale for one in group.members])

    async def more(self, step: int, extra_round: int, groups: int) -> list[Episode]:
        """Play so many further groups for a step whose batch is not full; rounds count from 1."""
        drawn = self.draw(step, extra_round)
        chosen = list(dict.fromkeys(one.group for one in drawn))[:groups]
        assignments = [one for one in drawn if one.group in chosen]
        self.on_issue(step, assignments)
        return await self._play(assignments)

    async def close(self) -> None:
        """Give up what is in flight."""
        flying, self._flying = self._flying, []
        await _cancel(flying)

    def _begin(self, step: int, assignments: Sequence[Assignment]) -> None:
        by_group: dict[int, list[Assignment]] = {}
        for one in assignments:
            by_group.setdefault(one.group, []).append(one)
        for members in by_group.values():
            task = asyncio.create_task(self._play(members))
            self._flying.append(_Group(step=step, members=members, task=task))

    async def _until(self, groups: Sequence[_Group], spare: int) -> None:
        """Wait until all but so many groups are done."""
        waiting = {group.task for group in groups if not group.task.done()}
        while len(waiting) > spare:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what it raised

    async def _play(self, members: Sequence[Assignment]) -> list[Episode]:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._one(member)) for member in members]
        return [task.result() for task in running]

    async def _one(self, assignment: Assignment) -> Episode:
        async with self._slots:
            episode = await self.driver.play(assignment)
        if self.on_episode is not None:
            self.on_episode(episode)
        return episode


async def _cancel(groups: Sequence[_Group]) -> None:
    for group in groups:
        group.task.cancel()
    await asyncio.gather(*(group.task for group in groups), return_exceptions=True)
