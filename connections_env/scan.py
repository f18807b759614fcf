"""A stretch of a results file, read for what ranking needs and nothing else: the best rollouts of each puzzle in it.

Lines of ours are only glimpsed at. Those that are not ours, or not whole, take the slow way and are replayed.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from connections_env.agreement import difference, recorded
from connections_env.candidates import Candidate, keep_best, merge_best
from connections_env.estimate import Took
from connections_env.files import BYTE_ORDER_MARK, lines_in
from connections_env.foreign import adopt, game_of, origin_of
from connections_env.glimpse import GlimpsedRow, glimpse
from connections_env.json_lines import BadRow, FutureRow, read_object
from connections_env.judging import judge_line
from connections_env.puzzles import board_key
from connections_env.quality import Facts, bad_rank, facts_of, good_rank, rejection
from connections_env.records import Rollout, read_row
from connections_env.truncation import Truncate, kept_turns

OURS = "this project"
COPIES = "copy of another row"


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
    known: Collection[int] = ()
    """Identities of rollouts that were counted before."""
    verdicts: bool = False
    """Are other tools' own verdicts compared with the replay? That takes several times as long."""


@dataclass(slots=True)
class Scan:
    """What a stretch holds."""

    path: Path
    start: int
    end: int
    """Where to read on: behind the last whole line."""
    lines: int = 0
    best: dict[str, list[Candidate]] = field(default_factory=dict)
    beyond: set[str] = field(default_factory=set)
    """Keys of the puzzles that have more rollouts than are kept."""
    rows_of: Counter[str] = field(default_factory=Counter)
    copies_of: Counter[str] = field(default_factory=Counter)
    """Rows that are copies of those, and not among them."""
    counts: Counter[str] = field(default_factory=Counter)
    took: Took = field(default_factory=Took)
    took_simulated: Took = field(default_factory=Took)
    """Apart, since they say nothing of a real model's games."""
    identities: set[int] = field(default_factory=set)
    """Of the rollouts that count; a second row of one is a copy."""
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
    found = Scan(stretch.path, stretch.start, stretch.start)
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
    seen = glimpse(raw)
    if seen is None:
        return False
    key, row = seen
    if key:
        found.counts[OURS] += 1
        found.counts["simulated"] += row.simulated
        ours = row.info.ruleset == wanted.ruleset
        fresh = _count(found, wanted, key if ours else None, row.rollout_id, facts_of(row), _identity(row, raw))
        if fresh and ours and row.usage.output:
            took = found.took_simulated if row.simulated else found.took
            took.games += 1
            took.input += row.usage.input
            took.cached += row.usage.cached
            took.output += row.usage.output
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
    _count(found, wanted, game.key if ours else None, "", game.facts, hash(bytes(raw)))
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
        found.torn = not raw.endswith(b"\n") and not _is_json(data)
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
    found.counts["simulated"] += rollout.simulated
    if wanted.verdicts and not facts.statuses:
        found.problems.append((found.lines + 1, "no reply in it; does not count"))
    elif wanted.verdicts and not isinstance(row, Rollout):
        _compare(found, data)
    board = bool(rollout.info.all_words)
    key = board_key(rollout.info.all_words) if board else id_key(rollout.info.puzzle_id)
    ours = rollout.info.ruleset == wanted.ruleset
    identity = _identity(row, raw) if isinstance(row, Rollout) else hash(raw)
    _count(found, wanted, key if ours else None, rollout.rollout_id, facts, identity, replayable=board)
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


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _identity(row: GlimpsedRow | Rollout, raw: memoryview | bytes) -> int:
    """The same for copies of a row of ours. Its id alone is not enough: a copy may be damaged."""
    return hash((row.rollout_id, row.complete_reason, len(raw), *row.reply_tokens))


def _count(
    found: Scan,
    wanted: Wanted,
    key: str | None,
    rollout_id: str,
    facts: Facts,
    identity: int,
    *,
    replayable: bool = True,
) -> bool:
    """Counts a rollout, and keeps it if it is among the best of its puzzle. No key: it is of another ruleset.

    False for the copy of another row.
    """
    if key is None:
        found.counts["other ruleset"] += 1
        return True
    if not facts.statuses:
        found.counts["empty"] += 1
        return True
    if wanted.only is not None:  # the copy of a row that turned out wrong may be right
        if key not in wanted.only or (found.path, found.end) in wanted.dropped:
            return True
    elif identity in found.identities or identity in wanted.known:
        found.copies_of[key] += 1
        found.beyond.add(key)
        return False
    found.identities.add(identity)
    found.rows_of[key] += 1
    kept = kept_turns(facts.statuses, facts.unfit, facts.complete_reason, wanted.truncate) if replayable else 0
    why_bad = rejection(facts)
    place = good_rank(facts) if why_bad is None else bad_rank(facts, kept)
    candidate = Candidate(place, rollout_id, found.path, found.end, why_bad, kept, identity)
    if keep_best(found.best.setdefault(key, []), candidate):
        found.beyond.add(key)
    return True
