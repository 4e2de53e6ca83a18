"""One process of a learner of several: takes steps, and writes what the test compares."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from transformers import LlamaConfig, LlamaForCausalLM

from proofgym.envs import Source
from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.algorithm_config import AlgorithmConfig
from proofgym.trainers.batch import Batch, Weighted, pack
from proofgym.trainers.learner import Learner, LossFunction, OptimizerConfig
from proofgym.trainers.sample import Sample
from proofgym.trainers.sft import sft_loss
from proofgym.trainers.sharding import World, load_sharded, save_sharded, whole_weights
from proofgym.trainers.value_head import ValueHead
from tests.trainers.conftest import ExactNorm

CRITIC = ValueHead(coefficient=0.7, clip=0.3)
LOSSES: Mapping[str, LossFunction] = {
    "sft": sft_loss,
    "rl": policy_loss(
        AlgorithmConfig.model_validate(
            {
                "filter_flat_groups": False,
                "advantage": {"kind": "gae"},
                "critic": CRITIC.model_dump(),
                "entropy_coefficient": 0.1,
            }
        )
    ),
}


def tiny(dtype: torch.dtype, *, tied: bool) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
        initializer_range=0.3, tie_word_embeddings=tied,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config).to(dtype)
    if dtype == torch.float64:  # transformers' norms and rotations go through float32
        for name, module in list(model.named_modules()):
            if type(module).__name__ == "LlamaRMSNorm":
                model.set_submodule(name, ExactNorm(module.weight, module.variance_epsilon))
    return model


def batches() -> list[Batch]:
    """Five micro-batches: no number of processes above one divides them."""
    out = []
    for index, marks in enumerate(
        ["..aaa.a", ".a", "...a..aaa", ".aaaaa", "..a.a.aaaa.a", "....a"]
    ):
        rng = np.random.default_rng(index)
        action = np.array([mark == "a" for mark in marks])
        size = int(action.sum())
        sample = Sample(
            tokens=rng.integers(0, 23, len(marks)).astype(np.int32),
            action=action,
            logp=np.where(action, -rng.uniform(0.5, 4.0, len(marks)), 0.0).astype(np.float32),
            version=np.where(action, 0, -1).astype(np.int32),
            turn=np.zeros(len(marks), dtype=np.int16),
            source=np.where(action, Source.SAMPLED, Source.USER).astype(np.uint8),
            reward=np.zeros(len(marks), dtype=np.float32),
            env_id="test/env-v0", task_id="t", group=0, rollout=0, row=0, temperature=1.0,
            finish="stop",
        )  # fmt: skip
        out.append(
            Weighted(
                sample=sample,
                advantage=rng.normal(size=size),
                w_pg=1 / (23 + index),
                w_ce=1 / 29,
                old_logp=sample.logp[action] + rng.normal(size=size) / 2,
                value=rng.normal(size=size) / 3,
                target=rng.normal(size=size),
            )
        )
    packed = pack(out, token_budget=9)
    assert len(packed) == 5
    return packed


OPTIMIZER = OptimizerConfig(lr=1e-2, max_grad_norm=0.5, weight_decay=0.1)


def scenario(folder: Path, world: World | None, name: str, case: Mapping[str, Any]) -> None:
    """Take two steps; at the first one's end save, or load what other processes saved."""
    dtype = getattr(torch, case["dtype"])
    torch.set_default_dtype(dtype)
    model = tiny(dtype, tied=case["tied"])
    critic = CRITIC if case["loss"] == "rl" else None
    learner = Learner(model, OPTIMIZER, total_steps=9, critic=critic, world=world)
    loss = LOSSES[case["loss"]]
    if "load" in case:
        load_sharded(folder / case["load"], learner)
    else:
        first = learner.step(batches(), loss, entropy_gradient=True).metrics
        save_sharded(folder / f"{name}-checkpoint", learner)
        _write(folder / f"{name}-1.pt", learner, first)
    second = learner.step(batches(), loss, entropy_gradient=True).metrics
    _write(folder / f"{name}-2.pt", learner, second)
    torch.set_default_dtype(torch.float32)


def _write(path: Path, learner: Learner, metrics: Mapping[str, float]) -> None:
    weights = whole_weights(learner)
    if learner.world is None or learner.world.rank == 0:
        torch.save({"weights": weights, "metrics": dict(metrics)}, path)


def work(rank: int, size: int, folder: Path, cases: Mapping[str, Mapping[str, Any]]) -> None:
    """Run the scenarios as one process of several."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting-{size}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
    world = World("cpu")
    for name, case in cases.items():
        scenario(folder, world, name, case)
    dist.destroy_process_group()
