"""What can go wrong with a sandbox itself; what the program did is a `Result`, not an error."""

from __future__ import annotations


class SandboxError(Exception):
    """Base of every error of this area. Never a statement about the program that was run."""


class SandboxUnavailable(SandboxError):
    """The backend cannot give its isolation on this machine. A retry does not help.

    The message names what is missing and how to get it; no weaker sandbox is used instead.
    """


class SandboxLost(SandboxError):
    """The sandbox died under us (its agent, its container, its host). Retry in a fresh one.

    The program that was running may have had effects inside that sandbox and nowhere else.
    """


class SandboxTimeout(SandboxError):
    """A phase of our own work passed its deadline. Retry in a fresh sandbox is safe.

    Attributes:
        phase: what was being waited for, such as "start", "acquire" or "exec".
    """

    def __init__(self, phase: str, deadline_s: float) -> None:
        super().__init__(
            f"sandbox phase {phase!r} did not finish within {deadline_s:g} s. "
            "The sandbox was discarded; retry in a fresh one or raise the deadline."
        )
        self.phase = phase
        self.deadline_s = deadline_s


class LimitInUse(SandboxError):
    """A limit for what runs next is below what the sandbox holds already. A larger one helps."""


class SandboxBusy(SandboxError):
    """The pool's queue is full. Retry later, or send less at a time."""


class SandboxClosed(SandboxError):
    """A closed sandbox or pool was used. A bug of the caller; a retry does not help."""


class SandboxFileError(SandboxError):
    """A file request was refused inside the sandbox: missing, a link, a fifo, too large.

    Attributes:
        reason: a stable word: missing, not-regular, symlink, too-large, denied, no-space, other.
    """

    def __init__(self, path: str, reason: str, message: str) -> None:
        super().__init__(f"sandbox file {path!r}: {message} ({reason})")
        self.path = path
        self.reason = reason
        self.message = message
