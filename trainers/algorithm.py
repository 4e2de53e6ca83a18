"""From episodes to weighted micro-batches, and the loss they are trained with.

Everything between a rollout and a gradient goes through here: the loop hands in episodes and a
configuration, and takes optimiser steps on what comes out.

Shapes: N action tokens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proofgym.envs import Episode
from proofgym.trainers.advantages.gae import Gae, gae
from proofgym.trainers.advantages.registry import ESTIMATORS, WITHOUT_A_GROUP, values_of
from proofgym.trainers.algorithm_config import AlgorithmConfig
from proofgym.trainers.annotate import annotate
from proofgym.trainers.batch import Batch, Weighted, pack, packing_efficiency
from proofgym.trainers.corrections.correction import correct
from proofgym.trainers.kl import kl_loss, kl_terms
from proofgym.trainers.learner import Learner, LossFunction
from proofgym.trainers.losses.registry import POLICY_LOSSES
from proofgym.trainers.losses.terms import ActionLogprobs, LossSums, PolicyTokens, TokenTerms
from proofgym.trainers.losses.value_loss import value_loss
from proofgym.trainers.normaliser import token_weights
from proofgym.trainers.overlong import handle_overlong
from proofgym.trainers.rollout import Group, Rollout, grouped
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.upload import upload, upload_like
from proofgym.trainers.value_head import ValueHead

RolloutKey = tuple[int, int]
"""An episode's group and its rollout in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a batch of episodes trains with.

    Args:
        updates: the micro-batches of each optimiser step; empty where nothing is to be learned.
        metrics: of the groups, their advantages and the critic.
        filtered: why a scored episode is not trained on, for each such one; the ledger keeps it.
    """

    updates: Sequence[Sequence[Batch]]
    metrics: dict[str, float]
    filtered: Mapping[RolloutKey, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingGroup:
    """A group with an advantage for each rollout: one number, or one for each action token."""

    rollouts: Group
    advantages: Sequence[Tensor]

    @property
    def signal(self) -> bool:
        """Whether any token of it is to be made more or less likely."""
        return any(bool(advantage.any()) for advantage in self.advantages)


def prepare(
    episodes: Sequence[Episode],
    config: RlConfig,
    learner: Learner,
    reference: nn.Module | None = None,
) -> Prepared:
    """Group episodes, compare their rewards, weigh their tokens over the global batch, pack them.

    Where every group's rewards are all equal there are no updates, and ``group/frac_zero_std`` is
    1 (nan where not even one group was scored). The learner and the reference only score; their
    weights stay as they are.

    Raises:
        TrainError: a reward is not finite.
    """
    smallest = 1 if config.advantage.kind in WITHOUT_A_GROUP else 2
    groups = grouped(episodes, smallest=smallest)
    groups = handle_overlong(groups, config.overlong, max_tokens=config.max_tokens)
    groups = annotate(groups, config, learner, reference)
    trained = training_groups(groups, config)
    kept = [group for group in trained if group.signal or not config.filter_flat_groups]
    chunks = _chunks(kept, config.updates)
    weighted = [weigh(chunk, config) for chunk in chunks]
    updates = [pack(one, token_budget=config.token_budget) for one in weighted if one]
    metrics = _metrics(groups, trained)
    if updates:
        packed = [batch for update in updates for batch in update]
        metrics["pack/efficiency"] = packing_efficiency(packed, config.token_budget)
    return Prepared(
        updates=updates,
        metrics=metrics,
        filtered=_filtered(episodes, trained, kept),
    )


def training_groups(groups: Sequence[Group], config: AlgorithmConfig) -> list[TrainingGroup]:
    """Compare each rollout with its group, its batch or its values, as the config says."""
    estimate = ESTIMATORS[config.advantage.kind]
    found = estimate(groups, config.advantage)
    pairs = zip(groups, found, strict=True)
    return [TrainingGroup(rollouts=group, advantages=advantages) for group, advantages in pairs]


def weigh(groups: Sequence[TrainingGroup], config: RlConfig) -> list[Weighted]:
    """Give every row its tokens' advantages and weights; empty where no token is to be trained.

    The weights are divided by the denominators of these groups together: one optimiser step.
    """
    counts = [[0 if one.masked else one.num_actions for one in group.rollouts] for group in groups]
    if not any(map(any, counts)):
        return []
    weights = token_weights(counts, config.normaliser, max_tokens=config.max_tokens)
    return [
        one
        for group, group_weights in zip(groups, weights, strict=True)
        for rollout, advantage, weight in zip(
            group.rollouts, group.advantages, group_weights, strict=True
        )
        if weight
        for one in _rows(rollout, advantage, weight, config)
    ]


def policy_loss(config: AlgorithmConfig) -> LossFunction:
    """Make the loss of a configuration, for :meth:`Learner.step`.

    With weights c, corrections w (held constant), the policy loss's terms l, KL's terms k, the
    entropy H and the value loss's terms v, all per token:

        loss = sum_t c_t (w_t l_t + beta k_t - coefficient H_t + coefficient v_t)
    """
    token_terms = POLICY_LOSSES[config.loss.kind]

    def loss(scored: ActionLogprobs, batch: Batch) -> LossSums:
        logp_N = scored.logp_N
        old_logp_N = (
            logp_N.detach() if batch.old_logp_N is None else upload_like(batch.old_logp_N, logp_N)
        )
        behaviour_N = _actions(batch.behaviour_logp_T, batch, logp_N)
        weight_N = _actions(batch.w_pg_T, batch, logp_N)
        tokens = PolicyTokens(
            logp_N=logp_N,
            old_logp_N=behaviour_N if config.anchor == "behaviour" else old_logp_N,
            advantage_N=_actions(batch.advantage_T, batch, logp_N),
            sequence_N=upload(batch.sequence_N, logp_N.device),
        )
        policy = token_terms(tokens, config.loss)
        correction = correct(tokens, old_logp_N, behaviour_N, config.correction)
        total = (weight_N * correction.weight_N * policy.loss_N).sum()
        metrics = policy.metrics | correction.metrics
        metrics["loss/pg"] = policy.loss_N.detach().sum()
        if batch.ref_logp_N is not None:
            ref_logp_N = upload_like(batch.ref_logp_N, logp_N)
            metrics["kl/ref"] = kl_terms(logp_N.detach(), ref_logp_N, "k3").sum()
            if config.kl.place == "loss":
                kl_N = kl_loss(logp_N, old_logp_N, ref_logp_N, config.kl)
                total = total + config.kl.beta * (weight_N * kl_N).sum()
                metrics["loss/kl"] = config.kl.beta * kl_N.detach().sum()
        if config.entropy_coefficient:
            total = total - config.entropy_coefficient * (weight_N * scored.entropy_N).sum()
        if isinstance(config.critic, ValueHead):
            critic = _critic_terms(scored, batch, config.critic)
            total = total + config.critic.coefficient * (weight_N * critic.loss_N).sum()
            metrics |= critic.metrics
        return LossSums(
            loss=total,
            metrics=metrics,
            tokens=int(logp_N.numel()),
            sequence_metrics=correction.sequence_metrics,
            sequences=len(batch.cumulative_lengths) - 1,
            maxima=correction.maxima | _ratio_max(tokens),
        )

    return loss


def _critic_terms(scored: ActionLogprobs, batch: Batch, critic: ValueHead) -> TokenTerms:
    assert scored.value_N is not None, "a learner with a critic values what it scores"
    assert batch.value_N is not None, "prepare values a batch before it is packed"
    assert batch.target_N is not None
    value_N = scored.value_N
    return value_loss(
        value_N,
        upload_like(batch.value_N, value_N),
        upload_like(batch.target_N, value_N),
        clip=critic.clip,
    )


@torch.no_grad()
def _ratio_max(tokens: PolicyTokens) -> dict[str, Tensor]:
    ratio_N = torch.exp(tokens.logp_N - tokens.old_logp_N)
    return {"ratio/max": ratio_N.max()} if ratio_N.numel() else {}


def _actions(column_T: Tensor, batch: Batch, like: Tensor) -> Tensor:
    return upload(column_T[batch.action_T], like.device)


def _rows(
    rollout: Rollout, advantage: Tensor, weight: float, config: AlgorithmConfig
) -> list[Weighted]:
    """Share a rollout's numbers out over its rows."""
    target_N = None
    if isinstance(config.advantage, Gae):
        value_N = values_of(rollout)
        settings = config.advantage
        target_N = value_N + gae(
            rollout.reward_N, value_N, gamma=settings.gamma, lam=settings.lam_critic
        )
    sizes = [row.num_actions for row in rollout.rows]
    advantage_N = advantage.expand(sum(sizes))

    def shared(column_N: Tensor | None) -> list[NDArray[np.floating] | None]:
        if column_N is None:
            return [None] * len(sizes)
        pieces = torch.split(column_N, sizes)
        return [piece.numpy() for piece in pieces]

    columns = (advantage_N, rollout.old_logp_N, rollout.ref_logp_N, rollout.value_N, target_N)
    pieces = zip(rollout.rows, *map(shared, columns), strict=True)
    return [
        Weighted(
            sample=row,
            advantage=0.0 if advantage_n is None else advantage_n,
            w_pg=weight,
            old_logp=old_n,
            ref_logp=ref_n,
            value=value_n,
            target=target_n,
        )
        for row, advantage_n, old_n, ref_n, value_n, target_n in pieces
    ]


