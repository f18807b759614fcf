"""The best rollouts of each puzzle, as results files are read."""

from bisect import insort
from pathlib import Path
from typing import NamedTuple

from connections_env.quality import Rank

# Candidates kept per puzzle. More than one, because a row that disagrees with its replay is passed over; not all,
# because memory should grow with puzzles and not with rollouts.
SPARES = 8


class Candidate(NamedTuple):
    """One rollout of a puzzle, and where its row lies. Sorts by rank, the best first."""

    rank: Rank
    rollout_id: str
    path: Path
    offset: int
    """Of the line, in bytes."""
    why_bad: str | None
    kept: int
    """Turns a truncation keeps; 0 for a row without a board, which cannot be resumed."""
    identity: int
    """Of the game, the same for each copy of its row; only within a process and its forks."""

    @property
    def good(self) -> bool:
        return self.why_bad is None


def merge_best(best: dict[str, list[Candidate]], others: dict[str, list[Candidate]]) -> set[str]:
    """Takes others in among the best of their puzzles; gives the keys of those that now have more than are kept."""
    return {key for key, found in others.items() for one in found if keep_best(best.setdefault(key, []), one)}


def keep_best(best: list[Candidate], candidate: Candidate) -> bool:
    """Puts a candidate in its place among the best of its puzzle; True if there are more than are kept.

    Of a row that has copies the first one is kept.
    """
    if len(best) == SPARES and candidate >= best[-1]:
        return True
    for other in best:
        if other.identity == candidate.identity:
            return True
    insort(best, candidate)
    if len(best) <= SPARES:
        return False
    best.pop()
    return True
