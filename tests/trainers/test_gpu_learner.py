"""The learner on a GPU, against what it does in float32 or float64."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from proofgym.envs import Source
from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.batch import Batch, Weighted, pack
from proofgym.trainers.chunked_head import LogitShape, token_logprobs
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.sample import Sample
from proofgym.trainers.scorer import action_logprobs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
VOCAB = 5_003
STAGE = RlConfig.model_validate(
    {"kind": "rl", "steps": 1, "optimizer": {"lr": 1e-3}, "token_budget": 4096}
)


def small_model(**settings: Any) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": VOCAB, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
        "max_position_embeddings": 1024, "tie_word_embeddings": True,
    }  # fmt: skip
    return Qwen3ForCausalLM(Qwen3Config(**shape, **settings)).cuda().eval()


def rollout(length: int, prompt: int, seed: int) -> Weighted:
    rng = np.random.default_rng(seed)
    action = np.arange(length) >= prompt
    sample = Sample(
        tokens=rng.integers(0, VOCAB, length).astype(np.int32),
        action=action,
        logp=np.where(action, -np.log(VOCAB), 0.0).astype(np.float32),
        version=np.where(action, 0, -1).astype(np.int32),
        turn=np.zeros(length, np.int16),
        source=np.where(action, Source.SAMPLED, Source.TEMPLATE).astype(np.uint8),
        reward=np.zeros(length, np.float32),
        env_id="a", task_id="b", group=seed, rollout=0, row=0, temperature=0.9, finish="length",
    )  # fmt: skip
    return Weighted(sample=sample, advantage=float(rng.normal()), w_pg=1e-3)


def batches(budget: int = 4096) -> list[Batch]:
    lengths = (700, 3, 333, 64, 65, 129, 512, 31)
    # two by two they begin alike
    rows = [rollout(length, max(1, length // 3), i // 2) for i, length in enumerate(lengths)]
    return pack(rows, token_budget=budget)


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("window", [None, 100])
def test_flash_attention_over_packed_sequences_is_the_padded_one(window: int | None) -> None:
    settings: dict[str, Any] = {}
    if window:
        settings = {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 0}
    model, device = small_model(**settings), torch.device("cuda")
    (batch,) = batches()
    found: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        model.zero_grad()
        logp_N = action_logprobs(model, batch, device, compute_dtype=dtype).logp_N
        (logp_N * torch.linspace(-1, 1, len(logp_N), device=device)).sum().backward()
        found[dtype] = (logp_N.detach(), gradient(model))
    exact, low = found[torch.float32], found[torch.bfloat16]
    assert (exact[0] - low[0]).abs().max() < 0.1
    assert (exact[0] - low[0]).abs().mean() < 0.01
    assert torch.cosine_similarity(exact[1], low[1], dim=0) > 0.999


@pytest.mark.parametrize("entropy_gradient", [False, True])
@pytest.mark.parametrize("chunk", [None, 7 * VOCAB])
def test_the_kernels_are_the_softmax(entropy_gradient: bool, chunk: int | None) -> None:
    torch.manual_seed(1)
    head = nn.Linear(192, VOCAB, bias=False).cuda()
    hidden = torch.randn(61, 192, device="cuda").bfloat16().requires_grad_()
    target = torch.randint(0, VOCAB, (61,), device="cuda")
    weights = torch.randn(2, 61, device="cuda")
    shape = LogitShape(multiplier=3.0, temperature=0.7)
    logp, entropy = token_logprobs(
        hidden, head, target, shape, entropy_gradient=entropy_gradient,
        compute_dtype=torch.bfloat16, chunk_logits=chunk,
    )  # fmt: skip
    total = (weights[0] * logp).sum()
    if entropy_gradient:
        total = total + (weights[1] * entropy).sum()
    total.backward()

    plain_hidden = hidden.detach().double().requires_grad_()
    plain_weight = head.weight.detach().bfloat16().double().requires_grad_()
    logits = plain_hidden @ plain_weight.T * (3.0 / 0.7)
    plain_logp = logits.log_softmax(-1)
    plain_entropy = -(plain_logp.exp() * plain_logp).sum(-1)
    chosen = plain_logp.gather(1, target[:, None]).squeeze(1)
    total = (weights[0].double() * chosen).sum()
    if entropy_gradient:
        total = total + (weights[1].double() * plain_entropy).sum()
    total.backward()

    assert (logp - chosen).abs().max() < 1e-4
    assert (entropy - plain_entropy).abs().max() < 1e-4
    assert hidden.grad is not None
    assert plain_hidden.grad is not None
    assert head.weight.grad is not None
    assert plain_weight.grad is not None
    for got, exact in ((hidden.grad, plain_hidden.grad), (head.weight.grad, plain_weight.grad)):
        assert (got.double() - exact).norm() / exact.norm() < 1e-2  # factors are bfloat16


def test_nothing_waits_within_a_step(recwarn: pytest.WarningsRecorder) -> None:
    learner = Learner(
        small_model(), OptimizerConfig(lr=1e-4), total_steps=9,
        config=LearnerConfig(compute_dtype="bfloat16"),
    )  # fmt: skip
    loss = policy_loss(STAGE)
    micro = batches(budget=1024)
    learner.step(micro, loss)  # builds kernels
    assert len(micro) > 1
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in micro:
            loss(learner.logprobs(batch), batch).loss.backward()  # type: ignore[no-untyped-call]
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_compiled_step_is_the_plain_one() -> None:
    found = []
    for compiled in (False, True):
        learner = Learner(
            small_model(), OptimizerConfig(lr=1e-3), total_steps=9,
            config=LearnerConfig(compute_dtype="bfloat16", compile=compiled),
        )  # fmt: skip
        reports = [learner.step(batches(budget=1024), policy_loss(STAGE)) for _ in range(3)]
        found.append([report.metrics for report in reports])
    for plain, other in zip(*found, strict=True):
        assert plain["grad_norm"] == pytest.approx(other["grad_norm"], rel=0.02)
        assert plain["entropy"] == pytest.approx(other["entropy"], abs=0.01)
