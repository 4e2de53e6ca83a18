"""Fixed episodes as digests: compared within a process and between processes."""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from proofgym.envs.audit.ground import Ground, junk_calls, tasks_of
from proofgym.envs.audit.play import Play, Voice, always, in_turn
from proofgym.envs.env import Env
from proofgym.envs.tasks import Split

HASHED_TASKS = 12


def voices(cls: type[Env]) -> Iterator[tuple[str, Voice]]:
    """List scripted policies that take an environment through different ways."""
    if cls.oracle is not None:
        yield "oracle", cls.oracle
    yield "nonsense", always("zq7 5")
    calls = list(junk_calls(cls, "x 1"))
    if calls:
        yield "every tool", in_turn(calls, "zq7")


async def probe_traces(ground: Ground) -> None:
    """Play fixed episodes twice each, and note their digests for the comparison of processes."""
    journal, traces = ground.journal, dict[str, str]()
    for split in Split:
        for number, task in enumerate(tasks_of(ground.cls, split, HASHED_TASKS)):
            traces[f"{split.value} task {number}"] = f"{task.id} {task.content_hash}"
    env = ground.cls()
    traces["tools"] = _digest(list(env.tool_schemas))
    for number, subject in enumerate(ground.subjects[: ground.reach.traced_tasks]):
        for name, voice in voices(ground.cls):
            key = f"determinism.episode/{name}/{number}"
            if not journal.begin(key):
                continue
            before = _global_state()
            first = await ground.play(subject.task, voice)
            touched = _global_state() != before
            second = await ground.play(subject.task, voice)
            journal.record("determinism.episode", _difference(first, second, name))
            told = f"{name}: random or numpy.random was drawn from or seeded in an episode"
            journal.record("determinism.global-rng", told if touched else "")
            traces[f"{name} on task {number}"] = first.trace
    journal.note(traces=traces)


def _difference(first: Play, second: Play, name: str) -> str:
    if first.trace == second.trace:
        return ""
    for what, one, two in (
        ("opening", first.opening, second.opening),
        ("replies", first.replies, second.replies),
        ("rewards", first.rewards, second.rewards),
        ("end", (first.stop, first.solved), (second.stop, second.solved)),
    ):
        if one != two:
            return f"{name}: {what} {one!r:.120}, then {two!r:.120}"
    return f"{name}: two episodes differ"


def _global_state() -> str:
    return _digest([random.getstate(), str(np.random.get_state())])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
