"""Gradient steps on a causal LM, from packed batches.

Shapes: T packed tokens, N of them actions, V the vocabulary.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from proofgym.trainers.batch import Batch
from proofgym.trainers.chunked_head import head_of, logit_shape, token_logprobs
from proofgym.trainers.errors import TrainError
from proofgym.trainers.losses.terms import ActionLogprobs, LossSums
from proofgym.trainers.metric_sums import MetricSums
from proofgym.trainers.packed_attention import Packing, attend_packed
from proofgym.trainers.value_head import ValueHead, value_head


class OptimizerConfig(BaseModel):
    """AdamW, its schedule and the gradient's bound.

    The rate rises linearly over ``warmup_steps`` and is then constant, or falls along a cosine to
    ``final_fraction`` of ``lr`` at the stage's end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: float = Field(gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    final_fraction: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimiser step.

    Args:
        metrics: means over the step's action tokens, the gradient norm and the rate.
        tokens: all tokens that went through the model.
        seconds: wall time.
    """

    metrics: dict[str, float]
    tokens: int
    seconds: float


LossFunction = Callable[[ActionLogprobs, Batch], LossSums]
"""From what the model says of a batch, the loss's sums."""


class Learner:
    """Own a model and its optimiser.

    Args:
        model: any transformers causal LM, with float32 weights.
        optimizer: rates and bounds.
        total_steps: the length of the schedule.
        critic: a value head on the last hidden state, with a learning rate of its own; None: none.

    Raises:
        TrainError: the model's head is not linear.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerConfig,
        *,
        total_steps: int,
        critic: ValueHead | None = None,
    ) -> None:
        head_of(model)  # refuses what cannot be scored
        self.model = model
        self.config = optimizer
        self.total_steps = total_steps
        self.step_number = 0
        decayed = [p for p in model.parameters() if p.dim() >= 2]
        plain = [p for p in model.parameters() if p.dim() < 2]
        groups = [
            {"params": decayed, "weight_decay": optimizer.weight_decay, "lr_scale": 1.0},
            {"params": plain, "weight_decay": 0.0, "lr_scale": 1.0},
        ]
        self.value_head = None if critic is None else value_head(model, critic)
        if critic is not None and self.value_head is not None:
            head = {"params": list(self.value_head.parameters()), "weight_decay": 0.0}
            groups.append({**head, "lr_scale": critic.lr / optimizer.lr})
        self.optimizer = torch.optim.AdamW(
            groups, lr=optimizer.lr, betas=(optimizer.beta1, optimizer.beta2), fused=True
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def logprobs(self, batch: Batch, *, entropy_gradient: bool = False) -> ActionLogprobs:
        """Score the batch's action tokens, and value them where there is a critic."""
        return action_logprobs(
            self.model,
            batch,
            self.device,
            value_head=self.value_head,
            entropy_gradient=entropy_gradient,
        )

    def step(
        self, batches: Sequence[Batch], loss: LossFunction, *, entropy_gradient: bool = False
    ) -> StepReport:
        """Take one optimiser step on micro-batches whose weights add up over all of them.

        Args:
            batches: the step's.
            loss: of one micro-batch.
            entropy_gradient: whether the loss differentiates the entropy, which costs memory.

        Raises:
            TrainError: the gradient is not finite; the weights are left as they were.
        """
        started = time.perf_counter()
        self.model.train()
        metrics = MetricSums()
        total = 0.0
        for batch in batches:
            scored = self.logprobs(batch, entropy_gradient=entropy_gradient)
            found = loss(scored, batch)
            found.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += float(found.loss.detach())
            metrics.add(found)
            metrics.add_tokens("entropy", scored.entropy_N)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm))
        finite = math.isfinite(norm)
        if self.value_head is not None:
            head_norm = nn.utils.clip_grad_norm_(
                self.value_head.parameters(), self.config.max_grad_norm
            )
            finite = finite and math.isfinite(float(head_norm))
        rate = self._rate()
        if not finite:
            self.optimizer.zero_grad(set_to_none=True)
            raise TrainError(
                f"the gradient norm must be finite, got {norm} at step {self.step_number}. The "
                "weights are unchanged; look for infinite rewards, or lower the learning rate."
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step_number += 1
        logged = metrics.means() | {"loss": total, "grad_norm": norm, "lr": rate}
        tokens = sum(batch.cumulative_lengths[-1] for batch in batches)
        return StepReport(metrics=logged, tokens=tokens, seconds=time.perf_counter() - started)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the model's weights."""
        head = {} if self.value_head is None else self.value_head.state_dict()
        return {
            "optimizer": self.optimizer.state_dict(),
            "step_number": self.step_number,
            "value_head": head,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_number = int(state["step_number"])
        if self.value_head is not None:
            self.value_head.load_state_dict(state["value_head"])

    def _rate(self) -> float:
        config, step = self.config, self.step_number
        if step < config.warmup_steps:
            return config.lr * (step + 1) / config.warmup_steps
        span = max(1, self.total_steps - config.warmup_steps)
        done = min(1.0, (step - config.warmup_steps) / span)
        cosine = 0.5 * (1.0 + float(torch.cos(torch.tensor(done * torch.pi))))
        return config.lr * (config.final_fraction + (1.0 - config.final_fraction) * cosine)


def action_logprobs(
    model: nn.Module,
    batch: Batch,
    device: torch.device,
    *,
    value_head: nn.Module | None = None,
    entropy_gradient: bool = False,
) -> ActionLogprobs:
    """Score a packed batch's action tokens with one forward pass.

    Only the N positions that predict an action are scored, in float32 and a chunk at a time.
    Greedy samples (temperature 0) are scored at temperature 1.
    """
    packing = Packing.of(batch.cumulative_lengths, device)
    backbone: Any = model.get_decoder()  # type: ignore[operator]  # of transformers' models
    with attend_packed(model):
        hidden_TH = backbone(
            input_ids=batch.tokens_T[None].to(device),
            position_ids=batch.positions_T[None].to(device),
            use_cache=False,
            packing=packing,
        ).last_hidden_state[0]
    action_N = batch.action_T.nonzero().squeeze(1).to(device)
    hidden_NH = hidden_TH[action_N - 1]
    logp_N, entropy_N = token_logprobs(
        hidden_NH,
        head_of(model),
        batch.tokens_T.to(device)[action_N],
        logit_shape(model, batch.temperature),
        entropy_gradient=entropy_gradient,
    )
    value_N = None if value_head is None else value_head(hidden_NH)
    return ActionLogprobs(logp_N=logp_N, entropy_N=entropy_N, value_N=value_N)
