"""Play one episode with a scripted voice, and keep all that happened."""

import asyncio
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from proofgym.envs.env import Env
from proofgym.envs.stop import Stop
from proofgym.verifiers import ErrorKind, Message, Role, Task, assistant

Voice = Callable[[Task, Sequence[Message]], Message]
"""What a policy says next."""
MOST_TURNS = 400
BROKEN = frozenset((ErrorKind.CRASHED, ErrorKind.BAD_GOLD))


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What came of one episode.

    Args:
        opening: its first messages, as JSON values.
        replies: what each turn brought, as JSON values.
        rewards: one for each turn.
        stop: why it ended; None where it did not.
        solved: as the score says.
        scored: whether there is a value.
        error: what broke, in words.
        broken: whether the environment or its verifier broke, rather than something outside.
        reset_s, step_s: wall time of the beginning, and of all steps.
    """

    opening: tuple[Any, ...] = ()
    replies: tuple[Any, ...] = ()
    rewards: tuple[float, ...] = ()
    stop: Stop | None = None
    solved: bool | None = None
    scored: bool = True
    error: str = ""
    broken: bool = False
    reset_s: float = 0.0
    step_s: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the rewards."""
        return math.fsum(self.rewards)

    @property
    def trace(self) -> str:
        """A digest of everything that a policy saw and got."""
        seen = [self.opening, self.replies, [repr(r) for r in self.rewards], self.stop, self.solved]
        text = json.dumps(seen, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def always(text: str) -> Voice:
    """Say the same text at every turn."""
    return lambda _task, _said: assistant(text)


def in_turn(messages: Sequence[Message], rest: str) -> Voice:
    """Say messages one after the other, and from then on a text; in every episode anew."""

    def voice(task: Task, said: Sequence[Message]) -> Message:
        turn = _spoken(said) - _spoken(task.messages)
        return messages[turn] if turn < len(messages) else assistant(rest)

    return voice


def _spoken(messages: Sequence[Message]) -> int:
    return sum(message.role is Role.ASSISTANT for message in messages)


async def play(env: Env, task: Task, voice: Voice, *, seed: int = 1) -> Play:
    """Play an episode to its end. What breaks is in the result."""
    started = time.perf_counter()
    try:
        opening = await env.areset(task, seed=seed)
    except Exception as error:  # noqa: BLE001  # the environment under attack: recorded
        return Play(error=f"reset raised {_words(error)}", broken=True, scored=False)
    return await go_on(
        env,
        task,
        voice,
        said=list(opening.messages),
        opening=tuple(_json(message) for message in opening.messages),
        reset_s=time.perf_counter() - started,
    )


async def go_on(
    env: Env,
    task: Task,
    voice: Voice,
    *,
    said: list[Message],
    opening: tuple[Any, ...] = (),
    reset_s: float = 0.0,
) -> Play:
    """Play an episode that has begun to its end."""
    replies: list[Any] = []
    rewards: list[float] = []
    started = time.perf_counter()
    for _ in range(MOST_TURNS):
        try:
            message = voice(task, said)
            move = await env.astep(message)
        except Exception as error:  # noqa: BLE001  # the environment under attack: recorded
            return Play(
                opening=opening,
                replies=tuple(replies),
                rewards=tuple(rewards),
                error=f"step raised {_words(error)}",
                broken=True,
                scored=False,
            )
        said += [message, *move.messages]
        await asyncio.sleep(0)  # so that two plays at once take turns
        replies.append([_json(one) for one in move.messages])
        rewards.append(move.reward)
        if move.stop is not None:
            score = move.score
            fault = "" if move.fault is None else move.fault.message
            kind = None if score is None or score.error is None else score.error.kind
            return Play(
                opening=opening,
                replies=tuple(replies),
                rewards=tuple(rewards),
                stop=move.stop,
                solved=None if score is None else score.solved,
                scored=score is not None and score.value is not None,
                error=fault,
                broken=kind in BROKEN,
                reset_s=reset_s,
                step_s=(time.perf_counter() - started) / len(rewards),
            )
    return Play(
        opening=opening,
        replies=tuple(replies),
        rewards=tuple(rewards),
        error=f"the episode did not end in {MOST_TURNS} turns",
    )


def _json(message: Message) -> Any:
    return message.to_openai()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
