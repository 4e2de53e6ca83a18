"""Declaring an environment, and how its episodes go."""

import asyncio
import json
import re
import types
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from proofgym.envs import (
    Blame,
    Env,
    EnvError,
    InfraError,
    Limits,
    Session,
    Stop,
    Transition,
    listed,
    tool,
)
from proofgym.verifiers import (
    ErrorKind,
    Message,
    Role,
    Score,
    Secret,
    Task,
    Transcript,
    Verifier,
    assistant,
    calls_used,
    exact,
    system,
    tool_call,
    user,
    verifier,
)

TASKS = [Task(id=str(i), prompt=f"say {i}", answer=Secret(str(i))) for i in range(20)]


@tool
def echo(text: str) -> str:
    """Say it again."""
    return text


class Echo(Env):
    system = "You are terse."
    tasks = listed(TASKS)
    tools = (echo,)
    rubric = exact() - 0.1 * calls_used()
    limits = Limits(turns=3, tool_calls=3)
    oracle = lambda task: task.answer.reveal()  # noqa: E731


class Counter(Env):
    """Stateful: tools as methods, turn rewards, and no rubric."""

    tasks = listed([Task(id="c", prompt="count to 2")], heldout=0.0)
    limits = Limits(turns=4)

    def start(self, episode: Session) -> None:
        episode.state["count"] = 0
        episode.messages.append(user("it is 0"))

    @tool
    def add(self, amount: int, episode: Session) -> str:
        """Add."""
        episode.state["count"] += amount
        episode.reward(0.25 * amount)
        if episode.state["count"] >= 2:
            episode.finish(solved=episode.state["count"] == 2, text="enough")
        return str(episode.state["count"])


def call(text: str = "hi") -> Message:
    return assistant("", tool_call("echo", text=text))


def play(env: Env, said: Sequence[Message], task: Task | None = None) -> list[Transition]:
    async def go() -> list[Transition]:
        await env.areset(task, seed=1)
        return [await env.astep(message) for message in said]

    return asyncio.run(go())


def test_an_opening_has_system_prompt_and_tools() -> None:
    opening = asyncio.run(Echo().areset(TASKS[7], seed=5))
    assert opening.messages == (system("You are terse."), user("say 7"))
    assert [schema["function"]["name"] for schema in opening.tools] == ["echo"]
    assert (opening.task, opening.seed) == (TASKS[7], 5)


def test_a_call_is_answered_and_the_answer_is_scored() -> None:
    first, last = play(Echo(), [call("hi"), assistant("7")], TASKS[7])
    assert [m.content for m in first.messages] == ["hi"]
    assert (first.stop, first.reward, first.score) == (None, 0.0, None)
    assert (last.stop, last.reward, last.messages) == (Stop.SOLVED, 0.9, ())
    assert last.score is not None
    assert last.score.parts == {"exact": 1.0, "calls_used": 1.0}


ENDS: dict[str, tuple[list[Message], Stop, float]] = {
    "wrong answer": ([assistant("8")], Stop.FINISHED, 0.0),
    "turns used up": ([call(), call(), call()], Stop.MAX_TURNS, -0.3),
    "too many calls": (
        [assistant("", *(tool_call("echo", text=str(i)) for i in range(4)))],
        Stop.MAX_TOOL_CALLS,
        -0.4,
    ),
    "as many calls as allowed": (
        [assistant("", *(tool_call("echo", text=str(i)) for i in range(3))), assistant("7")],
        Stop.SOLVED,
        0.7,
    ),
}


@pytest.mark.parametrize(("said", "stop", "reward"), ENDS.values(), ids=ENDS.keys())
def test_every_end_is_named_and_scored(said: list[Message], stop: Stop, reward: float) -> None:
    last = play(Echo(), said, TASKS[7])[-1]
    assert (last.stop, last.fault) == (stop, None)
    assert last.reward == pytest.approx(reward)


def test_the_driver_can_end_an_episode_at_its_own_limit() -> None:
    async def go() -> Transition:
        env = Echo()
        await env.areset(TASKS[7])
        transition = await env.aend(Stop.MAX_TOKENS, call())
        assert env.episode.messages[-1] == call()
        return transition

    transition = asyncio.run(go())
    assert transition.stop is Stop.MAX_TOKENS
    assert transition.reward == pytest.approx(-0.1)


def test_a_stateful_environment_rewards_turns_and_ends_itself() -> None:
    said = [assistant("", tool_call("add", amount=1))] * 2
    env = Counter()
    first, last = play(env, said)
    assert (first.reward, last.reward) == (0.25, 0.25)
    assert (last.stop, [m.content for m in last.messages]) == (Stop.SOLVED, ["2", "enough"])
    assert last.score is not None
    assert (last.score.value, last.score.solved) == (0.5, True)
    assert env.episode.messages[1] == user("it is 0")


def test_nothing_leaks_from_one_episode_to_the_next() -> None:
    env = Counter()
    play(env, [assistant("", tool_call("add", amount=1))])
    play(env, [])
    assert (env.episode.state, env.episode.rewards) == ({"count": 0}, [])


