"""The operands of the grammar: literals, names, brackets, functions, commands.

Each function reads one operand at the parser's place and moves it on; ParseError where what stands
there is none.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from proofgym.verifiers.math.builders import in_radians, listed, number_of
from proofgym.verifiers.math.lexer import END, Token
from proofgym.verifiers.math.node import (
    Call,
    Group,
    Listing,
    Matrix,
    Node,
    Num,
    ParseError,
    Rel,
    Sym,
)

if TYPE_CHECKING:
    from proofgym.verifiers.math.parser import Parser

_APPLIED = frozenset("fghFGH")
_MATRICES = frozenset(
    [
        "matrix",
        "pmatrix",
        "bmatrix",
        "Bmatrix",
        "vmatrix",
        "Vmatrix",
        "smallmatrix",
        "array",
        "psmallmatrix",
    ]
)
_WRAPPERS = frozenset(
    ["aligned", "align", "equation", "gathered", "split", "gather", "displaymath", "math"]
)
_TRIGONOMETRIC = frozenset(("sin", "cos", "tan", "cot", "sec", "csc"))
_ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log10", "sgn": "sign",
}  # fmt: skip
_INVERSES = frozenset(
    ["arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "arcsinh", "arccosh", "arctanh"]
)


def number(parser: Parser) -> Node:
    """A number literal; repeating decimals and other bases included."""
    literal = parser.take().text
    node = number_of(literal)
    if parser.at("op", "overline") and not parser.here.spaced and "." in literal:
        parser.position += 1
        repeated = digits(parser)
        scale = len(literal.partition(".")[2])
        tail = Fraction(int(repeated), (10 ** len(repeated) - 1) * 10**scale)
        return Num(node.value + tail)
    if parser.at("op", "_"):
        parser.position += 1
        base = subscript(parser)
        return Sym(f"{literal}_{base}")
    return node


def digits(parser: Parser) -> str:
    """A braced run of digits."""
    braced = parser.accept("open", "{")
    token = parser.take()
    if token.kind != "num" or not token.text.isdigit() or len(token.text) > 100:
        raise ParseError("expected digits")
    if braced:
        parser.expect("close", "}")
    return token.text


def symbol(parser: Parser, name: str) -> Node:
    """A variable with subscript and primes, a constant, or a function of the policy's own."""
    while parser.at("op", "_"):
        parser.position += 1
        name += "_" + subscript(parser)
    while parser.at("op", "'"):
        parser.position += 1
        name += "'"
    if name[0] in _APPLIED and parser.at("op", "^") and parser.ahead(1).text == "{":
        inverse = [parser.ahead(place).text for place in range(2, 6)]
        if inverse == ["-", "1", "}", "("]:
            parser.position += 5
            name += "^-1"
    applied = name[0] in _APPLIED and parser.at("open", "(") and not name.startswith("mathbb")
    if len(name) == 1 and parser.position == 1 and parser.at("open", "("):
        # P(x) = ...: at the start of an equation it is a function, elsewhere a product
        inside, closing, equals = (parser.ahead(place) for place in (1, 2, 3))
        applied |= inside.kind in ("sym", "num") and closing.text == ")" and equals.text == "="
    if applied or (parser.at("open", "(") and "'" in name):
        argument = group(parser)
        items = argument.items if isinstance(argument, Group) else (argument,)
        return Call("apply", (Sym(name), *items))
    return Sym(name)


def subscript(parser: Parser) -> str:
    """A subscript as canonical text."""
    token = parser.take()
    if token.kind != "open":
        return token.text
    depth, parts = 1, []
    while depth:
        token = parser.take()
        if token is END:
            raise ParseError("unclosed subscript")
        depth += (token.kind == "open") - (token.kind == "close")
        parts.append(token.text)
    return "".join(parts[:-1])


def argument(parser: Parser) -> Node:
    """What a command such as ``\\frac`` takes: a braced group, one digit or one token."""
    here = parser.here
    if here.kind == "open":
        return group(parser)
    if here.kind == "num":
        if len(here.text) > 1:
            rest = here.text[1:]
            parser.tokens = [*parser.tokens]
            parser.tokens[parser.position] = Token("num", rest)
            if not here.text[0].isdigit():
                raise ParseError("expected a digit")
        else:
            parser.position += 1
        return number_of(here.text[0])
    parser.enter()
    node = parser.primary()
    parser.depth -= 1
    return node


