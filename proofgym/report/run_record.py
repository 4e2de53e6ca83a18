"""Read a run's folder back, as the report and the command line show it."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.table import Table

from proofgym.trainers.ledger import count_ledger
from proofgym.trainers.metrics import read_metrics

BASE = "base"
"""The name in the metrics of the model before any stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A rate with its 95% interval, as the metrics hold it."""

    value: float
    low: float
    high: float

    @classmethod
    def read(cls, raw: Mapping[str, Any] | None) -> Self | None:
        """Take one from the metrics; None where nothing was counted."""
        if raw is None or raw.get("value") is None:
            return None
        return cls(value=raw["value"], low=raw["low"], high=raw["high"])

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One line of the table of evaluations.

    Args:
        stage: its name; ``base`` is the model before any stage.
        kind: sft or rl; empty for the base.
        control: whether it is there for comparison only.
        pass_at_1: on held-out tasks.
        levels: by difficulty, pass@1 and the rate of episodes that call a tool.
        reward: mean.
        unscored: attempts that could not be judged.
        steps: optimiser steps of the stage.
        seconds: of those steps, rollouts included.
        tokens: that went through the model in training.
    """

    stage: str
    kind: str
    control: bool
    pass_at_1: Interval | None
    levels: Mapping[str, tuple[Interval | None, Interval | None]]
    reward: float | None
    unscored: int
    steps: int
    seconds: float
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Everything that a run's folder says.

    Args:
        path: the folder.
        config: as resolved.
        machine: versions and hardware, as :mod:`proofgym.report.machine` wrote them.
        records: the metrics, in order.
    """

    path: Path
    config: Mapping[str, Any]
    machine: Mapping[str, str]
    records: Sequence[Mapping[str, Any]] = field(default=())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a folder; what is not there yet is left empty."""
        machine, metrics = path / "machine.json", path / "metrics.jsonl"
        return cls(
            path=path,
            config=tomllib.loads((path / "config.toml").read_text()),
            machine=json.loads(machine.read_text()) if machine.exists() else {},
            records=read_metrics(metrics) if metrics.exists() else [],
        )

    def steps(self, stage: str) -> list[Mapping[str, Any]]:
        """Return a stage's steps."""
        return [r for r in self.records if r["kind"] == "step" and r["stage"] == stage]

    def series(self, stage: str, name: str) -> list[tuple[float, float]]:
        """Return one metric of a stage as (step, value); steps without it are left out."""
        found = ((r["step"], r.get(name)) for r in self.steps(stage))
        return [(float(step), float(value)) for step, value in found if value is not None]

    def names(self, stage: str, prefix: str) -> list[str]:
        """Name a stage's metrics that begin with a prefix."""
        found = {name for record in self.steps(stage) for name in record}
        return sorted(name for name in found if name.startswith(prefix))

    def stages(self, kind: str) -> list[str]:
        """Name the stages of a kind, in the run's order."""
        return [name for name, stage in self.config["stages"].items() if stage["kind"] == kind]

    def init_of(self, stage: str) -> str:
        """Name what a stage starts from."""
        return self.config["stages"][stage].get("init") or BASE

    @property
    def rows(self) -> list[StageRow]:
        """The table of evaluations so far."""
        return [self._row(r) for r in self.records if r["kind"] == "evaluation"]

    def row(self, stage: str) -> StageRow | None:
        """Return one stage's line; None before it was measured."""
        return next((row for row in self.rows if row.stage == stage), None)

    @property
    def ledger(self) -> str:
        """What became of all rollouts, in words; empty where none was issued."""
        path = self.path / "ledger.sqlite"
        counts = count_ledger(path) if path.exists() else None
        return str(counts) if counts is not None and counts.issued else ""

    @property
    def findings(self) -> list[Mapping[str, Any]]:
        """What monitors saw."""
        return [record for record in self.records if record["kind"] == "finding"]

    @property
    def seconds(self) -> float:
        """Time in steps and evaluations."""
        evaluations = (r["seconds"] for r in self.records if r["kind"] == "evaluation")
        steps = (r.get("time/step") or 0.0 for r in self.records if r["kind"] == "step")
        return float(sum(evaluations) + sum(steps))

    def episodes(self, stage: str) -> Iterator[Mapping[str, Any]]:
        """Read the rows of a stage's evaluation, one by one."""
        path = self.path / "episodes" / f"eval-{stage}.jsonl"
        if path.exists():
            with path.open(encoding="utf-8", errors="surrogatepass") as lines:
                yield from map(json.loads, lines)

    def _row(self, record: Mapping[str, Any]) -> StageRow:
        stage = record["stage"]
        config = self.config["stages"].get(stage, {})
        steps = self.steps(stage)
        prefix = "pass@1/"
        levels = [name.removeprefix(prefix) for name in record if name.startswith(prefix)]
        return StageRow(
            stage=stage,
            kind=config.get("kind", ""),
            control=config.get("control", False),
            pass_at_1=Interval.read(record["pass@1"]),
            levels={
                level: (
                    Interval.read(record[prefix + level]),
                    Interval.read(record[f"tools/call_rate/{level}"]),
                )
                for level in levels
            },
            reward=record["reward/mean"],
            unscored=record["unscored"],
            steps=len(steps),
            seconds=sum(step.get("time/step") or 0.0 for step in steps),
            tokens=sum(step.get("tokens/trained") or 0.0 for step in steps),
        )


def evaluation_table(path: Path) -> Table:
    """Draw a run's evaluations for a terminal."""
    rows = RunRecord.read(path).rows
    levels = list(dict.fromkeys(level for row in rows for level in row.levels))
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    headings = ["held-out", "pass@1 [95%]", "reward"]
    for level in levels:
        headings += [level, "calls"]
    for heading in (*headings, "steps", "s"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        cells = [row.stage, _text(row.pass_at_1), _number(row.reward)]
        for level in levels:
            solved, calls = row.levels.get(level, (None, None))
            cells += [_rate(solved), _rate(calls)]
        cells += [str(row.steps), f"{row.seconds:.0f}"] if row.steps else ["", ""]
        table.add_row(*cells, style="dim" if row.control else "")
    return table


def _text(rate: Interval | None) -> str:
    return "none scored" if rate is None else str(rate)


def _rate(rate: Interval | None) -> str:
    return "-" if rate is None else f"{rate.value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
