"""A board, or a guess, as tiles: each the colour of its group, all of one width, phrases broken inside of them."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from connections_env.paint import Paint, cells, centred, wrapped

INDENT = "  "
GAP = " "
_SIDES = 2  # blank columns in a tile, beside its text
_NARROWEST = 8  # columns of text; narrower tiles than these are laid out in fewer columns


class Tile(NamedTuple):
    text: str
    style: str


def laid_out(tiles: Sequence[Tile], columns: int, width: int, paint: Paint) -> list[str]:
    """The lines of tiles in rows of `columns`, or of fewer where they would not fit into `width`."""
    if not tiles:
        return []
    widest = max(cells(tile.text) for tile in tiles)
    longest_word = max(cells(word) for tile in tiles for word in tile.text.split(" "))
    columns = max(min(columns, len(tiles)), 1)
    while columns > 1 and _room(columns, width) < min(widest, max(longest_word, _NARROWEST)):
        columns -= 1
    size = max(min(widest, _room(columns, width)), 1)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return list(chain.from_iterable(_row(row, size, paint) for row in rows))


def _room(columns: int, width: int) -> int:
    """Columns of text in a tile, where so many of them lie side by side."""
    return (width - len(INDENT) - len(GAP) * (columns - 1)) // columns - _SIDES


def _row(tiles: Sequence[Tile], size: int, paint: Paint) -> list[str]:
    texts = [wrapped(tile.text, size) for tile in tiles]
    return [
        (
            INDENT
            + GAP.join(
                paint(tile.style, f" {centred(part or '', size)} ") for tile, part in zip(tiles, parts, strict=True)
            )
        ).rstrip()
        for parts in zip_longest(*texts, fillvalue="")
    ]
