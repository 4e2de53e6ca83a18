"""The environments that proofgym brings."""

import asyncio
from collections import Counter

import pytest

from proofgym.envs import Env, Stop, Transition, environment_class, make
from proofgym.envs.library.tools.calculator import calculator
from proofgym.verifiers import Message, Task, assistant, tool_call


def demonstrate(cls: type[Env], name: str, task: Task) -> tuple[list[Transition], list[Message]]:
    async def go() -> tuple[list[Transition], list[Message]]:
        env = cls()
        opening = await env.areset(task, seed=1)
        said, transitions = list(opening.messages), list[Transition]()
        while not transitions or transitions[-1].stop is None:
            said.append(cls.demonstrator(name)(task, said))
            transitions.append(await env.astep(said[-1]))
            said.extend(transitions[-1].messages)
        return transitions, said

    return asyncio.run(go())


def outcomes(id: str, name: str, count: int = 200) -> list[tuple[Task, float, bool, int]]:
    cls = environment_class(id)
    found = []
    for index in range(count):
        task = cls.tasks.task("train", index)
        transitions, said = demonstrate(cls, name, task)
        score = transitions[-1].score
        assert score is not None
        total = sum(transition.reward for transition in transitions)
        calls = sum(len(message.tool_calls) for message in said)
        found.append((task, total, bool(score.solved), calls))
    return found


def test_calculator_tasks_keep_their_shares() -> None:
    source = environment_class("tools/calculator-v0").tasks
    for split in ("train", "heldout"):
        tasks = [source.task(split, index) for index in range(1000)]
        assert Counter(task.difficulty for task in tasks) == {"easy": 400, "hard": 600}
        kinds = Counter(task.data["calls"] for task in tasks)
        assert kinds[0] == 400
        assert 240 < kinds[1] < 360


def test_calculator_demonstrators_differ_in_what_they_call() -> None:
    by_name = {
        name: outcomes("tools/calculator-v0", name) for name in ("oracle", "caller", "hurried")
    }
    for task, _, solved, calls in by_name["oracle"]:
        assert (calls, solved) == (task.data["calls"], True)
    for task, reward, solved, calls in by_name["caller"]:
        assert (calls, solved) == (max(1, task.data["calls"]), True)
        assert reward == pytest.approx(0.85)
    for task, _, solved, calls in by_name["hurried"]:
        assert calls == 0
        assert solved or task.difficulty == "hard"
    guessed = [solved for task, _, solved, _ in by_name["hurried"] if task.difficulty == "hard"]
    assert sum(guessed) / len(guessed) < 0.1


@pytest.mark.parametrize(
    ("expression", "result"),
    [("12*34", "408"), (" 7 - 9 ", "-2"), ("-2+-3", "-5"), ("3--4", "7"), ("99*99", "9801")],
)
def test_the_calculator_works_out_one_operation(expression: str, result: str) -> None:
    assert calculator(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "2",
        "1+2+3",
        "2**9",
        "7/2",
        "1.5*2",
        "__import__('os')",
        "9" * 13 + "*2",
        "２*３",
        "2 3*4",
    ],
)
def test_the_calculator_refuses_anything_else_in_words(expression: str) -> None:
    env = make("tools/calculator-v0")
    env.reset(seed=1)
    reply = env.step(assistant("", tool_call("calculator", expression=expression)))
    assert reply[0].startswith("error: give one operation")
    assert not reply[2]


def test_a_call_costs_the_same_share_whatever_is_needed() -> None:
    env = make("tools/calculator-v0")
    task = next(t for i in range(99) if (t := env.tasks.task("train", i)).data["calls"] == 2)
    env.reset(seed=1, options={"task": task})
    script = [env.demonstrator()(task, env.episode.messages)]
    env.step(script[0])
    env.step(script[0])
    env.step(script[0])
    assert task.answer is not None
    assert env.step(task.answer.reveal())[1] == pytest.approx(1 - 0.15 * 3 / 2)


@pytest.mark.parametrize(
    ("said", "right"),
    [("=15", True), ("15", True), ("4,9,11,15=15", True), ("15=", False), ("4=15=3", False)],
)
def test_a_sum_is_what_stands_behind_the_last_equals_sign(said: str, right: bool) -> None:
    env = make("math/sums-v0")
    posed = environment_class("math/sums-v0").tasks.task("train", 0)
    numbers = "4+5+2+4"
    task = Task(id=numbers, prompt=numbers, answer=type(posed.answer)("15"))
    env.reset(seed=1, options={"task": task})
    assert env.step(said)[4]["solved"] is right


def test_direct_sums_are_mostly_wrong_and_worked_ones_right() -> None:
    direct = [solved for _, _, solved, _ in outcomes("math/sums-v0", "direct")]
    assert 0.02 < sum(direct) / len(direct) < 0.4
    task = environment_class("math/sums-v0").tasks.task("train", 3)
    worked = environment_class("math/sums-v0").demonstrator()(task, [])
    assert worked.content.count(",") == str(task.prompt).count("+")


def test_guessing_pays_at_the_right_number_and_charges_wasted_turns() -> None:
    env = make("games/guess-number-v0")
    source = env.tasks
    task = next(
        t for i in range(99) if (t := source.task("train", i)).answer.reveal() in range(10, 20)
    )
    env.reset(seed=1, options={"task": task})
    rewards = [env.step(action)[1] for action in ("5", "4", "twenty", "99", "30")]
    assert rewards == [0.0, -0.1, -0.1, -0.1, 0.0]
    observation, reward, terminated, _, info = env.step(str(task.answer.reveal()))
    assert (observation, reward, terminated, info["solved"]) == ("right", 1.0, True, True)
    assert info["score"] == pytest.approx(0.7)


def test_bisecting_always_finds_the_number() -> None:
    cls = environment_class("games/guess-number-v0")
    for index in range(60):
        transitions, _ = demonstrate(cls, "bisect", cls.tasks.task("train", index))
        assert transitions[-1].stop is Stop.SOLVED
        assert len(transitions) <= 5
    numbers = {cls.tasks.task("train", index).answer.reveal() for index in range(300)}
    assert 20 < len(numbers) < 31


def test_guessing_ends_at_the_turn_limit() -> None:
    env = make("games/guess-number-v0")
    env.reset(seed=1)
    results = [env.step("0") for _ in range(6)]
    assert [result[3] for result in results] == [False] * 5 + [True]
    assert results[-1][4]["solved"] is False


def test_a_prompt_and_a_task_id_do_not_tell_the_number() -> None:
    source = environment_class("games/guess-number-v0").tasks
    tasks = [source.task("train", index) for index in range(50)]
    assert len({task.prompt for task in tasks}) == 1
    assert len({task.id for task in tasks}) == len({t.answer.reveal() for t in tasks})
