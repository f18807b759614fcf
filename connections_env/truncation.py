"""How much of a bad game can be kept, so that it goes on from there instead of being paid for again."""

from collections.abc import Sequence
from typing import Literal, get_args

Truncate = Literal["last-valid", "last-correct"]
TRUNCATE_MODES: tuple[Truncate, ...] = get_args(Truncate)


def kept_turns(
    statuses: Sequence[str], unfit: Sequence[str | None], complete_reason: str, truncate: Truncate = "last-valid"
) -> int:
    """Number of turns from the start that a truncation keeps; 0: the game cannot be salvaged.

    `statuses` are those of the player's guesses, `unfit` why each reply may not be trained on (None where it may).
    Kept is what lies before the first invalid guess, before the first unfit reply and before the losing mistake;
    `last-correct` also drops the wrong guesses at the end of that.
    """
    kept = max(len(statuses) - (complete_reason == "max_mistakes"), 0)
    for turn, (status, why) in enumerate(zip(statuses[:kept], unfit, strict=False)):
        if status == "invalid" or why:
            kept = turn
            break
    if truncate == "last-correct":
        while kept and statuses[kept - 1] != "correct":
            kept -= 1
    return kept
