"""A sandbox that is an agent at the end of a wire; every backend but http is one of these."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
import stat
import tarfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from proofgym.sandboxes import agent as wire
from proofgym.sandboxes.agent_client import (
    GRACE_S,
    AgentClient,
    Outcome,
    body,
    pack_limits,
    result_of,
)
from proofgym.sandboxes.archive_file import ArchiveFile
from proofgym.sandboxes.closing import ClosedAfterUse
from proofgym.sandboxes.errors import (
    LimitInUse,
    SandboxClosed,
    SandboxError,
    SandboxFileError,
    SandboxLost,
    SandboxTimeout,
)
from proofgym.sandboxes.protocol import (
    FileEntry,
    FileKind,
    Isolation,
    Limits,
    Result,
    Snapshot,
    Status,
)

logger = logging.getLogger(__name__)

FILE_DEADLINE_S = 30.0
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a cgroup has counted since it was made."""

    oom_kills: int = 0
    pids_denied: int = 0


class Meter(Protocol):
    """Holds limits on the whole sandbox from outside, and counts how often they bit."""

    async def apply(self, limits: Limits) -> None:
        """Set the limits for what runs next."""
        ...

    def counts(self) -> Counts:
        """Read the counters."""
        ...

    async def died_of_memory(self, before: Counts) -> bool:
        """Tell whether the agent, which is gone, fell with its programs for want of memory."""
        ...


