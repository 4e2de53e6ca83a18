"""A tool's arguments: their JSON schema from the signature, and the check of what a policy sent."""

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from proofgym.envs.errors import EnvError
from proofgym.envs.session import Session
from proofgym.sandboxes import BlockingSandbox, BridgedSandbox, Sandbox

if TYPE_CHECKING:
    from pydantic import BaseModel

INJECTED = ("episode", "rng", "box")
"""Parameters of these names are filled in by the runtime and hidden from the policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a tool's function takes.

    Args:
        model: a pydantic model of the parameters that the policy fills in.
        names: their names, in order.
        injected: parameter name -> which of :data:`INJECTED` it gets.
        schema: the tool in the OpenAI shape.
    """

    model: "type[BaseModel]"
    names: tuple[str, ...]
    injected: Mapping[str, str]
    schema: Mapping[str, Any]


def read_signature(function: Callable[..., Any], *, name: str, is_method: bool) -> Signature:
    """Work out a tool's signature.

    Raises:
        EnvError: a parameter has no type hint, is variadic, or cannot be described in JSON.
    """
    from pydantic import ConfigDict, Field, create_model
    from pydantic.errors import PydanticUserError

    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise EnvError(f"tool {name!r}: a type hint cannot be resolved: {error}.") from error
    summary, described = split_docstring(inspect.getdoc(function) or "")
    parameters = list(inspect.signature(function).parameters.values())[1 if is_method else 0 :]
    fields: dict[str, Any] = {}
    injected: dict[str, str] = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise EnvError(f"tool {name!r}: *{parameter.name} cannot be described to a policy.")
        source = _injection(parameter.name, hints.get(parameter.name))
        if source is not None:
            injected[parameter.name] = source
            continue
        if parameter.name not in hints:
            raise EnvError(
                f"tool {name!r}: expected a type hint on {parameter.name!r}, got none. The "
                "policy's JSON schema is made from the hints."
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        text = described.get(parameter.name)
        # an alias keeps names such as `schema` or `_x` clear of pydantic's own attributes
        fields[f"argument_{len(fields)}"] = (
            hints[parameter.name],
            Field(default, alias=parameter.name, description=text),
        )
    names = tuple(p.name for p in parameters if p.name not in injected)
    try:
        model: type[BaseModel] = create_model(
            name, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields
        )
        raw = model.model_json_schema(by_alias=True)
    except PydanticUserError as error:
        raise EnvError(f"tool {name!r}: a parameter cannot be JSON: {error}") from error
    function_schema = {
        "name": name,
        "description": summary,
        "parameters": _tidy(raw),
    }
    return Signature(
        model=model,
        names=names,
        injected=injected,
        schema={"type": "function", "function": function_schema},
    )


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a Google-style docstring into its description and the text of each argument."""
    description: list[str] = []
    arguments: dict[str, str] = {}
    section, current = "", ""
    for line in text.splitlines():
        heading = re.fullmatch(
            r"(Args|Arguments|Returns|Raises|Yields|Example|Examples|Note):", line
        )
        if heading:
            section, current = heading[1], ""
        elif not section:
            description.append(line)
        elif section.startswith("Arg"):
            started = re.fullmatch(r"\s+\**(\w+)\s*(?:\([^)]*\))?:\s*(.*)", line)
            if started and not (current and len(line) - len(line.lstrip()) > 4):
                current = started[1]
                arguments[current] = started[2]
            elif current and line.strip():
                arguments[current] = f"{arguments[current]} {line.strip()}".strip()
    return "\n".join(description).strip(), arguments


def _injection(name: str, hint: Any) -> str | None:
    if hint is Session:
        return "episode"
    if hint is np.random.Generator:
        return "rng"
    if hint in (BlockingSandbox, BridgedSandbox, Sandbox):
        return "box"
    return name if name in INJECTED else None


def _tidy(schema: Any) -> Any:
    """Drop pydantic's titles, which are generated names, wherever a schema has one."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in ("properties", "$defs") and isinstance(value, dict):
            tidy[key] = {name: _tidy(inner) for name, inner in value.items()}
        else:
            tidy[key] = value if key in ("default", "enum", "const", "examples") else _tidy(value)
    return tidy
