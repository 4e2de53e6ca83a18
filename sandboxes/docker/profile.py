"""The seccomp profile for containers, written from the same allow-list as our own filter.

A profile can only say "allow when"; so what our filter refuses by argument is allowed here for
every other argument. Comparisons are masked to the 32 bits that the kernel looks at: an
unmasked "not equal" is passed by setting a higher bit.
"""

from __future__ import annotations

import json
import platform
from typing import Any

from proofgym.sandboxes.kernel import seccomp
from proofgym.sandboxes.kernel.syscall_table import AARCH64, X86_64

_ARCHITECTURES = {"x86_64": ("SCMP_ARCH_X86_64", X86_64), "aarch64": ("SCMP_ARCH_AARCH64", AARCH64)}
# seccomp(2) and rt_sigreturn aside, what a container's own start needs once the filter stands is
# in the list already. prlimit64 may name only the caller: the agent has the programs' user id.
_CHECKED = (*seccomp.CHECKED, "prlimit64")
_WORD = 0xFFFFFFFF
_KINDS = (1, 2, 5)  # of sockets: stream, datagram, sequenced; never raw
_ENOSYS = 38
Rule = dict[str, Any]


def _equal(index: int, value: int, mask: int = _WORD) -> Rule:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _allow(*names: str, when: tuple[Rule, ...] = ()) -> Rule:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": list(when)}


def all_but(refused: tuple[int, ...], bits: int = 32) -> list[tuple[int, int]]:
    """Cover every word except those refused by (value, mask) pairs: the halves free of them."""
    found = []
    half = [(0, 0)]
    for bit in reversed(range(bits)):
        step = 1 << bit
        split = [(value | on, mask | step) for value, mask in half for on in (0, step)]
        half = [(v, m) for v, m in split if any(word & m == v for word in refused)]
        found += [pair for pair in split if pair not in half]
    return found


def profile(machine: str = "") -> str:
    """Write the profile as the json that a daemon takes.

    Raises:
        KeyError: there is no table for the machine; see `seccomp.supported`.
    """
    architecture, table = _ARCHITECTURES[machine or platform.machine()]
    rules = [
        _allow(*sorted(table.keys() - set(_CHECKED))),
        _allow("clone", when=(_equal(0, 0, seccomp.NAMESPACES),)),
        # Its flags lie in memory that a filter cannot read: libc falls back to clone.
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
        _allow("prlimit64", when=(_equal(0, 0),)),
    ]
    rules += [
        _allow("socket", when=(_equal(0, family), _equal(1, kind, 0xF)))
        for family in seccomp.FAMILIES
        for kind in _KINDS
    ]
    rules += [_allow("personality", when=(_equal(0, word),)) for word in seccomp.PERSONALITIES]
    refused = (seccomp.TIOCSTI, seccomp.TIOCLINUX)
    rules += [_allow("ioctl", when=(_equal(1, value, mask),)) for value, mask in all_but(refused)]
    return json.dumps(
        {"defaultAction": "SCMP_ACT_ERRNO", "architectures": [architecture], "syscalls": rules}
    )
