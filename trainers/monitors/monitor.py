"""Look at every step's metrics; find what is beyond its threshold for too long.

Monitors are a function of the records in ``metrics.jsonl`` alone. A resumed run reads them again
up to its checkpoint, and so finds and corrects exactly what it would have without the interruption.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proofgym.trainers.monitors.config import Action, MonitorsConfig, ThresholdConfig

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a monitor saw, and what it does about it.

    Args:
        monitor: its name in the configuration.
        step: after how many steps of the stage.
        saw: the metric, its values and the threshold.
        advice: what to do.
        action: what the monitor does itself.
        correct: the stage's keys that change from here on, for that action.
    """

    monitor: str
    step: int
    saw: str
    advice: str
    action: Action
    correct: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        does = {
            "correct": f" Changed from here on: {_words(self.correct)}.",
            "stop": " The run stops here, saved.",
        }.get(self.action, "")
        return f"{self.monitor}: {self.saw} {self.advice}{does}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How one monitor reads a step.

    Args:
        metric: what it reads, in words.
        read: its value in a step's record; None where the step has none.
        beyond: whether a value is on the wrong side of the threshold.
        advice: what to do about it.
    """

    metric: str
    read: Callable[[Record], float | None]
    beyond: Callable[[float, float], bool]
    advice: str


def _named(name: str) -> Callable[[Record], float | None]:
    return lambda record: record.get(name)


def _faults(record: Record) -> float | None:
    parts = [record.get(name) for name in ("env/error_frac", "env/infra_frac")]
    found = [part for part in parts if part is not None]
    return sum(found) if found else None


def _above(value: float, threshold: float) -> bool:
    return value > threshold


def _below(value: float, threshold: float) -> bool:
    return value < threshold


WATCHES: dict[str, Watch] = {
    "engine_difference": Watch(
        metric="mismatch/engine_abs_mean, mean |logprob of engine - learner| at equal weights",
        read=_named("mismatch/engine_abs_mean"),
        beyond=_above,
        advice="The engine computes another distribution than the learner: compare precision, "
        "temperature and chat template of both, or correct with a sequence mask.",
    ),
    "stale_difference": Watch(
        metric="mismatch/stale_abs_mean, mean |logprob then - now| of tokens of older weights",
        read=_named("mismatch/stale_abs_mean"),
        beyond=_above,
        advice="The policy moves too far while its rollouts are in flight: lower staleness or the "
        "learning rate, or correct with a sequence mask.",
    ),
    "zero_variance": Watch(
        metric="group/frac_zero_std, groups whose rewards are all equal",
        read=_named("group/frac_zero_std"),
        beyond=_above,
        advice="Hardly any group teaches anything: the tasks are too easy or too hard. Choose "
        "others, raise group_size, or fill the batch with more rounds.",
    ),
    "low_entropy": Watch(
        metric="entropy",
        read=_named("entropy"),
        beyond=_below,
        advice="The policy hardly explores any more: raise clip_high first, then temperature.",
    ),
    "truncation": Watch(
        metric="len/truncated_frac, episodes cut by a limit",
        read=_named("len/truncated_frac"),
        beyond=_above,
        advice="Rewards of cut episodes say little: raise max_tokens or the environment's limits, "
        "or mask them.",
    ),
    "faults": Watch(
        metric="env/error_frac + env/infra_frac, episodes that failed by no fault of the policy",
        read=_faults,
        beyond=_above,
        advice="Read the faults of the last file in episodes/, and mend the environment or what it "
        "runs on.",
    ),
}


class Monitors:
    """Watch one stage.

    Args:
        config: thresholds and actions.
    """

    def __init__(self, config: MonitorsConfig) -> None:
        self.config = config
        self.heldout = Heldout(config.heldout)
        self._runs: dict[str, list[float]] = {name: [] for name in WATCHES}

    def see(self, record: Record) -> list[Finding]:
        """Take a step's or an evaluation's record; say what it makes true that was not before.

        A monitor that has acted acts again once its metric has been on the right side.
        """
        if record["kind"] in ("heldout", "evaluation"):
            found = self.heldout.evaluated(record)
            return [] if found is None else [found]
        if record["kind"] != "step":
            return []
        self.heldout.stepped(record)
        findings = (self._look(name, watch, record) for name, watch in WATCHES.items())
        return [finding for finding in findings if finding is not None]

    def _look(self, name: str, watch: Watch, record: Record) -> Finding | None:
        setting: ThresholdConfig = getattr(self.config, name)
        value = watch.read(record)
        run = self._runs[name]
        if setting.action == "off" or value is None or not math.isfinite(value):
            return None
        if not watch.beyond(value, setting.threshold):
            run.clear()
            return None
        run.append(value)
        if len(run) != setting.steps:  # not yet, or said already
            return None
        values = ", ".join(f"{one:.3g}" for one in run)
        side = "at most" if watch.beyond is _above else "at least"
        return Finding(
            monitor=name,
            step=int(record["step"]),
            saw=f"expected {watch.metric}, to be {side} {setting.threshold:g}, got {values} in the "
            f"last {setting.steps} steps.",
            advice=watch.advice,
            action=setting.action,
            correct=setting.correct,
        )


class Heldout:
    """Find a reward that rises while held-out pass@1 falls: the reward is being gamed.

    Args:
        config: how far below its best, and at how many evaluations in a row.
    """

    def __init__(self, config: ThresholdConfig) -> None:
        self.config = config
        self._step = 0
        self._rewards: list[float] = []
        self._best: tuple[float, float] | None = None  # pass@1, and the reward it came with
        self._falls: list[float] = []

    def stepped(self, record: Record) -> None:
        """Take a step's reward."""
        self._step = int(record["step"])
        reward = record.get("reward/mean")
        if reward is not None:
            self._rewards.append(reward)

    def evaluated(self, record: Record) -> Finding | None:
        """Compare an evaluation with the best one, and the rewards that came with each."""
        value = (record.get("pass@1") or {}).get("value")
        if value is None or not self._rewards or self.config.action == "off":
            return None
        reward = sum(self._rewards) / len(self._rewards)
        self._rewards.clear()
        if self._best is None or value >= self._best[0]:
            self._best = (value, reward)
        best, then = self._best
        if best - value <= self.config.threshold or reward <= then:
            self._falls.clear()
            return None
        self._falls.append(value)
        if len(self._falls) != self.config.steps:
            return None
        fell = ", ".join(f"{one:.3f}" for one in self._falls)
        return Finding(
            monitor="heldout",
            step=self._step,
            saw=f"expected held-out pass@1 to stay within {self.config.threshold:g} of its best, "
            f"{best:.3f}, got {fell} while the mean reward rose from {then:.3f} to {reward:.3f}.",
            advice="The policy learns what the training tasks reward and not the skill: audit the "
            "reward, read episodes, and go back to the checkpoint of the best evaluation.",
            action=self.config.action,
            correct=self.config.correct,
        )


def corrected(table: Mapping[str, Any], findings: Sequence[Finding]) -> dict[str, Any]:
    """Apply the findings' corrections to a stage's configuration, as a table."""
    result = _copied(table)
    for finding in findings:
        for key, value in finding.correct.items():
            *parents, last = key.split(".")
            at = result
            for parent in parents:
                at = at.setdefault(parent, {})
            at[last] = value
    return result


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in table.items()}


def _words(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in table.items())
