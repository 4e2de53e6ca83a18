"""The endurance run in small: two thousand programs, two hundred sessions, nothing left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "sandbox_endurance.py"


@pytest.mark.slow
@pytest.mark.namespaces
@pytest.mark.parametrize(
    "what", [("--count", "2000", "--sessions", "0"), ("--count", "0", "--sessions", "200")],
    ids=["runs", "sessions"],
)  # fmt: skip
def test_nothing_stays_and_nothing_is_seen(what: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *what], capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 problems\n")
