from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofgym.agents import RenderConfig, Renderer, RenderError
from proofgym.agents.rendering.family import FAMILIES
from proofgym.verifiers import Message, Role, ToolCall, assistant, system, tool_call, user
from tests.agents.chat_families import CHATS, TEMPLATES, Chat, tokenizer_of
from tests.agents.random_chats import TOOLS, Checked, Talk, meaning

RENDERERS: dict[str, Renderer] = {}


@pytest.fixture(params=CHATS)
def chat(request: pytest.FixtureRequest) -> Chat:
    found: Chat = CHATS[request.param]
    return found


def renderer_of(chat: Chat) -> Renderer:
    key = f"{chat.template} {dict(chat.options)}"
    if key not in RENDERERS:
        RENDERERS[key] = chat.renderer()
    return RENDERERS[key]


def play(chat: Chat, seeds: range) -> Checked:
    total = Checked()
    for seed in seeds:
        found = Talk(chat, renderer_of(chat), seed).play(turns=3)
        total.turns += found.turns
        total.forks += found.forks
        total.exact += found.exact
    return total


def test_the_family_is_recognised_by_its_template(chat: Chat) -> None:
    assert renderer_of(chat).template.family.name == chat.family


def test_an_extension_equals_the_whole_rendering_or_is_a_fork(chat: Chat) -> None:
    assert play(chat, range(5)).turns == 15, "no conversation is refused"


@pytest.mark.slow
def test_in_a_thousand_conversations_nothing_differs_in_silence(chat: Chat) -> None:
    found = play(chat, range(1000))
    assert found.turns == 3000
    assert found.exact > 0 or found.forks == found.turns


def result(text: str) -> Message:
    return Message(role=Role.TOOL, content=text, tool_call_id="c00000000", name="search")


def loop(chat: Chat, *, thinking: str | None, then: Message) -> list[int]:
    """Script a call, its result, an answer and ``then``; return the row of each prompt."""
    call = ToolCall(id="c00000000", name="search", arguments='{"text": "a"}')
    said = [Message(role=Role.ASSISTANT, tool_calls=(call,), reasoning=thinking)]
    said.append(Message(role=Role.ASSISTANT, content="yes", reasoning=thinking))
    conversation = renderer_of(chat).open([user("go")], TOOLS)
    rows = []
    for message, reply in zip(said, (result("b"), then), strict=True):
        conversation.scripted(message)
        conversation.heard([reply])
        rows.append(conversation.prompt.row)
    return rows


FORKS = {  # after a tool's result, and after the user spoke again; without and with thinking
    # (None where the template takes no thinking, or drops it as soon as a final answer is appended)
    "qwen2.5": ([0, 0], None),
    "qwen3": ([0, 0], [0, 1]),
    "qwen3, trl's for training": ([0, 0], [0, 0]),
    "qwen3 instruct 2507": ([0, 0], None),
    "qwen3 coder": ([0, 0], None),
    "llama 3.1": ([0, 0], None),
    "mistral nemo": ([0, 1], None),
    "ministral 3": ([0, 0], [0, 0]),
    "gemma 4, thinking": ([0, 0], [0, 1]),
    "gpt-oss": ([0, 1], None),
}


@pytest.mark.parametrize("name", FORKS)
def test_which_templates_rewrite_history(name: str) -> None:
    plain, thought = FORKS[name]
    assert loop(CHATS[name], thinking=None, then=user("more")) == plain
    if thought is not None:
        assert loop(CHATS[name], thinking="hm", then=user("more")) == thought


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", min_size=1), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=8)
@given(text=st.text(max_size=20), count=st.integers(), more=ANY_JSON)
def test_a_rendered_call_reads_back_equal(text: str, count: int, more: Any) -> None:
    if "\n</parameter>" in text or any(0xD800 <= ord(symbol) < 0xE000 for symbol in text):
        return
    for chat in CHATS.values():
        renderer = renderer_of(chat)
        if not chat.tools or text.strip("\n") != text:
            continue
        arguments = {"text": text, "count": count}
        if chat.family not in ("qwen3-coder", "gemma4"):  # their text does not hold any JSON
            arguments["more"] = more
        message = assistant("", tool_call("search", **arguments))
        conversation = renderer.open([user("go")], TOOLS)
        try:
            ids = conversation.scripted(message)
        except RenderError:
            continue  # the prompt opens what this template drops again
        read = renderer.parse(ids[:-1], turn=0, tools=TOOLS)
        assert meaning(renderer, read) == meaning(renderer, message), chat.template


