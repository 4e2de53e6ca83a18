"""A real vLLM on the CPU: logprobs, weights, adapters, and servers that do not come up."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from proofgym.agents.engine import Completion, Engine, Fingerprint, Finish
from proofgym.agents.errors import EngineError, WeightSyncError
from proofgym.agents.tiny_policy import tiny_tokenizer
from proofgym.agents.vllm_engine import VLLMConfig, VLLMEngine
from proofgym.agents.vllm_engine.client import ServerClient
from proofgym.agents.vllm_engine.shared_memory import SharedMemoryTransfer
from proofgym.agents.weight_sync import model_logprobs, push_weights
from proofgym.envs import Sampling
from tests.agents.test_engine_contract import PROMPT, long_for, small_model, tokens_pass
from tests.agents.vllm_engine.vllm_server import VLLMServer, need_vllm, serving

pytestmark = pytest.mark.vllm

T = TypeVar("T")
SHARED = [(7 * place) % 39 + 1 for place in range(300)]
"""A prefix of several cache blocks, that every prompt begins with."""


@pytest.fixture(scope="module")
def untied_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    """Serve the model with a head of its own; this server also takes adapters."""
    need_vllm()
    folder = tmp_path_factory.mktemp("untied")
    small_model(tied=False).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    with serving(folder, folder / "server.log", slots=8, lora_rank=8) as server:
        yield server


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work(), timeout=500)

    return asyncio.run(bounded())


def stepped(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Move every weight a little, as an optimiser step does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


async def largest_difference(engine: Engine, model: PreTrainedModel) -> float:
    """Sample at several temperatures behind the shared prefix, and compare with the learner."""
    requests = [
        ([*SHARED, 1 + n], Sampling(temperature=t, max_tokens=32))
        for n, t in enumerate((1.0, 0.7, 1.3, 1.0))
    ]
    done = await asyncio.gather(*(engine.generate(p, s, n) for n, (p, s) in enumerate(requests)))
    differences = [
        abs(one.logprobs - model_logprobs(model, prompt, one, sampling.temperature)).max()
        for (prompt, sampling), one in zip(requests, done, strict=True)
    ]
    return float(max(differences))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_server_and_learner_agree_to_1e_4_after_each_push(
    request: pytest.FixtureRequest, tied: bool
) -> None:
    server: VLLMServer = request.getfixturevalue("vllm_server" if tied else "untied_server")
    engine, model = server.engine(), small_model(tied=tied)

    async def work() -> list[float]:
        differences = []
        for version in (1, 2, 3):
            sync = await push_weights(engine, stepped(model, version), version, tolerance=1e-4)
            assert sync.fingerprint.version == version
            differences.append(await largest_difference(engine, model))
        await engine.close()
        return differences

    assert max(run(work)) < 1e-4


class Corrupting(SharedMemoryTransfer):
    """Change one byte of what was staged, as a bad cable would."""

    def stage(self, weights: Mapping[str, Any]) -> None:
        super().stage(weights)
        tensors = load_file(self.path)
        tensors["model.norm.weight"].view(torch.uint8)[5] ^= 1
        save_file(tensors, self.path)


class Forgetful(SharedMemoryTransfer):
    """Leave the last tensor out."""

    def stage(self, weights: Mapping[str, Any]) -> None:
        super().stage(dict(list(weights.items())[:-1]))


@pytest.mark.parametrize(
    ("transfer", "words"),
    [(Corrupting, r"digest .*, got .*"), (Forgetful, r"1 of \d+ tensors differ.*, None loaded")],
    ids=["one-bit", "one-tensor"],
)
def test_a_corrupted_push_is_caught_with_both_numbers(
    vllm_server: VLLMServer, transfer: type[SharedMemoryTransfer], words: str
) -> None:
    engine = VLLMEngine(VLLMConfig(urls=(vllm_server.url,)), transfer=transfer())

    async def work() -> None:
        with pytest.raises(WeightSyncError, match=words):
            await push_weights(engine, small_model(), 1)
        await engine.close()

    run(work)


def test_a_model_that_did_not_take_the_weights_is_caught_by_the_canary(
    vllm_server: VLLMServer,
) -> None:
    """The bytes arrive, and the server samples with others all the same."""
    engine = vllm_server.engine()

    class Stale(VLLMEngine):
        async def load(self, weights: Mapping[str, Any], version: int) -> Fingerprint:
            printed = await super().load(weights, version)
            await super().load(dict(small_model().named_parameters()), version)
            return printed

    engine.__class__ = Stale

    async def work() -> None:
        with pytest.raises(WeightSyncError, match=r"within 0.001 of the learner's.*difference of"):
            await push_weights(engine, stepped(small_model(), 1), 1)
        await engine.close()

    run(work)


@pytest.mark.parametrize("in_flight", ["abort", "wait"])
def test_requests_in_flight_end_before_new_weights_when_told_so(
    vllm_server: VLLMServer, in_flight: str
) -> None:
    engine = vllm_server.engine(in_flight=in_flight)
    weights = dict(small_model().named_parameters())

    async def work() -> Completion:
        await engine.load(weights, 1)
        task = asyncio.create_task(
            engine.generate(PROMPT, Sampling(max_tokens=long_for(engine)), 1)
        )
        await tokens_pass(engine)
        await engine.load(weights, 2)
        done = await task
        await engine.close()
        return done

    done = run(work)
    assert set(done.versions.tolist()) == {1}
    if in_flight == "wait":
        assert (len(done.ids), done.finish) == (long_for(engine), Finish.LENGTH)
    else:
        assert 0 < len(done.ids) == len(done.logprobs) < long_for(engine)
        assert done.finish is Finish.ABORT


def test_an_adapter_is_served_under_a_fresh_name_for_each_version(
    untied_server: VLLMServer, tmp_path: Path
) -> None:
    import peft

    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "o_proj"], init_lora_weights=False)
    adapted: Any = peft.get_peft_model(small_model(tied=False), lora)
    engine = untied_server.engine()

    async def work() -> list[float]:
        differences = []
        await engine.load(dict(small_model(tied=False).named_parameters()), 1)
        for version in (2, 3):
            with torch.no_grad():
                for parameter in adapted.parameters():
                    if parameter.requires_grad:  # the adapter's
                        parameter.mul_(1.5)
            adapted.save_pretrained(tmp_path / str(version))
            await engine.load_adapter(tmp_path / str(version), version)
            completion = await engine.generate(SHARED, Sampling(max_tokens=16), version)
            assert set(completion.versions.tolist()) == {version}
            expected = model_logprobs(adapted, SHARED, completion, 1.0)
            differences.append(float(abs(completion.logprobs - expected).max()))
        await engine.close()
        return differences

    assert max(run(work)) < 1e-4


def test_a_server_killed_in_mid_generation_costs_no_token(tmp_path: Path) -> None:
    need_vllm()
    small_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    launch = {"device": "cpu", "dtype": "float32", "slots": 8}
    config = VLLMConfig.model_validate({"launch": launch})
    engine = VLLMEngine(config, model=tmp_path, log_folder=tmp_path)

    async def work() -> tuple[list[Completion], list[Completion]]:
        def ask() -> list[asyncio.Task[Completion]]:
            asked = [
                engine.generate(PROMPT, Sampling(max_tokens=long_for(engine)), seed)
                for seed in range(4)
            ]
            return [asyncio.create_task(one) for one in asked]

        await engine.load(dict(stepped(small_model(), 1).named_parameters()), 1)
        expected = await asyncio.gather(*ask())
        again = ask()
        await tokens_pass(engine)
        os.kill(engine.processes[0].pid, signal.SIGKILL)
        got = await asyncio.gather(*again)
        assert engine.restarts >= 1
        await engine.close()
        return expected, got

    for expected, got in zip(*run(work), strict=True):
        assert got.ids.tolist() == expected.ids.tolist()
        assert set(got.versions.tolist()) == {1}  # the weights came back, not the folder's


OWNER = """\
import sys, time
from pathlib import Path
from proofgym.agents.vllm_engine import LaunchConfig, VLLMConfig
from proofgym.agents.vllm_engine.launch import plan_launch
from proofgym.agents.vllm_engine.server_process import ServerProcess, free_port

