"""Whole runs of a tiny policy: the same twice, and across interruptions."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from proofgym.agents import EvalReport, read_episodes
from proofgym.envs import Env, Episode, Limits, tool
from proofgym.trainers.errors import (
    FaultRateError,
    MonitorError,
    RunFolderError,
    StoppedError,
)
from proofgym.trainers.ledger import check_ledger, count_ledger, read_ledger
from proofgym.trainers.metrics import read_metrics
from proofgym.trainers.monitors import Finding
from proofgym.trainers.run import Run
from proofgym.trainers.run_config import RunConfig
from proofgym.verifiers import Message, Task, Transcript, assistant, tool_call, verifier


@tool
def double(number: int) -> str:
    """Double it.

    Args:
        number: any
    """
    return str(2 * number)


def characters(task: Task, transcript: Transcript) -> float:
    """Pay for the text's code points: a random policy's rewards differ."""
    return sum(map(ord, transcript.final_text)) % 5 / 4


def say_number(task: Task) -> str:
    return task.id


def call_first(task: Task) -> list[Message]:
    return [assistant("", tool_call("double", number=int(task.id))), assistant(task.id)]


class Characters(Env, id="test/characters-v0"):
    """Gives rewards that a policy without any skill can tell apart."""

    tasks = tuple(Task(id=f"{n}", prompt=f"{n}") for n in range(40))
    tools = (double,)
    rubric = verifier(characters)
    limits = Limits(turns=3, tokens=32)
    oracle = say_number
    demonstrators = {"caller": call_first, "hurried": say_number}  # noqa: RUF012


TINY = {
    "kind": "tiny",
    "hidden_size": 16,
    "layers": 1,
    "heads": 2,
    "kv_heads": 1,
    "head_dim": 8,
    "mlp_size": 24,
    "max_context": 128,
}
OPTIMIZER = {"lr": 5e-3, "warmup_steps": 2, "final_fraction": 0.1}


def config(**changed: Any) -> RunConfig:
    sft = {
        "kind": "sft",
        "steps": 4,
        "batch_size": 4,
        "demonstrators": {"caller": 0.5, "hurried": 0.5},
        "optimizer": OPTIMIZER,
    }
    rl = {
        "kind": "rl",
        "init": "sft",
        "steps": 5,
        "prompts": 3,
        "group_size": 4,
        "max_tokens": 12,
        "optimizer": OPTIMIZER,
        **changed.pop("rl", {}),
    }
    return RunConfig.model_validate(
        {
            "name": "tiny",
            "environment": Characters.id,
            "device": "cpu",
            "torch_threads": 1,
            "engine": {"kind": "embedded", "slots": 16},
            "checkpoint_every": 2,
            "model": TINY,
            "evaluation": {"tasks": 6, "max_tokens": 12},
            "stages": {"sft": sft, "rl": rl},
            **changed,
        }
    )


class Watcher:
    """Counts, and may stop the run after a step."""

    def __init__(self, stop_after: tuple[str, int] | None = None) -> None:
        self.stop_after = stop_after
        self.stop: Callable[[], None] = lambda: None
        self.steps: list[tuple[str, int]] = []
        self.evaluated: list[str] = []
        self.episodes = 0
        self.findings: list[Finding] = []

    def on_stage(self, stage: str, kind: str, done: int, total: int) -> None: ...

    def on_episode(self, episode: Episode) -> None:
        self.episodes += 1

    def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        self.steps.append((stage, step))
        if self.stop_after == (stage, step):
            self.stop()

    def on_evaluation(self, stage: str, report: EvalReport) -> None:
        self.evaluated.append(stage)

    def on_finding(self, stage: str, finding: Finding) -> None:
        self.findings.append(finding)


class KilledError(BaseException):
    """Stands for a kill: nothing of the run's own code may catch it."""


def run(path: Path, settings: RunConfig) -> Watcher:
    watcher = Watcher()
    Run(settings, path, watcher).execute()
    return watcher


