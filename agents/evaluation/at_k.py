"""What k attempts at a task are worth, estimated from n >= k of them without bias."""

from collections import Counter
from collections.abc import Hashable, Sequence
from math import comb


def pass_at_k(solved: int, attempts: int, k: int) -> float:
    """Estimate the probability that at least one of k attempts solves the task.

    1 - C(n - c, k) / C(n, k) for c solved of n attempts, which is unbiased.

    Raises:
        ValueError: k is not in 1..n: k attempts cannot be judged from fewer.

    Source: Codex, arXiv:2107.03374, section 2.1.
    """
    _check(solved, attempts, k)
    return 1.0 - comb(attempts - solved, k) / comb(attempts, k)


def pass_hat_k(solved: int, attempts: int, k: int) -> float:
    """Estimate the probability that all of k attempts solve the task: C(c, k) / C(n, k).

    Raises:
        ValueError: k is not in 1..n.

    Source: tau-bench, arXiv:2406.12045, section 4.
    """
    _check(solved, attempts, k)
    return comb(solved, k) / comb(attempts, k)


def maj_at_k(answers: Sequence[Hashable | None], solved: Sequence[bool], k: int) -> float:
    """Return the probability that the majority answer of k of the attempts is right.

    It is exact over all C(n, k) choices: the probability that a right answer is given most often,
    where answers that are given equally often share the vote evenly.

    Args:
        answers: what each attempt answered, so that equal answers are one; None for no answer,
            which never wins a vote.
        solved: whether it was right. Attempts with equal answers are judged alike by their first.
        k: how many vote.

    Raises:
        ValueError: k is not in 1..n, or there are not as many answers as outcomes.

    Source: majority voting as in self-consistency, arXiv:2203.11171.
    """
    if len(answers) != len(solved):
        raise ValueError(f"expected one outcome an answer, got {len(solved)} of {len(answers)}.")
    _check(0, len(answers), k)
    counts = Counter(answer for answer in answers if answer is not None)
    silent = len(answers) - counts.total()
    right: dict[Hashable, bool] = {}
    for answer, outcome in zip(answers, solved, strict=True):
        if answer is not None:
            right.setdefault(answer, outcome)
    total = 0.0
    for answer, count in counts.items():
        if right[answer]:
            others = [number for other, number in counts.items() if other != answer]
            total += _ways_to_win(count, others, silent, k)
    return total / comb(len(answers), k)


def _ways_to_win(own: int, others: Sequence[int], silent: int, k: int) -> float:
    """Count the choices of k in which an answer wins; with ties, its share of them."""
    won = 0.0
    for votes in range(1, min(own, k) + 1):
        rest = k - votes
        # ways[chosen][ties]: how the other answers can have been chosen, none above ``votes``
        ways: Counter[tuple[int, int]] = Counter({(0, 0): 1})
        for number in others:
            ways = _with_answer(ways, number, votes, rest)
        for (chosen, ties), count in ways.items():
            won += comb(own, votes) * count * comb(silent, rest - chosen) / (1 + ties)
    return won


def _with_answer(
    ways: Counter[tuple[int, int]], number: int, votes: int, rest: int
) -> Counter[tuple[int, int]]:
    extended: Counter[tuple[int, int]] = Counter()
    for (chosen, ties), count in ways.items():
        for taken in range(min(number, votes, rest - chosen) + 1):
            extended[chosen + taken, ties + (taken == votes)] += count * comb(number, taken)
    return extended


def _check(solved: int, attempts: int, k: int) -> None:
    if not 1 <= k <= attempts:
        raise ValueError(
            f"k must be between 1 and the number of attempts, got k={k} of {attempts} attempts. "
            "Make at least k attempts at each task."
        )
    if not 0 <= solved <= attempts:
        raise ValueError(f"expected 0 to {attempts} solved attempts, got {solved}.")
