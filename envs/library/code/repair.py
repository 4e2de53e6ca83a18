"""code/repair-v0: find and mend a fault in a small program, with a shell and files."""

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.code.families import draw
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import generated
from proofgym.envs.tools import tool
from proofgym.envs.tools.sandboxed import bash_tool
from proofgym.verifiers import Message, Secret, Task, assistant, code_passes, tool_call

_PROMPT = (
    "In your folder, solution.py has a function `solve` that should return {}. A test in "
    "test_solution.py fails. Mend solution.py with the tools; leave its name and what it takes. "
    "When you are done, say so. Other tests, which you cannot see, then decide."
)


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make a function with a fault, and a test that shows it."""
    problem = draw(rng, index)
    arguments, result = problem.cases[0]
    shown = _test_file([(arguments, result)])
    return Task(
        id=problem.key,
        prompt=_PROMPT.format(problem.text),
        answer=Secret(
            {"kind": "repository", "tests": {"test_hidden.py": _test_file(list(problem.cases))}}
        ),
        hidden={"solution": Secret(problem.solution)},
        data={"files": {"solution.py": problem.wrong, "test_solution.py": shown}},
        difficulty=problem.level,
    )


def _test_file(cases: list[tuple[list[object], object]]) -> str:
    lines = ["import unittest", "", "from solution import solve", "", ""]
    lines += ["class Cases(unittest.TestCase):"]
    for number, (arguments, result) in enumerate(cases):
        said = ", ".join(map(repr, arguments))
        lines += [
            f"    def test_{number}(self):",
            f"        self.assertEqual(solve({said}), {result!r})",
        ]
    return "\n".join(lines) + "\n"


def mend(task: Task) -> list[Message]:
    """Read both files, write the right program, and say that it is done."""
    look = tool_call("bash", command="cat solution.py test_solution.py")
    write = tool_call("write_file", path="solution.py", text=task.hidden["solution"].reveal())
    return [assistant("", look), assistant("", write), assistant("It is mended.")]


class Repair(Env, id="code/repair-v0"):
    """Mend a faulty function in a sandbox with a shell and files, over many turns.

    A failing test is there to be run. Hidden tests judge the files that are left in the end.
    """

    tasks = generated(pose)
    tools = (bash_tool(),)
    rubric = code_passes()
    limits = Limits(turns=16, tool_calls=24, tokens=8192, seconds=600)
    oracle = mend

    async def start(self, episode: Session) -> None:
        """Put the faulty program and its test into the sandbox."""
        box = await episode.abox()
        files: dict[str, str] = episode.task.data["files"]
        await box.upload({name: text.encode() for name, text in files.items()})

    @tool
    async def write_file(self, path: str, text: str, episode: Session) -> str:
        """Write a file of the folder.

        Args:
            path: such as solution.py
            text: all that it will hold.
        """
        box = await episode.abox()
        await box.write(path, text.encode("utf-8", "replace"))
        return f"wrote {len(text)} characters to {path}"
