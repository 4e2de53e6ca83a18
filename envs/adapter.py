"""Environments whose authors override gymnasium's ``reset`` and ``step``.

Both overrides are wrapped when the class is made, so that limits are kept and the episode is
recorded on gymnasium's face as on the native one.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proofgym.envs import flow
from proofgym.envs.actions import message_of, text_of
from proofgym.envs.blocking import run_straight
from proofgym.envs.errors import EnvError
from proofgym.envs.observation import Transition
from proofgym.envs.stop import Stop
from proofgym.verifiers import ErrorKind, Message, Score, Task, system, user

if TYPE_CHECKING:
    from proofgym.envs.env import Env

StepResult = tuple[str, float, bool, bool, dict[str, Any]]
RawStep = Callable[["Env", str], StepResult]
RawReset = Callable[..., tuple[str, dict[str, Any]]]


def recorded_step(raw: RawStep) -> Callable[["Env", Any], StepResult]:
    """Wrap an author's ``step``: what it raises goes through, as gymnasium's users expect."""

    @functools.wraps(raw)
    def step(self: "Env", action: str | Message) -> StepResult:
        if self.inside_step:  # a subclass's step calls its parent's
            return raw(self, action if isinstance(action, str) else text_of(action))
        work = adapt_step(self, message_of(action), raw, blocking=True, raises=True)
        return self.five_tuple(run_straight(work))

    return step


def recorded_reset(raw: RawReset) -> RawReset:
    """Wrap an author's ``reset``, whether or not it calls ours."""

    @functools.wraps(raw)
    def reset(
        self: "Env", *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        if self.session is not None:
            self.session.workspace.close()
        self.session = None
        observation, info = raw(self, seed=seed, options=options)
        if not isinstance(observation, str):
            raise EnvError(
                f"{self.id}: reset() must return a text and a dict, got "
                f"{type(observation).__name__}."
            )
        _adopt(self, observation, seed, options or {})
        return observation, info

    return reset


def _adopt(env: "Env", observation: str, seed: int | None, options: Mapping[str, Any]) -> None:
    """Make the live episode open with what the author's ``reset`` returned."""
    session = env.session
    if session is None:
        identity = 0 if seed is None else seed
        task = options.get("task") or Task(id=f"seed-{identity}", prompt=observation)
        session = env.session = flow.new_session(env, task, identity)
    if observation != opening_text(session.messages):
        head = [] if env.system is None else [system(env.system)]
        session.messages = [*head, user(observation)]


def opening_text(messages: Sequence[Message]) -> str:
    """Join an opening's messages to gymnasium's observation."""
    return "\n\n".join(message.content for message in messages)


async def adapt_step(
    env: "Env", message: Message, raw: RawStep, *, blocking: bool, raises: bool
) -> Transition:
    """Run an author's ``step``, and make a transition of its five-tuple.

    Args:
        env: the environment.
        message: what the policy said; the author gets its text, calls included.
        raw: the author's function.
        blocking: as for :func:`flow.conclude`.
        raises: let the author's errors through instead of recording them.
    """
    session = env.begin_turn(message)
    env.inside_step, env.passed_on = True, None
    try:
        observation, reward, terminated, truncated, info = raw(env, text_of(message))
        reward = float(reward)
        if not math.isfinite(reward) or not isinstance(observation, str):
            raise EnvError(
                "step() must return a text, a finite reward, two truth values and a dict, got "
                f"{observation!r:.80} and {reward!r}"
            )
    except Exception as error:
        if raises:
            raise
        return flow.failed(env, session, "step", error)
    finally:
        env.inside_step = False
    inner: Transition | None = env.passed_on
    replies: tuple[Message, ...] = ()
    if inner is None:  # all is the author's own
        session.reward(reward)
        replies = (user(observation),) if observation else ()
        session.messages.extend(replies)
    else:  # the author called our step, and may have changed the reward
        replies = inner.messages
        session.rewards[-1] = reward
    ended = inner if inner is not None and inner.stop is not None else None
    if ended is not None:
        return _with(ended, reward, info)
    stop = _stop(env, bool(terminated), bool(truncated), info)
    if stop is None:
        return Transition(messages=replies, reward=session.rewards[-1], info=info)
    if isinstance(info.get("solved"), bool):
        session.solved = info["solved"]
    elif stop is not Stop.FINISHED and session.solved is None and env.rubric is None:
        session.solved = False  # cut before its author said so
    if info.get("scored") is False:
        reason = str(info.get("error", "its step says that it could not be scored"))
        unscored = Score.unscored(ErrorKind.CRASHED, f"{env.id}: {reason}")
        return _with(flow.ended(session, stop, unscored, 0.0, replies), reward, info)
    last = await flow.conclude(env, session, stop, replies, blocking=blocking)
    return _with(last, last.reward, info)


def _with(transition: Transition, reward: float, info: Mapping[str, Any]) -> Transition:
    return replace(transition, reward=reward, info={**transition.info, **info})


def _stop(env: "Env", terminated: bool, truncated: bool, info: Mapping[str, Any]) -> Stop | None:
    if terminated or env.episode.finished:
        return Stop.FINISHED
    if truncated:
        named = info.get("stop")
        return Stop(named) if named in set(Stop) else Stop.MAX_TURNS
    return Stop.MAX_TURNS if env.episode.turns >= env.limits.turns else None
