"""Weights by NCCL's broadcast, from the trainer's GPU to those of the servers."""

import asyncio
import base64
import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.client import ServerClient
from proofgym.agents.vllm_engine.ipc import metadata_of
from proofgym.agents.vllm_engine.transfer import update_all

BUFFER_BYTES = 1 << 30
_ID_BYTES = 128
_UINT8, _FLOAT32, _SUM = 1, 7, 0  # NCCL's numbers for its types and operations


class _UniqueId(ctypes.Structure):
    _fields_ = (("internal", ctypes.c_byte * _ID_BYTES),)


class NcclTransfer:
    """Be rank 0 of a group with all the servers' workers, for vLLM's ``nccl`` backend.

    Written from vLLM 0.32's source (``distributed/weight_transfer/nccl_engine.py``: a group
    joined by a unique id that travels over HTTP, and packed broadcasts of bytes). No GPU was at
    hand when it was written, so it **has not been run**; the fingerprint and the canary of a
    push are what tells whether it works where you are. NCCL itself has no deadline, so it runs
    in a thread of its own, and an error from a server or the deadline wins.

    Args:
        seconds: the longest wait for a group, and for a broadcast.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._staged: dict[str, Tensor] = {}
        self._joined: tuple[str, ...] = ()
        self._library: Any = None
        self._group = ctypes.c_void_p()

    def stage(self, weights: Mapping[str, Any]) -> None:
        """Take tensors that are on the current GPU."""
        on_host = [name for name, tensor in weights.items() if not tensor.is_cuda]
        if on_host:
            raise EngineError(
                f"engine.transfer = 'nccl' needs weights on a GPU, got {on_host[0]} on the host. "
                "Use 'shm'."
            )
        self._staged = {name: tensor.detach() for name, tensor in weights.items()}

    async def send(self, clients: Sequence[ServerClient]) -> None:
        """Broadcast while the servers receive; join a group first where the servers are others."""
        urls = tuple(client.url for client in clients)
        if urls != self._joined:
            await self._join(clients)
            self._joined = urls
        await self._beside(update_all(clients, metadata_of(self._staged)), self._broadcast)

    def close(self) -> None:
        """Leave the group."""
        self._staged = {}
        if self._group:
            self._library.ncclCommDestroy(self._group)
            self._group = ctypes.c_void_p()

    async def _join(self, clients: Sequence[ServerClient]) -> None:
        self._library = self._library or ctypes.CDLL("libnccl.so.2")  # torch has loaded it
        unique = _UniqueId()
        self._check(self._library.ncclGetUniqueId(ctypes.byref(unique)))
        sizes = []
        for client in clients:
            found = await client.get("/get_world_size", phase="world size")
            sizes.append(int(found.content["world_size"]))
        posts = [
            client.call("/init_weight_transfer_engine", {"init_info": info}, phase="init transfer")
            for client, info in zip(clients, join_infos(bytes(unique.internal), sizes), strict=True)
        ]
        world = 1 + sum(sizes)

        def join() -> None:
            initialise = self._library.ncclCommInitRank
            self._check(initialise(ctypes.byref(self._group), world, unique, 0))
            one = torch.zeros(1, device="cuda")  # the workers begin with this sum, as a warm-up
            address, stream = ctypes.c_void_p(one.data_ptr()), _stream()
            self._check(
                self._library.ncclAllReduce(
                    address, address, ctypes.c_size_t(1), _FLOAT32, _SUM, self._group, stream
                )
            )
            torch.cuda.current_stream().synchronize()

        await self._beside(_all(posts), join)

    def _broadcast(self) -> None:
        for packed in packed_chunks(self._staged.values(), BUFFER_BYTES):
            address, size = ctypes.c_void_p(packed.data_ptr()), ctypes.c_size_t(packed.numel())
            self._check(
                self._library.ncclBroadcast(
                    address, address, size, _UINT8, 0, self._group, _stream()
                )
            )
            torch.cuda.current_stream().synchronize()

    async def _beside(self, posts: Any, work: Callable[[], None]) -> None:
        """Run blocking work in a daemon thread while the posts are answered."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        device = torch.cuda.current_device()

        def settle(error: BaseException | None) -> None:
            if ended.done():
                return
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        def target() -> None:
            torch.cuda.set_device(device)
            try:
                work()
            except BaseException as error:  # noqa: BLE001  # the thread's boundary: awaited below
                loop.call_soon_threadsafe(settle, error)
            else:
                loop.call_soon_threadsafe(settle, None)

        threading.Thread(target=target, daemon=True, name="nccl").start()
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.gather(posts, ended)
        except TimeoutError:
            raise EngineError(
                f"phase 'nccl' must end within {self._seconds:g} s, and did not."
            ) from None

    def _check(self, code: int) -> None:
        if code != 0:
            self._library.ncclGetErrorString.restype = ctypes.c_char_p
            said = self._library.ncclGetErrorString(code).decode()
            raise EngineError(f"NCCL failed with code {code}: {said}.")


def join_infos(unique_id: bytes, world_sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Say to each server where its workers' ranks begin; the trainer is rank 0."""
    infos, offset = [], 1
    for size in world_sizes:
        infos.append(
            {
                "nccl_unique_id_b64": base64.b64encode(unique_id).decode(),
                "rank_offset": offset,
                "world_size": 1 + sum(world_sizes),
                "packed": True,
                "packed_buffer_size_bytes": BUFFER_BYTES,
            }
        )
        offset += size
    return infos


def packed_chunks(tensors: Iterable[Tensor], buffer_bytes: int) -> Iterator[Tensor]:
    """Join tensors' bytes into chunks that end behind the tensor that passes the buffer's size.

    The receiver cuts at the same places, so the rule is vLLM's to the letter (``pack_tensors``).
    """
    parts: list[Tensor] = []
    size = 0
    for tensor in tensors:
        parts.append(tensor.contiguous().view(-1).view(torch.uint8))
        size += parts[-1].numel()
        if size > buffer_bytes:
            yield torch.cat(parts)
            parts, size = [], 0
    if parts:
        yield torch.cat(parts)


def _stream() -> ctypes.c_void_p:
    return ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)


async def _all(posts: Sequence[Any]) -> None:
    await asyncio.gather(*posts)
