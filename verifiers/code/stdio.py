"""Programs that read input and print output, in Python and other languages."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from proofgym.sandboxes import Limits, Result, SharedPools, Status
from proofgym.verifiers.code.calls import ENDED, START_S
from proofgym.verifiers.code.findings import Finding, Findings
from proofgym.verifiers.code.spec import CodeLimits, Language

RELATIVE = 1e-6
COMPILE_S = 30.0
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)(e[+-]?\d+)?", re.IGNORECASE)
Run = Callable[[bytes, Limits], Awaitable[Result]]

# language -> file name, how it is compiled (None: not at all), how it is run
_RECIPES: Mapping[Language, tuple[str, list[str] | None, list[str]]] = {
    Language.C: ("main.c", ["gcc", "-O2", "-o", "main", "main.c", "-lm"], ["./main"]),
    Language.CPP: ("main.cpp", ["g++", "-O2", "-std=c++17", "-o", "main", "main.cpp"], ["./main"]),
    Language.JAVASCRIPT: ("main.js", None, ["node", "main.js"]),
    Language.SHELL: ("main.sh", None, ["bash", "main.sh"]),
}


async def run_stdio(
    pools: SharedPools,
    program: str,
    language: Language,
    tests: Sequence[Mapping[str, Any]],
    limits: CodeLimits,
    *,
    stop_early: bool,
) -> Findings:
    """Judge a program by what it prints, one process a test."""
    layer = f"stdio {language.value}"
    if language is Language.PYTHON:

        async def run(stdin: bytes, chosen: Limits) -> Result:
            return await pools.programs.python(program, stdin=stdin, limits=chosen)

        return await _all_tests(run, tests, limits, stop_early=stop_early, layer=layer)
    name, compiled, command = _RECIPES[language]
    async with pools.pair_turns, pools.judges.acquire(limits.run(COMPILE_S)) as box:
        tool = (compiled or command)[0]
        if not (await box.exec(["/bin/sh", "-c", f"command -v {tool}"])).ok:
            broken = f"{language.value} cannot be run here: the sandbox has no {tool}"
            return Findings(tests=(), total=len(tests), layer=layer, broken=broken)
        await box.write(name, program.encode(errors="replace"))
        if compiled is not None:
            built = await box.exec(compiled, limits=limits.run(COMPILE_S))
            if not built.ok:
                why = f"did not compile: {built.stderr.strip():.300}"
                failed = Finding(label="compiling", passed=False, why=why)
                return Findings(tests=(failed,), total=len(tests), layer=layer)

        async def run_built(stdin: bytes, chosen: Limits) -> Result:
            return await box.exec(command, stdin=stdin, limits=chosen)

        return await _all_tests(run_built, tests, limits, stop_early=stop_early, layer=layer)


async def _all_tests(
    run: Run,
    tests: Sequence[Mapping[str, Any]],
    limits: CodeLimits,
    *,
    stop_early: bool,
    layer: str,
) -> Findings:
    began = time.monotonic()
    found: list[Finding] = []
    for number, test in enumerate(tests, start=1):
        left = min(limits.test_s, limits.total_s - (time.monotonic() - began))
        why = "no time was left"
        if left > 0:
            result = await run(test["input"].encode(errors="replace"), limits.run(left + START_S))
            why = _why_wrong(result, test["output"])
        visible = bool(test.get("visible"))
        found.append(Finding(label=f"test {number}", passed=not why, why=why, visible=visible))
        if why and stop_early:
            break
    return Findings(tests=tuple(found), total=len(tests), layer=layer)


def _why_wrong(result: Result, expected: str) -> str:
    """Say what was wrong; empty for a right output of a program that ended well."""
    if result.status in ENDED:
        return ENDED[result.status]
    if result.status is not Status.OK:
        last = result.stderr.strip().rpartition("\n")[2]
        return f"ended with exit code {result.exit_code}: {last:.200}"
    if same_output(result.stdout, expected):
        return ""
    return f"printed {result.stdout[:120]!r}, expected {expected[:120]!r}"


def same_output(printed: str, expected: str) -> bool:
    """Compare outputs line by line.

    White space at the end of lines and of the whole, and how lines end, do not count. A number
    that is expected with a decimal point is met within 1e-6 of its size; all else as it is.
    """
    ours, theirs = _lines(printed), _lines(expected)
    return len(ours) == len(theirs) and all(map(_same_line, ours, theirs))


def _lines(text: str) -> list[str]:
    lines = [line.rstrip(" \t") for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_line(printed: str, expected: str) -> bool:
    if printed == expected:
        return True
    if "." not in expected and "e" not in expected.lower():
        return False
    ours, theirs = printed.split(" "), expected.split(" ")
    return len(ours) == len(theirs) and all(map(_same_word, ours, theirs))


def _same_word(printed: str, expected: str) -> bool:
    if printed == expected:
        return True
    inexact = "." in expected or "e" in expected.lower()
    if not inexact or len(printed) > 400 or len(expected) > 400:
        return False
    if not (_DECIMAL.fullmatch(printed) and _DECIMAL.fullmatch(expected)):
        return False
    return math.isclose(float(printed), float(expected), rel_tol=RELATIVE, abs_tol=1e-12)
