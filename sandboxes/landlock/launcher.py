"""The process that a landlock sandbox is made of: an agent whose programs are restricted.

There is no pid namespace, so the agent stays outside of what holds its programs: as root they have
a user id of their own; otherwise Landlock (version 6) keeps their signals in.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import sys
import time
from typing import Any

from proofgym.sandboxes import agent as wire
from proofgym.sandboxes.kernel import calls, landlock, seccomp

# No network namespace: no sockets but pairs. No ipc namespace: nothing of System V or mqueue.
NO_NAMESPACES = frozenset(
    {
        "socket", "connect", "bind", "listen", "accept", "accept4", "shmget", "shmat", "shmctl",
        "shmdt", "semget", "semop", "semctl", "semtimedop", "msgget", "msgsnd", "msgrcv", "msgctl",
        "mq_open", "mq_unlink", "inotify_init", "inotify_init1", "inotify_add_watch",
    }
)  # fmt: skip
# The programs share our user id: what acts on others of it, or on our files' attributes, by name.
SAME_USER = frozenset(
    {
        "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat", "utime",
        "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "removexattr",
        "lremovexattr", "fremovexattr", "setpriority", "sched_setparam", "sched_setscheduler",
        "sched_setaffinity", "sched_setattr", "ioprio_set",
    }
)  # fmt: skip
KEPT_CAPABILITIES = (1 << 5) | (1 << 6) | (1 << 7) | (1 << 1)  # kill, setgid, setuid, dac_override


class Launcher:
    """Restricts each program in its child."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.uid: int | None = config["uid"]
        self.folder: str = config["folder"]
        self.rules: dict[str, int] | None = config["rules"]
        self.disk_bytes: int = config["disk_bytes"]
        self.inodes: int = config["inodes"]
        same_user = self.uid is None
        if self.rules is None:
            return
        deny = NO_NAMESPACES | SAME_USER if same_user else NO_NAMESPACES
        self.filter = seccomp.Filter(seccomp.compiled(memfd=False, deny=deny, same_user=same_user))

    def enter(self, spec: dict[str, Any]) -> None:
        """Give everything up but the runtime and the sandbox's own folder."""
        if self.rules is None:
            return  # unsafe-local: the caller vouches for the program
        if self.uid is not None:
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
        calls.drop_capabilities()
        calls.no_new_privileges()
        own = {f"/proc/{os.getpid()}": landlock.READ, self.folder: landlock.READ_WRITE}
        landlock.restrict({**self.rules, **own}, tcp=True)
        self.filter.install()

    def disk_full(self) -> bool:
        """Sum what lies in the folder; stop at the first limit that is passed."""
        size = count = 0
        places = [self.folder]
        while places:
            try:
                with os.scandir(places.pop()) as entries:
                    for entry in entries:
                        about = entry.stat(follow_symlinks=False)
                        size += about.st_blocks * 512
                        count += 1
                        if entry.is_dir(follow_symlinks=False):
                            places.append(entry.path)
                        if size > self.disk_bytes or count > self.inodes:
                            return True
            except OSError:
                continue
        return False

    def end(self) -> None:
        """Kill every process that is left, then delete the folder."""
        if self.uid is not None:
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(OSError):
                    os.setresuid(self.uid, self.uid, self.uid)
                    os.kill(-1, signal.SIGKILL)  # reaches every process of this user, no other
                os._exit(0)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            left = _children()
            if not left:
                break
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            # We are the subreaper: what these leave behind becomes our child next.
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        shutil.rmtree(self.folder, ignore_errors=True)


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def _keep_few_capabilities() -> None:
    low = KEPT_CAPABILITIES
    header = struct.pack("Ii", 0x20080522, 0)
    calls.syscall("capset", calls.NR_CAPSET, header, struct.pack("IIIIII", low, low, 0, 0, 0, 0))


def main() -> None:
    """Serve as told by one json line on the descriptor named."""
    control = socket.socket(fileno=int(sys.argv[1]))
    lines = control.makefile("rb", buffering=0)
    try:
        config = json.loads(lines.readline())
        launcher = Launcher(config)
        if launcher.rules is not None:
            calls.drop_bounding_set()
        if launcher.uid is not None:
            _keep_few_capabilities()
        if config["path"] is not None:
            sys.path[:] = config["path"]
        control.sendall(b'{"phase": "ready"}\n')
    except BaseException as error:  # noqa: BLE001 (told to the host, who raises it)
        control.sendall(json.dumps({"phase": "failed", "error": repr(error)}).encode() + b"\n")
        return
    agent = wire.Agent(control.fileno(), control.fileno())
    agent.enter, agent.disk_full = launcher.enter, launcher.disk_full
    try:
        agent.serve()
    finally:
        launcher.end()
