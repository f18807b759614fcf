"""--report and --view: what the page holds, what it refuses to replace, how it is served."""

import _thread
import base64
import hashlib
import http.client
import json
import re
import sys
import threading
import unicodedata
import urllib.request

import pytest

import collate
import filter_gameplay
import iterative_generate
from connections_env import files, report_page, terminal, unseen, viewing
from connections_env.histograms import Steps, bars_of
from connections_env.parsing import Reply
from connections_env.records import Cut, ResumedFrom, Usage
from connections_env.report_page import MARKER
from connections_env.rulesets import PUZZGRID
from tests import pages
from tests.rollouts import (
    board,
    boards,
    changed,
    empty,
    interrupted,
    invalid_at,
    lost,
    played,
    puzzle_file,
    results_file,
    rollout,
    script_replies,
    won,
)

HOSTILE = (
    "</script><script>document.title='owned'</script><!-- <img src=x onerror=alert(1)> \x00 \u202egnp.exe\u202c \\u003c"
)


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def filtered(work, *flags):
    return filter_gameplay.main([str(work / "results"), "--report", "report.html", *flags])


def two_loops(work):
    """Of five puzzles: one good at once, one in the second file, one that can be resumed, one that cannot, one left."""
    first, second, third, fourth, fifth = boards(5)
    folder = work / "results"
    results_file(
        folder / "results_1.jsonl",
        [won(first, rollout_id="a"), lost(second, rollout_id="b"), interrupted(third, rollout_id="c")],
    )
    replies = script_replies(second, "RRR")
    cut = Cut(turns=4, kept=1, truncate="last-valid")
    resumed = rollout(second, replies, rollout_id="b2", resumed_from=ResumedFrom(rollout_id="b", turns=1), cuts=[cut])
    later = [resumed, invalid_at(fourth, 1, rollout_id="d")]
    results_file(folder / "results_2.jsonl", later)
    return puzzle_file(work / "puzzles.jsonl", [first, second, third, fourth, fifth])


# What the page holds


def test_the_list_holds_every_game_with_its_verdict(work, capsys):
    two_loops(work)
    assert filtered(work) == 0
    assert capsys.readouterr().out.endswith("\n\nReport of 5 games -> report.html\n")
    rows = pages.listed(work / "report.html")
    assert [(row["rollout"], row["file"], row["line"], row["reason"], row["chosen"]) for row in rows] == [
        ("a", "results_1.jsonl", 1, None, 1),
        ("b", "results_1.jsonl", 2, "game lost", 0),
        ("c", "results_1.jsonl", 3, "unfinished", 0),
        ("b2", "results_2.jsonl", 1, None, 1),
        ("d", "results_2.jsonl", 2, "invalid guess", 0),
    ]
    assert [row["statuses"] for row in rows] == ["RRR", "RWWWW", "R", "RRR", "I"]
    assert [(row["parent"], row["resumed_after"], row["cut"]) for row in rows if row["rollout"] == "b2"] == [
        ("b", 1, 4)
    ]


def test_a_game_of_two_models_is_listed_under_both_and_one_cut_elsewhere_is_doctored(work):
    puzzle = board(0)
    replies = [reply._replace(model=model) for reply, model in zip(script_replies(puzzle, "RRR"), "xxy", strict=True)]
    unknown = Cut(turns=None, kept=1, truncate=None)
    row = rollout(puzzle, replies, resumed_from=ResumedFrom(rollout_id=None, turns=2), cuts=[unknown])
    results_file(work / "results" / "results_1.jsonl", [row])
    assert filtered(work) == 0
    (listed,) = pages.listed(work / "report.html")
    assert (listed["model"], listed["resumed_after"], listed["cut"]) == ("x, then y", 2, None)
    figures = pages.overview(work / "report.html")
    assert (figures["models"], figures["doctored"]) == ({"x": 1, "y": 1}, 1)


def test_the_overview_says_where_the_puzzles_stood_after_each_file(work):
    puzzles = two_loops(work)
    assert filtered(work, "--puzzles", str(puzzles)) == 0
    figures = pages.overview(work / "report.html")
    assert [
        [file[name] for name in ("name", "good", "salvageable", "unsalvageable", "missing", "newlyGood")]
        for file in figures["files"]
    ] == [["results_1.jsonl", 1, 2, 0, 2, 1], ["results_2.jsonl", 2, 1, 1, 1, 1]]
    assert (figures["puzzles"], figures["goodPuzzles"], figures["games"], figures["won"]) == (5, 2, 5, 2)
    assert figures["reasons"] == {"game lost": 1, "unfinished": 1, "invalid guess": 1}
    assert figures["mistakes"][0] == {"mistakes": 0, "won": 2, "other": 2}
    assert figures["mistakes"][4] == {"mistakes": 4, "won": 0, "other": 1}


