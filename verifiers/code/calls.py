"""Independent calls of one function: all in one run, those that it did not reach one by one."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from proofgym.sandboxes import Result, SharedPools, Status
from proofgym.verifiers.code import claims
from proofgym.verifiers.code.bootstrap import bootstrap
from proofgym.verifiers.code.findings import Finding, Findings
from proofgym.verifiers.code.spec import CodeLimits
from proofgym.verifiers.code.statements import CallTest

START_S = 0.3  # of the sandbox and our side, on a busy machine

ENDED = {
    Status.TIMEOUT: "took too long",
    Status.MEMORY: "used too much memory",
    Status.PIDS: "started too many processes",
    Status.OUTPUT_LIMIT: "printed too much",
    Status.KILLED: "was killed",
}


async def run_calls(
    pools: SharedPools,
    program: str,
    entry: str,
    tests: Sequence[CallTest],
    limits: CodeLimits,
    *,
    stop_early: bool,
    layer: str,
) -> Findings:
    """Judge a program by calls that do not depend on one another.

    All calls share one run of at most ``test_s``, in an order that the program cannot know
    beforehand. Those without a claim then are run alone, each for at most ``test_s``.
    """
    began = time.monotonic()
    order = _order(tests)
    found: dict[int, Finding] = {}
    batch, why = await _run(pools, program, entry, [tests[i] for i in order], limits, limits.test_s)
    for position, claim in enumerate(batch):
        number = order[position]
        found[number] = _finding(tests[number], claim, "")
    single = len(tests) == 1
    for number in order:
        if number in found:
            continue
        if stop_early and not all(finding.passed for finding in found.values()):
            break
        left = limits.total_s - (time.monotonic() - began)
        if single or left <= 0 or (not batch and why.startswith("did not load")):
            found[number] = _finding(tests[number], None, why or "no time was left")
            continue
        alone, why = await _run(
            pools, program, entry, [tests[number]], limits, min(left, limits.test_s)
        )
        found[number] = _finding(tests[number], alone[0] if alone else None, why)
    ordered = tuple(found[number] for number in sorted(found))
    return Findings(tests=ordered, total=len(tests), layer=layer)


def _order(tests: Sequence[CallTest]) -> list[int]:
    """Shuffle, so that no program answers by counting; equal calls mean state, and keep order."""
    numbers = list(range(len(tests)))
    if len({json.dumps(test.form) for test in tests}) == len(tests):
        secrets.SystemRandom().shuffle(numbers)
    return numbers


async def _run(
    pools: SharedPools,
    program: str,
    entry: str,
    tests: Sequence[CallTest],
    limits: CodeLimits,
    wall_s: float,
) -> tuple[list[dict[str, Any]], str]:
    """Run calls; return the claims that came, in order, and why the rest did not."""
    nonce = secrets.token_hex(16)
    job = {
        "source": program,
        "entry": entry,
        "calls": [test.form for test in tests],
        "nonce": nonce,
    }
    code = (
        f"{bootstrap('judged_side')}\nimport json\n"
        "_proofgym['run_calls'](json.loads(sys.stdin.buffer.read()))\n"
    )
    stdin = json.dumps(job).encode()
    result = await pools.programs.python(code, stdin=stdin, limits=limits.run(wall_s + START_S))
    said = claims.read_claims(result.stdout_bytes, nonce)
    if not said:
        return [], why_nothing(result)
    if claims.returned(said[0]) is None:
        return [], f"did not load: {claims.told(said[0])}"
    if len(said) > len(tests) + 1:
        return [], "sent more results than were asked for"
    return said[1:], why_nothing(result)


def why_nothing(result: Result) -> str:
    """Say why a run sent no (further) claim."""
    if result.status in ENDED:
        return ENDED[result.status]
    return "ended before it gave a result"


def _finding(test: CallTest, claim: dict[str, Any] | None, why: str) -> Finding:
    if test.holds(claim):
        return Finding(label=test.label, passed=True, visible=test.visible)
    said = why if claim is None and why else claims.told(claim)
    return Finding(
        label=test.label, passed=False, why=f"{test.source}: {said}", visible=test.visible
    )
