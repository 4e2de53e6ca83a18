"""RLOO: each rollout against the mean of the others.

Shapes: P prompts (groups), G rollouts in a group.
"""

from typing import Literal

from torch import Tensor

from proofgym.trainers.advantages.group_mean import group_mean
from proofgym.trainers.losses.terms import Settings


class LeaveOneOut(Settings):
    """Reward minus the mean of the group's others."""

    kind: Literal["leave_one_out"] = "leave_one_out"


def leave_one_out(rewards_PG: Tensor) -> Tensor:
    """Compare each reward with its group's others: A_i = R_i - mean over j != i of R_j.

    Computed as ``G / (G - 1) * (R_i - mean(R))``, which is the same number.

    Args:
        rewards_PG: one final reward for each rollout.

    Returns:
        Advantages of shape PG; exact zeros in a flat group.

    Raises:
        ValueError: as for :func:`group_mean`.

    Bias: none. The baseline does not depend on the rollout that it is taken from.

    Source: RLOO, arXiv:2402.14740, equation 8.
    """
    size = rewards_PG.shape[-1]
    return group_mean(rewards_PG) * (size / max(size - 1, 1))
