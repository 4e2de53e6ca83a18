"""tools/shop-v0: serve a customer within the shop's policy, by changing its books."""

import copy
from typing import Any, Literal

from proofgym.envs.env import Env
from proofgym.envs.errors import ToolError
from proofgym.envs.library.tools.shop_data import Books
from proofgym.envs.library.tools.shop_requests import pose
from proofgym.envs.limits import Limits
from proofgym.envs.session import Session
from proofgym.envs.tasks import generated
from proofgym.envs.tools import tool
from proofgym.verifiers import Message, Task, assistant, end_state, tool_call

POLICY = """You serve customers of a shop by calling its tools.

- First find the customer with find_user; then act only on that customer's own orders.
- A pending order can be cancelled, as a whole, for one of two reasons: no longer needed, or \
ordered by mistake. What was paid is refunded; what was paid with the gift card goes back to it.
- The address of a pending order can be changed.
- Items of a delivered order can be returned. They are refunded at the price paid.
- Anything else, such as changing a processed order or cancelling for another reason, is not \
possible: hand the customer over with transfer_to_human, alone in its message, and change nothing.
- When all is done, say so in a short message."""


def serve(task: Task) -> list[Message]:
    """Make the calls with which the request was made, then say that it is done."""
    calls = task.hidden["calls"].reveal()
    said = [assistant("", tool_call(name, **arguments)) for name, arguments in calls]
    return said if calls[-1][0] == "transfer_to_human" else [*said, assistant("It is done.")]


class Shop(Env, id="tools/shop-v0"):
    """Serve a customer of a shop: look up users and orders, and change them within a policy.

    In the manner of tau-bench's retail domain: what counts is whether the books are at the end as
    they should be, whatever was said. Every request needs a change: where the policy forbids what
    is asked for, handing over to a human (a terminal tool) is the right one.
    """

    system = POLICY
    tasks = generated(pose)
    rubric = end_state()
    limits = Limits(turns=12, tool_calls=16, tokens=4096, seconds=180)
    oracle = serve

    def start(self, episode: Session) -> None:
        """Open the task's books."""
        episode.state.update(copy.deepcopy(episode.task.data["books"]))
        episode.state["served"] = None

    @tool
    def find_user(self, name: str, zip: str, episode: Session) -> dict[str, Any]:
        """Find a customer, and begin to serve them.

        Args:
            name: first and last name.
            zip: the postal code.
        """
        for user_id, user in episode.state["users"].items():
            if user["name"].casefold() == name.strip().casefold() and user["zip"] == zip.strip():
                episode.state["served"] = user_id
                return {"user_id": user_id, **user}
        raise ToolError("no customer has this name and postal code")

    @tool
    def get_order(self, order_id: str, episode: Session) -> Books:
        """Show one of the customer's orders.

        Args:
            order_id: such as #W1234567
        """
        return _own_order(episode, order_id)

    @tool(exclusive=True)
    def cancel_order(
        self,
        order_id: str,
        reason: Literal["no longer needed", "ordered by mistake"],
        episode: Session,
    ) -> Books:
        """Cancel a pending order and refund what was paid."""
        order = _own_order(episode, order_id, status="pending")
        order.update(status="cancelled", reason=reason, refund=sum(order["items"].values()))
        _pay_back(episode, order, order["refund"])
        return order

    @tool(exclusive=True)
    def change_address(self, order_id: str, address: str, episode: Session) -> Books:
        """Change where a pending order goes.

        Args:
            address: number and street.
        """
        order = _own_order(episode, order_id, status="pending")
        order["address"] = address.strip()
        return order

    @tool(exclusive=True)
    def return_items(self, order_id: str, items: list[str], episode: Session) -> Books:
        """Take items of a delivered order back and refund them.

        Args:
            items: their names.
        """
        order = _own_order(episode, order_id, status="delivered")
        left = [item for item in order["items"] if item not in order["returned"]]
        wrong = [item for item in items if item not in left]
        if wrong or not items or len(set(items)) != len(items):
            raise ToolError(f"expected items among {', '.join(left)}, each once")
        order["returned"] = sorted([*order["returned"], *items])
        refund = sum(order["items"][item] for item in items)
        order["refund"] += refund
        _pay_back(episode, order, refund)
        return order

    @tool(exclusive=True, terminal=True)
    def transfer_to_human(self, order_id: str, episode: Session) -> str:
        """Hand the customer over, about an order that cannot be changed as asked.

        Args:
            order_id: the order that the request is about.
        """
        _own_order(episode, order_id)
        episode.state["transfers"].append([episode.state["served"], order_id.strip()])
        return "a colleague takes over"


def _own_order(episode: Session, order_id: str, *, status: str | None = None) -> Books:
    served = episode.state["served"]
    if served is None:
        raise ToolError("find the customer first")
    order: Books | None = episode.state["orders"].get(order_id.strip())
    if order is None or order["user_id"] != served:
        raise ToolError("the customer has no order with this number")
    if status is not None and order["status"] != status:
        raise ToolError(f"expected a {status} order, got a {order['status']} one")
    return order


def _pay_back(episode: Session, order: Books, amount: int) -> None:
    if order["paid_with"] == "gift card":
        episode.state["users"][order["user_id"]]["gift_card"] += amount
