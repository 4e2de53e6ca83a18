"""A sound environment, which the planted faults break in one way each."""

from typing import Any

import numpy as np

from proofgym.envs import Env, Limits, generated
from proofgym.verifiers import Secret, Task, exact


def pose(rng: np.random.Generator, index: int) -> Task:
    """Pose one addition; nothing of it is a fault."""
    a, b = (int(n) for n in rng.integers(100, 1000, 2))
    return Task(id=f"{a} plus {b}", prompt=f"What is {a} + {b}?", answer=Secret(str(a + b)))


def gold(task: Task) -> str:
    """Reveal the answer."""
    assert task.answer is not None
    return str(task.answer.reveal())


def boxed(task: Task) -> str:
    """Answer in a box."""
    return f"\\boxed{{{gold(task)}}}"


def unboxed(text: str) -> str | None:
    """Read the last box; None where there is none."""
    _, mark, tail = text.rpartition("\\boxed{")
    return tail.partition("}")[0] if mark else None


class Sound(Env):
    """No fault."""

    tasks = generated(pose)
    rubric = exact()
    limits = Limits(turns=1, tool_calls=0)
    oracle: Any = gold