def test_the_figures_are_those_of_the_dry_run(work, capsys):
    puzzles = two_loops(work)
    before = sorted(work.rglob("*"))
    command = ["--dry-run", "--puzzles", str(puzzles), "--results-dir", "results", "--report", "report.html"]
    assert iterative_generate.main(command) == 0
    assert sorted(work.rglob("*")) == sorted([*before, work / "report.html"])
    out = capsys.readouterr().out
    assert "Loop 1: 2 Good, 2 Bad\n  - Salvageable: 1\n  - Unsalvageable: 1\n  - Missing puzzles: 1\n" in out
    last = pages.overview(work / "report.html")["files"][-1]
    assert [last[name] for name in ("good", "salvageable", "unsalvageable", "missing")] == [2, 1, 1, 1]


def test_a_game_is_told_turn_by_turn_with_the_board_after_each(work):
    puzzle = board(1)
    results_file(work / "results" / "results_1.jsonl", [played(puzzle, "ROWN", rollout_id="a")])
    assert filtered(work) == 0
    assert pages.game(work / "report.html", "a")["retold"] is False
    turns = pages.game(work / "report.html", "a")["turns"]
    assert [(turn["status"], turn["reason"], turn["mistakes"], turn["found"]) for turn in turns] == [
        ("correct", None, 0, [0]),
        ("one_away", None, 1, [0]),
        ("incorrect", None, 2, [0]),
        ("invalid", "no_guess", 2, [0]),
    ]
    assert turns[0]["words"] == list(puzzle.groups[0].members)
    assert turns[1]["feedback"].startswith("One away")
    assert turns[3]["feedback"] == ""
    assert turns[3]["content"] == "I cannot decide."


def test_the_last_group_is_found_with_the_one_before_it(work):
    results_file(work / "results" / "results_1.jsonl", [won(board(1), rollout_id="a")])
    assert filtered(work) == 0
    assert [turn["found"] for turn in pages.game(work / "report.html", "a")["turns"]] == [[0], [0, 1], [0, 1, 2, 3]]


def test_themes_are_a_turn_of_their_own(work):
    puzzle = board(1)
    replies = [*script_replies(puzzle, "RRR", PUZZGRID), Reply('<themes>["zone0", "no"]</themes>', "hm, these", "stop")]
    results_file(work / "results" / "results_1.jsonl", [rollout(puzzle, replies, ruleset=PUZZGRID, rollout_id="a")])
    assert filtered(work, "--ruleset", "puzzgrid") == 0
    told = pages.game(work / "report.html", "a")
    assert told["turns"][3]["status"] == "themes"
    assert told["themes"] == {"named": ["zone0", "no"], "right": [True, False, False, False]}


def test_rows_that_do_not_count_are_counted_with_their_reason(work):
    lines = [won(board(1)), empty(board(2)), "nul", played(board(3), "RRR", ruleset=PUZZGRID)]
    path = results_file(work / "results" / "results_1.jsonl", lines)
    path.write_bytes(path.read_bytes() + b'{"torn')
    assert filtered(work) == 0
    figures = pages.overview(work / "report.html")
    assert figures["games"] == 1
    assert figures["leftOut"] == {"empty": 1, "unreadable": 1, "other ruleset": 1, "torn last line": 1}


def test_a_row_that_its_replay_does_not_bear_out_says_so(work):
    results_file(work / "results" / "results_1.jsonl", [changed(won(board(1), rollout_id="a"), reward=9.0)])
    assert filtered(work) == 1
    note = pages.game(work / "report.html", "a")["note"]
    assert note == "replayed here, this row does not hold: its reward is 5.5, recorded as 9"


def test_games_of_other_tools_are_shown_as_well(work):
    puzzle = board(1)
    said = [f"<guess>{', '.join(group.members)}</guess>" for group in puzzle.groups[:3]]
    groups = [{"name": group.theme, "words": list(group.members)} for group in puzzle.groups]
    row = {
        "prompt": [{"role": "user", "content": "play"}],
        "completion": [{"role": "assistant", "content": text} for text in said],
        "info": {"game_id": 77, "shuffled_words": list(puzzle.items), "groups": groups},
    }
    results_file(work / "results" / "results.jsonl", [row])
    (work / "results" / "metadata.json").write_text('{"model": "theirs"}')
    assert filtered(work) == 0
    (listed,) = pages.listed(work / "report.html")
    assert (listed["puzzle"], listed["statuses"], listed["model"]) == ("77", "RRR", "theirs")
    assert pages.game(work / "report.html", listed["rollout"])["retold"] is True
    assert pages.overview(work / "report.html")["models"] == {"theirs": 1}


