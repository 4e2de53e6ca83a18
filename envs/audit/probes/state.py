"""Does an episode depend on anything but its task and seed?"""

import asyncio
import copy
from collections.abc import Sequence

from proofgym.envs.audit.ground import Ground
from proofgym.envs.audit.play import Play, Voice, always, go_on, play
from proofgym.envs.audit.probes.traces import voices
from proofgym.envs.audit.subject import Subject
from proofgym.verifiers import Message, Task


async def probe_state(ground: Ground) -> None:
    """Replay episodes after others, beside others, from snapshots and in forks."""
    again = ground.reach.replayed_tasks
    subjects = ground.subjects[: again + 1]
    for name, voice in voices(ground.cls):
        await _after_others(ground, subjects, name, voice)
        await _beside_another(ground, subjects, name, voice)
        for number, subject in enumerate(subjects[:again]):
            for turns in (0, 1):
                key = f"state.snapshot/{name} after {turns}/{number}"
                if ground.journal.begin(key):
                    told = await _from_a_snapshot(ground, subject.task, voice, turns)
                    ground.journal.record("state.snapshot", told)


async def _after_others(
    ground: Ground, subjects: Sequence[Subject], name: str, voice: Voice
) -> None:
    journal, env = ground.journal, ground.cls()
    for number, subject in enumerate(subjects[: ground.reach.replayed_tasks]):
        if not journal.begin(f"state.episodes/{name}/{number}"):
            continue
        task, whole = subject.task, copy.deepcopy(dict(subject.task.data))
        before = task.content_hash
        await play(ground.cls(), task, voice)
        first = await play(ground.cls(), task, voice)  # after one like it
        for other in subjects:
            await play(env, other.task, voice, seed=2)
            await play(env, other.task, always("zq7 5"), seed=3)
        again = await play(env, task, voice)
        same = first.trace == again.trace
        told = (
            f"{name}: task {task.id!r:.60} went {_words(first)}, and after others {_words(again)}"
        )
        journal.record("state.episodes", "" if same else told)
        kept = task.content_hash == before and dict(task.data) == whole
        told = f"{name}: task {task.id!r:.60} is another one after an episode"
        journal.record("state.task", "" if kept else told)


async def _beside_another(
    ground: Ground, subjects: Sequence[Subject], name: str, voice: Voice
) -> None:
    if len(subjects) < 2 or not ground.journal.begin(f"state.instances/{name}/0"):
        return
    one, two = subjects[0].task, subjects[1].task
    alone = [await play(ground.cls(), task, voice) for task in (one, two)]
    beside = await asyncio.gather(*(play(ground.cls(), task, voice) for task in (one, two)))
    for task, first, second in zip((one, two), alone, beside, strict=True):
        same = first.trace == second.trace
        told = f"{name}: task {task.id!r:.60} went {_words(first)}, beside another {_words(second)}"
        ground.journal.record("state.instances", "" if same else told)


async def _from_a_snapshot(ground: Ground, task: Task, voice: Voice, turns: int) -> str:
    """Go so many turns, copy, go on to the end; then again from the copies."""
    env = ground.cls()
    try:
        said: list[Message] = list((await env.areset(task, seed=1)).messages)
        for _ in range(turns):
            message = voice(task, said)
            move = await env.astep(message)
            if move.stop is not None:
                return ""
            said += [message, *move.messages]
        snapshot, (twin, apart) = env.snapshot(), env.fork(2)
        first = await go_on(env, task, voice, said=list(said))
        env.restore(snapshot)
        again = await go_on(env, task, voice, said=list(said))
        other = ground.cls()
        other.restore(snapshot)
        moved = await go_on(other, task, voice, said=list(said))
        forked, beside = await asyncio.gather(
            go_on(twin, task, voice, said=list(said)), go_on(apart, task, voice, said=list(said))
        )
    except Exception as error:  # noqa: BLE001  # the environment under attack: recorded
        return f"after {turns} turns: {type(error).__name__}: {error}"
    for name, play_ in (
        ("restored", again),
        ("moved", moved),
        ("forked", forked),
        ("beside", beside),
    ):
        if play_.trace != first.trace:
            return f"after {turns} turns it went {_words(first)}, {name} {_words(play_)}"
    return ""


def _words(played: Play) -> str:
    shown = [[message["content"] for message in reply] for reply in played.replies]
    return f"{list(played.rewards)} {shown!r:.100}"
