"""What a person is shown while a run goes on."""

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from proofgym.agents import Bounds, EvalReport, Level, Rate
from proofgym.config import load_config
from proofgym.progress import LiveDisplay, PlainLines, RunProgress, clock, sparkline

STEP = {
    "reward/mean": 0.5,
    "pass@1": 0.625,
    "tools/call_rate/easy": 0.25,
    "tools/call_rate/hard": 1.0,
    "tok_s/gen": 12345.0,
    "tok_s/train": 6789.0,
    "time/step": 2.0,
    "loss": 0.1,
}


def rate(value: float) -> Rate:
    return Rate(value=value, low=value, high=value, attempts=4, tasks=4)


REPORT = EvalReport(
    pass_at_1=rate(0.75),
    bounds=Bounds(low=0.6, high=0.8),
    reward_mean=0.7,
    levels={"hard": Level(pass_at_1=rate(0.5), call_rate=rate(1.0))},
    stops={"solved": 3},
    unscored=1,
    truncated=0,
    sampled_tokens=9,
    seconds=1.0,
)


@pytest.fixture
def progress(tiny_config: Path) -> RunProgress:
    return RunProgress(load_config(tiny_config))


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines_have_a_stable_form(progress: RunProgress) -> None:
    console = Console(file=io.StringIO())
    lines = PlainLines(progress, console)
    lines.on_stage("grpo", "rl", 2, 6)
    lines.on_step("grpo", 3, 6, STEP)
    lines.on_evaluation("grpo", REPORT)
    assert written(console).splitlines() == [
        "grpo: rl, 6 steps, from step 2",
        "grpo 3/6 reward=0.500 pass@1=0.625 calls_easy=25% calls_hard=100% sampled=12,345 "
        "trained=6,789 left=0:06",
        "grpo held-out pass@1=0.750 [0.750, 0.750]  reward=0.700  hard: pass@1=0.500 calls=1.00  "
        "unscored=1",
    ]


def test_plain_lines_are_seconds_apart_but_a_stage_ends_with_one(progress: RunProgress) -> None:
    console = Console(file=io.StringIO())
    lines = PlainLines(progress, console)
    lines.on_stage("grpo", "rl", 0, 6)
    for step in range(1, 7):
        lines.on_step("grpo", step, 6, STEP)
    assert [line.split()[1] for line in written(console).splitlines()[1:]] == ["1/6", "6/6"]


def test_the_live_display_shows_every_fact(progress: RunProgress) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    display = LiveDisplay(progress, console)
    console.print(display.render())
    display.on_stage("grpo", "rl", 0, 6)
    display.on_step("grpo", 3, 6, STEP)
    console.print(display.render())
    shown = written(console)
    for fact in ("measuring", "3/6", "reward 0.500", "pass@1 0.625", "calls easy 25%", "0:06 left"):
        assert fact in shown


def test_time_left_counts_later_stages_and_says_when_it_cannot(progress: RunProgress) -> None:
    progress.begin("sft", 0, 4)
    progress.advance(1, {"time/step": 10.0})
    assert progress.time_left == "> 0:30"  # no step of RL has been timed
    progress.begin("grpo", 0, 6)
    progress.advance(1, {"time/step": 20.0})
    assert progress.time_left == "1:40"


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([math.nan], ""),
        ([1.0], "▁"),
        ([0.0, math.nan, 7.0], "▁ █"),
        ([3, 2, 1], "█▅▁"),
    ],
)
def test_a_sparkline_spans_least_to_greatest(values: list[float], drawn: str) -> None:
    assert sparkline(values) == drawn


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_a_clock_shows_hours_only_where_there_are_some(seconds: float, text: str) -> None:
    assert clock(seconds) == text
