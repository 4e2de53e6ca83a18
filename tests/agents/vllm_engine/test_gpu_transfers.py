"""What the transfers between GPUs say, as far as it can be checked without one."""

import pytest
import torch

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.ipc import IpcTransfer, metadata_of
from proofgym.agents.vllm_engine.nccl import NcclTransfer, join_infos, packed_chunks


def test_metadata_names_dtypes_as_vllm_does() -> None:
    weights = {"b": torch.zeros(2, 3), "a": torch.zeros(4, dtype=torch.bfloat16)}
    assert metadata_of(weights) == {
        "names": ["b", "a"],
        "dtype_names": ["float32", "bfloat16"],
        "shapes": [[2, 3], [4]],
    }


def test_ranks_of_several_servers_follow_each_other() -> None:
    infos = join_infos(bytes(128), [2, 1])
    assert [(one["rank_offset"], one["world_size"]) for one in infos] == [(1, 4), (3, 4)]


def test_chunks_end_behind_the_tensor_that_passes_the_buffer() -> None:
    tensors = [torch.full((count,), count, dtype=torch.uint8) for count in (4, 6, 1, 30, 2)]
    chunks = list(packed_chunks(tensors, buffer_bytes=10))

    assert [len(one) for one in chunks] == [11, 30, 2]  # 10 is not more than 10
    assert torch.equal(torch.cat(chunks), torch.cat(tensors))


@pytest.mark.parametrize("transfer", [IpcTransfer(), NcclTransfer(1.0)], ids=["ipc", "nccl"])
def test_weights_on_the_host_are_refused(transfer: IpcTransfer | NcclTransfer) -> None:
    with pytest.raises(EngineError, match=r"needs weights on a GPU, got w on the host.*'shm'"):
        transfer.stage({"w": torch.zeros(1)})
    transfer.close()
