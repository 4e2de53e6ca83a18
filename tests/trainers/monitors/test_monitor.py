from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from proofgym.trainers.monitors import Finding, Monitors, MonitorsConfig
from proofgym.trainers.monitors.monitor import WATCHES, corrected


def watching(**settings: Mapping[str, Any]) -> Monitors:
    return Monitors(MonitorsConfig.model_validate(settings))


def steps(monitors: Monitors, metric: str, values: Sequence[float | None]) -> list[Finding]:
    return [
        finding
        for number, value in enumerate(values)
        for finding in monitors.see({"kind": "step", "step": number + 1, metric: value})
    ]


def evaluation(value: float) -> dict[str, Any]:
    return {"kind": "evaluation", "pass@1": {"value": value}}


@pytest.mark.parametrize(
    ("name", "metric", "wrong", "right"),
    [
        ("engine_difference", "mismatch/engine_abs_mean", 0.5, 0.001),
        ("stale_difference", "mismatch/stale_abs_mean", 0.5, 0.01),
        ("zero_variance", "group/frac_zero_std", 0.99, 0.5),
        ("low_entropy", "entropy", 1e-5, 0.3),
        ("truncation", "len/truncated_frac", 0.8, 0.1),
        ("faults", "env/error_frac", 0.3, 0.0),
        ("faults", "env/infra_frac", 0.3, 0.0),
    ],
)
def test_each_monitor_speaks_of_its_own_metric(
    name: str, metric: str, wrong: float, right: float
) -> None:
    assert steps(watching(), metric, [right] * 9) == []
    (finding,) = steps(watching(), metric, [wrong] * 9)
    assert finding.monitor == name
    assert f"{wrong:.3g}, {wrong:.3g}" in finding.saw
    assert finding.advice


def test_every_threshold_has_a_monitor() -> None:
    assert {*WATCHES, "heldout"} == set(MonitorsConfig.model_fields)


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ([0.9, 0.9], []),
        ([0.9, 0.9, 0.9], [3]),
        ([0.9, 0.9, 0.1, 0.9, 0.9], []),
        ([0.9, None, 0.9, float("nan"), 0.9], [5]),
        ([0.9] * 8, [3]),
        ([0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9], [3, 7]),
        ([0.5, 0.5, 0.5], []),
    ],
    ids=["too-few", "enough", "broken-off", "gaps", "said-once", "said-again", "at-the-threshold"],
)
def test_it_acts_after_enough_steps_in_a_row(values: list[float | None], at: list[int]) -> None:
    found = steps(watching(), "len/truncated_frac", values)
    assert [finding.step for finding in found] == at


def test_a_monitor_that_is_off_says_nothing() -> None:
    monitors = watching(truncation={"threshold": 0.5, "action": "off"})
    assert steps(monitors, "len/truncated_frac", [0.9] * 5) == []


def test_a_correction_changes_the_named_keys_and_no_others() -> None:
    table = {"clip": {"high": 0.2, "low": 0.1}, "steps": 4}
    setting = {"threshold": 0.1, "action": "correct", "correct": {"clip.high": 0.3, "new.key": 1}}
    findings = steps(watching(low_entropy={**setting, "steps": 1}), "entropy", [0.01])
    assert corrected(table, findings) == {
        "clip": {"high": 0.3, "low": 0.1}, "steps": 4, "new": {"key": 1}
    }  # fmt: skip
    assert table["clip"] == {"high": 0.2, "low": 0.1}
    assert "clip.high = 0.3" in str(findings[0])


def test_a_correction_must_be_named_and_only_where_it_is_asked_for() -> None:
    for setting in ({"action": "correct"}, {"action": "warn", "correct": {"a": 1}}):
        with pytest.raises(ValueError, match="goes with a table"):
            watching(faults={"threshold": 0.1, **setting})


def test_a_stop_says_so() -> None:
    monitors = watching(faults={"threshold": 0.1, "steps": 1, "action": "stop"})
    (finding,) = steps(monitors, "env/error_frac", [0.2])
    assert finding.action == "stop"
    assert "stops" in str(finding)


def held_out(monitors: Monitors, course: Sequence[tuple[float, float]]) -> list[Finding]:
    found = []
    for number, (reward, passed) in enumerate(course):
        monitors.see({"kind": "step", "step": number + 1, "reward/mean": reward})
        found += monitors.see(evaluation(passed))
    return found


@pytest.mark.parametrize(
    ("course", "found"),
    [
        ([(0.2, 0.5), (0.4, 0.6), (0.6, 0.7)], 0),
        ([(0.2, 0.5), (0.4, 0.4), (0.6, 0.3)], 1),
        ([(0.2, 0.5), (0.1, 0.4), (0.1, 0.3)], 0),
        ([(0.2, 0.5), (0.4, 0.48), (0.6, 0.46)], 0),
        ([(0.2, 0.5), (0.4, 0.3), (0.6, 0.5), (0.7, 0.3)], 0),
    ],
    ids=["both-rise", "reward-alone-rises", "both-fall", "within-the-threshold", "recovers"],
)
def test_a_rising_reward_with_a_falling_held_out_rate_is_found(
    course: list[tuple[float, float]], found: int
) -> None:
    assert len(held_out(watching(), course)) == found


def test_the_same_records_give_the_same_findings_after_a_restart() -> None:
    records = [{"kind": "step", "step": n + 1, "len/truncated_frac": 0.9} for n in range(4)]
    unbroken = watching()
    whole = [finding for record in records for finding in unbroken.see(record)]
    resumed = watching()
    before = [finding for record in records[:2] for finding in resumed.see(record)]
    after = [finding for record in records[2:] for finding in resumed.see(record)]
    assert before + after == whole
    assert len(whole) == 1
