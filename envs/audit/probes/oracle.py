"""Does the oracle get what the environment declares as best?"""

from statistics import median

from proofgym.envs.audit.ground import Ground, tasks_of
from proofgym.envs.audit.play import always
from proofgym.envs.tasks import Split


async def probe_oracle(ground: Ground) -> None:
    """Play the oracle on tasks of both splits."""
    cls, journal = ground.cls, ground.journal
    if cls.oracle is None:
        told = "there is no oracle: declare `oracle = ...`, so that the rewards can be checked"
        journal.record("oracle.declared", told)
        return
    journal.record("oracle.declared")
    resets, steps = [], []
    for split in Split:
        for number, task in enumerate(tasks_of(cls, split, ground.reach.oracle_tasks)):
            if not journal.begin(f"oracle.best/{split.value}/{number}"):
                continue
            played = await ground.play(task, cls.oracle)
            best = cls.bounds(task).best
            right = abs(played.total - best) <= 1e-9 and played.solved is True
            told = (
                f"{split.value} task {task.id!r:.60}: worth {played.total:g} with solved="
                f"{played.solved}, and the best is {best:g}. {played.error}"
            )
            journal.record("oracle.best", "" if right else told)
            if right:
                resets.append(played.reset_s)
                steps.append(played.step_s)
    if resets:
        journal.note(costs={"reset": 1e3 * median(resets), "step": 1e3 * median(steps)})
    for number, subject in enumerate(ground.attacked):
        if subject.said is None or ground.cls.limits.turns > 1:
            continue
        if journal.begin(f"oracle.whitespace/{number}"):
            loose = f"\n  {subject.said}\n\n"
            played = await ground.play(subject.task, always(loose))
            told = f"task {subject.task.id!r:.60}: {played.total:g} with white space around"
            journal.record("oracle.whitespace", "" if played.solved else told)
