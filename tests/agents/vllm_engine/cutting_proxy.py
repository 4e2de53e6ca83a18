"""A TCP proxy on the loopback that cuts connections, as a bad network does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

GENERATE = b"POST /inference/v1/generate"


class When(StrEnum):
    """When a completion's connection is cut."""

    ASKED = "asked"  # when the request has gone on to the server
    ANSWERED = "answered"  # when the server has answered; nobody hears it


@dataclass(slots=True, eq=False)
class CuttingProxy:
    """Pass bytes between clients and one server, and cut the first completions' connections.

    Args:
        target: the server's URL.
        when: to cut.
        cuts: how many are still to be cut.
    """

    target: str
    when: When
    cuts: int
    cut: int = 0
    _passing: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yield the proxy's URL."""
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            passing = [*self._passing]
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        address = urlsplit(self.target)
        up_reader, up_writer = await asyncio.open_connection(address.hostname, address.port)
        doomed = asyncio.Event()
        ways = [
            asyncio.create_task(self._requests(reader, up_writer, doomed)),
            asyncio.create_task(self._replies(up_reader, writer, doomed)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (writer, up_writer):
                one.transport.abort()  # before anything is awaited: we may be cancelled twice
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for one in (writer, up_writer):
                with contextlib.suppress(ConnectionError):
                    await one.wait_closed()
            self._passing.discard(task)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        while content := await reader.read(1 << 16):
            if GENERATE in content and self.cuts:
                self.cuts -= 1
                self.cut += 1
                doomed.set()
            writer.write(content)
            await writer.drain()
            if doomed.is_set() and self.when is When.ASKED:
                return

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        while content := await reader.read(1 << 16):
            if doomed.is_set():
                return
            writer.write(content)
            await writer.drain()
