"""``proofgym audit``: what it prints, and its exit code."""

import json
from pathlib import Path

import pytest

from proofgym.cli import main

FAULTY = """
import proofgym as pg

class Lenient(pg.Env):
    tasks = pg.listed([pg.Task(id=str(n), prompt=f"{n}+{n}?", answer=pg.Secret(str(2 * n)))
                       for n in range(10, 40)])
    rubric = pg.verifier(lambda task, said: task.answer.reveal() in said.final_text)
    limits = pg.Limits(turns=1, tool_calls=0)
    oracle = lambda task: task.answer.reveal()
"""


def test_a_faulty_file_fails_with_the_evidence_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lenient.py").write_text(FAULTY)
    name, out = f"{tmp_path / 'lenient.py'}:Lenient", tmp_path / "report.json"
    assert main(["audit", name, "--json", "--out", str(out)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(out.read_text())
    broken = {one["check"]: one for one in report["findings"] if one["verdict"] == "fail"}
    assert set(broken) == {"reward.every-candidate", "reward.near-miss"}
    assert "is worth 1, solved=True; the floor is 0" in broken["reward.near-miss"]["evidence"][0]


def test_an_unknown_environment_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "no/such-v0"]) == 1
    assert "no environment has the id 'no/such-v0'" in capsys.readouterr().err
