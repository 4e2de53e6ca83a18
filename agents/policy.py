"""Whoever plays an episode: an engine, a script, a person."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from proofgym.agents.engine import Completion, Engine, Finish
from proofgym.agents.errors import EngineError
from proofgym.agents.rendering import Conversation, Prompt, Renderer
from proofgym.envs import Opening, Sampling, Turn, derive
from proofgym.verifiers import Message, Task, ToolCall, assistant

UNVERSIONED = -1
"""The version recorded for tokens that no engine drew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One assistant message.

    Args:
        message: what was said; None where there was no room left to say anything.
        turn: its tokens; None for a policy without tokens.
        cut: whether it was cut at a length limit, so that it is not a finished message.
        context_full: whether there was no room left to sample in.
        tokens: how many it took, as told by a server that shows no turn.
        parts: turns of the same message before ``turn``, where a decoder put tokens between them.
    """

    message: Message | None
    turn: Turn | None = None
    cut: bool = False
    context_full: bool = False
    tokens: int = 0
    parts: tuple[Turn, ...] = ()


class Seat(Protocol):
    """A policy's side of one episode."""

    async def act(self, *, max_tokens: int) -> Act:
        """Say the next assistant message, in at most so many tokens."""
        ...

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply."""
        ...


class BranchingSeat(Protocol):
    """A seat whose next message can be drawn several times before one of them is said."""

    async def draw(self, *, max_tokens: int, sample: int) -> Act:
        """Draw a candidate; sample 0 is what ``act`` would say. Nothing is said yet."""
        ...

    def take(self, act: Act) -> None:
        """Say a candidate."""
        ...

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply."""
        ...


class Policy(Protocol):
    """Whoever can play episodes; shared by many episodes at once."""

    def seat(self, opening: Opening, seed: int) -> Seat:
        """Sit down to one episode; all of its sampling derives from the seed."""
        ...


class EnginePolicy:
    """Play with an engine, token for token.

    Args:
        engine: serves the policy.
        renderer: of the same model's chat template.
        sampling: temperature and the most tokens for one message. Stop tokens are the renderer's.
    """

    def __init__(self, engine: Engine, renderer: Renderer, sampling: Sampling) -> None:
        self.engine = engine
        self.renderer = renderer
        self.sampling = sampling

    def seat(self, opening: Opening, seed: int) -> "EngineSeat":
        """Sit down to one episode."""
        conversation = self.renderer.open(opening.messages, opening.tools)
        return EngineSeat(self, conversation, seed)


