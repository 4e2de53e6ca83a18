"""Gradient steps on a causal LM, from packed batches."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.distributed.tensor import DTensor

from proofgym.trainers.batch import Batch
from proofgym.trainers.chunked_head import head_of
from proofgym.trainers.errors import TrainError
from proofgym.trainers.learner_config import LearnerConfig, Lora
from proofgym.trainers.losses.terms import ActionLogprobs, LossSums
from proofgym.trainers.metric_sums import MetricSums
from proofgym.trainers.scorer import Scorer, checkpoint_activations, compile_layers
from proofgym.trainers.sharding import World
from proofgym.trainers.value_head import ValueHead, value_head

if TYPE_CHECKING:
    from proofgym.trainers.lora import Adapters


class OptimizerConfig(BaseModel):
    """AdamW, its schedule and the gradient's bound.

    The rate rises linearly over ``warmup_steps`` and is then constant, or falls along ``decay`` to
    ``final_fraction`` of ``lr`` at the stage's end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: float = Field(gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    final_fraction: float = Field(default=1.0, gt=0, le=1)
    decay: Literal["cosine", "linear"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimiser step.

    Args:
        metrics: means over the step's action tokens, the gradient norm and the rate.
        tokens: of all sequences; common prefixes are computed once, and count for each.
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
        model: any transformers causal LM, with float32 weights. With adapters it stays as it is
            but for the merged weights, which each step writes into it.
        optimizer: rates and bounds.
        total_steps: the length of the schedule.
        critic: a value head on the last hidden state, with a learning rate of its own; None: none.
        config: which weights are trained, and how.
        world: the processes that share the work, each with a part of the weights; None: this one.

    Raises:
        TrainError: the model's head is not linear, or the adapters do not fit it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerConfig,
        *,
        total_steps: int,
        critic: ValueHead | None = None,
        config: LearnerConfig | None = None,
        world: World | None = None,
    ) -> None:
        config = config or LearnerConfig()
        if world is not None and isinstance(config.adapter, Lora):
            raise TrainError(
                "expected learner.adapter.kind = 'none' for a learner of several processes, got "
                "'lora'. Adapters are trained by one process."
            )
        self.adapters: Adapters | None = None
        if isinstance(config.adapter, Lora):
            from proofgym.trainers import lora  # loads peft

            self.adapters = lora.Adapters(model, config.adapter)
        self.model = model if self.adapters is None else self.adapters.model
        head_of(self.model)  # refuses what cannot be scored
        self.device = next(model.parameters()).device
        self.config = optimizer
        self.total_steps = total_steps
        self.step_number = 0
        if config.activation_checkpointing:
            checkpoint_activations(self.model)
        if config.compile:
            compile_layers(self.model)
        self.value_head = None if critic is None else value_head(model, critic)
        self.scorer = Scorer(self.model, self.value_head, getattr(torch, config.compute_dtype))
        self.world = world
        if world is not None:
            world.shard(self.scorer)  # before the optimiser, which takes the sharded parameters
        trained = [p for p in self.model.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.dim() >= 2]
        plain = [p for p in trained if p.dim() < 2]
        groups = [
            {"params": decayed, "weight_decay": optimizer.weight_decay, "lr_scale": 1.0},
            {"params": plain, "weight_decay": 0.0, "lr_scale": 1.0},
        ]
        if critic is not None and self.value_head is not None:
            head = {"params": list(self.value_head.parameters()), "weight_decay": 0.0}
            groups.append({**head, "lr_scale": critic.lr / optimizer.lr})
        self.optimizer = torch.optim.AdamW(
            groups, lr=optimizer.lr, betas=(optimizer.beta1, optimizer.beta2), fused=True
        )

    def logprobs(self, batch: Batch, *, entropy_gradient: bool = False) -> ActionLogprobs:
        """Score the batch's action tokens, and value them where there is a critic."""
        logp_N, entropy_N, value_N = self.scorer(batch, self.device, entropy_gradient)
        return ActionLogprobs(logp_N=logp_N, entropy_N=entropy_N, value_N=value_N)

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
        try:
            metrics = self._backward(batches, loss, entropy_gradient)
        finally:
            self.model.eval()
        norm = self._clip(self.model)
        finite = math.isfinite(norm)
        if self.value_head is not None:
            finite = math.isfinite(self._clip(self.value_head)) and finite
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
        if self.adapters is not None:
            self.adapters.merge()
        logged = metrics.means() | {"loss": metrics.loss, "grad_norm": norm, "lr": rate}
        tokens = sum(batch.cumulative_lengths[-1] for batch in batches)
        return StepReport(metrics=logged, tokens=tokens, seconds=time.perf_counter() - started)

    def _backward(
        self, batches: Sequence[Batch], loss: LossFunction, entropy_gradient: bool
    ) -> MetricSums:
        """Add up the gradients of all micro-batches, and what is to be logged of them."""
        metrics = MetricSums()
        world = self.world
        own = batches if world is None else world.share(batches)
        for batch in own:
            scored = self.logprobs(batch, entropy_gradient=entropy_gradient)
            found = loss(scored, batch)
            found.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            metrics.add(found)
            metrics.add_tokens("entropy", scored.entropy_N)
        metrics.settle()
        for batch in () if world is None else world.idle(batches):
            # every process must take part in each pass; this one has no more of its own
            scored = self.logprobs(batch, entropy_gradient=entropy_gradient)
            (loss(scored, batch).loss * 0.0).backward()  # type: ignore[no-untyped-call]
        return metrics if world is None else world.joined(metrics)

    def _clip(self, module: nn.Module) -> float:
        """Bound the norm of all gradients together, and return what it was."""
        bound = self.config.max_grad_norm
        norm = nn.utils.clip_grad_norm_(module.parameters(), bound)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the model's weights."""
        head = {} if self.value_head is None else self.value_head.state_dict()
        return {
            "optimizer": self.optimizer.state_dict(),
            "step_number": self.step_number,
            "value_head": head,
            "adapters": {} if self.adapters is None else self.adapters.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_number = int(state["step_number"])
        if self.value_head is not None:
            self.value_head.load_state_dict(state["value_head"])
        if self.adapters is not None:
            self.adapters.load_state_dict(state["adapters"])

    def _rate(self) -> float:
        config, step = self.config, self.step_number
        if step < config.warmup_steps:
            return config.lr * (step + 1) / config.warmup_steps
        span = max(1, self.total_steps - config.warmup_steps)
        done = min(1.0, (step - config.warmup_steps) / span)
        left = 1.0 - done
        if config.decay == "cosine":
            left = 0.5 * (1.0 + float(torch.cos(torch.tensor(done * torch.pi))))
        return config.lr * (config.final_fraction + (1.0 - config.final_fraction) * left)
