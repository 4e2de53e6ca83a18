"""GRPO's advantage: the group's rewards, standardised.

Shapes: P prompts (groups), G rollouts in a group.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from proofgym.trainers.advantages.group_mean import group_mean
from proofgym.trainers.losses.terms import Settings


class GroupStd(Settings):
    """The same over the group's std."""

    kind: Literal["group_std"] = "group_std"
    epsilon: float = Field(default=1e-4, gt=0)


def group_std(rewards_PG: Tensor, *, epsilon: float = 1e-4) -> Tensor:
    """Centre each group and divide by its own spread: A = (R - mean) / (std + epsilon).

    Args:
        rewards_PG: one final reward for each rollout.
        epsilon: keeps a nearly flat group finite; TRL has 1e-4, verl 1e-6.

    Returns:
        Advantages of shape PG; exact zeros in a flat group. The std is the unbiased one (G - 1).

    Raises:
        ValueError: as for :func:`group_mean`.

    Bias: prompts are weighted by how hard they are. For rewards 0 and 1 with success rate p, the
    expected gradient is ``(G - 1)/G * E[s^2 / (s + epsilon)] / (p (1 - p))`` times the gradient of
    p, where s is the group's std: about ``1 / sqrt(p (1 - p))``, so very easy and very hard
    prompts count most.

    Source: GRPO, arXiv:2402.03300, section 4.1; the bias: arXiv:2503.20783, section 3.1.
    """
    return group_mean(rewards_PG) / (rewards_PG.std(dim=1, keepdim=True) + epsilon)
