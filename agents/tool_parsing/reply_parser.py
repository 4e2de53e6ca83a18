"""Parse a policy's reply, at once or in chunks, from text or from tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proofgym.agents.tool_parsing.call_bodies import Schemas
from proofgym.agents.tool_parsing.draft import Delta, Draft
from proofgym.agents.tool_parsing.harmony import HarmonyReader
from proofgym.agents.tool_parsing.scanner import Scanner
from proofgym.agents.tool_parsing.styles import Style
from proofgym.agents.tool_parsing.tagged import TaggedReader
from proofgym.verifiers import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of a reply's tokens.

    Args:
        text: what they say.
        is_mark: it is one token, which stands for a mark of the style.
    """

    text: str
    is_mark: bool = False


class ReplyStream:
    """One reply as it arrives. The message is the same however it is cut into chunks.

    Args:
        style: how it is written.
        text_marks: the marks to look for in text; those that are tokens come as segments.
        turn: part of the calls' ids.
        schemas: of the tools that the policy has.
        thinking: whether the prompt has opened the thinking already.
    """

    def __init__(
        self,
        style: Style,
        text_marks: Sequence[str],
        *,
        turn: int,
        schemas: Schemas = (),
        thinking: bool = False,
    ) -> None:
        self._draft = Draft(turn)
        self._scanner = Scanner(text_marks)
        self._reader: HarmonyReader | TaggedReader
        if style.channels:
            self._reader = HarmonyReader(self._draft)
        else:
            self._reader = TaggedReader(style, self._draft, schemas, thinking=thinking)

    def feed(self, text: str) -> Delta:
        """Take a chunk of text."""
        self.read(text)
        return self._draft.delta()

    def feed_mark(self, mark: str) -> Delta:
        """Take a mark that is a token."""
        self.read_mark(mark)
        return self._draft.delta()

    def read(self, text: str) -> None:
        """Take a chunk of text without saying what it brought."""
        for piece in self._scanner.text(text):
            self._reader.piece(piece)

    def read_mark(self, mark: str) -> None:
        """Take a mark that is a token without saying what it brought."""
        for piece in self._scanner.mark(mark):
            self._reader.piece(piece)

    def finish(self) -> tuple[Message, Delta]:
        """Take the end: return the whole message, and what no delta has brought yet."""
        for piece in self._scanner.finish():
            self._reader.piece(piece)
        self._reader.finish()
        return self._draft.message(), self._draft.delta()


class ReplyParser:
    """Parse whole replies of one style. It never raises, and never invents a call.

    A malformed call is a call with an ``error`` that gives the position; the environment answers
    it with an observation.
    """

    def __init__(self, style: Style) -> None:
        self.style = style

    def __call__(
        self, text: str, *, turn: int, schemas: Schemas = (), thinking: bool = False
    ) -> Message:
        """Parse text, marks included, the stop token removed."""
        stream = self.stream(self.style.marks, turn=turn, schemas=schemas, thinking=thinking)
        stream.read(text)
        return stream.finish()[0]

    def segments(
        self,
        segments: Iterable[Segment],
        text_marks: Sequence[str],
        *,
        turn: int,
        schemas: Schemas = (),
        thinking: bool = False,
    ) -> Message:
        """Parse a reply's tokens; ``text_marks`` are the style's marks that are no tokens."""
        stream = self.stream(text_marks, turn=turn, schemas=schemas, thinking=thinking)
        for segment in segments:
            if segment.is_mark:
                stream.read_mark(segment.text)
            else:
                stream.read(segment.text)
        return stream.finish()[0]

    def stream(
        self,
        text_marks: Sequence[str] | None = None,
        *,
        turn: int,
        schemas: Schemas = (),
        thinking: bool = False,
    ) -> ReplyStream:
        """Begin a reply that arrives in chunks."""
        marks = self.style.marks if text_marks is None else text_marks
        return ReplyStream(self.style, marks, turn=turn, schemas=schemas, thinking=thinking)
