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
    """

    kind: Literal["value_head"] = "value_head"
    lr: float = Field(default=1e-3, gt=0, description="follows the stage's schedule")
    coefficient: float = Field(default=0.5, gt=0)
    clip: float = Field(default=0.2, gt=0)
    share_trunk: bool = True


class LinearValue(nn.Module):
    """A linear map from hidden states to values; it begins at 0 everywhere."""

    def __init__(self, hidden_size: int, *, share_trunk: bool) -> None:
        super().__init__()
        self.share_trunk = share_trunk
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

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
