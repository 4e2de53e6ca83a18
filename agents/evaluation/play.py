"""Play an evaluation's attempts: every task so many times, each with a seed of its own."""

from collections.abc import Callable, Sequence

from proofgym.agents.driver import Assignment, Player
from proofgym.envs import Episode, derive
from proofgym.verifiers import Task


def attempts_at(tasks: Sequence[Task], *, attempts: int, seed: int) -> list[Assignment]:
    """List every attempt at every task; the attempt's index is part of its seed."""
    return [
        Assignment(
            task=task,
            seed=derive(seed, "eval", number, task.id, attempt),
            group=number,
            rollout=attempt,
        )
        for number, task in enumerate(tasks)
        for attempt in range(attempts)
    ]


async def evaluate(
    driver: Player,
    tasks: Sequence[Task],
    *,
    attempts: int,
    seed: int,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Play every task so many times."""
    return await driver.run(attempts_at(tasks, attempts=attempts, seed=seed), on_episode)
