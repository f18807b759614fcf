"""A line of a results file of ours at a glance: what ranking needs of it.

Most of a line's bytes are text that nobody looks at; msgspec passes over it three times faster than any parser that
decodes it.
"""

from functools import lru_cache
from typing import Literal

import msgspec

from connections_env.puzzles import board_key
from connections_env.rulesets import RULESETS, Ruleset


class _Guess(msgspec.Struct, gc=False):
    status: str


class _Group(msgspec.Struct, gc=False):
    """Only counted."""


class _Info(msgspec.Struct, gc=False):
    all_words: msgspec.Raw
    categories: tuple[_Group, ...]
    ruleset: Literal["nyt", "puzzgrid"]


class _Themes(msgspec.Struct, gc=False):
    named: tuple[str, ...]
    right: tuple[bool, ...]


class _Usage(msgspec.Struct, gc=False):
    input: int
    output: int
    cached: int


class GlimpsedRow(msgspec.Struct, gc=False):
    schema_version: Literal[1]
    rollout_id: str
    info: _Info
    guess_history: tuple[_Guess, ...]
    themes: _Themes | None
    complete_reason: str
    reward: float
    reply_tokens: tuple[int, ...]
    reply_unfit: tuple[str | None, ...]
    reply_models: msgspec.Raw
    usage: _Usage
    simulated: bool

    @property
    def ruleset(self) -> Ruleset:
        return RULESETS[self.info.ruleset]


_decode = msgspec.json.Decoder(GlimpsedRow).decode


@lru_cache(maxsize=4096)
def _key_of(all_words: bytes) -> str:
    """The key of a board as it stands in a line; empty where it names none."""
    return board_key(msgspec.json.decode(all_words, type=tuple[str, ...]))


def glimpse(data: memoryview) -> tuple[str, GlimpsedRow] | None:
    """The key of a row's board, empty where it names none, and the row; None where it is not plainly one of ours."""
    try:
        str(data, "utf-8")  # msgspec does not look at what it passes over
        row = _decode(data)
        return _key_of(bytes(row.info.all_words)), row
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
