"""Suites: what is measured, locked by content."""

import json
from pathlib import Path

import pytest

import proofgym as pg
from proofgym.envs import Env, Suite, SuiteError, lock_suite, locked_tasks, read_suite, rows
from proofgym.envs.suite import grader_hash


def test_the_same_names_lock_the_same_suite_and_a_seed_another() -> None:
    first, again, other = (lock_suite(["math"], tasks=6, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.digest == again.digest != other.digest
    assert all(entry.id.startswith("math/") for entry in first.environments)
    assert all(len(entry.tasks) == 6 for entry in first.environments)


def test_a_lock_file_is_read_back_and_poses_the_locked_tasks(tmp_path: Path) -> None:
    suite = lock_suite(["tools/calculator-v0"], tasks=4)
    (tmp_path / "suite.lock.json").write_text(suite.to_json())
    read = read_suite(tmp_path / "suite.lock.json")
    assert read == suite
    tasks = locked_tasks(read)["tools/calculator-v0"]
    assert [task.id for task in tasks] == [task.id for task in suite.environments[0].tasks]


def changed(suite: Suite, **fields: object) -> Suite:
    entry = suite.environments[0].model_copy(update=fields)
    return suite.model_copy(update={"environments": (entry,)})


def test_a_changed_task_or_grader_is_refused_by_name() -> None:
    suite = lock_suite(["tools/calculator-v0"], tasks=3)
    task = suite.environments[0].tasks[0]
    tasks = (task.model_copy(update={"hash": "0" * 16}), *suite.environments[0].tasks[1:])
    with pytest.raises(SuiteError, match=r"tools/calculator-v0: 1 of 3 tasks"):
        locked_tasks(changed(suite, tasks=tasks))
    with pytest.raises(SuiteError, match="another grader"):
        locked_tasks(changed(suite, grader="0" * 12))


def test_the_grader_hash_follows_settings_weights_and_code() -> None:
    def env(rubric: object) -> type[Env]:
        cls: type[Env] = type("Local", (Env,), {"rubric": rubric, "tasks": None})
        return cls

    plain = grader_hash(env(pg.exact()))
    assert grader_hash(env(pg.exact())) == plain
    others = [
        pg.numeric(),
        0.5 * pg.exact(),
        pg.exact() + 0.0 * pg.format_ok(),
        pg.gate(pg.format_ok()) >> pg.exact(),
        pg.verifier(lambda task, transcript: True),
    ]
    hashes = {grader_hash(env(rubric)) for rubric in others}
    assert len(hashes) == len(others)
    assert plain not in hashes


BROKEN = {
    "no file": (None, "expected a suite's lock file"),
    "no JSON": ("{", "Invalid JSON"),
    "a key too many": ('{"nmae": "x"}', "lock file"),
    "no environments": (
        '{"name": "x", "split": "heldout", "seed": 0, "environments": []}',
        "environments",
    ),
}


@pytest.mark.parametrize(("text", "told"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "s.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SuiteError, match=told):
        read_suite(path)


def test_a_suite_of_another_schema_is_refused(tmp_path: Path) -> None:
    raw = json.loads(lock_suite(["math/sums-v0"], tasks=1).to_json())
    (tmp_path / "s.json").write_text(json.dumps({**raw, "schema_version": 99}))
    with pytest.raises(SuiteError, match="schema version 1, got 99"):
        read_suite(tmp_path / "s.json")


def test_an_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(SuiteError, match=r"families .*math.*, got 'maths'"):
        lock_suite(["maths"], tasks=1)
    with pytest.raises(SuiteError, match="got none"):
        lock_suite([], tasks=1)


def test_a_finite_source_gives_each_task_once(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"{n}+1", "answer": n + 1}) for n in range(5)]
    (tmp_path / "five.jsonl").write_text("\n".join(lines) + "\n")
    source = rows(tmp_path / "five.jsonl", prompt="question", answer="answer", heldout=0.0)

    class Five(Env, id="test/five-suite-v0"):
        tasks = source
        rubric = pg.exact()

    suite = lock_suite(["test/five-suite-v0"], tasks=50, split="train")
    ids = [task.id for task in suite.environments[0].tasks]
    assert len(ids) == len(set(ids)) == 5
    with pytest.raises(SuiteError, match="has no heldout tasks"):
        lock_suite(["test/five-suite-v0"], tasks=50)
