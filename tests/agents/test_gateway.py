"""The gateway as an agent sees it that has an OpenAI client and nothing of ours."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import httpx2
import numpy as np
import openai
import pytest

from proofgym.agents import Assignment, EngineError, EnginePolicy, Renderer
from proofgym.agents.gateway import AgentDriver, Gateway, GatewayConfig, GatewaySession
from proofgym.agents.gateway.wire import WireError, parse, same
from proofgym.envs import Blame, Episode, Sampling, Source, Stop
from proofgym.verifiers import Message, Score, Secret, Task, assistant, exact, tool_call, user

T = TypeVar("T")
TASK = Task(id="six", prompt="2*3", answer=Secret("6"))
ASKED = {"role": "user", "content": "2*3"}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "calculator",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
    },
}
ODD_CALL = '<|call|>calculator{  "expression" : "2*3" }'


def client(session: GatewaySession, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=session.base_url, api_key="any", **options)


def talking(
    renderer: Renderer, *texts: str | Exception
) -> Callable[[list[int], Sampling, int], Sequence[int] | Exception]:
    left = list(texts)

    def reply(*_: Any) -> Sequence[int] | Exception:
        text = left.pop(0)
        return text if isinstance(text, Exception) else [*renderer.encode(text), renderer.stop_id]

    return reply


def served(
    engine: Any,
    renderer: Renderer,
    agent: Callable[[GatewaySession], Awaitable[T]],
    **config: Any,
) -> tuple[T, GatewaySession]:
    """Run an agent in a session; return what it returned, and the session."""

    async def run() -> tuple[T, GatewaySession]:
        policy = EnginePolicy(engine, renderer, Sampling(max_tokens=64))
        async with Gateway(policy, GatewayConfig(**config)) as gateway:
            session = gateway.open(Assignment(task=TASK, seed=7, group=3, rollout=2))
            return await agent(session), session

    return asyncio.run(run())


async def ask(session: GatewaySession, messages: list[Any], **fields: Any) -> Any:
    async with client(session, max_retries=0) as chat:
        return await chat.chat.completions.create(model="policy", messages=messages, **fields)


async def calculate(session: GatewaySession) -> str:
    """An agent loop with a tool, as the client's documentation writes it."""
    messages: list[Any] = [ASKED]
    async with client(session) as chat:
        for _ in range(4):
            reply = await chat.chat.completions.create(
                model="policy", messages=messages, tools=[TOOL]
            )
            message = reply.choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            if not message.tool_calls:
                return message.content or ""
            for call in message.tool_calls:
                expression = json.loads(call.function.arguments)["expression"]
                result = {"2*3": "6"}[expression]
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return ""


def test_an_agent_loop_is_one_row_of_exactly_what_was_sampled(
    renderer: Renderer, tape: Any
) -> None:
    engine = tape(talking(renderer, ODD_CALL, "6"))
    said, session = served(engine, renderer, calculate)
    assert said == "6"
    first, second = session.turns
    assert engine.asked[0][0] == first.prompt_ids.tolist()
    everything = np.concatenate([first.prompt_ids, first.ids, second.prompt_ids])
    assert engine.asked[1][0] == everything.tolist()
    assert renderer.decode(first.ids.tolist()) == ODD_CALL + "<|end|>"
    assert Source.SAMPLED not in second.prompt_source
    assert [turn.row for turn in session.turns] == [0, 0]
    assert first.seed != second.seed
    episode = session.end(Score(value=0.5, solved=True))
    assert (episode.rewards, episode.stop, episode.fault) == ((0.0, 0.5), Stop.SOLVED, None)
    assert (episode.task_id, episode.group, episode.rollout, episode.seed) == ("six", 3, 2, 7)
    assert [one.role for one in episode.messages] == ["user", "assistant", "tool", "assistant"]


def test_usage_counts_are_exact(renderer: Renderer, tape: Any) -> None:
    engine = tape(talking(renderer, "6"))
    reply, session = served(engine, renderer, lambda session: ask(session, [ASKED]))
    (turn,) = session.turns
    assert reply.usage.prompt_tokens == len(turn.prompt_ids)
    assert reply.usage.completion_tokens == len(turn.ids)
    assert reply.choices[0].finish_reason == "stop"


