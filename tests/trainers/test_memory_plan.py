"""Memory plans against what steps really take."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen3Config

from proofgym.agents.vllm_engine import LaunchConfig
from proofgym.trainers.learner import OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig
from proofgym.trainers.memory_check import check_memory
from proofgym.trainers.memory_plan import (
    cache_bytes,
    engine_fraction,
    head_workspace,
    model_numbers,
    server_memory,
)
from proofgym.trainers.memory_trace import trace_learner

NO_TOKENS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
MODELS: dict[str, PretrainedConfig] = {
    "qwen3, tied, shared heads": Qwen3Config(
        vocab_size=4000,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=512,
        **NO_TOKENS,
    ),
    "llama, untied": LlamaConfig(
        vocab_size=900,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=False,
        max_position_embeddings=512,
        **NO_TOKENS,
    ),
}


STEPS: list[tuple[Any, bool, int]] = [
    ("float32", False, 1),
    ("float32", True, 2),
    ("bfloat16", False, 2),
    ("bfloat16", True, 1),
]


@pytest.mark.parametrize(("compute_dtype", "checkpointing", "micro_batches"), STEPS)
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_a_step_takes_what_was_planned(
    config: PretrainedConfig, compute_dtype: Any, checkpointing: bool, micro_batches: int
) -> None:
    learner = LearnerConfig(compute_dtype=compute_dtype, activation_checkpointing=checkpointing)
    found = check_memory(
        config,
        learner,
        [96] * 6,
        micro_batches=micro_batches,
        device=torch.device("cpu"),
    )
    assert found.ratio == pytest.approx(1.0, abs=0.15)


def test_sequences_of_other_lengths_and_adapters_are_planned_too() -> None:
    for settings in ({}, {"adapter": {"kind": "lora", "rank": 8}}):
        found = check_memory(
            MODELS["qwen3, tied, shared heads"],
            LearnerConfig.model_validate(settings),
            [200, 150, 64, 33, 20],
            device=torch.device("cpu"),
        )
        assert found.ratio == pytest.approx(1.0, abs=0.15), settings


# torch.compile loads what torch itself has deprecated, and asks any tensor for its gradient
COMPILES = pytest.mark.filterwarnings("ignore:.*deprecated", "ignore:The .grad attribute")


@COMPILES
@pytest.mark.slow
def test_compiled_layers_take_what_was_planned() -> None:
    learner = LearnerConfig(compute_dtype="bfloat16", compile=True)
    found = check_memory(MODELS["llama, untied"], learner, [96] * 6, device=torch.device("cpu"))
    assert found.ratio == pytest.approx(1.0, abs=0.15)


@COMPILES
def test_each_way_to_keep_less_keeps_less_with_flash_attention_too() -> None:
    kept = [
        trace_learner(
            MODELS["qwen3, tied, shared heads"],
            LearnerConfig(compute_dtype="bfloat16", **settings),
            OptimizerConfig(lr=1.0),
            [96] * 6,
            flash=True,
        ).kept
        for settings in ({"activation_checkpointing": True}, {"compile": True}, {})
    ]
    assert kept == sorted(kept)
    assert kept[0] < 0.5 * kept[1] < 0.5 * 0.8 * kept[2]


@pytest.mark.gpu
@pytest.mark.parametrize("checkpointing", [False, True], ids=["all", "checkpointed"])
def test_a_step_on_a_gpu_takes_what_was_planned(checkpointing: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no NVIDIA GPU")
    config = Qwen3Config(
        vocab_size=32000,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=6,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        **NO_TOKENS,
    )
    learner = LearnerConfig(compute_dtype="bfloat16", activation_checkpointing=checkpointing)
    found = check_memory(config, learner, [1536] * 8, device=torch.device("cuda"))
    assert found.ratio == pytest.approx(1.0, abs=0.15)


def test_parameters_are_those_of_the_real_model() -> None:
    for config in MODELS.values():
        model = AutoModelForCausalLM.from_config(config)
        numbers = model_numbers(config)
        assert numbers.parameters == sum(one.numel() for one in model.parameters())
        assert numbers.tied == config.tie_word_embeddings


def test_a_cache_has_keys_and_values_of_every_layer() -> None:
    numbers = model_numbers(MODELS["qwen3, tied, shared heads"])
    by_hand = 2 * 3 * 2 * 32 * 2  # keys and values, layers, heads, head size, bytes
    assert cache_bytes(numbers, slots=5, tokens=7, number_bytes=2) == 35 * by_hand


def test_a_heads_chunk_is_bounded_by_the_batch_and_by_its_own_limit() -> None:
    numbers = model_numbers(MODELS["llama, untied"])
    assert head_workspace(numbers, 10, kernels=False, trained=True) == 2 * 4 * 10 * 900
    assert head_workspace(numbers, 10**9, kernels=False, trained=True) == 2 * 4 * 2**25


def test_a_server_takes_its_share_of_the_gpu_whatever_it_needs() -> None:
    numbers = model_numbers(MODELS["llama, untied"])
    launch = LaunchConfig(arguments=("--gpu-memory-utilization=0.5",), slots=4)
    memory = server_memory(numbers, launch, 10 * 2**30)
    assert memory.taken == 5 * 2**30
    assert memory.weights == 2 * numbers.parameters
    assert memory.cached_fraction == 1.0
    starved = server_memory(numbers, launch, memory.weights * 2 + memory.cache)
    assert starved.cached_fraction == pytest.approx(0.5, abs=0.01)
    assert engine_fraction(LaunchConfig(arguments=("--gpu-memory-utilization", "0.3"))) == 0.3
    assert engine_fraction(LaunchConfig()) == 0.92
