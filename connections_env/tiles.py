"""A board, or a guess, as tiles: each the colour of its group, all of one width, phrases broken inside of them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from connections_env.paint import Paint, cells, centred, wrapped

INDENT = "  "
GAP = " "
_SIDES = 2  # blank columns in a tile, beside its text
_LONGEST_WORD = 14  # columns; longer words are cut rather than laid out in fewer columns


class Tile(NamedTuple):
    text: str
    style: str


class Grid(NamedTuple):
    """How many tiles lie side by side, and how many columns the text of each takes."""

    across: int
    size: int


def grid_for(texts: Iterable[str], across: int, width: int) -> Grid:
    """The grid of a board's items, for its guesses too; fewer across than asked for where they would not fit."""
    texts = list(texts)
    widest = max((cells(text) for text in texts), default=1)
    longest_word = max((cells(word) for text in texts for word in text.split(" ")), default=1)
    while across > 1 and _room(across, width) < min(longest_word, _LONGEST_WORD):
        across -= 1
    return Grid(max(across, 1), max(min(widest, _room(max(across, 1), width)), 1))


def _room(across: int, width: int) -> int:
    """Columns of text in a tile, where so many of them lie side by side."""
    return (width - len(INDENT) - len(GAP) * (across - 1)) // across - _SIDES


def laid_out(tiles: Sequence[Tile], grid: Grid, paint: Paint) -> list[str]:
    rows = [tiles[start : start + grid.across] for start in range(0, len(tiles), grid.across)]
    return list(chain.from_iterable(_row(row, grid.size, paint) for row in rows))


def _row(tiles: Sequence[Tile], size: int, paint: Paint) -> Iterator[str]:
    texts = [wrapped(tile.text, size) for tile in tiles]
    for parts in zip_longest(*texts, fillvalue=""):
        painted = [paint(tile.style, f" {centred(part, size)} ") for tile, part in zip(tiles, parts, strict=True)]
        yield (INDENT + GAP.join(painted)).rstrip()
