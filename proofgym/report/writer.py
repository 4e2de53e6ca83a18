"""Write a run's report whenever there is something new to see."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from proofgym.agents.whole_file import write_whole
from proofgym.report.machine import describe_machine
from proofgym.report.page import curve_figure, page
from proofgym.report.run_record import RunRecord

if TYPE_CHECKING:
    import torch

    from proofgym.agents import EvalReport
    from proofgym.envs import Episode
    from proofgym.trainers.monitors import Finding
    from proofgym.trainers.run import Reporter


class ReportWriter:
    """A reporter that passes everything on, and writes the report after each evaluation.

    Args:
        folder: the run's.
        watcher: who else watches.
    """

    def __init__(self, folder: Path, watcher: "Reporter") -> None:
        self.folder = folder
        self.watcher = watcher

    @staticmethod
    def write(folder: Path) -> None:
        """Write report.html and curve.svg of what the folder holds."""
        record = RunRecord.read(folder)
        write_whole(folder / "report.html", page(record).encode("utf-8", "replace"))
        figure = curve_figure(record)
        if figure is not None:
            write_whole(folder / "curve.svg", figure.standalone().encode("utf-8", "replace"))

    @staticmethod
    def record_machine(folder: Path, device: "torch.device") -> None:
        """Note what the run runs on; a resumed run keeps what it began on, and adds the rest."""
        path = folder / "machine.json"
        found = describe_machine(device)
        if path.exists():
            before: dict[str, str] = json.loads(path.read_text())
            changed = {k: f"{before[k]}, then {v}" for k, v in found.items() if _new(before, k, v)}
            found = {**found, **before, **changed}
        write_whole(path, (json.dumps(found, indent=2) + "\n").encode())

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None:
        """Pass it on."""
        self.watcher.on_stage(stage, kind, done, total)

    def on_episode(self, episode: "Episode") -> None:
        """Pass it on."""
        self.watcher.on_episode(episode)

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Pass it on."""
        self.watcher.on_step(stage, step, total, metrics)

    def on_evaluation(self, stage: str, report: "EvalReport") -> None:
        """Pass it on, and write the report: its metrics and episodes are on the disk by now."""
        self.watcher.on_evaluation(stage, report)
        self.write(self.folder)

    def on_finding(self, stage: str, finding: "Finding") -> None:
        """Pass it on."""
        self.watcher.on_finding(stage, finding)


def _new(before: Mapping[str, str], key: str, value: str) -> bool:
    return key in before and not before[key].endswith(value)
