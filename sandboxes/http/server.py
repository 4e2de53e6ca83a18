"""The server's transport: one operation a request, behind a token."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from dataclasses import dataclass

from proofgym.sandboxes.http.listener import Answer, Head, Listener, ListenerConfig, Refusal
from proofgym.sandboxes.http.message import decode
from proofgym.sandboxes.http.service import Service

MIN_TOKEN = 16


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


class SandboxServer:
    """Serve a `Service`. Knows nothing of sandboxes itself."""

    def __init__(
        self, service: Service, config: ServerConfig, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._service = service
        self._digest = hashlib.sha256(f"Bearer {config.token}".encode()).digest()
        listening = ListenerConfig(
            host=config.host,
            port=config.port,
            body_bytes=config.body_bytes,
            connections=config.connections,
        )
        self._listener = Listener(self, listening, tls=tls)

    @property
    def url(self) -> str:
        """Return where it listens; valid after `start`."""
        return self._listener.url

    async def start(self) -> None:
        """Start the service, then listen."""
        await self._service.start()
        try:
            await self._listener.start()
        except BaseException:
            await self._service.close()
            raise

    async def close(self) -> None:
        """Stop listening, hang up and end every sandbox."""
        await self._listener.close()
        await self._service.close()

    def admit(self, head: Head) -> None:
        """Refuse a request without our token, and one that is no operation."""
        shown = hashlib.sha256(head.headers.get("authorization", "").encode()).digest()
        if not hmac.compare_digest(shown, self._digest):
            raise Refusal(401, "this server needs its token: Authorization: Bearer TOKEN")
        if not head.path.startswith("/v1/"):
            raise Refusal(404, "expected POST /v1/OPERATION")
        if head.method != "POST":
            raise Refusal(405, f"expected POST, got {head.method}")

    async def answer(self, head: Head, body: bytes) -> Answer:
        """Do an operation."""
        try:
            request = decode(body)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        return Answer(body=await self._service.answer(head.path.removeprefix("/v1/"), request))

    def refusal(self, refusal: Refusal) -> Answer:
        """Say why, in plain text."""
        return Answer(body=refusal.text.encode(), status=refusal.status)
