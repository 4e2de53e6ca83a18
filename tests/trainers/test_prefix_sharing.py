from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proofgym.trainers.batch import Batch, Weighted, lay_out
from proofgym.trainers.prefix_sharing import Sharing
from proofgym.trainers.sample import Sample

MakeSample = Callable[..., Sample]


def batch_of(make_sample: MakeSample, rows: list[list[int]]) -> Batch:
    samples = [
        replace(make_sample("." + "a" * (len(row) - 1)), tokens=np.array(row, dtype=np.int32))
        for row in rows
    ]
    return lay_out([Weighted(sample=sample) for sample in samples])


def test_a_common_prompt_is_computed_once(make_sample: MakeSample) -> None:
    batch = batch_of(make_sample, [[7, 8, 9, 1], [7, 8, 9, 2, 3], [8, 9, 1]])
    sharing = Sharing.of(batch)
    tokens = batch.tokens_T[sharing.computed_U].tolist()
    assert tokens == [7, 8, 9, 1, 2, 3, 8, 9, 1], "equal tokens behind other ones are not shared"
    assert sharing.place_T.tolist() == [0, 1, 2, 3, 0, 1, 2, 4, 5, 6, 7, 8]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8))
def test_two_tokens_are_one_exactly_where_all_up_to_them_is_equal(
    make_sample: MakeSample, rows: list[list[int]]
) -> None:
    sharing = Sharing.of(batch_of(make_sample, rows))
    prefixes = [tuple(row[: end + 1]) for row in rows for end in range(len(row))]
    stands_for: dict[tuple[int, ...], int] = {}
    for prefix, place in zip(prefixes, sharing.place_T.tolist(), strict=True):
        assert stands_for.setdefault(prefix, place) == place
    assert len(set(stands_for.values())) == len(stands_for) == len(sharing.computed_U)
    own = sharing.place_T[sharing.computed_U].tolist()
    assert own == list(range(len(own)))
