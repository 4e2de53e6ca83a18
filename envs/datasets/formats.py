"""The schemas of data sets that people know, and what each row is to a task.

A format's function takes one row, as its authors publish it, and raises KeyError, TypeError or
ValueError where the row is not in the schema.
"""

import base64
import io
import json
import pickle
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proofgym.envs.datasets.possible_calls import possible_calls
from proofgym.envs.datasets.read import Row
from proofgym.verifiers import (
    Message,
    Verifier,
    code_passes,
    instruction_following,
    math_equal,
)

BOXED = "Solve the problem. You may think first. Put the final answer in \\boxed{}."
PROGRAM = "Write the program that is asked for, whole, in one fenced Python block."
CALLS = (
    "Answer with the function calls that the request needs, as a JSON list: "
    '[{"name": ..., "arguments": {...}}].'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a row gives a task.

    Args:
        prompt: what the policy reads.
        answer: the gold answer, in the verifier's form.
        solution: what the oracle says; empty where the row has none.
        difficulty: a level's name, where the row has one.
    """

    prompt: str | tuple[Message, ...]
    answer: Any
    solution: str = ""
    difficulty: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A schema.

    Args:
        columns: those that a row must have, for errors.
        parts: makes a task's parts of a row.
        rubric: makes what judges an answer.
        system: how an answer is asked for.
        extra: columns that only some of its data sets have.
    """

    columns: tuple[str, ...]
    parts: Callable[[Row], Parts]
    rubric: Callable[[], Verifier]
    system: str | None = None
    extra: tuple[str, ...] = field(default=())


def last_boxed(text: str) -> str:
    r"""Return what the last ``\boxed{...}`` of a worked solution holds.

    Raises:
        ValueError: there is none, or its braces do not close.
    """
    start = text.rindex("\\boxed{") + len("\\boxed{")
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    raise ValueError("the last \\boxed{ is not closed")


def _boxed(prompt: str, answer: object, level: object = None) -> Parts:
    gold = str(answer).strip()
    if not gold:
        raise ValueError("the answer is empty")
    difficulty = None if level is None else str(level)
    return Parts(prompt=prompt, answer=gold, solution=f"\\boxed{{{gold}}}", difficulty=difficulty)


def _gsm8k(row: Row) -> Parts:
    _, mark, gold = str(row["answer"]).rpartition("####")
    if not mark:
        raise ValueError("the answer has no #### before its number")
    return _boxed(row["question"], gold.strip().replace(",", ""))


def _math(row: Row) -> Parts:
    answer = row["answer"] if row.get("answer") is not None else last_boxed(row["solution"])
    return _boxed(row["problem"], answer, row.get("level"))


def _aime(row: Row) -> Parts:
    names = {name.lower(): value for name, value in row.items()}
    return _boxed(names["problem"], names["answer"])


def _rl_parquet(row: Row) -> Parts:
    """Read DeepScaleR's own rows, and those of its parquet files for trainers."""
    if "reward_model" not in row:
        return _boxed(row["problem"], row["answer"])
    prompt = tuple(Message.from_openai(message) for message in row["prompt"])
    return Parts(
        prompt=prompt,
        answer=str(row["reward_model"]["ground_truth"]),
        solution=f"\\boxed{{{row['reward_model']['ground_truth']}}}",
    )


def _fenced(program: str) -> str:
    return f"```python\n{program}\n```"


def _humaneval(row: Row) -> Parts:
    name = row["entry_point"]
    test = f"{row['test']}\n\ncheck({name})\n"
    return Parts(
        prompt=f"Complete this function.\n\n{_fenced(row['prompt'].rstrip())}",
        answer={"kind": "asserts", "tests": [test], "entry_point": name},
        solution=_fenced(row["prompt"] + row["canonical_solution"]),
    )


def _mbpp(row: Row) -> Parts:
    text = row["prompt"] if "prompt" in row else row["text"]
    setup = [*(row.get("test_imports") or ()), row.get("test_setup_code") or ""]
    lead = "\n".join(line for line in setup if line)
    tests = [f"{lead}\n{test}" if lead else test for test in row["test_list"]]
    return Parts(
        prompt=f"{text}\nIt must pass tests such as this one:\n{row['test_list'][0]}",
        answer={"kind": "asserts", "tests": tests},
        solution=_fenced(row["code"]),
    )


class _TextOnly(pickle.Unpickler):
    """Load a pickled text, and nothing that would run."""

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"expected tests as text, got a pickle of {module}.{name}")


def _livecodebench_tests(raw: str) -> list[Mapping[str, Any]]:
    try:
        return list(json.loads(raw))
    except ValueError:  # private tests: base64 of zlib of a pickle of JSON text
        packed = zlib.decompress(base64.b64decode(raw))
        return list(json.loads(_TextOnly(io.BytesIO(packed)).load()))


