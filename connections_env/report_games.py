"""The games in a report: which are taken where there are too many, and how each is packed for the page.

The list of the page reads a row for each game; all that was said in one lies in a block of several games, compressed,
that the page opens only with the game.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from heapq import heappush, heappushpop
from typing import Any, NamedTuple

from connections_env.dataset import public_name
from connections_env.examples import GoodRow, before_reduction, count_row
from connections_env.foreign import rollout_at
from connections_env.lineage import played_by
from connections_env.quality import facts_of
from connections_env.records import Rollout
from connections_env.report_counts import mistakes_of
from connections_env.report_page import as_json
from connections_env.report_source import Judged, Source, Spot, whole_row
from connections_env.report_turns import game_of
from connections_env.rewards import perfect
from connections_env.rulesets import RULESETS
from connections_env.tokens import Counts, Tokenizer

BLOCK = 2**18  # characters of games in a block, before they are compressed


class Pick(NamedTuple):
    """A game to be shown. Sorts by how much it is wanted: the chosen ones, then the bad ones, the newest of each."""

    wanted: int
    spot: Spot
    why_bad: str | None
    kept: int


class Picks:
    """The games most wanted of all that were seen, in no more memory than they need."""

    def __init__(self, most: int):
        self.most = most
        self.seen = 0
        self._heap: list[Pick] = []

    def see(self, game: Judged) -> None:
        self.seen += 1
        pick = Pick(2 if game.chosen else 1 if game.why_bad else 0, game.spot, game.why_bad, game.kept)
        if len(self._heap) < self.most:
            heappush(self._heap, pick)
        else:
            heappushpop(self._heap, pick)

    @property
    def in_order(self) -> list[Pick]:
        """As they lie in the files."""
        return sorted(self._heap, key=lambda pick: pick.spot)


@dataclass(slots=True)
class Names:
    """Values that many games share, each written once."""

    values: list[Any] = field(default_factory=list)
    _known: dict[str, int] = field(default_factory=dict)

    def number(self, value: Any) -> int:
        name = json.dumps(value)
        if name not in self._known:
            self._known[name] = len(self.values)
            self.values.append(value)
        return self._known[name]


class Tokens(NamedTuple):
    """Of a game, in the list: of all its games in one measure, so that they can be sorted."""

    tokens: int
    before: int | None
    """Before it was reduced; None where it was not, or where the list counts what was played."""
    estimated: int
    """Replies whose tokens nobody counted."""


_LETTERS = {"correct": "R", "one_away": "O", "incorrect": "W", "invalid": "I"}


@dataclass(slots=True)
class Packed:
    """The list of the page, as far as it is packed."""

    source: Source
    tokenizer: Tokenizer | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    puzzles: Names = field(default_factory=Names)
    models: Names = field(default_factory=Names)
    reasons: Names = field(default_factory=Names)
    endings: Names = field(default_factory=Names)

    def blocks(self, picks: Sequence[Pick]) -> Iterator[str]:
        """The games, a line each, in blocks of several."""
        lines: list[str] = []
        size = number = 0
        for pick in picks:
            row, retold = whole_row(self.source, pick.spot)
            now, before = counted(row, self.tokenizer)
            shown = counted_for_list(self.source, pick.spot, row, now, before)
            line = as_json(game_of(row, self.tokenizer, now, before) | {"retold": retold})
            self.rows.append(self._listed(row, pick, shown) | {"block": number, "place": len(lines)})
            lines.append(line)
            size += len(line)
            if size >= BLOCK:
                yield "\n".join(lines)
                lines, size, number = [], 0, number + 1
        if lines:
            yield "\n".join(lines)

    def _listed(self, row: Rollout, pick: Pick, tokens: Tokens) -> dict[str, Any]:
        """What the list knows of a game, a column each."""
        facts, info = facts_of(row), row.info
        groups = [[one.group, one.members, one.linking_terms] for one in info.categories]
        board = [info.puzzle_id, info.title, info.difficulty, info.all_words, groups, public_name(info.source)]
        resumed = row.resumed_from
        return {
            "rollout": row.rollout_id,
            "puzzle": self.puzzles.number(board),
            "file": pick.spot.file,
            "line": pick.spot.line,
            "model": self.models.number(played_by(row, public_name)),
            "ruleset": info.ruleset,
            "reason": None if pick.why_bad is None else self.reasons.number(pick.why_bad),
            "ended": self.endings.number(row.complete_reason),
            "chosen": int(pick.wanted == 2),
            "cut": row.turns_cut,
            "reduced": int(isinstance(row, GoodRow) and row.reduced),
            "simulated": int(row.simulated),
            "reward": round(row.reward, 4),
            "mistakes": mistakes_of(facts),
            "statuses": "".join(_LETTERS[status] for status in facts.statuses),
            **tokens._asdict(),
            "parent": resumed.rollout_id if resumed else None,
            "resumed_after": resumed.turns if resumed else None,
            "cut_keeps": pick.kept if pick.why_bad is not None else None,
        }

    def index(self) -> dict[str, Any]:
        return {
            "fields": [*self.rows[0]] if self.rows else [],
            "rows": [[*row.values()] for row in self.rows],
            "puzzles": self.puzzles.values,
            "models": self.models.values,
            "reasons": self.reasons.values,
            "endings": self.endings.values,
            "files": self.source.shown_paths,
            "rulesets": {rules.name: asdict(rules) | {"perfect": perfect(rules)} for rules in RULESETS.values()},
            "examples": self.source.examples,
        }


def counted(row: Rollout, tokenizer: Tokenizer | None) -> tuple[Counts | None, Counts | None]:
    """A good example as a trainer counts it, and, if it was reduced, as it was before."""
    if tokenizer is None or not isinstance(row, GoodRow):
        return None, None
    before = count_row(before_reduction(row), tokenizer) if row.original_completion else None
    return count_row(row, tokenizer), before


def counted_for_list(source: Source, spot: Spot, row: Rollout, now: Counts | None, before: Counts | None) -> Tokens:
    """The tokens of a game, in the measure of the page: as they were charged, of a dataset as a trainer counts."""
    if source.examples and now:
        return Tokens(now.completion, before.completion if before else None, 0)
    played = rollout_at(source.paths[spot.file], spot.offset) if now else row
    return Tokens(sum(played.reply_tokens), None, played.tokens_estimated)
