"""reasoning-gym's data sets, whose scorers evaluate what a policy says."""

import importlib.util
import sys
from pathlib import Path

import pytest

from proofgym.envs import EnvError, environment_class, make
from proofgym.envs.adapters import reasoning_gym as adapter
from proofgym.envs.adapters.reasoning_gym_names import DATASETS
from proofgym.envs.audit import Verdict, audit
from proofgym.verifiers import Transcript, assistant

installed = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None,
    reason="needs pip install 'proofgym[reasoning-gym]', which `make venv` leaves out where "
    "pycosat cannot be compiled: it needs a C compiler and Python.h",
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", None),
        ("42", None),
        ("<answer></answer>", None),
        ("<answer> </answer>", None),
        ("</answer>42<answer>", None),
        ("<answer>42", None),
        ("<answer>42</answer>", "42"),
        ("<answer>\n42\n</answer> done", "42"),
        ("<answer>1</answer> no: <answer>2</answer>", "2"),
        ("<answer>a <answer>b</answer>", "b"),
        (f"<answer>{'9' * 20_001}</answer>", None),
    ],
)
def test_the_answer_is_what_stands_between_the_last_tags(text: str, answer: str | None) -> None:
    assert adapter.answer_in(text) == answer


def test_an_environment_is_declared_by_its_id_and_imports_nothing() -> None:
    cls = environment_class("reasoning-gym/countdown-v0")
    assert cls.id == "reasoning-gym/countdown-v0"
    assert environment_class(f"{adapter.__name__}:countdown") is cls
    assert "reasoning_gym" not in sys.modules
    assert set(adapter.NO_ORACLE) < set(DATASETS)


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapter._pool.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvError, match=r"pip install 'proofgym\[reasoning-gym\]'"):
        make("reasoning-gym/gcd-v0").reset(seed=1)
    adapter._pool.cache_clear()


ATTACKS = {
    "n_queens": ("__import__('pathlib').Path('{place}').touch()", "exit()", "[[[[]]]]"),
    "spiral_matrix": ("open('{place}', 'w')", "[" * 9_000),
    "binary_matrix": ("[open('{place}', 'w')]", "exec('while 1: pass')"),
    "string_insertion": ("[__import__('os')._exit(0)]", "(lambda: 1)()"),
    "countdown": ("9**9**9**9", "open('{place}','w')", "().__class__.__base__", "exit()"),
    "puzzle24": ("exec(chr(49))", "[].append(1)", "factorial(10**9)"),
    "simple_integration": ("__import__('os')", "x.__class__", "lambda: 1"),
    "intermediate_integration": ("eval(E)", "x if x else x"),
    "polynomial_multiplication": ("open(1)", "x" * 5_000),
    "number_sorting": ("[exit()]", "None"),
}


@installed
@pytest.mark.slow
@pytest.mark.parametrize("dataset", ATTACKS)
def test_no_answer_runs_hangs_or_exits_and_each_is_scored(dataset: str, tmp_path: Path) -> None:
    place = tmp_path / "touched"
    cls = environment_class(f"reasoning-gym/{dataset}-v0")
    task = cls.tasks.task("train", 0)
    assert cls.rubric is not None
    for attack in ATTACKS[dataset]:
        said = assistant(f"<answer>{attack.replace('{place}', str(place))}</answer>")
        found = cls.rubric.score(task, Transcript(messages=(said,)))
        assert found.value is not None, (attack, found.error)
        assert found.value <= 0.1
        assert found.solved is False
    assert not place.exists()


@installed
@pytest.mark.slow
def test_every_data_set_that_has_an_oracle_scores_it_one() -> None:
    fell_short = {}
    for dataset in DATASETS:
        cls = environment_class(f"reasoning-gym/{dataset}-v0")
        task = cls.tasks.task("train", 0)
        assert (task.answer is None) == (dataset in adapter.NO_ORACLE), dataset
        if task.answer is None:
            continue
        assert cls.rubric is not None
        transcript = Transcript(messages=(cls.demonstrator()(task, task.messages),))
        found = cls.rubric.score(task, transcript)
        if found.value != 1.0 or found.solved is not True:
            fell_short[dataset] = found
    assert fell_short == {}
    assert len(DATASETS) - len(adapter.NO_ORACLE) == 100


@installed
@pytest.mark.slow
def test_the_names_are_those_of_the_installed_version() -> None:
    found = adapter._pool().run(f"{adapter.WORKER}:names", limit_s=60)
    assert {*found.value} - {"composite"} == {*DATASETS}


@installed
@pytest.mark.slow
def test_the_audit_names_an_unsound_scorer_with_its_evidence() -> None:
    report = audit("reasoning-gym/advanced_geometry-v0", budget_s=20)
    failed = {finding.check: finding.evidence for finding in report.of(Verdict.FAIL)}
    assert "reward.garbage" in failed
    assert any("0.01" in one for one in failed["reward.garbage"])
    assert "exec.canary" not in failed
