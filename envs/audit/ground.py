"""What every probe works on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import islice
from typing import Any

from proofgym.envs.audit.canary import Canary
from proofgym.envs.audit.journal import Journal
from proofgym.envs.audit.play import Play, Voice, play
from proofgym.envs.audit.subject import Subject, subjects
from proofgym.envs.env import Env
from proofgym.envs.errors import DataError
from proofgym.envs.tasks import Split
from proofgym.verifiers import Message, Runs, Task, assistant, tool_call

LISTED_TASKS = 100
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How much is tried of each kind: every check meets an environment, however costly it is.

    Args:
        name: ``wide``, or ``narrow`` where an episode starts processes.
        oracle_tasks: of each split, that the oracle plays.
        known_tasks: whose secrets are searched for, and whose answers are tried on others.
        attacked_tasks: that every text is said to.
        traced_tasks: whose episodes are played again, here and in other processes.
        replayed_tasks: whose episodes are played after others and from snapshots.
        every: of each kind of text, each so-manyth is said.
    """

    name: str
    oracle_tasks: int
    known_tasks: int
    attacked_tasks: int
    traced_tasks: int
    replayed_tasks: int
    every: int


WIDE = Reach(
    name="wide",
    oracle_tasks=12,
    known_tasks=24,
    attacked_tasks=3,
    traced_tasks=3,
    replayed_tasks=2,
    every=1,
)
NARROW = Reach(
    name="narrow",
    oracle_tasks=3,
    known_tasks=6,
    attacked_tasks=1,
    traced_tasks=1,
    replayed_tasks=1,
    every=4,
)
"""Where an episode starts processes, it costs some hundred times as much."""


def reach_of(cls: type[Env]) -> Reach:
    """Return the narrow reach where judging an episode, or each call of a tool, starts programs.

    An interpreter that lives as long as its episode is fast enough for the wide one.
    """
    judged = cls.rubric is not None and cls.rubric.runs is Runs.SANDBOX
    given = any("box" in signature(tool.function).parameters for tool in cls.tools_by_name.values())
    return NARROW if judged or given else WIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """An environment under attack.

    Args:
        cls: its class.
        journal: where what is seen goes.
        canary: what sees text being run.
        subjects: tasks of the training split, with what is known of them.
        reach: how much is tried.
    """

    cls: type[Env]
    journal: Journal
    canary: Canary
    subjects: Sequence[Subject]
    reach: Reach

    @property
    def attacked(self) -> Sequence[Subject]:
        """The tasks that every text is tried on: few, and of different levels where there are."""
        levels = {subject.task.difficulty: subject for subject in reversed(self.subjects)}
        chosen = {subject.task.id: subject for subject in levels.values()}
        most = self.reach.attacked_tasks
        chosen |= {subject.task.id: subject for subject in self.subjects[:most]}
        return list(chosen.values())[:most]

    async def play(self, task: Task, voice: Voice, *, seed: int = 1) -> Play:
        """Play an episode on an instance of its own; every play is held to the declared best.

        One that ends unscored is played again: a verifier has a limit of wall time, and a busy
        machine must not look like an unsound reward. What is the text's doing happens every time.
        """
        for _ in range(TRIES):
            played = await play(self.cls(), task, voice, seed=seed)
            if played.scored or played.broken:
                break
        best = self.cls.bounds(task).best
        over = played.total > best + 1e-9
        told = f"task {task.id!r:.60} paid {played.total:g}, and the declared best is {best:g}"
        self.journal.record("reward.range", told if over else "")
        return played


def ground(cls: type[Env], journal: Journal, canary: Canary) -> Ground:
    """Look at an environment's tasks."""
    reach = reach_of(cls)
    known = subjects(cls, tasks_of(cls, Split.TRAIN, reach.known_tasks))
    return Ground(cls=cls, journal=journal, canary=canary, subjects=known, reach=reach)


def tasks_of(cls: type[Env], split: Split, most: int) -> list[Task]:
    """Return a split's first tasks, at most so many."""
    if cls.tasks is None:
        return []
    count = cls.tasks.count(split)
    wanted = most if count is None else min(most, count)
    try:
        return [cls.tasks.task(split, index) for index in range(wanted)]
    except DataError:
        if split is Split.TRAIN:
            raise
        return []  # nothing is held out


def junk_calls(cls: type[Env], text: str) -> Iterator[Message]:
    """Make a call of every tool, with a text wherever its schema takes one."""
    for tool in cls.tools_by_name.values():
        parameters = tool.signature.schema["function"]["parameters"]
        properties: Mapping[str, Any] = parameters.get("properties", {})
        required = set(parameters.get("required", ()))
        filled = {
            name: _fill(schema, parameters.get("$defs", {}), text)
            for name, schema in properties.items()
            if name in required or schema.get("type") == "string"
        }
        yield assistant("", tool_call(tool.name, **filled))


def stalling(cls: type[Env]) -> Voice:
    """Call tools at every turn and never answer; say nothing sensible where there are none."""
    calls = list(islice(junk_calls(cls, "x"), 1)) or [assistant("", tool_call("no_such_tool"))]
    return lambda _task, _said: calls[0]


def _fill(schema: Mapping[str, Any], definitions: Mapping[str, Any], text: str) -> Any:
    if "$ref" in schema:
        schema = definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return _fill(schema["anyOf"][0], definitions, text)
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    if kind == "boolean":
        return True
    if kind == "array":
        return [_fill(schema.get("items", {}), definitions, text)]
    if kind == "object":
        inner: Mapping[str, Any] = schema.get("properties", {})
        return {name: _fill(value, definitions, text) for name, value in inner.items()}
    return None if kind == "null" else text
