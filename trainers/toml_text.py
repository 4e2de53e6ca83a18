"""Tables as TOML."""

import json
from collections.abc import Mapping
from typing import Any


def to_toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """Write a table as TOML; None, which TOML lacks, is left out."""
    plain = {k: v for k, v in table.items() if v is not None and not isinstance(v, Mapping)}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in plain.items()]
    text = "".join(line + "\n" for line in lines)
    for name, value in table.items():
        if isinstance(value, Mapping):
            path = f"{prefix}.{_key(name)}" if prefix else _key(name)
            inner = to_toml(value, path)
            own = any(v is not None and not isinstance(v, Mapping) for v in value.values())
            heading = f"\n[{path}]\n" if own or not value else ""
            text += heading + inner
    return text


def _key(name: str) -> str:
    bare = name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
    return name if bare else _string(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    return repr(value)


def _string(text: str) -> str:
    """Quote as JSON does, which differs from TOML in one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
