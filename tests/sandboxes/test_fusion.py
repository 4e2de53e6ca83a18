"""One-shot runs on a server that speaks SandboxFusion's schema."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from proofgym.sandboxes import Limits, Pool, SandboxLost, SandboxUnavailable, Status
from proofgym.sandboxes.http.fusion import FusionBackend, FusionConfig
from tests.sandboxes.served import free_port

# As in SandboxFusion's RunCodeRequest (sandbox/server/sandbox_api.py).
FIELDS = {
    "compile_timeout", "run_timeout", "memory_limit_MB", "code", "stdin", "language", "files",
    "fetch_files", "args",
}  # fmt: skip


def run_code(request: dict[str, Any]) -> dict[str, Any]:
    """Do what its handler does: run the program, and answer by RunCodeResponse."""
    assert request.keys() <= FIELDS
    program = {"python": sys.executable, "bash": "bash"}[request["language"]]
    began = time.monotonic()
    result: dict[str, Any] = {"status": "Finished", "return_code": None}
    try:
        done = subprocess.run(
            [program, "-c", request["code"]], input=request["stdin"], capture_output=True,
            text=True, timeout=request["run_timeout"],
        )  # fmt: skip
        result |= {"return_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
    except subprocess.TimeoutExpired:
        result |= {"status": "TimeLimitExceeded", "stdout": "", "stderr": ""}
    result["execution_time"] = time.monotonic() - began
    status = "Success" if result["return_code"] == 0 else "Failed"
    return {"status": status, "message": "", "compile_result": None, "run_result": result,
            "executor_pod_name": None, "files": {}}  # fmt: skip


@contextmanager
def fusion(answer: Callable[[dict[str, Any]], Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/run_code"
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            reply = answer(asked[-1])
            if reply is None:
                self.close_connection = True
                return
            body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def on(url: str, use: Callable[[FusionBackend], Any]) -> Any:
    async def run() -> Any:
        backend = FusionBackend(FusionConfig(url=url))
        try:
            return await use(backend)
        finally:
            await backend.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "status", "code_out", "signal"),
    [
        ("print(6 * 7)", Status.OK, 0, None),
        ("raise SystemExit(3)", Status.EXITED, 3, None),
        ("def", Status.EXITED, 1, None),
        ("import os; os.kill(os.getpid(), 9)", Status.KILLED, None, 9),
        ("while True: pass", Status.TIMEOUT, None, None),
        ("print('x' * 2000)", Status.OUTPUT_LIMIT, None, None),
    ],
    ids=["ok", "exit", "syntax", "signal", "timeout", "output"],
)
def test_what_a_program_did_is_a_status(
    code: str, status: Status, code_out: int | None, signal: int | None
) -> None:
    with fusion(run_code) as (url, asked):
        limits = Limits(wall_s=1.0, output_bytes=1000)
        result = on(url, lambda backend: backend.python_once(code, limits=limits))
    assert (result.status, result.exit_code, result.signal) == (status, code_out, signal)
    assert (asked[0]["run_timeout"], asked[0]["memory_limit_MB"]) == (1.0, 512)


def test_a_pool_runs_on_it_and_has_no_sessions() -> None:
    async def use(backend: FusionBackend) -> str:
        async with Pool(backend) as pool:
            with pytest.raises(SandboxUnavailable, match="single programs only"):
                async with pool.acquire():
                    pass
            return (await pool.exec(["cat", "-"], stdin=b"in and out")).stdout

    with fusion(run_code) as (url, _):
        assert on(url, use) == "in and out"


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"not json",
        {"status": "Success"},
        {"status": "SandboxError", "message": "no disk", "run_result": None},
        {"status": "Failed", "message": "", "run_result": {"status": "Error"}},
    ],
    ids=["cut", "no-json", "no-schema", "their-error", "their-run-error"],
)
def test_its_failures_are_no_verdict_on_the_program_and_nothing_is_sent_twice(reply: Any) -> None:
    async def use(backend: FusionBackend) -> None:
        with pytest.raises(SandboxLost):
            await backend.python_once("print(1)")

    with fusion(lambda _: reply) as (url, asked):
        on(url, use)
    assert len(asked) == 1


def test_a_server_that_is_not_there_is_unavailable() -> None:
    async def use(backend: FusionBackend) -> None:
        with pytest.raises(SandboxUnavailable, match="away"):
            await backend.start()

    on(f"http://127.0.0.1:{free_port()}", use)


def test_standard_input_must_be_text() -> None:
    async def use(backend: FusionBackend) -> None:
        with pytest.raises(ValueError, match="UTF-8"):
            await backend.python_once("1", stdin=b"\xff")

    on("http://127.0.0.1:1", use)
