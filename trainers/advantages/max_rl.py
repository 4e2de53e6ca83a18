"""MaxRL: centred rewards over the group's mean, so that rare successes count more.

Shapes: P prompts (groups), G rollouts in a group.
"""

from typing import Literal

import torch
from torch import Tensor

from proofgym.trainers.advantages.group_mean import check_groups, group_mean
from proofgym.trainers.losses.terms import Settings


class MaxRl(Settings):
    """Reward minus the group's mean, over that mean."""

    kind: Literal["max_rl"] = "max_rl"


def max_rl(rewards_PG: Tensor) -> Tensor:
    """Divide the centred rewards by their group's mean: A = (R - mean) / mean.

    Args:
        rewards_PG: one final reward for each rollout, none negative.

    Returns:
        Advantages of shape PG; exact zeros in a flat group, one without a success included.

    Raises:
        ValueError: as for :func:`group_mean`, or a reward is negative, so that the mean says
            nothing about the success rate.

    Bias: it ascends another objective on purpose. For rewards 0 and 1 with success rate p the
    expected gradient is ``(1 - (1 - p)^(G - 1)) / p`` times the gradient of p: that of log p,
    its Maclaurin series cut after G - 1 terms.

    Source: MaxRL, arXiv:2602.02710.
    """
    check_groups(rewards_PG)
    if (rewards_PG < 0).any():
        raise ValueError(
            f"rewards must be at least 0 for max_rl, got {float(rewards_PG.min())}: it divides by "
            "their mean. Use advantage.kind = 'group_mean', or rewards without costs."
        )
    centred_PG = group_mean(rewards_PG)
    mean_P1 = rewards_PG.mean(dim=1, keepdim=True)
    return torch.where(centred_PG == 0, centred_PG, centred_PG / mean_P1)
