"""A slot: one zygote in its namespaces and cgroup, as the host process sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from proofgym.sandboxes import agent as wire
from proofgym.sandboxes.agent_client import AgentClient, Outcome
from proofgym.sandboxes.agent_sandbox import Meter, NoMeter
from proofgym.sandboxes.cgroups import Cgroup, CgroupRoot
from proofgym.sandboxes.errors import (
    SandboxFileError,
    SandboxLost,
    SandboxTimeout,
    SandboxUnavailable,
)
from proofgym.sandboxes.local_wire import WireProtocol, connect
from proofgym.sandboxes.ns.runtime_view import RuntimeView
from proofgym.sandboxes.protocol import Limits

START_DEADLINE_S = 20.0
BOX = 16  # as in zygote.py, which is not imported here
# As root, two host ids that nobody owns: the zygote's and the programs'.
ROOT_ID_BASE = 0x70000000
_SANDBOXES = Path(__file__).resolve().parents[1]
# The package's own __init__ files are not run: the zygote stays small and starts fast.
_BOOT = """
import sys, types
for name, path in (("proofgym", None), ("proofgym.sandboxes", sys.argv[3])):
    module = types.ModuleType(name)
    module.__path__ = [path] if path else []
    sys.modules[name] = module
from proofgym.sandboxes.ns import zygote
zygote.main()
"""


class Slot:
    """Start, use and end one zygote. One job or one box at a time."""

    def __init__(
        self, view: RuntimeView, *, cgroups: CgroupRoot | None, loopback: bool, landlock: bool
    ) -> None:
        self._view = view
        self._loopback, self._landlock = loopback, landlock
        self._cgroup = Cgroup(cgroups) if cgroups is not None else None
        self.meter: Meter = self._cgroup if self._cgroup is not None else NoMeter()
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: WireProtocol | None = None
        self._descriptors: socket.socket | None = None
        self.jobs = 0
        self.broken = False

    @property
    def client(self) -> AgentClient:
        """Return the zygote's wire."""
        assert self._wire is not None
        return self._wire.client

    @property
    def alive(self) -> bool:
        """Tell whether the zygote can still be used."""
        return (
            not self.broken
            and self._wire is not None
            and self._wire.client.lost_because is None
            and self._process is not None
            and self._process.poll() is None
        )

    @property
    def pid(self) -> int:
        """Return the host's child process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Build the slot.

        Raises:
            SandboxUnavailable: the kernel refused a step; the message has which.
            SandboxTimeout: it did not answer.
            SandboxLost: the host has no process, descriptor or memory left for it now.
        """
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await self._start()
        except TimeoutError:
            await self.close()
            raise SandboxTimeout("start", START_DEADLINE_S) from None
        except OSError as error:
            await self.close()
            raise SandboxLost(f"ns: the host could not start a slot: {error}") from None
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            await self._build(ours, theirs)
        except BaseException:
            ours.close()
            theirs.close()
            raise

    async def _build(self, ours: socket.socket, theirs: socket.socket) -> None:
        self._descriptors, their_descriptors = socket.socketpair()
        try:
            passed = (theirs.fileno(), their_descriptors.fileno())
            self._process = subprocess.Popen(
                [self._view.python, "-I", "-S", "-E", "-B", "-X", "utf8", "-c", _BOOT,
                 str(passed[0]), str(passed[1]), str(_SANDBOXES)],
                env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, pass_fds=passed, start_new_session=True,
            )  # fmt: skip
            if self._cgroup is not None:
                self._cgroup.add(self._process.pid)
        finally:
            theirs.close()
            their_descriptors.close()
        ours.setblocking(False)
        await self._send_line(ours, self._config())
        await self._expect(ours, "unshared")
        self._map_ids(self._process.pid)
        await self._send_line(ours, "mapped")
        await self._expect(ours, "ready")
        self._wire = await connect(ours)
        config = {"env": self._view.environment}
        await self.client.configure(config, deadline_s=START_DEADLINE_S)

    def _config(self) -> dict[str, Any]:
        view = self._view
        return {
            "binds": view.binds, "links": view.links, "files": view.files,
            "path": view.search_path, "map_root": os.geteuid() == 0,
            "loopback": self._loopback, "landlock": self._landlock,
            "memfd": self._cgroup is not None,
        }  # fmt: skip

    @staticmethod
    def _map_ids(pid: int) -> None:
        """Write the id maps; only the parent may map ids other than its own."""
        if os.geteuid() == 0:
            ids = f"0 {ROOT_ID_BASE} 1\n1000 {ROOT_ID_BASE + 1} 1"
            maps = {"uid_map": ids, "gid_map": ids}
        else:
            maps = {
                "setgroups": "deny",
                "uid_map": f"1000 {os.geteuid()} 1",
                "gid_map": f"1000 {os.getegid()} 1",
            }
        for name, text in maps.items():
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)

    @staticmethod
    async def _send_line(sock: socket.socket, words: Any) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, json.dumps(words).encode() + b"\n")

    @staticmethod
    async def _expect(sock: socket.socket, phase: str) -> None:
        line = b""
        while not line.endswith(b"\n"):
            piece = await asyncio.get_running_loop().sock_recv(sock, 4096)
            if not piece:
                raise SandboxUnavailable(
                    f"ns: the zygote ended before it was {phase}. It was killed or could not "
                    "start; run `proofgym doctor` for the step that fails."
                )
            line += piece
        words = json.loads(line)
        if words["phase"] != phase:
            raise SandboxUnavailable(f"ns: expected the slot to be {phase}, got {words['error']}.")

    async def run(self, payload: bytes, limits: Limits, deadline_s: float) -> Outcome:
        """Run one program in namespaces of its own."""
        self.jobs += 1
        try:
            return await self.client.call(wire.RUN, payload, deadline_s=deadline_s, phase="exec")
        except BaseException:
            self.broken = True  # cancelled in the middle, stuck or gone: not to be used again
            raise

    async def open_box(self, limits: Limits, source: Box | None = None) -> Box:
        """Start an agent in namespaces of its own, for a sandbox that lasts.

        Args:
            limits: of the box.
            source: whose files it starts with; of this slot or another.

        Raises:
            SandboxFileError: the source's files cannot be copied.
        """
        assert self._descriptors is not None
        self.jobs += 1
        ours, theirs = socket.socketpair()
        carrier, their_carrier = socket.socketpair()
        try:
            passed = [theirs.fileno(), their_carrier.fileno()]
            if source is not None and source.files is not None:
                passed.append(source.files)
            socket.send_fds(self._descriptors, [b"b"], passed)
        finally:
            theirs.close()
            their_carrier.close()
        spec = {"disk_bytes": limits.disk_mib << 20, "inodes": limits.inodes}
        ended = asyncio.ensure_future(
            self.client.call(BOX, json.dumps(spec).encode(), deadline_s=10**9, phase="box")
        )
        box = Box(self, await connect(ours), carrier, ended)
        try:
            await box.configure({"env": self._view.environment})
        except SandboxFileError:  # the slot has no part in it
            await box.close()
            raise
        except BaseException:
            self.broken = True
            await box.close()
            raise
        return box

    async def close(self) -> None:
        """Kill the zygote; its namespaces, and all in them, end with it."""
        self.broken = True
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.abort()
        if self._descriptors is not None:
            self._descriptors.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)
        if self._cgroup is not None:
            await asyncio.to_thread(self._cgroup.remove)


