"""CISPO: the weight is clipped, the gradient never is.

Shapes: N action tokens.
"""

from typing import Literal

import torch
from pydantic import Field

from proofgym.trainers.losses.terms import PolicyTokens, Settings, TokenTerms


class Cispo(Settings):
    """The importance weight's upper bound is 1 + clip_high; there is no lower one."""

    kind: Literal["cispo"] = "cispo"
    clip_high: float = Field(default=4.0, gt=0)


def cispo(tokens: PolicyTokens, settings: Cispo) -> TokenTerms:
    """Score each token by its advantage, times its truncated ratio, which is held constant.

        loss_t = -sg[min(r_t, 1 + high)] A_t log pi_t,  r = exp(logp - old)

    Bias: none at r = 1. Above the bound a token counts less than it should, but still counts.

    Source: MiniMax-M1, arXiv:2506.13585, equations 4 and 5; bounds of 4 to 5: ScaleRL,
    arXiv:2510.13786.
    """
    ratio_N = torch.exp(tokens.logp_N - tokens.old_logp_N).detach()
    bound = 1.0 + settings.clip_high
    loss_N = -ratio_N.clamp(max=bound) * tokens.advantage_N * tokens.logp_N
    metrics = {"clip/high_frac": (ratio_N > bound).sum(), "ratio/mean": ratio_N.sum()}
    return TokenTerms(loss_N=loss_N, metrics=metrics)
