"""A seccomp filter that allows a list of system calls and refuses the rest."""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterable

from proofgym.sandboxes.kernel import calls
from proofgym.sandboxes.kernel.syscall_table import AARCH64, X86_64

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_TABLES = {"x86_64": X86_64, "aarch64": AARCH64}
_LD, _JEQ, _JGT, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data, low words
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 0x50000 | 1, 0x50000 | 38, 0x50000 | 97
_CLONE3 = 435  # its flags lie in memory that a filter cannot read: glibc falls back to clone
_NEWEST = 470  # numbers above are calls that this list does not know yet
NAMESPACES = 0x7E020000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
FAMILIES = (1, 2, 10)  # unix, inet, inet6
CHECKED = ("clone", "socket", "ioctl", "personality")

Instruction = tuple[int, int, int, int]


def supported() -> bool:
    """Tell whether there is a table for this machine's architecture."""
    return platform.machine() in _TABLES


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _returns(value: int) -> Instruction:
    return (_RET, 0, 0, value)


def _argument_rules(table: dict[str, int], same_user: bool) -> list[Instruction]:
    """Check the calls whose arguments decide. Each rule is skipped unless the number matches."""
    rules: dict[str, list[Instruction]] = {
        "clone": [(_LD, 0, 0, _ARG0), (_JSET, 0, 1, NAMESPACES), _returns(_EPERM)],
        "socket": [
            (_LD, 0, 0, _ARG0),
            *((_JEQ, len(FAMILIES) - i, 0, family) for i, family in enumerate(FAMILIES)),
            _returns(_EAFNOSUPPORT),
            (_LD, 0, 0, _ARG1),
            (_AND, 0, 0, 0xF),
            (_JEQ, 0, 1, 3),  # SOCK_RAW
            _returns(_EPERM),
        ],
        "ioctl": [
            (_LD, 0, 0, _ARG1),
            (_JEQ, 1, 0, TIOCSTI),
            (_JEQ, 0, 1, TIOCLINUX),
            _returns(_EPERM),
        ],
        "personality": [
            (_LD, 0, 0, _ARG0),
            *((_JEQ, len(PERSONALITIES) - i, 0, value) for i, value in enumerate(PERSONALITIES)),
            _returns(_EPERM),
        ],
    }
    if same_user:
        rules["prlimit64"] = [(_LD, 0, 0, _ARG0), (_JEQ, 1, 0, 0), _returns(_EPERM)]
    program: list[Instruction] = []
    for name, rule in rules.items():
        if name not in table:
            continue
        program += [(_JEQ, 0, len(rule) + 1, table[name]), *rule, _returns(_ALLOW)]
    return program


def instructions(
    machine: str,
    *,
    memfd: bool = True,
    deny: frozenset[str] = frozenset(),
    same_user: bool = False,
) -> list[Instruction]:
    """Write the filter for an architecture.

    Args:
        machine: as `platform.machine()` says it.
        memfd: allow memfd_create. Without a memory cgroup nothing else counts its pages.
        deny: names to refuse beyond that, for a backend with less around the program.
        same_user: prlimit64 may name only the caller: others of its user are not its own.
    """
    table = {name: number for name, number in _TABLES[machine].items() if name not in deny}
    plain = {
        number
        for name, number in table.items()
        if name not in CHECKED
        and not (same_user and name == "prlimit64")
        and (memfd or name != "memfd_create")
    }
    program = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, _AUDIT_ARCH[machine]),
        _returns(_KILL),  # another system-call table, such as i386's
        (_LD, 0, 0, _NR),
        *_argument_rules(table, same_user),
        # The x32 table has bit 30 set, so it falls out here with the unknown numbers.
        (_JGT, 0, 1, _NEWEST),
        _returns(_ENOSYS),
        (_JEQ, 0, 1, _CLONE3),
        _returns(_ENOSYS),
    ]
    for low, high in _ranges(plain):
        # Ascending: a number below this range is in none.
        program += [
            (_JGE, 1, 0, low),
            _returns(_EPERM),
            (_JGT, 1, 0, high),
            _returns(_ALLOW),
        ]
    return [*program, _returns(_EPERM)]


def compiled(
    *, memfd: bool = True, deny: frozenset[str] = frozenset(), same_user: bool = False
) -> bytes:
    """Encode this machine's filter as an array of struct sock_filter."""
    program = instructions(platform.machine(), memfd=memfd, deny=deny, same_user=same_user)
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


class Filter:
    """A compiled filter, laid out for the kernel once so that a forked child just installs it."""

    def __init__(self, filter_bytes: bytes) -> None:
        """Keep the bytes where the kernel can read them."""
        self._buffer = ctypes.create_string_buffer(filter_bytes, len(filter_bytes))
        address = ctypes.addressof(self._buffer)
        self._head = struct.pack("HxxxxxxQ", len(filter_bytes) // 8, address)

    def install(self) -> None:
        """Put it on this thread and all its future children. Needs no_new_privileges."""
        calls.syscall("seccomp", calls.NR_SECCOMP, 1, 0, self._head)  # SECCOMP_SET_MODE_FILTER
