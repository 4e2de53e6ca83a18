"""``proofgym train``: start, resume or show a run."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from proofgym.config import load_config
from proofgym.trainers.toml_text import to_toml

if TYPE_CHECKING:
    from proofgym.trainers.run import Run
    from proofgym.trainers.run_config import RunConfig

INTERRUPTED = 130
"""The shell's exit code for a program that Ctrl-C ended."""


def train(
    config_path: Path, overrides: Sequence[str], *, run_dir: Path | None, dry_run: bool
) -> int:
    """Do what is left of a run, and say where it lies."""
    config = load_config(config_path, overrides)
    if dry_run:
        sys.stdout.write(to_toml(config.model_dump(mode="json")))
        return 0
    # what follows loads torch; a mistake in the request has been reported by now
    import transformers

    from proofgym.progress import RunProgress, reporter_for
    from proofgym.report import ReportWriter
    from proofgym.trainers.errors import StoppedError
    from proofgym.trainers.run import Run

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    folder = run_dir or Path("runs") / config.name
    console = Console(stderr=True)
    progress = RunProgress(config)
    with reporter_for(progress, console) as display:
        run = Run(config, folder, ReportWriter(folder, display))
        if run.finished:
            return _show_finished(run)
        ReportWriter.record_machine(folder, run.device)
        again = _command(config_path, overrides, run_dir)
        try:
            with stopping(run, display.say):
                run.execute()
        except StoppedError as stopped:
            display.say(f"{stopped}; all of it is saved. Go on with:\n  {again}")
            return INTERRUPTED
        except KeyboardInterrupt:
            display.say(f"Stopped at once. Go on from the last checkpoint with:\n  {again}")
            return INTERRUPTED
    return _show(run, "Done.")


@contextmanager
def stopping(run: "Run", say: Callable[[str], None]) -> Iterator[None]:
    """Let Ctrl-C (or SIGTERM) once finish the step and save, and twice stop at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if run.stop_requested:
            raise KeyboardInterrupt
        run.request_stop()
        say("Stopping after this step; it will be saved. Ctrl-C again stops at once.")

    # asyncio.run leaves a handler that is not Python's own in place
    before = {one: signal.signal(one, on_signal) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _show_finished(run: "Run") -> int:
    path = shlex.quote(str(run.folder.path))
    return _show(
        run,
        "This run has ended; nothing was left to do. To start afresh, name another folder with "
        f"--run-dir, or remove this one: rm -r {path}",
    )


def _show(run: "Run", headline: str) -> int:
    """Print the run's evaluations, and where everything lies."""
    from proofgym.report import ReportWriter, evaluation_table
    from proofgym.trainers.ledger import check_ledger

    path = run.folder.path
    if not (path / "report.html").exists():
        ReportWriter.write(path)
    console = Console()
    if not console.is_terminal:
        console.width = 120  # a file or a pipe is not 80 columns wide
    console.print(evaluation_table(path))
    console.print(f"Ledger: {check_ledger(run.folder.ledger)}", soft_wrap=True)
    console.print(headline, soft_wrap=True)
    console.print(f"Report: {path / 'report.html'}", soft_wrap=True)
    policy = run.folder.weights_of(_last_stage(run.config))
    hint = ["proofgym", "eval", run.config.environment, "--policy", str(policy)]
    console.print(f"Measure again: {shlex.join(hint)}", soft_wrap=True)
    return 0


def _last_stage(config: "RunConfig") -> str:
    """Name the stage whose policy is the run's result: the last that is no control."""
    results = [name for name, stage in config.stages.items() if not stage.control]
    return (results or list(config.stages))[-1]


def _command(config: Path, overrides: Sequence[str], run_dir: Path | None) -> str:
    words = ["proofgym", "train", str(config), *overrides]
    return shlex.join([*words, "--run-dir", str(run_dir)] if run_dir else words)
