"""A tokenizer made on the spot, and an engine that says what it is told to."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from proofgym.agents import Completion, Fingerprint, Finish, Renderer
from proofgym.agents.tiny_policy import tiny_tokenizer
from proofgym.envs import Sampling
from tests.agents.vllm_engine.vllm_server import VLLMServer, need_vllm, serving


@dataclass(slots=True)
class TapeEngine:
    """Serve completions from a function of the prompt's ids; an in-memory Engine."""

    reply: Callable[[list[int], Sampling, int], Sequence[int] | Completion | Exception]
    max_context: int = 4096
    delay_s: float = 0.0
    asked: list[tuple[list[int], Sampling, int]] = field(default_factory=list)

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, *, priority: int = 0
    ) -> Completion:
        prompt = list(prompt_ids)
        self.asked.append((prompt, sampling, seed))
        await asyncio.sleep(self.delay_s)
        said = self.reply(prompt, sampling, seed)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Completion):
            return said
        whole = len(said) <= sampling.max_tokens
        ids = np.array(list(said)[: sampling.max_tokens], dtype=np.int32)
        return Completion(
            ids=ids,
            logprobs=np.full(len(ids), -0.5, dtype=np.float32),
            versions=np.zeros(len(ids), dtype=np.int32),
            finish=Finish.STOP if whole else Finish.LENGTH,
        )

    async def load(self, weights: Mapping[str, Any], version: int) -> Fingerprint:
        return Fingerprint(version=version, sums={}, digest="")

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    return Renderer(tiny_tokenizer(["calculator", "expression"]))


@pytest.fixture
def tape() -> type[TapeEngine]:
    return TapeEngine


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    """Serve the contract suite's model, which has tied embeddings."""
    from tests.agents.test_engine_contract import small_model

    folder = tmp_path_factory.mktemp("vllm")
    need_vllm()
    small_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    with serving(folder, folder / "server.log", slots=8) as server:
        yield server
