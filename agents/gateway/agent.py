"""Play assignments with an agent that knows nothing of us but a base URL."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from proofgym.agents.driver import Assignment
from proofgym.agents.gateway.gateway import Gateway
from proofgym.agents.gateway.session import GatewaySession
from proofgym.envs import Blame, Episode, Fault, Stop
from proofgym.verifiers import ErrorKind, Score, Transcript, Verifier

Agent = Callable[[GatewaySession], Awaitable[float | Score | None]]
"""Plays one task with an OpenAI client at ``session.base_url``. It may return the reward; with a
rubric it returns None."""


class AgentDriver:
    """Play an external agent's episodes through a gateway.

    Args:
        gateway: started.
        agent: the loop.
        rubric: judges the conversation where the agent returns None.
        max_live: episodes at once.
        seconds: for one episode; what it said until then is still judged.
        retries: of an episode that the engine failed.
        env_id: what the episodes say that they were played in.
    """

    def __init__(
        self,
        gateway: Gateway,
        agent: Agent,
        rubric: Verifier | None = None,
        *,
        max_live: int = 256,
        seconds: float = 600.0,
        retries: int = 1,
        env_id: str = "gateway/agent-v0",
    ) -> None:
        self.gateway = gateway
        self.agent = agent
        self.rubric = rubric
        self.max_live = max_live
        self.seconds = seconds
        self.retries = retries
        self.env_id = env_id

    async def run(
        self,
        assignments: Sequence[Assignment],
        on_episode: Callable[[Episode], None] | None = None,
    ) -> list[Episode]:
        """Play all; the result is in their order."""
        slots = asyncio.Semaphore(self.max_live)

        async def one(assignment: Assignment) -> Episode:
            async with slots:
                episode = await self.play(assignment)
            if on_episode is not None:
                on_episode(episode)
            return episode

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(assignment)) for assignment in assignments]
        return [task.result() for task in running]

    async def play(self, assignment: Assignment) -> Episode:
        """Play one, again where the engine failed it. Only cancellation raises."""
        for attempt in range(self.retries + 1):
            session = self.gateway.open(assignment, env_id=self.env_id)
            try:
                episode = await self._play(session)
            finally:
                self.gateway.forget(session)
            if episode.stop is not Stop.INFRA_ERROR or attempt == self.retries:
                return episode
        raise AssertionError("unreachable: the loop returns")

    async def _play(self, session: GatewaySession) -> Episode:
        stop: Stop | None = None
        earned: float | Score | None = None
        try:
            async with asyncio.timeout(self.seconds) as deadline:
                earned = await self.agent(session)
        except Exception as error:  # noqa: BLE001  # task boundary: recorded in the episode
            if isinstance(error, TimeoutError) and deadline.expired():
                stop = Stop.WALL_CLOCK
            elif session.fault is None and session.stop is None:  # the agent's own
                words = f"{type(error).__name__}: {error}"
                fault = Fault(blame=Blame.ENVIRONMENT, phase="agent", message=words)
                unscored = Score.unscored(ErrorKind.CRASHED, f"the agent raised {words}")
                return replace(session.end(unscored, stop=Stop.ENV_ERROR), fault=fault)
        return session.end(await self._score(session, earned), stop=stop)

    async def _score(self, session: GatewaySession, earned: float | Score | None) -> Score:
        if isinstance(earned, Score):
            return earned
        if earned is not None:
            return Score(value=float(earned))
        if self.rubric is None:
            return Score.unscored(
                ErrorKind.CRASHED,
                "the agent returned no reward and there is no rubric. Return one, or give "
                "AgentDriver a rubric.",
            )
        transcript = Transcript(messages=session.messages)
        return await self.rubric.ascore(session.assignment.task, transcript)
