"""Reinforcement learning with verified rewards, one step at a time.

The step reads as the algorithm: roll out groups, prepare them (advantages, weights, packing),
descend, publish the weights.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

from proofgym.agents import Assignment
from proofgym.envs import Blame, Env, Episode, derive
from proofgym.trainers.algorithm import RolloutKey, policy_loss, prepare
from proofgym.trainers.errors import FaultRateError
from proofgym.trainers.learner import Learner
from proofgym.trainers.ledger import Ending, Outcome
from proofgym.trainers.mismatch_split import MismatchSplit
from proofgym.trainers.rollouts import Rollouts
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.step_bundle import Recorder
from proofgym.verifiers import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class RlStep:
    """What one step did.

    Args:
        metrics: under the field's names.
        episodes: that it had to train on.
        endings: what became of them, and of those that came too late.
    """

    metrics: dict[str, float]
    episodes: Sequence[Episode]
    endings: Sequence[Ending]


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """What the learner made of a batch."""

    metrics: dict[str, float]
    tokens: int
    endings: Sequence[Ending]


async def rl_step(
    learner: Learner,
    rollouts: Rollouts,
    publish: Callable[[int], Awaitable[object]],
    config: RlConfig,
    step: int,
    recorder: Recorder,
    *,
    reference: nn.Module | None = None,
) -> RlStep:
    """Take one step: wait for its batch, descend, publish the weights as version ``step + 1``.

    Where every group's rewards are all equal, there is nothing to learn from: no update is made,
    the metrics lack the learner's part, and ``group/frac_zero_std`` is 1 (nan where not even one
    group was scored).

    Args:
        learner: takes the optimiser steps; in a thread of its own where later batches are
            being played meanwhile.
        rollouts: gives the batch.
        publish: gives the engine the learner's weights, as this version.
        config: the stage's.
        step: how many steps came before.
        recorder: writes the step down where that is asked for.
        reference: what a KL measures the policy against.

    Raises:
        FaultRateError: more episodes failed, by no fault of the policy, than the config allows.
    """
    started = time.perf_counter()
    taken = await rollouts.batch(step)
    episodes = [*taken.episodes, *await _fill_up(taken.episodes, rollouts, config, step)]
    rolled = time.perf_counter()
    metrics = rollout_metrics(episodes)
    metrics |= staleness_metrics(episodes, step)
    check_faults(episodes, config.max_fault_fraction)
    if rollouts.staleness:
        work = partial(descend, learner, episodes, config, recorder, reference)
        done = await asyncio.to_thread(work)
    else:
        done = descend(learner, episodes, config, recorder, reference)
    trained = time.perf_counter()
    await publish(step + 1)
    ended = time.perf_counter()
    sampled = sum(episode.sampled_tokens for episode in episodes)
    metrics |= done.metrics
    metrics |= {
        "dropped_stale": len(taken.stale),
        "time/rollout": rolled - started,
        "time/train": trained - rolled,
        "time/sync": ended - trained,
        "tokens/sampled": sampled,
        "tokens/trained": done.tokens,
        "tok_s/gen": sampled / (rolled - started),
        "tok_s/train": done.tokens / max(trained - rolled, 1e-9),
    }
    late = [
        Ending(group=one.group, rollout=one.rollout, outcome=Outcome.STALE, reason="late")
        for one in taken.stale
    ]
    return RlStep(metrics=metrics, episodes=episodes, endings=[*done.endings, *late])


async def _fill_up(
    episodes: Sequence[Episode], rollouts: Rollouts, config: RlConfig, step: int
) -> list[Episode]:
    """Play further groups while flat ones leave the batch short, for as many rounds as may be."""
    found: list[Episode] = []
    for extra_round in range(1, config.extra_rounds + 1):
        missing = config.prompts - teaching_groups([*episodes, *found])
        if missing <= 0:
            break
        found += await rollouts.more(step, extra_round, missing)
    return found


def teaching_groups(episodes: Sequence[Episode]) -> int:
    """Count the groups whose scored rewards are not all equal."""
    rewards: dict[int, set[float]] = {}
    for episode in episodes:
        if episode.scored:
            rewards.setdefault(episode.group, set()).add(episode.reward)
    return sum(len(different) > 1 for different in rewards.values())


def solved_tasks(episodes: Sequence[Episode], fraction: float) -> list[str]:
    """Name the tasks of which at least this fraction of the scored rollouts was solved."""
    outcomes: dict[str, list[bool]] = {}
    for episode in episodes:
        if episode.scored:
            outcomes.setdefault(episode.task_id, []).append(episode.solved)
    return sorted(task for task, found in outcomes.items() if sum(found) >= fraction * len(found))


def descend(
    learner: Learner,
    episodes: Sequence[Episode],
    config: RlConfig,
    recorder: Recorder,
    reference: nn.Module | None = None,
) -> Descent:
    """Turn a batch of episodes into optimiser steps."""
    prepared = prepare(episodes, config, learner, reference)
    metrics = dict(prepared.metrics)
    loss = MismatchSplit(policy_loss(config), version=recorder.step - 1)
    tokens = 0
    for batches in prepared.updates:
        report = recorder.take(learner, batches, config, loss)
        metrics |= report.metrics
        tokens += report.tokens
    metrics |= loss.metrics()
    endings = [_ending(episode, prepared.filtered) for episode in episodes]
    return Descent(metrics=metrics, tokens=tokens, endings=endings)


def _ending(episode: Episode, filtered: Mapping[RolloutKey, str]) -> Ending:
    group, rollout = episode.group, episode.rollout
    outcome, reason = Outcome.TRAINED, ""
    if not episode.scored:
        outcome, reason = Outcome.FAULT, episode.stop.value
    elif (group, rollout) in filtered:
        outcome, reason = Outcome.FILTERED, filtered[group, rollout]
    return Ending(group=group, rollout=rollout, outcome=outcome, reason=reason)


def draw_assignments(
    environment: type[Env],
    config: RlConfig,
    seed: int,
    stage: str,
    step: int,
    *,
    extra_round: int = 0,
    retired: Collection[str] = (),
) -> list[Assignment]:
    """Draw a step's tasks, ``group_size`` rollouts each; the same arguments give the same draw.

    Groups are numbered through the whole stage, those of extra rounds after all others.

    Args:
        environment: its training tasks are drawn from.
        config: the stage's.
        seed, stage, step: what all randomness derives from.
        extra_round: of rollouts for the same step; 0 is its first batch.
        retired: tasks that are drawn only where others are hardly left.
    """
    parts: tuple[str | int, ...] = (seed, stage, step)
    first = step * config.prompts
    if extra_round:
        parts = (*parts, "extra", extra_round)
        rounds = step * config.extra_rounds + extra_round - 1
        first = (config.steps + rounds) * config.prompts
    rng = np.random.default_rng(derive("prompts", *parts))
    tasks = [_draw_task(environment, rng, retired) for _ in range(config.prompts)]
    return [
        Assignment(
            task=task,
            seed=derive("rollout", *parts, group, rollout),
            group=first + group,
            rollout=rollout,
        )
        for group, task in enumerate(tasks)
        for rollout in range(config.group_size)
    ]


def _draw_task(environment: type[Env], rng: np.random.Generator, retired: Collection[str]) -> Task:
    for _ in range(_DRAWS):
        task: Task = environment.tasks.sample("train", rng)
        if task.id not in retired:
            break
    return task


_DRAWS = 100
"""Of one task; where all were retired, the last one is taken: no run is left without tasks."""


def staleness_metrics(episodes: Sequence[Episode], step: int) -> dict[str, float]:
    """Say how many steps old the tokens of a step's batch are."""
    ages = [step - turn.versions for episode in episodes for turn in episode.turns]
    ages = [age for age in ages if len(age)]
    if not ages:
        return {}
    joined = np.concatenate(ages)
    return {"staleness/mean": float(joined.mean()), "staleness/max": float(joined.max())}


