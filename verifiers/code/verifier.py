"""The verifier: a rubric part that pays for a program that passes its tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from proofgym.sandboxes import (
    SandboxError,
    SandboxLost,
    SandboxSpec,
    SandboxTimeout,
    SharedPools,
    Workspace,
    shared_sandboxes,
)
from proofgym.verifiers.code.calls import run_calls
from proofgym.verifiers.code.claims import encode
from proofgym.verifiers.code.dialogue import run_files, run_statements
from proofgym.verifiers.code.findings import Finding, Findings
from proofgym.verifiers.code.program import program_of
from proofgym.verifiers.code.spec import CodeLimits, CodeTests, Kind, read_tests
from proofgym.verifiers.code.statements import CallTest, Check, only_call, take_apart
from proofgym.verifiers.code.stdio import run_stdio
from proofgym.verifiers.errors import BadTaskError
from proofgym.verifiers.exact import no_gold
from proofgym.verifiers.message import assistant
from proofgym.verifiers.score import ErrorKind, Score
from proofgym.verifiers.secret import Secret
from proofgym.verifiers.task import Task
from proofgym.verifiers.transcript import Transcript
from proofgym.verifiers.verifier import Runs, Verifier


class Credit(StrEnum):
    """What a program that passes some of its tests is worth."""

    ALL = "all"  # 1 for all of them, else 0
    FRACTION = "fraction"  # the share that passed


class CodePasses(Verifier):
    """Judge a program by tests; see :func:`code_passes`."""

    name = "code_passes"
    runs = Runs.SANDBOX

    def __init__(
        self,
        *,
        credit: Credit,
        limits: CodeLimits,
        sandbox: SandboxSpec,
        extract: Callable[[str], str],
    ) -> None:
        self.credit, self.limits, self.sandbox = credit, limits, sandbox
        self.extract = extract

    def check(self, task: Task, transcript: Transcript) -> Score:
        """Judge one transcript, blocking."""
        if task.answer is None:
            return no_gold(task, self.name)
        program = self.extract(transcript.final_text)
        shared = shared_sandboxes()
        return shared.wait(self._judge(task.answer.reveal(), program, transcript.workspace))

    async def acheck(self, task: Task, transcript: Transcript) -> Score:
        """Judge one transcript without blocking the event loop."""
        if task.answer is None:
            return no_gold(task, self.name)
        program = self.extract(transcript.final_text)
        shared = shared_sandboxes()
        return await shared.across(self._judge(task.answer.reveal(), program, transcript.workspace))

    def judge(self, program: str, tests: object) -> Score:
        """Judge one program by tests in the shape of a task's answer, blocking."""
        task = Task(id="program", prompt="", answer=Secret(tests))
        verbatim = CodePasses(
            credit=self.credit, limits=self.limits, sandbox=self.sandbox, extract=str
        )
        return verbatim.score(task, Transcript(messages=(assistant(program),)))

    async def _judge(self, gold: object, program: str, workspace: Workspace | None) -> Score:
        """Judge on the shared loop; once more where a sandbox was lost under it."""
        began = time.perf_counter()
        try:
            tests = read_tests(gold)
            pools = await shared_sandboxes().pools(self.sandbox)
            try:
                found = await self._run(pools, tests, program, workspace)
            except (SandboxLost, SandboxTimeout):
                found = await self._run(pools, tests, program, workspace)
        except BadTaskError as error:
            return Score.unscored(ErrorKind.BAD_GOLD, str(error), extracted=program)
        except SandboxError as error:
            return Score.unscored(
                ErrorKind.LOST, f"{type(error).__name__}: {error}", extracted=program
            )
        return self._score(found, program, time.perf_counter() - began)

    async def _run(
        self, pools: SharedPools, tests: CodeTests, program: str, workspace: Workspace | None
    ) -> Findings:
        stop_early, limits = self.credit is Credit.ALL, self.limits
        if tests.kind is Kind.STDIO:
            return await run_stdio(
                pools, program, tests.language, tests.tests, limits, stop_early=stop_early
            )
        if tests.kind is Kind.FILES:
            return await run_files(pools, program, tests.files, limits, module=tests.module)
        if tests.kind is Kind.REPOSITORY:
            if workspace is None:
                raise BadTaskError("expected an episode with a sandbox for tests of a repository.")
            files = await workspace.files()
            if files is None:
                failed = Finding(label="workspace", passed=False, why="nothing was written")
                return Findings(tests=(failed,), total=1, layer="files by dialogue")
            where = (files, tests.root)
            return await run_files(pools, None, tests.files, limits, workspace=where)
        if tests.kind is Kind.FUNCTION:
            entry, layer = tests.entry_point, "function"
            calls: list[CallTest] | None = _function_tests(tests)
        else:
            entry, layer = tests.entry_point or only_call(tests.tests), "asserts by calls"
            calls = take_apart(tests.tests, entry)
        if calls is None:
            return await run_statements(
                pools, program, entry, tests.tests, limits, stop_early=stop_early
            )
        return await run_calls(
            pools, program, entry, calls, limits, stop_early=stop_early, layer=layer
        )

    def _score(self, found: Findings, program: str, seconds: float) -> Score:
        if found.broken:
            return Score.unscored(
                ErrorKind.BAD_GOLD, found.broken, extracted=program, layer=found.layer
            )
        solved = found.passed == len(found.tests) == found.total
        value = float(solved)
        if self.credit is Credit.FRACTION and not solved:
            value = min(found.passed, found.total - 1) / max(found.total, 1)
        evidence = f"{found.passed} of {found.total} tests passed"
        failed = next((test for test in found.tests if not test.passed), None)
        if failed is not None:
            evidence += f"; {failed.label} failed: {failed.why}"
        parts: dict[str, float | None] = {self.name: value}
        for word, visible in (("visible", True), ("hidden", False)):
            group = [test.passed for test in found.tests if test.visible is visible]
            if group and any(test.visible for test in found.tests):
                parts[f"{self.name}/{word}"] = sum(group) / len(group)
        return Score(
            value=value,
            solved=solved,
            parts=parts,
            evidence=evidence,
            extracted=program,
            layer=found.layer,
            seconds=seconds,
        )


