"""How far a paid run is: one line that updates in place on a terminal, a plain line now and then elsewhere.

    12/70 games in 1:30 | 8 good, 4 bad | 6:10 left | 0.42 of about 2.40 USD | 34 in flight | 3 retries | 1.2k tokens/s
    12/70 in 1:30 | 8 good, 4 bad | 6:10 left | $0.42/2.40 | 1.2k/s | 34 open | 3 retries

A ticker reads what the run counts anyway, so that a request costs nothing more for being shown.
"""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from connections_env.endpoint import Endpoint
from connections_env.terminal import Listener, counted, say

if TYPE_CHECKING:
    from tqdm import tqdm

REDRAW_EVERY = 0.2  # seconds
SILENT_AFTER = 30.0  # seconds without an answer, and this many times as long as it took so far from one to the next,
SILENT_GAPS = 10  # from which on no time left is promised
RATE_WINDOW = 30.0  # seconds over which tokens a second are averaged: replies come in bursts
SEPARATOR = " | "


class Progress:
    """Tells of a run while in its `async with` block, unless `every` is 0.

    `every` is the time in seconds between two plain lines, `verdicts` says what became of the things done so far. Who
    runs it keeps the counts.
    """

    def __init__(
        self,
        unit: str,
        total: int,
        endpoint: Endpoint,
        verdicts: Callable[[], str],
        *,
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.unit, self.total, self.endpoint, self.every = unit, total, endpoint, every
        self.begun = 0
        self.ended = 0
        """Those that came to nothing included."""
        self.done = 0
        """On disk."""
        self._verdicts, self._clock = verdicts, clock
        self._began, self._before, self._retries_before = clock(), endpoint.usage, endpoint.retries
        self._cost_before = endpoint.cost
        self._answered, self._answers = self._began, endpoint.answers
        self._answers_before = endpoint.answers
        self._samples = deque([(self._began, 0)])  # when, and how many tokens had come by then
        self._bar: tqdm[Any] | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self.every and self.total:
            self._bar = _line_in_place() if on_terminal() else None
            self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._tell(final=True)
        if self._bar is not None:
            self._bar.close()

    async def _tick(self) -> None:
        while True:
            if self._bar is not None:
                self._tell()
            await asyncio.sleep(REDRAW_EVERY if self._bar is not None else self.every)
            if self._bar is None:
                self._tell()

    def _tell(self, *, final: bool = False) -> None:
        if self._bar is None:
            say(SEPARATOR.join(self.fields(final=final)))
        else:
            # One column stays free: terminals differ in what they do once the last one is taken.
            self._bar.set_description_str(self.line(columns() - 1, final=final))

    def line(self, width: int, *, final: bool = False) -> str:
        """All there is to tell in so many columns; in fewer words where it would not fit, then less of it."""
        line = SEPARATOR.join(self.fields(final=final))
        return line if len(line) <= width else fitted(self.fields(final=final, narrow=True), width)

    def fields(self, *, final: bool = False, narrow: bool = False) -> list[str]:
        """What there is to tell, the most important first; once all is over, without guesses at what is to come.

        In a `narrow` line fewer words are spent on it, and what is slow to change stands last.
        """
        now = self._clock()
        elapsed, retries = now - self._began, self.endpoint.retries - self._retries_before
        in_flight, share = self.endpoint.in_flight, None if final else self._share_done()
        rate = self._tokens_out() / elapsed if final and elapsed else self._recent_rate(now)
        games = f"{self.total:,}" if narrow else counted(self.total, self.unit)
        told = [
            f"{self.done:,}/{games} in {duration(elapsed)}",
            self._verdicts(),
            self._left(now, share),
            self._spent(share, narrow=narrow),
        ]
        beside = [
            "" if final else f"{in_flight:,} {'open' if narrow else 'in flight'}",
            counted(retries, "retry", "retries") if retries else "",
        ]
        speed = f"{short(rate)}{'/s' if narrow else ' tokens/s'}" if rate else ""
        told += [speed, *beside] if narrow else [*beside, speed]
        return [field for field in told if field]

    def _left(self, now: float, share: float | None) -> str:
        """The time left; where answers have been due for long, since when: nobody can tell then."""
        if self._answers != self.endpoint.answers or not self.endpoint.in_flight:
            self._answered, self._answers = now, self.endpoint.answers
        elapsed, silent = now - self._began, now - self._answered
        usual = (self._answered - self._began) / max(self._answers - self._answers_before, 1)
        if share and silent >= max(SILENT_AFTER, SILENT_GAPS * usual):
            return f"no answer for {duration(silent)}"
        return f"{duration(elapsed / share - elapsed)} left" if share else ""

    def _share_done(self) -> float | None:
        """The part of the work that is done, games under way counted as half done; None before the first has ended.

        Without those, the first game of many played at once would promise a wait as if they were played in turn.
        """
        worth = self.ended + (self.begun - self.ended) / 2
        return worth / self.total if self.ended else None

    def _spent(self, share: float | None, *, narrow: bool) -> str:
        """What the command has cost, and will have once all is done; in tokens where no prices are known."""
        cost, usage = self.endpoint.cost, self.endpoint.usage
        spent: float = usage.input + usage.output if cost is None else cost
        before = self._before.input + self._before.output if cost is None else self._cost_before or 0.0
        if not spent:
            return ""
        written, unit = (short, "tokens") if cost is None else (money, "USD")
        in_all = written(before + (spent - before) / share) if share else ""
        if narrow:
            figures = f"{written(spent)}{in_all and f'/{in_all}'}"
            return f"{figures} {unit}" if cost is None else f"${figures}"
        return f"{written(spent)}{in_all and f' of about {in_all}'} {unit}"

    def _tokens_out(self) -> int:
        return self.endpoint.usage.output - self._before.output

    def _recent_rate(self, now: float) -> float:
        """Tokens a second that came lately."""
        samples, tokens = self._samples, self._tokens_out()
        while len(samples) > 1 and samples[1][0] <= now - RATE_WINDOW:
            samples.popleft()
        (since, had), (last, _) = samples[0], samples[-1]
        if now - last >= 1.0:
            samples.append((now, tokens))
        return (tokens - had) / (now - since) if now > since else 0.0


def fitted(fields: Sequence[str], width: int) -> str:
    """As many of the fields as fit into a line, the last ones dropped first."""
    line = fields[0][: max(width, 0)]
    for field in fields[1:]:
        if len(line) + len(SEPARATOR) + len(field) > width:
            break
        line += SEPARATOR + field
    return line


def duration(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, left = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def short(count: float) -> str:
    """`950`, `1.2k`, `123k`, `4.5M`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size * 0.9995:
            return f"{count / size:.1f}{unit}" if count < 9.95 * size else f"{count / size:,.0f}{unit}"
    return f"{count:.0f}"


def money(usd: float) -> str:
    return f"{usd:,.2f}" if usd >= 0.1 or not usd else f"{usd:.4f}"


def on_terminal() -> bool:
    """Can a line on standard error be written over?"""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (ValueError, AttributeError):  # closed, or there is none
        return False


def columns() -> int:
    """The width of the terminal on standard error."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):  # it is gone
        return 80


def _line_in_place() -> "tqdm[Any]":
    from tqdm import tqdm  # here, so that `--help` does without

    return tqdm(bar_format="{desc}", file=Listener())
