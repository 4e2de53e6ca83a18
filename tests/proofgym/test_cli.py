"""The command line: what it prints, writes and exits with."""

import json
import tomllib
from pathlib import Path

import pytest

from .command import run_command, run_program

HELP_STARTS = 20  # 0.3 s where a bare start of the interpreter takes 0.015
HEAVY = ("torch", "transformers", "pydantic", "numpy", "gymnasium", "sympy", "proofgym.envs")


def test_help_takes_little_cpu() -> None:
    done = run_program("--help")
    assert done.code == 0
    assert {"train", "eval", "play", "envs"} <= set(done.out.replace("│", " ").split())
    # a slow or busy machine charges more, also for a bare start, so the best ratio of a few counts
    ratios = (
        run_program("--help").cpu_s / run_program(python=("-c", "pass")).cpu_s for _ in range(5)
    )
    assert any(ratio < HELP_STARTS for ratio in ratios)


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("--version",)], ids=" ".join)
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    done = run_program(*words, python=("-X", "importtime", "-m", "proofgym"))
    assert done.code == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert loaded & set(HEAVY) == set()


def test_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert run_program("--version").out.strip() == f"proofgym {version('proofgym')}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("envs", "--show", "tools/calculater-v0"), "Did you mean tools/calculator-v0"),
        (("eval", "tools/calculater-v0", "--policy", "oracle"), "Did you mean tools/calculator-v0"),
        (("eval", "tools/calculator-v0", "--policy", "orcale"), "Did you mean oracle?"),
        (("eval", "tools/calculator-v0", "--policy", "oracle", "-n", "0"), "at least 1, got 0"),
        (("eval", "tools/calculator-v0", "--policy", "."), "has no config.json"),
        (("play", "nowhere/at-all-v0"), "no environment has the id 'nowhere/at-all-v0'"),
        (("train", "nowhere.toml"), "got no file at nowhere.toml"),
        (("trian",), "trian"),
        (("train", "--dry-rnu"), "dry-r"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_message_and_exit_code_2(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = run_command(*words, cwd=tmp_path)
    assert done.code == 2
    assert said in done.err.replace("\n", " ")
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback_of_a_mistake(tmp_path: Path) -> None:
    done = run_command("train", "nowhere.toml", "--debug", cwd=tmp_path)
    assert done.code == 2
    assert "Traceback" in done.err


def test_dry_run_prints_the_resolved_configuration_and_writes_nothing(tiny_config: Path) -> None:
    folder = tiny_config.parent
    done = run_command("train", "tiny.toml", "stages.grpo.steps=9", "--dry-run", cwd=folder)
    assert done.code == 0
    printed = tomllib.loads(done.out)
    assert printed["stages"]["grpo"]["steps"] == 9
    assert printed["stages"]["grpo"]["loss"]["clip_high"] == 0.28
    assert [one.name for one in folder.iterdir()] == ["tiny.toml"]


def test_an_unknown_key_writes_nothing(tiny_config: Path) -> None:
    folder = tiny_config.parent
    done = run_command("train", "tiny.toml", "stages.grpo.optimzer.lr=1", cwd=folder)
    assert done.code == 2
    assert "stages.grpo.optimzer is not a key. Did you mean stages.grpo.optimizer?" in done.err
    assert "Traceback" not in done.err
    assert [one.name for one in folder.iterdir()] == ["tiny.toml"]


WITHOUT_TORCH = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "transformers", "tokenizers", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from proofgym.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [("train", "tiny.toml"), ("eval", "tools/calculator-v0", "--policy", ".")],
    ids=["train", "eval"],
)
def test_without_torch_the_extra_is_named(words: tuple[str, ...], tiny_config: Path) -> None:
    (tiny_config.parent / "config.json").write_text("{}")
    done = run_program(*words, cwd=tiny_config.parent, python=("-c", WITHOUT_TORCH))
    assert done.code == 1
    assert "pip install 'proofgym[train]'" in done.err
    assert "Traceback" not in done.err


def test_without_torch_a_scripted_policy_is_measured(tmp_path: Path) -> None:
    words = ("eval", "tools/calculator-v0", "--policy", "oracle", "-n", "20")
    done = run_program(*words, cwd=tmp_path, python=("-c", WITHOUT_TORCH))
    assert done.code == 0, done.err
    assert "pass@1 1.000" in done.out


def test_envs_lists_and_searches() -> None:
    everything, found = run_command("envs"), run_command("envs", "calculator")
    assert "games/guess-number-v0" in everything.out
    assert "textarena/..." in everything.out
    assert "textarena" not in found.out
    assert "tools/calculator-v0" in found.out
    assert "games/guess-number-v0" not in found.out


def test_a_search_without_a_result_says_what_there_is() -> None:
    done = run_command("envs", "zzz")
    assert done.code == 1
    assert "tools/calculator-v0" in done.err


def test_show_describes_tools_tasks_and_scripted_policies() -> None:
    done = run_command("envs", "--show", "tools/calculator-v0")
    assert done.code == 0
    for part in ("tool calculator", "expression", "4 turns", "hurried", "endless"):
        assert part in done.out


def test_eval_prints_and_writes_the_same_numbers(tmp_path: Path) -> None:
    words = ("eval", "tools/calculator-v0", "--policy", "hurried", "-n", "60", "-k", "2")
    done = run_command(*words, "--out", str(tmp_path / "out"))
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    rate = summary["report"]["pass_at_1"]
    printed = f"pass@1 {rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
    assert printed in done.out
    assert "Wilson score, 95%, clustered by task" in done.out
    lines = (tmp_path / "out" / "episodes.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == rate["attempts"] == 120
    assert rate["value"] == sum(row["solved"] for row in rows) / 120
    assert {row["difficulty"] for row in rows} == {"easy", "hard"}


def test_eval_repeats_bit_for_bit_and_varies_with_the_seed(tmp_path: Path) -> None:
    def solved(seed: str, out: str) -> list[tuple[str, bool]]:
        words = ("eval", "tools/calculator-v0", "--policy", "hurried", "-n", "40", "--seed", seed)
        assert run_command(*words, "--out", out, cwd=tmp_path).code == 0
        lines = (tmp_path / out / "episodes.jsonl").read_text().splitlines()
        return [(row["task_id"], row["solved"]) for row in map(json.loads, lines)]

    assert solved("1", "a") == solved("1", "b") != solved("2", "c")


def test_a_person_plays_to_the_verdict() -> None:
    typed = '/calculator {"expression": "1+1"}\nforty\n'
    done = run_command("play", "tools/calculator-v0", "--seed", "3", typed=typed)
    assert done.code == 0, done.err
    assert '/calculator {"expression": "12*34"}' in done.out
    assert "calculator  2" in done.out
    assert "reward so far" in done.out
    assert "Not solved" in done.out


def test_a_malformed_call_is_answered_and_play_goes_on() -> None:
    typed = "/calculator {nonsense\n/abacus {}\n"
    done = run_command("play", "tools/calculator-v0", "--seed", "3", typed=typed)
    assert done.code == 0
    assert "abacus" in done.out
    assert done.out.count("reward so far") == 2


def test_ctrl_d_leaves_politely() -> None:
    done = run_program("play", "games/guess-number-v0")
    assert done.code == 0
    assert "You left" in done.out
    assert "Traceback" not in done.err
