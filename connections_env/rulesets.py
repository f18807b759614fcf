"""The rules that differ between variants of the game, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ruleset:
    name: str
    mistakes_allowed: int
    """So many mistakes end the game."""
    mistakes_count_from: int | None
    """A wrong guess is a mistake once so many groups or fewer remain; None: always."""
    one_away_hint: bool
    """Is the player told that all but one of the guessed items belong together?"""
    reveals_themes: bool
    """Is a group's theme shown as soon as the group is found?"""
    asks_themes: bool
    """Must the player name every theme, in one reply, once all groups are found?"""


NYT = Ruleset(
    "nyt",
    mistakes_allowed=4,
    mistakes_count_from=None,
    one_away_hint=True,
    reveals_themes=True,
    asks_themes=False,
)
PUZZGRID = Ruleset(
    "puzzgrid",
    mistakes_allowed=3,
    mistakes_count_from=2,
    one_away_hint=False,
    reveals_themes=False,
    asks_themes=True,
)
RULESETS = {ruleset.name: ruleset for ruleset in (NYT, PUZZGRID)}
