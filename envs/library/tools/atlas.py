"""A small invented world, written as articles: what the search environments look things up in."""

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np

from proofgym.envs.derive import derive

_SYLLABLES: Final = [
    "bar",
    "bel",
    "cor",
    "dan",
    "dor",
    "el",
    "fen",
    "gal",
    "har",
    "ist",
    "jor",
    "kal",
    "lin",
    "lor",
    "mar",
    "mir",
    "nal",
    "nor",
    "ost",
    "pel",
    "quin",
    "ral",
    "ren",
    "sal",
    "sel",
    "tar",
    "tor",
    "ul",
    "val",
    "ven",
    "wil",
    "yor",
    "zan",
]
_FIRST: Final = [
    "Alba",
    "Bruno",
    "Celia",
    "Dario",
    "Edda",
    "Felix",
    "Greta",
    "Hugo",
    "Ilse",
    "Jonas",
    "Karla",
    "Leo",
    "Mira",
    "Nils",
    "Olga",
    "Paul",
]
_TRADES: Final = [
    "glass",
    "salt",
    "wool",
    "copper",
    "paper",
    "clocks",
    "cheese",
    "amber",
    "rope",
    "tea",
]
_CRAFTS: Final = [
    "architect",
    "botanist",
    "composer",
    "astronomer",
    "painter",
    "engineer",
    "poet",
    "historian",
]
TOWNS, RIVERS, PEOPLE, COMPANIES = 40, 12, 50, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """A town and what is said of it."""

    name: str
    river: str
    founded: int
    mayor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person and what is said of them."""

    name: str
    born: int
    birthplace: str
    craft: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A company and what is said of it."""

    name: str
    trade: str
    seat: str
    founder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Atlas:
    """All that there is, by name; a river's value is the lake in which it ends."""

    towns: Mapping[str, Town]
    people: Mapping[str, Person]
    companies: Mapping[str, Company]
    rivers: Mapping[str, str]

    def articles(self) -> dict[str, str]:
        """Write one article about each thing, by title."""
        texts = {
            f"River {name}": f"The {name} is a river. It flows into Lake {lake}."
            for name, lake in self.rivers.items()
        }
        for town in self.towns.values():
            texts[town.name] = (
                f"{town.name} is a town on the river {town.river}, founded in {town.founded}. "
                f"Its mayor is {town.mayor}."
            )
        for person in self.people.values():
            texts[person.name] = (
                f"{person.name} (born {person.born} in {person.birthplace}) is known as "
                f"{_article(person.craft)} {person.craft}."
            )
        for company in self.companies.values():
            texts[company.name] = (
                f"{company.name} makes {company.trade}. It has its seat in {company.seat} and was "
                f"founded by {company.founder}."
            )
        return texts


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


@cache
def atlas() -> Atlas:
    """Make the world; it is the same in every process and version."""
    rng = np.random.default_rng(derive("atlas", 1))
    taken: set[str] = set()

    def name(parts: int) -> str:
        while True:
            made = "".join(str(rng.choice(_SYLLABLES)) for _ in range(parts)).capitalize()
            if made not in taken:
                taken.add(made)
                return made

    rivers = {name(2): name(2) for _ in range(RIVERS)}
    places = [name(3) for _ in range(TOWNS)]
    names = [f"{rng.choice(_FIRST)} {name(2)}" for _ in range(PEOPLE)]
    people = {
        one: Person(
            name=one,
            born=int(rng.integers(1900, 1990)),
            birthplace=str(rng.choice(places)),
            craft=str(rng.choice(_CRAFTS)),
        )
        for one in names
    }
    towns = {
        one: Town(
            name=one,
            river=str(rng.choice(list(rivers))),
            founded=int(rng.integers(900, 1800)),
            mayor=str(mayor),
        )
        for one, mayor in zip(places, rng.choice(names, TOWNS, replace=False), strict=True)
    }
    companies = {}
    for _ in range(COMPANIES):
        trade = str(rng.choice(_TRADES))
        title = f"{name(2)} {trade.capitalize()}"
        companies[title] = Company(
            name=title,
            trade=trade,
            seat=str(rng.choice(places)),
            founder=str(rng.choice(names)),
        )
    return Atlas(towns=towns, people=people, companies=companies, rivers=rivers)


@lru_cache(maxsize=1)
def _index(process: int) -> sqlite3.Connection:
    # one for each process: a connection must not be carried over a fork
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("CREATE VIRTUAL TABLE articles USING fts5(title, text, tokenize='porter')")
    rows = sorted(atlas().articles().items())
    connection.executemany("INSERT INTO articles VALUES (?, ?)", rows)
    return connection


def find(query: str, most: int = 3) -> list[tuple[str, str]]:
    """Return the articles that fit a query best, as (title, text), the best first.

    Any of the words may be in an article; sqlite's bm25 ranks, and the title breaks ties. Words are
    quoted, so that nothing in a query is read as FTS5's syntax.
    """
    words = ["".join(sign for sign in word if sign.isalnum()) for word in query.split()[:32]]
    asked = " OR ".join(f'"{word[:64]}"' for word in words if word)
    if not asked:
        return []
    found = _index(os.getpid()).execute(
        "SELECT title, text FROM articles WHERE articles MATCH ? ORDER BY bm25(articles), title "
        "LIMIT ?",
        (asked, most),
    )
    return [(str(title), str(text)) for title, text in found]
