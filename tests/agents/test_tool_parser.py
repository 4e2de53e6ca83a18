import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofgym.agents.tool_parsing import STYLES, ReplyParser
from proofgym.verifiers import Message, Role
from tests.agents.random_chats import TOOLS

DEEP = "[" * 100_000
ORDINARY = [
    "{",
    "}",
    '"',
    "[",
    "]",
    "\\",
    "calc",
    " ",
    "\n",
    "é",
    "🤖",
    "call:f",
    '"name":',
    "assistant",
]
INVENTED = "<|", "<tool", "</", "[TOOL", "｜"  # beginnings of marks


@st.composite
def soups(draw: st.DrawFn) -> tuple[str, str]:
    """A style's name, and text full of its marks and of parts of its calls."""
    style = STYLES[draw(st.sampled_from(sorted(STYLES)))]
    parts = [*style.marks * 2, *ORDINARY, *INVENTED, "<function=f>", "</function>", "analysis",
             "<parameter=a>", "</parameter>", "[ARGS]", "{}", " to=functions.f", '{"name": "f"',
             ', "parameters": {}}', "<｜tool▁sep｜>"]  # fmt: skip
    pieces = draw(st.lists(st.sampled_from(parts) | st.text(max_size=6), max_size=24))
    return style.name, "".join(pieces)


def parse(style: str, text: str, **options: Any) -> Message:
    return ReplyParser(STYLES[style])(text, turn=0, schemas=TOOLS, **options)


@settings(deadline=None, max_examples=300)
@given(soups(), st.booleans())
def test_no_text_raises_and_every_call_is_sound_or_says_why(
    soup: tuple[str, str], thinking: bool
) -> None:
    style, text = soup
    message = parse(style, text, thinking=thinking)
    assert message.role is Role.ASSISTANT
    assert len({call.id for call in message.tool_calls}) == len(message.tool_calls)
    for call in message.tool_calls:
        if call.error is None:
            assert call.name
            assert call.name in text
            assert isinstance(json.loads(call.arguments), dict)
        else:
            assert call.arguments in text
            assert "character" in call.error


@settings(deadline=None, max_examples=300)
@given(soups(), st.randoms(use_true_random=False))
def test_the_message_is_the_same_however_the_text_is_cut(
    soup: tuple[str, str], rng: random.Random
) -> None:
    style, text = soup
    whole = parse(style, text)
    stream = ReplyParser(STYLES[style]).stream(turn=0, schemas=TOOLS)
    content = reasoning = ""
    calls: list[object] = []
    while text:
        size = rng.choice([1, 1, 2, 5, 40])
        delta = stream.feed(text[:size])
        content, reasoning, text = content + delta.content, reasoning + delta.reasoning, text[size:]
        calls += delta.calls
        assert whole.content.startswith(content), "what a delta brought is never taken back"
    message, last = stream.finish()
    assert message == whole
    assert content + last.content == whole.content
    assert reasoning + last.reasoning == (whole.reasoning or "")
    assert [*calls, *last.calls] == list(whole.tool_calls)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(STYLES)), st.lists(st.sampled_from(ORDINARY) | st.text(max_size=8)))
