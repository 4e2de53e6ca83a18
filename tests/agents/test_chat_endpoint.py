"""A policy behind a URL, asked over real HTTP."""

import asyncio
import json
import logging
import time
from email.utils import formatdate
from typing import Any

import pytest
from pydantic import ValidationError

from proofgym.agents import Assignment, ChatEndpoint, ChatEndpointConfig, Driver, EngineError
from proofgym.agents.chat_endpoint import EndpointRefusedError, Price
from proofgym.agents.chat_endpoint.adaptive_limit import AdaptiveLimit
from proofgym.envs import Blame, Env, Episode, Limits, Stop, tool
from proofgym.verifiers import Secret, Task, exact, user
from proofgym.verifiers.judge.chat_call import seconds_to_wait
from tests.verifiers.judge.chat_server import Reply, Script, serving

KEY = "sk-never-to-be-seen"


@tool
def double(number: int) -> str:
    """Double it.

    Args:
        number: any
    """
    return str(2 * number)


class Six(Env):
    """Answer at once, or call a tool."""

    tools = (double,)
    rubric = exact()
    limits = Limits(turns=9, tokens=40)


class Short(Six):
    """Has few tokens."""

    limits = Limits(turns=9, tokens=7)


CALL = ("double", '{"number": 3}')


def says(content: str, *calls: tuple[str, str], finish: str = "stop", **more: Any) -> Reply:
    message: dict[str, Any] = {"role": "assistant", "content": content or None}
    if calls:
        message["tool_calls"] = [
            {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for n, (name, arguments) in enumerate(calls)
        ]
    usage = {"prompt_tokens": 10, "completion_tokens": 3}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Reply(json.dumps({"choices": [choice], "usage": usage} | more).encode())


def always(reply: Reply) -> Script:
    return lambda request: reply


def refusal(status: int, text: str, **headers: str) -> Script:
    return always(Reply(text.encode(), status=status, headers=headers))


def play(
    url: str, *, env: type[Env] = Six, count: int = 1, retries: int = 0, **fields: Any
) -> tuple[list[Episode], ChatEndpoint]:
    config = ChatEndpointConfig(base_url=url, model="m", **fields)
    endpoint = ChatEndpoint(config, api_key=Secret(KEY))
    task = Task(id="t", prompt=(user("What is 2*3?"),), answer=Secret("6"))
    assignments = [Assignment(task=task, seed=n) for n in range(count)]

    async def run() -> list[Episode]:
        try:
            return await Driver(env, endpoint, retries=retries).run(assignments)
        finally:
            await endpoint.close()

    return asyncio.run(run()), endpoint


def fault_of(episode: Episode) -> str:
    assert episode.fault is not None
    assert episode.fault.blame is Blame.INFRASTRUCTURE
    assert not episode.scored
    return episode.fault.message


def test_an_episode_with_a_tool_is_played_over_http() -> None:
    script = [always(says("", CALL)), always(says("6"))]
    with serving(*script) as server:
        (episode,), endpoint = play(server.url, temperature=0.5, extra={"top_k": 4})
    assert episode.solved
    first, second = server.requests
    assert (first["model"], first["temperature"]) == ("m", 0.5)
    assert first["top_k"] == 4
    assert first["tools"][0]["function"]["name"] == "double"
    assert [one["role"] for one in second["messages"][-2:]] == ["assistant", "tool"]
    assert second["messages"][-1] == {"role": "tool", "content": "6", "tool_call_id": "c0"}
    assert first["seed"] != second["seed"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    usage = endpoint.usage
    assert (usage.requests, usage.prompt_tokens, usage.completion_tokens) == (2, 20, 6)
    assert usage.cost(Price(prompt=1.0, completion=2.0)) == pytest.approx((20 + 12) / 1e6)
    assert usage.cost(None) is None


def test_what_a_server_says_that_it_cost_is_added_up() -> None:
    paid = says("6", usage={"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.25})
    with serving(always(paid)) as server:
        _, endpoint = play(server.url, count=2)
    assert endpoint.usage.cost(None) == 0.5


PASSING = {
    "rate limited": (refusal(429, "slow", **{"retry-after": "0"}), 1),
    "a server's fault": (refusal(503, "sorry"), 0),
    "hung up": (always(Reply(b"{}", cut=True)), 0),
}


@pytest.mark.parametrize(("failure", "limited"), PASSING.values(), ids=PASSING.keys())
def test_what_may_pass_is_asked_again(
    failure: Script, limited: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proofgym.agents.chat_endpoint.endpoint.FIRST_WAIT_S", 0.01)
    with serving(failure, failure, always(says("6"))) as server:
        (episode,), endpoint = play(server.url)
    assert episode.solved
    assert (endpoint.usage.requests, endpoint.usage.retries) == (3, 2)
    assert endpoint.usage.rate_limited == 2 * limited


def test_a_request_is_not_asked_for_more_often_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proofgym.agents.chat_endpoint.endpoint.FIRST_WAIT_S", 0.01)
    with serving(refusal(500, "sorry")) as server:
        (episode,), _ = play(server.url, retries=0)
        assert "no message in 6 attempts" in fault_of(episode)
        assert len(server.requests) == 6


def test_a_slow_drip_meets_the_deadline() -> None:
    slow = always(Reply(says("6").body, drip_s=0.05))
    with serving(slow) as server:
        (episode,), _ = play(server.url, timeout_s=0.1, deadline_s=0.3)
    assert "TimeoutError" in fault_of(episode)


def test_a_quota_that_ends_in_an_hour_ends_the_run_now() -> None:
    with serving(refusal(429, "quota", **{"retry-after": "3600"})) as server:
        episodes, _ = play(server.url, count=20, concurrency=1, max_concurrency=1)
        assert len(server.requests) == 1
    assert all("come back in 3600 s" in fault_of(one) for one in episodes)


def test_a_wrong_key_is_asked_once_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(refusal(401, f"Incorrect API key provided: {KEY}")) as server:
        episodes, endpoint = play(server.url, count=20, concurrency=1, max_concurrency=1)
        assert len(server.requests) == 1
    assert all("HTTP 401" in fault_of(one) for one in episodes)
    seen = [caplog.text, repr(endpoint), repr(vars(endpoint)), *map(repr, episodes)]
    assert not any(KEY in text for text in seen)
    with pytest.raises(EndpointRefusedError) as caught:
        asyncio.run(endpoint.ask([user("x")], (), max_tokens=5, seed=0))
    shown: BaseException | None = caught.value
    while shown is not None:
        assert KEY not in f"{shown!r} {shown}"
        shown = shown.__cause__ or shown.__context__


def test_a_full_context_ends_the_episode_and_is_no_fault() -> None:
    full = refusal(400, '{"error": {"code": "context_length_exceeded"}}')
    with serving(full) as server:
        (episode,), _ = play(server.url)
    assert (episode.stop, episode.fault) == (Stop.CONTEXT_OVERFLOW, None)


def test_models_that_name_the_limit_otherwise_are_asked_so() -> None:
    def newer(request: dict[str, Any]) -> Reply:
        if "max_tokens" in request:
            return Reply(b"Use 'max_completion_tokens' instead.", status=400)
        return says("6")

    with serving(newer) as server:
        episodes, _ = play(server.url, count=4)
    assert [one.solved for one in episodes] == [True] * 4
    assert all(one["max_completion_tokens"] > 0 for one in server.requests[-4:])


BAD_REPLIES = {
    "no json": Reply(b"<html>"),
    "no choice": Reply(b'{"choices": []}'),
    "another's message": Reply(b'{"choices": [{"message": {"role": "user", "content": "6"}}]}'),
    "a bad call": Reply(
        b'{"choices": [{"message": {"role": "assistant", "tool_calls": [{"id": 3}]}}]}'
    ),
}


@pytest.mark.parametrize("reply", BAD_REPLIES.values(), ids=BAD_REPLIES.keys())
def test_what_is_no_chat_completion_is_the_servers_fault(reply: Reply) -> None:
    with serving(always(reply)) as server:
        (episode,), _ = play(server.url)
    assert "expected a" in fault_of(episode)


def test_a_malformed_call_is_the_policys_and_the_episode_goes_on() -> None:
    with serving(always(says("", ("double", "{"))), always(says("6"))) as server:
        (episode,), _ = play(server.url)
    assert (episode.fault, episode.solved) == (None, True)


def test_a_message_cut_at_its_length_ends_the_episode() -> None:
    with serving(always(says("66", finish="length"))) as server:
        (episode,), _ = play(server.url, max_tokens=2)
    assert episode.stop is Stop.MAX_TOKENS
    assert server.requests[0]["max_tokens"] == 2


def test_the_tokens_that_a_server_counts_meet_the_episodes_limit() -> None:
    with serving(always(says("", CALL))) as server:
        (episode,), _ = play(server.url, env=Short)
    assert episode.stop is Stop.MAX_TOKENS
    assert [one["max_tokens"] for one in server.requests] == [7, 4, 1]


def test_requests_at_once_stay_within_what_the_server_takes() -> None:
    """A server that takes three at once: 429 teaches the limit, and every episode is played."""
    live, most = [0], [0]

    def narrow(request: dict[str, Any]) -> Reply:
        live[0] += 1
        most[0] = max(most[0], live[0])
        try:
            if live[0] > 3:
                return Reply(b"", status=429, headers={"retry-after": "0.02"})
            time.sleep(0.01)
            return says("6")
        finally:
            live[0] -= 1

    with serving(narrow) as server:
        episodes, endpoint = play(server.url, count=24, concurrency=12, retries=1)
    assert [one.solved for one in episodes] == [True] * 24
    assert endpoint.usage.rate_limited > 0
    assert endpoint.limit.limit < 12
    assert endpoint.limit.live == 0


# the limit by itself, with a clock of the test's


def limit_at(now: list[float], **fields: Any) -> AdaptiveLimit:
    return AdaptiveLimit(clock=lambda: now[0], hold_s=5.0, **fields)


def test_successes_grow_a_limit_quickly_and_after_a_429_by_one_a_round() -> None:
    async def full_round(limit: AdaptiveLimit) -> float:
        count = int(limit.limit)
        for _ in range(count):
            await limit.enter()
        for _ in range(count):
            limit.live = int(limit.limit)  # others keep it full
            limit.succeeded()
        limit.live = 0
        return limit.limit

    async def run() -> list[float]:
        limit = limit_at([0.0], start=4, most=64)
        seen = [await full_round(limit)]
        tickets = [await limit.enter() for _ in range(8)]
        for ticket in tickets:  # eight of one burst halve it once
            limit.slow_down(ticket, None)
            seen.append(limit.limit)
        limit.live = 0
        return [*seen, await full_round(limit)]

    doubled, *halved, grown = asyncio.run(run())
    assert (doubled, halved) == (8.0, [4.0] * 8)
    assert 4.9 < grown < 5.0  # 4 + 1/4 + 1/4.25 + ...


def test_a_servers_fault_only_keeps_the_limit_from_growing() -> None:
    async def run() -> list[float]:
        now = [0.0]
        limit = limit_at(now, start=1, most=8)
        seen = []
        for at in (0.0, 4.0, 6.0):
            now[0] = at
            await limit.enter()
            if at == 0.0:
                limit.troubled()
            limit.succeeded()
            limit.leave()
            seen.append(limit.limit)
        return seen

    assert asyncio.run(run()) == [1.0, 1.0, 2.0]


def test_nothing_is_sent_while_the_server_asked_for_quiet() -> None:
    async def run() -> float:
        limit = AdaptiveLimit(start=4, most=4)
        ticket = await limit.enter()
        limit.slow_down(ticket, 0.05)
        limit.leave()
        began = time.monotonic()
        await limit.enter()
        return time.monotonic() - began

    assert asyncio.run(run()) >= 0.04


def test_cancelled_waiters_take_no_place() -> None:
    async def run() -> int:
        limit = AdaptiveLimit(start=1, most=1)
        await limit.enter()
        waiting = [asyncio.create_task(limit.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        limit.leave()  # lets the first in, which is cancelled before it runs
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return limit.live

    assert asyncio.run(run()) == 0


BAD_URLS = {
    "a key in it": "https://me:secret@host/v1",
    "a query": "https://host/v1?key=secret",
    "no scheme": "host/v1",
}


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS.keys())
def test_a_url_that_could_hold_a_key_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must"):
        ChatEndpointConfig(base_url=url, model="m")


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds_to_wait("1.5") == 1.5
    assert 50 < (seconds_to_wait(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
    assert seconds_to_wait(formatdate(0, usegmt=True)) == 0.0
    assert seconds_to_wait("soon") is None
    assert seconds_to_wait(None) is None


def test_an_endpoint_error_is_an_engines() -> None:
    assert issubclass(EndpointRefusedError, EngineError)
