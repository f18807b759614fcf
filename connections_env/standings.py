"""For every puzzle its best rollouts over results files, in order.

From the first good one down to the bad one that a truncation would keep most of.
"""

import sys
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from connections_env.files import Line, line_at, read_lines
from connections_env.foreign import rollout_of
from connections_env.puzzles import Puzzle, board_key
from connections_env.quality import Facts, Rank, facts_of, rank, rejection
from connections_env.records import BadRow, FutureRow, Rollout
from connections_env.rulesets import RULESETS, Ruleset
from connections_env.truncation import Truncate, kept_turns

# Candidates kept per puzzle. More than one, because a row that disagrees with its replay is passed over; not all,
# because memory should grow with puzzles and not with rollouts.
SPARES = 8


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """One rollout of a puzzle, and where its row lies."""

    rank: Rank
    rollout_id: str
    path: Path = field(compare=False)
    number: int = field(compare=False)
    """Of the line, from 1."""
    offset: int = field(compare=False)
    """Of the line, in bytes."""
    why_bad: str | None = field(compare=False)
    kept: int = field(compare=False)
    """Turns a truncation keeps; 0 for a row without a board, which cannot be resumed."""

    @property
    def good(self) -> bool:
        return self.why_bad is None


class _GuessFacts(BaseModel):
    status: str


class _GroupFacts(BaseModel):
    """Only counted."""


class _InfoFacts(BaseModel):
    all_words: tuple[str, ...]
    categories: tuple[_GroupFacts, ...]
    ruleset: Literal["nyt", "puzzgrid"]


class _ThemeFacts(BaseModel):
    right: tuple[bool, ...]


class _RowFacts(BaseModel):
    """The fields of our rows that ranking needs; the rest, most of a line's bytes, is not decoded."""

    schema_version: Literal[1]
    rollout_id: str
    info: _InfoFacts
    guess_history: tuple[_GuessFacts, ...]
    themes: _ThemeFacts | None
    complete_reason: str
    reward: float
    reply_tokens: tuple[int, ...]
    reply_unfit: tuple[str | None, ...]
    simulated: bool

    @property
    def ruleset(self) -> Ruleset:
        return RULESETS[self.info.ruleset]


_key_of = lru_cache(maxsize=4096)(board_key)


def keys_of(puzzles: Iterable[Puzzle]) -> set[str]:
    """The names under which rows of these puzzles are kept: of their boards, and of their ids alone."""
    return {key for puzzle in puzzles for key in (puzzle.key, _id_key(puzzle.puzzle_id))}


def _id_key(puzzle_id: str) -> str:
    """The name under which a row without a board is kept; no board key holds a NUL."""
    return f"id\0{puzzle_id}"


