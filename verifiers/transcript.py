"""What a verifier is given to judge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proofgym.sandboxes import Workspace
from proofgym.verifiers.message import Message, Role, ToolCall, final_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A finished conversation, and the state that the environment was left in.

    Args:
        messages: everything said, the prompt included.
        state: what a stateful environment exposes to its verifiers at the end.
        workspace: the episode's sandbox, for verifiers that judge the files in it.
    """

    messages: tuple[Message, ...]
    state: Mapping[str, Any] = field(default_factory=dict)
    workspace: Workspace | None = field(default=None, repr=False, compare=False)

    @property
    def final_text(self) -> str:
        """The policy's last word; empty when its last message asks for a tool."""
        return final_text(self.messages)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Every call that the policy asked for, in order, malformed ones included."""
        return tuple(
            call
            for message in self.messages
            if message.role is Role.ASSISTANT
            for call in message.tool_calls
        )
