"""The client's transport: every call has a key, so that asking again never does it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proofgym.sandboxes.errors import SandboxLost, SandboxTimeout, SandboxUnavailable
from proofgym.sandboxes.http.message import Message, decode, raise_error

if TYPE_CHECKING:
    import httpx2

logger = logging.getLogger(__name__)

RETRY_S = 30.0  # how long the network may be away; less than the server's service.REMEMBER_S
CONNECT_S = 5.0
CANCEL_S = 5.0
_LATER = frozenset({429, 502, 503, 504})  # of a proxy or a server that is full


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """How to reach a sandbox server.

    Attributes:
        url: such as "https://sandboxes.internal:8089".
        token: what the server was started with.
        queue_s: how much longer than its own limit a run may take, waiting for a place.
    """

    url: str
    token: str
    queue_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse what cannot be a server."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"HttpConfig.url must start with http:// or https://, got {self.url}")


class Transport:
    """Send messages to one server until it answers or the deadline has passed."""

    def __init__(self, config: HttpConfig, *, tls: ssl.SSLContext | None = None) -> None:
        self._config = config
        self._tls = tls
        self._http: httpx2.AsyncClient | None = None
        self._client = secrets.token_hex(16)
        self._done: list[str] = []
        self.instance = ""

    async def call(
        self, operation: str, words: dict[str, Any], blobs: Sequence[bytes] = (), *,
        deadline_s: float, phase: str,
    ) -> Message:  # fmt: skip
        """Do an operation once.

        Raises:
            SandboxLost: the server stayed away, or is not the one that had the sandbox.
            SandboxTimeout: no answer in time; the server was told to stop.
            SandboxUnavailable: it does not know us.
        """
        key = secrets.token_hex(12)
        try:
            async with asyncio.timeout(deadline_s):
                answer = await self._until_answered(operation, key, words, blobs)
        except TimeoutError:
            await self._cancel(key)
            raise SandboxTimeout(phase, deadline_s) from None
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel(key))
            raise
        self._done.append(key)
        if "error" in answer.words:
            raise_error(answer.words["error"])
        return answer

    async def _until_answered(
        self, operation: str, key: str, words: dict[str, Any], blobs: Sequence[bytes]
    ) -> Message:
        silent_since: float | None = None
        wait_s, asked = 0.05, False
        while True:
            answer, reason, sent = await self._attempt(operation, key, words, blobs)
            if answer is not None and "other_instance" not in answer.words:
                return answer
            if answer is not None:
                # Another server took the place of ours. A request that ours may have had is
                # lost, not repeated; one that was never sent, and needs no sandbox, is sent on.
                self.instance = str(answer.words["other_instance"])
                if asked or "sandbox" in words:
                    raise SandboxLost("the sandbox server was restarted; make a new sandbox")
                continue
            asked = asked or sent
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > RETRY_S:
                raise SandboxLost(f"the sandbox server at {self._config.url} is away: {reason}")
            logger.info("asking the sandbox server again: %s", reason)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, 2.0)

    async def _attempt(
        self, operation: str, key: str, words: dict[str, Any], blobs: Sequence[bytes]
    ) -> tuple[Message | None, str, bool]:
        """Ask once: the answer, or why there is none and whether the server may have heard."""
        import httpx2

        if self._http is None:
            verify = self._tls if self._tls is not None else True
            timeout = httpx2.Timeout(None, connect=CONNECT_S)
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
            self._http = httpx2.AsyncClient(
                verify=verify, timeout=timeout, limits=limits, trust_env=False
            )
        done, self._done = self._done, []
        about = {**words, "client": self._client, "key": key, "instance": self.instance,
                 "done": done}  # fmt: skip
        try:
            reply = await self._http.post(
                f"{self._config.url.rstrip('/')}/v1/{operation}",
                content=Message(words=about, blobs=blobs).encode(),
                headers={"Authorization": f"Bearer {self._config.token}"},
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            return None, f"{type(error).__name__}: {error}", False
        except httpx2.TransportError as error:
            return None, f"{type(error).__name__}: {error}", True
        if reply.status_code == 200:
            try:
                return decode(reply.content), "", True
            except ValueError as error:
                raise SandboxUnavailable(f"{self._config.url} is no sandbox server: {error}") from (
                    None
                )
        text = f"{reply.status_code} {reply.text[:300]}"
        if reply.status_code in _LATER:
            return None, text, reply.status_code != 503
        if reply.status_code == 413:
            raise ValueError(f"the request is too large for this server: {text}")
        raise SandboxUnavailable(f"the sandbox server at {self._config.url} refuses: {text}")

    async def _cancel(self, key: str) -> None:
        """Tell the server that nobody waits any more; its lease does it otherwise."""
        with contextlib.suppress(SandboxUnavailable, ValueError, TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                await self._attempt("cancel", secrets.token_hex(12), {"cancels": key}, ())

    async def close(self) -> None:
        """Hang up."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None
