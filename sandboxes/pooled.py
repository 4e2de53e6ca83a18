"""A sandbox of a pool: its runs are in the metrics, and its forks take places of the pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

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

Count = Callable[[Result], None]


class PooledInterpreter:
    """An interpreter whose cells are counted."""

    def __init__(self, inner: Interpreter, count: Count) -> None:
        self._inner, self._count = inner, count

    async def run(self, text: str, *, limits: Limits | None = None) -> Result:
        """Run one command or cell."""
        result = await self._inner.run(text, limits=limits)
        self._count(result)
        return result

    async def close(self) -> None:
        """End it and what it started."""
        await self._inner.close()


class PooledSandbox(ClosedAfterUse):
    """See the protocol for what each method does."""

    def __init__(
        self,
        inner: Sandbox,
        count: Count,
        fork: Callable[[Sandbox, int], Awaitable[list[PooledSandbox]]],
        release: Callable[[], Awaitable[None]],
    ) -> None:
        """Take a sandbox and its pool's hooks; `release` gives the place back after its end."""
        self._inner, self._count, self._fork, self._release = inner, count, fork, release

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
        result = await self._inner.exec(command, stdin=stdin, env=env, cwd=cwd, limits=limits)
        self._count(result)
        return result

    async def python(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source in a fresh interpreter."""
        result = await self._inner.python(code, stdin=stdin, limits=limits)
        self._count(result)
        return result

    async def shell(self) -> PooledInterpreter:
        """Start a shell that keeps its state."""
        return PooledInterpreter(await self._inner.shell(), self._count)

    async def python_session(self) -> PooledInterpreter:
        """Start a Python interpreter that keeps its variables."""
        return PooledInterpreter(await self._inner.python_session(), self._count)

    async def read(self, path: str, *, max_bytes: int = 16 << 20) -> bytes:
        """Read a regular file."""
        return await self._inner.read(path, max_bytes=max_bytes)

    async def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a regular file."""
        await self._inner.write(path, data, mode=mode)

    async def list_files(self, path: str = ".") -> list[FileEntry]:
        """List a folder."""
        return await self._inner.list_files(path)

    async def upload(self, files: Mapping[str, bytes]) -> None:
        """Write many files."""
        await self._inner.upload(files)

    async def snapshot(self) -> Snapshot:
        """Copy the workspace's files out."""
        return await self._inner.snapshot()

    async def restore(self, snapshot: Snapshot) -> None:
        """Replace the workspace's files."""
        await self._inner.restore(snapshot)

    async def fork(self, n: int = 1) -> list[PooledSandbox]:
        """Make n sandboxes with the same files; each holds a place until it is closed.

        Raises:
            SandboxBusy: the pool is too small for it, whoever else leaves.
            SandboxTimeout: no places in `PoolConfig.acquire_s`.
        """
        return await self._fork(self._inner, n)

    async def close(self) -> None:
        """Kill every process inside, delete every file, and give the place back."""
        try:
            await self._inner.close()
        finally:
            await self._release()
