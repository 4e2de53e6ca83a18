"""Run configurations from TOML files and dotted overrides, with errors that a person can use."""

import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from proofgym.trainers.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from proofgym.trainers.run_config import RunConfig

SHOWN_PROBLEMS = 8


def load_config(path: Path, overrides: Sequence[str] = (), *, for_here: bool = True) -> "RunConfig":
    """Read a run's configuration. Nothing is written, no model is loaded.

    Args:
        path: a TOML file.
        overrides: ``dotted.key=value``, each in place of the file's.
        for_here: whether it is to run on this machine, which must have its device.

    Raises:
        ConfigError: the file or an override is wrong; the message names the key.
        UnknownEnvError: the environment does not exist; the message has the nearest names.
    """
    table = read_toml(path)
    for override in overrides:
        apply_override(table, override)
    # torch comes in with the trainers' models, so a broken file is reported before it is loaded
    from proofgym.trainers.run_config import RunConfig

    return checked(validated(RunConfig, table, str(path)), for_here=for_here)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: it is not there, or not TOML; the line is quoted.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, _neighbours(path), n=3)
        hint = f" Did you mean {', '.join(str(path.parent / name) for name in near)}?"
        raise ConfigError(
            f"expected a TOML file, got no file at {path}.{hint if near else ''}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a TOML file at {path}, got {error}.") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}{_quoted(text, error)}") from None


def apply_override(table: dict[str, Any], override: str) -> None:
    """Set ``dotted.key=value`` in a table; the value is TOML, or else a plain string.

    Where a ``kind`` changes, the rest of its table goes: the keys belonged to the other kind.

    Raises:
        ConfigError: it is not of this form, or goes through something that is no table.
    """
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"expected an override such as stages.sft.steps=100, got {override!r}.")
    value = parse_value(text.strip())
    for depth, part in enumerate(parts[:-1]):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"expected {'.'.join(parts[: depth + 1])} to be a table, got {table!r}, so "
                f"{key.strip()} cannot be set."
            )
    if parts[-1] == "kind" and table.get("kind", value) != value:
        table.clear()
    table[parts[-1]] = value


def parse_value(text: str) -> Any:
    """Read a TOML value; what is none is a string."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def validated(model: "type[RunConfig]", table: Mapping[str, Any], origin: str) -> "RunConfig":
    """Check a table against its model.

    It is read strictly, as JSON is: a TOML file has arrays for tuples and strings for enums.

    Raises:
        ConfigError: one line for each problem, with the nearest valid key for an unknown one.
    """
    try:
        return model.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        problems = [_problem(model, table, details) for details in error.errors()]
    shown = problems[:SHOWN_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    lines = "\n".join(f"  {line}" for line in shown)
    raise ConfigError(f"{origin} cannot be run:\n{lines}")


def checked(config: "RunConfig", *, for_here: bool = True) -> "RunConfig":
    """Check what the models cannot know: the environment, its demonstrators, the device.

    Raises:
        ConfigError, UnknownEnvError: as :func:`load_config`.
    """
    from proofgym.envs import environment_class

    environment = environment_class(config.environment)
    for name, stage in config.stages.items():
        for who in stage.demonstrators if stage.kind == "sft" else ():
            if who not in environment.demonstrators:
                known = list(environment.demonstrators)
                raise ConfigError(
                    f"stages.{name}.demonstrators.{who}: expected a demonstrator of "
                    f"{config.environment} ({', '.join(known) or 'it has none'}), got "
                    f"{who!r}.{_did_you_mean(who, known)}"
                )
    if for_here:
        check_device(config.device)
    return config


def _neighbours(path: Path) -> list[str]:
    return [one.name for one in path.parent.glob("*.toml")] if path.parent.is_dir() else []


def _quoted(text: str, error: tomllib.TOMLDecodeError) -> str:
    """Quote the line at fault, which tomllib names at the end of its message."""
    words = str(error).replace(",", " ").replace(")", " ").split()
    if "line" not in words:
        return ""
    number = int(words[words.index("line") + 1])
    lines = text.splitlines()
    return f"\n  {number} | {lines[number - 1]}" if number <= len(lines) else ""


def _problem(model: type[BaseModel], table: Mapping[str, Any], details: "ErrorDetails") -> str:
    """Say one of pydantic's problems in words."""
    path, holder, tags = _locate(model, details["loc"])
    value, kind = details["input"], details["type"]
    if kind == "extra_forbidden":
        known = sorted(holder.model_fields) if holder is not None else []
        table_name, _, name = path.rpartition(".")
        near = _did_you_mean(name, known, f"{table_name}." if table_name else "")
        return f"{path} is not a key.{near or ' Known here: ' + ', '.join(known) + '.'}"
    if kind == "missing":
        return f"{path} is required, got nothing."
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        allowed = ", ".join(tags)
        got = value.get("kind") if isinstance(value, Mapping) else value
        said = "nothing" if got is None else repr(got)
        return f"{path}.kind must be one of {allowed}, got {said}.{_near_stage(table, path)}"
    message = details["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{path}: {message}." if path else f"{message}."
    return f"{path} {message.replace('Input should', 'must')}, got {value!r}."


def _near_stage(table: Mapping[str, Any], path: str) -> str:
    parent, _, name = path.rpartition(".")
    stages = table.get("stages", {}) if parent == "stages" else {}
    return _did_you_mean(name, [known for known in stages if known != name], f"{parent}.")


def _locate(
    model: type[BaseModel], place: Sequence[int | str]
) -> tuple[str, type[BaseModel] | None, list[str]]:
    """Turn pydantic's location into the file's dotted key.

    Also find the model that holds the key and, where a union stands there, its kinds.

    pydantic puts a union's tag (``rl``) between the keys; the file has no such level.
    """
    at: Any = model
    holder: type[BaseModel] | None = None
    keys: list[str] = []
    for part in map(str, place):
        members = _union_members(at)
        if members:
            at = next((one for one in members if part in _tags(one)), None)
            continue
        keys.append(part)
        if isinstance(at, type) and issubclass(at, BaseModel):
            holder = at
            field = at.model_fields.get(part)
            at = None if field is None else field.annotation
        elif typing.get_origin(at) is dict:
            at = typing.get_args(at)[1]
        else:
            holder, at = None, None
    kinds = [tag for member in _union_members(at) for tag in _tags(member)]
    return ".".join(keys), holder, kinds


def _union_members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return ()
    members = typing.get_args(annotation)
    return members if all(isinstance(one, type) for one in members) else ()


def _tags(member: Any) -> tuple[str, ...]:
    field = member.model_fields.get("kind") if issubclass(member, BaseModel) else None
    return () if field is None else typing.get_args(field.annotation)


def _did_you_mean(name: str, known: Sequence[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def check_device(name: str) -> None:
    import torch

    if name == "auto":
        return
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device: expected one of this machine's {torch.cuda.device_count()} CUDA devices, "
            f'got {name!r}. Use device = "auto", which takes a GPU where there is one.'
        )
