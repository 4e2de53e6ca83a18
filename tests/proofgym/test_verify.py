"""``proofgym verify``: what it prints, writes and exits with."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .command import run_command

CASES = Path(__file__).parents[1] / "verifiers" / "cases"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("gold", "answer", "said", "code"),
    [
        ("1/2", "so \\boxed{0.5}", "right", 0),
        ("1/2", "so \\boxed{0.6}", "wrong", 0),
        ("", "\\boxed{1}", "unscored", 1),
    ],
)
def test_one_answer_gets_its_verdict_in_words(gold: str, answer: str, said: str, code: int) -> None:
    done = run_command("verify", "--kind", "math", "--gold", gold, "--answer", answer)
    assert done.code == code, done.err
    told = {key: rest.strip() for key, _, rest in (x.partition(" ") for x in done.out.splitlines())}
    assert told["verdict"] == said
    assert told["layer" if code == 0 else "evidence"]


def test_one_instruction_is_given_as_json() -> None:
    asked = '{"constraint": "punctuation:no_comma", "kwargs": {}}'
    done = run_command("verify", "--kind", "instruction", "--gold", asked, "--answer", "a, b")
    assert "wrong" in done.out
    assert "punctuation:no_comma" in done.out


def test_a_file_of_instructions_is_scored_as_expected(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    cases = CASES / "instruction_following.jsonl"
    done = run_command("verify", "--kind", "instruction", "--file", str(cases), "--out", str(out))
    assert done.code == 0, done.err
    found = lines(out)
    assert [row["id"] for row in found] == [row["id"] for row in lines(cases)]
    assert set(found[0]) == {"id", "value", "layer", "evidence", "seconds"}
    for row, case in zip(found, lines(cases), strict=True):
        assert case.get("doubtful") or row["value"] == float(case["expected"]), row


def test_rows_without_an_id_are_named_by_their_line_on_standard_output(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"gold": "2", "pred": "2"}\n\n{"gold": "", "pred": "2"}\n')
    done = run_command("verify", "--kind", "math", "--file", str(file))
    first, second = map(json.loads, done.out.splitlines())
    assert (first["id"], first["value"]) == (1, 1.0)
    assert (second["id"], second["value"]) == (3, None)
    assert "bad_gold" in second["evidence"]


def test_the_same_command_goes_on_where_a_killed_one_stopped(tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": f"r{n}", "gold": str(n), "pred": str(n)} for n in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out.write_text('{"id": "r0", "value": 0.25}\n{"id": "r1", "val')
    words = ("verify", "--kind", "math", "--file", str(file), "--out", str(out))
    assert "1 were there already" in run_command(*words).err
    found = lines(out)
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert [row["value"] for row in found] == [0.25, *[1.0] * 39]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"gold": "1", "pred": "1"}\n{"gold": "1"}', "line 2: expected text under pred"),
        ("[1]", "line 1: expected a JSON object, got list"),
        ("{", "line 1: expected a JSON object, got what is not JSON"),
        ('{"id": [], "gold": "1", "pred": "1"}', "line 1: expected text or a whole number"),
        ('{"id": 2, "gold": "1", "pred": "1"}\n{"gold": "1", "pred": "1"}', "which line 1 has"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    done = run_command("verify", "--kind", "math", "--file", str(file))
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


def test_the_out_file_of_other_rows_is_refused_and_kept(tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    file.write_text('{"id": "a", "gold": "1", "pred": "1"}\n')
    out.write_text('{"id": "b", "value": 1.0}\n')
    done = run_command("verify", "--kind", "math", "--file", str(file), "--out", str(out))
    assert done.code == 2
    assert "the id 'b'" in done.err
    assert out.read_text() == '{"id": "b", "value": 1.0}\n'


@pytest.mark.parametrize("words", [(), ("--gold", "1"), ("--file", "x", "--gold", "1")])
def test_half_a_request_is_refused(words: tuple[str, ...]) -> None:
    done = run_command("verify", "--kind", "math", *words)
    assert done.code == 2
    assert "either --gold and --answer" in done.err


def test_a_killed_command_leaves_no_process_behind(tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    file.write_text('{"gold": "1", "pred": "2"}\n' * 100_000)
    words = ("verify", "--kind", "math", "--file", str(file), "--out", str(out))
    with subprocess.Popen(
        [sys.executable, "-m", "proofgym", *words], start_new_session=True
    ) as running:
        deadline = time.monotonic() + 30
        while not (out.exists() and out.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        running.kill()
    assert out.stat().st_size
    assert lines_are_fewer(out, 100_000)
    while session_lives(running.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not session_lives(running.pid)


def lines_are_fewer(path: Path, count: int) -> bool:
    return path.read_bytes().count(b"\n") < count


def session_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("program", "said"),
    [("def add(a, b): return a + b", "right"), ("```\ndef add(a, b): return a - b\n```", "wrong")],
)
def test_one_program_is_judged_by_asserts_or_files(program: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "solution.py"
    file.write_text(program)
    for answer in (program, str(file)):
        done = run_command(
            "verify", "--kind", "code", "--gold", "assert add(2, 3) == 5", "--answer", answer
        )
        assert said in done.out.splitlines()[0], done.out + done.err
        assert "1 tests passed" in done.out


@pytest.mark.slow
def test_a_file_of_programs_is_scored_as_expected_and_resumed(tmp_path: Path) -> None:
    cases = [
        row
        for row in lines(CASES / "code.jsonl")
        if row["id"].startswith(("ok_", "bad_")) and "resource" not in row["tags"]
    ]
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in cases))
    out.write_text(json.dumps({"id": cases[0]["id"], "value": cases[0]["expected"]}) + "\n")
    done = run_command("verify", "--kind", "code", "--file", str(file), "--out", str(out))
    assert done.code == 0, done.err
    assert "1 were there already" in done.err
    found = lines(out)
    assert set(found[1]) == {"id", "value", "layer", "evidence", "seconds"}
    assert [(row["id"], row["value"]) for row in found] == [
        (case["id"], float(case["expected"])) for case in cases
    ]