class Broken(Verifier):
    def __init__(self, kind: ErrorKind | None) -> None:
        self.kind = kind

    def check(self, task: Task, transcript: Transcript) -> Score:
        if self.kind is None:
            raise RuntimeError("boom")
        return Score.unscored(self.kind, "boom")


@pytest.mark.parametrize(
    ("kind", "stop", "blame"),
    [
        (None, Stop.ENV_ERROR, Blame.ENVIRONMENT),
        (ErrorKind.BAD_GOLD, Stop.ENV_ERROR, Blame.ENVIRONMENT),
        (ErrorKind.TIMEOUT, Stop.ENV_ERROR, Blame.ENVIRONMENT),
        (ErrorKind.LOST, Stop.INFRA_ERROR, Blame.INFRASTRUCTURE),
    ],
)
def test_an_unscored_episode_has_no_reward_of_zero(
    kind: ErrorKind | None, stop: Stop, blame: Blame
) -> None:
    class Unscored(Echo):
        rubric = Broken(kind) + exact()

    (last,) = play(Unscored(), [assistant("7")], TASKS[7])
    assert (last.stop, last.score and last.score.value) == (stop, None)
    assert last.fault is not None
    assert (last.fault.blame, last.fault.phase) == (blame, "score")
    env = Unscored()
    env.reset(seed=1)
    _, _, terminated, truncated, info = env.step("7")
    assert (terminated, truncated) == (False, True)
    assert (info["scored"], info["score"], info["solved"]) == (False, None, None)
    assert "boom" in info["error"]


def test_an_environment_that_never_scores_says_so() -> None:
    class Silent(Env):
        tasks = listed(TASKS)

    (last,) = play(Silent(), [assistant("7")])
    assert last.stop is Stop.ENV_ERROR
    assert last.fault is not None
    assert "no rubric" in last.fault.message


@pytest.mark.parametrize("stop", [Stop.MAX_TOKENS, Stop.CONTEXT_OVERFLOW, Stop.WALL_CLOCK])
def test_a_game_that_a_limit_ends_before_its_first_reward_is_worth_nothing(stop: Stop) -> None:
    class Game(Env):
        tasks = listed(TASKS)

        def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, object]]:
            return "won", 1.0, True, False, {"solved": True}

    async def cut(*said: Message) -> Transition:
        env = Game()
        await env.areset(seed=1)
        return await env.aend(stop, *said)

    for last in (asyncio.run(cut()), asyncio.run(cut(assistant("wo")))):
        assert (last.stop, last.fault) == (stop, None)
        assert last.score is not None
        assert (last.score.value, last.score.solved) == (0.0, None)


@pytest.mark.parametrize(("error", "raised"), [(ValueError, EnvError), (InfraError, InfraError)])
def test_a_start_that_raises_is_told_apart(error: type[Exception], raised: type[Exception]) -> None:
    class Bad(Echo):
        def start(self, episode: Session) -> None:
            raise error("no disk")

    with pytest.raises(raised, match="no disk"):
        asyncio.run(Bad().areset(TASKS[0]))


MISUSE: dict[str, tuple[Callable[[Env], Any], str]] = {
    "step before reset": (lambda env: env.step("x"), "Call reset"),
    "unknown option": (lambda env: env.reset(options={"tsak": 1}), "index, split, task, got tsak"),
    "no demonstrator": (lambda env: env.demonstrator("novice"), r"\(oracle\), got 'novice'"),
}


@pytest.mark.parametrize(("misuse", "told"), MISUSE.values(), ids=MISUSE.keys())
def test_misuse_says_what_to_do(misuse: Callable[[Env], Any], told: str) -> None:
    with pytest.raises(EnvError, match=told):
        misuse(Echo())


def test_a_step_after_the_end_is_an_error() -> None:
    with pytest.raises(EnvError, match="the episode is over"):
        play(Echo(), [assistant("7"), assistant("7")])
    with pytest.raises(EnvError, match="assistant"):
        play(Echo(), [user("7")])


DECLARED: dict[str, tuple[dict[str, Any], str]] = {
    "malformed id": ({"id": "calculator"}, "an environment id like 'suite/name-v0'"),
    "function as a rubric": ({"rubric": lambda task, transcript: 1.0}, "must be a verifier"),
    "no tool": ({"tools": ["python"]}, "must hold functions, got str"),
    "tools of one name": ({"tools": [echo, tool(name="echo")(len)]}, "two tools are named 'echo'"),
    "oracle that is no function": ({"oracle": "42"}, "must be a function"),
    "oracle of three": ({"oracle": lambda a, b, c: ""}, "got 3 required parameters"),
    "demonstrators as a list": ({"demonstrators": [len]}, "must be a dict, got list"),
}


@pytest.mark.parametrize(("fields", "told"), DECLARED.values(), ids=DECLARED.keys())
def test_a_wrong_declaration_fails_where_it_is_written(fields: dict[str, Any], told: str) -> None:
    id = fields.pop("id", None)
    with pytest.raises(EnvError, match=re.escape(told)):
        types.new_class("Wrong", (Env,), {"id": id}, lambda body: body.update(fields))


