"""tools/python-v0: work with a real interpreter, in a sandbox of the episode's own."""

import hashlib

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import content_share, generated
from proofgym.envs.tools.sandboxed import python_tool
from proofgym.verifiers import Message, Secret, Task, assistant, exact, tool_call

HELDOUT = 0.15


def _digits(seed: int, count: int) -> str:
    """Return so many digits, which the prompt's short program gives too."""
    text = hashlib.shake_128(str(seed).encode()).hexdigest(count)
    return "".join(str(int(letter, 16) % 10) for letter in text)[:count]


def problem(rng: np.random.Generator, index: int) -> Task:
    """Pose a sum that nobody does in the head, over data that only a program can make."""
    seed, count = int(rng.integers(10**6)), int(rng.integers(20, 200))
    digits = _digits(seed, count)
    program = (
        "import hashlib\n"
        f"text = hashlib.shake_128(b'{seed}').hexdigest({count})\n"
        f"digits = ''.join(str(int(letter, 16) % 10) for letter in text)[:{count}]"
    )
    return Task(
        id=f"{seed}-{count}",
        prompt=f"Run this program, then answer with the sum of its digits, a bare number.\n"
        f"{program}",
        answer=Secret(str(sum(map(int, digits)))),
        data={"program": program},
    )


def _is_heldout(task: Task) -> bool:
    return content_share(str(task.prompt)) < HELDOUT


def _run_then_answer(task: Task, messages: object) -> Message:
    """Run the program and the sum, then say what came back."""
    last = list(messages)[-1]  # type: ignore[call-overload]  # a sequence of messages
    if last.role.value == "tool":
        return assistant(last.content.strip())
    return assistant("", tool_call("python", code=f"{task.data['program']}\nsum(map(int, digits))"))


class PythonSums(Env, id="tools/python-v0"):
    """Run a given program with Python, and answer with a number that it makes.

    The interpreter keeps its variables, so that a policy may run the program first and add up
    afterwards. Its sandbox is the episode's own.
    """

    tasks = generated(problem, heldout=_is_heldout)
    tools = (python_tool(stateful=True),)
    rubric = exact()
    limits = Limits(turns=6, tool_calls=6, tokens=1024, seconds=120)
    oracle = _run_then_answer
