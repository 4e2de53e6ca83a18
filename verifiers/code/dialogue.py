"""Tests that are programs themselves: they run in one sandbox, the judged program in another.

The host carries requests and claims between the two; see ``tests_side`` and ``judged_side``.
"""

from __future__ import annotations

import builtins
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from proofgym.sandboxes import Interpreter, Sandbox, SharedPools, Snapshot
from proofgym.verifiers.code import claims
from proofgym.verifiers.code.bootstrap import bootstrap
from proofgym.verifiers.code.calls import ENDED, START_S
from proofgym.verifiers.code.findings import Finding, Findings
from proofgym.verifiers.code.spec import CodeLimits
from proofgym.verifiers.code.statements import class_names, names_used

MOST_REQUESTS = 20_000
ROOM_MIB = 64
_SERVE = """
import json
_judged = _proofgym["Judged"]()
def _serve(nonce, text):
    request = json.loads(text)
    if request["op"] == "load":
        del request["op"]
        reply = _judged.attempt(lambda: _judged.load(**request))
    else:
        reply = _judged.answer(request)
    _judged.send(nonce, reply)
"""


class _Side:
    """One interpreter, and what a cell of it said last."""

    def __init__(self, session: Interpreter, limits: CodeLimits, deadline: float) -> None:
        self._session, self._limits, self._deadline = session, limits, deadline
        self.died = ""

    async def ask(self, call: str, value: object) -> dict[str, Any] | None:
        """Call a function of the side with a nonce and JSON; None where no one claim came."""
        nonce = secrets.token_hex(16)
        left = min(self._limits.test_s, self._deadline - time.monotonic())
        if left <= 0:
            self.died = "no time was left"
            return None
        text = f"{call}({nonce!r}, {json.dumps(value)!r})\n"
        result = await self._session.run(text, limits=self._limits.run(left + START_S))
        said = claims.read_claims(result.stdout_bytes, nonce)
        if result.state_lost or result.status in ENDED or len(said) != 1:
            self.died = ENDED.get(result.status, "ended before it gave a result")
            return None
        return said[0]


async def run_statements(
    pools: SharedPools,
    program: str,
    entry: str,
    statements: Sequence[str],
    limits: CodeLimits,
    *,
    stop_early: bool,
) -> Findings:
    """Judge a program by statements that run in order in one namespace."""
    names = names_used(statements)
    wanted = sorted(
        name for name in names | {entry.partition(".")[0]} if name == entry or not _builtin(name)
    )
    spec = {
        "statements": list(statements),
        "names": [name for name in wanted if name],
        "stop_early": stop_early,
        "classes": class_names(statements),
    }
    results, broken = await _converse(pools, program, spec, limits, files=None)
    labelled = tuple(
        Finding(
            label=f"test {int(label) + 1}" if isinstance(label, int) else str(label),
            passed=passed,
            why=why if passed else f"{_line(statements, label)}: {why}",
        )
        for label, passed, why in results
    )
    layer = "asserts by dialogue"
    if not broken and (missing := _missing_package(statements, results)):
        broken = missing
    return Findings(tests=labelled, total=len(statements), layer=layer, broken=broken)


async def run_files(
    pools: SharedPools,
    program: str | None,
    files: Mapping[str, str],
    limits: CodeLimits,
    *,
    module: str = "solution",
    workspace: tuple[Snapshot, str] | None = None,
) -> Findings:
    """Judge a program, or a workspace's modules, by test files that import them.

    Args:
        pools: where to run.
        program: imported as ``module``; None for none.
        files: the tests, name -> text; they stay on the tests' side.
        limits: of each request and of all.
        module: the program's name for the tests.
        workspace: files to put beside the program, and the folder of their modules.
    """
    spec = {"files": dict(files), "classes": class_names(list(files.values()))}
    results, broken = await _converse(pools, program, spec, limits, files=workspace, module=module)
    found = tuple(
        Finding(label=str(label), passed=passed, why=f"{label}: {why}" if why else "")
        for label, passed, why in results
    )
    if not found and not broken:
        broken = "the test files hold no test"
    return Findings(tests=found, total=len(found), layer="files by dialogue", broken=broken)


