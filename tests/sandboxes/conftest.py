"""The backends that every contract test runs over, each started once a module."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from proofgym.sandboxes.docker.backend import DockerBackend, DockerConfig
from proofgym.sandboxes.errors import SandboxUnavailable
from proofgym.sandboxes.landlock.backend import LandlockBackend
from proofgym.sandboxes.ns.backend import NsBackend, NsConfig
from proofgym.sandboxes.protocol import Backend
from proofgym.sandboxes.unsafe_local import UnsafeLocalBackend
from tests.sandboxes.abuse import starved_rows
from tests.sandboxes.served import ServedBackend

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

BACKENDS = {
    "ns": NsBackend,
    "ns-sampled": lambda: NsBackend(NsConfig(use_cgroups=False)),
    "landlock": LandlockBackend,
    "docker": DockerBackend,
    "docker+runsc": lambda: DockerBackend(DockerConfig(runtime="runsc")),
    "http": ServedBackend,
    "unsafe-local": lambda: UnsafeLocalBackend(i_trust_this_code=True),
}
MARKS = {
    "ns": pytest.mark.namespaces,
    "ns-sampled": pytest.mark.namespaces,
    "landlock": (),
    "docker": pytest.mark.docker,
    "docker+runsc": pytest.mark.gvisor,
    "http": pytest.mark.namespaces,
    "unsafe-local": (),
}
# Markers of tests, and the backends that do not promise what these test.
WITHOUT = {"contains": {"unsafe-local"}, "counts_processes": {"unsafe-local"}}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which harmless programs were run again because the machine was busy."""
    if starved_rows:
        terminalreporter.write_line(f"run again for want of CPU: {', '.join(starved_rows)}")


def unavailable(reason: str, *, promised: bool = True) -> None:
    """Skip on a laptop; fail where CI promises the resource."""
    if promised and os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def run() -> Iterator[Run[Any]]:
    """Run coroutines on one loop a module."""
    with asyncio.Runner() as runner:
        yield runner.run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test over every backend that promises what it tests."""
    if "backend" in metafunc.fixturenames:
        without: set[str] = set()
        for word, names in WITHOUT.items():
            if metafunc.definition.get_closest_marker(word):
                without |= names
        chosen = [pytest.param(n, marks=MARKS[n]) for n in BACKENDS if n not in without]
        metafunc.parametrize("backend", chosen, indirect=True, scope="module")


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest, run: Run[Any]) -> Iterator[Backend]:
    """Start one backend of each kind."""
    made = BACKENDS[request.param]()
    try:
        run(made.start())
    except SandboxUnavailable as error:
        run(made.close())
        promised = request.param != "docker+runsc" or shutil.which("runsc") is not None
        unavailable(str(error), promised=promised)
    yield made
    run(made.close())