class EngineSeat:
    """An engine's side of one episode."""

    def __init__(self, policy: EnginePolicy, conversation: Conversation, seed: int) -> None:
        self.policy = policy
        self.conversation = conversation
        self.seed = seed

    async def act(self, *, max_tokens: int) -> Act:
        """Sample the next message."""
        prompt = self.conversation.prompt
        room = self.policy.engine.max_context - len(prompt.ids)
        if room <= 0:
            return Act(message=None, cut=True, context_full=True)
        turn = await self._sampled(prompt, min(max_tokens, room), self.turn_seed(0))
        return _act(turn, self.conversation.said(turn.ids.tolist()), room)

    async def draw(self, *, max_tokens: int, sample: int) -> Act:
        """Sample a candidate for the next message; sample 0 is what ``act`` would say."""
        prompt = self.conversation.prompt
        room = self.policy.engine.max_context - len(prompt.ids)
        if room <= 0:
            return Act(message=None, cut=True, context_full=True)
        turn = await self._sampled(prompt, min(max_tokens, room), self.turn_seed(sample))
        return _act(turn, self.conversation.peek(turn.ids.tolist()), room)

    def take(self, act: Act) -> None:
        """Say a candidate."""
        if act.turn is not None:
            self.conversation.said(act.turn.ids.tolist())

    def turn_seed(self, sample: int) -> int:
        """Return the seed of the next message; further samples of it have seeds of their own."""
        place = ("turn", self.conversation.turn)
        return derive(self.seed, *place) if not sample else derive(self.seed, *place, sample)

    async def _sampled(self, prompt: Prompt, max_tokens: int, seed: int) -> Turn:
        asked = self.policy.sampling
        sampling = Sampling(
            temperature=asked.temperature,
            max_tokens=min(asked.max_tokens, max_tokens),
            stop_ids=self.policy.renderer.stop_ids,
        )
        started = time.perf_counter()
        completion = await self.generate(prompt.ids, sampling, seed)
        return Turn(
            row=prompt.row,
            prompt_ids=prompt.new_ids,
            prompt_source=prompt.new_source,
            ids=completion.ids,
            logprobs=completion.logprobs,
            versions=completion.versions,
            sampling=sampling,
            finish=completion.finish.value,
            seed=seed,
            seconds=time.perf_counter() - started,
        )

    async def generate(self, ids: list[int], sampling: Sampling, seed: int) -> Completion:
        """Ask the engine.

        Raises:
            EngineError: it failed, or the completion was aborted.
        """
        try:
            completion = await self.policy.engine.generate(ids, sampling, seed)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"generate raised {type(error).__name__}: {error}") from error
        if completion.finish is Finish.ABORT:
            raise EngineError(
                f"expected a whole completion, got one aborted after {len(completion.ids)} tokens. "
                "It is no message of the policy's; ask again."
            )
        return completion

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply."""
        self.conversation.heard(messages)


def _act(turn: Turn, message: Message, room: int) -> Act:
    cut = turn.finish != Finish.STOP
    return Act(message=message, turn=turn, cut=cut, context_full=cut and len(turn.ids) == room)


class Scripted:
    """Play a fixed script: an oracle, a demonstrator, a no-op.

    Args:
        play: from the task and the messages so far, what to say next.
        renderer: where given, the messages also become tokens, so that they can be trained on.
    """

    def __init__(
        self,
        play: Callable[[Task, tuple[Message, ...]], Message],
        renderer: Renderer | None = None,
    ) -> None:
        self.play = play
        self.renderer = renderer

    def seat(self, opening: Opening, seed: int) -> "ScriptedSeat":
        """Sit down to one episode."""
        conversation = None
        if self.renderer is not None:
            conversation = self.renderer.open(opening.messages, opening.tools)
        return ScriptedSeat(self, opening, conversation, seed)


class ScriptedSeat:
    """A script's side of one episode."""

    def __init__(
        self, policy: Scripted, opening: Opening, conversation: Conversation | None, seed: int
    ) -> None:
        self.policy = policy
        self.task = opening.task
        self.messages = opening.messages
        self.conversation = conversation
        self.seed = seed

    async def act(self, *, max_tokens: int) -> Act:
        """Say the script's next message."""
        message = self.policy.play(self.task, self.messages)
        self.messages = (*self.messages, message)
        if self.conversation is None:
            return Act(message=message)
        prompt = self.conversation.prompt
        ids = self.conversation.scripted(message)
        turn = Turn(
            row=prompt.row,
            prompt_ids=prompt.new_ids,
            prompt_source=prompt.new_source,
            ids=np.array(ids, dtype=np.int32),
            logprobs=np.zeros(len(ids), dtype=np.float32),
            versions=np.full(len(ids), UNVERSIONED, dtype=np.int32),
            sampling=Sampling(stop_ids=self.conversation.renderer.stop_ids),
            finish=Finish.STOP.value,
            seed=self.seed,
        )
        return Act(message=message, turn=turn)

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply."""
        self.messages = (*self.messages, *messages)
        if self.conversation is not None:
            self.conversation.heard(messages)


class Human:
    """A person: ``ask`` shows what is new and returns what was typed.

    A line that begins with ``/`` calls a tool: ``/calculator {"expression": "2*3"}``. What
    follows the name is the arguments' JSON.
    """

    def __init__(self, ask: Callable[[tuple[Message, ...]], str]) -> None:
        self.ask = ask

    def seat(self, opening: Opening, seed: int) -> "HumanSeat":
        """Sit down to one episode."""
        return HumanSeat(self, opening.messages)


class HumanSeat:
    """A person's side of one episode."""

    def __init__(self, policy: Human, messages: Sequence[Message]) -> None:
        self.policy = policy
        self.new = tuple(messages)
        self.turn = 0

    async def act(self, *, max_tokens: int) -> Act:
        """Ask the person, without blocking other episodes."""
        line = await asyncio.to_thread(self.policy.ask, self.new)
        self.turn += 1
        if not line.startswith("/"):
            return Act(message=assistant(line))
        name, _, arguments = line[1:].partition(" ")
        call = ToolCall(id=f"call-{self.turn}", name=name, arguments=arguments.strip() or "{}")
        return Act(message=assistant("", call))

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply."""
        self.new = tuple(messages)
