"""What code is judged by: the kind of tests, the tests, and the limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from proofgym.sandboxes import Limits
from proofgym.verifiers.errors import BadTaskError


class Kind(StrEnum):
    """How a program is tested."""

    ASSERTS = "asserts"  # Python statements that use the program's names
    FUNCTION = "function"  # arguments and the expected result, as JSON
    STDIO = "stdio"  # input and expected output
    FILES = "files"  # unittest or pytest files that import the program
    REPOSITORY = "repository"  # the same, of the modules in the episode's sandbox


class Language(StrEnum):
    """What a program is written in; all but Python are judged by stdio only."""

    PYTHON = "python"
    C = "c"
    CPP = "cpp"
    JAVASCRIPT = "javascript"
    SHELL = "shell"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLimits:
    """What a program may use.

    Args:
        test_s: wall time of one test, the program's own loading included.
        total_s: wall time of all tests.
        memory_mib: of the program.
        output_bytes: of one run.
    """

    test_s: float = 6.0
    total_s: float = 30.0
    memory_mib: int = 512
    output_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        if not (0 < self.test_s <= self.total_s):
            raise ValueError(
                f"expected 0 < CodeLimits.test_s <= total_s, got {self.test_s} and {self.total_s}."
            )

    def run(self, wall_s: float) -> Limits:
        """Return the sandbox's limits for one run."""
        return Limits(
            wall_s=max(0.05, wall_s), memory_mib=self.memory_mib, output_bytes=self.output_bytes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTests:
    """The tests of one task; verifier-only.

    Args:
        kind: how they test.
        tests: statements; or mappings with ``args`` (``kwargs``) and ``expected``; or with
            ``input`` and ``output``; or file name -> text. A mapping's ``visible`` marks what the
            policy was shown; it is scored apart, as a part of its own.
        entry_point: the function, class or ``Class.method`` under test.
        language: of the program.
        module: what test files import the program as.
        root: the folder of a repository's modules, in the workspace.
    """

    kind: Kind
    tests: tuple[Any, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    entry_point: str = ""
    language: Language = Language.PYTHON
    module: str = "solution"
    root: str = "."


def read_tests(gold: object) -> CodeTests:
    """Read a task's tests: a mapping, a list of asserts, either as JSON, or asserts as text.

    Raises:
        BadTaskError: they are malformed; the message says what was expected.
    """
    if isinstance(gold, CodeTests):
        return gold
    if isinstance(gold, str):
        try:
            gold = json.loads(gold)
        except (ValueError, RecursionError):
            gold = [gold]  # statements as they are; whether they are Python is seen later
    if isinstance(gold, list | tuple):
        gold = {"kind": "asserts", "tests": list(gold)}
    if not isinstance(gold, Mapping):
        raise BadTaskError(f"expected tests as a mapping, got {type(gold).__name__}.")
    try:
        kind = Kind(gold.get("kind", "asserts"))
        language = Language(gold.get("language", "python"))
    except ValueError as error:
        raise BadTaskError(
            f"{error}. Kinds: {', '.join(Kind)}; languages: {', '.join(Language)}."
        ) from None
    tests = gold.get("tests")
    entry, module = gold.get("entry_point") or "", gold.get("module") or "solution"
    root = gold.get("root") or "."
    if not _texts([entry, module, root]):
        raise BadTaskError("expected entry_point, module and root to be text.")
    if language is not Language.PYTHON and kind is not Kind.STDIO:
        raise BadTaskError(f"expected kind stdio for {language}, got {kind}.")
    if kind in (Kind.FILES, Kind.REPOSITORY):
        if not isinstance(tests, Mapping) or not tests or not _texts(tests.values()):
            raise BadTaskError(f"expected tests of kind {kind} to be a mapping: name -> text.")
        return CodeTests(kind=kind, files=dict(tests), entry_point=entry, module=module, root=root)
    if isinstance(tests, str):
        tests = [tests]
    if not isinstance(tests, list | tuple) or not tests:
        raise BadTaskError(f"expected a list of tests, got {type(tests).__name__}.")
    needed = {Kind.FUNCTION: ("args", "expected"), Kind.STDIO: ("input", "output")}.get(kind)
    for number, test in enumerate(tests, start=1):
        if needed is None and not isinstance(test, str):
            raise BadTaskError(f"expected test {number} to be a statement's text.")
        if needed and not (isinstance(test, Mapping) and all(name in test for name in needed)):
            raise BadTaskError(f"expected test {number} to have {' and '.join(needed)}.")
        if kind is Kind.STDIO and not _texts([test["input"], test["output"]]):
            raise BadTaskError(f"expected input and output of test {number} to be text.")
        if kind is Kind.FUNCTION and not isinstance(test["args"], list | tuple):
            raise BadTaskError(f"expected args of test {number} to be a list.")
    if kind is Kind.FUNCTION and not entry:
        raise BadTaskError("expected entry_point to name the function under test.")
    return CodeTests(
        kind=kind, tests=tuple(tests), entry_point=entry, language=language, module=module
    )


def _texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)
