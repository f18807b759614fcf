"""The rules: verdicts, mistakes, endings, themes, and that a history always replays to the same state."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env.game import WON, GameState, Guess, name_themes, observe, play, replay, themes_right
from connections_env.puzzles import Group, normalise
from connections_env.rulesets import NYT, PUZZGRID, RULESETS
from tests.boards import (
    BOARDS,
    DROPS,
    GAITS,
    GREENS,
    PLAIN,
    THREE,
    TOOLS,
    TRICKY,
    any_text,
    boards,
    guesses_on,
    make,
    perfect,
)

rulesets = st.sampled_from([NYT, PUZZGRID])
ONE_AWAY = ("HAMMER", "PLIERS", "WRENCH", "TROT")
# Two tools and one item each of two other groups: six different wrong guesses, none of them one away.
WRONG = [(*pair, "MINT", "TROT") for pair in combinations(("HAMMER", "PLIERS", "WRENCH", "CHISEL"), 2)]


def last(state):
    return state.turns[-1]


def after(*guesses, ruleset=NYT, puzzle=PLAIN):
    return replay(puzzle, ruleset, map(Guess, guesses))


# Verdicts


def test_every_guess_on_an_opening_board_counts_as_it_should():
    opening = GameState(PLAIN, NYT)
    statuses = Counter(last(play(opening, Guess(words))).status for words in combinations(PLAIN.items, 4))
    assert statuses == {"correct": 4, "one_away": 192, "incorrect": 1_624}
    assert statuses.total() == 1_820


def test_a_correct_guess_finds_its_group_and_takes_its_items_off_the_board():
    state = after(GREENS)
    assert last(state).status == "correct"
    assert last(state).category_idx == 2
    assert state.found == (2,)
    assert state.remaining == tuple(item for item in PLAIN.items if item not in GREENS)


def test_a_guess_is_judged_whatever_its_order_case_and_quotes_and_recorded_as_the_board_spells_it():
    state = after(("*nsync", "“heroes”", "Rock ‘n’ Roll", "o’clock"), puzzle=TRICKY)
    assert last(state).status == "correct"
    assert last(state).words == ("*NSYNC", '"HEROES"', "ROCK 'N' ROLL", "O'CLOCK")


@pytest.mark.parametrize(
    ("guess", "reason"),
    [
        (Guess(), "no_guess"),
        (Guess(problem="no_guess"), "no_guess"),
        (Guess(problem="several_guesses"), "several_guesses"),
        (Guess(TOOLS[:3]), "wrong_count"),
        (Guess((*TOOLS, "MINT")), "wrong_count"),
        (Guess((*TOOLS[:3], "SPANNER")), "not_on_board"),
        (Guess((*TOOLS[:3], "MINT")), "already_found"),
        (Guess((*TOOLS[:3], "hammer")), "repeated_item"),
        (Guess(("TROT", "HAMMER", "WRENCH", "PLIERS")), "already_guessed"),
        (Guess(GREENS), "already_found"),
    ],
)
@pytest.mark.parametrize("ruleset", [NYT, PUZZGRID])
def test_an_invalid_guess_has_its_reason_and_costs_no_mistake(guess, reason, ruleset):
    before = after(GREENS, ONE_AWAY, ruleset=ruleset)
    state = play(before, guess)
    assert (last(state).status, last(state).reason) == ("invalid", reason)
    assert last(state).category_idx is None
    assert (state.mistakes, state.remaining) == (before.mistakes, before.remaining)


@pytest.mark.parametrize(
    ("guess", "reason"),
    [
        (Guess(("SPANNER", "MINT"), problem="several_guesses"), "several_guesses"),
        (Guess(("SPANNER", "MINT", "MINT")), "wrong_count"),
        (Guess(("SPANNER", "MINT", "MINT", "LIME")), "not_on_board"),
        (Guess(("HAMMER", "MINT", "MINT", "LIME")), "already_found"),
        (Guess(("HAMMER", "HAMMER", "TROT", "WRENCH")), "repeated_item"),
    ],
)
def test_of_several_reasons_the_first_in_the_order_of_the_specification_is_given(guess, reason):
    assert last(play(after(GREENS, ONE_AWAY), guess)).reason == reason


def test_an_invalid_guess_may_be_repeated_without_becoming_already_guessed():
    state = after((*TOOLS[:3], "SPANNER"), (*TOOLS[:3], "SPANNER"))
    assert [turn.reason for turn in state.turns] == ["not_on_board", "not_on_board"]


def test_an_invalid_guess_does_not_make_its_valid_remainder_already_guessed():
    state = after((*ONE_AWAY, "TROT"), ONE_AWAY)
    assert [(turn.status, turn.reason) for turn in state.turns] == [("invalid", "wrong_count"), ("one_away", None)]


@given(st.data())
def test_a_turn_has_a_reason_exactly_when_invalid_and_a_group_exactly_when_found(data):
    puzzle = data.draw(boards)
    for turn in replay(puzzle, data.draw(rulesets), data.draw(guesses_on(puzzle))).turns:
        assert (turn.reason is not None) == (turn.status == "invalid")
        assert (turn.category_idx is not None) == (turn.status in ("correct", "auto"))


# Mistakes and endings


def test_fourth_mistake_ends_the_game():
    assert after(*WRONG[:3]).complete_reason is None
    state = after(*WRONG[:4])
    assert state.mistakes == 4
    assert state.complete_reason == "max_mistakes"


def test_one_away_is_a_mistake_too():
    assert after(ONE_AWAY).mistakes == 1


def test_a_right_guess_gives_no_mistake_back():
    assert after(*WRONG[:3], GREENS).mistakes == 3


def test_puzzgrid_mistakes_are_free_while_more_than_two_groups_remain():
    state = after(*WRONG, ONE_AWAY, GREENS, (*TOOLS[:3], "GUM"), ruleset=PUZZGRID)
    assert [turn.status for turn in state.turns] == ["incorrect"] * 6 + ["one_away", "correct", "one_away"]
    assert state.mistakes == 0
    assert state.complete_reason is None


def test_third_counted_mistake_ends_puzzgrid():
    wrong = [(*TOOLS[:3], GAITS[i]) for i in range(3)]
    state = after(*WRONG, GREENS, DROPS, *wrong[:2], ruleset=PUZZGRID)
    assert (state.mistakes, state.complete_reason) == (2, None)
    state = play(state, Guess(wrong[2]))
    assert (state.mistakes, state.complete_reason) == (3, "max_mistakes")


def test_mistakes_made_while_free_stay_free_later():
    assert after(*WRONG, GREENS, DROPS, ruleset=PUZZGRID).mistakes == 0


@pytest.mark.parametrize("puzzle", BOARDS, ids=lambda puzzle: puzzle.puzzle_id)
@pytest.mark.parametrize("ruleset", [NYT, PUZZGRID], ids=lambda ruleset: ruleset.name)
def test_every_board_is_won_by_guessing_all_groups_but_one(puzzle, ruleset):
    state = replay(puzzle, ruleset, perfect(puzzle))
    assert state.remaining == ()
    assert [turn.status for turn in state.turns] == ["correct"] * (len(puzzle.groups) - 1) + ["auto"]
    if ruleset.asks_themes:
        assert state.asks_themes
        assert state.complete_reason is None
        state = name_themes(state, [group.theme for group in puzzle.groups])
    assert state.complete_reason in WON


@pytest.mark.parametrize("puzzle", BOARDS, ids=lambda puzzle: puzzle.puzzle_id)
def test_one_away_means_one_item_short_of_a_group_of_any_size(puzzle):
    first, second, third = (group.members for group in puzzle.groups[:3])
    assert last(after((*first[:-1], second[0]), puzzle=puzzle)).status == "one_away"
    assert last(after((*first[:-2], second[0], third[0]), puzzle=puzzle)).status == "incorrect"


def test_the_last_group_is_completed_by_the_game_and_is_no_turn_of_the_player():
    state = after(TOOLS, GAITS, GREENS)
    assert last(state).status == "auto"
    assert last(state).category_idx == 3
    assert sorted(last(state).words) == sorted(DROPS)
    assert len(state.player_turns) == 3
    assert state.complete_reason == "all_categories_found"


def test_the_game_completes_nothing_after_the_losing_mistake():
    state = after(TOOLS, GAITS, *[(*GREENS[:3], word) for word in DROPS])
    assert state.complete_reason == "max_mistakes"
    assert set(state.remaining) == {*GREENS, *DROPS}


@pytest.mark.parametrize("guesses", [WRONG[:4], [TOOLS, GAITS, GREENS]])
def test_no_guess_can_be_played_after_the_end(guesses):
    with pytest.raises(ValueError, match="over"):
        play(after(*guesses), Guess(DROPS))


def test_no_guess_can_be_played_while_themes_are_due():
    with pytest.raises(ValueError, match="no guess is due"):
        play(after(TOOLS, GAITS, GREENS, ruleset=PUZZGRID), Guess(DROPS))


@pytest.mark.parametrize(
    ("ruleset", "end"),
    [
        (NYT, WRONG[:4]),
        (NYT, [TOOLS, GAITS, GREENS]),
        (PUZZGRID, [GREENS, DROPS, *[(*TOOLS[:3], word) for word in GAITS[:3]]]),
        (PUZZGRID, [TOOLS, GAITS, GREENS]),
    ],
)
def test_guesses_after_the_end_are_not_played_by_replay(ruleset, end):
    assert after(*end, TOOLS, WRONG[5], ("JUNK",), ruleset=ruleset) == after(*end, ruleset=ruleset)


# Themes


def won(puzzle=PLAIN):
    return replay(puzzle, PUZZGRID, perfect(puzzle))


def test_a_theme_is_right_if_any_linking_term_occurs_in_it():
    state = name_themes(won(), ["Handy TOOLS", "how fast: the PACE", "evergreen things", "words before ‘Drop’"])
    assert themes_right(state) == (True, True, True, True)


def test_a_theme_that_holds_no_linking_term_is_wrong():
    state = name_themes(won(), ["hardware", "", "gren", "rain and gum"])
    assert themes_right(state) == (False, False, False, False)


def test_themes_are_held_against_the_groups_in_the_order_found():
    state = name_themes(after(DROPS, GREENS, TOOLS, ruleset=PUZZGRID), ["drop", "green", "tool", "horse"])
    assert themes_right(state) == (True, True, True, True)
    assert themes_right(name_themes(after(DROPS, GREENS, TOOLS, ruleset=PUZZGRID), ["tool"] * 4)).count(True) == 1


@pytest.mark.parametrize("said", ["cafe\u0301 culture", "CAFÉ", "ｃａｆé", "a Café’s chairs"])
def test_case_composition_and_width_do_not_make_a_theme_wrong(said):
    puzzle = make("p", Group("x", ("A", "B"), ("café",)), Group("y", ("C", "D"), ("zzz",)))
    assert themes_right(name_themes(won(puzzle), [said, ""])) == (True, False)


def test_a_group_without_linking_terms_is_named_by_its_theme():
    assert themes_right(name_themes(won(THREE), ["what bees make: bees make it", "kinds of BREAD", "ships"])) == (
        *(True, True, False),
    )


def test_a_blank_linking_term_makes_nothing_right():
    puzzle = make("p", Group("x", ("A", "B"), ("", " ", "tool")), Group("y", ("C", "D"), ("zzz",)))
    assert themes_right(name_themes(won(puzzle), ["anything", ""])) == (False, False)


@pytest.mark.parametrize("themes", [(), ("tool",), ("tool",) * 9])
def test_any_number_of_themes_ends_the_game_as_won(themes):
    state = name_themes(won(), themes)
    assert state.complete_reason == "theme_guessing_complete"
    assert len(themes_right(state)) == 4


@pytest.mark.parametrize("ruleset", [NYT, PUZZGRID])
def test_themes_cannot_be_named_before_they_are_due(ruleset):
    with pytest.raises(ValueError, match="no themes are due"):
        name_themes(after(TOOLS, ruleset=ruleset), ["tool"])


def test_themes_are_named_once_and_never_in_nyt():
    with pytest.raises(ValueError, match="no themes are due"):
        name_themes(name_themes(won(), ["tool"]), ["tool"])
    with pytest.raises(ValueError, match="no themes are due"):
        name_themes(after(TOOLS, GAITS, GREENS), ["tool"])


# A state is its turns


def test_rulesets_are_known_by_name():
    assert RULESETS == {"nyt": NYT, "puzzgrid": PUZZGRID}


@given(st.data())
def test_replaying_any_history_gives_the_same_state(data):
    puzzle, ruleset = data.draw(boards), data.draw(rulesets)
    guesses = data.draw(guesses_on(puzzle))
    state = replay(puzzle, ruleset, guesses)
    assert replay(puzzle, ruleset, guesses) == state
    assert hash(replay(puzzle, ruleset, guesses)) == hash(state)
    unread = ("no_guess", "several_guesses")
    recorded = [Guess(turn.words, turn.reason if turn.reason in unread else None) for turn in state.player_turns]
    assert replay(puzzle, ruleset, recorded) == state


@given(st.data())
def test_no_history_breaks_the_books(data):
    puzzle, ruleset = data.draw(boards), data.draw(rulesets)
    state = replay(puzzle, ruleset, data.draw(guesses_on(puzzle)))
    size, wrong = puzzle.group_size, [turn for turn in state.turns if turn.status in ("incorrect", "one_away")]
    assert len(state.remaining) == size * (len(puzzle.groups) - len(state.found))
    assert len(set(state.found)) == len(state.found)
    assert state.mistakes == len(wrong) if ruleset is NYT else state.mistakes <= len(wrong)
    assert state.mistakes <= ruleset.mistakes_allowed
    assert (state.complete_reason == "max_mistakes") == (state.mistakes == ruleset.mistakes_allowed)
    assert observe(state).remaining == state.remaining


@given(st.data())
def test_a_state_is_left_as_it_was_by_play(data):
    puzzle, ruleset = data.draw(boards), data.draw(rulesets)
    state = GameState(puzzle, ruleset)
    for guess in data.draw(guesses_on(puzzle)):
        if state.complete_reason or state.asks_themes:
            break
        before = (state.turns, state.found, state.remaining, state.mistakes)
        following = play(state, guess)
        assert following is not state
        assert (state.turns, state.found, state.remaining, state.mistakes) == before
        assert following.turns[: len(state.turns)] == state.turns
        state = following


def test_states_turns_puzzles_and_rulesets_cannot_be_assigned_to():
    state = after(TOOLS)
    for value, name in [(state, "turns"), (last(state), "status"), (PLAIN, "items"), (PLAIN.groups[0], "theme")]:
        with pytest.raises(AttributeError):
            setattr(value, name, None)
    for value, name in [(NYT, "mistakes_allowed"), (Guess(), "words"), (observe(state), "remaining")]:
        with pytest.raises(AttributeError):
            setattr(value, name, None)


@given(boards, rulesets, st.lists(any_text, max_size=8).map(tuple))
def test_play_never_raises_for_any_words_while_the_game_is_on(puzzle, ruleset, words):
    state = play(GameState(puzzle, ruleset), Guess(words))
    known = set(map(normalise, puzzle.items))
    if not words or any(normalise(word) not in known for word in words):
        assert last(state).status == "invalid"
