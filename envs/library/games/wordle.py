"""games/wordle-v0: find a hidden word of five letters."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.games.words import WORDS
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import content_share, generated
from proofgym.verifiers import Message, Role, Secret, Task

WASTED: Final = -0.05
_KNOWN: Final = frozenset(WORDS)
_PROMPT: Final = (
    "Find my word of five letters. Say one word a turn. I answer with a sign for each letter: "
    "G is right, Y is elsewhere in the word, - is not in it (again). You have six turns."
)


def hide_word(rng: np.random.Generator, index: int) -> Task:
    """Hide one word."""
    word = str(rng.choice(WORDS))
    return Task(
        id=f"{content_share(f'hidden {word}'):.12f}"[2:],  # says nothing about the word
        prompt=_PROMPT,
        answer=Secret(word),
    )


def word_is_heldout(task: Task) -> bool:
    """Hold out a fifth of the words: the prompt is always the same."""
    return task.answer is not None and content_share(f"split {task.answer.reveal()}") < 0.2


def signs(guess: str, word: str) -> str:
    """Compare a guess with the word: G in place, Y elsewhere as often as it is left, else -."""
    left = Counter(b for a, b in zip(guess, word, strict=True) if a != b)
    found = []
    for said, right in zip(guess, word, strict=True):
        if said == right:
            found.append("G")
        elif left[said]:
            left[said] -= 1
            found.append("Y")
        else:
            found.append("-")
    return "".join(found)


def know_it(task: Task) -> str:
    """Say the hidden word at once."""
    assert task.answer is not None
    return str(task.answer.reveal())


def eliminate(task: Task, messages: Sequence[Message]) -> str:
    """Say the first word of the list that fits all the signs so far."""
    asked = [m.content for m in messages if m.role is Role.ASSISTANT]
    told = [m.content.partition(" ")[0] for m in messages if m.role is Role.USER][-len(asked) :]
    clues = list(zip(asked, told, strict=True)) if asked else []
    return next(w for w in WORDS if all(signs(guess, w) == sign for guess, sign in clues))


class Wordle(Env, id="games/wordle-v0"):
    """Find a hidden word of five letters in six turns, told which letters are right.

    The right word pays 1. A wasted turn, which is a text that is not one word of the list or a
    word that the signs so far have ruled out, costs 0.05.
    """

    tasks = generated(hide_word, heldout=word_is_heldout)
    limits = Limits(turns=6, tool_calls=0, tokens=512, seconds=120)
    oracle = know_it
    demonstrators = {"eliminate": eliminate}  # noqa: RUF012  # Env declares it a ClassVar

    def start(self, episode: Session) -> None:
        """Nothing is known yet."""
        episode.state["clues"] = []

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one guess."""
        guess, clues = action.strip().lower(), self.episode.state["clues"]
        if guess not in _KNOWN:
            return "say one common word of five letters", WASTED, False, False, {}
        word = know_it(self.episode.task)
        if guess == word:
            return "GGGGG", 1.0, True, False, {"solved": True}
        told = signs(guess, word)
        possible = all(signs(earlier, guess) == sign for earlier, sign in clues)
        clues.append((guess, told))
        return told, 0.0 if possible else WASTED, False, False, {}
