"""``proofgym compare``: two evaluations, paired by task."""

import json as json_module
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from proofgym.agents.evaluation import Comparison, Decision, compare_paired, decide, holm
from proofgym.agents.evaluation.folder import stored_episodes, stored_suite
from proofgym.agents.finite_json import finite
from proofgym.envs import Suite
from proofgym.errors import UsageError

EXIT_CODES = {Decision.PASS: 0, Decision.REGRESS: 1, Decision.INCONCLUSIVE: 3}
"""2 is left to mistakes in how the command was asked for."""

SHOWN_FLIPS = 10


@dataclass(frozen=True, slots=True)
class TaskKey:
    """A task by its environment and its content."""

    env_id: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One evaluation, by task.

    Args:
        outcomes: of its scored attempts.
        names: what a person calls the task.
        categories: environment and difficulty.
        unscored: attempts that could not be judged.
    """

    outcomes: Mapping[TaskKey, list[bool]]
    names: Mapping[TaskKey, str]
    categories: Mapping[TaskKey, str]
    unscored: int


def compare_folders(a: Path, b: Path, *, gate: bool, margin: float, as_json: bool) -> int:
    """Compare, print, and return the gate's exit code, or 0 without a gate."""
    if not 0 <= margin <= 1:
        raise UsageError(f"--margin must be within 0 and 1, got {margin:g}.")
    suites = stored_suite(a), stored_suite(b)
    _check_graders(*suites)
    first, second = read_side(a, suites[0]), read_side(b, suites[1])
    common = sorted(
        first.outcomes.keys() & second.outcomes.keys(), key=lambda key: (key.env_id, key.hash)
    )
    if not common:
        raise UsageError(
            f"{a} and {b} have no task in common that both have a scored attempt at. Evaluate both "
            "on the same suite: give the second one the first one's suite.lock.json."
        )
    whole = _compared(first, second, common)
    groups: dict[str, list[TaskKey]] = {}
    for key in common:
        groups.setdefault(first.categories[key], []).append(key)
    parts = {name: _compared(first, second, keys) for name, keys in sorted(groups.items())}
    adjusted = holm({name: part.p_value for name, part in parts.items()})
    decision = decide(whole, margin=margin)
    missing = len(first.outcomes.keys() ^ second.outcomes.keys())
    if as_json:
        record = {
            **asdict(whole),
            "decision": decision.value,
            "margin": margin,
            "missing_tasks": missing,
            "unscored": [first.unscored, second.unscored],
            "categories": {
                name: {**asdict(part), "p_holm": adjusted[name]} for name, part in parts.items()
            },
        }
        Console().print_json(json_module.dumps(finite(record)))
    else:
        _print(whole, parts, adjusted, first, second, missing)
        _print_flips(first, second, common)
        if gate:
            Console(highlight=False).print(f"gate, margin {margin:g}: [bold]{decision}[/bold]")
    return EXIT_CODES[decision] if gate else 0


def read_side(folder: Path, suite: Suite) -> Side:
    """Read an evaluation's attempts by the content of their tasks."""
    hashes = {
        (entry.id, number): task.hash
        for entry in suite.environments
        for number, task in enumerate(entry.tasks)
    }
    outcomes: dict[TaskKey, list[bool]] = {}
    names: dict[TaskKey, str] = {}
    categories: dict[TaskKey, str] = {}
    unscored = 0
    for episode in stored_episodes(folder):
        key = TaskKey(episode.env_id, hashes[episode.env_id, episode.group])
        names[key] = episode.task_id
        level = f" {episode.difficulty}" if episode.difficulty else ""
        categories[key] = episode.env_id + level
        if episode.scored:
            outcomes.setdefault(key, []).append(episode.solved)
        else:
            unscored += 1
    return Side(outcomes=outcomes, names=names, categories=categories, unscored=unscored)


def _check_graders(a: Suite, b: Suite) -> None:
    graders = {entry.id: entry.grader for entry in a.environments}
    differ = [e.id for e in b.environments if graders.get(e.id, e.grader) != e.grader]
    if differ:
        raise UsageError(
            f"the two evaluations judged {', '.join(differ)} by different verifiers, so their "
            "scores cannot be compared. Judge both anew with `proofgym rescore FOLDER --write`."
        )


def _compared(first: Side, second: Side, keys: list[TaskKey]) -> Comparison:
    return compare_paired(
        [first.outcomes[key] for key in keys], [second.outcomes[key] for key in keys]
    )


def _print(
    whole: Comparison,
    parts: Mapping[str, Comparison],
    adjusted: Mapping[str, float],
    first: Side,
    second: Side,
    missing: int,
) -> None:
    console = Console(highlight=False)
    console.print(
        f"[bold]B - A = {whole.delta:+.4f} \\[{whole.low:+.4f}, {whole.high:+.4f}][/bold]  "
        f"p = {whole.p_value:.4g} ({whole.method})",
        soft_wrap=True,
    )
    console.print(
        f"A {whole.a:.4f}, B {whole.b:.4f} on {whole.tasks} tasks: {whole.gained} better, "
        f"{whole.lost} worse. Smallest difference seen 8 times in 10: {whole.mde:.4f}. "
        f"Design effect {whole.design_effect:.2f}.",
        soft_wrap=True,
    )
    console.print(
        f"left out: {missing} tasks that one side lacks; unscored attempts {first.unscored} (A), "
        f"{second.unscored} (B)",
        soft_wrap=True,
    )
    if len(parts) > 1:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("category", "A", "B", "B - A", "95%", "p", "p (Holm)", "tasks"):
            table.add_column(heading)
        for name, part in parts.items():
            table.add_row(
                name,
                f"{part.a:.3f}",
                f"{part.b:.3f}",
                f"{part.delta:+.3f}",
                f"[{part.low:+.3f}, {part.high:+.3f}]",
                f"{part.p_value:.3g}",
                f"{adjusted[name]:.3g}",
                str(part.tasks),
            )
        console.print(table, markup=False)


def _print_flips(first: Side, second: Side, common: list[TaskKey]) -> None:
    console = Console(highlight=False)

    def change(key: TaskKey) -> float:
        before, after = first.outcomes[key], second.outcomes[key]
        return sum(after) / len(after) - sum(before) / len(before)

    for title, keys in (
        ("better", sorted((k for k in common if change(k) > 0), key=change, reverse=True)),
        ("worse", sorted((k for k in common if change(k) < 0), key=change)),
    ):
        shown = ", ".join(
            f"{key.env_id} {first.names[key]} {change(key):+.2f}" for key in keys[:SHOWN_FLIPS]
        )
        if shown:
            more = f" and {len(keys) - SHOWN_FLIPS} more" if len(keys) > SHOWN_FLIPS else ""
            console.print(f"{title}: {shown}{more}", soft_wrap=True, markup=False)
