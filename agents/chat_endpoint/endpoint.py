"""Play with a model behind any OpenAI-compatible URL. For evaluation: it gives no token ids."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proofgym.agents.chat_endpoint.adaptive_limit import AdaptiveLimit, Ticket
from proofgym.agents.chat_endpoint.config import ChatEndpointConfig
from proofgym.agents.chat_endpoint.usage import Usage
from proofgym.agents.errors import EngineError
from proofgym.agents.policy import Act
from proofgym.envs import Opening, derive
from proofgym.verifiers import Message, Role, Secret, VerifierError
from proofgym.verifiers.judge.chat_call import ChatCall, ChatRefused, ChatReplyError, RetryLater

if TYPE_CHECKING:
    import httpx2

logger = logging.getLogger(__name__)

FIRST_WAIT_S, MAX_WAIT_S = 0.5, 60.0
_HOPELESS = frozenset((401, 402, 403, 404))
_NO_ROOM = ("context_length_exceeded", "maximum context length", "context window")


class EndpointRefusedError(EngineError):
    """The server refuses us (the key, the model's name, the account). No retry helps."""


class ChatEndpoint:
    """A policy that asks a server for each message.

    Requests wait for a place under an adaptive limit (:class:`AdaptiveLimit`), and are sent again
    after what may pass: 429, 5xx, a broken connection, no answer in time. Asking twice changes
    nothing at a chat server but the bill. Once the server has refused the key or the model, every
    further message fails at once, so that a run with a wrong key ends in a moment.

    Args:
        config: where and how.
        api_key: a bearer token. It is in no log, repr or error.
    """

    def __init__(self, config: ChatEndpointConfig, *, api_key: Secret[str] | None = None) -> None:
        self.config = config
        self.usage = Usage()
        self.limit = AdaptiveLimit(start=config.concurrency, most=config.max_concurrency)
        self._call = ChatCall(base_url=config.base_url, api_key=api_key)
        self._client: httpx2.AsyncClient | None = None
        self._refused: str | None = None
        self._tokens_field: str = config.max_tokens_field

    def seat(self, opening: Opening, seed: int) -> "ChatSeat":
        """Sit down to one episode."""
        return ChatSeat(self, opening, seed)

    async def close(self) -> None:
        """Hang up; the next message connects again, in whichever event loop it is asked for."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        seed: int,
    ) -> Act:
        """Ask for the next message. The time spent waiting for a place is not counted.

        Raises:
            EndpointRefusedError: the server refuses us.
            EngineError: the server refuses this request, sends what is no chat completion, or has
                not answered within the retries and the deadline.
        """
        config, body = self.config, self._body(messages, tools, seed)
        deadline = 0.0
        for attempt in range(config.retries + 1):
            ticket = await self.limit.enter()
            field = self._tokens_field
            try:
                if self._refused is not None:
                    raise EndpointRefusedError(self._refused)
                deadline = deadline or time.monotonic() + config.deadline_s
                left_s = max(0.001, deadline - time.monotonic())
                self.usage.requests += 1
                self.usage.retries += attempt > 0
                answer = await self._call.send(
                    self._connected(),
                    {**body, field: max_tokens},
                    timeout_s=min(config.timeout_s, left_s),
                )
                self.limit.succeeded()
                return self._act(answer)
            except RetryLater as error:
                self._learn(ticket, error)
                wait_s = self._wait(attempt, error, deadline)
            except ChatRefused as error:
                full = self._understood(error, field)
                if full is not None:
                    return full
                wait_s = 0.0
            except ChatReplyError as error:
                raise EngineError(f"{config.base_url}: {error}") from None
            finally:
                self.limit.leave()
            await asyncio.sleep(wait_s)
        raise EngineError(f"{config.base_url} refuses max_tokens. Raise endpoint.retries above 0.")

    def _connected(self) -> "httpx2.AsyncClient":
        import httpx2

        if self._client is None:
            most = self.config.max_concurrency
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=most)
            self._client = httpx2.AsyncClient(limits=limits, trust_env=False)
        return self._client

    def _body(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], seed: int
    ) -> dict[str, Any]:
        config = self.config
        body: dict[str, Any] = {
            "model": config.model,
            "messages": [_wired(one, reasoning=config.send_reasoning) for one in messages],
            "temperature": config.temperature,
        }
        if tools:
            body["tools"] = [dict(tool) for tool in tools]
        if config.send_seed:
            body["seed"] = seed % 2**31
        return body | config.extra

    def _learn(self, ticket: Ticket, error: RetryLater) -> None:
        """Let all other requests know what one's failure says about the server."""
        if error.status != 429:
            self.limit.troubled()
            return
        self.usage.rate_limited += 1
        most_s = self.config.deadline_s
        if error.after_s is not None and error.after_s >= most_s:  # a quota, not a rate
            self._refused = (
                f"{self.config.base_url} asks to come back in {error.after_s:.0f} s, which is "
                f"beyond endpoint.deadline_s ({most_s:g}). Run the same command again after that."
            )
            raise EndpointRefusedError(self._refused) from None
        self.limit.slow_down(ticket, error.after_s)

    def _wait(self, attempt: int, error: RetryLater, deadline: float) -> float:
        """Return how long to wait before the next attempt; raises where there is none."""
        wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0**attempt) * (0.5 + random.random())
        wait_s = max(wait_s, error.after_s or 0.0)
        if attempt >= self.config.retries or time.monotonic() + wait_s >= deadline:
            raise EngineError(
                f"{self.config.base_url} gave no message in {attempt + 1} attempts, the last: "
                f"{str(error)[:200]}. Raise endpoint.retries or endpoint.deadline_s, or lower "
                "endpoint.max_concurrency."
            ) from None
        logger.info("asking %s again in %.1f s: %s", self.config.base_url, wait_s, error)
        return wait_s

    def _understood(self, error: ChatRefused, field: str) -> Act | None:
        """Tell what a refusal means: no room in the context; or None, ask again in other words."""
        if error.status in _HOPELESS:
            self._refused = (
                f"{self.config.base_url} refuses model {self.config.model!r}: {error}. "
                "Check the URL, the model's name and the key's environment variable."
            )
            raise EndpointRefusedError(self._refused) from None
        if error.status in (400, 413) and any(words in error.text for words in _NO_ROOM):
            return Act(message=None, cut=True, context_full=True)
        newer = "max_completion_tokens"
        if error.status == 400 and newer in error.text and field != newer:
            self._tokens_field = newer  # models that think take this name only
            return None
        raise EngineError(f"{self.config.base_url} refuses a request: {error}.") from None

    def _act(self, answer: Mapping[str, Any]) -> Act:
        tokens = self.usage.count(answer.get("usage"))
        try:
            choice = answer["choices"][0]
            raw = dict(choice["message"])
            raw.setdefault("reasoning_content", raw.get("reasoning"))
            message = Message.from_openai(raw)
            cut = choice.get("finish_reason") == "length"
        except (LookupError, TypeError, ValueError, AttributeError, VerifierError) as error:
            raise ChatReplyError(
                f"expected a chat completion, got {answer!r:.200} ({type(error).__name__})."
            ) from None
        if message.role is not Role.ASSISTANT:
            raise ChatReplyError(f"expected an assistant's message, got a {message.role}'s.")
        return Act(message=message, cut=cut, tokens=tokens)