def rows(renderer: Renderer, tape: Any, *requests: list[Any], **fields: Any) -> list[int]:
    engine = tape(talking(renderer, *(str(n) for n in range(len(requests)))))

    async def agent(session: GatewaySession) -> None:
        for messages in requests:
            await ask(session, messages, **fields)

    _, session = served(engine, renderer, agent)
    for turn, (prompt, _, _) in zip(session.turns, engine.asked, strict=True):
        read = [
            np.concatenate([one.prompt_ids, one.ids])
            for one in session.turns
            if one.row == turn.row
        ]
        joined = np.concatenate(read).tolist()
        assert joined[: len(prompt)] == prompt, "a row is what the engine read"
    return [turn.row for turn in session.turns]


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


MORE = {"role": "user", "content": "and?"}
HISTORIES = {
    "extended": ([[ASKED], [ASKED, said("0"), MORE]], [0, 0]),
    "padding dropped": ([[ASKED], [ASKED, said(" 0\n"), MORE]], [0, 0]),
    "the same prompt twice": ([[ASKED], [ASKED]], [0, 1]),
    "the reply rewritten": ([[ASKED], [ASKED, said("x"), MORE]], [0, 1]),
    "the prompt rewritten": ([[ASKED], [MORE, said("0"), MORE]], [0, 1]),
    "a message put into its mouth": ([[ASKED], [ASKED, said("0"), MORE, said("1"), MORE]], [0, 1]),
    "two branches of one turn": (
        [[ASKED], [ASKED, said("0"), MORE], [ASKED, said("0"), ASKED]],
        [0, 0, 1],
    ),
    "a sub-agent between two turns": ([[ASKED], [MORE], [ASKED, said("0"), MORE]], [0, 1, 0]),
}


@pytest.mark.parametrize(("requests", "expected"), HISTORIES.values(), ids=HISTORIES.keys())
def test_a_history_that_is_extended_stays_in_its_row_and_any_other_is_a_new_one(
    renderer: Renderer, tape: Any, requests: list[list[Any]], expected: list[int]
) -> None:
    assert rows(renderer, tape, *requests) == expected


def test_other_tools_are_another_row(renderer: Renderer, tape: Any) -> None:
    engine = tape(talking(renderer, "0", "1"))

    async def agent(session: GatewaySession) -> None:
        await ask(session, [ASKED])
        await ask(session, [ASKED, said("0"), MORE], tools=[TOOL])

    _, session = served(engine, renderer, agent)
    assert [turn.row for turn in session.turns] == [0, 1]


def test_a_client_that_drops_the_thinking_stays_in_its_row(renderer: Renderer, tape: Any) -> None:
    engine = tape(talking(renderer, "<|think|>hm<|thought|>" + ODD_CALL, "6"))
    answer, session = served(engine, renderer, calculate)
    assert answer == "6"
    assert [turn.row for turn in session.turns] == [0, 0]
    assert session.messages[1].reasoning == "hm"


def test_requests_at_once_are_rows_of_their_own(renderer: Renderer, tape: Any) -> None:
    engine = tape(talking(renderer, "0", "1", "2"), delay_s=0.01)

    async def agent(session: GatewaySession) -> None:
        await asyncio.gather(*(ask(session, [ASKED]) for _ in range(3)))

    _, session = served(engine, renderer, agent)
    assert sorted(turn.row for turn in session.turns) == [0, 1, 2]
    assert len({turn.seed for turn in session.turns}) == 3


def test_a_stream_says_what_the_whole_reply_says(renderer: Renderer, tape: Any) -> None:
    engine = tape(talking(renderer, "so" + ODD_CALL))

    async def agent(session: GatewaySession) -> tuple[str, str, str]:
        stream = await ask(session, [ASKED], tools=[TOOL], stream=True)
        text, arguments, finish = "", "", ""
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    arguments += call.function.arguments
                finish = choice.finish_reason or finish
        return text, arguments, finish

    found, _ = served(engine, renderer, agent)
    assert found == ("so", '{  "expression" : "2*3" }', "tool_calls")