def test_a_row_without_a_board_is_listed_and_has_no_turns(work):
    history = [{"words": [], "status": "correct", "category_idx": 0}]
    row = {"puzzle_id": "p1", "completion": [], "guess_history": history, "complete_reason": "max_turns_reached"}
    results_file(work / "results" / "results_1.jsonl", [row, won(board(1))])
    assert filtered(work) == 0
    listed = pages.listed(work / "report.html")[0]
    assert (listed["puzzle"], listed["statuses"]) == ("p1", "R")
    told = pages.game(work / "report.html", listed["rollout"])
    assert told["turns"] == []
    assert told["note"] == "this row names no board that can be played, so its game is shown as recorded"


def test_tokens_become_money_where_prices_are_given(work):
    usage = {"input": 1000, "output": 2000, "cached": 500, "reasoning": 0, "requests": 3}
    rows = [changed(won(board(1)), usage=usage), changed(lost(board(2)), usage=usage)]
    results_file(work / "results" / "results_1.jsonl", rows)
    assert filtered(work) == 0
    assert pages.overview(work / "report.html")["cost"] is None
    assert filtered(work, "--price-input", "1", "--price-cached", "0.2", "--price-output", "10") == 0
    figures = pages.overview(work / "report.html")
    assert figures["cost"] == pytest.approx(2 * (500 * 1 + 500 * 0.2 + 2000 * 10) / 1e6)
    assert figures["files"][0]["cost"] == figures["cost"]


def test_solved_puzzles_are_counted_by_their_difficulty(work):
    rows = []
    for number, difficulty, game in ((1, 1.2, won), (2, 1.9, lost), (3, 3.0, won), (4, None, won)):
        row = changed(game(board(number)))
        row["info"]["difficulty"] = difficulty
        rows.append(row)
    results_file(work / "results" / "results_1.jsonl", rows)
    assert filtered(work) == 0
    levels = pages.overview(work / "report.html")["levels"]
    assert [(one["level"], one["puzzles"], one["solved"], one["won"]) for one in levels] == [
        (1, 2, 1, 1),
        (3, 1, 1, 1),
        (None, 1, 1, 1),
    ]


def test_tokens_are_counted_against_the_limit_of_each_board(work):
    large = board(2, groups=5, size=5)
    rows = [won(board(1), tokens=1000), played(large, "RRRR", tokens=700)]
    results_file(work / "results" / "results_1.jsonl", rows)
    command = ["--dry-run", "--puzzles", str(puzzle_file(work / "p.jsonl", [board(1), large]))]
    command += ["--results-dir", "results", "--report", "report.html", "--max-reply-tokens", "900"]
    assert iterative_generate.main(command) == 0
    figures = pages.overview(work / "report.html")
    assert (figures["repliesOver"], figures["gamesOver"]) == (3, 1)  # 3 x 1,000 is over 2,048; 4 x 700 is under 3,072
    assert figures["gameLimits"] == [[2048, 1], [3072, 1]]
    bars = figures["replyTokens"]
    assert (sum(bar[2] for bar in bars), sum(bar[3] for bar in bars)) == (4, 3)


def steps_of(figures, limit=10**9):
    steps = Steps(32)
    for figure, count in figures.items():
        for _ in range(count):
            steps.take(figure, limit)
    return steps


def test_bars_of_a_histogram_are_of_one_width_and_the_last_takes_what_is_far():
    assert bars_of(Steps(32)) == []
    assert bars_of(steps_of({0: 2, 64: 1})) == [(0, 32, 2, 0), (32, 64, 0, 0), (64, 96, 1, 0)]
    bars = bars_of(steps_of({32 * n: 10 for n in range(40)} | {10**6: 1}))
    assert bars[0] == (0, 64, 20, 0)
    assert bars[-1][1:] == (None, 1, 0)
    assert sum(bar[2] for bar in bars) == 401


def test_a_bar_that_the_limit_goes_through_is_cut_in_two():
    assert bars_of(steps_of({40: 3, 50: 1, 51: 2, 70: 1}, limit=50)) == [
        (0, 32, 0, 0),
        (32, 64, 4, 2),
        (64, 96, 0, 1),
    ]


def test_bars_reach_a_limit_that_is_near_and_not_one_that_is_far():
    assert bars_of(steps_of({70: 1}), [128])[-1] == (96, 128, 0, 0)
    assert bars_of(steps_of({70: 1}), [5000])[-1] == (64, 96, 1, 0)


