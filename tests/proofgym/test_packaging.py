"""What is shipped: built in a copy outside the tree, installed in a fresh environment."""

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
AREAS = ("sandboxes", "verifiers", "envs", "agents", "trainers")
MOST_BASE_PACKAGES = 25
FLAT = "proofgym-"


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build sdist and wheel of a copy, and another wheel from the sdist."""
    place = tmp_path_factory.mktemp("packaging")
    copy = place / "copy"
    tracked = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, tracked):
        source, target = ROOT / name, copy / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    build = (sys.executable, "-m", "build", "--no-isolation")
    run(*build, "--sdist", "--wheel", "--outdir", place / "first", copy, cwd=place)
    with tarfile.open(next((place / "first").glob("*.tar.gz"))) as archive:
        archive.extractall(place, filter="data")
    unpacked = next(one for one in place.glob(f"{FLAT}*") if one.is_dir())
    run(*build, "--wheel", "--outdir", place / "second", unpacked, cwd=place)
    return place


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def only(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_has_one_top_level_name_and_every_area(built: Path) -> None:
    files = names(only(built / "first"))
    assert {name.split("/")[0] for name in files if ".dist-info/" not in name} == {"proofgym"}
    for area in AREAS:
        expected = {
            f"proofgym/{path.relative_to(built / 'copy').as_posix()}"
            for path in (built / "copy" / area).rglob("*.py")
        }
        assert expected
        assert expected <= files
    assert {"proofgym/py.typed", "proofgym/cli/app.py", "proofgym/report/page.py"} <= files


@pytest.mark.slow
def test_a_wheel_from_the_sdist_has_the_same_files(built: Path) -> None:
    assert names(only(built / "second")) == names(only(built / "first"))


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment_outside_the_tree(built: Path) -> None:
    fresh = built / "fresh"
    venv.create(fresh, with_pip=False)
    python = fresh / "bin" / "python"
    wheel = only(built / "first")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, cwd=built)
    (site,) = fresh.glob("lib/python*/site-packages")
    # the dependencies are this environment's; its own proofgym is an editable install, made by a
    # .pth that is not read through another .pth, so that what is imported is the wheel's
    (site / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    where = run(python, "-c", "import proofgym; print(proofgym.__file__)", cwd=built)
    assert Path(where.strip()).is_relative_to(fresh)
    command = fresh / "bin" / "proofgym"
    assert run(command, "--version", cwd=built).startswith("proofgym ")
    assert "tools/calculator-v0" in run(command, "envs", cwd=built)
    words = ("eval", "tools/calculator-v0", "--policy", "oracle", "-n", "20")
    assert "pass@1 1.000" in run(command, *words, cwd=built)
    areas = "; ".join(f"import proofgym.{area}" for area in AREAS)
    run(python, "-c", f"{areas}; import proofgym.trainers.run; proofgym.make", cwd=built)


def resolved(name: str, extras: frozenset[str], seen: dict[str, set[str]]) -> None:
    """Follow the metadata of installed packages, as an installer would."""
    known = seen.setdefault(canonicalize_name(name), set())
    todo = {"", *extras} - known
    known |= todo
    for text in (distribution(name).requires or []) if todo else []:
        requirement = Requirement(text)
        marker = requirement.marker
        # extras that were asked for before have been followed before
        chosen = "" in todo if marker is None else any(marker.evaluate({"extra": e}) for e in todo)
        if chosen:
            resolved(requirement.name, frozenset(requirement.extras), seen)


def test_a_base_install_stays_small() -> None:
    seen: dict[str, set[str]] = {}
    for text in project_dependencies():
        requirement = Requirement(text)
        resolved(requirement.name, frozenset(requirement.extras), seen)
    assert len(seen) <= MOST_BASE_PACKAGES, sorted(seen)


def test_every_pinned_version_is_within_its_range() -> None:
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    by_name = {canonicalize_name(name): version for name, version in pins.items()}
    extras = ("train", "docker", "dev", "mcp", "openenv", "textarena", "reasoning-gym")
    for text in project_dependencies(*extras):
        requirement = Requirement(text)
        assert by_name[canonicalize_name(requirement.name)] in requirement.specifier, text


def project_dependencies(*extras: str) -> list[str]:
    """Read pyproject.toml itself: an editable install's metadata may be older."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional: dict[str, list[str]] = project["optional-dependencies"]
    found: list[str] = [*project["dependencies"]]
    for extra in extras:
        found += optional[extra]
    return found
