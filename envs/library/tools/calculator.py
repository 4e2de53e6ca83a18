"""tools/calculator-v0: when is a tool worth its price?"""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.errors import ToolError
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import content_share, generated
from proofgym.envs.tools import tool
from proofgym.verifiers import (
    Message,
    Secret,
    Task,
    assistant,
    calls_used,
    exact,
    tool_call,
)

CALL_COST: Final = 0.15
_BINARY = re.compile(r"\s*(-?[0-9]{1,12})\s*([-+*])\s*(-?[0-9]{1,12})\s*")
_PROMPT = re.compile(r"(\d+)([+*])(\d+)(?:([+-])(\d+))?")


@tool
def calculator(expression: str) -> str:
    """Work out one operation.

    Args:
        expression: such as 12*34
    """
    found = _BINARY.fullmatch(expression)
    if found is None:
        raise ToolError("give one operation (+, - or *) on two whole numbers, such as 12*34")
    return str(_apply(int(found[1]), found[2], int(found[3])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """The family of problems; an environment of its own takes other numbers.

    Args:
        easy_share: of easy sums among all problems, kept exactly over every ten indices.
        easy_high: the largest first term of an easy sum; it has two digits, and the second term
            one, so small that nothing is carried.
        factor_low, factor_high: range of a hard problem's factors; from 32 up every product has
            four digits.
        extra_high: the largest number that a two-step problem adds or subtracts.
        heldout: share of prompts to hold out.
    """

    easy_share: float = 0.4
    easy_high: int = 99
    factor_low: int = 32
    factor_high: int = 99
    extra_high: int = 99
    heldout: float = 0.15

    def __call__(self, rng: np.random.Generator, index: int) -> Task:
        """Make one problem."""
        # 3 is prime to 10, so that ten indices in a row hold every residue once, mixed
        if index * 3 % 10 < round(10 * self.easy_share):
            while (a := int(rng.integers(10, self.easy_high + 1))) % 10 == 9:
                pass  # no second term is small enough
            b = int(rng.integers(1, 10 - a % 10))
            return _task(f"{a}+{b}", a + b, calls=0, difficulty="easy")
        a, b = (int(x) for x in rng.integers(self.factor_low, self.factor_high + 1, 2))
        if rng.random() < 0.5:
            return _task(f"{a}*{b}", a * b, calls=1, difficulty="hard")
        c = int(rng.integers(1, self.extra_high + 1))
        if rng.random() < 0.5:
            return _task(f"{a}*{b}+{c}", a * b + c, calls=2, difficulty="hard")
        return _task(f"{a}*{b}-{c}", a * b - c, calls=2, difficulty="hard")

    def is_heldout(self, task: Task) -> bool:
        """Hold a prompt out by its hash: 43+5 may be unseen while 42+5 and 43+4 are trained on."""
        return content_share(str(task.prompt)) < self.heldout


def _apply(a: int, operator: str, b: int) -> int:
    if operator == "*":
        return a * b
    return a + b if operator == "+" else a - b


def _task(prompt: str, answer: int, *, calls: int, difficulty: str) -> Task:
    return Task(
        id=prompt,
        prompt=prompt,
        answer=Secret(str(answer)),
        data={"calls": calls},
        difficulty=difficulty,
    )


def _steps(prompt: str) -> list[tuple[int, str, int]]:
    """Take a prompt apart into the operations that a calculator has to do, in order."""
    found = _PROMPT.fullmatch(prompt)
    assert found is not None
    first = (int(found[1]), found[2], int(found[3]))
    if found[4] is None:
        return [first]
    return [first, (_apply(*first), found[4], int(found[5]))]


def call_always(task: Task) -> list[Message]:
    """Call the calculator for every operation, then answer."""
    steps = _steps(str(task.prompt))
    calls = [tool_call("calculator", expression=f"{a}{op}{b}") for a, op, b in steps]
    return [*(assistant("", call) for call in calls), assistant(str(_apply(*steps[-1])))]


def call_when_needed(task: Task) -> list[Message]:
    """Call the calculator on hard problems only."""
    return call_always(task) if task.data["calls"] else call_always(task)[-1:]


def answer_directly(task: Task) -> str:
    """Answer in the head: easy sums exactly, products from operands rounded to tens."""
    steps = _steps(str(task.prompt))
    if not task.data["calls"]:
        return str(_apply(*steps[0]))
    a, _, b = steps[0]
    rough = round(a, -1) * round(b, -1)
    return str(_apply(rough, *steps[1][1:]) if len(steps) > 1 else rough)


def best(task: Task) -> float:
    """Pay the price of the calls that are needed, and no more."""
    return 1.0 - CALL_COST * bool(task.data["calls"])


class Calculator(Env, id="tools/calculator-v0"):
    """Sums to do in the head, and products to do with a calculator that costs a little.

    A prompt is a bare expression and the answer a bare number. Two fifths are easy sums of a
    two-digit and a one-digit number that carry nothing; of the rest half are ``a*b`` and half
    ``a*b+c`` or ``a*b-c``. The calculator takes one operation, so that the last kind needs two
    calls, the second of which needs the first one's result. A call costs 0.15 divided by the
    calls that the problem needs.
    """

    problems = Problems()
    tasks = generated(problems, heldout=problems.is_heldout)
    tools = (calculator,)
    rubric = exact() - CALL_COST * calls_used(needed="calls")
    limits = Limits(turns=4, tool_calls=4, tokens=128, seconds=60)
    oracle = call_when_needed
    best = best
    demonstrators = {"caller": call_always, "hurried": answer_directly}  # noqa: RUF012  # Env declares it a ClassVar
