"""Memory of the host's that carries a workspace's files from one sandbox to others."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Self

from proofgym.sandboxes.errors import SandboxLost

_F_ADD_SEALS, _ALL_SEALS = 1033, 0b1111  # no more seals, no shrinking, growing, writing


class ArchiveFile:
    """An anonymous file without a path: made here, filled and read inside the sandboxes.

    What a sandbox wrote is opaque: the host copies it and never parses or maps it.
    """

    def __init__(self, content: bytes = b"") -> None:
        self.fd = os.memfd_create("proofgym-files", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        view = memoryview(content)
        while len(view):
            view = view[os.write(self.fd, view) :]

    def seal(self) -> None:
        """Let nobody change it from here on, so no sandbox can tell another anything by it.

        Raises:
            SandboxLost: a program inside got hold of it and keeps it writable.
        """
        try:
            fcntl.fcntl(self.fd, _F_ADD_SEALS, _ALL_SEALS)
        except OSError as error:
            raise SandboxLost(f"the archive of the files is held open inside: {error}") from None

    @contextlib.contextmanager
    def reader(self) -> Iterator[int]:
        """Open it for reading, with a position of its own."""
        fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    def content(self) -> bytes:
        """Return its bytes."""
        size = os.fstat(self.fd).st_size
        pieces, at = [], 0
        while at < size:
            pieces.append(os.pread(self.fd, size - at, at))
            at += len(pieces[-1])
        return b"".join(pieces)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the memory back."""
        os.close(self.fd)
