"""Between hosts: who is let in, what is asked twice, what a vanished client leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proofgym.sandboxes import (
    Limits,
    PoolConfig,
    SandboxBusy,
    SandboxLost,
    SandboxTimeout,
    SandboxUnavailable,
    select_backend,
)
from proofgym.sandboxes.http import transport
from proofgym.sandboxes.http.client import HttpBackend
from proofgym.sandboxes.http.message import Message, decode
from proofgym.sandboxes.http.server import SandboxServer, ServerConfig
from proofgym.sandboxes.http.transport import HttpConfig
from tests.sandboxes.abuse import processes_with
from tests.sandboxes.served import TOKEN, free_port, make_server
from tests.sandboxes.test_pool import children, eventually, groups

pytestmark = pytest.mark.namespaces


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> Any:
    server = make_server(**settings)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def speaking(server: SandboxServer, **settings: Any) -> Any:
    backend = HttpBackend(HttpConfig(**{"url": server.url, "token": TOKEN, **settings}))
    try:
        yield backend
    finally:
        await backend.close()


def with_both(use: Callable[[SandboxServer, HttpBackend], Awaitable[Any]], **settings: Any) -> Any:
    async def run() -> Any:
        async with serving(**settings) as server, speaking(server) as backend:
            return await use(server, backend)

    return asyncio.run(run())


def test_an_unknown_client_is_refused_in_every_request() -> None:
    async def use() -> None:
        async with serving() as server, speaking(server, token=TOKEN + "x") as stranger:
            with pytest.raises(SandboxUnavailable, match=r"401.*needs its token"):
                await stranger.python_once("1")

    asyncio.run(use())


@pytest.mark.parametrize("token", ["", "short", "ünbelievably-long-token"])
def test_a_token_that_can_be_guessed_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="at least 16 ASCII"):
        ServerConfig(token=token)


GIVEN = f"Authorization: Bearer {TOKEN}\r\n"


REFUSED = {
    f"POST /v1/hello HTTP/1.1\r\n{GIVEN}\r\n": 411,
    f"POST /v1/hello HTTP/1.1\r\n{GIVEN}Content-Length: -1\r\n\r\n": 411,
    f"POST /v1/hello HTTP/1.1\r\n{GIVEN}Transfer-Encoding: chunked\r\n\r\n": 411,
    f"POST /v1/hello HTTP/1.1\r\n{GIVEN}Content-Length: 9999999\r\n\r\n": 413,
    f"POST /v1/hello HTTP/1.1\r\n{GIVEN}Content-Length: 4\r\n\r\nabcd": 400,
    f"GET /v1/hello HTTP/1.1\r\n{GIVEN}Content-Length: 0\r\n\r\n": 405,
    f"POST /other HTTP/1.1\r\n{GIVEN}Content-Length: 0\r\n\r\n": 404,
    "POST /v1/hello HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n": 401,
    "POST /v1/hello HTTP/1.1\r\nAuthorization: Bearer\r\n\r\n": 401,
    f"POST /v1/hello HTTP/1.1\r\nX: {'x' * 70_000}\r\n\r\n": 431,
    "GET / HTTP/1.1\r\n\r\n": 401,
}


def test_what_is_no_request_is_refused_before_its_body() -> None:
    async def use() -> dict[str, int]:
        found = {}
        async with serving(body_bytes=1 << 20) as server:
            host, port = server.url.removeprefix("http://").split(":")
            for request in REFUSED:
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(request.encode())
                found[request] = int((await reader.readline()).split()[1])
                writer.close()
        return found

    assert asyncio.run(use()) == REFUSED


@pytest.mark.parametrize(
    "body",
    [b"", b"\0\0\0\2{}", b"\0\0\0\x0d" + b'{"blobs":[9]}', b"\xff\xff\xff\xff{", b"\0\0\0\1["],
)
def test_a_message_that_is_none_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="expected a"):
        decode(body)


def test_a_message_comes_back_as_it_was() -> None:
    sent = Message(words={"a": [1, None, "é"]}, blobs=(b"", b"\0\xff", b"x" * 1000))
    came = decode(sent.encode())
    assert (came.words["a"], list(came.blobs)) == ([1, None, "é"], list(sent.blobs))


def test_a_vanished_client_leaves_nothing() -> None:
    word = "vc" + secrets.token_hex(6)

    async def use(server: SandboxServer, _: HttpBackend) -> bool:
        gone = HttpBackend(HttpConfig(url=server.url, token=TOKEN))
        box = await gone.create(Limits())
        await box.exec(f"(while :; do sleep 1; done; : {word}) >/dev/null 2>&1 &")
        running = asyncio.ensure_future(box.exec(f"sleep 50; : {word}", limits=Limits(wall_s=60)))
        await asyncio.sleep(0.3)
        assert processes_with(word)
        assert gone._heart is not None
        gone._heart.cancel()  # no farewell: as when its host lost power
        await asyncio.sleep(3.0)
        left = processes_with(word)
        with pytest.raises(SandboxLost, match="cancelled"):
            await running
        with pytest.raises(SandboxLost, match="lease"):
            await box.python("1")
        await gone.close()
        return left == []

    assert with_both(use, lease_s=1.5)


def test_a_client_keeps_its_sandboxes_while_it_lives() -> None:
    async def use(server: SandboxServer, backend: HttpBackend) -> str:
        async with await backend.create(Limits()) as box:
            await box.write("f", b"kept")
            await asyncio.sleep(3.0)
            return (await box.read("f")).decode()

    assert with_both(use, lease_s=1.0) == "kept"


class CuttingProxy:
    """Relays bytes to a server, and cuts the connection before the answers it is told to lose."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self.lose = 0
        self.server: asyncio.Server | None = None

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)

        async def forward() -> None:
            while data := await reader.read(1 << 16):
                back.write(data)

        task = asyncio.ensure_future(forward())
        with contextlib.suppress(OSError):
            while data := await there.read(1 << 16):
                if self.lose:
                    self.lose -= 1
                    break
                writer.write(data)
        task.cancel()
        writer.close()
        back.close()


