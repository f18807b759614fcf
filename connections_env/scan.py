"""A stretch of a results file, read for what ranking needs and nothing else: the best rollouts of each puzzle in it.

Most of a line's bytes are text that nobody looks at; msgspec passes over it three times faster than any parser that
decodes it. Lines that are not ours, or not whole, take the slow way and are replayed.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from connections_env.agreement import difference, recorded
from connections_env.candidates import Candidate, keep_best, merge_best
from connections_env.estimate import Took
from connections_env.files import BYTE_ORDER_MARK, lines_in
from connections_env.foreign import adopt, game_of, origin_of
from connections_env.judging import judge_line
from connections_env.puzzles import board_key
from connections_env.quality import Facts, bad_rank, facts_of, good_rank, rejection
from connections_env.records import BadRow, FutureRow, Rollout, read_object, read_row
from connections_env.rulesets import RULESETS, Ruleset
from connections_env.truncation import Truncate, kept_turns

OURS = "this project"


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


class _Row(msgspec.Struct, gc=False):
    schema_version: Literal[1]
    rollout_id: str
    info: _Info
    guess_history: tuple[_Guess, ...]
    themes: _Themes | None
    complete_reason: str
    reward: float
    reply_tokens: tuple[int, ...]
    reply_unfit: tuple[str | None, ...]
    usage: _Usage
    simulated: bool

    @property
    def ruleset(self) -> Ruleset:
        return RULESETS[self.info.ruleset]


_decode = msgspec.json.Decoder(_Row).decode


@lru_cache(maxsize=4096)
def _key_of(all_words: bytes) -> str:
    """The key of a board as it stands in a line; empty where it names none."""
    return board_key(msgspec.json.decode(all_words, type=tuple[str, ...]))


def id_key(puzzle_id: str) -> str:
    """The name under which a row without a board is kept; no board key holds a NUL."""
    return f"id\0{puzzle_id}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a file, from the start of a line to that of another (None: to the end)."""

    path: Path
    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for."""

    ruleset: str
    truncate: Truncate
    only: Collection[str] | None = None
    """Keys of puzzles; None: all."""
    dropped: Collection[tuple[Path, int]] = ()
    """Rows (file and offset) that turned out not to be what they say."""
    verdicts: bool = False
    """Are other tools' own verdicts compared with the replay? That takes several times as long."""


@dataclass(slots=True)
class Scan:
    """What a stretch holds."""

    path: Path
    end: int
    """Where to read on: behind the last whole line."""
    lines: int = 0
    best: dict[str, list[Candidate]] = field(default_factory=dict)
    beyond: set[str] = field(default_factory=set)
    """Keys of the puzzles that have more rollouts than are kept."""
    rows_of: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    took: Took = field(default_factory=Took)
    took_simulated: Took = field(default_factory=Took)
    """Apart, since they say nothing of a real model's games."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Lines that are no game, by reason."""
    differences: list[tuple[int, str]] = field(default_factory=list)
    """Line, counted from 1 at the start of the stretch, and how another tool's verdict on it differs from ours."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Line, counted from 1 at the start of the stretch, and what is wrong with it."""
    torn: bool = False
    """The last line is cut off, or still being written."""
    future: bool = False
    """The last of the problems is a row of a newer version, at which reading ended."""


def scan(stretch: Stretch, wanted: Wanted) -> Scan:
    """Reads a stretch. Raises OSError."""
    found = Scan(stretch.path, stretch.start)
    with stretch.path.open("rb") as file:
        file.seek(stretch.start)
        take, other = _take_ours, _take_foreign
        for raw in lines_in(file):
            if stretch.end is not None and found.end >= stretch.end:
                break
            if not take(found, wanted, raw):
                if other(found, wanted, raw):  # files hold rows of one kind, one after the other
                    take, other = other, take
                elif not _take_slowly(found, wanted, bytes(raw)):
                    break
            found.end += len(raw)
            found.lines += 1
    return found


