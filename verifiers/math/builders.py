"""Small makers and readers of nodes that the grammar and its operands share."""

from __future__ import annotations

from fractions import Fraction

from proofgym.verifiers.math.node import Call, LimitError, Listing, Node, Num

MAX_DIGITS = 4_000  # of a literal written out; Python converts no more than 4,300


def listed(items: list[Node], separators: list[str]) -> Node:
    if not separators:
        return items[0]
    if ";" in separators and any(s != ";" for s in separators):
        outer: list[Node] = []
        inner: list[Node] = [items[0]]
        between: list[str] = []
        for separator, item in zip([*separators], items[1:], strict=True):
            if separator == ";":
                outer.append(listed(inner, between))
                inner, between = [item], []
            else:
                inner.append(item)
                between.append(separator)
        outer.append(listed(inner, between))
        return Listing(";", tuple(outer))
    kinds = set(separators)
    kind = "or" if "or" in kinds else "and" if "and" in kinds else separators[0]
    return Listing(kind, tuple(items))


def number_of(literal: str) -> Num:
    mantissa, _, exponent = literal.lower().partition("e")
    if len(literal) > MAX_DIGITS or len(mantissa) + abs(int(exponent or 0)) > MAX_DIGITS:
        raise LimitError(f"a number of {len(literal)} characters")
    value = Fraction(literal)
    if "." not in mantissa:
        return Num(value)
    places = len(mantissa.partition(".")[2]) - int(exponent or 0)
    digits = len(mantissa.replace(".", "").lstrip("0"))
    return Num(value, max(digits, 1), Fraction(10) ** -places)


def proper_fraction(node: Node) -> Fraction | None:
    match node:
        case Call("div", (Num(top), Num(bottom))) if (
            top.denominator == bottom.denominator == 1 and 0 < top < bottom
        ):
            return top / bottom
    return None


def in_radians(node: Node) -> Node:
    """Write degrees out: 15 degrees alone may stand for 15, but not under a sine."""
    if not isinstance(node, Call):
        return node
    args = tuple(in_radians(arg) for arg in node.args)
    if node.name == "degree":
        return Call("mul", (args[0], Call("div", (Call("pi", ()), Num(Fraction(180))))))
    return Call(node.name, args)


def words_of(text: str) -> str:
    return " ".join(text.split()).strip(" .,:;").casefold()


def plain_words(node: Node) -> str:
    return str(node.value) if isinstance(node, Num) else "?"
