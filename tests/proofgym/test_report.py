"""The report, from metrics and episodes written by hand."""

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofgym.agents import Assignment
from proofgym.config import load_config
from proofgym.report import ReportWriter, RunRecord
from proofgym.report.chart import POINTS, Chart, Line, Mark, number, thinned, ticks
from proofgym.report.chat import choose_episodes, render_episode
from proofgym.trainers.ledger import Ending, Ledger, LedgerPosition, Outcome
from proofgym.trainers.toml_text import to_toml
from proofgym.verifiers import Task

NASTY = "<script>alert(1)</script>&\"'\ud800"


def evaluation(stage: str, value: float | None) -> dict[str, Any]:
    rate = {"value": value, "low": 0.1, "high": 0.9, "attempts": 4, "tasks": 4}
    return {
        "kind": "evaluation",
        "stage": stage,
        "pass@1": rate,
        "reward/mean": value,
        "unscored": 1,
        "stops": {},
        "sampled_tokens": 5,
        "seconds": 2.0,
        "pass@1/hard": rate,
        "tools/call_rate/hard": rate,
    }


def step(stage: str, number: int, **metrics: float | None) -> dict[str, Any]:
    return {"kind": "step", "stage": stage, "step": number, "time/step": 3.0, **metrics}


def row(solved: bool, calls: int, text: str = "7") -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": NASTY, "arguments": NASTY}}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "3+4"}]
    messages += [{"role": "assistant", "content": "", "tool_calls": [call]}] * calls
    messages.append({"role": "assistant", "content": text})
    return {
        "task_id": "3+4",
        "difficulty": "easy",
        "messages": messages,
        "rewards": [1.0],
        "score": {"value": 1.0},
        "solved": solved,
        "stop": "solved",
        "fault": None,
    }


@pytest.fixture
def folder(tiny_config: Path, tmp_path: Path) -> Path:
    """Write a run's folder without running anything."""
    path = tmp_path / "run"
    (path / "episodes").mkdir(parents=True)
    config = load_config(tiny_config).model_dump(mode="json")
    (path / "config.toml").write_text(to_toml(config))
    return path


def write_metrics(folder: Path, *records: dict[str, Any]) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))


def test_a_run_that_has_measured_nothing_has_a_report(folder: Path) -> None:
    ReportWriter.write(folder)
    assert "Nothing has been measured yet" in (folder / "report.html").read_text()
    assert not (folder / "curve.svg").exists()


def test_the_table_has_every_stage_with_its_interval_and_its_cost(folder: Path) -> None:
    write_metrics(
        folder,
        evaluation("base", 0.125),
        step("sft", 1, **{"tokens/trained": 3000.0}),
        evaluation("sft", 0.25),
        step("grpo", 1, **{"tokens/trained": 2000.0, "pass@1": 0.5}),
        evaluation("grpo", None),
    )
    base, sft, grpo = RunRecord.read(folder).rows
    assert (str(base.pass_at_1), base.steps) == ("0.125 [0.100, 0.900]", 0)
    assert (sft.seconds, sft.tokens) == (3.0, 3000.0)
    assert (grpo.seconds, grpo.tokens, grpo.pass_at_1) == (3.0, 2000.0, None)
    ReportWriter.write(folder)
    page = (folder / "report.html").read_text()
    assert "0.125<small>0.100 to 0.900</small>" in page
    assert "3 attempts could not be scored" in page
    ET.parse(folder / "curve.svg")


def test_what_a_policy_wrote_is_escaped(folder: Path) -> None:
    write_metrics(folder, evaluation("grpo", 0.5))
    lines = "".join(json.dumps(one) + "\n" for one in (row(True, 1), row(False, 0, NASTY)))
    (folder / "episodes" / "eval-grpo.jsonl").write_text(lines)
    ReportWriter.write(folder)
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3


def test_the_chosen_episodes_differ() -> None:
    rows = [row(True, 0), row(True, 1), row(False, 0), row(True, 2), row(False, 1)]
    chosen = choose_episodes(iter(rows))
    assert [(one.why, rows.index(one.episode)) for one in chosen] == [
        ("Solved, with calls", 3),
        ("Solved, without a call", 0),
        ("Not solved", 2),
    ]


def test_a_long_message_is_cut_and_says_so() -> None:
    (chosen,) = choose_episodes(iter([row(True, 0, "x" * 5000)]))
    assert "(1000 more characters)" in render_episode(chosen)


finite = st.floats(-1e9, 1e9)


@given(st.lists(st.tuples(finite, finite | st.just(math.nan)), max_size=300), st.booleans())
def test_any_numbers_make_a_chart_that_is_xml(
    points: list[tuple[float, float]], unit: bool
) -> None:
    line = Line(name="<&>", points=sorted(points), colour=0, dashed=True)
    mark = Mark(x=1, y=0.5, low=0.4, high=0.6, colour=1, name="a & b")
    chart = Chart(title="<&>", lines=[line, line], marks=[mark], unit_range=unit)
    drawn = ET.fromstring(chart.standalone())
    assert "nan" not in chart.svg()
    assert drawn.tag.endswith("svg")


def test_an_empty_chart_says_that_there_is_nothing_yet() -> None:
    assert "nothing yet" in Chart(title="t", lines=[]).svg()


@given(finite, finite)
def test_ticks_cover_the_range_with_few_round_steps(one: float, other: float) -> None:
    low, high = sorted((one, other))
    found = ticks(low, high, 4)
    slack = 1e-6 * max(1.0, high - low)
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 8


def test_a_long_line_keeps_its_ends_and_its_mean() -> None:
    points = [(float(x), float(x % 7)) for x in range(1, 1201)]
    thin = thinned(points)
    assert len(thin) == POINTS
    assert (thin[0][0], thin[-1][0]) == (1.0, 1200.0)
    mean = sum(y for _, y in points) / len(points)
    assert sum(y for _, y in thin) / POINTS == pytest.approx(mean)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.25, "0.25"), (400, "400"), (4e-7, "4e-7"), (3.5e-7, "3.5e-7"), (2e6, "2e6")],
)
def test_ticks_are_written_shortly(value: float, text: str) -> None:
    assert number(value) == text


def test_the_report_says_what_became_of_rollouts_and_what_monitors_saw(folder: Path) -> None:
    ledger = Ledger(folder / "ledger.sqlite", LedgerPosition())
    ledger.issue("grpo", 0, [Assignment(task=Task(id="t", prompt="p"), seed=0)])
    ledger.end("grpo", 0, [Ending(group=0, rollout=0, outcome=Outcome.STALE, reason="late")])
    ledger.commit()
    finding = {"monitor": "faults", "step": 3, "saw": NASTY, "advice": "mend it", "action": "warn"}
    write_metrics(folder, {"kind": "finding", "stage": "grpo", **finding, "correct": {}})
    ReportWriter.write(folder)
    page = (folder / "report.html").read_text()
    assert "1 rollouts issued = 0 trained + 0 filtered + 1 stale + 0 fault" in page
    assert "grpo, step 3: <b>faults</b> (warn)" in page
    assert NASTY not in page
