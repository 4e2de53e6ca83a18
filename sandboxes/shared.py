"""One set of pools for the whole process, on an event loop in a thread of its own.

Tools and verifiers are called from many loops (one for each `asyncio.run`) and from none. A pool
belongs to one loop, so the process keeps one for all of them, started with its first use.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # registers its own end first
import contextlib
import os
import threading
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from proofgym.sandboxes.bridged import across
from proofgym.sandboxes.calls import Calls
from proofgym.sandboxes.pool import Pool, PoolConfig
from proofgym.sandboxes.protocol import Backend, Limits
from proofgym.sandboxes.selection import select_backend

T = TypeVar("T")
EPISODE_SANDBOXES = 256  # live at one time; an idle one of ns takes about 10 MB
JUDGE_SANDBOXES_PER_CORE = 4
ACQUIRE_S = 600.0
CLOSE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """Which sandbox is wanted.

    Args:
        backend: "auto", or the name of one; see :func:`select_backend`.
        require: properties that must hold, such as "cgroup-memory" or "vm".
        limits: what a program may use where a call says nothing else; disk and inodes are those
            of the whole sandbox.
    """

    backend: str = "auto"
    require: Iterable[str] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Make the properties a set, so that equal specs are equal."""
        object.__setattr__(self, "require", frozenset(self.require))


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPools:
    """Three gates to one backend: who waits for one kind never holds up another.

    Attributes:
        programs: one-shot programs; as many at work as keep the cores busy.
        episodes: sandboxes that live as long as an episode, mostly idle.
        judges: sandboxes that a verifier needs while it judges. An episode that holds its own
            sandbox while it is judged waits here, never behind other episodes.
        pair_turns: taken by a verifier before up to two of ``judges``, so that none waits for
            its second one while others hold theirs.
    """

    backend: Backend
    programs: Pool
    episodes: Pool
    judges: Pool
    pair_turns: asyncio.Semaphore


class SharedSandboxes:
    """The process's loop and pools; get it from :func:`shared_sandboxes`."""

    def __init__(self) -> None:
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=loop.run_forever, name="proofgym-sandboxes", daemon=True
        )
        self._thread.start()
        self.calls = Calls(loop)
        self._made: dict[tuple[str, Iterable[str]], asyncio.Task[SharedPools]] = {}

    def wait(self, work: Awaitable[T]) -> T:
        """Run work on the pools' loop and block until it is done."""
        return self.calls.wait(work)

    async def across(self, work: Awaitable[T]) -> T:
        """Run work on the pools' loop and await it from another one."""
        return await across(self.calls, work)

    async def pools(self, spec: SandboxSpec) -> SharedPools:
        """Return the pools of a backend, started now if they were not. On the pools' loop only.

        Raises:
            SandboxUnavailable: nothing that was asked for works here.
        """
        key = (spec.backend, spec.require)
        making = self._made.get(key)
        if making is None or (
            making.done() and (making.cancelled() or making.exception() is not None)
        ):
            making = self._made[key] = asyncio.ensure_future(_start(spec))
        return await asyncio.shield(making)

    def close(self) -> None:
        """End every sandbox and the thread. Whoever still waits gets an error."""
        if self._thread.is_alive():
            with contextlib.suppress(concurrent.futures.TimeoutError):
                self.calls.submit(self._close()).result(CLOSE_S)
            self.calls.loop.call_soon_threadsafe(self.calls.loop.stop)
            self._thread.join(CLOSE_S)

    async def _close(self) -> None:
        for making in self._made.values():
            if making.done() and not making.cancelled() and making.exception() is None:
                made = making.result()
                for pool in (made.programs, made.episodes, made.judges):
                    await pool.close()


async def _start(spec: SandboxSpec) -> SharedPools:
    backend = await select_backend(spec.backend, require=spec.require)
    cores = len(os.sched_getaffinity(0))

    def pool(size: int) -> Pool:
        waiting = 1 << 20
        return Pool(backend, PoolConfig(size=size, max_waiting=waiting, acquire_s=ACQUIRE_S))

    return SharedPools(
        backend=backend,
        programs=pool(2 * cores),
        episodes=pool(EPISODE_SANDBOXES),
        judges=pool(JUDGE_SANDBOXES_PER_CORE * cores),
        pair_turns=asyncio.Semaphore(JUDGE_SANDBOXES_PER_CORE * cores // 2),
    )


_lock = threading.Lock()
_shared: SharedSandboxes | None = None


def shared_sandboxes() -> SharedSandboxes:
    """Return the process's own, made on first use."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = SharedSandboxes()
            # Before threads refuse new work, which is earlier than atexit's turn; the same hook
            # as concurrent.futures', whose executor closing needs, so it must be first there.
            threading._register_atexit(_close_at_exit)  # type: ignore[attr-defined]  # CPython's
        return _shared


def _close_at_exit() -> None:
    if _shared is not None:
        _shared.close()


def _forget() -> None:
    """In a forked child: the thread is gone and the sandboxes are the parent's."""
    global _lock, _shared
    _lock = threading.Lock()
    _shared = None


os.register_at_fork(after_in_child=_forget)
