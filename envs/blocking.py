"""Run coroutines from code that has no event loop."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def in_a_loop() -> bool:
    """Tell whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run_straight(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, without an event loop: some 0.2 microseconds.

    Raises:
        RuntimeError: it waited after all.
    """
    try:
        work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    work.close()
    raise RuntimeError("a coroutine that must not wait did; run it in an event loop.")


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that may wait, also from inside a running event loop (a notebook's)."""
    if not in_a_loop():
        return asyncio.run(work)
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = threading.Thread(target=run, name="proofgym-loop")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
