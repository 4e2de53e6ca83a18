"""Each turn against the same turn of the group's other rollouts.

Shapes: K turns of one rollout; rollouts differ in K.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from proofgym.trainers.advantages.reinforce_pp import returns_to_go
from proofgym.trainers.losses.terms import Settings


class TurnReturns(Settings):
    """Each turn's return minus the mean of the group's at that turn."""

    kind: Literal["turn_returns"] = "turn_returns"
    gamma: float = Field(default=1.0, gt=0, le=1)


def turn_returns(rewards: Sequence[Tensor], *, gamma: float = 1.0) -> list[Tensor]:
    """Centre each turn's discounted return on the mean over the rollouts that reached the turn.

    Args:
        rewards: of one group; of each rollout a reward for each of its K turns.
        gamma: discount for each turn.

    Returns:
        An advantage for each turn. A turn that one rollout alone reached gets 0: nothing to
        compare it with.

    Raises:
        ValueError: the group has fewer than two rollouts, or a reward is not finite.

    Bias: at gamma 1, turn k's expected gradient is ``E[(n - 1)/n]`` of its true one, where n is
    how many rollouts, the one in question included, reached turn k. Below 1, later turns are
    worth as much as early ones (the factor gamma^k of the discounted objective is left out, as
    everywhere in the field).

    Source: turn-level credit, arXiv:2505.11821; discount as in GiGPO, arXiv:2505.10978.
    """
    if len(rewards) < 2:
        raise ValueError(
            f"a group must have at least 2 rollouts, got {len(rewards)}. Raise group_size."
        )
    if not all(bool(torch.isfinite(one).all()) for one in rewards):
        raise ValueError("rewards must be finite, got nan or inf. Leave unscored rollouts out.")
    returns = [returns_to_go(one, gamma=gamma) for one in rewards]
    out = [torch.zeros_like(one) for one in returns]
    for k in range(max(len(one) for one in returns)):
        reached = [i for i, one in enumerate(returns) if len(one) > k]
        at_k = torch.stack([returns[i][k] for i in reached])
        centred = torch.where((at_k == at_k[0]).all(), 0.0 * at_k, at_k - at_k.mean())
        for i, advantage in zip(reached, centred, strict=True):
            out[i][k] = advantage
    return out
