"""What a token weighs in the loss, so that the loss itself never divides."""

from collections.abc import Sequence
from typing import Literal

Normaliser = Literal["token_mean", "sequence_mean", "prompt_mean", "sequence_sum", "constant"]


def token_weights(
    counts: Sequence[Sequence[int]], normaliser: Normaliser, *, max_tokens: int
) -> list[list[float]]:
    """Weigh the tokens of every rollout, once over the global batch.

    With n action tokens in a rollout, E rollouts and P prompts that have any, and L = max_tokens:

        token_mean     1 / (sum of n)                DAPO, arXiv:2503.14476, section 3.3
        sequence_mean  1 / (E n)                     GRPO, arXiv:2402.03300
        prompt_mean    1 / (P * sum of n of its prompt)      ScaleRL, arXiv:2510.13786
        sequence_sum   1 / E                         REINFORCE and RLOO, arXiv:2402.14740
        constant       1 / (E L)                     Dr. GRPO, arXiv:2503.20783

    Args:
        counts: action tokens of each rollout of each prompt; 0 where it is left out of the loss,
            which leaves it out of every denominator too.
        normaliser: which.
        max_tokens: L.

    Returns:
        The weight of each token of each rollout, in the shape of ``counts``.

    Raises:
        ValueError: there is no action token, so there is nothing to train on.

    Bias: sequence_sum is the gradient of the expected reward; constant is that over L.
    sequence_mean is the gradient of E[(R - b)/n] with n held fixed: long wrong answers are punished
    less. token_mean and prompt_mean divide by a random sum, so a rollout weighs less in a batch of
    long ones; all are proportional to the true gradient where every rollout has the same length.
    """
    rollouts = [n for group in counts for n in group if n]
    if not rollouts:
        raise ValueError(
            "the batch must hold at least one sampled token, got none. Filter empty episodes out."
        )
    tokens, episodes = sum(rollouts), len(rollouts)
    prompts = sum(any(group) for group in counts)

    def weight(n: int, group: Sequence[int]) -> float:
        if n == 0:
            return 0.0
        match normaliser:
            case "token_mean":
                return 1.0 / tokens
            case "sequence_mean":
                return 1.0 / (episodes * n)
            case "prompt_mean":
                return 1.0 / (prompts * sum(group))
            case "sequence_sum":
                return 1.0 / episodes
            case "constant":
                return 1.0 / (episodes * max_tokens)

    return [[weight(n, group) for n in group] for group in counts]
