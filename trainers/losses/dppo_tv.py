"""DPPO-TV: a token trains while its probability has not moved too far.

Shapes: N action tokens.
"""

from typing import Literal

import torch
from pydantic import Field

from proofgym.trainers.losses.terms import PolicyTokens, Settings, TokenTerms


class DppoTv(Settings):
    """How far a probability may move in the direction that its advantage pushes it."""

    kind: Literal["dppo_tv"] = "dppo_tv"
    delta: float = Field(default=0.2, gt=0, lt=1)


def dppo_tv(tokens: PolicyTokens, settings: DppoTv) -> TokenTerms:
    """Mask by the difference of probabilities, not by their ratio.

        keep_t = not (A > 0 and pi - mu > delta) and not (A < 0 and mu - pi > delta)
        loss_t = -keep_t r_t A_t,  r = pi / mu

    A rare token's ratio is noisy while its probability hardly moves; the difference is the term
    of the total variation that the sampled token shows.

    Bias: none at r = 1; a masked token has neither loss nor gradient.

    Source: DPPO, arXiv:2602.04879, which takes the engine's own logprobs as mu: set ``anchor =
    "behaviour"``, and no correction.
    """
    ratio_N, advantage_N = torch.exp(tokens.logp_N - tokens.old_logp_N), tokens.advantage_N
    with torch.no_grad():
        moved_N = tokens.logp_N.exp() - tokens.old_logp_N.exp()
        high_N = (advantage_N > 0) & (moved_N > settings.delta)
        low_N = (advantage_N < 0) & (-moved_N > settings.delta)
    kept_N = torch.where(high_N | low_N, 0.0, ratio_N * advantage_N)
    metrics = {
        "clip/low_frac": low_N.sum(),
        "clip/high_frac": high_N.sum(),
        "ratio/mean": ratio_N.detach().sum(),
    }
    return TokenTerms(loss_N=-kept_N, metrics=metrics)
