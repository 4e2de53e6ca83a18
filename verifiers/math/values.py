"""Compare two expressions: as constants, exactly or in 50 digits, else at probe points."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction

from proofgym.verifiers.math.builders import in_radians
from proofgym.verifiers.math.evaluate import Grid, Scalar, context, number, value
from proofgym.verifiers.math.node import (
    BINDERS,
    Call,
    LimitError,
    Node,
    Num,
    Text,
    UndecidedError,
    calls,
    symbols,
)

MIN_ROUNDED_DIGITS = 10  # a shorter decimal is a number of its own, not a rounding of 1/3
PROBES = 24
AGREEING = 4
_STEPS = frozenset(("floor", "ceil", "sign", "mod", "gcd", "lcm", "max", "min"))
_WHOLE = frozenset(("sum", "prod", "binom", "factorial", "gcd", "lcm", "mod"))
CONSTANTS = frozenset(("e", "i", "j"))


def named(node: Node, name: str) -> bool:
    return isinstance(node, Call) and node.name == name


def same_value(gold: Node, said: Node) -> bool:
    """Compare two expressions: as constants, else at probe points."""
    marks = {_mark_of(gold), _mark_of(said)} - {None}
    gold, said, factor = _units(gold, said)
    if factor == 0 or len(marks) > 1:
        return False
    if named(gold, "percent") != named(said, "percent"):
        marked, other = (gold, said) if named(gold, "percent") else (said, gold)
        assert isinstance(marked, Call)
        return _percent(marked, other)
    if named(gold, "degree") != named(said, "degree"):
        marked, other = (gold, said) if named(gold, "degree") else (said, gold)
        if "pi" in calls(other):
            return _same(in_radians(marked), other, Fraction(1))
    return _same(gold, said, factor)


def _mark_of(node: Node) -> str | None:
    """Percent, degree or unit: two of a different sort do not measure the same."""
    if isinstance(node, Call) and node.name in ("percent", "degree", "unit"):
        return node.name
    return None


def _percent(marked: Call, other: Node) -> bool:
    """10% is 0.1; where the mark was left off, it is 10, but half a percent is never 0.5."""
    if _same(marked, other, Fraction(1)):
        return True
    inner = marked.args[0]
    bare = value(inner, {}) if not symbols(inner) - CONSTANTS else None
    small = isinstance(bare, Fraction) and abs(bare) < 1
    return not small and _same(inner, other, Fraction(1))


_UNITS: dict[str, tuple[str, Fraction]] = {
    unit: (kind, Fraction(size))
    for kind, sizes in {
        "length": {"mm": "1/1000", "cm": "1/100", "m": "1", "km": "1000", "meters": "1",
                   "meter": "1", "centimeters": "1/100", "kilometers": "1000"},
        "time": {"s": "1", "sec": "1", "seconds": "1", "second": "1", "min": "60", "minutes": "60",
                 "minute": "60", "hours": "3600", "hour": "3600", "h": "3600", "days": "86400"},
        "mass": {"g": "1", "kg": "1000", "grams": "1", "mg": "1/1000", "kilograms": "1000"},
    }.items()
    for unit, size in sizes.items()
}  # fmt: skip


def _units(gold: Node, said: Node) -> tuple[Node, Node, Fraction]:
    """Take units off; the factor between two known ones, 0 where they cannot be compared."""
    left, right = _unit_of(gold), _unit_of(said)
    if left is not None and isinstance(gold, Call):
        gold = gold.args[0]
    if right is not None and isinstance(said, Call):
        said = said.args[0]
    first, second = _known_unit(left), _known_unit(right)
    if left == right or first is None or second is None:
        return gold, said, Fraction(1)
    (kind, size), (other_kind, other_size) = first, second
    return gold, said, other_size / size if kind == other_kind else Fraction(0)


def _known_unit(words: str | None) -> tuple[str, Fraction] | None:
    """Kind and size of ``cm`` or ``cm ^2``."""
    unit, _, power = (words or "").partition(" ^")
    if unit not in _UNITS or (power and power not in "23"):
        return None
    kind, size = _UNITS[unit]
    return kind + power, size ** int(power or 1)


def _unit_of(node: Node) -> str | None:
    if isinstance(node, Call) and node.name == "unit" and isinstance(node.args[1], Text):
        return node.args[1].words
    return None


def _same(gold: Node, said: Node, factor: Fraction) -> bool:
    if factor != 1:
        said = Call("mul", (said, Num(factor)))
    names = (symbols(gold) | symbols(said)) - CONSTANTS
    if not names:
        return _same_constant(gold, said)
    if _is_infinite(gold) or _is_infinite(said):
        return False
    return _same_function(gold, said, sorted(names))


def _is_infinite(node: Node) -> bool:
    """Does infinity stand in the value itself, rather than as a bound of a sum?"""
    names = calls(node)
    return "infty" in names and not names & BINDERS


def _same_constant(gold: Node, said: Node) -> bool:
    if _is_infinite(gold) or _is_infinite(said):
        return _infinity(gold) == _infinity(said) != 0
    left, right = _value_or_huge(gold), _value_or_huge(said)
    if left is None or right is None:
        if left is None and right is None:
            raise UndecidedError("two values too large to compare")
        return False
    if close(left, right):
        if isinstance(left, Fraction) or isinstance(right, Fraction):
            return True
        return _whole_equal(gold, said, left)
    return _rounded(gold, left, right) or _rounded(said, right, left)


def _value_or_huge(node: Node) -> Scalar | None:
    try:
        return value(node, {})
    except LimitError:
        return None


def _whole_equal(gold: Node, said: Node, size: Scalar) -> bool:
    """Beyond 50 digits equal leading digits say little: whole numbers are compared by residue."""
    if isinstance(size, Grid) or abs(size) < 10**45:
        return True
    residues = [residue(node, _PRIME) for node in (gold, said)]
    if None in residues:
        raise UndecidedError("two large values, equal in 50 digits")
    return residues[0] == residues[1]


_PRIME = (1 << 89) - 1


def residue(node: Node, prime: int) -> int | None:
    """A whole-number expression's value modulo a prime; None for any other."""
    match node:
        case Num(found) if found.denominator % prime:
            return found.numerator * pow(found.denominator, -1, prime) % prime
        case Call(name="pow", args=(base, exponent)):
            inner = residue(base, prime)
            try:
                power = value(exponent, {})
            except (UndecidedError, LimitError):
                return None
            if inner is None or not isinstance(power, Fraction) or power.denominator != 1:
                return None
            return pow(inner, int(power), prime) if power >= 0 or inner else None
        case Call(name="add" | "mul" | "neg", args=args):
            parts = [residue(arg, prime) for arg in args]
            known = [part for part in parts if part is not None]
            if len(known) != len(parts):
                return None
            if node.name == "neg":
                return -known[0] % prime
            total = sum(known) if node.name == "add" else known[0] * known[1]
            return total % prime
    return None


