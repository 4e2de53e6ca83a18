"""The packed path against one sequence at a time, in float64 and written out as loops."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.algorithm_config import AlgorithmConfig
from proofgym.trainers.batch import Batch, Weighted, pack
from proofgym.trainers.errors import TrainError
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.losses.terms import ActionLogprobs, LossSums
from proofgym.trainers.sample import Sample
from proofgym.trainers.sft import sft_loss

MakeSample = Callable[..., Sample]
Gradient = Callable[..., list[Tensor]]
SIZES = {
    "vocab_size": 23,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
COHERE = {key: value for key, value in SIZES.items() if key != "head_dim"}
MODELS: dict[str, Callable[[], Any]] = {
    "Qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "Llama, all heads apart": lambda: LlamaForCausalLM(
        LlamaConfig(**{**SIZES, "num_key_value_heads": 4})
    ),
    "Mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
    "Mistral, sliding window of 4": lambda: MistralForCausalLM(
        MistralConfig(**SIZES, sliding_window=4)
    ),
    "Gemma": lambda: GemmaForCausalLM(GemmaConfig(**SIZES)),
    "Gemma 2, softcaps and a sliding window of 4": lambda: Gemma2ForCausalLM(
        Gemma2Config(
            **SIZES,
            sliding_window=4,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=3.0,
            attn_implementation="eager",
        )
    ),
    "Gemma 3, sliding window of 4": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **SIZES, sliding_window=4, layer_types=["sliding_attention", "full_attention"]
        )
    ),
    "Cohere, scaled logits": lambda: CohereForCausalLM(CohereConfig(**COHERE, logit_scale=0.25)),
    "Granite, scaled logits": lambda: GraniteForCausalLM(
        GraniteConfig(**SIZES, logits_scaling=2.0)
    ),
}


def clipped_loss(scored: ActionLogprobs, batch: Batch) -> LossSums:
    """Anchor the ratio at -2, so that every branch of the clip is met."""
    old_N = torch.full_like(scored.logp_N, -2.0) if batch.old_logp_N is None else batch.old_logp_N
    return policy_loss(AlgorithmConfig())(scored, replace(batch, old_logp_N=old_N))


LOSSES = {"policy": clipped_loss, "cross entropy": sft_loss}


def learner_of(model: Any, **optimizer: float) -> Learner:
    settings: dict[str, Any] = {"lr": 1e-3, **optimizer}
    return Learner(model, OptimizerConfig(**settings), total_steps=10)


def weighted_samples(make_sample: MakeSample) -> list[Weighted]:
    marks = ["..aaa.a", ".a", "...a..aaa", ".aaaaa", "..a.a.aaaa.a", "....a"]
    samples = [make_sample(text, seed=i) for i, text in enumerate(marks)]
    return [
        Weighted(sample=sample, advantage=(-1) ** i * (0.5 + i / 4), w_pg=1 / 23, w_ce=1 / 29)
        for i, sample in enumerate(samples)
    ]


def slow_logprobs(model: Any, sample: Sample, temperature: float) -> list[Tensor | None]:
    """Score one sequence by the model's own full forward, one token at a time."""
    with torch.enable_grad():
        logits_TV = model(input_ids=torch.from_numpy(sample.tokens.astype(np.int64))[None]).logits
        out: list[Tensor | None] = [None]
        for position in range(1, len(sample)):
            scaled_V = logits_TV[0, position - 1] / temperature
            token = int(sample.tokens[position])
            out.append(scaled_V[token] - torch.logsumexp(scaled_V, 0))
    return out


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS.keys())
def test_packed_logprobs_equal_a_full_forward(
    make_sample: MakeSample, make_model: Callable[[], Any], temperature: float
) -> None:
    torch.manual_seed(1)
    model = make_model().eval()
    marks = [".a", "..aaa.aaaaa", ".a", "...aa", "..a"]  # of more than one length group
    samples = [make_sample(m, seed=i, temperature=temperature) for i, m in enumerate(marks)]
    (batch,) = pack([Weighted(sample=s) for s in samples], token_budget=99, reorder=False)
    with torch.no_grad():
        found = learner_of(model).logprobs(batch)
        expected = [
            logp
            for sample in samples
            for logp, action in zip(
                slow_logprobs(model, sample, temperature), sample.action, strict=True
            )
            if action and logp is not None
        ]
    assert len(expected) == int(batch.action_T.sum())
    torch.testing.assert_close(found.logp_N, torch.stack(expected), atol=1e-5, rtol=0)
    assert (found.entropy_N > 0).all()


