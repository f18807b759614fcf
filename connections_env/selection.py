"""From the good games in the inputs to the rows of the dataset: the best of each puzzle that may be in."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from connections_env.dataset import SftRow, build_row
from connections_env.examples import ID_PREFIX, GoodRow, exported_id, looks_like
from connections_env.export import Export
from connections_env.files import read_lines, shown
from connections_env.formats import Game, Rows, rows_of
from connections_env.heldout import HeldOut
from connections_env.json_lines import BadRow, FutureRow, first_problem, read_object
from connections_env.loadable import unloadable
from connections_env.play import Disagrees
from connections_env.quality import Rank, facts_of, rank
from connections_env.splits import Boundary
from connections_env.steps import spare_row
from connections_env.validation import Requirements, problems


class WrongKind(BadRow):
    """A row of another file than this step reads."""


class WrongLength(BadRow):
    """A row with more or fewer replies than it records."""


@dataclass(frozen=True)
class Candidate:
    """A row of an input, and where it lies."""

    row: GoodRow
    place: str
    nth: int
    """Of all lines of all inputs."""
    faults: tuple[str, ...] = ()
    """Problems of the line that reading it into a row would hide."""

    @property
    def key(self) -> str:
        """The same for rows of the same board."""
        puzzle = self.row.puzzle
        return puzzle.key if puzzle else self.row.info.puzzle_id

    @property
    def rank(self) -> Rank:
        return rank(facts_of(self.row), kept=0)


@dataclass(frozen=True)
class Reject:
    """A line of `sft_rejects.jsonl`. Ids are None where the line does not tell them."""

    place: str
    puzzle_id: str | None
    rollout_id: str | None
    reasons: list[str]
    """Each `reason: detail`; the first one is the one that is counted."""

    @property
    def reason(self) -> str:
        return self.reasons[0].partition(": ")[0]


@dataclass
class Outcome:
    """What became of the rows of the inputs: `read` is `accepted - spares_used + better_in + rejects of rows`."""

    read: int = 0
    wrong_kind: int = 0
    """Lines that are rows of another kind of file, or none at all."""
    games: list[Game] = field(default_factory=list)
    """What is in the dataset, and its rows in the layouts that are written."""
    splits: dict[str, int] = field(default_factory=dict)
    """Games by split, where there are splits."""
    boundary: Boundary = field(default_factory=Boundary)
    """Between the splits."""
    written: bool = False
    better_in: int = 0
    """Rows of puzzles of which a better row is in the dataset."""
    rejects: list[Reject] = field(default_factory=list)
    """Rows of the inputs that were refused."""
    spare_rejects: list[Reject] = field(default_factory=list)
    """Other rollouts of their puzzles, looked up in results files, that were refused too."""
    spares_used: int = 0
    with_row: list[str] = field(default_factory=list)
    """Ids, as their sources write them, of the puzzles in the dataset."""
    same_id: int = 0
    """Of those, the puzzles whose id another one has too."""
    without_row: list[str] = field(default_factory=list)
    """Ids of the puzzles that another game could still bring in."""
    held_out: HeldOut = field(default_factory=HeldOut)

    @property
    def rows(self) -> list[SftRow]:
        return [row for row, _ in self.games]

    @property
    def accepted(self) -> int:
        return len(self.games)

    @property
    def became(self) -> Counter[str]:
        """What became of the rows read."""
        counts = Counter(
            {
                "accepted" if self.written else "fit": self.accepted - self.spares_used,
                "a better row of the puzzle is in": self.better_in,
            }
        )
        counts.update(f"rejected, {reject.reason}" for reject in self.rejects)
        return counts


def read_candidates(inputs: Iterable[Path], outcome: Outcome, report: Callable[[str], None]) -> Iterator[Candidate]:
    """The good games in the inputs; lines that are none are rejects. Raises `FutureRow` with the place."""
    for path in inputs:
        for line in read_lines(path):
            place = f"{shown(path)}:{line.number}"
            outcome.read += 1
            try:
                row, faults = read_good(line.data)
            except FutureRow as error:
                raise FutureRow(f"{place}: {error}") from None
            except BadRow as error:
                report(f"{place}: {error}; skipped")
                outcome.wrong_kind += isinstance(error, WrongKind)
                reason = f"turns missing: {error}" if isinstance(error, WrongLength) else f"unreadable: {error}"
                outcome.rejects.append(Reject(place, *_labels(line.data), [reason]))
                continue
            yield Candidate(row, place, outcome.read, faults)


def read_good(data: bytes) -> tuple[GoodRow, tuple[str, ...]]:
    """A line as a good example, and the keys of its messages that are not theirs. Raises `BadRow`, `FutureRow`."""
    raw = read_object(data)
    if raw.get("kind") != "good":
        raise WrongKind(f"expected a good example, this looks like {looks_like(raw)}")
    try:
        row = GoodRow.model_validate(raw)
    except ValidationError as error:
        # Only what a whole row says of itself has no field to its name: that its lists are of one length.
        raise (BadRow if error.errors()[0]["loc"] else WrongLength)(first_problem(error)) from None
    extra = {key for message in (*raw["prompt"], *raw["completion"]) for key in message} - {"role", "content"}
    return row, tuple(f"extra key: a message has {key!r} beside role and content" for key in sorted(extra))


def _labels(data: bytes) -> tuple[str | None, str | None]:
    """Puzzle id and rollout id of a line that is no good example, as far as it tells them."""
    try:
        raw = json.loads(data)
        named = raw["info"]["puzzle_id"], raw["rollout_id"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None, None
    return named if all(isinstance(name, str) for name in named) else (None, None)


def choose_all(candidates: Iterable[Candidate], need: Requirements, export: Export, outcome: Outcome) -> None:
    """Fills in the games of the dataset, in the order of the inputs, and the puzzles that are left without one."""
    by_puzzle: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_puzzle.setdefault(candidate.key, []).append(candidate)
        need.held_out.learn(candidate.row)
    known = {candidate.row.info.puzzle_id for group in by_puzzle.values() for candidate in group}
    unread = dict.fromkeys(reject.puzzle_id for reject in outcome.rejects)
    outcome.without_row = [puzzle_id for puzzle_id in unread if puzzle_id and puzzle_id not in known]
    chosen = []
    for group in by_puzzle.values():
        if found := choose(group, need, export, outcome):
            chosen.append(found)
        elif not need.held_out.where(group[0].row):
            outcome.without_row.append(group[0].row.info.puzzle_id)
    games = [game for _, game in sorted(chosen, key=lambda one: one[0])]
    outcome.with_row = [row.puzzle_id.removeprefix(ID_PREFIX) for row, _ in games]
    outcome.games, outcome.same_id = told_apart(games)


def told_apart(games: Sequence[Game]) -> tuple[list[Game], int]:
    """The games, each under an id of its own, and how many had to be given one: many sources count from 1.

    All that share an id get a hash of their items, and none keeps it bare: so the order of the inputs does not matter,
    and no id means one puzzle here and another there.
    """
    bearers = Counter(row.puzzle_id for row, _ in games)
    shared = [bearers[row.puzzle_id] > 1 for row, _ in games]
    return [_with_hash(*game) if alike else game for game, alike in zip(games, shared, strict=True)], sum(shared)


def _with_hash(made: SftRow, rows: Rows) -> Game:
    items = [item for category in made.categories for item in category.members]
    named = {"puzzle_id": exported_id(made.puzzle_id.removeprefix(ID_PREFIX), items)}
    again: Rows = {
        layout: [row | named if named.keys() <= row.keys() else row for row in them] for layout, them in rows.items()
    }
    return made.model_copy(update=named), again


def choose(group: Sequence[Candidate], need: Requirements, export: Export, outcome: Outcome) -> tuple[int, Game] | None:
    """The best row of a puzzle that holds, and its place in the order; None if neither its rows nor their spares do."""
    ordered = sorted(group, key=lambda candidate: (candidate.rank, candidate.nth))
    for passed, candidate in enumerate(ordered):
        if isinstance(game := built(candidate.row, need, export, candidate.faults), tuple):
            outcome.better_in += len(ordered) - passed - 1
            return candidate.nth, game
        info = candidate.row.info
        outcome.rejects.append(Reject(candidate.place, info.puzzle_id, candidate.row.rollout_id, game))
    if need.held_out.where(ordered[0].row):
        return None  # and so are its spares
    for place in dict.fromkeys(place for candidate in ordered for place in candidate.row.spares):
        spare = None
        try:
            spare = spare_row(place, ordered[0].key)
            game = built(spare, need, export)
        except (BadRow, FutureRow, Disagrees, OSError) as error:
            game = [f"spare cannot be used: {error}"]
        if isinstance(game, tuple):
            outcome.spares_used += 1
            return ordered[0].nth, game
        puzzle_id = ordered[0].row.info.puzzle_id
        where = f"{place.file}, byte {place.offset}"
        rollout_id = spare.rollout_id if spare else None
        outcome.spare_rejects.append(Reject(where, puzzle_id, rollout_id, game))
    return None


def built(row: GoodRow, need: Requirements, export: Export, faults: Sequence[str] = ()) -> Game | list[str]:
    """A row as the dataset has it, or why it may not be in."""
    if found := [*faults, *problems(row, need)]:
        return found
    made = build_row(row, need.tokenizer)
    rows = rows_of(made, export, need.tokenizer)
    found = [why for layout, them in rows.items() for one in them for why in unloadable(one, layout, export.reasoning)]
    return [f"not loadable: {why}" for why in dict.fromkeys(found)] or (made, rows)
