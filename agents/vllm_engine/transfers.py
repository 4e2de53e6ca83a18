"""The transfer that a config names."""

from proofgym.agents.vllm_engine.config import TransferKind, VLLMConfig
from proofgym.agents.vllm_engine.transfer import WeightTransfer


def transfer_for(config: VLLMConfig) -> WeightTransfer:
    """Make the transfer; torch is loaded only here."""
    if config.transfer is TransferKind.NCCL:
        from proofgym.agents.vllm_engine.nccl import NcclTransfer

        return NcclTransfer(config.deadlines.control)
    if config.transfer is TransferKind.IPC:
        from proofgym.agents.vllm_engine.ipc import IpcTransfer

        return IpcTransfer()
    from proofgym.agents.vllm_engine.shared_memory import SharedMemoryTransfer

    return SharedMemoryTransfer()
