"""The live state of one episode: what an environment's author receives as ``episode``."""

import copy
import math
from typing import Any

import numpy as np

from proofgym.envs.derive import derive
from proofgym.envs.errors import EnvError
from proofgym.envs.stop import Stop
from proofgym.sandboxes import BlockingSandbox, BridgedInterpreter, BridgedSandbox, Workspace
from proofgym.verifiers import ErrorKind, Message, Score, Task

_LIMITS = frozenset(
    {
        Stop.MAX_TURNS,
        Stop.MAX_TOKENS,
        Stop.MAX_TOOL_CALLS,
        Stop.WALL_CLOCK,
        Stop.CONTEXT_OVERFLOW,
        Stop.PARSE_ERROR,
    }
)
"""Ends that are the policy's doing, and no sign of an environment that forgets to reward."""


class Session:
    """One live episode.

    Attributes:
        task: the problem.
        seed: what all of the episode's randomness derives from.
        state: the author's own; verifiers read it as ``transcript.state``.
        messages: everything said so far. In ``start(episode)`` an author may add to it.
        rewards: one number for each turn so far.
        turns, tool_calls: how many so far.
        tool_errors: how often each kind of tool error happened.
        workspace: the episode's sandbox, which exists once it is used.
    """

    __slots__ = (
        "_finished",
        "_rewarded",
        "_rng",
        "_rng_seed",
        "closing_text",
        "messages",
        "over",
        "rewards",
        "seed",
        "solved",
        "state",
        "task",
        "tool_calls",
        "tool_errors",
        "turns",
        "workspace",
    )

    def __init__(
        self,
        *,
        env_id: str,
        version: int,
        task: Task,
        seed: int,
        messages: list[Message],
        workspace: Workspace | None = None,
    ) -> None:
        self.task = task
        self.seed = seed
        self.messages = messages
        self.state: dict[str, Any] = {}
        self.rewards: list[float] = []
        self.turns = 0
        self.tool_calls = 0
        self.tool_errors: dict[str, int] = {}
        self.over = False
        self.solved: bool | None = None
        self.closing_text = ""
        self.workspace = workspace or Workspace()
        self._finished = False
        self._rewarded = False
        self._rng: np.random.Generator | None = None
        self._rng_seed = (env_id, version, task.id, seed)

    @property
    def rng(self) -> np.random.Generator:
        """The episode's own generator, from ``derive(env id, version, task id, seed)``."""
        if self._rng is None:  # made on first use: it costs more than a whole step
            self._rng = np.random.default_rng(derive(*self._rng_seed))
        return self._rng

    @property
    def finished(self) -> bool:
        """Whether the author has called :meth:`finish`."""
        return self._finished

    @property
    def box(self) -> BlockingSandbox:
        """The episode's sandbox, opened now if it was not. It blocks: async code uses `abox`."""
        return self.workspace.blocking()

    async def abox(self) -> BridgedSandbox:
        """Return the episode's sandbox, opened now if it was not."""
        return await self.workspace.bridged()

    async def interpreter(self, kind: str) -> BridgedInterpreter:
        """Return the episode's own "python" session or "shell", the same one on every call."""
        return await self.workspace.interpreter(kind)

    def reward(self, amount: float) -> None:
        """Add to this turn's reward. In ``start`` it counts for the first turn."""
        amount = float(amount)
        if not math.isfinite(amount):
            raise EnvError(f"episode.reward() must be given a finite number, got {amount}.")
        self._rewarded = True
        if self.rewards:
            self.rewards[-1] += amount
        else:
            self.rewards.append(amount)

    def finish(self, *, solved: bool | None = None, text: str = "") -> None:
        """End the episode after this turn.

        Args:
            solved: was the task solved; None leaves it to the rubric.
            text: a closing observation.
        """
        self._finished = True
        self.solved = solved
        self.closing_text = text

    def begin_turn(self, message: Message) -> None:
        """Record the policy's message. For the runtime only."""
        self.messages.append(message)
        self.turns += 1
        if len(self.rewards) < self.turns:
            self.rewards.append(0.0)

    def own_score(self, stop: Stop) -> Score:
        """Score an episode of an environment without a rubric.

        The value is the sum of the turn rewards where the author gave any, else 1 or 0 for
        ``finish(solved=...)``. An episode that ran into a limit before either is worth 0.
        """
        if self._rewarded or (self.solved is None and stop in _LIMITS):
            total = math.fsum(self.rewards)
            return Score(value=total, solved=self.solved, parts={"return": total})
        if self.solved is not None:
            value = float(self.solved)
            return Score(value=value, solved=self.solved, parts={"solved": value})
        return Score.unscored(
            ErrorKind.CRASHED,
            "the environment has no rubric and gave neither a reward nor finish(solved=...). "
            "Declare `rubric = ...`, or call episode.reward(x) or episode.finish(solved=...).",
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Session":
        twin = object.__new__(Session)
        memo[id(self)] = twin
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        # messages and tasks are immutable values: only what holds them is copied
        twin.messages = list(self.messages)
        twin.rewards = list(self.rewards)
        twin.tool_errors = dict(self.tool_errors)
        twin.state = copy.deepcopy(self.state, memo)
        twin._rng = copy.deepcopy(self._rng, memo)
        twin.workspace = copy.deepcopy(self.workspace, memo)
        return twin