def group(parser: Parser) -> Node:
    """A bracketed operand, tuple, interval or set."""
    parser.enter()
    opening = parser.take().text
    outside = parser.bars, parser.in_set
    # in a set, a bar or a colon parts the elements from their condition
    parser.in_set = opening == "\\{"
    parser.bars = int(parser.in_set)
    node = bracketed(parser, opening)
    parser.bars, parser.in_set = outside
    parser.depth -= 1
    return node


def bracketed(parser: Parser, opening: str) -> Node:
    """The inside of a bracket, and its closing."""
    if parser.here.kind == "close":
        closing = parser.take().text
        if opening == "\\{" or opening == "{":
            return Call("emptyset", ())
        return Group(opening, closing, ())
    items, separators = parser.items()
    if parser.at("op", "|") or parser.at("op", ":"):
        parser.position += 1
        condition = parser.listing()
        parser.expect("close", parser.here.text if parser.here.text in ("\\}", "}") else "\\}")
        return Call("builder", (items[0], condition))
    if parser.here.kind != "close":
        raise ParseError(f"unclosed bracket before {parser.here.text!r}")
    closing = parser.take().text
    if opening in "⌊⌈":
        return Call("floor" if opening == "⌊" else "ceil", (items[0],))
    if opening == "{" and closing == "}":
        if separators and all(s in (",", ";") for s in separators):
            return Group("\\{", "\\}", tuple(items))
        return listed(items, separators)
    if opening == "(" and closing == ")" and len(items) == 1:
        return items[0]
    if opening == "(" and closing == ")" and any(s in ("and", "or") for s in separators):
        return listed(items, separators)
    if (opening in ("\\{", "{")) != (closing in ("\\}", "}")):
        raise ParseError("brackets of two kinds")
    return Group(opening, closing, tuple(items))


def function(parser: Parser, name: str) -> Node:
    """A named function and its argument."""
    exponent: Node | None = None
    base: Node | None = None
    while parser.here.kind == "op" and parser.here.text in "^_":
        mark = parser.take().text
        if mark == "^":
            exponent = argument_number(parser)
        else:
            base = argument_number(parser)
    name = _ALIASES.get(name, name)
    if name == "sqrt" and parser.at("open", "["):
        return root(parser)
    args = function_arguments(parser, name)
    if name in _TRIGONOMETRIC:
        args = tuple(in_radians(arg) for arg in args)
    if base is not None:
        args = (args[0], base) if name == "log" else args
    call: Node = Call(name, args)
    if exponent is None:
        return call
    if exponent == Num(Fraction(-1)) and f"arc{name}" in _INVERSES:
        return Call(f"arc{name}", args)
    return Call("pow", (call, exponent))


def argument_number(parser: Parser) -> Node:
    """An exponent or a base of a function: ``^2``, ``_{10}``, ``^{-1}``."""
    if parser.here.kind == "num":
        return number(parser)
    if parser.here.kind == "op" and parser.here.text == "-":
        return parser.unary()
    return argument(parser)


def function_arguments(parser: Parser, name: str) -> tuple[Node, ...]:
    """A bracketed argument list, or the factors up to the next sum."""
    here = parser.here
    if here.kind == "open" and here.text in ("(", "[", "{", "\\{"):
        inner = group(parser)
        if isinstance(inner, Group):
            return inner.items
        if isinstance(inner, Listing):
            return inner.items
        return (inner,)
    if name == "sqrt":
        if here.kind == "num":
            return (number(parser),)
        return (argument(parser),)
    parser.enter()
    node = parser.unary() if here.kind == "op" and here.text in ("-", "+") else parser.power()
    while parser.here.kind in ("num", "sym", "open") or (
        parser.here.kind == "op" and parser.here.text in ("frac", "pi", "sqrt")
    ):
        if parser.here.kind == "open" and parser.here.text == "\\{":
            break
        node = Call("mul", (node, parser.power()))
    parser.depth -= 1
    return (node,)


def root(parser: Parser) -> Node:
    """``\\sqrt[n]{x}``."""
    parser.expect("open", "[")
    degree = parser.additive()
    parser.expect("close", "]")
    return Call("root", (argument(parser), degree))