def test_text_without_marks_is_content_verbatim(style: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    if any(mark in text for mark in STYLES[style].marks) or text.lstrip().startswith("{"):
        return
    message = parse(style, text)
    assert (message.content, message.tool_calls, message.reasoning) == (text, (), None)


CALLS = {
    "builtin": '<|call|>search{"text": "a"}',
    "hermes": '<tool_call>\n{"name": "search", "arguments": {"text": "a"}}\n</tool_call>',
    "qwen3-coder": "<tool_call>\n<function=search>\n<parameter=text>\na\n</parameter>\n"
    "</function>\n</tool_call>",
    "llama3": '<|python_tag|>{"name": "search", "parameters": {"text": "a"}}',
    "mistral": '[TOOL_CALLS][{"name": "search", "arguments": {"text": "a"}, "id": "abcdefgh1"}]',
    "gemma4": '<|tool_call>call:search{text:<|"|>a<|"|>}<tool_call|>',
    "function-gemma": "<start_function_call>call:search{text:<escape>a<escape>}<end_function_call>",
    "harmony": "<|channel|>commentary to=functions.search <|constrain|>json<|message|>"
    '{"text": "a"}<|call|>',
    "deepseek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>search<｜tool▁sep｜>"
    '{"text": "a"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
}


@pytest.mark.parametrize("style", CALLS)
def test_each_style_reads_its_call(style: str) -> None:
    (call,) = parse(style, CALLS[style]).tool_calls
    assert (call.name, json.loads(call.arguments), call.error) == ("search", {"text": "a"}, None)


@pytest.mark.parametrize("style", [one for one in CALLS if one != "llama3"])
def test_calls_in_parallel_and_the_text_before_them(style: str) -> None:
    before = (
        "so:\n" if style != "harmony" else "<|channel|>commentary<|message|>so:<|end|><|start|>"
    )
    after = "<|start|>assistant" if style == "harmony" else "\n" * (style != "builtin")
    head = "assistant" if style == "harmony" else ""
    message = parse(style, f"{before}{head}{CALLS[style]}{after}{CALLS[style]}")
    assert message.content == "so:"
    assert [(call.name, call.error) for call in message.tool_calls] == [("search", None)] * 2
    assert len({call.id for call in message.tool_calls}) == 2


OTHER_FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a closing mark within a JSON string": (
        "hermes",
        '<tool_call>{"name": "search", "arguments": {"text": "</tool_call>\\""}}</tool_call>',
        {"text": '</tool_call>"'},
    ),
    "no closing mark": ("hermes", '<tool_call>{"name": "search", "arguments": {}}', {}),
    "XML with types of the schema": (
        "qwen3-coder",
        "<tool_call><function=search><parameter=text>\n5\n</parameter><parameter=count>\n5\n"
        "</parameter><parameter=flags>\n[true]\n</parameter></function></tool_call>",
        {"text": "5", "count": 5, "flags": [True]},
    ),
    "XML with tags in a value": (
        "qwen3-coder",
        "<tool_call><function=search><parameter=text>\na</parameter>\n</tool_call>b\n"
        "</parameter></function></tool_call>",
        {"text": "a</parameter>\n</tool_call>b"},
    ),
    "bare JSON": ("llama3", ' {"name": "search", "parameters": {"count": 1}}', {"count": 1}),
    "a built-in tool's script": (
        "llama3",
        '<|python_tag|>search.call(text="a, b", other="c")',
        {"text": "a, b", "other": "c"},
    ),
    "[ARGS]": (
        "mistral", '[TOOL_CALLS]search[ARGS]{"text": "[ARGS]"}', {"text": "[ARGS]"},
    ),
    "[CALL_ID]": ("mistral", "[TOOL_CALLS]search[CALL_ID]abcdefgh1[ARGS]{}", {}),
    "Gemma's nested values": (
        "gemma4",
        '<|tool_call>call:search{a:[1,-2.5,true,None],b:{c:<|"|>}<tool_call|><|"|>}}<tool_call|>',
        {"a": [1, -2.5, True, None], "b": {"c": "}<tool_call|>"}},
    ),
    "the recipient before the channel": (
        "harmony",
        ' to=functions.search<|channel|>commentary json<|message|>{"text": "a"}',
        {"text": "a"},
    ),
    "DeepSeek's fenced JSON": (
        "deepseek",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>search\n```json\n"
        '{"text": "a"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        {"text": "a"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("style", "text", "arguments"), OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_other_forms_of_a_call(style: str, text: str, arguments: dict[str, Any]) -> None:
    message = parse(style, text)
    (call,) = message.tool_calls
    assert (call.name, call.error, json.loads(call.arguments)) == ("search", None, arguments)
    assert message.content == ""


MALFORMED = {
    "builtin, empty": ("builtin", "<|call|>", "no tool name"),
    "builtin, no JSON": ("builtin", "<|call|>calc", "not NAME{JSON}"),
    "builtin, cut": ("builtin", '<|call|>calc{"a": 1', "not NAME{JSON}"),
    "builtin, tail": ("builtin", '<|call|>calc{"a": 1} and more', "not NAME{JSON}"),
    "builtin, no name": ("builtin", '<|call|>{"name": "calc"}', "no tool name"),
    "builtin, list": ("builtin", "<|call|>calc[1]", "not NAME{JSON}"),
    "builtin, huge number": ("builtin", '<|call|>calc{"a":' + "9" * 5000 + "}", "not NAME{JSON}"),
    "builtin, deep nesting": ("builtin", '<|call|>calc{"a":' + DEEP, "not NAME{JSON}"),
    "hermes, cut": ("hermes", '<tool_call>{"name": "f", "argum', "must be JSON"),
    "hermes, no name": ("hermes", "<tool_call>{}</tool_call>", "expected an object"),
    "hermes, infinity": (
        "hermes", '<tool_call>{"name": "f", "arguments": {"a": Infinity}}</tool_call>', "no JSON",
    ),
    "hermes, overflow": (
        "hermes", '<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>', "JSON",
    ),
    "XML, no function": ("qwen3-coder", "<tool_call>hi</tool_call>", "<function=NAME>"),
    "XML, unclosed": ("qwen3-coder", "<tool_call><function=f><parameter=a>", "</parameter>"),
    "llama, broken": ("llama3", '{"name": "f", "parameters": {', "must be JSON"),
    "llama, two at once": ("llama3", '{"name": "f", "parameters": {}}; {"name": "g"}', "JSON"),
    "llama, code": ("llama3", "<|python_tag|>print(1)", "must be JSON"),
    "mistral, no list": ("mistral", "[TOOL_CALLS]{}", "JSON list"),
    "gemma, unclosed": ("gemma4", '<|tool_call>call:f{a:<|"|>b}', "closing"),
    "gemma, deep": ("gemma4", "<|tool_call>call:f{a:" + DEEP, "nested too deeply"),
    "harmony, no JSON": ("harmony", " to=functions.f<|message|>nope", "not NAME{JSON}"),
    "deepseek, no name": ("deepseek", "<｜tool▁call▁begin｜>{}", "tool▁sep"),
}  # fmt: skip


@pytest.mark.parametrize(("style", "text", "says"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_call_is_one_call_with_an_error(style: str, text: str, says: str) -> None:
    (call,) = parse(style, text).tool_calls
    assert says in (call.error or "")


@pytest.mark.parametrize("before", ["", "so: ", "<|think|>hm<|thought|>so: "])
def test_the_error_gives_the_position_in_the_sampled_text(before: str) -> None:
    text = before + '<|call|>calc{"a" 1}'
    (call,) = parse("builtin", text).tool_calls
    problem = f"the call at character {text.index('<|call|>')} is malformed at character "
    assert f"{problem}{text.index('1}')}:" in (call.error or "")


CONTENT = {
    "a JSON answer with a name": ("llama3", '{"name": "Ada", "born": 1815}'),
    "a call without tools": ("text", '{"name": "f", "parameters": {}}'),
    "closing marks alone": ("hermes", "a</tool_call>b</think>c"),
    "a mark that is not whole": ("hermes", "<tool_call"),
    "a mark of another family": ("hermes", "[TOOL_CALLS][]<|python_tag|>"),
    "harmony without a channel": ("harmony", "just text"),
}


@pytest.mark.parametrize(("style", "text"), CONTENT.values(), ids=CONTENT)
def test_what_is_no_call_is_content(style: str, text: str) -> None:
    message = parse(style, text)
    assert (message.content, message.tool_calls) == (text, ())


THINKING = {
    "builtin": "<|think|>hm<|thought|>yes",
    "hermes": "<think>\nhm\n</think>\n\nyes",
    "mistral": "[THINK]hm[/THINK]yes",
    "gemma4": "<|channel>thought\nhm\n<channel|>yes",
    "harmony": "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final"
    "<|message|>yes",
    "deepseek": "<think>hm</think>yes",
}


@pytest.mark.parametrize(("style", "text"), THINKING.items(), ids=THINKING)
def test_thinking_is_kept_apart(style: str, text: str) -> None:
    message = parse(style, text)
    assert (message.reasoning, message.content) == ("hm", "yes")


def test_thinking_that_the_prompt_opened_needs_no_mark() -> None:
    message = parse("hermes", "hm <tool_call>\n</think>\n\nyes", thinking=True)
    assert (message.reasoning, message.content, message.tool_calls) == ("hm <tool_call>", "yes", ())


@pytest.mark.parametrize("text", ["<|think|>hm <|call|>calc{}", "<think>hm <tool_call>"])
def test_unclosed_thinking_holds_everything(text: str) -> None:
    message = parse("builtin" if "|" in text else "hermes", text)
    assert message.reasoning == text[text.index("hm") :]
    assert (message.content, message.tool_calls) == ("", ())


def test_the_json_of_the_built_in_form_stays_as_it_was_written() -> None:
    (call, other) = parse("builtin", 'hm<|call|> calc {"a":"}{"\t}<|call|>b{}').tool_calls
    assert (call.name, call.arguments, other.arguments) == ("calc", '{"a":"}{"\t}', "{}")


def test_an_id_that_the_policy_wrote_is_kept_while_it_is_unique() -> None:
    text = CALLS["mistral"].removesuffix("]") + ", " + CALLS["mistral"].partition("][")[2]
    first, second = parse("mistral", text).tool_calls
    assert first.id == "abcdefgh1"
    assert second.id not in ("", "abcdefgh1")
