"""Landlock: what a process may open, and whom it may signal, from now on and for its children."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping

from proofgym.sandboxes.kernel import calls

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL_DEVICE = 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
# Everything but device nodes, which nobody here may make.
READ_WRITE = ((1 << 15) - 1) & ~(1 << 6) & ~(1 << 11)
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEVICE
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1, 2
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE


def abi() -> int:
    """Return the kernel's Landlock version, 0 where there is none."""
    try:
        return calls.syscall("landlock", calls.NR_LANDLOCK_CREATE, None, 0, 1)
    except OSError:
        return 0


def restrict(rules: Mapping[str, int], *, tcp: bool = False) -> None:
    """Refuse every file access outside the rules (path -> rights); missing paths are skipped.

    Signals and abstract unix sockets across the border are refused too where the kernel can
    (version 6). Needs no_new_privileges.

    Args:
        rules: rights below each path.
        tcp: also refuse every TCP bind and connect (version 4).
    """
    version = abi()
    handled = max(v for k, v in _BY_ABI.items() if k <= max(version, 1))
    network = (_BIND_TCP | _CONNECT_TCP) if tcp and version >= 4 else 0
    scoped = (_SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL) if version >= 6 else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("QQQ", handled, network, scoped)[:size]
    ruleset = calls.syscall("landlock ruleset", calls.NR_LANDLOCK_CREATE, attributes, size, 0)
    try:
        for path, rights in rules.items():
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                if not stat.S_ISDIR(os.fstat(fd).st_mode):
                    rights &= _FILE_RIGHTS
                rule = struct.pack("=Qi", rights & handled, fd)
                calls.syscall("landlock rule", calls.NR_LANDLOCK_ADD, ruleset, 1, rule, 0)
            finally:
                os.close(fd)
        calls.syscall("landlock restrict", calls.NR_LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
