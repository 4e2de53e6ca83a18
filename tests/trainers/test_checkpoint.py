"""Checkpoints that cannot be written, or that are not this run's."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from proofgym.agents.tiny_policy import TinyPolicyConfig, build_tiny_policy
from proofgym.trainers.checkpoint import OPTIMIZER_FILE, read_optimizer, write_checkpoint
from proofgym.trainers.errors import CheckpointError
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.ledger import LedgerPosition
from proofgym.trainers.policy import Policy, check_architecture, load_policy
from proofgym.trainers.run_config import RunConfig
from proofgym.trainers.run_folder import Position, RunFolder

CPU = torch.device("cpu")
SIZE: dict[str, int] = {"layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 8}


def built(path: Path, hidden_size: int = 16) -> Path:
    size = TinyPolicyConfig(**SIZE, hidden_size=hidden_size)
    path.mkdir(parents=True)
    build_tiny_policy(path, size, words=[], seed=0)
    return path


def stepped(policy: Policy) -> Learner:
    learner = Learner(policy.model, OptimizerConfig(lr=1e-3), total_steps=4)
    for parameter in policy.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    learner.optimizer.step()
    return learner


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return load_policy(built(tmp_path_factory.mktemp("policy") / "tiny"), CPU)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system with room for some checkpoints."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_the_checkpoint_before_it_whole(
    small_disk: Path, policy: Policy
) -> None:
    one = {"kind": "sft", "steps": 9, "optimizer": {"lr": 1e-3}}
    raw = {"name": "r", "environment": "tools/calculator-v0", "stages": {"sft": one}}
    folder = RunFolder(small_disk / "run", RunConfig.model_validate(raw))
    learner = stepped(policy)

    def save(step: int) -> None:
        part = folder.scratch()
        write_checkpoint(part, policy, learner)
        rows = LedgerPosition()
        folder.publish(
            part, Position(stage="sft", step=step, finished=False, metrics_lines=0, ledger=rows)
        )

    save(1)
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 20_000))
    with pytest.raises(CheckpointError, match=r"checkpoint before it is whole\. Free some space"):
        save(2)
    ((position, path),) = folder.positions()
    assert position.step == 1
    assert load_policy(path, CPU).model.state_dict().keys() == policy.model.state_dict().keys()
    read_optimizer(path, stepped(load_policy(path, CPU)))
    (small_disk / "ballast").unlink()
    save(2)
    assert [one.step for one, _ in folder.positions()] == [1, 2]


def test_another_architecture_is_refused_by_what_differs(tmp_path: Path) -> None:
    mine, other = built(tmp_path / "mine"), built(tmp_path / "other", hidden_size=32)
    check_architecture(mine, mine)
    with pytest.raises(CheckpointError, match="hidden_size: 16 at first, 32 now"):
        check_architecture(other, mine)


def test_weights_of_another_architecture_are_not_filled_up_at_random(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = built(tmp_path / "mine")
    tensors = load_file(folder / "model.safetensors")
    dropped = next(name for name in tensors if "mlp" in name)
    del tensors[dropped]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=dropped):
        load_policy(folder, CPU)


def _other(path: Path) -> None:
    wide = load_policy(built(path.parent / "wide", hidden_size=32), CPU)
    torch.save(stepped(wide).state_dict(), path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("damage", [_other, _cut, Path.unlink], ids=["another", "cut", "missing"])
def test_an_optimiser_that_is_not_this_models_is_a_clear_error(
    tmp_path: Path, policy: Policy, damage: Any
) -> None:
    part = tmp_path / "part"
    part.mkdir()
    write_checkpoint(part, policy, stepped(policy))
    damage(part / OPTIMIZER_FILE)
    with pytest.raises(CheckpointError, match="optimiser's state of this run's model"):
        read_optimizer(part, stepped(policy))
