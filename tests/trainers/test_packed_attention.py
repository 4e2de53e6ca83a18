"""What FlashAttention over shared prompts needs around the kernel, which only a GPU has."""

import torch
from torch.autograd import gradcheck

from proofgym.trainers.packed_attention import Packing, Ragged, Shared, _Keep, _Repeat, layout_for
from proofgym.trainers.prefix_sharing import Sharing

CPU = torch.device("cpu")
# of 8 packed tokens, the fifth and sixth are the first two over again
SHARING = Sharing(
    computed_U=torch.tensor([0, 1, 2, 3, 6, 7]), place_T=torch.tensor([0, 1, 2, 3, 0, 1, 4, 5])
)


def test_copies_are_the_tokens_that_are_not_computed() -> None:
    shared = Shared.of(SHARING, CPU)

    assert shared.copy_C.tolist() == [4, 5]
    assert shared.original_C.tolist() == [0, 1]


def test_repeated_rows_pass_all_gradients_to_their_original() -> None:
    shared = Shared.of(SHARING, CPU)
    places = (shared.place_T, shared.computed_U, shared.copy_C, shared.original_C)
    row_UD = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)

    assert _Repeat.apply(row_UD, *places)[4].equal(row_UD[0])
    assert gradcheck(lambda rows: _Repeat.apply(rows, *places), (row_UD,))


def test_dropped_rows_get_no_gradient() -> None:
    shared = Shared.of(SHARING, CPU)
    row_TD = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)

    assert _Keep.apply(row_TD, shared.computed_U)[4].equal(row_TD[6])
    assert gradcheck(lambda rows: _Keep.apply(rows, shared.computed_U), (row_TD,))


def test_a_kernel_without_padding_is_told_bounds_and_a_power_of_two() -> None:
    ragged = Ragged.of((0, 3, 8), CPU, torch.bfloat16, SHARING)

    assert ragged.bounds.tolist() == [0, 3, 8]
    assert (ragged.bounds.dtype, ragged.longest) == (torch.int32, 8)
    assert ragged.shared is not None


def test_only_a_gpu_has_the_kernel() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert isinstance(layout_for((0, 4, 8), CPU, dtype, SHARING), Packing)
