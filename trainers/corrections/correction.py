"""What a token counts, given who drew it: token weights times sequence masks.

Shapes: N action tokens.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from proofgym.trainers.corrections.sequence_masks import (
    GeometricMask,
    NoOpsm,
    NoSequenceMask,
    Opsm,
    OpsmConfig,
    SequenceMask,
    SequenceMaskConfig,
    opsm_mask,
    sequence_mask,
)
from proofgym.trainers.corrections.token_weights import (
    IcePop,
    Tis,
    TokenWeightsConfig,
    icepop_weights,
    tis_weights,
)
from proofgym.trainers.losses.terms import PolicyTokens, Settings, sequence_sum


class CorrectionConfig(Settings):
    """Up to three corrections, each of its own kind; they multiply."""

    token: TokenWeightsConfig = Tis()
    sequence: SequenceMaskConfig = NoSequenceMask()
    opsm: OpsmConfig = NoOpsm()

    @property
    def none(self) -> bool:
        """Whether nothing is corrected."""
        return {self.token.kind, self.sequence.kind, self.opsm.kind} == {"none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What each token counts, held constant, and what to log; see ``LossSums`` for the kinds."""

    weight_N: Tensor
    metrics: dict[str, Tensor]
    sequence_metrics: dict[str, Tensor] = field(default_factory=dict)
    maxima: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def correct(
    tokens: PolicyTokens, learner_logp_N: Tensor, behaviour_logp_N: Tensor, config: CorrectionConfig
) -> Correction:
    """Weigh tokens by who drew them, and measure the mismatch.

    Args:
        tokens: what the loss sees.
        learner_logp_N: the learner's own logprobs at the start of the step.
        behaviour_logp_N: as the engine recorded them when it sampled.
        config: which corrections.
    """
    log_w_N = learner_logp_N - behaviour_logp_N
    w_N = torch.exp(log_w_N)
    metrics = {
        "mismatch/kl_k3_mean": (w_N - 1.0 - log_w_N).sum(),
        "mismatch/abs_diff_mean": log_w_N.abs().sum(),
        "_sum_weight": w_N.sum(),
        "_sum_weight_squared": w_N.square().sum(),
    }
    sequence_metrics: dict[str, Tensor] = {}
    weight_N = torch.ones_like(w_N)
    if isinstance(config.token, Tis):
        weight_N = tis_weights(log_w_N, config.token)
        metrics["mismatch/tis_clip_frac"] = (w_N > config.token.cap).sum()
    elif isinstance(config.token, IcePop):
        weight_N = icepop_weights(log_w_N, config.token)
        metrics["mismatch/icepop_masked_frac"] = (weight_N == 0).sum()
    if isinstance(config.sequence, SequenceMask | GeometricMask):
        kept_N = sequence_mask(log_w_N, tokens.sequence_N, config.sequence)
        weight_N = torch.where(kept_N, weight_N, 0.0)
        name = "geo_seq" if isinstance(config.sequence, GeometricMask) else "seq"
        sequence_metrics[f"mismatch/{name}_masked_frac"] = _any_sequence(~kept_N, tokens)
    if isinstance(config.opsm, Opsm):
        kept_N = opsm_mask(
            tokens.logp_N, behaviour_logp_N, tokens.advantage_N, tokens.sequence_N, config.opsm
        )
        weight_N = torch.where(kept_N, weight_N, 0.0)
        sequence_metrics["mismatch/opsm_masked_frac"] = _any_sequence(~kept_N, tokens)
    maxima = {"mismatch/abs_diff_max": log_w_N.abs().max()} if log_w_N.numel() else {}
    return Correction(
        weight_N=weight_N, metrics=metrics, sequence_metrics=sequence_metrics, maxima=maxima
    )


def _any_sequence(masked_N: Tensor, tokens: PolicyTokens) -> Tensor:
    return (sequence_sum(masked_N.double(), tokens.sequence_N) > 0).sum()
