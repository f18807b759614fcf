"""Step 3, through its `main`: what of a bad game is kept, where and why it was cut, and what is counted."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connections_env.examples import JobRow
from connections_env.parsing import Reply
from connections_env.play import conversation, replay_rollout
from connections_env.quality import facts_of, rejection
from connections_env.records import Cut, ResumedFrom, Rollout
from connections_env.rulesets import PUZZGRID
from filter_gameplay import main as filter_main
from prep_doctoring import main
from tests.rollouts import (
    REASONING,
    board,
    boards,
    changed,
    cut_off_at,
    interrupted,
    invalid_at,
    line_of,
    lost,
    played,
    results_file,
    rollout,
    script_replies,
    won,
)

ROOT = Path(__file__).parents[1]


def as_bad(row, rejected=None, **fields):
    """A line of bad_examples.jsonl."""
    why = rejected or (rejection(facts_of(row)) if isinstance(row, Rollout) else None) or "unfinished"
    return (changed(row) if isinstance(row, Rollout) else row) | {"kind": "bad", "rejection": why} | fields


@pytest.fixture
def bad(tmp_path):
    """Writes bad_examples.jsonl."""
    return lambda *rows: results_file(
        tmp_path / "bad_examples.jsonl", [as_bad(row) if isinstance(row, Rollout) else row for row in rows]
    )


@pytest.fixture
def run(capsys, tmp_path):
    """Runs the step; gives its exit status, stdout and stderr."""

    def step(*argv):
        capsys.readouterr()
        try:
            status = main([str(word) for word in (*argv, "--output-dir", tmp_path)])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return step


@pytest.fixture
def jobs(tmp_path):
    return lambda: jobs_in(tmp_path / "doctor_gameplay.jsonl")


def jobs_in(path):
    return [JobRow.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def counted(out):
    """The table of what became of the rows, without its shares."""
    table = out.split("\n\n")[1]
    return {name: int(count) for name, count in re.findall(r"^  (.+?): +(\d+) \(", table, re.M)}


# What is kept, and why the rest is cut


@pytest.mark.parametrize(
    ("row", "valid", "correct", "why_valid", "why_correct"),
    [
        (played(board(0), "RN"), 1, 1, "invalid guess: no guess", "invalid guess: no guess"),
        (played(board(0), "RRX"), 2, 2, "invalid guess: not on board", "invalid guess: not on board"),
        (played(board(0), "RWNRR"), 2, 1, "invalid guess: no guess", "wrong guess"),
        (played(board(0), "RLR"), 1, 1, "unfit reply: cut off", "unfit reply: cut off"),
        (played(board(0), "ROQR"), 2, 1, "unfit reply: no reasoning", "wrong guess"),
        (played(board(0), "RRC"), 2, 2, "unfit reply: control tokens", "unfit reply: control tokens"),
        (lost(board(0)), 4, 1, "wrong guess", "wrong guess"),
        (played(board(0), "WRWRWW"), 5, 4, "wrong guess", "wrong guess"),
        (interrupted(board(0), "RR"), 2, 2, "", ""),
        (interrupted(board(0), "ROW"), 3, 1, "", "wrong guess"),
        (played(board(0), "RO", end="max_turns_reached"), 2, 1, "", "wrong guess"),
        (played(board(0), "W", end="prompt_too_long"), 1, 0, "", None),
    ],
    ids=lambda value: "".join(turn.status[0] for turn in value.guess_history) if isinstance(value, Rollout) else "",
)
@pytest.mark.parametrize("mode", ["last-valid", "last-correct"])
def test_the_turns_before_what_went_wrong_are_kept(run, bad, jobs, mode, row, valid, correct, why_valid, why_correct):
    bad(row)
    assert run("--truncate", mode)[0] == 0
    kept, why = (valid, why_valid) if mode == "last-valid" else (correct, why_correct)
    if not kept:
        assert jobs() == []
        return
    (job,) = jobs()
    assert job.replies == row.replies[:kept]
    assert (job.turns_cut, job.cut_why) == (len(row.replies) - kept, why)
    assert job.rejection == rejection(facts_of(row))


def test_last_valid_is_the_default(run, bad, jobs):
    bad(lost(board(0)))
    run()
    assert len(jobs()[0].replies) == 4


def test_a_job_is_the_kept_part_of_the_game_on_the_board_as_it_was_shown(run, bad, jobs):
    row = played(board(3, groups=5, size=5), "RORNRR", sampling={"top_p": 0.5}, simulated=True)
    bad(row)
    run()
    (job,) = jobs()
    assert job.info == row.info
    assert (job.model, job.sampling, job.simulated) == ("simulated", {"top_p": 0.5}, True)
    assert (job.prompt, job.completion) == (row.prompt, row.completion[:5])
    assert job.guess_history == row.guess_history[:3]
    assert (job.reply_tokens, job.reply_finish, job.reply_unfit) == ([40] * 3, ["stop"] * 3, [None] * 3)
    puzzle, states = replay_rollout(job)
    assert puzzle.items == tuple(row.info.all_words)
    assert states[-1].complete_reason is None
    assert [{"role": m.role, "content": m.content} for m in job.prompt + job.completion] == (
        conversation(states, job.replies)[:-1]
    )
    assert job.completion[-1].reasoning_content == REASONING


def test_a_job_goes_by_the_id_of_its_game_and_keeps_its_lineage(run, bad, jobs):
    parent, cut = ResumedFrom(rollout_id="parent", turns=1), Cut(turns=2, kept=1, truncate="last-correct")
    bad(
        changed(played(board(0), "RRWN", rollout_id="child", resumed_from=parent, cuts=[cut]))
        | {"kind": "bad", "rejection": "invalid guess", "example_id": 7}
    )
    run()
    (job,) = jobs()
    assert (job.rollout_id, job.example_id, job.turns_cut) == ("child", 7, 3)
    assert job.resumed_from == parent
    assert job.cuts == [cut, Cut(turns=1, kept=3, truncate="last-valid")]


def test_an_interrupted_game_that_merely_goes_on_has_nothing_cut(run, bad, jobs):
    bad(interrupted(board(0), "RWR"))
    _, out, _ = run()
    (job,) = jobs()
    assert (job.turns_cut, job.cut_why, job.rejection) == (0, "", "unfinished")
    assert "it was unfinished: 1 (100.0%)" in out


def test_a_game_cut_once_and_then_interrupted_is_still_one_of_which_turns_were_cut(run, bad, jobs):
    cut = Cut(turns=1, kept=1, truncate="last-valid")
    bad(changed(interrupted(board(0), "RR", cuts=[cut])) | {"kind": "bad", "rejection": "unfinished"})
    run()
    assert [job.cuts for job in jobs()] == [[cut]]


def test_wrong_themes_are_named_again_with_all_groups_kept(run, bad, jobs):
    puzzle = board(0)
    replies = [
        *script_replies(puzzle, "RRR", PUZZGRID),
        Reply('<themes>["A", "B", "C", "D"]</themes>', REASONING, "stop", 9),
    ]
    row = rollout(puzzle, replies, ruleset=PUZZGRID)
    assert row.complete_reason == "theme_guessing_complete"
    bad(row)
    run()
    (job,) = jobs()
    assert (job.replies, job.turns_cut, job.cut_why) == (row.replies[:3], 1, "wrong themes")
    assert job.info.ruleset == "puzzgrid"


# What is not kept is counted


def test_the_summary_tells_what_became_of_each_row_to_the_letter(run, bad, tmp_path):
    disagrees = as_bad(lost(board(4))) | {"guess_history": []}
    bad(
        *(played(puzzle, "RRN") for puzzle in boards(3)),
        interrupted(board(3)),
        disagrees,
        played(board(5), "N"),
        played(board(6), "LRR"),
        "nul",
    )
    status, out, err = run()
    assert status == 0
    assert out == (
        f"8 bad games -> 4 jobs in {tmp_path}/doctor_gameplay.jsonl\n\n"
        "  salvageable:           4 (50.0%)\n"
        "  unsalvageable:         2 (25.0%)\n"
        "  not what its row says: 1 (12.5%)\n"
        "  unreadable:            1 (12.5%)\n\n"
        "Cut because of:\n\n"
        "  invalid guess: no guess:    3 (75.0%)\n"
        "  nothing: it was unfinished: 1 (25.0%)\n"
    )
    disagreeing, unreadable = err.splitlines()
    assert re.match(r"bad_examples\.jsonl\b.*made-4.*: the guess history is not what its replies give", disagreeing)
    assert unreadable == "bad_examples.jsonl:8: expected a JSON object, got 'nul'; skipped"


def test_unsalvageable_puzzles_are_listed_on_request(run, bad, tmp_path):
    bad(played(board(0), "RN"), played(board(1), "NR"), played(board(2), "QR"))
    path = tmp_path / "unsalvageable_puzzles.txt"
    run()
    assert not path.exists()
    _, out, _ = run("--export-unsalvageable")
    assert path.read_text() == "made-1\nmade-2\n"
    assert out.endswith(f"\n\n2 ids -> {path}\n")


def test_what_only_last_correct_cuts_away_is_unsalvageable(run, bad, tmp_path):
    bad(played(board(0), "WWN"), played(board(1), "WRN"))
    _, out, _ = run("--truncate", "last-correct", "--export-unsalvageable")
    assert counted(out) == {"salvageable": 1, "unsalvageable": 1}
    assert (tmp_path / "unsalvageable_puzzles.txt").read_text() == "made-0\n"


def test_no_bad_games_give_no_jobs(run, bad, jobs):
    bad()
    status, out, _ = run()
    assert (status, jobs()) == (0, [])
    assert out.startswith("0 bad games -> 0 jobs in ")


def test_the_same_input_gives_the_same_bytes_in_any_process(bad, tmp_path):
    path = bad(*(played(puzzle, script) for puzzle, script in zip(boards(4), ("RN", "RWN", "N", "RRL"), strict=True)))
    written = []
    for seed in "01":
        out = tmp_path / seed
        command = [sys.executable, "prep_doctoring.py", str(path), "--output-dir", str(out), "--export-unsalvageable"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True)
        assert done.returncode == 0
        written.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert written[0] == written[1]
    assert sorted(written[0]) == ["doctor_gameplay.jsonl", "unsalvageable_puzzles.txt"]


def test_it_takes_what_filtering_writes(run, jobs, tmp_path):
    rows = [lost(board(0)), played(board(0), "RRN", rollout_id="more kept"), won(board(1)), interrupted(board(2))]
    source = results_file(tmp_path / "results_1.jsonl", rows)
    assert filter_main([str(source), "--output-dir", str(tmp_path)]) == 0
    assert run()[0] == 0
    made = {job.info.puzzle_id: job for job in jobs()}
    assert sorted(made) == ["made-0", "made-2"]
    assert (made["made-0"].rollout_id, len(made["made-0"].replies)) == ("more kept", 2)


# Bad input


def test_a_missing_input_names_the_command_that_makes_it(run, tmp_path):
    status, out, err = run()
    assert (status, out) == (2, "")
    path = tmp_path / "bad_examples.jsonl"
    how = f"make it with: uv run python filter_gameplay.py --output-dir {tmp_path}"
    assert err == f"error: no such file: {path}; {how}\n"
    assert not (tmp_path / "doctor_gameplay.jsonl").exists()


def test_a_missing_input_of_another_name_names_that_command_too(run, tmp_path):
    status, _, err = run(tmp_path / "mine.jsonl")
    assert status == 2
    assert err.startswith(f"error: no such file: {tmp_path / 'mine.jsonl'}")
    assert "uv run python filter_gameplay.py" in err


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_in_place_of_the_input_is_exit_2(run, tmp_path, named):
    folder = tmp_path / ("mine" if named else "bad_examples.jsonl")
    folder.mkdir()
    assert run(*([folder] if named else [])) == (2, "", f"error: {folder} is a folder; name a file\n")
    assert list(tmp_path.iterdir()) == [folder]


OF_ANOTHER_KIND = {
    "a good example": changed(won(board(0))) | {"kind": "good"},
    "a job for doctor_gameplay.py": changed(interrupted(board(0)))
    | {"kind": "job", "rejection": "unfinished", "cut_why": ""},
    "a rollout of results_N.jsonl": changed(lost(board(0))),
    "a row of sft_examples.jsonl": {"puzzle_id": "a", "prompt": [], "completion": [], "doctoring_type": "none"},
    "an object with puzzle_id, all_words": {"puzzle_id": "a", "all_words": []},
}


@pytest.mark.parametrize("looks", OF_ANOTHER_KIND)
def test_a_row_of_another_kind_is_named_by_file_and_line_with_what_it_looks_like(run, bad, jobs, looks):
    bad(played(board(1), "RN"), OF_ANOTHER_KIND[looks])
    _, out, err = run()
    assert err == f"bad_examples.jsonl:2: expected a bad example, this looks like {looks}; skipped\n"
    assert counted(out) == {"salvageable": 1, "unreadable": 1}
    assert len(jobs()) == 1


@pytest.mark.parametrize("line", ["nul", "[]", "{", '"text"', "7"])
def test_a_line_that_is_no_row_is_named_by_file_and_line(run, bad, jobs, line):
    bad(played(board(1), "RN"), line)
    _, out, err = run()
    assert err.startswith("bad_examples.jsonl:2: ")
    assert counted(out) == {"salvageable": 1, "unreadable": 1}


NOT_WHAT_IT_SAYS = {
    "the guess history is not what its replies give on its board": {"guess_history": []},
    "its reward is 2.25, recorded as 9": {"reward": 9.0},
    "recorded as all_categories_found, replayed as unfinished": {"complete_reason": "all_categories_found"},
    "not the same replies are fit for training as recorded": {"reply_unfit": ["cut_off", None]},
}


@pytest.mark.parametrize("why", NOT_WHAT_IT_SAYS)
def test_a_row_that_is_not_what_it_says_is_named_by_file_and_line(run, bad, jobs, why):
    bad(played(board(1), "RN"), as_bad(played(board(0), "RN"), **NOT_WHAT_IT_SAYS[why]), played(board(2), "RN"))
    status, out, err = run()
    assert (status, err) == (0, f"bad_examples.jsonl:2: puzzle made-0: {why}; skipped\n")
    assert counted(out) == {"salvageable": 2, "not what its row says": 1}
    assert [job.info.puzzle_id for job in jobs()] == ["made-1", "made-2"]


def test_text_that_no_file_can_hold_stops_nothing(run, bad, jobs):
    row = as_bad(played(board(0), "RRN"))
    row["completion"][0]["reasoning_content"] = "Half a pair: \ud800"
    bad(row, played(board(1), "RN"))
    status, out, _ = run()
    assert status == 0
    assert sum(counted(out).values()) == 2
    assert "made-1" in {job.info.puzzle_id for job in jobs()}


@pytest.mark.parametrize("missing", ["rejection", "completion", "info", "guess_history", "reply_unfit"])
def test_a_bad_example_without_a_field_is_named_by_the_field(run, bad, missing):
    row = as_bad(lost(board(0)))
    del row[missing]
    bad(row, played(board(1), "RN"))
    _, _, err = run()
    assert re.fullmatch(rf"bad_examples.jsonl:1: .*{missing}.*; skipped\n", err)


def test_a_torn_last_line_is_counted(run, bad):
    path = bad(played(board(1), "RN"), lost(board(2)))
    path.write_text(path.read_text()[:-30])
    _, out, err = run()
    assert counted(out) == {"salvageable": 1, "unreadable": 1}
    assert err.startswith("bad_examples.jsonl:2: ")


def test_a_row_of_a_newer_version_is_one_line_that_names_its_place_and_nothing_is_written(run, bad, tmp_path):
    bad(played(board(1), "RN"), as_bad(lost(board(0))) | {"schema_version": 2})
    status, out, err = run()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "written by a newer version" in err
    assert not (tmp_path / "doctor_gameplay.jsonl").exists()
    assert "bad_examples.jsonl:2: " in err


# Outputs


def test_an_earlier_output_is_replaced_and_nothing_is_left_beside_it(run, bad, jobs, tmp_path):
    bad(played(board(1), "RN"))
    (tmp_path / "doctor_gameplay.jsonl").write_text("of an earlier run\n")
    run()
    assert len(jobs()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad_examples.jsonl", "doctor_gameplay.jsonl"]


@pytest.mark.parametrize(
    "rows", [["nul", "nul"], [OF_ANOTHER_KIND["a good example"]], [as_bad(lost(board(0))) | {"schema_version": 2}]]
)
def test_an_input_without_one_row_of_its_kind_is_a_failure_that_leaves_earlier_jobs_as_they_were(
    run, bad, tmp_path, rows
):
    (tmp_path / "doctor_gameplay.jsonl").write_text("of an earlier run\n")
    bad(*rows)
    status, _, _ = run()
    assert (tmp_path / "doctor_gameplay.jsonl").read_text() == "of an earlier run\n"
    assert status == 1


def test_the_input_is_not_touched(run, bad):
    path = bad(played(board(1), "RN"), "nul")
    before = path.read_bytes(), path.stat().st_mtime_ns
    run()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


# Conservation


KINDS = {
    "invalid": lambda n: as_bad(invalid_at(board(n), 3)),
    "invalid at once": lambda n: as_bad(invalid_at(board(n), 1)),
    "lost": lambda n: as_bad(lost(board(n))),
    "cut off": lambda n: as_bad(cut_off_at(board(n), 2)),
    "interrupted": lambda n: as_bad(interrupted(board(n), "WOW")),
    "resumed": lambda n: as_bad(interrupted(board(n), "RR", resumed_from=ResumedFrom(rollout_id="a", turns=1))),
    "disagrees": lambda n: as_bad(lost(board(n))) | {"guess_history": []},
    "without a board": lambda n: (
        as_bad(lost(board(n))) | {"info": changed(lost(board(n)))["info"] | {"all_words": [], "categories": []}}
    ),
    "good": lambda n: changed(won(board(n))) | {"kind": "good"},
    "rollout": lambda n: lost(board(n)),
    "broken": lambda n: "nul",
    "short lists": lambda n: as_bad(lost(board(n))) | {"reply_unfit": []},
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 3)), max_size=16),
    st.sampled_from(["last-valid", "last-correct"]),
)
def test_every_row_is_a_job_or_counted(mixture, mode):
    with tempfile.TemporaryDirectory() as name:
        folder, out, err = Path(name), io.StringIO(), io.StringIO()
        rows = [line_of(KINDS[kind](number)) for kind, number in mixture]
        results_file(folder / "bad_examples.jsonl", rows)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(["--output-dir", name, "--truncate", mode, "--export-unsalvageable", "-v"])
        assert "Traceback" not in err.getvalue()
        if not (folder / "doctor_gameplay.jsonl").exists():  # nothing in it was of its kind
            return
        made, table = jobs_in(folder / "doctor_gameplay.jsonl"), counted(out.getvalue())
        listed = (folder / "unsalvageable_puzzles.txt").read_text().splitlines()
        assert len(rows) == sum(table.values())
        assert (len(made), len(listed)) == (table.get("salvageable", 0), table.get("unsalvageable", 0))
        assert len(rows) == len(made) + len(listed) + len(err.getvalue().splitlines())
        for job in made:
            _, states = replay_rollout(job)
            assert states[-1].complete_reason is None
            assert "invalid" not in facts_of(job).statuses
            assert job.reply_unfit == [None] * len(job.replies)
            assert mode == "last-valid" or job.guess_history[-1].status == "correct"
            assert bool(job.turns_cut) == bool(job.cut_why)


def test_a_written_job_reads_back_as_the_rollout_it_is(run, bad, tmp_path):
    bad(played(board(1), "RWN"))
    run()
    (line,) = (tmp_path / "doctor_gameplay.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "job"
    assert Rollout.model_validate_json(line).complete_reason == "interrupted"
