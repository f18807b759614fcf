"""Where every puzzle stands: good, salvageable, unsalvageable or missing, by the best of its rollouts."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from connections_env.candidates import Candidate
from connections_env.json_lines import BadRow
from connections_env.puzzles import Puzzle
from connections_env.standings import Standings, fetch


@dataclass(frozen=True)
class Known:
    """A puzzle and its rollouts, the best first. `puzzle` is None where only results files know it."""

    key: str
    example_id: int
    puzzle: Puzzle | None
    candidates: list[Candidate]

    def board(self) -> Puzzle | None:
        """The puzzle, if need be from the first of its rows that names one."""
        for candidate in [] if self.puzzle else self.candidates:
            with suppress(BadRow, OSError):
                if board := fetch(candidate).puzzle:
                    return board
        return self.puzzle


@dataclass
class Situation:
    """Where every puzzle stands, by its best rollout so far."""

    good: list[Known] = field(default_factory=list)
    salvageable: list[Known] = field(default_factory=list)
    unsalvageable: list[Known] = field(default_factory=list)
    missing: list[Known] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return len(self.salvageable) + len(self.unsalvageable)

    def block(self, head: str, came_of_it: str = "", *, puzzles_known: bool = True) -> str:
        return (
            f"{head}: {len(self.good)} Good, {self.bad} Bad{came_of_it}\n"
            f"  - Salvageable: {len(self.salvageable)}\n"
            f"  - Unsalvageable: {len(self.unsalvageable)}\n"
            f"  - Missing puzzles: {len(self.missing) if puzzles_known else 'unknown'}"
        )


def assess(puzzles: list[Puzzle], standings: Standings, *, all_puzzles: bool = False) -> Situation:
    """Sorts puzzles by their best rollout; with `all_puzzles` also those that only the results files know."""
    boards = Counter(puzzle.puzzle_id for puzzle in puzzles)
    known = [
        Known(puzzle.key, n, puzzle, standings.of(puzzle, by_id=boards[puzzle.puzzle_id] == 1))
        for n, puzzle in enumerate(puzzles)
    ]
    if all_puzzles:
        others = enumerate(standings.others(puzzles), len(puzzles))
        known += [Known(key, n, None, standings.by_puzzle[key]) for n, key in others]
    situation = Situation()
    for one in known:
        if not one.candidates:
            situation.missing.append(one)
        elif one.candidates[0].good:
            situation.good.append(one)
        elif one.candidates[0].kept:
            situation.salvageable.append(one)
        else:
            situation.unsalvageable.append(one)
    return situation
