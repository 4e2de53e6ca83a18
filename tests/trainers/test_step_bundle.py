import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.batch import Weighted, pack
from proofgym.trainers.errors import BundleError, TrainError
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.run_config import RlConfig
from proofgym.trainers.sample import Sample
from proofgym.trainers.step_bundle import (
    Recorder,
    find_bundle,
    read_bundle,
    replay_bundle,
)
from proofgym.trainers.value_head import ValueHead

CONFIG = RlConfig.model_validate(
    {"kind": "rl", "steps": 4, "optimizer": {"lr": 1e-2, "warmup_steps": 2}}
)


@pytest.fixture
def learner(qwen: Callable[..., Any]) -> Learner:
    return Learner(qwen(torch.float32), CONFIG.optimizer, total_steps=4)


@pytest.fixture
def batches(make_sample: Callable[..., Sample]) -> list[Any]:
    rows = [
        Weighted(sample=make_sample("oo" + "a" * n, seed=n), advantage=a, w_pg=0.1)
        for n, a in ((3, 1.0), (5, -0.5), (2, 0.25))
    ]
    return pack(rows, token_budget=8)


def recorded(folder: Path, learner: Learner, batches: list[Any], *, keep: bool = True) -> Recorder:
    recorder = Recorder(folder / "bundles", "grpo", 122, keep=keep)
    recorder.take(learner, batches, CONFIG, policy_loss(CONFIG))
    return recorder


def test_a_replay_gives_loss_and_gradient_norm_to_the_last_bit(
    tmp_path: Path, learner: Learner, batches: list[Any]
) -> None:
    recorder = recorded(tmp_path, learner, batches)
    recorder.take(
        learner, batches, CONFIG, policy_loss(CONFIG)
    )  # a second update, on the weights that the first left
    for name in ("grpo-000123", "grpo-000123-update-2"):
        bundle = read_bundle(tmp_path / "bundles" / f"{name}.safetensors")
        found = replay_bundle(bundle).metrics
        for metric in ("loss", "grad_norm", "entropy", "ratio/mean"):
            assert found[metric] == bundle.outputs[metric], metric


def test_nothing_is_written_unless_it_is_asked_for(
    tmp_path: Path, learner: Learner, batches: list[Any]
) -> None:
    recorded(tmp_path, learner, batches, keep=False)
    assert not (tmp_path / "bundles").exists()


def test_a_step_that_fails_leaves_a_bundle_that_fails_again(
    tmp_path: Path, learner: Learner, make_sample: Callable[..., Sample]
) -> None:
    one = Weighted(sample=make_sample("oaa"), advantage=3e38, w_pg=1e9)
    bad = pack([one], token_budget=9)
    with pytest.raises(TrainError, match="finite") as caught:
        recorded(tmp_path, learner, bad, keep=False)
    assert "proofgym replay" in caught.value.__notes__[0]
    bundle = read_bundle(find_bundle(tmp_path / "step-0123"))
    assert bundle.outputs == {}
    with pytest.raises(TrainError, match="finite"):
        replay_bundle(bundle)


def test_a_bundle_is_found_by_its_step_and_by_its_own_name(
    tmp_path: Path, learner: Learner, batches: list[Any]
) -> None:
    recorded(tmp_path, learner, batches)
    path = tmp_path / "bundles" / "grpo-000123.safetensors"
    for place in ("step-123", "step-0123", "grpo-000123"):
        assert find_bundle(tmp_path / place) == path
    assert find_bundle(path) == path
    with pytest.raises(BundleError, match="There are grpo-000123"):
        find_bundle(tmp_path / "step-7")
    with pytest.raises(BundleError, match="bundles_every"):
        find_bundle(tmp_path / "elsewhere" / "step-7")


def test_a_damaged_bundle_is_a_clear_error(
    tmp_path: Path, learner: Learner, batches: list[Any]
) -> None:
    recorded(tmp_path, learner, batches)
    path = find_bundle(tmp_path / "step-0123")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BundleError, match="expected a step bundle"):
        read_bundle(path)


def test_an_unknown_loss_is_a_clear_error(
    tmp_path: Path, learner: Learner, batches: list[Any]
) -> None:
    recorded(tmp_path, learner, batches)
    bundle = read_bundle(find_bundle(tmp_path / "step-0123"))
    with pytest.raises(BundleError, match="name of a policy loss, got 'nonsense'"):
        replay_bundle(bundle, loss="nonsense")


def test_a_bundle_holds_its_configuration_as_it_was(
    tmp_path: Path, learner: Learner, batches: list[Any]
) -> None:
    recorded(tmp_path, learner, batches)
    bundle = read_bundle(find_bundle(tmp_path / "step-0123"))
    assert bundle.config == CONFIG
    assert isinstance(bundle.config.optimizer, OptimizerConfig)
    assert json.loads(json.dumps(bundle.model))["hidden_size"] == 16


def test_another_loss_gives_another_number_from_the_same_batch(
    tmp_path: Path, learner: Learner, batches: list[Any]
) -> None:
    recorded(tmp_path, learner, batches)
    bundle = read_bundle(find_bundle(tmp_path / "step-0123"))
    found = replay_bundle(bundle, loss="cispo").metrics
    assert found["entropy"] == bundle.outputs["entropy"]
    assert found["loss"] != bundle.outputs["loss"]


def test_a_critic_is_part_of_the_bundle(
    tmp_path: Path, qwen: Callable[..., Any], make_sample: Callable[..., Sample]
) -> None:
    table = {**CONFIG.model_dump(include={"kind", "steps"}), "algorithm": "ppo"}
    config = RlConfig.model_validate({**table, "optimizer": {"lr": 1e-2}})
    assert isinstance(config.critic, ValueHead)
    learner = Learner(qwen(torch.float32), config.optimizer, total_steps=4, critic=config.critic)
    values = np.array([0.5, -0.25])
    one = Weighted(
        sample=make_sample("oaa"), advantage=1.0, w_pg=0.5, value=values, target=values + 1,
        ref_logp=np.array([-1.0, -2.0]),
    )  # fmt: skip
    recorder = Recorder(tmp_path / "bundles", "ppo", 0, keep=True)
    recorder.take(learner, pack([one], token_budget=9), config, policy_loss(config))
    assert learner.value_head is not None
    bundle = read_bundle(find_bundle(tmp_path / "step-1"))
    found = replay_bundle(bundle).metrics
    assert found["loss"] == bundle.outputs["loss"]
    assert found["grad_norm"] == bundle.outputs["grad_norm"]
