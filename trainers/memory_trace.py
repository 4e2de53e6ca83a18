"""How much memory a learner's micro-batch takes, found without doing it.

The learner itself runs, forward and backward, on tensors that have shapes and types but no values
(torch's fake tensors), while every storage that comes and goes is counted. So the count follows the
code: what autograd saves for this architecture, copies that autocast makes, checkpointing, LoRA.

Two things are put in the place of the real ones. The vocabulary is cut to a few words, because
the head's memory is arithmetic (``memory_plan``); and for a GPU, attention is a stand-in with
FlashAttention's memory, since its kernels cannot be asked on other machines.

Shapes: T packed tokens, H heads, K of them for keys and values, D head size.
"""

import copy
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, AutoModelForCausalLM, PretrainedConfig

from proofgym.trainers.batch import Batch
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig
from proofgym.trainers.packed_attention import NAME, Ragged, packed_attention
from proofgym.trainers.value_head import ValueHead

WORDS = 16
"""Of the vocabulary, in a trace."""

_FLASH_ROWS = 128
"""FlashAttention's backward pass pads its sums to this many rows a sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """Bytes of one micro-batch, without the vocabulary's.

    Args:
        kept: live when the forward pass has ended: what the backward pass needs.
        forward: the most that was live before that.
        backward: the most that was live after it, gradients of weights left out.
        gradients: of all weights.
        both: the most that was live after it, gradients as they come included.
        trained: numbers that the optimiser trains.
        frozen: numbers of weights beside the served model's that are not trained (LoRA's).
    """

    kept: int
    forward: int
    backward: int
    gradients: int
    both: int
    trained: int
    frozen: int


def trace_learner(
    config: PretrainedConfig,
    learner: LearnerConfig,
    optimizer: OptimizerConfig,
    lengths: Sequence[int],
    *,
    critic: ValueHead | None = None,
    flash: bool = False,
) -> Traced:
    """Count a micro-batch's memory.

    Args:
        config: of the model; no weights are loaded.
        learner, optimizer: the stage's.
        lengths: of the sequences in the micro-batch, which share no beginnings; every token but
            each one's first is trained on.
        critic: the stage's; None: none.
        flash: attention by FlashAttention, else by torch's kernel for the CPU on padded rows.
    """
    small = copy.deepcopy(config)
    for one in (small, small.get_text_config()):
        one.vocab_size, one.pad_token_id = WORDS, None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(small, dtype=torch.float32)  # type: ignore[no-untyped-call]
    _replace(model, lambda one: torch.zeros((), dtype=one.dtype).expand(one.shape))
    settings = learner.model_copy(update={"compile": False})  # by _partition_layers instead
    own = Learner(model, optimizer, total_steps=1, critic=critic, config=settings)
    if learner.compile:
        _partition_layers(own.model)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        _replace(own.scorer, torch.empty_like)
    batch = micro_batch(lengths)
    parameters = list(own.scorer.parameters())
    live = _Live([*parameters, *own.scorer.buffers()])
    own.model.train()
    attend: Callable[..., tuple[Tensor, None]] = packed_attention
    if flash:
        attend = _ragged(lengths) if learner.compile else _flash_memory
    with fake, _attention(attend), live, warnings.catch_warnings():
        # torch.compile asks fake tensors for what only leaves have
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor")
        scored = own.logprobs(batch)
        live.mark()
        total = scored.logp_N.sum() + (0 if scored.value_N is None else scored.value_N.sum())
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        del total, scored
    trained = [one for one in parameters if one.requires_grad]
    frozen = 0 if own.model is model else sum(one.numel() for one in own.model.parameters())
    return live.traced(trained, frozen)


def _partition_layers(model: nn.Module) -> None:
    """Let torch.compile choose what each layer keeps for its backward pass, and run it eagerly.

    The choice is made before code is written (by the minimum cut of the graph), so it is the same.
    """
    torch._dynamo.reset()  # else layers of an earlier trace count as too many versions of one
    decoder: Any = model.get_decoder()  # type: ignore[operator]  # of transformers' models
    for layer in decoder.layers:
        layer.compile(backend="aot_eager_decomp_partition", dynamic=False)


def _replace(module: nn.Module, make: Callable[[Tensor], Tensor]) -> None:
    """Put other tensors in the place of a module's; what was one tensor stays one.

    A learner is made of real tensors whose elements are all one number in memory: peft cannot
    move fake ones, and nothing can compute with meta ones.
    """
    made: dict[Any, Any] = {}
    for one in module.modules():
        tables: tuple[dict[str, Any], ...] = (one._parameters, one._buffers)
        for table in tables:
            for name, tensor in table.items():
                if tensor is None:
                    continue
                if tensor not in made:
                    new = make(tensor.detach())
                    trained = tensor.requires_grad
                    weight = isinstance(tensor, nn.Parameter)
                    made[tensor] = nn.Parameter(new, requires_grad=trained) if weight else new
                table[name] = made[tensor]


def micro_batch(lengths: Sequence[int]) -> Batch:
    """Lay out sequences of so many tokens, none of which begins like another."""
    total = sum(lengths)
    positions_T = torch.cat([torch.arange(length) for length in lengths])
    zeros_T = torch.zeros(total)
    return Batch(
        tokens_T=torch.arange(total),
        positions_T=positions_T,
        cumulative_lengths=(0, *accumulate(lengths)),
        action_T=positions_T > 0,
        behaviour_logp_T=zeros_T,
        version_T=zeros_T.int(),
        advantage_T=zeros_T,
        w_pg_T=zeros_T,
        w_ce_T=zeros_T,
        temperature=1.0,
        sequence_N=torch.zeros(total - len(lengths), dtype=torch.long),
    )


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Count the storages of fake tensors; what has no fake tensor in it is computed for real.

    Args:
        standing: tensors that are there before and after, and not counted.
    """

    def __init__(self, standing: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._events: list[tuple[int, int]] = []  # a storage's number, and its bytes or less them
        self._seen: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._mark = 0
        self._next = 0
        for tensor in standing:
            self._see(tensor, counted=False)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not any(isinstance(one, FakeTensor) for one in tree_leaves((args, kwargs))):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        out = func(*args, **kwargs)
        for one in tree_leaves(out):
            if isinstance(one, FakeTensor):
                self._see(one)
        return out

    @classmethod
    def is_infra_mode(cls) -> bool:
        """Let torch.compile work inside: this mode changes nothing that it could see."""
        return True

    def mark(self) -> None:
        """The forward pass has ended."""
        self._mark = len(self._events)

    def traced(self, trained: Sequence[Tensor], frozen: int) -> Traced:
        """Replay what came and went, the gradients apart."""
        grads = [one.grad for one in trained if one.grad is not None]
        numbers = {self._seen[one.untyped_storage()._cdata][0] for one in grads}
        own = others = forward = backward = both = kept = 0
        for place, (number, size) in enumerate(self._events):
            if place == self._mark:
                kept = others
            if number in numbers:
                own += size
            else:
                others += size
            if place < self._mark:
                forward = max(forward, others)
            else:
                backward, both = max(backward, others), max(both, own + others)
        return Traced(
            kept=kept,
            forward=forward,
            backward=backward,
            gradients=own,
            both=both,
            trained=sum(one.numel() for one in trained),
            frozen=frozen,
        )

    def _see(self, tensor: Tensor, *, counted: bool = True) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        number, size = self._next, storage.nbytes() if counted else 0
        self._next += 1

        def gone(_: object) -> None:
            self._events.append((number, -size))
            del self._seen[key]

        self._seen[key] = (number, weakref.ref(storage, gone))
        self._events.append((number, size))


@contextmanager
def _attention(attend: Callable[..., tuple[Tensor, None]]) -> Iterator[None]:
    """Let the learner's attention be another function while the block lasts."""
    AttentionInterface.register(NAME, attend)
    try:
        yield
    finally:
        AttentionInterface.register(NAME, packed_attention)


def _ragged(lengths: Sequence[int]) -> Callable[..., tuple[Tensor, None]]:
    """Attend as on a GPU, by an operator that a compiler cannot look into; no kernel runs.

    Unlike the stand-in, it does not say what its backward pass takes for itself.
    """
    bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    ragged = Ragged(bounds=bounds, longest=max(lengths), dtype=torch.bfloat16, shared=None)

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        **settings: Any,
    ) -> tuple[Tensor, None]:
        settings["packing"] = ragged
        return packed_attention(module, query, key, value, attention_mask, **settings)

    return attend


