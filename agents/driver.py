"""Play episodes: many at once, in groups, within limits, with every failure attributed."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from proofgym.agents.errors import EngineError
from proofgym.agents.policy import Act, Policy, Seat
from proofgym.agents.rare_collections import rare_collections
from proofgym.envs import (
    Blame,
    Env,
    Episode,
    Fault,
    InfraError,
    Stop,
    Transition,
    Turn,
)
from proofgym.verifiers import Message, Score, Task

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One episode to play.

    Args:
        task: where it starts.
        seed: what all of its randomness derives from.
        group: rollouts of a group are compared with one another.
        rollout: index within the group.
    """

    task: Task
    seed: int
    group: int = 0
    rollout: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The longest wait for each phase of an episode, in seconds."""

    reset: float = 60.0
    generate: float = 600.0
    step: float = 120.0


class Player(Protocol):
    """Play assignments: :class:`Driver`, or an agent written elsewhere."""

    @property
    def max_live(self) -> int:
        """Episodes in flight at once."""
        ...

    async def play(self, assignment: Assignment) -> Episode:
        """Play one assignment. Only cancellation raises."""
        ...

    async def run(
        self,
        assignments: Sequence[Assignment],
        on_episode: Callable[[Episode], None] | None = None,
    ) -> list[Episode]:
        """Play all; the result is in their order."""
        ...


class PhaseTimeoutError(InfraError):
    """A phase of an episode passed its deadline. A retry is safe."""


class Driver:
    """Play assignments with a policy.

    Args:
        make_env: makes one environment; every episode gets its own, so nothing leaks.
        policy: plays.
        max_live: episodes in flight at once; the rest wait.
        retries: how often an episode that failed by infrastructure is played again.
        deadlines: for each phase.
    """

    def __init__(
        self,
        make_env: Callable[[], Env],
        policy: Policy,
        *,
        max_live: int = 1024,
        retries: int = 1,
        deadlines: Deadlines | None = None,
    ) -> None:
        if max_live < 1:
            raise ValueError(f"max_live must be at least 1, got {max_live}.")
        self.make_env = make_env
        self.policy = policy
        self.max_live = max_live
        self.retries = retries
        self.deadlines = deadlines or Deadlines()

    async def run(
        self,
        assignments: Sequence[Assignment],
        on_episode: Callable[[Episode], None] | None = None,
    ) -> list[Episode]:
        """Play all assignments; the result is in their order, whichever ends first.

        They begin in their order, so a group's members play together and a group ends early.

        Args:
            assignments: what to play.
            on_episode: called as each ends, for live progress.

        Cancelling closes every environment and leaves no task behind.
        """
        episodes: list[Episode | None] = [None] * len(assignments)
        waiting = iter(enumerate(assignments))

        async def play_in_order() -> None:
            for index, assignment in waiting:
                episodes[index] = episode = await self.play(assignment)
                if on_episode is not None:
                    on_episode(episode)

        # one task a live episode, not one an assignment: what waits costs nothing
        with rare_collections():
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(self.max_live, len(assignments))):
                    tasks.create_task(play_in_order())
        return [episode for episode in episodes if episode is not None]

    async def play(self, assignment: Assignment) -> Episode:
        """Play one assignment, again after an infrastructure fault. Only cancellation raises."""
        for attempt in range(self.retries + 1):
            rollout = _Rollout(self, assignment)
            episode = await rollout.play()
            fault = episode.fault
            if fault is None or fault.blame is not Blame.INFRASTRUCTURE or attempt == self.retries:
                return episode
        raise AssertionError("unreachable: the loop returns")


@dataclass(slots=True)
class _Record:
    """What an episode has gathered so far."""

    messages: list[Message] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    tokens: int = 0


class _Rollout:
    """One attempt at one assignment."""

    def __init__(self, driver: Driver, assignment: Assignment) -> None:
        self.driver = driver
        self.assignment = assignment
        self.record = _Record()
        self.started = time.perf_counter()
        self.phase = "make"
        self.env: Env | None = None

    async def play(self) -> Episode:
        try:
            return await self._play()
        except (InfraError, EngineError) as error:
            return self._failed(Blame.INFRASTRUCTURE, Stop.INFRA_ERROR, error)
        except Exception as error:  # noqa: BLE001  # task boundary: recorded in the episode
            return self._failed(Blame.ENVIRONMENT, Stop.ENV_ERROR, error)
        finally:
            if self.env is not None:
                self._close(self.env)

    async def _play(self) -> Episode:
        env, wait = self.driver.make_env(), self.driver.deadlines
        self.env = env
        task, seed = self.assignment.task, self.assignment.seed
        opening = await self._within("reset", wait.reset, env.areset(task=task, seed=seed))
        self.record.messages.extend(opening.messages)
        self.phase = "render"
        seat = self.driver.policy.seat(opening, seed)
        while True:
            transition = await self._turn(env, seat)
            self.record.messages.extend(transition.messages)
            if transition.stop is not None:
                return self._ended(transition.score, transition.stop, transition.fault)
            self.phase = "render"
            seat.hear(transition.messages)

    async def _turn(self, env: Env, seat: Seat) -> Transition:
        act, wait, rewards = await self._act(env, seat), self.driver.deadlines, self.record.rewards
        if act.message is None:  # no room to speak: what is earned now belongs to the last turn
            stop = Stop.CONTEXT_OVERFLOW if act.context_full else Stop.MAX_TOKENS
            transition = await self._within("step", wait.step, env.aend(stop))
            if rewards:
                rewards[-1] = transition.reward
            return transition
        self.record.messages.append(act.message)
        self.record.tokens += act.tokens
        if act.turn is not None:
            sampled = (*act.parts, act.turn)
            self.record.turns.extend(sampled)
            self.record.tokens += sum(len(turn.ids) for turn in sampled)
            rewards.extend([0.0] * len(act.parts))  # the step's reward stands on the last
        limit = self._stopped(env, act.message, act)
        step = env.astep(act.message) if limit is None else env.aend(limit, act.message)
        transition = await self._within("step", wait.step, step)
        rewards.append(transition.reward)
        return transition

    async def _act(self, env: Env, seat: Seat) -> Act:
        left = env.limits.tokens - self.record.tokens
        if left <= 0:
            return Act(message=None, cut=True)
        work = seat.act(max_tokens=left)
        return await self._within("generate", self.driver.deadlines.generate, work)

    def _stopped(self, env: Env, message: Message, act: Act) -> Stop | None:
        """Say which limit the policy's last message ran into, if any."""
        if act.context_full:
            return Stop.CONTEXT_OVERFLOW
        if act.cut:
            return Stop.MAX_TOKENS
        if message.tool_calls and self.record.tokens >= env.limits.tokens:
            return Stop.MAX_TOKENS
        if time.perf_counter() - self.started > env.limits.seconds:
            return Stop.WALL_CLOCK
        return None

    async def _within(self, phase: str, seconds: float, work: Awaitable[T]) -> T:
        self.phase = phase
        try:
            async with asyncio.timeout(seconds) as deadline:
                return await work
        except TimeoutError:
            if not deadline.expired():
                raise  # the work's own: a socket's, say
            raise PhaseTimeoutError(
                f"phase {phase!r} of episode {self.assignment.task.id}#{self.assignment.rollout} "
                f"must end within {seconds:g} s, and did not."
            ) from None

    def _close(self, env: Env) -> None:
        try:
            env.close()
        except Exception:  # task boundary: the episode is whole, and others are in flight
            logger.exception("%s: close() raised after an episode; it goes on", env.id)

    def _failed(self, blame: Blame, stop: Stop, error: Exception) -> Episode:
        fault = Fault(blame=blame, phase=self.phase, message=f"{type(error).__name__}: {error}")
        return self._ended(None, stop, fault)

    def _ended(self, score: Score | None, stop: Stop, fault: Fault | None) -> Episode:
        task = self.assignment.task
        return Episode(
            env_id=self.env.id if self.env is not None else "",
            task_id=task.id,
            group=self.assignment.group,
            rollout=self.assignment.rollout,
            seed=self.assignment.seed,
            messages=tuple(self.record.messages),
            turns=tuple(self.record.turns),
            rewards=tuple(self.record.rewards),
            score=score,
            stop=stop,
            fault=fault,
            difficulty=task.difficulty,
            seconds=time.perf_counter() - self.started,
        )
