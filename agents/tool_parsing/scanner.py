"""Find marks in text that arrives in chunks."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A mark, or text between two.

    Args:
        text: what it is.
        at: where it begins, in characters from the beginning of the reply.
        is_mark: whether it is a mark.
    """

    text: str
    at: int
    is_mark: bool


class Scanner:
    """Cut text at marks. No piece of text ever ends with the beginning of a mark.

    Args:
        marks: what to look for in text. A mark that the tokenizer has as a token of its own is
            left out and comes through :meth:`mark`, so that the same characters in ordinary
            tokens stay text.
    """

    def __init__(self, marks: Sequence[str]) -> None:
        self._pattern, self._beginnings, self._longest = _sought(tuple(marks))
        self._held = ""
        self._at = 0

    def text(self, text: str) -> Iterator[Piece]:
        """Take text; yield what is certain by now."""
        text = self._held + text
        done = 0
        for found in self._pattern.finditer(text):
            if found.start() > done:
                yield self._piece(text[done : found.start()], is_mark=False)
            yield self._piece(found[0], is_mark=True)
            done = found.end()
        rest = text[done:]
        keep = self._undecided(rest)
        self._held = rest[len(rest) - keep :]
        if len(rest) > keep:
            yield self._piece(rest[: len(rest) - keep], is_mark=False)

    def mark(self, mark: str) -> Iterator[Piece]:
        """Take a mark that came as a token."""
        yield from self.finish()
        yield self._piece(mark, is_mark=True)

    def finish(self) -> Iterator[Piece]:
        """Yield what was held back."""
        held, self._held = self._held, ""
        if held:
            yield self._piece(held, is_mark=False)

    def _undecided(self, text: str) -> int:
        """Count the characters at the end that a mark may begin with."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            if text[len(text) - size :] in self._beginnings:
                return size
        return 0

    def _piece(self, text: str, *, is_mark: bool) -> Piece:
        piece = Piece(text=text, at=self._at, is_mark=is_mark)
        self._at += len(text)
        return piece


@lru_cache(maxsize=64)
def _sought(marks: tuple[str, ...]) -> tuple[re.Pattern[str], frozenset[str], int]:
    """Return a pattern of the marks, all that one begins with, and the longest one's length."""
    longest_first = sorted(marks, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
    beginnings = frozenset(mark[:size] for mark in marks for size in range(1, len(mark) + 1))
    return pattern, beginnings, max(map(len, marks), default=1)
