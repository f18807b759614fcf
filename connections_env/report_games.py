"""The games in a report: which are taken where there are too many, and how each is packed for the page.

The list of the page reads a row for each game; all that was said in one lies in a block of several games, compressed,
that the page opens only with the game.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Any, NamedTuple

from connections_env.examples import GoodRow, count_row
from connections_env.game import WON, GameState
from connections_env.lineage import played_by
from connections_env.parsing import Asked, Reply, reasoning_of
from connections_env.play import Disagrees, replay_replies, replay_rollout
from connections_env.quality import facts_of
from connections_env.records import Rollout
from connections_env.report_counts import mistakes_of
from connections_env.report_source import Judged, Source, Spot, whole_row
from connections_env.tokens import END_OF_TURN, Tokenizer

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


# What the list knows of a game, a column each.
FIELDS = (
    *("rollout", "puzzle", "file", "line", "model", "ruleset", "reason", "ended", "chosen", "won", "cut", "reduced"),
    *("simulated", "reward", "mistakes", "statuses", "tokens", "parent", "kept", "keeps", "block", "place"),
)
_LETTERS = {"correct": "R", "one_away": "O", "incorrect": "W", "invalid": "I"}


@dataclass(slots=True)
class Packed:
    """The list of the page, as far as it is packed."""

    source: Source
    tokenizer: Tokenizer | None = None
    rows: list[list[Any]] = field(default_factory=list)
    puzzles: Names = field(default_factory=Names)
    models: Names = field(default_factory=Names)
    reasons: Names = field(default_factory=Names)
    endings: Names = field(default_factory=Names)

    def blocks(self, picks: Sequence[Pick]) -> Iterator[str]:
        """The games, a line each, in blocks of several."""
        lines: list[str] = []
        size = number = 0
        for pick in picks:
            row = whole_row(self.source, pick.spot)
            line = json.dumps(game_of(row, self.tokenizer))
            self.rows.append(self._listed(row, pick, number, len(lines)))
            lines.append(line)
            size += len(line)
            if size >= BLOCK:
                yield "\n".join(lines)
                lines, size, number = [], 0, number + 1
        if lines:
            yield "\n".join(lines)

    def _listed(self, row: Rollout, pick: Pick, block: int, place: int) -> list[Any]:
        facts, info = facts_of(row), row.info
        groups = [[one.group, one.members, one.linking_terms] for one in info.categories]
        board = [info.puzzle_id, info.title, info.difficulty, info.all_words, groups, info.source]
        resumed = row.resumed_from
        return [
            row.rollout_id,
            self.puzzles.number(board),
            pick.spot.file,
            pick.spot.line,
            self.models.number(played_by(row)),
            info.ruleset,
            None if pick.why_bad is None else self.reasons.number(pick.why_bad),
            self.endings.number(row.complete_reason),
            int(pick.wanted == 2),
            int(row.complete_reason in WON),
            row.turns_cut,
            int(isinstance(row, GoodRow) and row.reduced),
            int(row.simulated),
            round(row.reward, 4),
            mistakes_of(facts),
            "".join(_LETTERS[status] for status in facts.statuses),
            sum(row.reply_tokens),
            resumed.rollout_id if resumed else None,
            resumed.turns if resumed else None,
            pick.kept if pick.why_bad is not None else None,
            block,
            place,
        ]

    def index(self) -> dict[str, Any]:
        return {
            "fields": FIELDS,
            "rows": self.rows,
            "puzzles": self.puzzles.values,
            "models": self.models.values,
            "reasons": self.reasons.values,
            "endings": self.endings.values,
            "files": [path.name for path in self.source.paths],
        }


def game_of(row: Rollout, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """A game as the page shows it, turn by turn, with what its replay says of the board after each."""
    states, note = _states(row)
    counted = count_row(row, tokenizer).replies if tokenizer and isinstance(row, GoodRow) else row.reply_tokens
    turns = [
        _turn(row, states, nth, reply) | {"tokens": tokens}
        for nth, (reply, tokens) in enumerate(zip(row.replies, counted, strict=True))
    ]
    for turn, feedback in zip(turns, _feedback(row), strict=False):
        turn["feedback"] = feedback
    if isinstance(row, GoodRow) and row.reduced and row.original_completion:
        for turn, before in zip(turns, _before(row), strict=False):
            if before != turn["content"]:
                turn["before"] = reasoning_of(Reply(before), "themes" if turn["status"] == "themes" else "guess")
                turn["beforeTokens"] = tokenizer.count(before + END_OF_TURN) if tokenizer else None
    return {
        "prompt": [{"role": message.role, "content": message.content} for message in row.prompt],
        "turns": turns,
        "themes": row.themes.model_dump() if row.themes else None,
        "usage": row.usage.model_dump(),
        "timing": row.timing,
        "sampling": row.sampling,
        "metrics": row.metrics,
        "reducer": ", ".join(row.reducer_models) if isinstance(row, GoodRow) else None,
        "note": note,
    }


def _states(row: Rollout) -> tuple[list[GameState], str | None]:
    """The states of a game, and what does not fit its record; none where it names no board."""
    puzzle = row.puzzle
    if puzzle is None:
        return [], "this row names no board that can be played, so its game is shown as recorded"
    try:
        return replay_rollout(row)[1], None
    except Disagrees as error:
        return replay_replies(puzzle, row.ruleset, row.replies), f"replayed here, this row does not hold: {error}"


def _reasoning(reply: Reply, asked: Asked = "guess") -> str | None:
    """A reply's reasoning; None where it is just what came beside the content, as it mostly is."""
    reasoning = reasoning_of(reply, asked)
    return None if reasoning == reply.reasoning else reasoning


def _turn(row: Rollout, states: Sequence[GameState], nth: int, reply: Reply) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "content": reply.content,
        "beside": reply.reasoning,
        "reasoning": "",
        "words": [],
        "status": "after the end",
        "reason": None,
        "mistakes": states[-1].mistakes if states else 0,
        "found": [*states[-1].found] if states else [],
        "finish": row.reply_finish[nth],
        "unfit": row.reply_unfit[nth],
        "feedback": "",
    }
    if nth + 1 >= len(states):
        return turn | {"reasoning": _reasoning(reply)}
    before, after = states[nth], states[nth + 1]
    turn |= {"mistakes": after.mistakes, "found": [*after.found]}
    if before.asks_themes:
        return turn | {"status": "themes", "reasoning": _reasoning(reply, "themes")}
    played = after.player_turns[-1]
    return turn | {
        "reasoning": _reasoning(reply),
        "words": [*played.words],
        "status": played.status,
        "reason": played.reason,
    }


def _feedback(row: Rollout) -> list[str]:
    """What the player was told after each reply; nothing after the last."""
    said: list[str] = []
    for message in row.completion:
        if message.role == "assistant":
            said.append("")
        elif said:
            said[-1] += message.content
    return said


def _before(row: GoodRow) -> list[str]:
    return [message.content for message in row.original_completion or () if message.role == "assistant"]
