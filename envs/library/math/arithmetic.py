"""Expressions to work out, in the head or with a calculator that takes one operation."""

from collections.abc import Mapping

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.math.boxed import SYSTEM, boxed_answer, problem
from proofgym.envs.library.math.expression import (
    Expression,
    Operation,
    read,
    steps,
    value,
    written,
)
from proofgym.envs.library.tools.calculator import calculator
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.verifiers import Message, Task, assistant, math_equal, tool_call

LEVELS: Mapping[str, tuple[int, int]] = {"easy": (2, 20), "medium": (3, 50), "hard": (5, 99)}
"""How many numbers an expression has, and the largest of them."""
MOST = 10**9
_ASKED = "Work out "


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make an expression of the index's level."""
    level = list(LEVELS)[index % len(LEVELS)]
    count, high = LEVELS[level]
    while True:
        expression = _random(rng, count, high)
        if abs(value(expression)) < MOST:
            break
    return problem(f"{_ASKED}{written(expression)}.", str(value(expression)), difficulty=level)


def _random(rng: np.random.Generator, count: int, high: int) -> Expression:
    if count == 1:
        return int(rng.integers(1, high + 1))
    left = int(rng.integers(1, count))
    return Operation(
        left=_random(rng, left, high),
        sign=str(rng.choice(("+", "-", "*"), p=(0.4, 0.3, 0.3))),
        right=_random(rng, count - left, high),
    )


def call_for_each(task: Task) -> list[Message]:
    """Call the calculator for each operation, then answer."""
    expression = read(str(task.prompt).removeprefix(_ASKED).removesuffix("."))
    calls = [
        tool_call("calculator", expression=f"{a} {sign} {b}") for a, sign, b in steps(expression)
    ]
    return [*(assistant("", call) for call in calls), assistant(boxed_answer(task))]


class Arithmetic(Env, id="math/arithmetic-v0"):
    """Work out an expression of two to five whole numbers with +, - and *."""

    system = SYSTEM
    tasks = generated(pose)
    rubric = math_equal()
    limits = Limits(turns=1, tool_calls=0, tokens=1024, seconds=120)
    oracle = boxed_answer


class ArithmeticTool(Env, id="math/arithmetic-calculator-v0"):
    """Work out an expression with a calculator that takes one operation at a time."""

    system = f"{SYSTEM} A calculator takes one operation on two whole numbers at a time."
    tasks = generated(pose)
    tools = (calculator,)
    rubric = math_equal()
    limits = Limits(turns=8, tool_calls=12, tokens=2048, seconds=120)
    oracle = call_for_each
