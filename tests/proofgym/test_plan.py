"""proofgym plan: what it takes, what it says, and with which exit code."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from proofgym.cli import main
from proofgym.cli.plan import parse_size
from proofgym.errors import UsageError

RECIPES = Path(__file__).parents[2] / "recipes"


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code = main(["plan", *words, "--json"])
    table: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (0 if table["fits"] else 1)
    return table


@pytest.mark.parametrize("name", ["gpu_smoke", "gpu_two"])
def test_the_gpu_recipes_fit_a_card_of_80_gib(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = planned(capsys, str(RECIPES / f"{name}.toml"), "--gpu-memory", "80GiB")

    assert table["fits"]
    assert 20e6 < table["model"]["parameters"] < 100e6
    parts = {device["name"]: sorted(device["parts"]) for device in table["devices"]}
    learner = ["CUDA of the learner", "learner"]
    if name == "gpu_smoke":
        assert parts == {"cuda:0": [*learner, "server 0"]}
    else:
        assert parts == {"cuda:0": learner, "cuda:1": ["server 0"]}


def test_a_run_that_does_not_fit_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(RECIPES / "gpu_smoke.toml")
    assert main(["plan", recipe, "--gpu-memory", "4GiB"]) == 1
    said = capsys.readouterr().out
    assert "does not fit" in said
    assert "activations of a micro-batch" in said

    checkpointed = "stages.{}.learner.activation_checkpointing=true"
    less = [checkpointed.format(stage) for stage in ("sft", "grpo")]
    assert main(["plan", recipe, *less, "--gpu-memory", "4GiB"]) == 0


def test_the_parts_add_up_and_checkpointing_is_shown_both_ways(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = planned(capsys, str(RECIPES / "gpu_smoke.toml"), "--gpu-memory", "40GiB")
    for stage in table["stages"]:
        memory = stage["memory"]
        parts = sum(size for name, size in memory.items() if name != "peak")
        assert memory["peak"] == parts
        assert stage["otherwise"]["peak"] < memory["peak"]  # that is with checkpointing
        assert memory["optimizer"] == 2 * memory["weights"]
    engine = table["engine"]
    assert engine["reserve"] == math.floor(0.3 * 40 * 2**30)
    assert engine["weights"] == 2 * table["model"]["parameters"]
    assert engine["cache"] == 512 * 256 * 2 * 8 * 4 * 64 * 2  # slots, tokens, layers, heads, size


def test_an_engine_without_room_for_one_sequence_does_not_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    starved = 'engine.launch.arguments=["--gpu-memory-utilization", "0.0005"]'
    recipe = str(RECIPES / "gpu_smoke.toml")
    assert main(["plan", recipe, starved, "--gpu-memory", "80GiB"]) == 1
    assert "does not hold one sequence" in capsys.readouterr().out


def test_without_a_gpu_it_is_the_machines_memory(capsys: pytest.CaptureFixture[str]) -> None:
    table = planned(capsys, str(RECIPES / "quickstart.toml"), "device=cpu")
    (device,) = table["devices"]
    assert device["name"] == "memory"
    assert sorted(device["parts"]) == ["engine", "learner"]
    assert table["fits"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to plan for")
def test_a_run_for_a_gpu_asks_for_one_where_there_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in ([str(RECIPES / "gpu_smoke.toml")],
                  [str(RECIPES / "quickstart.toml"), "device=cuda:1"]):  # fmt: skip
        assert main(["plan", *words]) == 2
        assert "--gpu-memory 80GiB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"),
    [("80GiB", 80 * 2**30), ("141GB", 141 * 10**9), ("24g", 24 * 2**30), ("1.5 TiB", 3 * 2**39)],
)
def test_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["80", "GiB", "80 GiX", "-1GiB", ""])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a size such as 80GiB"):
        parse_size(text)
