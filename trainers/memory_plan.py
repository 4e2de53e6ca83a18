"""What a run takes of a GPU's memory, worked out from its configuration before anything is loaded.

All sizes are bytes, as torch's allocator counts them: what the driver and CUDA's own libraries
hold beside it is an estimate (``CONTEXT``). A micro-batch is taken to be as full as its token
budget allows, and its sequences to share no beginning, so a run may take less.

Letters: T tokens of a micro-batch, N of them scored, V the vocabulary, H hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from proofgym.agents.vllm_engine import LaunchConfig
from proofgym.trainers.chunked_head import CHUNK_LOGITS, GPU_CHUNK_LOGITS
from proofgym.trainers.learner import OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig
from proofgym.trainers.memory_trace import WORDS, Traced, trace_learner
from proofgym.trainers.value_head import ValueHead

GIB = 2**30
FLOAT = 4
"""Bytes of a master weight, of its gradient, and of each of AdamW's two averages."""

CONTEXT = 600 * 2**20
"""Of the driver and CUDA's libraries, for each process on a GPU: an estimate."""

ENGINE_FRACTION = 0.92
"""vLLM's --gpu-memory-utilization where it is not given (vLLM 0.32)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An architecture's numbers.

    Args:
        parameters: of all weights, shared ones once.
        vocabulary, hidden_size: of the head.
        tied: whether the head's weight is the embeddings' own.
        layers, kv_heads, head_dim: of the cache of keys and values.
        context: the longest sequence.
    """

    parameters: int
    vocabulary: int
    hidden_size: int
    tied: bool
    layers: int
    kv_heads: int
    head_dim: int
    context: int

    @property
    def head(self) -> int:
        """Numbers of the head's weight."""
        return self.vocabulary * self.hidden_size