def test_files_of_one_name_are_told_apart_by_as_little_as_it_takes(work):
    two, three = work / "results" / "run-a" / "results.jsonl", work / "results" / "run-b" / "results.jsonl"
    results_file(work / "results" / "results_1.jsonl", [won(board(1), rollout_id="a")])
    results_file(two, [won(board(2), rollout_id="b")])
    results_file(three, [won(board(3), rollout_id="c")])
    assert filtered(work) == 0
    named = [row["file"] for row in pages.listed(work / "report.html")]
    assert named == ["results_1.jsonl", "run-a/results.jsonl", "run-b/results.jsonl"]
    assert [file["name"] for file in pages.overview(work / "report.html")["files"]] == named
    assert not any(str(work) in text for text in pages.blocks(work / "report.html").values())


def test_a_name_never_says_where_on_a_machine_a_file_is(tmp_path):
    home = tmp_path / "someone"
    assert files.told_apart([home / "results.jsonl", home / "run" / "results.jsonl"]) == [
        "results.jsonl",
        "run/results.jsonl",
    ]
    deep = [home / "x" / "one" / "r.jsonl", home / "y" / "one" / "r.jsonl", home / "other.jsonl"]
    assert files.told_apart(deep) == ["x/one/r.jsonl", "y/one/r.jsonl", "other.jsonl"]
    assert files.told_apart([home / "a.jsonl"] * 2) == ["a.jsonl", "a.jsonl"]


def test_no_folder_of_this_machine_is_in_the_page(work):
    row = changed(won(board(1), model="/home/me/models/small"))
    row["info"]["source"] = "/home/me/puzzles.jsonl"
    results_file(work / "results" / "results_1.jsonl", [row])
    assert filtered(work) == 0
    assert not any("/home/me" in text for text in pages.blocks(work / "report.html").values())
    assert pages.listed(work / "report.html")[0]["model"] == "small"


def uncounted(puzzle, letters, counted=0, **fields):
    """A game whose endpoint did not say the tokens of its replies but for the first ones."""
    replies = script_replies(puzzle, letters)
    said = [reply._replace(tokens=40 if nth < counted else None) for nth, reply in enumerate(replies)]
    return rollout(puzzle, said, **fields)


def test_figures_that_hold_estimates_say_so(work):
    rows = [
        won(board(1), rollout_id="counted"),
        uncounted(board(2), "RORR", counted=1, rollout_id="partly", usage=Usage(output=9, requests=4, estimated=3)),
        uncounted(board(3), "RRR", rollout_id="all", usage=Usage(output=9, requests=3, estimated=3)),
    ]
    results_file(work / "results" / "results_1.jsonl", rows)
    assert filtered(work) == 0
    listed = {row["rollout"]: row["estimated"] for row in pages.listed(work / "report.html")}
    assert listed == {"counted": 0, "partly": 3, "all": 3}
    turns = pages.game(work / "report.html", "partly")["turns"]
    assert [turn["estimated"] for turn in turns] == [False, True, True, True]
    figures = pages.overview(work / "report.html")
    assert (figures["repliesEstimated"], figures["gamesEstimated"], figures["usageEstimated"]) == (6, 2, 2)


def test_estimates_are_still_known_where_a_game_is_resumed_and_exported(work):
    puzzle = board(1)
    parent = uncounted(puzzle, "RN", rollout_id="parent")
    results_file(work / "results" / "results_1.jsonl", [parent])
    command = ["--offline", "--loop", "2", "--all-puzzles", "-n", "1", "--results-dir", "results"]
    iterative_generate.main([*command, "--export", "out/sft_examples.jsonl", "--report", "report.html"])
    resumed = [row for row in pages.listed(work / "report.html") if row["parent"] == "parent"]
    assert resumed[0]["estimated"] == 1
    assert resumed[0]["resumed_after"] == 1


def test_what_reduction_took_is_counted_where_it_is_known(work):
    args = ["--offline", "--loop", "1", "-n", "8", "--results-dir", "results", "--export", "out/sft_examples.jsonl"]
    prices = ["--price-input", "1", "--price-cached", "1", "--price-output", "2"]
    assert iterative_generate.main([*args, *prices, "--report", "all.html"]) == 0
    answers = [json.loads(line) for line in (work / "out" / ".reductions_1.jsonl").read_text().splitlines()]
    games = [json.loads(line) for line in (work / "results" / "results_1.jsonl").read_text().splitlines()]
    figures = pages.overview(work / "all.html")
    reduction = figures["reduction"]
    assert (reduction["known"], reduction["answers"], reduction["unknown"]) == (True, len(answers), 0)
    for name in ("input", "output", "requests"):
        assert reduction["usage"][name] == sum(answer["usage"][name] for answer in answers) > 0
        assert figures["usage"][name] == sum(game["usage"][name] for game in games)
    cost = sum(answer["usage"]["input"] + 2 * answer["usage"]["output"] for answer in answers) / 1e6
    assert reduction["cost"] == pytest.approx(cost)
    assert collate.main(["--output-dir", "out", "--report", "dataset.html"]) == 0
    assert pages.overview(work / "dataset.html")["reduction"]["usage"] == reduction["usage"]
    assert iterative_generate.main(["--dry-run", "--offline", "--results-dir", "results", "--report", "dry.html"]) == 0
    assert pages.overview(work / "dry.html")["reduction"]["known"] is False


