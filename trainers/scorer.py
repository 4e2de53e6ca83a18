"""A model's logprobs of a packed batch, as one module: what a learner differentiates and shards.

Shapes: T packed tokens, U of them computed, N actions, H hidden size.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from proofgym.trainers.batch import Batch
from proofgym.trainers.chunked_head import head_of, logit_shape, token_logprobs
from proofgym.trainers.losses.terms import ActionLogprobs
from proofgym.trainers.packed_attention import attend_packed, layout_for
from proofgym.trainers.prefix_sharing import Sharing
from proofgym.trainers.upload import upload


class Scorer(nn.Module):
    """A causal LM with its critic.

    Args:
        model: any transformers causal LM.
        value_head: the critic's; None: none.
        compute_dtype: of the layers; the head's logits are at least float32 in any case.
    """

    def __init__(
        self, model: nn.Module, value_head: nn.Module | None, compute_dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.model = model
        self.value_head = value_head
        self.compute_dtype = compute_dtype

    def forward(
        self, batch: Batch, device: torch.device, entropy_gradient: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logprobs, entropies and values; a plain tuple, whose tensors FSDP hooks."""
        scored = action_logprobs(
            self.model,
            batch,
            device,
            value_head=self.value_head,
            entropy_gradient=entropy_gradient,
            compute_dtype=self.compute_dtype,
        )
        value_N = None if scored.value_N is None else scored.value_N.clone()  # FSDP: no views
        return scored.logp_N, scored.entropy_N, value_N


def action_logprobs(
    model: nn.Module,
    batch: Batch,
    device: torch.device,
    *,
    value_head: nn.Module | None = None,
    entropy_gradient: bool = False,
    compute_dtype: torch.dtype = torch.float32,
) -> ActionLogprobs:
    """Score a packed batch's action tokens with one forward pass.

    Sequences that begin alike are computed once as far as they do.
    Only the N positions that predict an action are scored, in float32 and a chunk at a time.
    Greedy samples (temperature 0) are scored at temperature 1.
    """
    sharing = Sharing.of(batch)
    packing = layout_for(batch.cumulative_lengths, device, compute_dtype, sharing)
    backbone: Any = model.get_decoder()  # type: ignore[operator]  # of transformers' models
    lower = compute_dtype != torch.float32
    with (
        attend_packed(model),
        torch.autocast(device.type, compute_dtype) if lower else contextlib.nullcontext(),
    ):
        hidden_UH = backbone(
            input_ids=upload(batch.tokens_T[sharing.computed_U], device)[None],
            position_ids=upload(batch.positions_T[sharing.computed_U], device)[None],
            use_cache=False,
            packing=packing,
        ).last_hidden_state[0]
    action_N = batch.action_T.nonzero().squeeze(1)
    hidden_NH = hidden_UH.index_select(0, upload(sharing.place_T[action_N - 1], device))
    logp_N, entropy_N = token_logprobs(
        hidden_NH,
        head_of(model),
        upload(batch.tokens_T[action_N], device),
        logit_shape(model, batch.temperature),
        entropy_gradient=entropy_gradient,
        compute_dtype=compute_dtype,
    )
    value_N = None if value_head is None else value_head(hidden_NH)
    return ActionLogprobs(logp_N=logp_N, entropy_N=entropy_N, value_N=value_N)


def checkpoint_activations(model: nn.Module) -> None:
    """Keep each layer's input only, and compute the rest again in the backward pass."""

    def contexts() -> tuple[Any, Any]:
        return contextlib.nullcontext(), attend_packed(model)  # of the first pass, of the second

    again = {"use_reentrant": False, "context_fn": contexts}
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=again)  # type: ignore[operator]


def compile_layers(model: nn.Module) -> None:
    """Fuse what a layer does between its matrix products; all layers share the compiled code."""
    decoder: Any = model.get_decoder()  # type: ignore[operator]  # of transformers' models
    for layer in decoder.layers:
        layer.compile(dynamic=True)
