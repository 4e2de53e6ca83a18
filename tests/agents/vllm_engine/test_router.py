"""Which of several servers takes a request."""

from hypothesis import given
from hypothesis import strategies as st

from proofgym.agents.vllm_engine.router import Router

BOTH = ["a", "b"]


def test_requests_go_to_the_least_loaded() -> None:
    router = Router(BOTH)
    taken = [router.take([number], BOTH) for number in range(4)]
    assert taken == ["a", "b", "a", "b"]

    router.give_back("b")
    assert router.take([9], BOTH) == "b"


def test_the_next_turn_goes_to_the_server_that_read_the_last_one() -> None:
    router = Router(BOTH)
    opening = list(range(100))
    first = router.take(opening, BOTH)
    router.take([1], BOTH)
    router.give_back("b")  # now the other is idler

    assert router.take([*opening, 5, 6], BOTH) == first == "a"


def test_a_busy_server_is_left_although_it_knows_the_prompt() -> None:
    router = Router(BOTH)
    taken = [router.take(list(range(100)), BOTH) for _ in range(10)]
    assert taken.count("a") == taken.count("b") == 5


def test_a_server_that_is_down_takes_nothing() -> None:
    router = Router(BOTH)
    prompt = list(range(100))
    assert router.take(prompt, BOTH) == "a"
    assert [router.take(prompt, ["b"]) for _ in range(20)] == ["b"] * 20


def test_a_restarted_server_is_not_preferred_for_what_it_had_read() -> None:
    router = Router(BOTH)
    prompt = list(range(100))
    router.take(prompt, BOTH)
    router.forget("a")
    assert router.take(prompt, BOTH) == "b"


@given(st.lists(st.lists(st.integers(0, 9), max_size=200), max_size=40))
def test_loads_add_up_and_stay_near_each_other(prompts: list[list[int]]) -> None:
    router = Router(BOTH)
    taken = [router.take(prompt, BOTH) for prompt in prompts]

    assert (router.load("a"), router.load("b")) == (taken.count("a"), taken.count("b"))
    assert abs(router.load("a") - router.load("b")) <= 5 + len(prompts) // 8
    for one in taken:
        router.give_back(one)
    assert router.load("a") == router.load("b") == 0
