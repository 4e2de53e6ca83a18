"""The engine that samples on vLLM servers, started here or given by URL."""

from proofgym.agents.vllm_engine.config import (
    DeadlinesConfig,
    InFlight,
    LaunchConfig,
    TransferKind,
    VLLMConfig,
)
from proofgym.agents.vllm_engine.engine import VLLMEngine

__all__ = [
    "DeadlinesConfig",
    "InFlight",
    "LaunchConfig",
    "TransferKind",
    "VLLMConfig",
    "VLLMEngine",
]
