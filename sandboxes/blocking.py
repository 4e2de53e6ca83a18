"""The thin synchronous face: the same sandbox for code that cannot await."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

from proofgym.sandboxes.calls import Calls, as_coroutine
from proofgym.sandboxes.protocol import (
    Backend,
    FileEntry,
    Interpreter,
    Isolation,
    Limits,
    Result,
    Sandbox,
    Snapshot,
)
from proofgym.sandboxes.selection import select_backend

T = TypeVar("T")


class BlockingInterpreter:
    """A shell or Python session for code that cannot await."""

    def __init__(self, inner: Interpreter, wait: Callable[[Awaitable[Any]], Any]) -> None:
        self._inner, self._wait = inner, wait

    def run(self, text: str, *, limits: Limits | None = None) -> Result:
        """Run one command or cell."""
        result: Result = self._wait(self._inner.run(text, limits=limits))
        return result

    def close(self) -> None:
        """End it."""
        self._wait(self._inner.close())


class BlockingSandbox:
    """A sandbox for code that cannot await; its event loop runs in another thread.

    Made by `open_sandbox`, or around a sandbox whose loop runs elsewhere, as for a tool function
    that the driver calls in a thread.
    """

    def __init__(
        self,
        inner: Sandbox,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[[], None] | None = None,
        *,
        calls: Calls | None = None,
    ) -> None:
        self._inner, self._loop, self._on_close = inner, loop, on_close
        self._calls = calls or Calls(loop)

    def _wait(self, awaitable: Awaitable[T]) -> T:
        return self._calls.wait(awaitable)

    @property
    def id(self) -> str:
        """Name it in logs."""
        return self._inner.id

    @property
    def isolation(self) -> Isolation:
        """Say what holds here."""
        return self._inner.isolation

    def python(self, code: str, *, stdin: bytes = b"", limits: Limits | None = None) -> Result:
        """Run Python source in a fresh interpreter."""
        return self._wait(self._inner.python(code, stdin=stdin, limits=limits))

    def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limits: Limits | None = None,
    ) -> Result:
        """Run a program; a string goes to the shell."""
        return self._wait(self._inner.exec(command, stdin=stdin, env=env, cwd=cwd, limits=limits))

    def shell(self) -> BlockingInterpreter:
        """Start a shell that keeps its state."""
        return BlockingInterpreter(self._wait(self._inner.shell()), self._wait)

    def python_session(self) -> BlockingInterpreter:
        """Start a Python interpreter that keeps its variables."""
        return BlockingInterpreter(self._wait(self._inner.python_session()), self._wait)

    def read(self, path: str, *, max_bytes: int = 16 << 20) -> bytes:
        """Read a regular file."""
        return self._wait(self._inner.read(path, max_bytes=max_bytes))

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a regular file."""
        self._wait(self._inner.write(path, data, mode=mode))

    def list_files(self, path: str = ".") -> list[FileEntry]:
        """List a folder."""
        return self._wait(self._inner.list_files(path))

    def upload(self, files: Mapping[str, bytes]) -> None:
        """Write many files."""
        self._wait(self._inner.upload(files))

    def snapshot(self) -> Snapshot:
        """Copy the workspace's files out."""
        return self._wait(self._inner.snapshot())

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the workspace's files."""
        self._wait(self._inner.restore(snapshot))

    def fork(self, n: int = 1) -> list[BlockingSandbox]:
        """Make n sandboxes with the same files, on the same loop."""
        return [BlockingSandbox(one, self._loop) for one in self._wait(self._inner.fork(n))]

    def close(self) -> None:
        """Kill every process inside and delete every file."""
        if not self._loop.is_closed():
            self._wait(self._inner.close())
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def open_sandbox(
    backend: str | Backend = "auto",
    *,
    limits: Limits | None = None,
    require: Iterable[str] = (),
    i_trust_this_code: bool = False,
) -> BlockingSandbox:
    """Open one sandbox from synchronous code, with a loop thread of its own.

    Arguments and errors are those of `select_backend`. Close it, or use it with `with`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proofgym-sandbox", daemon=True)
    thread.start()

    def wait(awaitable: Awaitable[T]) -> T:
        return asyncio.run_coroutine_threadsafe(as_coroutine(awaitable), loop).result()

    def stop() -> None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    try:
        selecting = select_backend(backend, require=require, i_trust_this_code=i_trust_this_code)
        chosen = wait(selecting)
        try:
            inner = wait(chosen.create(limits or Limits()))
        except BaseException:
            wait(chosen.close())
            raise
    except BaseException:
        stop()
        raise

    def finish() -> None:
        wait(chosen.close())
        stop()

    return BlockingSandbox(inner, loop, finish)
