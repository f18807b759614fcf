"""Rows of other tools judged while a folder is scanned: the game `foreign.adopt` makes of a row, without the row."""

from functools import lru_cache
from typing import NamedTuple

import msgspec

from connections_env.foreign import Origin, is_in_vain, played
from connections_env.json_lines import BadRow
from connections_env.puzzles import Puzzle
from connections_env.quality import Facts
from connections_env.rulesets import RULESETS, Ruleset
from connections_env.tags import reply_from
from connections_env.told import board_in

_BOARDS_REMEMBERED = 2048
_NONE = msgspec.Raw(b"null")


class _Message(msgspec.Struct, gc=False):
    role: str = ""
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = _NONE


class _Line(msgspec.Struct, gc=False):
    """The fields of a plain row that a verdict needs; a row that differs in their types is read by `adopt`."""

    info: msgspec.Raw
    completion: tuple[_Message, ...]
    prompt: tuple[_Message, ...] = ()
    complete_reason: str | None = None
    ruleset: str | None = None
    guess_history: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    schema_version: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Judged(NamedTuple):
    """A row as far as ranking needs it."""

    key: str
    """Of its board."""
    facts: Facts
    origin: Origin


_decode = msgspec.json.Decoder(_Line).decode


def judge_line(data: memoryview | bytes) -> Judged | None:
    """The same game as `adopt` makes of a line, without making a row; None where the line is not plain enough."""
    try:
        str(data, "utf-8")  # msgspec does not look at what it passes over
        line = _decode(data)
        board = _remembered_board(bytes(line.info))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BadRow):
        return None
    if board is None or line.schema_version is not msgspec.UNSET:
        return None
    older = line.guess_history is not msgspec.UNSET
    said = [message for message in (*line.prompt, *line.completion) if message.role == "assistant"]
    if not said or (not older and (any(message.role == "assistant" for message in line.prompt) or not _plain(said))):
        return None
    replies = [reply_from(message.content, message.reasoning_content or message.reasoning) for message in said]
    game = played(*board, replies, RULESETS.get(str(line.ruleset)), line.complete_reason)
    if not older and is_in_vain(game):
        return None
    origin: Origin = "older pipelines" if older else "verifiers"
    return Judged(game.puzzle.key, game.facts, origin)


def _plain(said: list[_Message]) -> bool:
    """Are the guesses of a row told in tags, as far as a glance can tell?"""
    tagged = any("<guess>" in (text := message.content or "") or "<answer>" in text for message in said)
    return tagged and not any(bytes(message.tool_calls) not in (b"null", b"[]") for message in said)


@lru_cache(maxsize=_BOARDS_REMEMBERED)
def _remembered_board(info: bytes) -> tuple[Puzzle, Ruleset | None] | None:
    """The board in an `info` as it stands in a line; most lines of a file share theirs with others."""
    return board_in({"info": msgspec.json.decode(info)})
