"""One conversation's exact tokens.

The next prompt is always the exact old ids, plus glue, plus the newly encoded messages. What the
policy sampled is never tokenised again. That this equals the template's whole rendering is proved
at every turn, for any template, from the whole rendering itself:

1. it begins with the text of the last prompt: nothing before the reply was rewritten;
2. what it has in the reply's place, up to the first stop token, reads back as the same message:
   nothing that the policy said was dropped (thinking, or the text beside a call);
3. it ends the reply with the stop token that the policy sampled. A tokenizer never merges across
   such a token, so the text behind it can be encoded by itself.

Where one of these fails the template rewrites history, and the extension is a fork: a new row that
begins with the whole rendering, so that nothing trains on tokens that the model did not see.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proofgym.agents.errors import RenderError
from proofgym.agents.rendering.growing import Rendering
from proofgym.envs import Source
from proofgym.verifiers import Message, Role, ToolCall

if TYPE_CHECKING:
    from proofgym.agents.rendering.renderer import Renderer

_SOURCES = {Role.TOOL: Source.TOOL, Role.USER: Source.USER, Role.SYSTEM: Source.USER}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """Tokens for the policy to read before it samples.

    Args:
        row: grows by one at a fork.
        new_ids: tokens that the row did not have yet, int32; at a fork the whole rendering.
        new_source: a Source for each, uint8.
        ids: the whole row so far, ``new_ids`` included.
    """

    row: int
    new_ids: NDArray[np.int32]
    new_source: NDArray[np.uint8]
    ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """The policy's last reply.

    Args:
        text: as it was sampled, the stop token removed.
        message: what it says.
        stop: the text of its stop token; empty where it was cut at a length limit.
    """

    text: str
    message: Message
    stop: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tail:
    """What the rendering has behind the reply: the stop token, and the text after it."""

    stop: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """How conversations begin that have the same opening; they share it.

    Args:
        wired: the messages as the template takes them.
        tools: the tools' schemas.
        rendering: of them.
        ids: of the rendering.
    """

    wired: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    rendering: Rendering
    ids: Sequence[int]


class Conversation:
    """One episode's exact tokens. Call :meth:`prompt`, then :meth:`said`, then :meth:`heard`."""

    def __init__(
        self,
        renderer: "Renderer",
        messages: Sequence[Message],
        opened: Opened,
    ) -> None:
        self.renderer = renderer
        self._messages = list(messages)
        self.row = 0
        self.turn = 0
        self._tools = opened.tools
        self._wired = list(opened.wired)
        self._rendering = opened.rendering
        self._ids = list(opened.ids)
        self._new = self._ids[:]
        self._source = renderer.sources(self._new, Source.USER)
        self._reply: _Reply | None = None

    @property
    def prompt(self) -> Prompt:
        """What the policy reads next."""
        return Prompt(
            row=self.row,
            new_ids=np.array(self._new, dtype=np.int32),
            new_source=self._source,
            ids=self._ids[:],
        )

    @property
    def messages(self) -> tuple[Message, ...]:
        """All that was said so far."""
        return tuple(self._messages)

    @property
    def length(self) -> int:
        """How many tokens there are so far."""
        return len(self._ids)

    def peek(self, ids: Sequence[int]) -> Message:
        """Return what the policy would say by these ids; nothing is said."""
        return self._reply_of([int(token) for token in ids]).message

    def said(self, ids: Sequence[int]) -> Message:
        """Take what the policy sampled, and return it as a message."""
        ids = [int(token) for token in ids]
        reply = self._reply_of(ids)
        self._ids.extend(ids)
        self._append(reply.message, reply)
        return reply.message

    def _reply_of(self, ids: list[int]) -> "_Reply":
        renderer = self.renderer
        stop = renderer.stop_texts.get(ids[-1], "") if ids else ""
        spoken = ids[:-1] if stop else ids
        message = renderer.parse(spoken, turn=self.turn, tools=self._tools, thinking=self.thinks)
        return _Reply(text=renderer.decode(spoken), message=message, stop=stop)

    @property
    def thinks(self) -> bool:
        """Whether the prompt ends within the thinking, opened by the template."""
        return self.renderer.thinking_at(self._rendering.text)

    def scripted(self, message: Message) -> list[int]:
        """Take a message that no engine sampled; return its ids, the stop token included.

        Raises:
            RenderError: the template rewrites what came before when this message is added.
        """
        renderer = self.renderer
        wired = [*self._wired, renderer.template.wire(message)]
        after = renderer.template.text(wired, self._tools, generate=False)
        found = renderer.stop_pattern.search(after, len(self._rendering.text))
        if not after.startswith(self._rendering.text) or found is None:
            raise RenderError(
                "expected the chat template to append an assistant message and end it with "
                f"{renderer.stop_text!r}; it did not. This template cannot be scripted."
            )
        spoken, stop = after[len(self._rendering.text) : found.start()], found[0]
        ids = [*renderer.encode(spoken), renderer.stops[stop]]
        self._ids.extend(ids)
        self._append(message, _Reply(text=spoken, message=self._read(spoken), stop=stop))
        return ids

    def heard(self, messages: Sequence[Message]) -> None:
        """Take the environment's reply, so that the policy can be prompted again."""
        template = self.renderer.template
        self._wired += [template.wire(message) for message in messages]
        rendering = template.grow(self._wired, self._tools, self._rendering)
        tail = self._tail(rendering.text)
        if tail is None:
            self._fork(rendering.text)
        else:
            self._extend(tail, messages)
        self._messages.extend(messages)
        self._rendering = rendering
        self._reply = None

    def _append(self, message: Message, reply: _Reply) -> None:
        self._messages.append(message)
        self._wired.append(self.renderer.template.wire(message))
        self._reply = reply
        self.turn += 1

    def _tail(self, text: str) -> _Tail | None:
        """Return what a rendering has behind the reply; None where it rewrites history."""
        reply, begin = self._reply, len(self._rendering.text)
        if reply is None or not text.startswith(self._rendering.text):
            return None
        found = self.renderer.stop_pattern.search(text, begin)
        if found is None or reply.stop not in ("", found[0]):
            return None
        rendered = text[begin : found.start()]
        if rendered != reply.text:
            meant = self.renderer.template.unmarked(reply.message)
            if not _say_the_same(meant, self._read(rendered)):
                return None
        return _Tail(stop=found[0], text=text[found.end() :])

    def _read(self, text: str) -> Message:
        thinking = self.renderer.thinking_at(self._rendering.text)
        return self.renderer.parser(text, turn=0, schemas=self._tools, thinking=thinking)

    def _extend(self, tail: _Tail, messages: Sequence[Message]) -> None:
        assert self._reply is not None
        renderer = self.renderer
        content = _SOURCES.get(messages[-1].role, Source.USER) if messages else Source.TEMPLATE
        new = renderer.encode_after(tail.stop, tail.text)
        source = renderer.sources(new, content)
        if not self._reply.stop:  # cut at a length limit: the end of the turn is forced upon it
            new = [renderer.stops[tail.stop], *new]
            source = np.concatenate([np.array([Source.FORCED], dtype=np.uint8), source])
        self._ids.extend(new)
        self._new, self._source = new, source

    def _fork(self, text: str) -> None:
        self.row += 1
        self._ids = self.renderer.encode(text)
        self._new = self._ids[:]
        self._source = self.renderer.sources(self._new, Source.USER)


def _say_the_same(one: Message, other: Message) -> bool:
    """Whether two messages differ in nothing but padding, the layout of JSON, and ids."""
    return (
        one.content.strip() == other.content.strip()
        and (one.reasoning or "").strip() == (other.reasoning or "").strip()
        and len(one.tool_calls) == len(other.tool_calls)
        and all(map(_same_call, one.tool_calls, other.tool_calls))
    )


def _same_call(one: ToolCall, other: ToolCall) -> bool:
    if (one.error is None) != (other.error is None) or one.name != other.name:
        return False
    if one.error is not None:
        return one.arguments.strip() == other.arguments.strip()
    try:
        return bool(json.loads(one.arguments) == json.loads(other.arguments))
    except (ValueError, RecursionError):
        return one.arguments == other.arguments
