"""The critic: one number for what is still to come, from the policy's last hidden state.

Shapes: N action tokens, H hidden size.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from proofgym.trainers.losses.terms import Settings


class NoCritic(Settings):
    """No value function: rollouts are compared with each other."""

    kind: Literal["none"] = "none"


class ValueHead(Settings):
    """A linear value head on the policy's last hidden state.

    ``coefficient`` weighs its loss; ``clip`` is how far a value may move in a step. Without
    ``share_trunk`` its gradient ends at the hidden state, and the policy's layers do not feel it.

    ``centre`` moves the bias before every batch so that values and returns have the same mean over
    its action tokens, which is the bias's least-squares fit. Left to the optimiser, that mean is
    learned by the weights: Adam moves each of them as fast as the one bias, and what w . h then
    adds up to varies over states by more than it explains, so the critic is worse than a constant
    for dozens of steps at any rate, and again whenever the policy moves the mean. The quickstart
    with a frozen policy, 60 steps: explained variance -0.06 at lr 1e-3 and 0.32 at 1e-2, after
    lows of -0.33 and -0.90; from the mean on 0.34 and 0.51, never below 0; least squares 0.56.
    Its price: a rollout moves its own baseline by its part of the batch, as it does by
    ``whiten``.
    """

    kind: Literal["value_head"] = "value_head"
    lr: float = Field(default=1e-3, gt=0, description="follows the stage's schedule")
    coefficient: float = Field(default=0.5, gt=0)
    clip: float = Field(default=0.2, gt=0)
    share_trunk: bool = True
    centre: bool = True


class LinearValue(nn.Module):
    """A linear map from hidden states to values; it begins at 0 everywhere."""

    def __init__(self, hidden_size: int, *, share_trunk: bool) -> None:
        super().__init__()
        self.share_trunk = share_trunk
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @torch.no_grad()
    def shift(self, by: float) -> None:
        """Raise the values of all states alike."""
        self.linear.bias.add_(by)

    def forward(self, hidden_NH: Tensor) -> Tensor:
        """Value each state."""
        if not self.share_trunk:
            hidden_NH = hidden_NH.detach()
        weight = self.linear.weight
        return self.linear(hidden_NH.to(weight.dtype)).squeeze(-1)  # type: ignore[no-any-return]


def value_head(model: nn.Module, config: ValueHead) -> LinearValue:
    """Make a head for a model, where it is and as exact as its weights."""
    text: Any = model.config.get_text_config()  # type: ignore[operator,union-attr]
    first = next(model.parameters())
    head = LinearValue(int(text.hidden_size), share_trunk=config.share_trunk)
    return head.to(device=first.device, dtype=torch.promote_types(first.dtype, torch.float32))
