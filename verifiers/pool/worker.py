"""The host's end of the fork server and of one worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from proofgym.verifiers.pool import wire
from proofgym.verifiers.pool.outcome import Outcome, Status

START_S = 60.0  # for the first worker, whose server imports sympy


class ForkServer:
    """Start the fork server on first use, again when it is gone; safe between threads."""

    def __init__(self, *, memory_mib: int, preload: Sequence[str]) -> None:
        self.memory_mib = memory_mib
        self.preload = tuple(preload)
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def worker(self) -> Worker:
        """Fork a worker and wait until it is ready.

        Raises:
            OSError: none could be started; a retry starts a new server.
            EOFError: the new worker died at once.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._send(theirs)
            return Worker(ours)
        except BaseException:
            ours.close()
            raise

    def close(self) -> None:
        """End the server and every worker of it."""
        with self._lock:
            self._stop()

    def _send(self, theirs: socket.socket) -> None:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._control is not None
            try:
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])
            except OSError:
                self._start()
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])

    def _start(self) -> None:
        self._stop()
        self._control, theirs = socket.socketpair()
        with theirs:
            arguments = [str(theirs.fileno()), str(self.memory_mib), *self.preload]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "proofgym.verifiers.pool.fork_server", *arguments],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "PYTHONHASHSEED": "0",  # a job's result is the same in every worker
                },
                start_new_session=True,  # Ctrl-C reaches the host alone
            )

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Worker:
    """One worker process; used by one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.jobs = 0
        connection.settimeout(START_S)
        hello, descriptors, _, _ = socket.recv_fds(connection, 8, 1)
        connection.settimeout(None)
        if len(hello) != 8:
            raise EOFError("the worker died while it started")
        self.pid = int.from_bytes(hello, "big")
        self._pidfd = descriptors[0] if descriptors else None

    def run(self, function: str, arguments: Sequence[Any], limit_s: float) -> Outcome:
        """Run one job; on anything but OK or RAISED the worker is of no further use."""
        started = time.monotonic()
        self.jobs += 1
        try:
            wire.send(self.connection, [function, list(arguments)])
            reply = wire.receive(self.connection, started + limit_s)
        except TimeoutError:
            return Outcome(
                status=Status.TIMEOUT,
                message=f"killed at its limit of {limit_s:g} s",
                seconds=time.monotonic() - started,
            )
        except (OSError, EOFError, ValueError):
            return Outcome(
                status=Status.LOST,
                message="the worker process died during the job",
                seconds=time.monotonic() - started,
            )
        return Outcome(
            status=Status(reply["status"]),
            value=reply.get("value"),
            message=reply.get("message", ""),
            seconds=time.monotonic() - started,
        )

    def kill(self) -> None:
        """End the process now and free its descriptors."""
        with suppress(OSError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self.connection.close()
