"""Generalised advantage estimation over action tokens.

Shapes: N action tokens of one rollout, in order, over all its rows.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from proofgym.trainers.losses.terms import Settings


class Gae(Settings):
    """Against a critic.

    ``lam_critic`` makes the critic's targets: 1 is the return itself, without bias. ``whiten``
    shifts and scales the advantages over the batch.
    """

    kind: Literal["gae"] = "gae"
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    lam_critic: float = Field(default=1.0, ge=0, le=1)
    whiten: bool = True


def gae(reward_N: Tensor, value_N: Tensor, *, gamma: float = 1.0, lam: float = 0.95) -> Tensor:
    """Sum discounted temporal differences: A_t = sum_l (gamma lam)^l delta_{t+l}.

    With ``delta_t = r_t + gamma V_{t+1} - V_t``, and V 0 behind the last action. Token t + 1 is
    the next *action*: tokens that the policy only read are no steps. As zero-reward steps they
    would decay lam over a tool's output, and read values where nothing was decided.

    Args:
        reward_N: of each action token.
        value_N: what the critic expected before each action token was drawn.
        gamma: discount for each action token.
        lam: 1 is the return minus the value, 0 the one-step difference.

    Returns:
        Advantages of shape N. The critic's targets are ``advantages + value_N``.

    Raises:
        ValueError: the lengths differ, or a number is not finite.

    Bias (gamma 1): none at lam = 1, whatever the values (they are a baseline), and none at any
    lam where the values are exact. Else, with e_t = V_t - V*_t, each token's expected advantage is
    off by ``(1 - lam) * sum_{l>=1} lam^(l-1) e_{t+l}``; the term -e_t is a baseline and drops out.

    Source: GAE, arXiv:1506.02438, equation 16; VAPO, arXiv:2504.05118.
    """
    if reward_N.shape != value_N.shape or reward_N.dim() != 1:
        raise ValueError(
            f"rewards and values must have one number for each action token, got "
            f"{list(reward_N.shape)} and {list(value_N.shape)}."
        )
    if not (torch.isfinite(reward_N).all() and torch.isfinite(value_N).all()):
        raise ValueError("rewards and values must be finite, got nan or inf. Look at the critic.")
    out_N = torch.empty_like(reward_N)
    running = next_value = reward_N.new_zeros(())
    for t in range(len(reward_N) - 1, -1, -1):
        delta = reward_N[t] + gamma * next_value - value_N[t]
        running = delta + gamma * lam * running
        out_N[t], next_value = running, value_N[t]
    return out_N
