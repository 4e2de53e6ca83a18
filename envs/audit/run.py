"""Audit an environment from outside: start children that attack it, and judge what they report."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proofgym.envs.audit.checks import CHECKS
from proofgym.envs.audit.probes.names import PROBE_NAMES
from proofgym.envs.audit.report import AuditReport, make_finding
from proofgym.envs.errors import EnvError

MOST_DEATHS = 6
"""Children that may hang or exit before the audit stops: each is a finding already."""


@dataclass(slots=True)
class _Heard:
    """What one or more children have reported."""

    tried: dict[str, int] = field(default_factory=dict)
    breaches: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    last: str = ""
    attempts: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        if "begin" in event:
            self.last = event["begin"]
            self.attempts += 1
        elif "check" in event:
            self.record(event["check"], event["evidence"])
        else:
            self.facts.update(event["facts"])

    def record(self, check: str, evidence: str = "") -> None:
        self.tried[check] = self.tried.get(check, 0) + 1
        if evidence:
            self.breaches.setdefault(check, []).append(evidence)


def audit(name: str, *, budget_s: float = 60.0, patience_s: float = 10.0) -> AuditReport:
    """Attack an environment, each time in a process of its own, and report what holds.

    Args:
        name: an id, ``module:Class`` or ``path/to/file.py:Class``; the children import it.
        budget_s: wall time for all attacks; what does not fit is left out, and the report says so.
        patience_s: wall time of one attempt, beyond which it hangs.

    Raises:
        EnvError: there is no such environment, or its module cannot be imported.
    """
    started = time.monotonic()
    until = started + budget_s
    heard = _Heard()
    with tempfile.TemporaryDirectory(prefix="proofgym-audit-") as folder:
        child = _Child(name=name, folder=Path(folder), patience_s=patience_s)
        _attack(child, heard, until)
        if "env_id" not in heard.facts:
            raise EnvError(str(heard.facts.get("broken") or f"{name!r} could not be audited."))
        traces = heard.facts.get("traces")
        if traces is not None:
            _compare_processes(child, heard, traces, until)
    for check in ("exec.hang", "exec.exit"):
        heard.tried[check] = heard.attempts
    waivers = heard.facts.get("waivers", {})
    findings = tuple(
        make_finding(check, heard.tried.get(check, 0), heard.breaches.get(check, ()), waivers)
        for check in CHECKS
    )
    return AuditReport(
        env_id=heard.facts["env_id"],
        version=heard.facts["version"],
        findings=findings,
        seconds=time.monotonic() - started,
        complete=bool(heard.facts.get("finished")),
        costs=heard.facts.get("costs", {}),
        reach=heard.facts.get("reach", {}),
    )


def _attack(child: "_Child", heard: _Heard, until: float) -> None:
    """Run all probes, starting again behind each attempt that hangs or ends the child."""
    skip: list[str] = []
    for _ in range(MOST_DEATHS):
        heard.last = ""
        how = child.run(PROBE_NAMES, heard, until, skip=skip)
        if how == "":
            return
        attempt = heard.last.rpartition("/")[0]
        if how == "budget" or not attempt:
            return
        check = "exec.hang" if how == "hang" else "exec.exit"
        told = f"no end in {child.patience_s:g} s" if how == "hang" else how
        heard.record(check, f"{attempt}: {told}")
        skip.append(attempt)
        # what was counted so far is counted again by the next child, its breaches once
        heard.tried = dict.fromkeys(heard.tried, 0) | {check: heard.tried[check]}
    heard.facts["finished"] = False


def _compare_processes(
    child: "_Child", heard: _Heard, traces: Mapping[str, str], until: float
) -> None:
    other = _Heard()
    child.run(("traces",), other, until, hash_seed="4242")
    theirs = other.facts.get("traces")
    if theirs is None:
        return
    apart = _differences(traces, theirs)
    if not apart:
        heard.record("determinism.process")
        heard.record("determinism.hash-seed")
        return
    again = _Heard()
    child.run(("traces",), again, until)
    changed = _differences(traces, again.facts.get("traces", {}))
    check = "determinism.process" if changed else "determinism.hash-seed"
    heard.record(check, f"other in another process: {', '.join((changed or apart)[:4])}")


def _differences(one: Mapping[str, str], two: Mapping[str, str]) -> list[str]:
    return [name for name in one if name in two and one[name] != two[name]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """How to start a process that attacks."""

    name: str
    folder: Path
    patience_s: float

    def run(
        self,
        probes: Sequence[str],
        heard: _Heard,
        until: float,
        *,
        skip: Sequence[str] = (),
        hash_seed: str = "0",
    ) -> str:
        """Run probes; say how it ended: "" as it should, ``hang``, ``budget``, or how it died."""
        reading, writing = os.pipe()
        errors = self.folder / "errors.txt"
        request = {
            "env": self.name,
            "folder": str(self.folder),
            "probes": list(probes),
            "skip": list(skip),
            "budget_s": max(1.0, until - time.monotonic()),
            "pipe": writing,
        }
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "proofgym.envs.audit.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)
        heard.facts.pop("left", None)
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(request).encode())
            process.stdin.close()
            ended = self._listen(process, reading, heard, until)
            if ended == "closed":
                process.wait(timeout=self.patience_s)
                ended = "" if heard.facts.get("left") else self._how(process, errors)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            ended = self._how(process, errors)
        finally:
            os.close(reading)
            _end(process)
        return ended

    def _listen(
        self, process: "subprocess.Popen[bytes]", reading: int, heard: _Heard, until: float
    ) -> str:
        """Take events until the pipe closes, an attempt hangs, or the budget is long over."""
        rest = b""
        clock = _Clock(process.pid)
        with selectors.DefaultSelector() as selector:
            selector.register(reading, selectors.EVENT_READ)
            while True:
                if time.monotonic() > until + self.patience_s:
                    return "budget"
                if not selector.select(self.patience_s / 4):
                    if clock.is_over(self.patience_s if heard.last else 3 * self.patience_s):
                        return "hang"
                    continue
                clock = _Clock(process.pid)
                chunk = os.read(reading, 65_536)
                if not chunk:
                    return "closed"
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    heard.take(event)
                    if event.get("facts", {}).get("left"):
                        return "closed"

    def _how(self, process: "subprocess.Popen[bytes]", errors: Path) -> str:
        said = errors.read_text("utf-8", "replace").strip().splitlines()[-1:]
        code = process.poll()
        if code is None:
            return "the process closed its pipe and went on"
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"the process ended with {how}{''.join(f': {line:.200}' for line in said)}"


class _Clock:
    """How long a process has been at something, on a machine that may be busy with other things."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._wall, self._cpu = time.monotonic(), self._used()

    def is_over(self, patience_s: float) -> bool:
        """Whether it has worked for half its time, or waited for several times as long."""
        waited = time.monotonic() - self._wall
        worked = self._used() - self._cpu
        return waited > patience_s and (worked > patience_s / 2 or waited > 4 * patience_s)

    def _used(self) -> float:
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0  # it is gone, or there is no /proc: the wall clock alone decides
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the child and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
