"""math/equations-v0: linear and quadratic equations, and systems of two."""

from collections.abc import Callable, Mapping

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.math.boxed import SYSTEM, boxed_answer, problem
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.verifiers import Task, math_equal


def _linear(rng: np.random.Generator) -> tuple[str, str]:
    a, c = (int(n) for n in rng.choice(np.arange(2, 13), 2, replace=False))
    x, b = int(rng.integers(-20, 21)), int(rng.integers(-30, 31))
    d = a * x + b - c * x
    return f"Solve for x: {a}x{b:+d} = {c}x{d:+d}", str(x)


def _quadratic(rng: np.random.Generator) -> tuple[str, str]:
    p, q = sorted(int(n) for n in rng.choice(np.arange(-12, 13), 2, replace=False))
    middle, last = -(p + q), p * q
    asked = f"x^2{middle:+d}x{last:+d} = 0"
    return f"Find every solution, as a set such as \\{{1, 2\\}}: {asked}", f"\\{{{p}, {q}\\}}"


def _system(rng: np.random.Generator) -> tuple[str, str]:
    x, y = (int(n) for n in rng.integers(-9, 10, 2))
    a, b, c, d = (int(n) for n in rng.integers(2, 10, 4))
    # all four are positive, so that the lines ax+by and cx-dy are never parallel
    first, second = f"{a}x+{b}y = {a * x + b * y}", f"{c}x-{d}y = {c * x - d * y}"
    return f"Solve for (x, y): {first} and {second}", f"({x}, {y})"


LEVELS: Mapping[str, Callable[[np.random.Generator], tuple[str, str]]] = {
    "linear": _linear,
    "quadratic": _quadratic,
    "system": _system,
}


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make an equation of the index's kind, whose solutions are whole."""
    level = list(LEVELS)[index % len(LEVELS)]
    prompt, answer = LEVELS[level](rng)
    return problem(prompt, answer, difficulty=level)


class Equations(Env, id="math/equations-v0"):
    """Solve a linear equation, a quadratic one with two roots, or a system of two."""

    system = SYSTEM
    tasks = generated(pose)
    rubric = math_equal()
    limits = Limits(turns=1, tool_calls=0, tokens=2048, seconds=120)
    oracle = boxed_answer
