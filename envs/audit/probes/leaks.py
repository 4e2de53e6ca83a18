"""Can the policy read the answer?"""

import base64
import codecs
import json
import re
from collections.abc import Sequence

from proofgym.envs.audit.ground import Ground, junk_calls
from proofgym.envs.audit.play import always, in_turn, play
from proofgym.envs.audit.subject import Subject, secrets_of

_NO_TEXT = frozenset(("task_id", "episode_seed"))
OFTEN, MORE = 0.5, 0.4
"""In this share of tasks a task's own answers are found, and so much more often than others'."""


async def probe_leaks(ground: Ground) -> None:
    """Look for each task's secrets where the policy could read them.

    A number may stand in a prompt by chance, and a multiple-choice prompt holds every answer. So a
    leak is where a task's own secrets are found far more often than those of other tasks.
    """
    journal = ground.journal
    subjects = [subject for subject in ground.subjects if secrets_of(subject.task)]
    openings, replies, ids = [], [], []
    for number, subject in enumerate(subjects):
        if not journal.begin(f"leak.prompt/reading/{number}"):
            return
        env = ground.cls()
        try:
            _, info = env.reset(seed=1, options={"task": subject.task})
        except Exception:  # noqa: BLE001  # recorded by the contract's probe
            return
        info = {key: value for key, value in info.items() if key not in _NO_TEXT}
        openings.append(json.dumps(info, default=str, ensure_ascii=False))
        ids.append(subject.task.id)
        said = ""
        calls = list(junk_calls(ground.cls, "x 1"))
        for voice in (always("zq7 5"), *([in_turn(calls, "zq7")] if calls else [])):
            played = await play(ground.cls(), subject.task, voice)
            said += json.dumps(played.replies[:-1], default=str, ensure_ascii=False)
        replies.append(said)
    for check, texts in (
        ("leak.prompt", openings),
        ("leak.task-id", ids),
        ("leak.observation", replies),
    ):
        if subjects:
            journal.record(check, _leak(subjects, texts))


def _leak(subjects: Sequence[Subject], texts: Sequence[str]) -> str:
    secrets = [secrets_of(subject.task) for subject in subjects]
    own = [_holds(text, held) for text, held in zip(texts, secrets, strict=True)]
    apart = [
        _holds(texts[place], secrets[other])
        for place in range(len(texts))
        for other in range(len(texts))
        if secrets[place] != secrets[other]
    ]
    often = sum(own) / len(own)
    by_chance = sum(apart) / len(apart) if apart else (0.0 if len(own) < 2 else often)
    if often < OFTEN or often - by_chance < MORE:
        return ""
    example = subjects[own.index(True)].task.id
    return (
        f"found in {often:.0%} of {len(own)} tasks, such as {example!r:.60}; other tasks' answers "
        f"are in {by_chance:.0%}"
    )


def _holds(text: str, secrets: Sequence[str]) -> bool:
    folded = text.casefold()
    for secret in secrets:
        plain = secret.casefold()
        if len(plain) <= 200 and re.search(rf"(?<![\w.]){re.escape(plain)}(?![\w.]*\w)", folded):
            return True
        if len(plain) > 200 and plain in folded:
            return True
        hidden = _disguised(secret) if 5 <= len(secret) <= 2_000 else []
        if any(one.casefold() in folded for one in hidden):
            return True
    return False


def _disguised(secret: str) -> list[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    return [
        secret[::-1],
        base64.b64encode(raw).decode().rstrip("="),
        raw.hex(),
        codecs.encode(secret, "rot13"),
    ]
