"""``proofgym verify``: one verdict, or a file of them."""

import asyncio
import json
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from proofgym.errors import UsageError
from proofgym.verifiers import (
    Runs,
    Score,
    Secret,
    Task,
    Transcript,
    Verifier,
    VerifierError,
    assistant,
    code_passes,
    instruction_following,
)
from proofgym.verifiers.code.program import program_of

BATCH = 16
AHEAD = 4  # batches under way for each core


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One answer to judge; ``id`` is the line's number where the file gives none."""

    id: str | int
    gold: Any
    answer: str


def verify_one(kind: str, gold: str, answer: str) -> int:
    """Print one verdict and return 0, or 1 where there is none."""
    if kind == "code":
        gold, answer = _content(gold), program_of(_content(answer))
    score = _verifier(kind).score(*_posed(Row(id="answer", gold=gold, answer=answer)))
    said = "unscored" if score.value is None else "right" if score.solved else "wrong"
    facts = {"verdict": said, "layer": score.layer, "evidence": _evidence(score)}
    facts["extracted"] = None if kind == "code" else score.extracted
    for name, fact in facts.items():
        if fact is not None:
            sys.stdout.write(f"{name:<10}{fact}\n")
    return int(score.value is None)


def _content(given: str) -> str:
    """Return a file's text where one is named, else what was given."""
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return given


def verify_file(kind: str, file: Path, out: Path | None) -> int:
    """Score a file of rows on all cores; rows that the out file has already are skipped."""
    rows = read_rows(kind, file)
    known = set() if out is None else _resume(out, {row.id for row in rows})
    todo = [row for row in rows if row.id not in known]
    counts = {"right": 0, "wrong": 0, "unscored": 0}
    if out is None:
        _write(kind, todo, sys.stdout, counts)
    else:
        with out.open("a", encoding="utf-8") as target:
            _write(kind, todo, target, counts)
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    skipped = f"; {len(known)} were there already" if known else ""
    sys.stderr.write(f"{len(todo)} rows: {said}{skipped}\n")
    return 0


def read_rows(kind: str, file: Path) -> list[Row]:
    """Read and check every row before any is scored.

    Raises:
        UsageError: a row is malformed, or two have one id; the message names the line.
    """
    rows: list[Row] = []
    lines: dict[str | int, int] = {}
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _READ[kind](_mapping(line), number)
        except ValueError as error:
            raise UsageError(f"{file}, line {number}: {error}") from None
        if row.id in lines:
            raise UsageError(
                f"{file}, line {number}: expected ids to differ, got {row.id!r}, which line "
                f"{lines[row.id]} has too."
            )
        lines[row.id] = number
        rows.append(row)
    return rows


