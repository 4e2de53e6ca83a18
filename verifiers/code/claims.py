"""What the judged side sends is only a claim: read strictly, compared here with what is expected.

The comparison never builds a set or dictionary of claimed values, whose hashes may be chosen to
collide, and never goes deeper than the expected value does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

RELATIVE = 1e-9
ABSOLUTE = 1e-12  # so that 0.0 can be met by a sum that rounds
_CONSTANTS = {"n": None, "0": False, "1": True}


def encode(value: Any) -> list[Any]:
    """Make tagged JSON of plain data; see ``judged_side``.

    Raises:
        TypeError: it is not plain data.
    """
    if value is None:
        return ["n"]
    if value is True or value is False:
        return ["1"] if value else ["0"]
    kind = type(value)
    if kind is int:
        return ["i", hex(value)]
    if kind is float:
        return ["f", value.hex()]
    if kind is complex:
        return ["c", value.real.hex(), value.imag.hex()]
    if kind is str:
        return ["s", value]
    if kind is bytes:
        return ["b", value.hex()]
    if kind is dict:
        return ["d", [[encode(key), encode(item)] for key, item in value.items()]]
    for tag, plain in (("l", list), ("t", tuple), ("S", set), ("F", frozenset)):
        if kind is plain:
            return [tag, [encode(item) for item in value]]
    raise TypeError(f"expected plain data, got {kind.__name__}.")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"expected strict JSON, got {name}.")


def read_claims(output: bytes, nonce: str) -> list[dict[str, Any]]:
    """Read the lines that carry the nonce; one that is not a claim is read as an empty one."""
    head = f"{nonce} ".encode()
    found: list[dict[str, Any]] = []
    for line in output.split(b"\n"):
        if not line.startswith(head):
            continue
        try:
            claim = json.loads(line[len(head) :], parse_constant=_no_constant)
        except (ValueError, RecursionError):
            claim = {}
        found.append(claim if isinstance(claim, dict) else {})
    return found


def returned(claim: Mapping[str, Any]) -> list[Any] | None:
    """Return the form of the value that was returned, or None where none was."""
    form = claim.get("ok")
    return form if isinstance(form, list) and form and isinstance(form[0], str) else None


def told(claim: Mapping[str, Any] | None) -> str:
    """Say in a few words what a claim says."""
    if claim is None:
        return "ended without a result"
    form = returned(claim)
    if form is not None:
        return f"returned {shown(form)}"
    error = claim.get("raise")
    if not isinstance(error, dict):
        return "sent no readable result"
    return f"raised {error.get('name')!s:.80}: {error.get('text')!s:.200}"


def shown(form: list[Any]) -> str:
    """Show a form's value, cut."""
    if form[0] == "o":
        return f"a {form[2]!s:.60} object" if len(form) > 2 else "an object"
    try:
        return f"{_small(form, 40):.200}"
    except (ValueError, TypeError, IndexError, KeyError, RecursionError):
        return "what cannot be read"


def _small(form: Any, room: int) -> str:
    tag = form[0]
    if tag in _CONSTANTS:
        return repr(_CONSTANTS[tag])
    if tag == "i":
        return repr(int(form[1], 16)) if len(form[1]) < 60 else f"an integer {form[1][:20]}..."
    if tag == "f":
        return repr(float.fromhex(form[1]))
    if tag in "sb":
        return repr(form[1][:100])
    if tag == "d":
        inner = (f"{_small(k, 5)}: {_small(v, 5)}" for k, v in form[1][:room])
        return "{" + ", ".join(inner) + "}"
    if tag in "ltSFq":
        around = {"l": "[]", "t": "()"}.get(tag, "{}")
        return around[0] + ", ".join(_small(item, 5) for item in form[1][:room]) + around[1]
    return f"<{tag}>"


def is_true(form: list[Any]) -> bool:
    """Tell the truth of a claimed value; an object of the program's own is always true."""
    tag = form[0]
    if tag in _CONSTANTS:
        return bool(tag == "1")
    if tag == "i":
        return _int(form) != 0
    if tag == "f":
        return _float(form) != 0.0
    if tag == "c":
        return (_float(form), _float(["f", form[2]])) != (0.0, 0.0)
    if tag in ("s", "b", "l", "t", "S", "F", "q", "d"):
        return len(form) > 1 and len(form[1]) > 0
    return True


