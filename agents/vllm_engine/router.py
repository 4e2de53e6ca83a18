"""Which replica takes a request: the least loaded, or one that has read the prompt's beginning."""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

ReplicaT = TypeVar("ReplicaT", bound=Hashable)

_BLOCK = 64
_KEPT = 65536
_SLACK = 4


class Router(Generic[ReplicaT]):
    """Choose among replicas.

    A prompt's tokens are hashed in blocks, each with all before it. The replica that was last
    given the longest beginning of a prompt has it in its cache, and is chosen unless it is
    busier than the idlest by more than a few requests and a quarter.

    Args:
        replicas: at least one; the first is preferred among equals.
    """

    def __init__(self, replicas: Sequence[ReplicaT]) -> None:
        self._load: dict[ReplicaT, int] = dict.fromkeys(replicas, 0)
        self._readers: OrderedDict[bytes, ReplicaT] = OrderedDict()

    def load(self, replica: ReplicaT) -> int:
        """Return how many requests a replica serves."""
        return self._load[replica]

    def take(self, ids: Sequence[int], up: Sequence[ReplicaT]) -> ReplicaT:
        """Choose a replica for a prompt, and count the request; :meth:`give_back` ends it.

        Args:
            ids: the prompt.
            up: the replicas to choose among, at least one.
        """
        hashes = _prefixes(ids)
        idlest = min(up, key=self._load.__getitem__)
        least = self._load[idlest]
        reader = self._reader(hashes)
        chosen = idlest
        if (
            reader is not None
            and reader in up
            and self._load[reader] <= least + max(_SLACK, least // 4)
        ):
            chosen = reader
        for one in hashes:
            self._readers[one] = chosen
            self._readers.move_to_end(one)
        while len(self._readers) > _KEPT:
            self._readers.popitem(last=False)
        self._load[chosen] += 1
        return chosen

    def give_back(self, replica: ReplicaT) -> None:
        """Count a request as ended."""
        self._load[replica] -= 1

    def forget(self, replica: ReplicaT) -> None:
        """Drop what a replica has read: it was restarted."""
        for one in [key for key, reader in self._readers.items() if reader == replica]:
            del self._readers[one]

    def _reader(self, hashes: Sequence[bytes]) -> ReplicaT | None:
        for one in reversed(hashes):
            if one in self._readers:
                return self._readers[one]
        return None


def _prefixes(ids: Sequence[int]) -> list[bytes]:
    """Hash the first 64 ids, the first 128, and so on; none for a shorter prompt."""
    content = np.asarray(ids, dtype=np.int32)
    running = hashlib.blake2b(digest_size=12)
    hashes = []
    for start in range(0, len(content) - _BLOCK + 1, _BLOCK):
        running.update(content[start : start + _BLOCK].tobytes())
        hashes.append(running.digest())
    return hashes
