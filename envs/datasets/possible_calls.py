"""BFCL's gold answers: calls whose arguments may each have one of several values."""

from collections.abc import Mapping, Sequence
from typing import Any

from proofgym.verifiers import Score, Task, Transcript, Verifier
from proofgym.verifiers.exact import no_gold
from proofgym.verifiers.strict_json import JsonRefusedError, load_json
from proofgym.verifiers.tool_trace import same

MAX_CALLS = 32


class PossibleCalls(Verifier):
    """Compare the calls said or made with those that are possible; see :func:`possible_calls`."""

    name = "possible_calls"

    def check(self, task: Task, transcript: Transcript) -> Score:
        """Judge one transcript."""
        if task.answer is None:
            return no_gold(task, self.name)
        wanted = [(name, values) for call in task.answer.reveal() for name, values in call.items()]
        made = [
            {"name": call.name, "arguments": _read(call.arguments)}
            for call in transcript.tool_calls
        ]
        said = made or _read(transcript.final_text)
        if not isinstance(said, list) or not 0 < len(said) <= MAX_CALLS:
            return Score(value=0.0, solved=False, evidence="no JSON list of calls")
        left = list(wanted)
        for call in said:
            match = next((one for one in left if _fits(call, *one)), None)
            if match is None:
                return Score(value=0.0, solved=False, evidence=f"not asked for: {call!r:.200}")
            left.remove(match)
        missing = ", ".join(name for name, _ in left)
        evidence = f"missing: {missing}" if missing else f"all {len(wanted)} calls"
        return Score(value=float(not left), solved=not left, evidence=evidence)


def possible_calls() -> PossibleCalls:
    """Pay 1 for the calls that are needed, in any order and no other ones.

    The answer is BFCL's ``ground_truth``: ``[{name: {argument: [possible values]}}]``, where ""
    among the values says that the argument may be left out. Texts are compared as BFCL does,
    without case, white space and the marks ``,./-_*^``. The calls are the transcript's
    tool calls, or the final text as a JSON list of ``{"name": ..., "arguments": {...}}``.
    """
    return PossibleCalls()


def _read(text: str) -> Any:
    stripped = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        return load_json(stripped)
    except JsonRefusedError:
        return None


def _fits(call: Any, name: str, wanted: Mapping[str, Sequence[Any]]) -> bool:
    if not isinstance(call, Mapping) or set(call) != {"name", "arguments"}:
        return False
    arguments = call["arguments"]
    if call["name"] != name or not isinstance(arguments, Mapping):
        return False
    if any(key not in wanted for key in arguments):
        return False
    return all(
        any(_same(value, arguments[key]) for value in values) if key in arguments else "" in values
        for key, values in wanted.items()
    )


def _same(wanted: Any, given: Any) -> bool:
    if isinstance(wanted, str) and isinstance(given, str):
        return _bare(wanted) == _bare(given)
    if isinstance(wanted, list) and isinstance(given, list):
        return len(wanted) == len(given) and all(map(_same, wanted, given))
    if isinstance(wanted, Mapping) and isinstance(given, Mapping):
        # an object's values are lists of possible ones too
        return _fits({"name": "", "arguments": given}, "", wanted)
    return same(wanted, given)


def _bare(text: str) -> str:
    table = str.maketrans("", "", " ,./-_*^")
    return text.lower().translate(table).replace("'", '"')