def test_an_answer_lost_on_the_way_is_asked_for_again_and_nothing_runs_twice() -> None:
    async def use() -> list[Any]:
        async with serving() as server:
            proxy = CuttingProxy(server.url)
            async with proxy as url, speaking(server, url=url) as backend:
                box = await backend.create(Limits())
                proxy.lose = 3
                result = await box.exec("sleep 0.2; echo ran >> f; echo done")
                lines = await box.read("f")
                proxy.lose = 1
                forks = await box.fork(2)
                return [result.stdout, lines, len(forks), server._service._pool.stats().at_work]

    assert asyncio.run(use()) == ["done\n", b"ran\n", 2, 3]


def test_a_restarted_server_is_a_typed_error_and_then_used() -> None:
    async def use() -> str:
        port = free_port()
        first = make_server(port)
        await first.start()
        backend = HttpBackend(HttpConfig(url=f"http://127.0.0.1:{port}", token=TOKEN))
        box = await backend.create(Limits())
        running = asyncio.ensure_future(backend.exec_once("sleep 30", limits=Limits(wall_s=40)))
        await asyncio.sleep(0.3)
        await first.close()
        async with serving(port=port):
            with pytest.raises(SandboxLost):  # it may have run: not run again in silence
                await running
            with pytest.raises(SandboxLost, match=r"restarted|lease"):
                await box.python("1")
            answer = (await backend.python_once("print('on')")).stdout
            await box.close()
            await backend.close()
        return answer

    assert asyncio.run(use()) == "on\n"


def test_a_server_that_stays_away_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "RETRY_S", 0.3)
    url = f"http://127.0.0.1:{free_port()}"

    async def use() -> None:
        backend = HttpBackend(HttpConfig(url=url, token=TOKEN))
        with pytest.raises(SandboxLost, match="is away"):
            await backend.start()
        await backend.close()

    asyncio.run(use())


def test_a_deadline_stops_the_run_on_the_server() -> None:
    word = "dl" + secrets.token_hex(6)

    async def use() -> Any:
        async with serving() as server, speaking(server, queue_s=-34.5) as backend:
            with pytest.raises(SandboxTimeout) as caught:
                await backend.exec_once(f"sleep 60; : {word}", limits=Limits(wall_s=30))
            return caught.value.phase

    assert asyncio.run(use()) == "exec"
    assert eventually(lambda: not processes_with(word))


def test_a_full_server_says_so() -> None:
    async def use(server: SandboxServer, backend: HttpBackend) -> None:
        box = await backend.create(Limits())
        with pytest.raises(SandboxBusy, match="max_waiting"):
            await backend.create(Limits())
        with pytest.raises(SandboxBusy):
            await box.fork(2)
        await box.close()

    with_both(use, config=PoolConfig(size=1, max_waiting=0))


def test_limits_above_the_servers_own_are_refused() -> None:
    async def use(server: SandboxServer, backend: HttpBackend) -> None:
        with pytest.raises(ValueError, match=r"Limits\.memory_mib must be at most"):
            await backend.create(Limits(memory_mib=1 << 30))

    with_both(use)


def test_a_client_cannot_reach_anothers_sandbox() -> None:
    async def use(server: SandboxServer, backend: HttpBackend) -> None:
        mine = await backend.create(Limits())
        async with speaking(server) as other:
            theirs = await other.create(Limits())
            theirs._name = mine._name
            with pytest.raises(SandboxLost, match="no sandbox"):
                await theirs.read("secret")

    with_both(use)


def test_what_a_server_holds_can_be_required_of_it() -> None:
    async def use(server: SandboxServer, backend: HttpBackend) -> None:
        chosen = await select_backend(backend, require=["pid-namespace"])
        assert chosen.isolation.tier.startswith("http:ns")
        with pytest.raises(SandboxUnavailable, match="gvisor"):
            await select_backend(backend, require=["gvisor"])

    with_both(use)


def test_closing_the_server_leaves_nothing() -> None:
    before = children(), len(os.listdir("/proc/self/fd"))

    async def use(server: SandboxServer, backend: HttpBackend) -> None:
        box = await backend.create(Limits())
        await box.exec("sleep 100 &")

    with_both(use)
    assert groups(os.getpid()) == []
    assert (children(), len(os.listdir("/proc/self/fd"))) == before


def test_the_command_serves_and_stops_cleanly(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    command = [sys.executable, "-m", "proofgym", "serve-sandboxes", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--token-file", str(tmp_path / "token"), "--backend", "ns"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    said = server.stdout.readline()

    async def use() -> str:
        backend = HttpBackend(HttpConfig(url=said.split()[3].rstrip(";"), token=TOKEN))
        box = await backend.create(Limits())
        seen = (await box.python("print(6 * 7)")).stdout
        server.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait, 20)
        await backend._transport.close()
        assert backend._heart is not None
        backend._heart.cancel()
        return seen

    assert asyncio.run(use()) == "42\n"
    server.stdout.close()
    assert server.returncode == 0
    assert groups(server.pid) == []


def test_the_command_needs_a_token() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proofgym", "serve-sandboxes"], capture_output=True, text=True,
        env={k: v for k, v in os.environ.items() if k != "PROOFGYM_SANDBOX_TOKEN"},
    )  # fmt: skip
    assert (done.returncode, "--token-file" in done.stderr) == (2, True)
