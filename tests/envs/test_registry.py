"""Environments by id."""

import importlib.metadata
import logging
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from proofgym.envs import (
    Env,
    EnvError,
    UnknownEnvError,
    environment_class,
    list_envs,
    make,
    register,
    registry,
)
from proofgym.envs.bundled import BUNDLED

FILE = '''
import proofgym as pg

class Small(pg.Env, id="files/small-v2"):
    """A small one."""

    tasks = pg.rows("small.jsonl", answer="answer", heldout=0.0)
    rubric = pg.exact()

class Private(pg.Env):
    """One without an id."""
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "small.jsonl").write_text('{"prompt": "2+2", "answer": "4"}\n')
    (tmp_path / "small_envs.py").write_text(FILE)
    return tmp_path / "small_envs.py"


@pytest.mark.parametrize("id", BUNDLED)
def test_a_bundled_environment_is_made_by_its_id(id: str) -> None:
    env = make(id)
    assert (env.id, env.version) == (id, 0)
    entry = next(entry for entry in list_envs() if entry.id == id)
    assert entry.place.startswith("proofgym.envs.library.")
    assert entry.summary == (type(env).__doc__ or "").partition("\n")[0]


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("tools/calculater-v0", "tools/calculator-v0"),
        ("tools/calculator-v1", "tools/calculator-v0"),
        ("calculator", "tools/calculator-v0"),
        ("sums", "math/sums-v0"),
        ("%%%", "games/guess-number-v0"),
    ],
)
def test_an_unknown_id_names_the_nearest_ones(asked: str, near: str) -> None:
    with pytest.raises(UnknownEnvError, match=near):
        make(asked)


def test_a_module_and_class_need_no_registration() -> None:
    assert make("proofgym.envs.library.math.sums:Sums").id == "math/sums-v0"
    assert make("proofgym.envs.library.math.sums:math/sums-v0").id == "math/sums-v0"


def test_a_file_is_an_environment_with_its_data_beside_it(file: Path) -> None:
    env = make(f"{file}:Small")
    assert env.reset(seed=1)[0] == "2+2"
    assert env.step("4")[1] == 1.0
    assert make("files/small-v2").version == 2
    assert environment_class(f"{file}:Private").id == "local/Private-v0"


def test_a_place_that_holds_no_environment_is_a_clear_error(file: Path) -> None:
    with pytest.raises(UnknownEnvError, match=r"expected 'Smal' in .* got nothing"):
        make(f"{file}:Smal")
    with pytest.raises(UnknownEnvError, match="got module"):
        make(f"{file}:pg")
    with pytest.raises(EnvError, match="no file at"):
        make("nowhere/envs.py:Small")
    with pytest.raises(EnvError, match="'no_such_module' cannot be imported: ModuleNotFoundError"):
        make("no_such_module:Small")


def test_an_id_belongs_to_one_class() -> None:
    with pytest.raises(EnvError, match=r"taken by proofgym\.envs\.library\.math\.sums:Sums"):

        class Other(Env, id="math/sums-v0"):
            pass

    assert make("math/sums-v0").unwrapped.__class__.__name__ == "Sums"


def test_a_cell_that_is_run_again_replaces_the_class() -> None:
    def cell() -> type[Env]:
        class Again(Env, id="test/again-v0"):
            pass

        return Again

    cell()
    second = cell()
    assert environment_class("test/again-v0") is second


def test_other_packages_bring_environments_and_a_broken_one_breaks_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(file.parent))
    group = registry.GROUP
    points = EntryPoints(
        [
            EntryPoint("acme/small-v0", "small_envs:Small", group),
            EntryPoint("acme", "small_envs", group),
            EntryPoint("broken", "no_such_package.envs", group),
            EntryPoint("math/sums-v0", "thief:Sums", group),
        ]
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    monkeypatch.setattr(registry, "_discovered", False)
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    registry._entries.pop("files/small-v2", None)  # another test has declared it from a file
    with caplog.at_level(logging.WARNING):
        ids = {entry.id for entry in list_envs()}
    assert {"acme/small-v0", "files/small-v2", *BUNDLED} <= ids
    assert "no_such_package" in caplog.text
    assert "thief" in caplog.text
    with pytest.raises(EnvError, match="to be 'acme/small-v0', got 'files/small-v2'"):
        make("acme/small-v0")


def test_a_lazy_registration_is_imported_when_it_is_made() -> None:
    register("test/lazy-v0", "no_such_module:Lazy", summary="never there")
    assert any(entry.id == "test/lazy-v0" for entry in list_envs())
    with pytest.raises(EnvError, match="cannot be imported"):
        make("test/lazy-v0")
