"""A suite: exactly which tasks of which environments are measured, as a file that can be kept."""

import hashlib
import inspect
import json
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proofgym.envs.derive import derive
from proofgym.envs.errors import EnvError
from proofgym.envs.registry import environment_class, list_envs
from proofgym.envs.tasks import Split
from proofgym.verifiers import Task, Verifier
from proofgym.verifiers.verifier import Term

if TYPE_CHECKING:
    from proofgym.envs.env import Env

SCHEMA_VERSION = 1


class SuiteError(EnvError):
    """A suite cannot be made or read, or what it locks has changed. A retry does not help."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LockedTask(_Strict):
    """One task: its id and the hash of its content."""

    id: str
    hash: str


class LockedEnv(_Strict):
    """One environment's part of a suite.

    ``tasks`` are in the order in which they are drawn; an endless source may draw one twice.
    ``place`` is the name that finds the class, which is its id where it is registered. ``grader``
    is a hash of the rubric: its parts, their settings and their code.
    """

    id: str
    place: str
    grader: str
    tasks: Annotated[tuple[LockedTask, ...], Field(min_length=1)]


class Suite(_Strict):
    """Tasks of one or more environments, fixed by their content."""

    schema_version: int = SCHEMA_VERSION
    name: str
    split: Split
    seed: int
    environments: Annotated[tuple[LockedEnv, ...], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """A hash of everything that is measured, 12 hex digits; names and places do not count."""
        parts = [entry.model_dump(mode="json", exclude={"place"}) for entry in self.environments]
        return _short(json.dumps([self.split, self.seed, parts], sort_keys=True))

    def to_json(self) -> str:
        """Write it as a lock file's text."""
        return self.model_dump_json(indent=1) + "\n"


def lock_suite(
    names: Sequence[str], *, tasks: int, split: Split | str = Split.HELDOUT, seed: int = 0
) -> Suite:
    """Draw a suite's tasks and lock them.

    Args:
        names: environment ids (or other names that :func:`environment_class` knows), and names of
            families such as ``math``, which are all registered ids that begin with ``math/``.
        tasks: how many of each environment; a finite source gives each at most once.
        split: where to draw from.
        seed: of the draw.

    Raises:
        SuiteError: a name is no environment and no family, or an environment has no tasks.
    """
    if not names:
        raise SuiteError("expected the name of an environment or of a family, got none.")
    split = Split(split)
    locked = [
        LockedEnv(
            id=cls.id,
            place=place,
            grader=grader_hash(cls),
            tasks=tuple(_locked(task) for task in draw_tasks(cls, tasks, split=split, seed=seed)),
        )
        for place, cls in _classes(names).items()
    ]
    return Suite(name=",".join(names), split=split, seed=seed, environments=tuple(locked))


def read_suite(path: Path) -> Suite:
    """Read a lock file.

    Raises:
        SuiteError: it is not there, or not a lock file of this version.
    """
    try:
        suite = Suite.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SuiteError(f"expected a suite's lock file at {path}, got {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SuiteError(f"{path} is no suite's lock file: {where}: {first['msg']}.") from None
    if suite.schema_version != SCHEMA_VERSION:
        raise SuiteError(
            f"{path}: expected schema version {SCHEMA_VERSION}, got {suite.schema_version}. "
            "Use the proofgym that wrote it, or lock the suite anew."
        )
    return suite


def locked_tasks(suite: Suite) -> dict[str, list[Task]]:
    """Draw a suite's tasks again, and check that they are what was locked.

    Raises:
        SuiteError: a task or a grader differs; the message lists the environments.
    """
    drawn: dict[str, list[Task]] = {}
    changed: list[str] = []
    for entry in suite.environments:
        cls = environment_class(entry.place)
        if grader_hash(cls) != entry.grader:
            changed.append(f"{entry.id}: another grader")
        count = len(entry.tasks)
        tasks = draw_tasks(cls, count, split=suite.split, seed=suite.seed)
        differ = sum(_locked(a) != b for a, b in zip(tasks, entry.tasks, strict=False))
        if differ or len(tasks) != count:
            changed.append(f"{entry.id}: {differ + abs(len(tasks) - count)} of {count} tasks")
        drawn[entry.id] = tasks
    if changed:
        raise SuiteError(
            f"suite {suite.name!r}: expected what was locked, got changes in {'; '.join(changed)}. "
            "Scores would not be comparable: lock the suite anew, or install the version of the "
            "environment that it was locked with."
        )
    return drawn


def draw_tasks(cls: "type[Env]", count: int, *, split: Split | str, seed: int) -> list[Task]:
    """Draw tasks: of an endless source the very ones that a run of this seed measures on.

    Raises:
        SuiteError: the environment has no tasks of its own.
    """
    source, split = cls.tasks, Split(split)
    if source is None:
        raise SuiteError(f"{cls.id} has no tasks of its own, so it cannot be measured.")
    rng = np.random.default_rng(derive(seed, "held-out tasks"))
    number = source.count(split)
    if number is None:
        return [source.sample(split, rng) for _ in range(count)]
    if number == 0:
        raise SuiteError(f"{cls.id} has no {split.value} tasks. Measure its other split.")
    return [source.task(split, int(index)) for index in rng.permutation(number)[:count]]


def grader_hash(cls: "type[Env]") -> str:
    """Hash how an environment judges, 12 hex digits.

    That is its rubric's parts, their settings and the code of their classes and functions; for an
    environment that judges by itself, the code of its class. Modules that a verifier imports are
    not part of it.
    """
    judge = _source(cls) if cls.rubric is None else _fingerprint(cls.rubric)
    return _short(json.dumps([cls.id, judge]))


def _fingerprint(value: object) -> Any:
    """Turn a verifier and its settings into JSON that is equal in every process."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        inner = [_fingerprint(one) for one in value]
        return sorted(inner, key=repr) if isinstance(value, set | frozenset) else inner
    if isinstance(value, Mapping):
        return {str(key): _fingerprint(one) for key, one in value.items()}
    if isinstance(value, types.FunctionType | type):
        return _source(value)
    if isinstance(value, Term):
        return [value.weight, _fingerprint(value.verifier)]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if not isinstance(value, Verifier):
        return kind
    return [kind, _source(type(value)), _fingerprint(dict(sorted(vars(value).items())))]


def _source(thing: "types.FunctionType | type") -> str:
    try:
        return _short(inspect.getsource(thing))
    except (OSError, TypeError):  # a notebook's, or one typed at a prompt
        return thing.__qualname__


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _classes(names: Sequence[str]) -> "dict[str, type[Env]]":
    """Find the classes, by the name that finds each again in another process."""
    known = [entry.id for entry in list_envs()]
    found: dict[str, type[Env]] = {}
    for name in names:
        if "/" in name or ":" in name:
            found[name] = environment_class(name)
            continue
        family = [id for id in known if id.startswith(f"{name}/")]
        if not family:
            families = sorted({id.partition("/")[0] for id in known})
            raise SuiteError(
                f"expected an environment's id or one of the families {', '.join(families)}, got "
                f"{name!r}."
            )
        found |= {id: environment_class(id) for id in family}
    return found


def _locked(task: Task) -> LockedTask:
    return LockedTask(id=task.id, hash=task.content_hash)
