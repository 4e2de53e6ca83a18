"""The recipes for GPUs: what they ask for, and one of them from end to end without a GPU."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from proofgym.agents import EvalReport
from proofgym.agents.vllm_engine import TransferKind, VLLMConfig
from proofgym.config import load_config
from proofgym.envs import Episode
from proofgym.trainers.ledger import check_ledger
from proofgym.trainers.metrics import read_metrics
from proofgym.trainers.monitors import Finding
from proofgym.trainers.run import Run
from tests.agents.vllm_engine.vllm_server import need_vllm

RECIPES = Path(__file__).parents[2] / "recipes"

SMALL = [
    "device=cpu",
    "torch_threads=1",
    "engine.transfer=shm",
    "engine.launch.device=cpu",
    "engine.launch.slots=16",
    "engine.launch.arguments=[]",
    "model.hidden_size=64",
    "model.layers=1",
    "model.heads=2",
    "model.kv_heads=1",
    "model.head_dim=32",
    "model.mlp_size=128",
    "evaluation.tasks=8",
    "evaluation.every=2",
    "stages.sft.steps=40",
    "stages.sft.batch_size=32",
    "stages.grpo.steps=2",
    "stages.grpo.prompts=4",
    "stages.grpo.group_size=8",
]


class Silent:
    """Nobody watches."""

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None: ...

    def on_episode(self, episode: Episode) -> None: ...

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def on_evaluation(self, stage: str, report: EvalReport) -> None: ...

    def on_finding(self, stage: str, finding: Finding) -> None: ...


def test_one_gpu_is_shared_and_two_are_not() -> None:
    one, two = (load_config(RECIPES / f"gpu_{name}.toml") for name in ("smoke", "two"))
    assert isinstance(one.engine, VLLMConfig)
    assert isinstance(two.engine, VLLMConfig)
    assert (one.engine.transfer, one.engine.launch.gpus) == (TransferKind.IPC, ())
    assert (two.engine.transfer, two.engine.launch.gpus) == (TransferKind.NCCL, (1,))
    assert one.model == two.model
    assert one.stages == two.stages


@pytest.mark.vllm
def test_gpu_smoke_runs_from_end_to_end_made_small(tmp_path: Path) -> None:
    need_vllm()
    config = load_config(RECIPES / "gpu_smoke.toml", SMALL)
    run = Run(config, tmp_path, Silent())
    run.execute()

    assert run.finished
    check_ledger(run.folder.ledger)  # every rollout that was issued ended once
    records = read_metrics(run.folder.metrics)
    evaluated = [record["stage"] for record in records if record["kind"] == "evaluation"]
    assert evaluated == ["base", "sft", "grpo"]
    steps = [one for one in records if one["kind"] == "step" and one["stage"] == "grpo"]
    assert [step["env/infra_frac"] for step in steps] == [0.0, 0.0]
    trained = [step for step in steps if "loss" in step]
    assert trained  # in bfloat16 on both sides, so the logprobs agree as far as it goes
    assert max(step["mismatch/abs_diff_mean"] for step in trained) < 0.05
