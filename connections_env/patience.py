"""When to stop waiting: for one request that keeps failing, and for an endpoint that answers nobody.

A request that fails while others are answered has only its own failures to blame and is given up after so many. While
nobody is answered who asked since, that proves nothing (servers that go down still finish what they were asked before):
everyone waits, until the breaker has seen nothing but failures for too long.
"""

import random
import time
from dataclasses import dataclass

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 60.0  # seconds; doubled from one attempt to the next, halved at most by jitter
LONGEST_RATE_LIMIT_BACKOFF = 10.0  # seconds; quotas are by the minute, and a narrow gate makes asking cheap
FEWEST_FAILURES = 3  # that make an outage: one request that times out twice can take longer than the limit
PROBE_EVERY = 20.0  # seconds between attempts at an endpoint that answers nobody


class Breaker:
    """Watches all requests of a run; trips when nothing but failures came for `limit` seconds.

    A wait that the endpoint asked for by Retry-After does not count, however long it is; that it asks for about the
    same again and again, of one request after another, does not put the end off.
    """

    def __init__(self, limit: float):
        self.limit = limit
        self.last_answered = 0.0  # when the latest of the requests that were answered was sent, on the monotonic clock
        self._silent_since: float | None = None
        self._failures = 0  # since then
        self._longest_wait = self._excused_until = 0.0

    def answered(self, sent: float) -> None:
        self.last_answered = max(self.last_answered, sent)
        self._silent_since, self._failures, self._longest_wait, self._excused_until = None, 0, 0.0, 0.0

    def failed(self, retry_after: float | None) -> bool:
        """Takes note of a failure that may pass; True if it is one too many."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        self._failures += 1
        too_long = now >= max(self._silent_since + self.limit, self._excused_until)
        if retry_after and retry_after > 2 * self._longest_wait:
            self._longest_wait, self._excused_until = retry_after, max(self._excused_until, now + retry_after)
        return too_long and self._failures >= FEWEST_FAILURES

    @property
    def seconds_left(self) -> float:
        """Until it trips if no answer comes; the whole limit where nothing has failed."""
        if self._silent_since is None:
            return self.limit
        return max(self._silent_since + self.limit - time.monotonic(), 0.0)


@dataclass
class Attempts:
    """What became of the attempts at one request so far."""

    made: int = 0
    own_failures: int = 0
    """Those that happened while others were answered who asked later, or before anyone was."""
    last_failed: float = 0.0

    def failed(self, *, own: bool) -> None:
        self.own_failures += own
        self.last_failed = time.monotonic()

    def backoff(self, rate_limited: bool, breaker: Breaker) -> float:
        """Seconds before the next attempt, unless the endpoint names its own."""
        longest = LONGEST_RATE_LIMIT_BACKOFF if rate_limited else LONGEST_BACKOFF
        if breaker.last_answered < self.last_failed:
            longest = min(longest, PROBE_EVERY)  # so that an endpoint that is back is noticed soon
        delay = min(FIRST_BACKOFF * 2.0 ** min(self.made - 1, 16), longest) * random.uniform(0.5, 1.0)
        # The attempt after which it trips is not to be made long after it should have.
        return min(delay, max(breaker.seconds_left, FIRST_BACKOFF))
