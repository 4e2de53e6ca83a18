"""The servers of an engine, as its config names them."""

from pathlib import Path

from proofgym.agents.vllm_engine.client import ServerClient
from proofgym.agents.vllm_engine.config import VLLMConfig
from proofgym.agents.vllm_engine.launch import plan_launch
from proofgym.agents.vllm_engine.replica import Replica
from proofgym.agents.vllm_engine.server_process import ServerProcess, free_port


def make_replicas(
    config: VLLMConfig, model: Path | None, logs: Path, *, dummy_weights: bool
) -> list[Replica]:
    """Make one replica for each URL, or for each server that is to be started.

    Args:
        config: of the engine.
        model: the folder to start servers with; not needed for ``urls``.
        logs: the folder for their output.
        dummy_weights: start them with random weights.
    """
    key = Path(config.api_key_file).read_text().strip() if config.api_key_file else ""
    if config.urls:
        return [
            Replica(config, ServerClient(url, key, config.deadlines), None) for url in config.urls
        ]
    assert model is not None, "the engine checked it"
    return [
        _launched(config, model, number, logs, key, dummy_weights=dummy_weights)
        for number in range(config.launch.replicas)
    ]


def _launched(
    config: VLLMConfig, model: Path, number: int, logs: Path, key: str, *, dummy_weights: bool
) -> Replica:
    port = free_port()
    plan = plan_launch(config, model, port, number=number, dummy_weights=dummy_weights)
    log = logs / f"vllm-{number}.log"
    client = ServerClient(f"http://127.0.0.1:{port}", key, config.deadlines)
    return Replica(config, client, lambda: ServerProcess(plan, log))
