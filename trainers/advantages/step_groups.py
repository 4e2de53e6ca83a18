"""GiGPO: turns that began from the same observation are compared with each other.

Shapes: K turns of one rollout; rollouts differ in K.
"""

from collections.abc import Hashable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from proofgym.trainers.advantages.group_mean import group_mean
from proofgym.trainers.advantages.reinforce_pp import returns_to_go
from proofgym.trainers.losses.terms import Settings


class StepGroups(Settings):
    """Group mean of the episode, plus omega times that of the step."""

    kind: Literal["step_groups"] = "step_groups"
    gamma: float = Field(default=0.95, gt=0, le=1)
    omega: float = Field(default=1.0, ge=0)


def step_groups(
    rewards: Sequence[Tensor],
    anchors: Sequence[Sequence[Hashable]],
    *,
    gamma: float = 0.95,
    omega: float = 1.0,
) -> list[Tensor]:
    """Add what the episode and what the step was worth: A = A_episode + omega * A_step.

    A_episode centres the rollouts' total rewards. A_step centres the discounted return from a
    turn on the mean over all turns of the group, whichever rollout or position, that began from
    the same observation; a turn whose observation came once gets 0.

    Args:
        rewards: of one group; of each rollout a reward for each of its K turns.
        anchors: likewise, what was observed right before each turn.
        gamma: discount for each turn.
        omega: weight of the step's part.

    Returns:
        An advantage for each turn.

    Raises:
        ValueError: the group has fewer than two rollouts, or a reward is not finite.

    Bias: A_episode's is :func:`group_mean`'s. A_step's baseline includes the turn itself, and
    later turns of its own rollout where an observation comes again; an observation is taken for
    the state, which it is only where nothing before it matters.

    Source: GiGPO, arXiv:2505.10978, equations 5 to 8, without the division by the std.
    """
    totals_1G = torch.stack([one.sum() for one in rewards])[None] if rewards else torch.empty(1, 0)
    episode_G = group_mean(totals_1G)[0]
    returns = [returns_to_go(one, gamma=gamma) for one in rewards]
    members: dict[Hashable, list[tuple[int, int]]] = {}
    for i, keys in enumerate(anchors):
        for k, key in enumerate(keys):
            members.setdefault(key, []).append((i, k))
    steps = [torch.zeros_like(one) for one in returns]
    for places in members.values():
        if len(places) >= 2:
            centred = group_mean(torch.stack([returns[i][k] for i, k in places])[None])[0]
            for (i, k), advantage in zip(places, centred, strict=True):
                steps[i][k] = advantage
    return [a + omega * step for a, step in zip(episode_G, steps, strict=True)]
