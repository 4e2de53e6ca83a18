"""Branch values worked by hand: loss = -c w min(r A, clip(r) A), floored at 3 A for bad tokens."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.algorithm_config import AlgorithmConfig
from proofgym.trainers.batch import Batch
from proofgym.trainers.losses.cross_entropy import cross_entropy_loss
from proofgym.trainers.losses.terms import ActionLogprobs, LossSums

CLIP = AlgorithmConfig()


def ppo_clip_loss(
    logp: Tensor,
    old: Tensor,
    behaviour: Tensor,
    advantage: Tensor,
    weight: Tensor,
    config: AlgorithmConfig = CLIP,
) -> LossSums:
    """Sum the default loss, corrected by TIS, over a row of tokens."""
    size = len(logp)
    batch = Batch(
        tokens_T=torch.zeros(size, dtype=torch.int64),
        positions_T=torch.arange(size),
        cumulative_lengths=(0, size),
        action_T=torch.ones(size, dtype=torch.bool),
        behaviour_logp_T=behaviour,
        version_T=torch.zeros(size, dtype=torch.int32),
        advantage_T=advantage,
        w_pg_T=weight,
        w_ce_T=torch.zeros(size),
        temperature=1.0,
        sequence_N=torch.zeros(size, dtype=torch.int64),
        old_logp_N=old,
    )
    scored = ActionLogprobs(logp_N=logp, entropy_N=torch.zeros_like(logp))
    return policy_loss(config)(scored, batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One token: r = exp(logp - old), w = exp(old - behaviour), weight 0.5."""

    ratio: float
    tis: float
    advantage: float
    loss: float
    grad: float


CASES = {
    "on policy, good token": Case(ratio=1, tis=1, advantage=2, loss=-1, grad=-1),
    "on policy, bad token": Case(ratio=1, tis=1, advantage=-2, loss=1, grad=1),
    "good token above 1.28": Case(ratio=1.5, tis=1, advantage=2, loss=-1.28, grad=0),
    "good token below 0.8 still pulls": Case(ratio=0.5, tis=1, advantage=2, loss=-0.5, grad=-0.5),
    "bad token below 0.8": Case(ratio=0.5, tis=1, advantage=-1, loss=0.4, grad=0),
    "bad token above 1.28 still pushes": Case(ratio=1.5, tis=1, advantage=-1, loss=0.75, grad=0.75),
    "bad token above 3: dual clip": Case(ratio=5, tis=1, advantage=-1, loss=1.5, grad=0),
    "good token above 3: no dual clip": Case(ratio=5, tis=1, advantage=1, loss=-0.64, grad=0),
    "TIS above its cap": Case(ratio=1, tis=4, advantage=2, loss=-2, grad=-2),
    "TIS below its cap": Case(ratio=1, tis=0.5, advantage=2, loss=-0.5, grad=-0.5),
    "TIS multiplies a clipped token": Case(ratio=1.5, tis=4, advantage=2, loss=-2.56, grad=0),
    "no advantage": Case(ratio=1.5, tis=4, advantage=0, loss=0, grad=0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_branch_has_the_value_and_gradient_worked_by_hand(case: Case) -> None:
    old = torch.tensor([-1.25], dtype=torch.float64)
    logp = (old + math.log(case.ratio)).requires_grad_()
    behaviour = (old - math.log(case.tis)).requires_grad_()
    advantage = torch.tensor([case.advantage], dtype=torch.float64)
    found = ppo_clip_loss(logp, old, behaviour, advantage, torch.full_like(old, 0.5))
    found.loss.backward()
    assert found.loss.item() == pytest.approx(case.loss, abs=1e-12)
    assert logp.grad is not None
    assert logp.grad.item() == pytest.approx(case.grad, abs=1e-12)
    assert behaviour.grad is None, "the correction is held constant"


def test_the_correction_carries_no_gradient_where_old_is_the_current_logprob() -> None:
    logp = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, dtype=torch.float64)
    found = ppo_clip_loss(logp, logp.detach(), logp.detach() - math.log(1.5), one, one)
    found.loss.backward()
    assert logp.grad is not None
    assert logp.grad.item() == pytest.approx(-1.5)


def test_metrics_are_sums_that_count_each_branch() -> None:
    ratio = torch.tensor([1.5, 0.5, 5.0, 1.0, 1.5, 0.5])
    advantage = torch.tensor([1.0, -1.0, -1.0, 1.0, 0.0, 1.0])
    old = torch.full((6,), -2.0)
    behaviour = old - torch.tensor([0.0, 0.0, 0.0, math.log(4), 0.0, math.log(0.5)])
    found = ppo_clip_loss(old + ratio.log(), old, behaviour, advantage, torch.zeros(6))
    metrics = {name: float(value) for name, value in found.metrics.items()}
    assert found.tokens == 6
    assert metrics["clip/high_frac"] == 1
    assert metrics["clip/low_frac"] == 1
    assert metrics["clip/dual_frac"] == 1
    assert metrics["mismatch/tis_clip_frac"] == 1
    assert metrics["ratio/mean"] == pytest.approx(10.0)
    assert metrics["mismatch/abs_diff_mean"] == pytest.approx(math.log(4) + math.log(2), rel=1e-5)
    # k3 = w - 1 - log w, for w = 4 and w = 1/2
    k3 = (3 - math.log(4)) + (-0.5 + math.log(2))
    assert metrics["mismatch/kl_k3_mean"] == pytest.approx(k3, rel=1e-5)


FINITE = st.floats(-3, 3)
TOKEN = st.tuples(FINITE, FINITE, FINITE, FINITE, st.floats(0, 1))


@settings(deadline=None)
@given(st.lists(TOKEN, min_size=1, max_size=6), st.floats(0.05, 0.9), st.floats(0.05, 2))
def test_the_sum_equals_a_scalar_loop(
    tokens: list[tuple[float, float, float, float, float]], low: float, high: float
) -> None:
    config = AlgorithmConfig.model_validate({"loss": {"clip_low": low, "clip_high": high}})
    columns = torch.tensor(tokens, dtype=torch.float64).T
    expected = 0.0
    for logp, old, behaviour, advantage, weight in tokens:
        ratio = math.exp(logp - old)
        surrogate = min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
        if advantage < 0:
            surrogate = max(surrogate, 3.0 * advantage)
        expected -= weight * min(math.exp(old - behaviour), 2.0) * surrogate
    found = ppo_clip_loss(*columns, config).loss.item()
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_cross_entropy_is_the_weighted_negative_log_likelihood() -> None:
    logp = torch.tensor([-1.0, -3.0], requires_grad=True)
    found = cross_entropy_loss(logp, torch.tensor([0.25, 0.5]))
    found.loss.backward()
    assert found.loss.item() == pytest.approx(1.75)
    assert logp.grad is not None
    assert logp.grad.tolist() == [-0.25, -0.5]
    assert float(found.metrics["loss/nll_mean"]) == 4.0


@pytest.mark.parametrize(
    "bad", [{"clip_low": 1.0}, {"clip_high": 0.0}, {"dual_clip": 1.0}, {"x": 1}]
)
def test_bounds_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        AlgorithmConfig.model_validate({"loss": bad})
