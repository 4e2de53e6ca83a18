"""What k attempts are worth, against enumeration of every choice of k."""

from collections import Counter
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofgym.agents import maj_at_k, pass_at_k, pass_hat_k

# by hand: 1 - C(n-c, k)/C(n, k), and C(c, k)/C(n, k)
TABLE = {
    "one of one": (1, 1, 1, 1.0, 1.0),
    "none": (0, 5, 3, 0.0, 0.0),
    "3 of 10, k 1": (3, 10, 1, 0.3, 0.3),
    "3 of 10, k 5": (3, 10, 5, 1 - 21 / 252, 0.0),
    "2 of 4, k 2": (2, 4, 2, 5 / 6, 1 / 6),
    "all": (7, 7, 4, 1.0, 1.0),
}


@pytest.mark.parametrize(("solved", "attempts", "k", "any_", "all_"), TABLE.values(), ids=TABLE)
def test_values_worked_by_hand(
    solved: int, attempts: int, k: int, any_: float, all_: float
) -> None:
    assert pass_at_k(solved, attempts, k) == pytest.approx(any_, abs=1e-15)
    assert pass_hat_k(solved, attempts, k) == pytest.approx(all_, abs=1e-15)


@pytest.mark.parametrize("k", [0, 5, -1])
def test_more_attempts_than_were_made_are_refused(k: int) -> None:
    for estimate in (pass_at_k, pass_hat_k):
        with pytest.raises(ValueError, match=f"got k={k} of 4 attempts"):
            estimate(2, 4, k)
    with pytest.raises(ValueError, match="at least k attempts"):
        maj_at_k(["a"] * 4, [True] * 4, k)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_estimates_equal_the_mean_over_all_choices(
    outcomes: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(outcomes)))
    choices = list(combinations(outcomes, k))
    mean_any = sum(any(chosen) for chosen in choices) / len(choices)
    mean_all = sum(all(chosen) for chosen in choices) / len(choices)
    assert pass_at_k(sum(outcomes), len(outcomes), k) == pytest.approx(mean_any, abs=1e-12)
    assert pass_hat_k(sum(outcomes), len(outcomes), k) == pytest.approx(mean_all, abs=1e-12)


ANSWERS = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=8)


@settings(deadline=None, max_examples=80)
@given(ANSWERS, st.sets(st.sampled_from(["1", "2", "3"])), st.data())
def test_a_majority_equals_the_mean_over_all_votes_with_ties_shared(
    answers: list[str | None], right: set[str], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(answers)))
    total = Fraction(0)
    choices = list(combinations(answers, k))
    for chosen in choices:
        votes = Counter(answer for answer in chosen if answer is not None)
        if votes:
            winners = [a for a, n in votes.items() if n == max(votes.values())]
            total += Fraction(sum(a in right for a in winners), len(winners))
    found = maj_at_k(answers, [answer in right for answer in answers], k)
    assert found == pytest.approx(float(total / len(choices)), abs=1e-12)


def test_a_vote_of_one_is_the_pass_rate_and_silence_never_wins() -> None:
    assert maj_at_k(["4", "5", None, "4"], [True, False, False, True], 1) == 0.5
    assert maj_at_k([None, None, None, "4"], [False, False, False, True], 4) == 1.0
