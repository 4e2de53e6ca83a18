"""Arithmetic, equations, word problems and countdown."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofgym.envs import environment_class, make
from proofgym.envs.library.math.expression import (
    Expression,
    Operation,
    UnreadableError,
    numbers,
    read,
    steps,
    value,
    written,
)

expressions = st.recursive(
    st.integers(0, 99),
    lambda inner: st.builds(
        lambda left, sign, right: Operation(left=left, sign=sign, right=right),
        inner,
        st.sampled_from("+-*/"),
        inner,
    ),
    max_leaves=8,
)


@given(expressions)
def test_a_written_expression_reads_back_to_the_same_value(expression: Expression) -> None:
    again = read(written(expression))
    assert numbers(again) == numbers(expression)
    try:
        expected = value(expression)
    except ZeroDivisionError:
        return
    assert value(again) == expected
    # Python's own parser, on the same text in exact fractions
    assert eval(re.sub(r"(\d+)", r"Fraction(\1)", written(expression)), {"Fraction": Fraction}) == (
        expected
    )


UNREADABLE = (
    *("", "1+", "(1", "1)", "-1", "1 2", "2**3", "1//2", "x", "1.5", "1e3", "__import__('os')"),
    *("(" * 50 + "1" + ")" * 50, "1+" * 200 + "1", "１+2", "9" * 10),
)


@pytest.mark.parametrize("text", UNREADABLE)
def test_anything_else_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableError):
        read(text)


def test_steps_are_what_a_calculator_of_one_operation_does() -> None:
    assert list(steps(read("(2 + 3) * 4 - 6 * 2"))) == [
        (2, "+", 3),
        (5, "*", 4),
        (6, "*", 2),
        (20, "-", 12),
    ]


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("<answer>(1 + 2) * 3</answer>", True),
        ("I try.\n<answer> 3*(2+1) = 9 </answer>", True),
        ("<answer>3 × (2 + 1)</answer>", True),
        ("<answer>9</answer>", False),
        ("<answer>3 * 3</answer>", False),
        ("<answer>1 + 2 + 3</answer>", False),
        ("<answer>(1+2)*3 + 3 - 3</answer>", False),
        ("<answer>(1 + 2) * 3", False),
        ("<answer>1</answer><answer>(1 + 2) * 3</answer>", False),
        ("<answer>3 / (1 - 1)</answer>", False),
        ("(1 + 2) * 3", False),
    ],
)
def test_countdown_pays_for_an_expression_that_uses_each_number_once(
    said: str, right: bool
) -> None:
    cls = environment_class("math/countdown-v0")
    posed = cls.tasks.task("train", 0)
    task = type(posed)(id="t", prompt="p", data={"numbers": [1, 2, 3], "target": 9})
    env = cls()
    env.reset(seed=1, options={"task": task})
    assert env.step(said)[4]["solved"] is right


def test_quadratic_and_system_answers_fit_their_equations() -> None:
    source = environment_class("math/equations-v0").tasks
    for index in range(0, 60, 3):
        linear, quadratic, system = (source.task("train", index + n) for n in range(3))
        a, b, c, d = map(
            int,
            re.findall(r"(-?\+?\d+)x([+-]\d+)", linear.prompt)[0]
            + re.findall(r"(-?\+?\d+)x([+-]\d+)", linear.prompt)[1],
        )
        x = int(linear.answer.reveal())
        assert a * x + b == c * x + d
        p, q = map(int, re.findall(r"\^2([+-]\d+)x([+-]\d+)", quadratic.prompt)[0])
        for root in map(int, re.findall(r"-?\d+", quadratic.answer.reveal())):
            assert root**2 + p * root + q == 0
        x, y = map(int, re.findall(r"-?\d+", system.answer.reveal()))
        found = re.findall(r"(\d+)x([+-]\d+)y = (-?\d+)", system.prompt)
        assert all(int(m) * x + int(n) * y == int(k) for m, n, k in found)
        assert len(found) == 2


@pytest.mark.parametrize(
    ("id", "said", "right"),
    [
        ("math/equations-v0", "\\boxed{\\{5, -2\\}}", True),
        ("math/equations-v0", "\\boxed{x = -2 \\text{ or } x = 5}", True),
        ("math/equations-v0", "\\boxed{5}", False),
        ("math/equations-v0", "\\boxed{\\{5, 2\\}}", False),
    ],
)
def test_a_set_of_roots_may_be_written_in_several_ways(id: str, said: str, right: bool) -> None:
    env = make(id)
    posed = env.tasks.task("train", 1)
    task = type(posed)(id="q", prompt="q", answer=type(posed.answer)("\\{-2, 5\\}"))
    env.reset(seed=1, options={"task": task})
    assert env.step(said)[4]["solved"] is right


def test_a_word_problem_can_be_followed_sentence_by_sentence() -> None:
    source = environment_class("math/word-problems-v0").tasks
    for index in range(60):
        task = source.task("train", index)
        assert str(follow(str(task.prompt))) == task.answer.reveal()


def follow(story: str) -> int:
    """Read a story with rules of our own, apart from those that made it."""
    times = {"twice": 2, "three times": 3, "four times": 4}
    parts = {"half": 2, "a third": 3, "a quarter": 4}
    first, *sentences, _ = re.split(r"(?<=[.?]) ", story)
    count = int(re.findall(r"\d+", first)[0])
    for sentence in sentences:
        found = [int(n) for n in re.findall(r"\d+", sentence)]
        if "buys" in sentence:
            count += found[0] * found[1]
        elif "gives" in sentence:
            count -= found[0]
        elif "year later" in sentence:
            count *= next(n for words, n in times.items() if f"has {words}" in sentence)
        elif "spreads" in sentence:
            count //= found[0]
        else:
            count -= count // next(n for words, n in parts.items() if f"Then {words}" in sentence)
    return count
