"""The sandbox of one episode: opened when first used, copied with the episode, closed with it."""

from __future__ import annotations

import asyncio
import contextlib
from enum import StrEnum

from proofgym.sandboxes.blocking import BlockingSandbox
from proofgym.sandboxes.bridged import BridgedInterpreter, BridgedSandbox
from proofgym.sandboxes.calls import Calls
from proofgym.sandboxes.errors import SandboxClosed, SandboxError
from proofgym.sandboxes.protocol import Interpreter, Sandbox, Snapshot
from proofgym.sandboxes.shared import SandboxSpec, SharedSandboxes, shared_sandboxes


class InterpreterKind(StrEnum):
    """The interpreters that a workspace keeps between calls."""

    PYTHON = "python"
    SHELL = "shell"


class Workspace:
    """A sandbox of the process's shared pool that exists once somebody asks for it.

    It may be used from any thread and any loop. A copy has the same files; what runs is not
    copied, so the copy's interpreters start afresh.
    """

    __slots__ = (
        "__weakref__", "_closed", "_files", "_held", "_interpreters", "_lock", "_sandbox",
        "_shared", "spec",
    )  # fmt: skip

    def __init__(self, spec: SandboxSpec | None = None, files: Snapshot | None = None) -> None:
        self.spec = spec or SandboxSpec()
        self._files = files
        self._shared: SharedSandboxes | None = None
        self._lock: asyncio.Lock | None = None
        self._held = contextlib.AsyncExitStack()
        self._sandbox: Sandbox | None = None
        self._interpreters: dict[InterpreterKind, Interpreter] = {}
        self._closed = False

    @property
    def opened(self) -> bool:
        """Tell whether there is a sandbox now."""
        return self._sandbox is not None and not self._closed

    async def bridged(self, calls: Calls | None = None) -> BridgedSandbox:
        """Open it and return its face for code that awaits on another loop.

        Args:
            calls: what to send calls through, to be able to give them up together.

        Raises:
            SandboxError: there is no sandbox to be had; never the policy's doing.
        """
        shared = shared_sandboxes()
        sandbox = await shared.across(self._open(shared))
        return BridgedSandbox(sandbox, calls or Calls(shared.calls.loop))

    def blocking(self, calls: Calls | None = None) -> BlockingSandbox:
        """Open it and return its face for code that cannot await; else as :meth:`bridged`."""
        shared = shared_sandboxes()
        sandbox = shared.wait(self._open(shared))
        return BlockingSandbox(sandbox, shared.calls.loop, calls=calls)

    async def interpreter(self, kind: InterpreterKind | str) -> BridgedInterpreter:
        """Open it and return its own shell or Python session, the same one on every call."""
        shared = shared_sandboxes()
        inner = await shared.across(self._interpreter(shared, InterpreterKind(kind)))
        return BridgedInterpreter(inner, Calls(shared.calls.loop))

    async def files(self) -> Snapshot | None:
        """Copy its files out; None where it was never used. On the shared loop only."""
        if self._sandbox is None or self._closed:
            return self._files
        return await self._sandbox.snapshot()

    def copy(self) -> Workspace:
        """Return one with the same files; it is opened when first used."""
        shared, files = self._shared, self._files
        if self.opened and shared is not None:
            files = shared.wait(self.files())
        twin = Workspace(self.spec, files)
        twin._closed = self._closed
        return twin

    def close(self) -> None:
        """End it without waiting. Closing twice is fine."""
        if self._closed:
            return
        self._closed, self._files = True, None
        if self._shared is not None and self._shared.calls.loop.is_running():
            self._shared.calls.submit(self._close())

    def __deepcopy__(self, memo: dict[int, object]) -> Workspace:
        twin = self.copy()
        memo[id(self)] = twin
        return twin

    def __del__(self) -> None:
        """Close what nobody closed."""
        if self._shared is not None and not self._closed and self._shared.calls.loop.is_running():
            self._closed = True
            held = self._held
            with contextlib.suppress(RuntimeError):
                self._shared.calls.submit(held.aclose())

    # on the shared loop

    async def _open(self, shared: SharedSandboxes) -> Sandbox:
        if self._lock is None:
            self._shared, self._lock = shared, asyncio.Lock()
        async with self._lock:
            if self._closed:
                raise SandboxClosed("the episode is over, and its sandbox with it.")
            if self._sandbox is None:
                pools = await shared.pools(self.spec)
                sandbox = await self._held.enter_async_context(
                    pools.episodes.acquire(self.spec.limits)
                )
                if self._files is not None:
                    await sandbox.restore(self._files)
                self._sandbox, self._files = sandbox, None
            return self._sandbox

    async def _interpreter(self, shared: SharedSandboxes, kind: InterpreterKind) -> Interpreter:
        sandbox = await self._open(shared)
        if kind not in self._interpreters:
            start = sandbox.shell if kind is InterpreterKind.SHELL else sandbox.python_session
            self._interpreters[kind] = await start()
        return self._interpreters[kind]

    async def _close(self) -> None:
        assert self._lock is not None
        async with self._lock:
            with contextlib.suppress(SandboxError):
                await self._held.aclose()
            self._sandbox = None
            self._interpreters.clear()
