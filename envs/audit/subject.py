"""What an attacker may know of one task: its answer, how answers look, and other tasks' answers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proofgym.envs.env import Env
from proofgym.verifiers import Message, Role, Secret, Task

MAX_SCRIPT = 200
SHORT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One task under attack.

    Args:
        task: the problem.
        prompt: all its text.
        gold: the answer where it is one short text or number, else None.
        said: the oracle's last message, where it says everything in one script.
        others: other tasks' answers as texts, each different from this one's.
        other_scripts: what the oracle says last in other tasks.
    """

    task: Task
    prompt: str
    gold: str | None
    said: str | None
    others: tuple[str, ...]
    other_scripts: tuple[str, ...]

    @property
    def wraps(self) -> Sequence[Callable[[str], str]]:
        """Ways to write an answer: bare, and as the oracle writes it around the gold answer."""
        if not self.is_answer or self.said is None or self.gold is None:
            return (_bare,)
        head, _, tail = self.said.rpartition(self.gold)
        if not (head or tail):
            return (_bare,)
        return (_bare, lambda text: f"{head}{text}{tail}")

    @property
    def is_answer(self) -> bool:
        """Whether the gold answer is what the oracle says, alone or within its text."""
        return self.gold is not None and self.said is not None and self.gold in self.said


def _bare(text: str) -> str:
    return text


def plain_gold(task: Task) -> str | None:
    """Return a task's answer as text where it is one short text or number."""
    gold = None if task.answer is None else task.answer.reveal()
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        return None
    text = str(gold).strip()
    return text if 0 < len(text) <= SHORT else None


def secrets_of(task: Task) -> tuple[str, ...]:
    """Return every secret of a task as text, long collections as their JSON."""
    held = [*([] if task.answer is None else [task.answer]), *task.hidden.values()]
    return tuple(text for secret in held for text in _texts(secret))


def _texts(secret: Secret[Any]) -> list[str]:
    value = secret.reveal()
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, str | int | float):
        return [str(value).strip()] if str(value).strip() else []
    if isinstance(value, Mapping | list | tuple):
        text = json.dumps(value, default=str, ensure_ascii=False)
        return [text, str(value)] if len(text) > 12 else []
    return []


def subjects(env: type[Env], tasks: Sequence[Task]) -> list[Subject]:
    """Gather what is known of each task."""
    golds = [plain_gold(task) for task in tasks]
    scripts = [_last_words(env, task) for task in tasks]
    found = []
    for task, gold, said in zip(tasks, golds, scripts, strict=True):
        others = dict.fromkeys(one for one in golds if one is not None and one != gold)
        apart = [
            text
            for other, text in zip(tasks, scripts, strict=True)
            if text and text != said and not _same_secrets(task, other)
        ]
        found.append(
            Subject(
                task=task,
                prompt="\n".join(message.content for message in task.messages),
                gold=gold,
                said=said,
                others=tuple(others),
                other_scripts=tuple(dict.fromkeys(apart)),
            )
        )
    return found


def _same_secrets(one: Task, two: Task) -> bool:
    return one.answer == two.answer and dict(one.hidden) == dict(two.hidden)


def _last_words(env: type[Env], task: Task) -> str | None:
    """Ask the oracle for an answer at once: None where it looks at replies or calls tools first."""
    script = env.oracle
    if script is None:
        return None
    said: list[Message] = list(task.messages)
    try:
        message = script(task, said)
    except Exception:  # noqa: BLE001  # an oracle that needs replies, or a broken one: seen elsewhere
        return None
    if message.role is not Role.ASSISTANT or message.tool_calls:
        return None
    return str(message.content)
