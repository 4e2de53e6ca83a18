"""`proofgym eval`, `compare` and `rescore` as a person uses them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from proofgym.cli.app import main
from tests.proofgym.command import run_command, run_program
from tests.verifiers.judge.chat_server import Reply, serving

CALCULATOR = ("eval", "tools/calculator-v0")


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def test_a_suite_is_measured_locked_and_reported(tmp_path: Path) -> None:
    words = ("eval", "--suite", "math,tools/calculator-v0", "--policy", "oracle", "-n", "6")
    done = run_command(*words, "-k", "2", "--out", "e", cwd=tmp_path)
    assert done.code == 0, done.err
    found = summary(tmp_path / "e")
    assert found["report"]["pass_at_1"]["value"] == 1.0
    assert {"math/sums-v0", "tools/calculator-v0"} <= set(found["environments"])
    assert [one["k"] for one in found["report"]["at_k"]] == [1, 2]
    page = (tmp_path / "e" / "report.html").read_text()
    for part in ("By environment", "math/sums-v0", "Why attempts ended", "maj@k"):
        assert part in page
    again = ("eval", "--suite", "e/suite.lock.json", "--policy", "noop", "--out", "f")
    done = run_command(*again, cwd=tmp_path)
    assert done.code == 0, done.err
    assert summary(tmp_path / "f")["suite_digest"] == found["suite_digest"]
    assert summary(tmp_path / "f")["report"]["pass_at_1"]["value"] == 0.0


def test_the_same_command_resumes_and_a_larger_k_adds_attempts(tmp_path: Path) -> None:
    words = (*CALCULATOR, "--policy", "hurried", "-n", "20", "--out", "e")
    assert run_command(*words, cwd=tmp_path).code == 0
    first = rows_of(tmp_path / "e")
    assert run_command(*words, cwd=tmp_path).code == 0
    assert rows_of(tmp_path / "e") == first, "nothing was played twice"
    assert run_command(*words, "-k", "3", cwd=tmp_path).code == 0
    grown = rows_of(tmp_path / "e")
    assert [row for row in grown if row["rollout"] == 0] == first
    assert len(grown) == 60
    assert len({row["seed"] for row in grown}) == 60, "the attempt's index is part of its seed"


def test_another_evaluation_in_the_same_folder_is_refused_with_the_differences(
    tmp_path: Path,
) -> None:
    words = (*CALCULATOR, "-n", "5", "--out", "e")
    assert run_command(*words, "--policy", "oracle", cwd=tmp_path).code == 0
    done = run_command(*words, "--policy", "noop", "--temperature", "0.5", cwd=tmp_path)
    assert done.code == 1
    assert "policy 'oracle', now 'noop'; temperature 1.0, now 0.5" in done.err


SLOW_ENV = """
import time
import proofgym as pg

class Slow(pg.Env, id="test/slow-v0"):
    tasks = pg.rows("rows.jsonl", prompt="question", answer="answer", heldout=0.0)
    rubric = pg.exact()
    oracle = lambda task: task.answer.reveal()

    def start(self, episode):
        time.sleep(0.02)
"""


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"say {n}", "answer": str(n)}) for n in range(300)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "slow.py").write_text(SLOW_ENV)
    words = ["eval", "slow.py:Slow", "--policy", "oracle", "-n", "300", "--split", "train"]
    command = [sys.executable, "-m", "proofgym", *words, "--out", "e"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    chunks, deadline = tmp_path / "e" / "episodes", time.monotonic() + 60
    while not list(chunks.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = [
        json.loads(line) for one in chunks.glob("*.jsonl") for line in one.read_text().splitlines()
    ]
    assert 0 < len(kept) < 300, "it was killed in the middle"
    done = run_program(*words, "--out", "e", cwd=tmp_path)
    assert done.code == 0, done.err
    rows = rows_of(tmp_path / "e")
    assert sorted(row["group"] for row in rows) == list(range(300))
    again = {row["group"]: row for row in rows}
    assert all(again[row["group"]] == row for row in kept), "what was done is kept as it was"
    assert list(chunks.iterdir()) == []


GATES = {
    "better": ("noop", "oracle", 0, "pass"),
    "worse": ("oracle", "noop", 1, "regress"),
    "the same": ("oracle", "oracle", 0, "pass"),
}


@pytest.mark.parametrize(("a", "b", "code", "said"), GATES.values(), ids=GATES)
def test_the_gate_says_so_by_its_exit_code(
    tmp_path: Path, a: str, b: str, code: int, said: str
) -> None:
    for name, policy in (("a", a), ("b", b)):
        words = (*CALCULATOR, "--policy", policy, "-n", "20", "--out", name)
        assert run_command(*words, cwd=tmp_path).code == 0
    done = run_command("compare", "a", "b", "--gate", "--json", cwd=tmp_path)
    assert done.code == code, done.err
    found = json.loads(done.out)
    assert found["decision"] == said
    assert found["method"] == "exact McNemar, mid-p"
    assert set(found["categories"]) == {"tools/calculator-v0 easy", "tools/calculator-v0 hard"}


def test_few_tasks_are_inconclusive(tmp_path: Path) -> None:
    for name, seed_policy in (("a", "hurried"), ("b", "caller")):
        words = (*CALCULATOR, "--policy", seed_policy, "-n", "3", "--out", name)
        assert run_command(*words, cwd=tmp_path).code == 0
    done = run_command("compare", "b", "a", "--gate", cwd=tmp_path)
    assert done.code == 3, done.out
    assert "inconclusive" in done.out


def test_evaluations_without_a_common_task_are_not_compared(tmp_path: Path) -> None:
    for name, env_id in (("a", "tools/calculator-v0"), ("b", "math/sums-v0")):
        words = ("eval", env_id, "--policy", "oracle", "-n", "3", "--out", name)
        assert run_command(*words, cwd=tmp_path).code == 0
    done = run_command("compare", "a", "b", cwd=tmp_path)
    assert done.code == 2
    assert "no task in common" in done.err


ENV = """
import proofgym as pg

