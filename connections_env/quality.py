"""What a good game is, and which of a puzzle's rollouts is best."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from connections_env.game import WON, is_mistake
from connections_env.records import Rollout
from connections_env.rewards import perfect
from connections_env.rulesets import Ruleset

Rank = tuple[float, ...]

_UNFIT = {"cut_off": "reply cut off", "no_reasoning": "no reasoning", "control_tokens": "control tokens"}


class Facts(NamedTuple):
    """What a row records of its game: enough to judge and rank it without a replay."""

    statuses: tuple[str, ...]
    """Of the player's guesses; the group the game completed itself is not among them."""
    unfit: tuple[str | None, ...]
    """For each reply, why it may not enter training data."""
    tokens: tuple[int, ...]
    complete_reason: str
    reward: float
    groups: int
    """On the board."""
    ruleset: Ruleset
    themes_right: bool = True
    """False where the player had to name the themes, one for each group, and did not."""


def facts_of(rollout: Rollout | Any) -> Facts:
    """The facts of a row, or of any object with those of a row's fields that they are made of."""
    return Facts(
        statuses=tuple([guess.status for guess in rollout.guess_history if guess.status != "auto"]),
        unfit=tuple(rollout.reply_unfit),
        tokens=tuple(rollout.reply_tokens),
        complete_reason=rollout.complete_reason,
        reward=rollout.reward,
        groups=len(rollout.info.categories),
        ruleset=rollout.ruleset,
        themes_right=rollout.themes is None or each_right(rollout.themes.named, rollout.themes.right),
    )


def each_right(named: Sequence[str], right: Sequence[bool]) -> bool:
    """Is one theme named for each group, and the right one? `right` has an entry for each group."""
    return len(named) == len(right) and all(right)


def rejection(facts: Facts) -> str | None:
    """Why a game is not good, or None: it was won, without an invalid guess, and every reply is fit."""
    if "invalid" in facts.statuses:
        return "invalid guess"
    if facts.complete_reason == "max_mistakes":
        return "game lost"
    if facts.complete_reason not in WON:
        return "unfinished"
    if why := next(filter(None, facts.unfit), None):
        return _UNFIT.get(why, why.replace("_", " "))
    return None if facts.themes_right else "wrong themes"


def rank(facts: Facts, kept: int) -> Rank:
    """Sorts a puzzle's rollouts, the best first; `kept` is the number of turns a truncation would keep of this one.

    Good ones by reward, as a share of what perfect play by their rules earns, then by fewest tokens a reply; bad ones
    by what is kept: anything at all, the most groups, the fewest mistakes, the fewest tokens.
    """
    return good_rank(facts) if rejection(facts) is None else bad_rank(facts, kept)


def good_rank(facts: Facts) -> Rank:
    return (0, -facts.reward / perfect(facts.ruleset), sum(facts.tokens) / max(len(facts.tokens), 1))


def bad_rank(facts: Facts, kept: int) -> Rank:
    found = mistakes = 0
    for status in facts.statuses[:kept]:
        if status == "correct":
            found += 1
        else:
            mistakes += is_mistake(facts.ruleset, facts.groups - found)
    return (1, kept == 0, -found, mistakes, sum(facts.tokens[:kept]))
