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

# What tools call the end of a game; every other name says nothing that could be compared.
_OUTCOMES: dict[str, Outcome] = {
    **dict.fromkeys(("won", "win", "game_won", "solved", "puzzle_solved", "success", "victory"), "won"),
    **dict.fromkeys(("all_categories_found", "all_groups_found", "theme_guessing_complete"), "won"),
    **dict.fromkeys(("lost", "lose", "loss", "game_lost", "failed", "failure", "defeat", "out_of_mistakes"), "lost"),
    **dict.fromkeys(("max_mistakes", "max_mistakes_reached", "too_many_mistakes"), "lost"),
    **dict.fromkeys(("max_turns", "max_turns_reached", "prompt_too_long", "interrupted"), "unfinished"),
}
_FOUND = re.compile(r"(num_)?(groups?|categor(y|ies))_found(_count)?(_metric)?", re.IGNORECASE)
_MISTAKES = re.compile(r"(num_|total_)?mistakes?(_used|_made)?(_count)?(_metric)?", re.IGNORECASE)
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


UNEXPLAINED = "no rule that is known to differ explains it"


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
    return _OUTCOMES.get(said.lower()) if isinstance(said, str) else None


def _whole(fields: Mapping[str, Any], name: re.Pattern[str]) -> Iterator[int]:
    """Whole numbers under names like this."""
    for key, value in fields.items():
        counted = number(value) if name.fullmatch(key) and not isinstance(value, str | bool) else None
        if counted is not None and counted == int(counted) >= 0:
            yield int(counted)


def _statuses(history: list[Any]) -> tuple[str, ...] | None:
    statuses = [guess.get("status") if isinstance(guess, dict) else None for guess in history]
    known = [status.lower().replace("auto", "correct") for status in statuses if isinstance(status, str)]
    return tuple(known) if len(known) == len(statuses) else None


class Replayed(NamedTuple):
    """The same of our game, where all of it is known."""

    outcome: Outcome
    found: int
    mistakes: int
    statuses: tuple[str, ...]


def replayed(game: Game) -> Replayed:
    end = game.states[-1]
    outcome: Outcome = "won" if game.ended in WON else "lost" if game.ended == "max_mistakes" else "unfinished"
    statuses = tuple(turn.status.replace("auto", "correct") for turn in end.turns)
    return Replayed(outcome, len(end.found), end.mistakes, statuses)


def difference(theirs: Verdict, game: Game) -> str | None:
    """How a recorded verdict differs from that of our game and why, or None where it does not."""
    ours = replayed(game)
    said = []
    if theirs.outcome is not None and theirs.outcome != ours.outcome:
        said.append(f"{theirs.outcome} there, {ours.outcome} here")
    if theirs.found is not None and theirs.found != ours.found:
        said.append(f"{_counted(theirs.found, 'group')} found there, {ours.found} here")
    if theirs.mistakes is not None and theirs.mistakes != ours.mistakes:
        said.append(f"{_counted(theirs.mistakes, 'mistake')} there, {ours.mistakes} here")
    if theirs.statuses is not None and theirs.statuses != ours.statuses:
        said.append(_first_difference(theirs.statuses, ours.statuses))
    return f"{', '.join(said)}: {_rule(theirs, ours, game) or UNEXPLAINED}" if said else None


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _first_difference(theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    for nth, (there, here) in enumerate(zip(theirs, ours, strict=False), 1):
        if there != here:
            return f"guess {nth} is {there} there, {here} here"
    return f"guesses: {len(theirs)} there, {len(ours)} here"


def _rule(theirs: Verdict, ours: Replayed, game: Game) -> str | None:
    """The rule that accounts for all of a difference, or None."""
    end = game.states[-1]
    by_itself = bool(end.turns) and end.turns[-1].status == "auto"
    found = ours.found if theirs.found is None else theirs.found
    extra = 0 if theirs.mistakes is None else theirs.mistakes - ours.mistakes
    if left := len(game.replies) - len(game.unfit):
        possible = -by_itself <= found - ours.found <= left + 1 and 0 <= extra <= left
        alike = theirs.statuses is None or theirs.statuses[: len(ours.statuses)] == ours.statuses
        return f"{_after_the_end(left)} came after the end of our game" if possible and alike else None
    several = sum(turn.reason == "several_guesses" for turn in end.turns)
    if several and theirs.statuses is None and found > ours.found:
        return "each guess of a reply with several counts there"
    if ours.found - found not in (0, by_itself) or theirs.outcome not in (None, ours.outcome, "lost", "unfinished"):
        return None
    if theirs.outcome == "lost" != ours.outcome and theirs.mistakes is not None and not extra:
        return None
    if extra or _only_invalid_differs(theirs, ours):
        return _costly(Counter(turn.reason for turn in end.turns if turn.reason is not None), extra)
    return "the last group comes by itself here" if by_itself and theirs.outcome != "lost" else None


def _after_the_end(replies: int) -> str:
    return "1 reply" if replies == 1 else f"{replies} replies"


def _only_invalid_differs(theirs: Verdict, ours: Replayed) -> bool:
    """Are all guesses judged alike but those that are invalid here?"""
    if theirs.statuses is None or len(theirs.statuses) != len(ours.statuses):
        return False
    pairs = [(there, here) for there, here in zip(theirs.statuses, ours.statuses, strict=True) if there != here]
    return bool(pairs) and all(here == "invalid" for _, here in pairs)


def _costly(invalid: Mapping[str, int], extra: int) -> str | None:
    """Which kinds of invalid guesses, counted as mistakes, make so many more; all of them where none are counted."""
    for many in range(1, len(invalid) + 1):
        for reasons in combinations(sorted(invalid), many):
            if extra == sum(invalid[reason] for reason in reasons) or (not extra and many == len(invalid)):
                return f"{' and '.join(_COSTS[reason] for reason in reasons)} counts as a mistake there"
    return None
