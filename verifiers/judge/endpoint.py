"""A chat model behind any OpenAI-compatible URL, asked with deadlines and retries."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proofgym.verifiers.errors import VerifierError
from proofgym.verifiers.judge.chat_call import (
    SHOWN,
    ChatCall,
    ChatRefused,
    ChatReplyError,
    RetryLater,
)
from proofgym.verifiers.judge.errors import JudgeUnavailableError, JudgeUnparsedError
from proofgym.verifiers.secret import Secret

MAX_WAIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeEndpoint:
    """Where a judging model is, and how it is asked.

    Args:
        base_url: up to and with ``/v1``.
        model: its name there.
        api_key: sent as a bearer token; None sends none.
        temperature: of sampling; with several votes it should be above 0.
        max_tokens: of one reply.
        timeout_s: for one attempt, from connecting to the last byte.
        deadline_s: for all attempts of one question together.
        retries: further attempts after a failure that may pass (429, 5xx, a broken connection).
        max_concurrent: questions of one scoring that are under way at once.
        extra: further fields of the request body, as the server has them.
    """

    base_url: str
    model: str
    api_key: Secret[str] | None = None
    temperature: float = 0.0
    max_tokens: int = 1024
    timeout_s: float = 60.0
    deadline_s: float = 180.0
    retries: int = 3
    max_concurrent: int = 8
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise VerifierError(
                f"endpoint.base_url must begin with http:// or https://, got {self.base_url!r}."
            )
        if min(self.timeout_s, self.deadline_s, self.max_tokens, self.max_concurrent) <= 0:
            raise VerifierError("an endpoint's limits must be positive.")
        if self.retries < 0:
            raise VerifierError(f"endpoint.retries must be at least 0, got {self.retries}.")

    async def ask(self, messages: Sequence[Mapping[str, str]], *, seed: int) -> str:
        """Return the model's reply.

        Raises:
            JudgeUnavailableError: no reply within the deadline and the retries.
            JudgeUnparsedError: the server's reply is not a chat completion, or is too long.
        """
        import httpx2

        clock = _Clock(self)
        call = ChatCall(base_url=self.base_url, api_key=self.api_key)
        body = {
            "model": self.model,
            "messages": [dict(message) for message in messages],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": seed,
            **self.extra,
        }
        async with httpx2.AsyncClient(trust_env=False) as client:
            while True:
                clock.begin()
                try:
                    return _text_of(await call.send(client, body, timeout_s=clock.left_s()))
                except RetryLater as error:
                    wait_s = clock.wait_after(error)
                except ChatRefused as error:
                    raise JudgeUnavailableError(
                        f"expected HTTP 200 of the judge, got {error}."
                    ) from None
                except ChatReplyError as error:
                    raise JudgeUnparsedError(str(error)) from None
                await asyncio.sleep(wait_s)


class _Clock:
    """Deadlines of one question: each attempt's and all attempts' together."""

    def __init__(self, endpoint: JudgeEndpoint) -> None:
        self.endpoint = endpoint
        self.deadline = time.monotonic() + endpoint.deadline_s
        self.attempt_ends = 0.0
        self.attempts = 0

    def begin(self) -> None:
        self.attempts += 1
        self.attempt_ends = min(self.deadline, time.monotonic() + self.endpoint.timeout_s)

    def left_s(self) -> float:
        return max(0.001, self.attempt_ends - time.monotonic())

    def wait_after(self, error: RetryLater) -> float:
        """Return how long to wait before the next attempt; raises where there is none."""
        wait = error.after_s if error.after_s is not None else 0.25 * 2 ** (self.attempts - 1)
        wait = min(wait, MAX_WAIT_S) * (1.0 + 0.1 * random.random())  # spreads load
        left = self.deadline - time.monotonic()
        if self.attempts > self.endpoint.retries or wait >= left:
            raise JudgeUnavailableError(
                f"the judge at {self.endpoint.base_url} gave no reply in {self.attempts} attempts: "
                f"{str(error)[:SHOWN]}."
            ) from None
        return wait


def _text_of(answer: Mapping[str, Any]) -> str:
    try:
        first = answer["choices"][0]
        text = first["message"]["content"]
    except (LookupError, TypeError):
        raise JudgeUnparsedError(f"expected a chat completion, got {answer!r:.200}.") from None
    if first.get("finish_reason") == "length":
        raise JudgeUnparsedError("the judge's reply was cut off. Raise endpoint.max_tokens.")
    if not isinstance(text, str):
        raise JudgeUnparsedError(f"expected a text of the judge, got {type(text).__name__}.")
    return text