class Standings:
    """The best rollouts of every puzzle over results files, read once and then only where they have grown.

    `report` gets one line for each problem with a file. Raises `FutureRow` (with the place) for rows of a newer
    version, OSError for files that cannot be read.
    """

    def __init__(self, ruleset: str, truncate: Truncate = "last-valid", report: Callable[[str], None] | None = None):
        self.ruleset = ruleset
        self.truncate: Truncate = truncate
        self.counts: Counter[str] = Counter()
        """Rows by what became of them: counted, empty, unreadable, other ruleset; and how many are simulated, older."""
        self.by_puzzle: dict[str, list[Candidate]] = {}
        self.rows_of: Counter[str] = Counter()
        """Counted rows of each puzzle, those beyond its spares included."""
        self._report = report or (lambda line: print(line, file=sys.stderr))
        self._read_to: dict[Path, tuple[int, int]] = {}
        self._beyond_spares: set[str] = set()
        self._dropped: set[tuple[Path, int]] = set()
        self._only: set[str] | None = None
        self._torn: set[tuple[Path, int]] = set()

    def read(self, files: Iterable[Path]) -> None:
        """Takes in what was added to these files since the last call."""
        for path in files:
            offset, number = self._read_to.get(path, (0, 1))
            for line in read_lines(path, offset, number):
                if not self._take(path, line):
                    break
                offset, number = line.end, line.number + 1
            self._read_to[path] = offset, number

    def _note_torn(self, path: Path, line: Line) -> None:
        if (path, line.offset) not in self._torn:
            self._torn.add((path, line.offset))
            self._report(f"{path.name}:{line.number}: torn last line, its writer died or is still writing; skipped")

    def _take(self, path: Path, line: Line) -> bool:
        """Takes a line in; False if it is to be read again once it is whole."""
        try:
            key, rollout_id, facts, replayable = self._facts(line.data)
        except BadRow as error:
            if line.torn:
                self._note_torn(path, line)
                return False
            self.counts["unreadable"] += 1
            self._report(f"{path.name}:{line.number}: {error}; skipped")
            return True
        except FutureRow as error:
            raise FutureRow(f"{path}:{line.number}: {error}") from None
        if key is None:
            self.counts["other ruleset"] += 1
        elif not facts.statuses:
            self.counts["empty"] += 1
        elif (self._only is not None and key not in self._only) or (path, line.offset) in self._dropped:
            pass
        else:
            self.counts["counted"] += 1
            self.rows_of[key] += 1
            kept = kept_turns(facts.statuses, facts.unfit, facts.complete_reason, self.truncate) if replayable else 0
            why_bad = rejection(facts)
            self._enter(key, Candidate(rank(facts, kept), rollout_id, path, line.number, line.offset, why_bad, kept))
        return True

    def _enter(self, key: str, candidate: Candidate) -> None:
        best = self.by_puzzle.setdefault(key, [])
        insort(best, candidate)
        if len(best) > SPARES:
            self._beyond_spares.add(key)
            del best[SPARES:]

    def _facts(self, data: bytes) -> tuple[str | None, str, Facts, bool]:
        """Key (None: not of our ruleset), rollout id, facts, and whether the row can be replayed."""
        try:
            row = _RowFacts.model_validate_json(data)
        except ValidationError:
            row = None
        if row and row.info.all_words:
            self.counts["simulated"] += row.simulated
            key = _key_of(row.info.all_words) if row.info.ruleset == self.ruleset else None
            return key, row.rollout_id, facts_of(row), True
        rollout = rollout_of(data)
        self.counts["older"] += 1
        key = _id_key(rollout.info.puzzle_id)
        if rollout.info.all_words:
            key = _key_of(tuple(rollout.info.all_words))
        ours = rollout.info.ruleset == self.ruleset
        return key if ours else None, rollout.rollout_id, facts_of(rollout), bool(rollout.info.all_words)

    @property
    def torn(self) -> int:
        """Last lines that were cut off when they were read."""
        return len(self._torn)

    def others(self, puzzles: Iterable[Puzzle]) -> list[str]:
        """Keys of the puzzles in the files that are not among these."""
        known = keys_of(puzzles)
        return [key for key, candidates in self.by_puzzle.items() if key not in known and candidates]

    def of(self, puzzle: Puzzle) -> list[Candidate]:
        """A puzzle's candidates, the best first: rows of its board, and rows that name only its id."""
        boards = self.by_puzzle.get(puzzle.key, [])
        named = self.by_puzzle.get(_id_key(puzzle.puzzle_id), [])
        return sorted([*boards, *named]) if named else boards

    def drop(self, key: str, candidate: Candidate) -> None:
        """Forgets a candidate that turned out not to be what its row says."""
        self._dropped.add((candidate.path, candidate.offset))
        self.by_puzzle[key] = [other for other in self.by_puzzle[key] if other is not candidate]

    def recall(self, keys: set[str]) -> set[str]:
        """Reads the files again for puzzles whose every spare was dropped; gives those that had more rollouts."""
        wanted = {key for key in keys & self._beyond_spares if not self.by_puzzle[key]}
        self._beyond_spares -= wanted
        if wanted:
            again = Standings(self.ruleset, self.truncate, report=lambda line: None)
            again._only, again._dropped = wanted, self._dropped
            again.read(self._read_to)
            self.by_puzzle |= {key: again.by_puzzle.get(key, []) for key in wanted}
            self._beyond_spares |= again._beyond_spares
        return wanted


def fetch(candidate: Candidate) -> Rollout:
    """The whole row of a candidate."""
    return rollout_of(line_at(candidate.path, candidate.offset))
