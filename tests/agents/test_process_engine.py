"""What the process adds to the contract: deaths, restarts, weights through shared memory."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from proofgym.agents import Completion, EngineError
from proofgym.agents.process_engine import ProcessEngine
from proofgym.agents.process_engine.frames import Answer, Frames, encode
from proofgym.agents.process_engine.shared_weights import SharedWeights
from proofgym.agents.transformers_engine.fingerprint import fingerprint
from proofgym.envs import Sampling

T = TypeVar("T")
PROMPT = [3, 1, 4]


def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
    )
    return Qwen3ForCausalLM(config).eval()


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work(), timeout=120)

    return asyncio.run(bounded())


@pytest.fixture(scope="module")
def engine() -> Iterator[ProcessEngine]:
    made = ProcessEngine(model(), max_slots=8)
    yield made
    run(made.close)


def test_frames_are_cut_wherever_the_bytes_are() -> None:
    sent = [Answer(number=n, value="x" * n) for n in range(5)]
    stream = b"".join(map(encode, sent))
    for size in (1, 7, len(stream)):
        frames = Frames()
        got = [
            message
            for start in range(0, len(stream), size)
            for message in frames.feed(stream[start : start + size])
        ]
        assert got == sent


def test_shared_tensors_are_those_that_were_written() -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}
    weights = SharedWeights.of(tensors)
    weights.write({"b": torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)})
    other = SharedWeights(os.dup(weights.descriptor), weights.places).tensors()
    assert torch.equal(other["a"], tensors["a"])
    assert other["b"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.slow
def test_the_child_holds_the_weights_that_were_sent_and_draws_from_them(
    engine: ProcessEngine,
) -> None:
    moved = model()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.1)
    sent = dict(moved.named_parameters())

    async def work() -> tuple[Completion, Completion]:
        before = await engine.generate(PROMPT, Sampling(max_tokens=20), 1)
        assert await engine.load(sent, 4) == fingerprint(sent, 4)
        after = await engine.generate(PROMPT, Sampling(max_tokens=20), 1)
        with pytest.raises(EngineError, match="nothing was loaded"):
            await engine.load({"model.norm.weight": torch.ones(3)}, 5)
        return before, after

    before, after = run(work)
    assert before.ids.tolist() != after.ids.tolist()
    assert set(after.versions.tolist()) == {4}


@pytest.mark.slow
def test_a_killed_child_is_replaced_and_asked_again(engine: ProcessEngine) -> None:
    asked = [(PROMPT, Sampling(max_tokens=400), seed) for seed in range(12)]

    async def work() -> tuple[list[Completion], list[Completion]]:
        expected = await asyncio.gather(*(engine.generate(*one) for one in asked))
        tasks = [asyncio.create_task(engine.generate(*one)) for one in asked]
        await asyncio.sleep(0.05)
        os.kill(engine.pid, signal.SIGKILL)
        return expected, await asyncio.gather(*tasks)

    version = engine.version
    for expected, got in zip(*run(work), strict=True):
        assert got.ids.tolist() == expected.ids.tolist()
        np.testing.assert_allclose(got.logprobs, expected.logprobs, atol=1e-5)
        assert set(got.versions.tolist()) == {version}


@pytest.mark.slow
def test_a_child_that_keeps_dying_is_an_error_with_its_last_words() -> None:
    made = ProcessEngine(model(), device="no-such-device", max_deaths=2)

    async def work() -> None:
        with pytest.raises(EngineError, match=r"(?s)died 2 times in a row.*no-such-device"):
            await made.generate(PROMPT, Sampling(), 0)
        with pytest.raises(EngineError, match="2 times"):
            await made.generate(PROMPT, Sampling(), 0)

    run(work)


def test_a_child_that_does_not_answer_is_an_error_that_names_what_was_asked() -> None:
    made = ProcessEngine(model(), wait_s=0.01)  # no start is that fast

    async def work() -> None:
        with pytest.raises(EngineError, match=r"answer a Load within 0\.01 s"):
            await made.load({}, 1)

    run(work)
    run(made.close)


@pytest.mark.slow
def test_the_child_ends_with_its_trainer() -> None:
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as weights:
        descriptors = (theirs.fileno(), weights.fileno())
        words = [sys.executable, "-m", "proofgym.agents.process_engine.child"]
        child = subprocess.Popen([*words, *map(str, descriptors)], pass_fds=descriptors)
    theirs.close()
    ours.close()  # what the kernel does when the trainer is killed
    assert child.wait(timeout=240) == 0
