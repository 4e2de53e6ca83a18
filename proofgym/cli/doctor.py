"""``proofgym doctor``: what works on this machine, why not, and what helps."""

import asyncio
import json
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from proofgym.sandboxes.doctor import BackendReport, probe_all
from proofgym.sandboxes.leftovers import clean_sandboxes
from proofgym.sandboxes.selection import AUTOMATIC


def doctor(*, as_json: bool, clean: bool) -> int:
    """Report on every sandbox backend; 1 when `auto` would find none."""
    if clean:
        return _clean(as_json)
    reports = asyncio.run(probe_all())
    if as_json:
        json.dump({"sandboxes": [report.as_json() for report in reports]}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(reports)
    return 0 if any(r.available and r.name in AUTOMATIC for r in reports) else 1


def _clean(as_json: bool) -> int:
    done = asyncio.run(clean_sandboxes())
    if as_json:
        words = {"cgroups": done.cgroups, "folders": done.folders, "containers": done.containers,
                 "docker": done.docker}  # fmt: skip
        json.dump(words, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    print_line = Console(soft_wrap=True).print
    print_line(
        f"deleted what dead processes left: {done.cgroups} cgroups, {done.folders} folders, "
        f"{done.containers} containers"
    )
    if done.docker:
        print_line(f"containers were not looked at: {escape(done.docker)}")
    return 0


def _show(reports: list[BackendReport]) -> None:
    console = Console(soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for head in ("sandbox", "works", "tier", "start", "create", "python", "cell"):
        table.add_column(head, no_wrap=True, overflow="ignore")
    for one in reports:
        tier = one.isolation.tier if one.isolation is not None else ""
        times = (one.start_ms, one.create_ms, one.python_ms, one.cell_ms)
        shown = ["" if ms is None else f"{ms:.1f} ms" for ms in times]
        works = "[green]yes[/green]" if one.available else "[red]no[/red]"
        table.add_row(f"[bold]{one.name}[/bold]", works, tier, *shown)
    console.print(table)
    for one in reports:
        said = []
        if one.reason:
            said.append(("why not", one.reason))
        if one.fix:
            said.append(("to fix" if not one.available else "to improve", one.fix))
        if one.isolation is not None:
            said.append(("not enforced", "; ".join(one.isolation.not_enforced)))
        for label, text in said:
            console.print(f"[bold]{one.name}[/bold] {label}: {escape(text)}")
    chosen = next((r.name for r in reports if r.available and r.name in AUTOMATIC), None)
    console.print(f"auto chooses: {chosen or 'nothing; it raises SandboxUnavailable'}")
