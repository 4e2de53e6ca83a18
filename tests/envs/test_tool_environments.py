"""The shop, and the searched world."""

import json
from typing import Any

import pytest

from proofgym.envs import environment_class, make
from proofgym.envs.library.tools.atlas import atlas, find
from proofgym.verifiers import Task, assistant, tool_call


def shop(level: str, index: int = 0) -> tuple[Any, Task]:
    env = make("tools/shop-v0")
    tasks = (env.tasks.task("train", i) for i in range(200))
    task = [t for t in (next(tasks) for _ in range(60)) if t.difficulty == level][index]
    env.reset(seed=1, options={"task": task})
    return env, task


def call(env: Any, tool: str, /, **arguments: Any) -> Any:
    return env.step(assistant("", tool_call(tool, **arguments)))


def test_nothing_is_shown_or_changed_before_the_customer_is_found() -> None:
    env, task = shop("one change")
    name, arguments = task.hidden["calls"].reveal()[-1]
    assert call(env, name, **arguments)[0] == "error: find the customer first"
    before = json.dumps(env.episode.state["orders"])
    assert json.dumps(task.data["books"]["orders"]) == before
    found = call(env, "find_user", name="nobody", zip="1")[0]
    assert found == "error: no customer has this name and postal code"


def test_another_customers_order_cannot_be_touched() -> None:
    env, task = shop("one change")
    find_user, _ = task.hidden["calls"].reveal()
    call(env, find_user[0], **find_user[1])
    served = env.episode.state["served"]
    other = next(o for o, v in env.episode.state["orders"].items() if v["user_id"] != served)
    told = call(env, "get_order", order_id=other)[0]
    assert told == "error: the customer has no order with this number"


def test_a_change_that_was_not_asked_for_loses_the_reward() -> None:
    env, task = shop("one change")
    find_user, _ = task.hidden["calls"].reveal()
    call(env, find_user[0], **find_user[1])
    state = env.episode.state
    own = state["users"][state["served"]]["orders"]
    pending = next(o for o in own if state["orders"][o]["status"] == "pending")
    call(env, "change_address", order_id=pending, address="1 Wrong Way")
    *_, info = env.step(assistant("It is done."))
    assert (info["score"], info["solved"]) == (0.0, False)


def test_the_policy_is_kept_by_the_tools() -> None:
    env, task = shop("not allowed")
    find_user, transfer = task.hidden["calls"].reveal()
    call(env, find_user[0], **find_user[1])
    order_id = transfer[1]["order_id"]
    told = call(env, "cancel_order", order_id=order_id, reason="no longer needed")[0]
    assert told == "error: expected a pending order, got a processed one"
    told = call(env, "cancel_order", order_id=order_id, reason="too dear")[0]
    assert told.startswith("error: cancel_order: reason")
    two = (tool_call("transfer_to_human", order_id=order_id), tool_call("get_order", order_id="1"))
    assert "must be the only call" in env.step(assistant("", *two))[0]
    *_, terminated, _, info = call(env, "transfer_to_human", order_id=order_id)
    assert (terminated, info["solved"]) == (True, True)


def test_a_refund_goes_to_the_gift_card_that_paid() -> None:
    env = make("tools/shop-v0")
    for index in range(0, 200, 4):
        task = env.tasks.task("train", index)
        books, after = task.data["books"], task.hidden["state"].reveal()
        (_, arguments) = task.hidden["calls"].reveal()[-1]
        order = books["orders"][arguments["order_id"]]
        if task.hidden["calls"].reveal()[-1][0] == "cancel_order":
            total = sum(order["items"].values())
            user = order["user_id"]
            paid = after["users"][user]["gift_card"] - books["users"][user]["gift_card"]
            assert paid == (total if order["paid_with"] == "gift card" else 0)
            assert after["orders"][arguments["order_id"]]["refund"] == total


def test_every_request_needs_a_change() -> None:
    source = environment_class("tools/shop-v0").tasks
    for index in range(80):
        task = source.task("train", index)
        assert task.hidden["state"].reveal() != task.data["books"]


def test_search_finds_the_article_that_it_is_asked_for_first() -> None:
    for title in list(atlas().articles())[::7]:
        assert find(title)[0][0] == title


@pytest.mark.parametrize(
    "query", ["", '"', "NEAR(", "title:", "a* OR", "'; DROP TABLE articles; --", "é\x00\ud800", "^"]
)
def test_search_takes_any_text_as_words(query: str) -> None:
    assert isinstance(find(query), list)
    assert find("Lake")


def test_a_question_cannot_be_answered_from_one_article_when_it_needs_more() -> None:
    source = environment_class("tools/multi-hop-v0").tasks
    articles = atlas().articles()
    for index in range(40):
        task = source.task("train", index)
        first = task.hidden["queries"].reveal()[0]
        assert task.answer.reveal() not in articles[first]


@pytest.mark.parametrize(("said", "right"), [("{}", True), (" {}. ", True), ("It is {}", False)])
def test_the_final_text_is_the_answer(said: str, right: bool) -> None:
    env = make("tools/search-v0")
    task = env.tasks.task("train", 0)
    env.reset(seed=1, options={"task": task})
    assert env.step(said.format(task.answer.reveal().upper()))[4]["solved"] is right
