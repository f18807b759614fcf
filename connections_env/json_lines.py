"""A line of a JSONL file as an object: whose it is, and why it may be none."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from connections_env.boards import number
from connections_env.items import encodable

SCHEMA_VERSION = 1
_GZIP = b"\x1f\x8b"
REPLY_LISTS = frozenset({"reply_tokens", "reply_finish", "reply_unfit", "reply_models"})


class BadRow(ValueError):
    """A line that cannot be read; the message is the reason."""


class FutureRow(ValueError):
    """A line written by a newer version of this project: reading on could only misread it."""


def read_object(line: bytes | str) -> dict[str, Any]:
    """A line as a JSON object. Raises `BadRow`, or `FutureRow` where a newer version wrote it."""
    row: dict[str, Any] | None = None
    with suppress(ValueError, RecursionError):
        text = line if isinstance(line, str) else line.decode("utf-8-sig")  # json itself lets lone surrogates pass
        row = _encodable_throughout(json.loads(text))
    if not isinstance(row, dict):
        raise BadRow(f"expected a JSON object, got {_shown(line)}")
    version = row.get("schema_version") if _is_numbered_here(row) else None
    if (number(version) or 0) > SCHEMA_VERSION:
        raise FutureRow(
            f"written by a newer version of this project (schema_version {version}, this one reads up to "
            f"{SCHEMA_VERSION}); update it, or move the file out of the folder"
        )
    return row


def is_ours(row: Mapping[str, Any]) -> bool:
    """Is a row a whole one of this project? A game that lacks what is told of each reply can be replayed all the same,
    as those of other tools are.
    """
    return _is_numbered_here(row) and ("completion" not in row or row.keys() >= REPLY_LISTS)


def _is_numbered_here(row: Mapping[str, Any]) -> bool:
    """Games of other tools may have a `schema_version`, but nothing else of ours."""
    another = "completion" in row and row.keys().isdisjoint(("rollout_id", "reply_unfit"))
    return row.get("schema_version") is not None and not another


def _encodable_throughout(value: Any) -> Any:
    """JSON without lone surrogates, which escapes can stand for and no file can hold."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(name): _encodable_throughout(inner) for name, inner in value.items()}
    return [_encodable_throughout(inner) for inner in value] if isinstance(value, list) else value


def _shown(line: bytes | str) -> str:
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    if isinstance(line, bytes) and line.startswith(_GZIP):
        return "what gzip compressed; unpack the file"
    return repr(text.strip()[:40])


def first_problem(error: ValidationError) -> str:
    """What is wrong with a row, in a few words: the field and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    said = first["msg"].lower().removeprefix("value error, ")
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {said}" if where else said
