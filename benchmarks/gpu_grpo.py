"""GRPO on one GPU: the learner alone, a long episode, and whole steps with an engine.

    python benchmarks/gpu_grpo.py learner --size 0.6B        # no engine: tokens/s, MFU, memory
    python benchmarks/gpu_grpo.py long --size 1.7B --checkpointing  # episodes of 32k tokens
    python benchmarks/gpu_grpo.py loop --size 0.6B --engine vllm
    python benchmarks/gpu_grpo.py loop --size tiny --device cpu --prompts 2 --group 4   # anywhere

Models have the architecture of Qwen3 and random weights, on whose values speed does not depend.
MFU is the FLOPs of the forward and backward pass, counted by hand and without what is computed
twice, over the rate of an 8192 x 8192 x 8192 matrix product in the same type, measured first.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from proofgym.agents import EvalReport
from proofgym.agents.tiny_policy import tiny_tokenizer
from proofgym.envs import Env, Episode, Limits, Source
from proofgym.trainers.algorithm import policy_loss
from proofgym.trainers.batch import Batch, Weighted, pack
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.monitors import Finding
from proofgym.trainers.prefix_sharing import Sharing
from proofgym.trainers.run import Run
from proofgym.trainers.run_config import RlConfig, RunConfig
from proofgym.trainers.sample import Sample
from proofgym.verifiers import Task, Transcript, verifier

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32,
    },
    "0.6B": {
        "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "1.7B": {
        "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 128,
    },
}  # fmt: skip
GIB = 2**30


def model_config(size: str, context: int) -> Qwen3Config:
    """Describe a model of a size."""
    shape = SIZES[size]
    return Qwen3Config(
        **shape, max_position_embeddings=context, tie_word_embeddings=True, rope_theta=1e6,
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip


def random_model(size: str, context: int, device: torch.device) -> Qwen3ForCausalLM:
    """Make a float32 model of a size, on the device."""
    torch.manual_seed(0)
    with device:
        return Qwen3ForCausalLM(model_config(size, context)).float()


def flops(config: Qwen3Config, batches: list[Batch]) -> float:
    """Count a forward and backward pass: matrix products, causal attention, the head's tokens.

    A prompt that rollouts of a micro-batch share is counted once, but for its attention.
    """
    hidden, heads, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    attention = hidden * config.head_dim * (2 * heads + 2 * kv)
    weights = config.num_hidden_layers * (attention + 3 * hidden * config.intermediate_size)
    total = 0.0
    for batch in batches:
        lengths = np.diff(batch.cumulative_lengths)
        scores = float((2 * lengths**2).sum()) * heads * config.head_dim
        computed = len(Sharing.of(batch).computed_U)
        head = 2 * config.vocab_size * hidden * int(batch.action_T.sum())
        total += 2 * weights * computed + config.num_hidden_layers * scores + head
    return 3.0 * total


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure FLOP/s of a large matrix product."""
    n = 8192 if device.type == "cuda" else 1024
    one, other = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / seconds(lambda: one @ other, device, repeats=10)


def seconds(work: Callable[[], object], device: torch.device, *, repeats: int) -> float:
    """Time work on a device, the mean of some calls after two others."""
    for _ in range(2):
        work()
    wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    wait(device)
    return (time.perf_counter() - started) / repeats


