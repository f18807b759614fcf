"""Whether another tool's own verdict on a game is the one its replay gives here, and which rule explains a difference.

Tools differ in what costs a mistake and in whether the last group must be guessed; everything else that differs is
worth looking at.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, Literal, NamedTuple

from connections_env.boards import number
from connections_env.foreign import Game
from connections_env.game import WON

Outcome = Literal["won", "lost", "unfinished"]

_WON = re.compile(r"won|win|solved|success|all_categories_found|theme_guessing_complete", re.IGNORECASE)
_LOST = re.compile(r"lost|lose|loss|mistake|fail", re.IGNORECASE)
_FOUND = re.compile(r"(groups?|categor\w+)_found", re.IGNORECASE)
_MISTAKES = re.compile(r"mistakes?(_used|_made|_count)?(_metric)?", re.IGNORECASE)
_COSTS = {
    "no_guess": "a reply without a guess",
    "several_guesses": "a reply with several guesses",
    "wrong_count": "a guess of the wrong size",
    "not_on_board": "a word off the board",
    "already_found": "a word of a found group",
    "repeated_item": "a word given twice",
    "already_guessed": "a repeated guess",
}
"""What is invalid here and costs nothing, and may be a mistake elsewhere."""


class Verdict(NamedTuple):
    """What became of a game. None: not recorded."""

    outcome: Outcome | None = None
    found: int | None = None
    mistakes: int | None = None
    statuses: tuple[str, ...] | None = None
    """Of all guesses; the last group is `correct` whoever completed it."""


def recorded(row: Mapping[str, Any]) -> Verdict | None:
    """The verdict that a row carries, in a guess history, a reason for its end or metrics; None where it has none."""
    metrics = row.get("metrics")
    named = {**row, **metrics} if isinstance(metrics, dict) else row
    history = row.get("guess_history")
    verdict = Verdict(
        _outcome(row.get("stop_condition") or row.get("complete_reason")),
        next(_whole(named, _FOUND), None),
        next(_whole(named, _MISTAKES), None),
        _statuses(history) if isinstance(history, list) and history else None,
    )
    return None if verdict == Verdict() else verdict


def _outcome(said: object) -> Outcome | None:
    if not isinstance(said, str) or not said:
        return None
    return "won" if _WON.search(said) else "lost" if _LOST.search(said) else "unfinished"


def _whole(fields: Mapping[str, Any], name: re.Pattern[str]) -> Iterator[int]:
    """Whole numbers under names like this."""
    for key, value in fields.items():
        counted = number(value) if name.match(key) and not isinstance(value, str | bool) else None
        if counted is not None and counted == int(counted) >= 0:
            yield int(counted)


def _statuses(history: list[Any]) -> tuple[str, ...] | None:
    statuses = [guess.get("status") if isinstance(guess, dict) else None for guess in history]
    known = [str(status).replace("auto", "correct") for status in statuses if isinstance(status, str)]
    return tuple(known) if len(known) == len(statuses) else None


def replayed(game: Game) -> Verdict:
    """The verdict of our game."""
    end = game.states[-1]
    outcome: Outcome = "won" if game.ended in WON else "lost" if game.ended == "max_mistakes" else "unfinished"
    statuses = tuple(turn.status.replace("auto", "correct") for turn in end.turns)
    return Verdict(outcome, len(end.found), end.mistakes, statuses)


def difference(theirs: Verdict, game: Game) -> str | None:
    """How a recorded verdict differs from that of our game and why, or None where it does not."""
    ours = replayed(game)
    said = [
        f"{there} there, {here} here" if isinstance(there, str) else f"{there} {what} there, {here} here"
        for what, there, here in zip(("outcome", "groups found", "mistakes"), theirs, ours, strict=False)
        if there is not None and there != here
    ]
    if theirs.statuses is not None and theirs.statuses != ours.statuses:
        said.append(_first_difference(theirs.statuses, ours.statuses or ()))
    return f"{', '.join(said)}: {_why(theirs, ours, game)}" if said else None


def _first_difference(theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    for nth, (there, here) in enumerate(zip(theirs, ours, strict=False), 1):
        if there != here:
            return f"guess {nth} is {there} there, {here} here"
    return f"{len(theirs)} guesses there, {len(ours)} here"


def _why(theirs: Verdict, ours: Verdict, game: Game) -> str:
    """The rule that accounts for a difference."""
    end = game.states[-1]
    invalid = Counter(turn.reason for turn in end.turns if turn.reason is not None)
    extra = (theirs.mistakes or 0) - (ours.mistakes or 0)
    for many in range(1, len(invalid) + 1):
        for reasons in combinations(sorted(invalid), many):
            if extra > 0 and sum(invalid[reason] for reason in reasons) == extra:
                kinds = " and ".join(_COSTS[reason] for reason in reasons)
                return f"{kinds} counts as a mistake there"
    if left := len(game.replies) - len(game.unfit):
        return f"{left} replies came after the end of our game"
    if end.turns and end.turns[-1].status == "auto" and theirs.outcome != "won":
        return "the last group comes by itself here"
    if theirs.statuses and invalid:
        return f"{', '.join(_COSTS[reason] for reason in sorted(invalid))} is invalid here"
    return "no rule that is known to differ explains it"