class NoMeter:
    """Where nothing outside holds: the agent samples instead."""

    async def apply(self, limits: Limits) -> None:
        """Do nothing."""

    def counts(self) -> Counts:
        """Count nothing."""
        return Counts()

    async def died_of_memory(self, before: Counts) -> bool:
        """Nothing here would know."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """How this backend divides the limits between rlimits, the agent and a cgroup.

    Attributes:
        sample_memory: the agent sums the tree's memory, for want of a memory cgroup.
        processes_by_rlimit: RLIMIT_NPROC counts this sandbox alone (own user namespace or uid).
        process_base: what RLIMIT_NPROC counts besides the sandbox, where the user id is shared.
        queues_by_rlimit: the kernel takes RLIMIT_MSGQUEUE; gVisor's refuses it.
    """

    sample_memory: bool = False
    processes_by_rlimit: bool = True
    process_base: int = 0
    queues_by_rlimit: bool = True


def rlimits(limits: Limits, enforcement: Enforcement) -> dict[str, int]:
    """Translate limits to per-process rlimits, the first and weakest line."""
    values = {
        "CORE": 0,
        "NOFILE": limits.open_files,
        "FSIZE": limits.disk_mib << 20,
        "MEMLOCK": 64 << 10,
    }
    if enforcement.queues_by_rlimit:
        values["MSGQUEUE"] = 64 << 10
    if enforcement.processes_by_rlimit:
        values["NPROC"] = enforcement.process_base + limits.processes
    if enforcement.sample_memory:
        # Threads reserve address space that they never touch: at 1x the limit 5 threads fit.
        values["AS"] = max(limits.memory_mib * 4, 1024) << 20
    if limits.cpu_s is not None:
        values["CPU"] = int(limits.cpu_s) + 1
    return values


def command_argv(command: Sequence[str] | str) -> list[str]:
    """Turn a shell line or an argument list into an argument list."""
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    if not argv:
        raise ValueError("command must name a program, got an empty list.")
    return argv


class AgentSandbox(ClosedAfterUse):
    """A workspace behind an `AgentClient`. Made by backends only."""

    def __init__(
        self,
        client: AgentClient,
        *,
        isolation: Isolation,
        limits: Limits,
        enforcement: Enforcement,
        meter: Meter,
        close: Callable[[], Awaitable[None]],
        create: Callable[[Limits], Awaitable[AgentSandbox]],
        twin: Callable[[], Awaitable[AgentSandbox]] | None = None,
    ) -> None:
        """Take what the backend made.

        Args:
            client: the wire to the agent.
            isolation: what holds.
            limits: of the sandbox as a whole.
            enforcement: how they are divided.
            meter: holds some of them from outside.
            close: ends it.
            create: makes another one, empty.
            twin: makes another one with a copy of these files, where the backend can.
        """
        self._client = client
        self._isolation = isolation
        self.limits = limits
        self._enforcement = enforcement
        self._meter = meter
        self._close = close
        self._create = create
        self._twin = twin
        self._closed = False
        self._id = f"{isolation.backend}-{next(_ids)}"

    @property
    def id(self) -> str:
        """Name it in logs."""
        return self._id

    @property
    def isolation(self) -> Isolation:
        """Say what holds here."""
        return self._isolation

    @property
    def healthy(self) -> bool:
        """Tell whether it can still be used."""
        return not self._closed and self._client.lost_because is None

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limits: Limits | None = None,
    ) -> Result:
        """Run a program."""
        spec = {"op": "exec", "argv": command_argv(command), "env": dict(env or {}), "cwd": cwd}
        return await self._run(spec, limits, stdin=stdin)

    async def python(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source in a fork of the agent's warm interpreter."""
        text = code.encode(errors="surrogatepass")
        return await self._run({"op": "python"}, limits, text=text, stdin=stdin)

    async def shell(self) -> AgentInterpreter:
        """Start a shell."""
        self._check()
        return AgentInterpreter(self, "shell")

    async def python_session(self) -> AgentInterpreter:
        """Start a Python interpreter that stays."""
        self._check()
        return AgentInterpreter(self, "python-session")

    async def read(self, path: str, *, max_bytes: int = 16 << 20) -> bytes:
        """Read a regular file."""
        spec = {"op": "read", "path": path, "max_bytes": max_bytes}
        return (await self._file(spec, path, output=max_bytes + 1)).stdout

    async def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a regular file."""
        await self._file({"op": "write", "path": path, "mode": mode}, path, text=data)

    async def list_files(self, path: str = ".") -> list[FileEntry]:
        """List a folder."""
        outcome = await self._file({"op": "list", "path": path}, path, output=16 << 20)
        return [
            FileEntry(name=name, kind=_kind(mode), size=size, mode=stat.S_IMODE(mode))
            for name, mode, size in json.loads(outcome.stdout)
        ]

    async def upload(self, files: Mapping[str, bytes]) -> None:
        """Write many files: one archive, unpacked inside."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for name, content in files.items():
                item = tarfile.TarInfo(name)
                item.size, item.mode = len(content), 0o644
                archive.addfile(item, io.BytesIO(content))
        await self._file({"op": "unpack"}, "(upload)", text=buffer.getvalue())

    async def snapshot(self) -> Snapshot:
        """Copy the workspace out as one archive."""
        if self._client.pass_descriptor is None:
            spec = {"op": "pack"}
            return Snapshot(archive=(await self._file(spec, ".", output=self._room())).stdout)
        with ArchiveFile() as archive:
            await self._pack(archive)
            return Snapshot(archive=archive.content())

    async def restore(self, snapshot: Snapshot) -> None:
        """Replace the workspace's files."""
        if self._client.pass_descriptor is None:
            await self._file({"op": "unpack", "clear": True}, ".", text=snapshot.archive)
            return
        with ArchiveFile(snapshot.archive) as archive:
            archive.seal()
            await self._unpack(archive)

    def _room(self) -> int:
        return (self.limits.disk_mib << 20) * 2 + self.limits.inodes * 2048

    async def _pack(self, archive: ArchiveFile) -> None:
        """Write the workspace's files to memory of the host's, which nobody can change later."""
        # The archive's pages count as the sandbox's until it is closed, so they come on top.
        limits = self.limits
        await self._meter.apply(replace(limits, memory_mib=limits.memory_mib + limits.disk_mib))
        await self._file({"op": "pack", "attach": 1}, ".", output=self._room(), attach=archive.fd)
        archive.seal()

    async def _unpack(self, archive: ArchiveFile) -> None:
        with archive.reader() as fd:
            await self._file({"op": "unpack", "attach": 0, "clear": True}, ".", attach=fd)

    async def fork(self, n: int = 1) -> list[Self]:
        """Make n sandboxes with the same files and limits.

        Each new one copies the files itself where it can be shown them. Else they are copied
        once out and n times in, beside the start of the new sandboxes; where the wire is a local
        socket they never pass through the host's Python.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        self._check()
        if self._twin is not None:
            if self._client.lost_because is not None:
                raise SandboxLost(self._client.lost_because)
            try:
                return await _all_or_none(self._twin() for _ in range(n))
            except SandboxFileError as error:
                if error.reason not in ("denied", "other"):
                    raise
                logger.debug("could not copy directly, trying an archive: %s", error)
        if self._client.pass_descriptor is None:
            snapshot = await self.snapshot()
            return await self._forks(n, lambda one: one.restore(snapshot))
        with ArchiveFile() as archive:
            packing = asyncio.ensure_future(self._pack(archive))

            async def fill(one: AgentSandbox) -> None:
                await asyncio.shield(packing)
                await one._unpack(archive)

            try:
                return await self._forks(n, fill)
            finally:
                await asyncio.wait([packing])

    async def _forks(self, n: int, fill: Callable[[AgentSandbox], Awaitable[None]]) -> list[Any]:
        async def one() -> AgentSandbox:
            sandbox = await self._create(self.limits)
            try:
                await fill(sandbox)
            except BaseException:
                await sandbox.close()
                raise
            return sandbox

        return await _all_or_none(one() for _ in range(n))

    async def close(self) -> None:
        """Kill every process inside and delete every file."""
        if not self._closed:
            self._closed = True
            await asyncio.shield(self._close())

    # -- shared by programs, files and interpreters -----------------------------------------

    def _check(self) -> None:
        if self._closed:
            raise SandboxClosed(f"sandbox {self.id} is closed; make a new one.")

    def run_limits(self, limits: Limits | None) -> Limits:
        """Take a run's limits; what belongs to the sandbox as a whole stays as it was made."""
        if limits is None:
            return self.limits
        return replace(limits, disk_mib=self.limits.disk_mib, inodes=self.limits.inodes)

    def encode(
        self, spec: dict[str, Any], limits: Limits, *, text: bytes = b"", stdin: bytes = b""
    ) -> bytes:
        """Encode a request with this backend's division of limits."""
        spec["rlimits"] = rlimits(limits, self._enforcement)
        if spec.get("attach") == 1:
            spec["rlimits"]["FSIZE"] = limits.output_bytes
        sampled = self._enforcement.sample_memory
        return body(limits, spec, text=text, stdin=stdin, sample_memory=sampled)

    async def _run(
        self, spec: dict[str, Any], limits: Limits | None, *, text: bytes = b"", stdin: bytes = b""
    ) -> Result:
        chosen = self.run_limits(limits)
        payload = self.encode(spec, chosen, text=text, stdin=stdin)
        return await self.request(wire.RUN, payload, chosen, channel=None)

    async def request(
        self, kind: int, payload: bytes, limits: Limits, *, channel: int | None
    ) -> Result:
        """Send one request under the meter and translate its outcome."""
        self._check()
        try:
            await self._meter.apply(limits)
        except LimitInUse as error:
            return Result(status=Status.MEMORY, enforced_by="cgroup", detail=str(error))
        before = self._meter.counts()
        try:
            outcome = await self._client.call(
                kind, payload, channel=channel, deadline_s=limits.wall_s + GRACE_S, phase="exec"
            )
        except SandboxLost:
            if await self._meter.died_of_memory(before):
                # The sandbox is gone, and it is their doing.
                return Result(status=Status.MEMORY, enforced_by="cgroup", state_lost=True)
            raise
        except SandboxTimeout:
            self._client.lost("the agent stopped answering")
            raise
        after = self._meter.counts()
        check_setup(outcome)
        return result_of(
            outcome,
            out_of_memory=after.oom_kills > before.oom_kills,
            pids_hit=after.pids_denied > before.pids_denied,
        )

    async def _file(
        self, spec: dict[str, Any], path: str, *, text: bytes = b"", output: int = 1 << 20,
        attach: int | None = None,
    ) -> Outcome:  # fmt: skip
        self._check()
        limits = replace(self.limits, wall_s=FILE_DEADLINE_S, cpu_s=None, output_bytes=output)
        outcome = await self._client.call(
            wire.RUN, self.encode(spec, limits, text=text), deadline_s=FILE_DEADLINE_S + GRACE_S,
            phase="file", attach=attach,
        )  # fmt: skip
        check_setup(outcome)
        if outcome.fields.get("exit_code") == 0 and not outcome.fields.get("reason"):
            return outcome
        raise file_error(path, outcome)

    async def open_interpreter(self, kind: str) -> int:
        """Start a shell or interpreter and return its channel."""
        self._check()
        await self._meter.apply(self.limits)
        channel = self._client.new_channel()
        self._client.send(wire.OPEN, channel, self.encode({"op": kind}, self.limits))
        return channel

    def kill_channel(self, channel: int) -> None:
        """Kill what a channel runs."""
        if self.healthy:
            self._client.send(wire.KILL, channel)

    @property
    def samples_memory(self) -> bool:
        """Tell whether the agent samples memory here."""
        return self._enforcement.sample_memory


