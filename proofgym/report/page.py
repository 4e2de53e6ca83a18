"""The report's page, from a run's record to one HTML file that needs nothing else."""

from collections.abc import Sequence
from html import escape

from proofgym.report.chart import Chart, Line, Mark
from proofgym.report.chat import choose_episodes, render_episode
from proofgym.report.run_record import Interval, RunRecord, StageRow
from proofgym.report.style import PAGE_STYLE
from proofgym.trainers.toml_text import to_toml

LEVEL_COLOURS = (2, 1, 3, 4)
RL_CURVES = (
    ("Reward", ("reward/mean",)),
    ("Entropy (nats)", ("entropy",)),
    ("Gradient norm", ("grad_norm",)),
    ("Sampled tokens an episode", ("len/mean",)),
    ("Groups without signal", ("group/frac_zero_std",)),
    ("Sampler against learner, mean |Δ logprob|", ("mismatch/abs_diff_mean",)),
)


def page(record: RunRecord) -> str:
    """Write the whole page."""
    name = escape(str(record.config["name"]))
    body = "".join(
        (
            _header(record),
            _headline(record),
            _evaluations(record.rows),
            _main_chart(record),
            _curves(record),
            _loop(record),
            _episodes(record),
            _configuration(record),
        )
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name} · proofgym'
        '</title><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{PAGE_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def curve_figure(record: RunRecord) -> Chart | None:
    """Draw the run's main figure: pass@1 and call rates over the (last) RL stage.

    Lines are of training rollouts; marks are evaluations on held-out tasks, with intervals: what
    the stage started from, what it led to, and the controls.
    """
    stages = [name for name in record.stages("rl") if record.series(name, "pass@1")]
    if not stages:
        return None
    stage = stages[-1]
    passes = record.series(stage, "pass@1")
    lines = [Line(name="pass@1", points=passes, colour=0)]
    for index, name in enumerate(record.names(stage, "tools/call_rate/")):
        level = name.rpartition("/")[2]
        colour = LEVEL_COLOURS[index % len(LEVEL_COLOURS)]
        points = record.series(stage, name)
        lines.append(Line(name=f"calls a tool, {level}", points=points, colour=colour))
    end = passes[-1][0]
    marks: list[Mark] = []
    for row, x in ((record.row(record.init_of(stage)), 0.0), (record.row(stage), end)):
        marks += _marks(row, x, 0)
    for row in record.rows:
        if row.control and row.pass_at_1 is not None:
            rate = row.pass_at_1
            flat = [(0.0, rate.value), (end, rate.value)]
            lines.append(Line(name=f"pass@1, {row.stage}", points=flat, colour=4, dashed=True))
            marks += _marks(row, end, 4)
    return Chart(
        title=f"{record.config['environment']}, {stage}",
        lines=lines,
        marks=marks,
        unit_range=True,
        width=860,
        height=340,
        x_label="step (lines: training rollouts; points: held-out tasks, 95% intervals)",
    )


def _marks(row: StageRow | None, x: float, colour: int) -> list[Mark]:
    if row is None or row.pass_at_1 is None:
        return []
    rate = row.pass_at_1
    name = f"held-out pass@1, {row.stage}"
    return [Mark(x=x, y=rate.value, low=rate.low, high=rate.high, colour=colour, name=name)]


def _header(record: RunRecord) -> str:
    config, machine = record.config, record.machine
    versions = " · ".join(
        f"{escape(name)} {escape(machine[name])}"
        for name in ("proofgym", "torch", "transformers", "python")
        if name in machine
    )
    hardware = escape(machine.get("gpu") or machine.get("cpu", ""))
    minutes, seconds = divmod(round(record.seconds), 60)
    return (
        f"<h1>{escape(str(config['name']))}</h1>"
        f'<p class="dim">{escape(str(config["environment"]))} · seed {config["seed"]} · '
        f"{minutes} min {seconds} s of steps and evaluations</p>"
        f'<p class="note">{versions}{" · " if versions else ""}{hardware}</p>'
    )


def _headline(record: RunRecord) -> str:
    """Say what the run's result is, against what its last stage started from."""
    results = [row for row in record.rows if not row.control]
    if not results:
        return '<p class="dim">Nothing has been measured yet.</p>'
    last = results[-1]
    first = record.row(record.init_of(last.stage)) if last.kind else None
    cards = [_card("held-out pass@1", _of(first), last.pass_at_1)]
    for level, (_, calls) in last.levels.items():
        before = first.levels.get(level, (None, None))[1] if first is not None else None
        cards.append(_card(f"{level}: episodes that call a tool", before, calls))
    versus = f"after {last.stage}" + (f", against {first.stage}" if first is not None else "")
    return f'<p class="note">{escape(versus)}</p><div class="cards">{"".join(cards)}</div>'


def _of(row: StageRow | None) -> Interval | None:
    return row.pass_at_1 if row is not None else None


