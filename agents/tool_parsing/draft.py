"""The reply as it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from proofgym.agents.tool_parsing.call_bodies import MalformedError, ReadCall
from proofgym.agents.tool_parsing.flow import Flow
from proofgym.verifiers import Message, Role, ToolCall

WHITESPACE = " \t\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What a chunk brought.

    Args:
        content: more of the content; the deltas' sum is the message's.
        reasoning: more of the thinking, likewise.
        calls: calls that are whole by now.
    """

    content: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()


class Draft:
    """Gather content, thinking and calls; a reader fills it in.

    Args:
        turn: part of the calls' ids.
    """

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.content = Flow(trail=WHITESPACE)
        self.reasoning: Flow | None = None
        self.calls: list[ToolCall] = []
        self._given = 0

    def think(self, flow: Flow) -> None:
        """Begin the thinking."""
        self.reasoning = flow

    def call(self, found: Sequence[ReadCall]) -> None:
        """Add well-formed calls."""
        self.content.drop()  # the whitespace between content and call belongs to neither
        for one in found:
            taken = {call.id for call in self.calls}
            own = one.id if one.id and one.id not in taken else self._id()
            self.calls.append(ToolCall(id=own, name=one.name, arguments=one.arguments))

    def malformed(self, raw: str, at: int, body_at: int, error: MalformedError) -> None:
        """Add a call that cannot be read; it keeps its whole text, and says where it went wrong.

        Args:
            raw: its text, marks included.
            at: where it begins, in characters of the reply.
            body_at: where its body begins.
            error: what is wrong with the body.
        """
        self.content.drop()
        problem = (
            f"the call at character {at} is malformed at character {body_at + error.offset}: "
            f"{error}"
        )
        self.calls.append(ToolCall(id=self._id(), name="", arguments=raw, error=problem))

    def delta(self) -> Delta:
        """Return what is new since the last time."""
        calls, self._given = tuple(self.calls[self._given :]), len(self.calls)
        reasoning = self.reasoning.take() if self.reasoning is not None else ""
        return Delta(content=self.content.take(), reasoning=reasoning, calls=calls)

    def close(self) -> None:
        """Take the end of the reply."""
        if self.calls:
            self.content.drop()
        else:
            self.content.release()

    def message(self) -> Message:
        """Return the reply, once it is closed."""
        return Message(
            role=Role.ASSISTANT,
            content=self.content.text,
            tool_calls=tuple(self.calls),
            reasoning=self.reasoning.text if self.reasoning is not None else None,
        )

    def _id(self) -> str:
        return f"call-{self.turn}-{len(self.calls)}"