def _mapping(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object, got what is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object, got {type(found).__name__}.")
    return found


def _text(row: Mapping[str, Any], *names: str) -> str:
    value = next((row[name] for name in names if name in row), None)
    if not isinstance(value, str):
        raise ValueError(
            f"expected text under {' or '.join(names)}, got {type(value).__name__}; "
            f"the row has {', '.join(map(str, row)) or 'nothing'}."
        )
    return value


def _id(row: Mapping[str, Any], number: int) -> str | int:
    found = row.get("id", number)
    if not isinstance(found, str | int) or isinstance(found, bool):
        raise ValueError(f"expected text or a whole number under id, got {type(found).__name__}.")
    return found


def _math_row(row: Mapping[str, Any], number: int) -> Row:
    return Row(id=_id(row, number), gold=_text(row, "gold"), answer=_text(row, "pred", "answer"))


def _instruction_row(row: Mapping[str, Any], number: int) -> Row:
    names = ("constraint", "instruction_id_list", "instruction_id")
    if not any(name in row for name in names):
        raise ValueError(
            f"expected instructions under {' or '.join(names)}; the row has "
            f"{', '.join(map(str, row)) or 'nothing'}."
        )
    return Row(id=_id(row, number), gold=row, answer=_text(row, "response", "answer"))


def _code_row(row: Mapping[str, Any], number: int) -> Row:
    if "tests" not in row:
        raise ValueError(
            f"expected tests under tests; the row has {', '.join(map(str, row)) or 'nothing'}."
        )
    if "submission" in row:  # a bare program; an answer is a message that holds one
        return Row(id=_id(row, number), gold=row, answer=_text(row, "submission"))
    return Row(id=_id(row, number), gold=row, answer=program_of(_text(row, "answer")))


_READ: Mapping[str, Callable[[Mapping[str, Any], int], Row]] = {
    "math": _math_row,
    "instruction": _instruction_row,
    "code": _code_row,
}


def _verifier(kind: str) -> Verifier:
    if kind == "instruction":
        return instruction_following()
    if kind == "code":
        return code_passes(extract=str)
    from proofgym.verifiers.math import Grader, MathEqual
    from proofgym.verifiers.pool import WorkerPool

    # every scoring process has its own worker, so there are as many as cores
    return MathEqual(Grader(pool=WorkerPool(size=1)))


def _posed(row: Row) -> tuple[Task, Transcript]:
    task = Task(id=str(row.id), prompt="", answer=Secret(row.gold))
    return task, Transcript(messages=(assistant(row.answer),))


async def _judge_together(verifier: Verifier, rows: Sequence[Row]) -> list[Score]:
    """Judge rows at the same time: programs that sleep or hang must not hold up the others."""
    return await asyncio.gather(*(verifier.ascore(*_posed(row)) for row in rows))


def _evidence(score: Score) -> str:
    if score.error is None:
        return score.evidence
    return f"{score.error.kind.value}: {score.error.message}"


_mine: dict[str, Verifier] = {}


def _end_with_parent() -> None:
    """End this process when the command was killed; its queue would keep it waiting for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _score_batch(kind: str, rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    """Score rows in one of the processes, which keeps its verifier from batch to batch."""
    verifier = _mine.get(kind)
    if verifier is None:
        verifier = _mine[kind] = _verifier(kind)
    if verifier.runs is Runs.SANDBOX:
        scores = asyncio.run(_judge_together(verifier, rows))
    else:
        scores = [verifier.score(*_posed(row)) for row in rows]
    return [_record(row, score) for row, score in zip(rows, scores, strict=True)]


def _record(row: Row, score: Score) -> dict[str, Any]:
    return {
        "id": row.id,
        "value": score.value,
        "layer": score.layer,
        "evidence": _evidence(score),
        "seconds": round(score.seconds, 6),
    }


def _scored(kind: str, rows: list[Row]) -> Iterator[list[dict[str, Any]]]:
    """Score on all cores, in the rows' order, with a bounded number under way."""
    cores = len(os.sched_getaffinity(0))
    waiting = iter(rows)
    context = multiprocessing.get_context("spawn")
    workers = min(cores, max(1, -(-len(rows) // BATCH)))
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_end_with_parent
    ) as processes:
        under_way: deque[Future[list[dict[str, Any]]]] = deque()
        while batch := tuple(islice(waiting, BATCH)):
            under_way.append(processes.submit(_score_batch, kind, batch))
            if len(under_way) >= AHEAD * cores:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _write(kind: str, rows: list[Row], target: TextIO, counts: dict[str, int]) -> None:
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(kind, total=len(rows))
        try:
            for records in _scored(kind, rows):
                for record in records:
                    target.write(json.dumps(record) + "\n")
                    value = record["value"]
                    counts["unscored" if value is None else "right" if value else "wrong"] += 1
                target.flush()
                progress.advance(bar, len(records))
        except BrokenProcessPool:
            raise VerifierError(
                "a scoring process was killed, as when memory runs out. What is in the out file "
                "is complete; give the same command again to go on."
            ) from None


def _resume(out: Path, wanted: set[str | int]) -> set[str | int]:
    """Return the ids that the out file has; cut off a last line that was not finished."""
    if not out.exists():
        return set()
    content = out.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    known: set[str | int] = set()
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            known.add(_id(_mapping(line), 0))
        except ValueError as error:
            raise UsageError(f"--out {out}, line {number}: {error}") from None
    strange = known - wanted
    if strange:
        raise UsageError(
            f"--out {out}: expected rows of the same file, got the id {min(strange, key=str)!r}, "
            "which it does not have. Give another --out."
        )
    if len(whole) < len(content):
        os.truncate(out, len(whole))
    return known
