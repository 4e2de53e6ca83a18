"""PPO's clipped surrogate, with bounds of its own on each side and a dual clip.

Shapes: N action tokens.
"""

from typing import Literal

import torch
from pydantic import Field

from proofgym.trainers.losses.terms import PolicyTokens, Settings, TokenTerms, clip_fractions


class PpoClip(Settings):
    """Bounds: the ratio stays in [1 - clip_low, 1 + clip_high].

    ``dual_clip`` bounds the loss of bad tokens whose ratio has run away; a very large number
    turns it off.
    """

    kind: Literal["ppo_clip"] = "ppo_clip"
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    dual_clip: float = Field(default=3.0, gt=1)


def ppo_clip(tokens: PolicyTokens, settings: PpoClip) -> TokenTerms:
    """Bound the surrogate from the side where it has nothing more to gain.

    With r = exp(logp - old):

        surrogate = min(r A, clip(r, 1 - low, 1 + high) A)
        where A < 0, surrogate = max(surrogate, dual_clip * A)
        loss_t = -surrogate_t

    Bias: none at r = 1. Off policy, a clipped token has no gradient, and the states are those of
    the old policy.

    Source: PPO, arXiv:1707.06347, equation 7; separate bounds: DAPO, arXiv:2503.14476; dual clip:
    arXiv:1912.09729, equation 5.
    """
    advantage_N = tokens.advantage_N
    low, high = 1.0 - settings.clip_low, 1.0 + settings.clip_high
    ratio_N = torch.exp(tokens.logp_N - tokens.old_logp_N)
    surrogate_N = torch.minimum(ratio_N * advantage_N, ratio_N.clamp(low, high) * advantage_N)
    negative_N = advantage_N < 0
    floor_N = settings.dual_clip * advantage_N
    surrogate_N = torch.where(negative_N, torch.maximum(surrogate_N, floor_N), surrogate_N)
    metrics = clip_fractions(ratio_N, advantage_N, low, high)
    metrics["clip/dual_frac"] = (negative_N & (ratio_N > settings.dual_clip)).sum()
    return TokenTerms(loss_N=-surrogate_N, metrics=metrics)
