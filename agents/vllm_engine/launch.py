"""The command and the environment that start a vLLM server."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine.config import InFlight, LaunchConfig, TransferKind, VLLMConfig

EXTENSION = Path(__file__).parent / "extension"
"""What runs in vLLM's own Python; the only folder on its PYTHONPATH."""

_BACKENDS = {
    TransferKind.SHARED_MEMORY: "proofgym_shm",
    TransferKind.IPC: "ipc",
    TransferKind.NCCL: "nccl",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """How to start one server.

    Args:
        command: program and arguments.
        environment: whole.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]


def plan_launch(
    config: VLLMConfig, model: Path, port: int, *, number: int = 0, dummy_weights: bool = False
) -> LaunchPlan:
    """Say how to start a server on the loopback.

    Args:
        config: of the engine.
        model: a folder as ``save_pretrained`` writes it.
        port: to listen on.
        number: of the server among the engine's replicas.
        dummy_weights: start with random weights, for a server that is given its weights anyway;
            the folder then needs none.

    Raises:
        EngineError: no Python with vLLM was found, or no GPU of a number in ``launch.gpus``.
    """
    launch = config.launch
    on_cpu = not has_gpu() if launch.device == "auto" else launch.device == "cpu"
    arguments = [str(model), "--host", "127.0.0.1", "--port", str(port)]
    arguments += serve_arguments(config, on_cpu=on_cpu)
    if dummy_weights:
        arguments += ["--load-format", "dummy"]
    command = (find_python(launch), "-X", "faulthandler", str(EXTENSION / "proofgym_serve.py"))
    return LaunchPlan(
        command=(*command, *arguments, *launch.arguments),
        environment=_environment(config, on_cpu=on_cpu) | visible_gpus(launch, number, os.environ),
    )


def serve_arguments(config: VLLMConfig, *, on_cpu: bool) -> list[str]:
    """Give the arguments of ``vllm serve`` that this engine depends on."""
    launch = config.launch
    arguments = ["--served-model-name", config.model_name, "--dtype", launch.dtype]
    arguments += ["--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"]
    arguments += ["--scheduling-policy", "priority", "--max-num-seqs", str(launch.slots)]
    arguments += ["--worker-extension-cls", "proofgym_worker.ProofgymWorker"]
    arguments += ["--weight-transfer-config", json.dumps({"backend": _BACKENDS[config.transfer]})]
    arguments += ["--enable-scale-out"]
    if launch.max_context is not None:
        arguments += ["--max-model-len", str(launch.max_context)]
    if launch.tensor_parallel > 1:
        arguments += ["--tensor-parallel-size", str(launch.tensor_parallel)]
    if launch.lora_rank:
        arguments += ["--enable-lora", "--max-lora-rank", str(launch.lora_rank)]
        arguments += ["--max-loras", "2"]  # the new one, and the one that requests still use
    if on_cpu:
        # A prompt read in two parts ends a server on the CPU when the request has a seed
        # ("CPU Generator does not use offset", vLLM 0.32 and 0.33), so prompts are read whole.
        arguments += ["--enforce-eager", "--no-enable-chunked-prefill"]
    return arguments


def _environment(config: VLLMConfig, *, on_cpu: bool) -> dict[str, str]:
    environment = dict(os.environ)
    environment |= {
        "PYTHONPATH": str(EXTENSION),
        "VLLM_SERVER_DEV_MODE": "1",  # the routes for weights
        "VLLM_NO_USAGE_STATS": "1",
    }
    if config.transfer is TransferKind.IPC:
        environment["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"  # CUDA handles come pickled
    if config.launch.lora_rank:
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if on_cpu:
        environment |= {
            "VLLM_CPU_KVCACHE_SPACE": str(config.launch.kv_cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else every server binds to the same core
            "TORCH_COMPILE_DISABLE": "1",  # else the first logprobs compile C++ for 10 s
        }
        environment.setdefault("OMP_NUM_THREADS", "1")
    return environment


def visible_gpus(
    launch: LaunchConfig, number: int, environment: Mapping[str, str]
) -> dict[str, str]:
    """Say which GPUs one server sees, as variables of its environment; empty where all.

    ``launch.gpus`` counts as torch does in this process, so where this process sees only some
    GPUs itself, theirs are the numbers (or ids) that the server is given.

    Args:
        launch: the servers'.
        number: of the server among the replicas.
        environment: this process's own.

    Raises:
        EngineError: this process does not see so many GPUs.
    """
    if not launch.gpus:
        return {}
    first = number * launch.tensor_parallel
    chosen = launch.gpus[first : first + launch.tensor_parallel]
    seen = environment.get("CUDA_VISIBLE_DEVICES")
    if seen is None:
        return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, chosen))}
    names = [name.strip() for name in seen.split(",") if name.strip()]
    if max(chosen) >= len(names):
        raise EngineError(
            f"engine.launch.gpus must be below {len(names)}, as many as CUDA_VISIBLE_DEVICES="
            f"{seen!r} lets this process see, got {list(launch.gpus)}. Name others, or let the "
            "process see more."
        )
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[gpu] for gpu in chosen)}


def find_python(config: LaunchConfig) -> str:
    """Find the Python in which vLLM is installed.

    Raises:
        EngineError: there is none.
    """
    if config.python:
        if not Path(config.python).exists():
            raise EngineError(
                f"engine.launch.python must be a Python that has vLLM, got {config.python!r}, "
                "which does not exist."
            )
        return config.python
    beside = Path.cwd() / ".venv-vllm" / "bin" / "python"
    if beside.exists():
        return str(beside)
    if find_spec("vllm") is not None:
        return sys.executable
    raise EngineError(
        "expected vLLM in this Python, or in .venv-vllm of the working folder, and found none. "
        "Run `make vllm` (the CPU build), install vllm, or set engine.launch.python or engine.urls."
    )


def has_gpu() -> bool:
    """Say whether this machine has an NVIDIA GPU, without loading torch."""
    return Path("/dev/nvidiactl").exists()


def check_in_flight(in_flight: InFlight, *, versions_each_token: bool, url: str) -> None:
    """Refuse to mix weights in a completion whose tokens do not say which drew them.

    Raises:
        EngineError: the server's replies carry no weight versions.
    """
    if in_flight is InFlight.KEEP and not versions_each_token:
        raise EngineError(
            f"engine.in_flight = 'keep' needs replies that say which weights drew each token, and "
            f"{url} gives none (older vLLM, or no --enable-scale-out). Use 'wait' or 'abort'."
        )
