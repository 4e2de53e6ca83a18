"""Take asserts apart: the call goes to the program, the rest is decided here.

Only the forms that most data sets have: ``assert f(data) == data``, ``is``, ``not``, bare, and
these inside ``def check(candidate)``. What is anything else is run by the tests' own side.
"""

from __future__ import annotations

import ast
import builtins
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from proofgym.verifiers.code import claims
from proofgym.verifiers.errors import BadTaskError

MOST_BITS = 10_000
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class Check(StrEnum):
    """What an assert says of a call's result."""

    EQUALS = "=="
    EQUALS_JSON = "== as JSON"
    IS = "is"
    TRUE = "true"
    FALSE = "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTest:
    """One independent call and what is expected of it.

    Args:
        label: which test, for people.
        source: the call as text.
        form: arguments and keywords as tagged JSON.
        check, expected: what must hold.
        visible: the policy was shown it.
    """

    label: str
    source: str
    form: tuple[list[Any], dict[str, Any]]
    check: Check
    expected: Any = None
    visible: bool = False

    def holds(self, claim: Mapping[str, Any] | None) -> bool:
        """Decide; no claim, or a claim that nothing was returned, is a failure."""
        form = None if claim is None else claims.returned(claim)
        if form is None:
            return False
        if self.check is Check.EQUALS:
            return claims.equals(form, self.expected, exact=False)
        if self.check is Check.EQUALS_JSON:
            return claims.equals(form, self.expected, exact=True)
        if self.check is Check.IS:
            return form == claims.encode(self.expected)
        try:
            return claims.is_true(form) is (self.check is Check.TRUE)
        except (ValueError, TypeError, IndexError):
            return False


def parsed(statements: Sequence[str]) -> list[ast.stmt]:
    """Parse tests into statements.

    Raises:
        BadTaskError: one is not Python.
    """
    found: list[ast.stmt] = []
    for number, text in enumerate(statements, start=1):
        try:
            found += ast.parse(text).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise BadTaskError(f"test {number} is not Python: {error}.") from None
    return found


def take_apart(statements: Sequence[str], entry: str) -> list[CallTest] | None:
    """Return independent calls, or None where the statements are more than that."""
    if "." in entry:
        return None
    found: list[CallTest] = []
    checks: dict[str, tuple[str, list[ast.Assert]]] = {}
    for statement in parsed(statements):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue  # only calls and data follow, or all of it is refused
        if isinstance(statement, ast.FunctionDef):
            inner = _check_function(statement)
            if inner is None:
                return None
            checks[statement.name] = inner
            continue
        asserts: Sequence[ast.stmt] = [statement]
        name = entry
        if isinstance(statement, ast.Expr):
            called = _check_call(statement.value, checks, entry)
            if called is None:
                return None
            name, asserts = called
        for one in asserts:
            test = _call_test(one, name, len(found) + 1)
            if test is None:
                return None
            found.append(test)
    return found or None


def names_used(statements: Sequence[str]) -> set[str]:
    """Return every name that the statements read."""
    return {
        node.id
        for statement in parsed(statements)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def class_names(texts: Sequence[str]) -> list[str]:
    """Return the names in tests that look like classes of the program, by how they are written.

    A test file that is not Python has none; it fails where it is run.
    """
    named: set[str] = set()
    own: set[str] = set(vars(builtins))
    for text in texts:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                named.add(node.id)
            elif isinstance(node, ast.Attribute):
                named.add(node.attr)
            elif isinstance(node, ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.ImportFrom) and _is_standard(node.module or ""):
                own |= {alias.asname or alias.name for alias in node.names}
    return sorted(name for name in named - own if name[:1].isupper() and not name.isupper())


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def only_call(statements: Sequence[str]) -> str:
    """Return the one name that the statements call and do not bring; empty where there are more."""
    bound: set[str] = set(vars(builtins))
    called: set[str] = set()
    for statement in parsed(statements):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                bound.add(node.name)
            elif isinstance(node, ast.alias):
                bound.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
    free = called - bound
    return free.pop() if len(free) == 1 else ""


def _check_function(node: ast.FunctionDef) -> tuple[str, list[ast.Assert]] | None:
    if len(node.args.args) != 1 or node.decorator_list or node.args.defaults:
        return None
    body = [
        inner
        for inner in node.body
        if not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
    ]
    asserts = [inner for inner in body if isinstance(inner, ast.Assert)]
    return (node.args.args[0].arg, asserts) if len(asserts) == len(body) else None


def _check_call(
    node: ast.expr, checks: Mapping[str, tuple[str, list[ast.Assert]]], entry: str
) -> tuple[str, list[ast.Assert]] | None:
    fits = (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in checks
        and not node.keywords
        and len(node.args) == 1
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id == entry
    )
    return checks[node.func.id] if fits else None  # type: ignore[attr-defined]  # a Call of a Name


def _call_test(node: ast.stmt, name: str, number: int) -> CallTest | None:
    if not isinstance(node, ast.Assert):
        return None
    test, check, expected = node.test, Check.TRUE, None
    try:
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, check = test.operand, Check.FALSE
        elif isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = test.left, test.comparators[0]
            if isinstance(test.ops[0], ast.Is):
                test, check, expected = left, Check.IS, _data(right)
                if expected is not None and not isinstance(expected, bool):
                    return None
            elif isinstance(test.ops[0], ast.Eq):
                call_is_left = _is_call(left, name)
                test, check = (left if call_is_left else right), Check.EQUALS
                expected = _data(right if call_is_left else left)
            else:
                return None
        if not _is_call(test, name):
            return None
        assert isinstance(test, ast.Call)
        arguments = [claims.encode(_data(argument)) for argument in test.args]
        keywords = {str(k.arg): claims.encode(_data(k.value)) for k in test.keywords if k.arg}
    except (ValueError, TypeError, RecursionError, ZeroDivisionError, OverflowError):
        return None
    if len(keywords) != len(test.keywords):
        return None
    return CallTest(
        label=f"test {number}",
        source=f"{ast.unparse(test):.200}",
        form=(arguments, keywords),
        check=check,
        expected=expected,
    )


def _is_call(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _data(node: ast.expr) -> Any:
    """Read data; small arithmetic on numbers is data too.

    Raises:
        ValueError: it is more than data.
    """
    if isinstance(node, ast.BinOp):
        left, right = _data(node.left), _data(node.right)
        if not all(isinstance(item, int | float) for item in (left, right)):
            raise ValueError("not numbers")
        if isinstance(node.op, ast.Pow):
            if not isinstance(left, int) or not isinstance(right, int) or right < 0:
                raise ValueError("not a small power")
            if left.bit_length() * right > MOST_BITS:
                raise ValueError("not a small power")
            return left**right
        if type(node.op) not in _ARITHMETIC:
            raise ValueError("not arithmetic")
        return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [_data(item) for item in node.elts]
        if isinstance(node, ast.List):
            return items
        return tuple(items) if isinstance(node, ast.Tuple) else set(items)
    if isinstance(node, ast.Dict):
        if any(key is None for key in node.keys):
            raise ValueError("not plain data")
        return {
            _data(key): _data(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    return ast.literal_eval(node)
