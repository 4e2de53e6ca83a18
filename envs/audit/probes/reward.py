"""Is anything paid for that is no answer?"""

from proofgym.envs.audit.attacks import Attack, attacks
from proofgym.envs.audit.ground import TRIES, Ground, stalling
from proofgym.envs.audit.play import Play, always
from proofgym.envs.audit.subject import Subject
from proofgym.envs.stop import Stop

CUTS = (Stop.MAX_TOKENS, Stop.WALL_CLOCK, Stop.CONTEXT_OVERFLOW, Stop.PARSE_ERROR, Stop.CANCELLED)
OFTEN = 0.25
"""Another task's whole text may fit a task by chance, such as an instruction that both have."""


async def probe_reward(ground: Ground) -> None:
    """Say every floor answer, end episodes early, and use other tasks' texts."""
    await _others_texts(ground)
    for number, subject in enumerate(ground.attacked):
        await _cut(ground, subject, number)
        for attack in attacks(subject, huge=number == 0, every=ground.reach.every):
            if ground.journal.begin(f"{attack.check}/{attack.name}/{number}"):
                played = await ground.play(subject.task, always(attack.text))
                judge(ground, subject, attack, played)


def judge(ground: Ground, subject: Subject, attack: Attack, played: Play) -> None:
    """Record what an attack came to."""
    journal, bounds = ground.journal, ground.cls.bounds(subject.task)
    told = f"{attack.text!r:.100} on task {subject.task.id!r:.60}"
    journal.record("reward.crash", f"{told}: {played.error}" if played.broken else "")
    if not played.scored:
        lost = f"{told}, {TRIES} times: {played.error}"
        journal.record("reward.unscored", "" if played.broken else lost)
        return
    journal.record("reward.unscored")
    allowed = bounds.best - 1e-9 if attack.may_be_worth_some else bounds.floor + 1e-9
    paid = played.total > allowed or played.solved is True
    worth = (
        f"{told} is worth {played.total:g}, solved={played.solved}; the floor is {bounds.floor:g}"
    )
    journal.record(attack.check, worth if paid else "")


async def _cut(ground: Ground, subject: Subject, number: int) -> None:
    task, floor = subject.task, ground.cls.bounds(subject.task).floor
    for stop in CUTS:
        if not ground.journal.begin(f"reward.cut/{stop.value}/{number}"):
            continue
        try:
            for _ in range(TRIES):
                env = ground.cls()
                await env.areset(task, seed=1)
                move = await env.aend(stop)
                lost = move.score is None or move.score.value is None
                if not lost:
                    break
        except Exception as error:  # noqa: BLE001  # the environment under attack: recorded
            ground.journal.record("reward.cut", f"{stop.value}: {type(error).__name__}: {error}")
            continue
        solved = move.score is not None and move.score.solved is True
        unscored = f"an episode that {stop.value} ends before a word is unscored"
        meant = stop is Stop.CANCELLED
        ground.journal.record("reward.unscored", unscored if lost and not meant else "")
        worth = 0.0 if move.score is None else move.score.value or 0.0
        told = f"ended by {stop.value} before a word, it is worth {worth:g}, solved={solved}"
        ground.journal.record("reward.cut", told if worth > floor + 1e-9 or solved else "")
    if ground.journal.begin(f"reward.cut/stall/{number}"):
        played = await ground.play(task, stalling(ground.cls))
        bad = played.scored and (played.total > floor + 1e-9 or played.solved is True)
        told = (
            f"calling tools until {played.stop} is worth {played.total:g}, solved={played.solved}"
        )
        ground.journal.record("reward.cut", told if bad else "")


async def _others_texts(ground: Ground) -> None:
    """Say what the oracle says in other tasks, where it says all in one message."""
    if ground.cls.limits.turns > 1 and ground.cls._own_step is not None:
        return  # a game: another's first move may be as good
    paid, tried, example = 0, 0, ""
    for number, subject in enumerate(ground.attacked):
        for place, text in enumerate(subject.other_scripts[: 8 // ground.reach.every]):
            if not ground.journal.begin(f"reward.other-answer/text {place}/{number}"):
                continue
            played = await ground.play(subject.task, always(text))
            tried += 1
            floor = ground.cls.bounds(subject.task).floor
            if played.scored and (played.total > floor + 1e-9 or played.solved is True):
                paid += 1
                example = f"{text!r:.80} on task {subject.task.id!r:.60} is worth {played.total:g}"
    if tried:
        told = f"{paid} of {tried} other tasks' texts were paid for, such as {example}"
        often = paid / tried > OFTEN
        ground.journal.record("reward.other-answer", told if often else "")
