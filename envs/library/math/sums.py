"""math/sums-v0: is it worth to write the work down?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.verifiers import Score, Secret, Task, Transcript, verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """The family of sums.

    Args:
        fewest, most: how many numbers are added.
        low, high: their range.
    """

    fewest: int = 4
    most: int = 6
    low: int = 1
    high: int = 9

    def __call__(self, rng: np.random.Generator, index: int) -> Task:
        """Make one sum."""
        count = int(rng.integers(self.fewest, self.most + 1))
        numbers = [int(n) for n in rng.integers(self.low, self.high + 1, count)]
        prompt = "+".join(map(str, numbers))
        return Task(
            id=prompt,
            prompt=prompt,
            answer=Secret(str(sum(numbers))),
            difficulty=f"{count} numbers",
        )


@verifier
def sum_equal(task: Task, transcript: Transcript) -> Score:
    """Compare what stands behind the last ``=`` (the whole text where there is none)."""
    assert task.answer is not None
    said = transcript.final_text.rpartition("=")[2].strip()
    equal = said == task.answer.reveal()
    return Score(value=float(equal), solved=equal, extracted=said[:200])


def worked(task: Task) -> str:
    """Write the running sums, then ``=`` and the last of them."""
    running = list(accumulate(_numbers(task)))
    return ",".join(map(str, running)) + f"={running[-1]}"


def direct(task: Task) -> str:
    """Answer at once: the first two numbers added, and 5 for each of the others."""
    numbers = _numbers(task)
    return f"={sum(numbers[:2]) + 5 * len(numbers[2:])}"


def _numbers(task: Task) -> Sequence[int]:
    return [int(part) for part in str(task.prompt).split("+")]


class Sums(Env, id="math/sums-v0"):
    """Add several one-digit numbers, with or without writing the running sums down.

    The answer is what stands behind the last ``=`` of the text: ``=21``, or with the work shown
    ``3,7,16,21=21``. A text without ``=`` is all answer.
    """

    tasks = generated(Additions())
    rubric = sum_equal
    limits = Limits(turns=1, tool_calls=0, tokens=64, seconds=60)
    oracle = worked
    demonstrators = {"direct": direct}  # noqa: RUF012  # Env declares it a ClassVar
