"""``proofgym doctor``: what works on this machine, why not, and what helps."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from proofgym.gpu_doctor import Finding, GpuFacts, examine, gather
from proofgym.gpu_doctor.facts import PythonFacts
from proofgym.sandboxes.doctor import BackendReport, probe_all
from proofgym.sandboxes.leftovers import clean_sandboxes
from proofgym.sandboxes.selection import AUTOMATIC


def doctor(*, as_json: bool, clean: bool) -> int:
    """Report on sandboxes and GPUs; 1 when `auto` would find no sandbox, or a GPU has faults."""
    if clean:
        return _clean(as_json)
    reports = asyncio.run(probe_all())
    facts = gather()  # afterwards: it would disturb the sandboxes' times
    findings = examine(facts)
    if as_json:
        gpu = {**facts.as_json(), "findings": [asdict(finding) for finding in findings]}
        words = {"sandboxes": [report.as_json() for report in reports], "gpu": gpu}
        json.dump(words, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(reports)
        show_gpu(facts, findings, Console(soft_wrap=True))
    sandboxed = any(r.available and r.name in AUTOMATIC for r in reports)
    return 0 if sandboxed and not any(finding.fault for finding in findings) else 1


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


def show_gpu(facts: GpuFacts, findings: Sequence[Finding], console: Console) -> None:
    """Print what there is for GPU work, then what is wrong with it."""
    lines = [("gpu", "none on this machine; training and vLLM's CPU build run without")]
    if facts.has_gpu:
        cuda = facts.smi.cuda if facts.smi is not None else ""
        runs = f", runs CUDA up to {cuda}" if cuda else ""
        lines = [("driver", f"{facts.driver_version or 'none'}{runs}"), *_gpu_lines(facts)]
    lines.append(("torch", _python_line(facts.own)))
    if facts.server is not None:
        lines.append(("vllm", f"vllm {facts.server.vllm}, {_python_line(facts.server)}"))
    else:
        lines.append(("vllm", "none; it is needed for engine.kind = 'vllm' only"))
    if facts.shm is not None:
        total, free = (size / 2**30 for size in (facts.shm.total, facts.shm.free))
        lines.append(("/dev/shm", f"{total:.1f} GiB, {free:.1f} of them free"))
    console.print()
    for label, text in lines:
        console.print(f"[bold]{label:<9}[/bold] {escape(text)}")
    for finding in findings:
        mark = "[red]wrong[/red]    " if finding.fault else "[yellow]note[/yellow]     "
        console.print(f"{mark} {escape(finding.what)}\n  to fix:  {escape(finding.fix)}")


def _gpu_lines(facts: GpuFacts) -> list[tuple[str, str]]:
    if facts.smi is not None and facts.smi.gpus:
        return [
            (f"gpu {gpu.index}", f"{gpu.name}, {_mib(gpu.total_mib)}, {_mib(gpu.used_mib)} in use")
            for gpu in facts.smi.gpus
        ]
    return [
        (f"gpu {one.index}", f"{one.name}, {one.total_bytes / 2**30:.1f} GiB")
        for one in facts.own.devices
    ]


def _mib(size: int | None) -> str:
    return "memory not counted on its own" if size is None else f"{size / 1024:.1f} GiB"


def _python_line(python: PythonFacts) -> str:
    """Say what torch of a Python is and sees."""
    if python.torch is None:
        return f"{python.error or 'no torch'} ({python.python})"
    if python.cuda is None:
        return f"torch {python.torch} without CUDA ({python.python})"
    sees = ", ".join(
        f"{one.name} (compute capability {one.capability[0]}.{one.capability[1]}, "
        f"{'bfloat16' if one.bf16 else 'no bfloat16'})"
        for one in python.devices
    )
    return f"torch {python.torch} for CUDA {python.cuda}, sees {sees or 'no GPU'} ({python.python})"
