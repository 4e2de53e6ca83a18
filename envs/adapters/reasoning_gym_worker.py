"""reasoning-gym's generators and scorers, as a worker process runs them.

Only the pool's processes import this module. Nine of the scorers evaluate the answer's text
(``eval`` or sympy's ``parse_expr``, which is ``eval`` too): here they get functions that read the
same answers and run nothing.
"""

import ast
import importlib
import random
import re
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import reasoning_gym
import sympy
from sympy.parsing import sympy_parser

LITERALS = (
    "algorithmic.string_insertion",
    "algorithmic.spiral_matrix",
    "algorithmic.binary_matrix",
    "games.n_queens",
)
"""Modules whose scorer calls ``eval`` on the answer, where a list is meant."""
FORMULAS = (
    "algebra.simple_integration",
    "algebra.intermediate_integration",
    "algebra.polynomial_multiplication",
    "games.puzzle24",
    "games.countdown",
)
"""Modules whose scorer calls ``parse_expr`` on the answer."""
_MATHS = frozenset(
    (
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "exp",
        "log",
        "ln",
        "sqrt",
        "Abs",
        "pi",
        "E",
        "C",
    )
)
_NAME = re.compile(r"[A-Za-z]+")
_PLAIN = re.compile(r"[0-9A-Za-z\s+\-*/^().,]*")
MAX_CHARACTERS = 4_000


def _read_list(text: str) -> Any:
    return ast.literal_eval(text)


def read_formula(text: str, *args: Any, **kwargs: Any) -> Any:
    """Read a formula of numbers, one-letter variables and known functions, or raise ValueError.

    Anything else that sympy's own reader would run, it does not get to see: attributes, strings,
    brackets, other names.
    """
    names = _NAME.findall(text)
    if (
        len(text) > MAX_CHARACTERS
        or _PLAIN.fullmatch(text) is None
        or re.search(r"\.\s*[A-Za-z]", text)
        or any(len(name) > 1 and name not in _MATHS for name in names)
    ):
        raise ValueError("expected a formula of numbers, variables and known functions")
    return sympy_parser.parse_expr(text, *args, **kwargs)


class _SafeSympy(SimpleNamespace):
    """sympy, but for the one function."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sympy, name)


def _disarm() -> None:
    for name in LITERALS:
        module: Any = importlib.import_module(f"reasoning_gym.{name}")
        module.eval = _read_list
    safe = _SafeSympy(parse_expr=read_formula)
    for name in FORMULAS:
        module = importlib.import_module(f"reasoning_gym.{name}")
        for attribute in ("sympy", "sp"):
            if attribute in vars(module):
                setattr(module, attribute, safe)
        if "parse_expr" in vars(module):
            module.parse_expr = read_formula


_disarm()


@lru_cache(maxsize=256)
def _entry(name: str, seed: int) -> tuple[Any, dict[str, Any]]:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    dataset = reasoning_gym.create_dataset(name, seed=seed, size=1)
    return dataset, dataset[0]


def pose(name: str, seed: int) -> dict[str, Any]:
    """Make one problem: its question, and its answer where the data set knows one."""
    _, entry = _entry(name, seed)
    answer = entry["answer"]
    return {"question": entry["question"], "answer": None if answer is None else str(answer)}


def score(name: str, seed: int, question: str, answer: str) -> float:
    """Judge an answer as the data set does.

    What the scorer raises over the policy's text is the answer's own doing, and worth 0.

    Raises:
        ValueError: this process makes another problem of the seed than was posed.
    """
    dataset, entry = _entry(name, seed)
    if entry["question"] != question:
        raise ValueError(f"{name} made another problem of seed {seed} than the one that was posed")
    try:
        return float(dataset.score_answer(answer, entry))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # an answer that its scorer cannot read
        return 0.0


def names() -> list[str]:
    """The data sets that the installed version has."""
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS)
