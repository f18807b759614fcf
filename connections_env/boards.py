"""A puzzle from a row of any format: one normaliser with a table of field aliases. Pure.

A row is a mapping as JSON or Parquet give it. To take in another format, add its names to the tables below.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from connections_env.puzzles import Group, Puzzle, UnplayableBoard, derived_id, normalise, shuffled

Row = Mapping[str, Any]

# Field -> the names sources give it, the first one present wins.
ROW = {
    "puzzle_id": ("puzzle_id", "game_id", "wall_id", "id"),
    "items": ("all_words", "shuffled_words", "words"),
    "groups": ("categories", "answers", "groups"),
    "title": ("title",),
    "difficulty": ("difficulty",),
    "split": ("split",),
}
GROUP = {
    "theme": ("group", "theme", "name"),
    "members": ("members", "words"),
    "linking_terms": ("linking_terms",),
}
# Groups laid out as parallel columns, the layout of `ericbotti/connections-puzzles`.
COLUMNS = {"members": "group_words", "theme": "group_themes", "linking_terms": "group_linking_terms"}


def puzzle_from_row(row: Row, source: str = "", *, as_shown: bool = False) -> Puzzle:
    """The puzzle of a row. Raises `UnplayableBoard` with the reason where there is none to play.

    The row's own board order is kept unless it is missing or is just the groups one after the other, which would
    give the answer away: then the board is shuffled by its set of items. `as_shown` keeps any order there is: that of
    a game already played.
    """
    groups = tuple(_group(raw) for raw in _raw_groups(row))
    members = [item for group in groups for item in group.members]
    items = [word(item) for item in _list(_field(row, ROW, "items"))]
    gives_away = [*map(normalise, items)] == [*map(normalise, members)] and not as_shown
    puzzle_id = word(_field(row, ROW, "puzzle_id"))
    return Puzzle(
        puzzle_id=puzzle_id or derived_id(members),
        items=shuffled(members) if gives_away or not items else tuple(items),
        groups=groups,
        title=word(_field(row, ROW, "title")),
        difficulty=number(_field(row, ROW, "difficulty")),
        source=word(source),
        split=word(_field(row, ROW, "split")),
    )


def _raw_groups(row: Row) -> list[Row]:
    if COLUMNS["members"] in row:
        names = [name for name, column in COLUMNS.items() if row.get(column) is not None]
        columns = [_list(row[COLUMNS[name]]) for name in names]
        if len({len(column) for column in columns}) > 1:
            raise UnplayableBoard("columns of groups differ in length")
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return [raw for raw in _list(_field(row, ROW, "groups")) if isinstance(raw, Mapping)]


def _group(raw: Row) -> Group:
    terms = _field(raw, GROUP, "linking_terms")
    if isinstance(terms, str):
        # One string a group: separated by commas, or by spaces where it has no comma.
        terms = terms.split(",") if "," in terms else terms.split()
    return Group(
        theme=word(_field(raw, GROUP, "theme")),
        members=tuple(word(item) for item in _list(_field(raw, GROUP, "members"))),
        linking_terms=tuple(filter(None, map(word, _list(terms)))),
    )


def _field(row: Row, table: Mapping[str, Sequence[str]], name: str) -> Any:
    return next((row[alias] for alias in table[name] if row.get(alias) is not None), None)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def word(value: Any) -> str:
    """Numbers are items too. What UTF-8 cannot carry (a lone surrogate) becomes a question mark."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    return str(value).strip().encode("utf-8", "replace").decode()


def number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
