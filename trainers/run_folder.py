"""Where a run lives: config, metrics, episodes, checkpoints, report."""

import json
import shutil
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from proofgym.agents.whole_file import write_whole
from proofgym.trainers.checkpoint import given_up
from proofgym.trainers.errors import RunFolderError
from proofgym.trainers.ledger import LedgerPosition
from proofgym.trainers.run_config import RunConfig
from proofgym.trainers.toml_text import to_toml

KEPT_CHECKPOINTS = 2
"""Of one stage; its last one is kept beside them under the stage's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a run has come.

    Args:
        stage: the stage's name.
        step: optimiser steps done in it.
        finished: whether the stage has ended, its evaluation included.
        metrics_lines: how many lines of the metrics this position stands behind.
        ledger: how many of its rows.
    """

    stage: str
    step: int
    finished: bool
    metrics_lines: int
    ledger: LedgerPosition

    @classmethod
    def start(cls) -> Self:
        """Return the position of a run that has no checkpoint yet."""
        return cls(stage="", step=0, finished=False, metrics_lines=0, ledger=LedgerPosition())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a checkpoint's state."""
        raw: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**raw, "ledger": LedgerPosition(**raw["ledger"])})


class RunFolder:
    """A run's folder. Opening one makes it, or checks that it belongs to the same run.

    Raises:
        RunFolderError: it cannot be written, or holds a run of another configuration.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config
        resolved = to_toml(config.model_dump(mode="json"))
        saved = path / "config.toml"
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name in ("episodes", "checkpoints"):
                (path / name).mkdir(exist_ok=True)
            if not saved.exists():
                write_whole(saved, resolved.encode())
        except OSError as error:
            raise RunFolderError(
                f"expected to write the run to {path}, got {error.strerror}. Give a folder that "
                "you may write to with --run-dir, or free some space."
            ) from None
        self._check_same(saved.read_text(), resolved)

    @property
    def metrics(self) -> Path:
        """The metrics' file."""
        return self.path / "metrics.jsonl"

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.path / "ledger.sqlite"

    def episodes(self, name: str) -> Path:
        """A file of episodes."""
        return self.path / "episodes" / f"{name}.jsonl"

    def weights_of(self, stage: str) -> Path:
        """A finished stage's model, as ``from_pretrained`` loads it."""
        return self.path / "checkpoints" / stage

    def positions(self) -> list[tuple[Position, Path]]:
        """Every whole checkpoint of the run, in the order of its stages and steps."""
        found: list[tuple[Position, Path]] = []
        for folder in (self.path / "checkpoints").iterdir():
            state = folder / "state.json"
            if state.exists() and folder != self._part:
                found.append((Position.read(state), folder))
        order = list(self.config.stages)
        return sorted(found, key=lambda one: (order.index(one[0].stage), one[0].step))

    def publish(self, part: Path, position: Position) -> Path:
        """Make a written checkpoint count: its state goes in last, then the folder is renamed.

        A step that is published already (a run stopped where it had just been saved) stays as
        it is: the same step of the same run is the same checkpoint.

        Raises:
            CheckpointError: the disk is full; the checkpoint before it is whole.
        """
        try:
            write_whole(part / "state.json", (json.dumps(asdict(position)) + "\n").encode())
        except OSError as error:
            raise given_up(part, error) from error
        name = position.stage if position.finished else f"{position.stage}-{position.step:06d}"
        final = self.path / "checkpoints" / name
        if (final / "state.json").exists():
            _remove(part)
        else:
            if final.exists():  # what a kill left of a removal
                shutil.rmtree(final)
            part.rename(final)
        self._prune(position)
        return final

    def scratch(self) -> Path:
        """Make an empty folder to write a checkpoint into."""
        if self._part.exists():
            shutil.rmtree(self._part)
        self._part.mkdir()
        return self._part

    @property
    def _part(self) -> Path:
        return self.path / "checkpoints" / ".part"

    def _prune(self, position: Position) -> None:
        passing = [p for p in self.positions() if p[0].stage == position.stage]
        passing = [p for p in passing if not p[0].finished]
        for _, folder in passing if position.finished else passing[:-KEPT_CHECKPOINTS]:
            _remove(folder)

    def _check_same(self, saved: str, resolved: str) -> None:
        if saved == resolved:
            return
        old, new = _flat(tomllib.loads(saved)), _flat(tomllib.loads(resolved))
        different = sorted(key for key in old | new if old.get(key) != new.get(key))
        shown = "; ".join(
            f"{key}: {old.get(key)} there, {new.get(key)} now" for key in different[:5]
        )
        shown = shown or "the order of stages or other keys"
        raise RunFolderError(
            f"expected {self.path} to hold this run, got one of another configuration ({shown}). "
            "Give another folder with --run-dir, or remove that one."
        )


def _remove(checkpoint: Path) -> None:
    (checkpoint / "state.json").unlink(missing_ok=True)  # first: half of it must not count
    shutil.rmtree(checkpoint)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    out: dict[str, Any] = {}
    for key, inner in value.items():
        out |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return out