folder = Path(sys.argv[1])
config = VLLMConfig(launch=LaunchConfig(device="cpu"))
server = ServerProcess(plan_launch(config, folder, free_port()), folder / "log")
print(server.pid, flush=True)
time.sleep(600)
"""


def test_a_server_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    need_vllm()
    small_model().save_pretrained(tmp_path)
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner.stdout:
        group = int(owner.stdout.readline())
    while not (tmp_path / "log").stat().st_size:  # vLLM itself has begun
        assert owner.poll() is None
        assert living(group)
        time.sleep(0.1)
    owner.kill()
    owner.wait()

    end = time.monotonic() + 120
    while living(group):
        assert time.monotonic() < end
        time.sleep(0.1)


def living(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


def test_a_server_that_cannot_serve_the_model_ends_with_its_own_words(tmp_path: Path) -> None:
    need_vllm()
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "x"}')
    config = VLLMConfig.model_validate({"launch": {"device": "cpu"}})
    engine = VLLMEngine(config, model=tmp_path)

    async def work() -> None:
        with pytest.raises(EngineError, match=r"ended with code .* in phase 'start'"):
            await engine.start()
        await engine.close()

    run(work)


def test_a_url_without_a_server_is_named() -> None:
    config = VLLMConfig.model_validate(
        {"urls": ("http://127.0.0.1:9",), "deadlines": {"start": 0.3}}
    )
    engine = VLLMEngine(config)

    async def work() -> None:
        with pytest.raises(EngineError, match=r"'health' of http://127.0.0.1:9 .* 0.3 s"):
            await engine.start()
        await engine.close()
        await ServerClient("http://127.0.0.1:9", "", config.deadlines).close()

    run(work)
