"""The http backend: sandboxes of another host, by the same protocol."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Self

from proofgym.sandboxes.agent_client import GRACE_S
from proofgym.sandboxes.closing import ClosedAfterUse
from proofgym.sandboxes.errors import SandboxClosed, SandboxError, SandboxLost
from proofgym.sandboxes.http.message import Message, isolation_from, limits_words, result_from
from proofgym.sandboxes.http.transport import HttpConfig, Transport
from proofgym.sandboxes.protocol import FileEntry, FileKind, Isolation, Limits, Result, Snapshot

logger = logging.getLogger(__name__)

HELLO_S = 15.0
FILE_S = 120.0


class HttpBackend:
    """Sandboxes from a server started by `proofgym serve-sandboxes`."""

    def __init__(self, config: HttpConfig, *, tls: ssl.SSLContext | None = None) -> None:
        """Take the server's address and token; `tls` where the system's authorities do not do."""
        self._config = config
        self._transport = Transport(config, tls=tls)
        self._isolation = Isolation(backend="http", tier="http")
        self._heart: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def isolation(self) -> Isolation:
        """Say what the server's sandboxes hold; valid after `start`."""
        return self._isolation

    async def start(self) -> None:
        """Ask the server what it has, and keep the lease from here on.

        Raises:
            SandboxUnavailable: it does not answer, or not to this token.
        """
        if self._heart is not None:
            return
        answer = await self._transport.call("hello", {}, deadline_s=HELLO_S, phase="start")
        self._isolation = isolation_from(answer.words["isolation"])
        self._transport.instance = str(answer.words["instance"])
        self._heart = asyncio.ensure_future(self._beat(float(answer.words["lease_s"]) / 4))

    async def _beat(self, period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s)
            try:
                await self._transport.call("touch", {}, deadline_s=period_s, phase="lease")
            except SandboxError as error:
                logger.warning("could not renew the lease on the sandboxes: %s", error)

    def run_deadline_s(self, limits: Limits | None) -> float:
        """Bound a run: its own limit, the wait for a place and the way there."""
        wall_s = (limits or Limits()).wall_s
        return wall_s + GRACE_S + self._config.queue_s

    async def call(
        self, operation: str, words: dict[str, Any], blobs: Sequence[bytes] = (), *,
        deadline_s: float = FILE_S, phase: str = "file",
    ) -> Message:  # fmt: skip
        """Do an operation on the server."""
        if self._closed:
            raise SandboxClosed("the http backend is closed; make a new one.")
        await self.start()
        return await self._transport.call(
            operation, words, blobs, deadline_s=deadline_s, phase=phase
        )

    async def create(self, limits: Limits) -> HttpSandbox:
        """Make a sandbox there."""
        answer = await self.call(
            "create", {"limits": limits_words(limits)}, phase="start",
            deadline_s=self._config.queue_s + GRACE_S,
        )  # fmt: skip
        return HttpSandbox(self, str(answer.words["sandbox"]), limits)

    async def python_once(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source there, isolated from every other run."""
        text = code.encode(errors="surrogatepass")
        return await self.run("python_once", {}, (text, stdin), limits)

    async def exec_once(
        self, command: Sequence[str] | str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run a program there, isolated from every other run."""
        given = command if isinstance(command, str) else list(command)
        return await self.run("exec_once", {"command": given}, (stdin,), limits)

    async def run(
        self, operation: str, words: dict[str, Any], blobs: Sequence[bytes],
        limits: Limits | None, default: Limits | None = None,
    ) -> Result:  # fmt: skip
        """Do an operation that ends in a result."""
        sent = limits_words(limits) if limits is not None else None
        answer = await self.call(
            operation, {**words, "limits": sent}, blobs, phase="exec",
            deadline_s=self.run_deadline_s(limits or default),
        )  # fmt: skip
        return result_from(answer)

    async def close(self) -> None:
        """Give every sandbox back; if the server is away, its lease does it."""
        if self._closed:
            return
        self._closed = True
        if self._heart is not None:
            self._heart.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._heart
            with contextlib.suppress(SandboxError):
                await self._transport.call("bye", {}, deadline_s=HELLO_S, phase="close")
        await self._transport.close()


class HttpSandbox(ClosedAfterUse):
    """A sandbox that stands on the server."""

    def __init__(self, backend: HttpBackend, name: str, limits: Limits) -> None:
        self._backend = backend
        self._name = name
        self._limits = limits
        self._closed = False

    @property
    def id(self) -> str:
        """Name it in logs."""
        return f"http-{self._name}"

    @property
    def isolation(self) -> Isolation:
        """Say what holds there."""
        return self._backend.isolation

    async def _call(
        self, operation: str, words: dict[str, Any], blobs: Sequence[bytes] = ()
    ) -> Message:
        self._check()
        return await self._backend.call(operation, {**words, "sandbox": self._name}, blobs)

    def _check(self) -> None:
        if self._closed:
            raise SandboxClosed(f"sandbox {self.id} is closed; make a new one.")

    async def run(
        self, operation: str, words: dict[str, Any], blobs: Sequence[bytes],
        limits: Limits | None,
    ) -> Result:  # fmt: skip
        """Do an operation that ends in a result."""
        self._check()
        words = {**words, "sandbox": self._name}
        return await self._backend.run(operation, words, blobs, limits, self._limits)

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limits: Limits | None = None,
    ) -> Result:
        """Run a program."""
        given = command if isinstance(command, str) else list(command)
        words = {"command": given, "env": dict(env or {}), "cwd": cwd}
        return await self.run("exec", words, (stdin,), limits)

    async def python(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source in a fresh fork of a warm interpreter."""
        text = code.encode(errors="surrogatepass")
        return await self.run("python", {}, (text, stdin), limits)

    async def shell(self) -> HttpInterpreter:
        """Start a shell."""
        return await self._open("shell")

    async def python_session(self) -> HttpInterpreter:
        """Start a Python interpreter that stays."""
        return await self._open("python-session")

    async def _open(self, kind: str) -> HttpInterpreter:
        answer = await self._call("open", {"kind": kind})
        return HttpInterpreter(self, str(answer.words["interpreter"]))

    async def close_interpreter(self, name: str) -> None:
        """End an interpreter, unless the sandbox is gone anyway."""
        if not self._closed:
            await self._call("close_interpreter", {"interpreter": name})

    async def read(self, path: str, *, max_bytes: int = 16 << 20) -> bytes:
        """Read a regular file."""
        return (await self._call("read", {"path": path, "max_bytes": max_bytes})).blobs[0]

    async def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a regular file."""
        await self._call("write", {"path": path, "mode": mode}, (data,))

    async def list_files(self, path: str = ".") -> list[FileEntry]:
        """List a folder."""
        answer = await self._call("list", {"path": path})
        return [
            FileEntry(name=name, kind=FileKind(kind), size=size, mode=mode)
            for name, kind, size, mode in answer.words["entries"]
        ]

    async def upload(self, files: Mapping[str, bytes]) -> None:
        """Write many files."""
        await self._call("upload", {"names": list(files)}, list(files.values()))

    async def snapshot(self) -> Snapshot:
        """Copy the workspace's files out."""
        return Snapshot(archive=(await self._call("snapshot", {})).blobs[0])

    async def restore(self, snapshot: Snapshot) -> None:
        """Replace the workspace's files."""
        await self._call("restore", {}, (snapshot.archive,))

    async def fork(self, n: int = 1) -> list[Self]:
        """Make n sandboxes with the same files and limits; the files stay on the server."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        answer = await self._call("fork", {"n": n, "limits": limits_words(self._limits)})
        names = answer.words["sandboxes"]
        return [type(self)(self._backend, str(name), self._limits) for name in names]

    async def close(self) -> None:
        """Give it back."""
        if not self._closed:
            # Where the backend is closed, or the server or the lease is gone, so is the sandbox.
            with contextlib.suppress(SandboxClosed, SandboxLost):
                await self._call("close", {})
            self._closed = True


class HttpInterpreter:
    """A shell or Python session on the server."""

    def __init__(self, sandbox: HttpSandbox, name: str) -> None:
        self._sandbox, self._name = sandbox, name

    async def run(self, text: str, *, limits: Limits | None = None) -> Result:
        """Run one command or cell."""
        blob = text.encode(errors="surrogatepass")
        return await self._sandbox.run("cell", {"interpreter": self._name}, (blob,), limits)

    async def close(self) -> None:
        """End it and what it started."""
        await self._sandbox.close_interpreter(self._name)
