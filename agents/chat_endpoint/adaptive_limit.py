"""How many requests a server gets at once: as many as it takes without saying 429.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it: the limit doubles
with every round of successes until the first 429, halves at each burst of those, and grows by one
a round after that. A server's fault (5xx, a broken connection) says nothing about the rate: it
only keeps the limit from growing for a while.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to have one request under way; ``era`` counts the halvings before it."""

    era: int


class AdaptiveLimit:
    """Let requests through, first come first served.

    Args:
        start: at once, to begin with.
        most: what the limit may grow to.
        hold_s: how long a server's fault keeps the limit from growing.
        clock: of seconds.
    """

    def __init__(
        self,
        *,
        start: int,
        most: int,
        hold_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = float(min(start, most))
        self.most = most
        self.live = 0
        self._hold_s = hold_s
        self._clock = clock
        self._era = 0
        self._fast_below = float(most)
        self._open_at = 0.0
        self._grow_at = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None

    async def enter(self) -> Ticket:
        """Wait for a place; :meth:`leave` must follow."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # it was let in while being cancelled
            raise
        return Ticket(self._era)

    def leave(self) -> None:
        """Give a place back."""
        self.live -= 1
        self._admit()

    def succeeded(self) -> None:
        """Take a success: grow, if the limit is what holds requests back."""
        if self._clock() < self._grow_at or self.live < int(self.limit):
            return
        step = 1.0 if self.limit < self._fast_below else 1.0 / self.limit
        self.limit = min(float(self.most), self.limit + step)

    def slow_down(self, ticket: Ticket, after_s: float | None) -> None:
        """Take a 429: halve the limit, once for all requests that were under way together.

        Args:
            ticket: of the request.
            after_s: for how long the server wants to hear nothing at all.
        """
        if after_s is not None:
            self._open_at = max(self._open_at, self._clock() + after_s)
        if ticket.era == self._era:
            self._era += 1
            self.limit = max(1.0, min(self.limit, self.live) / 2)
            self._fast_below = self.limit

    def troubled(self) -> None:
        """Take a server's fault: do not grow for a while."""
        self._grow_at = self._clock() + self._hold_s

    def _admit(self) -> None:
        closed_s = self._open_at - self._clock()
        if closed_s > 0:
            if self._alarm is None and self._waiting:
                loop = asyncio.get_running_loop()
                self._alarm = loop.call_later(closed_s, self._opened)
            return
        while self._waiting and self.live < int(self.limit):
            place = self._waiting.popleft()
            if not place.done():
                self.live += 1
                place.set_result(None)

    def _opened(self) -> None:
        self._alarm = None
        self._admit()
