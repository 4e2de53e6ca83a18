"""Parse an answer into a tree: a Pratt parser with limits, for LaTeX and plain text alike."""

from __future__ import annotations

import re
from fractions import Fraction

from proofgym.verifiers.math import operands
from proofgym.verifiers.math.builders import (
    listed,
    number_of,
    plain_words,
    proper_fraction,
    words_of,
)
from proofgym.verifiers.math.lexer import END, Token, lex, plain
from proofgym.verifiers.math.node import (
    Call,
    Group,
    LimitError,
    Matrix,
    Node,
    Num,
    ParseError,
    Rel,
    Sym,
    Text,
)

MAX_DEPTH = 40  # nested brackets; each level costs some ten Python frames
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_BRACKET = re.compile(r"[(\[]|\\\{")  # (1,234) is a pair
_LEADING = re.compile(r"(?:\.{2,}|\\[lc]?dots|[=\s])+")
ENDS_UNIT = frozenset(("num", "sym", "func", "open"))


def parse(text: str) -> Node:
    """Parse one whole answer.

    Raises:
        ParseError: the text is outside the grammar.
        LimitError: it is longer or deeper than an answer may be.
    """
    return parse_plain(plain(text))


def parse_plain(text: str) -> Node:
    """Parse a text that went through ``plain``."""
    tokens = lex(text)
    try:
        return Parser(tokens).answer()
    except RecursionError:
        raise LimitError("nested too deeply") from None


def readings(text: str) -> list[Node]:
    """The ways to read a text: with commas as thousands separators, and as they are."""
    text = plain(text).strip().rstrip(".,;:").strip()
    leading = _LEADING.match(text)
    text = text[leading.end() :] if leading else text
    text = _without_outer_braces(text.removesuffix("\\").strip())
    merged = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    if merged == text or _BRACKET.search(text):
        return [parse_plain(text)]
    return [parse_plain(merged), parse_plain(text)]


def _without_outer_braces(text: str) -> str:
    """Take off braces around the whole text, however many, in one pass."""
    depth, least = 0, len(text)
    leading = len(text) - len(text.lstrip("{"))
    if not leading or not text.endswith("}"):
        return text
    end = len(text.rstrip("}"))
    for place in range(leading, end):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            least = min(least, leading + depth)
    outer = min(leading, len(text) - end, least)
    if outer > 0 and text[end - 1] == "\\":
        return text
    return text[outer : len(text) - outer].strip().rstrip(".,;: ")


