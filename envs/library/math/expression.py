"""Arithmetic expressions: made, written, worked out, and read without running anything."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH, MAX_DEPTH = 200, 20
_TOKEN = re.compile(r"\s*(?:([0-9]{1,9})|([-+*/()]))")
_SAME = str.maketrans("×·÷−–", "**/--")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Two operands and what is done with them."""

    left: "Expression"
    sign: str
    right: "Expression"


Expression = int | Operation
_RANK: Mapping[str, int] = {"+": 1, "-": 1, "*": 2, "/": 2}


class UnreadableError(ValueError):
    """A text is no arithmetic expression; the message says where. The policy's doing."""


def value(expression: Expression) -> Fraction:
    """Work an expression out, exactly.

    Raises:
        ZeroDivisionError: it divides by zero.
    """
    if isinstance(expression, int):
        return Fraction(expression)
    left, right = value(expression.left), value(expression.right)
    if expression.sign == "+":
        return left + right
    if expression.sign == "-":
        return left - right
    return left * right if expression.sign == "*" else left / right


def written(expression: Expression, *, rank: int = 0, spaced: bool = True) -> str:
    """Write an expression with the parentheses that it needs."""
    if isinstance(expression, int):
        return str(expression)
    own = _RANK[expression.sign]
    # the right side of - and / needs them at its own rank too
    right_rank = own + (expression.sign in "-/")
    sides = (
        written(expression.left, rank=own, spaced=spaced),
        written(expression.right, rank=right_rank, spaced=spaced),
    )
    joint = f" {expression.sign} " if spaced else expression.sign
    text = joint.join(sides)
    return f"({text})" if own < rank else text


def steps(expression: Expression) -> Iterator[tuple[int, str, int]]:
    """List an expression's operations on whole numbers, inner ones first."""
    if isinstance(expression, int):
        return
    yield from steps(expression.left)
    yield from steps(expression.right)
    yield int(value(expression.left)), expression.sign, int(value(expression.right))


def numbers(expression: Expression) -> list[int]:
    """List the numbers that an expression uses, from left to right."""
    if isinstance(expression, int):
        return [expression]
    return [*numbers(expression.left), *numbers(expression.right)]


def read(text: str) -> Expression:
    """Read ``+ - * /``, parentheses and whole numbers without a sign.

    Raises:
        UnreadableError: it is anything else, longer than 200 characters or nested 20 deep.
    """
    if len(text) > MAX_LENGTH:
        raise UnreadableError(f"expected at most {MAX_LENGTH} characters, got {len(text)}")
    text = text.translate(_SAME).strip()
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise UnreadableError(f"expected numbers and + - * / ( ), got {text[at : at + 10]!r}")
        tokens.append(found[1] or found[2])
        at = found.end()
    expression, rest = _sum(tokens, 0)
    if rest:
        raise UnreadableError(f"expected the end, got {rest[0]!r}")
    return expression


def _sum(tokens: list[str], depth: int) -> tuple[Expression, list[str]]:
    left, tokens = _product(tokens, depth)
    while tokens and tokens[0] in "+-":
        sign = tokens[0]
        right, tokens = _product(tokens[1:], depth)
        left = Operation(left=left, sign=sign, right=right)
    return left, tokens


def _product(tokens: list[str], depth: int) -> tuple[Expression, list[str]]:
    left, tokens = _atom(tokens, depth)
    while tokens and tokens[0] in "*/":
        sign = tokens[0]
        right, tokens = _atom(tokens[1:], depth)
        left = Operation(left=left, sign=sign, right=right)
    return left, tokens


def _atom(tokens: list[str], depth: int) -> tuple[Expression, list[str]]:
    if not tokens or depth > MAX_DEPTH:
        raise UnreadableError(
            "expected a number, got the end" if depth <= MAX_DEPTH else "too deep"
        )
    if tokens[0].isdigit():
        return int(tokens[0]), tokens[1:]
    if tokens[0] != "(":
        raise UnreadableError(f"expected a number or (, got {tokens[0]!r}")
    inner, tokens = _sum(tokens[1:], depth + 1)
    if tokens[:1] != [")"]:
        raise UnreadableError("expected )")
    return inner, tokens[1:]
