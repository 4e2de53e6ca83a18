"""What every engine must do. A new engine gets these tests by an entry in ``ENGINES``."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from proofgym.agents import ScriptedEngine
from proofgym.agents.engine import Completion, Engine, Fingerprint, Finish
from proofgym.agents.errors import EngineError
from proofgym.agents.process_engine import ProcessEngine
from proofgym.agents.transformers_engine import TransformersEngine, fingerprint
from proofgym.agents.vllm_engine import VLLMEngine
from proofgym.envs import Sampling, derive
from tests.agents.vllm_engine.vllm_server import VLLMServer

T = TypeVar("T")
VOCAB = 40
CONTEXT = 4096
TRIES = 4  # of what a server may have ended before our word reaches it
PROMPT = [3, 1, 4, 1, 5]


def small_model(*, tied: bool = True) -> PreTrainedModel:
    """Build the same model every time, in a shape that vLLM's CPU kernels serve."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=tied,
    )
    return Qwen3ForCausalLM(config).eval()


def _scripted(_: pytest.FixtureRequest) -> Engine:
    def draw(prompt: list[int], drawn: int, sampling: Sampling, seed: int) -> int:
        return derive(drawn, 0 if sampling.temperature == 0 else seed, *prompt) % VOCAB

    return ScriptedEngine(draw, vocab_size=VOCAB, max_context=CONTEXT, slots=8, version=7)


def _fast(_: pytest.FixtureRequest) -> Engine:
    return TransformersEngine(small_model(), max_slots=8, path="fast", version=7)


def _general(_: pytest.FixtureRequest) -> Engine:
    return TransformersEngine(small_model(), max_slots=8, path="general", version=7)


_processes: list[ProcessEngine] = []


def _process(_: pytest.FixtureRequest) -> Engine:
    """Lend one process to all tests that do not close it: a start takes seconds."""
    if not _processes or _processes[-1].closed:
        _processes.append(ProcessEngine(small_model(), max_slots=8, version=7))
    else:
        asyncio.run(_given(_processes[-1], dict(small_model().named_parameters())))
    return _processes[-1]


@pytest.fixture(autouse=True, scope="module")
def _no_process_stays() -> Iterator[None]:
    yield
    while _processes:
        run(_processes.pop().close)


def _vllm(request: pytest.FixtureRequest) -> Engine:
    server: VLLMServer = request.getfixturevalue("vllm_server")
    engine = server.engine(version=7)
    weights = dict(small_model().named_parameters())
    asyncio.run(_given(engine, weights))  # a test before may have left others
    return engine


async def _given(engine: Engine, weights: Mapping[str, Any]) -> None:
    await engine.load(weights, 7)


# Each makes an engine of version 7 and 8 slots, that serves ``small_model()``.
ENGINES = [
    pytest.param(_scripted, id="scripted"),
    pytest.param(_fast, id="transformers-fast"),
    pytest.param(_general, id="transformers-general"),
    pytest.param(_process, id="process", marks=pytest.mark.slow),
    pytest.param(_vllm, id="vllm", marks=pytest.mark.vllm),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep tiny matrices off the second core: waiting for it costs more than the products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: Engine = request.param(request)
    yield made
    if not isinstance(made, ProcessEngine):  # it is lent on
        asyncio.run(made.close())


@pytest.fixture
def weights() -> Mapping[str, Any]:
    return dict(small_model().named_parameters())


def long_for(engine: Engine) -> int:
    """Return how many tokens keep a request under way while this process asks for other things.

    A server draws on while we wait for a core, which can take a second.
    """
    return 3000 if isinstance(engine, VLLMEngine) else 400


async def tokens_pass(engine: Engine) -> None:
    """Wait until all requests made so far have drawn some tokens.

    The second round trip is for servers: a request may be on a connection that opens later.
    """
    await asyncio.sleep(0)  # tasks made so far send theirs first
    for _ in range(2):
        await engine.generate(PROMPT, Sampling(max_tokens=3), 0)


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work(), timeout=300)

    return asyncio.run(bounded())


def test_ids_logprobs_and_versions_belong_together(engine: Engine) -> None:
    done = run(lambda: engine.generate(PROMPT, Sampling(max_tokens=6), 0))

    assert (done.ids.dtype, done.logprobs.dtype, done.versions.dtype) == (
        np.int32,
        np.float32,
        np.int32,
    )
    assert done.ids.shape == done.logprobs.shape == done.versions.shape == (6,)
    assert ((done.ids >= 0) & (done.ids < VOCAB)).all()
    assert (done.logprobs <= 0).all()
    assert (done.versions == 7).all()
    assert done.finish is Finish.LENGTH