def check_faults(episodes: Sequence[Episode], bound: float) -> None:
    """Stop a run whose rewards can no longer be believed.

    Raises:
        FaultRateError: the fraction of unscored episodes passes the bound; the first is quoted.
    """
    failed = [episode for episode in episodes if not episode.scored]
    if len(failed) <= bound * len(episodes):
        return
    first = failed[0]
    if first.fault is not None:
        why = f"{first.fault.blame} in phase {first.fault.phase}: {first.fault.message}"
    else:
        why = first.score.error.message if first.score and first.score.error else first.stop.value
    raise FaultRateError(
        f"expected at most {bound:.0%} of a batch's episodes to fail, got {len(failed)} of "
        f"{len(episodes)}. The first was task {first.task_id}: {why}. Mend it, or raise "
        "max_fault_fraction."
    )


def rollout_metrics(episodes: Sequence[Episode]) -> dict[str, float]:
    """Sum up a batch of rollouts under the field's names."""
    scored = [episode for episode in episodes if episode.scored]
    lengths = [episode.sampled_tokens for episode in episodes]
    rewards = [episode.reward for episode in scored]
    metrics = {
        "reward/mean": _mean(rewards),
        "reward/std": float(np.std(rewards)) if rewards else math.nan,
        "pass@1": _mean([float(episode.solved) for episode in scored]),
        "len/mean": _mean(lengths),
        "len/max": float(max(lengths, default=0)),
        "len/truncated_frac": _mean([float(episode.stop.truncated) for episode in scored]),
        "turns/mean": _mean([float(len(episode.turns)) for episode in episodes]),
        "tools/calls": _mean([float(episode.tool_calls) for episode in episodes]),
        "env/error_frac": _mean([float(_blamed(e, Blame.ENVIRONMENT)) for e in episodes]),
        "env/infra_frac": _mean([float(_blamed(e, Blame.INFRASTRUCTURE)) for e in episodes]),
    }
    for level in sorted({episode.difficulty for episode in scored if episode.difficulty}):
        chosen = [episode for episode in scored if episode.difficulty == level]
        metrics[f"pass@1/{level}"] = _mean([float(episode.solved) for episode in chosen])
        metrics[f"tools/call_rate/{level}"] = _mean([float(e.tool_calls > 0) for e in chosen])
    return metrics


def _blamed(episode: Episode, blame: Blame) -> bool:
    return episode.fault is not None and episode.fault.blame is blame


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
