"""``proofgym serve-sandboxes``: this machine's sandboxes for other hosts."""

import asyncio
import os
import signal
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

from proofgym.errors import UsageError
from proofgym.sandboxes import Pool, PoolConfig, select_backend
from proofgym.sandboxes.http.server import SandboxServer, ServerConfig
from proofgym.sandboxes.http.service import Service
from proofgym.sandboxes.selection import backend_named

TOKEN_VARIABLE = "PROOFGYM_SANDBOX_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """What the command line asked for."""

    host: str
    port: int
    backend: str
    size: int
    token_file: Path | None
    tls_certificate: Path | None
    tls_key: Path | None


def serve_sandboxes(request: ServeRequest) -> int:
    """Serve until told to stop."""
    try:
        if request.backend != "auto":
            backend_named(request.backend)
        config = ServerConfig(token=_token(request), host=request.host, port=request.port)
    except ValueError as error:
        raise UsageError(str(error)) from None
    asyncio.run(_serve(request, config))
    return 0


def _token(request: ServeRequest) -> str:
    if request.token_file is not None:
        return request.token_file.read_text(encoding="utf-8").strip()
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise UsageError(
            f"serve-sandboxes needs a token that its clients show: --token-file FILE, or "
            f"{TOKEN_VARIABLE} in the environment."
        )
    return token


def _tls(request: ServeRequest) -> ssl.SSLContext | None:
    if request.tls_certificate is None and request.tls_key is None:
        return None
    if request.tls_certificate is None or request.tls_key is None:
        raise UsageError("TLS needs both --tls-certificate and --tls-key.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(request.tls_certificate, request.tls_key)
    return context


async def _serve(request: ServeRequest, config: ServerConfig) -> None:
    tls = _tls(request)
    backend = await select_backend(request.backend)
    pool = Pool(backend, PoolConfig(size=request.size))
    server = SandboxServer(Service(pool), config, tls=tls)
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sys.stdout.write(f"{backend.isolation.tier} sandboxes at {server.url}; Ctrl-C stops\n")
    sys.stdout.flush()
    try:
        await stop.wait()
    finally:
        await server.close()