def judge(task, transcript):
    return {rule}

class Mine(pg.Env, id="test/mine-v0"):
    tasks = pg.rows("rows.jsonl", prompt="question", answer="answer", heldout=0.0)
    rubric = pg.verifier(judge)
    oracle = lambda task: task.answer.reveal()
"""
EXACT = "transcript.final_text == task.answer.reveal()"
STRICT = "transcript.final_text == task.answer.reveal() and task.answer.reveal() != '7'"


def test_rescoring_lists_what_flips_before_it_writes(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"say {n}", "answer": str(n)}) for n in range(10)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "mine.py").write_text(ENV.format(rule=EXACT))
    words = ("eval", "mine.py:Mine", "--policy", "oracle", "-n", "10", "--split", "train")
    assert run_program(*words, "--out", "e", cwd=tmp_path).code == 0
    before = rows_of(tmp_path / "e")
    (tmp_path / "mine.py").write_text(ENV.format(rule=STRICT))

    done = run_program("rescore", "e", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "solved -> not solved" in done.out
    assert "10 attempts judged again, 1 flipped; 0 cannot be" in done.out
    assert rows_of(tmp_path / "e") == before, "nothing is written unasked"
    resumed = run_program(*words, "--out", "e", cwd=tmp_path)
    assert resumed.code == 1
    assert "holds another evaluation: suite" in resumed.err, "the grader changed"

    assert run_program("rescore", "e", "--write", cwd=tmp_path).code == 0
    after = rows_of(tmp_path / "e")
    assert [row["solved"] for row in before].count(True) == 10
    assert [row["solved"] for row in after].count(True) == 9
    assert sum(sum(row["rewards"]) for row in after) == 9
    assert run_program(*words, "--out", "e", cwd=tmp_path).code == 0
    assert summary(tmp_path / "e")["report"]["pass_at_1"]["value"] == 0.9


def test_an_environment_that_judges_by_its_state_is_not_rescored(tmp_path: Path) -> None:
    words = ("eval", "games/guess-number-v0", "--policy", "oracle", "-n", "3", "--out", "e")
    assert run_command(*words, cwd=tmp_path).code == 0
    done = run_command("rescore", "e", cwd=tmp_path)
    assert done.code == 1
    assert "3 cannot be" in done.out


def test_a_model_behind_a_url_is_measured_and_its_key_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def six(request: dict[str, Any]) -> Reply:
        usage = {"prompt_tokens": 1000, "completion_tokens": 500}
        choice = {"message": {"role": "assistant", "content": "6"}, "finish_reason": "stop"}
        return Reply(json.dumps({"choices": [choice], "usage": usage}).encode())

    monkeypatch.setenv("MY_KEY", "sk-hidden")
    with serving(six) as server:
        words = ("--policy", server.url, "--model", "tiny", "--key-env", "MY_KEY")
        done = run_command(
            *CALCULATOR, *words, "--price", "1,2", "-n", "4", "--out", "e", cwd=tmp_path
        )
    assert done.code == 0, done.err
    assert "4 requests (0 retries, 0 rate limited), 4,000 prompt + 2,000 completion" in done.out
    assert "$0.0080" in done.out
    assert summary(tmp_path / "e")["endpoint"]["cost_usd"] == pytest.approx(0.008)
    assert server.headers[0]["Authorization"] == "Bearer sk-hidden"
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert files
    assert not any(b"sk-hidden" in one.read_bytes() for one in files)
    assert "sk-hidden" not in done.out + done.err


ENDPOINT_MISTAKES = {
    "no model": (("--policy", "http://127.0.0.1:1/v1"), "--model must name a model"),
    "no url": (("--policy", "oracle", "--model", "m"), "--policy that is a URL"),
    "a key in the url": (("--policy", "http://a:sk@h/v1", "--model", "m"), "environment variable"),
    "a price of one": (
        ("--policy", "http://127.0.0.1:1/v1", "--model", "m", "--price", "1"),
        "PROMPT,COMPLETION",
    ),
}


@pytest.mark.parametrize(
    ("words", "says"), ENDPOINT_MISTAKES.values(), ids=ENDPOINT_MISTAKES.keys()
)
def test_a_wrong_endpoint_is_a_mistake_that_says_what_to_do(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*CALCULATOR, *words]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_a_decoding_strategy_is_part_of_what_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["\\boxed{7}", "\\boxed{6}", "\\boxed{6}"]

    def vote(request: dict[str, Any]) -> Reply:
        message = {"role": "assistant", "content": texts[request["seed"] % 3]}
        return Reply(json.dumps({"choices": [{"message": message}]}).encode())

    with serving(vote) as server:
        words = ["--policy", server.url, "--model", "m", "-n", "2", "--decode", "majority-5"]
        assert main([*CALCULATOR, *words, "--out", str(tmp_path / "e")]) == 0
        assert len(server.requests) == 10
    assert summary(tmp_path / "e")["policy"].endswith(" m majority-5")
    assert main([*CALCULATOR, "--policy", "oracle", "--decode", "best-of-2"]) == 2
    assert "one thing only" in capsys.readouterr().err
