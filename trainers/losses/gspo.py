"""GSPO: one ratio for a whole sequence.

Shapes: N action tokens.
"""

from typing import Literal

import torch
from pydantic import Field

from proofgym.trainers.losses.terms import (
    PolicyTokens,
    Settings,
    TokenTerms,
    clip_fractions,
    sequence_mean,
)


class Gspo(Settings):
    """Bounds of the sequence's ratio; the token form allows an advantage for each token."""

    kind: Literal["gspo"] = "gspo"
    clip_low: float = Field(default=3e-4, gt=0, lt=1)
    clip_high: float = Field(default=4e-4, gt=0)
    token_form: bool = False


def gspo(tokens: PolicyTokens, settings: Gspo) -> TokenTerms:
    """Clip by the geometric mean of a sequence's ratios.

    With s = exp(mean over the sequence's tokens of (logp - old)):

        loss_t = -min(s A_t, clip(s, 1 - low, 1 + high) A_t)

    for every token of the sequence, so that the weights decide what a sequence counts (the paper's
    is the sequence mean). The token form has the same value, with s replaced by
    ``sg[s] * pi_t / sg[pi_t]``: each token's gradient then carries its own advantage.

    Bias: none at s = 1 (the gradient is REINFORCE's). Off policy, s is no importance weight: it is
    the 1/length power of one.

    Source: GSPO, arXiv:2507.18071, equations 5 to 7; token form: equations 13 and 14. A row that
    the model saw is the sequence; an episode whose history was rewritten has several.
    """
    low, high = 1.0 - settings.clip_low, 1.0 + settings.clip_high
    log_s_N = sequence_mean(tokens.logp_N - tokens.old_logp_N, tokens.sequence_N)
    if settings.token_form:
        log_s_N = log_s_N.detach() + tokens.logp_N - tokens.logp_N.detach()
    ratio_N, advantage_N = torch.exp(log_s_N), tokens.advantage_N
    surrogate_N = torch.minimum(ratio_N * advantage_N, ratio_N.clamp(low, high) * advantage_N)
    return TokenTerms(loss_N=-surrogate_N, metrics=clip_fractions(ratio_N, advantage_N, low, high))