def code_passes(
    *,
    credit: Credit | str = Credit.ALL,
    limits: CodeLimits | None = None,
    sandbox: SandboxSpec | None = None,
    extract: Callable[[str], str] = program_of,
) -> CodePasses:
    """Pay for a program that passes the task's hidden tests, run in a sandbox.

    The task's answer holds the tests: ``{"kind": "asserts" | "function" | "stdio" | "files" |
    "repository", "tests": ..., "entry_point": ..., "language": ...}``, or only a list of asserts.
    Tests and expected results never enter the process that is judged: it gets arguments or input,
    and what it sends back is compared outside, as plain data of exact types. Tests that are
    programs themselves run in a second sandbox, where the program's functions and classes are
    stand-ins.

    Tests of a "repository" judge the modules that the policy left in the episode's sandbox: a copy
    of the files is imported beside them, so that no file or process of the policy meets a test.

    What a class under test says of its own objects (``==`` between two of them) is believed, as
    far as ``==`` and ``!=`` agree: a test that asks nothing else is no stronger than that class.

    Args:
        credit: "all" pays 1 for all tests; "fraction" the share that passed.
        limits: of one test and of all.
        sandbox: where programs run.
        extract: finds the program in the policy's last message; the default takes the last fenced
            block, or all of it.
    """
    return CodePasses(
        credit=Credit(credit),
        limits=limits or CodeLimits(),
        sandbox=sandbox or SandboxSpec(),
        extract=extract,
    )


def _function_tests(tests: CodeTests) -> list[CallTest]:
    made: list[CallTest] = []
    for number, test in enumerate(tests.tests, start=1):
        try:
            arguments = [encode(item) for item in test["args"]]
            keywords = {str(k): encode(v) for k, v in test.get("kwargs", {}).items()}
        except (TypeError, AttributeError) as error:
            raise BadTaskError(f"expected args of test {number} to be JSON: {error}") from None
        shown = ", ".join(f"{item!r:.60}" for item in test["args"])
        made.append(
            CallTest(
                label=f"test {number}",
                source=f"{tests.entry_point}({shown:.150})",
                form=(arguments, keywords),
                check=Check.EQUALS_JSON,
                expected=test["expected"],
                visible=bool(test.get("visible")),
            )
        )
    return made
