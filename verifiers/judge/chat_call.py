"""One request to an OpenAI-compatible chat server, and what its failure means for the next.

Used by the judge's endpoint and by ``proofgym.agents.chat_endpoint``.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from proofgym.verifiers.secret import Secret

if TYPE_CHECKING:
    import httpx2

MAX_REPLY_BYTES = 2_000_000
SHOWN = 200
_RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))


class RetryLater(Exception):
    """The request failed in a way that may pass, and asking again is safe.

    Args:
        status: the server's answer; None where there was none in time.
        after_s: how long the server asks us to wait, where it says.
    """

    def __init__(self, reason: str, *, status: int | None = None, after_s: float | None = None):
        super().__init__(reason)
        self.status = status
        self.after_s = after_s


class ChatRefused(Exception):
    """The server refuses this request; the same one again gets the same answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:SHOWN]!r}")
        self.status = status
        self.text = text


class ChatReplyError(ValueError):
    """What came is no chat completion, or is too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """Where requests go. Neither its repr nor what it raises has the key.

    Args:
        base_url: up to and with ``/v1``.
        api_key: sent as a bearer token; None sends none.
    """

    base_url: str
    api_key: Secret[str] | None = None

    async def send(
        self, client: "httpx2.AsyncClient", body: Mapping[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        """Post one request and return the server's JSON.

        Args:
            client: one whose redirects are off, so that the key goes nowhere else.
            body: of the request.
            timeout_s: from connecting to the last byte.

        Raises:
            RetryLater: it failed in a way that may pass.
            ChatRefused: the server refuses it.
            ChatReplyError: what came is not a JSON object, or is too long.
        """
        import httpx2

        headers = {"Content-Type": "application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key.reveal()}"
        url = self.base_url.rstrip("/") + "/chat/completions"
        content = json.dumps(body).encode()
        try:
            # httpx2's own timeouts are for one read: a slow drip would never meet them
            async with (
                asyncio.timeout(timeout_s),
                client.stream(
                    "POST", url, headers=headers, content=content, timeout=timeout_s
                ) as reply,
            ):
                received = await _read(reply)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise RetryLater(self._without_key(f"{type(error).__name__}: {error}")) from None
        return self._judged(reply, received)

    def _judged(self, reply: "httpx2.Response", received: bytes) -> dict[str, Any]:
        status = reply.status_code
        if status in _RETRIED:
            after_s = seconds_to_wait(reply.headers.get("retry-after"))
            raise RetryLater(f"HTTP {status}", status=status, after_s=after_s)
        text = self._without_key(received.decode(errors="replace"))
        if status != 200:
            raise ChatRefused(status, text)
        try:
            answer = json.loads(received)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ChatReplyError(f"expected a chat completion, got {text[:SHOWN]!r}.")
        return answer

    def _without_key(self, text: str) -> str:
        key = self.api_key.reveal() if self.api_key is not None else ""
        return text.replace(key, "[the key]") if key else text


async def _read(reply: "httpx2.Response") -> bytes:
    received = bytearray()
    async for chunk in reply.aiter_bytes():
        received += chunk
        if len(received) > MAX_REPLY_BYTES:
            raise ChatReplyError(f"expected a reply of at most {MAX_REPLY_BYTES} bytes, got more.")
    return bytes(received)


def seconds_to_wait(header: str | None) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date. None where it says nothing."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
