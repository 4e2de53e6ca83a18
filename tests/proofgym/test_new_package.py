"""``proofgym new``: from nothing to a trained policy on an environment of one's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proofgym.envs import environment_class
from proofgym.errors import UsageError
from proofgym.scaffold import TEMPLATES, write_package

from .command import Finished, run_program

SHORT = (
    "model.hidden_size=32",
    "model.layers=1",
    "model.mlp_size=32",
    "evaluation.tasks=8",
    "stages.sft.steps=4",
    "stages.grpo.steps=2",
    "stages.grpo.prompts=2",
)
BROKEN = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "broken-envs"
version = "0.1.0"
[project.entry-points."proofgym.envs"]
all = "broken_envs"
"""


def install(project: Path, site: Path) -> None:
    """Install a package for real, where only a path to it makes it known."""
    words = ("install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    subprocess.run(
        [sys.executable, "-m", "pip", *words, "--target", str(site), str(project)],
        check=True,
        capture_output=True,
    )


def checked(done: Finished) -> str:
    assert done.code == 0, f"{done.out}\n{done.err}"
    return done.out


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_an_environment_whose_files_agree(template: str, tmp_path: Path) -> None:
    name = f"new_{template.replace('-', '_')}"
    made = write_package(name, template=template, parent=tmp_path)
    texts = {str(path): (made.folder / path).read_text() for path in made.files}
    assert {"pyproject.toml", "README.md", "CARD.md", "train.toml", f"{name}/__init__.py"} < {
        *texts
    }
    assert not any("$" in text for text in texts.values())
    for place in ("pyproject.toml", "README.md", "CARD.md", "train.toml"):
        assert made.env_id in texts[place], place
    class_name = template.title().replace("-", "")
    cls = environment_class(f"{made.folder / name / 'environment.py'}:{class_name}")
    assert cls.id == made.env_id
    assert cls.oracle is not None


@pytest.mark.parametrize(
    ("name", "template", "said"),
    [
        ("My Env", "qa", "got 'My Env'"),
        ("json", "qa", "not one of Python's own"),
        ("class", "qa", "not one of Python's own"),
        ("proofgym", "qa", "got 'proofgym'"),
        ("../up", "qa", "lower-case letters"),
        ("fine", "chess", "expected a template of qa, tools, multi-turn, got 'chess'"),
        ("there", "qa", "a path that exists"),
    ],
)
def test_what_cannot_be_written_is_refused_in_words(
    name: str, template: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match=said):
        write_package(name, template=template, parent=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.slow
def test_five_commands_lead_from_nothing_to_a_trained_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = checked(run_program("new", "my-env", cwd=tmp_path))
    readme = (tmp_path / "my_env" / "README.md").read_text()
    for line in printed.partition("Go on with:\n")[2].splitlines():
        assert line.strip() in readme

    site = tmp_path / "site"
    install(tmp_path / "my_env", site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    card = checked(run_program("audit", "my-env/qa-v0", "--strict", cwd=tmp_path))
    assert card.rstrip().endswith("passed")
    trained = checked(run_program("train", "my_env/train.toml", *SHORT, cwd=tmp_path))
    assert "Done." in trained
    policy = "runs/my_env/checkpoints/grpo"
    words = ("eval", "my-env/qa-v0", "--policy", policy, "-n", "8")
    assert "pass@1" in checked(run_program(*words, cwd=tmp_path))


@pytest.mark.slow
def test_one_broken_package_breaks_no_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, site = write_package("good_env", template="tools", parent=tmp_path), tmp_path / "site"
    broken = tmp_path / "broken"
    (broken / "broken_envs").mkdir(parents=True)
    (broken / "pyproject.toml").write_text(BROKEN)
    (broken / "broken_envs" / "__init__.py").write_text("raise RuntimeError('half installed')\n")
    for project in (good.folder, broken):
        install(project, site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    listed = run_program("envs", cwd=tmp_path)
    out = checked(listed)
    assert "good-env/tools-v0" in out
    assert "Look a price up and multiply it (from good-env)" in out
    assert "tools/calculator-v0" in out
    assert "broken-envs" in listed.err
    assert "half installed" in listed.err
    # the written package's own tests, as its author runs them
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "not audit", "-p", "no:cacheprovider", "."],
        cwd=good.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout
