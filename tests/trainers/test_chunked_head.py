"""The chunked head against the full softmax, values and gradients."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from proofgym.trainers.chunked_head import LogitShape, head_of, token_logprobs
from proofgym.trainers.errors import TrainError

N, H, V = 13, 7, 19
SHAPES = {
    "plain": LogitShape(),
    "temperature": LogitShape(temperature=0.6),
    "soft cap": LogitShape(cap=1.5, temperature=1.3),
    "multiplied": LogitShape(multiplier=0.25),
    "all": LogitShape(multiplier=3.0, cap=2.0, temperature=0.7),
}


def full(hidden: Tensor, head: nn.Linear, target: Tensor, shape: LogitShape) -> tuple[Any, Any]:
    """The softmax written out, its gradient left to autograd."""
    logits = head(hidden) * shape.multiplier
    if shape.cap is not None:
        logits = shape.cap * torch.tanh(logits / shape.cap)
    logp = torch.log_softmax(logits / shape.temperature, -1)
    return logp[torch.arange(len(target)), target], -(logp.exp() * logp).sum(-1)


def differentiated(
    score: Any, dtype: torch.dtype, shape: LogitShape, *, bias: bool, tied: bool, entropy: bool
) -> list[Tensor]:
    """Values of one scoring function, and the gradients of one random loss of them."""
    torch.manual_seed(0)
    head = nn.Linear(H, V, bias=bias, dtype=dtype)
    nn.init.normal_(head.weight)
    target = torch.randint(V, (N,))
    source = torch.randn(N, H, dtype=dtype, requires_grad=True)
    hidden = source * head.weight[torch.arange(N) % V] if tied else source * 1.5
    logp, entropies = score(hidden, head, target, shape)
    loss = (torch.randn(N, dtype=dtype) * logp).sum()
    if entropy:
        loss = loss + (torch.randn(N, dtype=dtype) * entropies).sum()
    loss.backward()
    grads = [p.grad for p in (source, *head.parameters()) if p.grad is not None]
    assert len(grads) == 2 + bias
    return [logp.detach(), entropies.detach(), *grads]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("tokens", [1, 4, N, 99])
@pytest.mark.parametrize(
    ("bias", "tied", "entropy"), [(False, True, False), (True, False, True), (True, True, True)]
)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_values_and_gradients_equal_those_of_the_full_softmax(
    shape: LogitShape, tokens: int, bias: bool, tied: bool, entropy: bool,
    dtype: torch.dtype, bound: float,
) -> None:  # fmt: skip
    def chunked(*args: Any) -> tuple[Tensor, Tensor]:
        return token_logprobs(*args, entropy_gradient=entropy, chunk_logits=tokens * V)

    found = differentiated(chunked, dtype, shape, bias=bias, tied=tied, entropy=entropy)
    expected = differentiated(full, dtype, shape, bias=bias, tied=tied, entropy=entropy)
    for one, other in zip(found, expected, strict=True):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one, other, atol=bound * scale, rtol=0)


def test_logprobs_of_a_large_vocabulary_are_within_1e_6_of_float64() -> None:
    torch.manual_seed(1)
    head = nn.Linear(64, 30_000, bias=False)
    hidden, target = torch.randn(32, 64), torch.randint(30_000, (32,))
    with torch.no_grad():
        logp, entropy = token_logprobs(hidden, head, target, LogitShape(), chunk_logits=90_000)
        exact = full(hidden.double(), head.double(), target, LogitShape())
    for found, right in zip((logp, entropy), exact, strict=True):
        assert float(((found.double() - right) / right).abs().max()) < 1e-6


def test_bfloat16_states_are_scored_in_float32_by_float32_weights() -> None:
    torch.manual_seed(2)
    head = nn.Linear(H, V)
    hidden = torch.randn(N, H, dtype=torch.bfloat16, requires_grad=True)
    target = torch.randint(V, (N,))
    with torch.autocast("cpu", torch.bfloat16):
        logp, _ = token_logprobs(hidden, head, target, LogitShape())
    logp.sum().backward()
    expected, _ = full(hidden.detach().float(), head, target, LogitShape())
    torch.testing.assert_close(logp, expected, atol=1e-6, rtol=0)
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16
    assert head.weight.grad is not None
    assert head.weight.grad.dtype == torch.float32


def test_entropies_carry_no_gradient_unless_asked_for_and_no_token_is_no_error() -> None:
    head = nn.Linear(H, V)
    logp, entropy = token_logprobs(torch.ones(2, H), head, torch.tensor([1, 2]), LogitShape())
    assert logp.requires_grad
    assert not entropy.requires_grad
    assert bool((entropy <= math.log(V)).all())
    none, _ = token_logprobs(
        torch.ones(0, H), head, torch.tensor([], dtype=torch.long), LogitShape()
    )
    none.sum().backward()
    assert head.weight.grad is not None
    assert not head.weight.grad.any()


def test_a_frozen_head_gets_no_gradient() -> None:
    head = nn.Linear(H, V).requires_grad_(False)
    hidden = torch.ones(2, H, requires_grad=True)
    logp, _ = token_logprobs(hidden, head, torch.tensor([1, 2]), LogitShape())
    logp.sum().backward()
    assert head.weight.grad is None
    assert hidden.grad is not None


def test_a_head_that_is_more_than_its_weight_is_refused() -> None:
    config = Qwen3Config(
        vocab_size=V, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    model: Any = Qwen3ForCausalLM(config)
    model.lm_head = nn.Sequential(model.lm_head, nn.Tanh())
    with pytest.raises(TrainError, match="expected a linear head, got Sequential"):
        head_of(model)
