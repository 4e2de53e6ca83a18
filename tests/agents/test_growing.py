import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from jinja2 import TemplateError

from proofgym.agents.rendering.growing import GrowingTemplate, Rendering
from proofgym.agents.tiny_policy import CHAT_TEMPLATE
from tests.agents.chat_families import CHATS, TEMPLATES

SAID = (
    "",
    "yes",
    " padded \n",
    "<think>a</think>b",
    "</think>",
    "<tool_response>x</tool_response>",
)
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"properties": {}}}}]


def conversation(rng: random.Random, turns: int) -> list[list[dict[str, Any]]]:
    """Make what each turn adds: replies with calls or thinking, and what follows them."""
    opening: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    if rng.random() < 0.4:
        opening.insert(0, {"role": "system", "content": "be brief"})
    grown = [opening]
    for turn in range(turns):
        reply: dict[str, Any] = {"role": "assistant", "content": rng.choice(SAID)}
        after = [{"role": "user", "content": rng.choice(SAID)}]
        if rng.random() < 0.3:
            reply["reasoning_content"] = rng.choice(SAID)
        if rng.random() < 0.7:
            function = {"name": "look", "arguments": {"key": turn}}
            call = {"id": "c00000000", "type": "function", "function": function}
            reply["tool_calls"] = [call] * rng.choice([1, 1, 2])
            result = {"role": "tool", "content": rng.choice(SAID), "tool_call_id": "c00000000"}
            after = [dict(result, name="look") for _ in reply["tool_calls"]]
        grown.append([reply, *after])
    return grown


@cache
def template_of(source: str, few: int) -> GrowingTemplate:
    return GrowingTemplate(source, few=few)


def outcome(template: GrowingTemplate, variables: dict[str, Any], before: Rendering | None) -> Any:
    try:
        return template.render(variables, before)
    except (TemplateError, TypeError, ValueError) as error:
        return str(error)


def grow(source: str, parts: Sequence[list[dict[str, Any]]], **options: Any) -> int:
    """Render turn by turn and compare with whole renderings; count those that went on."""
    growing, whole = template_of(source, 0), template_of(source, 10**9)
    said: list[dict[str, Any]] = []
    before: Rendering | None = None
    went_on = 0
    for part in parts:
        said += part
        variables = {"messages": list(said), "add_generation_prompt": True, **options}
        found, expected = (outcome(one, variables, before) for one in (growing, whole))
        if isinstance(expected, str):
            assert found == expected
            return went_on
        assert found.text == expected.text
        went_on += before is not None and any(
            before.walks[number].borders[0] is walk.borders[0]  # its first iteration's, kept
            for number, walk in found.walks.items()
            if number in before.walks and walk.borders[-1].length
        )
        before = found
    return went_on


@pytest.mark.parametrize("name", CHATS)
def test_a_grown_rendering_equals_the_whole_one(name: str) -> None:
    source = (TEMPLATES / f"{CHATS[name].template}.jinja").read_text()
    options = {"bos_token": "<s>", "eos_token": "</s>", **CHATS[name].options}
    for seed in range(8):
        rng = random.Random(seed)
        tools = TOOLS if rng.random() < 0.5 else None
        grow(source, conversation(rng, 8), tools=tools, **options)


def in_a_loop_of_tools(turns: int = 6) -> list[list[dict[str, Any]]]:
    call = {"id": "c00000000", "type": "function", "function": {"name": "look", "arguments": {}}}
    reply = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "content": "x", "tool_call_id": "c00000000", "name": "look"}
    return [
        [{"role": "user", "content": "go"}],
        *([dict(reply), dict(result)] for _ in range(turns)),
    ]


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3", "qwen3 coder", "llama 3.2"])
def test_a_loop_of_tools_goes_on(name: str) -> None:
    source = (TEMPLATES / f"{CHATS[name].template}.jinja").read_text()
    assert grow(source, in_a_loop_of_tools(), tools=TOOLS, bos_token="<s>") >= 4


def test_the_tiny_policys_template_goes_on() -> None:
    assert grow(CHAT_TEMPLATE, in_a_loop_of_tools()) >= 4


