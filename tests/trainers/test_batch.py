import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proofgym.trainers.batch import Weighted, pack, packing_efficiency
from proofgym.trainers.sample import Sample

MakeSample = Callable[..., Sample]


def test_packed_tokens_keep_their_order_and_positions_restart(make_sample: MakeSample) -> None:
    first, second = make_sample(".aa", seed=1), make_sample("..a.a", seed=2)
    (batch,) = pack(
        [Weighted(sample=first, advantage=-1), Weighted(sample=second, advantage=2, w_pg=0.5)],
        token_budget=100,
        reorder=False,
    )
    assert batch.tokens_T.tolist() == [*first.tokens, *second.tokens]
    assert batch.positions_T.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert batch.cumulative_lengths == (0, 3, 8)
    assert batch.advantage_T.tolist() == [0, -1, -1, 0, 0, 2, 0, 2]
    assert batch.w_pg_T.tolist() == [0, 0, 0, 0, 0, 0.5, 0, 0.5]
    assert batch.sequence_N.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(batch.behaviour_logp_T, [*first.logp, *second.logp])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(2, 12), min_size=1, max_size=10),
    budget=st.integers(1, 40),
    reorder=st.booleans(),
)
def test_every_sample_is_packed_once_and_within_the_budget(
    make_sample: MakeSample, lengths: list[int], budget: int, reorder: bool
) -> None:
    samples = [make_sample("." + "a" * (n - 1), seed=i) for i, n in enumerate(lengths)]
    weighted = [Weighted(sample=sample) for sample in samples]
    found: list[tuple[int, ...]] = []
    for batch in pack(weighted, token_budget=budget, reorder=reorder):
        edges = batch.cumulative_lengths
        assert edges[-1] <= budget or len(edges) == 2, "only a long sequence alone may exceed it"
        pieces = itertools.pairwise(edges)
        found += [tuple(batch.tokens_T[start:end].tolist()) for start, end in pieces]
    assert sorted(found) == sorted(tuple(sample.tokens.tolist()) for sample in samples)


MIXES: dict[str, Callable[[np.random.Generator], Any]] = {
    "log-normal around 300": lambda rng: rng.lognormal(5.7, 0.8, 512),
    "half short, half long": lambda rng: np.concatenate(
        [rng.integers(20, 200, 256), rng.integers(1000, 3000, 256)]
    ),
    "uniform up to half the budget": lambda rng: rng.integers(2, 2048, 400),
    "many cut off at the limit": lambda rng: np.minimum(rng.lognormal(6.5, 1.0, 512), 1365),
}


@pytest.mark.parametrize("draw", MIXES.values(), ids=MIXES.keys())
def test_mixed_lengths_fill_the_budget_to_95_percent(
    make_sample: MakeSample, draw: Callable[[np.random.Generator], Any]
) -> None:
    lengths = np.clip(draw(np.random.default_rng(0)), 2, 4096).astype(int)
    weighted = [Weighted(sample=make_sample("." * (n - 1) + "a")) for n in lengths]
    efficiency = packing_efficiency(pack(weighted, token_budget=4096), 4096)
    assert 0.95 <= efficiency <= 1.0


def test_packing_efficiency_is_the_part_of_the_room_that_holds_tokens(
    make_sample: MakeSample,
) -> None:
    weighted = [Weighted(sample=make_sample("." * n + "a")) for n in (2, 3, 6)]
    batches = pack(weighted, token_budget=10)
    assert [batch.cumulative_lengths for batch in batches] == [(0, 7, 10), (0, 4)]
    assert packing_efficiency(batches, 10) == 0.7


def test_two_temperatures_in_one_batch_are_refused(make_sample: MakeSample) -> None:
    mixed = [Weighted(sample=make_sample(".a", temperature=t)) for t in (0.7, 1.0)]
    with pytest.raises(ValueError, match=r"\[0.7, 1.0\]"):
        pack(mixed, token_budget=10)


def test_an_action_that_nothing_predicts_is_refused(make_sample: MakeSample) -> None:
    bad = [Weighted(sample=make_sample(".a")), Weighted(sample=make_sample("aa"))]
    with pytest.raises(ValueError, match="sampled one first"):
        pack(bad, token_budget=10)
