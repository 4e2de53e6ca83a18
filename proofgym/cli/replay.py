"""``proofgym replay``: take one step of a run again, and compare."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

SHOWN = ("loss", "grad_norm", "entropy", "ratio/mean")
DIFFERS = 1
"""The exit code where the same loss gave other numbers."""


def replay(place: Path, loss: str | None) -> int:
    """Replay a step bundle on the CPU, and print its numbers beside the recorded ones."""
    from proofgym.trainers.step_bundle import find_bundle, read_bundle, replay_bundle

    path = find_bundle(place)
    bundle = read_bundle(path)
    found = replay_bundle(bundle, loss=loss).metrics
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "recorded", "replayed"):
        table.add_column(heading)
    for name in SHOWN:
        if name in found:
            table.add_row(name, _number(bundle.outputs.get(name)), _number(found[name]))
    console = Console()
    console.print(f"{path.name}: stage {bundle.stage}, step {bundle.step}", soft_wrap=True)
    console.print(table)
    if loss is not None or not bundle.outputs:
        return 0
    same = all(bundle.outputs[name] == found[name] for name in ("loss", "grad_norm"))
    console.print("The same to the last bit." if same else "Not the same to the last bit.")
    return 0 if same else DIFFERS


def _number(value: float | None) -> str:
    return "-" if value is None else repr(value)
