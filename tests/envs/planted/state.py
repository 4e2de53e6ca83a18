"""Faults of randomness, of state and of episodes' ends."""

import random
import time
from typing import Any, ClassVar

import numpy as np

from proofgym.envs import Limits, Session, generated, tool
from proofgym.verifiers import (
    Message,
    Secret,
    Task,
    Transcript,
    assistant,
    tool_call,
    user,
    verifier,
)
from tests.envs.planted.sums import Sound, gold, pose


class UnseededChoice(Sound):
    """The opening's wording is drawn from nowhere."""

    def start(self, episode: Session) -> None:
        """Add a greeting."""
        episode.messages.append(user(f"hello {np.random.default_rng().integers(10**6)}"))


class GlobalGenerator(Sound):
    """It seeds and draws from the global generator."""

    def start(self, episode: Session) -> None:
        """Add a greeting."""
        random.seed(episode.seed)
        episode.messages.append(user(f"hello {random.randrange(10**6)}"))


class HashSeed(Sound):
    """A set's order goes into the prompt."""

    def start(self, episode: Session) -> None:
        """List topics."""
        episode.messages.append(user(" ".join({"sums", "carry", "digits", "tens", "units"})))


class HashedTasks(Sound):
    """hash() of a text seeds the tasks."""

    @staticmethod
    def make(rng: np.random.Generator, index: int) -> Task:
        return pose(np.random.default_rng(abs(hash(f"task {index} {rng.integers(99)}"))), index)

    tasks = generated(make.__func__)  # type: ignore[attr-defined]


class TellsTheTime(Sound):
    """The clock is in the prompt."""

    def start(self, episode: Session) -> None:
        """Say the time."""
        episode.messages.append(user(f"it is {time.time_ns()}"))


class RemembersEpisodes(Sound):
    """A list on the class grows with every episode."""

    seen: ClassVar[list[str]] = []

    def start(self, episode: Session) -> None:
        """Count."""
        self.seen.append(episode.task.id)
        episode.messages.append(user(f"episode {min(9, len(self.seen))}"))


class LearnsFromTheLast(Sound):
    """It speaks more kindly after an episode that failed."""

    failed: ClassVar[list[str]] = []

    def start(self, episode: Session) -> None:
        """Add a greeting."""
        episode.messages.append(user("take your time" if self.failed else "go on"))

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        right = transcript.final_text.strip() == gold(task)
        LearnsFromTheLast.failed[:] = [] if right else [task.id]
        return right

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


def look_then_answer(task: Task) -> list[Message]:
    """Look twice, then answer."""
    look = assistant("", tool_call("look"))
    return [look, look, assistant(gold(task))]


class SharedBoard(Sound):
    """All instances write on one board."""

    limits = Limits(turns=4, tool_calls=4)
    oracle: Any = look_then_answer
    board: ClassVar[dict[str, int]] = {}

    def start(self, episode: Session) -> None:
        """Wipe the board."""
        self.board.clear()

    @tool
    def look(self, episode: Session) -> str:
        """Count the looks."""
        self.board[episode.task.id] = self.board.get(episode.task.id, 0) + 1
        return str(self.board)


_COUNTS: dict[int, int] = {}


class OutsideTheSnapshot(Sound):
    """What an episode has come to is kept where a snapshot does not reach."""

    limits = Limits(turns=4, tool_calls=4)
    oracle: Any = look_then_answer

    def start(self, episode: Session) -> None:
        """Begin to count."""
        _COUNTS[id(type(self))] = 0

    @tool
    def look(self, episode: Session) -> str:
        """Count the looks."""
        _COUNTS[id(type(self))] += 1
        return str(_COUNTS[id(type(self))])


class ChangesItsTask(Sound):
    """An episode writes into the task."""

    @staticmethod
    def make(rng: np.random.Generator, index: int) -> Task:
        task = pose(rng, index)
        return Task(id=task.id, prompt=task.prompt, answer=task.answer, data={"tries": 0})

    tasks = generated(make.__func__)  # type: ignore[attr-defined]

    def start(self, episode: Session) -> None:
        """Count tries in the task itself."""
        data: Any = episode.task.data
        data["tries"] += 1


class CutPays(Sound):
    """An episode that is cut counts as solved."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        last = transcript.messages[-1]
        return last.role.value != "assistant" or last.content.strip() == gold(task)

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class CallsPay(Sound):
    """Every call pays a little, as often as one likes."""

    limits = Limits(turns=30, tool_calls=30)

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        return transcript.final_text.strip() == gold(task)

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined,assignment]

    @tool
    def look(self, episode: Session) -> str:
        """Be paid for looking."""
        episode.reward(0.1)
        return "nothing"


class SameIds(Sound):
    """Different tasks have one id."""

    @staticmethod
    def make(rng: np.random.Generator, index: int) -> Task:
        task = pose(rng, index)
        return Task(id=f"task {index % 5}", prompt=task.prompt, answer=task.answer)

    tasks = generated(make.__func__)  # type: ignore[attr-defined]


class TrainsOnHeldOut(Sound):
    """A task's split depends on what is not in it."""

    tasks = generated(
        lambda rng, index: pose(np.random.default_rng(index), index),
        heldout=lambda task: random.random() < 0.5,
    )


class Contradicts(Sound):
    """One prompt has several answers."""

    @staticmethod
    def make(rng: np.random.Generator, index: int) -> Task:
        value = int(rng.integers(100, 999))
        prompt = f"What is it? ({value % 7})"
        return Task(id=f"{value} {value % 7}", prompt=prompt, answer=Secret(f"a{value}"))

    tasks = generated(make.__func__, heldout=0.0)  # type: ignore[attr-defined]
