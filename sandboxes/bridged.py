"""A sandbox, or an interpreter in it, awaited from another event loop than its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Self, TypeVar

from proofgym.sandboxes.calls import Calls
from proofgym.sandboxes.closing import ClosedAfterUse
from proofgym.sandboxes.protocol import (
    FileEntry,
    Interpreter,
    Isolation,
    Limits,
    Result,
    Sandbox,
    Snapshot,
)

T = TypeVar("T")


async def across(calls: Calls, work: Awaitable[T]) -> T:
    """Await work that must run on the calls' loop; a cancelled waiter cancels the work."""
    return await asyncio.wrap_future(calls.submit(work))


class BridgedInterpreter:
    """An interpreter whose loop runs elsewhere."""

    def __init__(self, inner: Interpreter, calls: Calls) -> None:
        self._inner, self._calls = inner, calls

    async def run(self, text: str, *, limits: Limits | None = None) -> Result:
        """Run one command or cell."""
        return await across(self._calls, self._inner.run(text, limits=limits))

    async def close(self) -> None:
        """End it and what it started."""
        await across(self._calls, self._inner.close())


class BridgedSandbox(ClosedAfterUse):
    """A sandbox whose loop runs elsewhere; see the protocol for what each method does."""

    def __init__(self, inner: Sandbox, calls: Calls) -> None:
        self._inner, self._calls = inner, calls

    @property
    def id(self) -> str:
        """Name it in logs."""
        return self._inner.id

    @property
    def isolation(self) -> Isolation:
        """Say what holds here."""
        return self._inner.isolation

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limits: Limits | None = None,
    ) -> Result:
        """Run a program; a string goes to the shell."""
        work = self._inner.exec(command, stdin=stdin, env=env, cwd=cwd, limits=limits)
        return await across(self._calls, work)

    async def python(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source in a fresh interpreter."""
        return await across(self._calls, self._inner.python(code, stdin=stdin, limits=limits))

    async def shell(self) -> BridgedInterpreter:
        """Start a shell that keeps its state."""
        return BridgedInterpreter(await across(self._calls, self._inner.shell()), self._calls)

    async def python_session(self) -> BridgedInterpreter:
        """Start a Python interpreter that keeps its variables."""
        inner = await across(self._calls, self._inner.python_session())
        return BridgedInterpreter(inner, self._calls)

    async def read(self, path: str, *, max_bytes: int = 16 << 20) -> bytes:
        """Read a regular file."""
        return await across(self._calls, self._inner.read(path, max_bytes=max_bytes))

    async def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a regular file."""
        await across(self._calls, self._inner.write(path, data, mode=mode))

    async def list_files(self, path: str = ".") -> list[FileEntry]:
        """List a folder."""
        return await across(self._calls, self._inner.list_files(path))

    async def upload(self, files: Mapping[str, bytes]) -> None:
        """Write many files."""
        await across(self._calls, self._inner.upload(files))

    async def snapshot(self) -> Snapshot:
        """Copy the workspace's files out."""
        return await across(self._calls, self._inner.snapshot())

    async def restore(self, snapshot: Snapshot) -> None:
        """Replace the workspace's files."""
        await across(self._calls, self._inner.restore(snapshot))

    async def fork(self, n: int = 1) -> list[Self]:
        """Make n sandboxes with the same files, on the same loop."""
        twins = await across(self._calls, self._inner.fork(n))
        return [type(self)(twin, self._calls) for twin in twins]

    async def close(self) -> None:
        """Kill every process inside and delete every file."""
        await across(self._calls, self._inner.close())
