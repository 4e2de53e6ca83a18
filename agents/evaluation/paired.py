"""Compare two policies on the same tasks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb
from statistics import NormalDist

from proofgym.agents.evaluation.student import t_critical, t_two_sided_p

POWER = 0.8
ALPHA = 0.05


class Decision(StrEnum):
    """What a gate says of a candidate against a baseline."""

    PASS = "pass"
    REGRESS = "regress"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How much better B is than A, in solved attempts.

    Args:
        tasks: compared.
        a, b: mean rates, each task counting once.
        delta: b - a.
        low, high: the 95% interval of delta, clustered by task.
        p_value: of no difference, two-sided.
        method: how it was tested.
        gained, lost: tasks whose rate rose, and fell.
        mde: the smallest difference that these tasks would show 8 times in 10.
        design_effect: how many times the variance is that of as many independent attempts.
    """

    tasks: int
    a: float
    b: float
    delta: float
    low: float
    high: float
    p_value: float
    method: str
    gained: int
    lost: int
    mde: float
    design_effect: float


def compare_paired(a: Sequence[Sequence[bool]], b: Sequence[Sequence[bool]]) -> Comparison:
    """Compare two policies' outcomes on the same tasks.

    delta is the mean over tasks of the difference of their rates, its interval Student's t with
    one difference a task: attempts at one task are a cluster. Where each side has one attempt a
    task the test is McNemar's exact one in its mid-p form; else it is the paired t test.

    Args:
        a, b: for each task in the same order, its attempts' outcomes; none empty.

    Raises:
        ValueError: the tasks are not the same number, or one has no attempt.

    Source: arXiv:2411.00640, sections 3 and 4; mid-p McNemar: Fagerland, Lydersen and Laake 2013.
    """
    if len(a) != len(b) or not a or not all(a) or not all(b):
        raise ValueError(
            "expected the outcomes of the same tasks, at least one attempt each, got "
            f"{len(a)} and {len(b)} tasks. Leave out tasks that one side has no scored attempt at."
        )
    rates = [(_mean(x), _mean(y)) for x, y in zip(a, b, strict=True)]
    differences = [y - x for x, y in rates]
    count, delta = len(differences), _mean(differences)
    error = _standard_error(differences, delta)
    low, high = _interval(delta, error, count)
    gained, lost = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    if all(len(x) == 1 for x in (*a, *b)):
        p_value, method = mcnemar_mid_p(gained, lost), "exact McNemar, mid-p"
    else:
        p_value, method = _paired_t(delta, error, count), "paired t, clustered by task"
    return Comparison(
        tasks=count,
        a=_mean([x for x, _ in rates]),
        b=_mean([y for _, y in rates]),
        delta=delta,
        low=low,
        high=high,
        p_value=p_value,
        method=method,
        gained=gained,
        lost=lost,
        mde=_detectable(error, count),
        design_effect=_design_effect(a, b, error),
    )


def mcnemar_exact_p(gained: int, lost: int) -> float:
    """Return McNemar's exact two-sided p: the binomial one of ``gained`` in ``gained + lost``.

    Source: McNemar 1947. It holds its level, and errs on the side of no difference.
    """
    discordant, least = gained + lost, min(gained, lost)
    tail = sum(comb(discordant, i) for i in range(least + 1)) / (1 << discordant)
    return min(1.0, 2 * tail)


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """Return the mid-p form: the exact p less the probability of what was seen.

    Source: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91.
    """
    discordant, least = gained + lost, min(gained, lost)
    if not discordant:
        return 1.0
    point = comb(discordant, least) / (1 << discordant)
    # where they are equal the exact p is 1 though both tails hold the point
    return mcnemar_exact_p(gained, lost) - (point / 2 if gained == lost else point)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p values of several tests so that the chance of any false alarm keeps its level.

    The i-th smallest of m is multiplied by m - i + 1, and never made smaller than one before it.

    Source: Holm 1979.
    """
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, p_values[name] * (len(p_values) - rank)))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def decide(comparison: Comparison, *, margin: float) -> Decision:
    """Judge a candidate B against a baseline A.

    It passes where the whole interval of delta is at -margin or above; else it regresses where B
    is worse by more than chance explains (p < 0.05); else there are too few tasks to say.

    Args:
        comparison: of A with B.
        margin: the loss that is acceptable, at least 0.
    """
    if not margin >= 0:
        raise ValueError(f"margin must be at least 0, got {margin}.")
    if comparison.low >= -margin:
        return Decision.PASS
    if comparison.p_value < ALPHA and comparison.delta < 0:
        return Decision.REGRESS
    return Decision.INCONCLUSIVE


def _standard_error(differences: Sequence[float], mean: float) -> float:
    count = len(differences)
    if count < 2:
        return math.inf
    variance = math.fsum((d - mean) ** 2 for d in differences) / (count - 1)
    return math.sqrt(variance / count)


def _interval(delta: float, error: float, count: int) -> tuple[float, float]:
    if count < 2:
        return -1.0, 1.0
    half = t_critical(count - 1) * error
    return max(-1.0, delta - half), min(1.0, delta + half)


def _paired_t(delta: float, error: float, count: int) -> float:
    if count < 2:
        return 1.0
    if error == 0:
        return 1.0 if delta == 0 else 0.0
    return t_two_sided_p(delta / error, count - 1)


def _detectable(error: float, count: int) -> float:
    if count < 2:
        return math.inf
    return (t_critical(count - 1, two_sided=ALPHA) + NormalDist().inv_cdf(POWER)) * error


def _design_effect(a: Sequence[Sequence[bool]], b: Sequence[Sequence[bool]], error: float) -> float:
    """Return the variance against that of unpaired, independent attempts of the same numbers."""
    independent = 0.0
    for side in (a, b):
        total = sum(map(len, side))
        p = sum(map(sum, side)) / total
        independent += p * (1 - p) / total
    return error**2 / independent if independent > 0 and math.isfinite(error) else math.nan


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
