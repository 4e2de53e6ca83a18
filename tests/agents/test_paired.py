"""Paired comparison, against tables worked out independently and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofgym.agents.evaluation import (
    Decision,
    clustered_wilson,
    compare_paired,
    decide,
    holm,
    mean_of_tasks,
    pass_at_k,
)
from proofgym.agents.evaluation.paired import mcnemar_exact_p, mcnemar_mid_p
from proofgym.agents.evaluation.student import t_critical, t_two_sided_p

# Student's t, two-sided 5%: printed tables (Fisher and Yates)
T_TABLE = {1: 12.706, 2: 4.303, 5: 2.571, 10: 2.228, 29: 2.045, 120: 1.980}


@pytest.mark.parametrize(("df", "value"), T_TABLE.items())
def test_critical_values_are_those_of_printed_tables(df: int, value: float) -> None:
    assert t_critical(df) == pytest.approx(value, abs=5e-4)
    assert t_two_sided_p(t_critical(df), df) == pytest.approx(0.05, abs=1e-9)


# the binomial tail by hand: n discordant pairs, k the fewer
MCNEMAR = {
    "none": (0, 0, 1.0, 1.0),
    "one way": (6, 0, 2 / 64, 2 / 64 - 1 / 64),
    "5 against 1": (5, 1, 2 * 7 / 64, 2 * 7 / 64 - 6 / 64),
    "even": (3, 3, 1.0, 1 - 20 / 64 / 2),
    "1 against 9": (1, 9, 2 * 11 / 1024, 2 * 11 / 1024 - 10 / 1024),
}


@pytest.mark.parametrize(("gained", "lost", "exact", "mid"), MCNEMAR.values(), ids=MCNEMAR)
def test_mcnemar_equals_the_binomial_worked_by_hand(
    gained: int, lost: int, exact: float, mid: float
) -> None:
    assert mcnemar_exact_p(gained, lost) == pytest.approx(exact, abs=1e-15)
    assert mcnemar_mid_p(gained, lost) == pytest.approx(mid, abs=1e-15)
    assert mcnemar_mid_p(lost, gained) == pytest.approx(mid, abs=1e-15)


def test_holm_equals_the_table_worked_by_hand() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_a_paired_t_test_equals_the_one_worked_by_hand() -> None:
    # differences 0.5, 0, 0.5, -0.5, 0.5: mean 0.2, sd sqrt(0.2), se 0.2, t = 1, df 4
    a = [[True, False], [True, True], [False, False], [True, False], [False, False]]
    b = [[True, True], [True, True], [True, False], [False, False], [True, False]]
    found = compare_paired(a, b)
    assert (found.delta, found.a, found.b) == pytest.approx((0.2, 0.4, 0.6))
    assert found.p_value == pytest.approx(0.373901, abs=1e-6)  # of t = 1 at 4 degrees of freedom
    assert (found.low, found.high) == pytest.approx((0.2 - 2.776445 * 0.2, 0.2 + 2.776445 * 0.2))
    assert (found.gained, found.lost) == (3, 1)
    assert found.mde == pytest.approx((2.776445 + 0.841621) * 0.2, abs=1e-5)
    # variance of the difference 0.04, of independent attempts 0.24 / 10 + 0.24 / 10
    assert found.design_effect == pytest.approx(0.04 / 0.048)


def test_the_same_outcomes_pass_whatever_the_margin() -> None:
    same = compare_paired([[True], [False]], [[True], [False]])
    assert (same.delta, same.low, same.high) == (0, 0, 0)
    assert decide(same, margin=0.0) is Decision.PASS


GATES = {
    "clearly worse": (100, 60, 0.05, Decision.REGRESS),
    "clearly better": (60, 100, 0.0, Decision.PASS),
    "too few to say": (62, 58, 0.01, Decision.INCONCLUSIVE),
    "worse within the margin": (100, 96, 0.15, Decision.PASS),
}


@pytest.mark.parametrize(("a", "b", "margin", "decision"), GATES.values(), ids=GATES)
def test_the_gate_decides(a: int, b: int, margin: float, decision: Decision) -> None:
    rng = np.random.default_rng(0)
    first = [[bool(x)] for x in rng.permutation([1] * a + [0] * (120 - a))]
    second = [[bool(x)] for x in rng.permutation([1] * b + [0] * (120 - b))]
    assert decide(compare_paired(first, second), margin=margin) is decision


@pytest.mark.parametrize(("a", "b"), [([], []), ([[True]], []), ([[True], []], [[True], [True]])])
def test_tasks_that_do_not_match_are_refused(a: list[list[bool]], b: list[list[bool]]) -> None:
    with pytest.raises(ValueError, match="the same tasks"):
        compare_paired(a, b)


TASKS = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=1, max_size=3),
        st.lists(st.booleans(), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=8,
)


@given(TASKS)
def test_swapping_the_sides_mirrors_everything(tasks: list[tuple[list[bool], list[bool]]]) -> None:
    a, b = [x for x, _ in tasks], [y for _, y in tasks]
    there, back = compare_paired(a, b), compare_paired(b, a)
    assert there.delta == pytest.approx(-back.delta, abs=1e-12)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)
    assert there.p_value == pytest.approx(back.p_value, abs=1e-9)
    assert there.low <= there.delta + 1e-12 <= there.high + 2e-12


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "attempts"), [(60, 1), (60, 4), (200, 2)])
def test_intervals_cover_and_comparisons_seldom_cry_wolf(tasks: int, attempts: int) -> None:
    """Of 2,000 simulated pairs of equal policies: coverage 93 to 97%, false alarms 4 to 6%."""
    rng = np.random.default_rng(tasks * 100 + attempts)
    rounds, covered, covered_k, alarms = 2000, 0, 0, 0
    k = max(1, attempts // 2)
    truth = 0.5
    # E[1 - (1 - q)^k] of q uniform on [0, 1]
    truth_k = 1 - 1 / (k + 1)
    for _ in range(rounds):
        q = rng.random(tasks)[:, None]
        a = rng.random((tasks, attempts)) < q
        b = rng.random((tasks, attempts)) < q
        rate = clustered_wilson(a.tolist())
        covered += rate.low <= truth <= rate.high
        values = [pass_at_k(int(c), attempts, k) for c in a.sum(axis=1)]
        rate = mean_of_tasks(values, attempts=a.size)
        covered_k += rate.low <= truth_k <= rate.high
        alarms += compare_paired(a.tolist(), b.tolist()).p_value < 0.05
    assert 0.93 <= covered / rounds <= 0.97
    assert 0.93 <= covered_k / rounds <= 0.97
    assert 0.04 <= alarms / rounds <= 0.06


def test_one_task_says_nothing() -> None:
    found = compare_paired([[True]], [[False]])
    assert (found.low, found.high) == (-1.0, 1.0)
    assert math.isinf(found.mde)
