"""For every puzzle its best rollouts over results files, in order.

From the first good one down to the bad one that a truncation would keep most of.
"""

import gc
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from connections_env.candidates import Candidate, merge_best
from connections_env.estimate import Took
from connections_env.foreign import Origin, rollout_at
from connections_env.json_lines import FutureRow
from connections_env.puzzles import Puzzle
from connections_env.records import Rollout
from connections_env.scan import COPIES, OURS, Scan, Stretch, Wanted, id_key, scan, scan_some
from connections_env.signals import at_once
from connections_env.truncation import Truncate

PAYS_FROM = 2**25  # bytes to read, from which on more processes are worth starting
ORIGINS = (OURS, *get_args(Origin))
UNUSED = ("empty", "other ruleset", COPIES)
SHARES = 2  # of the work for each process, since some take longer than others


def keys_of(puzzles: Iterable[Puzzle]) -> set[str]:
    """The names under which rows of these puzzles are kept: of their boards, and of their ids alone."""
    return {key for puzzle in puzzles for key in (puzzle.key, id_key(puzzle.puzzle_id))}


class Standings:
    """The best rollouts of every puzzle over results files, read once and then only where they have grown.

    `report` gets one line for each problem with a file. Raises `FutureRow` (with the place) for rows of a newer
    version, OSError for files that cannot be read.
    """

    def __init__(
        self,
        ruleset: str,
        truncate: Truncate = "last-valid",
        report: Callable[[str], None] | None = None,
        *,
        verdicts: bool = False,
    ):
        self.ruleset = ruleset
        self.truncate: Truncate = truncate
        self.counts: Counter[str] = Counter()
        """Rows by who wrote them and by what became of them: counted, empty, other ruleset; how many are simulated."""
        self.took, self.took_simulated = Took(), Took()
        """What rows of this project cost, for those of real models and of the simulated player."""
        self.unreadable: Counter[str] = Counter()
        """Lines that are no game, by reason."""
        self.differences: list[str] = []
        """Where other tools' own verdicts differ from the replay; looked for with `verdicts`."""
        self.by_puzzle: dict[str, list[Candidate]] = {}
        self.rows_of: Counter[str] = Counter()
        """Counted rows of each puzzle, those beyond its spares included."""
        self.copies_of: Counter[str] = Counter()
        """Rows that are copies of those, and not among them."""
        self._verdicts = verdicts
        self._root = ""
        self._report = report or (lambda line: print(line, file=sys.stderr))
        self._read_to: dict[Path, tuple[int, int]] = {}
        """File -> where to read on, in bytes and lines."""
        self._beyond_spares: set[str] = set()
        self._seen: set[int] = set()
        """Identities of all that was counted."""
        self._dropped: set[tuple[Path, int]] = set()
        self._torn: set[tuple[Path, int]] = set()

    def read(self, files: Iterable[Path]) -> None:
        """Takes in what was added to these files since the last call."""
        new = [Stretch(path, self._read_to.get(path, (0, 0))[0], None) for path in files]
        self._root = os.path.commonpath([str(one.path.parent.absolute()) for one in new] or [""])
        wanted = Wanted(self.ruleset, self.truncate, verdicts=self._verdicts)
        for found in scan_all(new, wanted):
            self._take(found, wanted)

    def name(self, path: Path) -> str:
        """A file as messages name it: below the folder that holds all that was read."""
        return os.path.relpath(path, self._root)

    def _take(self, found: Scan, wanted: Wanted) -> None:
        if copies := self._seen & found.identities:  # read once more, since so few files have any
            stretch = Stretch(found.path, found.start, found.end)
            again = scan(stretch, replace(wanted, known=copies))
            sums = ("rows_of", "copies_of", "counts", "took", "took_simulated")
            found = replace(found, **{name: getattr(again, name) for name in sums})
            found.beyond |= again.beyond
        _, lines = self._read_to.get(found.path, (0, 0))
        for number, what in found.problems:
            if found.future:
                raise FutureRow(f"{found.path}:{lines + number}: {what}")
            self._report(f"{self.name(found.path)}:{lines + number}: {what}")
        if found.torn and (found.path, found.end) not in self._torn:
            self._torn.add((found.path, found.end))
            where = f"{self.name(found.path)}:{lines + found.lines + 1}"
            self._report(f"{where}: torn last line, its writer died or is still writing; skipped")
        self._read_to[found.path] = found.end, lines + found.lines
        self.differences += [f"{self.name(found.path)}:{lines + number}: {how}" for number, how in found.differences]
        self.unreadable += found.unreadable
        self.took += found.took
        self.took_simulated += found.took_simulated
        self.counts += found.counts
        self.rows_of += found.rows_of
        self.copies_of += found.copies_of
        self.counts[COPIES] = self.copies_of.total()
        self.counts["counted"] += found.rows_of.total()
        self._seen |= found.identities
        self._beyond_spares |= found.beyond
        self._beyond_spares |= merge_best(self.by_puzzle, found.best)

    @property
    def torn(self) -> int:
        """Last lines that were cut off when they were read."""
        return len(self._torn)

    @property
    def mixed(self) -> bool:
        """Do the files hold anything but rows of this project that count?"""
        return bool(self.unreadable or self.torn or any(self.counts[kind] for kind in (*ORIGINS[1:], *UNUSED)))

    def account(self) -> str:
        """Who wrote the rows, and how many of all lines could not be used, with the reasons."""
        written = [f"{self.counts[who]:,} of {who}" for who in ORIGINS if self.counts[who]]
        reasons = {
            "empty": self.counts["empty"],
            f"by other rules than {self.ruleset}": self.counts["other ruleset"],
            "copies of other rows": self.counts[COPIES],
            "torn last line": self.torn,
            f"unreadable ({'; '.join(f'{why}: {count:,}' for why, count in self.unreadable.items())})": (
                self.unreadable.total()
            ),
        }
        named = [f"{count:,} {why}" for why, count in reasons.items() if count]
        unused = f"; {sum(reasons.values()):,} not used: {', '.join(named)}" if named else ""
        return f"rollouts: {', '.join(written) or 'none'}{unused}"

    def others(self, puzzles: Iterable[Puzzle]) -> list[str]:
        """Keys of the puzzles in the files that are not among these."""
        known = keys_of(puzzles)
        return [key for key, candidates in self.by_puzzle.items() if key not in known and candidates]

    def of(self, puzzle: Puzzle, *, by_id: bool = True) -> list[Candidate]:
        """A puzzle's candidates, the best first: rows of its board, and those that name only its id.

        Without `by_id`, where other boards bear the same id, the first kind alone.
        """
        boards = self.by_puzzle.get(puzzle.key, [])
        named = self.by_puzzle.get(id_key(puzzle.puzzle_id), []) if by_id else []
        return sorted([*boards, *named]) if named else boards

    def drop(self, key: str, candidate: Candidate) -> None:
        """Forgets a candidate that turned out not to be what its row says."""
        self._dropped.add((candidate.path, candidate.offset))
        self.by_puzzle[key] = [other for other in self.by_puzzle[key] if other is not candidate]

    def recall(self, keys: set[str]) -> set[str]:
        """Reads the files again for puzzles whose every spare was dropped; gives those that had more rollouts."""
        wanted = {key for key in keys & self._beyond_spares if not self.by_puzzle[key]}
        self._beyond_spares -= wanted
        for key in wanted:  # now they are looked at like all others
            copies = self.copies_of.pop(key, 0)
            self.rows_of[key] += copies
            self.counts["counted"] += copies
            self.counts[COPIES] -= copies
        if wanted:
            looked_for = Wanted(self.ruleset, self.truncate, wanted, self._dropped)
            again = Standings(self.ruleset, self.truncate, report=lambda line: None)
            for found in scan_all([Stretch(path, 0, end) for path, (end, _) in self._read_to.items()], looked_for):
                again._take(found, looked_for)
            self.by_puzzle |= {key: again.by_puzzle.get(key, []) for key in wanted}
            self._beyond_spares |= again._beyond_spares
        return wanted


