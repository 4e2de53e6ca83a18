"""Train the quickstart's RL stage at several staleness numbers: the same result, and how fast?

Run: ``python benchmarks/async_quickstart.py [--seeds 3] [--steps 60] [--staleness 0 1 4]``

All runs begin at one SFT checkpoint, which is trained first and kept in ``--out``. Staleness 0 uses
the embedded engine; the others use an engine in a process of its own, so two cores are needed to
see what it brings. The first steps of a run (``--warm``) are left out of the speed: they wait for
the engine to start. ``samples/s`` is rollouts trained on or filtered, by wall time of whole steps.
"""

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from proofgym.agents import EvalReport
from proofgym.config import read_toml
from proofgym.envs import Episode
from proofgym.trainers.ledger import check_ledger
from proofgym.trainers.metrics import read_metrics
from proofgym.trainers.monitors import Finding
from proofgym.trainers.run import Run
from proofgym.trainers.run_config import RunConfig

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.toml"


class Quiet:
    """Watches without a word."""

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None: ...

    def on_episode(self, episode: Episode) -> None: ...

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def on_evaluation(self, stage: str, report: EvalReport) -> None: ...

    def on_finding(self, stage: str, finding: Finding) -> None:
        print(f"  {stage} monitor {finding}", flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run's."""

    staleness: int
    seed: int
    before: float
    after: float
    samples_per_s: float
    age: float
    ledger: str


def start(out: Path, steps: int) -> Path:
    """Train the SFT checkpoint that all runs begin at."""
    table = read_toml(RECIPE)
    table["stages"] = {"sft": {**table["stages"]["sft"], "steps": steps}}
    run = Run(RunConfig.model_validate(table), out / "sft", Quiet())
    if not run.finished:
        run.execute()
    return run.folder.weights_of("sft")


def train(model: Path, staleness: int, seed: int, given: argparse.Namespace) -> Result:
    """Train the RL stage once."""
    out, warm = given.out, given.warm
    table = read_toml(RECIPE)
    sizes = {"steps": given.steps, "prompts": given.prompts}
    stage: dict[str, Any] = {**table["stages"]["grpo"], **sizes, "staleness": staleness}
    stage.pop("init")
    table |= {
        "seed": seed,
        "model": {"kind": "pretrained", "path": str(model)},
        "stages": {"grpo": stage},
        "engine": {"kind": "process" if staleness else "embedded"},
        "evaluation": {**table["evaluation"], "tasks": given.tasks},
    }
    path = out / f"staleness-{staleness}-seed-{seed}"
    run = Run(RunConfig.model_validate(table), path, Quiet())
    run.execute()
    records = read_metrics(run.folder.metrics)
    before, after = (r["pass@1"]["value"] for r in records if r["kind"] == "evaluation")
    timed = [r for r in records if r["kind"] == "step"][warm:]
    seconds = sum(r["time/step"] for r in timed)
    rollouts = stage["prompts"] * stage["group_size"] * len(timed)
    return Result(
        staleness=staleness,
        seed=seed,
        before=before,
        after=after,
        samples_per_s=rollouts / seconds,
        age=statistics.fmean(r.get("staleness/mean", 0.0) for r in timed),
        ledger=str(check_ledger(run.folder.ledger)),
    )


def main() -> None:
    """Train them all, and print a line each and one for each staleness."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tasks", type=int, default=512)
    parser.add_argument("--sft-steps", type=int, default=600)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--staleness", type=int, nargs="+", default=[0, 1, 4])
    parser.add_argument("--out", type=Path, default=Path("runs/async-quickstart"))
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    model = start(given.out, given.sft_steps)
    print("staleness seed  held-out pass@1   samples/s  mean age  ledger", flush=True)
    results: list[Result] = []
    for seed in range(given.seeds):
        for staleness in given.staleness:
            one = train(model, staleness, seed, given)
            results.append(one)
            print(
                f"{one.staleness:9} {one.seed:4}  {one.before:.3f} -> {one.after:.3f}  "
                f"{one.samples_per_s:10.0f}  {one.age:8.2f}  {one.ledger}",
                flush=True,
            )
    base = [one.samples_per_s for one in results if one.staleness == given.staleness[0]]
    for staleness in given.staleness:
        chosen = [one for one in results if one.staleness == staleness]
        after = [one.after for one in chosen]
        speed = [one.samples_per_s for one in chosen]
        ratio = statistics.median(s / b for s, b in zip(speed, base, strict=True))
        spread = f" (from {min(after):.3f} to {max(after):.3f})" if len(after) > 1 else ""
        print(
            f"staleness {staleness}: pass@1 {statistics.fmean(after):.3f}{spread}, "
            f"{statistics.fmean(speed):.0f} samples/s, {ratio:.2f} times staleness "
            f"{given.staleness[0]}"
        )


if __name__ == "__main__":
    main()
