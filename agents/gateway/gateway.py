"""The OpenAI-compatible server that turns an external agent's requests into a trainable rollout."""

import asyncio
import json
import logging
import secrets

from proofgym.agents.driver import Assignment
from proofgym.agents.gateway.config import GatewayConfig
from proofgym.agents.gateway.session import GatewaySession
from proofgym.agents.gateway.wire import WireError, parse
from proofgym.agents.policy import EnginePolicy
from proofgym.sandboxes.http.listener import Answer, Head, Listener, ListenerConfig, Refusal

logger = logging.getLogger(__name__)

JSON = "application/json"
PREFIX = "/sessions/"


class Gateway:
    """Serve ``/v1/chat/completions`` and ``/v1/models`` to agents written elsewhere.

    Each session is one episode. It has a base URL of its own; where a framework takes only one URL
    for all, the session's key may be the API key with ``{url}/v1``. Sampling is the policy's:
    a request's ``max_tokens`` may shorten it, its temperature and seed do not count. What could
    not be served exactly (``n``, ``stop``, ``response_format``, ...) is refused with 400. Streams
    come whole, in one piece. A client that hangs up cancels its completion, which then never was.

    Args:
        policy: the engine, the renderer and the sampling.
        config: where to listen, and how far a session may go.
    """

    def __init__(self, policy: EnginePolicy, config: GatewayConfig | None = None) -> None:
        self.policy = policy
        self.config = config or GatewayConfig()
        self._sessions: dict[str, GatewaySession] = {}
        self._listener = Listener(
            self,
            ListenerConfig(
                host=self.config.host,
                port=self.config.port,
                body_bytes=self.config.body_bytes,
                connections=self.config.connections,
                cancel_on_hangup=True,
            ),
        )

    @property
    def url(self) -> str:
        """Where it listens, without ``/v1``; valid after :meth:`start`."""
        return self._listener.url

    async def start(self) -> None:
        """Listen."""
        await self._listener.start()

    async def close(self) -> None:
        """Hang up; completions under way are cancelled."""
        self._sessions.clear()
        await self._listener.close()

    async def __aenter__(self) -> "Gateway":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def open(self, assignment: Assignment, *, env_id: str = "gateway/agent-v0") -> GatewaySession:
        """Begin an episode; :meth:`forget` must follow."""
        session = GatewaySession(
            policy=self.policy,
            assignment=assignment,
            config=self.config,
            key=secrets.token_urlsafe(18),
            url=self.url,
            env_id=env_id,
        )
        self._sessions[session.key] = session
        return session

    def forget(self, session: GatewaySession) -> None:
        """Take no more requests for a session."""
        self._sessions.pop(session.key, None)

    # what the listener asks

    def admit(self, head: Head) -> None:
        """Refuse a request of no live session."""
        if self._session(head) is None:
            raise Refusal(
                401, "expected the base URL or the key of a live session; this one is over or none."
            )

    async def answer(self, head: Head, body: bytes) -> Answer:
        """Answer a request of a session."""
        try:
            return await self._answer(head, body)
        except WireError as error:
            return Answer(body=error.body(), status=error.status, content_type=JSON)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # task boundary: the client is told, and others are served
            logger.exception("a gateway request failed")
            wrong = WireError(500, f"{type(error).__name__}: {error}", "internal")
            return Answer(body=wrong.body(), status=wrong.status, content_type=JSON)

    def refusal(self, refusal: Refusal) -> Answer:
        """Put a refusal into an OpenAI error."""
        body = WireError(refusal.status, refusal.text).body()
        return Answer(body=body, status=refusal.status, content_type=JSON)

    async def _answer(self, head: Head, body: bytes) -> Answer:
        session = self._session(head)
        path = head.path.partition("?")[0]
        model = self.config.model
        if session is None:
            raise WireError(401, "the session is over.", "session_over")
        if head.method == "GET" and path.endswith("/v1/models"):
            listed = {"object": "list", "data": [{"id": model, "object": "model"}]}
            return Answer(body=json.dumps(listed).encode(), content_type=JSON)
        if head.method != "POST" or not path.endswith("/v1/chat/completions"):
            raise WireError(404, f"expected POST /v1/chat/completions, got {head.method} {path}.")
        request = parse(body)
        reply = await session.complete(request)
        return Answer(
            body=reply.body(model, stream=request.stream),
            content_type="text/event-stream" if request.stream else JSON,
        )

    def _session(self, head: Head) -> GatewaySession | None:
        if head.path.startswith(PREFIX):
            return self._sessions.get(head.path.removeprefix(PREFIX).partition("/")[0])
        bearer = head.headers.get("authorization", "")
        return self._sessions.get(bearer.removeprefix("Bearer "))