class AgentInterpreter:
    """A shell or Python session; started with its first command and after it was lost."""

    def __init__(self, sandbox: AgentSandbox, kind: str) -> None:
        self._sandbox = sandbox
        self._kind = kind
        self._channel: int | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def run(self, text: str, *, limits: Limits | None = None) -> Result:
        """Run one command or cell."""
        if self._closed:
            raise SandboxClosed(f"this {self._kind} is closed; open a new one.")
        if "\0" in text and self._kind == "shell":
            raise ValueError("a shell command cannot hold a NUL character; write a file instead.")
        async with self._lock:
            chosen = self._sandbox.run_limits(limits)
            result, restarted = await self._cell(text, chosen), False
            if result.detail == "gone":
                # It ended between two cells, so this one never ran: a fresh one may run it.
                self._channel, restarted = None, True
                result = await self._cell(text, chosen)
            if result.state_lost:
                self._channel = None
            return replace(result, state_lost=True) if restarted else result

    async def _cell(self, text: str, limits: Limits) -> Result:
        if self._channel is None:
            self._channel = await self._sandbox.open_interpreter(self._kind)
        payload = pack_limits(limits, self._sandbox.samples_memory)
        payload += text.encode(errors="surrogatepass")
        try:
            return await self._sandbox.request(wire.CELL, payload, limits, channel=self._channel)
        except asyncio.CancelledError:
            self._channel = None  # killed by the client
            raise

    async def close(self) -> None:
        """End it and what it started."""
        self._closed = True
        if self._channel is not None:
            self._sandbox.kill_channel(self._channel)
            self._channel = None


