"""Families of small functions: each draws constants, and gives a text, a solution and arguments."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from proofgym.envs.derive import derive

TESTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One function to write.

    Args:
        text: what ``solve`` must return.
        solution: its source.
        wrong: the source of a function that is nearly right.
        cases: arguments and what they give.
        level: how hard it is.
    """

    text: str
    solution: str
    wrong: str
    cases: tuple[tuple[list[Any], Any], ...]
    level: str

    @property
    def key(self) -> str:
        """Name the problem with its cases: two of one text differ in what they are tested by."""
        return f"{self.text} [{derive('cases', json.dumps(self.cases)):x}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A problem before its results are worked out."""

    text: str
    solution: str
    wrong: str
    arguments: Callable[[], list[Any]]


def _numbers(rng: np.random.Generator) -> list[int]:
    return [int(n) for n in rng.integers(-20, 40, int(rng.integers(3, 12)))]


def _word(rng: np.random.Generator) -> str:
    return "".join(str(sign) for sign in rng.choice(list("aabbccdexyz"), int(rng.integers(3, 14))))


def _multiples(rng: np.random.Generator) -> Sketch:
    k = int(rng.integers(2, 8))
    return Sketch(
        text=f"the sum of those numbers in the list that {k} divides",
        solution=f"def solve(numbers):\n    return sum(n for n in numbers if n % {k} == 0)\n",
        wrong=f"def solve(numbers):\n    return sum(n for n in numbers if n % {k} != 0)\n",
        arguments=lambda: [_numbers(rng)],
    )


def _above(rng: np.random.Generator) -> Sketch:
    k = int(rng.integers(-5, 15))
    return Sketch(
        text=f"how many numbers of the list are {k} or more",
        solution=f"def solve(numbers):\n    return sum(n >= {k} for n in numbers)\n",
        wrong=f"def solve(numbers):\n    return sum(n > {k} for n in numbers)\n",
        arguments=lambda: [[*_numbers(rng), k]],
    )


def _rotate(rng: np.random.Generator) -> Sketch:
    k = int(rng.integers(1, 7))
    return Sketch(
        text=f"the list turned {k} places to the left, the first item moving to the end first",
        solution=(
            "def solve(items):\n    if not items:\n        return []\n"
            f"    at = {k} % len(items)\n    return items[at:] + items[:at]\n"
        ),
        wrong=f"def solve(items):\n    return items[-{k}:] + items[:-{k}]\n",
        arguments=lambda: [_numbers(rng)],
    )


def _runs(rng: np.random.Generator) -> Sketch:
    sign = str(rng.choice(list(":-_")))
    solution = (
        "def solve(text):\n    runs = []\n    for sign in text:\n"
        "        if runs and runs[-1][0] == sign:\n            runs[-1][1] += 1\n"
        "        else:\n            runs.append([sign, 1])\n"
        f"    return ''.join(f'{{sign}}{sign}{{count}};' for sign, count in runs)\n"
    )
    return Sketch(
        text=f"the text's runs of equal letters, each as the letter, '{sign}', its length and ';', "
        f"so that 'aab' gives 'a{sign}2;b{sign}1;'",
        solution=solution,
        wrong=solution.replace("append([sign, 1])", "append([sign, 0])"),
        arguments=lambda: [_word(rng)],
    )


def _shift(rng: np.random.Generator) -> Sketch:
    k = int(rng.integers(1, 26))
    solution = (
        "def solve(text):\n"
        f"    return ''.join(chr((ord(sign) - 97 + {k}) % 26 + 97) for sign in text)\n"
    )
    return Sketch(
        text=f"the text with every small letter moved {k} places on in the alphabet, z before a",
        solution=solution,
        wrong=solution.replace("% 26 + 97", "% 25 + 97"),
        arguments=lambda: [_word(rng)],
    )


def _recurrence(rng: np.random.Generator) -> Sketch:
    p, q, a, b = (int(n) for n in rng.integers(1, 5, 4))
    solution = (
        f"def solve(n):\n    a, b = {a}, {b}\n    for _ in range(n):\n"
        f"        a, b = b, {p} * b + {q} * a\n    return a\n"
    )
    return Sketch(
        text=f"item n (from 0) of the sequence that begins {a}, {b} and goes on with {p} times the "
        f"last item plus {q} times the one before",
        solution=solution,
        wrong=solution.replace("range(n)", "range(n + 1)"),
        arguments=lambda: [int(rng.integers(0, 25))],
    )


def _window(rng: np.random.Generator) -> Sketch:
    k = int(rng.integers(2, 5))
    solution = (
        f"def solve(numbers):\n    if len(numbers) < {k}:\n        return None\n"
        f"    return max(sum(numbers[i:i + {k}]) for i in range(len(numbers) - {k} + 1))\n"
    )
    return Sketch(
        text=f"the largest sum of {k} numbers that stand side by side in the list, and None where "
        "there are fewer",
        solution=solution,
        wrong=solution.replace(f"- {k} + 1)", f"- {k})").replace(f"< {k}:", f"<= {k}:"),
        arguments=lambda: [sorted(_numbers(rng))],
    )


def _frequent(rng: np.random.Generator) -> Sketch:
    k = int(rng.integers(1, 4))
    solution = (
        "def solve(text):\n    counts = {sign: text.count(sign) for sign in text}\n"
        "    ranked = sorted(counts, key=lambda sign: (-counts[sign], sign))\n"
        f"    return ''.join(ranked[:{k}])\n"
    )
    return Sketch(
        text=f"the {k} most frequent letters of the text, the most frequent first, and those that "
        "are as frequent in the order of the alphabet",
        solution=solution,
        wrong=solution.replace("-counts[sign]", "counts[sign]"),
        arguments=lambda: [_word(rng)],
    )


LEVELS: Mapping[str, tuple[Callable[[np.random.Generator], Sketch], ...]] = {
    "easy": (_multiples, _above, _rotate),
    "medium": (_shift, _recurrence, _window),
    "hard": (_runs, _frequent),
}


def draw(rng: np.random.Generator, index: int) -> Problem:
    """Make a problem of the index's level, whose wrong function fails some of its cases."""
    level = list(LEVELS)[index % len(LEVELS)]
    makers = LEVELS[level]
    while True:
        sketch = makers[int(rng.integers(len(makers)))](rng)
        right, wrong = _function(sketch.solution), _function(sketch.wrong)
        given = [sketch.arguments() for _ in range(TESTS)]
        cases = tuple((one, right(*json.loads(json.dumps(one)))) for one in given)
        apart = [wrong(*json.loads(json.dumps(one))) != result for one, result in cases]
        if any(apart) and len({json.dumps(result) for _, result in cases}) > 2:
            first = apart.index(True)  # a case that shows the fault comes first
            ordered = (cases[first], *cases[:first], *cases[first + 1 :])
            return Problem(
                text=sketch.text,
                solution=sketch.solution,
                wrong=sketch.wrong,
                cases=ordered,
                level=level,
            )


def _function(source: str) -> Callable[..., Any]:
    """Load a function of this file: our own text, never a policy's."""
    names: dict[str, Any] = {}
    exec(compile(source, "<family>", "exec"), names)
    loaded: Callable[..., Any] = names["solve"]
    return loaded