@pytest.mark.parametrize(
    ("name", "mark", "call"),
    [
        ("qwen3", "<tool_call>", '{"name": "search", "arguments": {}}</tool_call>'),
        ("mistral nemo", "[TOOL_CALLS]", "[{}]"),
        ("gemma 4", "<|tool_call>", "call:search{}<tool_call|>"),
    ],
)
def test_a_mark_spelled_in_ordinary_tokens_is_text(name: str, mark: str, call: str) -> None:
    renderer = renderer_of(CHATS[name])
    spelled = [*renderer.encode(mark[:3]), *renderer.encode(mark[3:])]
    assert renderer.decode(spelled) == mark
    assert renderer.parse([*spelled, *renderer.encode("x")], turn=0).content == f"{mark}x"
    as_token = renderer.parse(renderer.encode(mark + call), turn=0)
    assert len(as_token.tool_calls) == 1


def test_turning_thinking_off_is_an_option_of_the_template() -> None:
    prompt = renderer_of(CHATS["qwen3, no thinking"]).open([user("hi")], []).prompt
    text = renderer_of(CHATS["qwen3"]).decode(prompt.ids)
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_a_thinking_that_the_template_opened_is_read() -> None:
    renderer = renderer_of(CHATS["deepseek r1 distill"])
    conversation = renderer.open([user("hi")], [])
    message = conversation.said([*renderer.encode("hm\n</think>\n\nyes"), renderer.stop_id])
    assert (message.reasoning, message.content) == ("hm", "yes")


def test_a_reply_that_ends_otherwise_than_the_template_ends_it_is_a_fork() -> None:
    renderer = renderer_of(CHATS["qwen2.5"])
    conversation = renderer.open([user("hi")], [])
    conversation.said([*renderer.encode("yes"), renderer.stops["<|endoftext|>"]])
    conversation.heard([user("more")])
    assert conversation.prompt.row == 1


def open_with(name: str, *messages: Message, tools: bool = False) -> None:
    renderer_of(CHATS[name]).open(messages, TOOLS if tools else [])


REFUSED = {
    "no system message in Gemma 2": ("gemma 2", (system("x"), user("y")), False, "System role not"),
    "users must take turns": ("ministral 3", (user("x"), user("y")), False, "must alternate"),
    "no tools in Gemma 2": ("gemma 2", (user("x"),), True, "shows the environment's 2 tools"),
}


@pytest.mark.parametrize(("name", "messages", "tools", "says"), REFUSED.values(), ids=REFUSED)
def test_what_a_template_cannot_do_is_said_clearly(
    name: str, messages: tuple[Message, ...], tools: bool, says: str
) -> None:
    with pytest.raises(RenderError, match=says):
        open_with(name, *messages, tools=tools)


def test_an_unknown_family_lists_those_that_are_known() -> None:
    tokenizer = tokenizer_of(CHATS["qwen3"])
    with pytest.raises(RenderError, match=r"auto or one of builtin, harmony.*got 'qwen'"):
        Renderer(tokenizer, RenderConfig(family="qwen"))
    tokenizer.chat_template = "{{ messages[0].tool_calls }}"
    with pytest.raises(RenderError, match=", ".join(FAMILIES)):
        Renderer(tokenizer)


def test_another_template_can_be_given() -> None:
    config = RenderConfig(chat_template=TEMPLATES / "qwen3-training.jinja")
    renderer = Renderer(tokenizer_of(CHATS["qwen3"]), config)
    assert "Training variant" in renderer.template.source
    with pytest.raises(RenderError, match=r"rendering\.chat_template"):
        Renderer(renderer.tokenizer, RenderConfig(chat_template=Path("missing.jinja")))
