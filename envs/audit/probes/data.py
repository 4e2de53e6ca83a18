"""Are the tasks what they should be?"""

from proofgym.envs.audit.ground import LISTED_TASKS, Ground, tasks_of
from proofgym.envs.env import Env
from proofgym.envs.tasks import Split
from proofgym.verifiers import Task


async def probe_data(ground: Ground) -> None:
    """Compare tasks with each other."""
    journal = ground.journal
    listed: dict[Split, list[Task]] = {}
    for split in Split:
        if not journal.begin(f"data.splits/{split.value}/0"):
            return
        listed[split] = tasks_of(ground.cls, split, LISTED_TASKS)
    train = {task.content_hash: task for task in listed[Split.TRAIN]}
    for task in listed[Split.HELDOUT]:
        told = f"held-out task {task.id!r:.60} is in the training split too"
        journal.record("data.splits", told if task.content_hash in train else "")
    by_id: dict[str, str] = {}
    by_prompt: dict[str, Task] = {}
    single = _is_single_turn(ground.cls)
    for task in (*listed[Split.TRAIN], *listed[Split.HELDOUT]):
        digest = task.content_hash
        told = f"id {task.id!r:.60} names two different tasks"
        journal.record("data.ids", told if by_id.setdefault(task.id, digest) != digest else "")
        if single:
            prompt = "\x1e".join(message.content for message in task.messages)
            other = by_prompt.setdefault(prompt, task)
            told = f"tasks {task.id!r:.40} and {other.id!r:.40} ask {prompt!r:.80}"
            apart = other.answer != task.answer or dict(other.hidden) != dict(task.hidden)
            journal.record("data.contradiction", told if apart else "")


def _is_single_turn(cls: type[Env]) -> bool:
    return cls._own_step is None and not cls.tools_by_name and cls.start is Env.start
