"""HTTP to one vLLM server: every call has a deadline that names its phase."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.config import DeadlinesConfig

if TYPE_CHECKING:
    import httpx2

_BUSY_PAUSE_S = 0.05
_SHOWN_CHARACTERS = 500


class ServerLostError(EngineError):
    """A server does not answer, or says that its engine is dead. Another, or a restart, may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's reply.

    Args:
        status: of HTTP.
        content: the parsed JSON, or None where the body is none.
        text: the body.
    """

    status: int
    content: Any
    text: str


class ServerClient:
    """Talk to one server.

    Connections belong to an event loop. They are held by an asynchronous generator, which the
    loop closes at its own end, so that one client serves several loops, one after the other.

    Args:
        url: where the server is.
        key: for the Authorization header, or empty. It appears in no message and no repr.
        deadlines: of the calls.
    """

    def __init__(self, url: str, key: str, deadlines: DeadlinesConfig) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._deadlines = deadlines
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holder: AsyncGenerator[httpx2.AsyncClient, None] | None = None
        self._client: httpx2.AsyncClient | None = None

    async def get(self, path: str, *, phase: str, seconds: float | None = None) -> Answer:
        """GET a path."""
        return await self._ask("GET", path, None, {}, phase, seconds or self._deadlines.control)

    async def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        phase: str,
        seconds: float | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST JSON to a path, again while the server says 503: it is paused or full.

        Raises:
            ServerLostError: the connection failed, or the server's engine is dead.
            EngineError: the deadline passed.
        """
        limit = seconds or self._deadlines.control
        end = time.monotonic() + limit
        while True:
            left = max(end - time.monotonic(), 0.01)
            answer = await self._ask("POST", path, body, query or {}, phase, left)
            if answer.status != 503:
                return answer
            if not await self.healthy():
                raise ServerLostError(f"{self.url} says in phase {phase!r}: {answer.text}")
            if time.monotonic() + _BUSY_PAUSE_S > end:
                raise EngineError(
                    f"phase {phase!r} must end within {limit:g} s, but {self.url} still says that "
                    f"it is busy: {answer.text}"
                )
            await asyncio.sleep(_BUSY_PAUSE_S)

    async def call(self, path: str, body: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """POST, and return the JSON of a reply that must be 200.

        Raises:
            ServerLostError: the connection failed, or the server's engine is dead.
            EngineError: the server refused, or the deadline passed.
        """
        answer = await self.post(path, body, **options)
        if answer.status == 200:
            return answer.content
        if answer.status >= 500 and not await self.healthy():
            raise ServerLostError(f"{self.url}{path} says: {answer.status} {answer.text}")
        raise EngineError(
            f"{self.url}{path} must answer 200 in phase {options['phase']!r}, got "
            f"{answer.status}: {answer.text}"
        )

    async def healthy(self) -> bool:
        """Ask whether the server and its engine live."""
        try:
            answer = await self._ask("GET", "/health", None, {}, "health", self._deadlines.connect)
        except EngineError:
            return False
        return answer.status == 200

    async def close(self) -> None:
        """Close this loop's connections."""
        holder, self._holder, self._client = self._holder, None, None
        if holder is not None and self._loop is asyncio.get_running_loop():
            await holder.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str],
        phase: str,
        seconds: float,
    ) -> Answer:
        import httpx2

        client = await self._connected()
        try:
            async with asyncio.timeout(seconds):
                reply = await client.request(method, path, json=body, params=query)
        except TimeoutError:
            raise EngineError(
                f"phase {phase!r} must end within {seconds:.3g} s, and {self.url}{path} did not."
            ) from None
        except httpx2.TransportError as error:
            raise ServerLostError(
                f"{self.url} was lost in phase {phase!r}: {type(error).__name__} {error}"
            ) from error
        json = reply.headers.get("content-type", "").startswith("application/json")
        content = reply.json() if json and reply.content else None
        return Answer(
            status=reply.status_code, content=content, text=reply.text[:_SHOWN_CHARACTERS]
        )

    async def _connected(self) -> "httpx2.AsyncClient":
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop, self._holder = loop, self._hold()
            self._client = await anext(self._holder)
        return self._client

    async def _hold(self) -> "AsyncGenerator[httpx2.AsyncClient, None]":
        try:
            import httpx2
        except ImportError as error:
            raise EngineError(
                "expected httpx2, with which vLLM servers are spoken to, and it is not installed. "
                'Install it: pip install "proofgym[vllm]".'
            ) from error

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # none by default, or the 101st request waits for the first; a kept connection that the
        # server has closed meanwhile would look like a lost server
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=3.0)
        timeout = httpx2.Timeout(None, connect=self._deadlines.connect)
        async with httpx2.AsyncClient(
            base_url=self.url, headers=headers, limits=limits, timeout=timeout, trust_env=False
        ) as client:
            yield client