def model_numbers(config: PretrainedConfig) -> Model:
    """Count an architecture; its weights are not made."""
    text: Any = config.get_text_config()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    heads = int(text.num_attention_heads)
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    return Model(
        parameters=sum(one.numel() for one in model.parameters()),
        vocabulary=int(text.vocab_size),
        hidden_size=int(text.hidden_size),
        tied=model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        layers=int(text.num_hidden_layers),
        kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
        head_dim=int(size),
        context=int(text.max_position_embeddings),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerMemory:
    """What the learner holds at the worst moment of an optimiser step; the parts add up.

    Args:
        weights: float32 masters; with adapters, the served model and the frozen one as well.
        optimizer: AdamW's averages.
        gradients: those that exist at that moment.
        activations: what the backward pass of one micro-batch needs, copies of weights in the
            compute type included.
        head: logits of a chunk, and the gradient of the head's weight before it is added.
        temporary: the rest.
        reference: the model that a KL is measured against.
        staged: weights in the engine's type that a transfer keeps until the next one.
    """

    weights: int
    optimizer: int
    gradients: int
    activations: int
    head: int
    temporary: int
    reference: int = 0
    staged: int = 0

    @property
    def standing(self) -> int:
        """What is there between steps."""
        return self.weights + self.optimizer + self.reference + self.staged

    @property
    def peak(self) -> int:
        """The most at one moment."""
        return self.standing + self.gradients + self.activations + self.head + self.temporary


def learner_memory(
    config: PretrainedConfig,
    learner: LearnerConfig,
    optimizer: OptimizerConfig,
    lengths: Sequence[int],
    *,
    accumulates: bool = True,
    critic: ValueHead | None = None,
    on_gpu: bool = False,
) -> LearnerMemory:
    """Plan an optimiser step.

    Args:
        config: of the model.
        learner, optimizer: the stage's.
        lengths: of the sequences in one full micro-batch.
        accumulates: whether a step has several micro-batches, so that all gradients stand while
            one of them is computed.
        critic: the stage's.
        on_gpu: on a GPU, in bfloat16, attention is FlashAttention, and the head is by kernels.
    """
    model = model_numbers(config)
    kernels = on_gpu and learner.compute_dtype == "bfloat16"
    traced = trace_learner(config, learner, optimizer, lengths, critic=critic, flash=kernels)
    return _at_the_peak(model, traced, learner, sum(lengths), accumulates, kernels)


def _at_the_peak(
    model: Model,
    traced: Traced,
    learner: LearnerConfig,
    tokens: int,
    accumulates: bool,
    kernels: bool,
) -> LearnerMemory:
    """Find the worst of three moments: in the head, in the layers, and at the embeddings."""
    full = learner.adapter.kind == "none"
    weights = FLOAT * model.parameters
    trained = traced.trained
    if full:
        trained += _uncounted(model)
    else:
        weights += FLOAT * (traced.frozen + _uncounted(model))
    all_gradients = FLOAT * trained
    head_gradient = FLOAT * model.head if full else 0
    logits = head_workspace(model, tokens, kernels=kernels, trained=full)
    held = head_gradient if model.tied or not accumulates else 0  # until the embeddings' is there

    standing = all_gradients if accumulates else 0
    layers_gradients = 0 if accumulates else traced.both - traced.backward
    moments = (
        (standing, traced.kept, head_gradient + logits, 0),
        (
            standing + max(0, layers_gradients),
            min(traced.kept, traced.backward),
            held,
            max(0, max(traced.backward, traced.forward) - traced.kept),
        ),
        (all_gradients, 0, held, FLOAT * model.head if full else 0),
    )
    gradients, activations, head, temporary = max(moments, key=sum)
    return LearnerMemory(
        weights=weights,
        optimizer=2 * FLOAT * trained,
        gradients=gradients,
        activations=activations,
        head=head,
        temporary=temporary,
    )


def head_workspace(model: Model, tokens: int, *, kernels: bool, trained: bool) -> int:
    """Say what the head's backward pass takes beside the gradient of its weight.

    Plain: a chunk's logits and their gradient, float32. By kernels: a chunk's logits in float32,
    its gradient in bfloat16 while the last chunk's is still there, the weight in bfloat16, and
    one chunk's share of the weight's gradient in float32.

    Source: ``chunked_head``.
    """
    everything = tokens * model.vocabulary
    if not kernels:
        return 2 * FLOAT * min(everything, max(CHUNK_LOGITS, model.vocabulary))
    chunk = min(everything, max(GPU_CHUNK_LOGITS, model.vocabulary))
    again = 2 * chunk if everything > chunk else 0
    share = FLOAT * model.head if trained else 0
    return 2 * model.head + max((FLOAT + 2) * chunk + again, 2 * chunk + share)


def _uncounted(model: Model) -> int:
    """Count the numbers of embeddings and head that the trace left out."""
    return (1 if model.tied else 2) * (model.vocabulary - WORDS) * model.hidden_size


def cache_bytes(model: Model, *, slots: int, tokens: int, number_bytes: int) -> int:
    """Say what keys and values of so many sequences take."""
    per_token = 2 * model.layers * model.kv_heads * model.head_dim * number_bytes
    return slots * tokens * per_token


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """What an engine holds on one GPU.

    Args:
        weights: its own copy; 0 where it samples with the learner's.
        cache: keys and values of all slots at the longest context.
        reserve: what it takes from the start, whatever it needs; None: what it needs.
    """

    weights: int
    cache: int
    reserve: int | None = None

    @property
    def taken(self) -> int:
        """What is gone from the GPU."""
        return self.weights + self.cache if self.reserve is None else self.reserve

    @property
    def cached_fraction(self) -> float:
        """The part of ``cache`` that there is room for."""
        if self.reserve is None:
            return 1.0
        return max(0.0, min(1.0, (self.reserve - self.weights) / self.cache))


def server_memory(model: Model, launch: LaunchConfig, gpu_bytes: int) -> EngineMemory:
    """Plan a vLLM server's part of each of its GPUs."""
    parts = launch.tensor_parallel
    number_bytes = FLOAT if launch.dtype == "float32" else 2
    tokens = launch.max_context or model.context
    cache = cache_bytes(model, slots=launch.slots, tokens=tokens, number_bytes=number_bytes)
    return EngineMemory(
        weights=number_bytes * model.parameters // parts,
        cache=cache // parts,
        reserve=int(engine_fraction(launch) * gpu_bytes),
    )


def engine_fraction(launch: LaunchConfig) -> float:
    """Read --gpu-memory-utilization from a server's arguments.

    Raises:
        ValueError: it is no number.
    """
    name, fraction = "--gpu-memory-utilization", ENGINE_FRACTION
    words = list(launch.arguments)
    for place, word in enumerate(words):
        if word == name and place + 1 < len(words):
            fraction = float(words[place + 1])
        elif word.startswith(f"{name}="):
            fraction = float(word.partition("=")[2])
    return fraction
