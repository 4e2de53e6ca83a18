"""Tools: their schemas, and what happens to a call."""

import asyncio
import json
import time
from enum import StrEnum
from typing import Annotated, Any, Literal

import jsonschema
import numpy as np
import pydantic
import pytest

from proofgym.envs import (
    Env,
    EnvError,
    InfraError,
    Limits,
    Session,
    Stop,
    ToolError,
    Transition,
    tool,
)
from proofgym.verifiers import Message, Secret, Task, ToolCall, assistant, exact, tool_call


class Color(StrEnum):
    RED = "red"


class Point(pydantic.BaseModel):
    x: int
    y: int = 0


@tool
def everything(
    count: int,
    color: Color,
    point: Point,
    episode: Session,
    dice: np.random.Generator,
    kind: Literal["a", "b"] = "a",
    many: list[float] | None = None,
    limit: Annotated[int, pydantic.Field(ge=1)] = 3,
) -> str:
    """Do everything.

    It takes more than one line.

    Args:
        count: how many,
            and more.
        kind: which one.

    Returns:
        A text.
    """
    return f"{count} {color} {point.x} {kind} {many} {limit} {episode.task.id} {dice.integers(1)}"


@tool
def fails(text: str) -> str:
    """Fail."""
    raise {"tool": ToolError, "value": ValueError, "timeout": TimeoutError, "infra": InfraError}[
        text
    ]("it broke")


@tool(timeout_s=0.05)
def sleeps(seconds: float) -> str:
    """Sleep."""
    time.sleep(seconds)
    if seconds < 0.01:
        raise TimeoutError("its own")
    return "slept"


