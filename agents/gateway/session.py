"""One external agent's episode: its requests become exact token rows.

A request whose messages extend what a thread of the session has said continues that thread's
exact ids; nothing that the policy sampled is tokenised again. Any other request (a rewritten
history, a sub-agent, the same prompt a second time, other tools) opens a new thread, which is a
new row. Rows of one session never share a sampled token.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proofgym.agents.driver import Assignment
from proofgym.agents.errors import EngineError, RenderError
from proofgym.agents.gateway.config import GatewayConfig
from proofgym.agents.gateway.wire import ChatReply, ChatRequest, WireError, same_all, shown
from proofgym.agents.policy import Act, EnginePolicy, EngineSeat
from proofgym.envs import Blame, Episode, Fault, Opening, Stop, Turn, derive
from proofgym.verifiers import Message, Score


@dataclass(slots=True, eq=False)
class _Thread:
    """One conversation of a session.

    Args:
        seat: holds the exact ids.
        tools: as JSON.
        number: of the thread.
        seen: the messages as the client has them.
        answered: whether the last of them is ours.
        busy: whether a request is under way.
    """

    seat: EngineSeat
    tools: str
    number: int
    seen: tuple[Message, ...]
    answered: bool = False
    busy: bool = False

    def takes(self, request: ChatRequest, tools: str) -> bool:
        """Whether a request continues this conversation."""
        if (
            self.busy
            or tools != self.tools
            or not same_all(self.seen, request.messages[: len(self.seen)])
        ):
            return False
        new = request.messages[len(self.seen) :]
        if not self.answered:  # a request that was never answered is asked again
            return not new
        return bool(new) and not any(one.role == "assistant" for one in new)


@dataclass(slots=True, eq=False)
class GatewaySession:
    """What one agent says and earns.

    Args:
        policy: samples.
        assignment: the task, the seed, the group and the rollout.
        config: how far it may go.
        key: names the session: in its base URL, or as the API key.
        url: of the gateway.
        env_id: what the episode says that it was played in.
    """

    policy: EnginePolicy
    assignment: Assignment
    config: GatewayConfig
    key: str
    url: str
    env_id: str
    turns: list[Turn] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    stop: Stop | None = None
    fault: Fault | None = None
    _threads: list[_Thread] = field(default_factory=list)
    _rows: dict[tuple[int, int], int] = field(default_factory=dict)
    _last: _Thread | None = None

    @property
    def base_url(self) -> str:
        """What to give an OpenAI client as its base URL; any API key then does."""
        return f"{self.url}/sessions/{self.key}/v1"

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation that spoke last, with malformed calls and reasoning as they were."""
        return self._last.seat.conversation.messages if self._last is not None else ()

    def reward(self, amount: float) -> None:
        """Add to what the last completion earned.

        Raises:
            ValueError: there is no completion yet.
        """
        if not self.rewards:
            raise ValueError("expected a completion before its reward, got none.")
        self.rewards[-1] += float(amount)

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Sample the next message of the conversation that the request continues.

        Raises:
            WireError: there is no room, a limit is met, or the engine failed; the episode then
                knows why.
        """
        left = self.config.tokens - sum(len(turn.ids) for turn in self.turns)
        if len(self.turns) >= self.config.turns or left <= 0:
            self.stop = Stop.MAX_TOKENS if left <= 0 else Stop.MAX_TURNS
            raise WireError(400, f"the session has met its limit: {self.stop}.", "session_limit")
        try:
            thread = self._thread_for(request)
        except RenderError as error:
            raise WireError(400, str(error)) from None
        thread.busy = True
        try:
            most = min(left, request.max_tokens or left)
            async with asyncio.timeout(self.config.generate_s):
                act = await thread.seat.act(max_tokens=most)
        except (EngineError, TimeoutError) as error:
            words = f"{type(error).__name__}: {error}"
            self.fault = Fault(blame=Blame.INFRASTRUCTURE, phase="generate", message=words)
            raise WireError(503, f"the engine gave no completion: {words}", "engine") from None
        finally:
            thread.busy = False
        return self._record(thread, act)

    def end(self, score: Score, *, stop: Stop | None = None) -> Episode:
        """Return the episode. Its score is added to the last completion's reward.

        Args:
            score: what it is worth.
            stop: why it ended; None leaves it to the limits that it met, and the score.
        """
        rewards = list(self.rewards)
        if rewards:
            rewards[-1] += score.value or 0.0
        ended = Stop.SOLVED if score.solved else Stop.FINISHED
        if self.fault is not None:
            stop = Stop.INFRA_ERROR
        task = self.assignment.task
        return Episode(
            env_id=self.env_id,
            task_id=task.id,
            group=self.assignment.group,
            rollout=self.assignment.rollout,
            seed=self.assignment.seed,
            messages=self.messages,
            turns=tuple(self.turns),
            rewards=tuple(rewards),
            score=None if self.fault is not None else score,
            stop=stop or self.stop or ended,
            fault=self.fault,
            difficulty=task.difficulty,
        )

    def _thread_for(self, request: ChatRequest) -> _Thread:
        tools = json.dumps(request.tools)
        found = [one for one in self._threads if one.takes(request, tools)]
        if not found:
            return self._open(request.messages, request.tools, tools)
        thread = max(found, key=lambda one: len(one.seen))
        new = request.messages[len(thread.seen) :]
        if new:
            thread.seat.hear(new)
            thread.seen, thread.answered = (*thread.seen, *new), False
        return thread

    def _open(
        self, messages: tuple[Message, ...], tools: Sequence[Mapping[str, Any]], tools_json: str
    ) -> _Thread:
        number = len(self._threads)
        opening = Opening(task=self.assignment.task, messages=messages, tools=tuple(tools))
        seat = self.policy.seat(opening, derive(self.assignment.seed, "thread", number))
        thread = _Thread(seat=seat, tools=tools_json, number=number, seen=messages)
        self._threads.append(thread)
        return thread

    def _record(self, thread: _Thread, act: Act) -> ChatReply:
        if act.message is None or act.turn is None:
            self.stop = Stop.CONTEXT_OVERFLOW
            raise WireError(
                400,
                f"the conversation fills the model's context of {self.policy.engine.max_context} "
                "tokens.",
                "context_length_exceeded",
            )
        self.fault = None  # a retry got over it
        row = self._rows.setdefault((thread.number, act.turn.row), len(self._rows))
        self.turns.append(replace(act.turn, row=row))
        self.rewards.append(0.0)
        message = shown(act.message)
        thread.seen, thread.answered = (*thread.seen, message), True
        self._last = thread
        sampled = len(act.turn.ids)
        return ChatReply(
            id=f"chatcmpl-{self.assignment.seed:x}-{len(self.turns) - 1}",
            message=message,
            cut=act.cut,
            prompt_tokens=thread.seat.conversation.length - sampled,
            completion_tokens=sampled,
        )
