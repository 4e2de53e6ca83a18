"""What the learner and the reference say of a batch before it trains.

Shapes: N action tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from proofgym.trainers.advantages.registry import values_of
from proofgym.trainers.batch import Batch, Weighted, lay_out, micro_batches
from proofgym.trainers.kl import KlConfig, kl_terms
from proofgym.trainers.learner import Learner
from proofgym.trainers.losses.terms import ActionLogprobs
from proofgym.trainers.rollout import Group, Rollout
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.scorer import action_logprobs
from proofgym.trainers.value_head import ValueHead

Score = Callable[[Batch], ActionLogprobs]


def annotate(
    groups: Sequence[Group], config: RlConfig, learner: Learner, reference: nn.Module | None
) -> list[Group]:
    """Score the rollouts where the algorithm needs it.

    The learner's own logprobs anchor the ratio where several updates share a batch (the later ones
    no longer start at the weights that the ratio is over); values are for a critic; the
    reference's logprobs for the KL, which is taken off the rewards here where it belongs there.
    A critic that is kept centred is moved to the mean of these rollouts' returns.
    """
    critic = isinstance(config.critic, ValueHead)
    in_reward = config.kl.beta > 0 and config.kl.place == "reward"
    out = [list(group) for group in groups]
    if config.updates > 1 or critic or in_reward:
        out = _annotated(out, config.token_budget, learner.logprobs, _by_learner)
    if config.kl.beta > 0:
        assert reference is not None, "a stage with a KL keeps a reference"
        model = reference

        def score(batch: Batch) -> ActionLogprobs:
            return action_logprobs(model, batch, learner.device)

        out = _annotated(out, config.token_budget, score, _by_reference)
        if in_reward:
            out = [[_penalised(rollout, config.kl) for rollout in group] for group in out]
    if isinstance(config.critic, ValueHead) and config.critic.centre:
        out = _centred(out, learner)
    return [*out]


def _centred(groups: Sequence[Sequence[Rollout]], learner: Learner) -> list[list[Rollout]]:
    """Move the critic, and the values that it gave, by what the returns are above them."""
    rollouts = [one for group in groups for one in group if one.num_actions]
    if not rollouts:
        return [list(group) for group in groups]
    assert learner.value_head is not None, "a stage with a critic has a learner with one"
    return_N = torch.cat([one.return_N for one in rollouts])
    shift = float((return_N - torch.cat([values_of(one) for one in rollouts])).mean())
    learner.value_head.shift(shift)
    return [[replace(one, value_N=values_of(one) + shift) for one in group] for group in groups]


def _by_learner(rollout: Rollout, logp_N: Tensor, value_N: Tensor | None) -> Rollout:
    return replace(rollout, old_logp_N=logp_N, value_N=value_N)


def _by_reference(rollout: Rollout, logp_N: Tensor, value_N: Tensor | None) -> Rollout:
    return replace(rollout, ref_logp_N=logp_N)


def _penalised(rollout: Rollout, config: KlConfig) -> Rollout:
    assert rollout.old_logp_N is not None, "the learner has scored it"
    assert rollout.ref_logp_N is not None, "the reference has scored it"
    terms_N = kl_terms(rollout.old_logp_N, rollout.ref_logp_N, config.estimator)
    return replace(rollout, kl_penalty_N=config.beta * terms_N)


def _annotated(
    groups: Sequence[Sequence[Rollout]],
    token_budget: int,
    score: Score,
    put: Callable[[Rollout, Tensor, Tensor | None], Rollout],
) -> list[list[Rollout]]:
    """Score every row in micro-batches, and give each rollout its rows' numbers joined."""
    rows = [Weighted(sample=row) for group in groups for rollout in group for row in rollout.rows]
    found: dict[int, Tensor] = {}
    values: dict[int, Tensor] = {}
    for part in micro_batches(rows, token_budget):
        sizes = [one.sample.num_actions for one in part]
        with torch.no_grad():
            scored = score(lay_out(part))
        logps = torch.split(scored.logp_N.cpu(), sizes)
        for one, logp_n in zip(part, logps, strict=True):
            found[id(one.sample)] = logp_n
        if scored.value_N is not None:
            for one, value_n in zip(part, torch.split(scored.value_N.cpu(), sizes), strict=True):
                values[id(one.sample)] = value_n

    def joined(rollout: Rollout) -> Rollout:
        keys = [id(row) for row in rollout.rows]
        logp_N = torch.cat([torch.empty(0), *(found[key] for key in keys)])
        value_N = torch.cat([torch.empty(0), *(values[key] for key in keys)]) if values else None
        return put(rollout, logp_N, value_N)

    return [[joined(rollout) for rollout in group] for group in groups]
