"""The docker backend: a container a sandbox, an agent as its first process, one socket to it.

The container's first process is the agent itself, an ordinary user without capabilities, and its
streams are attached before it starts. So nothing inside can signal it (the kernel shields pid 1
from its namespace) or open its memory (it is not dumpable), a tree that forks faster than it can be
killed dies by one sweep of the namespace, and when the host process is killed the daemon closes
the stream, the agent ends, and the container with it. No call starts a `docker exec`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proofgym.sandboxes import agent as agent_program
from proofgym.sandboxes.agent_sandbox import AgentSandbox, Counts, Enforcement
from proofgym.sandboxes.cgroups import OVERHEAD_MIB, OVERHEAD_PIDS
from proofgym.sandboxes.docker.image import CHANGES, default_image, root_file_system
from proofgym.sandboxes.docker.profile import profile
from proofgym.sandboxes.docker.wire import ContainerWire
from proofgym.sandboxes.errors import (
    SandboxClosed,
    SandboxError,
    SandboxLost,
    SandboxTimeout,
    SandboxUnavailable,
)
from proofgym.sandboxes.kernel import seccomp
from proofgym.sandboxes.protocol import Isolation, Limits, Network

if TYPE_CHECKING:
    from proofgym.sandboxes.docker.daemon import Attached, Daemon

logger = logging.getLogger(__name__)

START_DEADLINE_S = 20.0
GVISOR = "runsc"
GVISOR_OVERHEAD_MIB = 128  # its kernel lives in the same control group
GVISOR_OVERHEAD_PIDS = 1024  # threads of its kernel, and what a fork bomb adds between samples
_BOOT = """
import os
def read(count):
    data = b""
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
exec(compile(read(int(read(10))), "agent.py", "exec"), {"__name__": "__main__"})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerConfig:
    """Choices of the docker backend.

    Attributes:
        image: any image with Python 3.9 or later and /bin/sh; empty is one made from this host's
            own Python. Nothing is ever pulled.
        runtime: a runtime that the daemon knows; "runsc" is gVisor, the strong tier.
        host: the daemon's address; empty is docker's own choice (DOCKER_HOST).
        user: whom the programs run as, by number.
        cpus: cores that one sandbox may keep busy; 0 is no limit.
    """

    image: str = ""
    runtime: str = ""
    host: str = ""
    user: str = "1000:1000"
    cpus: float = 1.0


class ContainerMeter:
    """Sets a container's limits through its daemon; the agent inside counts."""

    def __init__(self, daemon: Daemon, container: Attached, limits: Limits) -> None:
        self._daemon, self._container = daemon, container
        self._applied = (limits.memory_mib, limits.processes)

    async def apply(self, limits: Limits) -> None:
        """Ask the daemon when a run's limits differ from those that stand."""
        wanted = (limits.memory_mib, limits.processes)
        if wanted != self._applied:
            memory = (limits.memory_mib + OVERHEAD_MIB) << 20
            pids = limits.processes + OVERHEAD_PIDS
            await self._daemon.update(self._container.id, memory, pids)
            self._applied = wanted

    def counts(self) -> Counts:
        """Nothing can be read from here; each DONE brings what the agent counted."""
        return Counts()

    async def died_of_memory(self, before: Counts) -> bool:
        """Ask the daemon; when it is gone too, memory was not the reason."""
        try:
            return await self._daemon.ran_out_of_memory(self._container.id, self._container.started)
        except SandboxError:
            return False


class GvisorMeter(ContainerMeter):
    """gVisor's limits are fixed when the container is made: it cannot update a running one."""

    async def apply(self, limits: Limits) -> None:
        """Leave what stands; the agent samples each run's memory."""