def test_a_seed_repeats_itself_and_another_differs(engine: Engine) -> None:
    async def work() -> list[Completion]:
        return [await engine.generate(PROMPT, Sampling(max_tokens=20), s) for s in (1, 1, 2, -1)]

    first, again, other, negative = run(work)

    assert first.ids.tolist() == again.ids.tolist()
    assert len({tuple(c.ids.tolist()) for c in (first, other, negative)}) == 3


def test_a_draw_does_not_depend_on_company_or_order(engine: Engine) -> None:
    requests = [(PROMPT[: 1 + i % 5], Sampling(max_tokens=3 + i % 7), i) for i in range(24)]

    async def alone() -> list[Completion]:
        return [await engine.generate(*request) for request in requests]

    async def together() -> list[Completion]:
        done = await asyncio.gather(*(engine.generate(*r) for r in reversed(requests)))
        return list(reversed(done))

    for one, many in zip(run(alone), run(together), strict=True):
        assert one.ids.tolist() == many.ids.tolist()
        np.testing.assert_allclose(one.logprobs, many.logprobs, atol=1e-5)


def test_a_stop_token_ends_the_completion_and_is_kept(engine: Engine) -> None:
    stops = tuple(range(0, VOCAB, 2))
    done = run(lambda: engine.generate(PROMPT, Sampling(max_tokens=50, stop_ids=stops), 3))

    assert done.finish is Finish.STOP
    assert done.ids[-1] in stops
    assert not np.isin(done.ids[:-1], stops).any()


def test_the_context_ends_a_completion(engine: Engine) -> None:
    prompt = [1] * (CONTEXT - 3)
    done = run(lambda: engine.generate(prompt, Sampling(max_tokens=50), 0))

    assert engine.max_context == CONTEXT
    assert (len(done.ids), done.finish) == (3, Finish.LENGTH)


def test_greedy_ignores_the_seed(engine: Engine) -> None:
    async def work() -> list[Completion]:
        return [
            await engine.generate(PROMPT, Sampling(temperature=0.0, max_tokens=9), s)
            for s in (1, 2)
        ]

    first, second = run(work)
    assert first.ids.tolist() == second.ids.tolist()


@pytest.mark.parametrize(
    ("prompt", "sampling", "words"),
    [
        ([], Sampling(), "at least one token"),
        ([1] * CONTEXT, Sampling(), "max_context"),
        ([1] * (CONTEXT + 9), Sampling(), "max_context"),
        ([1, VOCAB], Sampling(), "ids"),
        ([1, -1], Sampling(), "ids"),
        ([1], Sampling(max_tokens=0), "max_tokens"),
        ([1], Sampling(temperature=-1.0), "temperature"),
        ([1], Sampling(temperature=float("nan")), "temperature"),
        ([1], Sampling(stop_ids=(VOCAB,)), "stop_ids"),
    ],
    ids=["empty", "full", "too-long", "unknown-id", "negative-id", "none", "cold", "nan", "stop"],
)
def test_a_bad_request_is_refused_and_the_engine_lives(
    engine: Engine, prompt: list[int], sampling: Sampling, words: str
) -> None:
    async def work() -> Completion:
        with pytest.raises(EngineError, match=words):
            await engine.generate(prompt, sampling, 0)
        return await engine.generate(PROMPT, Sampling(max_tokens=2), 0)

    assert len(run(work).ids) == 2


def test_cancelling_one_request_leaves_the_others_as_they_were(engine: Engine) -> None:
    requests = [(PROMPT, Sampling(max_tokens=long_for(engine)), seed) for seed in range(4)]

    async def disturbed() -> tuple[bool, list[Completion]]:
        tasks = [asyncio.create_task(engine.generate(*request)) for request in requests]
        await tokens_pass(engine)
        in_time = tasks.pop(1).cancel()
        return in_time, list(await asyncio.gather(*tasks))

    expected = run(lambda: asyncio.gather(*(engine.generate(*r) for r in requests)))
    del expected[1]
    for _ in range(TRIES):
        in_time, got = run(disturbed)
        for one, other in zip(expected, got, strict=True):
            assert one.ids.tolist() == other.ids.tolist()
        if in_time:
            return
    pytest.fail("each request ended before it was cancelled")