def wait(device: torch.device) -> None:
    """Wait for all that the device was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_gib(device: torch.device) -> float:
    """Say the most memory that tensors took since the last call."""
    if device.type != "cuda":
        return float("nan")
    peak = torch.cuda.max_memory_allocated(device) / GIB
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def synthetic(config: Qwen3Config, given: argparse.Namespace, index: int) -> Weighted:
    """Make a rollout of random tokens; those of a group have the same prompt."""
    prompt, length = given.prompt, given.prompt + given.completion
    words = [
        np.random.default_rng(seed).integers(0, config.vocab_size, count)
        for seed, count in (((0, index // given.group), prompt), ((1, index), given.completion))
    ]
    action = np.arange(length) >= prompt
    sample = Sample(
        tokens=np.concatenate(words).astype(np.int32),
        action=action,
        logp=np.where(action, -np.log(config.vocab_size), 0.0).astype(np.float32),
        version=np.where(action, 0, -1).astype(np.int32),
        turn=np.zeros(length, np.int16),
        source=np.where(action, Source.SAMPLED, Source.TEMPLATE).astype(np.uint8),
        reward=np.zeros(length, np.float32),
        env_id="benchmark", task_id=str(index), group=index, rollout=0, row=0, temperature=1.0,
        finish="length",
    )  # fmt: skip
    return Weighted(sample=sample, advantage=1.0 if index % 2 else -1.0, w_pg=1e-6)


def rl_config(given: argparse.Namespace) -> dict[str, Any]:
    """Make the stage's table."""
    learner = {
        "compute_dtype": given.dtype, "compile": given.compile,
        "activation_checkpointing": given.checkpointing,
    }  # fmt: skip
    return {
        "kind": "rl", "steps": given.steps, "prompts": given.prompts, "group_size": given.group,
        "max_tokens": given.completion, "filter_flat_groups": False, "token_budget": given.budget,
        "optimizer": {"lr": 1e-6}, "learner": learner,
    }  # fmt: skip


def learner_part(given: argparse.Namespace, device: torch.device, rate: float) -> None:
    """Time optimiser steps on synthetic rollouts."""
    config = model_config(given.size, given.prompt + given.completion)
    count = given.prompts * given.group
    stage = RlConfig.model_validate(rl_config(given))
    rows = [synthetic(config, given, i) for i in range(count)]
    batches = pack(rows, token_budget=given.budget)
    learner = Learner(
        random_model(given.size, given.prompt + given.completion, device),
        OptimizerConfig(lr=1e-6), total_steps=100, config=stage.learner,
    )  # fmt: skip
    loss = policy_loss(stage)
    started = time.perf_counter()
    learner.step(batches[:1], loss)
    wait(device)
    print(f"first micro-batch {time.perf_counter() - started:.1f} s, compiling included")
    peak_gib(device)
    step = seconds(lambda: learner.step(batches, loss), device, repeats=given.steps)
    lengths = [given.prompt + given.completion] * count
    work = flops(config, batches)
    tokens = sum(lengths)
    mfu = work / step / rate
    print(
        f"learner {given.size}: {count} rollouts of {given.prompt} + {given.completion} in "
        f"{len(batches)} micro-batches: {step:.3f} s a step, {tokens / step:,.0f} tokens/s, "
        f"{work / step / 1e12:.0f} TFLOP/s, MFU {mfu:.3f}, peak {peak_gib(device):.1f} GiB"
    )
    with torch.no_grad():
        score = seconds(lambda: _score(learner, batches), device, repeats=1)
    print(f"scoring alone: {score:.3f} s, {tokens / score:,.0f} tokens/s")
    if given.profile:
        profile(lambda: learner.step(batches[:1], loss))


def _score(learner: Learner, batches: list[Batch]) -> None:
    for batch in batches:
        learner.logprobs(batch)


def profile(work: Callable[[], object]) -> None:
    """Print which kernels take the time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        work()
        torch.cuda.synchronize()
    print(
        found.key_averages().table(
            sort_by="self_cuda_time_total", row_limit=22, max_name_column_width=60
        )
    )


TEXT = "compare these numbers and say which of them is the largest: "


def pay(task: Task, transcript: Transcript) -> float:
    """Pay for the answer's code points, which are as good as random."""
    return sum(map(ord, transcript.final_text)) % 5 / 4


