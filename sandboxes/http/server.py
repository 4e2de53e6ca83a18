"""The server's transport: HTTP/1.1 as far as our client needs it, behind a token."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import ssl
from dataclasses import dataclass

from proofgym.sandboxes.http.message import decode
from proofgym.sandboxes.http.service import Service

logger = logging.getLogger(__name__)

HEAD_BYTES = 16 << 10
HEAD_S = 15.0  # for a request's head to arrive once it has begun; idle connections may wait longer
IDLE_S = 600.0
BODY_S = 300.0
LINGER_S = 1.0
MIN_TOKEN = 16
_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
    405: "Method Not Allowed", 411: "Length Required", 413: "Content Too Large",
    431: "Request Header Fields Too Large", 503: "Service Unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where to listen and whom to believe.

    Attributes:
        token: what a client must show; at least 16 characters.
        host: an address of this machine. Beyond the loopback use TLS or a private network: the
            token and the programs travel as they are.
        port: 0 takes a free one.
        body_bytes: the largest request, such as an upload or a snapshot that comes back.
        connections: at one time; the next is told to come later.
    """

    token: str
    host: str = "127.0.0.1"
    port: int = 0
    body_bytes: int = 256 << 20
    connections: int = 2048

    def __post_init__(self) -> None:
        """Refuse a token that can be guessed."""
        if len(self.token) < MIN_TOKEN or not self.token.isascii():
            raise ValueError(
                f"ServerConfig.token must have at least {MIN_TOKEN} ASCII characters, got "
                f"{len(self.token)}. Make one with: python -c 'import secrets; "
                "print(secrets.token_urlsafe(32))'"
            )


@dataclass(frozen=True, slots=True)
class _Refusal(Exception):
    status: int
    text: str


class SandboxServer:
    """Serve a `Service`. Knows nothing of sandboxes itself."""

    def __init__(
        self, service: Service, config: ServerConfig, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._service = service
        self._config = config
        self._tls = tls
        self._digest = hashlib.sha256(f"Bearer {config.token}".encode()).digest()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Return where it listens; valid after `start`."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        place = f"[{host}]" if ":" in host else host
        return f"{'http' if self._tls is None else 'https'}://{place}:{port}"

    async def start(self) -> None:
        """Start the service, then listen."""
        await self._service.start()
        try:
            self._server = await asyncio.start_server(
                self._connected, self._config.host, self._config.port, limit=HEAD_BYTES,
                ssl=self._tls,
            )  # fmt: skip
        except BaseException:
            await self._service.close()
            raise

    async def close(self) -> None:
        """Stop listening, hang up and end every sandbox."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._service.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) > self._config.connections:
                await self._send(writer, 503, b"too many connections", keep=False)
                return
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the client went away; what it left ends with its lease
        except asyncio.CancelledError:
            if self._server is not None and self._server.is_serving():
                raise
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; tell whether the connection can go on."""
        try:
            operation, size = await self._head(reader)
            async with asyncio.timeout(BODY_S):
                body = await reader.readexactly(size)
            try:
                request = decode(body)
            except ValueError as error:
                raise _Refusal(400, str(error)) from None
        except _Refusal as refusal:
            # The body was not read, so nothing that follows can be understood.
            await self._send(writer, refusal.status, refusal.text.encode(), keep=False)
            await self._linger(reader, writer)
            return False
        await self._send(writer, 200, await self._service.answer(operation, request), keep=True)
        return True

    @staticmethod
    async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Wait a moment for the client to read why: closing on unread bytes resets."""
        if writer.can_write_eof():
            writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await reader.read(1 << 16):
                    pass

    async def _head(self, reader: asyncio.StreamReader) -> tuple[str, int]:
        """Read a request's head and judge it before any of its body is read."""
        try:
            async with asyncio.timeout(IDLE_S):
                first = await reader.readexactly(1)
            async with asyncio.timeout(HEAD_S):
                rest = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise _Refusal(431, f"a head of more than {HEAD_BYTES} bytes") from None
        headers = {}
        line, *rows = (first + rest).decode("latin-1").split("\r\n")
        for row in rows:
            name, colon, value = row.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        shown = hashlib.sha256(headers.get("authorization", "").encode()).digest()
        if not hmac.compare_digest(shown, self._digest):
            raise _Refusal(401, "this server needs its token: Authorization: Bearer TOKEN")
        words = line.split()
        if len(words) != 3 or not words[1].startswith("/v1/"):
            raise _Refusal(404, "expected POST /v1/OPERATION")
        if words[0] != "POST":
            raise _Refusal(405, f"expected POST, got {words[0]}")
        length = headers.get("content-length", "")
        if not length.isdecimal() or "transfer-encoding" in headers:
            raise _Refusal(411, "expected a Content-Length")
        if int(length) > self._config.body_bytes:
            raise _Refusal(413, f"expected at most {self._config.body_bytes} bytes, got {length}")
        return words[1].removeprefix("/v1/"), int(length)

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, status: int, body: bytes, *, keep: bool) -> None:
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        async with asyncio.timeout(BODY_S):
            await writer.drain()
