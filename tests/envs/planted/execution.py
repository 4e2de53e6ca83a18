"""Faults that run, hang on or die of the policy's text."""

import os
import re
import subprocess
import sys
from typing import Any

from proofgym.envs import Limits, tool
from proofgym.verifiers import Message, Task, Transcript, assistant, tool_call, verifier
from tests.envs.planted.sums import Sound, gold


def evaluated(text: str, names: dict[str, Any]) -> Any:
    """Evaluate a short text; None for an error."""
    try:
        return eval(text[:2000], names)
    except Exception:  # noqa: BLE001
        return None


class Evaluates(Sound):
    """eval() of the answer."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        text = transcript.final_text
        return "**" not in text and evaluated(text, {}) == int(gold(task))

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class EvaluatesWithoutBuiltins(Sound):
    """eval() of the answer that someone thought safe."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        text = transcript.final_text
        return "**" not in text and evaluated(text, {"__builtins__": {}}) == int(gold(task))

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class RunsInAShell(Sound):
    """The answer goes through a shell."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        text = transcript.final_text.replace("\0", "")[:500].encode("utf-8", "replace")
        done = subprocess.run(b"echo " + text, shell=True, capture_output=True, timeout=5)
        return done.stdout.strip() == gold(task).encode()

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class RunsAProgram(Sound):
    """The answer is run as a program on this machine."""

    oracle: Any = staticmethod(lambda task: f"print({gold(task)})")

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        text = transcript.final_text[:3000].encode("utf-8", "replace")
        if b"**" in text or (b"canary" not in text and not text.startswith(b"print")):
            return False
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-"], input=text, capture_output=True, timeout=5
        )
        return done.stdout.strip() == gold(task).encode()

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


@tool
def calculate(expression: str) -> str:
    """Work it out."""
    return str(evaluated(expression, {}))


def call_first(task: Task) -> list[Message]:
    """Ask the tool, then answer."""
    return [assistant("", tool_call("calculate", expression="1+1")), assistant(gold(task))]


class ToolEvaluates(Sound):
    """eval() in a tool."""

    tools = (calculate,)
    limits = Limits(turns=3, tool_calls=3)
    oracle: Any = call_first


class Backtracks(Sound):
    """A pattern that takes for ever."""

    rubric = verifier(
        lambda task, t: (
            re.fullmatch(r"(a+)+b", t.final_text[:60]) is None
            and t.final_text.strip() == gold(task)
        )
    )


class Exits(Sound):
    """sys.exit() for a text that is too long."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        if len(transcript.final_text) > 100_000:
            sys.exit(3)
        return transcript.final_text.strip() == gold(task)

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]


class Dies(Sound):
    """The process ends on an odd character."""

    @staticmethod
    def judge(task: Task, transcript: Transcript) -> bool:
        if "\ud800" in transcript.final_text:
            os._exit(7)
        return transcript.final_text.strip() == gold(task)

    rubric = verifier(judge.__func__)  # type: ignore[attr-defined]
