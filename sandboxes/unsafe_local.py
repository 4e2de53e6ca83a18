"""The unsafe-local backend: programs run as you. For code that you would run yourself."""

from __future__ import annotations

import contextlib
import os
import sys

from proofgym.sandboxes.agent_sandbox import AgentSandbox, Enforcement, NoMeter
from proofgym.sandboxes.errors import SandboxClosed, SandboxUnavailable
from proofgym.sandboxes.folder_agent import FolderAgent
from proofgym.sandboxes.ns.runtime_view import runtime_view
from proofgym.sandboxes.protocol import Isolation, Limits, Network

NOT_ENFORCED = (
    "everything: a program has your user's rights, files, network and secrets on disk, and can "
    "signal and read your processes",
    "a count of processes",
    "memory, CPU and disk between two samples (50 ms apart), each by killing what can be found",
)


class UnsafeLocalBackend:
    """Plain processes with the host's own Python and packages; limits are a courtesy.

    Its clocks, samples and output caps stop a program that went wrong, not one that means harm.
    """

    def __init__(self, *, i_trust_this_code: bool) -> None:
        """Take the word of trust.

        Raises:
            SandboxUnavailable: it was not given.
        """
        if i_trust_this_code is not True:
            raise SandboxUnavailable(
                "unsafe-local isolates nothing, so it needs i_trust_this_code=True. Give it only "
                "for code that you would run yourself; for a model's code use ns, landlock or "
                "docker."
            )
        self._live: set[AgentSandbox] = set()
        self._closed = False
        self._isolation = Isolation(
            backend="unsafe-local",
            tier="none",
            network=Network.HOST,
            enforced_by={
                "wall": "agent clock", "cpu": "sampled", "memory": "sampled and rlimit",
                "disk": "sampled", "inodes": "sampled", "open_files": "rlimit",
                "output": "agent",
            },
            not_enforced=NOT_ENFORCED,
        )  # fmt: skip

    @property
    def isolation(self) -> Isolation:
        """Say what holds here: nothing that a program means to break."""
        return self._isolation

    async def start(self) -> None:
        """Try it once.

        Raises:
            SandboxUnavailable: a first program went wrong.
        """
        async with await self.create(Limits()) as sandbox:
            result = await sandbox.python("print(6 * 7)")
        if result.stdout != "42\n":
            raise SandboxUnavailable(f"unsafe-local: a first program went wrong: {result.stderr}")

    async def create(self, limits: Limits) -> AgentSandbox:
        """Start an agent with a folder of its own."""
        if self._closed:
            raise SandboxClosed("the unsafe-local backend is closed; make a new one.")
        path = [os.path.abspath(place) for place in sys.path if place]
        agent = FolderAgent("unsafe-local", sys.executable, path)
        view = runtime_view()
        folder = os.path.dirname(os.path.abspath(sys.executable))
        environment = {**view.environment, "PATH": f"{folder}:{view.environment['PATH']}"}
        await agent.start(limits, environment, confinement=None)

        async def close() -> None:
            await agent.close()
            self._live.discard(sandbox)

        sandbox = AgentSandbox(
            agent.client, isolation=self._isolation, limits=limits,
            enforcement=Enforcement(sample_memory=True, processes_by_rlimit=False),
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
