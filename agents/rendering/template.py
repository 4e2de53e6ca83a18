"""A chat template, with the peculiarities of its family evened out."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proofgym.agents.errors import RenderError
from proofgym.agents.rendering.family import Family, Reasoning
from proofgym.agents.rendering.growing import GrowingTemplate, Rendering
from proofgym.verifiers import Message, Role, ToolCall, assistant, tool_call, user

if TYPE_CHECKING:  # a base install plays scripted episodes without transformers
    from transformers import PreTrainedTokenizerFast

Tools = Sequence[Mapping[str, Any]]
_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "probe",
        "description": "Probe.",
        "parameters": {
            "type": "object",
            "properties": {"key": {"type": "string", "description": "A key."}},
            "required": ["key"],
        },
    },
}


class ChatTemplate:
    """Render messages to text.

    Special tokens that stand in what somebody said are broken up by a zero-width space, so that a
    web page which a tool returned cannot end the turn and speak as the assistant.

    Args:
        tokenizer: renders.
        source: the template.
        family: what to know of it.
        options: passed to the template.
        special: the texts of special tokens.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        source: str,
        family: Family,
        options: Mapping[str, Any],
        special: Iterable[str],
    ) -> None:
        self.tokenizer = tokenizer
        self.source = source
        self.family = family
        self.options = dict(options)
        special = frozenset(special)
        self._marks = _any_of(special)
        self._foreign_marks = _any_of(special - set(family.style.marks))
        self._arguments_as_text = self._prints_arguments_verbatim()
        self._growing = GrowingTemplate(source)
        self._special_tokens = dict(tokenizer.special_tokens_map)

    def text(self, wired: Sequence[Mapping[str, Any]], tools: Tools, *, generate: bool) -> str:
        """Render messages that :meth:`wire` made.

        Raises:
            RenderError: the template refuses them, such as a system message or two user messages
                in a row.
        """
        from jinja2 import TemplateError

        conversation: Any = list(wired)
        schemas: Any = list(tools) or None
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    conversation,
                    chat_template=self.source,
                    tools=schemas,
                    tokenize=False,
                    add_generation_prompt=generate,
                    **self.options,
                )
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise self._refusal(wired, error) from error

    def grow(
        self, wired: Sequence[Mapping[str, Any]], tools: Tools, before: Rendering | None = None
    ) -> Rendering:
        """Render the next prompt: the text of :meth:`text`, from where ``before`` stands.

        Args:
            wired: the messages; those that ``before`` had are the same objects.
            tools: the same object as for ``before``.
            before: the conversation's last rendering.

        Raises:
            RenderError: as :meth:`text` does.
        """
        from jinja2 import TemplateError

        if not wired:
            return Rendering(text=self.text(wired, tools, generate=True))
        variables = {
            "messages": list(wired),
            "tools": tools or None,
            "documents": None,
            "add_generation_prompt": True,
            **self._special_tokens,
            **self.options,
        }
        try:
            return self._growing.render(variables, before)
        except (TemplateError, TypeError, ValueError) as error:
            raise self._refusal(wired, error) from error

    def _refusal(self, wired: Sequence[Mapping[str, Any]], error: Exception) -> RenderError:
        roles = ", ".join(str(message["role"]) for message in wired)
        return RenderError(
            f"the chat template ({self.family.name}) refuses a conversation of the roles "
            f"[{roles}]: {error}. Write the environment's messages so that this model takes "
            "them, or set rendering.chat_template."
        )

    def wire(self, message: Message) -> dict[str, Any]:
        """Write a message as the template wants it."""
        if message.role is not Role.ASSISTANT:
            out = self.unmarked(message).to_openai()
            if self.family.short_ids and message.tool_call_id is not None:
                out["tool_call_id"] = _short_id(message.tool_call_id)
            return out
        whole, broken = self._split(message)
        plain = self.unmarked(whole)
        content = plain.content + "".join(
            self._foreign_marks.sub(_broken, call.arguments) for call in broken
        )
        return self._assistant(content, plain)

    def unmarked(self, message: Message) -> Message:
        """Break up special tokens in all that a message says."""
        return Message(
            role=message.role,
            content=self._plain(message.content),
            tool_calls=tuple(
                ToolCall(
                    id=call.id,
                    name=self._plain(call.name),
                    arguments=call.arguments if call.error else self._plain(call.arguments),
                    error=call.error,
                )
                for call in message.tool_calls
            ),
            tool_call_id=message.tool_call_id,
            name=message.name,
            reasoning=None if message.reasoning is None else self._plain(message.reasoning),
        )

    def takes_tools(self) -> bool:
        """Whether the template shows tools to the model."""
        hello = [self.wire(user("x"))]
        without = self.text(hello, (), generate=True)
        return self.text(hello, (_PROBE_TOOL,), generate=True) != without

    def ends(self) -> list[str]:
        """Render short conversations and return those that end with an assistant's turn."""
        said = [[user("x"), assistant("y")]]
        if self.family.style.read is not None or self.family.style.channels:
            said.append([user("x"), assistant("", tool_call("probe", key="y"))])
        rendered = []
        for messages in said:
            try:
                wired = [self.wire(message) for message in messages]
                rendered.append(self.text(wired, (), generate=False))
            except RenderError:
                continue  # a real conversation of this form says so itself
        return rendered

    def _split(self, message: Message) -> tuple[Message, list[ToolCall]]:
        """Tell the calls that can be rendered as calls from those that can only be text."""
        calls, broken = [], []
        for call in message.tool_calls:
            if call.error is None:
                calls.append(call)
            elif self.family.call_before_result:
                text = json.dumps({"malformed": call.arguments}, ensure_ascii=False)
                calls.append(ToolCall(id=call.id, name=call.name or "malformed", arguments=text))
            else:
                broken.append(call)
        whole = Message(
            role=message.role,
            content=message.content,
            tool_calls=tuple(calls),
            reasoning=message.reasoning,
        )
        return whole, broken

    def _assistant(self, content: str, message: Message) -> dict[str, Any]:
        out: dict[str, Any] = {"role": "assistant", "content": content}
        if message.reasoning is not None:
            if self.family.reasoning is Reasoning.BLOCKS:
                thinking = {"type": "thinking", "thinking": message.reasoning}
                text = [{"type": "text", "text": content}] if content else []
                out["content"] = [thinking, *text]
            else:
                out[self.family.reasoning.value] = message.reasoning
            if self.family.reasoning is Reasoning.THINKING and message.tool_calls:
                out["content"] = ""  # harmony's template refuses both beside a call
        if message.tool_calls:
            out["tool_calls"] = [self._call(call) for call in message.tool_calls]
        elif not out["content"]:
            out["content"] = self.family.silence
        return out

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments: Any = call.arguments
        if not self._arguments_as_text:
            arguments = _loaded(call.arguments)
        identity = _short_id(call.id) if self.family.short_ids else call.id
        return {
            "id": identity,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }

    def _prints_arguments_verbatim(self) -> bool:
        """Whether arguments given as text come out as the policy wrote them."""
        self._arguments_as_text = True
        call = ToolCall(id="probe0000", name="probe", arguments='{ "key":"y"}')
        try:
            wired = [self.wire(user("x")), self.wire(assistant("", call))]
            text = self.text(wired, (), generate=False)
            # Gemma 4 takes text too, and puts it between braces of its own
            return call.arguments in text and f"{{{call.arguments}" not in text
        except RenderError:
            return False

    def _plain(self, text: str) -> str:
        return self._marks.sub(_broken, text) if text else text


def _any_of(marks: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(marks, key=lambda mark: (-len(mark), mark))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _broken(found: re.Match[str]) -> str:
    return f"{found[0][0]}\u200b{found[0][1:]}"


def _loaded(arguments: str) -> Any:
    """Arguments as an object; text that is none (a person typed it, say) stays text."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _short_id(identity: str) -> str:
    if _SHORT_ID.fullmatch(identity):
        return identity
    return hashlib.blake2b(identity.encode("utf-8", "replace"), digest_size=5).hexdigest()[:9]
