"""Messages between the trainer and its engine's process: pickles behind their length.

Both ends are one program, started by the same user; nothing else can reach the socket pair.
"""

import pickle
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PretrainedConfig

from proofgym.agents.process_engine.shared_weights import Place
from proofgym.envs import Sampling

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The first message: what the process serves.

    Args:
        model_class: of transformers; called with ``config``.
        config: the model's.
        dtype: of its weights, as torch names it.
        device: where it runs.
        places: where each tensor stands in the shared memory.
        max_slots, max_context, version: as the engine takes them.
        threads: of torch.
    """

    model_class: type[Any]
    config: PretrainedConfig
    dtype: str
    device: str
    places: tuple[Place, ...]
    max_slots: int
    max_context: int
    version: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Sample one completion."""

    number: int
    prompt_ids: NDArray[np.int64]
    sampling: Sampling
    seed: int
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Forget the request of this number; nothing answers."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Take the weights in the shared memory (or, not ``fresh``, only the version)."""

    number: int
    version: int
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Call an engine's method that takes nothing: pause, resume or close."""

    number: int
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request of this number came to; ``error`` where it was refused."""

    number: int
    value: Any = None
    error: str | None = None


def encode(message: object) -> bytes:
    """Turn a message into a frame."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cut a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> list[Any]:
        """Take bytes, and return the messages that they complete."""
        self._buffer += piece
        messages: list[Any] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            messages.append(pickle.loads(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return messages
