"""Attention over sequences laid end to end, through transformers' attention interface.

Everything but attention runs on exactly the U packed tokens that are computed: a common prefix is
computed once. Attention itself takes whole sequences. In bfloat16 on a GPU it is torch's
variable-length FlashAttention; elsewhere sequences of like length are taken together, padded to the
longest of them, and given to torch's causal kernel, which works on any device.

Shapes: T packed tokens, U of them computed, S sequences taken together, L the longest of them,
H heads, D head size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from proofgym.trainers.errors import TrainError
from proofgym.trainers.prefix_sharing import Sharing
from proofgym.trainers.upload import upload

NAME = "proofgym_packed"
_SHARED_HEADS: dict[str, Any] = (
    {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}
)
"""Before torch 2.12 it lets query heads share key heads without being told."""

FLASH_DTYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ragged:
    """Where packed sequences begin, for a kernel that takes them as they are.

    Args:
        bounds: int32 on the device, S + 1 boundaries.
        longest: an upper bound of the lengths, a power of two: so a compiled layer meets few.
        dtype: to attend in.
        shared: where tokens of common prefixes go; None where nothing is shared.
    """

    bounds: Tensor
    longest: int
    dtype: torch.dtype
    shared: "Shared | None"

    @staticmethod
    def of(
        cumulative_lengths: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
        sharing: Sharing,
    ) -> "Ragged":
        """Take sequences whose boundaries are given."""
        bounds = torch.tensor(cumulative_lengths, dtype=torch.int32)
        alone = len(sharing.computed_U) == len(sharing.place_T)
        return Ragged(
            bounds=upload(bounds, device),
            longest=1 << (int(bounds.diff().max()) - 1).bit_length(),
            dtype=dtype,
            shared=None if alone else Shared.of(sharing, device),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """A :class:`Sharing` on the device.

    Args:
        place_T, computed_U: as there.
        copy_C: those of the T tokens that are not computed themselves.
        original_C: which of the U tokens each of them is.
    """

    place_T: Tensor
    computed_U: Tensor
    copy_C: Tensor
    original_C: Tensor

    @staticmethod
    def of(sharing: Sharing, device: torch.device) -> "Shared":
        """Find the copies, and take everything to the device."""
        copied_T = torch.ones_like(sharing.place_T, dtype=torch.bool)
        copied_T[sharing.computed_U] = False
        copy_C = copied_T.nonzero().squeeze(1)
        return Shared(
            place_T=upload(sharing.place_T, device),
            computed_U=upload(sharing.computed_U, device),
            copy_C=upload(copy_C, device),
            original_C=upload(sharing.place_T[copy_C], device),
        )


class _Repeat(torch.autograd.Function):
    """From U computed rows to T; only the copies' gradients are added up, the rest is a gather."""

    @staticmethod
    def forward(
        ctx: Any, row_U: Tensor, place_T: Tensor, computed_U: Tensor, copy_C: Tensor, at_C: Tensor
    ) -> Tensor:
        ctx.save_for_backward(computed_U, copy_C, at_C)
        return row_U.index_select(0, place_T)

    @staticmethod
    def backward(ctx: Any, grad_T: Tensor) -> tuple[Tensor, None, None, None, None]:
        computed_U, copy_C, at_C = ctx.saved_tensors
        grad_U = grad_T.index_select(0, computed_U)
        grad_U = grad_U.index_add(0, at_C, grad_T.index_select(0, copy_C))
        return grad_U, None, None, None, None


class _Keep(torch.autograd.Function):
    """From T rows to the U computed ones, which are different rows: nothing is to be added up."""

    @staticmethod
    def forward(ctx: Any, row_T: Tensor, computed_U: Tensor) -> Tensor:
        ctx.save_for_backward(computed_U)
        ctx.rows = len(row_T)
        return row_T.index_select(0, computed_U)

    @staticmethod
    def backward(ctx: Any, grad_U: Tensor) -> tuple[Tensor, None]:
        (computed_U,) = ctx.saved_tensors
        grad_T = grad_U.new_zeros(ctx.rows, *grad_U.shape[1:])
        return grad_T.index_copy(0, computed_U, grad_U), None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packing:
    """Where each packed token stands in the padded layout.

    Args:
        groups: for sequences taken together, shape SL: which of the U computed tokens stands at
            (sequence, position); a group's own first token on padding.
        scatter_U: a padded place, of all groups' joined, that holds token u.
    """

    groups: tuple[Tensor, ...]
    scatter_U: Tensor

    @staticmethod
    def of(cumulative_lengths: Sequence[int], device: torch.device, sharing: Sharing) -> "Packing":
        """Lay out sequences whose boundaries are given."""
        bounds = torch.tensor(cumulative_lengths)
        starts, lengths = bounds[:-1], bounds.diff()
        groups: list[Tensor] = []
        scatter_T = torch.empty(int(bounds[-1]), dtype=torch.long)
        places = 0
        for rows in _of_like_length(lengths.tolist()):
            longest = int(lengths[rows].max())
            position_SL = torch.arange(longest).expand(len(rows), longest)
            inside_SL = position_SL < lengths[rows, None]
            token_SL = starts[rows, None] + position_SL
            padded_SL = torch.where(inside_SL, token_SL, starts[rows[0]])
            groups.append(sharing.place_T[padded_SL].to(device))
            scatter_T[token_SL[inside_SL]] = places + inside_SL.flatten().nonzero().squeeze(1)
            places += inside_SL.numel()
        scatter_U = scatter_T[sharing.computed_U]
        return Packing(groups=tuple(groups), scatter_U=scatter_U.to(device))