def test_a_model_with_attention_sinks_is_refused_rather_than_scored_wrongly(
    make_sample: MakeSample,
) -> None:
    model = GptOssForCausalLM(GptOssConfig(**SIZES, num_local_experts=2, num_experts_per_tok=1))
    (batch,) = pack([Weighted(sample=make_sample("..aaa.aa"))], token_budget=99)
    with pytest.raises(TrainError, match="attention sinks"):
        learner_of(model).logprobs(batch)


def test_the_entropy_is_that_of_the_distribution_drawn_from(
    make_sample: MakeSample, qwen: Callable[..., Any]
) -> None:
    model, sample = qwen(), make_sample("..a", temperature=0.5)
    (batch,) = pack([Weighted(sample=sample)], token_budget=99)
    found = learner_of(model).logprobs(batch).entropy_N.item()
    tokens = torch.from_numpy(sample.tokens.astype(np.int64))[None]
    probabilities = torch.softmax(model(input_ids=tokens).logits[0, 1] / 0.5, 0).tolist()
    assert found == pytest.approx(-sum(p * math.log(p) for p in probabilities), rel=1e-9)


def slow_policy_loss(model: Any, weighted: Sequence[Weighted]) -> Tensor:
    """The clipped surrogate, token by token, from the formula."""
    total = torch.zeros((), dtype=torch.float64)
    for one in weighted:
        sample, advantage = one.sample, float(np.float32(one.advantage))
        for t, logp in enumerate(slow_logprobs(model, sample, sample.temperature)):
            if logp is None or not sample.action[t]:
                continue
            ratio = torch.exp(logp - -2.0)
            clipped = min(max(ratio.item(), 0.8), 1.28) * advantage
            surrogate = ratio * advantage
            if clipped < surrogate.item():
                surrogate = torch.tensor(clipped, dtype=torch.float64)
            if advantage < 0 and surrogate.item() < 3.0 * advantage:
                surrogate = torch.tensor(3.0 * advantage, dtype=torch.float64)
            correction = min(math.exp(-2.0 - float(sample.logp[t])), 2.0)
            total = total - float(np.float32(one.w_pg)) * correction * surrogate
    return total


def slow_cross_entropy(model: Any, weighted: Sequence[Weighted]) -> Tensor:
    """Weighted negative log-likelihood, token by token."""
    total = torch.zeros((), dtype=torch.float64)
    for one in weighted:
        for t, logp in enumerate(slow_logprobs(model, one.sample, one.sample.temperature)):
            if logp is not None and one.sample.action[t]:
                total = total - float(np.float32(one.w_ce)) * logp
    return total


SLOW = {"policy": slow_policy_loss, "cross entropy": slow_cross_entropy}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_equal_a_slow_loop_in_float64(
    make_sample: MakeSample, qwen: Callable[..., Any], gradient: Gradient, name: str
) -> None:
    model, weighted = qwen(), weighted_samples(make_sample)
    learner, batches = learner_of(model), pack(weighted, token_budget=16)
    expected_loss = SLOW[name](model, weighted)
    expected = torch.autograd.grad(expected_loss, list(model.parameters()))
    losses = [LOSSES[name](learner.logprobs(batch), batch).loss for batch in batches]
    found_loss = sum(loss.item() for loss in losses)
    assert len(batches) > 2
    assert found_loss == pytest.approx(expected_loss.item(), rel=1e-12)
    for found, right in zip(gradient(learner, batches, LOSSES[name]), expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-12, rtol=1e-10)


def test_one_step_equals_adamw_written_out(
    make_sample: MakeSample, qwen: Callable[..., Any]
) -> None:
    model, weighted = qwen(), weighted_samples(make_sample)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    grads = torch.autograd.grad(slow_cross_entropy(model, weighted), list(model.parameters()))
    norm = math.sqrt(sum(float((g**2).sum()) for g in grads))
    learner = learner_of(model, max_grad_norm=0.1, weight_decay=0.1, warmup_steps=4)
    report = learner.step(pack(weighted, token_budget=16), sft_loss)
    assert norm > 0.1, "the bound must be met, to be tested"
    assert report.metrics["grad_norm"] == pytest.approx(norm, rel=1e-6)
    assert report.metrics["lr"] == pytest.approx(0.25e-3)
    for old, grad, new in zip(before, grads, model.parameters(), strict=True):
        clipped = grad * (0.1 / (norm + 1e-6))
        decayed = old * (1 - 0.25e-3 * 0.1) if old.dim() >= 2 else old
        # the first step of Adam: both moments, bias-corrected, are the gradient and its square
        expected = decayed - 0.25e-3 * clipped / (clipped.abs() + 1e-8)
        torch.testing.assert_close(new.detach(), expected, atol=1e-9, rtol=0)


