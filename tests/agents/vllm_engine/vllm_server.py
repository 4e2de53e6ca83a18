"""A real vLLM server for tests, and what is needed to talk to it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine import LaunchConfig, VLLMConfig, VLLMEngine
from proofgym.agents.vllm_engine.client import ServerClient
from proofgym.agents.vllm_engine.launch import find_python, plan_launch
from proofgym.agents.vllm_engine.server_process import ServerProcess, free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class VLLMServer:
    """A server that outlives the engines of single tests."""

    url: str
    process: ServerProcess

    def engine(self, *, version: int = 0, **settings: Any) -> VLLMEngine:
        config = VLLMConfig.model_validate({"urls": (self.url,), **settings})
        return VLLMEngine(config, version=version)


def need_vllm() -> None:
    """Skip a test where there is no vLLM; in CI, which promises one, fail."""
    try:
        find_python(LaunchConfig())
    except EngineError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@contextmanager
def serving(model: Path, log: Path, **launch: Any) -> Iterator[VLLMServer]:
    """Serve a model's folder with vLLM on the CPU until the end of the block."""
    need_vllm()
    config = VLLMConfig(
        launch=LaunchConfig.model_validate({"device": "cpu", "dtype": "float32", **launch})
    )
    port = free_port()
    process = ServerProcess(plan_launch(config, model, port), log)
    url = f"http://127.0.0.1:{port}"

    async def ready() -> None:
        client = ServerClient(url, "", config.deadlines)
        await process.ready(client, config.deadlines.start)
        await client.close()

    try:
        asyncio.run(ready())
        yield VLLMServer(url=url, process=process)
    finally:
        process.kill()
