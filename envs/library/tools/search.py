"""tools/search-v0 and tools/multi-hop-v0: questions about a world that must be looked up."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.tools.atlas import atlas, find
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.envs.tools import tool
from proofgym.verifiers import Message, Secret, Task, Transcript, assistant, tool_call, verifier

SYSTEM = (
    "Answer from the articles, which you find with search. Reply with the answer alone: a name or "
    "a year, and nothing else."
)


@tool
def search(query: str) -> str:
    """Find articles.

    Args:
        query: words that the article should have, such as a name.
    """
    found = find(query)
    return "\n".join(f"{title}: {text}" for title, text in found) or "no article has these words"


@verifier
def names_the_answer(task: Task, transcript: Transcript) -> bool:
    """Compare the final text with the answer, whatever its case, spacing and closing dot."""
    assert task.answer is not None
    return _plain(transcript.final_text) == _plain(str(task.answer.reveal()))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().removesuffix(".").removeprefix("lake ")


Asked = tuple[str, str, list[str]]
"""A question, its answer, and the queries that lead to it."""


def _some(rng: np.random.Generator, names: Mapping[str, object]) -> str:
    return str(rng.choice(list(names)))


def _mayor(rng: np.random.Generator) -> Asked:
    town = atlas().towns[_some(rng, atlas().towns)]
    return f"Who is the mayor of {town.name}?", town.mayor, [town.name]


def _founded(rng: np.random.Generator) -> Asked:
    town = atlas().towns[_some(rng, atlas().towns)]
    return f"In which year was {town.name} founded?", str(town.founded), [town.name]


def _birthplace(rng: np.random.Generator) -> Asked:
    person = atlas().people[_some(rng, atlas().people)]
    return f"In which town was {person.name} born?", person.birthplace, [person.name]


def _founder(rng: np.random.Generator) -> Asked:
    company = atlas().companies[_some(rng, atlas().companies)]
    return f"Who founded {company.name}?", company.founder, [company.name]


def _mayors_birth(rng: np.random.Generator) -> Asked:
    question, mayor, first = _mayor(rng)
    town = question.removeprefix("Who is the mayor of ").removesuffix("?")
    answer = str(atlas().people[mayor].born)
    return f"In which year was the mayor of {town} born?", answer, [*first, mayor]


def _seats_river(rng: np.random.Generator) -> Asked:
    company = atlas().companies[_some(rng, atlas().companies)]
    river = atlas().towns[company.seat].river
    asked = f"On which river does the town lie in which {company.name} has its seat?"
    return asked, river, [company.name, company.seat]


def _founders_mayor(rng: np.random.Generator) -> Asked:
    company = atlas().companies[_some(rng, atlas().companies)]
    place = atlas().people[company.founder].birthplace
    asked = f"Who is the mayor of the town in which the founder of {company.name} was born?"
    return asked, atlas().towns[place].mayor, [company.name, company.founder, place]


def _births_lake(rng: np.random.Generator) -> Asked:
    person = atlas().people[_some(rng, atlas().people)]
    river = atlas().towns[person.birthplace].river
    asked = f"Into which lake flows the river of the town in which {person.name} was born?"
    queries = [person.name, person.birthplace, f"River {river}"]
    return asked, atlas().rivers[river], queries


Makers = Mapping[str, Sequence[Callable[[np.random.Generator], Asked]]]
ONE_HOP: Makers = {
    "towns": (_mayor, _founded),
    "people": (_birthplace,),
    "companies": (_founder,),
}
MORE_HOPS: Makers = {
    "two articles": (_mayors_birth, _seats_river),
    "three articles": (_founders_mayor, _births_lake),
}


def _poser(makers: Makers) -> Callable[[np.random.Generator, int], Task]:
    def pose(rng: np.random.Generator, index: int) -> Task:
        level = list(makers)[index % len(makers)]
        make = makers[level][int(rng.integers(len(makers[level])))]
        question, answer, queries = make(rng)
        return Task(
            id=question,
            prompt=question,
            answer=Secret(answer),
            hidden={"queries": Secret(queries)},
            difficulty=level,
        )

    return pose


def look_up(task: Task) -> list[Message]:
    """Search for each thing on the way to the answer, then say it."""
    assert task.answer is not None
    queries = task.hidden["queries"].reveal()
    calls = [assistant("", tool_call("search", query=query)) for query in queries]
    return [*calls, assistant(str(task.answer.reveal()))]


class Search(Env, id="tools/search-v0"):
    """Look a fact up in 130 articles about an invented world, which no model can know.

    The articles are searched with sqlite's full-text index. The final text must be the answer.
    """

    system = SYSTEM
    tasks = generated(_poser(ONE_HOP))
    tools = (search,)
    rubric = names_the_answer
    limits = Limits(turns=5, tool_calls=6, tokens=2048, seconds=120)
    oracle = look_up


class MultiHop(Env, id="tools/multi-hop-v0"):
    """Answer questions that need two or three articles about an invented world in a row."""

    system = SYSTEM
    tasks = generated(_poser(MORE_HOPS))
    tools = (search,)
    rubric = names_the_answer
    limits = Limits(turns=8, tool_calls=12, tokens=4096, seconds=120)
    oracle = look_up
