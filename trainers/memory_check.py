"""What an optimiser step really takes of memory, to hold a plan against."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, PretrainedConfig

from proofgym.trainers.batch import Batch
from proofgym.trainers.learner import Learner, OptimizerConfig
from proofgym.trainers.learner_config import LearnerConfig
from proofgym.trainers.losses.cross_entropy import cross_entropy_loss
from proofgym.trainers.losses.terms import ActionLogprobs, LossSums
from proofgym.trainers.memory_plan import LearnerMemory, learner_memory
from proofgym.trainers.memory_trace import micro_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCheck:
    """A plan beside what was measured, bytes.

    Args:
        planned: the learner's parts.
        measured: the most that tensors took during an optimiser step, weights included.
    """

    planned: LearnerMemory
    measured: int

    @property
    def ratio(self) -> float:
        """Planned over measured."""
        return self.planned.peak / self.measured


def check_memory(
    config: PretrainedConfig,
    learner: LearnerConfig,
    lengths: Sequence[int],
    *,
    micro_batches: int = 2,
    device: torch.device,
) -> MemoryCheck:
    """Plan an optimiser step, take two of a model with random weights, and measure the second.

    Args:
        config: of the model.
        learner: how it is trained.
        lengths: of the sequences of each micro-batch.
        micro_batches: of a step.
        device: a GPU, which should hold nothing else of this process; or the CPU.
    """
    optimizer = OptimizerConfig(lr=1e-6)
    planned = learner_memory(
        config,
        learner,
        optimizer,
        lengths,
        accumulates=micro_batches > 1,
        on_gpu=device.type == "cuda",
    )
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    own = Learner(model, optimizer, total_steps=2, config=learner)
    batches = [micro_batch(lengths)] * micro_batches
    words = int(config.get_text_config().vocab_size)
    for batch in batches:
        batch.tokens_T.copy_(torch.randint(words, batch.tokens_T.shape))
    own.step(batches, _loss)  # makes the optimiser's averages
    measured = _on_gpu(own, batches) if device.type == "cuda" else _on_cpu(own, model, batches)
    return MemoryCheck(planned=planned, measured=measured)


def _loss(scored: ActionLogprobs, batch: Batch) -> LossSums:
    return cross_entropy_loss(scored.logp_N, torch.full_like(scored.logp_N, 1e-6))


def _on_gpu(learner: Learner, batches: Sequence[Batch]) -> int:
    torch.cuda.synchronize(learner.device)
    torch.cuda.reset_peak_memory_stats(learner.device)
    learner.step(batches, _loss)
    torch.cuda.synchronize(learner.device)
    peak: int = torch.cuda.max_memory_allocated(learner.device)
    return peak


def _on_cpu(learner: Learner, model: torch.nn.Module, batches: Sequence[Batch]) -> int:
    """Add what the allocator reports during a step to what stands before it."""
    states: Any = learner.optimizer.state.values()
    standing = {one.data_ptr(): one.nbytes for state in states for one in state.values()}
    for module in (model, learner.model):
        standing |= {one.data_ptr(): one.nbytes for one in module.parameters()}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        learner.step(batches, _loss)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    reports = [event for event in events if event.get("name") == "[memory]"]
    now = peak = 0
    for report in sorted(reports, key=lambda event: float(event["ts"])):
        now += int(report["args"]["Bytes"])
        peak = max(peak, now)
    before: int = sum(standing.values())
    return before + peak
