"""A lost connection is not a lost server: a real vLLM behind a proxy that cuts."""

import asyncio
from typing import Any

import pytest

from proofgym.agents.engine import Completion
from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine import VLLMEngine
from proofgym.envs import Sampling
from tests.agents.test_engine_contract import PROMPT, small_model
from tests.agents.vllm_engine.cutting_proxy import CuttingProxy, When
from tests.agents.vllm_engine.vllm_server import VLLMServer

pytestmark = pytest.mark.vllm

EVERY = 1_000_000


def engine_at(url: str, **settings: Any) -> VLLMEngine:
    from proofgym.agents.vllm_engine import VLLMConfig

    return VLLMEngine(VLLMConfig.model_validate({"urls": (url,), **settings}))


async def sample(engine: VLLMEngine, count: int) -> list[Completion]:
    asked = (engine.generate(PROMPT, Sampling(max_tokens=12), seed) for seed in range(count))
    return await asyncio.gather(*asked)


@pytest.mark.parametrize("when", list(When))
def test_only_the_request_of_a_dropped_connection_is_asked_again(
    vllm_server: VLLMServer, when: When
) -> None:
    proxy = CuttingProxy(vllm_server.url, when, cuts=3)

    async def work() -> None:
        async with proxy.listening() as url:
            engine = engine_at(url)
            await engine.load(dict(small_model().named_parameters()), 1)
            got = await sample(engine, 6)
            assert (proxy.cut, engine.restarts) == (3, 0)
            expected = await sample(engine, 6)
            await engine.close()
        assert [one.ids.tolist() for one in got] == [one.ids.tolist() for one in expected]
        assert {version for one in got for version in one.versions.tolist()} == {1}

    asyncio.run(asyncio.wait_for(work(), timeout=300))


def test_a_request_that_is_cut_every_time_ends_and_says_why(vllm_server: VLLMServer) -> None:
    proxy = CuttingProxy(vllm_server.url, When.ASKED, cuts=EVERY)

    async def work() -> None:
        async with proxy.listening() as url:
            engine = engine_at(url)
            with pytest.raises(EngineError, match=r"6 lost connections in a row, and .* healthy"):
                await sample(engine, 1)
            assert engine.restarts == 0
            proxy.cuts = 0
            assert len(await sample(engine, 2)) == 2  # the server was never given up
            await engine.close()

    asyncio.run(asyncio.wait_for(work(), timeout=300))


def test_a_server_with_other_weights_behind_a_lost_connection_is_given_the_right_ones(
    vllm_server: VLLMServer,
) -> None:
    """What answers again may be another server, which was started afresh by somebody else."""
    proxy = CuttingProxy(vllm_server.url, When.ASKED, cuts=0)

    async def work() -> None:
        async with proxy.listening() as url:
            engine = engine_at(url)
            await engine.load(dict(small_model().named_parameters()), 7)
            expected = await sample(engine, 1)
            other = vllm_server.engine()
            await other.load(dict(small_model(tied=True).named_parameters()), 0)
            await other.close()
            proxy.cuts = 1
            got = await sample(engine, 1)
            assert (proxy.cut, engine.restarts) == (1, 1)
            await engine.close()
        assert got[0].ids.tolist() == expected[0].ids.tolist()
        assert set(got[0].versions.tolist()) == {7}

    asyncio.run(asyncio.wait_for(work(), timeout=300))
