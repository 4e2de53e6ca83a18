"""``proofgym audit``: can this environment's reward be trusted?"""

import json
import sys
from pathlib import Path

from rich.console import Console

from proofgym.envs.audit import Verdict, audit

_STYLES = {"FAIL": "bold red", "warn": "yellow", "ok": "green"}


def run_audit(name: str, *, budget: float, strict: bool, as_json: bool, out: Path | None) -> int:
    """Audit an environment and print the card, or the report as JSON; return 1 for a failure."""
    report = audit(name, budget_s=budget)
    text = json.dumps(report.to_json(), ensure_ascii=False, indent=2)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    if as_json:
        sys.stdout.write(text + "\n")
    else:
        console = Console(highlight=False, soft_wrap=True)
        for line in report.card().splitlines():
            mark = line.split(maxsplit=1)[0] if line.strip() else ""
            console.print(line, style=_STYLES.get(mark, ""), markup=False)
        failed = report.failed(strict=strict)
        console.print("failed" if failed else "passed", style=_STYLES["FAIL" if failed else "ok"])
        if failed and report.of(Verdict.FAIL):
            console.print("A finding that is meant to be so can be waived: Env.audit_waivers.")
    return 1 if report.failed(strict=strict) else 0
