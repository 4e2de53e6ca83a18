"""How far the policy has moved from a reference: estimators, and where their gradient points.

Shapes: N action tokens.
"""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from proofgym.trainers.losses.terms import Settings


class KlConfig(Settings):
    """The price of leaving the reference, the policy that the stage starts from.

    ``beta`` 0 is none. In the ``reward`` it is part of what the episode earns; in the ``loss`` a
    term of its own. ``unbiased`` gives k3 in the loss the gradient of KL(policy || reference);
    without it, it has that of KL(reference || policy), as most trainers do.
    """

    beta: float = Field(default=0.0, ge=0, description="0: no reference is kept")
    estimator: Literal["k1", "k2", "k3"] = "k3"
    place: Literal["loss", "reward"] = "loss"
    unbiased: bool = Field(default=True, description="of k3 in the loss")

    @model_validator(mode="after")
    def _has_the_gradient_it_promises(self) -> "KlConfig":
        if self.place == "loss" and self.estimator == "k1":
            raise ValueError(
                "kl.estimator must be k2 or k3 where kl.place is 'loss', got k1: its gradient "
                "there is the score alone, whose expectation is zero, so it would add noise and "
                "hold nothing back. Use kl.place = 'reward', or k3 in the loss"
            )
        if self.place == "reward" and self.estimator != "k1":
            raise ValueError(
                f"kl.estimator must be k1 where kl.place is 'reward', got {self.estimator}: as a "
                "reward, k3's gradient is that of KL(policy || reference) - KL(reference || policy)"
                ", and k2's that of E[d^2] / 2 - KL(policy || reference). Use k1"
            )
        return self


def kl_terms(logp_N: Tensor, ref_logp_N: Tensor, estimator: str) -> Tensor:
    """Estimate KL(policy || reference) from each sampled token.

    With d = logp - ref: k1 = d, k2 = d^2 / 2, k3 = exp(-d) - 1 + d. In expectation over the policy
    k1 and k3 are KL(policy || reference); k2 is not (it is close where the two are).

    Gradient, as a plain term of a loss, on policy, at each state: k1 zero (pure noise), k2 exactly
    that of KL(policy || reference), k3 exactly that of KL(reference || policy).

    Source: Schulman, "Approximating KL divergence"; the gradients: arXiv:2506.09477, and by
    enumeration in tests/trainers/test_enumeration.py.
    """
    d_N = logp_N - ref_logp_N
    if estimator == "k1":
        return d_N
    if estimator == "k2":
        return 0.5 * d_N.square()
    return torch.exp(-d_N) - 1.0 + d_N


def kl_loss(logp_N: Tensor, old_logp_N: Tensor, ref_logp_N: Tensor, config: KlConfig) -> Tensor:
    """Make the loss's term for each token; beta is not in it.

    Unbiased k3 is multiplied by the ratio r = exp(logp - old): its gradient is then the score
    times k3 plus k3's own, together exactly that of KL(policy || reference) at each state. k2 needs
    no ratio on policy. Neither counts how the policy changes which states are met: the KL in the
    reward does.

    Source: as TRL's ``use_bias_correction_kl``; DeepSeek-V3.2, arXiv:2512.02556, section 3.1.
    """
    terms_N = kl_terms(logp_N, ref_logp_N, config.estimator)
    if config.estimator == "k3" and config.unbiased:
        return torch.exp(logp_N - old_logp_N) * terms_N
    return terms_N
