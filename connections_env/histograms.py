"""Bars over figures that were counted in steps, each cut in two by a limit."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

MOST_BARS = 32
TAIL = 0.99  # of the figures are left of the last bar, which takes in all the rest
REACH = 2  # times as far as those, and the bars go on to a limit that is beyond them

Bar = tuple[int, int | None, int, int]
"""From, to (None: open), how many of it are within their limits, how many over them."""


@dataclass(slots=True)
class Steps:
    """Figures counted by the step they are in, so that memory does not grow with them."""

    step: int
    within: Counter[int] = field(default_factory=Counter)
    over: Counter[int] = field(default_factory=Counter)

    def take(self, figure: int, limit: int) -> None:
        (self.over if figure > limit else self.within)[figure // self.step * self.step] += 1


def bars_of(steps: Steps, limits: Iterable[int] = ()) -> list[Bar]:
    """Bars of one width, at most `MOST_BARS` and one more; the last is open where a figure is far."""
    counts = steps.within + steps.over
    if not counts:
        return []
    most = _below(sorted(counts.items()), TAIL * counts.total()) + steps.step
    most = max(most, *(limit for limit in limits if limit <= REACH * most), 0)
    width = next(width for width in _widths(steps.step) if width * MOST_BARS >= most)
    last = -(-most // width)
    bars = [[0, 0] for _ in range(last + 1)]
    for side, those in enumerate((steps.within, steps.over)):
        for start, count in those.items():
            bars[min(start // width, last)][side] += count
    edges = [(n * width, None if n == last else (n + 1) * width) for n in range(last + 1)]
    made = [(start, end, within, over) for (start, end), (within, over) in zip(edges, bars, strict=True)]
    return made if any(bars[last]) else made[:-1]


def _below(ordered: Sequence[tuple[int, int]], share: float) -> int:
    """The figure up to which this many are."""
    sums = accumulate(count for _, count in ordered)
    return next(figure for (figure, _), seen in zip(ordered, sums, strict=True) if seen >= share)


def _widths(step: int) -> Iterable[int]:
    while True:
        yield step
        step *= 2
