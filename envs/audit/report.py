"""The outcome of an audit: for a program as JSON, for a person as a card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from proofgym.envs.audit.checks import CHECKS, Level

EVIDENCE_SHOWN = 3
_MARKS = {"pass": "ok", "warn": "warn", "fail": "FAIL", "waived": "waived", "not_run": "-"}


class Verdict(StrEnum):
    """How one check came out."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    WAIVED = "waived"  # it does not hold, and the environment says why that is meant
    NOT_RUN = "not_run"  # it does not apply here, or the budget ended before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one check came out, with what was seen.

    Args:
        check: its id.
        verdict: the outcome.
        tried: how many attempts were made.
        evidence: what was done and what came, for each breach.
        reason: why it was waived or did not run.
    """

    check: str
    verdict: Verdict
    tried: int = 0
    evidence: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit found.

    Args:
        env_id: the environment.
        version: its version.
        findings: one for each check, in their order.
        seconds: wall time.
        complete: whether the budget was enough.
        costs: milliseconds: the median of beginning an episode and of a step.
        reach: how much was tried of each kind, and its name: ``narrow`` for an environment that
            runs programs in a sandbox. Empty where the environment broke before it was known.
    """

    env_id: str
    version: int
    findings: tuple[Finding, ...]
    seconds: float
    complete: bool = True
    costs: Mapping[str, float] = field(default_factory=dict)
    reach: Mapping[str, Any] = field(default_factory=dict)

    def failed(self, *, strict: bool = False) -> bool:
        """Whether the environment failed; strictly, a warning or an unfinished audit does too."""
        bad = {Verdict.FAIL, Verdict.WARN} if strict else {Verdict.FAIL}
        return any(one.verdict in bad for one in self.findings) or (strict and not self.complete)

    def of(self, verdict: Verdict) -> tuple[Finding, ...]:
        """Return the findings with one verdict."""
        return tuple(one for one in self.findings if one.verdict is verdict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, with each check's promise."""
        return {
            "schema": "proofgym.audit/1",
            "env_id": self.env_id,
            "version": self.version,
            "failed": self.failed(),
            "complete": self.complete,
            "seconds": round(self.seconds, 2),
            "costs_ms": {name: round(value, 3) for name, value in self.costs.items()},
            "reach": dict(self.reach),
            "findings": [
                {**asdict(one), "promise": CHECKS[one.check].promise} for one in self.findings
            ],
        }

    def card(self) -> str:
        """Return the report for a person: one line a check, and what was seen where one broke."""
        lines = [f"audit of {self.env_id}", ""]
        width = max(len(one.check) for one in self.findings)
        for one in self.findings:
            mark = _MARKS[one.verdict.value]
            times = f"  ({one.tried} tried)" if one.tried else ""
            lines.append(f"  {mark:6} {one.check:{width}}  {CHECKS[one.check].promise}{times}")
            if one.verdict in (Verdict.FAIL, Verdict.WARN):
                lines += [f"{'':10}{text}" for text in one.evidence[:EVIDENCE_SHOWN]]
                more = len(one.evidence) - EVIDENCE_SHOWN
                lines += [f"{'':10}and {more} more"] if more > 0 else []
            elif one.reason:
                lines.append(f"{'':10}{one.reason}")
        if self.reach.get("name") == "narrow":
            lines += ["", self._narrow()]
        lines += ["", self._summary()]
        return "\n".join(lines)

    def _narrow(self) -> str:
        tried = self.reach
        return (
            f"Narrow reach, for its episodes start processes: the oracle plays "
            f"{tried['oracle_tasks']} tasks of each split, {tried['attacked_tasks']} task is "
            f"attacked, and one text in {tried['every']} is said."
        )

    def _summary(self) -> str:
        counts = [
            f"{len(self.of(verdict))} {verdict.value.replace('_', ' ')}" for verdict in Verdict
        ]
        costs = "".join(f", {name} {value:.2f} ms" for name, value in self.costs.items())
        unfinished = "" if self.complete else " The budget ended first: give it a larger --budget."
        return f"{', '.join(counts)}; {self.seconds:.1f} s{costs}.{unfinished}"


def make_finding(
    check: str, tried: int, evidence: Sequence[str], waivers: Mapping[str, str], reason: str = ""
) -> Finding:
    """Decide how a check came out."""
    verdict = Verdict.PASS if tried else Verdict.NOT_RUN
    if evidence:
        verdict = Verdict.WARN if CHECKS[check].level is Level.WARN else Verdict.FAIL
        if check in waivers:
            verdict, reason = Verdict.WAIVED, waivers[check]
    unique = tuple(dict.fromkeys(evidence))
    return Finding(check=check, verdict=verdict, tried=tried, evidence=unique, reason=reason)
