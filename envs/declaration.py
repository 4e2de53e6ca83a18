"""Check and complete what a subclass of Env declares."""

import inspect
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofgym.envs.demonstrator import Demonstrator, demonstrator
from proofgym.envs.errors import EnvError
from proofgym.envs.tools import AnyTool, Tool
from proofgym.verifiers import Verifier

_ID = re.compile(r"(?P<suite>[A-Za-z0-9_-]+)/(?P<name>[A-Za-z0-9_.-]+)-v(?P<version>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvId:
    """An environment's id, taken apart."""

    suite: str
    name: str
    version: int


def parse_id(text: str) -> EnvId:
    """Read ``suite/name-vN``.

    Raises:
        EnvError: it is anything else.
    """
    found = _ID.fullmatch(text)
    if found is None:
        raise EnvError(
            f"expected an environment id like 'suite/name-v0', got {text!r}. The version counts up "
            "whenever the tasks or the verifier change."
        )
    return EnvId(suite=found["suite"], name=found["name"], version=int(found["version"]))


def is_id(text: str) -> bool:
    """Whether a text has the form of an environment id."""
    return _ID.fullmatch(text) is not None


def folder_of(cls: type) -> Path | None:
    """Return the folder of the module that declares a class; None in a notebook or a prompt."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    return Path(file).resolve().parent if file else None


def collect_tools(cls: type, listed: Sequence[Any]) -> dict[str, AnyTool]:
    """Gather a class's tools: those in ``tools`` and those written as methods, base classes first.

    Raises:
        EnvError: an entry is no tool, two tools share a name, or one asks for what cannot be given.
    """
    found: dict[str, AnyTool] = {}
    methods = {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, Tool) and value.is_method
    }
    for entry in [*listed, *methods.values()]:
        tool = entry if isinstance(entry, Tool) else _made_tool(cls, entry)
        if found.get(tool.name, tool) is not tool:
            raise EnvError(f"{cls.__name__}: two tools are named {tool.name!r}.")
        found[tool.name] = tool
    return found


def _made_tool(cls: type, entry: object) -> AnyTool:
    if isinstance(entry, types.FunctionType):
        return Tool(entry)
    raise EnvError(
        f"{cls.__name__}.tools must hold functions, got {type(entry).__name__}. Decorate them with "
        "@proofgym.tool to give them a timeout or a name."
    )


def collect_demonstrators(cls: type) -> dict[str, Demonstrator]:
    """Make the class's scripted policies callable as ``(task, messages) -> Message``.

    Those of a base class are kept; ``oracle`` is among them where the class has one.
    """
    found: dict[str, Demonstrator] = {}
    for base in reversed(cls.__mro__):
        # the raw namespaces: through the class, a plain function would be bound as a method
        own: Mapping[str, Any] = vars(base).get("demonstrators") or {}
        if not isinstance(own, Mapping):
            raise EnvError(
                f"{cls.__name__}.demonstrators must be a dict, got {type(own).__name__}."
            )
        scripts = {**own, **({"oracle": vars(base)["oracle"]} if "oracle" in vars(base) else {})}
        for name, script in scripts.items():
            if script is None:
                continue
            if isinstance(script, _Normalised):
                found[name] = script
                continue
            plain = script.__func__ if isinstance(script, staticmethod) else script
            found[name] = _Normalised(demonstrator(plain, f"{cls.__name__}'s {name}"))
    return found


class _Normalised:
    """A scripted policy that has been read already: a subclass inherits it as it is."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Demonstrator) -> None:
        self._inner = inner

    def __call__(self, task: Any, messages: Any, /) -> Any:
        return self._inner(task, messages)


def check_rubric(cls: type, rubric: object) -> None:
    """Refuse a rubric that is not a verifier, such as a bare function."""
    if rubric is not None and not isinstance(rubric, Verifier):
        raise EnvError(
            f"{cls.__name__}.rubric must be a verifier such as proofgym.exact(), got "
            f"{type(rubric).__name__}. Wrap a function with proofgym.verifier(...)."
        )


def waits(start: Callable[..., Any], tools: Mapping[str, AnyTool]) -> bool:
    """Whether anything of an environment must be awaited, so that it needs an event loop."""
    return inspect.iscoroutinefunction(start) or any(tool.is_async for tool in tools.values())


def threads(tools: Mapping[str, AnyTool]) -> bool:
    """Whether a tool may have to leave a running event loop for a thread."""
    return any(
        tool.timeout_s is not None or "box" in inspect.signature(tool.function).parameters
        for tool in tools.values()
    )
