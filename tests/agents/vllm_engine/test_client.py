"""Calls to a server: deadlines, patience, and what never shows."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.client import ServerClient, ServerLostError
from proofgym.agents.vllm_engine.config import DeadlinesConfig

Reply = tuple[int, Any] | None
"""Status and JSON; None closes the connection without an answer."""


def talk(
    reply: Callable[[str, str], Reply | Awaitable[Reply]],
    work: Callable[[ServerClient], Awaitable[Any]],
    **deadlines: float,
) -> Any:
    """Serve ``reply(request line, headers)`` on the loopback and work with a client of it."""

    answering: set[asyncio.Task[Any]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, _, headers = head.partition("\r\n")
        said = reply(line, headers)
        found = await said if isinstance(said, Awaitable) else said
        if found is not None:
            body = json.dumps(found[1]).encode()
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%s" % (found[0], len(body), body)
            )
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def run() -> Any:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        limits = DeadlinesConfig.model_validate({"control": 5.0, "connect": 2.0, **deadlines})
        client = ServerClient(f"http://127.0.0.1:{port}", "sk-secret", limits)
        async with server:
            try:
                return await asyncio.wait_for(work(client), 20)
            finally:
                await client.close()
                await asyncio.gather(*answering, return_exceptions=True)

    return asyncio.run(run())


def test_a_call_is_repeated_while_the_server_is_paused() -> None:
    answers: list[Reply] = [(503, {"error": "paused"}), (503, {"error": "paused"}), (200, {"a": 1})]

    def reply(line: str, headers: str) -> Reply:
        return (200, None) if "/health" in line else answers.pop(0)

    assert talk(reply, lambda client: client.call("/x", {}, phase="p")) == {"a": 1}


def test_a_server_that_stays_paused_meets_the_deadline() -> None:
    def reply(line: str, headers: str) -> Reply:
        return (200, None) if "/health" in line else (503, {"error": "paused"})

    with pytest.raises(EngineError, match=r"'weigh' must end within 0.2 s.*still says.*paused"):
        talk(reply, lambda client: client.call("/x", {}, phase="weigh"), control=0.2)


def test_a_deadline_names_its_phase() -> None:
    async def reply() -> Reply:
        await asyncio.sleep(1.0)
        return None

    with pytest.raises(EngineError, match=r"'ponder' must end within 0.2 s"):
        talk(lambda *_: reply(), lambda client: client.call("/x", phase="ponder"), control=0.2)


def test_an_engine_that_died_behind_its_server_is_lost() -> None:
    def reply(line: str, headers: str) -> Reply:
        return (503, None) if "/health" in line else (500, {"error": "EngineDeadError"})

    with pytest.raises(ServerLostError, match="EngineDeadError"):
        talk(reply, lambda client: client.call("/x", phase="p"))


def test_a_refusal_of_a_healthy_server_is_no_loss() -> None:
    def reply(line: str, headers: str) -> Reply:
        return (200, None) if "/health" in line else (400, {"error": "prompt too long"})

    with pytest.raises(EngineError, match=r"must answer 200.*prompt too long") as caught:
        talk(reply, lambda client: client.call("/x", phase="p"))
    assert not isinstance(caught.value, ServerLostError)


def test_a_closed_connection_is_a_lost_server() -> None:
    with pytest.raises(ServerLostError, match="lost in phase 'p'"):
        talk(lambda *_: None, lambda client: client.call("/x", phase="p"))


def test_the_key_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def reply(line: str, headers: str) -> Reply:
        seen.append(headers)
        return (401, {"error": "no"})

    shown: list[str] = []

    async def work(client: ServerClient) -> None:
        with pytest.raises(EngineError) as caught:
            await client.call("/x", phase="p")
        shown.extend([str(caught.value), repr(client)])

    with caplog.at_level("DEBUG"):
        talk(reply, work)
    assert "authorization: bearer sk-secret" in seen[0].lower()
    assert "sk-secret" not in "".join([*shown, caplog.text])
