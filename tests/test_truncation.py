"""How much of a bad game is kept, and that what is kept is the same game."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connections_env.foreign import rollout_of
from connections_env.json_lines import BadRow
from connections_env.parsing import Reply
from connections_env.play import Disagrees, replay_replies
from connections_env.quality import facts_of, rejection
from connections_env.records import ResumedFrom, history_of
from connections_env.rulesets import NYT, PUZZGRID
from connections_env.salvage import salvage
from connections_env.truncation import TRUNCATE_MODES, kept_turns
from tests.boards import FIVE, PLAIN, SIX, THREE
from tests.rollouts import (
    REASONING,
    board,
    changed,
    interrupted,
    line_of,
    played,
    rollout,
    script_replies,
    scripted_reply,
)

PUZZLE = board(2)
THEMES = [group.theme for group in PUZZLE.groups]


def kept(game, truncate="last-valid"):
    job = salvage(game, "next", truncate)
    return len(job.kept) if job else 0


def named(*themes, **fields):
    listed = ", ".join(f'"{theme}"' for theme in themes)
    return Reply(f"<themes>[{listed}]</themes>", **{"reasoning": REASONING, "finish_reason": "stop"} | fields)


@pytest.mark.parametrize(
    ("script", "last_valid", "last_correct"),
    [
        ("RN", 1, 1),
        ("RXR", 1, 1),
        ("RRWN", 3, 2),
        ("RWOR", 4, 4),  # the turns ran out
        ("RWORWO", 5, 4),  # lost: the fourth mistake is cut off
        ("RWWWW", 4, 1),
        ("WWWW", 3, 0),
        ("OWN", 2, 0),
        ("WN", 1, 0),
        ("N", 0, 0),
        ("XRRR", 0, 0),
        ("NWWWW", 0, 0),
        ("RLR", 1, 1),
        ("RCR", 1, 1),
        ("RQR", 1, 1),
        ("LRR", 0, 0),
        ("QRR", 0, 0),
        ("RWLR", 2, 1),
        ("RRL", 2, 2),  # won, the last reply cut off
        ("RWLNR", 2, 1),
        ("RNL", 1, 1),
        ("RWWNWW", 3, 1),
    ],
)
def test_turns_kept(script, last_valid, last_correct):
    game = played(PUZZLE, script)
    assert kept(game) == last_valid
    assert kept(game, "last-correct") == last_correct


def test_last_valid_is_the_default():
    assert kept_turns(["correct", "incorrect", "invalid"], [None] * 3, "max_turns_reached") == 2
    assert len(salvage(played(PUZZLE, "RWN"), "next").kept) == 2


@pytest.mark.parametrize("end", ["interrupted", "max_turns_reached", "prompt_too_long"])
def test_a_game_that_only_stopped_keeps_every_turn(end):
    assert kept(played(PUZZLE, "WRR", end=end)) == 3


def test_an_interrupted_game_keeps_its_trailing_mistakes_unless_told_otherwise():
    assert kept(interrupted(PUZZLE, "RWO")) == 3
    assert kept(interrupted(PUZZLE, "RWO"), "last-correct") == 1


def test_a_game_without_replies_keeps_nothing():
    assert kept(played(PUZZLE, "")) == 0


def test_what_is_kept_of_a_puzzgrid_game_ends_before_the_third_mistake_that_counts():
    game = played(PUZZLE, "WWRRWWW", ruleset=PUZZGRID)
    assert game.complete_reason == "max_mistakes"
    assert kept(game) == 6
    assert kept(game, "last-correct") == 4


def test_a_puzzgrid_game_with_wrong_themes_keeps_all_its_guesses_and_asks_the_themes_again():
    replies = [*script_replies(PUZZLE, "RRR", PUZZGRID), named("a", "b", "c", "d")]
    game = rollout(PUZZLE, replies, ruleset=PUZZGRID)
    for mode in TRUNCATE_MODES:
        job = salvage(game, "next", mode)
        assert len(job.kept) == 3
        assert replay_replies(job.puzzle, job.ruleset, job.kept)[-1].asks_themes


@pytest.mark.parametrize(
    "unfit", [{"finish_reason": "length"}, {"reasoning": ""}, {"reasoning": "<|im_end|>"}], ids=["cut", "none", "token"]
)
def test_a_puzzgrid_game_whose_theme_reply_is_unfit_keeps_all_its_guesses(unfit):
    game = rollout(PUZZLE, [*script_replies(PUZZLE, "RRR", PUZZGRID), named(*THEMES, **unfit)], ruleset=PUZZGRID)
    assert game.complete_reason == "theme_guessing_complete"
    assert kept(game) == 3


def test_an_unfit_guess_of_a_puzzgrid_game_is_cut_off_with_all_that_follows():
    game = rollout(PUZZLE, [*script_replies(PUZZLE, "RLR", PUZZGRID), named(*THEMES)], ruleset=PUZZGRID)
    assert kept(game) == 1


def test_the_resumed_game_names_its_parent_and_the_turns_it_took_over():
    game = played(PUZZLE, "RWN", rollout_id="parent")
    job = salvage(game, "child")
    assert job.rollout_id == "child"
    assert job.resumed_from == ResumedFrom(rollout_id="parent", turns=2)
    assert list(job.kept) == game.replies[:2]


def test_the_resumed_game_is_on_the_board_as_it_was_shown():
    in_group_order = tuple(item for group in PLAIN.groups for item in group.members)
    for order in (PLAIN.items, PLAIN.items[::-1], in_group_order):
        puzzle = type(PLAIN)(PLAIN.puzzle_id, order, PLAIN.groups)
        assert salvage(played(puzzle, "RN"), "next").puzzle.items == order


@pytest.mark.parametrize(
    "record",
    [
        {"complete_reason": "all_categories_found"},
        {"complete_reason": "max_mistakes"},
        {"guess_history": []},
        {"completion": []},
        {"reply_tokens": [1]},
        {"reply_finish": []},
        {"reply_tokens": [1] * 9, "reply_finish": ["stop"] * 9},
    ],
    ids=["won", "lost", "no guesses", "no replies", "few tokens", "no finish", "too many of both"],
)
def test_a_row_that_its_replies_do_not_bear_out_is_refused_by_name(record):
    with pytest.raises((Disagrees, BadRow)):
        salvage(rollout_of(line_of(changed(played(PUZZLE, "RRN"), **record)).encode()), "next")


def test_a_row_by_rules_that_nobody_knows_is_refused_by_name():
    row = changed(played(PUZZLE, "RRN"))
    row["info"]["ruleset"] = "chess"
    with pytest.raises((Disagrees, BadRow)):
        salvage(rollout_of(line_of(row).encode()), "next")


def test_a_lost_game_recorded_as_out_of_turns_is_refused():
    row = changed(played(PUZZLE, "RWWWW"), complete_reason="max_turns_reached")
    with pytest.raises(Disagrees):
        salvage(rollout_of(line_of(row).encode()), "next")


def test_a_row_with_a_status_that_its_reply_did_not_earn_is_refused():
    row = changed(played(PUZZLE, "RWN"))
    row["guess_history"][1] |= {"status": "one_away"}
    with pytest.raises(Disagrees):
        salvage(rollout_of(line_of(row).encode()), "next")


def test_a_game_whose_themes_are_recorded_otherwise_than_its_reply_names_them_is_refused():
    replies = [*script_replies(PUZZLE, "RRR", PUZZGRID), named("wrong", *THEMES[1:])]
    for recorded in (
        {"named": THEMES, "right": [True] * 4},
        {"named": ["wrong", *THEMES[1:]], "right": [True] * 4},
        None,
    ):
        row = changed(rollout(PUZZLE, replies, ruleset=PUZZGRID), themes=recorded)
        with pytest.raises(Disagrees, match="the themes are not those its replies name"):
            salvage(rollout_of(line_of(row).encode()), "next")


@pytest.mark.parametrize("script", ["RRR", "WWWW"])
def test_a_row_that_goes_on_after_its_end_is_refused(script):
    row = changed(played(PUZZLE, script))
    row["completion"] += [{"role": "user", "content": "Go on."}, row["completion"][0]]
    for name, entry in (("reply_tokens", 1), ("reply_finish", "stop"), ("reply_unfit", None), ("reply_models", "m")):
        row[name].append(entry)
    with pytest.raises(Disagrees, match="it has replies after the end of the game"):
        salvage(rollout_of(line_of(row).encode()), "next")


@st.composite
def games(draw):
    """Games of every kind, on boards of several sizes, by both rules."""
    puzzle = draw(st.sampled_from([PUZZLE, PLAIN, THREE, FIVE, SIX]))
    ruleset = draw(st.sampled_from([NYT, PUZZGRID]))
    states, replies = replay_replies(puzzle, ruleset, []), []
    for letter in draw(st.text("RRRRROOWWNXLCQ", max_size=14)):
        if states[-1].complete_reason is not None:
            break
        if states[-1].asks_themes:
            themes = [group.theme for group in puzzle.groups]
            replies.append(named(*draw(st.sampled_from([themes, themes[:1], ["wrong"]]))))
        else:
            replies.append(scripted_reply(states[-1], letter))
        states = replay_replies(puzzle, ruleset, replies)
    end = draw(st.sampled_from(["interrupted", "max_turns_reached", "prompt_too_long"]))
    return rollout(puzzle, replies, ruleset=ruleset, end=end)


@settings(max_examples=80)
@given(games(), st.sampled_from(TRUNCATE_MODES))
def test_what_is_kept_replays_to_the_same_turns_and_can_go_on(game, mode):
    job = salvage(game, "next", mode)
    if job is None:
        return
    state = replay_replies(job.puzzle, job.ruleset, job.kept)[-1]
    turns = history_of(state)
    assert turns == game.guess_history[: len(turns)]
    assert state.complete_reason is None
    assert all(turn.status != "invalid" for turn in state.turns)
    assert not any(game.reply_unfit[: len(job.kept)])
    if mode == "last-correct":
        assert state.player_turns[-1].status == "correct"


@settings(max_examples=80)
@given(games())
def test_no_longer_prefix_could_be_kept(game):
    guesses = [turn for turn in game.guess_history if turn.status != "auto"]
    count = kept(game)
    if count == len(guesses) or rejection(facts_of(game)) is None:  # a good game is over
        return
    losing = game.complete_reason == "max_mistakes" and count == len(guesses) - 1
    assert guesses[count].status == "invalid" or game.reply_unfit[count] or losing


@settings(max_examples=80)
@given(games())
def test_last_correct_keeps_what_last_valid_keeps_less_its_trailing_wrong_guesses(game):
    statuses = list(facts_of(game).statuses)[: kept(game)]
    while statuses and statuses[-1] != "correct":
        statuses.pop()
    assert kept(game, "last-correct") == len(statuses)
