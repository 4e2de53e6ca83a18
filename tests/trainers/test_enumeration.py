"""Expected gradients over every trajectory, in float64, against the true ones or stated biases."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from proofgym.trainers.advantages.gae import gae
from proofgym.trainers.kl import KlConfig, kl_loss, kl_terms
from proofgym.trainers.losses.registry import POLICY_LOSSES
from proofgym.trainers.losses.value_loss import value_loss
from proofgym.trainers.run_config import RlConfig
from tests.trainers.enumeration import (
    Actions,
    World,
    expected_gradient,
    rollouts_of,
    score_terms,
    sum_of,
    world,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def config(kind: str, size: int = 2, **changed: Any) -> RlConfig:
    raw: dict[str, Any] = {
        "kind": "rl", "steps": 1, "group_size": size, "max_tokens": 5, "optimizer": {"lr": 1.0},
        "normaliser": "sequence_sum", "advantage": {"kind": kind},
        "filter_flat_groups": False,
    }  # fmt: skip
    if kind == "gae":
        raw["critic"] = {"kind": "value_head"}
    return RlConfig.model_validate({**raw, **changed})


def close(found: Tensor, right: Tensor) -> None:
    assert right.abs().max() > 1e-3, "an expected gradient of zero would prove nothing"
    torch.testing.assert_close(found, right, atol=1e-10, rtol=0)


SIZES = {"groups of 2": (2, 3), "groups of 3": (3, 2)}
"""Group size and horizon."""


@pytest.mark.parametrize("kind", POLICY_LOSSES)
def test_every_loss_has_the_policy_gradient_on_policy(kind: str) -> None:
    one = world(horizon=3)
    found = expected_gradient(one, config("leave_one_out", loss={"kind": kind}), rollouts_of(one))
    close(found, one.gradient(one.objective()))


@pytest.mark.parametrize(("size", "horizon"), SIZES.values(), ids=SIZES.keys())
def test_group_mean_is_short_by_its_own_share(size: int, horizon: int) -> None:
    one = world(horizon=horizon)
    found = expected_gradient(one, config("group_mean", size), rollouts_of(one))
    close(found, (size - 1) / size * one.gradient(one.objective()))


@pytest.mark.parametrize(("size", "horizon"), SIZES.values(), ids=SIZES.keys())
def test_leave_one_out_is_unbiased(size: int, horizon: int) -> None:
    one = world(horizon=horizon)
    found = expected_gradient(one, config("leave_one_out", size), rollouts_of(one))
    close(found, one.gradient(one.objective()))


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def spread(size: int, p: float, unbiased: bool, term: Any) -> float:
    """E[term(std)] over how many of a group succeed."""
    total = 0.0
    for k in range(size + 1):
        variance = k * (size - k) / size**2 * (size / (size - 1) if unbiased else 1.0)
        total += binomial(k, size, p) * term(math.sqrt(variance))
    return total


def standardised(size: int, p: float) -> float:
    factor = spread(size, p, True, lambda s: s**2 / (s + 1e-4))
    return (size - 1) / size * factor / (p * (1 - p))


BINARY = {
    "group_std": standardised,
    "batch_std": standardised,
    "max_rl": lambda size, p: (1 - (1 - p) ** (size - 1)) / p,
    "reinforce_pp": lambda size, p: (
        spread(size, p, False, lambda s: s**2 / math.sqrt(s**2 + 1e-8)) / (p * (1 - p))
    ),
}


@pytest.mark.parametrize(("size", "horizon"), SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("kind", BINARY)
def test_with_rewards_0_and_1_the_bias_is_the_stated_factor(
    kind: str, size: int, horizon: int
) -> None:
    one = world(vocabulary=2, horizon=horizon, binary=True, same_length=True, seed=3)
    found = expected_gradient(one, config(kind, size), rollouts_of(one))
    p = float(one.objective().detach())
    assert 0.05 < p < 0.95
    close(found, BINARY[kind](size, p) * one.gradient(one.objective()))


def scores(one: World) -> dict[Actions, Tensor]:
    """The gradient of each trajectory's log-probability."""
    return {a: one.gradient(one.probability(a).log()) for a in one.trajectories}


