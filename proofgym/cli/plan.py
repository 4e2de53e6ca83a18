"""``proofgym plan``: what a run takes of memory, and whether it fits."""

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from proofgym.config import load_config
from proofgym.errors import UsageError

if TYPE_CHECKING:
    from proofgym.trainers.run_config import RunConfig
    from proofgym.trainers.run_memory import RunPlan

_UNITS = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
          "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}  # fmt: skip


def plan(
    config_path: Path, overrides: Sequence[str], *, gpu_memory: str | None, as_json: bool
) -> int:
    """Print the table; 0 where the run fits."""
    config = load_config(config_path, overrides, for_here=False)
    # what follows loads torch; a mistake in the request has been reported by now
    from proofgym.trainers.run_memory import plan_run

    room = room_for(config, gpu_memory)
    try:
        planned = plan_run(config, room.size, on_gpu=room.on_gpu)
    except (OSError, ValueError) as error:
        raise UsageError(f"{config_path} cannot be planned: {error}") from error
    if as_json:
        json.dump(as_table(planned), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        show(config.name, planned, Console(soft_wrap=True))
    return 0 if planned.fits else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a run may take: bytes of each GPU, or of the machine's memory."""

    size: int
    on_gpu: bool


def room_for(config: "RunConfig", gpu_memory: str | None) -> Room:
    """Find the memory that a run would be put into.

    Raises:
        UsageError: the run needs a GPU, and there is none here and none named; or the other way
            round; or the size is none.
    """
    import torch

    from proofgym.agents.vllm_engine import VLLMConfig

    if gpu_memory is not None:
        if config.device == "cpu":
            raise UsageError("--gpu-memory is for runs on a GPU, and this one has device = 'cpu'.")
        return Room(size=parse_size(gpu_memory), on_gpu=True)
    if config.device != "cpu" and torch.cuda.is_available():
        index = torch.device(config.device).index or 0 if config.device != "auto" else 0
        if index < torch.cuda.device_count():
            size = torch.cuda.get_device_properties(index).total_memory
            return Room(size=size, on_gpu=True)
    served = isinstance(config.engine, VLLMConfig) and config.engine.launch.device == "cuda"
    if config.device.startswith("cuda") or served:
        raise UsageError(
            "expected a GPU for this run, and found none here. Name one to plan for: "
            "--gpu-memory 80GiB"
        )
    return Room(size=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), on_gpu=False)


def parse_size(text: str) -> int:
    """Read a size such as 80GiB, 141GB or 24g (GiB) in bytes.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)\s*", text)
    unit = found[2].lower() if found else ""
    unit = f"{unit}ib" if len(unit) == 1 and unit != "b" else unit
    if found is None or unit not in _UNITS:
        raise UsageError(f"--gpu-memory must be a size such as 80GiB, got {text!r}.")
    return int(float(found[1]) * _UNITS[unit])


def as_table(planned: "RunPlan") -> dict[str, Any]:
    """Return plain JSON values; sizes are bytes."""
    table = asdict(planned)
    for stage, one in zip(planned.stages, table["stages"], strict=True):
        one["peak"] = stage.peak
        one["memory"]["peak"], one["otherwise"]["peak"] = stage.memory.peak, stage.otherwise.peak
    for device, one in zip(planned.devices, table["devices"], strict=True):
        one["taken"], one["fits"] = device.taken, device.fits
    return {**table, "worst": planned.worst.name, "fits": planned.fits}


def show(name: str, planned: "RunPlan", console: Console) -> None:
    """Print who takes what."""
    model, worst = planned.model, planned.worst
    console.print(f"[bold]{name}[/bold]: {model.parameters / 1e6:.1f} M parameters")
    other = "with" if not worst.checkpointing else "without"
    console.print(
        f"\nlearner in stage {worst.name}: micro-batches of {worst.tokens} tokens in "
        f"{worst.compute_dtype}{', activations checkpointed' if worst.checkpointing else ''}"
    )
    memory = worst.memory
    lines = [
        ("weights, float32", memory.weights),
        ("AdamW's averages", memory.optimizer),
        ("gradients", memory.gradients),
        ("activations of a micro-batch", memory.activations),
        ("head: a chunk's logits", memory.head),
        ("temporary", memory.temporary),
        ("the reference's weights", memory.reference),
        ("weights cast for the engine", memory.staged),
    ]
    for label, size in lines:
        if size:
            console.print(f"  {label:<30}{_size(size)}")
    console.print(f"  {'= at the worst moment':<30}{_size(memory.peak)}")
    console.print(f"  {f'({other} checkpointing':<30}{_size(worst.otherwise.peak)})")
    console.print(f"  {'while weights are sent':<30}{_size(worst.sync)}")
    for stage in planned.stages:
        if stage is not worst:
            console.print(f"  {f'stage {stage.name}':<30}{_size(stage.peak)}")
    _show_engine(planned, console)
    for device in planned.devices:
        console.print(f"\n{device.name}")
        for label, size in device.parts.items():
            console.print(f"  {label:<30}{_size(size)}")
        verdict = "[green]fits[/green]" if device.fits else "[red]does not fit[/red]"
        console.print(
            f"  {'= together':<30}{_size(device.taken)} of {_size(device.total).strip()}: {verdict}"
        )


def _show_engine(planned: "RunPlan", console: Console) -> None:
    engine = planned.engine
    if engine is None:
        console.print("\nengine: its servers run elsewhere")
        return
    console.print(f"\nengine: {planned.engine_kind}")
    if engine.weights:
        console.print(f"  {'weights':<30}{_size(engine.weights)}")
    label = f"cache: {planned.slots} x {planned.context} tokens"
    console.print(f"  {label:<30}{_size(engine.cache)}")
    if engine.reserve is None:
        return
    console.print(f"  {'its reserve, taken at once':<30}{_size(engine.reserve)}")
    if engine.cached_fraction < 1:
        room = int(engine.cached_fraction * planned.slots)
        console.print(
            f"  the reserve holds {room} of {planned.slots} sequences at full length; more wait"
            if room
            else "  [red]the reserve does not hold one sequence at full length[/red]"
        )


def _size(size: int) -> str:
    in_mib = size / 2**20
    return f"{in_mib:8.1f} MiB" if in_mib < 1000 else f"{in_mib / 1024:8.2f} GiB"
