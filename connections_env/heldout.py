"""Puzzles that may not enter the dataset, because a model is to be tested on them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from connections_env.arguments import UsageError
from connections_env.examples import exported_id
from connections_env.puzzles import Puzzle
from connections_env.records import Rollout
from connections_env.sources import SourceError, load_puzzles, other_splits


@dataclass
class HeldOut:
    """Puzzles that no row may be of: board -> where it comes from, and ids that were listed without their boards.

    What several sources have is told to come from the one that was named first, and counts as a puzzle of each.
    """

    boards: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    boards_of_ids: dict[str, str] = field(default_factory=dict)
    """The boards of those ids, as far as rows told them."""
    puzzles: Counter[str] = field(default_factory=Counter)
    """Source -> how many puzzles it has."""
    listed: Counter[str] = field(default_factory=Counter)
    """File of ids -> how many it lists."""

    def add(self, puzzles: Iterable[Puzzle], source: str) -> None:
        keys = {puzzle.key for puzzle in puzzles}
        self.boards = dict.fromkeys(keys, source) | self.boards
        self.puzzles[source] = len(keys)

    def add_ids(self, ids: Iterable[str], file: str) -> None:
        named = {*ids}
        self.ids = dict.fromkeys(named, file) | self.ids
        self.listed[file] = len(named)

    def where(self, row: Rollout) -> str | None:
        """The source that holds a row's puzzle out, whatever the order and case of its items."""
        key = row.puzzle.key if row.puzzle else ""
        return self.boards.get(key) or self.boards_of_ids.get(key) or self._listed(row)

    def learn(self, row: Rollout) -> None:
        """Holds out the board of a row whose id is listed: other rows may know the same puzzle by another id."""
        if (listed := self._listed(row)) and row.puzzle:
            self.boards_of_ids.setdefault(row.puzzle.key, listed)

    def _listed(self, row: Rollout) -> str | None:
        """By its id as its source writes it, or in either way in which a dataset may."""
        puzzle_id, items = row.info.puzzle_id, row.info.all_words
        names = (puzzle_id, exported_id(puzzle_id), exported_id(puzzle_id, items))
        return next((self.ids[name] for name in names if name in self.ids), None)


def hold_out(held: HeldOut, what: str) -> None:
    """Adds the puzzles of a source, of `source:split`, or of a .txt file of ids. Raises `UsageError`, `SourceError`."""
    path = Path(what)
    if path.suffix == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {what}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
        held.add_ids((line.strip() for line in lines if line.strip()), what)
        return
    source, colon, split = ("", "", "") if path.exists() else what.rpartition(":")
    held.add((load_puzzles(source, split) if colon else load_puzzles(what)).puzzles, what)


def hold_out_other_splits(held: HeldOut, rows: Iterable[Rollout], report: Callable[[str], None]) -> None:
    """Adds the splits that the rows' sources have beside the one that most of their rows are from.

    Hub datasets are looked at on this machine only; what is not there is reported, a line a source.
    """
    splits: dict[str, Counter[str]] = {}
    for row in rows:
        splits.setdefault(row.info.source, Counter()).update([row.info.split] if row.info.split else [])
    if splits.pop("", None) is not None:
        report("some rows name no source, so nothing but --exclude holds puzzles out for them")
    for source, counted in splits.items():
        try:
            for split in other_splits(source, max(counted, key=lambda name: counted[name], default="")):
                held.add(load_puzzles(source, split, local_only=True).puzzles, f"{source}:{split}")
        except SourceError as error:
            report(f"the other splits of {source} are not held out: {error}")
