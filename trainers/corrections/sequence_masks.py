"""Whole sequences left out because the engine's policy and the learner's disagree about them.

Shapes: N action tokens.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from proofgym.trainers.losses.terms import Settings, sequence_mean, sequence_sum


class NoSequenceMask(Settings):
    """Keep every sequence."""

    kind: Literal["none"] = "none"


class SequenceMask(Settings):
    """Keep a sequence whose whole probability ratio lies in [low, high]."""

    kind: Literal["sequence"] = "sequence"
    low: float = Field(default=0.5, gt=0, le=1)
    high: float = Field(default=2.0, ge=1)


class GeometricMask(Settings):
    """Keep a sequence whose mean token ratio (geometric) lies in [low, high]."""

    kind: Literal["geometric"] = "geometric"
    low: float = Field(default=0.99, gt=0, le=1)
    high: float = Field(default=1.01, ge=1)


class NoOpsm(Settings):
    """Keep every sequence."""

    kind: Literal["none"] = "none"


class Opsm(Settings):
    """Drop bad sequences that the current policy would hardly draw any more."""

    kind: Literal["opsm"] = "opsm"
    delta: float = Field(default=0.1, gt=0)


SequenceMaskConfig = Annotated[
    GeometricMask | SequenceMask | NoSequenceMask, Field(discriminator="kind")
]
OpsmConfig = Annotated[Opsm | NoOpsm, Field(discriminator="kind")]


def sequence_mask(
    log_w_N: Tensor, sequence_N: Tensor, settings: SequenceMask | GeometricMask
) -> Tensor:
    """Tell for each token whether its sequence stays, bool of shape N.

    The sequence's ratio is exp(sum log w), the geometric one exp(mean log w), with log w = old -
    behaviour.

    Bias: the sequences inside the bounds are all that is learned from. The product needs wide
    bounds (it grows with length); the mean does not depend on length, and is no importance weight.

    Source: masked importance sampling: verl's rollout correction, SkyRL's off-policy notes.
    """
    if isinstance(settings, GeometricMask):
        log_ratio_N = sequence_mean(log_w_N, sequence_N)
    else:
        log_ratio_N = sequence_sum(log_w_N, sequence_N)[sequence_N]
    ratio_N = torch.exp(log_ratio_N)
    return (ratio_N >= settings.low) & (ratio_N <= settings.high)


def opsm_mask(
    logp_N: Tensor,
    behaviour_logp_N: Tensor,
    advantage_N: Tensor,
    sequence_N: Tensor,
    settings: Opsm,
) -> Tensor:
    """Tell for each token whether it stays, bool of shape N.

    A token goes where its advantage is negative and its sequence's mean of (behaviour - logp)
    passes ``delta``: pushing down what is already improbable only destabilises.

    Source: off-policy sequence masking, DeepSeek-V3.2, arXiv:2512.02556, section 3.1.
    """
    drift_N = sequence_mean((behaviour_logp_N - logp_N).detach(), sequence_N)
    return ~((advantage_N < 0) & (drift_N > settings.delta))
