"""Chat completions on the wire: requests that we can serve exactly, and answers to them."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proofgym.verifiers import Message, ToolCall, VerifierError

REFUSED: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stop": ([],),
    "tool_choice": ("auto",),
    "response_format": ({"type": "text"},),
    "functions": ([],),
    "logprobs": (False,),
    "logit_bias": ({},),
    "echo": (False,),
}
"""Fields that would change what is sampled or returned in a way we do not offer, and the values
that change nothing. Temperature, top_p, penalties and the seed are the run's, not the request's."""


class WireError(Exception):
    """A request gets this answer in place of a completion."""

    def __init__(self, status: int, message: str, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def body(self) -> bytes:
        """Return the OpenAI error object."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": str(self), "type": kind, "param": None, "code": self.code}
        return json.dumps({"error": error}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request for the next message."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    max_tokens: int | None
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """A completion, as the client gets it.

    Args:
        id: of the turn.
        message: as shown.
        cut: whether it ended at a length limit.
        prompt_tokens, completion_tokens: exact.
    """

    id: str
    message: Message
    cut: bool
    prompt_tokens: int
    completion_tokens: int

    def body(self, model: str, *, stream: bool) -> bytes:
        """Return the whole completion; or, streamed, its events, which come at once."""
        finish = "tool_calls" if self.message.tool_calls else "stop"
        finish = "length" if self.cut else finish
        total = self.prompt_tokens + self.completion_tokens
        usage = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }
        wired = self.message.to_openai()
        wired["content"] = wired["content"] or None
        about = {"id": self.id, "created": int(time.time()), "model": model}
        if not stream:
            choice = {"index": 0, "message": wired, "finish_reason": finish, "logprobs": None}
            whole = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
            return json.dumps(whole).encode()
        for index, call in enumerate(wired.get("tool_calls", ())):
            call["index"] = index
        about["object"] = "chat.completion.chunk"
        said = {**about, "choices": [{"index": 0, "delta": wired, "finish_reason": None}]}
        ended = {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        counted = {**about, "choices": [], "usage": usage}
        events = [json.dumps(event) for event in (said, ended, counted)]
        return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()


def parse(body: bytes) -> ChatRequest:
    """Read a request.

    Raises:
        WireError: it is none, or asks for what cannot be served exactly.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise WireError(400, "expected a JSON body.") from None
    if not isinstance(raw, dict):
        raise WireError(400, f"expected a JSON object, got {type(raw).__name__}.")
    for name, neutral in REFUSED.items():
        if raw.get(name) is not None and raw[name] not in neutral:
            raise WireError(
                400, f"this gateway does not serve {name}={raw[name]!r:.80}; leave it out."
            )
    raw_messages = raw.get("messages")
    if not isinstance(raw_messages, list) or not raw_messages:
        raise WireError(400, "expected messages, a list that is not empty.")
    tools = raw.get("tools") or []
    if not isinstance(tools, list) or not all(map(_is_tool, tools)):
        raise WireError(400, "expected tools as {'type': 'function', 'function': {'name': ...}}.")
    most = raw.get("max_completion_tokens") or raw.get("max_tokens")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise WireError(400, f"expected max_tokens of at least 1, got {most!r:.80}.")
    return ChatRequest(
        messages=tuple(map(_message, raw_messages)),
        tools=tuple(tools),
        max_tokens=most,
        stream=bool(raw.get("stream")),
    )


def shown(message: Message) -> Message:
    """Return what a client sees of a message: a malformed call is text, for it cannot be run."""
    broken = [call.arguments for call in message.tool_calls if call.error is not None]
    if not broken:
        return message
    good = tuple(call for call in message.tool_calls if call.error is None)
    content = "\n".join(filter(None, [message.content, *broken]))
    return replace(message, content=content, tool_calls=good)


def same(ours: Message, theirs: Message) -> bool:
    """Whether a client sent a message back as it got or gave it.

    An assistant's reasoning, padding and the layout of its arguments do not count: clients drop or
    rewrite them, and the tokens that we continue are our own record.
    """
    if ours.role is not theirs.role or ours.tool_call_id != theirs.tool_call_id:
        return False
    if ours.role != "assistant":
        return ours.content == theirs.content
    return (
        ours.content.strip() == theirs.content.strip()
        and len(ours.tool_calls) == len(theirs.tool_calls)
        and all(map(_same_call, ours.tool_calls, theirs.tool_calls))
    )


def same_all(ours: Sequence[Message], theirs: Sequence[Message]) -> bool:
    """Whether two conversations are the same."""
    return len(ours) == len(theirs) and all(map(same, ours, theirs))


def _same_call(ours: ToolCall, theirs: ToolCall) -> bool:
    if (ours.id, ours.name) != (theirs.id, theirs.name):
        return False
    if ours.arguments == theirs.arguments:
        return True
    try:
        return bool(json.loads(ours.arguments) == json.loads(theirs.arguments))
    except (ValueError, RecursionError):
        return False


def _is_tool(raw: object) -> bool:
    function = raw.get("function") if isinstance(raw, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _message(raw: object) -> Message:
    if not isinstance(raw, dict):
        raise WireError(400, f"expected a message, got {type(raw).__name__}.")
    plain = {**raw, "content": _text(raw.get("content"))}
    if plain.get("role") == "developer":
        plain["role"] = "system"
    try:
        return Message.from_openai(plain)
    except VerifierError as error:
        raise WireError(400, str(error)) from None


def _text(content: object) -> object:
    if not isinstance(content, list):
        return content
    parts = [part.get("text") if isinstance(part, dict) else None for part in content]
    if not all(isinstance(part, str) for part in parts):
        raise WireError(400, "expected content of text parts only.")
    return "".join(str(part) for part in parts)