def make_environment(prompt: int) -> None:
    """Register an environment whose prompts have about so many tokens, a byte each."""
    made = tuple(
        Task(id=f"{i}", prompt=(f"{i}: " + TEXT * (prompt // len(TEXT) + 1))[: prompt - 8])
        for i in range(4096)
    )

    class Long(
        Env,
        id="benchmark/long-v0",
    ):
        """A long question, and an answer as long as may be."""

        tasks = made
        rubric = verifier(pay)
        limits = Limits(turns=1, tokens=1 << 16)


class Printer:
    """Prints each step's phases."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None:
        """Begin to time."""
        self.began = time.perf_counter()

    def on_episode(self, episode: Episode) -> None: ...

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Print one step."""
        whole = time.perf_counter() - self.began
        self.began = time.perf_counter()
        phases = {name: metrics[f"time/{name}"] for name in ("rollout", "train", "sync")}
        trained = metrics["tokens/trained"]
        shown = ", ".join(f"{name} {took:.2f}" for name, took in phases.items())
        chosen = {name: x for name, x in metrics.items() if name.startswith("mismatch")}
        chosen |= {"ratio/ess": metrics.get("ratio/ess", float("nan"))}
        print(
            f"step {step}: {whole:.2f} s ({shown}; explained {sum(phases.values()) / whole:.3f}), "
            f"{trained / whole:,.0f} tokens/s end to end, "
            f"generation {metrics['tok_s/gen']:,.0f}/s, "
            f"training {metrics['tok_s/train']:,.0f}/s\n   "
            + "  ".join(f"{name} {value:.3g}" for name, value in chosen.items()),
            flush=True,
        )

    def on_evaluation(self, stage: str, report: EvalReport) -> None: ...

    def on_finding(self, stage: str, finding: Finding) -> None:
        """Print what a monitor saw."""
        print(f"   {finding}")


def loop_part(given: argparse.Namespace, device: torch.device) -> None:
    """Take whole steps, through a run with ledger, monitors and metrics."""
    make_environment(given.prompt)
    context = given.prompt + given.completion + 64
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        random_model(given.size, context, device).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
        engine: dict[str, Any] = {"kind": "embedded", "slots": given.slots}
        if given.engine == "vllm":
            launch = {
                "device": device.type, "dtype": given.dtype, "slots": given.slots,
                "max_context": context, "python": os.environ.get("PROOFGYM_VLLM_PYTHON", ""),
                "arguments": given.vllm_arguments.split(),
            }  # fmt: skip
            engine = {
                "kind": "vllm", "transfer": given.transfer, "launch": launch,
                "in_flight": "wait",  # older servers do not say which weights drew a token
            }  # fmt: skip
        table = {
            "name": "gpu", "environment": "benchmark/long-v0", "device": str(device),
            "checkpoint_every": 10**6, "episodes_every": 10**6,
            "evaluation": {"tasks": 1, "max_tokens": 1}, "engine": engine,
            "model": {"kind": "pretrained", "path": str(folder)},
            "stages": {"grpo": rl_config(given)},
        }  # fmt: skip
        started = time.perf_counter()
        run = Run(RunConfig.model_validate(table), Path(scratch) / "run", Printer())
        ended = False
        try:
            run.execute()
            ended = True
        finally:
            for log in (Path(scratch) / "run").rglob("*.log"):
                text = log.read_text(errors="replace")
                print("\n".join(line for line in text.splitlines() if "ttention backend" in line))
                if not ended:
                    print(f"== {log}\n{text[-6000:]}")
        print(f"the whole run took {time.perf_counter() - started:.1f} s")
    print(f"peak of the learner's process: {peak_gib(device):.1f} GiB")


def main() -> None:
    """Print the machine, and what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["learner", "long", "loop"])
    parser.add_argument("--size", choices=list(SIZES), default="0.6B")
    parser.add_argument("--engine", choices=["embedded", "vllm"], default="embedded")
    parser.add_argument("--transfer", choices=["shm", "ipc"], default="shm")
    parser.add_argument("--vllm-arguments", default="")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--completion", type=int, default=1024)
    parser.add_argument("--budget", type=int, default=16384)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--slots", type=int, default=512)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    device = torch.device(given.device)
    given.dtype = given.dtype or ("bfloat16" if device.type == "cuda" else "float32")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    rate = matrix_rate(device, getattr(torch, given.dtype))
    print(f"{name}, torch {torch.__version__}, {given.dtype}: {rate / 1e12:.1f} TFLOP/s measured")
    if given.part == "loop":
        loop_part(given, device)
        return
    if given.part == "long":
        given.prompts, given.group = 1, 2
        given.prompt, given.completion, given.budget = 1024, 32768 - 1024, 32768
    learner_part(given, device, rate)


if __name__ == "__main__":
    main()