def _int(form: list[Any]) -> int:
    if not isinstance(form[1], str):
        raise ValueError("expected a hexadecimal text")
    return int(form[1], 16)


def _float(form: list[Any]) -> float:
    if not isinstance(form[1], str):
        raise ValueError("expected a hexadecimal text")
    return float.fromhex(form[1])


def equals(form: Any, expected: Any, *, exact: bool) -> bool:
    """Compare a claimed value with an expected one. Never raises.

    Args:
        form: as the judged side sent it.
        expected: plain data.
        exact: as a function's result against JSON: truth values, whole numbers and text are kept
            apart, a float is met within 1e-9 of its size, a tuple meets a list (JSON has none), a
            whole number as a key meets its digits. Without it: Python's own ``==``.
    """
    try:
        return _equals(form, expected, exact)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError):
        return False  # not the shape of a claim
    except RecursionError:
        return False


def _equals(form: Any, expected: Any, exact: bool) -> bool:
    tag = form[0]
    if expected is None:
        return bool(tag == "n")
    if isinstance(expected, bool):
        if tag in ("0", "1"):
            return (tag == "1") is expected
        return not exact and _number_equals(form, int(expected))
    if isinstance(expected, int):
        if exact:
            return bool(tag == "i") and _int(form) == expected
        return _number_equals(form, expected)
    if isinstance(expected, float):
        return _close(form, expected) if exact else _number_equals(form, expected)
    if isinstance(expected, complex):
        return _number_equals(form, expected)
    if isinstance(expected, str):
        return bool(tag == "s" and form[1] == expected)
    if isinstance(expected, bytes):
        return bool(tag == "b" and form[1] == expected.hex())
    if isinstance(expected, list | tuple):
        fits = tag in ("l", "t") if exact else tag == ("l" if isinstance(expected, list) else "t")
        if not fits or len(form[1]) != len(expected):
            return False
        return all(_equals(a, b, exact) for a, b in zip(form[1], expected, strict=True))
    if isinstance(expected, set | frozenset):
        return tag in ("S", "F") and _same_set(form[1], expected)
    return isinstance(expected, dict) and tag == "d" and _same_dict(form[1], expected, exact)


def _number_equals(form: list[Any], expected: complex) -> bool:
    tag = form[0]
    if tag in ("0", "1"):
        return bool(int(tag) == expected)
    if tag == "i":
        return bool(_int(form) == expected)
    if tag == "f":
        return bool(_float(form) == expected)
    return tag == "c" and complex(_float(form), _float(["f", form[2]])) == expected


def _close(form: list[Any], expected: float) -> bool:
    if form[0] == "i":
        found: float = _int(form)
    elif form[0] == "f":
        found = _float(form)
    else:
        return False
    if math.isnan(expected):
        return math.isnan(found)
    return math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _key(form: list[Any]) -> Any:
    """Make a hashable value of a form; not of sets, which could be made to collide."""
    tag = form[0]
    if tag in _CONSTANTS:
        return _CONSTANTS[tag]
    if tag == "i":
        return _int(form)
    if tag == "f":
        return _float(form)
    if tag == "s":
        return form[1]
    if tag == "b":
        return bytes.fromhex(form[1])
    if tag == "t":
        return tuple(_key(item) for item in form[1])
    if tag == "F" and len(form[1]) <= 1000:
        return frozenset(_key(item) for item in form[1])
    raise ValueError(f"expected a key, got {tag}.")


def _same_set(items: list[Any], expected: set[Any] | frozenset[Any]) -> bool:
    if len(items) != len(expected):
        return False
    met: set[Any] = set()  # holds only values that are expected ones
    for item in items:
        key = _key(item)
        if key not in expected:
            return False
        met.add(key)
    return len(met) == len(expected)


def _same_dict(pairs: list[Any], expected: dict[Any, Any], exact: bool) -> bool:
    if len(pairs) != len(expected):
        return False
    met: set[Any] = set()
    for key_form, item in pairs:
        key = _key(key_form)
        if exact and type(key) is int and key not in expected:
            key = str(key)
        if key not in expected or not _equals(item, expected[key], exact):
            return False
        met.add(key)
    return len(met) == len(expected)