def test_reductions_of_an_older_version_are_said_to_be_unknown(work):
    args = ["--offline", "--loop", "1", "-n", "8", "--results-dir", "results", "--export", "out/sft_examples.jsonl"]
    assert iterative_generate.main(args) == 0
    ledger = work / "out" / ".reductions_1.jsonl"
    answers = [json.loads(line) for line in ledger.read_text().splitlines()]
    ledger.write_text("".join(json.dumps({**answer, "usage": None}) + "\n" for answer in answers))
    assert collate.main(["--output-dir", "out", "--report", "dataset.html"]) == 0
    reduction = pages.overview(work / "dataset.html")["reduction"]
    assert (reduction["answers"], reduction["unknown"], reduction["usage"]["output"]) == (len(answers), len(answers), 0)


# Numbers that are none


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_unknown_to_the_page(work, number):
    row = changed(won(board(1), rollout_id="odd"), reward=number, timing={"seconds": number}, sampling={"x": [number]})
    row["info"]["difficulty"] = number
    results_file(work / "results" / "results_1.jsonl", [row, won(board(2))])
    filtered(work)
    assert not any(re.search(r"\b(NaN|Infinity)\b", text) for text in pages.blocks(work / "report.html").values())
    (odd,) = [one for one in pages.listed(work / "report.html") if one["rollout"] == "odd"]
    assert odd["reward"] is None
    told = pages.game(work / "report.html", "odd")
    assert (told["timing"], told["sampling"]) == ({"seconds": None}, {"x": [None]})
    figures = pages.overview(work / "report.html")
    assert [(one["level"], one["puzzles"]) for one in figures["levels"]] == [(None, 2)]
    assert figures["rewards"] == [[5.5, 1]]


# What was estimated


def reduced_offline(work):
    """An export of eight games of the offline player; its folder."""
    args = ["--offline", "--loop", "1", "-n", "8", "--results-dir", "results", "--export", "out/sft_examples.jsonl"]
    assert iterative_generate.main(args) == 0
    return work / "out"


def rewritten(path, change):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(change(row)) + "\n" for row in rows), encoding="utf-8")
    return rows


def test_estimated_usage_of_a_game_is_still_known_once_it_is_reduced(work):
    out = reduced_offline(work)

    def silent(row):
        return row | {"usage": row["usage"] | {"estimated": row["usage"]["requests"]}, "reply_estimated": []}

    rows = rewritten(out / "good_examples_reduced.jsonl", silent)
    rewritten(out / ".reductions_1.jsonl", lambda row: row | {"usage": row["usage"] | {"estimated": 1}})
    assert collate.main(["--output-dir", "out", "--report", "dataset.html"]) == 0
    figures = pages.overview(work / "dataset.html")
    assert figures["usageEstimated"] == len(rows)
    assert figures["reduction"]["estimated"] == figures["reduction"]["answers"] > 0


# What reduction took, where it cannot be known


def test_reduced_games_away_from_their_ledger_are_said_to_lack_what_it_took(work):
    out = reduced_offline(work)
    (work / "else").mkdir()
    (work / "else" / "good_examples_reduced.jsonl").write_bytes((out / "good_examples_reduced.jsonl").read_bytes())
    assert collate.main(["--output-dir", "else", "--report", "away.html"]) == 0
    reduction = pages.overview(work / "away.html")["reduction"]
    assert (reduction["known"], reduction["answers"]) == (False, 0)


def test_games_that_were_not_reduced_are_not_charged_for_the_reductions_beside_them(work):
    out = reduced_offline(work)
    limits = ["--max-reply-tokens", "1000000", "--max-game-tokens", "1000000"]
    command = [str(out / "good_examples.jsonl"), "--output-dir", "out", "--report", "unreduced.html", *limits]
    assert collate.main(command) == 0
    reduction = pages.overview(work / "unreduced.html")["reduction"]
    assert (reduction["known"], reduction["answers"], reduction["usage"]["output"]) == (True, 0, 0)


