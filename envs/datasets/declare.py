"""Make an environment of a data set: from the hub, or from files in the same schema."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofgym.envs.datasets.formats import FORMATS, Format
from proofgym.envs.datasets.read import SUFFIXES, Row, file_rows, hub_rows
from proofgym.envs.env import Env
from proofgym.envs.errors import DataError, EnvError
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import Split
from proofgym.envs.tasks.rows import Listed
from proofgym.verifiers import Secret, Task

FOLDER = Path("data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Where a data set is on the hub.

    Args:
        id: ``owner/name``.
        configs: its parts that are read, one after the other; None is the only one.
        train, heldout: the names of its splits; empty where it has none.
    """

    id: str
    configs: tuple[str | None, ...] = (None,)
    train: str = ""
    heldout: str = ""

    def name(self, split: Split) -> str:
        """The hub's name of a split."""
        return self.train if split is Split.TRAIN else self.heldout


def data_environment(
    id: str,
    format: str,
    *,
    hub: Hub | None = None,
    train: str | Path | None = None,
    heldout: str | Path | None = None,
    about: str = "",
    module: str | None = None,
) -> type[Env]:
    """Declare an environment over a data set in one of the known schemas.

    Files that are given are read; otherwise ``data/SUITE/NAME/train.jsonl`` (or ``.parquet``) and
    ``heldout.jsonl`` in the working directory, where one is there; otherwise the hub.

    Args:
        id: such as ``mine/gsm8k-v0``.
        format: one of :data:`FORMATS`.
        hub: where it is on the hub.
        train, heldout: JSONL or parquet files of the two splits.
        about: one line.
        module: where the class is declared, for ``module:Class``.

    Raises:
        EnvError: the format is unknown.
        DataError: later, when the first task is asked for: the data is not there or malformed.
    """
    if format not in FORMATS:
        raise EnvError(f"expected a format of {', '.join(FORMATS)}, got {format!r}.")
    files = {Split.TRAIN: train, Split.HELDOUT: heldout}
    given = {split: Path(path) for split, path in files.items() if path is not None}
    loader = _Loader(id=id, format=FORMATS[format], hub=hub, files=given)
    name = id.partition("/")[2].replace("-", "_").replace(".", "_")
    body: dict[str, Any] = {
        "__doc__": about or f"Rows in the schema of {format}.",
        "__module__": module or __name__,
        "system": FORMATS[format].system,
        "tasks": Listed(load=lambda folder: tuple(loader.tasks(folder)), heldout=_is_heldout),
        "rubric": FORMATS[format].rubric(),
        "limits": Limits(turns=1, tool_calls=0, tokens=8192, seconds=600),
        "oracle": None if format in ("ifeval", "livecodebench") else staticmethod(_solve),
    }
    metaclass: Any = type(Env)
    made: type[Env] = metaclass(name, (Env,), body, id=id)
    return made


def _is_heldout(task: Task) -> bool:
    return bool(task.data["split"] == Split.HELDOUT.value)


def _solve(task: Task) -> str:
    solution = str(task.hidden["solution"].reveal())
    if not solution:
        raise EnvError(f"the row of task {task.id!r} has no solution for the oracle to say.")
    return solution


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loader:
    """Find a data set's rows, and make tasks of them."""

    id: str
    format: Format
    hub: Hub | None
    files: Mapping[Split, Path]

    def tasks(self, folder: Path | None) -> Iterator[Task]:
        """Make every task of both splits, the split's name in its data."""
        for split in Split:
            for number, (place, row) in enumerate(self._rows(split)):
                yield self._task(split, number, place, row)

    def _rows(self, split: Split) -> Iterator[tuple[str, Row]]:
        if self.files:
            return file_rows(self.files[split]) if split in self.files else iter(())
        local = [self._folder / f"{split.value}{suffix}" for suffix in SUFFIXES]
        found = next((path for path in local if path.is_file()), None)
        if found is not None:
            return file_rows(found)
        beside = any(path.suffix in SUFFIXES for path in self._folder.glob("*"))
        if beside:  # the user's own files, and none of this split
            return iter(())
        return self._from_hub(split)

    @property
    def _folder(self) -> Path:
        return FOLDER / self.id.rpartition("-v")[0]

    def _from_hub(self, split: Split) -> Iterator[tuple[str, Row]]:
        if self.hub is None:
            raise DataError(f"{self.id}: expected its files, got none. {self._what_to_do()}")
        name = self.hub.name(split)
        for config in self.hub.configs if name else ():
            try:
                yield from hub_rows(self.hub.id, config, name)
            except DataError as error:
                raise DataError(
                    f"{self.id}: expected the data set {self.hub.id} of the hub, but {error}. "
                    f"{self._what_to_do()}"
                ) from error

    def _what_to_do(self) -> str:
        splits = [s.value for s in Split if self.hub is None or self.hub.name(s)]
        places = " and ".join(f"{self._folder}/{name}.jsonl (or .parquet)" for name in splits)
        online = "Install 'proofgym[train]' and connect, or put" if self.hub else "Put"
        return (
            f"{online} its rows at {places} in {Path.cwd()}, with the columns "
            f"{', '.join(self.format.columns)}."
        )

    def _task(self, split: Split, number: int, place: str, row: Row) -> Task:
        try:
            parts = self.format.parts(row)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            wanted = ", ".join(self.format.columns)
            told = f"no column {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{place}: expected a row with {wanted}, got {', '.join(row)}: {told}."
            ) from error
        return Task(
            id=f"{split.value}-{number}",
            prompt=parts.prompt,
            answer=Secret(parts.answer),
            hidden={"solution": Secret(parts.solution)},
            data={"split": split.value},
            difficulty=parts.difficulty,
        )