def test_a_malformed_call_is_shown_as_text_and_stays_in_its_row(
    renderer: Renderer, tape: Any
) -> None:
    engine = tape(talking(renderer, '<|call|>calculator{"expression": ', "6"))

    async def agent(session: GatewaySession) -> Any:
        first = (await ask(session, [ASKED], tools=[TOOL])).choices[0].message
        again = [ASKED, first.model_dump(exclude_none=True), MORE]
        await ask(session, again, tools=[TOOL])
        return first

    message, session = served(engine, renderer, agent)
    assert message.tool_calls is None
    assert "expression" in message.content
    assert [turn.row for turn in session.turns] == [0, 0]
    assert session.messages[1].tool_calls[0].error is not None


def test_the_sessions_key_also_does_as_an_api_key(renderer: Renderer, tape: Any) -> None:
    engine = tape(talking(renderer, "6"))

    async def agent(session: GatewaySession) -> list[str]:
        options = {"base_url": f"{session.url}/v1", "api_key": session.key}
        async with openai.AsyncOpenAI(**options) as chat:
            models = [model.id async for model in chat.models.list()]
            await chat.chat.completions.create(model=models[0], messages=[ASKED])
        return models

    models, session = served(engine, renderer, agent)
    assert models == ["policy"]
    assert len(session.turns) == 1


def test_no_session_no_answer(renderer: Renderer, tape: Any) -> None:
    async def agent(session: GatewaySession) -> list[int]:
        async with httpx2.AsyncClient(trust_env=False) as http:
            replies = [
                await http.post(f"{session.url}/v1/chat/completions", json={"messages": [ASKED]}),
                await http.post(f"{session.url}/sessions/x/v1/chat/completions", json={}),
                await http.post(f"{session.base_url}/embeddings", json={}),
                await http.post(f"{session.base_url}/chat/completions", content=b"{"),
            ]
        assert all("message" in reply.json()["error"] for reply in replies)
        return [reply.status_code for reply in replies]

    assert served(tape(None), renderer, agent)[0] == [401, 401, 404, 400]


