import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofgym.agents import Driver, Scripted, evaluate, report_on
from proofgym.agents.evaluation import clustered_wilson
from proofgym.envs import Blame, Episode, Fault, Stop, environment_class
from proofgym.verifiers import ErrorKind, Message, Score, Task, assistant, tool_call

YES, NO = True, False

# Worked on paper from n_eff and Wilson's formula. 0 of 20: Newcombe 1998, table I, method 3, which
# has 0.0000 to 0.1611. Two tasks twice: p (1 - p) / SE^2 (z / t)^2 = 0.07, so the least, 2, holds.
INTERVALS = {
    "8 of 10 independent tasks": ([[YES]] * 8 + [[NO]] * 2, 0.8, 0.4902, 0.9433),
    "two tasks twice, n_eff 2": ([[YES, YES], [NO, YES]], 0.75, 0.1979, 0.9733),
    # the clusters decide: residuals 2, 1, 0, 0, -1, -2 of 24, SE^2 = 6/5 * 10 / 24^2 = 1/48, t of 5
    # degrees of freedom 2.570582, so n_eff = 1/4 * 48 * (1.959964 / 2.570582)^2 = 6.9761
    "six tasks four times": (
        [[YES] * solved + [NO] * (4 - solved) for solved in (4, 3, 2, 2, 1, 0)],
        0.5,
        0.2020,
        0.7980,
    ),
    "tasks drawn 3, 1, 1 times": ([[NO] * 3, [NO], [NO]], 0.0, 0.0, 0.6283),  # n_eff 5^2 / 11
    "0 of 20": ([[NO]] * 20, 0.0, 0.0, 0.1611),
    "0 of 100 on 20 tasks counts tasks": ([[NO] * 5] * 20, 0.0, 0.0, 0.1611),
    "20 of 20": ([[YES]] * 20, 1.0, 0.8389, 1.0),
}


@pytest.mark.parametrize(
    ("outcomes", "value", "low", "high"), INTERVALS.values(), ids=INTERVALS.keys()
)
def test_intervals_equal_those_worked_on_paper(
    outcomes: list[list[bool]], value: float, low: float, high: float
) -> None:
    rate = clustered_wilson(outcomes)
    assert (rate.value, rate.low, rate.high) == pytest.approx((value, low, high), abs=5e-5)
    assert rate.tasks == len(outcomes)
    assert rate.attempts == sum(len(cluster) for cluster in outcomes)


def test_attempts_that_repeat_one_another_add_nothing() -> None:
    once = clustered_wilson([[YES], [NO], [YES], [NO]])
    often = clustered_wilson([[YES] * 8, [NO] * 8, [YES] * 8, [NO] * 8])
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


OUTCOMES = st.lists(st.lists(st.booleans(), max_size=5), max_size=12)


@settings(deadline=None)
@given(OUTCOMES)
def test_the_interval_holds_the_rate_and_mirrors_its_complement(
    outcomes: list[list[bool]],
) -> None:
    rate = clustered_wilson(outcomes)
    if not any(outcomes):
        assert math.isnan(rate.value)
        assert (rate.low, rate.high, rate.attempts) == (0.0, 1.0, 0)
        return
    assert 0 <= rate.low <= rate.value + 1e-12
    assert rate.value - 1e-12 <= rate.high <= 1
    mirror = clustered_wilson([[not one for one in cluster] for cluster in outcomes])
    assert (mirror.low, mirror.high) == pytest.approx((1 - rate.high, 1 - rate.low), abs=1e-9)


def episode(
    task: str, *, solved: bool | None, level: str | None = None, calls: int = 0, cost: float = 0.0
) -> Episode:
    call = assistant("", *[tool_call("calculator")] * calls)
    fault = None
    if solved is None:
        score = Score.unscored(ErrorKind.CRASHED, "verifier broke")
        fault = Fault(blame=Blame.ENVIRONMENT, phase="score", message="verifier broke")
    else:
        score = Score(value=float(solved) - cost, solved=solved)
    messages: tuple[Message, ...] = (call,) if calls else ()
    return Episode(
        env_id="e",
        task_id=task,
        group=0,
        rollout=0,
        seed=0,
        messages=messages,
        rewards=() if solved is None else (float(solved) - cost,),
        score=score,
        stop=Stop.ENV_ERROR if fault else Stop.SOLVED if solved else Stop.FINISHED,
        fault=fault,
        difficulty=level,
    )


def test_unscored_episodes_are_counted_apart_and_never_as_failures() -> None:
    report = report_on(
        [episode("a", solved=True), episode("b", solved=None), episode("c", solved=None)],
        seconds=1.0,
    )
    assert report.pass_at_1.value == 1.0
    assert report.pass_at_1.attempts == 1
    assert report.reward_mean == 1.0
    assert report.unscored == 2
    assert report.stops == {"solved": 1, "env_error": 2}


def test_levels_have_their_own_rates() -> None:
    report = report_on(
        [
            episode("a", solved=True, level="easy"),
            episode("b", solved=False, level="easy", calls=2),
            episode("c", solved=True, level="hard", calls=1, cost=0.15),
            episode("d", solved=None, level="hard"),
            episode("e", solved=False),
        ],
        seconds=1.0,
    )
    assert sorted(report.levels) == ["easy", "hard"]
    assert report.levels["easy"].pass_at_1.value == 0.5
    assert report.levels["easy"].call_rate.value == 0.5
    assert report.levels["hard"].pass_at_1.attempts == 1
    assert report.levels["hard"].call_rate.value == 1.0
    assert report.pass_at_1.value == 0.5, "solved is kept apart from the call's cost"
    assert report.reward_mean == pytest.approx((1 + 0 + 0.85 + 0) / 4)


def test_nothing_scored_is_nan_and_not_zero() -> None:
    report = report_on([episode("a", solved=None)], seconds=1.0)
    assert math.isnan(report.pass_at_1.value)
    assert math.isnan(report.reward_mean)


def test_every_task_is_played_so_often_and_the_same_seed_plays_the_same() -> None:
    calculator = environment_class("tools/calculator-v0")
    tasks: list[Task] = [calculator.tasks.task("heldout", index) for index in range(3)]

    def run(seed: int) -> list[Episode]:
        driver = Driver(calculator, Scripted(calculator.demonstrator("hurried")))
        return asyncio.run(evaluate(driver, tasks, attempts=2, seed=seed))

    episodes = run(0)
    assert [one.task_id for one in episodes] == [task.id for task in tasks for _ in range(2)]
    assert [(one.group, one.rollout) for one in episodes] == [
        (group, rollout) for group in range(3) for rollout in range(2)
    ]
    assert len({one.seed for one in episodes}) == 6
    assert [one.seed for one in run(0)] == [one.seed for one in episodes]
    assert not {one.seed for one in run(1)} & {one.seed for one in episodes}
    assert report_on(episodes, seconds=0.1).pass_at_1.tasks == len({task.id for task in tasks})
