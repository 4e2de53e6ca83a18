"""What an episode can be worth: declared by an environment, held against it by the audit."""

from collections.abc import Callable
from dataclasses import dataclass

from proofgym.verifiers import Task, Verifier

Worth = float | Callable[[Task], float]
"""A sum of rewards, or a function that says it for a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The sums of rewards that an episode may come to.

    Args:
        floor: the most for empty, random and hedging answers.
        best: the most of all; what the oracle gets.
    """

    floor: float
    best: float


def bounds_of(best: Worth | None, floor: Worth, rubric: Verifier | None, task: Task) -> Bounds:
    """Work out a task's bounds; without a declared best it is the rubric's, and else 1."""
    if best is None:
        best = 1.0 if rubric is None else rubric.high
    return Bounds(floor=_worth(floor, task), best=_worth(best, task))


def _worth(worth: Worth, task: Task) -> float:
    return float(worth(task) if callable(worth) else worth)
