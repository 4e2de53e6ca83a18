"""The driver with real environments, and policies that are scripted or played from a tape."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from proofgym.agents import (
    Act,
    Assignment,
    Completion,
    Deadlines,
    Driver,
    EngineError,
    EnginePolicy,
    Finish,
    Renderer,
    Scripted,
)
from proofgym.envs import (
    Blame,
    Env,
    Episode,
    InfraError,
    Limits,
    Opening,
    Sampling,
    Source,
    Stop,
    tool,
)
from proofgym.verifiers import Message, Secret, Task, assistant, exact, tool_call

TASK = Task(id="six", prompt="2*3", answer=Secret("6"), difficulty="easy")
CLOSED: list[str] = []


@tool
def double(number: int) -> str:
    """Double it.

    Args:
        number: any
    """
    return str(2 * number)


class Plain(Env):
    """Answer at once, or call a tool."""

    tools = (double,)
    rubric = exact()
    limits = Limits(turns=3, tool_calls=8, tokens=40, seconds=60)

    def close(self) -> None:
        CLOSED.append(type(self).__name__)


class Talk(Plain):
    """Goes on whatever is said."""

    limits = Limits(turns=5, tokens=10)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "go on", 0.5, False, False, {}


class Hurried(Plain):
    """Has no time."""

    limits = Limits(seconds=0.01)


class FailsToStart(Plain):
    """Its author's code raises."""

    def start(self, episode: Any) -> None:
        raise KeyError("seed data")


class FailsToStep(Plain):
    """Its author's code raises later."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        raise RuntimeError("author's bug")


class TimesOut(Plain):
    """Its author's code talks to something that does not answer; no deadline of ours passed."""

    async def astep(self, message: Message) -> Any:
        raise TimeoutError("database")


class Stuck(Plain):
    """Waits for ever in one phase."""

    phase: ClassVar[str] = "reset"

    async def areset(self, *args: Any, **kwargs: Any) -> Opening:
        if self.phase == "reset":
            await asyncio.Event().wait()
        return await super().areset(*args, **kwargs)

    async def astep(self, message: Message) -> Any:
        if self.phase == "step":
            await asyncio.Event().wait()
        return await super().astep(message)


class Flaky(Plain):
    """Its sandbox is gone the first time."""

    tries: ClassVar[list[int]] = []

    async def areset(self, *args: Any, **kwargs: Any) -> Opening:
        self.tries.append(1)
        if len(self.tries) == 1:
            raise InfraError("sandbox lost")
        return await super().areset(*args, **kwargs)


class ClosesBadly(Plain):
    """Raises when it is closed."""

    def close(self) -> None:
        raise OSError("already gone")


def say(*texts: str | Message) -> Scripted:
    """Play these messages one after the other."""
    messages = [assistant(text) if isinstance(text, str) else text for text in texts]

    def play(task: Task, heard: tuple[Message, ...]) -> Message:
        return messages[sum(message.role == "assistant" for message in heard)]

    return Scripted(play)


def play(driver: Driver, assignments: Sequence[Assignment] = ()) -> list[Episode]:
    """Run a driver on one assignment, or on those given, and see that no task is left."""

    async def run() -> list[Episode]:
        episodes = await driver.run(assignments or [Assignment(task=TASK, seed=5)])
        assert len(asyncio.all_tasks()) == 1
        return episodes

    return asyncio.run(run())


CALL = assistant("", tool_call("double", number=3))


def test_a_scripted_episode_is_recorded_whole() -> None:
    assignment = Assignment(task=TASK, seed=5, group=3, rollout=2)
    (episode,) = play(Driver(Plain, say(CALL, "6")), [assignment])
    assert [message.content for message in episode.messages] == ["2*3", "", "6", "6"]
    assert (episode.group, episode.rollout, episode.seed) == (3, 2, 5)
    assert (episode.task_id, episode.difficulty, episode.env_id) == ("six", "easy", Plain.id)
    assert (episode.stop, episode.solved, episode.reward) == (Stop.SOLVED, True, 1.0)
    assert episode.rewards == (0.0, 1.0)
    assert (episode.turns, episode.fault) == ((), None)


