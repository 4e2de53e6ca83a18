"""Advantages worked by hand."""

import math

import pytest
import torch

from proofgym.trainers.advantages.batch_std import batch_std
from proofgym.trainers.advantages.gae import gae
from proofgym.trainers.advantages.group_std import group_std
from proofgym.trainers.advantages.leave_one_out import leave_one_out
from proofgym.trainers.advantages.max_rl import max_rl
from proofgym.trainers.advantages.reinforce_pp import reinforce_pp
from proofgym.trainers.advantages.step_groups import step_groups
from proofgym.trainers.advantages.turn_returns import turn_returns

ONE_OF_FOUR = torch.tensor([[1.0, 0.0, 0.0, 0.0]])


def test_group_advantages_of_one_success_in_four() -> None:
    # mean 1/4; unbiased variance (9/16 + 3/16) / 3 = 1/4
    assert group_std(ONE_OF_FOUR, epsilon=0.5)[0].tolist() == [0.75, -0.25, -0.25, -0.25]
    assert leave_one_out(ONE_OF_FOUR)[0].tolist() == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3])
    assert max_rl(ONE_OF_FOUR)[0].tolist() == [3.0, -1.0, -1.0, -1.0]


def test_the_batchs_std_is_over_all_groups() -> None:
    # rewards 2, 0, 1, 1: mean 1, unbiased variance 2/3
    found = batch_std([torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])], epsilon=1e-9)
    std = math.sqrt(2 / 3)
    assert found[0].tolist() == pytest.approx([1 / std, -1 / std])
    assert found[1].tolist() == [0.0, 0.0]


def test_max_rl_refuses_costs() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        max_rl(torch.tensor([[1.0, -0.5]]))


def test_reinforce_pp_whitens_over_tokens() -> None:
    # returns 1, 1, 1 and -3: mean 0, variance (1 + 1 + 1 + 9) / 4 = 3
    found = reinforce_pp([torch.tensor([0.0, 0.0, 1.0]), torch.tensor([-3.0])])
    assert found[0].tolist() == pytest.approx([1 / math.sqrt(3)] * 3)
    assert found[1].tolist() == pytest.approx([-math.sqrt(3)])


def test_gae_by_hand() -> None:
    # deltas: 0 + .5*2 - 1 = 0; 1 + .5*0 - 2 = -1; A = [0 + .5*.5*-1, -1]
    found = gae(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), gamma=0.5, lam=0.5)
    assert found.tolist() == [-0.25, -1.0]


def test_turn_returns_compare_the_same_turn() -> None:
    # returns at gamma .5: [1 + .5*2, 2] and [0]; the second turn was reached once
    found = turn_returns([torch.tensor([1.0, 2.0]), torch.tensor([0.0])], gamma=0.5)
    assert [one.tolist() for one in found] == [[1.0, 0.0], [-1.0]]


def test_step_groups_compare_turns_from_one_observation() -> None:
    # totals 2 and 0: A_episode 1, -1. Returns at gamma .5: [1, 2] and [0]. "b" came twice:
    # 2 and 0, centred 1 and -1; "a" came once.
    rewards = [torch.tensor([0.0, 2.0]), torch.tensor([0.0])]
    found = step_groups(rewards, [["a", "b"], ["b"]], gamma=0.5, omega=0.25)
    assert [one.tolist() for one in found] == [[1.0, 1.25], [-1.25]]


def test_numbers_that_are_not_finite_are_refused() -> None:
    nan = torch.tensor([math.nan, 0.0])
    for refused in (
        lambda: gae(nan, torch.zeros(2)),
        lambda: turn_returns([nan, nan]),
        lambda: leave_one_out(nan[None]),
    ):
        with pytest.raises(ValueError, match="finite"):
            refused()
