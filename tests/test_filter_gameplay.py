"""Step 2, through its `main`: which rollout of a puzzle is taken, what is counted, what is printed to the letter."""

import contextlib
import io
import json
import os
import re
import statistics
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import collate
import reduce_tokens
from connections_env.examples import canonical_row
from connections_env.parsing import Reply
from connections_env.play import conversation, replay_rollout
from connections_env.quality import facts_of, rejection
from connections_env.records import ResumedFrom, read_row
from connections_env.rulesets import PUZZGRID
from connections_env.tokens import count_game, load_tokenizer
from filter_gameplay import main, parse_args
from generate_rollouts import main as generate
from tests.rollouts import (
    REASONING,
    board,
    boards,
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
    puzzle_file,
    results_file,
    rollout,
    script_replies,
    won,
)

CANONICAL = re.compile(r"<think>\n(?P<think>(?s:.+?))\n</think>\n\n<guess>\[(`[^`]+`)(, `[^`]+`)*\]</guess>")
GROUPS = [group.members for group in board(0).groups]


@pytest.fixture
def run(capsys, tmp_path):
    """Runs the step; gives its exit status, stdout and stderr. It reads `results` and writes to `out`."""

    def step(*argv, results=True):
        capsys.readouterr()
        inputs = (tmp_path / "results",) if results else ()
        try:
            status = main([str(word) for word in (*inputs, *argv, "--output-dir", tmp_path / "out")])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return step


@pytest.fixture
def results(tmp_path):
    """Writes results_N.jsonl in the folder that `run` reads."""
    return lambda *rows, number=1: results_file(tmp_path / "results" / f"results_{number}.jsonl", rows)


@pytest.fixture
def good(tmp_path):
    return lambda: rows_of(tmp_path / "out" / "good_examples.jsonl")


@pytest.fixture
def bad(tmp_path):
    return lambda: rows_of(tmp_path / "out" / "bad_examples.jsonl")


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ids(rows):
    return [row["rollout_id"] for row in rows]


def said(row):
    return [message["content"] for message in row["completion"] if message["role"] == "assistant"]


def counted(out):
    """The table of rollouts in neither file, without its shares."""
    *_, table = out.partition("Rollouts in neither:\n\n")
    return {reason: int(count.replace(",", "")) for reason, count in re.findall(r"^  (.+?): +([\d,]+) \(", table, re.M)}


def counts_something(out, what, count=1):
    return any(what in reason and n == count for reason, n in counted(out).items())


def older(*contents, prefix=(), number=0, **fields):
    """A record of an older pipeline."""
    row = changed(won(board(number)))
    talk = [
        [m for text in texts for m in ({"role": "assistant", "content": text}, {"role": "user", "content": "Noted."})]
        for texts in (prefix, contents)
    ]
    return {
        "example_id": 4,
        "prompt": [{"role": "system", "content": "Sort."}, {"role": "user", "content": "Here."}, *talk[0]],
        "completion": talk[1],
        "info": {name: row["info"][name] for name in ("puzzle_id", "all_words", "categories")},
        "reward": 3.25,
        "guess_history": [],
        "complete_reason": "all_categories_found",
    } | fields


def without_a_board(puzzle_id="made-0"):
    history = [{"words": [], "status": "correct", "category_idx": n} for n in range(4)]
    return older(info={"puzzle_id": puzzle_id}, guess_history=history, completion=[], prompt=[])


# Which rollout is taken


def test_the_good_rollout_of_a_puzzle_is_taken_whatever_bad_ones_there_are(run, results, good, bad):
    results(lost(board(0)), won(board(0), rollout_id="good"), invalid_at(board(0), 3), interrupted(board(0), "RR"))
    assert run()[0] == 0
    assert (ids(good()), bad()) == (["good"], [])


def test_of_good_rollouts_the_highest_reward_wins_then_the_fewest_tokens_a_reply(run, results, good):
    results(
        played(board(0), "WRRR", rollout_id="mistake", tokens=1),
        played(board(0), "RRR", rollout_id="long", tokens=41),
        played(board(0), "RRR", rollout_id="short", tokens=[39, 40, 41]),
    )
    run()
    assert ids(good()) == ["short"]


