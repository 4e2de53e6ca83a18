"""The shop's books: users and orders, made from a generator."""

from typing import Any, Final

import numpy as np

FIRST: Final = [
    "Aisha",
    "Bela",
    "Carlos",
    "Daria",
    "Eino",
    "Farid",
    "Gina",
    "Henrik",
    "Inga",
    "Jamal",
    "Kirsi",
    "Liam",
]
LAST: Final = [
    "Adler",
    "Bianchi",
    "Costa",
    "Dupont",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Hansen",
    "Ito",
    "Jansen",
]
PRODUCTS: Final = {
    "lamp": 35,
    "kettle": 42,
    "backpack": 60,
    "headphones": 120,
    "notebook": 6,
    "water bottle": 18,
    "desk chair": 190,
    "umbrella": 25,
}
STATUSES: Final = ("pending", "processed", "delivered", "cancelled")
STREETS: Final = ["Oak Street", "Mill Lane", "Station Road", "High Street", "Park Avenue"]
REASONS: Final = ("no longer needed", "ordered by mistake")
Books = dict[str, Any]


def make_books(rng: np.random.Generator, *, users: int = 4, orders: int = 3) -> Books:
    """Make users, each with some orders of every status."""
    books: Books = {"users": {}, "orders": {}, "transfers": []}
    names = [(f, n) for f in FIRST for n in LAST]
    for pick in rng.choice(len(names), users, replace=False):
        first, last = names[int(pick)]
        user_id = f"{first.lower()}_{last.lower()}_{int(rng.integers(1000, 10_000))}"
        books["users"][user_id] = {
            "name": f"{first} {last}",
            "zip": str(int(rng.integers(10_000, 100_000))),
            "email": f"{first.lower()}.{last.lower()}@example.com",
            "address": make_address(rng),
            "gift_card": int(rng.integers(0, 200)),
            "orders": [],
        }
        for place in range(orders):
            order_id = f"#W{int(rng.integers(10**6, 10**7))}"
            books["users"][user_id]["orders"].append(order_id)
            status = STATUSES[place % 3] if place < 3 else str(rng.choice(STATUSES))
            books["orders"][order_id] = _order(rng, user_id, books["users"][user_id], status)
    return books


def make_address(rng: np.random.Generator) -> str:
    """Make a street and a number."""
    return f"{int(rng.integers(1, 200))} {rng.choice(STREETS)}"


def _order(rng: np.random.Generator, user_id: str, user: Books, status: str) -> Books:
    chosen = [
        str(one) for one in rng.choice(list(PRODUCTS), int(rng.integers(2, 4)), replace=False)
    ]
    return {
        "user_id": user_id,
        "status": status,
        "address": user["address"],
        "items": {item: PRODUCTS[item] for item in chosen},
        "paid_with": str(rng.choice(("credit card", "gift card"))),
        "refund": 0,
        "returned": [],
        "reason": "",
    }
