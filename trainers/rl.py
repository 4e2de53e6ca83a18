"""Reinforcement learning with verified rewards, one step at a time.

The step reads as the algorithm: roll out groups, prepare them (advantages, weights, packing),
descend, publish the weights.
"""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from proofgym.agents import Assignment, Driver
from proofgym.envs import Blame, Env, Episode, derive
from proofgym.trainers.algorithm import policy_loss, prepare
from proofgym.trainers.errors import FaultRateError
from proofgym.trainers.learner import Learner
from proofgym.trainers.run_config import RlConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RlStep:
    """What one step did."""

    metrics: dict[str, float]
    episodes: Sequence[Episode]


async def rl_step(
    learner: Learner,
    driver: Driver,
    publish: Callable[[int], Awaitable[object]],
    environment: type[Env],
    config: RlConfig,
    *parts: str | int,
    on_episode: Callable[[Episode], None] | None = None,
) -> RlStep:
    """Take one step at staleness 0.

    Args:
        learner: takes the optimiser steps.
        driver: plays with an engine that has the learner's weights.
        publish: gives that engine the learner's weights, as this version.
        environment: its tasks are drawn from.
        config: the stage's.
        parts: what the step's randomness derives from.
        on_episode: called as each rollout ends.

    Where every group's rewards are all equal, there is nothing to learn from: no update is made,
    the metrics lack the learner's part, and ``group/frac_zero_std`` is 1 (nan where not even one
    group was scored).

    Raises:
        FaultRateError: more episodes failed, by no fault of the policy, than the config allows.
    """
    started = time.perf_counter()
    assignments = draw_assignments(environment, config, *parts)
    episodes = await driver.run(assignments, on_episode)
    rolled = time.perf_counter()
    metrics = rollout_metrics(episodes)
    check_faults(episodes, config.max_fault_fraction)
    prepared = prepare(episodes, config, learner)
    metrics |= prepared.metrics
    loss = policy_loss(config)
    trained_tokens = 0
    for batches in prepared.updates:
        report = learner.step(batches, loss)
        metrics |= report.metrics
        trained_tokens += report.tokens
    trained = time.perf_counter()
    await publish(learner.step_number)
    ended = time.perf_counter()
    sampled = sum(episode.sampled_tokens for episode in episodes)
    metrics |= {
        "time/rollout": rolled - started,
        "time/train": trained - rolled,
        "time/sync": ended - trained,
        "tokens/sampled": sampled,
        "tokens/trained": trained_tokens,
        "tok_s/gen": sampled / (rolled - started),
        "tok_s/train": trained_tokens / max(trained - rolled, 1e-9),
    }
    return RlStep(metrics=metrics, episodes=episodes)


def draw_assignments(
    environment: type[Env], config: RlConfig, *parts: str | int
) -> list[Assignment]:
    """Draw a step's tasks, ``group_size`` rollouts each; the same parts give the same draw."""
    rng = np.random.default_rng(derive("prompts", *parts))
    tasks = [environment.tasks.sample("train", rng) for _ in range(config.prompts)]
    return [
        Assignment(
            task=task,
            seed=derive("rollout", *parts, group, rollout),
            group=group,
            rollout=rollout,
        )
        for group, task in enumerate(tasks)
        for rollout in range(config.group_size)
    ]


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