def test_a_cancelled_request_raises(engine: Engine) -> None:
    async def work() -> bool:
        task = asyncio.create_task(
            engine.generate(PROMPT, Sampling(max_tokens=long_for(engine)), 1)
        )
        await tokens_pass(engine)
        if not task.cancel():
            return False
        with pytest.raises(asyncio.CancelledError):
            await task
        return True

    assert any(run(work) for _ in range(TRIES))


def test_a_paused_engine_waits_and_goes_on(engine: Engine) -> None:
    async def work() -> tuple[bool, Completion]:
        task = asyncio.create_task(
            engine.generate(PROMPT, Sampling(max_tokens=long_for(engine)), 5)
        )
        await tokens_pass(engine)
        await engine.pause()
        await asyncio.sleep(0.05)
        waited = not task.done()
        await engine.resume()
        return waited, await task

    expected = run(lambda: engine.generate(PROMPT, Sampling(max_tokens=long_for(engine)), 5))
    for _ in range(TRIES):
        waited, got = run(work)
        assert got.ids.tolist() == expected.ids.tolist()
        if waited:
            return
    pytest.fail("each request ended in spite of the pause")


def test_a_token_carries_the_version_that_drew_it(
    engine: Engine, weights: Mapping[str, Any]
) -> None:
    async def work(version: int) -> list[int]:
        task = asyncio.create_task(
            engine.generate(PROMPT, Sampling(max_tokens=long_for(engine)), 5)
        )
        await tokens_pass(engine)
        await engine.load(weights, version + 1)
        await tokens_pass(engine)
        await engine.load(weights, version + 2)
        return (await task).versions.tolist()

    # a server may end a completion before the second push reaches it, so it has a few tries
    for version in range(7, 17, 2):
        versions = run(lambda version=version: work(version))
        assert versions == sorted(versions)
        assert set(versions) <= {version, version + 1, version + 2}
        if len(set(versions)) == 3:
            break
    assert len(set(versions)) == 3


def test_of_waiting_requests_the_lowest_priority_goes_first(engine: Engine) -> None:
    async def work() -> list[str]:
        ended: list[str] = []

        async def ask(name: str, seed: int, tokens: int, priority: int) -> None:
            await engine.generate(PROMPT, Sampling(max_tokens=tokens), seed, priority=priority)
            ended.append(name)

        # as many as there are slots, and for so long that a server knows all others when they end
        holding = [
            asyncio.create_task(ask("first", seed, long_for(engine), 0)) for seed in range(8)
        ]
        waiting = [asyncio.create_task(ask("later", seed, 60, 5)) for seed in range(24)]
        await asyncio.sleep(0)
        await asyncio.gather(*holding, *waiting, ask("urgent", 0, 20, 1))
        return ended

    for _ in range(TRIES):
        ended = run(work)
        assert len(ended) == 33
        if ended.index("urgent") <= 16:  # and not behind the 24 that came before it
            return
    pytest.fail("the urgent request ended behind those that could wait")


def test_closing_ends_requests_with_what_they_have(engine: Engine) -> None:
    async def work() -> list[Completion]:
        tasks = [
            asyncio.create_task(engine.generate(PROMPT, Sampling(max_tokens=long_for(engine)), s))
            for s in range(64)  # eight times what there are slots
        ]
        await asyncio.sleep(0.01)
        await engine.close()
        done = await asyncio.gather(*tasks)
        with pytest.raises(EngineError, match="closed"):
            await engine.generate(PROMPT, Sampling(), 0)
        return list(done)

    done, most = run(work), long_for(engine)
    for completion in done:
        ended = completion.finish is not Finish.ABORT  # by itself, before it was told to
        assert len(completion.ids) == len(completion.logprobs)
        assert len(completion.ids) == most if ended else len(completion.ids) < most
    assert done[-1].finish is Finish.ABORT


def test_the_fingerprint_is_that_of_the_weights_sent(
    engine: Engine, weights: Mapping[str, Any]
) -> None:
    changed = {**weights, "model.norm.weight": 2 * weights["model.norm.weight"]}

    async def work() -> list[Fingerprint]:
        return [await engine.load(w, v) for v, w in ((8, weights), (9, weights), (10, changed))]

    first, again, other = run(work)
    assert (first.version, again.version, other.version) == (8, 9, 10)
    assert first == fingerprint(weights, 8)
    assert first.digest == again.digest != other.digest


def test_one_engine_serves_several_event_loops(engine: Engine) -> None:
    first = run(lambda: engine.generate(PROMPT, Sampling(max_tokens=4), 1))
    second = run(lambda: engine.generate(PROMPT, Sampling(max_tokens=4), 1))
    assert first.ids.tolist() == second.ids.tolist()
