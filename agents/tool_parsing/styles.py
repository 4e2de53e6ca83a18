"""How each family of models writes thinking and tool calls: data, read by one machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial

from proofgym.agents.tool_parsing.call_bodies import (
    ReadCall,
    Schemas,
    deepseek_call,
    gemma_call,
    json_call,
    json_call_or_script,
    mistral_calls,
    named_json,
    xml_call,
)


class Quoting(Enum):
    """When a closing mark inside a call is only text."""

    NEVER = 0
    JSON_STRING = 1  # while a JSON string is open
    QUOTE_MARK = 2  # between two of the style's quote marks
    UNTIL_TAIL = 3  # until the body ends with the style's tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One way to write a reply.

    Args:
        name: what configuration calls it.
        read: reads the text between the marks of a call; None where there are no calls.
        call_open: begins a call.
        call_close: ends one; empty where the next call or the end of the reply does.
        call_group: marks around several calls, which mean nothing by themselves.
        think_open: begins the thinking; empty where the style has none.
        think_close: ends it.
        think_label: what the thinking begins with, which is no part of it.
        pad: characters around the thinking that are no part of it or of the content.
        quoting: protects closing marks within a call.
        quote: for QUOTE_MARK, the mark; for UNTIL_TAIL, the tail.
        bare: a reply that is one JSON object with a "name" and "parameters" is a call by itself.
        channels: the reply is a sequence of messages with headers (harmony); the marks of that
            format are the reader's own.
    """

    name: str
    read: Callable[[str, Schemas], list[ReadCall]] | None = None
    call_open: str = ""
    call_close: str = ""
    call_group: tuple[str, ...] = ()
    think_open: str = ""
    think_close: str = ""
    think_label: str = ""
    pad: str = ""
    quoting: Quoting = Quoting.NEVER
    quote: str = ""
    bare: bool = False
    channels: bool = False

    @property
    def marks(self) -> tuple[str, ...]:
        """All that the reader must see as marks."""
        if self.channels:
            return HARMONY_MARKS
        quote = self.quote if self.quoting is Quoting.QUOTE_MARK else ""
        named = (self.call_open, self.call_close, self.think_open, self.think_close, quote)
        return tuple(mark for mark in (*named, *self.call_group) if mark)


HARMONY_MARKS = (
    "<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>",
)  # fmt: skip

_HERMES = Style(
    name="hermes",
    read=json_call,
    call_open="<tool_call>",
    call_close="</tool_call>",
    think_open="<think>",
    think_close="</think>",
    pad="\n",
    quoting=Quoting.JSON_STRING,
)
_GEMMA_QUOTE, _FUNCTION_GEMMA_QUOTE = '<|"|>', "<escape>"

_ALL = (
    Style(
        name="builtin",
        read=named_json,
        call_open="<|call|>",
        think_open="<|think|>",
        think_close="<|thought|>",
    ),
    _HERMES,
    Style(
        name="qwen3-coder",
        read=xml_call,
        call_open="<tool_call>",
        call_close="</tool_call>",
        think_open="<think>",
        think_close="</think>",
        pad="\n",
        quoting=Quoting.UNTIL_TAIL,
        quote="</function>",
    ),
    Style(name="llama3", read=json_call_or_script, call_open="<|python_tag|>", bare=True),
    Style(
        name="mistral",
        read=mistral_calls,
        call_open="[TOOL_CALLS]",
        think_open="[THINK]",
        think_close="[/THINK]",
        quoting=Quoting.JSON_STRING,
    ),
    Style(
        name="gemma4",
        read=partial(gemma_call, quote=_GEMMA_QUOTE),
        call_open="<|tool_call>",
        call_close="<tool_call|>",
        think_open="<|channel>",
        think_close="<channel|>",
        think_label="thought\n",
        pad="\n",
        quoting=Quoting.QUOTE_MARK,
        quote=_GEMMA_QUOTE,
    ),
    Style(
        name="function-gemma",
        read=partial(gemma_call, quote=_FUNCTION_GEMMA_QUOTE),
        call_open="<start_function_call>",
        call_close="<end_function_call>",
        quoting=Quoting.QUOTE_MARK,
        quote=_FUNCTION_GEMMA_QUOTE,
    ),
    Style(name="harmony", channels=True),
    Style(
        name="deepseek",
        read=deepseek_call,
        call_open="<｜tool▁call▁begin｜>",
        call_close="<｜tool▁call▁end｜>",
        call_group=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        think_open="<think>",
        think_close="</think>",
        pad="\n",
        quoting=Quoting.JSON_STRING,
    ),
    Style(name="thinking", think_open="<think>", think_close="</think>", pad="\n"),
    Style(name="text"),
)

STYLES: Mapping[str, Style] = {style.name: style for style in _ALL}
"""By name. ``thinking`` and ``text`` are for models without tool calls."""
