"""The reward: each component worked out by hand, and the two scores of perfect play."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env import rewards
from connections_env.game import GameState, Guess, name_themes, replay
from connections_env.rewards import reward, reward_components
from connections_env.rulesets import NYT, PUZZGRID
from tests.boards import BOARDS, DROPS, GAITS, GREENS, PLAIN, THREE, TOOLS, boards, guesses_on, perfect

NEAR_TOOLS, NEAR_GAITS = (*TOOLS[:3], "TROT"), (*GAITS[:3], "GUM")
FAR = ("HAMMER", "TROT", "MINT", "RAIN")
ALSO_FAR = ("PLIERS", "CANTER", "LIME", "TEAR")
INVALID = ("SPANNER",)


def components(*guesses, ruleset=NYT, puzzle=PLAIN):
    return reward_components(replay(puzzle, ruleset, map(Guess, guesses)))


@pytest.mark.parametrize("puzzle", BOARDS, ids=lambda puzzle: puzzle.puzzle_id)
def test_perfect_play_scores_five_and_a_half_in_nyt_on_every_board(puzzle):
    assert reward(replay(puzzle, NYT, perfect(puzzle))) == pytest.approx(5.5) == rewards.perfect(NYT)


@pytest.mark.parametrize("puzzle", BOARDS, ids=lambda puzzle: puzzle.puzzle_id)
def test_perfect_play_scores_eleven_and_a_quarter_in_puzzgrid_on_every_board(puzzle):
    state = replay(puzzle, PUZZGRID, perfect(puzzle))
    themes = [(group.linking_terms or (group.theme,))[0] for group in puzzle.groups]
    assert reward(name_themes(state, themes)) == pytest.approx(11.25) == rewards.perfect(PUZZGRID)


@pytest.mark.parametrize("ruleset", [NYT, PUZZGRID])
def test_a_game_without_guesses_scores_nothing(ruleset):
    state = GameState(PLAIN, ruleset)
    assert set(reward_components(state).values()) == {0.0}
    assert reward(state) == 0.0


@pytest.mark.parametrize(
    ("guesses", "expected"),
    [
        # one of four groups, by one guess where three are the fewest that win: capped at 1
        ([TOOLS], {"found": 1.0, "efficiency": 1.0, "valid": 0.5, "almost": 0.0}),
        # nothing found: no efficiency, though the guesses were few
        ([FAR], {"found": 0.0, "efficiency": 0.0, "valid": 0.5, "almost": 0.0}),
        ([INVALID], {"found": 0.0, "efficiency": 0.0, "valid": 0.0, "almost": 0.0}),
        # near two groups, neither of them found: half a point each
        ([NEAR_TOOLS, NEAR_GAITS], {"found": 0.0, "efficiency": 0.0, "valid": 0.5, "almost": 1.0}),
        # twice near the same group counts once
        ([NEAR_TOOLS, (*TOOLS[1:], "MINT")], {"found": 0.0, "efficiency": 0.0, "valid": 0.5, "almost": 0.5}),
        # near a group that is found later earns nothing
        ([NEAR_TOOLS, TOOLS], {"found": 1.0, "efficiency": 1.0, "valid": 0.5, "almost": 0.0}),
        # won with four guesses: 3/4
        ([FAR, TOOLS, GAITS, GREENS], {"found": 4.0, "efficiency": 0.75, "valid": 0.5, "almost": 0.0}),
        # won with five, of which one invalid: 3/5, and 0.5 x 4/5
        ([INVALID, FAR, TOOLS, GAITS, GREENS], {"found": 4.0, "efficiency": 0.6, "valid": 0.4, "almost": 0.0}),
        # the last group came by itself and makes "near gaits" a found one
        ([NEAR_GAITS, TOOLS, GREENS, DROPS], {"found": 4.0, "efficiency": 0.75, "valid": 0.5, "almost": 0.0}),
        # lost: two of four, six guesses, near one of the two that are missing
        (
            [TOOLS, GAITS, (*GREENS[:3], "GUM"), ("OLIVE", "LIME", "RAIN", "GUM"), ("OLIVE", "LIME", "RAIN", "TEAR"),
             ("OLIVE", "LIME", "NAME", "TEAR")],
            {"found": 2.0, "efficiency": 0.5, "valid": 0.5, "almost": 0.5},
        ),
    ],
)  # fmt: skip
def test_components_of_nyt_games(guesses, expected):
    assert components(*guesses) == pytest.approx(expected)
    assert reward(replay(PLAIN, NYT, map(Guess, guesses))) == pytest.approx(sum(expected.values()))


def test_a_third_of_a_board_of_three_groups():
    bees = THREE.groups[0].members
    assert components(bees, puzzle=THREE)["found"] == pytest.approx(4 / 3)


NO_THEMES = {"themes_attempted": 0.0, "themes_count": 0.0, "themes_right": 0.0, "themes_all_right": 0.0}


@pytest.mark.parametrize(
    ("themes", "expected"),
    [
        (None, NO_THEMES),
        ((), NO_THEMES),
        (("tool",), NO_THEMES | {"themes_attempted": 0.25, "themes_right": 1.0}),
        (("x", "y", "z", "w"), NO_THEMES | {"themes_attempted": 0.25, "themes_count": 0.5}),
        (("tool", "y", "green", "w"), NO_THEMES | {"themes_attempted": 0.25, "themes_count": 0.5, "themes_right": 2.0}),
        (
            ("tool", "gait", "green", "drop"),
            {"themes_attempted": 0.25, "themes_count": 0.5, "themes_right": 4.0, "themes_all_right": 1.0},
        ),
        (
            ("tool", "gait", "green", "drop", "one more"),
            {"themes_attempted": 0.25, "themes_count": 0.0, "themes_right": 4.0, "themes_all_right": 1.0},
        ),
    ],
)
def test_theme_components_of_won_puzzgrid_games(themes, expected):
    state = replay(PLAIN, PUZZGRID, perfect(PLAIN))
    if themes is not None:
        state = name_themes(state, themes)
    parts = reward_components(state)
    assert {name: part for name, part in parts.items() if name.startswith("themes")} == pytest.approx(expected)
    assert reward(state) == pytest.approx(5.5 + sum(expected.values()))


def test_a_lost_puzzgrid_game_has_no_theme_reward():
    parts = components(TOOLS, GAITS, *[(*GREENS[:3], word) for word in DROPS[:3]], ruleset=PUZZGRID)
    assert {name: part for name, part in parts.items() if name.startswith("themes")} == NO_THEMES
    assert parts["almost"] == 0.5


@given(st.data())
def test_no_game_scores_more_than_perfect_play_or_less_than_nothing(data):
    puzzle = data.draw(boards)
    guesses = data.draw(guesses_on(puzzle))
    assert 0.0 <= reward(replay(puzzle, NYT, guesses)) <= 5.5 + 1e-9
    assert all(isinstance(part, float) for part in reward_components(replay(puzzle, NYT, guesses)).values())
