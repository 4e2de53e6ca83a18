"""Replies in which marks stand around thinking and calls: every style but harmony."""

import json
import re

from proofgym.agents.tool_parsing.call_bodies import MalformedError, Schemas, json_call
from proofgym.agents.tool_parsing.draft import Draft
from proofgym.agents.tool_parsing.flow import Flow
from proofgym.agents.tool_parsing.scanner import Piece
from proofgym.agents.tool_parsing.styles import Quoting, Style

_BARE_CALL = re.compile(r'\s*\{\s*"name"\s*:')


class _Call:
    """A call that has begun."""

    def __init__(self, style: Style, mark: Piece) -> None:
        self.style = style
        self.at = mark.at
        self.body_at = mark.at + len(mark.text)
        self.parts: list[str] = []
        self._in_string = False
        self._escaped = False

    @property
    def protected(self) -> bool:
        """Whether a closing mark would be text here."""
        if self.style.quoting is Quoting.UNTIL_TAIL:
            return not self._ending().endswith(self.style.quote)
        return self._in_string

    def add(self, piece: Piece) -> None:
        """Take what stands in the call."""
        self.parts.append(piece.text)
        if self.style.quoting is Quoting.QUOTE_MARK:
            self._in_string ^= piece.is_mark and piece.text == self.style.quote
        elif self.style.quoting is Quoting.JSON_STRING:
            for symbol in piece.text:
                if self._escaped:
                    self._escaped = False
                elif symbol == '"':
                    self._in_string = not self._in_string
                elif symbol == "\\":
                    self._escaped = self._in_string

    def _ending(self) -> str:
        ending = ""
        for part in reversed(self.parts):
            ending = (part + ending).rstrip()
            if len(ending) >= len(self.style.quote):
                break
        return ending


class TaggedReader:
    """Read one reply.

    Args:
        style: its marks.
        draft: filled in.
        schemas: the tools' JSON schemas; a bare JSON object is a call only where there are tools.
        thinking: whether the prompt has opened the thinking already.
    """

    def __init__(self, style: Style, draft: Draft, schemas: Schemas, *, thinking: bool) -> None:
        self.style = style
        self.draft = draft
        self.schemas = schemas
        self._thinking = False
        self._call: _Call | None = None
        self._bare: list[str] | None = [] if style.bare and schemas else None
        self._bare_begun = False
        if thinking and style.think_open:
            self._think()

    def piece(self, piece: Piece) -> None:
        """Take the next mark or text."""
        if self._call is not None:
            self._in_call(self._call, piece)
        elif self._thinking:
            self._in_thinking(piece)
        elif piece.is_mark:
            self._mark(piece)
        else:
            self._text(piece.text)

    def finish(self) -> None:
        """Take the end of the reply."""
        if self._call is not None:
            self._end_call(self._call, "")
        if self._thinking and self.draft.reasoning is not None:
            self._end_thinking()
        if self._bare:
            self._end_bare("".join(self._bare))
        self.draft.close()

    def _text(self, text: str) -> None:
        if self._bare is not None:
            self._bare.append(text)
            start = text.lstrip()
            self._bare_begun = self._bare_begun or start.startswith("{")
            if not start or self._bare_begun:
                return  # until the end it may be a call
            self._flush_bare()
        else:
            self.draft.content.add(text)

    def _mark(self, piece: Piece) -> None:
        style, draft = self.style, self.draft
        if piece.text == style.call_open and style.read is not None:
            self._flush_bare()
            self._call = _Call(style, piece)
        elif piece.text in style.call_group:
            pass
        elif piece.text == style.think_open and self._may_think():
            draft.content.drop()
            self._think()
        else:
            self._text(piece.text)

    def _may_think(self) -> bool:
        draft = self.draft
        fresh = draft.reasoning is None and not draft.calls and not draft.content.parts
        return fresh and (bool(self.style.pad) or not draft.content.begun)

    def _think(self) -> None:
        style = self.style
        self._thinking = True
        self.draft.think(Flow(label=style.think_label, lead=style.pad, trail=style.pad))

    def _in_thinking(self, piece: Piece) -> None:
        assert self.draft.reasoning is not None
        if piece.is_mark and piece.text == self.style.think_close:
            self._end_thinking()
        else:
            self.draft.reasoning.add(piece.text)

    def _end_thinking(self) -> None:
        assert self.draft.reasoning is not None
        self._thinking = False
        if self.draft.reasoning.label:
            self.draft.reasoning.release()  # the label was not whole, so it is thinking
        self.draft.reasoning.drop()
        self.draft.content.lead = self.style.pad

    def _in_call(self, call: _Call, piece: Piece) -> None:
        style = self.style
        if not piece.is_mark or call.protected:
            call.add(piece)
        elif style.call_close and piece.text == style.call_close:
            self._end_call(call, piece.text)
        elif not style.call_close and piece.text == style.call_open:
            self._end_call(call, "")
            self._call = _Call(style, piece)
        else:
            call.add(piece)

    def _end_call(self, call: _Call, closed_by: str) -> None:
        self._call = None
        assert self.style.read is not None
        body = "".join(call.parts)
        try:
            self.draft.call(self.style.read(body, self.schemas))
        except MalformedError as error:
            raw = f"{self.style.call_open}{body}{closed_by}"
            self.draft.malformed(raw, call.at, call.body_at, error)

    def _flush_bare(self) -> None:
        held, self._bare = self._bare, None
        if held:
            self.draft.content.add("".join(held))

    def _end_bare(self, text: str) -> None:
        """Decide whether a reply that is JSON is a call."""
        if _BARE_CALL.match(text) is None:
            self.draft.content.add(text)
            return
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and not value.keys() & {"parameters", "arguments"}:
            self.draft.content.add(text)  # an answer that happens to have a name
            return
        try:
            self.draft.call(json_call(text, self.schemas))
        except MalformedError as error:
            self.draft.malformed(text, 0, 0, error)