def stopped(path: Path, settings: RunConfig, at: tuple[str, int], *, kill: bool) -> None:
    """Play a run until a step, and end it there: asked to, or killed."""
    watcher = Watcher(at)
    made = Run(settings, path, watcher)

    def killed() -> None:
        raise KilledError

    watcher.stop = killed if kill else made.request_stop
    with pytest.raises(KilledError if kill else StoppedError):
        made.execute()


def weights(path: Path, stage: str = "rl") -> dict[str, torch.Tensor]:
    model: Any = AutoModelForCausalLM.from_pretrained(
        path / "checkpoints" / stage, dtype=torch.float32
    )
    return dict(model.state_dict())


def assert_same_weights(one: Path, other: Path, stage: str = "rl") -> None:
    first, second = weights(one, stage), weights(other, stage)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def timeless(path: Path) -> list[str]:
    """Give the metrics' lines without what depends on the clock."""
    lines = []
    for record in read_metrics(path / "metrics.jsonl"):
        kept = {
            key: value
            for key, value in record.items()
            if not key.startswith(("time/", "tok_s/")) and key != "seconds"
        }
        lines.append(json.dumps(kept))
    return lines


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    run(path, config())
    return path


def test_a_run_does_its_stages_and_leaves_what_it_promises(tmp_path: Path) -> None:
    watcher = run(tmp_path, config())
    assert watcher.evaluated == ["base", "sft", "rl"]
    assert watcher.steps == [("sft", n) for n in range(1, 5)] + [("rl", n) for n in range(1, 6)]
    assert watcher.episodes == 5 * 12
    records = read_metrics(tmp_path / "metrics.jsonl")
    kinds = [(record["kind"], record["stage"]) for record in records if record["kind"] != "finding"]
    assert kinds == [
        ("evaluation", "base"),
        *[("step", "sft")] * 4,
        ("evaluation", "sft"),
        *[("step", "rl")] * 5,
        ("evaluation", "rl"),
    ]
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["base", "rl", "sft"]
    assert len(read_episodes(tmp_path / "episodes" / "rl-000005.jsonl")) == 12
    assert len(read_episodes(tmp_path / "episodes" / "eval-rl.jsonl")) == 6


def test_the_same_seed_gives_the_same_numbers_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, config())
    assert timeless(tmp_path) == timeless(whole)
    assert_same_weights(tmp_path, whole)


def test_another_seed_gives_another_run(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, config(seed=1))
    assert timeless(tmp_path) != timeless(whole)


@pytest.mark.parametrize("kill", [False, True], ids=["asked to stop", "killed"])
@pytest.mark.parametrize(
    "at", [("sft", 3), ("rl", 2), ("rl", 3)], ids=lambda at: f"{at[0]} {at[1]}"
)
def test_an_interrupted_run_goes_on_to_the_same_weights_and_metrics(
    whole: Path, tmp_path: Path, at: tuple[str, int], kill: bool
) -> None:
    stopped(tmp_path, config(), at, kill=kill)
    run(tmp_path, config())
    assert_same_weights(tmp_path, whole)
    assert timeless(tmp_path) == timeless(whole)
    for name in ("rl-000003", "rl-000005"):
        one, other = (
            read_episodes(path / "episodes" / f"{name}.jsonl") for path in (tmp_path, whole)
        )
        drawn = [
            [(turn.ids.tolist(), turn.versions.tolist()) for episode in episodes
             for turn in episode.turns] for episodes in (one, other)
        ]  # fmt: skip
        assert drawn[0] == drawn[1]


def test_a_step_of_several_updates_resumes_at_the_step_it_was_in(tmp_path: Path) -> None:
    settings = config(rl={"updates": 2, "prompts": 6, "steps": 5})
    run(tmp_path / "whole", settings)
    stopped(tmp_path / "cut", settings, ("rl", 3), kill=True)
    watcher = run(tmp_path / "cut", settings)
    assert watcher.steps == [("rl", 3), ("rl", 4), ("rl", 5)]
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")


