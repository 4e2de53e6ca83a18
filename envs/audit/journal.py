"""What an audit's child reports, line by line, so that nothing is lost when it dies."""

import json
import os
import time
from collections.abc import Collection
from typing import Any


class Journal:
    """Write events to a pipe.

    Args:
        descriptor: of the pipe.
        skip: attempts, named without the task's number, not to make: they ended an earlier child.
        until: when the budget ends, on the monotonic clock.
    """

    def __init__(self, descriptor: int, *, skip: Collection[str], until: float) -> None:
        self._descriptor = descriptor
        self._skip = frozenset(skip)
        self._until = until

    @property
    def out_of_time(self) -> bool:
        """Whether the budget has ended."""
        return time.monotonic() >= self._until

    def begin(self, key: str) -> bool:
        """Announce ``check/name/number of the task``; False where it is not to be tried."""
        if key.rpartition("/")[0] in self._skip or self.out_of_time:
            return False
        self._write({"begin": key})
        return True

    def record(self, check: str, evidence: str = "") -> None:
        """Record one attempt: what was seen where the check did not hold, or nothing."""
        self._write({"check": check, "evidence": evidence[:600]})

    def note(self, **facts: Any) -> None:
        """Record facts by name."""
        self._write({"facts": facts})

    def _write(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, default=str).encode("ascii", "backslashreplace") + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]
