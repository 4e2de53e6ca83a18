import contextlib
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from proofgym.agents.whole_file import write_whole
from proofgym.trainers.errors import RunFolderError
from proofgym.trainers.ledger import LedgerPosition
from proofgym.trainers.run_config import RunConfig
from proofgym.trainers.run_folder import Position, RunFolder


def config(*, lr: float = 1e-3, stages: tuple[str, ...] = ("sft", "rl")) -> RunConfig:
    one = {"kind": "sft", "steps": 9, "optimizer": {"lr": lr}}
    raw = {"name": "r", "environment": "tools/calculator-v0", "stages": dict.fromkeys(stages, one)}
    return RunConfig.model_validate(raw)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", config())


def position(step: int, *, stage: str = "sft", finished: bool = False) -> Position:
    rows = LedgerPosition(issued=4 * step, ended=3 * step)
    return Position(stage=stage, step=step, finished=finished, metrics_lines=step, ledger=rows)


def checkpoint(folder: RunFolder, at: Position, content: str = "") -> Path:
    part = folder.scratch()
    (part / "weights").write_text(content or f"{at.stage} {at.step}")
    return folder.publish(part, at)


def found(folder: RunFolder) -> list[tuple[str, int, bool, str]]:
    return [
        (one.stage, one.step, one.finished, (path / "weights").read_text())
        for one, path in folder.positions()
    ]


def test_the_same_run_opens_again_and_another_is_refused_by_what_differs(
    folder: RunFolder,
) -> None:
    RunFolder(folder.path, config())
    with pytest.raises(RunFolderError, match=r"stages\.sft\.optimizer\.lr: 0\.001 there, 0\.5 now"):
        RunFolder(folder.path, config(lr=0.5))
    RunFolder(folder.path, config())


def test_another_order_of_stages_is_named_too(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="the order of stages"):
        RunFolder(folder.path, config(stages=("rl", "sft")))


def test_a_place_that_cannot_hold_a_run_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="expected to write the run"):
        RunFolder(tmp_path / "file", config())
    with pytest.raises(RunFolderError, match="--run-dir"):
        RunFolder(tmp_path / "file" / "below", config())


def test_the_last_two_checkpoints_of_a_stage_are_kept(folder: RunFolder) -> None:
    for step in (2, 4, 6):
        checkpoint(folder, position(step))
    assert [(stage, step) for stage, step, _, _ in found(folder)] == [("sft", 4), ("sft", 6)]


def test_a_finished_stage_keeps_its_last_and_later_stages_come_after(folder: RunFolder) -> None:
    checkpoint(folder, position(4))
    checkpoint(folder, position(9, finished=True))
    checkpoint(folder, position(2, stage="rl"))
    assert [one[:3] for one in found(folder)] == [("sft", 9, True), ("rl", 2, False)]
    assert folder.weights_of("sft").is_dir()
    assert folder.positions()[-1][0].metrics_lines == 2


class KilledError(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize("where", ["replace", "rename", "rmtree"])
def test_a_kill_inside_a_checkpoint_leaves_a_whole_one(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    checkpoint(folder, position(2))
    checkpoint(folder, position(4))
    with monkeypatch.context() as patch:

        def killed(*args: Any, **kwargs: Any) -> None:
            raise KilledError

        patch.setattr(*((shutil, "rmtree") if where == "rmtree" else (Path, where)), killed)
        with pytest.raises(KilledError):
            checkpoint(folder, position(6))
    expected = 6 if where == "rmtree" else 4
    assert found(RunFolder(folder.path, config()))[-1][1] == expected
    checkpoint(folder, position(8))
    assert [one[1] for one in found(folder)][-1] == 8


@pytest.mark.parametrize("where", ["rename", "rmtree"])
def test_a_kill_while_a_step_is_published_again_loses_nothing(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    checkpoint(folder, position(4))
    real = shutil.rmtree

    def half(path: Path, *args: Any, **kwargs: Any) -> None:
        if Path(path).name.startswith("."):
            return real(path, *args, **kwargs)
        (Path(path) / "weights").unlink()
        raise KilledError

    def killed(*args: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        if where == "rmtree":
            patch.setattr(shutil, "rmtree", half)
        else:
            patch.setattr(Path, "rename", killed)
        with contextlib.suppress(KilledError):
            checkpoint(folder, position(4))
    assert found(folder) == [("sft", 4, False, "sft 4")]


def test_a_half_removed_checkpoint_does_not_count(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, *args: Any, **kwargs: Any) -> None:
        (Path(path) / "weights").unlink()
        raise KilledError

    checkpoint(folder, position(2))
    checkpoint(folder, position(4))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", half)
        with pytest.raises(KilledError):
            checkpoint(folder, position(6))
    assert [step for _, step, _, _ in found(folder)] == [4, 6]


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_the_saved_config_is_the_resolved_one(folder: RunFolder) -> None:
    saved = tomllib.loads((folder.path / "config.toml").read_text())
    assert saved["stages"]["sft"]["optimizer"]["beta2"] == 0.95
    assert RunConfig.model_validate(saved) == folder.config