def _card(label: str, before: Interval | None, now: Interval | None) -> str:
    was = f'<span class="was">{before.value:.3f} → </span>' if before is not None else ""
    value = f"{now.value:.3f}" if now is not None else "none scored"
    interval = f"[{now.low:.3f}, {now.high:.3f}]" if now is not None else ""
    return (
        f'<div class="card"><div class="note">{escape(label)}</div>'
        f'<div class="value">{was}{value}</div><div class="note">{interval}</div></div>'
    )


def _evaluations(rows: Sequence[StageRow]) -> str:
    if not rows:
        return ""
    levels = list(dict.fromkeys(level for row in rows for level in row.levels))
    headings = ["after stage", "pass@1", "reward"]
    headings += [f"{level}: {what}" for level in levels for what in ("pass@1", "calls a tool")]
    headings += ["steps", "seconds", "trained tokens"]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(_row(row, levels) for row in rows)
    unscored = sum(row.unscored for row in rows)
    left_out = f" {unscored} attempts could not be scored and are left out." if unscored else ""
    return (
        "<h2>On held-out tasks</h2>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        '</div><p class="note">Small figures are 95% Wilson intervals, clustered by '
        "task: attempts at one task count for less than as many independent ones. A control shows "
        "what the same time brings without what the run adds. Seconds and tokens are "
        f"the stage's own, rollouts included in the seconds.{left_out}</p>"
    )


def _row(row: StageRow, levels: Sequence[str]) -> str:
    reward = "–" if row.reward is None else f"{row.reward:.3f}"
    cells = [escape(row.stage), _cell(row.pass_at_1), reward]
    for level in levels:
        cells += map(_cell, row.levels.get(level, (None, None)))
    cells += [str(row.steps), f"{row.seconds:.0f}", f"{row.tokens / 1e6:.2f} M"]
    if not row.steps:
        cells[-3:] = ["", "", ""]
    kind = ' class="control"' if row.control else ""
    return f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _cell(rate: Interval | None) -> str:
    if rate is None:
        return "–"
    return f"{rate.value:.3f}<small>{rate.low:.3f} to {rate.high:.3f}</small>"


def _main_chart(record: RunRecord) -> str:
    figure = curve_figure(record)
    if figure is None:
        return ""
    return f'<h2>What it learned</h2><div class="main-chart">{figure.svg()}</div>'


def _curves(record: RunRecord) -> str:
    charts = [chart for stage in record.stages("rl") for chart in _rl_charts(record, stage)]
    losses = [
        Line(
            name=stage,
            points=record.series(stage, "loss"),
            colour=index % 4,
            dashed=bool(record.config["stages"][stage]["control"]),
        )
        for index, stage in enumerate(record.stages("sft"))
        if record.steps(stage)
    ]
    if losses:
        charts.append(Chart(title="SFT loss", lines=losses))
    if not charts:
        return ""
    drawn = "".join(f"<div>{chart.svg()}</div>" for chart in charts)
    return f'<h2>Training</h2><div class="charts">{drawn}</div>'


def _rl_charts(record: RunRecord, stage: str) -> list[Chart]:
    if not record.steps(stage):
        return []
    several = len(record.stages("rl")) > 1
    suffix = f", {stage}" if several else ""
    levels = [
        Line(
            name=name.rpartition("/")[2],
            points=record.series(stage, name),
            colour=LEVEL_COLOURS[index % len(LEVEL_COLOURS)],
        )
        for index, name in enumerate(record.names(stage, "pass@1/"))
    ]
    charts = [Chart(title=f"pass@1{suffix}", lines=levels, unit_range=True)] if levels else []
    for title, names in RL_CURVES:
        lines = [
            Line(name=name, points=record.series(stage, name), colour=0)
            for name in names
            if record.series(stage, name)
        ]
        if lines:
            charts.append(Chart(title=f"{title}{suffix}", lines=lines))
    return charts


def _episodes(record: RunRecord) -> str:
    results = [row.stage for row in record.rows if not row.control]
    if not results:
        return ""
    chats = "".join(render_episode(one) for one in choose_episodes(record.episodes(results[-1])))
    return f'<h2>Episodes after {escape(results[-1])}</h2><div class="chats">{chats}</div>'


def _loop(record: RunRecord) -> str:
    """Say what became of every rollout, and what the monitors saw."""
    parts = []
    if record.ledger:
        parts.append(f"<h2>Every rollout, once</h2><p>{escape(record.ledger)}</p>")
    if record.findings:
        rows = "".join(
            f"<li>{escape(one['stage'])}, step {one['step']}: <b>{escape(one['monitor'])}</b> "
            f"({escape(one['action'])}). {escape(one['saw'])} {escape(one['advice'])}</li>"
            for one in record.findings
        )
        parts.append(f"<h2>What the monitors saw</h2><ul>{rows}</ul>")
    return "".join(parts)


def _configuration(record: RunRecord) -> str:
    config = escape(to_toml(record.config))
    return f"<details><summary>Configuration</summary><pre>{config}</pre></details>"
