"""Hold a message's thinking to a budget, by tokens that the policy did not choose.

When the thinking reaches ``most`` tokens, its end is forced and the answer is sampled. When the
policy would end it before ``least`` tokens, its end mark is dropped, the text "Wait" is put in its
place, and the thinking goes on. The record stays exact: forced tokens have the source FORCED and
do not train, and every sampled token keeps the logprob that it was drawn with, given what stands
before it. A message that never thinks is sampled as ever (in two pieces, if it is long).

Source: s1, arXiv:2501.19393, section 3.1.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from proofgym.agents.engine import Finish
from proofgym.agents.errors import AgentError
from proofgym.agents.policy import Act, EnginePolicy, EngineSeat
from proofgym.agents.rendering import Prompt
from proofgym.envs import Opening, Sampling, Source, Turn, derive
from proofgym.verifiers import Message

WAIT = "Wait"


class BudgetForcing:
    """A policy whose thinking is held to a budget.

    Args:
        policy: an engine's; the family of its model must mark the end of thinking by a token.
        most: tokens of thinking in one message.
        least: tokens of thinking, where it thinks at all; 0 lets it end when it likes.

    Raises:
        AgentError: the family has no such token, or the budget is impossible.
    """

    def __init__(self, policy: EnginePolicy, *, most: int, least: int = 0) -> None:
        if not 0 <= least <= most or most < 1:
            raise AgentError(
                f"a thinking budget needs 0 <= least <= most and most >= 1, got {least} and {most}."
            )
        renderer = policy.renderer
        style = renderer.parser.style
        close = renderer.mark_id(style.think_close) if style.think_close else None
        if close is None:
            raise AgentError(
                "budget forcing needs a model whose template ends thinking with a token of its "
                f"own; this one (style {style.name!r}) does not. Evaluate it without a budget."
            )
        self.policy = policy
        self.most, self.least = most, least
        self.close = close
        self.opening = renderer.mark_id(style.think_open)
        self.wait = renderer.encode(WAIT)

    def seat(self, opening: Opening, seed: int) -> "BudgetSeat":
        """Sit down to one episode."""
        return BudgetSeat(self, self.policy.seat(opening, seed))


@dataclass(slots=True, eq=False)
class _Draft:
    """A message in the making: its prompt, all ids since, and the turns that they came in.

    ``read`` and ``source`` are what stands before the next turn, and in no turn yet.
    """

    prompt: Prompt
    read: NDArray[np.int32]
    source: NDArray[np.uint8]
    ids: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def force(self, ids: Sequence[int]) -> None:
        self.ids.extend(ids)
        self.read = np.concatenate([self.read, np.array(ids, dtype=np.int32)])
        marks = np.full(len(ids), Source.FORCED, dtype=np.uint8)
        self.source = np.concatenate([self.source, marks])

    def sampled(self, turn: Turn) -> None:
        if len(turn.ids):
            self.ids.extend(turn.ids.tolist())
            self.turns.append(turn)
            self.read, self.source = self.read[:0], self.source[:0]

    @property
    def spent(self) -> int:
        return sum(len(turn.ids) for turn in self.turns)


class BudgetSeat:
    """One episode of it."""

    def __init__(self, forcing: BudgetForcing, inner: EngineSeat) -> None:
        self.forcing = forcing
        self.inner = inner

    async def act(self, *, max_tokens: int) -> Act:
        """Sample the next message, its thinking within the budget."""
        policy, conversation = self.inner.policy, self.inner.conversation
        prompt = conversation.prompt
        room = policy.engine.max_context - len(prompt.ids)
        if room <= 0:
            return Act(message=None, cut=True, context_full=True)
        draft = _Draft(prompt=prompt, read=prompt.new_ids, source=prompt.new_source)
        most = min(policy.sampling.max_tokens, max_tokens)
        finish = await self._think(draft, most, room)
        left = min(most - draft.spent, room - len(draft.ids))
        if finish is None and left > 0:
            turn = await self._sample(draft, left, policy.renderer.stop_ids)
            draft.sampled(turn)
            finish = Finish(turn.finish)
        full = len(draft.ids) >= room
        if not draft.turns:
            return Act(message=None, cut=True, context_full=full)
        *parts, last = draft.turns
        cut = finish is not Finish.STOP
        return Act(
            message=conversation.said(draft.ids),
            turn=last,
            parts=tuple(parts),
            cut=cut,
            context_full=cut and full,
        )

    async def _think(self, draft: _Draft, most: int, room: int) -> Finish | None:
        """Sample until the thinking has ended; return how the message did, if it did."""
        forcing = self.forcing
        stops = (*self.inner.policy.renderer.stop_ids, forcing.close)
        thought = 0
        while True:
            left = min(most - draft.spent, room - len(draft.ids))
            if left <= 0:
                return Finish.LENGTH
            if thought >= forcing.most:
                if self._thinks(draft):
                    draft.force([forcing.close])
                return None
            turn = await self._sample(draft, min(left, forcing.most - thought), stops)
            closed = bool(len(turn.ids)) and int(turn.ids[-1]) == forcing.close
            thought += len(turn.ids) - closed
            if closed and thought < forcing.least:
                draft.sampled(_without_last(turn))
                draft.force(forcing.wait)
                thought += len(forcing.wait)
                continue
            draft.sampled(turn)
            if closed:
                return None
            if turn.finish == Finish.STOP:
                return Finish.STOP

    def _thinks(self, draft: _Draft) -> bool:
        return self.inner.conversation.thinks or self.forcing.opening in draft.ids

    async def _sample(self, draft: _Draft, most: int, stops: tuple[int, ...]) -> Turn:
        inner, asked = self.inner, self.inner.policy.sampling
        sampling = Sampling(temperature=asked.temperature, max_tokens=most, stop_ids=stops)
        seed = inner.turn_seed(0)
        if draft.ids:
            seed = derive(seed, "part", len(draft.ids))
        started = time.perf_counter()
        completion = await inner.generate([*draft.prompt.ids, *draft.ids], sampling, seed)
        return Turn(
            row=draft.prompt.row,
            prompt_ids=draft.read,
            prompt_source=draft.source,
            ids=completion.ids,
            logprobs=completion.logprobs,
            versions=completion.versions,
            sampling=sampling,
            finish=completion.finish.value,
            seed=seed,
            seconds=time.perf_counter() - started,
        )

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply."""
        self.inner.hear(messages)


def _without_last(turn: Turn) -> Turn:
    return replace(
        turn,
        ids=turn.ids[:-1],
        logprobs=turn.logprobs[:-1],
        versions=turn.versions[:-1],
        finish=Finish.LENGTH.value,
    )
