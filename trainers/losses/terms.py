"""What goes into a loss and what comes out of it.

Shapes: N action tokens, of any number of sequences.
"""

from dataclasses import dataclass, field

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor


class Settings(BaseModel):
    """Base of the settings of losses and corrections: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLogprobs:
    """What the model says of the sampled tokens.

    Args:
        logp_N: logprobs, at least float32, at the batch's temperature; differentiable.
        entropy_N: of the distribution that each was drawn from, in nats; differentiable only
            where that was asked for.
        value_N: what the critic expects before each token; None without a critic.
    """

    logp_N: Tensor
    entropy_N: Tensor
    value_N: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTokens:
    """Action tokens, as a policy loss sees them.

    Args:
        logp_N: under the current weights; differentiated.
        old_logp_N: the anchor of the ratio: under the weights at the start of the step, or as the
            engine recorded them.
        advantage_N: of each token.
        sequence_N: int64, which sequence of the micro-batch each token belongs to. A sequence is
            one row that the model saw, and is never split over micro-batches.
    """

    logp_N: Tensor
    old_logp_N: Tensor
    advantage_N: Tensor
    sequence_N: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """A loss before it is weighted and summed.

    Args:
        loss_N: a term for each token; to be multiplied by the token's weight.
        metrics: plain sums over tokens.
    """

    loss_N: Tensor
    metrics: dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSums:
    """A loss and what to log of it.

    Args:
        loss: the weighted sum, to be differentiated.
        metrics: plain sums over tokens; divide by ``tokens`` for means. A name that begins with
            ``_`` is part of another number and is not logged.
        tokens: how many tokens were summed.
        sequence_metrics: plain sums over sequences; divide by ``sequences``.
        sequences: how many sequences were summed.
        maxima: combined by the larger one.
    """

    loss: Tensor
    metrics: dict[str, Tensor]
    tokens: int
    sequence_metrics: dict[str, Tensor] = field(default_factory=dict)
    sequences: int = 0
    maxima: dict[str, Tensor] = field(default_factory=dict)


def sequence_sum(value_N: Tensor, sequence_N: Tensor) -> Tensor:
    """Sum over each sequence's tokens; the result has one number for each sequence."""
    sequences = int(sequence_N.max()) + 1 if sequence_N.numel() else 0
    return value_N.new_zeros(sequences).index_add(0, sequence_N, value_N)


def sequence_mean(value_N: Tensor, sequence_N: Tensor) -> Tensor:
    """Take the mean over each sequence's tokens and give it to each of them, shape N."""
    count_S = sequence_sum(torch.ones_like(value_N), sequence_N).clamp(min=1)
    return (sequence_sum(value_N, sequence_N) / count_S)[sequence_N]


def clip_fractions(
    ratio_N: Tensor, advantage_N: Tensor, low: float, high: float
) -> dict[str, Tensor]:
    """Count the tokens whose gradient a two-sided clip cuts off, and sum the ratio."""
    with torch.no_grad():
        return {
            "clip/low_frac": ((advantage_N < 0) & (ratio_N < low)).sum(),
            "clip/high_frac": ((advantage_N > 0) & (ratio_N > high)).sum(),
            "ratio/mean": ratio_N.detach().sum(),
        }
