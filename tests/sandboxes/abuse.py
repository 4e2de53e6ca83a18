"""Run one case of the abuse corpus against a backend and say what did not hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofgym.sandboxes.errors import SandboxFileError
from proofgym.sandboxes.protocol import Backend, Limits, Result, Sandbox, Status

CASES = Path(__file__).parent / "cases" / "sandbox_abuse.jsonl"
CANARY = "SBXCANARY"
Row = dict[str, Any]


def rows() -> list[Row]:
    """Read the corpus."""
    return [json.loads(line) for line in CASES.read_text().splitlines()]


@dataclass
class Surroundings:
    """What a case may try to reach: a file, two sockets, a process with a secret."""

    folder: Path
    mark: str
    victim: subprocess.Popen[bytes]
    abstract: str
    listeners: list[socket.socket]

    def fill(self, text: str) -> str:
        """Replace the corpus's placeholders."""
        for name, value in (
            ("@HOSTFILE@", str(self.folder / "host.txt")),
            ("@MARK@", self.mark),
            ("@ABSTRACT@", self.abstract),
            ("@SOCKPATH@", str(self.folder / "path.sock")),
        ):
            text = text.replace(name, value)
        return text


def _greet(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(f"{CANARY}-socket".encode())


@contextlib.contextmanager
def surroundings() -> Any:
    """Make the things outside that must stay out of reach."""
    mark = "m" + secrets.token_hex(6)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "host.txt").write_text(f"{CANARY}-hostfile\n")
        (folder / "host.txt").chmod(0o644)
        listeners = []
        for address in (f"\0{mark}", str(folder / "path.sock")):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen()
            listeners.append(listener)
            threading.Thread(target=_greet, args=(listener,), daemon=True).start()
        (folder / "path.sock").chmod(0o777)
        victim = subprocess.Popen(
            ["sleep", "86400"], env={"SECRET": f"{CANARY}-environ"}, start_new_session=True
        )
        try:
            yield Surroundings(folder, mark, victim, mark, listeners)
        finally:
            victim.kill()
            victim.wait()
            for listener in listeners:
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                listener.close()


def limits_of(row: Row) -> Limits:
    """Translate a row's limits."""
    given = row["limits"]
    return Limits(
        wall_s=given["wall"], memory_mib=given["mem"] >> 20, disk_mib=given["disk"] >> 20,
        output_bytes=given["out"], processes=given["nproc"],
    )  # fmt: skip


DRIVER = """
import json, sys
{code}
print("RESULT " + json.dumps([solve(*a) for a in json.load(sys.stdin)]))
"""


STARVED_TRIES = 3
starved_rows: list[str] = []  # run again; the test session names them at its end


def starved(row: Row, result: Result) -> bool:
    """Tell whether a harmless program met the clock because it did not get the machine."""
    usage = result.usage
    expected = row["expect"] == "ok" and not row.get("accept")
    return expected and result.status is Status.TIMEOUT and usage.cpu_s < usage.wall_s / 2


async def run_case(row: Row, backend: Backend, around: Surroundings) -> list[str]:
    """Run a row in a fresh sandbox and return what did not hold.

    A harmless program must finish within its row's limits, on a machine that others keep busy
    too, in one of a few tries. Whatever else a row expects gets one.
    """
    for _ in range(STARVED_TRIES - 1):
        result, problems = await _try_case(row, backend, around)
        if not starved(row, result):
            return problems
        starved_rows.append(row["id"])
    return (await _try_case(row, backend, around))[1]


async def _try_case(row: Row, backend: Backend, around: Surroundings) -> tuple[Result, list[str]]:
    limits = limits_of(row)
    if "pre" in row:
        async with await backend.create(limits) as sandbox:
            await sandbox.python(around.fill(row["pre"]))
    async with await backend.create(limits) as sandbox:
        started = time.monotonic()
        result = await _run(row, sandbox, around)
        took = time.monotonic() - started
        fetched = [await _fetch(sandbox, path) for path in row.get("fetch", [])]
    problems = judge(row, result, took)
    if CANARY.encode() in b"".join(fetched):
        problems.append("the file API returned a host file")
    for post in row.get("post", []):
        problems += await _after(post, row, backend, around, took)
    return result, problems