def test_a_stage_with_adapters_and_dropout_resumes_at_the_step_it_was_in(tmp_path: Path) -> None:
    adapter = {"kind": "lora", "rank": 2, "dropout": 0.2}
    settings = config(rl={"learner": {"adapter": adapter}, "filter_flat_groups": False})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, settings)
    stopped(killed, settings, ("rl", 3), kill=True)
    run(killed, settings)
    assert timeless(killed) == timeless(whole)
    assert_same_weights(whole, killed)


def test_steps_without_any_signal_are_skipped_and_still_counted(tmp_path: Path) -> None:
    # one token is no whole message: every episode is cut, and gets the same reward
    settings = config(rl={"max_tokens": 1}, environment="tools/calculator-v0")
    stopped(tmp_path, settings, ("rl", 3), kill=True)
    watcher = run(tmp_path, settings)
    assert watcher.steps == [("rl", 3), ("rl", 4), ("rl", 5)]
    records = [one for one in read_metrics(tmp_path / "metrics.jsonl") if one["stage"] == "rl"]
    skipped = [one for one in records if one.get("group/frac_zero_std") == 1.0]
    assert skipped, "the case must be met, to be tested"
    assert all("loss" not in one for one in skipped)
    assert [one["step"] for one in records if one["kind"] == "step"] == [1, 2, 3, 4, 5]


def test_a_finished_run_does_nothing_more(whole: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    watcher = run(whole, config())
    assert (watcher.steps, watcher.evaluated) == ([], [])
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_another_configuration_is_refused_and_changes_nothing(whole: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    with pytest.raises(RunFolderError, match="seed: 0 there, 5 now"):
        Run(config(seed=5), whole, Watcher())
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_checkpoints_load_with_the_auto_classes_and_know_tools(whole: Path) -> None:
    for stage in ("base", "sft", "rl"):
        folder = whole / "checkpoints" / stage
        model: Any = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        schema = {"name": "double", "parameters": {"properties": {"number": {}}}}
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "1+1"}],
            tools=[{"type": "function", "function": schema}],
            tokenize=False,
            add_generation_prompt=True,
        )
        assert text.startswith("<|tools|>double(number)<|end|>")
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        assert model(input_ids=ids).logits.shape[-1] == len(tokenizer)


def test_training_moves_the_weights(whole: Path) -> None:
    for before, after in (("base", "sft"), ("sft", "rl")):
        first, second = weights(whole, before), weights(whole, after)
        assert any(not torch.equal(first[name], second[name]) for name in first)


