"""games/cart-pole-v0: the classical control problem, told in words."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import generated
from proofgym.verifiers import Message, Task

HORIZON: Final = 50
GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
FARTHEST, STEEPEST = 2.4, math.radians(12)
_PROMPT: Final = (
    "Keep the pole on the cart upright for {} turns. Each turn say left or right, to push. "
    "Every turn that it stands pays 1. It falls beyond 12 degrees, or 2.4 from the middle.\n{}"
)
State = tuple[float, float, float, float]
"""Position, velocity, angle in radians, angular velocity."""


def pose(rng: np.random.Generator, index: int) -> Task:
    """Draw a beginning: all four numbers within 0.05."""
    state = [round(float(x), 4) for x in rng.uniform(-0.05, 0.05, 4)]
    return Task(
        id=" ".join(f"{x:+.4f}" for x in state),
        prompt=_PROMPT.format(HORIZON, told((state[0], state[1], state[2], state[3]))),
        data={"state": state},
    )


def told(state: State) -> str:
    """Say a state in words."""
    position, velocity, angle, spin = state
    return (
        f"position {position:+.3f}, velocity {velocity:+.3f}, angle {math.degrees(angle):+.2f} "
        f"degrees, turning {math.degrees(spin):+.2f} degrees a second"
    )


def pushed(state: State, force: float) -> State:
    """Go one fiftieth of a second on.

    Source: Barto, Sutton and Anderson 1983, as in gymnasium's CartPole-v1 (Euler's method).
    """
    position, velocity, angle, spin = state
    total, moment = CART + POLE, POLE * HALF_LENGTH
    sine, cosine = math.sin(angle), math.cos(angle)
    pull = (force + moment * spin**2 * sine) / total
    turn = (GRAVITY * sine - cosine * pull) / (HALF_LENGTH * (4.0 / 3.0 - POLE * cosine**2 / total))
    push = pull - moment * turn * cosine / total
    return (
        position + SECONDS * velocity,
        velocity + SECONDS * push,
        angle + SECONDS * spin,
        spin + SECONDS * turn,
    )


def balance(task: Task, messages: Sequence[Message]) -> str:
    """Push to the side to which the pole is going to lean."""
    x, v, a, w = task.data["state"]
    state: State = (x, v, a, w)
    said = [m.content for m in messages if m.role.value == "assistant"]
    for word in said:
        state = pushed(state, FORCE if word == "right" else -FORCE)
    return "right" if state[2] + 0.3 * state[3] + 0.01 * state[0] > 0 else "left"


class CartPole(Env, id="games/cart-pole-v0"):
    """Balance a pole on a cart, told its state in words: 1 for every turn, at most 50.

    The physics and the reward for each step are the classical ones; discount as usual (0.99) in
    the trainer. A text that is neither left nor right ends the episode and pays nothing.
    """

    tasks = generated(pose)
    limits = Limits(turns=HORIZON, tool_calls=0, tokens=2048, seconds=300)
    oracle = balance
    best = float(HORIZON)

    def start(self, episode: Session) -> None:
        """Set the cart up."""
        episode.state["state"] = tuple(episode.task.data["state"])

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Push once."""
        episode, word = self.episode, action.strip().lower()
        if word not in ("left", "right"):
            return "that was neither left nor right", 0.0, True, False, {"solved": False}
        state = pushed(episode.state["state"], FORCE if word == "right" else -FORCE)
        episode.state["state"] = state
        if abs(state[0]) > FARTHEST or abs(state[2]) > STEEPEST:
            return "the pole has fallen", 1.0, True, False, {"solved": False}
        if episode.turns >= HORIZON:
            return "it stands", 1.0, True, False, {"solved": True}
        return told(state), 1.0, False, False, {}
