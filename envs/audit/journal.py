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

    Attributes:
        cut: whether an attempt was left out because its time was over.
    """

    def __init__(self, descriptor: int, *, skip: Collection[str], until: float) -> None:
        self._descriptor = descriptor
        self._skip = frozenset(skip)
        self._until = self._share_until = until
        self.cut = False

    def share(self, parts: int) -> None:
        """Give the next probe its part of what is left of the budget, one of so many."""
        now = time.monotonic()
        self._share_until = now + (self._until - now) / parts

    def begin(self, key: str) -> bool:
        """Announce ``check/name/number of the task``; False where it is not to be tried."""
        if time.monotonic() >= self._share_until:
            self.cut = True
            return False
        if key.rpartition("/")[0] in self._skip:
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
