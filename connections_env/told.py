"""The board that a row of another tool tells of: in fields, as text that holds them, or as the text of an answer."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from connections_env.boards import ROW, field, puzzle_from_row, raw_groups, word
from connections_env.decoding import Unreadable, from_cell
from connections_env.items import spellings, text_of
from connections_env.json_lines import BadRow
from connections_env.layouts import table_row
from connections_env.puzzles import Puzzle, UnplayableBoard, normalise
from connections_env.rulesets import RULESETS, Ruleset


def info_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of its puzzle; empty where it says nothing. Raises `BadRow` for text that is no JSON."""
    info = row.get("info")
    if isinstance(info, str) and info.strip():
        info = _decoded(info)
        if isinstance(info, str):
            raise BadRow("info is a string that is no JSON")
    return info if isinstance(info, dict) else {}


def messages_in(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The messages of a field, which may hold them as text; a text that is no list of them is a single message."""
    messages = row.get(name)
    if isinstance(messages, str) and messages.strip():
        decoded = _decoded(messages)
        is_list = isinstance(decoded, list) and all(isinstance(message, dict) for message in decoded)
        said = [{"role": "assistant" if name == "completion" else "user", "content": messages}]
        messages = decoded if is_list else said
    return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []


def board_in(row: Mapping[str, Any]) -> tuple[Puzzle, Ruleset | None] | None:
    """The board that was played, in the order shown, and its rules where they are named; None where no board is.

    It lies in `info` or in an object there, else in `answer`, `state` or the row itself. Where no order is named, it is
    that of the prompt. Raises `BadRow` for one that cannot be played.
    """
    info = info_in(row)
    for outer in (info, *_answers(row), _object(row.get("state")), row):
        for inner in (outer, *map(_object, outer.values())):
            fields = table_row({**info, **outer, **inner})
            try:
                if isinstance(fields, Unreadable) or not raw_groups(fields):
                    continue
                puzzle = puzzle_from_row(fields, word(info.get("source")), as_shown=True)
            except UnplayableBoard as error:
                raise BadRow(f"its board cannot be played; {error}") from None
            if not field(fields, ROW, "items") and (items := _order_in(_question(row), puzzle.items)):
                puzzle = replace(puzzle, items=items)
            return puzzle, named_ruleset(info)
    return None


def named_ruleset(fields: Mapping[str, Any]) -> Ruleset | None:
    return RULESETS.get(str(fields.get("ruleset")))


def _answers(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What an answer may be: an object that holds a board, its groups alone, or a text that names them."""
    answer = row.get("answer")
    decoded = _decoded(answer) if isinstance(answer, str) else answer
    if isinstance(decoded, dict):
        yield decoded
    if isinstance(decoded, dict | list):
        yield {"groups": decoded}
    elif isinstance(decoded, str) and (groups := _groups_in_text(decoded)):
        members = [member for _, members in groups for member in members]
        if _order_in(_question(row), members):  # else its commas may stand within items
            yield {"groups": [{"name": theme, "words": members} for theme, members in groups]}


def _object(value: Any) -> Mapping[str, Any]:
    """An object, written as one or as text; empty where it is anything else."""
    value = _decoded(value) if isinstance(value, str) else value
    return value if isinstance(value, dict) else {}


def _decoded(text: str) -> Any:
    """The object or list that a text holds, as JSON or as Python prints it; else the text."""
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return json.loads(text)
        with suppress(ValueError, RecursionError):
            return from_cell(text)
    return text


def _groups_in_text(text: str) -> list[tuple[str, list[str]]]:
    """Theme and members of lines such as `FISH: BASS, CARP, PIKE, COD`; empty where lines differ in their number."""
    groups = []
    for line in filter(None, (line.strip() for line in re.split(r"[\n;|]", text))):
        bare = [*spellings(line)][-1]
        theme, colon, members = bare.rpartition(":")
        listed = (members if colon else bare).strip().removeprefix("[").removesuffix("]").split(",")
        groups.append((theme.strip(" *_#-"), [[*spellings(member)][-1] for member in listed]))
    sizes = {len(members) for _, members in groups}
    return groups if len(sizes) == 1 and len(groups) > 1 and sizes.pop() > 1 else []


def _question(row: Mapping[str, Any]) -> str:
    """The last message of the prompt that is the user's."""
    asked = [message for message in messages_in(row, "prompt") if message.get("role") == "user"]
    return text_of(asked[-1].get("content")) if asked else ""


def _order_in(text: str, items: Sequence[str]) -> tuple[str, ...]:
    """Items in the order in which a text names them; empty where it does not name each of them once."""
    by_plain = {normalise(item): item for item in items}
    longest_first = sorted(filter(None, by_plain), key=len, reverse=True)
    named = re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", normalise(text))
    return tuple(map(by_plain.__getitem__, named)) if sorted(named) == sorted(map(normalise, items)) else ()
