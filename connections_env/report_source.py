"""What a report is made of: the games of results files or of a step's files, read one by one, each with its verdict."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from connections_env.examples import GoodRow, looks_like
from connections_env.files import line_at, line_number, read_lines, shown, told_apart
from connections_env.foreign import model_beside, named, rollout_at, rollout_of
from connections_env.json_lines import BadRow, first_problem, is_ours, read_object
from connections_env.puzzles import Puzzle, board_key
from connections_env.quality import Facts, facts_of, rejection
from connections_env.records import Rollout
from connections_env.scan import COPIES, id_key
from connections_env.standings import Standings
from connections_env.truncation import Truncate, kept_turns

Place = tuple[Path, int]
"""A file, and the byte a line of it starts at."""


NOT_THE_BEST = "a better row of the puzzle is in"


class Spot(NamedTuple):
    """Where a row lies. Sorts by file, then by byte: rows that were written later come later."""

    file: int
    """Index among the paths of the source."""
    offset: int
    line: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A game and what became of it."""

    spot: Spot
    row: Rollout
    key: str
    """The same for games of one puzzle."""
    facts: Facts
    why_bad: str | None
    chosen: bool
    """Is it the one that stands for its puzzle in the dataset?"""
    kept: int
    """Turns a truncation would keep."""


