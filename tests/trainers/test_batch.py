import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proofgym.trainers.batch import Weighted, pack
from proofgym.trainers.sample import Sample

MakeSample = Callable[..., Sample]


def test_packed_tokens_keep_their_order_and_positions_restart(make_sample: MakeSample) -> None:
    first, second = make_sample(".aa", seed=1), make_sample("..a.a", seed=2)
    (batch,) = pack(
        [Weighted(sample=second, advantage=2, w_pg=0.5), Weighted(sample=first, advantage=-1)],
        token_budget=100,
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
    bucket=st.booleans(),
)
def test_every_sample_is_packed_once_and_within_the_budget(
    make_sample: MakeSample, lengths: list[int], budget: int, bucket: bool
) -> None:
    samples = [make_sample("." + "a" * (n - 1), seed=i) for i, n in enumerate(lengths)]
    weighted = [Weighted(sample=sample) for sample in samples]
    found: list[tuple[int, ...]] = []
    for batch in pack(weighted, token_budget=budget, bucket=bucket):
        edges = batch.cumulative_lengths
        assert edges[-1] <= budget or len(edges) == 2, "only a long sequence alone may exceed it"
        pieces = itertools.pairwise(edges)
        found += [tuple(batch.tokens_T[start:end].tolist()) for start, end in pieces]
    assert sorted(found) == sorted(tuple(sample.tokens.tolist()) for sample in samples)


def test_two_temperatures_in_one_batch_are_refused(make_sample: MakeSample) -> None:
    mixed = [Weighted(sample=make_sample(".a", temperature=t)) for t in (0.7, 1.0)]
    with pytest.raises(ValueError, match=r"\[0.7, 1.0\]"):
        pack(mixed, token_budget=10)


def test_an_action_that_nothing_predicts_is_refused(make_sample: MakeSample) -> None:
    bad = [Weighted(sample=make_sample(".a")), Weighted(sample=make_sample("aa"))]
    with pytest.raises(ValueError, match="sampled one first"):
        pack(bad, token_budget=10)
