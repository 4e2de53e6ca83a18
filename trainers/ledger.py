"""What became of every rollout that was ever issued: an append-only record in one sqlite file.

A rollout is issued once, under the next number, and ends exactly once. Rows are only appended;
a resumed run first takes back what lies behind its checkpoint, because it does that again.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from proofgym.agents import Assignment
from proofgym.trainers.errors import LedgerError

_TABLES = """
CREATE TABLE IF NOT EXISTS issued (
    number INTEGER PRIMARY KEY,
    stage TEXT NOT NULL, step INTEGER NOT NULL,
    task TEXT NOT NULL, grp INTEGER NOT NULL, rollout INTEGER NOT NULL,
    UNIQUE (stage, grp, rollout)
) STRICT;
CREATE TABLE IF NOT EXISTS ended (
    place INTEGER PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE REFERENCES issued (number),
    outcome TEXT NOT NULL CHECK (outcome IN ('trained', 'filtered', 'stale', 'fault')),
    step INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
"""


class Outcome(StrEnum):
    """How a rollout ends."""

    TRAINED = "trained"
    FILTERED = "filtered"  # nothing to learn from, or left out by the algorithm
    STALE = "stale"  # too many updates behind when its turn came
    FAULT = "fault"  # unscored, by no fault of the policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """One rollout's end.

    Args:
        group, rollout: which one.
        outcome: what became of it.
        reason: why, in a word or two; empty where it was trained on.
    """

    group: int
    rollout: int
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPosition:
    """How much of the ledger a checkpoint stands behind, in rows of each table."""

    issued: int = 0
    ended: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCounts:
    """A ledger's sums.

    Args:
        issued: all rollouts.
        outcomes: of those that ended.
    """

    issued: int
    outcomes: Mapping[str, int]

    @property
    def open(self) -> int:
        """How many have not ended."""
        return self.issued - sum(self.outcomes.values())

    def __str__(self) -> str:
        ended = " + ".join(f"{count} {name}" for name, count in self.outcomes.items())
        return f"{self.issued} rollouts issued = {ended}" + (
            f" + {self.open} open" if self.open else ""
        )


class Ledger:
    """Append to a run's ledger. What is appended counts once :meth:`commit` returns.

    Args:
        path: the file; made where it is missing.
        position: what a resumed run stands behind. Later rows are taken back.

    Raises:
        LedgerError: the file is damaged, or has fewer rows than the position says.
    """

    def __init__(self, path: Path, position: LedgerPosition) -> None:
        self.path = path
        with _explained(path):
            self._base = sqlite3.connect(path)
            self._base.executescript(_TABLES)
        counts = self._rows("SELECT (SELECT count(*) FROM issued), count(*) FROM ended")[0]
        if counts[0] < position.issued or counts[1] < position.ended:
            raise LedgerError(
                f"expected {path} to have the {position.issued} issued and {position.ended} ended "
                f"rollouts that the last checkpoint stands behind, got {counts[0]} and "
                f"{counts[1]}. Put the file back that belongs to this run, or start another run."
            )
        with _explained(path):
            self._base.execute("DELETE FROM ended WHERE place >= ?", (position.ended,))
            self._base.execute("DELETE FROM issued WHERE number >= ?", (position.issued,))
            self._base.commit()
        self._next = position

    @property
    def position(self) -> LedgerPosition:
        """How many rows there are."""
        return self._next

    def issue(self, stage: str, step: int, assignments: Sequence[Assignment]) -> None:
        """Record rollouts that are about to be played for a step."""
        first = self._next.issued
        rows = [
            (first + index, stage, step, one.task.id, one.group, one.rollout)
            for index, one in enumerate(assignments)
        ]
        self._append("INSERT INTO issued VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._next = LedgerPosition(issued=first + len(rows), ended=self._next.ended)

    def end(self, stage: str, step: int, endings: Iterable[Ending]) -> None:
        """Record what became of rollouts at a step.

        Raises:
            LedgerError: one of them was never issued, or has ended before.
        """
        first = self._next.ended
        rows = [
            (first + index, stage, one.group, one.rollout, one.outcome.value, step, one.reason)
            for index, one in enumerate(endings)
        ]
        self._append(
            "INSERT INTO ended VALUES (?, (SELECT number FROM issued "
            "WHERE stage = ? AND grp = ? AND rollout = ?), ?, ?, ?)",
            rows,
        )
        self._next = LedgerPosition(issued=self._next.issued, ended=first + len(rows))

    def commit(self) -> None:
        """Make what was appended durable."""
        with _explained(self.path):
            self._base.commit()

    def open_groups(self, stage: str) -> list[int]:
        """Return the groups of a stage that have rollouts without an end, oldest first."""
        found = self._rows(
            "SELECT DISTINCT grp FROM issued LEFT JOIN ended USING (number) "
            "WHERE stage = ? AND place IS NULL ORDER BY grp",
            (stage,),
        )
        return [int(group) for (group,) in found]

    def issued_before(self, stage: str, step: int) -> int:
        """Count the rollouts issued up to a step of a stage, those of earlier stages included.

        Batches that are in flight at a checkpoint are issued again when the run goes on.
        """
        ((later,),) = self._rows(
            "SELECT count(*) FROM issued WHERE stage = ? AND step >= ?", (stage, step)
        )
        return self._next.issued - int(later)

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        self._base.close()

    def _append(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            with _explained(self.path):
                self._base.executemany(statement, rows)
        except sqlite3.IntegrityError as error:
            raise LedgerError(
                f"every rollout must be issued once and end once, got a batch of {len(rows)} "
                f"that breaks this ({error}). This is a bug of the loop's: report it."
            ) from None

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with _explained(self.path):
            return list(self._base.execute(query, values))


def count_ledger(path: Path, stage: str | None = None) -> LedgerCounts:
    """Add a ledger up, of one stage or all; every row is read.

    Raises:
        LedgerError: the file is damaged, or an end has no beginning.
    """
    where = "" if stage is None else "WHERE stage = :stage"
    values = {"stage": stage}
    with _explained(path), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        (issued,) = base.execute(f"SELECT count(*) FROM issued {where}", values).fetchone()
        found = dict(
            base.execute(
                "SELECT outcome, count(*) FROM ended JOIN issued USING (number) "
                f"{where} GROUP BY outcome",
                values,
            )
        )
        (lost,) = base.execute(
            "SELECT count(*) FROM ended LEFT JOIN issued USING (number) WHERE stage IS NULL"
        ).fetchone()
    if lost:
        raise LedgerError(f"{path}: {lost} rollouts ended that were never issued.")
    outcomes = {outcome.value: int(found.get(outcome.value, 0)) for outcome in Outcome}
    return LedgerCounts(issued=int(issued), outcomes=outcomes)


def check_ledger(path: Path, stage: str | None = None) -> LedgerCounts:
    """Check that every issued rollout has ended, as it must once a stage has.

    Raises:
        LedgerError: the counts do not add up.
    """
    counts = count_ledger(path, stage)
    if counts.open:
        raise LedgerError(
            f"expected every issued rollout of {stage or 'the run'} to have ended, got {counts} "
            f"in {path}. This is a bug of the loop's: report it."
        )
    return counts


def read_ledger(path: Path) -> list[tuple[object, ...]]:
    """Return every row of both tables, in their order: two equal ledgers give equal lists."""
    with _explained(path), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        issued = list(base.execute("SELECT 'issued', * FROM issued ORDER BY number"))
        return issued + list(base.execute("SELECT 'ended', * FROM ended ORDER BY place"))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        raise LedgerError(
            f"expected to use the ledger at {path}, got {error}. Look whether the disk is full or "
            "the file is damaged; the run goes on from its last checkpoint with the same command."
        ) from error
