"""Samples and small models, made on the spot."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from proofgym.envs import Source
from proofgym.trainers.sample import Sample

VOCABULARY = 23


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """Make a sample from a string of marks: ``a`` is an action, anything else was read."""

    def make(marks: str, *, seed: int = 0, temperature: float = 1.0, group: int = 0) -> Sample:
        rng = np.random.default_rng(seed)
        action = np.array([mark == "a" for mark in marks])
        logp = np.where(action, -rng.uniform(0.5, 4.0, len(marks)), 0.0)
        return Sample(
            tokens=rng.integers(0, VOCABULARY, len(marks)).astype(np.int32),
            action=action,
            logp=logp.astype(np.float32),
            version=np.where(action, 0, -1).astype(np.int32),
            turn=np.zeros(len(marks), dtype=np.int16),
            source=np.where(action, Source.SAMPLED, Source.USER).astype(np.uint8),
            reward=np.zeros(len(marks), dtype=np.float32),
            env_id="test/env-v0",
            task_id="t",
            group=group,
            rollout=0,
            row=0,
            temperature=temperature,
            finish="stop",
        )

    return make


class ExactNorm(nn.Module):
    """RMSNorm in the input's own type; transformers' always goes through float32."""

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight = weight
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


@pytest.fixture
def qwen() -> Callable[..., Any]:
    """Make a tiny Qwen3 with grouped queries; in float64 every part of it is."""

    def make(dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        config = Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=64,
            tie_word_embeddings=True,
            initializer_range=0.3,
        )
        model: Any = Qwen3ForCausalLM(config).to(dtype)
        if dtype == torch.float64:
            for name, module in list(model.named_modules()):
                if type(module).__name__ == "Qwen3RMSNorm":
                    exact = ExactNorm(module.weight, module.variance_epsilon)
                    model.set_submodule(name, exact)
        return model

    return make


@pytest.fixture
def gradient() -> Callable[..., list[Tensor]]:
    """Add up a loss's gradients over micro-batches, without a step."""

    def of(learner: Any, batches: Sequence[Any], loss: Callable[..., Any]) -> list[Tensor]:
        learner.optimizer.zero_grad(set_to_none=True)
        for batch in batches:
            scored = learner.logprobs(batch, entropy_gradient=True)
            loss(scored, batch).loss.backward()
        head = learner.value_head
        parameters = [*learner.model.parameters(), *(head.parameters() if head else ())]
        found = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
        learner.optimizer.zero_grad(set_to_none=True)
        return found

    return of
