"""Logprobs and entropies of sampled tokens, without ever holding all of their logits.

The head's logits are made for a few tokens at a time, in float32, and again in the backward pass:
with 152,000 words and 16,000 tokens they would take 9.9 GB, and their gradient as much again.
In bfloat16 on a GPU the products' factors are bfloat16 and their sums, which are the logits, are
float32; what follows is one pass over them, by a kernel.

Shapes: N action tokens, H hidden size, V the vocabulary, C tokens of one chunk.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from proofgym.trainers.errors import TrainError

CHUNK_LOGITS = 2**25
"""Logits made at once: 128 MiB in float32, of which a pass holds two or three."""

GPU_CHUNK_LOGITS = 2**28
"""Logits made at once by the kernels: 1 GiB, and half as much for their gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitShape:
    """What becomes of the head's output before the softmax.

        logits = cap * tanh(multiplier * output / cap) / temperature

    Args:
        multiplier: Cohere's ``logit_scale``, or one over Granite's ``logits_scaling``.
        cap: Gemma 2's ``final_logit_softcapping``; None: no cap.
        temperature: of the sampling, above 0.
    """

    multiplier: float = 1.0
    cap: float | None = None
    temperature: float = 1.0


def logit_shape(model: nn.Module, temperature: float) -> LogitShape:
    """Read a transformers model's settings. Greedy samples (0) are scored at temperature 1."""
    config: Any = model.config
    text = config.get_text_config().to_dict()
    scaling = text.get("logits_scaling")
    scale = text.get("logit_scale")
    return LogitShape(
        multiplier=(1.0 if scale is None else scale) / (1.0 if scaling is None else scaling),
        cap=text.get("final_logit_softcapping"),
        temperature=temperature or 1.0,
    )


def head_of(model: nn.Module) -> nn.Linear:
    """Return a transformers model's head.

    Raises:
        TrainError: it is not exactly a linear map, so its weight would not say what it computes.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]  # of transformers' models
    if type(head) is not nn.Linear:
        raise TrainError(
            f"expected a linear head, got {type(head).__name__} on {type(model).__name__}. The "
            "learner cannot score it exactly; leave the head without an adapter, or train another "
            "model."
        )
    return head


def token_logprobs(
    hidden_NH: Tensor,
    head: nn.Linear,
    target_N: Tensor,
    shape: LogitShape,
    *,
    entropy_gradient: bool = False,
    compute_dtype: torch.dtype = torch.float32,
    chunk_logits: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Score tokens by the softmax over a head's logits.

    Args:
        hidden_NH: the states that predict the tokens; any float type.
        head: its weight may be the embeddings' own.
        target_N: int64, the tokens.
        shape: of the logits.
        entropy_gradient: whether the entropies are differentiable.
        compute_dtype: of the products' factors, where the device and the head allow a lower one.
        chunk_logits: how many logits are held at once; at least one token's are. None: as many
            as suit the device.

    Returns:
        Logprobs and entropies (in nats), each of shape N; float32, or float64 where the weights
        are.
    """
    lower = compute_dtype in (torch.bfloat16, torch.float16)
    bias: Tensor | None = head.bias
    plain = bias is None and shape.cap is None
    by_kernels = lower and hidden_NH.is_cuda and hidden_NH.numel() > 0 and plain
    if chunk_logits is None:
        chunk_logits = GPU_CHUNK_LOGITS if by_kernels else CHUNK_LOGITS
    chunk = max(1, chunk_logits // head.out_features)
    if by_kernels:
        scale = shape.multiplier / shape.temperature
        lowered = (hidden_NH.to(compute_dtype), head.weight, target_N, scale, chunk)
        by: tuple[Tensor, Tensor] = _KernelLogprobs.apply(*lowered, entropy_gradient)  # type: ignore[no-untyped-call]
        return by
    found: tuple[Tensor, Tensor] = _TokenLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden_NH, head.weight, head.bias, target_N, shape, chunk, entropy_gradient
    )
    return found


