"""Weights for tokens that another policy drew than the ratio is anchored at.

The engine samples with other kernels, and with older weights, than the learner scores with. With
old the learner's logprob at the start of the step and mu the engine's, w = exp(old - mu).

Shapes: N action tokens.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from proofgym.trainers.losses.terms import Settings


class NoTokenWeights(Settings):
    """Train on what was sampled as if the learner had sampled it."""

    kind: Literal["none"] = "none"


class Tis(Settings):
    """Truncated importance sampling: a token counts w times, at most ``cap``."""

    kind: Literal["tis"] = "tis"
    cap: float = Field(default=2.0, ge=1)


class IcePop(Settings):
    """A token counts w times where w lies in [low, high], and not at all elsewhere."""

    kind: Literal["icepop"] = "icepop"
    low: float = Field(default=0.5, gt=0, le=1)
    high: float = Field(default=5.0, ge=1)


TokenWeightsConfig = Annotated[Tis | IcePop | NoTokenWeights, Field(discriminator="kind")]


def tis_weights(log_w_N: Tensor, settings: Tis) -> Tensor:
    """Truncate from above: min(w, cap).

    Bias: each token is corrected at its own state only (the states stay the engine's), and above
    the cap too little. Exact for one-token episodes below the cap.

    Source: arXiv:1606.02647 (Retrace); for engines: "Your efficient RL framework secretly brings
    you off-policy RL training", Yao et al. 2025.
    """
    return torch.exp(log_w_N).clamp(max=settings.cap)


def icepop_weights(log_w_N: Tensor, settings: IcePop) -> Tensor:
    """Mask from both sides: w where low <= w <= high, else 0.

    Bias: as :func:`tis_weights` inside the bounds; tokens outside are lost.

    Source: IcePop, arXiv:2510.18855.
    """
    w_N = torch.exp(log_w_N)
    return torch.where((w_N >= settings.low) & (w_N <= settings.high), w_N, 0.0)
