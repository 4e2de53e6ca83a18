"""``proofgym rescore``: judge stored attempts with the verifiers of today."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from proofgym.agents import write_episodes
from proofgym.agents.evaluation.folder import (
    EPISODES,
    RECORD,
    stored_episodes,
    stored_identity,
    stored_suite,
)
from proofgym.agents.whole_file import write_whole
from proofgym.envs import Env, Episode, Suite, environment_class
from proofgym.envs.suite import LockedEnv, draw_tasks, grader_hash
from proofgym.errors import UsageError
from proofgym.verifiers import Task, Transcript, Verifier

SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """One attempt before and after; ``after`` is None where it cannot be judged again."""

    before: Episode
    after: Episode | None


def rescore_folder(folder: Path, *, write: bool) -> int:
    """List what flips; with ``write`` keep the new verdicts; 1 where an attempt is not judged."""
    suite = stored_suite(folder)
    classes = {entry.id: environment_class(entry.place) for entry in suite.environments}
    tasks = {entry.id: _same_tasks(suite, entry, classes[entry.id]) for entry in suite.environments}
    judged = [
        rescored(one, classes[one.env_id].rubric, tasks[one.env_id])
        for one in stored_episodes(folder)
    ]
    console = Console(highlight=False)
    flips = [one for one in judged if one.after is not None and _flipped(one.before, one.after)]
    stuck = [one for one in judged if one.after is None]
    for one in flips[:SHOWN]:
        assert one.after is not None
        said = one.after.score.evidence if one.after.score is not None else ""
        console.print(
            f"{one.before.env_id} {one.before.task_id} #{one.before.rollout}: "
            f"{_verdict(one.before)} -> {_verdict(one.after)}  {said}",
            soft_wrap=True,
            markup=False,
        )
    if len(flips) > SHOWN:
        console.print(f"and {len(flips) - SHOWN} more")
    console.print(
        f"{len(judged) - len(stuck)} attempts judged again, {len(flips)} flipped; {len(stuck)} "
        "cannot be: their environment judges as it goes, or by a state that was not kept",
        soft_wrap=True,
    )
    if write:
        _write(folder, suite, judged)
        console.print(f"Written to {folder}. Run the same `proofgym eval` again for its report.")
    return 1 if stuck else 0


def rescored(episode: Episode, rubric: Verifier | None, tasks: list[Task]) -> Rescored:
    """Judge one attempt again by its environment's rubric."""
    if rubric is None:
        return Rescored(before=episode, after=None)
    state = _NoState()
    transcript = Transcript(messages=episode.messages, state=state)
    score = rubric.score(tasks[episode.group], transcript)
    if state.was_asked:
        return Rescored(before=episode, after=None)
    earned = episode.score.value if episode.score is not None else None
    rewards = list(episode.rewards)
    if rewards:
        rewards[-1] += (score.value or 0.0) - (earned or 0.0)
    by_verifier = episode.fault is not None and episode.fault.phase == "score"
    after = replace(
        episode,
        score=score,
        rewards=tuple(rewards),
        fault=None if by_verifier and score.value is not None else episode.fault,
    )
    return Rescored(before=episode, after=after)


class _NoState(Mapping[str, Any]):
    """The final state of an environment, which is not kept: who reads it cannot judge again."""

    def __init__(self) -> None:
        self.was_asked = False

    def __getitem__(self, key: str) -> Any:
        self.was_asked = True
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        self.was_asked = True
        return iter(())

    def __len__(self) -> int:
        self.was_asked = True
        return 0


def _same_tasks(suite: Suite, entry: LockedEnv, cls: type[Env]) -> list[Task]:
    """Draw the tasks again; the grader may have changed, the tasks may not."""
    tasks = draw_tasks(cls, len(entry.tasks), split=suite.split, seed=suite.seed)
    changed = sum(
        task.content_hash != locked.hash for task, locked in zip(tasks, entry.tasks, strict=False)
    )
    if changed or len(tasks) != len(entry.tasks):
        raise UsageError(
            f"{entry.id}: {changed} tasks are not those that were measured, so the attempts cannot "
            "be judged again. Install the version of the environment that they were made with."
        )
    return tasks


def _flipped(before: Episode, after: Episode) -> bool:
    return _verdict(before) != _verdict(after)


def _verdict(episode: Episode) -> str:
    if not episode.scored:
        return "unscored"
    return "solved" if episode.solved else "not solved"


def _write(folder: Path, suite: Suite, judged: list[Rescored]) -> None:
    write_episodes(folder / EPISODES, [one.after or one.before for one in judged])
    for chunk in sorted((folder / "episodes").iterdir()):
        chunk.unlink()
    entries = [
        entry.model_copy(update={"grader": grader_hash(environment_class(entry.place))})
        for entry in suite.environments
    ]
    updated = suite.model_copy(update={"environments": tuple(entries)})
    identity = stored_identity(folder)
    write_whole(folder / "suite.lock.json", updated.to_json().encode())
    record = {**asdict(identity), "suite": updated.digest}
    write_whole(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())
