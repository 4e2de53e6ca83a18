"""Probe the backends: does each work here, why not, what helps, how fast is it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proofgym.sandboxes.errors import SandboxError
from proofgym.sandboxes.protocol import Backend, Isolation, Limits
from proofgym.sandboxes.selection import AUTOMATIC, REMEDIES, backend_named

ROUNDS = 20
DIAGNOSED = (*AUTOMATIC, "docker", "docker+runsc")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendReport:
    """What a probe found. Latencies are None when the backend does not work here.

    Attributes:
        reason: why it does not work; empty when it does.
        fix: what would make it work, or make more of its limits hold.
        isolation: the facts of the backend that was started.
        start_ms: time to start the backend, with its first slot or container.
        create_ms: time to make one more sandbox.
        python_ms: median time of a small Python program in a sandbox that stands.
        cell_ms: median time of one cell in a Python session.
    """

    name: str
    available: bool
    reason: str = ""
    fix: str = ""
    isolation: Isolation | None = None
    start_ms: float | None = None
    create_ms: float | None = None
    python_ms: float | None = None
    cell_ms: float | None = None

    def as_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "name": self.name, "available": self.available, "reason": self.reason,
            "fix": self.fix, "start_ms": self.start_ms, "create_ms": self.create_ms,
            "python_ms": self.python_ms, "cell_ms": self.cell_ms,
            "isolation": self.isolation.as_json() if self.isolation is not None else None,
        }  # fmt: skip


async def probe(name: str) -> BackendReport:
    """Start a backend, run programs in it, and close it. What is wrong is in the report.

    Raises:
        ValueError: there is no such backend.
    """
    try:
        backend = backend_named(name)
    except ModuleNotFoundError as error:
        return BackendReport(
            name=name, available=False, reason=f"the package {error.name} is not installed",
            fix=f"pip install 'proofgym[{error.name}]'",
        )  # fmt: skip
    except SandboxError as error:
        return BackendReport(name=name, available=False, reason=str(error))
    try:
        return await _measure(name, backend)
    except (SandboxError, ModuleNotFoundError) as error:
        fix = REMEDIES if name == "ns" else ""  # the others' reasons have theirs
        if isinstance(error, ModuleNotFoundError):
            fix = f"pip install 'proofgym[{error.name}]'"
        return BackendReport(name=name, available=False, reason=str(error), fix=fix)
    finally:
        await backend.close()


async def _measure(name: str, backend: Backend) -> BackendReport:
    began = time.perf_counter()
    await backend.start()
    start_ms = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    async with await backend.create(Limits()) as sandbox:
        create_ms = (time.perf_counter() - began) * 1000
        result = await sandbox.python("print(6 * 7)")
        if result.stdout != "42\n":
            return BackendReport(
                name=name, available=False, reason=f"a program went wrong: {result}"
            )
        python_ms = await _median_ms(lambda: sandbox.python("print(6 * 7)"))
        session = await sandbox.python_session()
        await session.run("x = 6")
        cell_ms = await _median_ms(lambda: session.run("x * 7"))
    fix = ""
    if name == "ns" and "cgroup-memory" not in backend.isolation.properties:
        fix = (
            "memory is sampled, not held by a cgroup: run as root, or in a delegated cgroup "
            "(`systemd-run --user --scope -p Delegate=yes`)"
        )
    return BackendReport(
        name=name, available=True, fix=fix, isolation=backend.isolation, start_ms=start_ms,
        create_ms=create_ms, python_ms=python_ms, cell_ms=cell_ms,
    )  # fmt: skip


async def _median_ms(work: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[ROUNDS // 2]


async def probe_all() -> list[BackendReport]:
    """Probe every backend that needs no setting of its own, one after the other."""
    return [await probe(name) for name in DIAGNOSED]
