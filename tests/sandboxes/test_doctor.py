"""The doctor: what works, what does not and why; and what killed processes left."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from proofgym.sandboxes import SandboxUnavailable, doctor, selection
from proofgym.sandboxes.cgroups import find_root
from proofgym.sandboxes.doctor import DIAGNOSED, probe
from proofgym.sandboxes.leftovers import abandoned_folders, clean_sandboxes
from proofgym.sandboxes.ns.backend import NsBackend


@pytest.mark.namespaces
def test_it_measures_what_works() -> None:
    report = asyncio.run(probe("ns"))
    assert (report.name, report.available, report.reason) == ("ns", True, "")
    assert report.isolation is not None
    for time_ms in (report.start_ms, report.create_ms, report.python_ms, report.cell_ms):
        assert time_ms is not None
        assert time_ms > 0
    assert json.loads(json.dumps(report.as_json()))["isolation"]["tier"].startswith("ns")


def test_what_is_refused_comes_with_its_reason_and_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: NsBackend) -> None:
        raise SandboxUnavailable("ns: unshare(0x10000000): Operation not permitted")

    monkeypatch.setattr(NsBackend, "start", refuse)
    report = asyncio.run(probe("ns"))
    assert (report.available, report.python_ms) == (False, None)
    assert "Operation not permitted" in report.reason
    assert "apparmor_restrict_unprivileged_userns" in report.fix


def test_a_missing_package_is_a_reason_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: bool) -> None:
        raise ModuleNotFoundError("No module named 'docker'", name="docker")

    monkeypatch.setitem(selection._BACKENDS, "docker", missing)
    report = asyncio.run(probe("docker"))
    assert (report.available, report.fix) == (False, "pip install 'proofgym[docker]'")
    assert doctor.DIAGNOSED == ("ns", "landlock", "docker", "docker+runsc")


def dead_pid() -> int:
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_folders_of_dead_processes_are_deleted_and_no_others() -> None:
    place = Path(tempfile.gettempdir())
    dead = place / f"proofgym-landlock-{dead_pid()}-abcd"
    mine = place / f"proofgym-landlock-{os.getpid()}-abcd"
    other = place / f"proofgym-notes-{dead_pid()}"
    link = place / f"proofgym-landlock-{dead_pid()}-link"
    for folder in (dead / "workspace", mine, other):
        folder.mkdir(parents=True)
    link.symlink_to(other)
    try:
        assert dead in abandoned_folders()
        assert not {mine, other, link} & set(abandoned_folders())
        assert asyncio.run(clean_sandboxes()).folders >= 1
        assert (dead.exists(), mine.exists(), other.exists()) == (False, True, True)
    finally:
        link.unlink()
        mine.rmdir()
        other.rmdir()


def test_cgroups_of_dead_processes_are_deleted_and_no_others() -> None:
    root = find_root()
    if root is None:
        pytest.skip("no cgroup may be made here")
    dead, mine = f"proofgym-{dead_pid()}-1", f"proofgym-{os.getpid()}-99999"
    for name in (dead, mine):
        for folder in root.folders():
            (folder / name).mkdir()
    try:
        asyncio.run(clean_sandboxes())
        assert [(f / dead).exists() for f in root.folders()] == [False] * len(root.folders())
        assert all((f / mine).exists() for f in root.folders())
    finally:
        for folder in root.folders():
            (folder / mine).rmdir()


@pytest.mark.slow
@pytest.mark.namespaces
def test_the_command_reports_for_people_and_programs() -> None:
    command = [sys.executable, "-m", "proofgym", "doctor"]
    said = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    reports = json.loads(said.stdout)["sandboxes"]
    assert [report["name"] for report in reports] == list(DIAGNOSED)
    assert (said.returncode, reports[0]["available"]) == (0, True)
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "auto chooses: ns" in shown.stdout
    cleaned = subprocess.run(
        [*command, "--clean-sandboxes"], capture_output=True, text=True, timeout=60
    )
    assert (cleaned.returncode, "deleted what dead" in cleaned.stdout) == (0, True)
