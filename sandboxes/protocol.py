"""The sandbox protocol: what every backend offers, and the values that cross it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self, runtime_checkable


class Status(StrEnum):
    """How a program ended. All are data; only INFRA_ERROR says nothing about the program."""

    OK = "ok"
    EXITED = "exited"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    PIDS = "pids"
    OUTPUT_LIMIT = "output_limit"
    KILLED = "killed"
    INFRA_ERROR = "infra_error"


class Network(StrEnum):
    """What a program can reach. LOOPBACK is the sandbox's own; HOST is all that the host can."""

    NONE = "none"
    LOOPBACK = "loopback"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one run, each on the whole process tree.

    `disk_mib` and `inodes` belong to the sandbox and are fixed when it is made; the others may
    change from run to run. `cpu_s` None means no bound other than the wall clock.
    """

    wall_s: float = 10.0
    cpu_s: float | None = None
    memory_mib: int = 512
    processes: int = 64
    open_files: int = 256
    disk_mib: int = 64
    inodes: int = 10_000
    output_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        """Refuse limits that limit nothing or allow nothing."""
        for name in ("wall_s", "memory_mib", "processes", "open_files", "disk_mib", "inodes"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"Limits.{name} must be above 0, got {getattr(self, name)}. "
                    "Leave it out to get the default."
                )
        if self.output_bytes < 0 or (self.cpu_s is not None and self.cpu_s <= 0):
            raise ValueError(
                f"Limits.output_bytes must be at least 0 and cpu_s above 0 or None, got "
                f"{self.output_bytes} and {self.cpu_s}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run cost. `max_rss_mib` is of its largest process; `queue_s` the wait for a slot."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    max_rss_mib: float = 0.0
    queue_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Facts about what holds here, measured when the backend started; recorded with the run.

    Attributes:
        enforced_by: limit name -> mechanism ("cgroup", "rlimit", "sampled", "tmpfs", ...).
        not_enforced: limits and properties that this backend does not hold here, in words.
        properties: words that `require=` can ask for: cgroup-memory, gvisor, vm, pid-namespace.
    """

    backend: str
    tier: str
    kernel: str = "shared"
    network: Network = Network.NONE
    enforced_by: Mapping[str, str] = field(default_factory=dict)
    not_enforced: tuple[str, ...] = ()
    properties: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, object]:
        """Return plain JSON values, for the record of a run."""
        return {
            "backend": self.backend, "tier": self.tier, "kernel": self.kernel,
            "network": self.network.value, "enforced_by": dict(self.enforced_by),
            "not_enforced": list(self.not_enforced), "properties": sorted(self.properties),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a program did.

    Attributes:
        exit_code: None when a signal ended it or it never ran.
        enforced_by: the mechanism that ended it, when a limit did ("cgroup", "agent clock", ...).
        state_lost: an interpreter or shell had to be restarted, so its variables are gone.
        detail: one sentence for people; for INFRA_ERROR, what failed.
    """

    status: Status
    exit_code: int | None = None
    signal: int | None = None
    stdout_bytes: bytes = b""
    stderr_bytes: bytes = b""
    usage: Usage = Usage()
    enforced_by: str = ""
    state_lost: bool = False
    detail: str = ""

    @property
    def stdout(self) -> str:
        """Decode standard output as UTF-8; bytes that are not become U+FFFD."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """Decode standard error as UTF-8; bytes that are not become U+FFFD."""
        return self.stderr_bytes.decode(errors="replace")

    @property
    def ok(self) -> bool:
        """Tell whether the program ended by itself with exit code 0."""
        return self.status is Status.OK

    @property
    def truncated(self) -> bool:
        """Tell whether output was cut at `Limits.output_bytes`."""
        return self.status is Status.OUTPUT_LIMIT


class FileKind(StrEnum):
    """What a directory entry is. Links are never followed."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One entry of a directory inside a sandbox."""

    name: str
    kind: FileKind
    size: int
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The files of a sandbox's workspace at one moment: a tar made inside, opaque to the host."""

    archive: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Return the archive's length in bytes."""
        return len(self.archive)


class Interpreter(Protocol):
    """A program that keeps its state between calls: a shell or a Python session."""

    async def run(self, text: str, *, limits: Limits | None = None) -> Result:
        """Run one command or cell; wall clock and output limits count from its start."""
        ...

    async def close(self) -> None:
        """End it and what it started."""
        ...


Shell = Interpreter
PythonSession = Interpreter


@runtime_checkable
class Sandbox(Protocol):
    """One workspace, its processes and nothing else of the machine.

    Paths are those inside; relative ones start in the workspace. Every method raises
    `SandboxLost`, `SandboxTimeout` or `SandboxClosed` for our own failures only.
    """

    @property
    def id(self) -> str:
        """Name it in logs."""
        ...

    @property
    def isolation(self) -> Isolation:
        """Say what holds here."""
        ...

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limits: Limits | None = None,
    ) -> Result:
        """Run a program; a string goes to the shell. `env` is added to a minimal environment."""
        ...

    async def python(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source in a fresh fork of a warm interpreter; only files persist."""
        ...

    async def shell(self) -> Shell:
        """Start a shell that keeps its directory, variables and functions between calls."""
        ...

    async def python_session(self) -> PythonSession:
        """Start a Python interpreter that keeps its variables between cells.

        A cell's last expression is shown. An exception, `exit()` and a timed-out cell leave the
        variables; a cell that cannot be interrupted costs them (`Result.state_lost`).
        """
        ...

    async def read(self, path: str, *, max_bytes: int = 16 << 20) -> bytes:
        """Read a regular file; links, fifos, devices and larger files raise SandboxFileError."""
        ...

    async def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a regular file, making its parent folders; a link in its place is refused."""
        ...

    async def list_files(self, path: str = ".") -> list[FileEntry]:
        """List a folder, sorted by name, at most 10,000 entries."""
        ...

    async def upload(self, files: Mapping[str, bytes]) -> None:
        """Write many small files in one call."""
        ...

    async def snapshot(self) -> Snapshot:
        """Copy the workspace's files out; running processes are not part of it."""
        ...

    async def restore(self, snapshot: Snapshot) -> None:
        """Replace the workspace's files by the snapshot's."""
        ...

    async def fork(self, n: int = 1) -> list[Self]:
        """Make n sandboxes with a copy of this one's workspace files."""
        ...

    async def close(self) -> None:
        """Kill every process inside and delete every file. Closing twice is fine."""
        ...

    async def __aenter__(self) -> Self:
        """Return itself."""
        ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        ...


class Backend(Protocol):
    """Makes sandboxes of one kind; a pool sits on top."""

    @property
    def isolation(self) -> Isolation:
        """Say what holds here; valid after `start`."""
        ...

    async def start(self) -> None:
        """Prepare, or raise SandboxUnavailable with the reason and the remedy."""
        ...

    async def create(self, limits: Limits) -> Sandbox:
        """Make one sandbox; its disk and inode limits are fixed here."""
        ...

    async def close(self) -> None:
        """Close every sandbox made here and leave nothing behind."""
        ...
