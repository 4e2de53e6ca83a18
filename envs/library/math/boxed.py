"""How mathematical answers are asked for and written here."""

from proofgym.verifiers import Secret, Task

SYSTEM = "Solve the problem. You may think first. Put the final answer in \\boxed{}."


def problem(prompt: str, answer: str, *, difficulty: str, **data: object) -> Task:
    """Make a task whose id is its prompt: equal problems have equal ids."""
    return Task(
        id=prompt, prompt=prompt, answer=Secret(answer), difficulty=difficulty, data=dict(data)
    )


def boxed_answer(task: Task) -> str:
    """Say the answer in a box."""
    assert task.answer is not None
    return f"\\boxed{{{task.answer.reveal()}}}"
