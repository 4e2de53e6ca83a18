"""SAPO: a soft gate in place of a clip.

Shapes: N action tokens.
"""

from typing import Literal

import torch
from pydantic import Field

from proofgym.trainers.losses.terms import PolicyTokens, Settings, TokenTerms


class Sapo(Settings):
    """How fast the gradient fades as the ratio leaves 1, for good and for bad tokens."""

    kind: Literal["sapo"] = "sapo"
    tau_positive: float = Field(default=1.0, gt=0)
    tau_negative: float = Field(default=1.05, gt=0)


def sapo(tokens: PolicyTokens, settings: Sapo) -> TokenTerms:
    """Pass the ratio through a sigmoid around 1.

        loss_t = -A_t (4 / tau) sigmoid(tau (r_t - 1)),  r = exp(logp - old)

    tau is ``tau_positive`` where A > 0, else ``tau_negative``.

    Bias: none at r = 1, where the gate's slope is 1 (its value is 2 / tau, a constant). Away
    from it the gradient is ``4 sigmoid (1 - sigmoid)`` of the unclipped one, and never zero.

    Source: SAPO, arXiv:2511.20347, equations 5 and 6.
    """
    ratio_N, advantage_N = torch.exp(tokens.logp_N - tokens.old_logp_N), tokens.advantage_N
    tau_N = torch.where(advantage_N > 0, settings.tau_positive, settings.tau_negative)
    tau_N = tau_N.to(ratio_N.dtype)
    gate_N = torch.sigmoid(tau_N * (ratio_N - 1.0)) * (4.0 / tau_N)
    return TokenTerms(loss_N=-gate_N * advantage_N, metrics={"ratio/mean": ratio_N.detach().sum()})