def test_results_are_in_the_order_of_the_assignments_whichever_ends_first() -> None:
    class Slow(Scripted):
        def seat(self, opening: Opening, seed: int) -> Any:
            inner = super().seat(opening, seed)

            class Seat:
                async def act(self, *, max_tokens: int) -> Act:
                    while len(ended) < 3 - seed:  # the later ones end first
                        await asyncio.sleep(0)
                    return await inner.act(max_tokens=max_tokens)

            return Seat()

    ended: list[int] = []
    driver = Driver(Plain, Slow(lambda task, heard: assistant("6")))
    assignments = [Assignment(task=TASK, seed=n, group=n // 2, rollout=n % 2) for n in range(4)]
    episodes = asyncio.run(driver.run(assignments, lambda episode: ended.append(episode.seed)))
    assert [episode.seed for episode in episodes] == [0, 1, 2, 3]
    assert [(e.group, e.rollout) for e in episodes] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert ended == [3, 2, 1, 0]


def test_no_more_episodes_are_live_than_asked_for() -> None:
    live, most = [0], [0]

    class Counted(Plain):
        async def areset(self, *args: Any, **kwargs: Any) -> Opening:
            live[0] += 1
            most[0] = max(most[0], live[0])
            await asyncio.sleep(0.001)
            return await super().areset(*args, **kwargs)

        def close(self) -> None:
            live[0] -= 1

    driver = Driver(Counted, say("6"), max_live=3)
    play(driver, [Assignment(task=TASK, seed=n) for n in range(10)])
    assert (live[0], most[0]) == (0, 3)


def test_groups_begin_together_and_what_waits_is_no_task() -> None:
    begun: list[int] = []
    tasks: list[int] = []

    class Watched(Plain):
        async def areset(self, *args: Any, **kwargs: Any) -> Opening:
            begun.append(kwargs["seed"])
            tasks.append(len(asyncio.all_tasks()))
            await asyncio.sleep(0.0001 * (begun[-1] % 3))
            return await super().areset(*args, **kwargs)

    assignments = [Assignment(task=TASK, seed=n, group=n // 4, rollout=n % 4) for n in range(200)]
    episodes = play(Driver(Watched, say("6"), max_live=8), assignments)
    assert begun == list(range(200)), "in their order, whichever ends first"
    assert [episode.seed for episode in episodes] == begun
    assert max(tasks) <= 8 + 2


FAULTS = {
    "start raises": (FailsToStart, Blame.ENVIRONMENT, Stop.ENV_ERROR, "KeyError"),
    "step raises": (FailsToStep, Blame.ENVIRONMENT, Stop.ENV_ERROR, "author's bug"),
    "a timeout of its own": (TimesOut, Blame.ENVIRONMENT, Stop.ENV_ERROR, "database"),
}


@pytest.mark.parametrize(("env", "blame", "stop", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_what_the_author_raises_is_the_environments_fault_and_never_a_reward(
    env: type[Env], blame: Blame, stop: Stop, says: str
) -> None:
    (episode,) = play(Driver(env, say("6", "6")))
    assert episode.stop is stop
    assert episode.fault is not None
    assert episode.fault.blame is blame
    assert says in episode.fault.message
    assert "must end within" not in episode.fault.message
    assert not episode.scored
    with pytest.raises(ValueError, match="has no score"):
        _ = episode.reward


def test_an_environment_that_cannot_be_made_is_its_own_fault() -> None:
    def broken() -> Env:
        raise ImportError("no such data")

    (episode,) = play(Driver(broken, say("6")))
    assert episode.fault is not None
    assert (episode.fault.blame, episode.fault.phase) == (Blame.ENVIRONMENT, "make")


def test_an_infrastructure_fault_is_played_again() -> None:
    Flaky.tries.clear()
    (episode,) = play(Driver(Flaky, say("6"), retries=1))
    assert len(Flaky.tries) == 2
    assert (episode.fault, episode.reward) == (None, 1.0)


def test_an_infrastructure_fault_that_stays_is_unscored() -> None:
    Flaky.tries.clear()
    (episode,) = play(Driver(Flaky, say("6"), retries=0))
    assert episode.stop is Stop.INFRA_ERROR
    assert not episode.scored


def test_closing_badly_loses_neither_the_episode_nor_the_others() -> None:
    episodes = play(
        Driver(ClosesBadly, say("6")), [Assignment(task=TASK, seed=n) for n in range(2)]
    )
    assert [episode.reward for episode in episodes] == [1.0, 1.0]


@pytest.mark.parametrize("phase", ["reset", "step"])
def test_a_deadline_names_its_phase(phase: str) -> None:
    class Here(Stuck):
        pass

    Here.phase = phase
    CLOSED.clear()
    deadlines = Deadlines(reset=0.02, step=0.02)
    (episode,) = play(Driver(Here, say("6"), deadlines=deadlines, retries=2))
    assert episode.stop is Stop.INFRA_ERROR
    assert episode.fault is not None
    assert (episode.fault.blame, episode.fault.phase) == (Blame.INFRASTRUCTURE, phase)
    assert f"phase '{phase}'" in episode.fault.message
    assert "six#0" in episode.fault.message
    assert CLOSED == ["Here"] * 3, "every attempt's environment is closed"


def test_the_generation_has_its_deadline(renderer: Renderer, tape: Any) -> None:
    engine = tape(lambda *_: renderer.encode("6"), delay_s=5.0)
    policy = EnginePolicy(engine, renderer, Sampling())
    driver = Driver(Plain, policy, deadlines=Deadlines(generate=0.02), retries=0)
    (episode,) = play(driver)
    assert episode.fault is not None
    assert episode.fault.phase == "generate"


def test_cancelling_closes_every_environment_and_leaves_no_task() -> None:
    async def run() -> None:
        driver = Driver(Stuck, say("6"))
        assignments = [Assignment(task=TASK, seed=n) for n in range(5)]
        task = asyncio.create_task(driver.run(assignments))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    CLOSED.clear()
    Stuck.phase = "reset"
    asyncio.run(run())
    assert CLOSED == ["Stuck"] * 5


# with tokens


def spoken(renderer: Renderer, *texts: str) -> Callable[[list[int], Sampling, int], list[int]]:
    """Say these texts in turn, each ended."""
    left = [[*renderer.encode(text), renderer.stop_id] for text in texts]
    return lambda *_: left.pop(0)


def engine_driver(
    env: type[Env], engine: Any, renderer: Renderer, *, max_tokens: int = 64
) -> Driver:
    return Driver(env, EnginePolicy(engine, renderer, Sampling(max_tokens=max_tokens)))


ODD = '<|call|>double{  "number" : 3 }'


def test_the_engine_reads_exactly_what_it_sampled_before(renderer: Renderer, tape: Any) -> None:
    engine = tape(spoken(renderer, ODD, "6"))
    (episode,) = play(engine_driver(Plain, engine, renderer))
    first, second = episode.turns
    assert engine.asked[0][0] == first.prompt_ids.tolist()
    everything = np.concatenate([first.prompt_ids, first.ids, second.prompt_ids])
    assert engine.asked[1][0] == everything.tolist()
    assert renderer.decode(first.ids.tolist()) == ODD + "<|end|>"
    assert Source.SAMPLED not in second.prompt_source
    assert [turn.row for turn in episode.turns] == [0, 0]
    assert episode.sampled_tokens == len(first.ids) + len(second.ids)
    assert len(episode.rewards) == len(episode.turns)
    assert episode.reward == 1.0


def test_every_turn_has_a_seed_of_its_own_that_does_not_depend_on_the_others(
    renderer: Renderer, tape: Any
) -> None:
    def seeds(count: int) -> list[list[int]]:
        engine = tape(lambda prompt, *_: spoken(renderer, ODD)(prompt) if len(prompt) < 60 else [])
        engine.reply = lambda prompt, sampling, seed: (
            spoken(renderer, "6") if renderer.decode(prompt).count("<|tool|>") else
            spoken(renderer, ODD)
        )(prompt, sampling, seed)  # fmt: skip
        assignments = [Assignment(task=TASK, seed=n) for n in range(count)]
        episodes = play(engine_driver(Plain, engine, renderer), assignments)
        return [[turn.seed for turn in episode.turns] for episode in episodes]

    many = seeds(3)
    assert many[:1] == seeds(1)
    assert len({seed for episode in many for seed in episode}) == 6


def test_a_malformed_call_is_answered_and_the_episode_goes_on(
    renderer: Renderer, tape: Any
) -> None:
    engine = tape(spoken(renderer, '<|call|>double{"number": ', "6"))
    (episode,) = play(engine_driver(Plain, engine, renderer))
    assert (episode.fault, episode.reward) == (None, 1.0)
    assert "not NAME{JSON}" in episode.messages[2].content


def test_a_tool_that_repeats_a_surrogate_is_no_fault(renderer: Renderer, tape: Any) -> None:
    @tool
    def echo(text: str) -> str:
        """Say it again.

        Args:
            text: any
        """
        return text

    class Echo(Plain):
        tools = (echo,)

    said = "<|call|>echo" + json.dumps({"text": "\ud800"})
    engine = tape(spoken(renderer, said, "6"))
    (episode,) = play(engine_driver(Echo, engine, renderer))
    assert (episode.fault, episode.reward) == (None, 1.0)


def test_a_message_cut_at_its_length_ends_the_episode_scored(renderer: Renderer, tape: Any) -> None:
    engine = tape(spoken(renderer, "a very long answer"))
    (episode,) = play(engine_driver(Plain, engine, renderer, max_tokens=4))
    assert episode.stop is Stop.MAX_TOKENS
    assert (episode.reward, episode.sampled_tokens) == (0.0, 4)
    assert episode.turns[0].finish == "length"


def test_the_episodes_token_limit_bounds_every_request(renderer: Renderer, tape: Any) -> None:
    engine = tape(spoken(renderer, ODD, "6" * 60))
    (episode,) = play(engine_driver(Plain, engine, renderer))
    assert episode.stop is Stop.MAX_TOKENS
    assert engine.asked[1][1].max_tokens == 40 - len(episode.turns[0].ids)
    assert episode.sampled_tokens == 40


def test_a_talk_never_samples_more_than_the_episodes_tokens(renderer: Renderer, tape: Any) -> None:
    engine = tape(spoken(renderer, "1234", "1234", "", "", "", ""))
    (episode,) = play(engine_driver(Talk, engine, renderer))
    assert episode.stop is Stop.MAX_TOKENS
    assert episode.sampled_tokens == 10
    assert len(episode.rewards) == len(episode.turns) == 2
    assert episode.reward == 1.0


def test_calls_in_the_last_allowed_turn_end_the_episode(renderer: Renderer, tape: Any) -> None:
    call = '<|call|>double{"number":3}'

    class Roomy(Plain):
        limits = Limits(turns=2, tokens=400)

    engine = tape(spoken(renderer, call, call, "6"))
    (episode,) = play(engine_driver(Roomy, engine, renderer))
    assert (episode.stop, len(episode.turns), episode.reward) == (Stop.MAX_TURNS, 2, 0.0)


def test_a_slow_policy_meets_the_wall_clock(renderer: Renderer, tape: Any) -> None:
    engine = tape(spoken(renderer, ODD), delay_s=0.03)
    (episode,) = play(engine_driver(Hurried, engine, renderer))
    assert episode.stop is Stop.WALL_CLOCK
    assert episode.scored


@pytest.mark.parametrize("beyond", [0, 3])
def test_a_prompt_that_fills_the_context_ends_the_episode(
    renderer: Renderer, tape: Any, beyond: int
) -> None:
    opened = len(renderer.open(TASK.messages, Plain().tool_schemas).prompt.ids)
    engine = tape(spoken(renderer, ODD, "6"))
    engine.max_context = opened + len(renderer.encode(ODD)) + 1 + beyond
    (episode,) = play(engine_driver(Plain, engine, renderer))
    assert episode.stop is Stop.CONTEXT_OVERFLOW
    assert len(episode.turns) == 1
    assert len(episode.rewards) == 1, "there is one reward for each turn"
    assert episode.reward == 0.0


def test_a_completion_cut_by_the_context_says_so(renderer: Renderer, tape: Any) -> None:
    opened = len(renderer.open(TASK.messages, Plain().tool_schemas).prompt.ids)
    engine = tape(spoken(renderer, "666666"))
    engine.max_context = opened + 3
    (episode,) = play(engine_driver(Plain, engine, renderer))
    assert (episode.stop, episode.sampled_tokens) == (Stop.CONTEXT_OVERFLOW, 3)


ENGINE_FAILURES = {
    "refuses": EngineError("dead"),
    "breaks its contract": RuntimeError("CUDA error"),
    "aborts": Completion(
        ids=np.array([7], dtype=np.int32),
        logprobs=np.zeros(1, dtype=np.float32),
        versions=np.zeros(1, dtype=np.int32),
        finish=Finish.ABORT,
    ),
}


@pytest.mark.parametrize("failure", ENGINE_FAILURES.values(), ids=ENGINE_FAILURES.keys())
def test_an_engine_that_fails_is_retried_and_then_left_unscored(
    renderer: Renderer, tape: Any, failure: Completion | Exception
) -> None:
    good = [*renderer.encode("6"), renderer.stop_id]
    for failures, solved in ((1, True), (9, False)):
        left = [failure] * failures
        engine = tape(lambda *_, left=left: left.pop() if left else good)
        (episode,) = play(engine_driver(Plain, engine, renderer))
        assert episode.solved is solved
        if solved:
            assert episode.fault is None
            continue
        assert len(engine.asked) == 2
        assert episode.stop is Stop.INFRA_ERROR
        assert not episode.scored
        assert episode.fault is not None
        assert (episode.fault.blame, episode.fault.phase) == (Blame.INFRASTRUCTURE, "generate")


def test_an_impossible_driver_is_refused() -> None:
    with pytest.raises(ValueError, match="max_live"):
        Driver(Plain, say("6"), max_live=0)