class DockerBackend:
    """Containers without network or capabilities, under our seccomp profile."""

    def __init__(self, config: DockerConfig | None = None) -> None:
        self.config = config or DockerConfig()
        self._gvisor = self.config.runtime == GVISOR
        self._daemon: Daemon | None = None
        self._image = self.config.image or default_image()
        self._environment: dict[str, str] = {}
        self._cpus = self.config.cpus
        self._live: set[AgentSandbox] = set()
        self._closed = self._ready = False
        self._starting = asyncio.Lock()
        self._source = Path(agent_program.__file__).read_bytes()
        self._profile = ""
        self._isolation = Isolation(backend="docker", tier=self._tier)

    @property
    def _tier(self) -> str:
        return f"docker+{self.config.runtime}" if self.config.runtime else "docker"

    @property
    def isolation(self) -> Isolation:
        """Say what holds here."""
        return self._isolation

    async def start(self) -> None:
        """Find the daemon, the runtime and the image, and run a first program.

        Raises:
            SandboxUnavailable: one of them is missing; the message says which and what helps.
        """
        async with self._starting:
            if not self._ready:
                await self._start()
                self._ready = True

    async def _start(self) -> None:
        if not seccomp.supported():
            raise SandboxUnavailable(f"docker: no system-call table for {os.uname().machine}.")
        self._profile = profile()
        try:
            from proofgym.sandboxes.docker.daemon import Daemon
        except ImportError as error:
            raise SandboxUnavailable(
                f"docker: the Python package is missing ({error}). Install proofgym[docker]."
            ) from None
        self._daemon = await Daemon.connect(self.config.host)
        try:
            await self._prepare(self._daemon)
        except BaseException:
            self._daemon.close()
            self._daemon = None
            raise

    async def _prepare(self, daemon: Daemon) -> None:
        facts = await daemon.facts()
        runtime = self.config.runtime
        if runtime and runtime not in facts.runtimes:
            raise SandboxUnavailable(
                f"docker: the daemon knows no runtime {runtime!r}, only "
                f"{', '.join(sorted(facts.runtimes))}. Install it and add it (`dockerd "
                f"--add-runtime {runtime}=/usr/bin/{runtime}`, or `{runtime} install`)."
            )
        if not facts.seccomp and not self._gvisor:
            raise SandboxUnavailable(
                "docker: this daemon has no seccomp, so every system call would be open. Use one "
                "that has, or ns."
            )
        if not facts.memory or not facts.processes:
            raise SandboxUnavailable(
                "docker: this daemon cannot limit memory or processes (see the warnings of `docker "
                "info`). Give it control groups that have both."
            )
        self._cpus = min(self.config.cpus, facts.cores) if facts.cpu else 0.0
        await daemon.reap()
        environment = await daemon.image_environment(self._image)
        if environment is None and not self.config.image:
            await daemon.import_image(self._image, root_file_system, CHANGES)
            environment = await daemon.image_environment(self._image)
        if environment is None:
            raise SandboxUnavailable(
                f"docker: there is no image {self._image!r} on this daemon, and none is pulled. "
                f"`docker pull {self._image}`, or leave DockerConfig.image empty for one that is "
                "built from this host's own Python."
            )
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **environment,
            "HOME": "/workspace", "TMPDIR": "/tmp", "USER": "sandbox",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        self._isolation = self._describe()
        try:
            async with await self._make(daemon, Limits()) as sandbox:
                result = await sandbox.python("print(6 * 7)")
        except (SandboxLost, SandboxTimeout) as error:
            needs = "The image needs python3 (3.9 or later) and /bin/sh."
            if self._gvisor:
                needs += (
                    ' runsc needs "--network=none" among its runtimeArgs in daemon.json, and '
                    '"--platform=ptrace" where it may not use KVM.'
                )
            raise SandboxUnavailable(
                f"docker: a first container of {self._image} did not work: {error}. {needs}"
            ) from None
        if result.stdout != "42\n":
            raise SandboxUnavailable(f"docker: a first program went wrong: {result.stderr}")

    def _describe(self) -> Isolation:
        missing = [
            "the sum of /workspace, /tmp and /dev/shm: each has the disk limit of its own, and "
            "memory holds them together"
        ]
        properties = {"pid-namespace"}
        if self._gvisor:
            missing.append("memory and processes between two samples (50 ms apart)")
            missing.append("a run's own process limit: its sandbox's holds")
            missing.append("the agent: gVisor lets a program end its own sandbox by signalling it")
            properties.add("gvisor")
        else:
            missing.append("kernel bugs and side channels: the kernel is shared")
            properties.add("cgroup-memory")
        if not self._cpus:
            missing.append("how many cores are kept busy")
        return Isolation(
            backend="docker",
            tier=self._tier,
            kernel="gVisor" if self._gvisor else "shared",
            network=Network.LOOPBACK,
            enforced_by={
                "wall": "agent clock", "cpu": "rlimit and sampled",
                "memory": "cgroup and sampled" if self._gvisor else "cgroup",
                "processes": "sampled" if self._gvisor else "cgroup",
                "disk": "tmpfs", "inodes": "tmpfs", "open_files": "rlimit", "output": "agent",
                "system_calls": "gVisor" if self._gvisor else "seccomp allow-list",
            },
            not_enforced=tuple(missing),
            properties=frozenset(properties),
        )  # fmt: skip

    def _options(self, limits: Limits) -> dict[str, Any]:
        size = f"size={limits.disk_mib << 20},nr_inodes={limits.inodes}"
        owner, _, group = self.config.user.partition(":")
        flags = f"rw,exec,nosuid,nodev,{size},mode=1777,uid={owner},gid={group or owner}"
        overhead_mib = GVISOR_OVERHEAD_MIB if self._gvisor else OVERHEAD_MIB
        overhead_pids = GVISOR_OVERHEAD_PIDS if self._gvisor else OVERHEAD_PIDS
        memory = (limits.memory_mib + overhead_mib) << 20
        return {
            "image": self._image,
            "entrypoint": ["python3", "-I", "-B", "-X", "utf8", "-c", _BOOT],
            "command": [],
            "user": self.config.user,
            "working_dir": "/workspace",
            "hostname": "sandbox",
            "network_mode": "none",
            "ipc_mode": "private",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true", f"seccomp={self._profile}"],
            "read_only": True,
            "tmpfs": dict.fromkeys(("/workspace", "/tmp", "/dev/shm"), flags),
            "mem_limit": memory,
            "memswap_limit": memory,
            "pids_limit": limits.processes + overhead_pids,
            "nano_cpus": int(self._cpus * 1e9) or None,
            "log_config": {"Type": "none"},  # or every byte of the wire goes to a file
            "runtime": self.config.runtime or None,
        }

    async def create(self, limits: Limits) -> AgentSandbox:
        """Start a container of its own.

        Raises:
            SandboxUnavailable: the image is gone.
            SandboxLost: the daemon failed, or the container did; nothing has run yet.
        """
        if self._closed:
            raise SandboxClosed("the docker backend is closed; make a new one.")
        await self.start()
        assert self._daemon is not None
        return await self._make(self._daemon, limits)

    async def _make(self, daemon: Daemon, limits: Limits) -> AgentSandbox:
        name = f"proofgym-{os.getpid()}-{secrets.token_hex(6)}"
        container = await daemon.run(name, self._options(limits))
        try:
            wire = await self._connect(container, limits)
        except BaseException:
            container.wire.close()
            with contextlib.suppress(SandboxError):
                await asyncio.shield(daemon.remove(container.id))
            raise
        return self._sandbox(daemon, name, container, wire, limits)

    async def _connect(self, container: Attached, limits: Limits) -> ContainerWire:
        container.wire.setblocking(False)
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(ContainerWire, sock=container.wire)
        wire.send(b"%010d" % len(self._source) + self._source)
        config: dict[str, Any] = {"env": self._environment, "cgroup": not self._gvisor}
        if self._gvisor:  # its own processes and our programs' are counted together outside
            config["processes"] = limits.processes
        await wire.client.configure(config, deadline_s=START_DEADLINE_S)
        return wire

    def _sandbox(
        self,
        daemon: Daemon,
        name: str,
        container: Attached,
        wire: ContainerWire,
        limits: Limits,
    ) -> AgentSandbox:
        async def close() -> None:
            self._live.discard(sandbox)
            try:
                await daemon.remove(container.id)
            except SandboxError as error:
                # What it ran is done all the same. It ends with its stream; else it is reaped.
                logger.warning("%s; its container %s is left to the daemon", error, name)
            finally:
                if wire.transport is not None:
                    wire.transport.abort()

        meter = (GvisorMeter if self._gvisor else ContainerMeter)(daemon, container, limits)
        sandbox = AgentSandbox(
            wire.client, isolation=self._isolation, limits=limits,
            enforcement=Enforcement(
                sample_memory=self._gvisor, processes_by_rlimit=False,
                queues_by_rlimit=not self._gvisor,
            ),
            meter=meter, close=close, create=self.create,
        )  # fmt: skip
        self._live.add(sandbox)
        return sandbox

    async def close(self) -> None:
        """Remove every container made here."""
        self._closed = True
        try:
            await asyncio.gather(*(sandbox.close() for sandbox in list(self._live)))
        finally:
            if self._daemon is not None:
                self._daemon.close()
                self._daemon = None
