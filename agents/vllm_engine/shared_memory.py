"""Weights through a file in shared memory."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from proofgym.agents.vllm_engine.client import ServerClient
from proofgym.agents.vllm_engine.transfer import update_all

_SHARED_MEMORY = Path("/dev/shm")


class SharedMemoryTransfer:
    """Write a safetensors file that the workers of this machine map.

    The file stays until the next one, so that a server that dies can be given the same weights
    again, however far the learner has moved on. It takes as many bytes of memory as the model.
    """

    def __init__(self) -> None:
        parent = str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
        self._folder = tempfile.TemporaryDirectory(prefix="proofgym-", dir=parent)
        self._staged: Path | None = None
        self._count = 0

    @property
    def path(self) -> Path:
        """Of the file that is sent now."""
        assert self._staged is not None, "stage comes before send"
        return self._staged

    def stage(self, weights: Mapping[str, Any]) -> None:
        """Write the file; a worker that still reads the one before keeps it."""
        self._count += 1
        path = Path(self._folder.name) / f"{self._count}.safetensors"
        save_file({name: tensor.detach().contiguous() for name, tensor in weights.items()}, path)
        before, self._staged = self._staged, path
        if before is not None:
            before.unlink()

    async def send(self, clients: Sequence[ServerClient]) -> None:
        """Tell every server the file's path."""
        await update_all(clients, {"path": str(self.path)})

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()
