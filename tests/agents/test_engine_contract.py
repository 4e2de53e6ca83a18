"""What every engine must do. A new engine gets these tests by an entry in ``ENGINES``."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from proofgym.agents.engine import Completion, Engine, Finish
from proofgym.agents.errors import EngineError
from proofgym.agents.process_engine import ProcessEngine
from proofgym.agents.transformers_engine import TransformersEngine
from proofgym.envs import Sampling

T = TypeVar("T")
VOCAB = 40
CONTEXT = 64
PROMPT = [3, 1, 4, 1, 5]


def _model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=CONTEXT,
    )
    return Qwen3ForCausalLM(config).eval()


def _fast() -> Engine:
    return TransformersEngine(_model(), max_slots=8, path="fast", version=7)


def _general() -> Engine:
    return TransformersEngine(_model(), max_slots=8, path="general", version=7)


_processes: list[ProcessEngine] = []


def _process() -> Engine:
    """Lend one process to all tests that do not close it: a start takes seconds."""
    if not _processes or _processes[-1].closed:
        _processes.append(ProcessEngine(_model(), max_slots=8, version=7))
    else:
        run(lambda: _processes[-1].load({}, 7))
    return _processes[-1]


# Each makes an engine of version 7, with at least VOCAB ids and a context of CONTEXT.
ENGINES: dict[str, Callable[[], Engine]] = {
    "transformers-fast": _fast,
    "transformers-general": _general,
    "process": _process,
}
SLOW = {"process"}


@pytest.fixture(autouse=True, scope="module")
def _no_process_stays() -> Iterator[None]:
    yield
    while _processes:
        run(_processes.pop().close)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep tiny matrices off the second core: waiting for it costs more than the products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(
    params=[
        pytest.param(make, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, make in ENGINES.items()
    ]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param()
    return made


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work(), timeout=240)

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
    requests = [(PROMPT, Sampling(max_tokens=40), seed) for seed in range(4)]

    async def work() -> tuple[list[Completion], list[Completion]]:
        undisturbed = await asyncio.gather(*(engine.generate(*r) for r in requests))
        tasks = [asyncio.create_task(engine.generate(*request)) for request in requests]
        for _ in range(10):
            await asyncio.sleep(0)
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        del tasks[1]
        return [*undisturbed[:1], *undisturbed[2:]], list(await asyncio.gather(*tasks))

    for expected, got in zip(*run(work), strict=True):
        assert expected.ids.tolist() == got.ids.tolist()


def test_a_paused_engine_waits_and_goes_on(engine: Engine) -> None:
    async def work() -> tuple[bool, Completion, Completion]:
        expected = await engine.generate(PROMPT, Sampling(max_tokens=30), 5)
        task = asyncio.create_task(engine.generate(PROMPT, Sampling(max_tokens=30), 5))
        for _ in range(10):
            await asyncio.sleep(0)
        await engine.pause()
        await asyncio.sleep(0.05)
        finished_early = task.done()
        await engine.resume()
        return finished_early, expected, await task

    finished_early, expected, got = run(work)
    assert not finished_early
    assert got.ids.tolist() == expected.ids.tolist()


def test_a_token_carries_the_version_that_drew_it(engine: Engine) -> None:
    async def work() -> list[list[int]]:
        found = []
        for number in range(30):  # some loads come before all tokens, some after, some between
            task = asyncio.create_task(engine.generate(PROMPT, Sampling(max_tokens=50), 5))
            await asyncio.sleep(0.002 * number)
            await engine.load({}, 8 + number)
            found.append((await task).versions.tolist())
        return found

    found = run(work)
    for number, versions in enumerate(found):
        assert versions == sorted(versions)
        assert set(versions) <= {7 + number, 8 + number}
    assert max(len(set(versions)) for versions in found) == 2


def test_closing_ends_requests_with_what_they_have(engine: Engine) -> None:
    async def work() -> list[Completion]:
        tasks = [
            asyncio.create_task(engine.generate(PROMPT, Sampling(max_tokens=50), s))
            for s in range(12)  # more than there are slots: some have not begun
        ]
        for _ in range(12):
            await asyncio.sleep(0)
        await engine.close()
        done = await asyncio.gather(*tasks)
        with pytest.raises(EngineError, match="closed"):
            await engine.generate(PROMPT, Sampling(), 0)
        return list(done)

    for completion in run(work):
        assert completion.finish is Finish.ABORT
        assert len(completion.ids) == len(completion.logprobs) < 50


def test_the_fingerprint_tells_weights_apart(engine: Engine) -> None:
    async def work() -> list[str]:
        prints = [await engine.load({}, version) for version in (8, 9)]
        assert [p.version for p in prints] == [8, 9]
        return [p.digest for p in prints]

    first, second = run(work)
    assert first == second
    assert len(first) == 64


def test_one_engine_serves_several_event_loops(engine: Engine) -> None:
    first = run(lambda: engine.generate(PROMPT, Sampling(max_tokens=4), 1))
    second = run(lambda: engine.generate(PROMPT, Sampling(max_tokens=4), 1))
    assert first.ids.tolist() == second.ids.tolist()
