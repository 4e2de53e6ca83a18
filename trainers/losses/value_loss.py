"""The critic's regression, with a clip like the policy's.

Shapes: N action tokens.
"""

import torch
from torch import Tensor

from proofgym.trainers.losses.terms import TokenTerms


def value_loss(
    value_N: Tensor, old_value_N: Tensor, return_N: Tensor, *, clip: float
) -> TokenTerms:
    """Take half the squared error, the worse of the plain and the clipped prediction.

        loss_t = 1/2 max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2)

    Args:
        value_N: of the critic now; differentiated.
        old_value_N: of the critic at the start of the step.
        return_N: the targets, held constant.
        clip: how far a value may move in a step before its gradient stops; infinity: no bound.

    Returns:
        A term for each token. At V = V_old its gradient is V - R, whose zero in expectation is
        the expected return: the critic's fixed point.

    Source: PPO's reference implementation (openai/baselines, ppo2); in the units of the reward.
    """
    moved_N = value_N.clamp(old_value_N - clip, old_value_N + clip)
    plain_N, clipped_N = (value_N - return_N).square(), (moved_N - return_N).square()
    loss_N = 0.5 * torch.maximum(plain_N, clipped_N)
    with torch.no_grad():
        metrics = {
            "loss/value": loss_N.detach().sum(),
            "value/mean": value_N.detach().sum(),
            "value/clip_frac": (clipped_N > plain_N).sum(),
        }
    return TokenTerms(loss_N=loss_N, metrics=metrics)
