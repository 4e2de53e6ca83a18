"""games/guess-number-v0: a game over several turns, in gymnasium's own shape."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import content_share, generated
from proofgym.verifiers import Message, Role, Secret, Task

HIGHEST: Final = 31
WASTED: Final = -0.1


def hide_number(rng: np.random.Generator, index: int) -> Task:
    """Hide one number."""
    number = int(rng.integers(1, HIGHEST + 1))
    return Task(
        id=f"{content_share(f'hidden {number}'):.12f}"[2:],  # says nothing about the number
        prompt=f"Guess my number from 1 to {HIGHEST}. Say a number only.",
        answer=Secret(number),
    )


def number_is_heldout(task: Task) -> bool:
    """Hold out a quarter of the numbers: the prompt is always the same."""
    return task.answer is not None and content_share(f"split {task.answer.reveal()}") < 0.25


def know_it(task: Task) -> str:
    """Say the hidden number at once."""
    assert task.answer is not None
    return str(task.answer.reveal())


def bisect(task: Task, messages: Sequence[Message]) -> str:
    """Halve the range that is left."""
    low, high = 1, HIGHEST
    guess = 0
    for message in messages:
        if message.role is Role.ASSISTANT:
            guess = int(message.content)
        elif message.content == "higher":
            low = guess + 1
        elif message.content == "lower":
            high = guess - 1
    return str((low + high) // 2)


class GuessNumber(Env, id="games/guess-number-v0"):
    """Find a hidden number from 1 to 31, told "higher" or "lower" after each guess.

    The right guess pays 1. A wasted turn, which is a text that is no number or a guess that the
    replies so far have ruled out, costs 0.1. Halving the range always succeeds in five turns;
    six are allowed.
    """

    tasks = generated(hide_number, heldout=number_is_heldout)
    limits = Limits(turns=6, tool_calls=0, tokens=256, seconds=60)
    oracle = know_it
    demonstrators = {"bisect": bisect}  # noqa: RUF012  # Env declares it a ClassVar

    def start(self, episode: Session) -> None:
        """Nothing is ruled out yet."""
        episode.state.update(low=1, high=HIGHEST)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one guess."""
        text = action.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 9):
            return "say a number", WASTED, False, False, {}
        task, state, guess = self.episode.task, self.episode.state, int(text)
        assert task.answer is not None
        number = task.answer.reveal()
        if guess == number:
            return "right", 1.0, True, False, {"solved": True}
        reward = 0.0 if state["low"] <= guess <= state["high"] else WASTED
        if guess < number:
            state["low"] = max(state["low"], guess + 1)
            return "higher", reward, False, False, {}
        state["high"] = min(state["high"], guess - 1)
        return "lower", reward, False, False, {}