LOOP = "{% for m in messages %}"
FOLLOWED = {
    "the end": LOOP + "{{ m.content }}{{ '!' if loop.last }}{% endfor %}",
    "the next": LOOP + "{{ loop.nextitem.role }},{% endfor %}",
    "the next by index": LOOP + "{{ messages[loop.index0 + 1].role }},{% endfor %}",
    "the last by a negative index": LOOP + "{{ messages[-1].role }},{% endfor %}",
    "how many there are": LOOP + "{{ messages | length }},{% endfor %}",
    "all that follow": LOOP + "{% for n in messages[loop.index:] %}.{% endfor %},{% endfor %}",
    "a count from outside": "{% set n = messages | length %}" + LOOP + "{{ n }},{% endfor %}",
    "a message from outside": "{% set n = messages[-1] %}" + LOOP + "{{ n.role }}{% endfor %}",
    "a list from outside": "{% set n = messages[1:] %}" + LOOP + "{{ n|length }},{% endfor %}",
    "a state": "{% set s = namespace(n=0) %}" + LOOP
    + "{% set s.n = s.n + 1 %}{{ s.n }},{% endfor %}{{ s.n }}",
    "a state that begins otherwise": "{% set s = namespace(n=messages|length) %}" + LOOP
    + "{% set s.n = s.n + 1 %}{{ s.n }},{% endfor %}{{ s.n }}",
    "a state that holds a message": "{% set s = namespace(m=none) %}" + LOOP
    + "{{ s.m.role }},{% set s.m = m %}{% endfor %}{{ s.m.role }}",
    "a state in a macro": "{% set s = namespace(n=0) %}{% macro f() %}{% set s.n = s.n + 1 %}"
    "{{ s.n }}{% endmacro %}" + LOOP + "{{ f() }},{% endfor %}{{ s.n }}",
    "a macro that counts": "{% set n = messages | length %}{% macro f() %}{{ n }}{% endmacro %}"
    + LOOP + "{{ f() }},{% endfor %}",
    "another loop's place": LOOP
    + "{% for c in m.tool_calls %}{{ loop.last }}{% endfor %}{% endfor %}",
    "true and one": "{% set n = (messages|length > 2) if messages|length < 4 else 1 %}" + LOOP
    + "{{ n }},{% endfor %}",
}  # fmt: skip


@pytest.mark.parametrize("source", FOLLOWED.values(), ids=FOLLOWED)
def test_what_an_iteration_reads_is_followed(source: str) -> None:
    grow(source, in_a_loop_of_tools())


REFUSED = {
    "the list itself": LOOP + "{{ messages | map(attribute='role') | join }}{% endfor %}",
    "the list in a macro": "{% macro f() %}{{ messages | length }}{% endmacro %}"
    + LOOP + "{{ f() }}{% endfor %}",
    "its loop itself": LOOP + "{{ loop }}{% endfor %}",
    "how many are left": LOOP + "{{ loop.revindex }}{% endfor %}",
    "the clock": LOOP + "{{ strftime_now('%s') }}{% endfor %}",
    "chance": LOOP + "{{ [1, 2] | random }}{% endfor %}",
    "an early end": LOOP + "{% if m.role == 'tool' %}{% break %}{% endif %}{% endfor %}",
    "a condition": "{% for m in messages if m.role == 'tool' %}{{ m.role }}{% endfor %}",
}  # fmt: skip


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED)
def test_a_loop_that_cannot_be_followed_is_rendered_whole(source: str) -> None:
    assert not GrowingTemplate(source).grows
    grow(source, in_a_loop_of_tools() if "random" not in source else [])


def test_a_message_in_anothers_place_is_rendered_again() -> None:
    template = GrowingTemplate(LOOP + "{{ m.content }},{% endfor %}", few=0)
    before = template.render({"messages": [{"content": "a"}, {"content": "b"}]})
    assert (
        template.render({"messages": [{"content": "c"}, {"content": "b"}]}, before).text == "c,b,"
    )


def test_the_sandbox_holds() -> None:
    for attempt in ("m.__class__", "m.content.__class__", "m.pop('role')", "'%s'.format.__self__"):
        source = LOOP + "{{ " + attempt + " }}{% endfor %}"
        whole = GrowingTemplate(source, few=10**9)
        found = outcome(whole, {"messages": [{"role": "user", "content": "x"}]}, None)
        assert "unsafe" in (found if isinstance(found, str) else "unsafe" * (found.text == ""))
