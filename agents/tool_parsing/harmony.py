"""Replies in harmony (gpt-oss): messages with headers, on channels.

``<|channel|>analysis<|message|>..<|end|><|start|>assistant to=functions.NAME<|channel|>commentary
json<|message|>{..}<|call|>``; the prompt has written the first ``<|start|>assistant``.
"""

import re

from proofgym.agents.tool_parsing.call_bodies import MalformedError, ReadCall, named_json
from proofgym.agents.tool_parsing.draft import Draft
from proofgym.agents.tool_parsing.flow import Flow
from proofgym.agents.tool_parsing.scanner import Piece

_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([^\s<]+)")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_ENDS = ("<|end|>", "<|call|>", "<|return|>")


class HarmonyReader:
    """Read one reply; text outside a message's form becomes content as it stands."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._header: list[str] | None = []
        self._header_at = 0
        self._body_at = 0
        self._role = "assistant"
        self._sink: Flow | None = None
        self._call: list[str] | None = None
        self._recipient = ""

    def piece(self, piece: Piece) -> None:
        """Take the next mark or text."""
        if self._header is not None:
            self._in_header(self._header, piece)
        elif piece.is_mark and piece.text == "<|start|>":
            self._end_body()
            self._header, self._header_at, self._role = [], piece.at, ""
        elif piece.is_mark and piece.text in _ENDS:
            self._end_body()
        elif self._call is not None:
            self._call.append(piece.text)
        else:
            (self._sink or self.draft.content).add(piece.text)

    def finish(self) -> None:
        """Take the end of the reply."""
        self._end_body()
        if self._header is not None:
            self._spill(self._header)
        self.draft.close()

    def _in_header(self, header: list[str], piece: Piece) -> None:
        if piece.is_mark and piece.text == "<|message|>":
            self._begin_body("".join(header), piece)
        elif piece.is_mark and piece.text in ("<|start|>", *_ENDS):
            self._spill([*header, piece.text])
            self._header = None
        else:
            header.append(piece.text)

    def _begin_body(self, header: str, mark: Piece) -> None:
        recipient, channel = _RECIPIENT.search(header), _CHANNEL.search(header)
        if not self._role and not header.startswith("assistant"):
            self._spill([header, mark.text])  # somebody else's message, which is not its to write
        elif recipient is not None:
            self._recipient, self._call = recipient[1], []
            self._body_at = mark.at + len(mark.text)
        elif channel is not None and channel[1] == "analysis":
            self._sink = self._thinking()
        elif channel is None:
            self._spill([header, mark.text])
        self._header = None

    def _thinking(self) -> Flow:
        if self.draft.reasoning is None:
            self.draft.think(Flow())
        else:
            self.draft.reasoning.add("\n")
        assert self.draft.reasoning is not None
        return self.draft.reasoning

    def _end_body(self) -> None:
        self._sink = None
        body, self._call = self._call, None
        if body is None:
            return
        text = "".join(body)
        try:
            self.draft.call(self._read(text))
        except MalformedError as error:
            self.draft.malformed(text, self._header_at, self._body_at, error)

    def _read(self, text: str) -> list[ReadCall]:
        head = self._recipient
        try:
            (call,) = named_json(f"{head}{text.strip()}", ())
        except MalformedError as error:
            raise MalformedError(str(error), max(0, error.offset - len(head))) from None
        return [ReadCall(name=head, arguments=call.arguments)]

    def _spill(self, header: list[str]) -> None:
        self._header = None
        for text in header:
            self.draft.content.add(text)
