"""language/records-v0: read facts out of a text, and give them as JSON of an asked shape."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.verifiers import Score, Secret, Task, Transcript, verifier
from proofgym.verifiers.strict_json import JsonRefusedError, load_json, unfenced
from proofgym.verifiers.tool_trace import same

NAMES = [
    "Amara",
    "Benno",
    "Chiara",
    "Dmitri",
    "Elif",
    "Franz",
    "Ines",
    "Jakob",
    "Keiko",
    "Luca",
    "Maya",
    "Nadia",
]
CITIES = [
    "Aarhus",
    "Bologna",
    "Cusco",
    "Dakar",
    "Ghent",
    "Kyoto",
    "Lima",
    "Oslo",
    "Porto",
    "Riga",
    "Turku",
    "Zagreb",
]
JOBS = ["baker", "nurse", "pilot", "tailor", "teacher", "welder"]
GOODS = ["chairs", "lamps", "tables", "mirrors", "shelves", "rugs"]
Record = dict[str, Any]


def _person(rng: np.random.Generator) -> tuple[str, str, Record]:
    name, city, job = (str(rng.choice(names)) for names in (NAMES, CITIES, JOBS))
    age, married = int(rng.integers(18, 90)), bool(rng.integers(2))
    state = "married" if married else "single"
    text = f"{name}, who is {age} and {state}, works as a {job} in {city}."
    shape = '{"name": string, "age": integer, "city": string, "job": string, "married": boolean}'
    record = {"name": name, "age": age, "city": city, "job": job, "married": married}
    return text, shape, record


def _order(rng: np.random.Generator) -> tuple[str, str, Record]:
    name, city = str(rng.choice(NAMES)), str(rng.choice(CITIES))
    goods = [str(one) for one in rng.choice(GOODS, int(rng.integers(2, 4)), replace=False)]
    items = [
        {"item": one, "count": int(rng.integers(2, 20)), "price": int(rng.integers(5, 200))}
        for one in goods
    ]
    listed = ", ".join(f"{one['count']} {one['item']} at {one['price']} each" for one in items)
    text = f"{name} from {city} ordered {listed}."
    shape = (
        '{"customer": {"name": string, "city": string}, "items": [{"item": string, "count": '
        'integer, "price": integer}, in the order of the text]}'
    )
    return text, shape, {"customer": {"name": name, "city": city}, "items": items}


def _journey(rng: np.random.Generator) -> tuple[str, str, Record]:
    stops = [str(one) for one in rng.choice(CITIES, int(rng.integers(3, 6)), replace=False)]
    nights = [int(n) for n in rng.integers(1, 9, len(stops))]
    told = ", then ".join(f"{n} nights in {s}" for s, n in zip(stops, nights, strict=True))
    guide = str(rng.choice(NAMES)) if rng.random() < 0.5 else None
    text = f"The journey: {told}. " + (f"{guide} is the guide." if guide else "There is no guide.")
    shape = (
        '{"stops": object with the nights by city, "total_nights": integer, '
        '"guide": string or null}'
    )
    record = {
        "stops": dict(zip(stops, nights, strict=True)),
        "total_nights": sum(nights),
        "guide": guide,
    }
    return text, shape, record


LEVELS: Mapping[str, Callable[[np.random.Generator], tuple[str, str, Record]]] = {
    "flat": _person,
    "nested": _order,
    "worked out": _journey,
}


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make a text and its record, of the index's level."""
    level = list(LEVELS)[index % len(LEVELS)]
    text, shape, record = LEVELS[level](rng)
    return Task(
        id=text,
        prompt=f"{text}\nReply with JSON only, of this shape: {shape}",
        answer=Secret(record),
        difficulty=level,
    )


@verifier
def is_record(task: Task, transcript: Transcript) -> Score:
    """Compare the whole final text (or the one code fence that it is), read as strict JSON.

    Keys may come in any order. Types count: 3 is neither "3" nor 3.0.
    """
    assert task.answer is not None
    text = unfenced(transcript.final_text)
    try:
        said = load_json(text)
    except JsonRefusedError as error:
        return Score(value=0.0, solved=False, evidence=str(error))
    right = same(task.answer.reveal(), said, 0.0) and _types(said) == _types(task.answer.reveal())
    evidence = "the record is right" if right else "the record differs"
    return Score(value=float(right), solved=right, evidence=evidence, extracted=text[:200])


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _types(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_types(inner) for inner in value]
    return type(value).__name__


def write_record(task: Task) -> str:
    """Write the record."""
    assert task.answer is not None
    return json.dumps(task.answer.reveal(), ensure_ascii=False)


class Records(Env, id="language/records-v0"):
    """Turn a sentence or two into JSON of an asked shape, flat, nested or with sums."""

    tasks = generated(pose)
    rubric = is_record
    limits = Limits(turns=1, tool_calls=0, tokens=1024, seconds=60)
    oracle = write_record