def operator(parser: Parser, mark: str) -> Node:
    """An operand that begins with a mark or a command."""
    parser.position += 1
    if mark == "frac":
        return Call("div", (argument(parser), argument(parser)))
    if mark == "binom":
        return Call("binom", (argument(parser), argument(parser)))
    if mark == "sqrt":
        return root(parser) if parser.at("open", "[") else function(parser, "sqrt")
    if mark in ("pi", "infty"):
        return Call(mark, ())
    if mark == "∅":
        return Call("emptyset", ())
    if mark == "i":
        return Sym("i")
    if mark == "U":
        return symbol(parser, "U")
    if mark in "|‖":
        parser.enter()
        parser.bars += 1
        inner = parser.additive()
        parser.bars -= 1
        parser.depth -= 1
        parser.expect("op", mark)
        return Call("abs", (inner,))
    if mark in ("overline", "vec", "hat", "tilde", "angle", "triangle", "dotaccent"):
        return decorated(parser, mark)
    if mark in ("sum", "prod"):
        return big(parser, mark)
    if mark == "int":
        return integral(parser)
    if mark == "group":
        return argument(parser)
    if mark == "...":
        return Sym("...")
    raise ParseError(f"unexpected {mark!r}")


def decorated(parser: Parser, mark: str) -> Node:
    """A mark over or before letters makes another name."""
    start = parser.position
    if parser.here.kind == "open":
        group(parser)
    else:
        while parser.here.kind == "sym":
            parser.position += 1
            if mark not in ("angle", "triangle"):
                break
    inside = "".join(t.text for t in parser.tokens[start : parser.position] if t.text not in "{}")
    if not inside:
        raise ParseError(f"nothing after {mark}")
    return Sym(f"{mark}:{inside}")


def big(parser: Parser, name: str) -> Node:
    """``\\sum_{k=a}^{b} body``."""
    parser.expect("op", "_")
    start = argument(parser)
    if not (isinstance(start, Rel) and start.ops == ("=",) and isinstance(start.items[0], Sym)):
        raise ParseError("expected index = start")
    parser.expect("op", "^")
    end = argument_number(parser)
    parser.enter()
    body = parser.term()
    parser.depth -= 1
    return Call(name, (start.items[0], start.items[1], end, body))


def integral(parser: Parser) -> Node:
    """``\\int_a^b body dx``, and without bounds."""
    bounds: dict[str, Node] = {}
    while parser.here.kind == "op" and parser.here.text in "_^":
        mark = parser.take().text
        bounds[mark] = argument_number(parser)
    end = next(
        (
            place
            for place in range(parser.position, len(parser.tokens) - 1)
            if parser.tokens[place][:2] == ("sym", "d") and parser.tokens[place + 1].kind == "sym"
        ),
        None,
    )
    if end is None or len(bounds) != 2:
        raise ParseError("an integral without bounds or variable")
    inner = type(parser)(parser.tokens[parser.position : end])
    inner.depth = parser.depth + 1
    body = inner.additive() if inner.tokens else Num(Fraction(1))
    if inner.here is not END:
        raise ParseError("unreadable integrand")
    variable = Sym(parser.tokens[end + 1].text)
    parser.position = end + 2
    return Call("int", (variable, bounds["_"], bounds["^"], body))


def environment(parser: Parser) -> Node:
    """A matrix, or a wrapper that only places its content."""
    name = parser.take().text.removeprefix("begin:")
    parser.enter()
    if name in _WRAPPERS:
        node = parser.listing()
        parser.expect("cmd", f"end:{name}")
        parser.depth -= 1
        return node
    if name not in _MATRICES:
        raise ParseError(f"environment {name}")
    rows: list[tuple[Node, ...]] = []
    cells: list[Node] = []
    while not parser.at("cmd", f"end:{name}"):
        if parser.accept("cmd", "row"):
            if cells:
                rows.append(tuple(cells))
            cells = []
        elif not parser.accept("op", "&"):
            cells.append(parser.relation())
            parser.accept("sep", ",")
    parser.position += 1
    if cells:
        rows.append(tuple(cells))
    parser.depth -= 1
    if not rows or len({len(row) for row in rows}) != 1:
        raise ParseError("ragged matrix")
    matrix = Matrix(tuple(rows))
    return Call("det", (matrix,)) if name == "vmatrix" else matrix
