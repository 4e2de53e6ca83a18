"""Cut an answer into tokens in one pass: LaTeX, plain text and Unicode to one alphabet."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from proofgym.verifiers.math.alphabet import (
    BRACKET_COMMANDS,
    FUNCTIONS,
    GREEK,
    GREEK_LETTERS,
    OPERATORS,
    RELATIONS,
    SPACING,
    STYLES,
    SUBSCRIPTS,
    SUPERSCRIPTS,
    TEXTUAL,
    UNICODE,
    UNIT_ABBREVIATIONS,
)
from proofgym.verifiers.math.node import LimitError

MAX_CHARACTERS = 20_000
MAX_TOKENS = 8_000


class Token(NamedTuple):
    """One token. Kinds: num, sym, func, op, open, close, text, rel, sep, cmd."""

    kind: str
    text: str
    spaced: bool = False  # white space before it


END = Token("end", "")


_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_GROUPED = re.compile(
    r"(?<=\d)\s?(?:\{,\}|,\s?\\!\s?|\\,|\\!|\{\\,\}|\\ |~|'(?=\d{3}(?!\d)))(?=\d{3})"
)
_SPACED_THOUSANDS = re.compile(r"(?<![\d.,/])\d{1,3}(?: \d{3})+(?![\d/])")
_TOKEN = re.compile(
    r"(?P<space>[\s~]+)"
    r"|(?P<num>(?:\d+(?:\.\d+|\.(?=\\(?:overline|bar)))?|\.\d+)(?:[eE][+-]?\d+(?![\d.]))?)"
    r"|(?P<command>\\[A-Za-z]+\*?)"
    r"|(?P<escape>\\.)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<two>\*\*|<=|>=|!=|==|:=|=<|->|\.\.\.+|\|\|)"
    r"|(?P<one>.)",
    re.DOTALL,
)
_ARGUMENT = re.compile(r"\s*\{([^{}]*)\}")
_SIZE = re.compile(r"\s*\{[^{}]*\}")


def plain(text: str) -> str:
    """Map Unicode to ASCII LaTeX, and remove invisible characters and thousands separators."""
    if not text.isascii():
        text = _NOT_ASCII.sub(_to_ascii, text)
    if "\\" in text:
        text = _double_escapes(text)
    return _SPACED_THOUSANDS.sub(lambda found: found[0].replace(" ", ""), _GROUPED.sub("", text))


def _double_escapes(text: str) -> str:
    if "\\\\" in text and "\\begin" not in text.replace("\\\\begin", ""):
        text = re.sub(r"\\\\(?=[A-Za-z{}()\[\]|$%!,;:])", r"\\", text)
    return re.sub(r"\\n(?![A-Za-z])", " ", text)


def _to_ascii(found: re.Match[str]) -> str:
    return "".join(map(_letter, found[0]))


def _letter(letter: str) -> str:
    if letter in UNICODE:
        return UNICODE[letter]
    if letter in GREEK_LETTERS:
        return f"\\{GREEK_LETTERS[letter]} "
    if letter in SUPERSCRIPTS:
        return f"^{{{SUPERSCRIPTS[letter]}}}"
    if letter in SUBSCRIPTS:
        return f"_{{{SUBSCRIPTS[letter]}}}"
    if letter in RELATIONS:
        return letter
    if unicodedata.category(letter) in ("Cf", "Mn", "Cc"):
        return ""
    return unicodedata.normalize("NFKC", letter)


def lex(text: str) -> list[Token]:
    """Cut a text that went through :func:`plain` into tokens.

    Raises:
        LimitError: the text is longer than an answer may be.
    """
    if len(text) > MAX_CHARACTERS:
        raise LimitError(f"{len(text)} characters are more than {MAX_CHARACTERS}")
    tokens: list[Token] = []
    position, spaced = 0, False
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:  # cannot be: the last alternative takes any character
            break
        position = found.end()
        kind, value = found.lastgroup, found[0]
        if kind == "space":
            spaced = True
            continue
        before = len(tokens)
        if kind == "num":
            tokens.append(Token("num", value, spaced))
        elif kind == "word":
            _word(value, spaced, tokens)
        elif kind == "command":
            position = _command(value[1:].rstrip("*"), text, position, spaced, tokens)
        elif kind == "escape":
            _escape(value[1], spaced, tokens)
        else:
            _mark(value, spaced, tokens)
        if len(tokens) > before:
            spaced = False
        elif kind in ("command", "escape"):
            spaced = True
        if len(tokens) > MAX_TOKENS:
            raise LimitError(f"more than {MAX_TOKENS} tokens")
    return tokens


_PLAIN_WORDS = {
    "pi": Token("op", "pi"),
    "Pi": Token("op", "pi"),
    "infinity": Token("op", "infty"),
    "Infinity": Token("op", "infty"),
    "inf": Token("op", "infty"),
    "oo": Token("op", "infty"),
    "and": Token("sep", "and"),
    "or": Token("sep", "or"),
    "And": Token("sep", "and"),
    "Or": Token("sep", "or"),
    "OR": Token("sep", "or"),
    "AND": Token("sep", "and"),
    "mod": Token("op", "mod"),
    "percent": Token("op", "%"),
    "pct": Token("op", "%"),
    "percentage": Token("op", "%"),
    "per cent": Token("op", "%"),
    "degrees": Token("op", "°"),
    "degree": Token("op", "°"),
    "deg": Token("op", "°"),
    "union": Token("op", "∪"),
    "U": Token("op", "U"),
    "in": Token("rel", "in"),
}


def _word(word: str, spaced: bool, tokens: list[Token]) -> None:
    known = _PLAIN_WORDS.get(word)
    if known is not None:
        tokens.append(Token(known.kind, known.text, spaced))
    elif word in FUNCTIONS:
        tokens.append(Token("func", word, spaced))
    elif len(word) <= 3 and word not in UNIT_ABBREVIATIONS:
        for index, letter in enumerate(word):
            tokens.append(Token("sym", letter, spaced and index == 0))
    elif word.startswith("sqrt") or word.endswith("sqrt"):
        tokens.append(Token("text", word, spaced))
    else:
        tokens.append(Token("text", word, spaced))


def _command(name: str, text: str, position: int, spaced: bool, tokens: list[Token]) -> int:
    add = tokens.append
    if name in SPACING:
        if name in ("hspace", "vspace", "phantom"):
            found = _SIZE.match(text, position)
            return found.end() if found else position
        return position + 1 if text[position : position + 1] == "." and name in (
            "left", "right") else position  # fmt: skip
    if name in TEXTUAL:
        found = _ARGUMENT.match(text, position)
        if found is None:
            return position
        inner = found[1].replace("\\", " ").strip()
        _text(inner, name, spaced or found[1][:1].isspace(), tokens)
        return found.end()
    if name in STYLES:
        return position
    if name == "mathbb" or name == "mathcal" or name == "mathfrak":
        found = _ARGUMENT.match(text, position)
        letter = found[1].strip() if found else text[position : position + 2].strip()[:1]
        add(Token("sym", f"{name}:{letter}", spaced))
        return found.end() if found else position + len(text[position : position + 2])
    if name in ("begin", "end"):
        found = _ARGUMENT.match(text, position)
        if found is None:
            return position
        add(Token("cmd", f"{name}:{found[1].strip('* ')}", spaced))
        end = found.end()
        if name == "begin" and found[1].startswith("array"):
            columns = _SIZE.match(text, end)
            end = columns.end() if columns else end
        return end
    if name in BRACKET_COMMANDS:
        _bracket(BRACKET_COMMANDS[name], spaced, tokens)
    elif name in RELATIONS:
        add(Token("op" if RELATIONS[name] in "|:" else "rel", RELATIONS[name], spaced))
    elif name in OPERATORS:
        if OPERATORS[name] != "skip":
            add(Token("op", OPERATORS[name], spaced))
    elif name in FUNCTIONS:
        add(Token("func", name, spaced))
    elif name in GREEK:
        add(Token("sym", name, spaced))
    elif name == "hline":
        pass
    else:
        for prefix in ("quad", "qquad", "cdot", "times", "pm", "pi", "le", "ge"):
            rest = name.removeprefix(prefix)
            if rest != name and len(rest) <= 2:
                _command(prefix, "", 0, spaced, tokens)
                _word(rest, False, tokens)
                return position
        add(Token("cmd", name, spaced))
    return position


def _text(inner: str, name: str, spaced: bool, tokens: list[Token]) -> None:
    if not inner:
        return
    if inner in ("and", "or", "And", "Or"):
        tokens.append(Token("sep", inner.lower(), True))
    elif inner in FUNCTIONS:
        tokens.append(Token("func", inner, spaced))
    elif inner in ("i", "e", "d") and name == "mathrm":
        tokens.append(Token("sym", inner, spaced))
    elif any(letter.isdigit() for letter in inner) or inner[0] in "([-+$" or " or " in inner:
        tokens.extend(lex(plain(inner)))
    elif inner.strip(" ,.;:") in ("and", "or"):
        tokens.append(Token("sep", inner.strip(" ,.;:"), True))
    elif inner in _PLAIN_WORDS and inner != "in" and inner != "U":
        tokens.append(Token(_PLAIN_WORDS[inner].kind, _PLAIN_WORDS[inner].text, True))
    else:
        tokens.append(Token("text", inner, True))


def _escape(letter: str, spaced: bool, tokens: list[Token]) -> None:
    if letter in "{}":
        _bracket("\\" + letter, spaced, tokens)
    elif letter == "\\":
        tokens.append(Token("cmd", "row", spaced))
    elif letter == "%":
        tokens.append(Token("op", "%", spaced))
    elif letter == "|":
        tokens.append(Token("op", "‖", spaced))
    elif letter == "_":
        tokens.append(Token("op", "_", spaced))


def _bracket(bracket: str, spaced: bool, tokens: list[Token]) -> None:
    opening = bracket in ("(", "[", "{", "\\{", "⌊", "⌈")
    tokens.append(Token("open" if opening else "close", bracket, spaced))


_MARKS = {"**": "^", "<=": "<=", ">=": ">=", "!=": "!=", "==": "=", ":=": "=", "=<": "<="}


def _mark(mark: str, spaced: bool, tokens: list[Token]) -> None:
    if mark in ("$", "`", '"', "\u200b"):
        return
    if mark in ("(", "[", "{", ")", "]", "}"):
        _bracket(mark, spaced, tokens)
    elif mark == "**":
        tokens.append(Token("op", "^", spaced))
    elif mark in _MARKS:
        tokens.append(Token("rel", _MARKS[mark], spaced))
    elif mark in RELATIONS:
        tokens.append(Token("rel", RELATIONS[mark], spaced))
    elif mark == "->":
        tokens.append(Token("rel", "to", spaced))
    elif mark.startswith("..."):
        tokens.append(Token("op", "...", spaced))
    elif mark == "||":
        tokens.append(Token("op", "|", spaced))
        tokens.append(Token("op", "|", False))
    elif mark in ",;":
        tokens.append(Token("sep", mark, spaced))
    else:
        tokens.append(Token("op", mark, spaced))