async def _converse(
    pools: SharedPools,
    program: str | None,
    spec: Mapping[str, Any],
    limits: CodeLimits,
    *,
    files: tuple[Snapshot, str] | None,
    module: str = "solution",
) -> tuple[list[tuple[Any, bool, str]], str]:
    """Run tests and program; return the results, and why the tests cannot judge, if so."""
    async with pools.pair_turns:
        box_limits = limits.run(limits.test_s)
        if files is not None:  # room for the workspace's files
            box_limits = replace(box_limits, disk_mib=ROOM_MIB + 2 * (files[0].size >> 20))
        async with (
            pools.judges.acquire(box_limits) as program_box,
            pools.judges.acquire(box_limits) as tests_box,
        ):
            deadline = time.monotonic() + limits.total_s
            if files is not None:
                await program_box.restore(files[0])
            judged = _Side(await _started(program_box, "judged_side", _SERVE), limits, deadline)
            if program is not None or files is not None:
                load = {"op": "load", "source": program or "", "module": module}
                load["root"] = files[1] if files is not None else "."
                loaded = await judged.ask("_serve", load)
                if loaded is None or claims.returned(loaded) is None:
                    why = judged.died or claims.told(loaded)
                    return [("loading", False, f"the program did not load: {why}")], ""
            begin = f"_proofgym['begin'](__import__('json').loads({json.dumps(spec)!r}))\n"
            begin += "def _step(nonce, text):\n    import json\n"
            begin += "    _proofgym['step'](nonce, json.loads(text))\n"
            tests = _Side(await _started(tests_box, "tests_side", begin), limits, deadline)
            return await _carry(judged, tests)


async def _started(box: Sandbox, side: str, more: str) -> Interpreter:
    session = await box.python_session()
    await session.run(f"{bootstrap(side)}\n{more}\nNone\n")
    return session


async def _carry(judged: _Side, tests: _Side) -> tuple[list[tuple[Any, bool, str]], str]:
    """Carry requests to the program and claims to the tests until they are done.

    Once the program is dead no later test passes, whatever the tests make of it.
    """
    reply: dict[str, Any] | None = None
    results: list[tuple[Any, bool, str]] = []
    passed_alive: int | None = None
    for _ in range(MOST_REQUESTS):
        request = await tests.ask("_step", reply)
        if request is None:
            results.append(("tests", False, f"the tests stood still: {tests.died}"))
            return results, ""
        results = [_result(row) for row in request.get("results", [])]
        if request.get("broken"):
            return results, str(request["broken"])
        if request["op"] == "done":
            if passed_alive is not None:
                results = [
                    (label, passed and number < passed_alive, why or judged.died)
                    for number, (label, passed, why) in enumerate(results)
                ]
                if len(results) == passed_alive:
                    results.append(("program", False, judged.died))
            return results, ""
        if not judged.died:
            reply = await judged.ask("_serve", {**request, "results": None, "broken": None})
        if judged.died:
            passed_alive = len(results) if passed_alive is None else passed_alive
            reply = {"dead": f"the program {judged.died}"}
    results.append(("tests", False, f"the tests made more than {MOST_REQUESTS} requests"))
    return results, ""


def _result(row: Sequence[Any]) -> tuple[Any, bool, str]:
    label, passed, why = row
    return label, bool(passed), str(why)


def _builtin(name: str) -> bool:
    return hasattr(builtins, name)


def _line(statements: Sequence[str], label: Any) -> str:
    return f"{statements[label]:.200}" if isinstance(label, int) else str(label)


def _missing_package(
    statements: Sequence[str], results: Sequence[tuple[Any, bool, str]]
) -> str:  # fmt: skip
    """Say which package the tests import and the sandbox lacks: not the program's fault."""
    for label, passed, why in results:
        text = statements[label].lstrip() if isinstance(label, int) else ""
        if not passed and text.startswith(("import ", "from ")) and "ModuleNotFoundError" in why:
            return f"the tests cannot be run here: {why}"
    return ""
