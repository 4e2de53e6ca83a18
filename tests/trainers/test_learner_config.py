"""Lower precision and recomputed activations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from proofgym.trainers.batch import Weighted, pack
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig
from proofgym.trainers.sample import Sample
from proofgym.trainers.sft import sft_loss

MakeSample = Callable[..., Sample]


def learner_of(model: Any, **settings: Any) -> Learner:
    config = LearnerConfig.model_validate(settings)
    return Learner(model, OptimizerConfig(lr=1e-2), total_steps=9, config=config)


def batches_of(make_sample: MakeSample) -> list[Any]:
    samples = [make_sample(text, seed=i) for i, text in enumerate(["..aaa.a", ".aa", "...a.aa"])]
    return pack([Weighted(sample=sample, w_ce=1 / 9) for sample in samples], token_budget=12)


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_recomputed_activations_change_no_bit_of_a_step(
    make_sample: MakeSample, qwen: Callable[..., Any], adapter: str
) -> None:
    reports, models = [], []
    for again in (False, True):
        model = qwen()
        learner = learner_of(model, activation_checkpointing=again, adapter={"kind": adapter})
        calls = []
        layer: Any = learner.model.get_decoder().layers[0].mlp  # type: ignore[operator]
        layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        reports.append(learner.step(batches_of(make_sample), sft_loss).metrics)
        models.append(model.state_dict())
        assert len(calls) == len(batches_of(make_sample)) * (2 if again else 1)
    assert reports[0] == reports[1]
    for name, one in models[0].items():
        assert torch.equal(one, models[1][name]), name


def test_bfloat16_layers_leave_weights_optimiser_and_logprobs_in_float32(
    make_sample: MakeSample, qwen: Callable[..., Any]
) -> None:
    batches = batches_of(make_sample)
    exact, lower = (
        learner_of(qwen(torch.float32)),
        learner_of(qwen(torch.float32), compute_dtype="bfloat16"),
    )
    with torch.no_grad():
        expected, found = (one.logprobs(batches[0]).logp_N for one in (exact, lower))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.2, rtol=0)
    assert not torch.equal(found, expected)
    lower.step(batches, sft_loss)
    assert {one.dtype for one in lower.model.parameters()} == {torch.float32}
    moments = [s["exp_avg"].dtype for s in lower.optimizer.state_dict()["state"].values()]
    assert set(moments) == {torch.float32}
