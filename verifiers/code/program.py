"""Find the program in what the policy said."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)


def program_of(text: str) -> str:
    """Return the last fenced block after the reasoning, or the whole text where there is none.

    A fence that is never closed ends with the text, as after a policy that ran out of tokens.
    """
    text = text.rpartition("</think>")[2]
    blocks: list[str] = []
    start: int | None = None
    opened = ""
    for fence in _FENCE.finditer(text):
        marks, word = fence[1], fence[2]
        if start is None:
            start, opened = fence.end() + 1, marks
        elif not word and marks[0] == opened[0] and len(marks) >= len(opened):
            blocks.append(text[start : fence.start()])
            start = None
    if start is not None:
        blocks.append(text[start:])
    return blocks[-1] if blocks else text