def test_a_row_that_lost_to_a_better_one_of_its_puzzle_is_refused_for_that(work):
    puzzle = board(1)
    results_file(work / "results" / "results_1.jsonl", [won(puzzle, rollout_id="best")])
    assert filter_gameplay.main(["results"]) == 0
    (work / "good_examples.jsonl").rename(work / "first.jsonl")
    results_file(work / "results" / "results_1.jsonl", [played(puzzle, "ORRR", rollout_id="worse")])
    assert filter_gameplay.main(["results"]) == 0
    command = ["first.jsonl", "good_examples.jsonl", "--no-default-exclude", "--report", "report.html"]
    assert collate.main(command) == 0
    assert [(row["rollout"], row["chosen"], row["reason"]) for row in pages.listed(work / "report.html")] == [
        ("best", 1, None),
        ("worse", 0, "a better row of the puzzle is in"),
    ]
    figures = pages.overview(work / "report.html")
    assert (figures["good"], figures["reasons"]) == (1, {"a better row of the puzzle is in": 1})


# How many


def test_of_too_many_games_the_chosen_and_the_newest_bad_ones_are_shown_and_all_are_counted(work, capsys):
    rows = [lost(board(number), rollout_id=f"lost-{number}") for number in range(6)]
    rows.insert(2, won(board(7), rollout_id="won"))
    rows.append(won(board(7), rollout_id="won again, later in the order", end="interrupted"))
    results_file(work / "results" / "results_1.jsonl", rows)
    assert filtered(work, "--report-games", "3") == 0
    said = "Report of 3 games (5 more are counted, not shown; --report-games takes more) -> report.html\n"
    assert capsys.readouterr().out.endswith(said)
    assert [row["rollout"] for row in pages.listed(work / "report.html")] == ["won", "lost-4", "lost-5"]
    figures = pages.overview(work / "report.html")
    assert (figures["games"], figures["about"]["games"], figures["about"]["left_out"]) == (8, 3, 5)


def test_games_fill_as_many_blocks_as_they_need(work):
    rows = [rollout(one, [Reply("x" * 60_000, "y" * 60_000, "stop", 9)], rollout_id=one.puzzle_id) for one in boards(5)]
    results_file(work / "results" / "results_1.jsonl", rows)
    assert filtered(work) == 0
    assert [(row["block"], row["place"]) for row in pages.listed(work / "report.html")] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (2, 0),
    ]
    assert pages.game(work / "report.html", "made-4")["turns"][0]["content"] == "x" * 60_000


# The steps


def test_a_report_of_the_dataset_says_what_was_refused_and_shows_what_was_reduced(work):
    args = ["--offline", "--loop", "1", "-n", "8", "--results-dir", "results", "--export", "out/sft_examples.jsonl"]
    assert iterative_generate.main([*args, "--report", "all.html"]) == 0
    reduced = [row["rollout"] for row in pages.listed(work / "all.html") if row["reduced"]]
    assert reduced
    told = pages.game(work / "all.html", reduced[0])
    turn = next(turn for turn in told["turns"] if "before" in turn)
    assert len(turn["reasoning"]) < len(turn["before"])
    assert turn["tokens"] < turn["beforeTokens"]
    assert told["counted"] == "qwen3"
    played = {row["rollout_id"]: row for row in map(json.loads, (work / "results" / "results_1.jsonl").open())}
    for row in pages.listed(work / "all.html"):
        assert row["tokens"] == sum(played[row["rollout"]]["reply_tokens"])  # in one measure, so that they are sorted
        assert row["before"] is None

    stream = work / "out" / "good_examples_reduced.jsonl"
    lines = stream.read_text(encoding="utf-8").splitlines()
    refused = json.loads(lines[0]) | {"spares": [], "reward": 1.0}
    stream.write_text("\n".join([json.dumps(refused), *lines[1:]]) + "\n", encoding="utf-8")
    assert collate.main(["--output-dir", "out", "--report", "dataset.html"]) == 0
    rows = pages.listed(work / "dataset.html")
    assert [row["chosen"] for row in rows] == [0, *[1] * (len(lines) - 1)]
    assert rows[0]["reason"] is not None
    figures = pages.overview(work / "dataset.html")
    assert figures["counted"] == "qwen3"
    assert (figures["chosen"], figures["reasons"]) == (len(lines) - 1, {rows[0]["reason"]: 1})
    both = [pages.game(work / name, reduced[-1])["completion"] for name in ("all.html", "dataset.html")]
    (listed,) = [row for row in rows if row["rollout"] == reduced[-1]]
    assert both == [[listed["before"], listed["tokens"]]] * 2
    before = next(turn for turn in pages.game(work / "dataset.html", reduced[-1])["turns"] if "before" in turn)
    assert before["tokens"] < before["beforeTokens"]