def _chunks(groups: Sequence[TrainingGroup], updates: int) -> list[Sequence[TrainingGroup]]:
    """Split the groups over the batch's optimiser steps; fewer steps where few groups are left."""
    size = max(1, math.ceil(len(groups) / updates))
    return [groups[start : start + size] for start in range(0, len(groups), size)]


def _metrics(groups: Sequence[Group], trained: Sequence[TrainingGroup]) -> dict[str, float]:
    unequal = [len({rollout.reward for rollout in group}) > 1 for group in groups]
    flat = 1.0 - sum(unequal) / len(groups) if groups else math.nan
    metrics = {"group/frac_zero_std": flat}
    advantages = [
        float(a) for group in trained for advantage in group.advantages for a in advantage.flatten()
    ]
    if advantages:
        spread = torch.tensor(advantages, dtype=torch.float64)
        metrics["adv/mean"] = float(spread.mean())
        metrics["adv/std"] = float(spread.std(correction=0))
    masked = [rollout.masked for group in groups for rollout in group]
    if any(masked):
        metrics["group/masked_frac"] = sum(masked) / len(masked)
    return metrics | _critic_metrics(groups)


def _critic_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Say how much of the returns' variance the critic foresaw; 0 is no more than their mean."""
    rollouts = [one for group in groups for one in group if one.value_N is not None]
    if not rollouts:
        return {}
    value_N = torch.cat([values_of(one) for one in rollouts]).double()
    return_N = torch.cat([one.return_N for one in rollouts]).double()
    variance = float(return_N.var(correction=0))
    missed = float((return_N - value_N).var(correction=0))
    return {"value/explained_var": 1.0 - missed / variance if variance else math.nan}


def _filtered(
    episodes: Sequence[Episode], groups: Sequence[TrainingGroup], kept: Sequence[TrainingGroup]
) -> dict[RolloutKey, str]:
    reasons = {_key(one): "alone in its group" for one in episodes if one.scored}
    reasons |= {_key(one.episode): "equal rewards" for group in groups for one in group.rollouts}
    for group in kept:
        for one in group.rollouts:
            del reasons[_key(one.episode)]
            if not one.num_actions:
                reasons[_key(one.episode)] = "no tokens"
            elif one.masked:
                reasons[_key(one.episode)] = "cut short"
    return reasons


def _key(episode: Episode) -> RolloutKey:
    return episode.group, episode.rollout
