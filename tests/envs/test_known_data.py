"""Data sets that people know: small rows in their real schemas."""

import base64
import json
import pickle
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proofgym.envs import DataError, Env, EnvError, environment_class, registry
from proofgym.envs.datasets import FORMATS, data_environment
from proofgym.envs.datasets.formats import last_boxed
from proofgym.envs.datasets.known import SUITES
from proofgym.envs.datasets.possible_calls import possible_calls
from proofgym.verifiers import Secret, Task, Transcript, assistant, tool_call


def packed(tests: object) -> str:
    """Pack tests as LiveCodeBench does its private ones."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


DOUBLE = "def double(x):\n    return 2 * x\n"
ROWS: Mapping[str, Mapping[str, Any]] = {
    "gsm8k": {
        "question": "A pen costs 600 dollars. What do 2 cost?",
        "answer": "Two cost 600 * 2 = <<600*2=1200>>1200.\n#### 1,200",
    },
    "math": {
        "problem": "Simplify $2/4$.",
        "level": "Level 1",
        "type": "Prealgebra",
        "solution": "It is not \\boxed{2}, but $\\boxed{\\frac{1}{2}}$.",
    },
    "math-500": {
        "problem": "What is 2 + 2?",
        "solution": "So \\boxed{4}.",
        "answer": "4",
        "subject": "Prealgebra",
        "level": 1,
        "unique_id": "test/prealgebra/1.json",
    },
    "aime": {"ID": "2024-I-1", "Problem": "How many?", "Solution": "...", "Answer": 204},
    "deepscaler": {"problem": "What is 3 + 4?", "answer": "7", "solution": "..."},
    "deepscaler-parquet": {
        "data_source": "math",
        "prompt": [{"role": "user", "content": "What is 3 + 4?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "7"},
        "extra_info": {"index": 0, "split": "train"},
    },
    "humaneval": {
        "task_id": "HumanEval/0",
        "prompt": 'def double(x: int) -> int:\n    """Double it."""\n',
        "canonical_solution": "    return 2 * x\n",
        "test": "METADATA = {}\n\n\ndef check(candidate):\n    assert candidate(2) == 4\n"
        "    assert candidate(-1) == -2\n",
        "entry_point": "double",
    },
    "mbpp": {
        "task_id": 1,
        "text": "Write a function to double a number.",
        "code": DOUBLE,
        "test_list": ["assert double(2) == 4", "assert double(0) == 0", "assert double(5) == 10"],
        "test_setup_code": "",
        "challenge_test_list": [],
    },
    "livecodebench": {
        "question_title": "Double",
        "question_content": "Double the number.",
        "platform": "atcoder",
        "question_id": "abc1_a",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
        "private_test_cases": packed([{"input": "5\n", "output": "10\n", "testtype": "stdin"}]),
        "metadata": "{}",
    },
    "livecodebench-function": {
        "question_content": "Add them.",
        "starter_code": "class Solution:\n    def add(self, a: int, b: List[int]):\n        ",
        "difficulty": "medium",
        "public_test_cases": json.dumps(
            [{"input": "1\n[2, 3]", "output": "6", "testtype": "functional"}]
        ),
        "private_test_cases": json.dumps([]),
        "metadata": json.dumps({"func_name": "add"}),
    },
    "apps": {
        "problem_id": 1,
        "question": "Double the number.",
        "solutions": json.dumps(["print(2 * int(input()))"]),
        "input_output": json.dumps({"inputs": ["2\n", ["5"]], "outputs": ["4\n", ["10"]]}),
        "difficulty": "introductory",
        "starter_code": "",
    },
    "apps-function": {
        "question": "Double the number.",
        "solutions": [DOUBLE],
        "input_output": json.dumps(
            {"fn_name": "double", "inputs": [[2], [5]], "outputs": [[4], [10]]}
        ),
        "starter_code": "def double(x):\n\t",
    },
    "ifeval": {
        "key": 1000,
        "prompt": "Write about tea, naming it, without commas.",
        "instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
        "kwargs": [
            {"num_words": None, "keywords": None},
            {"num_words": None, "keywords": ["drink"]},
        ],
    },
    "bfcl": {
        "id": "simple_0",
        "question": [[{"role": "user", "content": "Area of a triangle, base 10 and height 5?"}]],
        "function": [{"name": "area", "description": "...", "parameters": {"type": "dict"}}],
        "ground_truth": [{"area": {"base": [10], "height": [5], "unit": ["units", ""]}}],
    },
}
SAID = {
    "livecodebench": "```python\nprint(2 * int(input()))\n```",
    "livecodebench-function": "```python\nclass Solution:\n    def add(self, a, b):\n"
    "        return a + sum(b)\n```",
    "ifeval": "tea is a warm drink",
}
RUNS_CODE = ("humaneval", "mbpp", "livecodebench", "apps")


def format_of(name: str) -> str:
    return "math" if name == "math-500" else name.partition("-")[0]


def written(folder: Path, *rows: object, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def declared(name: str, train: Path) -> type[Env]:
    registry._entries.pop(f"known/{name}-v0", None)
    return data_environment(f"known/{name}-v0", format_of(name), train=train)


def scored(cls: type[Env], task: Task, text: str) -> float | None:
    assert cls.rubric is not None
    return cls.rubric.score(task, Transcript(messages=(assistant(text),))).value


def params(*, code: bool) -> list[str]:
    return [name for name in ROWS if (format_of(name) in RUNS_CODE) == code]


def check_row(name: str, folder: Path) -> None:
    cls = declared(name, written(folder, ROWS[name]))
    task = cls.tasks.task("train", 0)
    right = SAID.get(name) or cls.demonstrator()(task, task.messages).content
    assert scored(cls, task, right) == 1.0, right
    for wrong in ("", "Nothing, I THINK", "\\boxed{17}", "[]", "```python\nprint(3)\n```"):
        assert scored(cls, task, wrong) == 0.0, wrong
    shown = " ".join(message.content for message in task.messages)
    assert right not in shown


@pytest.mark.parametrize("name", params(code=False))
def test_a_row_in_the_real_schema_becomes_a_task_that_its_answer_solves(
    name: str, tmp_path: Path
) -> None:
    check_row(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", params(code=True))
def test_a_row_of_programs_becomes_a_task_that_its_solution_solves(
    name: str, tmp_path: Path
) -> None:
    check_row(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in ROWS if name in FORMATS])
def test_a_row_without_a_column_names_its_place_and_the_schema(name: str, tmp_path: Path) -> None:
    column = FORMATS[name].columns[-1]
    broken = {key: value for key, value in ROWS[name].items() if key.lower() != column}
    cls = declared(name, written(tmp_path, ROWS[name], broken))
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: expected a row with .*{column}"):
        cls.tasks.task("train", 0)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gsm8k", {"answer": "no mark"}),
        ("math", {"solution": "no box"}),
        ("math", {"solution": "\\boxed{1"}),
        ("apps", {"input_output": json.dumps({"inputs": ["1"], "outputs": []})}),
        ("apps", {"input_output": ""}),
        ("ifeval", {"kwargs": []}),
        ("bfcl", {"question": [[], []]}),
        (
            "livecodebench",
            {"private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(print))).decode()},
        ),
    ],
)
def test_a_row_that_is_malformed_is_refused(
    name: str, change: Mapping[str, Any], tmp_path: Path
) -> None:
    cls = declared(name, written(tmp_path, {**ROWS[name], **change}))
    with pytest.raises(DataError, match=r"rows\.jsonl:1: expected a row"):
        cls.tasks.task("train", 0)


@pytest.mark.parametrize(
    ("text", "held"),
    [("\\boxed{1} \\boxed{2}", "2"), ("\\boxed{\\frac{1}{{2}}}x}", "\\frac{1}{{2}}")],
)
def test_the_last_box_is_read_with_its_inner_braces(text: str, held: str) -> None:
    assert last_boxed(text) == held


GOLD = [{"f": {"a": [1, 2], "b": ["New York, NY", ""]}}, {"f": {"a": [3], "b": [""]}}]


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ([{"a": 1}, {"a": 3}], 1.0),
        ([{"a": 3}, {"a": 2, "b": "new york ny"}], 1.0),
        ([{"a": 1}], 0.0),
        ([{"a": 1}, {"a": 1}], 0.0),
        ([{"a": 1}, {"a": 3}, {"a": 3}], 0.0),
        ([{"a": 1, "c": 1}, {"a": 3}], 0.0),
        ([{"a": "1"}, {"a": 3}], 0.0),
        ([{"a": True}, {"a": 3}], 0.0),
        ([{}, {"a": 3}], 0.0),
        ([{"a": 1, "b": "Boston"}, {"a": 3}], 0.0),
    ],
)
def test_calls_are_right_if_each_has_possible_arguments(
    said: list[dict[str, object]], value: float
) -> None:
    task = Task(id="t", prompt="?", answer=Secret(GOLD))
    made = assistant("", *(tool_call("f", **arguments) for arguments in said))
    text = assistant(json.dumps([{"name": "f", "arguments": one} for one in said]))
    for message in (made, text):
        assert possible_calls().score(task, Transcript(messages=(message,))).value == value


def test_parquet_and_jsonl_give_the_same_tasks(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [dict(ROWS["deepscaler-parquet"])]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    one = declared("deepscaler-parquet", tmp_path / "rows.parquet").tasks.task("train", 0)
    two = declared("deepscaler-parquet", written(tmp_path, *rows)).tasks.task("train", 0)
    assert one == two


def test_a_known_id_reads_the_files_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/gsm8k/main").mkdir(parents=True)
    other = {**ROWS["gsm8k"], "question": "Another?"}
    written(tmp_path / "data/gsm8k/main", ROWS["gsm8k"], name="train.jsonl")
    written(tmp_path / "data/gsm8k/main", other, name="heldout.jsonl")
    cls = environment_class("gsm8k/main-v0")
    assert cls.tasks.task("train", 0).prompt == ROWS["gsm8k"]["question"]
    assert cls.tasks.task("heldout", 0).prompt == "Another?"
    assert (cls.tasks.count("train"), cls.tasks.count("heldout")) == (1, 1)


@pytest.mark.parametrize("id", ["humaneval/test-v0", "apps/all-v0"])
def test_without_the_data_the_error_says_what_to_put_where(
    id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)  # as where it is not installed
    with pytest.raises(DataError) as caught:
        environment_class(id)().reset(seed=1)
    folder = id.rpartition("-v")[0]
    assert f"data/{folder}/heldout.jsonl (or .parquet)" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    format = {"humaneval": "humaneval", "apps": "apps"}[folder.partition("/")[0]]
    assert ", ".join(FORMATS[format].columns) in str(caught.value)


def test_the_registry_knows_every_suite_and_a_format_must_exist() -> None:
    places = {suite for suite, module in registry.SUITES.items() if module.endswith(".known")}
    assert places == set(SUITES)
    with pytest.raises(EnvError, match=r"expected a format of gsm8k, .* got 'gsm9k'"):
        data_environment("known/none-v0", "gsm9k")
    with pytest.raises(DataError, match="ending in"):
        declared("gsm8k", Path("rows.csv")).tasks.task("train", 0)