class Parser:
    """One pass over one token list."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0
        self.in_set = False

    # -- the token stream

    @property
    def here(self) -> Token:
        """The next token, or an end mark."""
        return self.tokens[self.position] if self.position < len(self.tokens) else END

    def ahead(self, offset: int = 1) -> Token:
        """The token ``offset`` places after the next one."""
        place = self.position + offset
        return self.tokens[place] if place < len(self.tokens) else END

    def take(self) -> Token:
        """Consume the next token."""
        token = self.here
        self.position += 1
        return token

    def at(self, kind: str, text: str) -> bool:
        """Is the next token this one?"""
        here = self.here
        return here.kind == kind and here.text == text

    def accept(self, kind: str, text: str) -> bool:
        """Consume the next token if it is this one."""
        if self.at(kind, text):
            self.position += 1
            return True
        return False

    def expect(self, kind: str, text: str) -> None:
        """Consume this token or fail."""
        if not self.accept(kind, text):
            raise ParseError(f"expected {text!r}, got {self.here.text!r}")

    # -- grammar, loosest first

    def answer(self) -> Node:
        """The whole answer."""
        while self.here.text in (",", ";", "and") or self.at("op", "..."):
            self.position += 1
        if self.here is END:
            raise ParseError("empty")
        node = self.listing()
        if self.here is not END:
            raise ParseError(f"unexpected {self.here.text!r}")
        return node

    def listing(self) -> Node:
        """Relations side by side."""
        items, separators = self.items()
        return listed(items, separators)

    def items(self) -> tuple[list[Node], list[str]]:
        """Relations and what stands between them."""
        items = [self.relation()]
        separators: list[str] = []
        while self.here.kind == "sep":
            separator = self.take().text
            while self.here.kind == "sep":
                following = self.take().text
                separator = following if following in ("and", "or") else separator
            if self.here is END or self.here.kind == "close":
                break
            separators.append(separator)
            items.append(self.relation())
        return items, separators

    def relation(self) -> Node:
        """A chain of relations, or one operand."""
        items = [self.ratio()]
        ops: list[str] = []
        while self.here.kind == "rel":
            op = self.take().text
            if self.here.kind == "rel" and op in ("<", ">") and self.here.text == "=":
                self.position += 1
                op += "="
            ops.append(op)
            items.append(self.ratio())
        return Rel(tuple(ops), tuple(items)) if ops else items[0]

    def ratio(self) -> Node:
        """Operands around colons."""
        items = [self.union()]
        while self.at("op", ":") and not self.in_set:
            self.position += 1
            items.append(self.union())
        return Call("ratio", tuple(items)) if len(items) > 1 else items[0]

    def union(self) -> Node:
        """Operands around set and logic operators, left to right."""
        left = self.additive()
        while True:
            here = self.here
            name = _SET_OPERATIONS.get(here.text) if here.kind == "op" else None
            if name is None:
                return left
            self.position += 1
            left = Call(name, (left, self.additive()))

    def additive(self) -> Node:
        """A sum."""
        terms = [self.term()]
        while self.here.kind == "op" and self.here.text in _SUMS:
            op = self.take().text
            right = self.term()
            if op == "+":
                terms.append(right)
            elif op == "-":
                terms.append(Call("neg", (right,)))
            else:
                name = "pm" if op == "±" else "mp"
                terms = [Call(name, (_sum(terms), right))]
        return _sum(terms)

    def term(self) -> Node:
        """A product, juxtaposition included."""
        left = self.unary()
        while True:
            here = self.here
            if here.kind == "op" and here.text in _PRODUCTS:
                self.position += 1
                right = self.unary()
                left = Call(_PRODUCTS[here.text], (left, right))
            elif here.kind == "cmd" and here.text == "choose":
                self.position += 1
                left = Call("binom", (left, self.power()))
            elif here.kind == "text":
                left = self.words(left)
            elif self.starts_factor():
                left = self.juxtaposed(left)
            else:
                return left

    def juxtaposed(self, left: Node) -> Node:
        """Two operands with nothing between them: a product or a mixed number."""
        spaced = self.here.spaced
        if self.here.kind == "num" and isinstance(left, Num) and not left.digits:
            return self.mixed(left)
        fraction = self.at("op", "frac")
        right = self.power()
        if fraction and isinstance(left, Num) and left.value.denominator == 1 and not left.digits:
            whole = proper_fraction(right)
            if whole is not None:
                return Num(left.value + whole)
        if isinstance(left, Text):
            return self.after_words(left, right)
        if isinstance(right, Num) and isinstance(left, Num) and spaced:
            raise ParseError("two numbers side by side")
        return Call("mul", (left, right))

    def mixed(self, left: Num) -> Node:
        """``11 5/6``; two numbers side by side are nothing else."""
        top = self.take()
        if self.accept("op", "/") and self.here.kind == "num":
            bottom = self.take()
            part = proper_fraction(Call("div", (number_of(top.text), number_of(bottom.text))))
            if part is not None and left.value.denominator == 1:
                return Num(left.value + part)
        raise ParseError("two numbers side by side")

    def words(self, left: Node) -> Node:
        """Words after an operand: a unit, or a sentence that this grammar does not read."""
        words = [self.take().text]
        while True:
            here = self.here
            if here.kind == "text":
                words.append(self.take().text)
            elif here.kind == "op" and here.text == "^" and self.ahead().kind in ("num", "open"):
                self.position += 1
                words.append("^" + plain_words(operands.argument(self)))
            elif here.kind == "op" and here.text in "/*." and self.ahead().kind == "text":
                words.append(self.take().text)
            elif here.kind == "op" and here.text == "/" and self.ahead().kind == "sym":
                words.append("/" + self.ahead().text)
                self.position += 2
            elif here.kind == "op" and here.text == ".":
                self.position += 1
            else:
                break
        said = " ".join(words)
        if isinstance(left, Text):
            return Text(words_of(f"{left.words} {said}"))
        if _NO_UNIT & set(words_of(said).split()):
            raise ParseError("a sentence after a value")
        return Call("unit", (left, Text(words_of(said))))

    def after_words(self, left: Text, right: Node) -> Node:
        """An operand after words: the words lead up to it."""
        if isinstance(right, Num | Call | Group | Matrix) and left.words in _LEAD_INS:
            return right
        if isinstance(right, Sym):
            return Text(words_of(f"{left.words} {right.name}"))
        raise ParseError("words beside an expression")

    def starts_factor(self) -> bool:
        """Can the next token begin an operand?"""
        kind, text, _ = self.here
        if kind in ("num", "sym", "func", "open"):
            return True
        if kind == "op":
            return text in _FACTORS or (text == "|" and not self.bars) or text == "U"
        return kind == "cmd" and text.startswith("begin:")

    def unary(self) -> Node:
        """A signed operand."""
        here = self.here
        if here.kind == "op" and here.text in ("-", "+", "±", "∓", "¬"):
            self.enter()
            self.position += 1
            inner = self.unary()
            self.depth -= 1
            if here.text == "+":
                return inner
            if here.text == "-" and isinstance(inner, Num):
                return self.negative(inner)
            if here.text in "±∓":
                return Call("pm", (Num(Fraction(0)), inner))
            return Call("neg" if here.text == "-" else "not", (inner,))
        return self.power()

    def negative(self, number: Num) -> Node:
        """Minus a literal; a mixed number's fraction belongs to the literal."""
        if self.here.kind == "num" or self.at("op", "frac"):
            rest = self.juxtaposed(number)
            if isinstance(rest, Num):
                return Num(-rest.value)
            return Call("neg", (rest,))
        return Num(-number.value, number.digits, number.ulp)

    def power(self) -> Node:
        """An operand with its exponents and suffixes."""
        base = self.postfix(self.primary())
        if self.at("op", "^"):
            self.enter()
            self.position += 1
            base = self.raised(base)
            self.depth -= 1
        return base

    def raised(self, base: Node) -> Node:
        """What follows ``^``."""
        if self.here.kind == "op" and self.here.text in ("°", "*", "'"):
            if self.take().text == "°":
                base = Call("degree", (base,))
            return self.postfix(base)
        if self.here.kind == "open" and self.here.text == "{":
            inside = self.ahead()
            if inside.kind == "op" and inside.text in ("°", "*", "'") and self.ahead(2).text == "}":
                self.position += 3
                if inside.text == "°":
                    base = Call("degree", (base,))
                return self.postfix(base)
            exponent = operands.group(self)
        elif self.here.kind == "op" and self.here.text in ("-", "+"):
            exponent = self.unary()
        else:
            exponent = self.postfix(self.primary())
        if self.at("op", "^"):  # right to left: 9^9^9
            self.position += 1
            self.enter()
            exponent = self.raised(exponent)
            self.depth -= 1
        return self.postfix(Call("pow", (base, exponent)))

    def postfix(self, node: Node) -> Node:
        """Factorials, percent and degree signs."""
        while self.here.kind == "op" and self.here.text in ("!", "%", "°", "'"):
            mark = self.take().text
            if mark == "!":
                if self.at("op", "!"):
                    raise ParseError("double factorial")
                node = Call("factorial", (node,))
            elif mark == "%":
                node = Call("percent", (node,))
            elif mark == "°":
                node = Call("degree", (node,))
            elif mark == "'" and isinstance(node, Sym):
                node = Sym(node.name + "'")
        return node

    # -- operands

    def enter(self) -> None:
        """Count one level of nesting."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LimitError(f"nested more than {MAX_DEPTH} deep")

    def primary(self) -> Node:
        """One operand."""
        here = self.here
        if here.kind == "num":
            return operands.number(self)
        if here.kind == "sym":
            self.position += 1
            return operands.symbol(self, here.text)
        if here.kind == "func":
            self.position += 1
            return operands.function(self, here.text)
        if here.kind == "open":
            return operands.group(self)
        if here.kind == "text":
            self.position += 1
            return Text(words_of(here.text))
        if here.kind == "op":
            return operands.operator(self, here.text)
        if here.kind == "cmd" and here.text.startswith("begin:"):
            return operands.environment(self)
        raise ParseError(f"unexpected {here.text!r}")


_SUMS = frozenset(("+", "-", "±", "∓"))
_PRODUCTS = {"*": "mul", "/": "div", "mod": "mod", "∧": "and", "∨": "or"}
_SET_OPERATIONS = {"∪": "union", "∩": "intersection", "∖": "difference", "U": "union"}
_FACTORS = frozenset(
    [
        "frac",
        "binom",
        "sqrt",
        "overline",
        "pi",
        "infty",
        "∅",
        "sum",
        "prod",
        "int",
        "vec",
        "hat",
        "angle",
        "triangle",
        "i",
        "group",
        "tilde",
    ]
)
_NO_UNIT = frozenset(("not", "is", "wrong", "incorrect", "or", "maybe", "isn't", "no"))
_LEAD_INS = frozenset(
    ["approximately", "about", "exactly", "answer", "the answer is", "answer:", "is", "equals",
     "the", "answer is", "so", "therefore", "thus", "usd", "approx", "roughly", "at least",
     "at most", "sum", "total", "total:", "area", "volume", "all", "rs", "rs."]
)  # fmt: skip


def _sum(terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Call("add", tuple(terms))
