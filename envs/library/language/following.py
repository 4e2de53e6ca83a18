"""language/instructions-v0: keep one, two or three instructions that a program can check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.language.constraints import (
    MAKERS,
    NOUNS,
    SENTENCE,
    TOPICS,
    Asked,
    Draft,
)
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.verifiers import Secret, Task, instruction_following
from proofgym.verifiers.instructions import follows, read_constraints

LEVELS: Mapping[str, int] = {"one": 1, "two": 2, "three": 3}
ALONE = frozenset(("detectable_format:constrained_response",))
"""An instruction that leaves room for no other."""
ECHOED = frozenset(("keywords:existence", "detectable_format:title", "combination:repeat_prompt"))
"""Instructions that the request keeps itself, so that repeating it would be enough."""
BASE = "keywords:existence"
MAX_TRIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """A request, its instructions as data sets write them, and a response that keeps them."""

    prompt: str
    names: Sequence[str]
    kwargs: Sequence[Mapping[str, object]]
    example: str


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make a request with the index's instruction and perhaps others that go with it."""
    first = list(MAKERS)[index % len(MAKERS)]
    level = list(LEVELS)[index // len(MAKERS) % len(LEVELS)]
    if first in ALONE:
        level = "one"
    elif first in ECHOED and level == "one":
        level = "two"
    for _ in range(MAX_TRIES):
        posed = _draw(rng, first, LEVELS[level])
        if _is_sound(posed):
            break
    else:
        raise AssertionError(f"no response keeps {first} with others")
    answer = {"instruction_id_list": list(posed.names), "kwargs": [dict(k) for k in posed.kwargs]}
    return Task(
        id=posed.prompt,
        prompt=posed.prompt,
        answer=Secret(answer),
        hidden={"example": Secret(posed.example)},
        difficulty=level,
    )


def _draw(rng: np.random.Generator, first: str, count: int) -> Posed:
    topic, nouns = str(rng.choice(TOPICS)), [str(n) for n in rng.choice(NOUNS, 2, replace=False)]
    request = f"Write a few sentences about {topic} with the words {nouns[0]} and {nouns[1]}."
    others = [name for name in MAKERS if name not in ALONE and name != first]
    names = [first, *(str(n) for n in rng.choice(others, count - 1, replace=False))]
    asked: list[Asked] = [MAKERS[name](rng, request) for name in names]
    draft = Draft(nouns=(nouns[0], nouns[1]), sentences=[f"{SENTENCE.format(*nouns)}."])
    for one in asked:
        one.keep(draft)
    prompt = " ".join([request, *(one.words for one in asked)])
    kwargs = [one.kwargs for one in asked]
    if first not in ALONE:  # so that nothing is kept by saying nothing of the matter
        names, kwargs = [BASE, *names], [{"keywords": nouns}, *kwargs]
    return Posed(prompt=prompt, names=names, kwargs=kwargs, example=draft.text())


def _is_sound(posed: Posed) -> bool:
    """Whether the example keeps every instruction, and repeating the request does not."""
    answer = {"instruction_id_list": list(posed.names), "kwargs": [dict(k) for k in posed.kwargs]}
    asked = read_constraints(answer)
    return all(follows(one, posed.example) for one in asked) and not all(
        follows(one, posed.prompt) for one in asked
    )


def show_example(task: Task) -> str:
    """Say the response with which the task was made."""
    return str(task.hidden["example"].reveal())


class Instructions(Env, id="language/instructions-v0"):
    """Write a short text that keeps one to three of IFEval's 25 kinds of instruction.

    Every request also names two words that must appear, so that a text about nothing keeps none.
    All instructions must be kept; each was made so that they can be.
    """

    tasks = generated(pose)
    rubric = instruction_following()
    limits = Limits(turns=1, tool_calls=0, tokens=2048, seconds=120)
    oracle = show_example
