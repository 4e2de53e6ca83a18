"""What an audit looks for: every check by id."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is when a check does not hold."""

    FAIL = "fail"  # the reward, or the record of it, cannot be trusted
    WARN = "warn"  # worth a look; fails under --strict


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold.

    Args:
        id: ``area.name``, stable between versions.
        promise: what holds where the check passes.
        level: what a breach is.
    """

    id: str
    promise: str
    level: Level = Level.FAIL


_ALL = (
    Check(id="contract.episode", promise="episodes begin, go on and end without an error"),
    Check(id="contract.gymnasium", promise="gymnasium's check_env passes without a warning"),
    Check(id="contract.malformed-call", promise="a malformed or unknown call is answered in words"),
    Check(id="contract.limits", promise="an episode that never answers is cut at its limit"),
    Check(id="oracle.declared", promise="there is an oracle to hold the rewards against"),
    Check(id="oracle.best", promise="the oracle solves every task and gets the declared best"),
    Check(
        id="oracle.whitespace",
        promise="white space around the oracle's answer changes nothing",
        level=Level.WARN,
    ),
    Check(id="reward.empty", promise="saying nothing is worth no more than the floor"),
    Check(id="reward.echo", promise="repeating the prompt is worth no more than the floor"),
    Check(id="reward.garbage", promise="nonsense is worth no more than the floor"),
    Check(id="reward.other-answer", promise="another task's answer is worth no more"),
    Check(id="reward.every-candidate", promise="all candidates at once are worth no more"),
    Check(id="reward.format-only", promise="the form without an answer is worth no more"),
    Check(id="reward.not-a-number", promise="nan, inf and null are worth no more than the floor"),
    Check(id="reward.huge", promise="huge and deep texts are worth no more than the floor"),
    Check(id="reward.unicode", promise="odd characters are worth no more than the floor"),
    Check(id="reward.override", promise="telling the verifier its verdict is worth no more"),
    Check(id="reward.near-miss", promise="an answer that is nearly right is not solved"),
    Check(id="reward.cut", promise="an episode that is cut short is worth no more than the floor"),
    Check(id="reward.range", promise="nothing is worth more than the declared best"),
    Check(id="reward.crash", promise="no text breaks the environment or the verifier"),
    Check(
        id="reward.unscored",
        promise="no text of the policy leaves its episode unscored",
        level=Level.WARN,
    ),
    Check(id="exec.canary", promise="the policy's text is not run outside a sandbox"),
    Check(id="exec.hang", promise="no text of the policy stops the process from going on"),
    Check(id="exec.exit", promise="no text of the policy ends the process"),
    Check(id="leak.prompt", promise="the answer is not in the opening, the tools or their schemas"),
    Check(id="leak.task-id", promise="the answer is not in the task's id"),
    Check(id="leak.observation", promise="the answer is not in a reply before the end"),
    Check(id="determinism.episode", promise="the same task and seed give the same episode"),
    Check(id="determinism.process", promise="another process gives the same tasks and episodes"),
    Check(id="determinism.hash-seed", promise="another PYTHONHASHSEED gives the same"),
    Check(id="determinism.global-rng", promise="the global random generators are left alone"),
    Check(id="state.episodes", promise="an episode does not depend on those before it"),
    Check(id="state.instances", promise="episodes of two instances do not touch each other"),
    Check(id="state.snapshot", promise="a restored or forked episode goes on as the first time"),
    Check(id="state.task", promise="an episode leaves its task as it was"),
    Check(id="data.splits", promise="no held-out task is among those trained on"),
    Check(id="data.ids", promise="tasks with one id are the same task"),
    Check(id="data.contradiction", promise="one prompt of a single-turn task has one answer"),
)
CHECKS: Mapping[str, Check] = {check.id: check for check in _ALL}
"""Every check by id, in the order in which a card shows them."""
