"""What customers of the shop ask for, and how its books must look when they have been served."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from proofgym.envs.library.tools.shop_data import REASONS, Books, make_address, make_books
from proofgym.verifiers import Secret, Task

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One customer's wish.

    Args:
        text: what is asked for, after the introduction.
        calls: what serves it, after the customer has been found.
        change: makes in the books what the calls make.
    """

    text: str
    calls: tuple[Call, ...]
    change: Callable[[Books], None]


Maker = Callable[[np.random.Generator, Books, str], Request]


def _cancel(rng: np.random.Generator, books: Books, user: str) -> Request:
    order_id = _order_with(books, user, "pending")
    reason = str(rng.choice(REASONS))
    text = f"Please cancel my order {order_id}: it is {reason}."
    if reason == REASONS[1]:
        text = f"Please cancel my order {order_id}: I ordered it by mistake."
    call = ("cancel_order", {"order_id": order_id, "reason": reason})
    return Request(text=text, calls=(call,), change=lambda b: _cancelled(b, order_id, reason))


def _move(rng: np.random.Generator, books: Books, user: str) -> Request:
    order_id = _order_with(books, user, "pending")
    while (address := make_address(rng)) == books["orders"][order_id]["address"]:
        pass  # a change that changes nothing would be done by doing nothing
    call = ("change_address", {"order_id": order_id, "address": address})
    return Request(
        text=f"My order {order_id} must go to {address} instead.",
        calls=(call,),
        change=lambda b: b["orders"][order_id].update(address=address),
    )


def _return(rng: np.random.Generator, books: Books, user: str) -> Request:
    order_id = _order_with(books, user, "delivered")
    items = [str(one) for one in rng.choice(list(books["orders"][order_id]["items"]), 1)]
    call = ("return_items", {"order_id": order_id, "items": items})
    return Request(
        text=f"I want to return the {items[0]} of my order {order_id}.",
        calls=(call,),
        change=lambda b: _returned(b, order_id, items),
    )


def _dearest_returned(rng: np.random.Generator, books: Books, user: str) -> Request:
    order_id = _order_with(books, user, "delivered")
    prices = books["orders"][order_id]["items"]
    dearest = max(prices, key=lambda item: (prices[item], item))
    calls: tuple[Call, ...] = (
        ("get_order", {"order_id": order_id}),
        ("return_items", {"order_id": order_id, "items": [dearest]}),
    )
    return Request(
        text="Of my order that has been delivered I return the item that cost most.",
        calls=calls,
        change=lambda b: _returned(b, order_id, [dearest]),
    )


def _move_and_return(rng: np.random.Generator, books: Books, user: str) -> Request:
    one, two = _move(rng, books, user), _return(rng, books, user)

    def change(after: Books) -> None:
        one.change(after)
        two.change(after)

    return Request(text=f"{one.text} And {two.text}", calls=(*one.calls, *two.calls), change=change)


def _too_late(rng: np.random.Generator, books: Books, user: str) -> Request:
    order_id = _order_with(books, user, "processed")
    wish = str(rng.choice(("cancel it", "change its address to 5 Hill Road", "return all of it")))
    return Request(
        text=f"It is about my order {order_id}. Please {wish}.",
        calls=(("transfer_to_human", {"order_id": order_id}),),
        change=lambda b: b["transfers"].append([user, order_id]),
    )


LEVELS: Mapping[str, tuple[Maker, ...]] = {
    "one change": (_cancel, _move, _return),
    "look first": (_dearest_returned,),
    "two changes": (_move_and_return,),
    "not allowed": (_too_late,),
}


def pose(rng: np.random.Generator, index: int) -> Task:
    """Make books, and a request of the index's level."""
    level = list(LEVELS)[index % len(LEVELS)]
    books = make_books(rng)
    user_id = str(rng.choice(list(books["users"])))
    user = books["users"][user_id]
    request = LEVELS[level][int(rng.integers(len(LEVELS[level])))](rng, books, user_id)
    after = copy.deepcopy(books)
    request.change(after)
    prompt = f"Hello, I am {user['name']}, postal code {user['zip']}. {request.text}"
    first: Call = ("find_user", {"name": user["name"], "zip": user["zip"]})
    return Task(
        id=prompt,
        prompt=prompt,
        data={"books": books},
        hidden={"state": Secret(after), "calls": Secret([first, *request.calls])},
        difficulty=level,
    )


def _order_with(books: Books, user: str, status: str) -> str:
    own = [str(one) for one in books["users"][user]["orders"]]
    return next(one for one in own if books["orders"][one]["status"] == status)


def _cancelled(books: Books, order_id: str, reason: str) -> None:
    order = books["orders"][order_id]
    total = sum(order["items"].values())
    order.update(status="cancelled", reason=reason, refund=total)
    _credit(books, order, total)


def _returned(books: Books, order_id: str, items: list[str]) -> None:
    order = books["orders"][order_id]
    refund = sum(order["items"][item] for item in items)
    order.update(returned=sorted(items), refund=refund)
    _credit(books, order, refund)


def _credit(books: Books, order: Books, amount: int) -> None:
    if order["paid_with"] == "gift card":
        books["users"][order["user_id"]]["gift_card"] += amount
