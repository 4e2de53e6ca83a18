"""A bounded pool over one backend: back-pressure, warm spares, deadlines, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self, runtime_checkable

from proofgym.sandboxes.errors import (
    SandboxBusy,
    SandboxClosed,
    SandboxError,
    SandboxLost,
    SandboxTimeout,
)
from proofgym.sandboxes.pooled import PooledSandbox
from proofgym.sandboxes.protocol import Backend, Isolation, Limits, Result, Sandbox, Status

logger = logging.getLogger(__name__)


@runtime_checkable
class OneShotBackend(Protocol):
    """A backend that isolates single programs more cheaply than by a sandbox for each."""

    async def python_once(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source, isolated from every other run."""
        ...

    async def exec_once(
        self, command: Sequence[str] | str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run a program, isolated from every other run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """Bounds of a pool.

    Attributes:
        size: sandboxes and programs at work at one time; 0 is twice the cores.
        spares: sandboxes with the default limits kept ready.
        max_waiting: callers that may queue; the next one gets SandboxBusy.
        acquire_s: longest wait in the queue and for a start.
    """

    size: int = 0
    spares: int = 0
    max_waiting: int = 10_000
    acquire_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse bounds that nothing can satisfy."""
        if self.size < 0 or self.spares < 0 or self.max_waiting < 0 or self.acquire_s <= 0:
            raise ValueError(
                "PoolConfig.size, spares and max_waiting must be at least 0 and acquire_s above "
                f"0, got {self.size}, {self.spares}, {self.max_waiting}, {self.acquire_s}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """Counts since the pool was opened, runs inside its sandboxes and their forks included.

    `kills` is by reason, such as "timeout".
    """

    starts: int
    execs: int
    kills: Mapping[str, int]
    faults: int
    queue_s: float
    waiting: int
    at_work: int
    spares: int


@dataclass(slots=True)
class _Counters:
    starts: int = 0
    execs: int = 0
    faults: int = 0
    queue_s: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)


def _after_queue(result: Result, waited: float) -> Result:
    return replace(result, usage=replace(result.usage, queue_s=waited))


class Pool:
    """Hand out sandboxes and run one-shot programs, so many at a time and no more."""

    def __init__(
        self, backend: Backend, config: PoolConfig | None = None, limits: Limits | None = None
    ) -> None:
        self._backend = backend
        self._config = config or PoolConfig()
        self._limits = limits or Limits()
        size = self._config.size or 2 * (os.cpu_count() or 1)
        self._size = size
        self._gate = asyncio.Semaphore(size)
        self._forking = asyncio.Lock()
        self._waiting = self._at_work = 0
        self._spares: list[Sandbox] = []
        self._refilling: asyncio.Task[None] | None = None
        self._counters = _Counters()
        self._closed = False

    @property
    def isolation(self) -> Isolation:
        """Say what holds here."""
        return self._backend.isolation

    async def start(self) -> None:
        """Start the backend and the spares."""
        await self._backend.start()
        await self._refill()

    def stats(self) -> PoolStats:
        """Return the metrics."""
        counters = self._counters
        return PoolStats(
            starts=counters.starts, execs=counters.execs, kills=dict(counters.kills),
            faults=counters.faults, queue_s=counters.queue_s, waiting=self._waiting,
            at_work=self._at_work, spares=len(self._spares),
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[float]:
        """Wait for a place; yield how long that took."""
        if self._closed:
            raise SandboxClosed("the pool is closed; open a new one.")
        if self._gate.locked() and self._waiting >= self._config.max_waiting:
            raise SandboxBusy(
                f"the pool has {self._at_work} at work and {self._waiting} waiting, its "
                "PoolConfig.max_waiting; retry later."
            )
        began = time.monotonic()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._config.acquire_s):
                await self._gate.acquire()
        except TimeoutError:
            raise SandboxTimeout("queue", self._config.acquire_s) from None
        finally:
            self._waiting -= 1
        self._at_work += 1
        try:
            waited = time.monotonic() - began
            self._counters.queue_s += waited
            if self._closed:
                raise SandboxClosed("the pool was closed while this call waited.")
            yield waited
        finally:
            self._at_work -= 1
            self._gate.release()

    @contextlib.asynccontextmanager
    async def acquire(self, limits: Limits | None = None) -> AsyncIterator[Sandbox]:
        """Hand out a fresh sandbox; it is closed on leaving, whatever happened.

        Raises:
            SandboxBusy: too many wait already.
            SandboxTimeout: no place, or no start, in `PoolConfig.acquire_s`.
        """
        async with self._turn():
            sandbox = await self._take(limits or self._limits)
            try:
                yield self._pooled(sandbox, contextlib.AsyncExitStack())
            except (SandboxLost, SandboxTimeout):
                self._counters.faults += 1
                raise
            finally:
                await asyncio.shield(sandbox.close())
                self._schedule_refill()

    def _pooled(self, sandbox: Sandbox, place: contextlib.AsyncExitStack) -> PooledSandbox:
        return PooledSandbox(sandbox, self._count, self._fork, place.aclose)

    async def _fork(self, sandbox: Sandbox, n: int) -> list[PooledSandbox]:
        """Fork in n places of their own. One at a time waits for them, or two could for ever."""
        if n >= self._size:
            raise SandboxBusy(
                f"fork({n}) needs {n} places beside the sandbox's own, and the pool has "
                f"{self._size} in all; raise PoolConfig.size."
            )
        places: list[contextlib.AsyncExitStack] = []
        try:
            async with self._forking:
                for _ in range(n):
                    place = contextlib.AsyncExitStack()
                    await place.enter_async_context(self._turn())
                    places.append(place)
            twins = await sandbox.fork(n)
        except BaseException:
            for place in places:
                await place.aclose()
            raise
        self._counters.starts += n
        return [self._pooled(twin, place) for twin, place in zip(twins, places, strict=True)]

    async def _take(self, limits: Limits) -> Sandbox:
        while self._spares and limits == self._limits:
            spare = self._spares.pop()
            # A spare may have died while it stood by, so it is asked first.
            with contextlib.suppress(SandboxError):
                await spare.list_files()
                return spare
            await spare.close()
        return await self._create(limits)

    async def _create(self, limits: Limits) -> Sandbox:
        """Make a sandbox; nothing ran in it yet, so a lost one is simply made again."""
        for last in (False, True):
            try:
                async with asyncio.timeout(self._config.acquire_s):
                    sandbox = await self._backend.create(limits)
            except TimeoutError:
                raise SandboxTimeout("start", self._config.acquire_s) from None
            except (SandboxLost, SandboxTimeout) as error:
                self._counters.faults += 1
                if last:
                    raise
                logger.warning("a sandbox was lost while it started, making another: %s", error)
            else:
                self._counters.starts += 1
                return sandbox
        raise AssertionError("unreachable")

    async def python(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source, isolated from every other run."""
        chosen = limits or self._limits
        if isinstance(self._backend, OneShotBackend):
            backend = self._backend
            return await self._once(lambda: backend.python_once(code, stdin=stdin, limits=chosen))
        return await self._in_fresh(chosen, lambda box: box.python(code, stdin=stdin))

    async def exec(
        self, command: Sequence[str] | str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run a program, isolated from every other run."""
        chosen = limits or self._limits
        if isinstance(self._backend, OneShotBackend):
            backend = self._backend
            return await self._once(lambda: backend.exec_once(command, stdin=stdin, limits=chosen))
        return await self._in_fresh(chosen, lambda box: box.exec(command, stdin=stdin))

    async def _once(self, run: Callable[[], Awaitable[Result]]) -> Result:
        async with self._turn() as waited:
            try:
                result = await run()
                self._count(result)
                return _after_queue(result, waited)
            except (SandboxLost, SandboxTimeout):
                self._counters.faults += 1
                raise

    async def _in_fresh(
        self, limits: Limits, run: Callable[[Sandbox], Awaitable[Result]]
    ) -> Result:
        began = time.monotonic()
        async with self.acquire(limits) as sandbox:
            waited = time.monotonic() - began
            return _after_queue(await run(sandbox), waited)

    def _count(self, result: Result) -> None:
        self._counters.execs += 1
        if result.status not in (Status.OK, Status.EXITED):
            self._counters.kills[result.status.value] += 1

    def _schedule_refill(self) -> None:
        if (
            self._closed
            or len(self._spares) >= self._config.spares
            or (self._refilling is not None and not self._refilling.done())
        ):
            return
        self._refilling = asyncio.ensure_future(self._refill_quietly())

    async def _refill_quietly(self) -> None:
        try:
            await self._refill()
        except SandboxError as error:
            # The next caller makes its own sandbox and gets the error, if it is still there.
            logger.warning("could not make a spare sandbox: %s", error)

    async def _refill(self) -> None:
        while not self._closed and len(self._spares) < self._config.spares:
            self._spares.append(await self._create(self._limits))

    async def close(self) -> None:
        """Close the spares and the backend, and all it made."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refilling
        for spare in self._spares:
            await spare.close()
        self._spares.clear()
        await self._backend.close()

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()
