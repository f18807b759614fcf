"""Rows of other tools judged while a folder is scanned: the game `foreign.adopt` makes of a row, without the row."""

from functools import lru_cache
from typing import NamedTuple

import msgspec

from connections_env.foreign import Origin, board_in, played
from connections_env.puzzles import Puzzle
from connections_env.quality import Facts
from connections_env.records import BadRow
from connections_env.rulesets import RULESETS, Ruleset
from connections_env.tags import reply_from

_BOARDS_REMEMBERED = 2048


class _Message(msgspec.Struct, gc=False):
    role: str = ""
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


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
    if not said or (not older and any(message.role == "assistant" for message in line.prompt)):
        return None
    replies = [reply_from(message.content, message.reasoning_content or message.reasoning) for message in said]
    game = played(*board, replies, RULESETS.get(str(line.ruleset)), line.complete_reason)
    origin: Origin = "older pipelines" if older else "verifiers"
    return Judged(game.puzzle.key, game.facts, origin)


@lru_cache(maxsize=_BOARDS_REMEMBERED)
def _remembered_board(info: bytes) -> tuple[Puzzle, Ruleset | None] | None:
    """The board in an `info` as it stands in a line; most lines of a file share theirs with others."""
    return board_in({"info": msgspec.json.decode(info)})
