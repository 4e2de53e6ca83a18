"""Calls into an event loop from other threads and other loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Calls:
    """Calls into one loop that can be given up together, as when a tool passed its limit."""

    __slots__ = ("_cancelled", "_lock", "_pending", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()
        self._cancelled = False

    def submit(self, work: Awaitable[T]) -> Future[T]:
        """Run it on the loop; a call after :meth:`cancel` is cancelled at once."""
        coroutine = as_coroutine(work)
        with self._lock:
            if self._cancelled:
                coroutine.close()
                refused: Future[T] = Future()
                refused.cancel()
                return refused
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
            self._pending.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)

    def cancel(self) -> None:
        """Cancel what is under way and what comes later."""
        with self._lock:
            self._cancelled = True
            pending = list(self._pending)
        for future in pending:
            future.cancel()

    def wait(self, work: Awaitable[T]) -> T:
        """Run it on the loop and block until it is done.

        Raises:
            RuntimeError: called on the loop itself, where it would never return.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop:
            as_coroutine(work).close()
            raise RuntimeError(
                "a blocking sandbox was called on its own event loop, which would never return. "
                "Make the function async and await the sandbox itself, or call from a thread."
            )
        return self.submit(work).result()


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def as_coroutine(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """Make a coroutine of anything that can be awaited."""
    return awaitable if asyncio.iscoroutine(awaitable) else _await(awaitable)
