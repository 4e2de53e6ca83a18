"""An evaluation's report: one HTML file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from proofgym.agents import EvalReport, Rate
from proofgym.agents.evaluation.folder import EPISODES
from proofgym.agents.whole_file import write_whole
from proofgym.envs import Episode
from proofgym.report.chart import Chart, Line, Mark, ticks
from proofgym.report.chat import choose_episodes, render_episode
from proofgym.report.style import PAGE_STYLE

BINS = 12


def write_eval_report(
    folder: Path,
    summary: Mapping[str, Any],
    parts: Mapping[str, EvalReport],
    episodes: Sequence[Episode],
) -> None:
    """Write report.html beside the episodes.

    Args:
        folder: the evaluation's.
        summary: what was measured, and how.
        parts: by environment.
        episodes: every attempt.
    """
    body = "".join(
        (
            _header(summary),
            _scores(parts),
            _categories(parts),
            _charts(parts, episodes),
            _stops(parts),
            _examples(folder, parts),
            _how(summary),
        )
    )
    title = escape(f"{summary['suite']}, {summary['policy']}")
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} · proofgym'
        '</title><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{PAGE_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
    write_whole(folder / "report.html", page.encode("utf-8", "replace"))


def _header(summary: Mapping[str, Any]) -> str:
    rate = summary["report"]["pass_at_1"]
    tasks = sum(summary["tasks"].values())
    card = (
        '<div class="cards"><div class="card"><div class="note">pass@1</div>'
        f'<div class="value">{_number(rate["value"])}</div>'
        f'<div class="note">[{_number(rate["low"])}, {_number(rate["high"])}], '
        f"{escape(summary['interval'])}</div></div></div>"
    )
    return (
        f"<h1>{escape(summary['suite'])}</h1>"
        f'<p class="dim">{escape(summary["policy"])} · {tasks} {escape(summary["split"])} tasks x '
        f"{summary['attempts']} · temperature {summary['temperature']:g} · seed {summary['seed']}"
        f'</p><p class="note">proofgym {escape(summary["proofgym"])} · suite '
        f"{escape(summary['suite_digest'])}</p>{card}"
    )


def _scores(parts: Mapping[str, EvalReport]) -> str:
    headings = ("environment", "pass@1", "reward", "tasks", "attempts", "unscored", "truncated")
    body: list[str] = []
    for name, part in parts.items():
        bounds = ""
        if part.unscored:
            bounds = f"<small>within {part.bounds.low:.3f} to {part.bounds.high:.3f}</small>"
        cells = (
            escape(name),
            _rate(part.pass_at_1),
            _number(part.reward_mean),
            str(part.pass_at_1.tasks),
            str(part.pass_at_1.attempts),
            f"{part.unscored}{bounds}",
            str(part.truncated),
        )
        body.append(_row(cells))
    return (
        f"<h2>By environment</h2>{_table(headings, body)}"
        '<p class="note">Small figures are 95% intervals, clustered by task: attempts at one '
        "task count for less than as many independent ones. Unscored attempts (a fault of a "
        "verifier, the environment or the infrastructure) are in no rate; beside "
        "their number is what pass@1 would be had they all failed, or all passed.</p>"
    )


def _categories(parts: Mapping[str, EvalReport]) -> str:
    body = [
        _row((escape(f"{name}, {level}"), _rate(found.pass_at_1), _rate(found.call_rate)))
        for name, part in parts.items()
        for level, found in part.levels.items()
    ]
    if not body:
        return ""
    return f"<h2>By category</h2>{_table(('category', 'pass@1', 'calls a tool'), body)}"


def _charts(parts: Mapping[str, EvalReport], episodes: Sequence[Episode]) -> str:
    charts = [_at_k_chart(name, part) for name, part in parts.items() if part.at_k]
    for name in parts:
        lengths = [one.sampled_tokens for one in episodes if one.env_id == name]
        if any(lengths):
            charts.append(_lengths_chart(name, lengths))
    if not charts:
        return ""
    drawn = "".join(f"<div>{chart.svg()}</div>" for chart in charts)
    return f'<h2>k attempts, and lengths</h2><div class="charts">{drawn}</div>'


def _at_k_chart(name: str, part: EvalReport) -> Chart:
    named = (
        ("pass@k", [(float(one.k), one.any) for one in part.at_k]),
        ("maj@k", [(float(one.k), one.majority) for one in part.at_k]),
        ("pass^k", [(float(one.k), one.all) for one in part.at_k]),
    )
    lines = [
        Line(name=words, points=[(k, rate.value) for k, rate in found], colour=colour)
        for colour, (words, found) in enumerate(named)
    ]
    marks = [
        Mark(x=k, y=rate.value, low=rate.low, high=rate.high, colour=colour, name=words)
        for colour, (words, found) in enumerate(named)
        for k, rate in found
    ]
    return Chart(title=name, lines=lines, marks=marks, unit_range=True, log_x=True, x_label="k")


def _lengths_chart(name: str, lengths: Sequence[int]) -> Chart:
    edges = ticks(0.0, float(max(lengths)), BINS)
    step = edges[1] - edges[0]
    counts = [0] * len(edges)
    for length in lengths:
        counts[min(int(length // step), len(edges) - 1)] += 1
    points = [(edge + step / 2, float(count)) for edge, count in zip(edges, counts, strict=True)]
    lines = [Line(name="attempts", points=points, colour=0)]
    return Chart(title=f"Attempts by length, {name}", lines=lines, x_label="sampled tokens")


def _stops(parts: Mapping[str, EvalReport]) -> str:
    names = sorted({stop for part in parts.values() for stop in part.stops})
    body = [
        _row((escape(name), *(str(part.stops.get(stop, 0)) for stop in names)))
        for name, part in parts.items()
    ]
    return f"<h2>Why attempts ended</h2>{_table(('environment', *names), body)}"


def _examples(folder: Path, parts: Mapping[str, EvalReport]) -> str:
    drawn: list[str] = []
    for name in parts:
        with (folder / EPISODES).open(encoding="utf-8", errors="surrogatepass") as lines:
            rows = (row for row in map(json.loads, lines) if row["env_id"] == name)
            chats = "".join(render_episode(one) for one in choose_episodes(rows))
        drawn.append(f'<h2>{escape(name)}</h2><div class="chats">{chats}</div>')
    return "".join(drawn)


def _how(summary: Mapping[str, Any]) -> str:
    text = escape(json.dumps({k: v for k, v in summary.items() if k != "environments"}, indent=1))
    return f"<details><summary>Summary as JSON</summary><pre>{text}</pre></details>"


def _table(headings: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _rate(rate: Rate) -> str:
    if not rate.attempts:
        return "–"
    return f"{rate.value:.3f}<small>{rate.low:.3f} to {rate.high:.3f}</small>"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"
