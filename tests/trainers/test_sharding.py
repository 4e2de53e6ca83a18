"""Two and four real processes (gloo) against one: weights, metrics, checkpoints."""

import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from proofgym.trainers.errors import TrainError
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig, Lora
from proofgym.trainers.sharding import World
from tests.trainers.sharded_worker import scenario, tiny, work

DEADLINE_S = 300
KINDS: dict[str, dict[str, Any]] = {
    "rl float64": {"loss": "rl", "dtype": "float64", "tied": False},
    "sft float32": {"loss": "sft", "dtype": "float32", "tied": True},
}


def run_in(size: int, folder: Path, cases: Mapping[str, Mapping[str, Any]]) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trainers.sharded_worker"])
    children = [
        context.Process(target=work, args=(rank, size, folder, cases)) for rank in range(size)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(DEADLINE_S)
        if child.exitcode is None:
            child.kill()
    assert [child.exitcode for child in children] == [0] * size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1, 2 and 4 processes, and then 1 and 4 on the checkpoint of 2."""
    folder = tmp_path_factory.mktemp("sharded")
    run_in(2, folder, {f"{kind} 2": case for kind, case in KINDS.items()})
    loading = {
        f"{kind} 2to4": {**case, "load": f"{kind} 2-checkpoint"} for kind, case in KINDS.items()
    }
    run_in(4, folder, {f"{kind} 4": case for kind, case in KINDS.items()} | loading)
    for kind, case in KINDS.items():
        scenario(folder, None, f"{kind} 1", case)
        scenario(folder, None, f"{kind} 2to1", {**case, "load": f"{kind} 2-checkpoint"})
    return folder


def found(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / f"{name}.pt", weights_only=True)  # type: ignore[no-any-return]


def check_equal(one: dict[str, Any], other: dict[str, Any], dtype: str) -> None:
    bound = 1e-12 if dtype == "float64" else 1e-5
    assert one["weights"].keys() == other["weights"].keys()
    for name, weight in one["weights"].items():
        assert weight.dtype == getattr(torch, dtype)
        torch.testing.assert_close(weight, other["weights"][name], atol=bound, rtol=bound)
    assert one["metrics"] == pytest.approx(other["metrics"], rel=bound, abs=bound)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_several_processes_is_that_of_one(
    folder: Path, kind: str, processes: int
) -> None:
    for step in (1, 2):
        one, several = (
            found(folder, f"{kind} 1-{step}"),
            found(folder, f"{kind} {processes}-{step}"),
        )
        check_equal(several, one, KINDS[kind]["dtype"])
    assert one["metrics"]["grad_norm"] > 0.5, "the bound must be met, to be tested"


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_two_processes_goes_on_in_one_and_in_four(
    folder: Path, kind: str, processes: int
) -> None:
    uninterrupted = found(folder, f"{kind} 2-2")
    check_equal(found(folder, f"{kind} 2to{processes}-2"), uninterrupted, KINDS[kind]["dtype"])


def test_adapters_in_several_processes_are_refused() -> None:
    config, world = LearnerConfig(adapter=Lora()), object.__new__(World)
    with pytest.raises(TrainError, match="Adapters are trained by one process"):
        Learner(
            tiny(torch.float32, tied=True), OptimizerConfig(lr=1), total_steps=1,
            config=config, world=world,
        )  # fmt: skip
