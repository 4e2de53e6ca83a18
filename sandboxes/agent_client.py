"""The host's side of the agent's wire: channels, deadlines and results, over any byte stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proofgym.sandboxes import agent as wire
from proofgym.sandboxes.errors import SandboxLost, SandboxTimeout
from proofgym.sandboxes.protocol import Limits, Result, Status, Usage

GRACE_S = 5.0  # past a run's own limit the agent itself is held to be dead


@dataclass(slots=True, kw_only=True)
class Outcome:
    """One DONE frame with the output before it."""

    fields: dict[str, Any]
    stdout: bytes
    stderr: bytes


@dataclass(slots=True)
class _Call:
    future: asyncio.Future[Outcome]
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


def body(
    limits: Limits, spec: Mapping[str, Any], *, text: bytes = b"", stdin: bytes = b"",
    sample_memory: bool = False,
) -> bytes:  # fmt: skip
    """Encode a RUN or OPEN body."""
    about = json.dumps({**spec, "text": len(text), "stdin": len(stdin)}).encode()
    size = wire.LENGTH.pack(len(about))
    return b"".join((pack_limits(limits, sample_memory), size, about, text, stdin))


def pack_limits(limits: Limits, sample_memory: bool = False) -> bytes:
    """Encode the limits that the agent itself enforces."""
    memory = limits.memory_mib << 20 if sample_memory else 0
    return wire.LIMITS.pack(limits.wall_s, limits.cpu_s or 0.0, memory, limits.output_bytes)


class AgentClient:
    """Speak to one agent. Bytes arrive by `feed`, leave by `write`; `lost` ends everything."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._calls: dict[int, _Call] = {}
        self._buffer = bytearray()
        self._next_channel = 1
        self.lost_because: str | None = None
        # Sends a descriptor beside the wire, where that is a local socket.
        self.pass_descriptor: Callable[[int], None] | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes that the agent sent, in any pieces."""
        self._buffer += data
        head = wire.HEADER.size
        start = 0
        while len(self._buffer) - start >= head:
            size, kind, channel = wire.HEADER.unpack_from(self._buffer, start)
            if len(self._buffer) - start < head + size:
                break
            payload = bytes(self._buffer[start + head : start + head + size])
            start += head + size
            self._take(kind, channel, payload)
        del self._buffer[:start]

    def _take(self, kind: int, channel: int, payload: bytes) -> None:
        call = self._calls.get(channel)
        if call is None:
            return  # output of an interpreter between two cells, or of a cancelled run
        if kind == wire.STDOUT:
            call.stdout += payload
        elif kind == wire.STDERR:
            call.stderr += payload
        elif not call.future.done():
            fields = json.loads(payload) if payload else {}
            call.future.set_result(
                Outcome(fields=fields, stdout=bytes(call.stdout), stderr=bytes(call.stderr))
            )

    def lost(self, reason: str) -> None:
        """Fail every call that is waiting: the wire is gone."""
        self.lost_because = self.lost_because or reason
        for call in self._calls.values():
            if not call.future.done():
                call.future.set_exception(SandboxLost(self.lost_because))

    def new_channel(self) -> int:
        """Reserve a channel number."""
        self._next_channel += 1
        return self._next_channel

    def send(self, kind: int, channel: int, payload: bytes = b"") -> None:
        """Write a frame that has no answer of its own."""
        if self.lost_because is not None:
            raise SandboxLost(self.lost_because)
        self._write(wire.HEADER.pack(len(payload), kind, channel) + payload)

    async def call(
        self, kind: int, payload: bytes = b"", *, channel: int | None = None,
        deadline_s: float, phase: str, attach: int | None = None,
    ) -> Outcome:  # fmt: skip
        """Send a frame and wait for its answer; a cancelled caller kills the run.

        Args:
            attach: a descriptor for the program to read or write, named in its spec.

        Raises:
            SandboxLost: the wire broke.
            SandboxTimeout: no answer in time: the agent is stuck, so give the sandbox up.
        """
        number = self.new_channel() if channel is None else channel
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._calls[number] = _Call(future)
        try:
            if attach is not None:
                self._attach(attach)
            self.send(kind, number, payload)
            async with asyncio.timeout(deadline_s):
                return await future
        except TimeoutError:
            raise SandboxTimeout(phase, deadline_s) from None
        except asyncio.CancelledError:
            if self.lost_because is None:
                self.send(wire.KILL, number)
            raise
        finally:
            self._calls.pop(number, None)

    def _attach(self, fd: int) -> None:
        assert self.pass_descriptor is not None
        try:
            self.pass_descriptor(fd)
        except OSError as error:
            raise SandboxLost(f"could not pass a descriptor: {error}") from None
        self.send(wire.ATTACH, 0)

    async def configure(self, config: Mapping[str, Any], *, deadline_s: float) -> dict[str, Any]:
        """Send the configuration, wait until the agent is ready, and return what it says."""
        payload = json.dumps(config).encode()
        ready = await self.call(
            wire.CONFIGURE, payload, channel=0, deadline_s=deadline_s, phase="start"
        )
        return ready.fields


REASONS = {
    "wall": (Status.TIMEOUT, "agent clock"),
    "cpu": (Status.TIMEOUT, "sampled cpu"),
    "memory": (Status.MEMORY, "sampled memory"),
    "disk": (Status.KILLED, "sampled disk"),
    "output": (Status.OUTPUT_LIMIT, "agent"),
    "pids": (Status.PIDS, "kernel"),
    "processes": (Status.PIDS, "sampled processes"),
    "cancelled": (Status.KILLED, "caller"),
}
SIGXCPU = 24


def result_of(outcome: Outcome, *, out_of_memory: bool = False, pids_hit: bool = False) -> Result:
    """Translate a DONE frame. The flags are what a cgroup counted meanwhile, if not the agent."""
    done = outcome.fields
    out_of_memory = out_of_memory or done.get("oom_kills", 0) > 0
    pids_hit = pids_hit or done.get("pids_denied", 0) > 0
    code, number = done.get("exit_code"), done.get("signal")
    status, by = REASONS.get(done.get("reason", ""), (None, ""))
    if status is None:
        if out_of_memory:
            status, by = Status.MEMORY, "cgroup"
        elif number == SIGXCPU:
            status, by = Status.TIMEOUT, "rlimit"
        elif number is not None:
            status = Status.KILLED
        elif code == 0:
            status = Status.OK
        else:
            status, by = (Status.PIDS, "cgroup") if pids_hit else (Status.EXITED, "")
    return Result(
        status=status,
        exit_code=code if status in (Status.OK, Status.EXITED, Status.PIDS) else None,
        signal=number,
        stdout_bytes=outcome.stdout,
        stderr_bytes=outcome.stderr,
        usage=Usage(
            wall_s=done.get("wall_s", 0.0),
            cpu_s=done.get("cpu_s", 0.0),
            max_rss_mib=done.get("max_rss_kib", 0) / 1024,
        ),
        enforced_by=by,
        state_lost=bool(done.get("closed", False)),
        detail="gone" if done.get("reason") == "gone" else "",
    )
