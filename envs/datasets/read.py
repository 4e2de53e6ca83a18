"""Read a data set's rows from a file, or from the hub through ``datasets``."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proofgym.envs.errors import DataError

Row = Mapping[str, Any]
SUFFIXES = (".jsonl", ".parquet")


def file_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Read a JSONL or parquet file.

    Yields:
        Where a row stands, for errors, and the row.

    Raises:
        DataError: there is no such file, it cannot be read, or it is of another kind.
    """
    if path.suffix not in SUFFIXES and path.suffix != ".json":
        raise DataError(f"expected a file ending in {' or '.join(SUFFIXES)}, got {path}.")
    if not path.is_file():
        raise DataError(f"expected a data file, got no file at {path.absolute()}.")
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: expected a JSON object a line: {error}."
                ) from None
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}:{number}: expected a JSON object, got {type(row).__name__}."
                )
            yield f"{path}:{number}", row


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise DataError(
            f"expected pyarrow to read {path}, got no such package. Run: "
            "pip install 'proofgym[train]', or give the rows as JSONL."
        ) from None
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: expected a parquet file: {error}.") from None
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number}", row


def hub_rows(hub_id: str, config: str | None, split: str) -> Iterator[tuple[str, Row]]:
    """Read one split of a data set of the hub, downloaded or cached.

    Raises:
        DataError: ``datasets`` is not installed, or it cannot get the data.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise DataError("the package datasets is not installed") from None
    try:
        rows = datasets.load_dataset(hub_id, config, split=split)
    except Exception as error:
        told = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.200}"
        raise DataError(f"it could not be loaded: {told}") from error
    for number, row in enumerate(rows, 1):
        yield f"{hub_id} {split}, row {number}", row
