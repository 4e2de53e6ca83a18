"""Tensors in memory that two processes see, without a name that a killed process would leave."""

import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

_ALIGNMENT = 64
_MEMORY = Path("/dev/shm")  # Linux keeps it in memory; elsewhere a temporary file does


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one tensor stands."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int
    size: int


class SharedWeights:
    """A block of shared memory with a tensor at each place.

    Args:
        descriptor: of the block's file; the owner of this object keeps it open.
        places: what is where.
    """

    def __init__(self, descriptor: int, places: Sequence[Place]) -> None:
        self.descriptor = descriptor
        self.places = tuple(places)
        size = places[-1].start + places[-1].size
        self._block = mmap.mmap(descriptor, size)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Make a block that has room for these tensors, and put them in."""
        places: list[Place] = []
        end = 0
        for name, tensor in tensors.items():
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            size = tensor.numel() * tensor.element_size()
            dtype = str(tensor.dtype).removeprefix("torch.")
            places.append(
                Place(name=name, shape=tuple(tensor.shape), dtype=dtype, start=start, size=size)
            )
            end = start + size
        folder = _MEMORY if _MEMORY.is_dir() else None
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(end)
            made = cls(os.dup(file.fileno()), places)
        made.write(tensors)
        return made

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Put tensors in their places; the names may be some of them."""
        views = self.tensors()
        with torch.no_grad():
            for name, tensor in tensors.items():
                views[name].copy_(tensor)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors as they stand in the block: views, not copies."""
        return {
            place.name: torch.frombuffer(
                self._block,
                dtype=getattr(torch, place.dtype),
                count=place.size // getattr(torch, place.dtype).itemsize,
                offset=place.start,
            ).reshape(place.shape)
            for place in self.places
        }
