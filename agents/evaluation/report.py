"""Sum up an evaluation's episodes, with intervals that can be believed."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from proofgym.agents.evaluation.at_k import maj_at_k, pass_at_k, pass_hat_k
from proofgym.agents.evaluation.rate import (
    Bounds,
    Rate,
    clustered_wilson,
    mean_of_tasks,
    unscored_bounds,
)
from proofgym.envs import Episode
from proofgym.verifiers import final_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What was found at one level of difficulty."""

    pass_at_1: Rate
    call_rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class AtK:
    """What k attempts are worth; see :mod:`proofgym.agents.evaluation.at_k`.

    Args:
        k: how many attempts.
        any, all, majority: at least one solves the task, every one does, the most frequent answer
            is right. Means over the tasks that have at least k scored attempts.
    """

    k: int
    any: Rate
    all: Rate
    majority: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """What an evaluation found.

    Args:
        pass_at_1: solved attempts; unscored ones are left out, and counted in ``unscored``.
        bounds: what pass@1 would be if all unscored attempts had failed, or passed.
        at_k: for k = 1, 2, 4, ... and the number of attempts; empty for single attempts.
        reward_mean: over scored attempts; nan where there are none.
        levels: by the tasks' difficulty.
        stops: how often each reason ended an episode.
        unscored: attempts that could not be judged.
        truncated: scored attempts that were cut off at a limit.
        sampled_tokens: in all attempts.
        seconds: wall time.
    """

    pass_at_1: Rate
    bounds: Bounds
    at_k: Sequence[AtK] = field(default=())
    reward_mean: float
    levels: Mapping[str, Level]
    stops: Mapping[str, int]
    unscored: int
    truncated: int
    sampled_tokens: int
    seconds: float


def report_on(episodes: Sequence[Episode], *, seconds: float) -> EvalReport:
    """Sum up an evaluation's episodes of one environment, or of several."""
    scored = [episode for episode in episodes if episode.scored]
    levels = sorted({episode.difficulty for episode in scored if episode.difficulty})
    solved = sum(episode.solved for episode in scored)
    unscored = len(episodes) - len(scored)
    return EvalReport(
        pass_at_1=_rate(scored, lambda episode: episode.solved),
        bounds=unscored_bounds(solved, len(scored), unscored),
        at_k=values_at_k(scored),
        reward_mean=_mean([episode.reward for episode in scored]),
        levels={level: _level(scored, level) for level in levels},
        stops=dict(Counter(episode.stop.value for episode in episodes)),
        unscored=unscored,
        truncated=sum(episode.stop.truncated for episode in scored),
        sampled_tokens=sum(episode.sampled_tokens for episode in episodes),
        seconds=seconds,
    )


def values_at_k(scored: Sequence[Episode]) -> list[AtK]:
    """Estimate what 1, 2, 4, ... attempts are worth, as far as there are attempts.

    A k that no task has enough scored attempts for is left out: it cannot be estimated.
    """
    clusters = list(by_task(scored).values())
    most = max(map(len, clusters), default=0)
    if most < 2:
        return []
    ks = sorted({*(2**power for power in range(most.bit_length())), most})
    return [_at_k([c for c in clusters if len(c) >= k], k) for k in ks]


def by_task(episodes: Sequence[Episode]) -> dict[tuple[str, str], list[Episode]]:
    """Collect the attempts at each task of each environment."""
    found: dict[tuple[str, str], list[Episode]] = {}
    for episode in episodes:
        found.setdefault((episode.env_id, episode.task_id), []).append(episode)
    return found


def answer_of(episode: Episode) -> Hashable | None:
    """Return what an episode answered, for a vote: what its verifier read, else its last word."""
    extracted = episode.score.extracted if episode.score is not None else None
    return extracted or " ".join(final_text(episode.messages).split()) or None


def _at_k(clusters: Sequence[Sequence[Episode]], k: int) -> AtK:
    counts = [(sum(one.solved for one in cluster), len(cluster)) for cluster in clusters]
    attempts = sum(n for _, n in counts)
    votes = [
        maj_at_k([answer_of(one) for one in cluster], [one.solved for one in cluster], k)
        for cluster in clusters
    ]
    return AtK(
        k=k,
        any=mean_of_tasks([pass_at_k(c, n, k) for c, n in counts], attempts=attempts),
        all=mean_of_tasks([pass_hat_k(c, n, k) for c, n in counts], attempts=attempts),
        majority=mean_of_tasks(votes, attempts=attempts),
    )


def _rate(episodes: Sequence[Episode], outcome: Callable[[Episode], bool]) -> Rate:
    clusters = by_task(episodes).values()
    return clustered_wilson([[outcome(one) for one in cluster] for cluster in clusters])


def _level(episodes: Sequence[Episode], level: str) -> Level:
    chosen = [episode for episode in episodes if episode.difficulty == level]
    return Level(
        pass_at_1=_rate(chosen, lambda episode: episode.solved),
        call_rate=_rate(chosen, lambda episode: episode.tool_calls > 0),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
