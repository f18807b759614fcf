"""What became of a game that was over its limits, and the line that tells of one that still is."""

from collections import Counter
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from connections_env.examples import GoodRow
from connections_env.records import Message
from connections_env.tokens import Counts, Limits

CANNOT_FIT = "cannot be made to fit, nothing asked"
NO_REPLAY = "does not replay"
NO_SPARE = "a spare that cannot be used"


class Reject(BaseModel):
    """A line of reduce_rejects.jsonl: a game that does not fit, as far as it was reduced. Nothing is counted of a
    spare that cannot be used."""

    model_config = ConfigDict(defer_build=True)

    puzzle_id: str
    rollout_id: str
    why: str
    reasons: list[str]
    is_spare: bool = False
    limits: dict[str, int | None] = {}
    reply_tokens: list[int] = []
    reply_tokens_before: list[int] = []
    game_tokens: int = 0
    game_tokens_before: int = 0
    sequence_tokens: int = 0
    refusals: dict[str, int] = {}
    completion: list[Message] = []


@dataclass
class Finished:
    """What became of a row that was over its limits."""

    row: GoodRow | None = None
    """None: neither it nor a spare fits."""
    is_spare: bool = False
    rejects: list[Reject] = field(default_factory=list)
    shortened: list[tuple[int, int]] = field(default_factory=list)
    """Tokens of each shortened reply of `row`, before and after."""
    kept: int = 0
    """Replies whose every rewriting was refused."""
    refusals: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    """Requests made for it."""
    earlier: bool = False
    """Was anything of it paid for by an earlier run?"""

    @property
    def cannot_fit(self) -> bool:
        """Could the game itself not fit however short its reasoning? Nothing was asked for it then."""
        return any(reject.why == CANNOT_FIT and not reject.is_spare for reject in self.rejects)


def over_what(counts: Counts, limits: Limits, items: int) -> str:
    """The limit that a game is over, the narrowest first."""
    if max(counts.replies) > limits.reply:
        return "a reply over its limit"
    return "the game over its limit" if counts.completion > limits.game_limit(items) else "the sequence over its limit"


def reject_of(
    row: GoodRow, completion: list[Message], limits: Limits, now: Counts, before: Counts, why: str, reasons: list[str]
) -> Reject:
    return Reject(
        puzzle_id=row.info.puzzle_id,
        rollout_id=row.rollout_id,
        why=why,
        reasons=reasons,
        limits={"reply": limits.reply, "game": limits.game_limit(len(row.info.all_words)), "sequence": limits.sequence},
        reply_tokens=list(now.replies),
        reply_tokens_before=list(before.replies),
        game_tokens=now.completion,
        game_tokens_before=before.completion,
        sequence_tokens=now.sequence,
        completion=completion,
    )