class Box:
    """An agent in a slot: pid 1 of a pid namespace, with a tmpfs of its own."""

    def __init__(
        self,
        slot: Slot,
        protocol: WireProtocol,
        carrier: socket.socket,
        ended: asyncio.Future[Outcome],
    ) -> None:
        self._slot, self._protocol, self._carrier, self._ended = slot, protocol, carrier, ended
        self.files: int | None = None  # a view of the workspace, only ever passed on
        carrier.setblocking(False)
        protocol.client.pass_descriptor = self._pass_descriptor
        # A box that nobody awaits at its end must not warn about the slot's death.
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())

    @property
    def client(self) -> AgentClient:
        """Return the wire to the box's agent."""
        return self._protocol.client

    async def configure(self, config: dict[str, Any]) -> None:
        """Wait until the agent is ready, and take the view of its files."""
        words = await self.client.configure(config, deadline_s=START_DEADLINE_S)
        if "reason" in words:
            raise SandboxFileError(".", words["reason"], words["message"])
        if "error" in words:
            raise SandboxLost(f"ns: a sandbox could not be built: {words['error']}")
        _, fds, _, _ = socket.recv_fds(self._carrier, 1, 1)
        self.files = fds[0] if fds else None

    def _pass_descriptor(self, fd: int) -> None:
        socket.send_fds(self._carrier, [b"d"], [fd])

    async def close(self) -> None:
        """Hang up, which ends the agent and its namespaces, and wait until they are gone."""
        if self._protocol.transport is not None:
            self._protocol.transport.abort()
        self._carrier.close()
        if self.files is not None:
            os.close(self.files)
            self.files = None
        try:
            async with asyncio.timeout(5.0):
                await asyncio.shield(self._ended)
        except (TimeoutError, SandboxLost):
            self._slot.broken = True
