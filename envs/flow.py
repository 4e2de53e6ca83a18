"""How an episode goes: begin, take the policy's messages one by one, score, end."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from proofgym.envs.errors import EnvError, InfraError
from proofgym.envs.observation import Opening, Transition
from proofgym.envs.session import Session
from proofgym.envs.stop import Blame, Fault, Stop
from proofgym.envs.tools import run_call
from proofgym.sandboxes import SandboxError, SandboxFileError, Workspace
from proofgym.verifiers import ErrorKind, Message, Role, Score, Task, Transcript, system, user

if TYPE_CHECKING:
    from proofgym.envs.env import Env


def new_session(env: "Env", task: Task, seed: int) -> Session:
    """Make the live state of an episode that has not begun."""
    opening = [] if env.system is None else [system(env.system)]
    return Session(
        env_id=env.id,
        version=env.version,
        task=task,
        seed=seed,
        messages=[*opening, *task.messages],
        workspace=Workspace(env.sandbox),
    )


def opening_of(env: "Env", session: Session) -> Opening:
    """Say how an episode opens."""
    return Opening(
        task=session.task,
        messages=tuple(session.messages),
        tools=env.tool_schemas,
        seed=session.seed,
    )


async def begin(env: "Env", task: Task, seed: int) -> Session:
    """Begin an episode.

    Raises:
        EnvError: the author's ``start`` raised.
        InfraError: it said that something outside failed.
    """
    session = new_session(env, task, seed)
    try:
        waiting = env.start(session)
        if waiting is not None:
            await waiting
    except InfraError:
        session.workspace.close()
        raise
    except Exception as error:
        session.workspace.close()
        if isinstance(error, SandboxError) and not isinstance(error, SandboxFileError):
            raise InfraError(f"{env.id}: start() lost its sandbox: {error}") from error
        raise EnvError(f"{env.id}: start() raised {type(error).__name__}: {error}.") from error
    return session


async def advance(env: "Env", session: Session, message: Message, *, blocking: bool) -> Transition:
    """Take the policy's message, whose turn has been recorded: run its calls, or end."""
    if not message.tool_calls:
        return await conclude(env, session, Stop.FINISHED, (), blocking=blocking)
    replies: list[Message] = []
    try:
        stop = await _run_calls(env, session, message, replies)
    except Exception as error:  # noqa: BLE001  # task boundary: recorded in the transition
        return failed(env, session, "tool", error)
    session.messages.extend(replies)
    if stop is None and session.turns >= env.limits.turns:
        stop = Stop.MAX_TURNS
    if stop is not None:
        return await conclude(env, session, stop, replies, blocking=blocking)
    return Transition(messages=tuple(replies), reward=session.rewards[-1])


async def _run_calls(
    env: "Env", session: Session, message: Message, replies: list[Message]
) -> Stop | None:
    """Run one message's calls in their order; say why the episode ends, if it does."""
    alone = len(message.tool_calls) == 1
    for call in message.tool_calls:
        if session.tool_calls >= env.limits.tool_calls:
            return Stop.MAX_TOOL_CALLS
        session.tool_calls += 1
        outcome = await run_call(env.tools_by_name, call, session, env, alone=alone)
        if outcome.fault is not None:
            kind = outcome.fault.value
            session.tool_errors[kind] = session.tool_errors.get(kind, 0) + 1
        replies.append(
            Message(role=Role.TOOL, content=outcome.text, tool_call_id=call.id, name=call.name)
        )
        if session.finished or outcome.ends:
            return Stop.FINISHED
    return None


async def conclude(
    env: "Env", session: Session, stop: Stop, replies: Sequence[Message], *, blocking: bool
) -> Transition:
    """Score the episode and end it.

    Args:
        env: the environment.
        session: the live episode.
        stop: why it ends; SOLVED follows from the score.
        replies: what the last turn brought about, already recorded.
        blocking: wait for verifiers in place (there is no event loop) instead of awaiting them.
    """
    if session.closing_text:
        closing = user(session.closing_text)
        session.messages.append(closing)
        replies = (*replies, closing)
    rubric = env.rubric
    if rubric is None:
        return ended(session, stop, session.own_score(stop), 0.0, replies)
    transcript = Transcript(
        messages=tuple(session.messages), state=session.state, workspace=session.workspace
    )
    if blocking:
        score = rubric.score(session.task, transcript)
    else:
        score = await rubric.ascore(session.task, transcript)
    if session.solved is not None and score.value is not None:
        score = replace(score, solved=session.solved)
    return ended(session, stop, score, score.value or 0.0, replies)


def failed(env: "Env", session: Session, phase: str, error: Exception) -> Transition:
    """End an episode that something other than the policy broke: it stays unscored."""
    kind = ErrorKind.LOST if isinstance(error, InfraError) else ErrorKind.CRASHED
    told = f"{env.id}: {phase} raised {type(error).__name__}: {error}"
    last = ended(session, Stop.ENV_ERROR, Score.unscored(kind, told), 0.0, ())
    assert last.fault is not None
    return replace(last, fault=replace(last.fault, phase=phase))


def ended(
    session: Session, stop: Stop, score: Score, worth: float, replies: Sequence[Message]
) -> Transition:
    """Close the episode: the last turn's reward gets the score's worth, if there is a score."""
    session.over = True
    session.workspace.close()
    fault = None
    if score.error is not None:  # without a value: worth is 0 and changes nothing
        lost = score.error.kind is ErrorKind.LOST
        stop = Stop.INFRA_ERROR if lost else Stop.ENV_ERROR
        blame = Blame.INFRASTRUCTURE if lost else Blame.ENVIRONMENT
        fault = Fault(blame=blame, phase="score", message=score.error.message)
    elif score.solved and stop is Stop.FINISHED:
        stop = Stop.SOLVED
    reward = 0.0
    if session.rewards:
        reward = session.rewards[-1] = math.fsum((session.rewards[-1], worth))
    return Transition(
        messages=tuple(replies),
        reward=reward,
        stop=stop,
        score=score,
        fault=fault,
        info={"tool_errors": dict(session.tool_errors)},
    )
