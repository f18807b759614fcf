"""What a good game is, and which of a puzzle's rollouts is best."""

from pathlib import Path

import pytest

from connections_env.foreign import rollout_of
from connections_env.parsing import Reply
from connections_env.quality import facts_of, rank, rejection
from connections_env.rulesets import NYT, PUZZGRID
from connections_env.standings import Standings, fetch
from connections_env.truncation import kept_turns
from tests.boards import PLAIN, SIX
from tests.rollouts import (
    REASONING,
    board,
    changed,
    cut_off_at,
    empty,
    guess_text,
    interrupted,
    invalid_at,
    line_of,
    lost,
    nonsense,
    played,
    results_file,
    rollout,
    script_replies,
    won,
)

PUZZLE = board(1)
THEMES = [group.theme for group in PUZZLE.groups]


def named(*themes, finish="stop", reasoning=REASONING):
    """The reply that names themes in `puzzgrid`."""
    listed = ", ".join(f'"{theme}"' for theme in themes)
    return Reply(f"<themes>[{listed}]</themes>", reasoning, finish, 40)


def puzzgrid(script, *themes, **options):
    replies = [*script_replies(PUZZLE, script, PUZZGRID), *([named(*themes, **options)] if themes else [])]
    return rollout(PUZZLE, replies, ruleset=PUZZGRID)


def best(tmp_path: Path, *rows, ruleset=NYT, truncate="last-valid"):
    """The rollout that is chosen among these, the same whatever their order in the file."""
    chosen = set()
    for name, order in (("a", rows), ("b", rows[::-1])):
        standings = Standings(ruleset.name, truncate, report=lambda line: pytest.fail(line))
        standings.read([results_file(tmp_path / name / "results_1.jsonl", order)])
        chosen.add(fetch(standings.of(PUZZLE)[0]).rollout_id)
    assert len(chosen) == 1
    return chosen.pop()


def older_record(game):
    """What older pipelines write of a game."""
    kept = ("prompt", "completion", "info", "guess_history", "complete_reason")
    return {name: value for name, value in changed(game).items() if name in kept}


@pytest.mark.parametrize("script", ["RRR", "ORRR", "WORORR"])
def test_a_won_game_without_invalid_guesses_and_with_fit_replies_is_good(script):
    game = played(PUZZLE, script)
    assert game.complete_reason == "all_categories_found"
    assert rejection(facts_of(game)) is None


def test_a_game_on_another_size_of_board_is_good_alike():
    assert rejection(facts_of(played(SIX, "RORRRR"))) is None


@pytest.mark.parametrize(
    ("why", "game"),
    [
        ("a reply without a guess", played(PUZZLE, "RNRR")),
        ("an item off the board", played(PUZZLE, "XRRR")),
        ("lost", lost(PUZZLE)),
        ("out of turns", played(PUZZLE, "RR")),
        ("interrupted", interrupted(PUZZLE, "RR")),
        ("prompt too long", played(PUZZLE, "RR", end="prompt_too_long")),
        ("a reply cut off by length", cut_off_at(PUZZLE, 2)),
        ("the last reply cut off by length", cut_off_at(PUZZLE, 3)),
        ("a chat control token", played(PUZZLE, "RCR")),
        ("a reply without reasoning", played(PUZZLE, "QRR")),
        ("no reply at all", empty(PUZZLE)),
    ],
)
def test_a_game_is_bad_for(why, game):
    assert rejection(facts_of(game)) is not None


@pytest.mark.parametrize("guesses", [2, 5])
def test_a_reply_with_several_guesses_makes_a_game_bad(guesses):
    several = "\n".join(guess_text(PUZZLE.groups[n % 4].members) for n in range(guesses))
    replies = [Reply(several, REASONING, "stop", 9), *script_replies(PUZZLE, "RRR")]
    game = rollout(PUZZLE, replies)
    assert game.complete_reason == "all_categories_found"
    assert rejection(facts_of(game)) is not None


def test_repeating_a_wrong_guess_makes_a_game_bad():
    first = script_replies(PUZZLE, "O")
    game = rollout(PUZZLE, [*first, *first, *script_replies(PUZZLE, "RRR")])
    assert game.guess_history[1].reason == "already_guessed"
    assert rejection(facts_of(game)) is not None


def test_reasoning_inside_the_content_makes_a_reply_fit():
    replies = [Reply(f"{REASONING} {reply.content}", "", "stop", 9) for reply in script_replies(PUZZLE, "RRR")]
    assert rejection(facts_of(rollout(PUZZLE, replies))) is None


def test_a_reply_whose_end_is_not_known_is_taken_as_complete():
    replies = [reply._replace(finish_reason=None) for reply in script_replies(PUZZLE, "RRR")]
    assert rejection(facts_of(rollout(PUZZLE, replies))) is None


def test_a_puzzgrid_game_with_every_theme_right_is_good():
    game = puzzgrid("RRR", *THEMES)
    assert game.complete_reason == "theme_guessing_complete"
    assert rejection(facts_of(game)) is None


@pytest.mark.parametrize(
    ("why", "game"),
    [
        ("one theme wrong", puzzgrid("RRR", *THEMES[:3], "something else")),
        ("a theme missing", puzzgrid("RRR", *THEMES[:3])),
        ("a theme too many", puzzgrid("RRR", *THEMES, "something else")),
        ("themes in another order", puzzgrid("RRR", *THEMES[::-1])),
        ("themes not asked yet", puzzgrid("RRR")),
        ("the themes cut off by length", puzzgrid("RRR", *THEMES, finish="length")),
        ("the themes without reasoning", puzzgrid("RRR", *THEMES, reasoning="")),
    ],
)
def test_a_puzzgrid_game_is_bad_for(why, game):
    assert rejection(facts_of(game)) is not None


