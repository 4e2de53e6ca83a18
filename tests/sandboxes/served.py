"""An http backend with a real server of its own, around ns, on the loopback."""

from __future__ import annotations

import socket
from typing import Any

from proofgym.sandboxes import Pool, PoolConfig
from proofgym.sandboxes.http.client import HttpBackend
from proofgym.sandboxes.http.server import SandboxServer, ServerConfig
from proofgym.sandboxes.http.service import Service
from proofgym.sandboxes.http.transport import HttpConfig
from proofgym.sandboxes.ns.backend import NsBackend
from proofgym.sandboxes.protocol import Backend

TOKEN = "a-token-for-tests-only"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_server(
    port: int = 0,
    inner: Backend | None = None,
    config: PoolConfig | None = None,
    lease_s: float = 60.0,
    **settings: Any,
) -> SandboxServer:
    pool = Pool(inner or NsBackend(), config or PoolConfig(size=64))
    return SandboxServer(
        Service(pool, lease_s=lease_s), ServerConfig(token=TOKEN, port=port, **settings)
    )


class ServedBackend(HttpBackend):
    """Starts and ends its server with itself."""

    def __init__(self) -> None:
        port = free_port()
        self.server: SandboxServer | None = make_server(port)
        self._standing = False
        super().__init__(HttpConfig(url=f"http://127.0.0.1:{port}", token=TOKEN))

    async def start(self) -> None:
        if not self._standing and self.server is not None:
            self._standing = True
            await self.server.start()
        await super().start()

    async def close(self) -> None:
        await super().close()
        if self.server is not None and self._standing:
            await self.server.close()
            self.server = None
