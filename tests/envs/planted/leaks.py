"""Faults that show the answer."""

import base64
from typing import Any

import numpy as np

from proofgym.envs import Limits, Session, ToolError, generated, tool
from proofgym.verifiers import Secret, Task
from tests.envs.planted.execution import call_first
from tests.envs.planted.sums import Sound, gold, pose


def posed(rng: np.random.Generator, **changes: Any) -> Task:
    """Pose an addition with changed fields, which may use its numbers."""
    a, b = (int(n) for n in rng.integers(100, 1000, 2))
    fields: dict[str, Any] = {"id": f"{a} plus {b}", "prompt": f"What is {a} + {b}?"}
    fields |= {name: text.format(a=a, b=b, sum=a + b) for name, text in changes.items()}
    return Task(answer=Secret(str(a + b)), **fields)


class InThePrompt(Sound):
    """The prompt has the answer."""

    tasks = generated(
        lambda rng, _: posed(rng, prompt="What is {a} + {b}?\n<!-- expected: {sum} -->")
    )


class InTheId(Sound):
    """The id has the answer."""

    tasks = generated(lambda rng, _: posed(rng, id="{a}+{b}={sum}"))


class InDisguise(Sound):
    """The prompt has the answer in base64."""

    @staticmethod
    def make(rng: np.random.Generator, index: int) -> Task:
        task = pose(rng, index)
        answer = f"the sum is {gold(task)}"
        key = base64.b64encode(answer.encode()).decode()
        return Task(id=task.id, prompt=f"{task.prompt} [key {key}]", answer=Secret(answer))

    tasks = generated(make.__func__)  # type: ignore[attr-defined]


class InAReply(Sound):
    """A tool's error tells the answer."""

    limits = Limits(turns=3, tool_calls=3)
    oracle: Any = call_first

    @tool
    def calculate(self, expression: str, episode: Session) -> str:
        """Work it out."""
        if expression != "1+1":
            raise ToolError(f"expected something that gives {gold(episode.task)}")
        return "2"


class InTheInfo(Sound):
    """The opening's info has the answer."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        """Begin, and tell too much."""
        observation, info = super().reset(seed=seed, options=options)
        assert self.session is not None
        return observation, {**info, "gold": gold(self.session.task)}
