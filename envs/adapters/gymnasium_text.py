"""Any gymnasium environment with few actions or texts, played in words."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, Text

from proofgym.envs.env import Env
from proofgym.envs.errors import EnvError
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import content_share, generated
from proofgym.verifiers import Task, user

HELDOUT = 0.1
Step = tuple[str, float, bool, bool, dict[str, Any]]


def gymnasium_environment(
    id: str,
    inner: Callable[[], "gymnasium.Env[Any, Any]"],
    *,
    prompt: str,
    show: Callable[[Any], str] = str,
    actions: Sequence[str] | None = None,
    turns: int = 100,
    best: float | None = None,
    oracle: Any = None,
) -> type[Env]:
    """Declare an environment that plays another one of gymnasium in words.

    A task is a seed of the inner environment, a tenth of them held out. The inner environment is
    the episode's state, so that snapshots copy it: it must be one that ``copy.deepcopy`` copies.

    Args:
        id: such as ``mine/lake-v0``.
        inner: makes the inner environment, such as ``lambda: gymnasium.make("FrozenLake-v1")``.
        prompt: what the policy is told first; the first observation follows it.
        show: an observation in words.
        actions: the words of a Discrete space's actions, in order; without them the policy says
            the number. A Text space takes the policy's text as it is.
        turns: at most.
        best: what a perfect episode is worth.
        oracle: a scripted policy, as in Env.

    Raises:
        EnvError: the action space is neither Discrete nor Text, or the words are too many or few.
    """
    space = inner().action_space
    if not isinstance(space, Discrete | Text):
        raise EnvError(
            f"{id}: expected a Discrete or Text action space, got {type(space).__name__}."
        )
    if actions is not None and (not isinstance(space, Discrete) or space.n != len(actions)):
        raise EnvError(f"{id}: expected one word for each action of {space}, got {actions!r}.")
    words = _words(space, actions)

    def pose(rng: np.random.Generator, index: int) -> Task:
        seed = int(rng.integers(2**31))
        return Task(id=f"seed-{seed}", prompt=prompt, data={"seed": seed})

    def start(self: Env, episode: Session) -> None:
        game = inner()
        observation, _ = game.reset(seed=episode.task.data["seed"])
        episode.state["game"] = game
        episode.messages.append(user(show(observation)))

    def step(self: Env, action: str) -> Step:
        said = action.strip()
        if words is not None and said not in words:
            return f"Say one of: {', '.join(words)}.", 0.0, False, False, {}
        chosen: Any = action if words is None else words[said]
        if words is None and not space.contains(chosen):
            return f"That is no action of {space}.", 0.0, False, False, {}
        game = self.episode.state["game"]
        observation, reward, terminated, truncated, info = game.step(chosen)
        told = {"solved": bool(info["is_success"])} if "is_success" in info else {}
        return show(observation), float(reward), bool(terminated), bool(truncated), told

    body: dict[str, Any] = {
        "__doc__": f"{prompt.partition(chr(10))[0]}",
        "__module__": __name__,
        "tasks": generated(pose, heldout=lambda task: content_share(task.id) < HELDOUT),
        "limits": Limits(turns=turns, tool_calls=0, tokens=8192, seconds=600),
        "start": start,
        "step": step,
        "best": best,
        "oracle": oracle if oracle is None else staticmethod(oracle),
    }
    metaclass: Any = type(Env)
    made: type[Env] = metaclass("Gymnasium", (Env,), body, id=id)
    return made


def _words(space: "Discrete | Text", actions: Sequence[str] | None) -> dict[str, int] | None:
    if not isinstance(space, Discrete):
        return None
    first = int(space.start)
    numbers = range(first, first + int(space.n))
    return dict(zip(actions or map(str, numbers), numbers, strict=True))