def _infinity(node: Node) -> int:
    match node:
        case Call(name="infty"):
            return 1
        case Call(name="neg", args=(inner,)):
            return -_infinity(inner)
    return 0


def _rounded(node: Node, written: Scalar, exact: Scalar) -> bool:
    """Is a long decimal the other value, rounded to the digits that it shows?"""
    if isinstance(node, Call) and node.name == "neg":
        node = node.args[0]
    if isinstance(node, Call) and node.name == "mul" and isinstance(node.args[0], Num):
        written_as = node.args[0]  # 2.314814814815 x 10^-3
        scale = written / written_as.value if written_as.value else Fraction(0)
    elif isinstance(node, Num):
        written_as, scale = node, Fraction(1)
    else:
        return False
    if written_as.digits < MIN_ROUNDED_DIGITS or isinstance(exact, Grid):
        return False
    if isinstance(exact, Fraction) and exact.denominator == 1 and written_as.ulp < 1:
        return False
    return bool(abs(number(written) - number(exact)) <= abs(number(written_as.ulp * scale)))


def close(left: Scalar, right: Scalar) -> bool:
    """Equal: exactly for rationals, else in all of 50 digits but the last ones."""
    if isinstance(left, Grid) or isinstance(right, Grid):
        if not (isinstance(left, Grid) and isinstance(right, Grid)):
            return False
        if (len(left.rows), len(left.rows[0])) != (len(right.rows), len(right.rows[0])):
            return False
        return all(
            close(a, b)
            for row, other in zip(left.rows, right.rows, strict=True)
            for a, b in zip(row, other, strict=True)
        )
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    a, b = number(left), number(right)
    if a == b:
        return True
    if not context().isfinite(a) or not context().isfinite(b):
        return False
    size, gap = max(abs(a), abs(b)), abs(a - b)
    # both tiny: what is left of a cancellation such as sqrt(2)^2 - 2
    tiny = min(abs(a), abs(b)) < 1e-44 and size < 1e-44
    return bool(gap <= size * context().mpf(10) ** -34 or tiny)


def _same_function(gold: Node, said: Node, names: list[str]) -> bool:
    agreed, complex_agreed, complex_differed = 0, 0, 0
    # functions that take few values agree by chance: floor(x) is 1 at 4 points of 200
    needed = PROBES * 2 // 3 if (calls(gold) | calls(said)) & _STEPS else AGREEING
    for point in points(gold, said, names):
        try:
            left, right = value(gold, point), value(said, point)
        except UndecidedError:
            continue
        if isinstance(left, Grid) or isinstance(right, Grid):
            if not close(left, right):
                return False
            agreed += 1
        elif number(left).imag != 0 or number(right).imag != 0:
            same = close(left, right)
            complex_agreed += same
            complex_differed += not same
        elif not close(left, right):
            return False
        else:
            agreed += 1
        if agreed == needed:
            return True
    if agreed >= (2 if needed == AGREEING else needed):
        return True
    if complex_agreed >= AGREEING and not complex_differed:
        return True
    if complex_differed:
        return False
    raise UndecidedError("too few points at which both have a value")


def points(left: Node, right: Node, names: Sequence[str]) -> list[Mapping[str, Scalar]]:
    """Points that the text decides, so that no answer can be written for fixed ones."""
    shown = "|".join(sorted((repr(left), repr(right))))
    seed = int.from_bytes(hashlib.blake2b(shown.encode(), digest_size=8).digest(), "big")
    numbers = random.Random(seed)
    whole = bool((calls(left) | calls(right)) & _WHOLE)
    found: list[Mapping[str, Scalar]] = []
    for place in range(PROBES):
        if whole:
            point = {name: Fraction(numbers.randint(2, 13)) for name in names}
        else:
            low = -30_000 if place % 2 else 3_000
            point = {name: Fraction(numbers.randint(low, 30_000), 9_973) for name in names}
        found.append(point)
    return found
