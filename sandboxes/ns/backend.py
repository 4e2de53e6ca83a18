"""The ns backend: hands out boxes in warm slots and runs one-shot programs in them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proofgym.sandboxes.agent_client import GRACE_S, body, result_of
from proofgym.sandboxes.agent_sandbox import (
    AgentSandbox,
    Enforcement,
    check_setup,
    command_argv,
    rlimits,
)
from proofgym.sandboxes.cgroups import CgroupRoot, find_root, sweep
from proofgym.sandboxes.errors import (
    SandboxClosed,
    SandboxError,
    SandboxFileError,
    SandboxLost,
    SandboxUnavailable,
)
from proofgym.sandboxes.janitor import Janitor
from proofgym.sandboxes.kernel import landlock, seccomp
from proofgym.sandboxes.ns.runtime_view import runtime_view
from proofgym.sandboxes.ns.slot import Box, Slot
from proofgym.sandboxes.protocol import Isolation, Limits, Network, Result, Status

JOBS_PER_SLOT = 2000  # a slot is replaced after so many, whatever it may have gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class NsConfig:
    """Choices of the ns backend.

    Attributes:
        packages: folders shown read-only and put on the programs' import path.
        use_cgroups: False leaves memory to sampling, as for an ordinary user.
    """

    network: Network = Network.LOOPBACK
    packages: Sequence[str] = ()
    use_cgroups: bool = True


class NsBackend:
    """Namespaces, seccomp, Landlock, tmpfs and cgroups; see `notes` in the security section."""

    def __init__(self, config: NsConfig | None = None) -> None:
        """Take the configuration; nothing is started yet.

        Raises:
            SandboxUnavailable: it asks for the host's network, which ns does not give.
        """
        self._config = config or NsConfig()
        if self._config.network is Network.HOST:
            raise SandboxUnavailable(
                "ns gives a program no network or a loopback of its own, got network=host. "
                "Use network none or loopback."
            )
        self._idle: list[Slot] = []
        self._starting = asyncio.Semaphore(2 * (os.cpu_count() or 1))
        self._slots: set[Slot] = set()
        self._view = runtime_view(self._config.packages)
        self._cgroups: CgroupRoot | None = None
        self._janitor: Janitor | None = None
        self._landlock = landlock.abi() > 0
        self._started = self._closed = self._proven = False
        self._isolation = Isolation(backend="ns", tier="ns")

    @property
    def isolation(self) -> Isolation:
        """Say what holds here."""
        return self._isolation

    @property
    def enforcement(self) -> Enforcement:
        """Say how limits are divided here."""
        held = self._cgroups is not None
        return Enforcement(sample_memory=not held, processes_by_rlimit=not held)

    async def start(self) -> None:
        """Find cgroups, clean up after dead host processes, and build a first slot."""
        if self._started:
            return
        if not seccomp.supported():
            raise SandboxUnavailable(
                f"ns: there is no system-call table for {os.uname().machine}; "
                "use x86_64 or aarch64, or the docker backend."
            )
        if self._config.use_cgroups:
            self._cgroups = find_root()
        if self._cgroups is not None:
            sweep(self._cgroups)
            self._janitor = Janitor(self._view.python, self._cgroups)
        self._isolation = self._describe()
        self._started = True
        try:
            self._idle.append(await self._new_slot())
        except BaseException:
            await self.close()
            raise

    def _describe(self) -> Isolation:
        held = self._cgroups is not None
        missing = ["kernel bugs and side channels: the kernel is shared"]
        if not held:
            missing.append("memory of the tree between two samples (50 ms apart)")
        if not self._landlock:
            missing.append("Landlock (a second line; namespaces hold without it)")
        return Isolation(
            backend="ns",
            tier="ns+cgroup" if held else "ns",
            network=self._config.network,
            enforced_by={
                "wall": "agent clock",
                "cpu": "rlimit and sampled",
                "memory": "cgroup" if held else "sampled and rlimit",
                "processes": "cgroup" if held else "rlimit in a user namespace",
                "disk": "tmpfs",
                "inodes": "tmpfs",
                "open_files": "rlimit",
                "output": "agent",
                "system_calls": "seccomp allow-list",
            },
            not_enforced=tuple(missing),
            properties=frozenset({"pid-namespace", *(["cgroup-memory"] if held else [])}),
        )

    async def _new_slot(self) -> Slot:
        try:
            slot = Slot(
                self._view,
                cgroups=self._cgroups,
                loopback=self._config.network is Network.LOOPBACK,
                landlock=self._landlock,
            )
        except OSError as error:
            raise SandboxLost(f"ns: the host could not make a cgroup: {error}") from None
        self._slots.add(slot)
        try:
            # A start has a deadline, which 200 at once would pass for want of cores.
            async with self._starting:
                await slot.start()
        except SandboxUnavailable as error:
            self._slots.discard(slot)
            if not self._proven:
                raise
            # It did work here, so it was killed, or the host is full now.
            raise SandboxLost(str(error)) from None
        except BaseException:
            self._slots.discard(slot)
            raise
        self._proven = True
        return slot

    async def warm(self, count: int) -> None:
        """Have this many slots idle."""
        missing = count - len(self._idle)
        if missing > 0:
            self._idle += await asyncio.gather(*(self._new_slot() for _ in range(missing)))

    async def _take(self) -> Slot:
        if self._closed:
            raise SandboxClosed("the ns backend is closed; make a new one.")
        await self.start()
        while self._idle:
            slot = self._idle.pop()
            if slot.alive:
                return slot
            await self._drop(slot)
        return await self._new_slot()

    async def _give_back(self, slot: Slot) -> None:
        if self._closed or not slot.alive or slot.jobs >= JOBS_PER_SLOT:
            await self._drop(slot)
        else:
            self._idle.append(slot)

    async def _drop(self, slot: Slot) -> None:
        self._slots.discard(slot)
        await asyncio.shield(slot.close())

    async def create(self, limits: Limits, source: Box | None = None) -> AgentSandbox:
        """Open a box in a slot of its own, with another box's files if one is given."""
        slot = await self._take()
        try:
            await slot.meter.apply(limits)
            box = await slot.open_box(limits, source)
        except SandboxFileError:
            await self._give_back(slot)
            raise
        except BaseException:
            await self._drop(slot)
            raise

        async def close() -> None:
            await box.close()
            await self._give_back(slot)

        return AgentSandbox(
            box.client, isolation=self._isolation, limits=limits, enforcement=self.enforcement,
            meter=slot.meter, close=close, create=self.create,
            twin=None if box.files is None else lambda: self.create(limits, box),
        )  # fmt: skip

    async def python_once(
        self, code: str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run Python source in namespaces, a file system and an interpreter of its own."""
        text = code.encode(errors="surrogatepass")
        return await self._once({"op": "python"}, limits or Limits(), text=text, stdin=stdin)

    async def exec_once(
        self, command: Sequence[str] | str, *, stdin: bytes = b"", limits: Limits | None = None
    ) -> Result:
        """Run a program in namespaces and a file system of its own."""
        spec = {"op": "exec", "argv": command_argv(command)}
        return await self._once(spec, limits or Limits(), stdin=stdin)

    async def _once(
        self, spec: dict[str, Any], limits: Limits, *, text: bytes = b"", stdin: bytes = b""
    ) -> Result:
        spec["rlimits"] = rlimits(limits, self.enforcement)
        spec |= {"disk_bytes": limits.disk_mib << 20, "inodes": limits.inodes}
        payload = body(
            limits, spec, text=text, stdin=stdin, sample_memory=self.enforcement.sample_memory
        )
        slot = await self._take()
        try:
            await slot.meter.apply(limits)
            before = slot.meter.counts()
            try:
                outcome = await slot.run(payload, limits, limits.wall_s + GRACE_S)
            except SandboxLost:
                if await slot.meter.died_of_memory(before):
                    return Result(status=Status.MEMORY, enforced_by="cgroup")
                raise
            after = slot.meter.counts()
        finally:
            await self._give_back(slot)
        check_setup(outcome)
        if outcome.fields.get("reason") == "pids":
            # The program itself was not forked, so it cannot be its doing.
            raise SandboxLost("ns: the host has no process left for the program")
        return result_of(
            outcome,
            out_of_memory=after.oom_kills > before.oom_kills,
            pids_hit=after.pids_denied > before.pids_denied,
        )

    async def close(self) -> None:
        """End every slot and delete their cgroups."""
        self._closed = True
        self._idle.clear()
        for slot in list(self._slots):
            with contextlib.suppress(SandboxError):
                await self._drop(slot)
        if self._janitor is not None:
            self._janitor.dismiss()
            self._janitor = None