BAD_REQUESTS = {
    "no messages": {},
    "a foreign role": {"messages": [{"role": "robot", "content": "x"}]},
    "a picture": {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    "several choices": {"messages": [ASKED], "n": 2},
    "a stop text": {"messages": [ASKED], "stop": ["."]},
    "a forced tool": {"messages": [ASKED], "tool_choice": "required"},
    "json only": {"messages": [ASKED], "response_format": {"type": "json_object"}},
    "no room": {"messages": [ASKED], "max_tokens": 0.5},
    "a tool without a name": {"messages": [ASKED], "tools": [{"type": "function"}]},
    "a list": [],
}


@pytest.mark.parametrize("raw", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_what_cannot_be_served_exactly_is_refused(raw: Any) -> None:
    with pytest.raises(WireError) as caught:
        parse(json.dumps(raw).encode())
    assert caught.value.status == 400


def test_content_may_come_in_parts_and_from_a_developer() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    raw = {"messages": [{"role": "developer", "content": parts}], "max_completion_tokens": 5}
    request = parse(json.dumps(raw).encode())
    assert request.messages == (Message(role="system", content="ab"),)  # type: ignore[arg-type]  # a StrEnum equals its text
    assert request.max_tokens == 5


def test_only_an_assistants_message_may_come_back_laid_out_otherwise() -> None:
    call = tool_call("calculator", expression="2*3")
    other = tool_call("calculator", expression="2*4")
    assert same(assistant("x", call), assistant(" x\n", call))
    assert not same(assistant("x", call), assistant("x", other))
    assert not same(assistant("x", call), assistant("x"))
    assert not same(user("x"), user("x "))


def test_a_client_that_hangs_up_leaves_nothing_and_may_ask_again(
    renderer: Renderer, tape: Any
) -> None:
    engine = tape(talking(renderer, "0", "1", "2"), delay_s=0.2)

    async def agent(session: GatewaySession) -> list[int]:
        engine.delay_s = 0.0
        await ask(session, [ASKED])
        longer = [ASKED, said("0"), MORE]
        engine.delay_s = 5.0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ask(session, longer)
        engine.delay_s = 0.0
        await asyncio.sleep(0.05)
        await ask(session, longer)
        return [turn.row for turn in session.turns]

    found, session = served(engine, renderer, agent)
    assert found == [0, 0]
    first, second = session.turns
    everything = np.concatenate([first.prompt_ids, first.ids, second.prompt_ids]).tolist()
    assert engine.asked[-1][0] == engine.asked[-2][0] == everything


LIMITS = {
    "turns": ({"turns": 1}, 4096, Stop.MAX_TURNS, "session_limit"),
    "tokens": ({"tokens": 2}, 4096, Stop.MAX_TOKENS, "session_limit"),
    "context": ({}, 12, Stop.CONTEXT_OVERFLOW, "context_length_exceeded"),
}


@pytest.mark.parametrize(("config", "context", "stop", "code"), LIMITS.values(), ids=LIMITS.keys())
def test_limits_end_a_session_with_their_names(
    renderer: Renderer, tape: Any, config: dict[str, int], context: int, stop: Stop, code: str
) -> None:
    engine = tape(talking(renderer, "6", "6"))
    engine.max_context = context

    async def agent(session: GatewaySession) -> str:
        await ask(session, [ASKED])
        with pytest.raises(openai.BadRequestError) as caught:
            await ask(session, [ASKED, said("6"), MORE])
        return str(caught.value.code)

    found, session = served(engine, renderer, agent, **config)
    assert found == code
    assert session.end(Score(value=0.0)).stop is stop


# whole episodes


def driven(
    engine: Any, renderer: Renderer, agent: Any, rubric: Any = None, **options: Any
) -> Episode:
    async def run() -> Episode:
        policy = EnginePolicy(engine, renderer, Sampling(max_tokens=64))
        async with Gateway(policy) as gateway:
            driver = AgentDriver(gateway, agent, rubric, **options)
            (episode,) = await driver.run([Assignment(task=TASK, seed=1)])
            assert gateway._sessions == {}
            return episode

    return asyncio.run(run())


async def simple(session: GatewaySession) -> None:
    await ask(session, [ASKED])


def test_a_rubric_or_the_agent_gives_the_reward(renderer: Renderer, tape: Any) -> None:
    async def paid(session: GatewaySession) -> float:
        await simple(session)
        session.reward(0.25)
        return 0.5

    judged = driven(tape(talking(renderer, "6")), renderer, simple, exact())
    assert (judged.solved, judged.reward) == (True, 1.0)
    assert driven(tape(talking(renderer, "6")), renderer, paid).reward == 0.75
    nobody = driven(tape(talking(renderer, "6")), renderer, simple)
    assert not nobody.scored


def test_an_agents_own_error_leaves_its_episode_unscored(renderer: Renderer, tape: Any) -> None:
    async def broken(session: GatewaySession) -> None:
        await simple(session)
        raise KeyError("bug")

    episode = driven(tape(talking(renderer, "6")), renderer, broken, exact())
    assert not episode.scored
    assert episode.fault is not None
    assert (episode.fault.blame, episode.stop) == (Blame.ENVIRONMENT, Stop.ENV_ERROR)


def test_an_agent_out_of_time_is_judged_by_what_it_said(renderer: Renderer, tape: Any) -> None:
    async def slow(session: GatewaySession) -> None:
        await simple(session)
        await asyncio.sleep(60)

    episode = driven(tape(talking(renderer, "6")), renderer, slow, exact(), seconds=1.0)
    assert (episode.stop, episode.reward, episode.fault) == (Stop.WALL_CLOCK, 1.0, None)


@pytest.mark.parametrize(("failures", "scored"), [(1, True), (9, False)])
def test_an_engine_that_fails_is_asked_again_and_then_at_fault(
    renderer: Renderer, tape: Any, failures: int, scored: bool
) -> None:
    engine = tape(talking(renderer, *[EngineError("dead")] * failures, "6"))
    episode = driven(engine, renderer, simple, exact())
    assert episode.scored is scored
    assert len(engine.asked) == 2
    if not scored:
        assert episode.fault is not None
        assert (episode.fault.blame, episode.stop) == (Blame.INFRASTRUCTURE, Stop.INFRA_ERROR)
