"""No layout changes a gradient: micro-batches, order, packing, padding, accumulation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.algorithm_config import AlgorithmConfig
from proofgym.trainers.batch import Weighted, pack
from proofgym.trainers.learner import Learner, LossFunction, OptimizerConfig
from proofgym.trainers.losses.registry import POLICY_LOSSES
from proofgym.trainers.sample import Sample
from proofgym.trainers.sft import sft_loss
from proofgym.trainers.value_head import ValueHead

MakeSample = Callable[..., Sample]
Gradient = Callable[..., list[Tensor]]

PLAIN: dict[str, Any] = {"filter_flat_groups": False}
CRITIC = ValueHead(coefficient=0.7, clip=0.3)
PARTS: dict[str, dict[str, Any]] = {
    **{kind: {"loss": {"kind": kind}} for kind in POLICY_LOSSES},
    "gspo, token form": {"loss": {"kind": "gspo", "token_form": True}},
    "icepop": {"correction": {"token": {"kind": "icepop"}}},
    "sequence mask": {"correction": {"sequence": {"kind": "sequence"}}},
    "geometric mask": {"correction": {"sequence": {"kind": "geometric", "low": 0.5, "high": 2}}},
    "opsm": {"correction": {"opsm": {"kind": "opsm"}}},
    "behaviour anchor": {"anchor": "behaviour", "correction": {"token": {"kind": "none"}}},
    "kl k3": {"kl": {"beta": 0.5}},
    "kl k2": {"kl": {"beta": 0.5, "estimator": "k2"}},
    "entropy": {"entropy_coefficient": 0.5},
    "critic": {"advantage": {"kind": "gae"}, "critic": CRITIC.model_dump()},
}
LOSSES: dict[str, LossFunction] = {
    "cross entropy": sft_loss,
    **{
        name: policy_loss(AlgorithmConfig.model_validate({**PLAIN, **part}))
        for name, part in PARTS.items()
    },
}


def weighted_samples(make_sample: MakeSample) -> list[Weighted]:
    """Rows of unlike lengths, with ratios, values and references around the policy's own.

    Some begin like another, which is then computed once: one read what another sampled, and one
    is the whole beginning of another.
    """
    marks = ["..aaa.a", ".a", "...a..aaa", ".aaaaa", "..a.a.aaaa.a", "....a"]
    begins_like = {2: (0, 3), 4: (2, 7), 5: (4, 5)}  # row: which one, and for how many tokens
    tokens = [make_sample(text, seed=index).tokens for index, text in enumerate(marks)]
    for row, (other, shared) in begins_like.items():
        tokens[row][:shared] = tokens[other][:shared]
    out: list[Weighted] = []
    for index, text in enumerate(marks):
        sample = replace(make_sample(text, seed=index), tokens=tokens[index])
        rng = np.random.default_rng(100 + index)
        size = sample.num_actions
        near = sample.logp[sample.action].astype(np.float64)
        out.append(
            Weighted(
                sample=sample,
                advantage=rng.normal(size=size),
                w_pg=1 / (23 + index),
                w_ce=1 / 29,
                old_logp=near + rng.normal(size=size) / 2,
                ref_logp=near + rng.normal(size=size) / 2,
                value=rng.normal(size=size) / 3,
                target=rng.normal(size=size),
            )
        )
    return out


def learner_of(model: Any) -> Learner:
    learner = Learner(model, OptimizerConfig(lr=1e-3), total_steps=1, critic=CRITIC)
    assert learner.value_head is not None
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():  # away from 0, so that its gradient reaches the trunk
        weight = learner.value_head.linear.weight
        weight.copy_(torch.randn(weight.shape, generator=rng, dtype=weight.dtype))
    return learner


def check_layout(
    make_sample: MakeSample, qwen: Callable[..., Any], gradient: Gradient, name: str,
    dtype: torch.dtype, order: list[int], budget: int, reorder: bool,
) -> None:  # fmt: skip
    learner, weighted = learner_of(qwen(dtype)), weighted_samples(make_sample)
    alone = [batch for one in weighted for batch in pack([one], token_budget=1)]
    laid_out = pack([weighted[i] for i in order], token_budget=budget, reorder=reorder)
    expected = gradient(learner, alone, LOSSES[name])
    found = gradient(learner, laid_out, LOSSES[name])
    scale = max(float(one.abs().max()) for one in expected)
    assert scale > 1e-6, "a gradient of zero would prove nothing"
    bound = (1e-12 if dtype == torch.float64 else 1e-5) * scale
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=bound, rtol=0)


@settings(deadline=None, max_examples=2, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(range(6)), budget=st.integers(1, 60), reorder=st.booleans())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.slow
def test_no_layout_changes_the_gradient_of_any_loss(
    make_sample: MakeSample, qwen: Callable[..., Any], gradient: Gradient, name: str,
    dtype: torch.dtype, order: list[int], budget: int, reorder: bool,
) -> None:  # fmt: skip
    check_layout(make_sample, qwen, gradient, name, dtype, order, budget, reorder)


def test_one_packed_batch_has_the_gradient_of_single_rows(
    make_sample: MakeSample, qwen: Callable[..., Any], gradient: Gradient
) -> None:
    order = [3, 0, 5, 1, 4, 2]
    for name in ("ppo_clip", "gspo", "cross entropy"):
        check_layout(make_sample, qwen, gradient, name, torch.float64, order, 999, False)