@dataclass(frozen=True)
class Source:
    """Files of games."""

    title: str
    """What it is, in a few words."""
    files: Sequence[Path]
    truncate: Truncate = "last-valid"
    ruleset: str | None = None
    """Games by other rules are only counted; None: there are none."""
    names: Mapping[str, str] | None = None
    """Key of a row -> key of its puzzle; games of other puzzles are only counted. None: all are taken."""
    puzzles: int | None = None
    """So many are there to be played; None where nobody knows."""
    best: Collection[Place] = ()
    """The good games that stand for their puzzles."""
    reduced: Mapping[str, Place] = field(default_factory=dict)
    """Rollout id -> where the game lies as it was reduced."""
    ledgers: Collection[Path] = ()
    """Folders with the answers of the reducer that were paid for these games; of examples, it lies beside them."""
    # Of a step's file of good examples, in place of results:
    examples: bool = False
    accepted: Collection[str] = ()
    """Rollout ids of the rows in the dataset."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """`file:line` of a row -> why it may not be in the dataset."""
    spares: Sequence[Place] = ()
    """Games of results files that are in the dataset in place of rows of these."""

    @cached_property
    def paths(self) -> list[Path]:
        """The files, then those of the spares, each once."""
        return list(dict.fromkeys([*self.files, *(path for path, _ in self.spares)]))

    @cached_property
    def shown_paths(self) -> list[str]:
        """The files as a page may name them, wherever it is copied to."""
        return told_apart(self.paths)


def of_results(
    standings: Standings,
    files: Sequence[Path],
    puzzles: Sequence[Puzzle] | None,
    *,
    others: bool = False,
    reduced: Mapping[str, Place] | None = None,
    ledgers: Collection[Path] = (),
) -> Source:
    """The games of results files as they stand; of these puzzles alone where they are known and no `others` count."""
    best = {(one.path, one.offset) for ranked in standings.by_puzzle.values() for one in ranked[:1] if one.good}
    return Source(
        title="results",
        files=files,
        truncate=standings.truncate,
        ruleset=standings.ruleset,
        names=None if puzzles is None or others else keys_by_name(puzzles),
        puzzles=None if puzzles is None else len(puzzles) + (len(standings.others(puzzles)) if others else 0),
        best=best,
        reduced=reduced or {},
        ledgers=ledgers,
    )


def of_examples(files: Sequence[Path], accepted: Collection[str], refused: Mapping[str, str], spares: int) -> Source:
    """Good games as a step left them; `spares` of the accepted ones are not among them but in the results they name."""
    found = _spares_of(files, set(accepted)) if spares else []
    return Source("good examples", files, examples=True, accepted=set(accepted), refused=refused, spares=found)


def keys_by_name(puzzles: Sequence[Puzzle]) -> dict[str, str]:
    """Key of a row -> key of its puzzle; rows that name only an id count where just one board bears it."""
    boards = Counter(puzzle.puzzle_id for puzzle in puzzles)
    named = {id_key(one.puzzle_id): one.key for one in puzzles if boards[one.puzzle_id] == 1}
    return {one.key: one.key for one in puzzles} | named


def games_in(source: Source, left_out: Counter[str]) -> Iterator[Judged]:
    """The games of the files in their order, one in memory at a time; what is none is counted with its reason.

    Raises `FutureRow`, OSError.
    """
    seen = set[int]()
    for path in source.files:
        number = source.paths.index(path)
        for line in read_lines(path):
            try:
                row = good_row(line.data) if source.examples else rollout_of(line.data)
            except BadRow:
                left_out["torn last line" if line.torn else "unreadable"] += 1
                continue
            if not row.model and (model := model_beside(path)):
                row = named(row, model)
            judged = judge(source, Spot(number, line.offset, line.number), row)
            if isinstance(judged, str):
                left_out[judged] += 1
            elif (identity := hash(line.data)) in seen:
                left_out[COPIES] += 1
            else:
                seen.add(identity)
                yield judged
    for path, offset in source.spares:
        spot = Spot(source.paths.index(path), offset, line_number(path, offset))
        judged = judge(source, spot, rollout_at(path, offset))
        if isinstance(judged, Judged):
            yield judged


def judge(source: Source, spot: Spot, row: Rollout) -> Judged | str:
    """A row with its verdict, or why it does not count."""
    if source.ruleset is not None and row.info.ruleset != source.ruleset:
        return "other ruleset"
    facts, board = facts_of(row), bool(row.info.all_words)
    if not facts.statuses:
        return "empty"
    key = board_key(row.info.all_words) if board else id_key(row.info.puzzle_id)
    if source.names is not None:
        if key not in source.names:
            return "puzzle not chosen"
        key = source.names[key]
    path = source.paths[spot.file]
    if source.examples:
        why_bad = source.refused.get(f"{shown(path)}:{spot.line}")
        chosen = why_bad is None and row.rollout_id in source.accepted
        if why_bad is None and not chosen:
            why_bad = NOT_THE_BEST
    else:
        why_bad, chosen = rejection(facts), (path, spot.offset) in source.best
    can_go_on = board and not source.examples  # what a dataset refuses was won, and nothing is left to be played
    kept = kept_turns(facts.statuses, facts.unfit, facts.complete_reason, source.truncate) if can_go_on else 0
    return Judged(spot, row, key, facts, why_bad, chosen, kept)


def whole_row(source: Source, spot: Spot) -> tuple[Rollout, bool]:
    """The row at a spot with all that is known of it: its model, and its reduced form where there is one.

    And is it another tool's game, in which the player was told what came of its guesses in other words?
    """
    path = source.paths[spot.file]
    if source.examples and path in source.files:
        return good_row(line_at(path, spot.offset)), False
    row = rollout_at(path, spot.offset)
    if place := source.reduced.get(row.rollout_id):
        return good_row(line_at(*place)), False
    return row, not is_ours(read_object(line_at(path, spot.offset))) if row.tokens_estimated else False


def good_row(data: bytes) -> GoodRow:
    """A line as a good example. Raises `BadRow`, `FutureRow`."""
    row = read_object(data)
    if row.get("kind") != "good":
        raise BadRow(f"expected a good example, this looks like {looks_like(row)}")
    try:
        return GoodRow.model_validate(row)
    except ValidationError as error:
        raise BadRow(first_problem(error)) from None


def reduced_in(path: Path) -> dict[str, Place]:
    """Rollout id -> place, of the games of a stream that were reduced."""
    found: dict[str, Place] = {}
    for line in read_lines(path):
        with suppress(BadRow):
            row = good_row(line.data)
            if row.reduced:
                found[row.rollout_id] = (path, line.offset)
    return found


def _spares_of(files: Sequence[Path], accepted: set[str]) -> list[Place]:
    """Where the accepted games lie that no row of the files is."""
    rows: list[GoodRow] = []
    for path in files:
        for line in read_lines(path):
            with suppress(BadRow):
                rows.append(good_row(line.data).model_copy(update={"completion": [], "original_completion": None}))
    missing = accepted - {row.rollout_id for row in rows}
    found: dict[str, Place] = {}
    for place in dict.fromkeys(place for row in rows for place in row.spares):
        with suppress(BadRow, OSError):
            spare = rollout_at(Path(place.file), place.offset)
            if spare.rollout_id in missing:
                found.setdefault(spare.rollout_id, (Path(place.file), place.offset))
    return list(found.values())
