"""The steps one after the other: what goes into each comes out or is counted, and what comes out at the end replays."""

import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import collate
import doctor_gameplay
import filter_gameplay
import generate_rollouts
import iterative_generate
import prep_doctoring
import reduce_tokens
from connections_env.boards import puzzle_from_row
from connections_env.parsing import Reply
from connections_env.play import replay_replies
from connections_env.rulesets import NYT
from tests.rollouts import line_of
from tests.test_filter_gameplay import LINES, counted


def lines(path):
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def said(step, *argv):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        step.main(list(argv))
    return out.getvalue()


def number(pattern, text):
    return int((re.search(pattern, text, re.MULTILINE) or [0, "0"])[1].replace(",", ""))


def replays(row):
    """Is a row of the final file, by its text alone, a game that was won?"""
    items = re.findall(r"`(.+?)`(?:, |\])", row["prompt"][1]["content"])
    puzzle = puzzle_from_row({"all_words": items, "categories": row["categories"]}, as_shown=True)
    replies = [Reply(message["content"]) for message in row["completion"] if message["role"] == "assistant"]
    states = replay_replies(puzzle, NYT, replies)
    return states[-1].complete_reason == row["complete_reason"] == "all_categories_found" and len(states) > len(replies)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(sorted(LINES)), st.integers(0, 5)), min_size=4, max_size=24))
def test_rows_in_are_rows_out_or_counted_at_every_step(mixture):
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        (here / "res").mkdir()
        data = "".join(line_of(LINES[kind](n)) + "\n" for kind, n in mixture)
        (here / "res" / "results_1.jsonl").write_bytes(data.encode("utf-8", "surrogateescape"))
        at = ["--output-dir", name]

        told = said(filter_gameplay, f"{name}/res", *at)
        good, bad = lines(here / "good_examples.jsonl"), lines(here / "bad_examples.jsonl")
        assert len(mixture) == len(good) + len(bad) + sum(counted(told).values())
        if not good and not bad:
            return

        told = said(prep_doctoring, *at)
        jobs = lines(here / "doctor_gameplay.jsonl")
        assert len(bad) == len(jobs) + number(r"^  unsalvageable: +(\d+)", told)

        said(doctor_gameplay, "--offline", "--results-dir", f"{name}/res", *at)
        doctored, rerun = lines(here / "doctored_gameplay.jsonl"), lines(here / "doctor_gameplay_rerun.jsonl")
        assert len(jobs) == len(doctored) + len(rerun)
        assert sum(len(lines(path)) for path in (here / "res").glob("results_[2-9].jsonl")) == len(jobs)

        told = said(reduce_tokens, "--offline", *at)
        reduced = [*lines(here / "good_examples_reduced.jsonl"), *lines(here / "doctored_gameplay_reduced.jsonl")]
        assert len(good) + len(doctored) == len(reduced) + number(r"^  rejected: +(\d+)", told)

        told = said(collate, "--allow-simulated", *at)
        rows = [json.loads(line) for line in lines(here / "sft_examples.jsonl")]
        assert len(reduced) == len(rows) + len(lines(here / "sft_rejects.jsonl"))
        assert all(replays(row) for row in rows)
        assert len({row["puzzle_id"] for row in rows}) == len(rows)


def test_the_steps_by_hand_and_the_export_give_the_same_puzzles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    driver = ["--offline", "--results-dir", "res", "-n", "12", "--loop", "3"]
    said(iterative_generate, *driver, "--export", "export/sft_examples.jsonl")
    for step, argv in (
        (filter_gameplay, ["res", "--puzzles", "builtin", "-n", "12"]),
        (prep_doctoring, []),
        (doctor_gameplay, ["--offline", "--results-dir", "elsewhere"]),
        (reduce_tokens, ["--offline"]),
        (collate, []),
    ):
        said(step, *argv)
    by_hand, export = (
        {json.loads(line)["puzzle_id"] for line in lines(path / "sft_examples.jsonl")}
        for path in (tmp_path, tmp_path / "export")
    )
    doctored = {
        f"puzzle-{json.loads(line)['info']['puzzle_id']}" for line in lines(tmp_path / "doctored_gameplay.jsonl")
    }
    assert export
    assert by_hand == export | doctored


