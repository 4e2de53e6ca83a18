"""GRPO steps beside trl's GRPOTrainer: the same tiny model, prompts, groups, lengths, type, thread.

    python -m venv trl && trl/bin/pip install "torch==2.13.0" trl ".[train]"
    PYTHONPATH=. trl/bin/python benchmarks/grpo_vs_trl.py [--steps 6]

Both sides run in this process, on one CPU thread, in float32, and in turn (so that both meet the
same machine). Numbers are CPU seconds of the median step, the first one left out. Ours samples with
the embedded engine, through a whole ``Run`` with ledger, monitors and metrics; trl samples with
transformers' ``generate``, as it does without vLLM. Neither has another process, or a sync to wait
for. "Backward" is the rest of the step: gradients, optimiser, and the trainer's own work.
"""

import argparse
import functools
import inspect
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from proofgym.agents import EvalReport
from proofgym.agents.tiny_policy import TinyPolicyConfig, build_tiny_policy
from proofgym.envs import Env, Episode, Limits
from proofgym.trainers import rl
from proofgym.trainers.engines import EngineHost
from proofgym.trainers.learner import Learner
from proofgym.trainers.monitors import Finding
from proofgym.trainers.run import Run
from proofgym.trainers.run_config import RunConfig
from proofgym.verifiers import Task, Transcript, verifier

PROMPTS, GROUP, NEW_TOKENS = 8, 8, 64
LR = 1e-5
SIZE = TinyPolicyConfig(hidden_size=128, layers=4, mlp_size=384)
PHASES = ("sample", "score", "logprob", "backward", "sync")
SPENT: Counter[str] = Counter()
"""CPU seconds of each phase, since it was last cleared."""


def timed(owner: Any, name: str, phase: str) -> None:
    """Count the CPU time of a function or a coroutine function as a phase's."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def plain(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return real(*args, **kwargs)
        finally:
            SPENT[phase] += time.process_time() - started

    @functools.wraps(real)
    async def waiting(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return await real(*args, **kwargs)
        finally:
            SPENT[phase] += time.process_time() - started

    setattr(owner, name, waiting if inspect.iscoroutinefunction(real) else plain)


class Steps:
    """CPU seconds of every step, whole and by phase."""

    def __init__(self) -> None:
        self.found: list[dict[str, float]] = []
        self.tokens: list[float] = []
        self.start()

    def start(self) -> None:
        """Begin a step."""
        SPENT.clear()
        self.started = time.process_time()

    def end(self, rest: str) -> None:
        """End a step; what no phase took is the named phase's."""
        whole = time.process_time() - self.started
        spent = {phase: SPENT[phase] for phase in PHASES}
        if "descend" in SPENT:
            spent["backward"] = SPENT["descend"] - spent["logprob"]
        spent[rest] += whole - sum(spent.values())
        self.found.append({"step": whole, **spent})
        self.start()

    def median(self, name: str) -> float:
        """Take the median over all steps but the first."""
        return statistics.median(step[name] for step in self.found[1:])


def pay(text: str) -> float:
    """Pay for the text's code points: a random policy's rewards differ."""
    return sum(map(ord, text)) % 5 / 4


def characters(task: Task, transcript: Transcript) -> float:
    """Pay for the answer."""
    return pay(transcript.final_text)


QUESTIONS = [f"what comes after {n} in this long list of numbers" for n in range(64)]


class Questions(Env, id="benchmark/questions-v0"):
    """One question, one answer."""

    tasks = tuple(Task(id=f"{i}", prompt=text) for i, text in enumerate(QUESTIONS))
    rubric = verifier(characters)
    limits = Limits(turns=1, tokens=NEW_TOKENS)


class Clock(TrainerCallback):
    """Times trl's steps."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Begin."""
        self.steps.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """End."""
        self.steps.end("backward")


class Watcher:
    """Times our steps."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None:
        """Begin; the engine's start counts to the first step, which is left out."""
        self.steps.start()

    def on_episode(self, episode: Episode) -> None: ...

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """End."""
        self.steps.tokens.append(metrics["tokens/sampled"] / (PROMPTS * GROUP))
        self.steps.end("sample")

    def on_evaluation(self, stage: str, report: EvalReport) -> None: ...

    def on_finding(self, stage: str, finding: Finding) -> None: ...


def train_trl(model: Path, out: Path, steps: int) -> Steps:
    """Take steps with trl."""
    found = Steps()

    def reward(completions: Sequence[Any], **_: Any) -> list[float]:
        return [pay(one[0]["content"]) for one in completions]

    settings = GRPOConfig(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=PROMPTS * GROUP,
        num_generations=GROUP, max_completion_length=NEW_TOKENS, temperature=1.0, top_p=1.0,
        top_k=0, beta=0.0, learning_rate=LR, lr_scheduler_type="constant", bf16=False,
        use_cpu=True, gradient_checkpointing=False, report_to="none", save_strategy="no",
        logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in QUESTIONS]
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        reward_funcs=reward,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model),
        callbacks=[Clock(found)],
    )
    trainer.train()
    lengths = [one.get("completions/mean_length") for one in trainer.state.log_history]
    found.tokens = [one for one in lengths if one is not None]
    return found


def train_ours(model: Path, out: Path, steps: int) -> Steps:
    """Take steps with proofgym."""
    found = Steps()
    stage = {
        "kind": "rl", "steps": steps, "prompts": PROMPTS, "group_size": GROUP,
        "max_tokens": NEW_TOKENS, "filter_flat_groups": False, "token_budget": 8192,
        "optimizer": {"lr": LR},
    }  # fmt: skip
    table = {
        "name": "ours", "environment": Questions.id, "device": "cpu", "torch_threads": 1,
        "checkpoint_every": 10**6, "episodes_every": 10**6, "evaluation": {"tasks": 1},
        "model": {"kind": "pretrained", "path": str(model)}, "stages": {"grpo": stage},
    }  # fmt: skip
    Run(RunConfig.model_validate(table), out, Watcher(found)).execute()
    return found


SIDES: dict[str, Callable[[Path, Path, int], Steps]] = {"trl": train_trl, "proofgym": train_ours}


def main() -> None:
    """Print the time split and the samples a second of both, and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    timed(GRPOTrainer, "_generate", "sample")
    timed(GRPOTrainer, "_calculate_rewards", "score")
    timed(GRPOTrainer, "_get_per_token_logps_and_entropies", "logprob")
    timed(Learner, "logprobs", "logprob")
    timed(rl, "descend", "descend")
    timed(EngineHost, "publish", "sync")
    print(f"{PROMPTS} prompts x {GROUP}, up to {NEW_TOKENS} tokens; CPU s of the median step")
    print(
        "side      samples/s    step  " + "  ".join(f"{p:>8}" for p in PHASES) + "  tokens/answer"
    )
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        model.mkdir()
        build_tiny_policy(model, SIZE, words=[], seed=0)
        for number in range(given.rounds):
            rates: dict[str, float] = {}
            for name, train in SIDES.items():
                steps = train(model, Path(scratch) / f"{name}-{number}", given.steps)
                rates[name] = PROMPTS * GROUP / steps.median("step")
                split = "  ".join(f"{steps.median(phase):8.3f}" for phase in PHASES)
                mean = statistics.fmean(steps.tokens)
                row = f"{name:8}  {rates[name]:9.1f}  {steps.median('step'):6.3f}  {split}"
                print(f"{row}  {mean:13.1f}", flush=True)
            print(
                f"proofgym takes {rates['proofgym'] / rates['trl']:.2f} times the samples a second"
            )


if __name__ == "__main__":
    main()
