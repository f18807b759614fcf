"""A puzzle from a row of any format: one normaliser with tables of field aliases. Pure.

A row is a mapping as JSON or Parquet give it. To take in another format, add its names to the tables below; where the
rows of a file lie is the business of `layouts.py`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connections_env.decoding import Null, from_json, listed
from connections_env.puzzles import Group, Puzzle, UnplayableBoard, derived_id, normalise, shuffled

Row = Mapping[str, Any]
Aliases = Mapping[str, tuple[str, ...]]

# Field -> the names sources give it, the first one present wins.
ROW: Aliases = {
    "puzzle_id": ("puzzle_id", "game_id", "wall_id", "id"),
    "items": ("all_words", "shuffled_words", "words"),
    "title": ("title", "contest"),
    "difficulty": ("difficulty",),
    "split": ("split",),
}
GROUP: Aliases = {
    "theme": (
        *("group", "theme", "name", "title", "reason", "answerDescription", "gt_connection"),
        *("category", "description", "label", "connection", "answer"),
    ),
    "members": ("members", "words", "cards", "gt_words", "items"),
    "linking_terms": ("linking_terms",),
}
# What holds the groups: a list of them, a mapping of them, theme -> words, or an object that holds one of these.
GROUPS: tuple[str, ...] = ("categories", "answers", "groups", "solution")
# Groups laid out as parallel columns, the layout of `ericbotti/connections-puzzles`.
COLUMNS: Mapping[str, str] = {"members": "group_words", "theme": "group_themes", "linking_terms": "group_linking_terms"}
# A mapping under none of these names is theme -> words only if it is as large as this: configurations map names to
# lists too.
_LEAST_WALL = 3


def puzzle_from_row(row: Row, source: str = "", *, as_shown: bool = False) -> Puzzle:
    """The puzzle of a row. Raises `UnplayableBoard` with the reason where there is none to play.

    The row's own board order is kept unless it is missing or is just the groups one after the other, which would
    give the answer away: then the board is shuffled by its set of items. `as_shown` keeps any order there is: that of
    a game already played.
    """
    raw = raw_groups(row)
    if not raw:
        raise UnplayableBoard("no groups found in it")
    groups = tuple(map(_group, raw))
    members = [member for group in groups for member in group.members]
    items = _items(field(row, ROW, "items"), members) or _by_position(raw)
    gives_away = [*map(normalise, items)] == [*map(normalise, members)] and not as_shown
    puzzle_id = plain_id(field(row, ROW, "puzzle_id"))
    return Puzzle(
        puzzle_id=puzzle_id or derived_id(members),
        items=shuffled(members) if gives_away or not items else tuple(items),
        groups=groups,
        title=word(field(row, ROW, "title")),
        difficulty=number(field(row, ROW, "difficulty")),
        source=word(source),
        split=split_of(row),
    )


def _items(value: Any, members: Sequence[str]) -> list[str]:
    """A board as it is listed; one in a single text counts only if its commas part just the members."""
    items = [item(one) for one in listed(value)]
    is_text = isinstance(value, str)
    return [] if is_text and sorted(map(normalise, items)) != sorted(map(normalise, members)) else items


def split_of(row: Row) -> str:
    return word(field(row, ROW, "split"))


def raw_groups(row: Row) -> list[Row]:
    """The groups of a row as objects, whatever their layout; empty where it has none.

    Raises `UnplayableBoard` where they cannot be told, or are given twice and differ.
    """
    columns = _columns(row) if COLUMNS["members"] in row else []
    given = [columns, *(_groups_in(row[name]) for name in GROUPS if name in row)]
    told = [groups for groups in given if groups] or [_wall(row)]
    # What is a text may be something else where there are lists.
    found = [groups for groups in told if not any(map(_is_text, groups))] or told
    if any(_division(groups) != _division(found[0]) for groups in found[1:]):
        raise UnplayableBoard("its groups are given twice, and differ")
    return found[0]


def _is_text(group: Row) -> bool:
    return isinstance(field(group, GROUP, "members"), str)


def _columns(row: Row) -> list[Row]:
    names = [name for name, column in COLUMNS.items() if row.get(column) is not None]
    columns = [_list(row[COLUMNS[name]]) for name in names]
    if len({len(column) for column in columns}) > 1:
        raise UnplayableBoard("columns of groups differ in length")
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _groups_in(value: Any, *, wrapped: bool = False) -> list[Row]:
    if isinstance(value, Mapping):
        # Tables of objects give each the keys of all the others, with nothing under them.
        value = {name: child for name, child in value.items() if child is not None}
        inner = [] if wrapped else [_groups_in(value[name], wrapped=True) for name in GROUPS if name in value]
        if found := next(filter(None, inner), None):
            return found
        if value and all(isinstance(group, Mapping) for group in value.values()):
            return _groups_in([_themed(name, group) for name, group in value.items()])
        return _by_theme(value, texts=True)
    if (lists := _list(value)) and all(isinstance(words, list | tuple) for words in lists):
        return [{"members": words} for words in lists]
    groups = [group for group in _list(value) if isinstance(group, Mapping)]
    if all(field(group, GROUP, "members") is None for group in groups):
        return []  # tags, say
    if len(groups) < len(value):
        raise UnplayableBoard("some of its groups are no objects")
    return groups


def _themed(name: str, group: Row) -> Row:
    return group if any(alias in group for alias in GROUP["theme"]) else {**group, "theme": name}


def _by_theme(value: Row, *, texts: bool = False) -> list[Row]:
    """Groups of a mapping theme -> words, or words in a text; none where it is anything else."""
    lists = [listed(words) if texts else _list(words) for words in value.values()]
    if not all(lists) or any(isinstance(word, Mapping | list | tuple) for words in lists for word in words):
        return []
    return [{"theme": name, "members": words} for name, words in value.items()]


def _wall(row: Row) -> list[Row]:
    """Groups of a row that is itself a mapping theme -> words."""
    groups = [] if is_known(row) else _by_theme(row)
    largest = max((len(group["members"]) for group in groups), default=0)
    return groups if min(len(groups), largest) >= _LEAST_WALL else []


def is_known(row: Row) -> bool:
    """Does the row name a board or its groups as one of the known formats does?"""
    return any(name in row for name in (*COLUMNS.values(), *GROUPS, *ROW["items"]))


def _division(groups: Iterable[Row]) -> set[frozenset[str]]:
    return {frozenset(map(normalise, _members(group))) for group in groups}


def _group(raw: Row) -> Group:
    return Group(
        theme=word(field(raw, GROUP, "theme")),
        members=tuple(_members(raw)),
        linking_terms=linking_terms(field(raw, GROUP, "linking_terms")),
    )


def _members(raw: Row) -> list[str]:
    """Words, or the words on cards."""
    members = listed(field(raw, GROUP, "members"))
    if any(isinstance(card, dict) and card.get("content") is None for card in members):
        raise UnplayableBoard("picture cards, which have no text")
    return [item(member["content"] if isinstance(member, dict) else member) for member in members]


def _by_position(raw: Iterable[Row]) -> list[str]:
    """The board in the order that its cards name; empty where one names none, or two the same."""
    members = [member for group in raw for member in _list(field(group, GROUP, "members"))]
    spots = [number(member.get("position")) if isinstance(member, dict) else None for member in members]
    return [item(card["content"]) for card in in_order(members, spots)]


def in_order(values: Sequence[Any], spots: Sequence[Any]) -> list[Any]:
    """Values sorted by their places; empty where one has none, or two the same."""
    if None in spots or len(set(spots)) < len(spots):
        return []
    return [values[n] for n in sorted(range(len(values)), key=spots.__getitem__)]


def linking_terms(value: Any) -> tuple[str, ...]:
    """Terms of a list, or of a string: separated by commas, or by spaces where it has no comma.

    Terms that themselves hold a comma come as a JSON list (see `exporting.terms_text`).
    """
    terms = _json_list(value) if isinstance(value, str) else _list(value)
    if terms is None:
        terms = value.split(",") if "," in value else value.split()
    return tuple(filter(None, map(word, terms)))


def _json_list(text: str) -> list[Any] | None:
    try:
        terms = from_json(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        return None
    return terms if isinstance(terms, list) else None


def field(row: Row, table: Aliases, name: str) -> Any:
    """The value of a field under the first of its aliases that is there; None where none is."""
    for alias in table[name]:
        value = row.get(alias)
        if value is not None and not isinstance(value, Null):
            return value
    return None


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def item(value: Any) -> str:
    """An item as it is written: true and false are words where they stand among words."""
    return str(value).upper() if isinstance(value, bool) else word(value)


def plain_id(value: Any) -> str:
    """An id as a list of ids, a line each, can hold it: without characters that nobody sees."""
    return " ".join("".join(c if c.isprintable() else " " for c in word(value)).split())


def word(value: Any) -> str:
    """Numbers are items too. What UTF-8 cannot carry (a lone surrogate) becomes a question mark."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    text = str(value).strip()
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
