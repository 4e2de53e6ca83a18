"""The landlock backend: Landlock, seccomp, rlimits and a user id of their own for the programs."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from pathlib import Path

from proofgym.sandboxes.agent_sandbox import AgentSandbox, Enforcement, NoMeter
from proofgym.sandboxes.errors import SandboxClosed, SandboxUnavailable
from proofgym.sandboxes.folder_agent import Confinement, FolderAgent
from proofgym.sandboxes.kernel import landlock, seccomp
from proofgym.sandboxes.ns.runtime_view import runtime_view
from proofgym.sandboxes.protocol import Isolation, Limits, Network

USER_IDS = range(0x70010000, 0x7FFF0000)  # of nobody, as root
GAPS = (
    "no own /tmp and /dev/shm: TMPDIR is in the sandbox's folder, and semaphores of "
    "multiprocessing do not work",
    "no sockets at all, not even loopback",
    "metadata of the host's files (names, sizes, owners) can be seen",
    "memory and disk between two samples (50 ms apart)",
    "kernel bugs and side channels: the kernel is shared",
)


def _for_everyone(path: str) -> bool:
    """Tell whether a user with no rights of its own may read what lies here."""
    place = Path(os.path.realpath(path))
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (place, *place.parents))


def readable_python() -> tuple[str, list[str] | None]:
    """Choose an interpreter that the programs' own user may read, and its import path.

    Ours, unless it lies under a closed home folder; then the system's, with its own path.
    """
    view = runtime_view()
    if os.geteuid() != 0 or _for_everyone(view.search_path[0]):
        return view.python, view.search_path
    other = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if other is None:
        raise SandboxUnavailable(
            f"landlock: {view.python} lies in a folder that others may not read, and there is no "
            "/usr/bin/python3. Install one, or open the folder (chmod o+rx)."
        )
    return other, None


def _own_threads() -> int:
    """Count what RLIMIT_NPROC counts for our user now.

    A program's own limit starts above it. Whatever else the user starts later comes off the
    program's share, so the error is on the safe side.
    """
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == os.geteuid():
                count += len(os.listdir(folder / "task"))
    return count


class LandlockBackend:
    """One agent a sandbox; see `GAPS` for what it does not hold."""

    def __init__(self) -> None:
        self._view = runtime_view()
        self._python: str | None = None
        self._search_path: list[str] | None = None
        self._live: set[AgentSandbox] = set()
        self._closed = False
        self._isolation = Isolation(
            backend="landlock",
            tier="landlock+uid" if os.geteuid() == 0 else "landlock",
            network=Network.NONE,
            enforced_by={
                "wall": "agent clock", "cpu": "rlimit and sampled",
                "memory": "sampled and rlimit", "processes": "rlimit", "disk": "sampled",
                "inodes": "sampled", "open_files": "rlimit", "output": "agent",
                "system_calls": "seccomp allow-list", "files": "landlock",
            },
            not_enforced=GAPS,
        )  # fmt: skip

    @property
    def isolation(self) -> Isolation:
        """Say what holds here."""
        return self._isolation

    async def start(self) -> None:
        """Check that it would hold, then try it.

        Raises:
            SandboxUnavailable: this kernel's Landlock is too old for this user.
        """
        version, root = landlock.abi(), os.geteuid() == 0
        if not seccomp.supported():
            raise SandboxUnavailable(f"landlock: no system-call table for {os.uname().machine}.")
        if version < (3 if root else 6):
            raise SandboxUnavailable(
                f"landlock: needs Landlock version {3 if root else 6} for "
                f"{'root' if root else 'an ordinary user'}, found {version}. Without it a program "
                "could signal or truncate what is not its own; use a newer kernel, root, or ns."
            )
        async with await self.create(Limits()) as sandbox:
            result = await sandbox.python("print(6 * 7)")
        if result.stdout != "42\n":
            raise SandboxUnavailable(f"landlock: a first program went wrong: {result.stderr}")

    async def create(self, limits: Limits) -> AgentSandbox:
        """Start an agent with a folder, and as root a user id, of its own."""
        if self._closed:
            raise SandboxClosed("the landlock backend is closed; make a new one.")
        if self._python is None:
            self._python, self._search_path = readable_python()
        uid = random.SystemRandom().choice(USER_IDS) if os.geteuid() == 0 else None
        agent = FolderAgent("landlock", self._python, self._search_path)
        await agent.start(limits, self._view.environment, Confinement(rules=self._rules(), uid=uid))
        return self._sandbox(agent, limits)

    def _rules(self) -> dict[str, int]:
        rules = {}
        for path in self._view.binds.values():
            rules[path] = landlock.DEVICE if path.startswith("/dev/") else landlock.READ
        for path in self._view.links:
            rules[path] = landlock.READ
        for path in ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/etc/passwd", "/etc/group"):
            rules[path] = landlock.READ_FILE
        return rules

    def _sandbox(self, agent: FolderAgent, limits: Limits) -> AgentSandbox:
        async def close() -> None:
            await agent.close()
            self._live.discard(sandbox)

        base = 0 if os.geteuid() == 0 else _own_threads()
        sandbox = AgentSandbox(
            agent.client, isolation=self._isolation, limits=limits,
            enforcement=Enforcement(sample_memory=True, process_base=base),
            meter=NoMeter(), close=close, create=self.create,
        )  # fmt: skip
        self._live.add(sandbox)
        return sandbox

    async def close(self) -> None:
        """Close every sandbox made here."""
        self._closed = True
        for sandbox in list(self._live):
            with contextlib.suppress(OSError):
                await sandbox.close()