def test_of_bad_rollouts_the_most_groups_kept_win_then_the_fewest_mistakes_then_the_fewest_tokens(run, results, bad):
    results(
        played(board(0), "RN", rollout_id="one group"),
        played(board(0), "WRRN", rollout_id="a mistake", tokens=1),
        played(board(0), "RRN", rollout_id="long", tokens=41),
        played(board(0), "RRN", rollout_id="short", tokens=40),
    )
    run()
    assert ids(bad()) == ["short"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (invalid_at(board(0), 2), "invalid guess"),
        (played(board(0), "RNRR"), "invalid guess"),
        (played(board(0), "RNWWWW"), "invalid guess"),
        (lost(board(0)), "game lost"),
        (interrupted(board(0), "RR"), "unfinished"),
        (played(board(0), "RR", end="max_turns_reached"), "unfinished"),
        (played(board(0), "RR", end="prompt_too_long"), "unfinished"),
        (cut_off_at(board(0), 2), "reply cut off"),
    ],
)
def test_the_best_bad_rollout_says_why_it_is_bad_and_stays_as_it_was_played(run, results, good, bad, row, reason):
    results(row)
    status, out, _ = run()
    assert (status, good()) == (0, [])
    (written,) = bad()
    assert written["rejection"] == reason
    assert {name: written[name] for name in changed(row)} == changed(row)
    assert f"Why the bad ones are bad:\n\n  {reason}: 1 (100.0%)\n" in out + "\n"


def test_each_puzzle_is_in_one_of_the_two_files_once(run, results, good, bad):
    results(*(row for puzzle in boards(3) for row in (won(puzzle), lost(puzzle))), *map(lost, boards(4, first=3)))
    run()
    assert sorted(row["info"]["puzzle_id"] for row in good()) == ["made-0", "made-1", "made-2"]
    assert sorted(row["info"]["puzzle_id"] for row in bad()) == ["made-3", "made-4", "made-5", "made-6"]


def test_a_puzzle_is_its_items_whatever_its_id_their_order_and_case(run, results, good, bad):
    row = changed(lost(board(0)))
    results(row | {"info": row["info"] | {"puzzle_id": "another name"}}, won(board(0), rollout_id="good"))
    run()
    assert (ids(good()), bad()) == (["good"], [])


def test_a_good_row_names_the_other_good_ones_as_spares_the_best_first(run, results, good, tmp_path):
    results(played(board(0), "WRRR"), won(board(0), rollout_id="best"), lost(board(0)))
    path = results(played(board(0), "OORRR"), played(board(0), "ORRR", rollout_id="second", tokens=9), number=2)
    run()
    (row,) = good()
    assert row["rollout_id"] == "best"
    places = [(Path(place["file"]), place["offset"]) for place in row["spares"]]
    assert len(places) == 3
    assert places[0] == (path, path.read_bytes().index(b"\n") + 1)
    assert read_row(path.read_bytes()[places[0][1] :].splitlines()[0]).rollout_id == "second"


# Inputs


