import sqlite3
from pathlib import Path

import pytest

from proofgym.agents import Assignment
from proofgym.trainers.errors import LedgerError
from proofgym.trainers.ledger import (
    Ending,
    Ledger,
    LedgerPosition,
    Outcome,
    check_ledger,
    count_ledger,
    read_ledger,
)
from proofgym.verifiers import Task

ROLLOUTS = 2


def batch(step: int, groups: int = 2) -> list[Assignment]:
    return [
        Assignment(
            task=Task(id=f"t{g}", prompt="p"), seed=0, group=step * groups + g, rollout=rollout
        )
        for g in range(groups)
        for rollout in range(ROLLOUTS)
    ]


def endings(step: int, outcome: Outcome = Outcome.TRAINED) -> list[Ending]:
    return [
        Ending(group=one.group, rollout=one.rollout, outcome=outcome, reason="")
        for one in batch(step)
    ]


def opened(path: Path, position: LedgerPosition | None = None) -> Ledger:
    return Ledger(path / "ledger.sqlite", position or LedgerPosition())


def whole_steps(ledger: Ledger, *steps: int) -> None:
    for step in steps:
        ledger.issue("rl", step, batch(step))
        ledger.end("rl", step, endings(step))
        ledger.commit()


def test_every_rollout_is_counted_once_by_how_it_ended(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    whole_steps(ledger, 0)
    ledger.issue("rl", 1, batch(1))
    ended = [
        Ending(group=2, rollout=0, outcome=Outcome.FAULT, reason="infra_error"),
        Ending(group=2, rollout=1, outcome=Outcome.STALE, reason="late"),
        Ending(group=3, rollout=0, outcome=Outcome.FILTERED, reason="equal rewards"),
    ]
    ledger.end("rl", 1, ended)
    ledger.commit()
    counts = count_ledger(ledger.path)
    assert counts.outcomes == {"trained": 4, "filtered": 1, "stale": 1, "fault": 1}
    assert (counts.issued, counts.open) == (8, 1)
    assert ledger.open_groups("rl") == [3]
    with pytest.raises(LedgerError, match="1 open"):
        check_ledger(ledger.path, "rl")
    ledger.end("rl", 1, [Ending(group=3, rollout=1, outcome=Outcome.TRAINED)])
    ledger.commit()
    assert str(check_ledger(ledger.path)) == (
        "8 rollouts issued = 5 trained + 1 filtered + 1 stale + 1 fault"
    )


@pytest.mark.parametrize(
    "again",
    [
        lambda ledger: ledger.end("rl", 1, endings(0)[:1]),
        lambda ledger: ledger.end("rl", 1, endings(7)),
        lambda ledger: ledger.end("other", 1, endings(0)),
        lambda ledger: ledger.issue("rl", 0, batch(0)),
    ],
    ids=["ends-twice", "never-issued", "another-stage", "issued-twice"],
)
def test_what_would_not_add_up_is_refused(tmp_path: Path, again: object) -> None:
    ledger = opened(tmp_path)
    whole_steps(ledger, 0)
    before = read_ledger(ledger.path)
    with pytest.raises(LedgerError, match="issued once and end once"):
        again(ledger)  # type: ignore[operator]  # a table of lambdas
    ledger.close()
    assert read_ledger(tmp_path / "ledger.sqlite") == before


def test_a_resumed_ledger_is_cut_to_its_position_and_ends_as_if_never_cut(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    unbroken = opened(tmp_path / "one")
    whole_steps(unbroken, 0, 1, 2)
    killed = opened(tmp_path / "other")
    whole_steps(killed, 0)
    position = killed.position
    killed.issue("rl", 1, batch(1))
    killed.end("rl", 1, endings(1, Outcome.FAULT))
    killed.commit()
    killed.close()
    resumed = opened(tmp_path / "other", position)
    assert resumed.position == position
    whole_steps(resumed, 1, 2)
    assert read_ledger(resumed.path) == read_ledger(unbroken.path)


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.issue("rl", 0, batch(0))
    ledger.close()
    assert count_ledger(ledger.path).issued == 0


def test_batches_in_flight_are_not_behind_a_position(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    for step in range(3):
        ledger.issue("rl", step, batch(step))
    assert ledger.issued_before("rl", 1) == 4
    assert ledger.issued_before("rl", 3) == ledger.position.issued == 12


def test_a_ledger_that_lacks_rows_is_refused(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    whole_steps(ledger, 0)
    ledger.close()
    with pytest.raises(LedgerError, match="9 issued and 4 ended"):
        opened(tmp_path, LedgerPosition(issued=9, ended=4))


def test_a_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no data base" * 100)
    with pytest.raises(LedgerError, match="damaged"):
        opened(tmp_path)


def test_an_end_without_a_beginning_is_found(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    whole_steps(ledger, 0)
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as base:
        base.execute("DELETE FROM issued WHERE number = 0")
    with pytest.raises(LedgerError, match="never issued"):
        count_ledger(tmp_path / "ledger.sqlite")