class _TokenLogprobs(torch.autograd.Function):
    """With z the logits, p their softmax and H its entropy, for each token's row:

    d logp / d z_j = [j = target] - p_j        d H / d z_j = -p_j (log p_j + H)
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        shape: LogitShape,
        chunk: int,
        entropy_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        exact = torch.promote_types(weight_VH.dtype, torch.float32)  # float64 stays, for proofs
        logp_N = hidden_NH.new_empty(len(hidden_NH), dtype=exact)
        entropy_N, norm_N = torch.empty_like(logp_N), torch.empty_like(logp_N)
        with torch.autocast(hidden_NH.device.type, enabled=False):
            weight_VH = weight_VH.to(exact)
            for start in range(0, len(hidden_NH), chunk):
                part = slice(start, start + chunk)
                logits_CV, _ = _logits(hidden_NH[part].to(exact), weight_VH, bias_V, shape)
                norm_N[part] = logits_CV.logsumexp(-1)
                logits_CV -= norm_N[part, None]
                logp_N[part] = logits_CV.gather(1, target_N[part, None]).squeeze(1)
                entropy_N[part] = -logits_CV.exp().mul_(logits_CV).sum(-1)
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, target_N, norm_N, entropy_N)
        ctx.shape, ctx.chunk, ctx.entropy_gradient = shape, chunk, entropy_gradient
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy_N)
        return logp_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logp_N: Tensor, grad_entropy_N: Tensor) -> tuple[Any, ...]:
        hidden_NH, weight_VH, bias_V, target_N, norm_N, entropy_N = ctx.saved_tensors
        shape: LogitShape = ctx.shape
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        to_hidden = torch.empty_like(hidden_NH) if wants_hidden else None
        to_weight = torch.zeros_like(weight_VH) if wants_weight else None
        to_bias = torch.zeros_like(bias_V) if wants_bias else None
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for start in range(0, len(hidden_NH), ctx.chunk):
                part = slice(start, start + ctx.chunk)
                hidden_CH = hidden_NH[part].to(weight_VH.dtype)
                logp_CV, slope_CV = _logits(hidden_CH, weight_VH, bias_V, shape)
                logp_CV -= norm_N[part, None]
                grad_CV = logp_CV.exp()
                if ctx.entropy_gradient:
                    logp_CV.add_(entropy_N[part, None]).mul_(grad_entropy_N[part, None])
                    grad_CV.mul_(logp_CV.add_(grad_logp_N[part, None])).neg_()
                else:
                    grad_CV.mul_(-grad_logp_N[part, None])
                grad_CV.scatter_add_(1, target_N[part, None], grad_logp_N[part, None])
                if slope_CV is not None:
                    grad_CV.mul_(slope_CV)
                grad_CV.mul_(shape.multiplier / shape.temperature)
                if to_hidden is not None:
                    to_hidden[part] = (grad_CV @ weight_VH).to(to_hidden.dtype)
                if to_weight is not None:
                    to_weight.addmm_(grad_CV.T, hidden_CH)
                if to_bias is not None:
                    to_bias += grad_CV.sum(0)
        return to_hidden, to_weight, to_bias, None, None, None, None


class _KernelLogprobs(torch.autograd.Function):
    """The same by Triton kernels: factors in the hidden states' type, sums in float32."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        target_N: Tensor,
        scale: float,
        chunk: int,
        entropy_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        from proofgym.trainers.head_kernels import statistics

        low_VH = weight_VH.to(hidden_NH.dtype)
        parts = [
            statistics(_product(hidden_CH, low_VH.T), target_C, scale)
            for hidden_CH, target_C in zip(
                torch.split(hidden_NH, chunk), torch.split(target_N, chunk), strict=True
            )
        ]
        logp_N, entropy_N, norm_N = (torch.cat(column) for column in zip(*parts, strict=True))
        ctx.save_for_backward(hidden_NH, weight_VH, target_N, norm_N, entropy_N)
        ctx.scale, ctx.chunk, ctx.entropy_gradient = scale, chunk, entropy_gradient
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy_N)
        return logp_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logp_N: Tensor, grad_entropy_N: Tensor) -> tuple[Any, ...]:
        from proofgym.trainers.head_kernels import logits_gradient

        hidden_NH, weight_VH, target_N, norm_N, entropy_N = ctx.saved_tensors
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        if not ctx.entropy_gradient:
            grad_entropy_N = torch.zeros_like(grad_logp_N)
        grad_logp_N, grad_entropy_N = grad_logp_N.contiguous(), grad_entropy_N.contiguous()
        low_VH = weight_VH.to(hidden_NH.dtype)
        to_hidden = torch.empty_like(hidden_NH) if wants_hidden else None
        to_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if wants_weight else None
        for start in range(0, len(hidden_NH), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            grad_CV = logits_gradient(
                _product(hidden_NH[part], low_VH.T),
                target_N[part],
                norm_N[part],
                entropy_N[part],
                grad_logp_N[part],
                grad_entropy_N[part],
                ctx.scale,
                hidden_NH.dtype,
            )
            if to_hidden is not None:
                torch.mm(grad_CV, low_VH, out=to_hidden[part])
            if to_weight is not None:
                to_weight += _product(grad_CV.T, hidden_NH[part])
        return to_hidden, to_weight, None, None, None, None


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Multiply matrices of a lower type; the sums are float32, and stay so."""
    return torch.mm(one, other, out_dtype=torch.float32)


def _logits(
    hidden_CH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, shape: LogitShape
) -> tuple[Tensor, Tensor | None]:
    """Make one chunk's logits, and the slope of the soft cap where there is one."""
    logits_CV = nn.functional.linear(hidden_CH, weight_VH, bias_V)
    slope_CV = None
    if shape.multiplier != 1.0:
        logits_CV *= shape.multiplier
    if shape.cap is not None:
        logits_CV = logits_CV.div_(shape.cap).tanh_()
        slope_CV = 1.0 - logits_CV.square()
        logits_CV *= shape.cap
    if shape.temperature != 1.0:
        logits_CV /= shape.temperature
    return logits_CV, slope_CV
