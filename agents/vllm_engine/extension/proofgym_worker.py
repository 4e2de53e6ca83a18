"""What proofgym adds to a vLLM worker: a transfer through shared memory, and fingerprints.

vLLM imports this module in its own processes (``--worker-extension-cls``), with the folder of
this file on PYTHONPATH; nothing of proofgym is imported here, and proofgym never imports this.
Run with vLLM 0.26 and 0.32; the engine's constructor and hooks are the same up to 0.33.
"""

from dataclasses import dataclass
from typing import Any

import torch
from proofgym_digest import TensorDigest, digest_tensor, sums_and_digest
from safetensors import safe_open
from vllm.distributed.weight_transfer import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.platforms import current_platform

BACKEND = "proofgym_shm"


@dataclass
class SharedMemoryInit(WeightTransferInitInfo):  # type: ignore[misc]  # vLLM is not here
    """Nothing has to be agreed upon beforehand."""


@dataclass
class SharedMemoryUpdate(WeightTransferUpdateInfo):  # type: ignore[misc]  # vLLM is not here
    """Where the tensors lie.

    Args:
        path: of a safetensors file that the worker's machine can read, usually in /dev/shm.
    """

    path: str


class SharedMemoryEngine(
    WeightTransferEngine[SharedMemoryInit, SharedMemoryUpdate]  # type: ignore[misc]  # vLLM is not here
):
    """Load whole checkpoints from a file in shared memory, on any device."""

    init_info_cls = SharedMemoryInit
    update_info_cls = SharedMemoryUpdate

    def init_transfer_engine(self, init_info: SharedMemoryInit) -> None:
        """Agree upon nothing."""

    def start_weight_update(self) -> None:
        """Take every layer apart, to be loaded anew."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one file. vLLM's own method then waits for an accelerator, which may be none."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: SharedMemoryUpdate) -> None:
        """Hand the file's tensors to the model's own loader."""
        with safe_open(update_info.path, framework="pt") as tensors:
            names = list(tensors.keys())
            self.model.load_weights((name, tensors.get_tensor(name)) for name in names)

    def finish_weight_update(self) -> None:
        """Put every layer together again."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        if current_platform.is_cpu():
            _repack_heads(self.model)

    @staticmethod
    def trainer_send_weights(*_: Any) -> None:
        """Refuse: vLLM before 0.28 wants the method here, and the trainer has its own way."""
        raise TypeError("expected proofgym's SharedMemoryTransfer to send the weights, got vLLM.")

    def shutdown(self) -> None:
        """Release nothing: the file belongs to the trainer."""


class ProofgymWorker:
    """Methods that vLLM mixes into its worker, called through ``/collective_rpc``."""

    def proofgym_describe(self) -> dict[str, Any]:
        """Say what is served."""
        config: Any = self.model_runner.model_config  # type: ignore[attr-defined]  # the worker's
        return {
            "vocab_size": int(config.get_vocab_size()),
            "dtype": str(config.dtype).removeprefix("torch."),
        }

    def proofgym_watch(self) -> dict[str, Any]:
        """Take down what the model's loader is given from now on, by any backend."""
        model: Any = self.model_runner.get_model()  # type: ignore[attr-defined]  # the worker's
        seen: dict[str, TensorDigest] = {}
        load = type(model).load_weights

        def watched(weights: Any) -> Any:
            return load(model, _noted(weights, seen))

        model.load_weights = watched
        self._proofgym_seen = seen
        return {}

    def proofgym_fingerprint(self) -> dict[str, Any]:
        """Return the sums and the digest of what was loaded since the watch began, and end it."""
        model: Any = self.model_runner.get_model()  # type: ignore[attr-defined]  # the worker's
        seen = self._proofgym_seen
        del model.load_weights
        sums, digest = sums_and_digest(seen)
        return {"sums": sums, "digest": digest}


def _noted(weights: Any, seen: dict[str, TensorDigest]) -> Any:
    for name, tensor in weights:
        seen[name] = digest_tensor(tensor)
        yield name, tensor


def _repack_heads(model: torch.nn.Module) -> None:
    """Pack the output head anew.

    On the CPU a head that is tied to the embeddings holds a packed copy of its own, which
    vLLM's reload leaves as it was (0.32 and 0.33): the embeddings change and the head stays old.
    """
    for module in model.modules():
        method: Any = getattr(module, "quant_method", None)
        if type(method).__name__ == "UnquantizedEmbeddingMethod":
            method.process_weights_after_loading(module)


WeightTransferEngineFactory.register_engine(BACKEND, SharedMemoryEngine)
