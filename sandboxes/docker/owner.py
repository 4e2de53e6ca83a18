"""Whose container is it: labels that let a later process delete what a killed one left."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SANDBOX_LABEL = "proofgym.sandbox"
OWNER_LABEL = "proofgym.owner"
IMAGE_LABEL = "proofgym.image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A host process, told apart from every other: also from a later one with its number.

    Attributes:
        boot: of the machine, a random id.
        namespace: of process ids; numbers of another one say nothing here.
        started: in clock ticks since the boot.
    """

    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def this_process(cls) -> Owner:
        """Describe the caller."""
        return cls(
            boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            namespace=os.readlink("/proc/self/ns/pid"),
            pid=os.getpid(),
            started=_started(os.getpid()) or 0,
        )

    def label(self) -> str:
        """Write it as a label's value."""
        return f"{self.boot} {self.namespace} {self.pid} {self.started}"

    @classmethod
    def parse(cls, label: str) -> Owner | None:
        """Read a label's value; None when it is not one of ours."""
        words = label.split(" ")
        if len(words) != 4 or not (words[2].isdigit() and words[3].isdigit()):
            return None
        return cls(boot=words[0], namespace=words[1], pid=int(words[2]), started=int(words[3]))


def _started(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19])


def abandoned(labels: Mapping[str, str], *, ended: bool, me: Owner) -> bool:
    """Tell whether a container's host process is known to be gone.

    Not known, so False, of a process on another machine that shares the daemon, or in another
    pid namespace. A container that has ended and is of another boot is of nobody who lives.
    """
    owner = Owner.parse(labels.get(OWNER_LABEL, ""))
    if owner is None:
        return False
    if owner.boot != me.boot:
        return ended
    return owner.namespace == me.namespace and _started(owner.pid) != owner.started