@pytest.mark.parametrize("named", [["results"], ["results/results_1.jsonl", "results"], ["elsewhere/../results"]])
def test_the_spares_of_a_good_row_are_found_from_another_folder(results, good, tmp_path, monkeypatch, named):
    """By the steps after this one: the row itself does not hold."""
    thoughts = [Reply(guess_text(group), REASONING * 100, "stop", 40) for group in GROUPS[:3]]
    best = rollout(board(0), thoughts, rollout_id="best")
    results(best, lost(board(0)), played(board(0), "ORRR", rollout_id="spare"))
    for name in ("out", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert main([*named, "--output-dir", "out"]) == 0
    (row,) = good()
    (place,) = row["spares"]
    assert os.path.isabs(place["file"])  # noqa: PTH117
    assert Path(place["file"]).samefile(tmp_path / "results" / "results_1.jsonl")
    (tmp_path / "out" / "good_examples.jsonl").write_text(json.dumps(row | {"reward": 1.0}) + "\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert reduce_tokens.main(["--offline", "--output-dir", "../out"]) == 0
    (reduced,) = rows_of(tmp_path / "out" / "good_examples_reduced.jsonl")
    assert (reduced["rollout_id"], reduced["reduced"]) == ("spare", False)
    assert collate.main(["../out/good_examples.jsonl", "--no-default-exclude"]) == 0
    (example,) = rows_of(tmp_path / "elsewhere" / "sft_examples.jsonl")
    assert example["rollout_id"] == "spare"


def test_files_folders_and_both_mixed_are_read_as_one(run, good, bad, tmp_path):
    folder, file = tmp_path / "a", tmp_path / "mine.jsonl"
    results_file(folder / "results_1.jsonl", [lost(board(0)), lost(board(1))])
    results_file(folder / "results_7.jsonl", [won(board(1))])
    results_file(folder / "notes.jsonl", [won(board(3))])
    results_file(file, [won(board(0)), lost(board(2))])
    assert run(folder, file, results=False)[0] == 0
    assert {row["info"]["puzzle_id"] for row in good()} == {"made-0", "made-1"}
    assert {row["info"]["puzzle_id"] for row in bad()} == {"made-2"}


def test_a_file_named_twice_is_read_once(run, results, tmp_path):
    path = results(won(board(0)))
    _, out, _ = run(path)
    assert counted(out) == {}


@pytest.mark.parametrize("name", ["nowhere", "nothing.jsonl", "folder"])
def test_missing_results_name_the_command_that_makes_them(run, tmp_path, name):
    (tmp_path / "folder").mkdir()
    status, out, err = run(tmp_path / name, results=False)
    assert (status, out) == (2, "")
    what = "no results in" if name == "folder" else "no such file or folder:"
    assert err == f"error: {what} {tmp_path / name}; make some results with: uv run python generate_rollouts.py\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder", ["results", "nowhere"])
def test_where_only_the_simulated_player_has_results_their_folder_is_named(run, tmp_path, folder):
    results_file(tmp_path / "results" / "offline" / "results_1.jsonl", [won(board(0))])
    status, out, err = run(tmp_path / folder, results=False)
    assert (status, out) == (2, "")
    if folder == "results":
        named = tmp_path / "results" / "offline"
        assert (
            err == f"error: no results in {tmp_path / folder} itself; name {named} for those of the simulated player\n"
        )
    else:
        assert "generate_rollouts.py" in err


@pytest.mark.parametrize("name", ["good_examples.jsonl", "bad_examples.jsonl"])
def test_an_input_that_would_be_written_over_is_refused(run, results, tmp_path, name):
    results(won(board(0)), lost(board(1)))
    assert run()[0] == 0
    before = (tmp_path / "out" / name).read_bytes()
    status, _, err = run(tmp_path / "out" / name)
    assert status == 2
    assert f"{name} is what this step writes; choose another --output-dir, or give results\n" in err
    assert (tmp_path / "out" / name).read_bytes() == before


def test_the_default_input_is_the_results_folder_beside_the_script():
    assert parse_args([]).inputs == [Path(__file__).parents[1] / "generate_results"]


# Canonical form


def test_a_good_row_is_in_canonical_form(run, results, good):
    loose = [
        f"Let me see.\n<guess>{', '.join(GROUPS[0]).lower()}</guess> There!",
        f"<think>A thought.</think>So: {guess_text(reversed(GROUPS[1]))}",
        f"Last. <guess>{json.dumps(GROUPS[2])}</guess>\n\n<guess>{json.dumps(GROUPS[2])}</guess>",
    ]
    results(older(*loose))
    assert run()[0] == 0
    (row,) = good()
    assert said(row) == [
        f"<think>\nLet me see.\n</think>\n\n{guess_text(GROUPS[0])}",
        f"<think>\nA thought.\n\nSo:\n</think>\n\n{guess_text(tuple(reversed(GROUPS[1])))}",
        f"<think>\nLast.\n</think>\n\n{guess_text(GROUPS[2])}",
    ]


def test_good_rows_are_what_the_game_itself_would_have_written(run, results, good):
    results(won(board(0)), played(board(1), "WORRR"), played(board(2, groups=5, size=5), "RORRR"))
    run()
    for row in good():
        parsed = read_row(json.dumps(row))
        _, states = replay_rollout(parsed)
        assert [m["role"] for m in row["prompt"]] == ["system", "user"]
        assert [{"role": m["role"], "content": m["content"]} for m in row["prompt"] + row["completion"]] == (
            conversation(states, parsed.replies)
        )
        assert row["completion"][-1]["role"] == "assistant"
        for content in said(row):
            assert CANONICAL.fullmatch(content)["think"] == REASONING
        assert all(set(m) == {"role", "content"} for m in row["prompt"] + row["completion"])


def test_filtering_good_rows_again_changes_nothing(run, results, good, bad, tmp_path):
    results(won(board(0)), played(board(1), "OWRRR"), older(*(f"Hm. {guess_text(g)}" for g in GROUPS)), lost(board(5)))
    run()
    first, first_bad = good(), bad()
    copies = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for copy, name in zip(copies, ("good", "bad"), strict=True):
        copy.write_bytes((tmp_path / "out" / f"{name}_examples.jsonl").read_bytes())
    assert run(*copies, results=False)[0] == 0
    assert [row | {"spares": []} for row in good()] == [row | {"spares": []} for row in first]
    assert bad() == first_bad


def test_a_game_of_another_ruleset_is_exported_when_that_ruleset_is_chosen(run, results, good, bad):
    def named(number, *themes):
        replies = script_replies(board(number), "RRR", PUZZGRID)
        return [*replies, Reply(f"So: <themes>{json.dumps(themes)}</themes> Done.", REASONING, "stop", 9)]

    right = [group.theme for group in board(0).groups]
    results(
        rollout(board(0), named(0, *right), ruleset=PUZZGRID),
        rollout(board(1), named(1, "A", "B", "C", "D"), ruleset=PUZZGRID),
        won(board(2)),
    )
    _, out, _ = run("--ruleset", "puzzgrid")
    (good_row,), (bad_row,) = good(), bad()
    assert said(good_row)[-1] == f"<think>\n{REASONING}\n\nSo:\n</think>\n\n<themes>{json.dumps(right)}</themes>"
    assert (good_row["complete_reason"], bad_row["rejection"]) == ("theme_guessing_complete", "wrong themes")
    assert counted(out) == {"other ruleset": 1}


# Older records


def test_an_older_record_is_exported(run, results, good, bad):
    wins = [f"Sure. {guess_text(group)}" for group in GROUPS[:3]]
    loses = [f"Sure. {guess_text(words)}" for words in (board(1).groups[0].members, ("A", "B", "C", "D"))]
    results(older(*wins), older(*loses, number=1, complete_reason="max_turns_reached"))
    run()
    (won_row,), (bad_row,) = good(), bad()
    assert [turn["status"] for turn in won_row["guess_history"]] == ["correct"] * 3 + ["auto"]
    assert (won_row["reward"], won_row["complete_reason"]) == (5.5, "all_categories_found")
    assert (bad_row["rejection"], bad_row["reward"]) == ("invalid guess", 1.0 + 1.0 + 0.25)


def test_an_older_record_whose_beginning_sits_in_its_prompt_is_exported_whole(run, results, good):
    texts = [f"Sure. {guess_text(group)}" for group in GROUPS[:3]]
    results(older(*texts[1:], prefix=texts[:1]))
    run()
    (row,) = good()
    assert len(row["prompt"]) == 2
    assert said(row) == [f"<think>\nSure.\n</think>\n\n{guess_text(group)}" for group in GROUPS[:3]]


# Rows that are passed over and counted


def test_a_row_without_a_board_is_counted_and_not_exported(run, results, good, bad):
    results(without_a_board(), without_a_board("elsewhere"), won(board(1)))
    status, out, _ = run()
    assert (status, len(good()), bad()) == (0, 1, [])
    assert counts_something(out, "names no board", 2)


def spoilt_good(**fields):
    """A row better than any other, if it were what it says."""
    return changed(won(board(0), tokens=1, rollout_id="spoilt")) | fields


SPOILT = {
    "its history": spoilt_good(guess_history=changed(played(board(0), "WRRR"))["guess_history"]),
    "its end": changed(interrupted(board(0), "RR", rollout_id="spoilt"))
    | {"complete_reason": "all_categories_found", "reward": 5.5},
    "its fitness": changed(cut_off_at(board(0), 1, rollout_id="spoilt")) | {"reply_unfit": [None] * 3},
    "its board": spoilt_good(info=changed(won(board(0)))["info"] | {"categories": []}),
    "its lists": spoilt_good(reply_finish=[]),
    "its reward, no number": spoilt_good(reward=float("nan")),
    "its reward": changed(played(board(0), "OORRR", rollout_id="spoilt")) | {"reward": 9.0},
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_row_that_is_not_what_its_replies_give_is_counted_and_the_next_is_taken(run, results, good, bad, what):
    results(SPOILT[what], played(board(0), "WRRR", rollout_id="sound"), lost(board(0)))
    status, out, _ = run()
    assert (status, ids(good()), bad()) == (0, ["sound"], [])
    assert sum(counted(out).values()) == 2
    assert counted(out).pop("another rollout of the puzzle is better", 0) == 1


def test_where_no_good_row_holds_the_best_bad_one_is_taken(run, results, good, bad):
    results(SPOILT["its history"], played(board(0), "RRWN", rollout_id="bad"))
    run()
    assert (good(), ids(bad())) == ([], ["bad"])


@pytest.mark.parametrize("spoil", [{"reward": 9.0}, {"reply_unfit": [None] * 3}, {"complete_reason": "max_mistakes"}])
def test_a_bad_row_that_is_not_what_it_says_is_counted_and_the_next_best_bad_one_is_taken(
    run, results, good, bad, spoil
):
    results(changed(played(board(0), "RRN", rollout_id="spoilt")) | spoil, played(board(0), "RN", rollout_id="sound"))
    _, out, _ = run()
    assert (good(), ids(bad())) == ([], ["sound"])
    assert sum(counted(out).values()) == 1


@pytest.mark.parametrize("place", [0, 5, 11])
def test_the_best_of_any_number_of_rollouts_is_taken_wherever_it_stands(run, results, good, bad, place):
    rows = [played(board(0), "WRRR", rollout_id=f"good-{n}", tokens=50 + n) for n in range(11)]
    lots = [played(board(1), "RN", rollout_id=f"bad-{n}", tokens=50 + n) for n in range(11)]
    rows.insert(place, won(board(0), rollout_id="best good"))
    lots.insert(place, played(board(1), "RRN", rollout_id="best bad"))
    results(*rows, *lots)
    run()
    assert (ids(good()), ids(bad())) == (["best good"], ["best bad"])


def test_any_number_of_rows_that_do_not_hold_are_passed_over(run, results, good):
    spoilt = [SPOILT["its history"] | {"rollout_id": f"spoilt-{n}"} for n in range(30)]
    results(*spoilt, played(board(0), "WRRR", rollout_id="sound"))
    _, out, _ = run()
    assert ids(good()) == ["sound"]
    assert sum(counted(out).values()) == 30


def test_a_damaged_copy_does_not_hide_the_row_it_is_a_copy_of(run, results, good):
    row = won(board(0), rollout_id="one")
    damaged = changed(row)
    damaged["completion"][0]["content"] = "Oh well."
    results(damaged)
    results(row, number=2)
    _, out, _ = run()
    assert ids(good()) == ["one"]
    assert sum(counted(out).values()) == 1


def test_a_copy_of_a_row_is_counted_as_one(run, results, good):
    rows = [won(board(0), rollout_id="one"), lost(board(0), rollout_id="two")]
    results(*rows, rows[0])
    results(*rows, number=2)
    _, out, err = run()
    assert ids(good()) == ["one"]
    assert counted(out) == {"another rollout of the puzzle is better": 1, "copy of another row": 3}
    assert "rollouts: 5 of this project; 3 not used: 3 copies of other rows" in err


def test_a_second_try_that_bears_the_id_of_the_first_is_no_copy(run, results, good):
    results(lost(board(0), rollout_id="one"), won(board(0), rollout_id="one"))
    _, out, err = run()
    assert ids(good()) == ["one"]
    assert "cop" not in out + err


def test_a_copy_damaged_in_a_letter_does_not_hide_the_row_it_is_a_copy_of(run, results, good):
    line = line_of(won(board(0), rollout_id="one"))
    results(line.replace("<guess>", "<gugss>", 1))
    results(line, number=2)
    run()
    assert ids(good()) == ["one"]


def test_a_folder_of_compressed_results_alone_is_named(run, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results_1.jsonl.gz").write_bytes(b"")
    status, _, err = run()
    assert (status, err.rstrip().endswith("results_1.jsonl.gz is compressed; unpack it")) == (2, True)


def test_rows_of_no_use_are_counted_by_reason(run, results):
    results(
        won(board(0)),
        won(board(0), rollout_id="again"),
        empty(board(1)),
        empty(board(2)),
        played(board(3), "RRR", ruleset=PUZZGRID),
        "nul",
        "{",
    )
    _, out, err = run()
    assert out.partition("Rollouts in neither:\n\n")[2].rpartition("\n0 puzzles to run again")[0] == (
        "  empty:                                   2 (28.6%)\n"
        "  unreadable:                              2 (28.6%)\n"
        "  another rollout of the puzzle is better: 1 (14.3%)\n"
        "  other ruleset:                           1 (14.3%)\n"
    )
    assert err == (
        "results_1.jsonl:6: expected a JSON object, got 'nul'; skipped\n"
        "results_1.jsonl:7: expected a JSON object, got '{'; skipped\n"
        "rollouts: 5 of this project; 5 not used: 2 empty, 1 by other rules than nyt, "
        "2 unreadable (expected a JSON object: 2)\n"
    )


def test_a_torn_last_line_is_named_and_counted(run, results, good):
    path = results(won(board(0)))
    path.write_text(path.read_text() + won(board(1)).to_line()[:-20])
    _, out, err = run()
    assert len(good()) == 1
    assert err.startswith("results_1.jsonl:2: torn last line")
    assert sum(counted(out).values()) == 1


@pytest.mark.parametrize(
    ("line", "looks"),
    [
        ({"puzzle_id": "a", "prompt": [], "completion": [], "doctoring_type": "none"}, "sft_examples.jsonl"),
        ({"puzzle_id": "a", "all_words": ["A", "B"], "group_words": []}, "puzzle"),
        (["a", "list"], "a JSON object"),
        ("7", "a JSON object"),
    ],
)
def test_a_line_of_another_kind_is_named_by_file_and_line_with_what_it_looks_like(run, results, good, line, looks):
    results(won(board(0)), json.dumps(line))
    _, out, err = run()
    assert len(good()) == 1
    assert err.startswith("results_1.jsonl:2: ")
    assert counts_something(out, "unreadable")
    assert looks in err


def test_verbose_names_every_line_and_otherwise_the_rest_is_a_number(run, results):
    results(won(board(0)), *["nul"] * 30)
    _, _, err = run()
    assert err.count("nul") == 20
    assert "... and 10 more lines skipped; -v names them all\n" in err
    _, _, err = run("-v")
    assert err.count("nul") == 30


def test_a_row_of_a_newer_version_is_one_line_and_exit_1_and_nothing_is_written(run, results, tmp_path):
    path = results(won(board(0)), changed(won(board(1)), schema_version=2))
    status, out, err = run()
    assert (status, out) == (1, "")
    assert re.fullmatch(rf"error: {re.escape(str(path))}:2: written by a newer version .*\n", err)
    assert not (tmp_path / "out" / "good_examples.jsonl").exists()


# Outputs


OUTPUTS = ("good_examples.jsonl", "bad_examples.jsonl", "rerun_puzzles.txt")


@pytest.fixture
def earlier(tmp_path):
    """Outputs of an earlier run; gives whether they are still as they were."""
    (tmp_path / "out").mkdir()
    for name in OUTPUTS:
        (tmp_path / "out" / name).write_text("of an earlier run\n")
    return lambda: [name for name in OUTPUTS if (tmp_path / "out" / name).read_text() != "of an earlier run\n"]


def test_a_run_that_succeeds_replaces_all_its_outputs_and_leaves_nothing_beside_them(run, results, earlier, tmp_path):
    results(won(board(0)))
    assert run()[0] == 0
    assert earlier() == [*OUTPUTS]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(OUTPUTS)


@pytest.mark.parametrize("rows", [["nul"], [empty(board(0))], [without_a_board()]])
def test_a_run_that_finds_nothing_is_exit_1_and_leaves_earlier_outputs_as_they_were(run, results, earlier, rows):
    results(*rows)
    assert run()[0] == 1
    assert earlier() == []


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (("--export-rerun-puzzles", "--puzzles", "nothing.jsonl"), 2),
        (("--tokenizer", "/nowhere/tokenizer.json"), 2),
        (("--export-rerun-puzzles", "--puzzles", "builtin", "--split", "nosuch"), 2),
        (("--export-rerun-puzzles", "--puzzles", "builtin", "--puzzle-ids-file", "nothing.txt"), 2),
    ],
)
def test_a_run_that_fails_leaves_earlier_outputs_as_they_were(run, results, earlier, flags, status):
    results(won(board(0)))
    code, _, err = run(*flags)
    assert (code, err.count("error: "), "Traceback" in err) == (status, 1, False)
    assert earlier() == []


def test_a_run_that_cannot_write_its_second_output_leaves_the_first_as_it_was(run, results, earlier, tmp_path):
    (tmp_path / "out" / "bad_examples.jsonl").unlink()
    (tmp_path / "out" / "bad_examples.jsonl").mkdir()
    results(won(board(0)))
    code, _, err = run()
    assert (code, err.count("error: ")) == (1, 1)
    assert (tmp_path / "out" / "good_examples.jsonl").read_text() == "of an earlier run\n"


def test_the_results_are_not_touched(run, results):
    path = results(won(board(0)), lost(board(1)), "nul")
    before = path.read_bytes(), path.stat().st_mtime_ns
    run()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [entry.name for entry in path.parent.iterdir()] == ["results_1.jsonl"]


def test_two_runs_write_the_same_bytes(run, results, tmp_path):
    results(*(row for puzzle in boards(5) for row in (lost(puzzle), won(puzzle))), *map(lost, boards(9, first=5)))
    written = []
    for _ in range(2):
        _, out, _ = run()
        written.append((out, *((tmp_path / "out" / name).read_bytes() for name in OUTPUTS[:2])))
    assert written[0] == written[1]


# Puzzles to run again


def test_rerun_puzzles_are_the_bad_and_the_missing_ones_in_the_order_of_the_source(run, results, tmp_path):
    source = puzzle_file(tmp_path / "puzzles.jsonl", boards(6))
    results(won(board(0)), lost(board(1)), won(board(2)), empty(board(3)), without_a_board("made-4"), lost(board(9)))
    status, out, _ = run("--export-rerun-puzzles", "--puzzles", source)
    path = tmp_path / "out" / "rerun_puzzles.txt"
    assert (status, path.read_text()) == (0, "made-1\nmade-3\nmade-4\nmade-5\n")
    assert out.endswith(f"\n\n4 puzzles to run again -> {path}\n")


def test_step_1_takes_the_file_of_puzzles_to_run_again(run, results, tmp_path, monkeypatch):
    source = puzzle_file(tmp_path / "puzzles.jsonl", boards(4))
    results(won(board(0)), lost(board(1)))
    run("--export-rerun-puzzles", "--puzzles", source)
    listed = tmp_path / "out" / "rerun_puzzles.txt"
    argv = ["--offline", "--puzzles", source, "--puzzle-ids-file", listed, "--results-dir", tmp_path / "new"]
    assert generate([str(word) for word in argv]) == 0
    rows = rows_of(tmp_path / "new" / "results_1.jsonl")
    assert sorted(row["info"]["puzzle_id"] for row in rows) == ["made-1", "made-2", "made-3"]


def test_without_the_flag_the_bad_puzzles_of_the_results_are_listed_and_no_source_is_read(run, results, tmp_path):
    results(lost(board(7)), won(board(0)), lost(board(2)), empty(board(3)))
    status, out, _ = run()
    path = tmp_path / "out" / "rerun_puzzles.txt"
    assert (status, path.read_text()) == (0, "made-7\nmade-2\n")
    assert out.endswith(f"\n\n2 puzzles to run again -> {path}\n")


def test_a_bad_puzzle_is_listed_by_the_id_of_its_source_and_once(run, results, tmp_path):
    source = puzzle_file(tmp_path / "puzzles.jsonl", boards(2))
    results(won(board(0)), json.loads(lost(board(1)).to_line().replace('"made-1"', '"another-name"')))
    assert run("--export-rerun-puzzles", "--puzzles", source)[0] == 0
    assert (tmp_path / "out" / "rerun_puzzles.txt").read_text() == "made-1\n"


# Tables


def test_the_summary_tells_both_files_and_the_distributions_to_the_letter(run, results, good, tmp_path):
    scripts = ["RRR", "RRR", "WRRR", "WRORR", "WWWRRR"]
    results(
        *(played(puzzle, script) for puzzle, script in zip(boards(5), scripts, strict=True)),
        lost(board(5)),
        *(invalid_at(puzzle, 2) for puzzle in boards(2, first=6)),
    )
    _, out, err = run()
    counts = [count_game(row["prompt"], row["completion"], load_tokenizer()) for row in good()]

    def figures(values):
        p25, median, p75 = statistics.quantiles(values, method="inclusive")
        numbers = (min(values), p25, median, p75, max(values), statistics.fmean(values))
        shown = [f"{n:,.0f}" if n == int(n) else f"{n:,.1f}" if n >= 100 else f"{n:.2f}" for n in numbers]
        return "".join(f"{number:>10}" for number in shown)

    folder = tmp_path / "out"
    assert out == (
        f"8 puzzles: 5 good -> {folder}/good_examples.jsonl, 3 bad -> {folder}/bad_examples.jsonl\n\n"
        "                          min       p25    median       p75       max      mean\n"
        "  turns                     3         3         4         5         6      4.20\n"
        f"  completion tokens{figures([count.completion for count in counts])}\n"
        f"  tokens per reply {figures([tokens for count in counts for tokens in count.replies])}\n"
        f"  total tokens     {figures([count.sequence for count in counts])}\n"
        "  reward                    5      5.10      5.25      5.50      5.50      5.27\n\n"
        "Why the bad ones are bad:\n\n"
        "  invalid guess: 2 (25.0%)\n"
        "  game lost:     1 (12.5%)\n\n"
        f"3 puzzles to run again -> {folder}/rerun_puzzles.txt\n"
    )
    assert err == ""


def test_where_nothing_is_good_no_distribution_is_shown(run, results):
    results(lost(board(0)))
    _, out, _ = run()
    assert "median" not in out
    assert out.startswith("1 puzzle: 0 good -> ")


# Conservation


LINES = {
    "good": lambda n: won(board(n)),
    "won after mistakes": lambda n: played(board(n), "WORRR"),
    "lost": lambda n: lost(board(n)),
    "invalid": lambda n: invalid_at(board(n), 2),
    "cut off": lambda n: cut_off_at(board(n), 1),
    "interrupted": lambda n: interrupted(board(n), "RW"),
    "resumed": lambda n: played(board(n), "RORR", resumed_from=ResumedFrom(rollout_id="a", turns=1)),
    "resumed and bad": lambda n: played(board(n), "RON", resumed_from=ResumedFrom(rollout_id="b", turns=2)),
    "empty": lambda n: empty(board(n)),
    "other ruleset": lambda n: played(board(n), "RR", ruleset=PUZZGRID),
    "older": lambda n: older(*(f"Hm. {guess_text(g.members)}" for g in board(n).groups[:3]), number=n),
    "older, bad": lambda n: older("Hm.", number=n, complete_reason="max_turns_reached"),
    "no board": lambda n: without_a_board(f"made-{n}"),
    "disagrees": lambda n: changed(won(board(n))) | {"guess_history": [], "complete_reason": "max_mistakes"},
    "says more than it did": lambda n: changed(lost(board(n))) | {"complete_reason": "all_categories_found"},
    "lists do not match": lambda n: changed(won(board(n))) | {"reply_tokens": [1]},
    "no object": lambda n: "nul",
    "broken": lambda n: won(board(n)).to_line()[: -10 - n],
    "nothing in it": lambda n: "{}",
    "not UTF-8": lambda n: f'{{"{nonsense(n)}": "\udcff"}}',
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(sorted(LINES)), st.integers(0, 3)), min_size=1, max_size=24), st.integers(1, 3)
)
def test_every_line_is_good_or_bad_or_counted(mixture, files):
    with tempfile.TemporaryDirectory() as name:
        folder, out, err = Path(name), io.StringIO(), io.StringIO()
        lines = [line_of(LINES[kind](number)) for kind, number in mixture]
        for n in range(files):
            data = "".join(line + "\n" for line in lines[n::files])
            (folder / f"results_{n + 1}.jsonl").write_bytes(data.encode("utf-8", "surrogateescape"))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([name, "--output-dir", name, "-v"])
        written = [folder / f"{which}_examples.jsonl" for which in ("good", "bad")]
        good, bad = (rows_of(path) if path.exists() else [] for path in written)
        assert len(lines) == len(good) + len(bad) + sum(counted(out.getvalue()).values())
        assert status == (0 if good or bad else 1)
        assert "Traceback" not in err.getvalue()
        puzzles = [frozenset(row["info"]["all_words"]) for row in good + bad]
        assert len(puzzles) == len(set(puzzles))
        for row in good:
            replay_rollout(read_row(json.dumps(row)))
            assert all(CANONICAL.fullmatch(content) for content in said(row))
        can_be_good = {number for kind, number in mixture if kind in ("good", "won after mistakes", "resumed", "older")}
        assert {row["info"]["puzzle_id"] for row in good} == {f"made-{number}" for number in can_be_good}


@settings(max_examples=20, deadline=None)
@given(st.text("ab<>/\n `think[]gues{}", max_size=40).filter(str.strip), st.sampled_from(["", "<think>", "</think>"]))
def test_canonical_form_of_any_reasoning_holds_and_stays(reasoning, tag):
    puzzle = board(0)
    row = rollout(puzzle, [Reply(tag + guess_text(group), reasoning, "stop", 9) for group in GROUPS[:3]])
    if rejection(facts_of(row)) is None:
        once = canonical_row(row)
        twice = canonical_row(read_row(once.to_line()))
        assert twice.completion == once.completion
        for reply in once.replies:
            assert CANONICAL.fullmatch(reply.content)
            assert (reply.content.count("<think>"), reply.content.count("<guess>")) == (1, 1)


def test_help_says_what_the_step_reads_and_writes(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for name in OUTPUTS:
        assert name in text


def test_a_folder_of_outputs_is_made(results, tmp_path, capsys):
    path, out = results(won(board(0))), tmp_path / "deep" / "er"
    assert main([os.fspath(path), "--output-dir", os.fspath(out)]) == 0
    assert sorted(file.name for file in out.iterdir()) == sorted(OUTPUTS)