async def _run(row: Row, sandbox: Sandbox, around: Surroundings) -> Result:
    code = around.fill(row["code"])
    stdin = b"x" * row.get("stdin_size", 0)
    if row["lang"] == "sh":
        return await sandbox.exec(code, stdin=stdin)
    if row["lang"] == "func":
        arguments = json.dumps([case[0] for case in row["tests"]]).encode()
        return await sandbox.python(DRIVER.format(code=code), stdin=arguments)
    return await sandbox.python(code, stdin=stdin)


async def _fetch(sandbox: Sandbox, path: str) -> bytes:
    try:
        async with asyncio.timeout(3):
            return await sandbox.read(path, max_bytes=1 << 20)
    except SandboxFileError as error:
        return str(error).encode()


def judge(row: Row, result: Result, took: float) -> list[str]:
    """Compare a result with what the row expects."""
    text = result.stdout + result.stderr
    problems = []
    if result.status is Status.INFRA_ERROR:
        problems.append(f"infrastructure: {result.detail}")
    wanted = {row["expect"], *row.get("accept", [])}
    if row["lang"] == "func":
        passed = _solved(row, result)
        if passed != (row["expect"] == "ok"):
            problems.append(f"verdict {passed}: {text[:300]}")
        return problems
    if "ESCAPED" in text and not {"killed-memory"} & _words(result):
        problems.append(f"escaped: {text[:500]}")
    if CANARY in text:
        problems.append(f"leaked: {text[:500]}")
    if "SLOW" in text:
        problems.append("slow")
    if not wanted & _words(result):
        problems.append(f"expected {sorted(wanted)}, got {result.status}: {text[-500:]}")
    if "code_is" in row and result.exit_code != row["code_is"]:
        problems.append(f"exit code {result.exit_code}")
    if "code_in" in row:
        code = result.exit_code if result.signal is None else -result.signal
        if code not in row["code_in"]:
            problems.append(f"code {code}")
    if "out_contains_hex" in row and bytes.fromhex(row["out_contains_hex"]) not in (
        result.stdout_bytes
    ):
        problems.append("bytes were changed")
    if len(result.stdout_bytes) < row.get("min_out", 0):
        problems.append(f"only {len(result.stdout_bytes)} bytes")
    return problems


def _words(result: Result) -> set[str]:
    """Name a result in the corpus's words."""
    text = result.stdout + result.stderr
    words = set()
    if result.status in (Status.OK, Status.EXITED, Status.PIDS, Status.KILLED):
        words.add("no-leak")
        if "DENIED" in text or "MemoryError" in text:
            words.add("denied")
        if "OK" in text:
            words.add("ok")
        if "MEMERR" in text or "MemoryError" in text:
            words.add("memerr")
        if result.signal == 25:
            words.add("sig-xfsz")
    by_status = {
        Status.TIMEOUT: "killed-time",
        Status.MEMORY: "killed-memory",
        Status.OUTPUT_LIMIT: "truncated",
    }
    if result.enforced_by == "sampled disk":
        words.add("killed-disk")
    return words | {by_status.get(result.status, "")}


def _solved(row: Row, result: Result) -> bool:
    """Judge a function outside: plain JSON, exact types."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("RESULT ")]
    if not result.ok or len(lines) != 1:
        return False
    try:
        answers = json.loads(lines[0][7:])
    except ValueError:
        return False
    want = [case[1] for case in row["tests"]]
    return [type(a) for a in answers] == [type(w) for w in want] and answers == want


def processes_with(mark: str) -> list[str]:
    """Find processes of the host whose command line holds a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(path.parent.name)
    return found


async def _after(
    post: str, row: Row, backend: Backend, around: Surroundings, took: float
) -> list[str]:
    if post.startswith("returned-before:"):
        bound = float(post.partition(":")[2])
        return [f"took {took:.1f} s"] if took > bound else []
    if post == "victim-alive":
        return [] if around.victim.poll() is None else ["the victim died"]
    if post == "no-survivors":
        left = processes_with(around.mark)
        return [f"survivors: {left}"] if left else []
    assert post == "next-ok"
    async with await backend.create(limits_of(row)) as sandbox:
        result = await sandbox.python("print(6 * 7)")
    return [] if result.stdout == "42\n" else [f"the next job failed: {result}"]
