"""The reward of a game, from named components."""

from connections_env.game import GameState, groups_one_away, themes_right
from connections_env.rulesets import Ruleset


def reward_components(state: GameState) -> dict[str, float]:
    """Component -> its part of the reward; every component is present, 0.0 where nothing was earned."""
    total, found, turns = len(state.puzzle.groups), len(state.found), state.player_turns
    valid = sum(turn.status != "invalid" for turn in turns)
    parts = {
        "found": 4.0 * found / total,
        # The last group comes by itself, so total - 1 guesses are the fewest that win.
        "efficiency": min((total - 1) / len(turns), 1.0) if found else 0.0,
        "valid": 0.5 * valid / len(turns) if turns else 0.0,
        "almost": 0.5 * len(groups_one_away(state) - set(state.found)),
    }
    if state.ruleset.asks_themes:
        named, right = state.themes or (), sum(themes_right(state))
        parts |= {
            "themes_attempted": 0.25 if named else 0.0,
            "themes_count": 0.5 if len(named) == total else 0.0,
            "themes_right": 4.0 * right / total,
            "themes_all_right": 1.0 if right == total else 0.0,
        }
    return parts


def perfect(ruleset: Ruleset) -> float:
    """The reward of a game without a wrong reply, on any board."""
    return 5.5 + (5.75 if ruleset.asks_themes else 0.0)


def reward(state: GameState) -> float:
    """The sum of the components."""
    return sum(reward_components(state).values())
