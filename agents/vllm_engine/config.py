"""How a vLLM server is found or started, and how weights reach it."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator


class InFlight(StrEnum):
    """What happens to requests in flight when new weights come."""

    KEEP = "keep"  # they go on under the new weights; every token carries its version
    WAIT = "wait"  # the new weights wait until they have ended
    ABORT = "abort"  # they end with Finish.ABORT and what they have


class TransferKind(StrEnum):
    """How tensors reach the server's workers."""

    SHARED_MEMORY = "shm"  # a file in /dev/shm: same machine, any device
    IPC = "ipc"  # CUDA handles: same GPU
    NCCL = "nccl"  # broadcast between GPUs


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeadlinesConfig(_Strict):
    """The longest waits, in seconds."""

    start: float = Field(default=600.0, gt=0, description="from a server's start to its health")
    connect: float = Field(default=10.0, gt=0, description="for a TCP connection")
    request: float = Field(default=600.0, gt=0, description="for one completion")
    control: float = Field(default=120.0, gt=0, description="for one control call, such as pause")


class LaunchConfig(_Strict):
    """Servers that the engine starts and supervises itself."""

    python: str = Field(
        default="", description="the Python that has vLLM; empty: .venv-vllm here, or this one"
    )
    replicas: int = Field(default=1, ge=1, description="servers, each with the whole model")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    slots: int = Field(default=64, ge=1, description="requests that a server samples at once")
    max_context: int | None = Field(default=None, ge=2, description="null: the model's")
    kv_cache_gib: int = Field(default=1, ge=1, description="on the CPU only")
    tensor_parallel: int = Field(default=1, ge=1, description="GPUs for one server")
    gpus: tuple[NonNegativeInt, ...] = Field(
        default=(),
        description="which GPUs the servers use, numbered as torch numbers them in this process: "
        "tensor_parallel for the first server, as many for the next; empty: every server sees all",
    )
    lora_rank: int = Field(default=0, ge=0, description="the largest adapter; 0: no adapters")
    restarts: int = Field(default=3, ge=0, description="in a row, without one success in between")
    arguments: tuple[str, ...] = Field(default=(), description="more arguments of `vllm serve`")

    @model_validator(mode="after")
    def _gpus_are_enough(self) -> "LaunchConfig":
        needed = self.replicas * self.tensor_parallel
        if self.gpus and (len(self.gpus) != needed or len(set(self.gpus)) != needed):
            raise ValueError(
                f"gpus must name each GPU of {self.replicas} servers with {self.tensor_parallel} "
                f"each, so {needed} different ones, got {list(self.gpus)}"
            )
        if self.gpus and self.device == "cpu":
            raise ValueError(f"gpus need device 'cuda', got 'cpu' and gpus {list(self.gpus)}")
        return self


class VLLMConfig(_Strict):
    """Sample on vLLM servers: started here, or given by URL."""

    kind: Literal["vllm"] = "vllm"
    urls: tuple[str, ...] = Field(default=(), description="servers that run already; else: launch")
    launch: LaunchConfig = LaunchConfig()
    model_name: str = Field(default="policy", description="the name under which it is served")
    transfer: TransferKind = TransferKind.SHARED_MEMORY
    in_flight: InFlight = InFlight.KEEP
    api_key_file: str = Field(default="", description="a file with the servers' key; empty: none")
    allow_untested_version: bool = False
    deadlines: DeadlinesConfig = DeadlinesConfig()

    @model_validator(mode="after")
    def _urls_are_urls(self) -> "VLLMConfig":
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"urls must begin with http:// or https://, got {url!r}")
        if len(set(self.urls)) != len(self.urls):
            raise ValueError("urls must name every server once")
        return self