def _flash_memory(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Take FlashAttention's memory; query is [1, H, T, D]."""
    query_THD, key_TKD, value_TKD = (
        tensor[0].transpose(0, 1).to(torch.bfloat16) for tensor in (query, key, value)
    )
    attended: Tensor = _Flash.apply(query_THD, key_TKD, value_TKD)  # type: ignore[no-untyped-call]
    return attended[None], None


class _Flash(torch.autograd.Function):
    """What FlashAttention 2 keeps, and what its backward pass takes.

    Source: torch, aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp, mha_varlen_bwd.
    """

    @staticmethod
    def forward(ctx: Any, query_THD: Tensor, key_TKD: Tensor, value_TKD: Tensor) -> Tensor:
        out_THD = torch.empty_like(query_THD)
        tokens, heads, _ = query_THD.shape
        norm_HT = query_THD.new_empty(heads, tokens, dtype=torch.float32)
        ctx.save_for_backward(query_THD, key_TKD, value_TKD, out_THD, norm_HT)
        return out_THD

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query_THD, key_TKD, value_TKD, _, norm_HT = ctx.saved_tensors
        tokens, heads, size = query_THD.shape
        sums = query_THD.new_empty(tokens + _FLASH_ROWS, heads, size, dtype=torch.float32)
        deltas_HT = torch.empty_like(norm_HT)
        expanded = []
        if key_TKD.shape[1] != heads:  # the gradients of shared heads are added up afterwards
            expanded = [torch.empty_like(query_THD) for _ in range(2)]
        found = torch.empty_like(query_THD), torch.empty_like(key_TKD), torch.empty_like(value_TKD)
        del sums, deltas_HT, expanded
        return found