class ChatSeat:
    """A server's side of one episode."""

    def __init__(self, endpoint: ChatEndpoint, opening: Opening, seed: int) -> None:
        self.endpoint = endpoint
        self.messages = opening.messages
        self.tools = opening.tools
        self.seed = seed
        self.turn = 0

    async def act(self, *, max_tokens: int) -> Act:
        """Ask for the next message."""
        act = await self.draw(max_tokens=max_tokens, sample=0)
        self.take(act)
        return act

    async def draw(self, *, max_tokens: int, sample: int) -> Act:
        """Ask for a candidate."""
        place = ("turn", self.turn) if not sample else ("turn", self.turn, sample)
        return await self.endpoint.ask(
            self.messages,
            self.tools,
            max_tokens=min(max_tokens, self.endpoint.config.max_tokens),
            seed=derive(self.seed, *place),
        )

    def take(self, act: Act) -> None:
        """Say a candidate."""
        self.turn += 1
        if act.message is not None:
            self.messages = (*self.messages, act.message)

    def hear(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply."""
        self.messages = (*self.messages, *messages)


def _wired(message: Message, *, reasoning: bool) -> dict[str, Any]:
    """Write a message as strict servers take it: without fields of our own."""
    raw = message.to_openai()
    if not reasoning:
        raw.pop("reasoning_content", None)
    if message.role is Role.TOOL:
        raw.pop("name", None)
    for call in raw.get("tool_calls", ()):
        call.pop("error", None)
    return raw
