"""Run the command line: in this process, or as a user does in one of its own."""

import contextlib
import io
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from proofgym.cli import main

SCREEN = {"COLUMNS": "100", "NO_COLOR": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command did."""

    code: int
    out: str
    err: str
    cpu_s: float


def run_command(*words: str, cwd: Path | None = None, typed: str = "") -> Finished:
    """Run ``proofgym WORDS`` in this process, which has loaded by now what commands load.

    Args:
        words: the command and its arguments.
        cwd: where.
        typed: what stands in its standard input.
    """
    out, err = io.StringIO(), io.StringIO()
    before = _used(resource.RUSAGE_SELF)
    with (
        contextlib.chdir(cwd or Path.cwd()),
        patch.dict(os.environ, SCREEN),
        patch.object(sys, "stdin", io.StringIO(typed)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main(words)
        except Exception:  # noqa: BLE001  # the interpreter prints it and exits with 1
            traceback.print_exc()
            code = 1
    cpu = _used(resource.RUSAGE_SELF) - before
    return Finished(code=code, out=out.getvalue(), err=err.getvalue(), cpu_s=cpu)


def run_program(
    *words: str, cwd: Path | None = None, python: Sequence[str] = ("-m", "proofgym")
) -> Finished:
    """Run ``python -m proofgym WORDS`` in a fresh process: for what it loads, and for how long.

    Args:
        words: the command and its arguments.
        cwd: where.
        python: how the interpreter starts it.
    """
    before = _used(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *python, *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **SCREEN},
        check=False,
    )
    cpu = _used(resource.RUSAGE_CHILDREN) - before
    return Finished(code=done.returncode, out=done.stdout, err=done.stderr, cpu_s=cpu)


def _used(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
