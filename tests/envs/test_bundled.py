"""The contract that every bundled environment keeps. A new one is tested by being listed."""

import asyncio
import contextlib
import functools
import io
import os
import subprocess
import sys

import pytest

from proofgym.envs import Env, Split, environment_class
from proofgym.envs.audit import audit
from proofgym.envs.audit.play import Play, always, go_on, play
from proofgym.envs.bundled import BUNDLED
from proofgym.verifiers import Task

from . import replay

CHARGED = {
    "games/grid-world-v0": -0.4,
    "games/guess-number-v0": -0.6,
    "games/tic-tac-toe-v0": -0.8,
    "games/wordle-v0": -0.3,
}
"""Games in which a wasted turn costs something: what saying nothing to the end comes to."""
IN_A_SANDBOX = frozenset(id for id in BUNDLED if id.startswith("code/")) | {"tools/python-v0"}
"""Those that start processes: fewer tasks of them are played."""
every_environment = pytest.mark.parametrize("id", BUNDLED)


@functools.cache
def drawn(cls: type[Env], split: Split, index: int) -> Task:
    """Draw a task once for all tests."""
    task: Task = cls.tasks.task(split, index)
    return task


def tasks_of(cls: type[Env], count: int) -> list[Task]:
    return [drawn(cls, split, index) for split in Split for index in range(count)]


def played(cls: type[Env], task: Task, voice: object) -> Play:
    return asyncio.run(play(cls(), task, voice))  # type: ignore[arg-type]  # a demonstrator is one


@every_environment
def test_the_oracle_gets_the_best_that_is_declared(id: str) -> None:
    cls = environment_class(id)
    for task in tasks_of(cls, 2 if id in IN_A_SANDBOX else 8):
        outcome = played(cls, task, cls.oracle)
        assert outcome.solved is True, (task.id, outcome)
        assert outcome.total == pytest.approx(cls.bounds(task).best, abs=1e-9)


@every_environment
def test_saying_nothing_gets_the_floor(id: str) -> None:
    cls = environment_class(id)
    for task in tasks_of(cls, 1 if id in IN_A_SANDBOX else 4):
        outcome = played(cls, task, always(""))
        assert outcome.scored
        assert outcome.solved is not True
        assert outcome.total == pytest.approx(CHARGED.get(id, cls.bounds(task).floor))
        assert outcome.total <= cls.bounds(task).floor


@every_environment
def test_it_says_what_it_is(id: str) -> None:
    cls = environment_class(id)
    assert cls.id == id
    assert BUNDLED[id][1] == (cls.__doc__ or "").strip().partition("\n")[0]
    levels = {task.difficulty for task in tasks_of(cls, 30)}
    assert len(levels) > 1 or levels == {None}


@every_environment
def test_held_out_tasks_are_never_trained_on(id: str) -> None:
    cls = environment_class(id)
    heldout = {drawn(cls, Split.HELDOUT, index).content_hash for index in range(30)}
    train = {drawn(cls, Split.TRAIN, index).content_hash for index in range(80)}
    assert len(heldout) >= 5
    assert not heldout & train


@every_environment
def test_a_snapshot_and_forks_go_on_as_the_first_time(id: str) -> None:
    cls = environment_class(id)

    async def go(task: Task) -> None:
        env = cls()
        said = list((await env.areset(task, seed=3)).messages)
        message = cls.demonstrator()(task, said)
        snapshot, before = env.snapshot(), list(said)
        move = await env.astep(message)
        said += [message, *move.messages]
        if move.stop is None:
            twins = [env, *env.fork(2)]
            first, *others = [await go_on(e, task, cls.oracle, said=list(said)) for e in twins]
            assert [other.trace for other in others] == [first.trace] * 2
            assert first.solved
        env.restore(snapshot)
        again = await env.astep(message)
        assert (again.messages, again.reward, again.stop) == (move.messages, move.reward, move.stop)
        other = cls()
        other.restore(snapshot)
        assert (await go_on(other, task, cls.oracle, said=before)).solved

    for task in tasks_of(cls, 1):
        asyncio.run(go(task))


def test_a_replay_in_another_process_is_byte_equal() -> None:
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        replay.main()
    hash_seed = "4242" if os.environ.get("PYTHONHASHSEED") != "4242" else "0"
    there = subprocess.run(
        [sys.executable, replay.__file__],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
    )
    assert there.stdout == here.getvalue()
    assert len(there.stdout.splitlines()) > 6 * len(BUNDLED)


@pytest.mark.slow
@every_environment
def test_its_audit_ends_complete_without_a_failure_or_a_warning(id: str) -> None:
    report = audit(id, budget_s=600.0)
    assert not report.failed(strict=True), report.card()
    reach = report.to_json()["reach"]
    assert reach["name"] == ("narrow" if id.startswith("code/") else "wide")
    assert ("Narrow reach" in report.card()) == (reach["name"] == "narrow")
    assert reach["attacked_tasks"] >= 1
