"""Environments by id: ours, a program's own, and those of other installed packages."""

import difflib
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from proofgym.envs.bundled import BUNDLED
from proofgym.envs.declaration import is_id, parse_id
from proofgym.envs.errors import EnvError, UnknownEnvError

if TYPE_CHECKING:
    from proofgym.envs.env import Env

logger = logging.getLogger(__name__)
GROUP = "proofgym.envs"
"""The entry-point group through which an installed package brings environments.

An entry's name is an environment's id and its value ``module:Class``; or its name is anything else
and its value a module whose class statements register when it is imported.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvEntry:
    """One registered environment.

    Args:
        id: ``suite/name-vN``.
        place: ``module:Class``.
        summary: one line for a person.
    """

    id: str
    place: str
    summary: str


SUITES: Mapping[str, str] = {
    "reasoning-gym": "proofgym.envs.adapters.reasoning_gym",
    "textarena": "proofgym.envs.adapters.textarena",
    "gsm8k": "proofgym.envs.datasets.known",
    "hendrycks-math": "proofgym.envs.datasets.known",
    "math-500": "proofgym.envs.datasets.known",
    "aime": "proofgym.envs.datasets.known",
    "deepscaler": "proofgym.envs.datasets.known",
    "humaneval": "proofgym.envs.datasets.known",
    "mbpp": "proofgym.envs.datasets.known",
    "livecodebench": "proofgym.envs.datasets.known",
    "apps": "proofgym.envs.datasets.known",
    "ifeval": "proofgym.envs.datasets.known",
    "bfcl": "proofgym.envs.datasets.known",
}
"""Suite -> the module that declares its environments when it is imported.

They need another package or a file of the user's, so they are not listed, but made by their ids.
"""

_classes: dict[str, "type[Env]"] = {}
_entries: dict[str, EnvEntry] = {}
_discovered = False


def register(id: str, place: str, *, summary: str = "") -> None:
    """Register an environment without importing it; declaring a class with an id does it by itself.

    Args:
        id: ``suite/name-vN``.
        place: ``module:Class``.
        summary: one line for listings.

    Raises:
        EnvError: the id is malformed, or taken by another class.
    """
    parse_id(id)
    taken = _entries.get(id)
    if taken is not None and taken.place != place:
        raise EnvError(
            f"environment id {id!r} is taken by {taken.place}, got {place}. Give yours another "
            "suite, name or version."
        )
    _entries[id] = EnvEntry(id=id, place=place, summary=summary)
    if id not in gymnasium.registry:
        gymnasium.register(id=id, entry_point=place)


def register_class(cls: "type[Env]") -> None:
    """Register a class under its own id, here and in gymnasium.

    Raises:
        EnvError: the id is taken by a class of another name or module.
    """
    place = f"{cls.__module__}:{cls.__qualname__}"
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    register(cls.id, place, summary=summary)
    _classes[cls.id] = cls
    # the class itself: a local one cannot be found by its name. A notebook's cell that is run
    # again replaces the older class, here as there.
    gymnasium.registry.pop(cls.id, None)
    creator: Any = cls  # gymnasium's type of a creator is narrower than what it calls
    gymnasium.register(id=cls.id, entry_point=creator)


def environment_class(name: str) -> "type[Env]":
    """Find an environment's class.

    Args:
        name: an id; or ``module:Class``, ``module:id`` or ``path/to/file.py:Class``.

    Raises:
        UnknownEnvError: nothing has this name; the message has the nearest ones.
        EnvError: its module cannot be imported.
    """
    if ":" in name:
        return _by_place(name)
    if name in _classes:
        return _classes[name]
    if name not in _entries:
        suite = name.partition("/")[0]
        if suite in SUITES:
            importlib.import_module(SUITES[suite])
        else:
            discover()
    if name in _classes:
        return _classes[name]
    if name not in _entries:
        raise UnknownEnvError(_unknown(name))
    if name not in _classes:
        cls = _by_place(_entries[name].place)
        if cls.id != name:
            raise EnvError(f"expected {_entries[name].place} to be {name!r}, got {cls.id!r}.")
        return cls
    return _classes[name]


def make(name: str, **kwargs: Any) -> "Env":
    """Make an environment; see :func:`environment_class` for the names.

    The keyword arguments go to the class's constructor.
    """
    return environment_class(name)(**kwargs)


def list_envs() -> tuple[EnvEntry, ...]:
    """List every registered environment by id, importing none that names its class."""
    discover()
    return tuple(_entries[id] for id in sorted(_entries))


def discover() -> None:
    """Look once at what other installed packages bring. A broken one is logged and left out."""
    global _discovered
    if _discovered:
        return
    _discovered = True
    for point in importlib.metadata.entry_points(group=GROUP):
        package = point.dist.name if point.dist is not None else point.module
        try:
            if is_id(point.name):
                register(point.name, point.value, summary=_summary_of(point, package))
            else:
                point.load()
        except Exception as error:  # noqa: BLE001  # another package's fault must not break ours
            logger.warning(
                "environments of package %s (entry point %r) are left out: %s: %s",
                package,
                point.name,
                type(error).__name__,
                error,
            )


def _summary_of(point: importlib.metadata.EntryPoint, package: str) -> str:
    """Say what a package says of itself: its environments are not imported for a listing."""
    about = None if point.dist is None else point.dist.metadata["Summary"]
    return f"{about} (from {package})" if about else f"from {package}"


def _by_place(place: str) -> "type[Env]":
    from proofgym.envs.env import Env

    module_name, _, name = place.rpartition(":")
    module = load_module(module_name)
    if is_id(name):
        if name not in _classes:
            raise UnknownEnvError(f"module {module_name} declares no environment {name!r}.")
        return _classes[name]
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Env)):
        raise UnknownEnvError(
            f"expected {name!r} in {module_name} to be a proofgym.Env class, got "
            f"{type(found).__name__ if found is not None else 'nothing'}."
        )
    return found


def load_module(name: str) -> Any:
    """Import a module by its dotted name, or a file by its path.

    Raises:
        EnvError: it cannot be imported.
    """
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        return _file_module(Path(name).resolve())
    except EnvError:
        raise
    except Exception as error:
        raise EnvError(
            f"module {name!r} cannot be imported: {type(error).__name__}: {error}."
        ) from error


def _file_module(path: Path) -> Any:
    name = f"proofgym_file_{path.stem}"  # not the stem alone: a random.py must not hide Python's
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise EnvError(f"expected a Python file, got no file at {path}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before running it: its classes look for their folder
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _entries, n=3, cutoff=0.4)
    known = near or sorted(_entries)
    hint = "Did you mean" if near else "There is"
    return f"no environment has the id {name!r}. {hint} {', '.join(known)}?"


for _id, (_place, _summary) in BUNDLED.items():
    register(_id, _place, summary=_summary)
