"""REINFORCE++: returns whitened over all tokens of the global batch.

Shapes: N action tokens of one rollout; rollouts differ in length.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from proofgym.trainers.losses.terms import Settings


class ReinforcePp(Settings):
    """Returns whitened over the batch; ``baseline`` subtracts the group's mean first."""

    kind: Literal["reinforce_pp"] = "reinforce_pp"
    gamma: float = Field(default=1.0, gt=0, le=1)
    baseline: bool = False


def returns_to_go(reward_N: Tensor, *, gamma: float = 1.0) -> Tensor:
    """Sum what comes from each action token on: G_t = r_t + gamma * G_{t+1}.

    Only action tokens are steps: what was read between them takes no discount.
    """
    if gamma == 1.0:
        return reward_N.flip(0).cumsum(0).flip(0)
    out_N = torch.empty_like(reward_N)
    running = reward_N.new_zeros(())
    for t in range(len(reward_N) - 1, -1, -1):
        running = reward_N[t] + gamma * running
        out_N[t] = running
    return out_N


def whiten(rollouts: Sequence[Tensor], *, epsilon: float = 1e-8) -> list[Tensor]:
    """Shift and scale all tokens of the batch to mean 0 and (biased) variance 1.

    Bias: the shift is a baseline that the rollout itself is part of, and the scale depends on it
    too; both effects fall as 1 / (tokens of the batch).

    Source: REINFORCE++, arXiv:2501.03262, section 3 (masked whitening, as in OpenRLHF).
    """
    if not rollouts:
        return []
    all_N = torch.cat(list(rollouts))
    if all_N.numel() == 0:
        return list(rollouts)
    mean, variance = all_N.mean(), all_N.var(correction=0)
    flat = bool((all_N == all_N[0]).all())  # rounding of the mean must not become a signal
    scale = torch.rsqrt(variance + epsilon)
    return [torch.zeros_like(one_N) if flat else (one_N - mean) * scale for one_N in rollouts]


def reinforce_pp(rewards: Sequence[Tensor], *, gamma: float = 1.0) -> list[Tensor]:
    """Take each token's return to go and whiten over the batch.

    Args:
        rewards: of each rollout, one for each action token (the token-level KL penalty included).
        gamma: discount for each action token.

    Returns:
        An advantage for each action token.

    Bias: that of :func:`whiten`. With rewards 0 and 1 at the end, rollouts of one length and one
    prompt, the expected gradient is ``E[v / sqrt(v + epsilon)] / (p (1 - p))`` times that of the
    success rate p, where v is the batch's (biased) variance.

    Source: REINFORCE++, arXiv:2501.03262, equations 5 to 8.
    """
    return whiten([returns_to_go(reward_N, gamma=gamma) for reward_N in rewards])