def scan_all(stretches: list[Stretch], wanted: Wanted) -> Iterator[Scan]:
    """Reads stretches in their order, in several processes if that pays.

    Only where a process can be forked safely: a copy of one with threads can hang.
    """
    sizes = [(one.end or one.path.stat().st_size) - one.start for one in stretches]
    processes, forkable = os.cpu_count() or 1, sys.platform == "linux" and threading.active_count() == 1
    if sum(sizes) < PAYS_FROM or processes < 2 or not forkable:
        yield from map(partial(scan, wanted=wanted), stretches)
        return
    share = sum(sizes) // (SHARES * processes) + 1
    shares: list[list[Stretch]] = [[]]
    left = share
    for one, size in zip(stretches, sizes, strict=True):
        for piece, length in cut(one, size, share):
            if shares[-1] and left < length // 2:
                shares.append([])
                left = share
            shares[-1].append(piece)
            left -= length
    import multiprocessing  # here, since few need it

    context = multiprocessing.get_context("fork")
    # A pool ends its processes by SIGTERM, and waits for ever for one that did not die of it.
    with at_once(), context.Pool(processes, _become_a_reader) as pool:
        for found in pool.imap(partial(scan_some, wanted=wanted), shares):
            yield from found


def _become_a_reader() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the user interrupts the process that waits for this one
    gc.disable()  # nothing it makes goes in circles, and what it was forked with is no garbage


def cut(stretch: Stretch, size: int, most: int) -> Iterator[tuple[Stretch, int]]:
    """A stretch of this size in pieces of about `most` bytes, cut where lines begin, with the size of each."""
    start, end = stretch.start, stretch.start + size
    with stretch.path.open("rb") as file:
        while end - start > most:
            file.seek(start + most)
            file.readline()
            if (here := file.tell()) >= end:
                break
            yield Stretch(stretch.path, start, here), here - start
            start = here
    yield Stretch(stretch.path, start, stretch.end), end - start


def fetch(candidate: Candidate) -> Rollout:
    """The whole row of a candidate."""
    return rollout_at(candidate.path, candidate.offset)