def test_a_game_that_took_the_place_of_a_refused_one_is_in_the_report(work):
    puzzle = board(1)
    rows = [won(puzzle, rollout_id="first"), played(puzzle, "ORRR", rollout_id="spare")]
    results_file(work / "results" / "results_1.jsonl", rows)
    assert filter_gameplay.main(["results"]) == 0
    good = work / "good_examples.jsonl"
    row = json.loads(good.read_text(encoding="utf-8")) | {"reward": 1.0}
    good.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert collate.main(["good_examples.jsonl", "--no-default-exclude", "--report", "report.html"]) == 0
    listed = pages.listed(work / "report.html")
    assert [(row["rollout"], row["file"], row["chosen"]) for row in listed] == [
        ("first", "good_examples.jsonl", 0),
        ("spare", "results_1.jsonl", 1),
    ]


def test_without_a_game_there_is_a_report_all_the_same(work):
    puzzles = puzzle_file(work / "puzzles.jsonl", boards(2))
    command = ["--dry-run", "--puzzles", str(puzzles), "--results-dir", "none", "--report", "report.html"]
    assert iterative_generate.main(command) == 0
    figures = pages.overview(work / "report.html")
    assert (figures["puzzles"], figures["goodPuzzles"], figures["files"]) == (2, 0, [])
    assert pages.listed(work / "report.html") == []


# Characters that are not seen


