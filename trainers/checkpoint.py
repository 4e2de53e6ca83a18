"""Write a checkpoint's files, and read them back with every doubt spelled out."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from proofgym.trainers.errors import CheckpointError
from proofgym.trainers.learner import Learner
from proofgym.trainers.policy import Policy

OPTIMIZER_FILE = "optimizer.pt"


def write_checkpoint(part: Path, policy: Policy, learner: Learner) -> None:
    """Write a policy and its optimiser's state into a folder, down to the disk.

    Raises:
        CheckpointError: the disk is full or refuses; what was written is removed.
    """
    try:
        policy.model.save_pretrained(part)
        policy.tokenizer.save_pretrained(part)
        torch.save(learner.state_dict(), part / OPTIMIZER_FILE)
        for path in (*part.iterdir(), part):
            _sync(path)
    except Exception as error:  # torch and safetensors each have errors of their own for this
        raise given_up(part, error) from error


def given_up(part: Path, error: Exception) -> CheckpointError:
    """Remove what was written of a checkpoint, and say why."""
    free = shutil.disk_usage(part).free
    shutil.rmtree(part, ignore_errors=True)
    return CheckpointError(
        f"expected to write a checkpoint to {part.parent}, where {free / 2**20:.1f} MiB were free "
        f"when it failed, got {type(error).__name__}: {error}. The checkpoint before it is whole. "
        "Free some space, and give the same command again."
    )


def read_optimizer(folder: Path, learner: Learner) -> None:
    """Give a learner the optimiser's state of a checkpoint.

    Raises:
        CheckpointError: it is damaged, or belongs to another model.
    """
    path = folder / OPTIMIZER_FILE
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        _check_shapes(state, learner)
        learner.load_state_dict(state)
    except Exception as error:  # torch has one for every kind of damage
        raise CheckpointError(
            f"expected the optimiser's state of this run's model in {path}, got "
            f"{type(error).__name__}: {error}. Remove {folder}: the run then goes on from the "
            "checkpoint before it."
        ) from error


def _check_shapes(state: dict[str, Any], learner: Learner) -> None:
    """Compare shapes, which torch's own loading does not."""
    own = [p for group in learner.optimizer.param_groups for p in group["params"]]
    for index, moments in state["optimizer"]["state"].items():
        shape = tuple(moments["exp_avg"].shape)
        if index >= len(own) or shape != tuple(own[index].shape):
            wanted = tuple(own[index].shape) if index < len(own) else "none"
            raise ValueError(f"parameter {index} has moments of shape {shape}, expected {wanted}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
