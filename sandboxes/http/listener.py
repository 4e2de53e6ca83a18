"""HTTP/1.1 on asyncio as far as our own servers need it: a head, a body of known length, an answer.

What is served is a :class:`Site`: it judges a request by its head before any of the body is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

HEAD_BYTES = 16 << 10
HEAD_S = 15.0  # for a request's head to arrive once it has begun; idle connections may wait longer
IDLE_S = 600.0
BODY_S = 300.0
LINGER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request's first lines; the headers' names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back."""

    body: bytes
    status: int = 200
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """A request is refused for its head or its body; the connection ends after the answer."""

    status: int
    text: str


class Site(Protocol):
    """What a listener serves."""

    def admit(self, head: Head) -> None:
        """Judge a request by its head.

        Raises:
            Refusal: it is not answered, and its body not read.
        """
        ...

    async def answer(self, head: Head, body: bytes) -> Answer:
        """Answer a request.

        Raises:
            Refusal: its body cannot be understood.
        """
        ...

    def refusal(self, refusal: Refusal) -> Answer:
        """Put a refusal into the site's own words."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """Where to listen, and how much to take.

    Attributes:
        host: an address of this machine.
        port: 0 takes a free one.
        body_bytes: the largest request.
        connections: at one time; the next is told to come later.
        cancel_on_hangup: cancel an answer whose client has gone. Clients must not send a request
            before the answer to the one before.
    """

    host: str = "127.0.0.1"
    port: int = 0
    body_bytes: int = 256 << 20
    connections: int = 2048
    cancel_on_hangup: bool = False


class Listener:
    """Serve a site."""

    def __init__(
        self, site: Site, config: ListenerConfig, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._site = site
        self._config = config
        self._tls = tls
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
        """Listen."""
        self._server = await asyncio.start_server(
            self._connected, self._config.host, self._config.port, limit=HEAD_BYTES, ssl=self._tls
        )

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) > self._config.connections:
                busy = self._site.refusal(Refusal(503, "too many connections"))
                await self._send(writer, busy, keep=False)
                return
            first: bytes | None = b""
            while first is not None:
                first = await self._exchange(first, reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the client went away
        except asyncio.CancelledError:
            if self._server is not None and self._server.is_serving():
                raise
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Answer one request; return what came of the next, or None where there can be none."""
        try:
            head, size = await self._head(first, reader)
            async with asyncio.timeout(BODY_S):
                body = await reader.readexactly(size)
            answer, first = await self._answer(head, body, reader)
        except Refusal as refusal:
            # The body was not read, so nothing that follows can be understood.
            await self._send(writer, self._site.refusal(refusal), keep=False)
            await self._linger(reader, writer)
            return None
        keep = head.headers.get("connection", "").lower() != "close"
        await self._send(writer, answer, keep=keep)
        return first if keep else None

    async def _answer(
        self, head: Head, body: bytes, reader: asyncio.StreamReader
    ) -> tuple[Answer, bytes]:
        if not self._config.cancel_on_hangup:
            return await self._site.answer(head, body), b""
        work = asyncio.create_task(self._site.answer(head, body))
        more = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({work, more}, return_when=asyncio.FIRST_COMPLETED)
            if more.done() and not more.result():
                raise ConnectionResetError("the client has gone")
            answer = await work
        finally:
            for task in (work, more):
                task.cancel()
            await asyncio.gather(work, more, return_exceptions=True)
        return answer, more.result() if more.done() and not more.cancelled() else b""

    @staticmethod
    async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Wait a moment for the client to read why: closing on unread bytes resets."""
        if writer.can_write_eof():
            writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await reader.read(1 << 16):
                    pass

    async def _head(self, first: bytes, reader: asyncio.StreamReader) -> tuple[Head, int]:
        """Read a request's head and judge it before any of its body is read."""
        try:
            async with asyncio.timeout(IDLE_S):
                first = first or await reader.readexactly(1)
            async with asyncio.timeout(HEAD_S):
                rest = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise Refusal(431, f"a head of more than {HEAD_BYTES} bytes") from None
        headers = {}
        line, *rows = (first + rest).decode("latin-1").split("\r\n")
        for row in rows:
            name, colon, value = row.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        words = [*line.split(), "", ""]
        head = Head(method=words[0], path=words[1], headers=headers)
        self._site.admit(head)
        if len(line.split()) != 3:
            raise Refusal(400, "expected METHOD PATH VERSION")
        length = headers.get("content-length", "0" if head.method == "GET" else "")
        if not length.isdecimal() or "transfer-encoding" in headers:
            raise Refusal(411, "expected a Content-Length")
        if int(length) > self._config.body_bytes:
            raise Refusal(413, f"expected at most {self._config.body_bytes} bytes, got {length}")
        return head, int(length)

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, answer: Answer, *, keep: bool) -> None:
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
            f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        writer.write(head.encode() + answer.body)
        async with asyncio.timeout(BODY_S):
            await writer.drain()
