import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proofgym.trainers.advantages.group_mean import group_mean


def test_each_group_is_centred_on_its_own_mean() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.85, 0.85, 0.0, -0.15]])
    expected = torch.tensor([[0.5, -0.5, -0.5, 0.5], [0.4625, 0.4625, -0.3875, -0.5375]])
    torch.testing.assert_close(group_mean(rewards), expected)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6, width=32), st.integers(2, 40))
def test_a_group_of_equal_rewards_gets_exact_zeros(reward: float, size: int) -> None:
    assert group_mean(torch.full((1, size), reward)).tolist() == [[0.0] * size]


@settings(deadline=None)
@given(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=16), st.floats(-5, 5, width=32))
def test_advantages_sum_to_zero_and_ignore_a_shift(rewards: list[float], shift: float) -> None:
    group = torch.tensor([rewards], dtype=torch.float64)
    found = group_mean(group)
    assert found.sum().item() == pytest.approx(0, abs=1e-9)
    if len(set((group + shift)[0].tolist())) > 1:
        torch.testing.assert_close(group_mean(group + shift), found, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    "rewards",
    [torch.zeros(3, 1), torch.zeros(4), torch.tensor([[1.0, float("nan")]])],
    ids=["a group of one", "no groups", "an unscored reward passed as nan"],
)
def test_rewards_without_a_baseline_are_refused(rewards: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="rewards must"):
        group_mean(rewards)