async def _all_or_none(making: Iterable[Awaitable[AgentSandbox]]) -> list[Any]:
    """Await sandboxes; when one fails, close the others and raise."""
    made = await asyncio.gather(*making, return_exceptions=True)
    failures = [result for result in made if isinstance(result, BaseException)]
    if failures:
        await asyncio.gather(*(x.close() for x in made if isinstance(x, AgentSandbox)))
        raise failures[0]
    return [one for one in made if isinstance(one, AgentSandbox)]


def _kind(mode: int) -> FileKind:
    if stat.S_ISREG(mode):
        return FileKind.FILE
    if stat.S_ISDIR(mode):
        return FileKind.DIRECTORY
    return FileKind.SYMLINK if stat.S_ISLNK(mode) else FileKind.OTHER


def check_setup(outcome: Outcome) -> None:
    """Raise when the agent could not prepare the program: our failure, not the program's."""
    error = outcome.fields.get("setup_error")
    if error:
        raise SandboxLost(f"could not prepare the program: {error}")


def file_error(path: str, outcome: Outcome) -> SandboxError:
    """Translate a refused file request."""
    reason = outcome.fields.get("reason")
    if reason == "output":
        return SandboxFileError(path, "too-large", "more bytes than the request allows")
    if reason:
        return SandboxFileError(path, "other", f"the request was stopped: {reason}")
    try:
        words = json.loads(outcome.stderr)
        return SandboxFileError(path, words["reason"], words["message"])
    except (ValueError, KeyError, TypeError):
        return SandboxFileError(path, "other", outcome.stderr.decode(errors="replace")[-300:])
