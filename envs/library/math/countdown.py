"""math/countdown-v0: reach a target with given numbers."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.math.expression import (
    Expression,
    Operation,
    UnreadableError,
    numbers,
    read,
    value,
    written,
)
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.verifiers import Score, Secret, Task, Transcript, verifier

LEVELS: Mapping[str, int] = {"three numbers": 3, "four numbers": 4, "six numbers": 6}
HIGH, MOST = 50, 999


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make numbers and a target that they reach."""
    level = list(LEVELS)[index % len(LEVELS)]
    while True:
        given = [int(n) for n in rng.integers(1, HIGH + 1, LEVELS[level])]
        reached = _reach(rng, given)
        target = value(reached)
        if target.denominator == 1 and 10 <= target <= MOST and int(target) not in given:
            break
    listed = ", ".join(map(str, sorted(given)))
    prompt = (
        f"Use each of the numbers {listed} exactly once, with + - * / and parentheses, to make "
        f"{target}. End with the expression in <answer></answer>."
    )
    return Task(
        id=f"{listed} to {target}",
        prompt=prompt,
        data={"numbers": sorted(given), "target": int(target)},
        hidden={"solution": Secret(written(reached))},
        difficulty=level,
    )


def _reach(rng: np.random.Generator, given: list[int]) -> Expression:
    parts: list[Expression] = list(given)
    while len(parts) > 1:
        one, two = (parts.pop(int(rng.integers(len(parts)))) for _ in range(2))
        if value(one) < value(two):
            one, two = two, one
        signs = ["+", "-", "*"] if value(one) != value(two) else ["+", "*"]
        if value(two) > 1 and (value(one) / value(two)).denominator == 1:
            signs.append("/")
        if abs(value(one) * value(two)) > MOST:
            signs.remove("*")
        parts.append(Operation(left=one, sign=str(rng.choice(signs)), right=two))
    return parts[0]


@verifier
def reaches_target(task: Task, transcript: Transcript) -> Score:
    """Read the expression in the last ``<answer>``, and work it out exactly. Nothing is run."""
    text = transcript.final_text
    head, mark, rest = text.rpartition("<answer>")
    said, end, _ = rest.partition("</answer>")
    if not (mark and end) or "<answer>" in head:
        return Score(value=0.0, solved=False, evidence="expected one <answer>expression</answer>")
    said = said.strip().partition("=")[0]
    try:
        expression = read(said)
        reached = value(expression)
    except (UnreadableError, ZeroDivisionError) as error:
        return Score(value=0.0, solved=False, evidence=str(error), extracted=said[:200])
    if Counter(numbers(expression)) != Counter(task.data["numbers"]):
        evidence = "it does not use each number exactly once"
        return Score(value=0.0, solved=False, evidence=evidence, extracted=said)
    right = reached == task.data["target"]
    evidence = f"it makes {reached}"
    return Score(value=float(right), solved=right, evidence=evidence, extracted=said)


def show_solution(task: Task) -> str:
    """Say the expression with which the task was made."""
    return f"<answer>{task.hidden['solution'].reveal()}</answer>"


class Countdown(Env, id="math/countdown-v0"):
    """Combine three, four or six numbers, each used once, so that they make a target.

    Any right expression counts. It is read by a parser and worked out in fractions.
    """

    tasks = generated(pose)
    rubric = reaches_target
    limits = Limits(turns=1, tool_calls=0, tokens=2048, seconds=120)
    oracle = show_solution
