"""Group-centred rewards over the spread of the whole batch's rewards.

Shapes: G rollouts in a group; groups may differ in size.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from proofgym.trainers.advantages.group_mean import group_mean
from proofgym.trainers.losses.terms import Settings


class BatchStd(Settings):
    """Reward minus the group's mean, over the batch's std."""

    kind: Literal["batch_std"] = "batch_std"
    epsilon: float = Field(default=1e-4, gt=0)


def batch_std(groups: Sequence[Tensor], *, epsilon: float = 1e-4) -> list[Tensor]:
    """Centre each group on its own mean, divide by the std of all rewards of the batch.

    Args:
        groups: the rewards of each group, of shape G; flat groups belong to the batch too.
        epsilon: keeps a nearly flat batch finite.

    Returns:
        Advantages, of the groups' shapes. The std is the unbiased one, over the raw rewards.

    Raises:
        ValueError: as for :func:`group_mean`.

    Bias: with the std held fixed, that of :func:`group_mean` ((G - 1)/G) over the std, one factor
    for every prompt, so that none is favoured. The std does vary with the very rewards that it
    divides; for one group the batch's is the group's, and the bias that of :func:`group_std`.

    Source: Lite PPO, arXiv:2508.08221, section 4.1 (ScaleRL, arXiv:2510.13786, takes the std of
    the centred rewards instead, which leaves out how prompts differ).
    """
    centred = [group_mean(rewards_G[None])[0] for rewards_G in groups]
    if not centred:
        return []
    spread = torch.cat(list(groups)).std()
    return [centred_G / (spread + epsilon) for centred_G in centred]