def test_a_game_that_names_more_themes_than_groups_gives_way_to_one_that_names_each(tmp_path):
    more, each = puzzgrid("RRR", *THEMES, "something else"), puzzgrid("WWWWRRR", *THEMES)
    assert best(tmp_path, more, each, ruleset=PUZZGRID) == each.rollout_id
    others = [older_record(more), older_record(each)]
    assert best(tmp_path, *others, ruleset=PUZZGRID) == rollout_of(line_of(others[1]).encode()).rollout_id


def test_wrong_guesses_that_are_no_mistakes_yet_leave_a_puzzgrid_game_good():
    assert rejection(facts_of(puzzgrid("WWWWRRR", *THEMES))) is None


def test_a_good_game_is_better_than_any_bad_one(tmp_path):
    good = played(PUZZLE, "OWORRR", tokens=9000, rollout_id="good")
    others = [cut_off_at(PUZZLE, 3, tokens=1), invalid_at(PUZZLE, 3, tokens=1), played(PUZZLE, "RRNR", tokens=1)]
    assert best(tmp_path, *others, good) == "good"


def test_among_good_games_the_highest_reward_is_best(tmp_path):
    perfect = played(PUZZLE, "RRR", tokens=5000, rollout_id="perfect")
    assert best(tmp_path, played(PUZZLE, "WRRR", tokens=1), perfect) == "perfect"


def test_among_good_games_of_one_reward_the_fewest_tokens_a_reply_are_best(tmp_path):
    long, short = (played(PUZZLE, "RRR", tokens=tokens, rollout_id=str(tokens)) for tokens in (300, 200))
    assert best(tmp_path, long, short) == "200"


def test_tokens_are_compared_as_an_average_over_replies():
    facts = facts_of(won(PUZZLE))
    short = facts._replace(statuses=("correct",) * 3, tokens=(10, 10, 40))
    long = facts._replace(statuses=("one_away", *short.statuses), tokens=(16, 16, 16, 16))
    assert sum(long.tokens) > sum(short.tokens)
    assert rank(long, 4) < rank(short, 3)


def test_among_bad_games_the_one_that_keeps_most_groups_is_best(tmp_path):
    two_groups = played(PUZZLE, "WORRN", tokens=2000, rollout_id="two groups")
    assert best(tmp_path, played(PUZZLE, "RN", tokens=1), two_groups) == "two groups"


def test_groups_found_after_the_cut_do_not_count(tmp_path):
    kept_one = played(PUZZLE, "RRN", rollout_id="keeps two")
    assert best(tmp_path, played(PUZZLE, "RNRR", rollout_id="won, keeps one"), kept_one) == "keeps two"


def test_a_reward_does_not_count_among_bad_games(tmp_path):
    rich = played(PUZZLE, "NRRR", rollout_id="rich")
    poor = played(PUZZLE, "RWNNNNN", rollout_id="poor")
    assert rich.reward > poor.reward
    assert best(tmp_path, rich, poor) == "poor"


def test_among_bad_games_that_keep_as_many_groups_the_fewest_mistakes_are_best(tmp_path):
    assert best(
        tmp_path,
        played(PUZZLE, "RWN", tokens=1, rollout_id="a mistake"),
        played(PUZZLE, "RN", tokens=900, rollout_id="none"),
    ) == "none"  # fmt: skip


def test_mistakes_that_are_cut_away_do_not_count(tmp_path):
    rows = [played(PUZZLE, "RWN", tokens=1, rollout_id="one"), played(PUZZLE, "RNWW", tokens=2, rollout_id="none kept")]
    assert best(tmp_path, *rows) == "none kept"


def test_among_bad_games_alike_in_groups_and_mistakes_the_fewest_kept_tokens_are_best(tmp_path):
    long = played(PUZZLE, "RRN", tokens=[30, 30, 1], rollout_id="long")
    short = played(PUZZLE, "RRN", tokens=[20, 20, 9000], rollout_id="short")
    assert best(tmp_path, long, short) == "short"


def test_a_game_that_keeps_something_is_better_than_one_that_keeps_nothing(tmp_path):
    assert best(tmp_path, played(PUZZLE, "NRRR"), played(PUZZLE, "WN", rollout_id="a mistake kept")) == "a mistake kept"


def test_free_wrong_guesses_of_puzzgrid_are_no_mistakes_when_bad_games_are_compared(tmp_path):
    none = played(PUZZLE, "WWWRRN", ruleset=PUZZGRID, rollout_id="no mistake")
    one = played(PUZZLE, "RRWN", ruleset=PUZZGRID, rollout_id="one mistake")
    assert none.metrics["mistakes"] == 0
    assert one.metrics["mistakes"] == 1
    assert best(tmp_path, none, one, ruleset=PUZZGRID) == "no mistake"


def test_what_a_truncation_keeps_decides_by_its_mode(tmp_path):
    rows = [
        played(PUZZLE, "RWWN", tokens=[10, 10, 10, 1], rollout_id="short groups, mistakes after"),
        played(PUZZLE, "WRN", tokens=[10, 10, 1], rollout_id="one mistake before"),
    ]
    assert best(tmp_path, *rows) == "one mistake before"
    assert best(tmp_path, *rows, truncate="last-correct") == "short groups, mistakes after"


def test_a_row_is_judged_by_what_its_own_line_records():
    game = played(PLAIN, "RRR")
    facts = facts_of(game)
    assert facts.statuses == ("correct",) * 3  # the group that came by itself is no guess
    assert facts.tokens == (40, 40, 40)
    assert kept_turns(facts.statuses, facts.unfit, facts.complete_reason) == 3


def test_nonsense_words_are_unique():
    assert len({nonsense(number) for number in range(100_000)}) == 100_000
