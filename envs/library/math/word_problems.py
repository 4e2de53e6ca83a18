"""math/word-problems-v0: stories with a number at the end, in the manner of GSM8K."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.math.boxed import SYSTEM, boxed_answer, problem
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.verifiers import Task, math_equal

NAMES = ("Ada", "Boris", "Chen", "Dina", "Emre", "Fatou", "Goran", "Hana", "Ivo", "Juno")
THINGS = ("apples", "stamps", "marbles", "books", "shells", "tickets", "coins", "cards")
LEVELS = {"two steps": 2, "three steps": 3, "five steps": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One sentence of a story, and what it does to the count."""

    sentence: str
    after: int


Teller = Callable[[np.random.Generator, str, str, int], Event | None]


def _buy(rng: np.random.Generator, name: str, things: str, count: int) -> Event | None:
    packs, size = int(rng.integers(2, 7)), int(rng.integers(3, 13))
    sentence = f"{name} buys {packs} packs of {size} {things} each."
    return Event(sentence=sentence, after=count + packs * size)


def _give(rng: np.random.Generator, name: str, things: str, count: int) -> Event | None:
    if count < 6:
        return None
    given, friend = int(rng.integers(2, count - 2)), str(rng.choice(NAMES))
    other = "a neighbour" if friend == name else friend
    return Event(sentence=f"{name} gives {given} of them to {other}.", after=count - given)


def _grow(rng: np.random.Generator, name: str, things: str, count: int) -> Event | None:
    times, words = [(2, "twice"), (3, "three times"), (4, "four times")][int(rng.integers(3))]
    if count > 400:
        return None
    sentence = f"A year later {name} has {words} as many {things} as that."
    return Event(sentence=sentence, after=count * times)


def _share(rng: np.random.Generator, name: str, things: str, count: int) -> Event | None:
    parts = [n for n in range(2, 10) if count % n == 0 and count > n]
    if not parts:
        return None
    boxes = int(rng.choice(parts))
    sentence = f"{name} spreads them evenly over {boxes} boxes and keeps only one of the boxes."
    return Event(sentence=sentence, after=count // boxes)


def _lose(rng: np.random.Generator, name: str, things: str, count: int) -> Event | None:
    shares = [(n, w) for n, w in ((2, "half"), (3, "a third"), (4, "a quarter")) if count % n == 0]
    if not shares or count < 8:
        return None
    part, words = shares[int(rng.integers(len(shares)))]
    return Event(sentence=f"Then {words} of them are lost.", after=count - count // part)


TELLERS: tuple[Teller, ...] = (_buy, _give, _grow, _share, _lose)


def pose(rng: np.random.Generator, index: int) -> Task:
    """Tell a story with as many steps as the index's level has."""
    level = list(LEVELS)[index % len(LEVELS)]
    name, things = str(rng.choice(NAMES)), str(rng.choice(THINGS))
    count = int(rng.integers(12, 60))
    sentences, last = [f"{name} has {count} {things}."], -1
    while len(sentences) <= LEVELS[level]:
        choice = int(rng.integers(len(TELLERS)))
        event = None if choice == last else TELLERS[choice](rng, name, things, count)
        if event is not None:
            sentences.append(event.sentence)
            count, last = event.after, choice
    sentences.append(f"How many {things} does {name} have now?")
    return problem(" ".join(sentences), str(count), difficulty=level)


class WordProblems(Env, id="math/word-problems-v0"):
    """Follow a story of two to five steps to the number that it ends with."""

    system = SYSTEM
    tasks = generated(pose)
    rubric = math_equal()
    limits = Limits(turns=1, tool_calls=0, tokens=2048, seconds=120)
    oracle = boxed_answer