def test_too_many_faults_stop_the_run_with_its_checkpoints_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Run(config(), tmp_path, Watcher())
    fails = {"now": False}
    real = made.environment.areset

    async def areset(self: Any, *args: Any, **kwargs: Any) -> Any:
        if fails["now"]:
            raise RuntimeError("the data base is gone")
        return await real(self, *args, **kwargs)

    class Breaks(Watcher):
        def on_step(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
            fails["now"] = (stage, step) == ("rl", 3)

    monkeypatch.setattr(made.environment, "areset", areset)
    made.reporter = Breaks()
    with pytest.raises(FaultRateError, match="the data base is gone"):
        made.execute()
    assert [(one.stage, one.step) for one, _ in made.folder.positions()] == [("sft", 4), ("rl", 2)]


def test_the_ledger_adds_up_and_is_the_same_across_a_kill(whole: Path, tmp_path: Path) -> None:
    counts = check_ledger(whole / "ledger.sqlite", "rl")
    assert counts.issued == 5 * 12
    stopped(tmp_path, config(), ("rl", 3), kill=True)
    assert count_ledger(tmp_path / "ledger.sqlite").issued == 3 * 12
    run(tmp_path, config())
    assert read_ledger(tmp_path / "ledger.sqlite") == read_ledger(whole / "ledger.sqlite")


STRICT = {"threshold": 0.01, "steps": 1}


def test_a_monitor_that_stops_does_so_saved_and_the_run_can_go_on(tmp_path: Path) -> None:
    monitors = {"truncation": {**STRICT, "action": "stop"}}
    settings = config(rl={"monitors": monitors})
    with pytest.raises(MonitorError, match="len/truncated_frac"):
        run(tmp_path, settings)
    (*_, (position, _)) = Run(settings, tmp_path, Watcher()).folder.positions()
    assert (position.stage, position.step) == ("rl", 1)
    assert run(tmp_path, settings).steps[0] == ("rl", 2)


def test_a_correction_holds_from_the_next_step_on_also_across_a_kill(tmp_path: Path) -> None:
    correct = {"loss.clip_high": 0.5, "overlong": {"kind": "mask"}}
    monitors = {"truncation": {**STRICT, "action": "correct", "correct": correct}}
    settings = config(rl={"monitors": monitors})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    watcher = run(whole, settings)
    assert [finding.monitor for finding in watcher.findings] == ["truncation"]
    first = next(one for one in read_metrics(whole / "metrics.jsonl") if one["kind"] == "finding")
    assert first["correct"] == correct
    stopped(killed, settings, ("rl", 3), kill=True)
    run(killed, settings)
    assert timeless(killed) == timeless(whole)
    assert_same_weights(whole, killed)


@pytest.mark.parametrize("key", ["optimizer.lr", "steps", "loss.nonsense"])
def test_a_correction_of_what_cannot_change_is_refused(key: str) -> None:
    monitors = {"truncation": {**STRICT, "action": "correct", "correct": {key: 1}}}
    with pytest.raises(ValueError, match=r"may not name|nonsense"):
        config(rl={"monitors": monitors})


def test_held_out_tasks_are_measured_within_a_stage(whole: Path, tmp_path: Path) -> None:
    evaluation = {"tasks": 6, "max_tokens": 12, "every": 2}
    run(tmp_path, config(evaluation=evaluation))
    found = [one for one in read_metrics(tmp_path / "metrics.jsonl") if one["kind"] == "heldout"]
    assert [one["step"] for one in found] == [2, 4]
    assert_same_weights(whole, tmp_path)  # looking changes nothing


def test_staleness_needs_an_engine_with_weights_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"engine\.kind = 'process'"):
        config(rl={"staleness": 1})
    config(rl={"staleness": 1}, engine={"kind": "process"})


@pytest.mark.slow
def test_an_asynchronous_run_trains_on_tokens_no_older_than_its_staleness(tmp_path: Path) -> None:
    settings = config(
        rl={"staleness": 2, "steps": 8, "group_size": 8}, engine={"kind": "process", "slots": 32}
    )
    stopped(tmp_path, settings, ("rl", 5), kill=True)
    run(tmp_path, settings)
    steps = [one for one in read_metrics(tmp_path / "metrics.jsonl") if "staleness/max" in one]
    ages = [one["staleness/max"] for one in steps]
    assert len(ages) == 8
    assert max(ages) <= 2
    assert max(ages) > 0
    assert check_ledger(tmp_path / "ledger.sqlite", "rl").issued == 8 * 3 * 8


def test_retired_tasks_and_extra_rounds_are_the_same_across_a_kill(tmp_path: Path) -> None:
    settings = config(rl={"retire_solved": 0.25, "extra_rounds": 2, "prompts": 4, "group_size": 2})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, settings)
    records = read_metrics(whole / "metrics.jsonl")
    retired = [task for one in records for task in one.get("retired_tasks", ())]
    assert retired
    assert len(retired) == len(set(retired))
    assert check_ledger(whole / "ledger.sqlite").issued > 5 * 8
    stopped(killed, settings, ("rl", 4), kill=True)
    run(killed, settings)
    assert timeless(killed) == timeless(whole)
    assert read_ledger(killed / "ledger.sqlite") == read_ledger(whole / "ledger.sqlite")