@tool(timeout_s=0.05)
async def waits(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return "waited"


@tool(exclusive=True, terminal=True)
def submit(answer: str, episode: Session) -> dict[str, str]:
    """Submit."""
    episode.state["submitted"] = answer
    return {"é": answer}


@tool
def leaks(episode: Session) -> dict[str, Any]:
    """Leak."""
    return {"answer": episode.task.answer}


@tool(max_output_chars=10)
def long() -> str:
    """Say much."""
    return "a" * 50 + "b" * 50


TASK = Task(id="t", prompt="q", answer=Secret("42"))


class Tools(Env):
    tasks = [TASK]  # noqa: RUF012
    tools = (everything, fails, sleeps, waits, submit, leaks, long)
    rubric = exact()
    limits = Limits(turns=50, tool_calls=50)


def call(*calls: ToolCall) -> tuple[Transition, Session]:
    async def play() -> tuple[Transition, Session]:
        env = Tools()
        await env.areset(TASK)
        return await env.astep(assistant("", *calls)), env.episode

    return asyncio.run(play())


def raw(name: str, arguments: str) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


def test_the_schema_comes_from_hints_and_docstring_and_hides_what_is_injected() -> None:
    function = everything.signature.schema["function"]
    parameters = function["parameters"]
    assert function["description"] == "Do everything.\n\nIt takes more than one line."
    assert set(parameters["properties"]) == {"count", "color", "point", "kind", "many", "limit"}
    assert parameters["required"] == ["count", "color", "point"]
    assert parameters["properties"]["count"] == {
        "description": "how many, and more.",
        "type": "integer",
    }
    assert parameters["properties"]["kind"]["enum"] == ["a", "b"]
    jsonschema.Draft202012Validator.check_schema(parameters)
    json.dumps(function)


def test_arguments_are_checked_and_converted() -> None:
    transition, _ = call(tool_call("everything", count="3", color="red", point={"x": 1}))
    assert transition.messages[0].content == "3 red 1 a None 3 t 0"


FAULTS: dict[str, tuple[ToolCall, str, str]] = {
    "arguments cut short": (
        raw("long", '{"a": '),
        "malformed",
        "error: the arguments are not JSON",
    ),
    "arguments no object": (raw("long", "[1]"), "arguments", "error: long: "),
    "no such tool": (
        raw("submitt", "{}"),
        "unknown",
        "no tool is named 'submitt'; there is submit",
    ),
    "missing": (tool_call("fails"), "arguments", "error: fails: text: Field required"),
    "too many": (tool_call("fails", text="a", more=1), "arguments", "more: Extra inputs"),
    "wrong type": (tool_call("sleeps", seconds="soon"), "arguments", "seconds: Input should be"),
    "nan": (raw("sleeps", '{"seconds": NaN}'), "arguments", "finite number"),
    "out of range": (
        tool_call("everything", count=1, color="red", point={"x": 1}, limit=0),
        "arguments",
        "limit: Input should be greater",
    ),
    "injected by the policy": (
        tool_call("submit", answer="1", episode="mine"),
        "arguments",
        "episode: Extra inputs",
    ),
    "raises": (tool_call("fails", text="value"), "raised", "error: ValueError: it broke"),
    "raises for the policy": (tool_call("fails", text="tool"), "raised", "error: it broke"),
    "raises a timeout itself": (tool_call("sleeps", seconds=0), "raised", "TimeoutError: its own"),
    "sleeps too long": (tool_call("sleeps", seconds=0.3), "timeout", "took longer than 0.05 s"),
    "waits too long": (tool_call("waits", seconds=9), "timeout", "waits took longer than 0.05 s"),
    "marked by a parser": (
        ToolCall(id="1", name="", error="expected JSON, got soup"),
        "malformed",
        "error: expected JSON, got soup",
    ),
}


@pytest.mark.parametrize(("one", "kind", "told"), FAULTS.values(), ids=FAULTS.keys())
def test_what_goes_wrong_is_read_counted_and_survived(one: ToolCall, kind: str, told: str) -> None:
    transition, session = call(one)
    assert told in transition.messages[0].content
    assert (transition.stop, session.tool_errors) == (None, {kind: 1})
    assert transition.messages[0].tool_call_id == one.id


def test_an_exclusive_tool_is_refused_beside_others_which_still_run() -> None:
    transition, session = call(tool_call("long"), tool_call("submit", answer="42"))
    assert "must be the only call" in transition.messages[1].content
    assert transition.messages[0].content.startswith("aaaaa")
    assert (transition.stop, session.state) == (None, {})


def test_a_terminal_tool_ends_the_episode_once_it_worked() -> None:
    transition, session = call(tool_call("submit", answer="42"))
    assert (transition.stop, session.state) == (Stop.FINISHED, {"submitted": "42"})
    assert transition.messages[0].content == '{"é": "42"}'
    assert call(tool_call("submit"))[0].stop is None


def test_a_long_output_loses_its_middle() -> None:
    transition, _ = call(tool_call("long"))
    assert transition.messages[0].content == "aaaaa\n[90 characters left out]\nbbbbb"


@pytest.mark.parametrize(
    ("one", "stop"),
    [(tool_call("fails", text="infra"), Stop.INFRA_ERROR), (tool_call("leaks"), Stop.ENV_ERROR)],
    ids=["infrastructure", "a Secret"],
)
def test_what_is_not_the_policys_doing_leaves_the_episode_unscored(
    one: ToolCall, stop: Stop
) -> None:
    transition, _ = call(one)
    assert transition.stop is stop
    assert transition.score is not None
    assert transition.score.value is None
    assert transition.fault is not None
    assert transition.fault.phase == "tool"
    assert "42" not in "".join(m.content for m in transition.messages)


def test_a_hanging_tool_holds_up_neither_the_episode_nor_the_others() -> None:
    async def play() -> float:
        async def one(index: int) -> Message:
            env = Tools()
            await env.areset(TASK, seed=index)
            transition = await env.astep(assistant("", tool_call("sleeps", seconds=0.5)))
            return transition.messages[0]

        started = time.perf_counter()
        replies = await asyncio.gather(*(one(index) for index in range(10)))
        assert all("took longer" in reply.content for reply in replies)
        return time.perf_counter() - started

    assert asyncio.run(play()) < 0.45


def test_a_tool_is_still_the_function() -> None:
    assert fails.name == "fails"
    assert long() == "a" * 50 + "b" * 50


def no_hint(x) -> str:  # type: ignore[no-untyped-def]
    return str(x)


def variadic(*x: int) -> str:
    return ""


@pytest.mark.parametrize(
    ("function", "told"), [(no_hint, "a type hint on 'x'"), (variadic, "cannot be described")]
)
def test_a_signature_that_cannot_be_described_is_refused(function: Any, told: str) -> None:
    with pytest.raises(EnvError, match=told):
        _ = tool(function).signature
