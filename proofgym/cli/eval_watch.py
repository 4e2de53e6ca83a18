"""What an evaluation shows while it goes on: the running score, the speed, the time left."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from proofgym.envs import Episode

PLAIN_SECONDS = 15.0
"""How often a line is written where there is no terminal."""


class EvalWatch:
    """Draws a bar on a terminal; elsewhere a line now and then, on standard error.

    Args:
        total: attempts in all.
        done: attempts that an earlier call made.
    """

    def __init__(self, total: int, *, done: int) -> None:
        self.total, self.done = total, done
        self.solved = self.scored = self.tokens = 0
        self.started = self.said_at = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task("attempts", total=total, completed=done, words="")

    def begin(self, env_id: str) -> None:
        """Say which environment is next."""
        self.bar.update(self.task, description=env_id)
        self.env_id = env_id

    def count(self, episode: Episode) -> None:
        """Take an attempt that ended."""
        self.done += 1
        self.scored += episode.scored
        self.solved += episode.scored and episode.solved
        self.tokens += episode.sampled_tokens
        self.bar.update(self.task, advance=1, words=self._words())
        now = time.monotonic()
        if not self.bar.console.is_terminal and now - self.said_at > PLAIN_SECONDS:
            self.said_at = now
            line = f"{self.env_id} {self.done}/{self.total} {self._words()}"
            self.bar.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _words(self) -> str:
        score = f"pass@1={self.solved / self.scored:.3f}" if self.scored else "none scored"
        seconds = max(time.monotonic() - self.started, 1e-9)
        speed = f" {self.tokens / seconds:,.0f} tok/s" if self.tokens else ""
        return score + speed

    def __enter__(self) -> "EvalWatch":
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()