def layout_for(
    cumulative_lengths: Sequence[int], device: torch.device, dtype: torch.dtype, sharing: Sharing
) -> Ragged | Packing:
    """Lay sequences out for the attention kernel that the device has for this type."""
    if device.type == "cuda" and dtype in FLASH_DTYPES:
        return Ragged.of(cumulative_lengths, device, dtype, sharing)
    return Packing.of(cumulative_lengths, device, sharing)


def _of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """Group sequences: all together where padding at most doubles them, else by powers of two."""
    if max(lengths) * len(lengths) <= 2 * sum(lengths):
        return [list(range(len(lengths)))]
    groups: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        groups.setdefault((length - 1).bit_length(), []).append(index)
    return list(groups.values())


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    packing: Ragged | Packing,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attend causally within each packed sequence; query is [1, H, U, D].

    Raises:
        TrainError: the model's attention has sinks.
    """
    if s_aux is not None:
        raise TrainError(
            f"expected plain attention, got {type(module).__name__} with attention sinks. The "
            "learner cannot score this model exactly; train another one."
        )
    if isinstance(packing, Ragged):
        if softcap is not None:
            raise TrainError(
                f"expected attention without a cap on its scores, got {type(module).__name__} with "
                f"softcap {softcap:g}: FlashAttention leaves it out. Train this model with "
                "learner.compute_dtype = 'float32'."
            )
        return _attend_ragged(query, key, value, packing, scaling, sliding_window), None
    joined = [
        _attend(query, key, value, group_SL, scaling, sliding_window, softcap)
        for group_SL in packing.groups
    ]
    return torch.cat(joined).index_select(0, packing.scatter_U)[None], None


def _attend_ragged(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Ragged,
    scaling: float,
    sliding_window: int | None,
) -> Tensor:
    """Attend with FlashAttention; the result is [1, U, H, D]."""
    parts = [tensor[0].transpose(0, 1).to(packing.dtype) for tensor in (query, key, value)]
    shared = packing.shared
    if shared is not None:
        places = (shared.place_T, shared.computed_U, shared.copy_C, shared.original_C)
        parts = [_Repeat.apply(part_UHD, *places) for part_UHD in parts]  # type: ignore[no-untyped-call]
    query_THD, key_TKD, value_TKD = parts
    attended = varlen_attn(
        query_THD,
        key_TKD,
        value_TKD,
        packing.bounds,
        packing.bounds,
        packing.longest,
        packing.longest,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        **_SHARED_HEADS,
    )
    assert isinstance(attended, Tensor)
    if shared is not None:
        attended = _Keep.apply(attended, shared.computed_U)  # type: ignore[no-untyped-call]
    return attended[None]


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    group_SL: Tensor,
    scaling: float,
    sliding_window: int | None,
    softcap: float | None,
) -> Tensor:
    """Attend within some of the sequences; the result is [S*L, H, D]."""
    query_SHLD, key_SKLD, value_SKLD = (_rows(tensor, group_SL) for tensor in (query, key, value))
    longest = group_SL.shape[1]
    mask_LL = None
    if softcap is not None or (sliding_window is not None and sliding_window < longest):
        ones_LL = torch.ones(longest, longest, dtype=torch.bool, device=query.device)
        mask_LL = ones_LL.tril()
        if sliding_window is not None:
            mask_LL &= ones_LL.triu(1 - sliding_window)
    if softcap is not None:
        assert mask_LL is not None
        attended_SHLD = _capped(query_SHLD, key_SKLD, value_SKLD, mask_LL, scaling, softcap)
    else:
        attended_SHLD = scaled_dot_product_attention(
            query_SHLD,
            key_SKLD,
            value_SKLD,
            attn_mask=mask_LL,
            is_causal=mask_LL is None,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
    return attended_SHLD.transpose(1, 2).flatten(0, 1)


def _rows(tensor: Tensor, group_SL: Tensor) -> Tensor:
    """Take [1, H, U, D] to [S, H, L, D], whole tokens at a time: they lie together in memory."""
    rows_UHD = tensor[0].transpose(0, 1)
    taken = rows_UHD.flatten(1).index_select(0, group_SL.flatten())
    return taken.view(*group_SL.shape, *rows_UHD.shape[1:]).transpose(1, 2)


def _capped(
    query_SHLD: Tensor,
    key_SKLD: Tensor,
    value_SKLD: Tensor,
    mask_LL: Tensor,
    scaling: float,
    softcap: float,
) -> Tensor:
    """Attend with Gemma 2's cap on the scores, which torch's kernel lacks.

    Source: Gemma 2, arXiv:2408.00118, section 2.
    """
    shared = query_SHLD.shape[1] // key_SKLD.shape[1]
    key_SHLD, value_SHLD = (x.repeat_interleave(shared, 1) for x in (key_SKLD, value_SKLD))
    scores_SHLL = query_SHLD @ key_SHLD.transpose(-1, -2) * scaling
    scores_SHLL = torch.tanh(scores_SHLL / softcap) * softcap
    exact = torch.promote_types(scores_SHLL.dtype, torch.float32)
    weights_SHLL = scores_SHLL.masked_fill(~mask_LL, -torch.inf).softmax(-1, dtype=exact)
    return weights_SHLL.to(value_SHLD.dtype) @ value_SHLD


AttentionInterface.register(NAME, packed_attention)


@contextmanager
def attend_packed(model: nn.Module) -> Iterator[None]:
    """Let a transformers model attend to packed sequences while the block lasts."""
    config: Any = model.config
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
