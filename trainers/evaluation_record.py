"""An evaluation as one line of the metrics' file."""

from dataclasses import asdict
from typing import Any

from proofgym.agents import EvalReport, Rate


def evaluation_record(report: EvalReport) -> dict[str, Any]:
    """Flatten an evaluation for the metrics' file."""
    record: dict[str, Any] = {
        "pass@1": _rate(report.pass_at_1),
        "reward/mean": report.reward_mean,
        "unscored": report.unscored,
        "stops": dict(report.stops),
        "sampled_tokens": report.sampled_tokens,
        "seconds": report.seconds,
    }
    for name, level in report.levels.items():
        record[f"pass@1/{name}"] = _rate(level.pass_at_1)
        record[f"tools/call_rate/{name}"] = _rate(level.call_rate)
    return record


def _rate(rate: Rate) -> dict[str, float]:
    return asdict(rate)
