"""How much better than expected an episode was: one number an episode, from its group's rewards.

Shapes: P prompts (groups), G rollouts in a group.
"""

from typing import Literal

import torch
from torch import Tensor

from proofgym.trainers.losses.terms import Settings


class GroupMean(Settings):
    """Reward minus the group's mean."""

    kind: Literal["group_mean"] = "group_mean"


def group_mean(rewards_PG: Tensor) -> Tensor:
    """Centre each prompt's rewards on the mean of its own group: A = R - mean(R).

    Args:
        rewards_PG: one final reward for each rollout; G may differ where groups are passed one
            by one with P = 1.

    Returns:
        Advantages of shape PG. A group whose rewards are all equal gets exact zeros: it carries
        no signal, and the caller decides whether to drop it.

    Raises:
        ValueError: G is below 2, so that there is no baseline to compare with; or a reward is
            not finite.

    The mean includes the rollout itself, so the expected gradient is (G - 1)/G of the true one:
    a constant factor, which leave-one-out removes.

    Source: Dr. GRPO, arXiv:2503.20783, section 3.2 (GRPO, arXiv:2402.03300, also divides by the
    group's standard deviation, which over-weights very easy and very hard prompts).
    """
    check_groups(rewards_PG)
    flat_P1 = (rewards_PG == rewards_PG[:, :1]).all(dim=1, keepdim=True)
    centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    return torch.where(flat_P1, torch.zeros_like(centred_PG), centred_PG)


def check_groups(rewards_PG: Tensor) -> None:
    """Refuse rewards that have no group baseline.

    Raises:
        ValueError: G is below 2, or a reward is not finite.
    """
    if rewards_PG.dim() != 2 or rewards_PG.shape[1] < 2:
        raise ValueError(
            f"rewards must have shape [prompts, group] with group >= 2, got "
            f"{list(rewards_PG.shape)}. With one rollout a prompt there is no group baseline; "
            "raise group_size."
        )
    if not torch.isfinite(rewards_PG).all():
        raise ValueError("rewards must be finite, got nan or inf. Leave unscored rollouts out.")
