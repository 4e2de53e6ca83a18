"""Draw several candidates for each message, and say one of them.

The one that is said keeps its exact tokens and logprobs; the others never enter the conversation.
They count as computation (:attr:`Choosing.sampled_tokens`), and not towards an episode's limit.
"""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from proofgym.agents.errors import AgentError
from proofgym.agents.policy import Act, BranchingSeat
from proofgym.envs import Opening
from proofgym.verifiers import Message
from proofgym.verifiers.math.extraction import extract

Candidates = Sequence[Act]
"""Of one message, in the order of their samples. Each has a message."""

Chooser = Callable[[Candidates], int | Awaitable[int]]
"""Picks a candidate by its index. A reward model or a judge is one; the environment's own rubric
must not be, for it knows the answer: that is pass@n, not best of n."""


def most_likely(candidates: Candidates) -> int:
    """Pick the highest mean log-probability a token; the first of equals.

    A candidate that was cut at its length is picked only where all were. Source: length-normalised
    likelihood, as in arXiv:1609.08144 section 7 with alpha = 1.

    Raises:
        AgentError: a candidate has no log-probabilities.
    """
    return max(range(len(candidates)), key=lambda index: _rank(candidates[index]))


def most_common(candidates: Candidates) -> int:
    """Pick the answer that most candidates gave; of equally many, the one given first.

    Final answers are compared as the math verifier reads them (the last box, "the answer is", ...),
    else by the whole text; tool calls by name and arguments. A candidate that was cut has no vote,
    unless all were. Source: self-consistency, arXiv:2203.11171.
    """
    voters = [one for one in candidates if not one.cut] or candidates
    votes = Counter(_answer(one.message) for one in voters if one.message is not None)
    best = max(votes.values())
    return next(
        index
        for index, one in enumerate(candidates)
        if one in voters and one.message is not None and votes[_answer(one.message)] == best
    )


class Choosing:
    """A policy that draws candidates and says the one that is chosen.

    Args:
        policy: draws; its seats can branch (:class:`~proofgym.agents.policy.BranchingSeat`).
        samples: for each message.
        choose: which one.
    """

    def __init__(
        self, policy: "BranchingPolicy", samples: int, choose: Chooser = most_likely
    ) -> None:
        if samples < 1:
            raise AgentError(f"samples must be at least 1, got {samples}.")
        self.policy = policy
        self.samples = samples
        self.choose = choose
        self.sampled_tokens = 0

    def seat(self, opening: Opening, seed: int) -> "ChoosingSeat":
        """Sit down to one episode."""
        return ChoosingSeat(self, self.policy(opening, seed))


BranchingPolicy = Callable[[Opening, int], BranchingSeat]
"""``EnginePolicy.seat`` or ``ChatEndpoint.seat``."""


class ChoosingSeat:
    """One episode of it."""

    def __init__(self, chooser: Choosing, inner: BranchingSeat) -> None:
        self.chooser = chooser
        self.inner = inner

    async def act(self, *, max_tokens: int) -> Act:
        """Draw all candidates at once, and say one."""
        try:
            async with asyncio.TaskGroup() as tasks:
                drawing = [
                    tasks.create_task(self.inner.draw(max_tokens=max_tokens, sample=sample))
                    for sample in range(self.chooser.samples)
                ]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the driver tells faults apart by their type
        drawn = [task.result() for task in drawing]
        self.chooser.sampled_tokens += sum(
            one.tokens if one.turn is None else len(one.turn.ids) for one in drawn
        )
        spoken = [one for one in drawn if one.message is not None]
        if not spoken:
            return drawn[0]  # there was no room to say anything
        choice = self.chooser.choose(spoken)
        chosen = spoken[choice if isinstance(choice, int) else await choice]
        self.inner.take(chosen)
        return chosen

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply."""
        self.inner.hear(messages)


def _rank(candidate: Act) -> tuple[bool, float]:
    if candidate.turn is None:
        raise AgentError(
            "best-of-n needs log-probabilities, and this policy gives none. Use majority-n, or "
            "Choosing with a chooser of your own."
        )
    logprobs = candidate.turn.logprobs
    mean = float(logprobs.mean(dtype="float64")) if len(logprobs) else -math.inf
    return not candidate.cut, mean


def _answer(message: Message) -> str:
    if message.tool_calls:
        return json.dumps([[call.name, _canonical(call.arguments)] for call in message.tool_calls])
    return extract(message.content).answer or message.content.strip()


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments
