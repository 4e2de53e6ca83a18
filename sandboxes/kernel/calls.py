"""System calls that Python 3.11 lacks, by ctypes. Each raises OSError that names the call."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython: the wrapper makes enums
import ctypes
import os
import platform
import signal
import struct

libc = ctypes.CDLL(None, use_errno=True)

CLONE_VM = 0x100
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_ARM = platform.machine() == "aarch64"
NR_PIVOT_ROOT = 41 if _ARM else 155
NR_CAPSET = 91 if _ARM else 126
NR_SECCOMP = 277 if _ARM else 317
NR_OPEN_TREE, NR_MOUNT_SETATTR = 428, 442
NR_LANDLOCK_CREATE, NR_LANDLOCK_ADD, NR_LANDLOCK_RESTRICT = 444, 445, 446

AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
OPEN_TREE_CLONE = 1
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
_STACK_BYTES = 64 << 10


def check(result: int, what: str) -> int:
    """Return the result, or raise the call's errno with its name."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *arguments: int | bytes | None) -> int:
    """Call by number; integers are passed as long."""
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return check(libc.syscall(ctypes.c_long(number), *values), what)


def unshare(flags: int) -> None:
    """Enter new namespaces (a pid namespace is entered by the next child)."""
    check(libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, flags: int) -> None:
    """Join the namespace that a descriptor refers to."""
    check(libc.setns(fd, flags), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount; None stands for "ignored"."""
    check(
        libc.mount(
            source.encode() if source is not None else None,
            target.encode(),
            kind.encode() if kind is not None else None,
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        f"mount {kind or 'bind'} at {target}",
    )


def set_read_only(path: str, *, devices: bool = False) -> None:
    """Make a mount and all below it read-only, nosuid and (unless `devices`) nodev."""
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | (0 if devices else MOUNT_ATTR_NODEV)
    packed = struct.pack("QQQQ", attributes, 0, 0, 0)
    syscall(
        f"mount_setattr {path}", NR_MOUNT_SETATTR, -100, path.encode(), AT_RECURSIVE, packed,
        len(packed),
    )  # fmt: skip


def read_only_view(path: str) -> int:
    """Open a mount for reading from anywhere: no path leads to it and none leads out of it.

    The descriptor works in other mount and user namespaces and keeps the file system alive.
    """
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC
    view = syscall(f"open_tree {path}", NR_OPEN_TREE, -100, path.encode(), flags)
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
    packed = struct.pack("QQQQ", attributes, 0, 0, 0)
    syscall(
        f"mount_setattr of {path}", NR_MOUNT_SETATTR, view, b"", AT_EMPTY_PATH, packed, len(packed)
    )
    return view


def enter_root(path: str) -> None:
    """Make a mount point the root and drop the old root from this mount namespace."""
    os.chdir(path)
    syscall("pivot_root", NR_PIVOT_ROOT, b".", b".")
    check(libc.umount2(b".", MNT_DETACH), "umount old root")
    os.chdir("/")


def prctl(option: int, argument: int = 0, second: int = 0) -> None:
    """Set a process attribute."""
    zero = ctypes.c_ulong(0)
    check(
        libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(second), zero, zero),
        f"prctl({option})",
    )


def drop_bounding_set() -> None:
    """Give up regaining any capability by exec; the ones now held stay until `drop_capabilities`.

    Needs CAP_SETPCAP, so it comes before the change of user.
    """
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # past the last capability of this kernel


def drop_capabilities() -> None:
    """Empty the ambient, effective, permitted and inheritable sets."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("Ii", 0x20080522, 0)
    syscall("capset", NR_CAPSET, header, bytes(24))


def no_new_privileges() -> None:
    """Make set-user-id files and file capabilities mean nothing from here on."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def clone_reaper() -> int:
    """Start the smallest possible process: it waits for ever and reaps orphans.

    It shares our memory (no page tables to copy) and becomes pid 1 of the pid namespace that
    the last `unshare` made. It ignores SIGCHLD, which makes the kernel reap its children, and has
    no other handler, so nothing inside the namespace can signal it. The caller must have no
    Python signal handler that matters: the reaper would run it on our memory.
    """
    before = _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the numbers: no enum is made
    try:
        top = ctypes.addressof(_reaper_stack) + _STACK_BYTES - 64
        entry = ctypes.cast(libc.pause, ctypes.c_void_p)
        flags = CLONE_VM | signal.SIGCHLD
        return check(libc.clone(entry, ctypes.c_void_p(top & ~15), flags, None), "clone")
    finally:
        _signal.signal(_signal.SIGCHLD, before)


_reaper_stack = ctypes.create_string_buffer(_STACK_BYTES)
