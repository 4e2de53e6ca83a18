"""What a person sees while a run goes on: a live display on a terminal, plain lines elsewhere."""

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from proofgym.agents import EvalReport
    from proofgym.envs import Episode
    from proofgym.trainers.monitors import Finding
    from proofgym.trainers.run_config import RunConfig

LINE_EVERY_S = 5.0
REFRESH_PER_S = 2
SPARK = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 32
RECENT_STEPS = 20


class RunProgress:
    """How far a run has come, and how long the rest will take.

    Args:
        config: the run's; its stages say how many steps there are.
    """

    def __init__(self, config: "RunConfig") -> None:
        self.name = config.name
        self.stages = {name: (stage.kind, stage.steps) for name, stage in config.stages.items()}
        self.ended: set[str] = set()
        self.stage = ""
        self.step = 0
        self.total = 0
        self.rollouts = 0
        self.metrics: Mapping[str, float] = {}
        self.history: deque[float] = deque(maxlen=SPARK_WIDTH)
        self.recent: dict[str, deque[float]] = {}

    @property
    def kind(self) -> str:
        """The kind of the stage that is going on."""
        return self.stages[self.stage][0]

    def begin(self, stage: str, done: int, total: int) -> None:
        """Enter a stage at a step."""
        names = list(self.stages)
        self.ended = set(names[: names.index(stage)])
        self.stage, self.step, self.total, self.rollouts = stage, done, total, 0
        self.metrics = {}
        self.history.clear()

    def advance(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take a finished step."""
        self.step, self.metrics, self.rollouts = step, metrics, 0
        seconds = self.recent.setdefault(self.kind, deque(maxlen=RECENT_STEPS))
        seconds.append(metrics.get("time/step", 0.0))
        self.history.append(metrics.get(self.watched, math.nan))

    @property
    def watched(self) -> str:
        """The metric whose course is drawn."""
        return "reward/mean" if self.kind == "rl" else "loss"

    @property
    def time_left(self) -> str:
        """Time left, as ``2:05``; ``> 2:05`` while a kind of stage has not been timed yet."""
        left, untimed = 0.0, False
        for name, (kind, steps) in self.stages.items():
            if name in self.ended:
                continue
            todo = self.total - self.step if name == self.stage else steps
            seconds = self.recent.get(kind)
            if seconds:
                left += todo * sum(seconds) / len(seconds)
            elif todo:
                untimed = True
        return f"{'> ' if untimed else ''}{clock(left)}"

    def facts(self) -> list[tuple[str, str]]:
        """Say what the last step's metrics are, in the order that a person reads them."""
        found = self.metrics
        facts: list[tuple[str, str]] = []
        for label, name in (("reward", "reward/mean"), ("pass@1", "pass@1"), ("loss", "loss")):
            if name in found and not (name == "loss" and self.kind == "rl"):
                facts.append((label, f"{found[name]:.3f}"))
        rates = {k: v for k, v in found.items() if k.startswith("tools/call_rate/")}
        facts += [(f"calls {k.rpartition('/')[2]}", f"{v:.0%}") for k, v in rates.items()]
        for label, name in (("sampled", "tok_s/gen"), ("trained", "tok_s/train")):
            if name in found:
                facts.append((label, f"{found[name]:,.0f} tok/s"))
        return facts


class Display(Protocol):
    """A run's reporter that can also say a sentence between its lines."""

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None:
        """As in a run's Reporter."""

    def on_episode(self, episode: "Episode") -> None:
        """As in a run's Reporter."""

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """As in a run's Reporter."""

    def on_evaluation(self, stage: str, report: "EvalReport") -> None:
        """As in a run's Reporter."""

    def on_finding(self, stage: str, finding: "Finding") -> None:
        """As in a run's Reporter."""

    def say(self, text: str) -> None:
        """Show a sentence for the person who started the run."""


@contextmanager
def reporter_for(progress: RunProgress, console: Console) -> Iterator[Display]:
    """Choose the display that fits the console, and take it down at the end."""
    if not console.is_terminal:
        yield PlainLines(progress, console)
        return
    display = LiveDisplay(progress, console)
    with Live(
        console=console,
        get_renderable=display.render,
        refresh_per_second=REFRESH_PER_S,
        transient=True,
    ):
        yield display


class PlainLines:
    """A line every few seconds, in a form that scripts can read.

    ``STAGE STEP/TOTAL name=value ... left=M:SS`` for steps, and
    ``STAGE held-out pass@1=0.987 [0.970, 0.995] ...`` for evaluations.
    """

    def __init__(self, progress: RunProgress, console: Console) -> None:
        self.progress = progress
        self.console = console
        self._last = -math.inf

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None:
        """Say which stage begins."""
        self.progress.begin(stage, done, total)
        goes_on = f", from step {done}" if done else ""
        self.say(f"{stage}: {kind}, {total} steps{goes_on}")
        self._last = -math.inf

    def on_episode(self, episode: "Episode") -> None:
        """Nothing: lines come with steps."""

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Write a line when the last one is some seconds old, or the stage is done."""
        self.progress.advance(step, metrics)
        now = time.monotonic()
        if now - self._last < LINE_EVERY_S and step < total:
            return
        self._last = now
        facts = " ".join(
            f"{label.replace(' ', '_')}={value.replace(' tok/s', '')}"
            for label, value in self.progress.facts()
        )
        left = self.progress.time_left.replace(" ", "")
        self.say(f"{stage} {step}/{total} {facts} left={left}")

    def on_evaluation(self, stage: str, report: "EvalReport") -> None:
        """Write an evaluation's line."""
        self.say(f"{stage} held-out {evaluation_words(report)}")

    def on_finding(self, stage: str, finding: "Finding") -> None:
        """Write what a monitor saw."""
        self.say(f"{stage} monitor {finding}")

    def say(self, text: str) -> None:
        """Write one line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A few lines that are drawn again and again, and evaluations that stay above them."""

    def __init__(self, progress: RunProgress, console: Console) -> None:
        self.progress = progress
        self.console = console
        self.started = time.monotonic()
        self.doing = "measuring the model that the run starts from"

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None:
        """Draw the stage that begins."""
        self.progress.begin(stage, done, total)
        self.doing = ""

    def on_episode(self, episode: "Episode") -> None:
        """Count a rollout."""
        self.progress.rollouts += 1

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Draw the step's metrics."""
        self.progress.advance(step, metrics)
        self.doing = "measuring on held-out tasks" if step == total else ""

    def on_evaluation(self, stage: str, report: "EvalReport") -> None:
        """Leave the evaluation standing above."""
        self.doing = ""
        line = Text.assemble((f"{stage:>12} ", "bold"), "held-out ", evaluation_words(report))
        self.console.print(line, soft_wrap=True)

    def on_finding(self, stage: str, finding: "Finding") -> None:
        """Leave what a monitor saw standing above."""
        self.say(f"{stage:>12} monitor {finding}")

    def say(self, text: str) -> None:
        """Print a sentence above the display."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def render(self) -> RenderableType:
        """Draw the display as it is now."""
        progress = self.progress
        head = Text.assemble((progress.name, "bold"), f"  {clock(time.monotonic() - self.started)}")
        if not progress.stage:
            return Group(head, Text(f"  {self.doing}", style="dim"))
        return Group(head, self._stages(), self._facts())

    def _stages(self) -> Table:
        progress = self.progress
        table = Table.grid(padding=(0, 2))
        for name, (kind, steps) in progress.stages.items():
            done = steps if name in progress.ended else 0
            now = name == progress.stage
            done = progress.step if now else done
            note = f"{progress.time_left} left" if now else ""
            bar = ProgressBar(total=steps, completed=done, width=30)
            style = "bold" if now else "dim"
            table.add_row(Text(f"  {name}", style), Text(kind), bar, f"{done}/{steps}", note)
        return table

    def _facts(self) -> RenderableType:
        progress = self.progress
        line = Text("  ")
        for label, value in progress.facts():
            line.append(f"{label} ", style="dim").append(f"{value}   ")
        if progress.rollouts:
            line.append(f"{progress.rollouts} rollouts", style="dim")
        if self.doing:
            line.append(self.doing, style="dim")
        course = Text(f"  {progress.watched} ", style="dim")
        course.append(sparkline(progress.history), style="cyan")
        return Group(line, course)


def evaluation_words(report: "EvalReport") -> str:
    """Put an evaluation on one line."""
    words = [f"pass@1={report.pass_at_1}", f"reward={report.reward_mean:.3f}"]
    for name, level in report.levels.items():
        words.append(
            f"{name}: pass@1={level.pass_at_1.value:.3f} calls={level.call_rate.value:.2f}"
        )
    if report.unscored:
        words.append(f"unscored={report.unscored}")
    return "  ".join(words)


def sparkline(values: Sequence[float] | deque[float]) -> str:
    """Draw numbers as blocks, from the least to the greatest."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    scale = (len(SPARK) - 1) / (high - low) if high > low else 0.0
    return "".join(
        SPARK[round((value - low) * scale)] if math.isfinite(value) else " " for value in values
    )


def clock(seconds: float) -> str:
    """Write a duration as ``M:SS`` or ``H:MM:SS``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
