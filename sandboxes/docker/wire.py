"""The agent's wire over a container's attached streams."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

from proofgym.sandboxes.agent_client import AgentClient

# A daemon puts both output streams on one socket, each piece after a head of its own.
HEAD = struct.Struct("!BxxxI")
STDOUT = 1
KEPT_BYTES = 2000  # of standard error: the agent writes there only when it cannot start


class StreamSplitter:
    """Take a daemon's bytes apart: the agent's wire goes on, standard error is kept for reports."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed
        self._buffer = bytearray()
        self._left = 0
        self._stream = 0
        self._kept = bytearray()

    def take(self, data: bytes) -> None:
        """Take bytes in any pieces."""
        self._buffer += data
        while self._buffer:
            if self._left == 0:
                if len(self._buffer) < HEAD.size:
                    return
                self._stream, self._left = HEAD.unpack_from(self._buffer)
                del self._buffer[: HEAD.size]
                continue
            piece = bytes(self._buffer[: self._left])
            del self._buffer[: len(piece)]
            self._left -= len(piece)
            if self._stream == STDOUT:
                self._feed(piece)
            else:
                self._kept += piece
                del self._kept[:-KEPT_BYTES]

    @property
    def errors(self) -> str:
        """Return the last of standard error."""
        return self._kept.decode(errors="replace").strip()


class ContainerWire(asyncio.Protocol):
    """Feeds an `AgentClient` from an attached container."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.client = AgentClient(self.send)
        self._splitter = StreamSplitter(self.client.feed)

    def send(self, data: bytes) -> None:
        """Write to the container's standard input."""
        assert self.transport is not None
        self.transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self._splitter.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits."""
        reason = self._splitter.errors or exc or "end of stream"
        self.client.lost(f"the container or its daemon ended ({reason})")
