"""Control groups, version 1 or 2, where this process may make them; for slots only."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path

from proofgym.sandboxes.agent_sandbox import Counts
from proofgym.sandboxes.errors import LimitInUse
from proofgym.sandboxes.protocol import Limits

PREFIX = "proofgym"
OVERHEAD_MIB = 24  # the slot's own interpreter, so that a program gets what its limit says
OVERHEAD_PIDS = 8
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupRoot:
    """Where groups can be made: one folder under version 2, one per controller under 1."""

    version: int
    memory: Path
    pids: Path

    def folders(self) -> list[Path]:
        """Return the distinct parents."""
        return [self.memory] if self.memory == self.pids else [self.memory, self.pids]


def _mounts() -> list[tuple[str, str, set[str]]]:
    rows = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            rows.append((kind, place, set(options.split(","))))
    return rows


def find_root() -> CgroupRoot | None:
    """Find groups that we may divide; None where there are none, as for an ordinary user."""
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            own[name] = path.lstrip("/")
    found: dict[str, Path] = {}
    for kind, place, options in _mounts():
        if kind == "cgroup2" and "" in own:
            root = _version_2(Path(place) / own[""])
            if root is not None:
                return root
        for name in {"memory", "pids"} & options & own.keys():
            folder = Path(place) / own[name]
            if folder.is_dir() and os.access(folder, os.W_OK):
                found[name] = folder
    if len(found) == 2:
        return CgroupRoot(version=1, memory=found["memory"], pids=found["pids"])
    return None


def _version_2(folder: Path) -> CgroupRoot | None:
    """Divide our own group; its processes must first move to a leaf of it."""
    try:
        if not {"memory", "pids"} <= set((folder / "cgroup.controllers").read_text().split()):
            return None
        control = folder / "cgroup.subtree_control"
        if not {"memory", "pids"} <= set(control.read_text().split()):
            try:
                control.write_text("+memory +pids")
            except OSError:
                if (folder / "cgroup.procs").read_text().split() != [str(os.getpid())]:
                    return None  # others live here: not ours to move
                leaf = folder / f"{PREFIX}-host"
                leaf.mkdir(exist_ok=True)
                (leaf / "cgroup.procs").write_text(str(os.getpid()))
                control.write_text("+memory +pids")
        if not os.access(folder, os.W_OK):
            return None
        return CgroupRoot(version=2, memory=folder, pids=folder)
    except OSError:
        return None


def _number(fd: int, key: bytes) -> int:
    words = os.pread(fd, 4096, 0).split()
    return int(words[words.index(key) + 1]) if key in words else 0


class Cgroup:
    """One slot's group. Its counters are the only sure sign of an out-of-memory kill."""

    def __init__(self, root: CgroupRoot) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._version = root.version
        self._memory, self._pids = root.memory / self.name, root.pids / self.name
        self._limits: Limits | None = None
        for folder in {self._memory, self._pids}:
            folder.mkdir()
        events = "memory.events" if self._version == 2 else "memory.oom_control"
        # Read twice a run, so they stay open.
        self._killed = os.open(self._memory / events, os.O_RDONLY | os.O_CLOEXEC)
        self._denied = os.open(self._pids / "pids.events", os.O_RDONLY | os.O_CLOEXEC)
        self._open = True

    def add(self, pid: int) -> None:
        """Move a process in; its children follow."""
        for folder in {self._memory, self._pids}:
            (folder / "cgroup.procs").write_text(str(pid))

    async def apply(self, limits: Limits) -> None:
        """Set memory and process limits, on all that runs in the group."""
        if limits == self._limits:
            return
        memory = str((limits.memory_mib + OVERHEAD_MIB) << 20)
        if self._version == 2:
            (self._memory / "memory.max").write_text(memory)
            with contextlib.suppress(OSError):
                (self._memory / "memory.swap.max").write_text("0")
        else:
            try:
                (self._memory / "memory.limit_in_bytes").write_text(memory)
            except OSError as error:
                if error.errno != errno.EBUSY:  # version 2 kills instead
                    raise
                raise LimitInUse(
                    f"Limits.memory_mib={limits.memory_mib} is below what the sandbox holds now, "
                    "its files included. Give the run more, or delete files."
                ) from None
        (self._pids / "pids.max").write_text(str(limits.processes + OVERHEAD_PIDS))
        self._limits = limits

    def counts(self) -> Counts:
        """Read how often the limits bit."""
        if not self._open:
            return Counts()
        return Counts(
            oom_kills=_number(self._killed, b"oom_kill"),
            pids_denied=_number(self._denied, b"max"),
        )

    async def died_of_memory(self, before: Counts) -> bool:
        """Tell by the counter."""
        return self.counts().oom_kills > before.oom_kills

    def remove(self) -> None:
        """Kill what is left and delete the group."""
        if self._open:
            self._open = False
            os.close(self._killed)
            os.close(self._denied)
        deadline = time.monotonic() + 2.0
        for folder in {self._memory, self._pids}:
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        return
                    for pid in (folder / "cgroup.procs").read_text().split():
                        with contextlib.suppress(OSError):
                            os.kill(int(pid), 9)
                    time.sleep(0.002)


def sweep(root: CgroupRoot) -> int:
    """Delete groups of host processes that are gone; return how many."""
    count = 0
    for parent in root.folders():
        for folder in parent.glob(f"{PREFIX}-*-*"):
            pid = folder.name.split("-")[1]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    count += 1
    return count
