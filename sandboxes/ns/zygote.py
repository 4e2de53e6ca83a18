"""The process that a slot is made of: it builds the namespaces, then forks isolated programs.

Freshly executed with an empty environment by slot.py, so it holds nothing of the host process.
Phases, told to the host over the control socket by one json line each:

    config arrives  ->  open the sources of bind mounts, make the user namespace  ->  "unshared"
    host maps ids, says "mapped"  ->  other namespaces, the root file system  ->  "ready"

Then it serves the agent's wire. RUN starts a program in pid, mount and ipc namespaces and a tmpfs
of its own. BOX starts an agent in such namespaces, for a sandbox that lasts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import struct
import sys
from typing import Any

from proofgym.sandboxes import agent as wire
from proofgym.sandboxes.kernel import calls, landlock, seccomp
from proofgym.sandboxes.ns.tree_copy import Refused, TreeCopy

BOX = 16  # frame kind: json of the box's limits; its wire comes over the descriptor socket
JOB_UID = 1000
NEW_ROOT = "/tmp"
JOB_MOUNT = "/run/job"
WRITABLE = {"workspace": "/workspace", "tmp": "/tmp", "vartmp": "/var/tmp", "shm": "/dev/shm"}
DEVICES = ("null", "zero", "full", "random", "urandom")


class Zygote:
    """A slot's process after its namespaces stand."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.filter = seccomp.Filter(seccomp.compiled(memfd=config["memfd"]))
        self.own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.reaper = 0
        self.boxes: dict[int, int] = {}
        self.agent: wire.Agent

    # -- one isolated program -----------------------------------------------------------------

    def fork(self, spec: dict[str, Any]) -> int:
        """Fork into a new pid namespace whose pid 1 is a reaper that shares our memory."""
        calls.unshare(calls.CLONE_NEWPID)
        pid = -1
        try:
            self.reaper = calls.clone_reaper()
            pid = os.fork()
        finally:
            if pid:  # also when the host has no process left: the next program gets its own
                calls.setns(self.own_pid_namespace, calls.CLONE_NEWPID)
                if pid < 0:
                    self.end_reaper()
        return pid

    def end_reaper(self) -> None:
        """Kill pid 1 of the last program's namespace, and so all that is left in it."""
        if self.reaper:
            os.kill(self.reaper, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.reaper, 0)
        self.reaper = 0

    def enter(self, spec: dict[str, Any]) -> None:
        """Build a program's own file systems, then give everything up."""
        self.mount(spec["disk_bytes"], spec["inodes"])
        self.give_up()
        self.confine()

    def mount(self, disk_bytes: int, inodes: int) -> None:
        """Mount fresh writable places (one tmpfs for all, so one limit holds) and /proc."""
        calls.unshare(calls.CLONE_NEWNS | calls.CLONE_NEWIPC)
        options = f"mode=0755,size={disk_bytes},nr_inodes={inodes}"
        flags = calls.MS_NOSUID | calls.MS_NODEV
        try:
            # Halves the time to write large files; a small one still takes one small page.
            calls.mount("job", JOB_MOUNT, "tmpfs", flags, options + ",huge=within_size")
        except OSError:  # a kernel without huge pages
            calls.mount("job", JOB_MOUNT, "tmpfs", flags, options)
        before = os.umask(0)
        for name, target in WRITABLE.items():
            source = f"{JOB_MOUNT}/{name}"
            os.mkdir(source, 0o777 if name == "workspace" else 0o1777)
            calls.mount(source, target, None, calls.MS_BIND)
        os.umask(before)
        calls.mount("proc", "/proc", "proc", calls.MS_NOSUID | calls.MS_NODEV | calls.MS_NOEXEC)

    def give_up(self) -> None:
        """Become an ordinary user without capabilities."""
        if self.config["map_root"]:
            os.setgroups([])
            os.setresgid(JOB_UID, JOB_UID, JOB_UID)
            os.setresuid(JOB_UID, JOB_UID, JOB_UID)
        calls.drop_capabilities()
        calls.no_new_privileges()

    def confine(self) -> None:
        """Go under Landlock and seccomp."""
        if self.config["landlock"]:
            rules = {"/": landlock.READ, "/dev": landlock.DEVICE | landlock.READ_DIR}
            rules["/proc"] = landlock.READ | landlock.WRITE_FILE
            rules.update(dict.fromkeys(WRITABLE.values(), landlock.READ_WRITE))
            landlock.restrict(rules)
        self.filter.install()

    def roots(self, channel: wire.Channel) -> list[int]:
        """Name the processes whose descendants are the program's tree."""
        return [channel.pid, self.reaper]

    def kill_all(self, channel: wire.Channel) -> bool:
        """End the pid namespace: the kernel kills every process in it."""
        if channel.id in self.boxes:
            os.kill(channel.pid, signal.SIGKILL)
        elif self.reaper:
            os.kill(self.reaper, signal.SIGKILL)
        return True

    def after_exit(self, channel: wire.Channel) -> bool:
        """Wait until no process of the namespace is left."""
        if self.boxes.pop(channel.id, None) is not None:
            return True
        self.end_reaper()
        return True

    # -- a sandbox that lasts -----------------------------------------------------------------

    def request(self, kind: int, channel_id: int, payload: bytes) -> None:
        """Answer BOX: fork an agent that is pid 1 of its own namespaces."""
        if kind != BOX:
            return
        _, fds, _, _ = socket.recv_fds(self.descriptors, 1, 3)
        spec = json.loads(payload)
        calls.unshare(calls.CLONE_NEWPID)
        pid = os.fork()  # when it fails this slot ends, and the host makes another
        if pid == 0:
            self.become_box(fds, spec)
        calls.setns(self.own_pid_namespace, calls.CLONE_NEWPID)
        for fd in fds:
            os.close(fd)
        self.boxes[channel_id] = pid
        # A channel without pipes: its DONE says that the box and all in it are gone.
        self.agent.channels[channel_id] = wire.Channel(channel_id, pid, {}, False)

    def become_box(self, fds: list[int], spec: dict[str, Any]) -> None:
        """Be the agent of a box until it closes.

        Args:
            fds: its wire, what carries descriptors, and maybe another box's files to start with.
            spec: the box's limits.
        """
        code = wire.SETUP_ERROR_EXIT
        try:
            signal.set_wakeup_fd(-1)
            agent = wire.Agent(os.dup2(fds[0], 3), 3)
            agent.descriptors = socket.socket(fileno=os.dup2(fds[1], 4, inheritable=False))
            source = os.dup2(fds[2], 5, inheritable=False) if len(fds) > 2 else -1
            os.closerange(5 if source < 0 else 6, 4096)
            self.mount(spec["disk_bytes"], spec["inodes"])
            offer_files(agent.descriptors)
            self.give_up()
            if source >= 0:
                copy_files(source, spec["disk_bytes"])
            self.confine()
            agent.serve()
            code = 0
        except BaseException as error:  # noqa: BLE001 (told to the host)
            words = {"error": f"{type(error).__name__}: {error}"}
            if isinstance(error, Refused):
                words = {"reason": error.reason, "message": error.message}
            with contextlib.suppress(OSError):
                agent.send(wire.READY, 0, json.dumps(words).encode())
        finally:
            os._exit(code)

    def serve(self, fd: int, descriptors: socket.socket) -> None:
        """Serve until the host goes; as pid 1 of the slot our end is everybody's end."""
        self.descriptors = descriptors
        self.agent = wire.Agent(fd, fd)
        self.agent.fork, self.agent.enter = self.fork, self.enter
        self.agent.roots, self.agent.kill_all = self.roots, self.kill_all
        self.agent.after_exit, self.agent.request = self.after_exit, self.request
        self.agent.serve()


