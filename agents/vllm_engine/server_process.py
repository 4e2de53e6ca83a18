"""A vLLM server as a child process: started, watched, and ended with everything it started."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.client import ServerClient
from proofgym.agents.vllm_engine.launch import LaunchPlan

logger = logging.getLogger(__name__)

_POLL_S = 0.2
_GRACE_S = 10.0
_TAIL_LINES = 25


class ServerProcess:
    """One server's process group.

    The server ends when this process does, whatever ended it: it holds the reading end of a
    pipe whose writing end is ours.

    Args:
        plan: how to start it.
        log: where its output goes; appended to.
    """

    def __init__(self, plan: LaunchPlan, log: Path) -> None:
        self._log = log
        self._output: IO[bytes] = log.open("ab")
        self._offset = self._output.tell()
        self._process = subprocess.Popen(
            plan.command,
            env=dict(plan.environment),
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        logger.info("started a vLLM server, process %d; its output: %s", self.pid, log)

    @property
    def pid(self) -> int:
        """Of the server, which leads its process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    async def ready(self, client: ServerClient, seconds: float) -> None:
        """Wait until the server is healthy.

        Raises:
            EngineError: it ended, or the deadline passed; the end of its output is quoted.
        """
        end = time.monotonic() + seconds
        while not await client.healthy():
            if not self.alive:
                code = self._process.returncode
                raise EngineError(
                    f"the vLLM server ended with code {code} in phase 'start'. The end of "
                    f"{self._log}:\n{self.tail()}"
                )
            if time.monotonic() > end:
                raise EngineError(
                    f"phase 'start' of a vLLM server must end within {seconds:g} s, and did not. "
                    f"The end of {self._log}:\n{self.tail()}"
                )
            await asyncio.sleep(_POLL_S)

    def tail(self) -> str:
        """Return the last lines that it wrote; its errors alone where there are some."""
        with self._log.open("rb") as output:
            output.seek(self._offset)
            lines = output.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if "Error" in line]
        return "\n".join((errors or lines)[-_TAIL_LINES:])

    async def stop(self) -> None:
        """End the whole process group: first gently, then by force."""
        self._signal(signal.SIGTERM)
        end = time.monotonic() + _GRACE_S
        while self.alive and time.monotonic() < end:
            await asyncio.sleep(_POLL_S)
        self.kill()

    def kill(self) -> None:
        """End the whole process group at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None, "it was opened as a pipe"
        self._process.stdin.close()
        self._output.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def free_port() -> int:
    """Return a port of the loopback on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
