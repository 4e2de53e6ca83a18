"""code/functions-v0, code/stdio-v0 and code/test-driven-v0: programs judged by hidden tests."""

import json

import numpy as np

from proofgym.envs.env import Env
from proofgym.envs.library.code.families import Problem, draw
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.envs.tools.sandboxed import python_tool
from proofgym.verifiers import Message, Secret, Task, assistant, code_passes, tool_call

SHOWN = 2


def complete(rng: np.random.Generator, index: int) -> Task:
    """Ask for a function, and show two of its cases."""
    problem = draw(rng, index)
    examples = "\n".join(
        f"solve({', '.join(map(repr, arguments))}) gives {result!r}"
        for arguments, result in problem.cases[:SHOWN]
    )
    prompt = f"Write a Python function `solve` that returns {problem.text}.\n{examples}"
    return _task(prompt, problem, solution=problem.solution)


def read_and_print(rng: np.random.Generator, index: int) -> Task:
    """Ask for a program that reads JSON and prints JSON."""
    problem = draw(rng, index)
    arguments, result = problem.cases[0]
    prompt = (
        "Write a Python program. Its standard input is one line of JSON, a value x. It prints, as "
        f"JSON, {problem.text}, where the value is meant.\n"
        f"Example input: {json.dumps(arguments[0])}\nExample output: {json.dumps(result)}"
    )
    whole = f"import json\n{problem.solution}\nprint(json.dumps(solve(json.loads(input()))))\n"
    tests = [
        {"input": json.dumps(arguments[0]) + "\n", "output": json.dumps(result) + "\n"}
        for arguments, result in problem.cases
    ]
    return Task(
        id=problem.key,
        prompt=prompt,
        answer=Secret({"kind": "stdio", "tests": tests}),
        hidden={"solution": Secret(whole)},
        difficulty=problem.level,
    )


def guess_from_tests(rng: np.random.Generator, index: int) -> Task:
    """Ask for a function of which only the description is known; all its tests are hidden."""
    problem = draw(rng, index)
    prompt = (
        f"Write a Python function `solve` that returns {problem.text}. Try it with the python tool "
        "on cases of your own, then answer with it in a code block. The tests are hidden."
    )
    return _task(prompt, problem, solution=problem.solution)


def _task(prompt: str, problem: Problem, *, solution: str) -> Task:
    tests = [{"args": arguments, "expected": result} for arguments, result in problem.cases]
    return Task(
        id=problem.key,
        prompt=prompt,
        answer=Secret({"kind": "function", "entry_point": "solve", "tests": tests}),
        hidden={"solution": Secret(solution)},
        difficulty=problem.level,
    )


def show_solution(task: Task) -> str:
    """Say the solution in a code block."""
    return f"```python\n{task.hidden['solution'].reveal()}```"


def try_then_show(task: Task) -> list[Message]:
    """Run the solution once, then say it."""
    code = f"{task.hidden['solution'].reveal()}\nprint(solve.__name__)"
    return [assistant("", tool_call("python", code=code)), assistant(show_solution(task))]


class Functions(Env, id="code/functions-v0"):
    """Write a small Python function from its description and two examples.

    Hidden tests judge it in a sandbox, from outside the program.
    """

    tasks = generated(complete)
    rubric = code_passes()
    limits = Limits(turns=1, tool_calls=0, tokens=2048, seconds=180)
    oracle = show_solution


class Stdio(Env, id="code/stdio-v0"):
    """Write a Python program that reads standard input and prints its result."""

    tasks = generated(read_and_print)
    rubric = code_passes()
    limits = Limits(turns=1, tool_calls=0, tokens=2048, seconds=180)
    oracle = show_solution


class TestDriven(Env, id="code/test-driven-v0"):
    """Write a function that hidden tests judge, after trying it out in a sandbox."""

    __test__ = False  # pytest would take the name for a test's
    tasks = generated(guess_from_tests)
    tools = (python_tool(),)
    rubric = code_passes()
    limits = Limits(turns=8, tool_calls=8, tokens=4096, seconds=300)
    oracle = try_then_show
