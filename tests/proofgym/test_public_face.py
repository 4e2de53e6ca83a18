"""`import proofgym as pg`: all names, quickly, and nothing heavy."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import proofgym as pg

HEAVY = ("torch", "transformers", "vllm", "datasets", "docker")


@pytest.mark.parametrize("name", pg.__all__)
def test_every_public_name_is_the_areas_own(name: str) -> None:
    area = import_module(pg._HOME[name])
    assert getattr(pg, name) is getattr(area, name)
    assert name in area.__all__
    assert name in dir(pg)


def test_type_checkers_see_the_same_names() -> None:
    source = Path(pg.__file__).read_text(encoding="utf-8")
    seen = source.partition("if TYPE_CHECKING:")[2].partition("__all__")[0]
    listed = {line.strip().rstrip(",") for line in seen.splitlines() if line.endswith(",")}
    assert listed == set(pg.__all__) == set(pg._HOME)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'proofgym' has no attribute 'Evn'"):
        _ = pg.Evn


def test_the_version_is_the_installed_ones() -> None:
    assert pg.__version__[0].isdigit()


@pytest.mark.parametrize(
    "module", ["proofgym", "proofgym.sandboxes", "proofgym.verifiers", "proofgym.envs"]
)
def test_light_areas_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_it_costs_less_than_two_starts_of_an_interpreter() -> None:
    # some 30 ms where a bare start takes 15; a slow or busy machine charges both more
    code = (
        "import sys, time; start = time.process_time(); import proofgym;"
        "print((time.process_time() - start) / start, 'numpy' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(5)
    ]
    starts, has_numpy = min(run.stdout.split() for run in runs)
    assert has_numpy == "False"
    assert float(starts) < 2
