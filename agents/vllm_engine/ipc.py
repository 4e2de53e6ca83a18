"""Weights as CUDA handles, where trainer and server share a GPU."""

import base64
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.client import ServerClient
from proofgym.agents.vllm_engine.transfer import update_all


class IpcTransfer:
    """Hand the learner's own GPU memory to vLLM's ``ipc`` backend: nothing is copied on the way.

    Written from vLLM 0.32's source (``distributed/weight_transfer/ipc_engine.py``). No GPU was at
    hand when it was written, so it **has not been run**; the fingerprint and the canary of a
    push are what tells whether it works where you are.

    The handles travel pickled, which the server accepts only with
    VLLM_ALLOW_INSECURE_SERIALIZATION=1: keep its port to yourself.
    """

    def __init__(self) -> None:
        self._staged: dict[str, Tensor] = {}

    def stage(self, weights: Mapping[str, Any]) -> None:
        """Keep the tensors alive: a handle does not."""
        on_host = [name for name, tensor in weights.items() if not tensor.is_cuda]
        if on_host:
            raise EngineError(
                f"engine.transfer = 'ipc' needs weights on a GPU, got {on_host[0]} on the host. "
                "Use 'shm'."
            )
        self._staged = {name: tensor.detach().contiguous() for name, tensor in weights.items()}

    async def send(self, clients: Sequence[ServerClient]) -> None:
        """Post one handle for each tensor."""
        for client in clients:
            body: dict[str, Any] = {"init_info": {}}
            await client.call("/init_weight_transfer_engine", body, phase="init transfer")
        await update_all(clients, self._update())
        torch.cuda.ipc_collect()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def close(self) -> None:
        """Let go of the tensors."""
        self._staged = {}

    def _update(self) -> dict[str, Any]:
        from torch.multiprocessing.reductions import reduce_tensor

        handles = []
        for tensor in self._staged.values():
            uuid = str(torch.cuda.get_device_properties(tensor.device).uuid)
            handles.append({uuid: reduce_tensor(tensor)[1]})  # type: ignore[no-untyped-call]  # torch leaves it untyped
        pickled = base64.b64encode(pickle.dumps(handles)).decode()
        return {**metadata_of(self._staged), "ipc_handles_pickled": pickled}


def metadata_of(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """List names, dtypes and shapes, as vLLM's backends take them."""
    return {
        "names": list(weights),
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()],
        "shapes": [list(tensor.shape) for tensor in weights.values()],
    }