def _livecodebench(row: Row) -> Parts:
    public = _livecodebench_tests(row["public_test_cases"])
    private = _livecodebench_tests(row["private_test_cases"])
    tests = [(test, True) for test in public] + [(test, False) for test in private]
    prompt = str(row["question_content"])
    if row.get("starter_code"):
        prompt += f"\n\nStart from this:\n{_fenced(row['starter_code'])}"
    else:
        prompt += "\n\nRead from standard input, and write to standard output."
    name = json.loads(row.get("metadata") or "{}").get("func_name")
    if name is None:
        answer: dict[str, Any] = {
            "kind": "stdio",
            "tests": [
                {"input": test["input"], "output": test["output"], "visible": seen}
                for test, seen in tests
            ],
        }
    else:
        answer = {
            "kind": "function",
            "entry_point": f"Solution.{name}",
            "tests": [
                {
                    "args": [json.loads(line) for line in test["input"].splitlines() if line],
                    "expected": json.loads(test["output"]),
                    "visible": seen,
                }
                for test, seen in tests
            ],
        }
    return Parts(prompt=prompt, answer=answer, difficulty=row.get("difficulty"))


def _lines(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _apps(row: Row) -> Parts:
    tests = json.loads(row["input_output"])
    pairs = list(zip(tests["inputs"], tests["outputs"], strict=True))
    name = tests.get("fn_name")
    if name is None:
        answer: dict[str, Any] = {
            "kind": "stdio",
            "tests": [{"input": _lines(one), "output": _lines(two)} for one, two in pairs],
        }
        ask = "Read from standard input, and write to standard output."
    else:
        inside = f"Solution.{name}" if "class Solution" in (row.get("starter_code") or "") else name
        answer = {
            "kind": "function",
            "entry_point": inside,
            # a result stands in a list of its own
            "tests": [
                {"args": one, "expected": two[0] if isinstance(two, list) and two else two}
                for one, two in pairs
            ],
        }
        ask = f"Write it as this:\n{_fenced(row.get('starter_code') or f'def {name}')}"
    solutions = row.get("solutions") or "[]"
    known = json.loads(solutions) if isinstance(solutions, str) else solutions
    return Parts(
        prompt=f"{row['question']}\n\n{ask}",
        answer=answer,
        solution=_fenced(known[0]) if known else "",
        difficulty=row.get("difficulty"),
    )


def _ifeval(row: Row) -> Parts:
    # the hub's table has a column for every setting of every instruction, most of them empty
    settings = [
        {name: value for name, value in one.items() if value is not None} for one in row["kwargs"]
    ]
    names = list(row["instruction_id_list"])
    if len(names) != len(settings):
        raise ValueError(f"{len(names)} instructions have {len(settings)} settings")
    return Parts(prompt=row["prompt"], answer={"instruction_id_list": names, "kwargs": settings})


def _bfcl(row: Row) -> Parts:
    turns = row["question"]
    if len(turns) != 1:
        raise ValueError(f"{len(turns)} turns; only rows of one turn are read")
    functions = json.dumps(row["function"], ensure_ascii=False, indent=1)
    asked = tuple(Message.from_openai(message) for message in turns[0])
    tools = Message.from_openai({"role": "system", "content": f"Functions:\n{functions}"})
    gold = row["ground_truth"]
    told = [
        {
            "name": name,
            "arguments": {key: values[0] for key, values in wanted.items() if values[0] != ""},
        }
        for call in gold
        for name, wanted in call.items()
    ]
    return Parts(prompt=(tools, *asked), answer=gold, solution=json.dumps(told))


FORMATS: Mapping[str, Format] = {
    "gsm8k": Format(columns=("question", "answer"), parts=_gsm8k, rubric=math_equal, system=BOXED),
    "math": Format(
        columns=("problem", "solution"),
        parts=_math,
        rubric=math_equal,
        system=BOXED,
        extra=("answer", "level"),
    ),
    "aime": Format(columns=("problem", "answer"), parts=_aime, rubric=math_equal, system=BOXED),
    "deepscaler": Format(
        columns=("problem", "answer"),
        parts=_rl_parquet,
        rubric=math_equal,
        system=BOXED,
        extra=("prompt", "reward_model"),
    ),
    "humaneval": Format(
        columns=("prompt", "canonical_solution", "test", "entry_point"),
        parts=_humaneval,
        rubric=code_passes,
        system=PROGRAM,
    ),
    "mbpp": Format(
        columns=("text", "code", "test_list"),
        parts=_mbpp,
        rubric=code_passes,
        system=PROGRAM,
        extra=("prompt", "test_setup_code", "test_imports"),
    ),
    "livecodebench": Format(
        columns=("question_content", "public_test_cases", "private_test_cases"),
        parts=_livecodebench,
        rubric=code_passes,
        system=PROGRAM,
        extra=("starter_code", "metadata", "difficulty"),
    ),
    "apps": Format(
        columns=("question", "input_output"),
        parts=_apps,
        rubric=code_passes,
        system=PROGRAM,
        extra=("solutions", "starter_code", "difficulty"),
    ),
    "ifeval": Format(
        columns=("prompt", "instruction_id_list", "kwargs"),
        parts=_ifeval,
        rubric=instruction_following,
    ),
    "bfcl": Format(
        columns=("question", "function", "ground_truth"),
        parts=_bfcl,
        rubric=possible_calls,
        system=CALLS,
    ),
}
"""Name -> schema."""