def test_the_export_is_what_the_steps_by_hand_make_of_the_same_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    driver = ["--offline", "--results-dir", "res", "-n", "16", "--loop", "3", "--player-strength", "middle"]
    said(iterative_generate, *driver, "--export", "export/sft_examples.jsonl")
    said(filter_gameplay, "res", "--puzzles", "builtin", "-n", "16")
    said(reduce_tokens, "--offline")
    said(collate)
    made = lines(tmp_path / "sft_examples.jsonl")
    assert len(made) > 3
    assert made == lines(tmp_path / "export" / "sft_examples.jsonl")


@pytest.mark.parametrize("doctored", [True, False])
def test_every_puzzle_of_the_results_has_a_row_or_is_listed_to_run_again(tmp_path, monkeypatch, doctored):
    monkeypatch.chdir(tmp_path)
    said(generate_rollouts, "--offline", "-n", "24", "--results-dir", "res", "--player-strength", "middle")
    steps = [(filter_gameplay, ["res"]), (prep_doctoring, [])]
    steps += [(doctor_gameplay, ["--offline", "--results-dir", "res"])] if doctored else []
    for step, argv in steps:
        said(step, *argv)
    bad = {json.loads(line)["info"]["puzzle_id"] for line in lines(tmp_path / "bad_examples.jsonl")}
    told = said(reduce_tokens, "--offline", "--max-game-tokens", "1200")
    listed = lines(tmp_path / "rerun_puzzles.txt")
    assert f"\n{len(listed)} puzzles without a row -> rerun_puzzles.txt\n" in told
    told = said(collate, "--max-game-tokens", "900")
    listed = lines(tmp_path / "rerun_puzzles.txt")
    assert f"\npuzzles without a row: {len(listed)} -> rerun_puzzles.txt, " in told
    rows = {json.loads(line)["puzzle_id"].removeprefix("puzzle-") for line in lines(tmp_path / "sft_examples.jsonl")}
    played = {json.loads(line)["info"]["puzzle_id"] for line in lines(tmp_path / "res" / "results_1.jsonl")}
    assert len(played) == 24
    assert {*listed} == played - rows
    assert len(listed) == len({*listed})
    assert bool(bad & rows) is doctored


def test_the_last_count_of_puzzles_without_a_row_that_an_export_tells_is_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = said(iterative_generate, "--offline", "--results-dir", "res", "-n", "16", "--export", "out/sft.jsonl")
    listed = lines(tmp_path / "out" / "rerun_puzzles.txt")
    assert listed
    assert f"puzzles without a row: {len(listed)} -> out/rerun_puzzles.txt" in told


def test_an_export_without_a_good_game_is_exit_1_and_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["--offline", "--results-dir", "res", "-n", "3", "--max-turns", "1", "--export", "sft.jsonl"]
    assert iterative_generate.main(argv) == 1
    assert not (tmp_path / "sft.jsonl").exists()
    assert "nothing to export: no good game yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags",
    [
        ["--export", "sft.jsonl", "--tokenizer", "no_such_encoding.tiktoken"],
        ["--export", "results_7.jsonl"],
        ["--export", "good_examples.jsonl"],
        ["--export", "."],
    ],
)
def test_what_is_wrong_with_an_export_is_said_before_a_game_is_played(tmp_path, monkeypatch, capsys, flags):
    monkeypatch.chdir(tmp_path)
    assert iterative_generate.main(["--offline", "--results-dir", "res", "-n", "2", *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_two_doctors_in_one_folder_keep_what_each_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said(iterative_generate, "--offline", "--results-dir", "res", "--player-strength", "low")
    said(filter_gameplay, "res")
    said(prep_doctoring)
    jobs = lines(tmp_path / "doctor_gameplay.jsonl")
    half = len(jobs) // 2
    for name, part in (("one.jsonl", jobs[:half]), ("two.jsonl", jobs[half:])):
        (tmp_path / name).write_text("".join(line + "\n" for line in part), encoding="utf-8")
    doctor = ["--offline", "--player-strength", "best"]
    kept = doctor_gameplay.write

    def after_the_other(*args):  # the second run starts and ends between the first one's games and its files
        monkeypatch.setattr(doctor_gameplay, "write", kept)
        other = [sys.executable, doctor_gameplay.__file__, "two.jsonl", *doctor, "--results-dir", "there"]
        subprocess.run(other, check=True, capture_output=True)
        return kept(*args)

    monkeypatch.setattr(doctor_gameplay, "write", after_the_other)
    said(doctor_gameplay, "one.jsonl", *doctor, "--results-dir", "here")
    doctored, rerun = (lines(tmp_path / f"doctor{name}.jsonl") for name in ("ed_gameplay", "_gameplay_rerun"))
    assert half > 1
    assert len(doctored) + len(rerun) == len(jobs)
