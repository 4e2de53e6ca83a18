"""A whole run whose policy is sampled by a real vLLM: it learns, and a kill costs nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proofgym.agents import Comparison, EvalReport, compare_paired, read_episodes
from proofgym.agents.vllm_engine import VLLMEngine
from proofgym.config import load_config
from proofgym.envs import Episode
from proofgym.trainers.ledger import check_ledger
from proofgym.trainers.metrics import read_metrics
from proofgym.trainers.run import Run
from tests.agents.vllm_engine.vllm_server import need_vllm

pytestmark = pytest.mark.vllm

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart_vllm.toml"
STEPS = 12


class Killer:
    """Kill the server in the middle of a step's rollouts; count what happens."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.run: Run | None = None
        self.episodes = 0
        self.killed = 0
        self.steps: list[Mapping[str, float]] = []
        self.passed: dict[str, float] = {}

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None: ...

    def on_episode(self, episode: Episode) -> None:
        self.episodes += 1
        if len(self.steps) == self.step and not self.killed:
            assert self.run is not None
            engine: Any = self.run.host._engine
            assert isinstance(engine, VLLMEngine)
            self.killed = engine.processes[0].pid
            engine.processes[0].kill()  # SIGKILL to the whole group

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        if stage == "grpo":
            self.steps.append(metrics)

    def on_evaluation(self, stage: str, report: EvalReport) -> None:
        self.passed[stage] = report.reward_mean


def heldout(folder: Path, before: str, after: str) -> Comparison:
    """Compare two stages' policies on the held-out tasks that both were measured on."""
    solved: list[dict[str, list[bool]]] = []
    for stage in (before, after):
        by_task: dict[str, list[bool]] = {}
        for episode in read_episodes(folder / "episodes" / f"eval-{stage}.jsonl"):
            by_task.setdefault(episode.task_id, []).append(episode.solved)
        solved.append(by_task)
    assert solved[0].keys() == solved[1].keys()
    return compare_paired(*[[one[task] for task in sorted(one)] for one in solved])


def test_grpo_through_vllm_learns_and_survives_a_killed_server(tmp_path: Path) -> None:
    need_vllm()
    overrides = [
        "evaluation.tasks=128",
        "stages.sft.steps=300",
        f"stages.grpo.steps={STEPS}",
        "episodes_every=1",
    ]
    config = load_config(RECIPE, overrides)
    watcher = Killer(step=2)
    run = Run(config, tmp_path / "run", watcher)
    watcher.run = run
    run.execute()

    assert run.finished
    assert watcher.killed
    assert [step["env/infra_frac"] for step in watcher.steps] == [0.0] * STEPS
    written = [
        episode
        for path in sorted((tmp_path / "run" / "episodes").glob("grpo-*.jsonl"))
        for episode in read_episodes(path)
    ]
    assert len(written) == STEPS * 16 * 16
    for episode in written:
        assert episode.scored
        for turn in episode.turns:
            assert len(turn.ids) == len(turn.logprobs) > 0
    check_ledger(run.folder.ledger)  # every rollout that was issued ended once
    differences = [step["mismatch/abs_diff_mean"] for step in watcher.steps if "loss" in step]
    assert len(differences) >= 3
    assert max(differences) < 1e-5  # what the server said of each token is the learner's
    assert watcher.passed["grpo"] > watcher.passed["sft"] > watcher.passed["base"]
    risen = heldout(tmp_path / "run", "sft", "grpo")
    assert risen.low > 0.02, risen  # the whole interval of the rise
    assert read_metrics(run.folder.metrics)
