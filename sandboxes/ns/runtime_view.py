"""What of the host a program may read: the system's programs and this Python, nothing else."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = (
    "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec",
    "/usr/include", "/usr/share",
)  # fmt: skip
_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_CONFIGURATION = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
    "/etc/localtime", "/etc/mime.types",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "sandbox:x:1000:1000:sandbox:/workspace:/bin/sh\n",
    "/etc/group": "root:x:0:\nsandbox:x:1000:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/hostname": "sandbox\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeView:
    """Bind mounts (inside -> outside), links, files, and the interpreter to start."""

    binds: dict[str, str]
    links: dict[str, str]
    files: dict[str, str]
    python: str
    search_path: list[str]
    environment: dict[str, str]


def runtime_view(packages: Sequence[str] = ()) -> RuntimeView:
    """Describe this host's runtime.

    Args:
        packages: further folders to show read-only and to put on the programs' import path.
    """
    python = os.path.realpath(sys.executable)
    prefix = os.path.realpath(sys.base_prefix)
    binds = {path: path for path in (*_SYSTEM, *_CONFIGURATION, *_DEVICES) if _exists(path)}
    links = {}
    for path in _TOP:
        if os.path.islink(path):
            links[path] = os.readlink(path)
        elif os.path.isdir(path):
            binds[path] = path
    if prefix == "/usr/local":
        binds |= {f"{prefix}/{name}": f"{prefix}/{name}" for name in ("bin", "lib")}
    elif not any(prefix == path or prefix.startswith(path + "/") for path in ("/usr", *binds)):
        binds[prefix] = prefix
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    search = [os.path.realpath(path) for path in standard]
    search.append(os.path.join(search[0], "lib-dynload"))
    for folder in packages:
        binds[os.path.realpath(folder)] = os.path.realpath(folder)
    bin_folder = os.path.dirname(python)
    folders = dict.fromkeys([bin_folder, "/usr/bin", "/bin", "/usr/sbin", "/sbin"])
    return RuntimeView(
        binds=binds,
        links=links,
        files=dict(FILES),
        python=python,
        search_path=list(dict.fromkeys([*search, *map(os.path.realpath, packages)])),
        environment={
            "PATH": ":".join(folders),
            "HOME": "/workspace",
            "TMPDIR": "/tmp",
            "LANG": "C.UTF-8",
            "USER": "sandbox",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )


def _exists(path: str) -> bool:
    return Path(path).exists()
