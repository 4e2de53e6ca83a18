"""An image of this host's own Python and common programs: needs no registry and no network.

    python -m proofgym.sandboxes.docker.image [DOCKER_HOST]

Libraries lie flat in /usr/lib, so the image does not depend on where a distribution puts them.
"""

from __future__ import annotations

import asyncio
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from proofgym.sandboxes.ns.runtime_view import FILES

REVISION = 1  # of this recipe
NAME = "proofgym-sandbox"
CHANGES = (
    "ENV PATH=/usr/bin:/bin",
    "ENV LANG=C.UTF-8",
    "USER 1000:1000",
    "WORKDIR /workspace",
)
PROGRAMS = (
    "sh", "bash", "env", "cat", "ls", "cp", "mv", "rm", "ln", "mkdir", "rmdir", "mkfifo", "mktemp",
    "touch", "chmod", "stat", "du", "df", "head", "tail", "wc", "sort", "uniq", "cut", "tr", "tee",
    "paste", "comm", "join", "split", "seq", "yes", "echo", "printf", "test", "true", "false",
    "sleep", "timeout", "date", "id", "whoami", "uname", "hostname", "pwd", "basename", "dirname",
    "readlink", "realpath", "truncate", "dd", "od", "md5sum", "sha256sum", "base64", "nproc",
    "expr", "factor", "kill", "ps", "grep", "egrep", "fgrep", "sed", "awk", "find", "xargs",
    "diff", "cmp", "patch", "tar", "gzip", "gunzip", "zcat", "bzip2", "xz", "which", "file", "bc",
    "setsid", "nohup", "nice", "flock",
)  # fmt: skip
_LEFT_OUT = re.compile(
    r"/(site-packages|dist-packages|test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip"
    r"|config-[^/]*|[^/]*\.a|[^/]*\.opt-\d\.pyc)(/|$)"
)


def default_image() -> str:
    """Name the image that belongs to this Python and this recipe."""
    return f"{NAME}:py{platform.python_version()}-{platform.machine()}-r{REVISION}"


def libraries(binary: str) -> list[str]:
    """List the shared libraries of a binary, with its loader; none for a script."""
    done = subprocess.run(
        ["ldd", binary], capture_output=True, text=True, env={"PATH": os.defpath}, check=False
    )
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", done.stdout, flags=re.MULTILINE)


class _Archive:
    """A tar of files owned by root, none of them set-user-id, each once."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w", format=tarfile.GNU_FORMAT)
        self._names: set[str] = set()

    def _add(self, item: tarfile.TarInfo, content: bytes = b"") -> None:
        if item.name not in self._names:
            self._names.add(item.name)
            item.size = len(content)
            self._tar.addfile(item, io.BytesIO(content))

    def folder(self, name: str, mode: int = 0o755) -> None:
        item = tarfile.TarInfo(name)
        item.type, item.mode = tarfile.DIRTYPE, mode
        self._add(item)

    def link(self, name: str, target: str) -> None:
        item = tarfile.TarInfo(name)
        item.type, item.linkname, item.mode = tarfile.SYMTYPE, target, 0o777
        self._add(item)

    def text(self, name: str, content: str) -> None:
        self._add(tarfile.TarInfo(name), content.encode())

    def file(self, name: str, source: str) -> None:
        path = Path(source)
        item = tarfile.TarInfo(name)
        item.mode = 0o755 if os.access(path, os.X_OK) else 0o644
        item.mtime = int(path.stat().st_mtime)  # compiled files are held against it
        self._add(item, path.read_bytes())

    def binary(self, name: str, source: str) -> None:
        self.file(name, source)
        for path in libraries(source):
            self.file(f"usr/lib/{os.path.basename(path)}", path)

    def close(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


def root_file_system() -> bytes:
    """Copy the interpreter, its library and what programs exist here into a tar."""
    archive = _Archive()
    for name in ("usr", "usr/bin", "usr/lib", "etc", "proc", "dev", "sys", "var"):
        archive.folder(name)
    for name in ("tmp", "workspace"):
        archive.folder(name, 0o1777)
    for name, target in (
        ("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib"), ("usr/lib64", "lib"),
        ("var/tmp", "/tmp"), ("usr/bin/python", "python3"),
    ):  # fmt: skip
        archive.link(name, target)
    for name, text in FILES.items():
        archive.text(name.lstrip("/"), text)
    archive.binary("usr/bin/python3", os.path.realpath(sys.executable))
    standard = os.path.realpath(sysconfig.get_path("stdlib"))
    inside = f"usr/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    for folder, _, files in sorted(os.walk(standard)):
        for file in sorted(files):
            path = os.path.join(folder, file)
            place = os.path.relpath(path, standard)
            if _LEFT_OUT.search(f"/{place}") or not os.path.isfile(path):
                continue
            add = archive.binary if file.endswith(".so") else archive.file
            add(f"{inside}/{place}", path)
    for program in PROGRAMS:
        source = shutil.which(program, path="/usr/bin:/bin:/usr/local/bin")
        if source is not None:
            archive.binary(f"usr/bin/{program}", os.path.realpath(source))
    return archive.close()


async def build(host: str = "") -> str:
    """Build the default image on a daemon, unless it is there; return its name."""
    from proofgym.sandboxes.docker.daemon import Daemon

    daemon = await Daemon.connect(host)
    try:
        name = default_image()
        if not await daemon.has_image(name):
            await daemon.import_image(name, root_file_system, CHANGES)
        return name
    finally:
        daemon.close()


def main() -> None:
    """Build it and print its name."""
    sys.stdout.write(asyncio.run(build(*sys.argv[1:2])) + "\n")


if __name__ == "__main__":
    main()
