"""reasoning-gym/NAME-v0: every data set of reasoning-gym, one environment each.

``pip install 'proofgym[reasoning-gym]'``. Problems are made and answers judged in worker processes
that can be killed; this process never imports reasoning-gym.
"""

import asyncio
import importlib.util
from functools import cache
from typing import Any

import numpy as np

from proofgym.envs.adapters.reasoning_gym_names import DATASETS
from proofgym.envs.env import Env
from proofgym.envs.errors import EnvError
from proofgym.envs.limits import Limits
from proofgym.envs.tasks import generated
from proofgym.verifiers import ErrorKind, Score, Secret, Task, Transcript, Verifier
from proofgym.verifiers.pool import Outcome, Status, WorkerPool
from proofgym.verifiers.verifier import Runs

WORKER = "proofgym.envs.adapters.reasoning_gym_worker"
SYSTEM = "You may think first. Give the final answer alone between <answer> and </answer>."
POSE_S = 60.0
SCORE_S = 5.0
MAX_ANSWER = 20_000
NO_ORACLE = {
    "boxnet": "the answer is a plan that the data set does not work out",
    "graph_color": "any proper colouring is right, and the data set works none out",
    "propositional_logic": "any valid conclusion is right, and the data set names none",
    "rubiks_cube": "any sequence that solves the cube is right, and the data set names none",
    "rush_hour": "any sequence that frees the car is right, and the data set names none",
}
"""Data sets that come without answers, so that their environments have no oracle."""


@cache
def _pool() -> WorkerPool:
    if importlib.util.find_spec("reasoning_gym") is None:
        raise EnvError(
            "expected reasoning-gym to be installed, got no such package. Run: "
            "pip install 'proofgym[reasoning-gym]'"
        )
    return WorkerPool(size=2, limit_s=SCORE_S, memory_mib=4096, preload=(WORKER,))


class UpstreamScore(Verifier):
    """What the data set's own scorer gives for the text between the answer tags."""

    runs = Runs.POOL

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        self.name = f"reasoning_gym[{dataset}]"

    def check(self, task: Task, transcript: Transcript) -> Score:
        """Judge one transcript in a worker."""
        answer = answer_in(transcript.final_text)
        if answer is None:
            return Score(value=0.0, solved=False, evidence="no text between <answer> tags")
        seed, question = task.data["seed"], str(task.prompt)
        job = (f"{WORKER}:score", self.dataset, seed, question)
        outcome = _pool().run(*job, answer)
        if outcome.status is Status.OK:
            value = min(1.0, max(0.0, float(outcome.value)))
            return Score(
                value=value, solved=value >= 1.0, evidence=f"{value:g}", extracted=answer[:200]
            )
        return self._not_scored(outcome, _pool().run(*job, "0", limit_s=POSE_S), answer)

    def _not_scored(self, outcome: Outcome, control: Outcome, answer: str) -> Score:
        """Tell an answer that brings its scorer down from a scorer that does not work."""
        if control.status is Status.OK and outcome.status is not Status.RAISED:
            evidence = f"the answer brought its scorer down: {outcome.message}"
            return Score(value=0.0, solved=False, evidence=evidence, extracted=answer[:200])
        kind = ErrorKind.CRASHED if outcome.status is Status.RAISED else ErrorKind.LOST
        return Score.unscored(kind, f"{self.name}: {outcome.message}. Control: {control.message}")

    async def acheck(self, task: Task, transcript: Transcript) -> Score:
        """Judge in a worker, and wait without blocking."""
        return await asyncio.to_thread(self.check, task, transcript)


def answer_in(text: str) -> str | None:
    """Return what stands between the last answer tags, stripped; None without them."""
    head, closing, _ = text.rpartition("</answer>")
    _, opening, answer = head.rpartition("<answer>")
    if not (closing and opening) or len(answer) > MAX_ANSWER:
        return None
    return answer.strip("\n\r\t ") if answer.strip() else None


def tag_answer(task: Task) -> str:
    """Say the data set's own answer."""
    assert task.answer is not None
    return f"<answer>{task.answer.reveal()}</answer>"


class _Poser:
    """Make the problems of one data set."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset

    def __call__(self, rng: np.random.Generator, index: int) -> Task:
        seed = int(rng.integers(2**31))
        made = _pool().run(f"{WORKER}:pose", self.dataset, seed, limit_s=POSE_S)
        if made.status is not Status.OK:
            raise EnvError(f"reasoning-gym made no problem of {self.dataset!r}: {made.message}")
        found: dict[str, Any] = made.value
        return Task(
            id=f"{self.dataset}-{seed}",
            prompt=found["question"],
            answer=None if found["answer"] is None else Secret(found["answer"]),
            data={"seed": seed},
        )


def environment_of(dataset: str) -> type[Env]:
    """Declare the environment of one data set."""
    body: dict[str, Any] = {
        "__doc__": f"reasoning-gym's {dataset.replace('_', ' ')}, judged by its own scorer.",
        "__module__": __name__,
        "system": SYSTEM,
        "tasks": generated(_Poser(dataset)),
        "rubric": UpstreamScore(dataset),
        "limits": Limits(turns=1, tool_calls=0, tokens=4096, seconds=300),
        "oracle": None if dataset in NO_ORACLE else staticmethod(tag_answer),
    }
    metaclass: Any = type(Env)
    made: type[Env] = metaclass(dataset, (Env,), body, id=f"reasoning-gym/{dataset}-v0")
    return made


# each under its own name, so that "module:Class" finds it, as gymnasium does
globals().update({name: environment_of(name) for name in DATASETS})
