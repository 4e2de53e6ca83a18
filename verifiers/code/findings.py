"""What was found about a program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One test: passed or not, and why not. ``visible``: the policy was shown it."""

    label: str
    passed: bool
    why: str = ""
    visible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All tests of a program, in their order; tests that were not reached are not there.

    Args:
        total: how many tests there are.
        layer: how they were run.
        broken: why the tests themselves cannot judge anything; then nothing is scored.
    """

    tests: tuple[Finding, ...]
    total: int
    layer: str
    broken: str = ""

    @property
    def passed(self) -> int:
        """How many passed."""
        return sum(test.passed for test in self.tests)
