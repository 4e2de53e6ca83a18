"""Losses, KL, corrections, weights and penalties worked by hand: one token, or two."""

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from proofgym.trainers.corrections.sequence_masks import (
    GeometricMask,
    Opsm,
    SequenceMask,
    opsm_mask,
    sequence_mask,
)
from proofgym.trainers.corrections.token_weights import IcePop, Tis, icepop_weights, tis_weights
from proofgym.trainers.kl import kl_terms
from proofgym.trainers.losses.registry import POLICY_LOSSES, PolicyLossConfig
from proofgym.trainers.losses.terms import PolicyTokens
from proofgym.trainers.losses.value_loss import value_loss
from proofgym.trainers.normaliser import token_weights
from proofgym.trainers.overlong import soft_overlong

SIGMOID = 1 / (1 + math.exp(-1.0))
# kind, old probability, new probability, advantage, loss, gradient in the new logprob
CASES: list[tuple[dict[str, Any], float, float, float, float, float]] = [
    ({"kind": "reinforce"}, 0.25, 0.5, 2.0, -2 * math.log(0.5), -2.0),
    ({"kind": "gspo"}, 0.25, 0.5, 2.0, -2 * 1.0004, 0.0),
    ({"kind": "gspo"}, 0.25, 0.5, -2.0, 4.0, 4.0),
    ({"kind": "gspo", "token_form": True}, 0.25, 0.5, -2.0, 4.0, 4.0),
    ({"kind": "cispo", "clip_high": 0.5}, 0.25, 0.5, 2.0, -3 * math.log(0.5), -3.0),
    ({"kind": "cispo"}, 0.25, 0.5, -1.0, 2 * math.log(0.5), 2.0),
    ({"kind": "dppo_tv"}, 0.25, 0.5, 1.0, 0.0, 0.0),
    ({"kind": "dppo_tv"}, 0.25, 0.5, -1.0, 2.0, 2.0),
    ({"kind": "dppo_tv"}, 0.5, 0.25, -1.0, 0.0, 0.0),
    # r = 2, tau = 1: 4 sigmoid(1), slope 4 sigmoid (1 - sigmoid) r
    ({"kind": "sapo"}, 0.25, 0.5, 1.0, -4 * SIGMOID, -8 * SIGMOID * (1 - SIGMOID)),
]


@pytest.mark.parametrize(("raw", "old", "new", "advantage", "loss", "gradient"), CASES)
def test_one_token_has_the_loss_and_gradient_worked_by_hand(
    raw: dict[str, Any], old: float, new: float, advantage: float, loss: float, gradient: float
) -> None:
    logp = torch.tensor([math.log(new)], dtype=torch.float64, requires_grad=True)
    tokens = PolicyTokens(
        logp_N=logp,
        old_logp_N=torch.tensor([math.log(old)], dtype=torch.float64),
        advantage_N=torch.tensor([advantage], dtype=torch.float64),
        sequence_N=torch.zeros(1, dtype=torch.int64),
    )
    settings: Any = TypeAdapter(PolicyLossConfig).validate_python(raw)
    found = POLICY_LOSSES[raw["kind"]](tokens, settings).loss_N.sum()
    (slope,) = torch.autograd.grad(found, logp)
    assert found.item() == pytest.approx(loss, rel=1e-12, abs=1e-15)
    assert slope.item() == pytest.approx(gradient, rel=1e-12, abs=1e-15)


def test_the_value_loss_takes_the_worse_of_plain_and_clipped() -> None:
    value = torch.tensor([1.0, 0.1], requires_grad=True)
    found = value_loss(value, torch.zeros(2), torch.tensor([2.0, 1.0]), clip=0.2).loss_N
    # 1.0 is clipped to 0.2: (0.2 - 2)^2 / 2 is worse than 1 / 2, and has no gradient
    assert found.tolist() == pytest.approx([1.62, 0.405])
    found.sum().backward()
    assert value.grad is not None
    assert value.grad.tolist() == pytest.approx([0.0, -0.9])


@pytest.mark.parametrize(
    ("estimator", "value"),
    [("k1", math.log(2)), ("k2", math.log(2) ** 2 / 2), ("k3", math.log(2) - 0.5)],
)
def test_kl_estimators_where_the_policy_is_twice_as_sure(estimator: str, value: float) -> None:
    found = kl_terms(torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)]), estimator)
    assert found.item() == pytest.approx(value, rel=1e-6)


def test_corrections_by_hand() -> None:
    log_w = torch.tensor([0.25, 1.0, 4.0, 8.0]).log()
    assert tis_weights(log_w, Tis()).tolist() == pytest.approx([0.25, 1, 2, 2])
    assert icepop_weights(log_w, IcePop()).tolist() == pytest.approx([0, 1, 4, 0])
    sequence = torch.tensor([0, 0, 1, 1])  # products 1/4 and 32, geometric means 1/2 and 5.7
    wide = {"low": 0.4, "high": 5.0}
    assert (
        sequence_mask(log_w, sequence, GeometricMask(**wide)).tolist() == [True] * 2 + [False] * 2
    )
    assert sequence_mask(log_w, sequence, SequenceMask(**wide)).tolist() == [False] * 4
    drifted, zero = torch.tensor([-0.3, -0.1, -0.3, -0.3]), torch.zeros(4)
    bad = torch.tensor([-1.0, -1.0, 1.0, 1.0])  # the first sequence's drift is 0.2
    assert opsm_mask(drifted, zero, bad, sequence, Opsm()).tolist() == [False] * 2 + [True] * 2
    assert opsm_mask(drifted, zero, bad, sequence, Opsm(delta=0.25)).all()


WEIGHTS: dict[Any, list[list[float]]] = {
    "token_mean": [[1 / 8, 1 / 8, 0], [1 / 8]],
    "sequence_mean": [[1 / 3, 1 / 9, 0], [1 / 12]],
    "prompt_mean": [[1 / 8, 1 / 8, 0], [1 / 8]],
    "sequence_sum": [[1 / 3, 1 / 3, 0], [1 / 3]],
    "constant": [[1 / 30, 1 / 30, 0], [1 / 30]],
}


@pytest.mark.parametrize("normaliser", WEIGHTS)
def test_weights_of_rollouts_of_1_3_and_4_tokens_and_one_left_out(normaliser: Any) -> None:
    found = token_weights([[1, 3, 0], [4]], normaliser, max_tokens=10)
    assert found == [pytest.approx(group) for group in WEIGHTS[normaliser]]


def test_a_batch_without_tokens_has_no_weights() -> None:
    with pytest.raises(ValueError, match="at least one sampled token"):
        token_weights([[0], []], "token_mean", max_tokens=1)


@pytest.mark.parametrize(
    ("length", "penalty"), [(10, 0), (80, 0), (90, -0.5), (100, -1), (120, -1)]
)
def test_the_soft_punishment_falls_over_the_last_fifth(length: int, penalty: float) -> None:
    assert soft_overlong(length, max_tokens=100, cache_tokens=20) == penalty
