"""The advantage estimators by their kind. A new one is a file, and a line in each table here."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from proofgym.trainers.advantages.batch_std import BatchStd, batch_std
from proofgym.trainers.advantages.gae import Gae, gae
from proofgym.trainers.advantages.group_mean import GroupMean, group_mean
from proofgym.trainers.advantages.group_std import GroupStd, group_std
from proofgym.trainers.advantages.leave_one_out import LeaveOneOut, leave_one_out
from proofgym.trainers.advantages.max_rl import MaxRl, max_rl
from proofgym.trainers.advantages.reinforce_pp import ReinforcePp, reinforce_pp, whiten
from proofgym.trainers.advantages.step_groups import StepGroups, step_groups
from proofgym.trainers.advantages.turn_returns import TurnReturns, turn_returns
from proofgym.trainers.rollout import Group, Rollout

AdvantageConfig = Annotated[
    GroupMean
    | GroupStd
    | BatchStd
    | LeaveOneOut
    | MaxRl
    | ReinforcePp
    | Gae
    | TurnReturns
    | StepGroups,
    Field(discriminator="kind"),
]

Estimator = Callable[[Sequence[Group], Any], list[list[Tensor]]]
"""For each rollout of each group: one number, or one for each of its N action tokens."""


def _rewards(group: Group) -> Tensor:
    return torch.tensor([rollout.reward for rollout in group])


def _each_group(estimate: Callable[[Tensor, Any], Tensor]) -> Estimator:
    """Lift a function of one group's rewards, of shape [1, G]."""

    def estimator(groups: Sequence[Group], settings: Any) -> list[list[Tensor]]:
        return [list(estimate(_rewards(group)[None], settings)[0]) for group in groups]

    return estimator


def _batch_std(groups: Sequence[Group], settings: BatchStd) -> list[list[Tensor]]:
    found = batch_std([_rewards(group) for group in groups], epsilon=settings.epsilon)
    return [list(advantage_G) for advantage_G in found]


def _reinforce_pp(groups: Sequence[Group], settings: ReinforcePp) -> list[list[Tensor]]:
    rewards: list[Tensor] = []
    for group in groups:
        totals_G = _rewards(group)
        centre = totals_G.mean() if settings.baseline else totals_G.new_zeros(())
        for rollout in group:
            reward_N = rollout.reward_N
            if len(reward_N):
                reward_N[-1] -= centre
            rewards.append(reward_N)
    return _regrouped(reinforce_pp(rewards, gamma=settings.gamma), groups)


def _gae(groups: Sequence[Group], settings: Gae) -> list[list[Tensor]]:
    rollouts = [rollout for group in groups for rollout in group]
    found = [
        gae(rollout.reward_N, values_of(rollout), gamma=settings.gamma, lam=settings.lam)
        for rollout in rollouts
    ]
    return _regrouped(whiten(found) if settings.whiten else found, groups)


def _turn_returns(groups: Sequence[Group], settings: TurnReturns) -> list[list[Tensor]]:
    return [
        _spread(group, turn_returns([one.reward_K for one in group], gamma=settings.gamma))
        for group in groups
    ]


def _step_groups(groups: Sequence[Group], settings: StepGroups) -> list[list[Tensor]]:
    out: list[list[Tensor]] = []
    for group in groups:
        rewards, anchors = [one.reward_K for one in group], [one.anchor_K for one in group]
        found = step_groups(rewards, anchors, gamma=settings.gamma, omega=settings.omega)
        out.append(_spread(group, found))
    return out


def values_of(rollout: Rollout) -> Tensor:
    """Return the critic's values, which GAE cannot do without."""
    assert rollout.value_N is not None, "the critic scores a batch before its advantages"
    return rollout.value_N.to(torch.get_default_dtype())


def _spread(group: Group, turn_advantages: Sequence[Tensor]) -> list[Tensor]:
    """Give each turn's advantage to its tokens."""
    pairs = zip(group, turn_advantages, strict=True)
    return [advantage_K[rollout.turn_N] for rollout, advantage_K in pairs]


def _regrouped(found: Sequence[Tensor], groups: Sequence[Group]) -> list[list[Tensor]]:
    left = iter(found)
    return [[next(left) for _ in group] for group in groups]


ESTIMATORS: dict[str, Estimator] = {
    "group_mean": _each_group(lambda rewards_1G, _: group_mean(rewards_1G)),
    "group_std": _each_group(lambda rewards_1G, s: group_std(rewards_1G, epsilon=s.epsilon)),
    "batch_std": _batch_std,
    "leave_one_out": _each_group(lambda rewards_1G, _: leave_one_out(rewards_1G)),
    "max_rl": _each_group(lambda rewards_1G, _: max_rl(rewards_1G)),
    "reinforce_pp": _reinforce_pp,
    "gae": _gae,
    "turn_returns": _turn_returns,
    "step_groups": _step_groups,
}

WITHOUT_A_GROUP = frozenset({"gae", "reinforce_pp"})
"""Estimators that need no second rollout of a task to compare with."""