def test_batch_std_and_prompt_mean_over_two_prompts_equal_a_loop() -> None:
    one = world(vocabulary=2, horizon=2)
    settings = config("batch_std", normaliser="prompt_mean")
    found = expected_gradient(one, settings, rollouts_of(one), prompts=2)
    chance = {a: one.chance(a) for a in one.trajectories}
    score, total = scores(one), torch.zeros_like(one.theta_SV)
    for batch in itertools.product(one.trajectories, repeat=4):
        p = math.prod(chance[a] for a in batch)
        rewards = [one.rewards[a] for a in batch]
        mean = sum(rewards) / 4
        std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / 3)
        for i, a in enumerate(batch):
            pair = batch[i // 2 * 2 : i // 2 * 2 + 2]
            centre = sum(one.rewards[b] for b in pair) / 2
            weight = 1 / (2 * sum(len(b) for b in pair))
            total += p * weight * (rewards[i] - centre) / (std + 1e-4) * score[a]
    close(found, total)


def test_the_constant_divides_the_true_gradient_by_max_tokens() -> None:
    one = world()
    found = expected_gradient(one, config("leave_one_out", normaliser="constant"), rollouts_of(one))
    close(found, one.gradient(one.objective()) / 5)


@pytest.mark.parametrize("normaliser", ["token_mean", "sequence_mean", "prompt_mean"])
def test_means_are_the_true_gradient_over_the_length_where_all_are_as_long(normaliser: str) -> None:
    one = world(vocabulary=2, horizon=3, same_length=True)
    found = expected_gradient(one, config("leave_one_out", normaliser=normaliser), rollouts_of(one))
    close(found, one.gradient(one.objective()) / 3)


def test_the_sequence_mean_is_the_gradient_of_reward_over_length() -> None:
    one = world()
    settings = config("leave_one_out", normaliser="sequence_mean")
    found = expected_gradient(one, settings, rollouts_of(one))
    centre = float(one.objective().detach())
    factors = [(a, [(one.rewards[a] - centre) / len(a)] * len(a)) for a in one.trajectories]
    close(found, score_terms(one, factors))


def test_the_token_mean_weighs_a_rollout_by_its_batch() -> None:
    one = world(horizon=2)
    settings = config("leave_one_out", normaliser="token_mean")
    found = expected_gradient(one, settings, rollouts_of(one))
    score, total = scores(one), torch.zeros_like(one.theta_SV)
    for a, b in itertools.product(one.trajectories, repeat=2):
        p = one.chance(a) * one.chance(b)
        difference = one.rewards[a] - one.rewards[b]
        total += p * difference / (len(a) + len(b)) * (score[a] - score[b])
    close(found, total)


def to_go(one: World, actions: Actions, gamma: float = 1.0) -> list[float]:
    rewards = one.reward_K(actions)
    return [sum(gamma**n * r for n, r in enumerate(rewards[t:])) for t in range(len(actions))]


def true_values(one: World) -> dict[Actions, float]:
    """What is still to come, on average, from each prefix on."""
    out: dict[Actions, float] = {}
    for prefix in one.prefixes:
        passing = [a for a in one.trajectories if a[: len(prefix)] == prefix]
        chance = [one.chance(a) for a in passing]
        future = [to_go(one, a)[len(prefix)] for a in passing]
        out[prefix] = sum(p * g for p, g in zip(chance, future, strict=True)) / sum(chance)
    return out


def valued(one: World, values: dict[Actions, float]) -> dict[Actions, Any]:
    return {
        a: replace(r, value_N=torch.tensor([values[a[:t]] for t in range(len(a))]))
        for a, r in rollouts_of(one).items()
    }


def wrong_values(one: World) -> dict[Actions, float]:
    return {s: v + 0.3 * math.sin(3 * n) for n, (s, v) in enumerate(true_values(one).items())}


def critic_config(lam: float) -> RlConfig:
    return config("gae", 1, advantage={"kind": "gae", "lam": lam, "whiten": False})


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_gae_with_exact_values_is_unbiased_at_any_lambda(lam: float) -> None:
    one = world(turns=True)
    found = expected_gradient(one, critic_config(lam), valued(one, true_values(one)))
    close(found, one.gradient(one.objective()))


def test_gae_at_lambda_1_is_unbiased_whatever_the_values() -> None:
    one = world(turns=True)
    found = expected_gradient(one, critic_config(1.0), valued(one, wrong_values(one)))
    close(found, one.gradient(one.objective()))


@pytest.mark.parametrize("lam", [0.0, 0.6])
def test_gae_is_off_by_the_later_errors_of_the_values(lam: float) -> None:
    one = world(turns=True)
    right, wrong = true_values(one), wrong_values(one)
    found = expected_gradient(one, critic_config(lam), valued(one, wrong))
    error = {s: wrong[s] - right[s] for s in right}
    factors = [
        (
            a,
            [
                (1 - lam) * sum(lam ** (n - t - 1) * error[a[:n]] for n in range(t + 1, len(a)))
                for t in range(len(a))
            ],
        )
        for a in one.trajectories
    ]
    bias = score_terms(one, factors)
    assert bias.abs().max() > 1e-3
    close(found, one.gradient(one.objective()) + bias)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_the_critics_only_fixed_point_is_the_true_values(lam: float) -> None:
    one = world(turns=True)
    right, values = true_values(one), wrong_values(one)
    for _ in range(4):  # each sweep makes one more of the horizon's three steps exact
        values = expected_targets(one, values, lam)
    assert values == pytest.approx(right, abs=1e-10)
    state_S = torch.tensor([right[s] for s in one.prefixes]).requires_grad_()
    loss = sum_of(
        one.chance(a) * value_loss(v_N, v_N.detach(), target_N, clip=0.2).loss_N.sum()
        for a, v_N, target_N in targets(one, state_S, lam)
    )
    (gradient,) = torch.autograd.grad(loss, state_S)
    assert gradient.abs().max() < 1e-10


def targets(one: World, state_S: Tensor, lam: float) -> Iterator[tuple[Actions, Tensor, Tensor]]:
    for a in one.trajectories:
        v_N = state_S[[one.prefixes.index(a[:t]) for t in range(len(a))]]
        reward_N = torch.tensor(one.reward_K(a))
        yield a, v_N, v_N.detach() + gae(reward_N, v_N.detach(), lam=lam)


def expected_targets(one: World, values: dict[Actions, float], lam: float) -> dict[Actions, float]:
    state_S = torch.tensor([values[s] for s in one.prefixes])
    total = dict.fromkeys(one.prefixes, 0.0)
    mass = dict.fromkeys(one.prefixes, 0.0)
    for a, _, target_N in targets(one, state_S, lam):
        p = one.chance(a)
        for t in range(len(a)):
            total[a[:t]] += p * float(target_N[t])
            mass[a[:t]] += p
    return {s: total[s] / mass[s] for s in one.prefixes}


def own_share(size: int, reached: float) -> float:
    """E[m / (m + 1)] where m of the others, each with this chance, are there too."""
    return sum(binomial(m, size - 1, reached) * m / (m + 1) for m in range(size))


@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_turn_returns_are_short_by_the_share_of_their_turn(gamma: float) -> None:
    one = world(turns=True)
    settings = config("turn_returns", advantage={"kind": "turn_returns", "gamma": gamma})
    found = expected_gradient(one, settings, rollouts_of(one))
    reach = [sum(one.chance(a) for a in one.trajectories if len(a) > k) for k in range(3)]
    factors = [
        (a, [own_share(2, reach[k]) * g for k, g in enumerate(to_go(one, a, gamma))])
        for a in one.trajectories
    ]
    close(found, score_terms(one, factors))


def test_step_groups_add_each_states_own_share() -> None:
    one = world(turns=True)
    gamma, omega = 0.7, 0.5
    chosen = {"kind": "step_groups", "gamma": gamma, "omega": omega}
    found = expected_gradient(one, config("step_groups", advantage=chosen), rollouts_of(one))
    meet = {
        s: sum(one.chance(a) for a in one.trajectories if a[: len(s)] == s) for s in one.prefixes
    }
    factors = [
        (a, [own_share(2, meet[a[:k]]) * g for k, g in enumerate(to_go(one, a, gamma))])
        for a in one.trajectories
    ]
    right = 0.5 * one.gradient(one.objective()) + omega * score_terms(one, factors)
    close(found, right)


def reference(one: World) -> Tensor:
    return torch.log_softmax(one.theta_SV.detach().flip(1) * 0.7 + 0.2, dim=1)


def state_weights(one: World) -> Tensor:
    return torch.tensor(
        [sum(one.chance(a) for a in one.trajectories if a[: len(s)] == s) for s in one.prefixes]
    )


def forward_kl(one: World) -> Tensor:
    logp_SV = one.logp_SV()
    return (state_weights(one) * (logp_SV.exp() * (logp_SV - reference(one))).sum(1)).sum()


def backward_kl(one: World) -> Tensor:
    ref_SV = reference(one)
    return (state_weights(one) * (ref_SV.exp() * (ref_SV - one.logp_SV())).sum(1)).sum()


DIRECTIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "k2: policy to reference": ({"estimator": "k2"}, forward_kl),
    "k3, unbiased: policy to reference": ({"estimator": "k3"}, forward_kl),
    "k3, plain: reference to policy": ({"estimator": "k3", "unbiased": False}, backward_kl),
}


