"""Kill a run at random moments of every phase, resume it, and compare it with one never killed.

    python tests/trainers/crash_harness.py FOLDER [KILLS [SEED]]

Each run is a forked process, ended by SIGKILL from outside some time after it entered a phase; the
same call then goes on, and is killed again, until it ends. It prints a line of JSON.
"""

import functools
import inspect
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

from proofgym.agents import EvalReport
from proofgym.envs import Env, Episode, Limits
from proofgym.trainers import scorer, stage
from proofgym.trainers.engines import EngineHost
from proofgym.trainers.ledger import check_ledger, read_ledger
from proofgym.trainers.metrics import read_metrics
from proofgym.trainers.monitors import Finding
from proofgym.trainers.rollouts import Rollouts
from proofgym.trainers.run import Run
from proofgym.trainers.run_config import RunConfig
from proofgym.trainers.run_folder import RunFolder
from proofgym.verifiers import Task, Transcript, verifier

OPTIMIZER = {"lr": 5e-3, "warmup_steps": 2, "final_fraction": 0.1}
CONFIG = {
    "name": "crash",
    "environment": "test/crash-v0",
    "device": "cpu",
    "torch_threads": 1,
    "checkpoint_every": 2,
    "model": {
        "kind": "tiny",
        "hidden_size": 16,
        "layers": 1,
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 8,
        "mlp_size": 24,
        "max_context": 64,
    },
    "evaluation": {"tasks": 4, "max_tokens": 6},
    "stages": {
        "sft": {"kind": "sft", "steps": 3, "batch_size": 4, "optimizer": OPTIMIZER},
        "rl": {
            "kind": "rl",
            "init": "sft",
            "steps": 6,
            "prompts": 3,
            "group_size": 4,
            "max_tokens": 8,
            "optimizer": OPTIMIZER,
        },
    },
}
marked: Counter[str] = Counter()
spent: dict[str, list[float]] = {}
target: dict[str, Any] = {}


def characters(task: Task, transcript: Transcript) -> float:
    """Pay for the text's code points: a random policy's rewards differ."""
    return sum(map(ord, transcript.final_text)) % 5 / 4


class Crash(Env, id="test/crash-v0"):
    """Gives rewards that a policy without any skill can tell apart."""

    tasks = tuple(Task(id=f"{n}", prompt=f"{n}") for n in range(40))
    rubric = verifier(characters)
    limits = Limits(turns=1, tokens=16)
    oracle = lambda task: task.id  # noqa: E731


class Quiet:
    """Watches without a word."""

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None: ...

    def on_episode(self, episode: Episode) -> None: ...

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def on_evaluation(self, stage: str, report: EvalReport) -> None: ...

    def on_finding(self, stage: str, finding: Finding) -> None: ...


def enter(phase: str) -> None:
    """Count a phase's entries, and tell the parent of the one that it waits for."""
    marked[phase] += 1
    if target and target["phase"] == phase and target["occurrence"] == marked[phase]:
        os.write(target["pipe"], b"!")


def watch(owner: Any, name: str, phase: str) -> None:
    """Mark the phase whenever a function is called, and note how long it takes."""
    real: Callable[..., Any] = getattr(owner, name)

    def left(started: float) -> None:
        spent.setdefault(phase, []).append(time.perf_counter() - started)

    @functools.wraps(real)
    def plain(*args: Any, **kwargs: Any) -> Any:
        enter(phase)
        started = time.perf_counter()
        try:
            return real(*args, **kwargs)
        finally:
            left(started)

    @functools.wraps(real)
    async def waiting(*args: Any, **kwargs: Any) -> Any:
        enter(phase)
        started = time.perf_counter()
        try:
            return await real(*args, **kwargs)
        finally:
            left(started)

    setattr(owner, name, waiting if inspect.iscoroutinefunction(real) else plain)


def watch_all() -> list[str]:
    """Mark every phase of a run."""
    places = [
        (Rollouts, "batch", "rollout"),
        (Crash, "astep", "scoring"),
        (scorer, "action_logprobs", "loss"),
        (torch.optim.AdamW, "step", "optimiser"),
        (EngineHost, "publish", "sync"),
        (stage, "write_checkpoint", "checkpoint"),
        (RunFolder, "publish", "publishing"),
        (Run, "evaluate", "evaluation"),
    ]
    for owner, name, phase in places:
        watch(owner, name, phase)
    return [phase for _, _, phase in places]


def forked(folder: Path, kill: dict[str, Any] | None) -> int:
    """Do what is left of a run in another process; return its exit code, -9 where killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        if kill is not None:
            target.update(kill, pipe=writing)
        code = 1
        try:
            Run(RunConfig.model_validate(CONFIG), folder, Quiet()).execute()
            code = 0
            (folder / "spent.json").write_text(json.dumps(spent))
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writing)
    if kill is not None and os.read(reading, 1):
        time.sleep(kill["delay_s"])
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def timeless(folder: Path) -> list[dict[str, Any]]:
    """Give the metrics without what depends on the clock."""
    return [
        {k: v for k, v in record.items() if not k.startswith(("time/", "tok_s/", "seconds"))}
        for record in read_metrics(folder / "metrics.jsonl")
    ]


def differences(one: Path, other: Path) -> list[str]:
    """Name what two ended runs differ in."""
    found = []
    for name in ("sft", "rl"):
        places = [at / "checkpoints" / name for at in (one, other)]
        first, second = (load_file(place / "model.safetensors") for place in places)
        if any(not torch.equal(first[key], second[key]) for key in first):
            found.append(f"weights of {name}")
        old, new = (torch.load(place / "optimizer.pt") for place in places)
        for key, moments in old["optimizer"]["state"].items():
            if not torch.equal(moments["exp_avg"], new["optimizer"]["state"][key]["exp_avg"]):
                found.append(f"optimiser of {name}, parameter {key}")
    if timeless(one) != timeless(other):
        found.append("metrics")
    if read_ledger(one / "ledger.sqlite") != read_ledger(other / "ledger.sqlite"):
        found.append("ledger")
    return found


def main() -> None:
    """Kill runs until there were enough kills, and report."""
    folder = Path(sys.argv[1])
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    phases = watch_all()
    whole = folder / "whole"
    assert forked(whole, None) == 0
    usual = {k: sum(v) / len(v) for k, v in json.loads((whole / "spent.json").read_text()).items()}
    done: Counter[str] = Counter()
    broken: list[str] = []
    runs = 0
    while done.total() < kills:
        path = folder / f"run-{runs}"
        runs += 1
        for _ in range(4):  # more kills than that end one run too rarely
            phase = phases[done.total() % len(phases)]
            delay_s = rng.random() * usual[phase]
            kill = {"phase": phase, "occurrence": rng.randint(1, 3), "delay_s": delay_s}
            code = forked(path, kill)
            assert code in (0, -9), f"run {path.name} ended with {code}"
            if code == 0:
                break
            done[phase] += 1
        assert code == 0 or forked(path, None) == 0, f"run {path.name} cannot be resumed"
        broken += [f"{path.name}: {what}" for what in differences(whole, path)]
    counts = check_ledger(whole / "ledger.sqlite")
    print(json.dumps({"kills": done, "runs": runs, "broken": broken, "ledger": str(counts)}))


if __name__ == "__main__":
    main()