def test_the_table_of_unseen_characters_is_what_unicode_calls_so():
    table = {code for first, last in unseen.RANGES for code in range(first, last + 1)}
    # Format characters that are drawn, by PropList.txt (Prepended_Concatenation_Mark), and those that shape text.
    drawn = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    shaping = {0x9, 0xA, 0x200C, 0x200D}
    for code in set(range(sys.maxunicode + 1)) - drawn - shaping:
        category = unicodedata.category(chr(code))
        assert category not in ("Cc", "Cf", "Cs", "Zl", "Zp") or code in table, hex(code)
    # Of letters and marks only those that are Default_Ignorable, and the blank of braille.
    others = {code for code in table if unicodedata.category(chr(code)) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")}
    ignorable = {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0}
    assert others == {0x2800} | ignorable | set(range(0xE0100, 0xE01F0))
    assert not table & (drawn | shaping | set(range(0xFE00, 0xFE10)))


def test_pages_and_terminals_have_one_table_of_unseen_characters():
    script = "".join(report_page.page([], dict))
    table = unseen.character_class(r"\u{{{:x}}}")
    assert f"const UNSEEN = /[{table}]/gu;" in script
    for first, last in unseen.RANGES:
        for code in (first, last):
            assert terminal.visible(f"a{chr(code)}b") == f"a{ascii(chr(code))[1:-1]}b"
    assert terminal.visible("🐻‍❄️ नमस्‍ते") == "🐻‍❄️ नमस्‍ते"


# What it refuses


@pytest.mark.parametrize("script", [filter_gameplay, collate, iterative_generate])
@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (
            ["--report", "taken.html"],
            "--report taken.html: there is a file that is no report; move it or choose another name",
        ),
        (["--report", "folder.html"], "--report folder.html is a folder; name a file in it"),
        (["--report", "notes.txt"], "--report notes.txt: a report is a page; give it a name that ends in .html"),
        (["--port", "80"], "--port is where --view serves; give --view too"),
        (["--report-games", "9"], "--report-games is about the page; give --report FILE.html or --view too"),
        (["--view", "--port", "70000"], "--port 70000 is no port; give one up to 65535"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(work, capsys, script, flags, error):
    (work / "taken.html").write_text("<h1>mine</h1>")
    (work / "folder.html").mkdir()
    assert script.main(flags) == 2
    assert capsys.readouterr().err == f"error: {error}\n"
    assert (work / "taken.html").read_text() == "<h1>mine</h1>"
    assert sorted(path.name for path in work.iterdir()) == ["folder.html", "taken.html"]


def test_a_report_does_not_take_the_place_of_the_dataset(work, capsys):
    assert iterative_generate.main(["--offline", "--export", "a.html", "--report", "a.html"]) == 2
    assert capsys.readouterr().err == "error: --report a.html is also where the dataset goes; choose another name\n"


def test_an_older_report_is_replaced(work):
    two_loops(work)
    assert filtered(work, "--report-games", "1") == 0
    assert filtered(work) == 0
    assert len(pages.listed(work / "report.html")) == 5
    assert [path.name for path in work.glob(".*")] == []


# What a browser makes of it


def test_no_text_of_a_game_becomes_part_of_the_page(work):
    puzzle = board(1)
    harmless, hostile = work / "harmless", work / "results"
    replies = script_replies(puzzle, "RRR")
    results_file(harmless / "results_1.jsonl", [rollout(puzzle, replies, rollout_id="a")])
    evil = [reply._replace(content=f"{HOSTILE}{reply.content}", reasoning=HOSTILE) for reply in replies]
    row = changed(rollout(puzzle, evil, rollout_id=HOSTILE), model=HOSTILE)
    row["info"] |= {"title": HOSTILE, "puzzle_id": HOSTILE}
    line = json.dumps(row).replace("gnp.exe", r"\ud800")
    results_file(hostile / "results_1.jsonl", [line])
    assert filter_gameplay.main(["harmless", "--report", "harmless.html"]) == 0
    filtered(work)
    page = (work / "report.html").read_text(encoding="utf-8")
    assert pages.Elements(page).tags == pages.Elements((work / "harmless.html").read_text(encoding="utf-8")).tags
    assert "owned" not in page
    assert page.isascii() or not re.search("[\u202a-\u202e\ud800-\udfff\x00]", page)
    (listed,) = pages.listed(work / "report.html")
    assert "document.title='owned'" in pages.game(work / "report.html", listed["rollout"])["turns"][0]["content"]


def test_the_policy_lets_only_the_own_script_and_style_run(work):
    two_loops(work)
    assert filtered(work) == 0
    page = pages.Elements((work / "report.html").read_text(encoding="utf-8"))
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind, text in (("style", page.inside[0]), ("script", page.inside[-1])):
        assert text[0] == kind
        digest = base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    data = [attrs for tag, attrs in page.tags if tag == "script" and attrs]
    assert {attrs["type"] for attrs in data} == {"text/plain"}


def test_the_page_asks_for_nothing_else(work):
    two_loops(work)
    assert filtered(work) == 0
    page = (work / "report.html").read_text(encoding="utf-8")
    assert MARKER in page[:4096]
    wanted = [attrs.get("src") or attrs.get("href") for _, attrs in pages.Elements(page).tags]
    assert all(re.match(r"#|data:", address) for address in wanted if address)
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|innerHTML|@import|url\(", page)


# Viewing


@pytest.fixture
def served(work):
    (work / "report.html").write_text("a page")
    with viewing.server_of(work / "report.html", 18800) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def asked(server, path="/", host=None, method="GET"):
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_address[1]}"})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_the_page_is_served_on_loopback_alone(served):
    assert served.server_address[0] == "127.0.0.1"
    status, body, headers = asked(served)
    assert (status, body, headers["Content-Length"]) == (200, b"a page", "6")
    assert headers["Cache-Control"] == "no-store"
    assert asked(served, method="HEAD")[:2] == (200, b"")
    assert asked(served, "/?x=1", host="localhost")[0] == 200


def test_no_other_file_and_no_other_name_is_answered_for(served):
    assert asked(served, "/etc/passwd")[0] == 404
    assert asked(served, "/../results_1.jsonl")[0] == 404
    assert asked(served, host="evil.example")[0] == 403


def test_the_next_port_is_taken_where_one_is_in_use(served, work):
    port = served.server_address[1]
    with viewing.server_of(work / "report.html", port) as second:
        assert second.server_address[1] > port


def test_view_serves_the_report_until_interrupted(work, capsys, monkeypatch):
    two_loops(work)
    before, got = sorted(work.rglob("*")), []

    def look(url):
        def fetch():
            with urllib.request.urlopen(url, timeout=10) as answer:
                got.append((answer.status, answer.read().decode()))
            _thread.interrupt_main()

        threading.Thread(target=fetch, daemon=True).start()

    monkeypatch.setattr(viewing, "open_browser", look)
    assert (
        iterative_generate.main(["--dry-run", "--puzzles", "puzzles.jsonl", "--results-dir", "results", "--view"]) == 0
    )
    said = capsys.readouterr()
    assert re.search(r"\nReport of 5 games\nViewing at http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)\n$", said.out)
    assert said.err == "viewing ended\n"
    assert got[0][0] == 200
    assert MARKER in got[0][1]
    assert sorted(work.rglob("*")) == before


def test_no_browser_is_opened_where_there_are_no_windows(monkeypatch):
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    viewing.open_browser("http://127.0.0.1:1/")
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    viewing.open_browser("http://127.0.0.1:1/")
    assert opened == ["http://127.0.0.1:1/"]