def _take_ours(found: Scan, wanted: Wanted, raw: memoryview) -> bool:
    """Takes in a line that is plainly one of ours; False if it is not."""
    try:
        str(raw, "utf-8")  # msgspec does not look at what it passes over
        row = _decode(raw)
        key = _key_of(bytes(row.info.all_words))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    if key:
        found.counts[OURS] += 1
        found.counts["simulated"] += row.simulated
        if row.usage.output:
            took = found.took_simulated if row.simulated else found.took
            took.games += 1
            took.input += row.usage.input
            took.cached += row.usage.cached
            took.output += row.usage.output
        ours = row.info.ruleset == wanted.ruleset
        _count(found, wanted, key if ours else None, row.rollout_id, facts_of(row), replayable=True)
    return bool(key)


def _take_foreign(found: Scan, wanted: Wanted, raw: memoryview) -> bool:
    """Takes in a line that is plainly another tool's; False if it is not."""
    game = judge_line(raw)
    if game is None:
        return False
    found.counts[game.origin] += 1
    if wanted.verdicts:
        _compare(found, bytes(raw))
    ours = game.facts.ruleset.name == wanted.ruleset
    _count(found, wanted, game.key if ours else None, "", game.facts, replayable=True)
    return True


def scan_some(stretches: Sequence[Stretch], wanted: Wanted) -> list[Scan]:
    """Reads stretches; the best of all of them are with the first one, so that little goes from process to process."""
    first, *others = scans = [scan(stretch, wanted) for stretch in stretches]
    for other in others:
        first.beyond |= merge_best(first.best, other.best)
        other.best = {}
    return scans


def _take_slowly(found: Scan, wanted: Wanted, raw: bytes) -> bool:
    """Takes in a line that is not plainly one of ours; False if reading ends before it."""
    data = raw.removeprefix(BYTE_ORDER_MARK) if found.end == 0 else raw
    if not data.strip():
        return True
    try:
        row = read_row(data)
        rollout = row if isinstance(row, Rollout) else adopt(row)
    except BadRow as error:
        found.torn = not raw.endswith(b"\n")
        if not found.torn:
            found.unreadable[re.split(r"[:;]|, got", str(error))[0]] += 1
            found.problems.append((found.lines + 1, f"{error}; skipped"))
        return not found.torn
    except FutureRow as error:
        found.future = True
        found.problems.append((found.lines + 1, str(error)))
        return False
    facts = facts_of(rollout)
    found.counts[OURS if isinstance(row, Rollout) else origin_of(row)] += 1
    if wanted.verdicts and not facts.statuses:
        found.problems.append((found.lines + 1, "no reply in it; does not count"))
    elif wanted.verdicts and not isinstance(row, Rollout):
        _compare(found, data)
    board = bool(rollout.info.all_words)
    key = board_key(rollout.info.all_words) if board else id_key(rollout.info.puzzle_id)
    ours = rollout.info.ruleset == wanted.ruleset
    _count(found, wanted, key if ours else None, rollout.rollout_id, facts, replayable=board)
    return True


def _compare(found: Scan, data: bytes) -> None:
    """Compares what a row of another tool says of its game with the replay."""
    row = read_object(data)
    verdict, game = recorded(row), game_of(row)
    if verdict is None or game is None or not game.replies:
        return
    differs = difference(verdict, game)
    found.counts["verdicts that differ" if differs else "verdicts that agree"] += 1
    if differs:
        found.differences.append((found.lines + 1, differs))


def _count(found: Scan, wanted: Wanted, key: str | None, rollout_id: str, facts: Facts, *, replayable: bool) -> None:
    """Counts a rollout, and keeps it if it is among the best of its puzzle. No key: it is of another ruleset."""
    if key is None:
        found.counts["other ruleset"] += 1
        return
    if not facts.statuses:
        found.counts["empty"] += 1
        return
    if wanted.only is not None and (key not in wanted.only or (found.path, found.end) in wanted.dropped):
        return
    found.rows_of[key] += 1
    kept = kept_turns(facts.statuses, facts.unfit, facts.complete_reason, wanted.truncate) if replayable else 0
    why_bad = rejection(facts)
    place = good_rank(facts) if why_bad is None else bad_rank(facts, kept)
    candidate = Candidate(place, rollout_id, found.path, found.end, why_bad, kept)
    if keep_best(found.best.setdefault(key, []), candidate):
        found.beyond.add(key)