def offer_files(carrier: socket.socket) -> None:
    """Give the host a view of the workspace to hand to this box's forks, and to nobody else."""
    try:
        view = calls.read_only_view(WRITABLE["workspace"])
    except OSError:  # a kernel that refuses it: forks are made through an archive then
        carrier.send(b"-")
        return
    socket.send_fds(carrier, [b"+"], [view])
    os.close(view)


def copy_files(source: int, room: int) -> None:
    """Fill the workspace from another box's view of its own, which no program here will hold."""
    target = os.open(WRITABLE["workspace"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    TreeCopy(room).run(source, target)
    os.close(target)
    os.close(source)


def build_root(config: dict[str, Any], sources: dict[str, int]) -> None:
    """Make the read-only file system that every program of the slot sees."""
    calls.mount(None, "/", None, calls.MS_REC | calls.MS_PRIVATE)
    calls.mount("root", NEW_ROOT, "tmpfs", calls.MS_NOSUID, "mode=0755,size=4m,nr_inodes=4096")
    for path in (JOB_MOUNT, "/proc", "/dev", "/etc", *WRITABLE.values()):
        os.makedirs(NEW_ROOT + path, exist_ok=True)
    for target, fd in sources.items():
        place = NEW_ROOT + target
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        calls.mount(f"/proc/self/fd/{fd}", place, None, calls.MS_BIND | calls.MS_REC)
        calls.set_read_only(place, devices=target.startswith("/dev/"))
    for link, target in config["links"].items():
        os.symlink(target, NEW_ROOT + link)
    for path, text in config["files"].items():
        with open(NEW_ROOT + path, "w") as file:
            file.write(text)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"{NEW_ROOT}/dev/{name}")
    flags = calls.MS_NOSUID | calls.MS_NODEV | calls.MS_NOEXEC
    calls.mount("proc", NEW_ROOT + "/proc", "proc", flags)
    calls.enter_root(NEW_ROOT)
    calls.mount(
        None, "/", None, calls.MS_REMOUNT | calls.MS_BIND | calls.MS_RDONLY | calls.MS_NOSUID
    )


def loopback_up() -> None:
    """Bring up the network namespace's own loopback, its only interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(probe, 0x8914, request)  # SIOCSIFFLAGS


def _open_sources(paths: dict[str, str]) -> dict[str, int]:
    found = {}
    for target, path in paths.items():
        with contextlib.suppress(FileNotFoundError):
            found[target] = os.open(path, os.O_PATH | os.O_CLOEXEC)
    return found


def main() -> None:
    """Build the slot as told on the first descriptor named; the second carries descriptors."""
    first, second = (fcntl.fcntl(int(word), fcntl.F_DUPFD_CLOEXEC, 10) for word in sys.argv[1:3])
    os.dup2(first, 3, inheritable=False)
    os.dup2(second, 4, inheritable=False)
    os.closerange(5, 4096)
    control = socket.socket(fileno=3)
    descriptors = socket.socket(fileno=4)
    lines = control.makefile("rb", buffering=0)

    def tell(**words: Any) -> None:
        control.sendall(json.dumps(words).encode() + b"\n")

    try:
        config = json.loads(lines.readline())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        calls.unshare(calls.CLONE_NEWUSER)
        tell(phase="unshared")
        if json.loads(lines.readline()) != "mapped":
            return
        calls.unshare(
            calls.CLONE_NEWNS | calls.CLONE_NEWNET | calls.CLONE_NEWUTS | calls.CLONE_NEWIPC
            | calls.CLONE_NEWCGROUP | calls.CLONE_NEWPID
        )  # fmt: skip
        # In the new mount namespace, or a bind is refused; with the old user, who alone may
        # reach a Python under a closed home directory.
        sources = _open_sources(config["binds"])
        if config["map_root"]:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        pid = os.fork()
        if pid:
            # Stay as the parent that the host can wait for; hold nothing open.
            os.closerange(3, 4096)
            os.waitpid(pid, 0)
            os._exit(0)
        calls.prctl(calls.PR_SET_PDEATHSIG, signal.SIGKILL)
        socket.sethostname("sandbox")
        if config["loopback"]:
            loopback_up()
        build_root(config, sources)
        for fd in sources.values():
            os.close(fd)
        calls.drop_bounding_set()
        sys.path[:] = config["path"]
        zygote = Zygote(config)
        tell(phase="ready")
    except BaseException as error:  # noqa: BLE001 (told to the host, who raises it)
        tell(phase="failed", error=f"{type(error).__name__}: {error}")
        return
    zygote.serve(3, descriptors)
