"""One writer for metrics: a JSON line for every step and every evaluation."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proofgym.agents.finite_json import finite


class MetricsWriter:
    """Append to ``metrics.jsonl``; a resumed run goes on where its checkpoint stands.

    Args:
        path: the file.
        keep: which lines a resumed run still stands behind; later ones are dropped, because the
            steps that wrote them are taken again.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        lines = path.read_text().splitlines()[:keep] if path.exists() else []
        part = path.with_name(path.name + ".part")
        part.write_text("".join(line + "\n" for line in lines))
        part.replace(path)
        self._file = path.open("a")
        self.lines = len(lines)

    def write(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Append one record, and return it as it will be read: what JSON lacks becomes null."""
        written: dict[str, Any] = finite(record)
        self._file.write(json.dumps(written) + "\n")
        self._file.flush()
        self.lines += 1
        return written

    def close(self) -> None:
        """Put everything on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read all records of a ``metrics.jsonl``; a last line cut by a kill is left out."""
    records: list[dict[str, Any]] = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
