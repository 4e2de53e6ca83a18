"""Two Triton kernels for a language model's head on a GPU, each one pass over a chunk's logits.

Plain torch reads and writes a chunk's logits some ten times; at 150,000 words that takes longer
than the layers below.

Shapes: C tokens of one chunk, V the vocabulary.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 4096


@triton.jit  # type: ignore[untyped-decorator]  # triton leaves it untyped
def _statistics(  # type: ignore[no-untyped-def]  # triton reads annotations as its own
    logits_CV, target_C, logp_C, entropy_C, norm_C, words, scale, BLOCK: tl.constexpr
):
    """A row's log-normaliser, entropy and target's logprob, by an online softmax."""
    row = tl.program_id(0).to(tl.int64)
    start = logits_CV + row * words
    largest = float("-inf")
    total = 0.0  # of exp(z - largest)
    moment = 0.0  # of z exp(z - largest)
    for first in range(0, words, BLOCK):
        at = first + tl.arange(0, BLOCK)
        inside = at < words
        z = tl.load(start + at, mask=inside, other=float("-inf")) * scale
        larger = tl.maximum(largest, tl.max(z, 0))
        shrink = tl.exp(largest - larger)
        weight = tl.exp(z - larger)
        total = total * shrink + tl.sum(weight, 0)
        moment = moment * shrink + tl.sum(tl.where(inside, z * weight, 0.0), 0)
        largest = larger
    norm = largest + tl.log(total)
    chosen = tl.load(start + tl.load(target_C + row)) * scale
    tl.store(norm_C + row, norm)
    tl.store(logp_C + row, chosen - norm)
    tl.store(entropy_C + row, norm - moment / total)


@triton.jit  # type: ignore[untyped-decorator]  # triton leaves it untyped
def _gradient(  # type: ignore[no-untyped-def]  # triton reads annotations as its own
    logits_CV,
    target_C,
    norm_C,
    entropy_C,
    grad_logp_C,
    grad_entropy_C,
    out_CV,
    words,
    scale,
    BLOCK: tl.constexpr,
):
    """The gradient of one block of a row's logits, before their scale."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < words
    z = tl.load(logits_CV + row * words + at, mask=inside, other=0.0) * scale
    logp = z - tl.load(norm_C + row)
    slope = tl.load(grad_logp_C + row)
    bend = tl.load(grad_entropy_C + row) * (logp + tl.load(entropy_C + row))
    chosen = at == tl.load(target_C + row)
    gradient = tl.where(chosen, slope, 0.0) - tl.exp(logp) * (slope + bend)
    out = (gradient * scale).to(out_CV.dtype.element_ty)
    tl.store(out_CV + row * words + at, out, mask=inside)


def statistics(logits_CV: Tensor, target_C: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return logprobs of the targets, entropies and log-normalisers, float32, each of shape C.

    Args:
        logits_CV: float32 and contiguous.
        target_C: int64.
        scale: that the logits are multiplied with.
    """
    logp_C, entropy_C, norm_C = (
        torch.empty(len(logits_CV), device=logits_CV.device, dtype=torch.float32) for _ in range(3)
    )
    _statistics[(len(logits_CV),)](
        logits_CV, target_C, logp_C, entropy_C, norm_C, logits_CV.shape[1], scale, BLOCK=_BLOCK,
        num_warps=8,
    )  # fmt: skip
    return logp_C, entropy_C, norm_C


def logits_gradient(
    logits_CV: Tensor,
    target_C: Tensor,
    norm_C: Tensor,
    entropy_C: Tensor,
    grad_logp_C: Tensor,
    grad_entropy_C: Tensor,
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    """Return the gradient by the unscaled logits, of shape CV and the given type.

    Args:
        logits_CV: float32 and contiguous, as :func:`statistics` was given them.
        target_C: int64.
        norm_C, entropy_C: as :func:`statistics` returned them.
        grad_logp_C, grad_entropy_C: of the loss, float32.
        scale: that the logits are multiplied with.
        dtype: of the result.
    """
    tokens, words = logits_CV.shape
    out_CV = torch.empty_like(logits_CV, dtype=dtype)
    _gradient[(tokens, triton.cdiv(words, _BLOCK))](
        logits_CV, target_C, norm_C, entropy_C, grad_logp_C, grad_entropy_C, out_CV, words, scale,
        BLOCK=_BLOCK, num_warps=8,
    )  # fmt: skip
    return out_CV
