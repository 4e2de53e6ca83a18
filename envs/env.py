"""The environment: one class declares, methods override, and the runtime owns the rest."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import gymnasium
import numpy as np

from proofgym.envs import declaration, flow, registry
from proofgym.envs.actions import message_of, text_of
from proofgym.envs.adapter import (
    RawStep,
    StepResult,
    adapt_step,
    opening_text,
    recorded_reset,
    recorded_step,
)
from proofgym.envs.blocking import in_a_loop, run_in_loop, run_straight
from proofgym.envs.bounds import Bounds, bounds_of
from proofgym.envs.demonstrator import Demonstrator
from proofgym.envs.derive import derive
from proofgym.envs.errors import EnvError, InfraError
from proofgym.envs.limits import Limits
from proofgym.envs.observation import Opening, Transition
from proofgym.envs.session import Session
from proofgym.envs.snapshot import Snapshot
from proofgym.envs.stop import Stop
from proofgym.envs.tasks import Split, listed
from proofgym.envs.text_space import AnyText
from proofgym.envs.tools import AnyTool
from proofgym.sandboxes import SandboxSpec
from proofgym.verifiers import Message, Role, Task, Verifier

T = TypeVar("T")
OPTIONS = ("index", "split", "task")


class Env(gymnasium.Env[str, Any]):
    """An environment of conversations with verifiable rewards.

    ``class Mine(Env, id="suite/mine-v0")`` declares and registers one; a class without an id is a
    base class or a private environment. The same episode has two faces: gymnasium's ``reset``
    and ``step``, where an action is the policy's text (or a Message), and the native
    :meth:`areset` and :meth:`astep`. An instance plays one episode at a time.

    There are two ways to go further than declaring:

    - tools as methods, ``start(episode)`` to set up state, ``episode.reward(x)`` for a turn's
      reward, ``episode.finish(...)`` to end;
    - override ``step`` (and ``reset``) in gymnasium's own shape. ``self.episode`` is the live
      episode; at the end ``info["solved"]`` says whether the task was solved.

    Attributes:
        system: the system message; None for none.
        tasks: where tasks come from: ``rows(...)``, ``generated(...)``, or a list of tasks.
        tools: functions that the policy may call, beside those that are methods.
        rubric: what the finished episode is worth, added to the last turn's reward. Without one
            it is worth the sum of the turns' rewards, or 1 or 0 for ``finish(solved=...)``.
        limits: how far an episode may go.
        sandbox: which sandbox tools get as ``box``; each episode has its own, made when first
            used. ``snapshot`` and ``fork`` copy its files, not what runs in it.
        oracle: a scripted policy that gets full marks: ``function(task)`` returns all that it says
            (a text, a Message, or a list with one for each turn), ``function(task, messages)``
            what it says next.
        best: what a perfect episode is worth in all: a number, or a function of the task. None is
            the top of the rubric's range, or 1 without a rubric. The oracle must reach it.
        floor: the most that empty, random and hedging answers may be worth in all: a number, or a
            function of the task.
        audit_waivers: id of an audit's check -> why its finding is meant to be so.
        demonstrators: further scripted policies by name. Once the class is made, the oracle is
            among them, and each is callable as ``(task, messages) -> Message``.
        id, version: set from the class statement.
        tools_by_name: all tools, set when the class is made.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]  # gymnasium reads it from the class
    id: ClassVar[str] = "local/Env-v0"
    version: ClassVar[int] = 0
    system: ClassVar[str | None] = None
    tasks: ClassVar[Any] = None
    tools: ClassVar[Sequence[Any]] = ()
    rubric: ClassVar[Verifier | None] = None
    limits: ClassVar[Limits] = Limits()
    sandbox: ClassVar[SandboxSpec] = SandboxSpec()
    oracle: ClassVar[Any] = None
    best: ClassVar[Any] = None
    floor: ClassVar[Any] = 0.0
    audit_waivers: ClassVar[Mapping[str, str]] = {}
    demonstrators: ClassVar[Mapping[str, Any]] = {}
    tools_by_name: ClassVar[Mapping[str, AnyTool]] = {}

    _own_step: ClassVar[RawStep | None] = None
    _own_reset: ClassVar[bool] = False
    _waits: ClassVar[bool] = False
    _threads: ClassVar[bool] = False

    def __init_subclass__(cls, *, id: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.id = f"local/{cls.__name__}-v0" if id is None else id
        cls.version = 0 if id is None else declaration.parse_id(id).version
        declaration.check_rubric(cls, cls.rubric)
        if isinstance(cls.tasks, list | tuple):
            cls.tasks = listed(cls.tasks)
        if cls.tasks is not None:
            cls.tasks = cls.tasks.bound(cls.id, declaration.folder_of(cls))
        cls.tools_by_name = declaration.collect_tools(cls, cls.tools)
        cls.demonstrators = declaration.collect_demonstrators(cls)
        cls.oracle = cls.demonstrators.get("oracle")
        cls._waits = declaration.waits(cls.start, cls.tools_by_name)
        cls._threads = declaration.threads(cls.tools_by_name)
        if "step" in vars(cls):
            raw: Any = vars(cls)["step"]
            cls._own_step = staticmethod(raw)
            cls.step = recorded_step(raw)  # type: ignore[method-assign,assignment]  # see adapter
        if "reset" in vars(cls):
            cls._own_reset = True
            cls.reset = recorded_reset(vars(cls)["reset"])  # type: ignore[method-assign]  # see adapter
        if id is not None:
            registry.register_class(cls)

    def __init__(self, *, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = AnyText()
        self.action_space = AnyText()
        self.session: Session | None = None
        # between an author's own step or reset, and ours when the author calls it
        self.inside_step = False
        self.passed_on: Transition | None = None
        self._chosen: tuple[Task | None, int, Split] | None = None

    # what an author may override

    def start(self, episode: Session) -> Any:
        """Set up an episode's state; may be async. It may add to ``episode.messages``."""

    # the native face

    async def areset(
        self, task: Task | None = None, *, seed: int = 0, split: Split | str = Split.TRAIN
    ) -> Opening:
        """Begin an episode.

        Args:
            task: the problem; None draws one of the split by the seed.
            seed: what all of the episode's randomness derives from.
            split: where to draw from.

        Raises:
            EnvError: there are no tasks, or the author's ``start`` or ``reset`` raised.
        """
        if not self._own_reset:
            posed = task or self._draw(seed, Split(split))
            self._leave()
            self.session = await flow.begin(self, posed, seed)
            return flow.opening_of(self, self.session)
        options = {"split": Split(split), **({} if task is None else {"task": task})}
        self._chosen = (task, seed, Split(split))
        try:
            self.reset(seed=seed, options=options)
        except (EnvError, InfraError):
            raise
        except Exception as error:
            raise EnvError(f"{self.id}: reset() raised {type(error).__name__}: {error}.") from error
        finally:
            self._chosen = None
        return flow.opening_of(self, self.episode)

    async def astep(self, message: Message) -> Transition:
        """Take the policy's message.

        Raises:
            EnvError: no episode is live, or the message is not an assistant's. What goes wrong
                inside is never raised: the transition says so.
        """
        own = type(self)._own_step
        if own is not None:
            return await adapt_step(self, message, own, blocking=False, raises=False)
        session = self.begin_turn(message)
        return await flow.advance(self, session, message, blocking=False)

    async def aend(self, stop: Stop, message: Message | None = None) -> Transition:
        """End the episode from outside, at a limit that the driver keeps, and score it.

        Args:
            stop: which limit.
            message: the policy's last one, whole or cut: recorded, but its calls are not run.
        """
        session = self._live() if message is None else self.begin_turn(message)
        return await flow.conclude(self, session, stop, (), blocking=False)

    # gymnasium's face

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: seeds the generator that draws tasks and the episodes' own seeds.
            options: ``task`` (a Task), or ``index`` (of a task in its split); ``split``.

        Returns:
            The opening's text, and ``info`` with ``messages`` and ``tools`` in the OpenAI shape,
            ``task_id`` and ``episode_seed``.
        """
        super().reset(seed=seed)
        task, episode_seed, split = self._chosen or self._choose(options or {})
        self._leave()
        work = flow.begin(self, task or self._draw(episode_seed, split), episode_seed)
        self.session = session = run_in_loop(work) if self._waits else run_straight(work)
        info = {
            "messages": [message.to_openai() for message in session.messages],
            # a copy: callers keep it
            "tools": json.loads(json.dumps(self.tool_schemas)) if self.tools_by_name else [],
            "task_id": session.task.id,
            "episode_seed": episode_seed,
        }
        return opening_text(session.messages), info

    def step(self, action: Any) -> StepResult:
        """Take the policy's text, or its Message.

        Parts like ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>`` are tool calls; a
        text without one is the answer.

        Returns:
            What the policy reads next, the turn's reward, ``terminated``, ``truncated``, and
            ``info``: ``messages``, and at the end ``stop``, ``scored``, ``score``, ``solved``,
            ``parts`` and ``tool_errors``. Where ``scored`` is False the episode could not be
            judged and must be left out: its reward says nothing.
        """
        message = message_of(action)
        session = self._live() if self.inside_step else self.begin_turn(message)
        work = flow.advance(self, session, message, blocking=True)
        waits = self._waits or (self._threads and in_a_loop())
        transition = run_in_loop(work) if waits else run_straight(work)
        self.passed_on = transition
        return self.five_tuple(transition)

    def render(self) -> str:
        """Return the conversation so far as plain text."""
        messages = self.session.messages if self.session is not None else []
        return "\n".join(f"[{message.role.value}] {text_of(message)}" for message in messages)

    def close(self) -> None:
        """End the live episode's sandbox, if it has one."""
        self._leave()

    # what can be asked

    @property
    def episode(self) -> Session:
        """The live episode.

        Raises:
            EnvError: there is none yet.
        """
        if self.session is None:
            raise EnvError(f"{self.id}: expected a live episode, got none. Call reset() first.")
        return self.session

    @property
    def tool_schemas(self) -> tuple[Mapping[str, Any], ...]:
        """The tools in the OpenAI shape, as the policy is shown them."""
        return tuple(tool.signature.schema for tool in self.tools_by_name.values())

    @classmethod
    def demonstrator(cls, name: str = "oracle") -> Demonstrator:
        """Return a scripted policy by name.

        Raises:
            EnvError: the environment has none of this name.
        """
        if name not in cls.demonstrators:
            known = ", ".join(cls.demonstrators) or "none"
            raise EnvError(f"expected a demonstrator of {cls.id} ({known}), got {name!r}.")
        found: Demonstrator = cls.demonstrators[name]
        return found

    @classmethod
    def bounds(cls, task: Task) -> Bounds:
        """Return what an episode of a task is worth: solved perfectly, and not solved at all."""
        return bounds_of(cls.best, cls.floor, cls.rubric, task)

    def snapshot(self) -> Snapshot:
        """Copy the episode, between two steps."""
        return Snapshot(self)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this instance or of another one of its class."""
        left = self.session
        snapshot.restore(self)
        if left is not None:
            left.workspace.close()

    def fork(self, count: int) -> list[Self]:
        """Return so many environments that continue from here, each on its own."""
        snapshot, twins = self.snapshot(), [copy.copy(self) for _ in range(count)]
        for twin in twins:
            twin.observation_space, twin.action_space = AnyText(), AnyText()
            snapshot.restore(twin)
        return twins

    # the runtime's own

    def begin_turn(self, message: Message) -> Session:
        """Record the policy's message. For the runtime only."""
        session = self._live()
        if message.role is not Role.ASSISTANT:
            raise EnvError(f"expected an assistant's message, got one of the {message.role.value}.")
        session.begin_turn(message)
        return session

    def five_tuple(self, transition: Transition) -> StepResult:
        """Put a transition in gymnasium's shape. For the runtime only."""
        stop, score, messages = transition.stop, transition.score, transition.messages
        info: dict[str, Any] = {**transition.info, "messages": [m.to_openai() for m in messages]}
        if stop is None and len(messages) == 1:  # nearly every step: no more is said of it
            return messages[0].content, transition.reward, False, False, info
        if stop is not None and score is not None:
            info["stop"] = stop.value
            info["scored"] = score.value is not None
            info["score"] = score.value
            info["solved"] = score.solved
            info["parts"] = dict(score.parts)
            if score.error is not None:
                info["error"] = score.error.message
        return (
            "\n".join(message.content for message in messages),
            transition.reward,
            stop is not None and stop.terminated,
            stop is not None and stop.truncated,
            info,
        )

    def _leave(self) -> None:
        if self.session is not None:
            self.session.workspace.close()

    def _live(self) -> Session:
        session = self.episode
        if session.over:
            raise EnvError(f"{self.id}: the episode is over. Call reset() before the next step.")
        return session

    def _draw(self, seed: int, split: Split) -> Task:
        if self.tasks is None:
            raise EnvError(
                f"{self.id} has no tasks. Declare `tasks = proofgym.rows(...)`, or pass a task."
            )
        drawn: Task = self.tasks.sample(split, np.random.default_rng(derive(self.id, "draw", seed)))
        return drawn

    def _choose(self, options: Mapping[str, Any]) -> tuple[Task | None, int, Split]:
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise EnvError(
                f"expected reset options among {', '.join(OPTIONS)}, got {', '.join(unknown)}."
            )
        seed = int(self.np_random.integers(2**63 - 1))
        split = Split(options.get("split", Split.TRAIN))
        task = options.get("task")
        if task is None and "index" in options:
            task = self.tasks.task(split, int(options["index"]))
        return task, seed, split
