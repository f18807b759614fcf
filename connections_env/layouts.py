"""Where the rows of a file lie: below wrappers, nested by episode and wall, or a row a word. Pure.

A row goes on to `boards.py`, and what is none as `Unreadable`, each with its place as messages name it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from connections_env.boards import (
    COLUMNS,
    GROUPS,
    ROW,
    Aliases,
    Row,
    field,
    in_order,
    is_known,
    number,
    raw_groups,
    word,
)
from connections_env.decoding import Unreadable, from_cell
from connections_env.puzzles import UnplayableBoard

Placed = tuple[str, Row | Unreadable]

# Names under which a file keeps its puzzles, other things lying beside them.
_WRAPPERS = ("dataset", "puzzles", "data")
_DEEPEST = 8  # objects within objects

# A table with a row a word.
_WORD: Aliases = {
    "puzzle_id": ROW["puzzle_id"],
    "date": ("puzzle_date", "date"),
    "word": ("word",),
    "theme": ("group_name", "group"),
    "level": ("group_level", "level"),
    "row": ("starting_row",),
    "column": ("starting_column",),
    "title": ROW["title"],
    "difficulty": ROW["difficulty"],
    "split": ROW["split"],
}
# Columns whose cells may hold a list or a mapping as text.
_LISTS = (*ROW["items"], *GROUPS, *COLUMNS.values(), "info")


def _squashed(name: Any) -> str:
    return str(name).lower().replace("_", "").replace(" ", "")


_COLUMN_NAMES = {_squashed(name): name for name in (*_LISTS, *(name for names in _WORD.values() for name in names))}


def rows_of(place: str, document: Any) -> Iterator[Placed]:
    """The rows of a decoded document: a list of them, a single one, or objects that hold some."""
    return _unfolded(place, document, set(), 0)


def _unfolded(place: str, value: Any, seen: set[int], depth: int) -> Iterator[Placed]:
    if isinstance(value, list):
        for n, row in enumerate(value, 1):
            inner = f"{place}[{n}]"
            yield from [(inner, _no_puzzle(row))] if isinstance(row, list) else _unfolded(inner, row, seen, depth)
    elif not isinstance(value, Mapping):
        yield place, value if isinstance(value, Unreadable) else _no_puzzle(value)
    elif id(value) in seen:  # an alias of YAML, maybe of an object within itself
        yield place, Unreadable("an object that stands elsewhere too")
    else:
        seen.add(id(value))
        has_groups = _has_groups(value)  # rows of `sft_examples.jsonl` have, beside their games
        children = [] if has_groups else _children(value)
        if "prompt" in value and "completion" in value and not has_groups:
            yield place, Unreadable("a game that was played, not a puzzle")
        elif not children:
            yield place, value
        elif depth == _DEEPEST:
            yield place, Unreadable("objects nested too deep")
        else:
            for name, child in children:
                yield from _unfolded(f"{place}[{' '.join(word(name).split())[:80]}]", child, seen, depth + 1)


def _no_puzzle(value: Any) -> Unreadable:
    kind = "a list" if isinstance(value, list) else "nothing" if value is None else repr(str(value)[:40])
    return Unreadable(f"expected a puzzle, got {kind}")


def _has_groups(row: Row) -> bool:
    try:
        return bool(raw_groups(row))
    except UnplayableBoard:
        return True


def _children(value: Row) -> list[tuple[str, Any]]:
    """What may hold rows in an object that is none itself."""
    children = [
        (name, child)
        for name, child in value.items()
        if isinstance(child, Mapping | Unreadable) or (isinstance(child, list) and any(map(_is_object, child)))
    ]
    wrapped = [(name, child) for name, child in children if name in _WRAPPERS]
    return wrapped or ([] if is_known(value) else children)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def table_row(row: Row) -> Row | Unreadable:
    """A row of a table: its columns under the names known here, lists that it keeps as text as lists."""
    named = _named(row)
    for name in _LISTS:
        cell = named.get(name)
        if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{"):
            try:
                named[name] = from_cell(cell)
            except (ValueError, RecursionError):
                return Unreadable(f"{name} is neither a JSON nor a Python list")
    return named


def _named(row: Row) -> dict[str, Any]:
    named = {_COLUMN_NAMES.get(_squashed(name), name): value for name, value in row.items()}
    return named if len(named) == len(row) else dict(row)


def whole_games(rows: Iterable[Placed]) -> list[Placed]:
    """The rows, words that stand in rows of their own gathered into their games, each where its first word stood."""
    found: list[Placed] = []
    games: dict[tuple[str, ...], tuple[int, list[Row]]] = {}
    for place, row in rows:
        named = {} if isinstance(row, Unreadable) else _named(row)
        if not _is_word(named):
            found.append((place, row))
            continue
        game = tuple(word(field(named, _WORD, name)) for name in ("puzzle_id", "date", "split"))
        if not any(game[:2]):
            found.append((place, Unreadable("a word of no game: it has neither an id nor a date")))
            continue
        if game not in games:
            games[game] = len(found), []
            found.append((place, row))
        games[game][1].append(named)
    for at, words in games.values():
        found[at] = found[at][0], _board(words)
    return found


def _is_word(named: Row) -> bool:
    is_scalar = "word" in named and not isinstance(named["word"], Mapping | list)
    return is_scalar and any(name in named for name in _WORD["theme"]) and not is_known(named)


def _board(words: list[Row]) -> Row:
    """The row of a puzzle whose words stand in rows of their own."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in words:
        # Two groups may bear one name, but not one level as well.
        group = word(field(row, _WORD, "theme")), word(field(row, _WORD, "level"))
        groups.setdefault(group, []).append(row["word"])
    spots = [(number(field(row, _WORD, "row")), number(field(row, _WORD, "column"))) for row in words]
    return {
        **{name: field(words[0], _WORD, name) for name in ("puzzle_id", "title", "difficulty", "split")},
        "groups": [{"name": theme, "words": members} for (theme, _), members in groups.items()],
        "words": in_order([row["word"] for row in words], [None if None in spot else spot for spot in spots]),
    }
