"""Which side of a dataset a puzzle is on: told by its items alone, so that it stays there from run to run."""

import hashlib
import math
from argparse import ArgumentTypeError
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from connections_env.arguments import UsageError
from connections_env.records import Rollout
from connections_env.sources import SourceError, load_puzzles
from connections_env.terminal import counted


@dataclass(frozen=True)
class Boundary:
    """Where the test split ends: the puzzles placed below `below` are in it, whatever else there is."""

    size: float = 0.0
    """As it was asked for: a share of the puzzles where below 1, else their number."""
    below: float = 0.0

    def holds(self, key: str) -> bool:
        """Is the board of this key on the test side?"""
        return place(key) < self.below


def place(key: str) -> float:
    """Where a board's key lies between 0 and 1, evenly, and the same on every machine and in every release."""
    digest = hashlib.sha256(f"split\0{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def boundary_for(size: float, earlier: Sequence[Boundary], puzzles: Callable[[], Collection[str]]) -> Boundary:
    """The boundary for a share, or for so many of the `puzzles` (keys).

    A number that made a boundary in an `earlier` dataset stays that one: puzzles that came since would push others out.
    """
    if size < 1:
        return Boundary(size, size)
    if same := next((one for one in earlier if one.size == size), None):
        return same
    places = sorted(map(place, puzzles()))
    number = int(size)
    return Boundary(size, _between(*places[number - 1 : number + 1]) if number < len(places) else 1.0)


def _between(low: float, high: float) -> float:
    """The number with the fewest decimals above `low` and up to `high`: one that can be given as a share."""
    rounded = (math.floor(low * 10**digits + 1) / 10**digits for digits in range(1, 17))
    return next((number for number in rounded if low < number <= high), high)


def whole_sources(rows: Iterable[Rollout], report: Callable[[str], None]) -> set[str]:
    """The keys of all puzzles that the rows' sources have in the rows' splits, with or without a row.

    Hub datasets are looked at on this machine only. A source whose puzzles cannot be told is reported, and only those
    of its rows are in.
    """
    keys, sources = set[str](), set[tuple[str, str]]()
    for row in rows:
        keys.update([row.puzzle.key] if row.puzzle else [])
        sources.add((row.info.source, row.info.split))
    for source, split in sorted(sources):
        try:
            if not source:
                raise SourceError("some rows name no source")
            keys.update(puzzle.key for puzzle in load_puzzles(source, split or None, local_only=True).puzzles)
        except SourceError as error:
            report(
                f"which puzzles are for test is told by the rows alone, and may change in another folder ({error}); "
                "--test-size with a share below 1 does without"
            )
    return keys


def check_published(size: float, published: Boundary, name: str) -> None:
    """Raises `UsageError` where puzzles would change sides against a dataset that others have."""
    if size not in (published.size, published.below):  # a number may be given as the share that it became
        was, now = (int(one) if one.is_integer() else one for one in (published.size, size))
        raise UsageError(
            f"{name} was split with --test-size {was}, and --test-size {now} would move puzzles from one side to the "
            "other; give the same size, or another dataset"
        )


def moved(before: Boundary, now: Boundary, keys: Iterable[str]) -> int:
    """How many of the boards are on another side than they were, or would have been."""
    return sum(before.holds(key) != now.holds(key) for key in keys)


def share_or_number(text: str) -> float:
    """The value of `--test-size`."""
    try:
        size = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not (0 <= size < 1 or (size >= 1 and size.is_integer())):
        raise ArgumentTypeError(f"{text} is neither a share below 1 nor a whole number of puzzles")
    return size


def rule(boundary: Boundary, counts: Mapping[str, int]) -> str:
    """The rule in words, for the dataset's card."""
    if not boundary.below:
        return "There is one split, `train`."
    sides = ", ".join(f"{count:,} in `{name}`" for name, count in counts.items())
    here = f"Split by puzzle: {sides}." if "test" in counts else "All puzzles here are in `train` so far."
    number = f" (that was asked for as {counted(int(boundary.size), 'puzzle')})" if boundary.size >= 1 else ""
    return (
        f"{here} A puzzle is its set of items, whatever their order and letter case, and a SHA-256 hash of the set "
        f"places it between 0 and 1: below {boundary.below}{number} is `test`, in every configuration. So a puzzle "
        f"keeps its side when the dataset grows, and wherever it is made with `--test-size {boundary.below}`."
    )