@pytest.mark.parametrize(("raw", "divergence"), DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_kl_in_the_loss_has_the_gradient_of_the_stated_direction(
    raw: dict[str, Any], divergence: Any
) -> None:
    one = world(vocabulary=4, horizon=2)
    close(expected_kl_gradient(one, KlConfig(beta=1.0, **raw)), one.gradient(divergence(one)))
    other = backward_kl if divergence is forward_kl else forward_kl
    difference = one.gradient(divergence(one)) - one.gradient(other(one))
    assert difference.abs().max() > 1e-2, "the two directions must be told apart"


def expected_kl_gradient(one: World, settings: KlConfig) -> Tensor:
    logp_SV, ref_SV = one.logp_SV(), reference(one)
    terms = []
    for a in one.trajectories:
        logp_N = one.logps(a, logp_SV)
        term_N = kl_loss(logp_N, logp_N.detach(), one.logps(a, ref_SV), settings)
        terms.append(one.chance(a) * term_N.sum())
    return one.gradient(torch.stack(terms).sum())


def test_k1_in_the_loss_would_have_no_gradient_at_all() -> None:
    one = world(vocabulary=4, horizon=2)
    logp_SV, ref_SV = one.logp_SV(), reference(one)
    value = sum_of(
        one.chance(a) * kl_terms(one.logps(a, logp_SV), one.logps(a, ref_SV), "k1").sum()
        for a in one.trajectories
    )
    assert float(value.detach()) == pytest.approx(float(forward_kl(one).detach()), abs=1e-12)
    assert one.gradient(value).abs().max() < 1e-12


def test_k1_in_the_reward_holds_the_whole_sequences_divergence_back() -> None:
    one, beta = world(), 0.3
    ref_SV, logp_SV = reference(one), one.logp_SV()
    rollouts = {
        a: replace(
            r,
            kl_penalty_N=beta
            * kl_terms(one.logps(a, logp_SV).detach(), one.logps(a, ref_SV), "k1"),
        )
        for a, r in rollouts_of(one).items()
    }
    found = expected_gradient(one, config("leave_one_out"), rollouts)
    divergence = sum_of(
        one.probability(a) * (one.logps(a, one.logp_SV()) - one.logps(a, ref_SV)).sum()
        for a in one.trajectories
    )
    close(found, one.gradient(one.objective() - beta * divergence))


def test_token_weights_below_their_cap_are_exact_for_one_token() -> None:
    one = world(vocabulary=4, horizon=1)
    other = replace(one, sampler_SV=one.theta_SV.detach().flip(1) * 0.5)
    settings = config("leave_one_out", correction={"token": {"kind": "tis", "cap": 100.0}})
    rollouts = rollouts_of(other)
    close(expected_gradient(other, settings, rollouts), one.gradient(one.objective()))
    off = config("leave_one_out", correction={"token": {"kind": "none"}})
    without = expected_gradient(other, off, rollouts)
    assert (without - one.gradient(one.objective())).abs().max() > 1e-2
