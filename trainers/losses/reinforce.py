"""The plain policy gradient.

Shapes: N action tokens.
"""

from typing import Literal

import torch

from proofgym.trainers.losses.terms import PolicyTokens, Settings, TokenTerms


class Reinforce(Settings):
    """No ratio, no clip."""

    kind: Literal["reinforce"] = "reinforce"


def reinforce(tokens: PolicyTokens, settings: Reinforce) -> TokenTerms:
    """Score each token by its advantage: loss_t = -A_t log pi_t.

    Bias: none on policy. Off policy it ignores the drift: take a correction, or a loss with a
    ratio.

    Source: REINFORCE, Williams 1992; for language models: arXiv:2402.14740.
    """
    loss_N = -tokens.advantage_N * tokens.logp_N
    with torch.no_grad():
        ratio_N = torch.exp(tokens.logp_N - tokens.old_logp_N)
    return TokenTerms(loss_N=loss_N, metrics={"ratio/mean": ratio_N.sum()})
