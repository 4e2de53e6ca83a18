"""Killed at any moment, a run ends as one that never was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 20


@pytest.mark.slow
def test_a_run_killed_in_every_phase_ends_bit_identical(tmp_path: Path) -> None:
    harness = Path(__file__).with_name("crash_harness.py")
    done = subprocess.run(
        [sys.executable, harness, tmp_path, str(KILLS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["broken"] == []
    assert sum(found["kills"].values()) >= KILLS
    assert len(found["kills"]) == 8
    assert found["ledger"].startswith("72 rollouts issued = ")
    assert "open" not in found["ledger"]
