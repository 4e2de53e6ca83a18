"""What crosses between client and server: json words, and blobs that the words count.

A message is a length, json of that length, then the blobs in order; "blobs" in the json has their
lengths. An answer has either the operation's words, or "error" with one of our typed errors.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from proofgym.sandboxes.errors import (
    SandboxBusy,
    SandboxClosed,
    SandboxError,
    SandboxFileError,
    SandboxLost,
    SandboxTimeout,
    SandboxUnavailable,
)
from proofgym.sandboxes.protocol import Isolation, Limits, Network, Result, Status, Usage

_LENGTH = struct.Struct("!I")
_PLAIN: dict[str, type[SandboxError]] = {
    "busy": SandboxBusy, "closed": SandboxClosed, "lost": SandboxLost,
    "unavailable": SandboxUnavailable, "error": SandboxError,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One request or answer."""

    words: Mapping[str, Any]
    blobs: Sequence[bytes] = ()

    def encode(self) -> bytes:
        """Return its bytes."""
        about = json.dumps({**self.words, "blobs": [len(blob) for blob in self.blobs]}).encode()
        return b"".join((_LENGTH.pack(len(about)), about, *self.blobs))


def decode(body: bytes) -> Message:
    """Parse a message.

    Raises:
        ValueError: it is not one.
    """
    try:
        (size,) = _LENGTH.unpack_from(body)
        words = json.loads(body[_LENGTH.size : _LENGTH.size + size])
        lengths = [int(length) for length in words["blobs"]]
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"expected a sandbox message, got {body[:80]!r}") from error
    at, blobs = _LENGTH.size + size, []
    for length in lengths:
        blobs.append(body[at : at + length])
        at += length
    if at != len(body) or any(length < 0 for length in lengths):
        raise ValueError(f"expected a message of {at} bytes, got {len(body)}")
    return Message(words=words, blobs=blobs)


def limits_words(limits: Limits) -> dict[str, Any]:
    """Encode limits."""
    return asdict(limits)


def limits_from(words: Mapping[str, Any]) -> Limits:
    """Decode limits; a field that is unknown or out of range is a ValueError."""
    try:
        return Limits(**words)
    except TypeError as error:
        raise ValueError(f"expected the fields of Limits, got {sorted(words)}: {error}") from None


def result_message(result: Result) -> Message:
    """Encode a result; its output goes as blobs."""
    words = asdict(replace(result, stdout_bytes=b"", stderr_bytes=b""))
    del words["stdout_bytes"], words["stderr_bytes"]
    return Message(words=words, blobs=(result.stdout_bytes, result.stderr_bytes))


def result_from(message: Message) -> Result:
    """Decode a result."""
    words = {key: value for key, value in message.words.items() if key != "blobs"}
    words |= {"status": Status(words["status"]), "usage": Usage(**words["usage"])}
    return Result(stdout_bytes=message.blobs[0], stderr_bytes=message.blobs[1], **words)


def isolation_from(words: Mapping[str, Any]) -> Isolation:
    """Decode a server's facts, told apart from the same backend's on this host."""
    return Isolation(
        backend="http",
        tier=f"http:{words['tier']}",
        kernel=words["kernel"],
        network=Network(words["network"]),
        enforced_by=words["enforced_by"],
        not_enforced=(*words["not_enforced"], "the way to the server, unless its URL is https"),
        properties=frozenset(words["properties"]),
    )


def error_message(error: SandboxError | ValueError) -> Message:
    """Encode one of our errors, so that the client raises the same."""
    words: dict[str, Any] = {"kind": "error", "text": str(error)}
    if isinstance(error, ValueError):
        words["kind"] = "value"
    elif isinstance(error, SandboxFileError):
        words |= {"kind": "file", "path": error.path, "reason": error.reason}
        words["text"] = error.message
    elif isinstance(error, SandboxTimeout):
        words |= {"kind": "timeout", "phase": error.phase, "deadline_s": error.deadline_s}
    else:
        words["kind"] = next((k for k, v in _PLAIN.items() if type(error) is v), "error")
    return Message(words={"error": words})


def raise_error(words: Mapping[str, Any]) -> None:
    """Raise what the other side raised."""
    kind, text = words["kind"], str(words["text"])
    if kind == "value":
        raise ValueError(text)
    if kind == "file":
        raise SandboxFileError(words["path"], words["reason"], text)
    if kind == "timeout":
        raise SandboxTimeout(words["phase"], words["deadline_s"])
    raise _PLAIN.get(kind, SandboxError)(text)