def test_oracle_and_demonstrators_may_be_written_in_every_documented_way() -> None:
    def by_turn(task: Task, messages: Sequence[Message]) -> str:
        return f"{len(messages)}"

    class Many(Echo):
        demonstrators = {  # noqa: RUF012
            "text": lambda task: "a",
            "message": lambda task: call(),
            "list": lambda task: [call(), "b"],
            "turn": by_turn,
        }

    opening = [user("q")]
    after = [*opening, call(), Message(role=Role.TOOL, content="hi")]
    said = {
        name: [script(TASKS[7], messages) for messages in (opening, after)]
        for name, script in Many.demonstrators.items()
        if name in ("list", "turn")
    }
    assert said == {"list": [call(), assistant("b")], "turn": [assistant("1"), assistant("3")]}
    assert Many.demonstrators["text"](TASKS[7], opening) == assistant("a")
    assert Many.demonstrator()(TASKS[7], opening) == assistant("7")
    assert set(Many.demonstrators) == {"oracle", "text", "message", "list", "turn"}
    with pytest.raises(EnvError, match="has 1 messages, and the episode goes on"):
        Many.demonstrators["message"](TASKS[7], after)


def test_gymnasiums_face_shows_the_same_episode() -> None:
    env = Echo()
    observation, info = env.reset(seed=3, options={"task": TASKS[7]})
    assert observation == "You are terse.\n\nsay 7"
    assert info["messages"][1] == {"role": "user", "content": "say 7"}
    assert info["tools"][0]["function"]["name"] == "echo"
    action = '<tool_call>{"name": "echo", "arguments": {"text": "hé"}}</tool_call>'
    observation, reward, terminated, truncated, info = env.step(action)
    assert (observation, reward, terminated, truncated) == ("hé", 0.0, False, False)
    assert info["messages"][0]["role"] == "tool"
    assert "stop" not in info
    observation, reward, terminated, truncated, info = env.step("7")
    assert (observation, reward, terminated, truncated) == ("", 0.9, True, False)
    assert (info["stop"], info["scored"], info["solved"]) == ("solved", True, True)
    assert info["parts"] == {"exact": 1.0, "calls_used": 1.0}
    assert "[tool] hé" in env.render()


def test_reset_draws_from_the_split_that_was_asked_for() -> None:
    env = Echo()
    heldout = {env.reset(options={"split": "heldout"})[1]["task_id"] for _ in range(60)}
    train = {env.reset()[1]["task_id"] for _ in range(200)}
    assert heldout
    assert not heldout & train
    assert env.reset(options={"index": 2})[1]["task_id"] == Echo.tasks.task("train", 2).id


def test_gymnasiums_face_starts_no_event_loop_where_nothing_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise AssertionError("an event loop was made")

    monkeypatch.setattr(asyncio, "new_event_loop", refuse)
    env = Echo()
    env.reset(seed=1)
    assert env.step(call())[0] == "hi"
    assert env.step("x")[2]


class Async(Env):
    tasks = listed(TASKS)
    rubric = exact()

    async def start(self, episode: Session) -> None:
        await asyncio.sleep(0)
        episode.state["ready"] = True

    @tool(timeout_s=5)
    async def slow(self, episode: Session) -> str:
        """Wait."""
        await asyncio.sleep(0.001)
        return json.dumps(episode.state)


def test_async_tools_work_on_both_faces_even_inside_a_running_loop() -> None:
    message = assistant("", tool_call("slow"))

    def on_gymnasium() -> str:
        env = Async()
        env.reset(seed=1)
        return env.step(message)[0]

    async def inside_a_loop() -> str:
        return on_gymnasium()

    native = play(Async(), [message], TASKS[1])[0].messages[0].content
    assert native == on_gymnasium() == asyncio.run(inside_a_loop()) == '{"ready": true}'


def test_a_verifier_that_waits_is_awaited_on_the_native_face_only() -> None:
    ways: list[str] = []

    class Waits(Verifier):
        def check(self, task: Task, transcript: Transcript) -> float:
            ways.append("in place")
            return 1.0

        async def acheck(self, task: Task, transcript: Transcript) -> float:
            await asyncio.sleep(0)
            ways.append("awaited")
            return 1.0

    class Slow(Env):
        tasks = listed(TASKS)
        rubric = Waits()

    play(Slow(), [assistant("x")], TASKS[1])
    env = Slow()
    env.reset(seed=1)
    env.step("x")
    assert ways == ["awaited", "in place"]


def test_verifiers_see_the_episodes_state() -> None:
    @verifier
    def at_two(task: Task, transcript: Transcript) -> bool:
        return bool(transcript.state["count"] == 2)

    class Judged(Counter):
        rubric = at_two

    said = [assistant("", tool_call("add", amount=2))]
    (last,) = play(Judged(), said)
    assert last.score is not None
    assert (last.reward, last.score.value) == (1.5, 1.0)
