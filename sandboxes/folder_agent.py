"""An agent in a process and a folder of its own, for the backends that make no namespaces."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from proofgym.sandboxes.agent_client import AgentClient
from proofgym.sandboxes.errors import SandboxLost, SandboxTimeout, SandboxUnavailable
from proofgym.sandboxes.local_wire import WireProtocol, connect
from proofgym.sandboxes.protocol import Limits

START_DEADLINE_S = 20.0
FOLDER = "proofgym-"  # then the backend and the host's process: see leftovers.py
_PACKAGE = Path(__file__).resolve().parent
_BOOT = """
import sys, types
for name, path in (("proofgym", None), ("proofgym.sandboxes", sys.argv[2])):
    module = types.ModuleType(name)
    module.__path__ = [path] if path else []
    sys.modules[name] = module
from proofgym.sandboxes.landlock import launcher
launcher.main()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What the launcher takes from its programs. None of it for `unsafe-local`.

    Attributes:
        rules: path -> Landlock rights.
        uid: a user id of nobody that the programs get; None leaves ours.
    """

    rules: Mapping[str, int]
    uid: int | None


class FolderAgent:
    """One launcher process and its folder. `close` ends what ran there and deletes the folder."""

    def __init__(self, backend: str, python: str, search_path: Sequence[str] | None) -> None:
        self._backend = backend
        self._python = python
        self._search_path = search_path
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._protocol: WireProtocol | None = None

    @property
    def client(self) -> AgentClient:
        """Return the agent's wire."""
        assert self._protocol is not None
        return self._protocol.client

    async def start(
        self, limits: Limits, environment: Mapping[str, str], confinement: Confinement | None
    ) -> None:
        """Start the launcher and configure its agent.

        Raises:
            SandboxUnavailable: the launcher could not do its work.
            SandboxTimeout: it did not answer.
            SandboxLost: the host has no disk, process or descriptor left for it now.
        """
        try:
            await self._start(limits, environment, confinement)
        except OSError as error:
            await self.close()
            raise SandboxLost(f"{self._backend}: the host could not start it: {error}") from None
        except BaseException:
            await self.close()
            raise

    async def _start(
        self, limits: Limits, environment: Mapping[str, str], confinement: Confinement | None
    ) -> None:
        uid = confinement.uid if confinement is not None else None
        self._folder = tempfile.mkdtemp(prefix=f"{FOLDER}{self._backend}-{os.getpid()}-")
        for path in (self._folder, f"{self._folder}/workspace", f"{self._folder}/tmp"):
            os.makedirs(path, exist_ok=True)
            if uid is not None:
                os.chown(path, uid, uid)
        config = {
            "uid": uid, "folder": self._folder, "path": self._search_path,
            "rules": dict(confinement.rules) if confinement is not None else None,
            "disk_bytes": limits.disk_mib << 20, "inodes": limits.inodes,
        }  # fmt: skip
        ours, theirs = socket.socketpair()
        try:
            try:
                self._process = subprocess.Popen(
                    [self._python, "-I", "-S", "-E", "-B", "-X", "utf8", "-c", _BOOT,
                     str(theirs.fileno()), str(_PACKAGE)],
                    env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )  # fmt: skip
            finally:
                theirs.close()
            self._protocol = await self._shake_hands(ours, config, environment)
        except BaseException:
            ours.close()
            raise

    async def _shake_hands(
        self, sock: socket.socket, config: Mapping[str, object], environment: Mapping[str, str]
    ) -> WireProtocol:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await loop.sock_sendall(sock, json.dumps(config).encode() + b"\n")
                answer = await loop.sock_recv(sock, 4096)
        except TimeoutError:
            raise SandboxTimeout("start", START_DEADLINE_S) from None
        words = json.loads(answer) if answer else {"error": "it ended at once"}
        if words.get("phase") != "ready":
            raise SandboxUnavailable(f"{self._backend}: the launcher failed: {words.get('error')}")
        protocol = await connect(sock)
        places = {"HOME": f"{self._folder}/workspace", "TMPDIR": f"{self._folder}/tmp"}
        agent_config = {"env": {**environment, **places}, "workspace": f"{self._folder}/workspace"}
        await protocol.client.configure(agent_config, deadline_s=START_DEADLINE_S)
        return protocol

    async def close(self) -> None:
        """Hang up: the launcher kills its programs and deletes the folder."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abort()
        elif self._process is not None:
            self._process.kill()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, 10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
        if self._folder:
            await asyncio.to_thread(shutil.rmtree, self._folder, True)
