"""The abuse corpus, on every backend, and on ns as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofgym.sandboxes.errors import SandboxLost
from proofgym.sandboxes.protocol import Backend, Result, Status, Usage
from tests.sandboxes import abuse
from tests.sandboxes.conftest import Run, unavailable

ROWS = abuse.rows()
SLOW = {
    "res_memory_bomb_tree", "priv_suid_binaries", "res_c_uninterruptible", "res_sigstop_self",
    "res_ignore_signals", "res_setsid_killpg", "res_flood_background",
}  # fmt: skip
# Of compatibility, not of containment: no loopback, and no /dev/shm for semaphores.
LANDLOCK_GAPS = {"ok_threads_procs", "ok_loopback_inside"}
# What gVisor's own kernel does otherwise; none of it reaches the host's: its emulated devices,
# kernel log and io_uring open, a program may lower its own nice and oom values there, it has no
# setuid report in /proc, and a signal to process 1 ends the program's own sandbox.
GVISOR_DIFFERENCES = {
    "fs_device_nodes", "proc_kill_parent", "proc_oom_score", "proc_raise_limits",
    "priv_suid_binaries", "kern_io_uring", "kern_dmesg",
}  # fmt: skip
ORDINARY_UID = 54321
REPOSITORY = Path(__file__).resolve().parents[2]
# An ordinary user may be unable to read this test's Python, so that run uses the system's, and
# only the standard library: the packages' own __init__ files are not executed.
AS_USER = r"""
import asyncio, json, os, sys, types
root, uid = sys.argv[1], int(sys.argv[2])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
for name, path in (("proofgym", None), ("proofgym.sandboxes", root + "/sandboxes"),
                   ("tests", None), ("tests.sandboxes", root + "/tests/sandboxes")):
    module = types.ModuleType(name); module.__path__ = [path] if path else []
    sys.modules[name] = module
from tests.sandboxes import abuse
from proofgym.sandboxes.selection import backend_named

async def main():
    backend = backend_named(sys.argv[3])
    await backend.start()
    found = {}
    with abuse.surroundings() as around:
        for row in abuse.rows():
            problems = await abuse.run_case(row, backend, around)
            if problems:
                found[row["id"]] = problems
    bomb = ("import os, time\nn = 0\ntry:\n    while n < 300:\n        if os.fork() == 0:\n"
            "            time.sleep(9); os._exit(0)\n        n += 1\n"
            "except OSError: pass\nprint(n)")
    async with await backend.create(abuse.Limits(processes=32, wall_s=5)) as box:
        result = await box.python(bomb)
        if not 8 <= int(result.stdout) <= 32:
            found["process limit"] = result.stdout
    async with await backend.create(abuse.Limits()) as box:
        await box.write("d/f", b"base")
        for one in await box.fork(2):
            async with one:
                if await one.read("d/f") != b"base":
                    found["fork"] = "other files"
    await backend.close()
    print(json.dumps({"tier": backend.isolation.tier, "found": found}))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def around() -> Iterator[abuse.Surroundings]:
    with abuse.surroundings() as made:
        yield made


@pytest.mark.contains
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row["id"], marks=pytest.mark.slow if row["id"] in SLOW else ())
        for row in ROWS
    ],
)
def test_abuse_is_contained(
    row: abuse.Row, backend: Backend, run: Run[Any], around: abuse.Surroundings
) -> None:
    try:
        problems = run(abuse.run_case(row, backend, around))
    except SandboxLost as error:
        problems = [str(error)]
    gaps = LANDLOCK_GAPS if backend.isolation.backend == "landlock" else set()
    if backend.isolation.kernel == "gVisor":
        gaps = GVISOR_DIFFERENCES
    gap = row["id"] in gaps
    assert bool(problems) == gap, problems


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that all may read; any pytest session closes pytest's own to others again."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.namespaces
@pytest.mark.parametrize(("name", "gaps"), [("ns", set()), ("landlock", LANDLOCK_GAPS)])
def test_abuse_is_contained_for_an_ordinary_user(
    open_folder: Path, name: str, gaps: set[str]
) -> None:
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if os.geteuid() != 0 or python is None:
        unavailable("needs root, to become an ordinary user, and a Python that all may read")
    assert python is not None
    for area in ("sandboxes", "tests/sandboxes"):
        shutil.copytree(REPOSITORY / area, open_folder / area)
    open_folder.chmod(0o755)
    done = subprocess.run(
        [python, "-B", "-c", AS_USER, str(open_folder), str(ORDINARY_UID), name],
        capture_output=True, text=True, timeout=240, cwd="/", env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["found"].keys() == gaps


@pytest.mark.parametrize(
    ("expect", "status", "cpu_s", "again"),
    [
        ("ok", Status.TIMEOUT, 1.0, True),
        ("ok", Status.TIMEOUT, 4.0, False),
        ("ok", Status.KILLED, 1.0, False),
        ("killed-time", Status.TIMEOUT, 1.0, False),
        ("denied", Status.TIMEOUT, 1.0, False),
    ],
    ids=["starved", "slow by itself", "killed", "meant to be stopped", "an attack"],
)
def test_only_a_harmless_program_without_cpu_is_run_again(
    expect: str, status: Status, cpu_s: float, again: bool
) -> None:
    result = Result(status=status, usage=Usage(wall_s=5.0, cpu_s=cpu_s))
    assert abuse.starved({"expect": expect}, result) is again


CONTROLS = [row for row in ROWS if row.get("control") and "pre" not in row]


@pytest.mark.parametrize("row", CONTROLS, ids=[row["id"] for row in CONTROLS])
def test_the_attack_does_work_outside_a_sandbox(row: abuse.Row, around: abuse.Surroundings) -> None:
    if row["id"] == "kern_docker_socket":
        pytest.skip("needs a daemon's socket to reach")
    if os.geteuid() != 0 and row["id"] in ("fs_read_shadow", "kern_perf"):
        pytest.skip("works for root only")
    done = subprocess.run(
        [sys.executable, "-c", around.fill(row["code"])], capture_output=True, timeout=20
    )
    assert b"ESCAPED" in done.stdout or abuse.CANARY.encode() in done.stdout


def test_the_corpus_has_every_category() -> None:
    assert len(ROWS) == 69
    assert {row["cat"] for row in ROWS} == {
        "fs", "proc", "priv", "kern", "net", "res", "ver", "io", "ok",
    }  # fmt: skip
