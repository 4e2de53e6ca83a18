"""Copy one sandbox's files into another's workspace, below two descriptors and nowhere else.

Runs in the new sandbox before any program is there. The source's programs may change their files
meanwhile, so nothing is trusted twice: links are not followed, and what was opened is looked at.
"""

from __future__ import annotations

import errno
import os
import stat

DEEPEST = 300  # folders within folders; each holds two descriptors while it is copied


class Refused(Exception):
    """The files cannot be copied; `reason` is a word of SandboxFileError."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class TreeCopy:
    """One copy: regular files, folders, links and hard links, with modes and times."""

    def __init__(self, room: int) -> None:
        """Take the number of bytes that the files may claim to have, holes included."""
        self._room = room
        self._linked: dict[int, str] = {}  # inode of a file with several names -> its first copy
        self._target = -1

    def run(self, source: int, target: int) -> None:
        """Copy what is in one folder, by a descriptor that may be of its path only, to another.

        Raises:
            Refused: too much, too deep, unreadable, or no space is left.
        """
        self._target = target
        try:
            top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)
            try:
                self._folder(top, target, "")
            finally:
                os.close(top)
        except OSError as error:
            reasons = {errno.EACCES: "denied", errno.EPERM: "denied", errno.ENOSPC: "no-space",
                       errno.EDQUOT: "no-space"}  # fmt: skip
            word = reasons.get(error.errno or 0, "other")
            raise Refused(word, error.strerror or str(error)) from None

    def _folder(self, source: int, target: int, path: str) -> None:
        if path.count("/") > DEEPEST:
            raise Refused("other", f"more than {DEEPEST} folders within each other")
        for name in os.listdir(source):
            try:
                about = os.stat(name, dir_fd=source, follow_symlinks=False)
                self._entry(name, about, source, target, path)
            except FileNotFoundError:
                continue  # deleted meanwhile

    def _entry(self, name: str, about: os.stat_result, source: int, target: int, path: str) -> None:
        kind = stat.S_IFMT(about.st_mode)
        times = (about.st_atime_ns, about.st_mtime_ns)
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
        elif kind == stat.S_IFREG:
            self._file(name, about, source, target, path)
        elif kind == stat.S_IFDIR:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(name, flags, dir_fd=source)
            try:
                os.mkdir(name, 0o700, dir_fd=target)
                copy = os.open(name, flags, dir_fd=target)
                try:
                    self._folder(below, copy, f"{path}{name}/")
                    os.fchmod(copy, stat.S_IMODE(about.st_mode))
                    os.utime(copy, ns=times)
                finally:
                    os.close(copy)
            finally:
                os.close(below)

    def _file(self, name: str, about: os.stat_result, source: int, target: int, path: str) -> None:
        if about.st_nlink > 1 and about.st_ino in self._linked:
            first = self._linked[about.st_ino]
            os.link(first, name, src_dir_fd=self._target, dst_dir_fd=target, follow_symlinks=False)
            return
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=source)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return  # replaced meanwhile
            self._room -= found.st_size
            if self._room < 0:
                raise Refused("too-large", "more bytes than the sandbox's disk allows")
            copy = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target
            )
            try:
                send_file(copy, fd, found.st_size)
                os.fchmod(copy, stat.S_IMODE(found.st_mode))
                os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
            finally:
                os.close(copy)
        finally:
            os.close(fd)
        if found.st_nlink > 1:
            self._linked[found.st_ino] = path + name


def send_file(target: int, source: int, size: int) -> None:
    """Let the kernel copy so many bytes, or as many as there are."""
    sent = 0
    while sent < size:
        count = os.sendfile(target, source, sent, min(size - sent, 1 << 30))
        if count == 0:
            return
        sent += count
