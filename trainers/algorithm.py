"""From episodes to weighted micro-batches, and the loss they are trained with.

Everything between a rollout and a gradient goes through here: the loop hands in episodes and a
configuration, and takes optimiser steps on what comes out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from proofgym.envs import Episode
from proofgym.trainers.advantage import group_advantages
from proofgym.trainers.batch import Batch, Weighted, pack, token_mean_weight
from proofgym.trainers.learner import Learner, LossFunction
from proofgym.trainers.policy_loss import LossSums, ppo_clip_loss
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.sample import Sample, samples_of

RolloutKey = tuple[int, int]
"""An episode's group and its rollout in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a batch of episodes trains with.

    Args:
        updates: the micro-batches of each optimiser step; empty where nothing is to be learned.
        metrics: of the groups and their advantages.
        filtered: why a scored episode is not trained on, for each such one; the ledger keeps it.
    """

    updates: Sequence[Sequence[Batch]]
    metrics: dict[str, float]
    filtered: Mapping[RolloutKey, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingGroup:
    """Scored rollouts of one task, with the advantage of each."""

    episodes: Sequence[Episode]
    advantages: Sequence[float]


def prepare(episodes: Sequence[Episode], config: RlConfig, learner: Learner) -> Prepared:
    """Group episodes, compare their rewards, weigh their tokens over the global batch, pack them.

    Where every group's rewards are all equal there are no updates, and ``group/frac_zero_std`` is
    1 (nan where not even one group was scored). The learner is asked for logprobs only where
    several updates share one batch; its weights stay as they are.
    """
    groups = training_groups(episodes)
    kept = [group for group in groups if any(group.advantages)]
    flat = 1.0 - len(kept) / len(groups) if groups else math.nan
    return Prepared(
        updates=_updates(kept, config, learner),
        metrics={"group/frac_zero_std": flat},
        filtered=_filtered(episodes, groups, kept),
    )


def policy_loss(config: RlConfig) -> LossFunction:
    """Make the loss of a configuration, for :meth:`Learner.step`."""

    def loss(logp_N: Tensor, batch: Batch) -> LossSums:
        action, device = batch.action_T, logp_N.device
        old_logp_N = logp_N.detach() if batch.old_logp_N is None else batch.old_logp_N
        return ppo_clip_loss(
            logp_N,
            old_logp_N,
            batch.behaviour_logp_T[action].to(device),
            batch.advantage_T[action].to(device),
            batch.w_pg_T[action].to(device),
            config.loss,
        )

    return loss


def training_groups(episodes: Sequence[Episode]) -> list[TrainingGroup]:
    """Group scored episodes and centre their rewards; groups of one are left out.

    An unscored episode is left out of its group's mean: None never becomes 0.
    """
    by_group: dict[int, list[Episode]] = {}
    for episode in episodes:
        if episode.scored:
            by_group.setdefault(episode.group, []).append(episode)
    groups: list[TrainingGroup] = []
    for members in by_group.values():
        if len(members) >= 2:
            rewards_1G = torch.tensor([[episode.reward for episode in members]])
            advantages = group_advantages(rewards_1G)[0].tolist()
            groups.append(TrainingGroup(episodes=members, advantages=advantages))
    return groups


def weigh(groups: Sequence[TrainingGroup]) -> list[Weighted]:
    """Give every action token of the global batch the same weight, and its advantage."""
    pairs: list[tuple[Sample, float]] = [
        (sample, advantage)
        for group in groups
        for episode, advantage in zip(group.episodes, group.advantages, strict=True)
        for sample in samples_of(episode)
    ]
    weight = token_mean_weight([sample for sample, _ in pairs])
    return [Weighted(sample=sample, advantage=a, w_pg=weight) for sample, a in pairs]


def _filtered(
    episodes: Sequence[Episode], groups: Sequence[TrainingGroup], kept: Sequence[TrainingGroup]
) -> dict[RolloutKey, str]:
    reasons = {_key(one): "alone in its group" for one in episodes if one.scored}
    reasons |= {_key(one): "equal rewards" for group in groups for one in group.episodes}
    for group in kept:
        for one in group.episodes:
            del reasons[_key(one)]
            if not one.sampled_tokens:
                reasons[_key(one)] = "no tokens"
    return reasons


def _key(episode: Episode) -> RolloutKey:
    return episode.group, episode.rollout


def _updates(
    groups: Sequence[TrainingGroup], config: RlConfig, learner: Learner
) -> list[list[Batch]]:
    """Split the groups into one list of micro-batches for each optimiser step.

    With several steps a batch, the later ones no longer start at the weights that the ratio is
    anchored at, so those logprobs are taken first.
    """
    size = max(1, math.ceil(len(groups) / config.updates))
    chunks = [groups[start : start + size] for start in range(0, len(groups), size)]
    updates = [pack(weigh(chunk), token_budget=config.token_budget) for chunk in chunks]
    if len(updates) > 1:
        updates = [[_anchored(learner, batch) for batch in batches] for batches in updates]
    return updates


def _anchored(learner: Learner, batch: Batch) -> Batch:
    with torch.no_grad():
        return replace(batch, old_logp_N=learner.logprobs(batch).logp_N)
