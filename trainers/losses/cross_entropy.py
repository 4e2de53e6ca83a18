"""SFT's loss.

Shapes: N demonstrated tokens.
"""

from torch import Tensor

from proofgym.trainers.losses.terms import LossSums


def cross_entropy_loss(logp_N: Tensor, weight_N: Tensor) -> LossSums:
    """Sum weighted negative log-likelihoods: -sum_t c_t logp_t.

    Args:
        logp_N: of the demonstrated tokens; differentiated.
        weight_N: already divided by the global denominator.
    """
    metrics = {"loss/nll_mean": -logp_N.detach().sum()}
    return LossSums(loss=-(weight_N * logp_N).sum(), metrics=metrics, tokens=int(logp_N.numel()))
