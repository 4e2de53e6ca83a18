"""How servers are started, and which are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proofgym.agents.errors import EngineError
from proofgym.agents.vllm_engine import InFlight, LaunchConfig, VLLMConfig, VLLMEngine
from proofgym.agents.vllm_engine.launch import (
    check_in_flight,
    find_python,
    plan_launch,
    visible_gpus,
)
from proofgym.agents.vllm_engine.server_version import check_version


def plan(**launch: Any) -> tuple[list[str], dict[str, str]]:
    python = Path(__file__)  # exists; nothing is run
    config = VLLMConfig(launch=LaunchConfig(python=str(python), **launch))
    made = plan_launch(config, Path("/model"), 8000)
    return list(made.command), dict(made.environment)


def test_a_server_on_the_cpu_reads_prompts_whole_and_compiles_nothing() -> None:
    command, environment = plan(device="cpu", slots=5, max_context=99)

    assert "--no-enable-chunked-prefill" in command
    assert command[command.index("--max-num-seqs") + 1] == "5"
    assert command[command.index("--max-model-len") + 1] == "99"
    assert environment["TORCH_COMPILE_DISABLE"] == "1"
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "1"


def test_every_server_gives_processed_logprobs_and_takes_weights() -> None:
    command, environment = plan(device="cuda")

    assert command[command.index("--logprobs-mode") + 1] == "processed_logprobs"
    assert command[command.index("--generation-config") + 1] == "vllm"
    transfer = json.loads(command[command.index("--weight-transfer-config") + 1])
    assert transfer == {"backend": "proofgym_shm"}
    assert environment["VLLM_SERVER_DEV_MODE"] == "1"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "--enforce-eager" not in command


@pytest.mark.parametrize(
    ("visible", "number", "given"),
    [
        (None, 0, "1,2"),
        (None, 1, "3,0"),
        ("4,5,6,7", 0, "5,6"),
        ("4,5,6,7", 1, "7,4"),
        ("GPU-a, GPU-b,GPU-c,GPU-d", 1, "GPU-d,GPU-a"),
    ],
)
def test_each_server_sees_its_own_gpus_as_this_process_numbers_them(
    visible: str | None, number: int, given: str
) -> None:
    launch = LaunchConfig(gpus=(1, 2, 3, 0), replicas=2, tensor_parallel=2)
    own = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    assert visible_gpus(launch, number, own) == {"CUDA_VISIBLE_DEVICES": given}


def test_a_server_without_gpus_of_its_own_sees_what_this_process_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")

    assert plan(device="cuda")[1]["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert plan(device="cuda", gpus=(1,))[1]["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_gpu_that_this_process_does_not_see_is_refused() -> None:
    launch = LaunchConfig(gpus=(1,))
    with pytest.raises(EngineError, match=r"launch.gpus must be below 1.*got \[1\]"):
        visible_gpus(launch, 0, {"CUDA_VISIBLE_DEVICES": "0"})


def test_a_python_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match=r"engine.launch.python.*/no/python"):
        find_python(LaunchConfig(python="/no/python"))


@pytest.mark.parametrize("version", ["0.26.0", "0.32.0", "0.33.1.dev4+cpu", "v0.30"])
def test_a_version_of_the_range_is_taken(version: str) -> None:
    check_version(version, allow_untested=False)


@pytest.mark.parametrize("version", ["0.25.9", "0.34.0", "1.0", "", "dev"])
def test_another_version_is_refused_and_the_range_named(version: str) -> None:
    with pytest.raises(EngineError, match=r"0\.26 to 0\.33 \(0\.32 is the one.*allow_untested"):
        check_version(version, allow_untested=False)
    check_version(version, allow_untested=True)


def test_weights_are_not_mixed_in_completions_that_cannot_say_so() -> None:
    with pytest.raises(EngineError, match=r"in_flight = 'keep'.*'wait' or 'abort'"):
        check_in_flight(InFlight.KEEP, versions_each_token=False, url="http://x")
    check_in_flight(InFlight.WAIT, versions_each_token=False, url="http://x")
    check_in_flight(InFlight.KEEP, versions_each_token=True, url="http://x")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"urls": ("localhost:8000",)}, "http://"),
        ({"urls": ("http://a", "http://a")}, "once"),
        ({"launch": {"replica": 2}}, "replica"),
        ({"launch": {"gpus": (0,), "replicas": 2}}, "2 different ones, got \\[0\\]"),
        ({"launch": {"gpus": (1, 1), "replicas": 2}}, "2 different ones"),
        ({"launch": {"gpus": (0,), "device": "cpu"}}, "gpus need device 'cuda'"),
    ],
    ids=["no-scheme", "twice", "unknown-key", "too-few-gpus", "a-gpu-twice", "gpus-on-the-cpu"],
)
def test_a_config_that_cannot_be_meant_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        VLLMConfig.model_validate(settings)


def test_an_engine_needs_servers_or_a_model() -> None:
    with pytest.raises(EngineError, match="urls, or a model"):
        VLLMEngine(VLLMConfig())