FIELDS = ("advantage_T", "w_pg_T", "w_ce_T", "behaviour_logp_T")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("field", FIELDS)
def test_a_number_matters_exactly_where_the_policy_sampled(
    make_sample: MakeSample, qwen: Callable[..., Any], gradient: Gradient, field: str, name: str
) -> None:
    sample = make_sample("..aa.a..")
    learner = learner_of(qwen())
    (batch,) = pack([Weighted(sample=sample, advantage=0.5, w_pg=0.2, w_ce=0.3)], token_budget=99)

    def loss(scored: ActionLogprobs, one: Batch) -> LossSums:
        return LOSSES[name](scored, replace(one, old_logp_N=scored.logp_N.detach()))

    uses = {"policy": {"advantage_T", "w_pg_T", "behaviour_logp_T"}, "cross entropy": {"w_ce_T"}}
    with torch.no_grad():  # the engine's logprobs near the learner's, so that TIS is not capped
        near = batch.behaviour_logp_T.clone()
        near[batch.action_T] = learner.logprobs(batch).logp_N.float() + 0.1
    batch = replace(batch, behaviour_logp_T=near)
    expected = gradient(learner, [batch], loss)
    for position in range(len(sample)):
        column = getattr(batch, field).clone()
        column[position] += 0.25
        changed = gradient(learner, [replace(batch, **{field: column})], loss)
        same = all(torch.equal(a, b) for a, b in zip(changed, expected, strict=True))
        matters = bool(sample.action[position]) and field in uses[name]
        assert same is not matters, f"{field} at token {position}"


@pytest.mark.parametrize("name", LOSSES)
def test_a_token_matters_as_target_or_context_and_not_behind_the_last_action(
    make_sample: MakeSample, qwen: Callable[..., Any], gradient: Gradient, name: str
) -> None:
    sample = make_sample("..aa.a..")
    learner = learner_of(qwen())

    def gradient_of(changed: Sample) -> list[Tensor]:
        one = Weighted(sample=changed, advantage=0.5, w_pg=0.2, w_ce=0.3)
        return gradient(learner, pack([one], token_budget=99), LOSSES[name])

    expected = gradient_of(sample)
    for position in range(len(sample)):
        tokens = sample.tokens.copy()
        tokens[position] = (tokens[position] + 1) % 23
        changed = gradient_of(replace(sample, tokens=tokens))
        same = all(torch.equal(a, b) for a, b in zip(changed, expected, strict=True))
        assert same is (position > 5), f"token {position}"


def test_a_gradient_that_is_not_finite_leaves_the_weights_as_they_were(
    make_sample: MakeSample, qwen: Callable[..., Any]
) -> None:
    model = qwen(torch.float32)
    learner = learner_of(model)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    one = Weighted(sample=make_sample(".a"), advantage=3e38, w_pg=3e38)
    with pytest.raises(TrainError, match="must be finite"):
        learner.step(pack([one], token_budget=9), clipped_loss)
    after = list(model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    learner.step(pack([Weighted(sample=make_sample(".a"), w_ce=1.0)], token_budget=9), sft_loss)
    assert learner.step_number == 1
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def test_the_rate_rises_linearly_and_falls_along_a_cosine(qwen: Callable[..., Any]) -> None:
    learner = Learner(
        qwen(torch.float32),
        OptimizerConfig(lr=1.0, warmup_steps=2, final_fraction=0.2),
        total_steps=6,
    )
    rates = []
    for _ in range(6):
        rates.append(learner.step([], sft_loss).metrics["lr"])
    half = math.sqrt(0.5)
    cosine = [1.0, 0.5 * (1 + half), 0.5, 0.5 * (1 - half)]
    assert rates == pytest.approx([0.5, 1.0, *(0.2 + 0.8 * c for c in cosine)])
