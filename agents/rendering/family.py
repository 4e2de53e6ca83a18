"""The families of chat templates: what to know of each, and how to recognise it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from proofgym.agents.errors import RenderError
from proofgym.agents.tool_parsing import STYLES, Style


class Reasoning(Enum):
    """Where a template looks for an assistant message's thinking."""

    FIELD = "reasoning_content"
    THINKING = "thinking"
    BLOCKS = "content blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models whose chat templates are alike.

    Args:
        style: how they write replies.
        has: texts that all occur in such a template.
        lacks: texts of which none does.
        stops: tokens that end a turn beside the template's own, where the tokenizer has them.
        reasoning: where the template looks for thinking.
        short_ids: calls must have ids of nine letters and digits.
        call_before_result: the template refuses or drops a tool's message that follows no call.
        silence: what stands for a reply without content, where the template refuses an empty one.
    """

    style: Style
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    reasoning: Reasoning = Reasoning.FIELD
    short_ids: bool = False
    call_before_result: bool = False
    silence: str = ""

    @property
    def name(self) -> str:
        """What configuration calls it."""
        return self.style.name

    def wrote(self, template: str) -> bool:
        """Whether a template is of this family."""
        return all(text in template for text in self.has) and not any(
            text in template for text in self.lacks
        )


_QWEN_STOPS = ("<|endoftext|>",)
_ORDERED = (
    Family(style=STYLES["builtin"], has=("<|call|>", "<|thought|>")),
    Family(
        style=STYLES["harmony"],
        has=("<|channel|>", "<|start|>"),
        stops=("<|return|>", "<|call|>"),
        reasoning=Reasoning.THINKING,
        call_before_result=True,
    ),
    Family(style=STYLES["qwen3-coder"], has=("<tool_call>", "<function="), stops=_QWEN_STOPS),
    Family(
        style=STYLES["gemma4"],
        has=("<|tool_call>",),
        stops=("<eos>", "<|tool_response>"),
        call_before_result=True,
    ),
    Family(
        style=STYLES["function-gemma"],
        has=("<start_function_call>",),
        stops=("<eos>", "<start_function_response>"),
        call_before_result=True,
    ),
    Family(
        style=STYLES["mistral"],
        has=("[TOOL_CALLS]",),
        reasoning=Reasoning.BLOCKS,
        short_ids=True,
        call_before_result=True,
        silence="\u200b",
    ),
    Family(style=STYLES["deepseek"], has=("<｜tool▁call▁begin｜>",)),
    Family(
        style=STYLES["llama3"],
        has=("<|start_header_id|>", "tool_calls"),
        stops=("<|end_of_text|>", "<|eom_id|>"),
    ),
    Family(style=STYLES["hermes"], has=("<tool_call>",), lacks=("<arg_key>",), stops=_QWEN_STOPS),
    Family(style=STYLES["thinking"], has=("<think>",), lacks=("tool_calls",)),
    Family(style=STYLES["text"], lacks=("tool_calls",)),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _ORDERED}
"""By name; the first that fits a template is taken."""


def family_of(template: str, name: str = "auto") -> Family:
    """Find a template's family.

    A template that does not mention a style's thinking marks keeps thinking as plain content, so
    for such a template its style has none.

    Args:
        template: the chat template.
        name: the family's name, or ``auto``.

    Raises:
        RenderError: the name is none of a family, or the template is of none that is known.
    """
    if name != "auto" and name not in FAMILIES:
        raise RenderError(
            f"rendering.family must be auto or one of {', '.join(FAMILIES)}; got {name!r}."
        )
    fitting = [FAMILIES[name]] if name != "auto" else [
        family for family in _ORDERED if family.wrote(template)
    ]  # fmt: skip
    if not fitting:
        raise RenderError(
            "expected a chat template whose tool calls are written in a known way, got another. "
            f"Set rendering.family to the one that fits: {', '.join(FAMILIES)}."
        )
    family = fitting[0]
    if family.style.think_open and family.style.think_open not in template:
        plain = replace(family.style, think_open="", think_close="", think_label="")
        return replace(family, style=plain, reasoning=Reasoning.FIELD)
    return family
