"""How many requests may be in flight: half as many after a 429, slowly more while answers come.

Additive increase, multiplicative decrease, as TCP shares a line (Chiu and Jain, 1989).
"""

import asyncio
import time
from collections import deque


class Width:
    """A gate that lets at most `allowed` requests through at a time, never more than `ceiling`, never less than one."""

    def __init__(self, ceiling: int):
        self.ceiling = ceiling
        self.allowed = float(ceiling)
        self.in_use = 0
        self._narrowed_at = 0.0
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

    def widen(self) -> None:
        """After an answer: one place more for every round of answers."""
        if self.allowed < self.ceiling:
            self.allowed = min(self.allowed + 1 / self.allowed, float(self.ceiling))
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
