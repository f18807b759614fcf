"""How many requests may be in flight: half as many after a 429, slowly more while answers come.

Additive increase, multiplicative decrease, as TCP shares a line (Chiu and Jain, 1989), with its slow start (Jacobson,
1988): what was narrowed again and again while nothing was answered doubles by the round of answers until it is half of
what was too much.
"""

import asyncio
import time
from collections import deque

ROUNDS = 64  # of answers from nothing to the ceiling, however high it is


class Width:
    """A gate that lets at most `allowed` requests through at a time, never more than `ceiling`, never less than one."""

    def __init__(self, ceiling: int):
        self.ceiling = ceiling
        self.allowed = float(ceiling)
        self.in_use = 0
        self._narrowed_at = 0.0
        self._answered = True  # to a request sent since it was narrowed
        self._known_good = 0.0  # width up to which it widens fast
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Waits for a place and takes it, first come first served; `leave` gives it back."""
        if self._waiting or self.in_use + 1 > self.allowed:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():  # it was given a place that it cannot take any more
                    self.leave()
                raise
        else:
            self.in_use += 1

    def leave(self) -> None:
        self.in_use -= 1
        self._wake()

    def narrow(self, sent_at: float) -> None:
        """After a 429 to a request sent at this time; a crowd sent before the last narrowing narrows only once."""
        if sent_at >= self._narrowed_at:
            self._narrowed_at = time.monotonic()
            self.allowed = max(self.allowed / 2, 1.0)
            if self._answered:
                self._known_good, self._answered = self.allowed, False

    def widen(self, sent_at: float) -> None:
        """After an answer to a request sent at this time; what was sent before the last narrowing proves nothing."""
        if self.allowed < self.ceiling and sent_at >= self._narrowed_at:
            self._answered = True
            step = 1.0 if self.allowed < self._known_good else max(self.ceiling / ROUNDS, 1.0) / self.allowed
            self.allowed = min(self.allowed + step, float(self.ceiling))
            self._wake()

    def open(self) -> None:
        """Lets everyone through who waits: the run is over, and they are to find that out."""
        self.allowed = float("inf")
        self._wake()

    def _wake(self) -> None:
        """Gives free places away, first come first served: who is woken has its place already."""
        while self._waiting and self.in_use + 1 <= self.allowed:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                self.in_use += 1
