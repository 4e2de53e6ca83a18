"""Adapters: what is trained, what is served, and that both are the same policy."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from proofgym.trainers.batch import Weighted, pack
from proofgym.trainers.errors import TrainError
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig, Lora
from proofgym.trainers.sample import Sample
from proofgym.trainers.scorer import action_logprobs
from proofgym.trainers.sft import sft_loss

MakeSample = Callable[..., Sample]
RANK, ALPHA = 2, 6
CPU = torch.device("cpu")


def learner_of(model: Any, **changed: Any) -> Learner:
    lora = Lora(rank=RANK, alpha=ALPHA, **changed)
    optimizer = OptimizerConfig(lr=0.05, weight_decay=0.1)
    return Learner(model, optimizer, total_steps=9, config=LearnerConfig(adapter=lora))


def batches_of(make_sample: MakeSample) -> list[Any]:
    samples = [make_sample(text, seed=i) for i, text in enumerate(["..aaa.a", ".aa", "...a.aa"])]
    return pack([Weighted(sample=sample, w_ce=1 / 9) for sample in samples], token_budget=12)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_served_model_says_what_the_model_with_adapters_says(
    make_sample: MakeSample, qwen: Callable[..., Any], dtype: torch.dtype, bound: float
) -> None:
    served, batches = qwen(dtype), batches_of(make_sample)
    learner = learner_of(served)
    before = learner.logprobs(batches[0]).logp_N.detach()
    for _ in range(3):
        learner.step(batches, sft_loss)
    with torch.no_grad():
        found = action_logprobs(served, batches[0], CPU).logp_N
        expected = learner.logprobs(batches[0]).logp_N
    torch.testing.assert_close(found, expected, atol=bound, rtol=0)
    assert float((found - before).abs().max()) > 0.1, "it has learned something"


def test_only_the_adapters_of_the_targets_are_trained(
    make_sample: MakeSample, qwen: Callable[..., Any]
) -> None:
    learner = learner_of(qwen(), targets=["q_proj", "v_proj"])
    before = {name: one.clone() for name, one in learner.model.named_parameters()}
    learner.step(batches_of(make_sample), sft_loss)
    learner.step(batches_of(make_sample), sft_loss)  # A has no gradient while B is 0
    changed = {
        name for name, one in learner.model.named_parameters() if not torch.equal(one, before[name])
    }
    assert learner.adapters is not None
    assert changed == learner.adapters.state_dict().keys()
    assert {name.split(".")[-4] for name in changed} == {"q_proj", "v_proj"}


def test_the_adapters_gradients_follow_from_the_whole_weights(
    make_sample: MakeSample, qwen: Callable[..., Any]
) -> None:
    served, batches = qwen(), batches_of(make_sample)
    learner = learner_of(served)
    learner.step(batches, sft_loss)  # so that B is not 0
    for batch in batches:
        sft_loss(learner.logprobs(batch), batch).loss.backward()
        sft_loss(action_logprobs(served, batch, CPU), batch).loss.backward()
    checked = 0
    for name, module in learner.model.named_modules():
        if hasattr(module, "lora_A"):
            a: Any = module.lora_A["default"].weight  # type: ignore[index,union-attr]
            b: Any = module.lora_B["default"].weight  # type: ignore[index,union-attr]
            whole: Any = served.get_submodule(name).weight.grad
            torch.testing.assert_close(b.grad, ALPHA / RANK * whole @ a.T, atol=1e-12, rtol=1e-9)
            torch.testing.assert_close(a.grad, ALPHA / RANK * b.T @ whole, atol=1e-12, rtol=1e-9)
            checked += 1
    assert checked == 2 * 7, "every linear map of two layers"


def test_a_state_put_back_continues_to_the_same_bits(
    make_sample: MakeSample, qwen: Callable[..., Any]
) -> None:
    batches = batches_of(make_sample)
    first = qwen(torch.float32)
    learner = learner_of(first)
    for _ in range(2):
        learner.step(batches, sft_loss)
    second = qwen(torch.float32)
    other = learner_of(second)
    other.load_state_dict(copy.deepcopy(learner.state_dict()))  # as from a file
    for name, one in first.state_dict().items():
        assert torch.equal(one, second.state_dict()[name]), name
    assert learner.step(batches, sft_loss).metrics == other.step(batches, sft_loss).metrics
    for name, one in first.state_dict().items():
        assert torch.equal(one, second.state_dict()[name]), name


def test_dropout_is_in_the_step_and_not_in_the_scores(
    make_sample: MakeSample, qwen: Callable[..., Any]
) -> None:
    batches = batches_of(make_sample)
    learner, plain = learner_of(qwen(), dropout=0.5), learner_of(qwen())
    for one in (learner, plain):
        torch.manual_seed(0)
        one.step(batches, sft_loss)
        one.step(batches, sft_loss)
    assert not torch.equal(learner.logprobs(batches[0]).logp_N, plain.logprobs(batches[0]).logp_N)
    assert torch.equal(learner.logprobs(batches[0]).logp_N, learner.logprobs(batches[0]).logp_N)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["wq"], "to name modules of Qwen3ForCausalLM"),
        (["lm_head"], "got lm_head, which is Linear"),
        (["q_proj", "embed_tokens"], "got model.embed_tokens, which is Embedding"),
    ],
)
def test_targets_that_cannot_be_trained_are_refused(
    qwen: Callable[..., Any], targets: list[str], message: str
) -> None:
    with pytest.raises(TrainError, match=message):
        learner_of(qwen(), targets=targets)
