"""Step 4, through its `main`: jobs go on where they were cut, nothing paid is lost, and runs add up."""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connections_env.examples import GoodRow, JobRow, RejectedRow, canonical_row
from connections_env.play import conversation, replay_rollout
from connections_env.quality import facts_of, rejection
from connections_env.records import ResumedFrom, Rollout, read_row
from doctor_gameplay import main
from filter_gameplay import main as filter_main
from prep_doctoring import job_row
from prep_doctoring import main as prep_main
from tests.rollouts import (
    board,
    boards,
    changed,
    interrupted,
    line_of,
    lost,
    nonsense,
    played,
    results_file,
    scripted_reply,
    won,
)
from tests.scripted import Sent, Server, completion, refusal, state_of

ROOT = Path(__file__).parents[1]
PUZZLES = [*boards(8), board(8, groups=5, size=5)]
CANONICAL = re.compile(r"<think>\n(?s:.+?)\n</think>\n\n<guess>\[(`[^`]+`)(, `[^`]+`)*\]</guess>")
OUTPUTS = ("doctored_gameplay.jsonl", "doctor_gameplay_rerun.jsonl")


@pytest.fixture(autouse=True)
def _no_key_and_no_pauses(monkeypatch, tmp_path):
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.setattr("connections_env.patience.FIRST_BACKOFF", 0.001)
    monkeypatch.setattr("connections_env.session.RESULTS", tmp_path / "default")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def run(capsys, tmp_path):
    """Runs the step; gives its exit status, stdout and stderr. Games go to `results`, the step's files lie in `out`."""

    def step(*argv):
        capsys.readouterr()
        argv = (*(() if "--results-dir" in argv else ("--results-dir", tmp_path / "results")), *argv)
        try:
            status = main([str(word) for word in (*argv, "--output-dir", tmp_path / "out")])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return step


def job(row, **fields):
    """A line of doctor_gameplay.jsonl, as step 3 makes it of a bad game."""
    made = job_row(RejectedRow(**dict(row), rejection=rejection(facts_of(row)) or "unfinished"), "last-valid")
    return json.loads(made.to_line()) | fields


@pytest.fixture
def jobs(tmp_path):
    """Writes doctor_gameplay.jsonl."""

    def write(*rows):
        lines = [job(row) if isinstance(row, Rollout) else row for row in rows]
        return results_file(tmp_path / "out" / "doctor_gameplay.jsonl", lines)

    return write


@pytest.fixture
def serve():
    """An endpoint that plays whole games by their scripts (of tests/rollouts.py): puzzle id -> letters, or a list of
    them, one for each game. What follows the script's end is right. `first` answers are given before."""
    with contextlib.ExitStack() as stack:

        def start(scripts=None, *, first=(), after=0.0):
            games = {}

            def step(seen):
                if seen.nth < len(first):
                    return first[seen.nth]
                state = state_of(seen.messages, PUZZLES)
                plan = (scripts or {}).get(state.puzzle.puzzle_id, "")
                if isinstance(plan, list):
                    known = games.setdefault(state.puzzle.puzzle_id, {})
                    plan = plan[known.setdefault(seen.request_id, len(known))]
                return Sent(body=answer(state, plan[seen.turn : seen.turn + 1] or "R"), after=after)

            return stack.enter_context(Server(step))

        yield start


def answer(state, letter):
    reply = scripted_reply(state, letter)
    return completion(reply.content, reply.reasoning or None, finish=reply.finish_reason)


def at(server, *more):
    return ("--base-url", server.url, "--max-retries", 0, *more)


def rollouts_in(*paths):
    return [read_row(line) for path in paths for line in path.read_bytes().splitlines()]


def good_in(tmp_path):
    return [GoodRow.model_validate_json(line) for line in (tmp_path / "out" / OUTPUTS[0]).read_text().splitlines()]


def rerun_in(tmp_path):
    return [JobRow.model_validate_json(line) for line in (tmp_path / "out" / OUTPUTS[1]).read_text().splitlines()]


def ids(rows):
    return sorted(row.info.puzzle_id for row in rows)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is played


def test_each_job_goes_on_from_its_kept_turns_on_the_board_as_it_was_shown(run, jobs, serve, tmp_path):
    bad = {puzzle.puzzle_id: played(puzzle, "ORN") for puzzle in boards(3)}
    jobs(*bad.values())
    server = serve()
    assert run(*at(server))[0] == 0
    rows = rollouts_in(tmp_path / "results" / "results_1.jsonl")
    assert len(rows) == len({row.rollout_id for row in rows} - {row.rollout_id for row in bad.values()}) == 3
    for row in rows:
        parent = bad[row.info.puzzle_id]
        assert row.resumed_from == ResumedFrom(rollout_id=parent.rollout_id, turns=2)
        assert (row.info, row.prompt, row.completion[:3]) == (parent.info, parent.prompt, parent.completion[:3])
        assert (row.turns_cut, row.usage.requests, len(row.replies)) == (1, 2, 4)
        assert row.reply_models == ["scripted", "scripted", row.model, row.model]
        assert row.model != "scripted"
        assert row.metrics["guesses"] == 4
    for seen in server.seen:
        assert all(set(message) == {"role", "content"} for message in seen.messages)
    assert sorted(seen.turn for seen in server.seen) == [2, 2, 2, 3, 3, 3]


def test_good_games_are_doctored_and_the_rest_is_to_run_again(run, jobs, serve, tmp_path):
    path = jobs(*(played(puzzle, "RN") for puzzle in boards(5)))
    server = serve({"made-1": "RN", "made-2": "RWWWW", "made-3": "RRL", "made-4": "RWRR"})
    status, out, _ = run(*at(server))
    assert status == 0
    assert ids(rollouts_in(tmp_path / "results" / "results_1.jsonl")) == [f"made-{n}" for n in range(5)]
    assert ids(good_in(tmp_path)) == ["made-0", "made-4"]
    assert ids(rerun_in(tmp_path)) == ["made-1", "made-2", "made-3"]
    asked, rerun = (
        [json.loads(line) for line in file.read_text().splitlines()] for file in (path, tmp_path / "out" / OUTPUTS[1])
    )
    assert rerun[:2] == asked[1:3]  # these got no further
    assert [len(job["reply_tokens"]) for job in (asked[3], rerun[2])] == [1, 2]  # this one did, and goes on from there
    assert f"every game -> {tmp_path}/results/results_1.jsonl\n" in out
    assert out.endswith(
        f"2 doctored games -> {tmp_path}/out/doctored_gameplay.jsonl\n"
        f"3 jobs to run again -> {tmp_path}/out/doctor_gameplay_rerun.jsonl\n"
    )


def test_games_that_a_killed_run_left_in_the_results_are_collected_and_not_paid_for_again(run, jobs, serve, tmp_path):
    jobs(*(played(puzzle, "RN") for puzzle in boards(3)))
    first = serve()
    assert run(*at(first))[0] == 0
    for name in OUTPUTS:  # as if it had been killed before it could write them
        (tmp_path / "out" / name).unlink()
    again = serve()
    status, out, _ = run(*at(again))
    assert status == 0
    assert not again.seen
    assert ids(good_in(tmp_path)) == ["made-0", "made-1", "made-2"]
    assert "jobs with a good game in the results already: 3\n" in out


def test_a_game_in_the_results_that_is_not_what_it_says_is_told_and_the_next_best_taken(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RN"))
    assert run(*at(serve()), "-r", 2)[0] == 0
    for name in OUTPUTS:
        (tmp_path / "out" / name).unlink()
    results = tmp_path / "results" / "results_1.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    rows[0]["reward"] += 0.1
    results_file(results, rows)
    status, _, err = run(*at(serve()))
    assert status == 0
    assert "results_1.jsonl, byte 0: its reward is 5.5, recorded as 5.6; the next best game is taken\n" in err
    assert ids(good_in(tmp_path)) == ["made-0"]


def test_unreadable_jobs_to_run_again_are_not_thrown_away(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RN"))
    results_file(tmp_path / "out" / OUTPUTS[1], ["{"])
    server = serve()
    status, _, err = run(*at(server))
    assert status == 2
    assert "has lines that cannot be read; mend them or move the file away\n" in err
    assert not server.seen
    assert (tmp_path / "out" / OUTPUTS[1]).read_text() == "{\n"


def test_what_is_to_run_again_is_cut_as_its_job_was(run, jobs, serve, tmp_path):
    jobs(job(played(board(0), "RN"), truncate="last-correct"))
    assert run(*at(serve({"made-0": "RRWN"})))[0] == 0
    (left,) = rerun_in(tmp_path)
    assert [guess.status for guess in left.guess_history] == ["correct", "correct"]
    assert left.truncate == "last-correct"


def test_a_game_too_long_to_resume_is_played_from_scratch_and_collected(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RN"))
    too_long = refusal(400, "this model's maximum context length is exceeded")
    assert run(*at(serve(first=[too_long])))[0] == 0
    (row,) = good_in(tmp_path)
    assert (row.resumed_from.turns, row.turns_cut, row.doctored) == (0, 0, False)


def test_a_run_that_gets_no_answer_changes_no_file(run, jobs, serve, tmp_path):
    jobs(*(played(puzzle, "RN") for puzzle in boards(2)))
    assert (
        run("--base-url", "http://127.0.0.1:9/v1", "--max-retries", "0", "--results-dir", f"{tmp_path}/results")[0] == 1
    )
    assert not any((tmp_path / "out" / name).exists() for name in OUTPUTS)


def test_the_other_good_games_of_a_puzzle_are_its_spares(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RN"))
    assert run(*at(serve()), "-r", "3")[0] == 0
    (row,) = good_in(tmp_path)
    assert len(row.spares) == 2


def test_doctored_games_are_in_canonical_form_and_what_the_game_itself_would_have_written(run, jobs, serve, tmp_path):
    jobs(played(board(0), "ORN"), played(board(8, groups=5, size=5), "RWX"))
    run(*at(serve()))
    rows = good_in(tmp_path)
    assert len(rows) == 2
    for row in rows:
        assert rejection(facts_of(row)) is None
        _, states = replay_rollout(row)
        assert [m.model_dump() for m in row.prompt + row.completion] == conversation(states, row.replies)
        assert all(CANONICAL.fullmatch(reply.content) for reply in row.replies)
        assert all("reasoning_content" not in m.model_dump() for m in row.completion)
        assert row.doctored


def test_an_interrupted_game_that_merely_went_on_is_not_doctored(run, jobs, serve, tmp_path):
    jobs(interrupted(board(0), "RO"), played(board(1), "RON"))
    run(*at(serve()))
    assert {row.info.puzzle_id: row.doctored for row in good_in(tmp_path)} == {"made-0": False, "made-1": True}


def test_a_resumed_game_has_a_fresh_turn_allowance(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RWWN"))
    assert run(*at(serve(), "--max-turns", 2))[0] == 0
    (row,) = good_in(tmp_path)
    assert len(row.replies) == 5


def test_each_job_is_played_r_times_and_the_best_game_is_kept(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RN"), played(board(1), "RN"))
    server = serve({"made-0": ["RWRR", "RRR", "RN"], "made-1": ["RN", "RWWWW", "RLRR"]})
    assert run(*at(server, "-r", 3, "-c", 1))[0] == 0
    rows = rollouts_in(tmp_path / "results" / "results_1.jsonl")
    assert ids(rows) == ["made-0"] * 3 + ["made-1"] * 3
    assert len({row.rollout_id for row in rows}) == 6
    assert [(row.info.puzzle_id, row.reward) for row in good_in(tmp_path)] == [("made-0", 5.5)]
    assert ids(rerun_in(tmp_path)) == ["made-1"]


def test_several_jobs_of_a_puzzle_are_one_played_and_the_others_counted(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RRN", rollout_id="one"), played(board(0), "RN", rollout_id="two"))
    _, out, _ = run(*at(serve()))
    assert len(rollouts_in(tmp_path / "results" / "results_1.jsonl")) == 1
    assert "second jobs of their puzzles, not played: 1\n" in out


def test_offline_needs_no_key_and_no_network_and_gives_the_same_games_again(run, jobs, tmp_path, monkeypatch):
    def connect(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", connect)
    jobs(*(played(puzzle, "RWN") for puzzle in boards(6)))
    seen = []
    for folder in ("a", "b"):
        for name in OUTPUTS:
            (tmp_path / "out" / name).unlink(missing_ok=True)
        assert run("--offline", "--results-dir", tmp_path / folder)[0] == 0
        rows = rollouts_in(tmp_path / folder / "results_1.jsonl")
        assert len(rows) == 6
        assert all(row.simulated for row in rows)
        assert sorted([*ids(good_in(tmp_path)), *ids(rerun_in(tmp_path))]) == [f"made-{n}" for n in range(6)]
        seen.append({row.rollout_id: row.completion for row in rows})
    assert seen[0] == seen[1]


def test_offline_results_lie_in_their_own_folder(jobs, tmp_path):
    jobs(played(board(0), "RN"))
    assert main(["--offline", "--output-dir", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "default" / "offline").iterdir()] == ["results_1.jsonl"]


# Runs add up


def test_a_second_run_adds_to_the_first_and_pays_for_no_doctored_puzzle_again(run, jobs, serve, tmp_path):
    jobs(*(played(puzzle, "RN") for puzzle in boards(4)))
    run(*at(serve({"made-2": "RN", "made-3": "RN"})))
    before = (tmp_path / "out" / OUTPUTS[0]).read_text()
    server = serve({"made-3": "RN"})
    status, out, _ = run(*at(server))
    assert status == 0
    assert {state_of(seen.messages, PUZZLES).puzzle.puzzle_id for seen in server.seen} == {"made-2", "made-3"}
    assert (tmp_path / "out" / OUTPUTS[0]).read_text().startswith(before)
    assert (ids(good_in(tmp_path)), ids(rerun_in(tmp_path))) == (["made-0", "made-1", "made-2"], ["made-3"])
    assert "jobs of puzzles doctored earlier, not played again: 2\n" in out
    assert len(rollouts_in(tmp_path / "results" / "results_2.jsonl")) == 2


def test_what_is_to_run_again_is_an_input(run, jobs, serve, tmp_path):
    jobs(*(played(puzzle, "RN") for puzzle in boards(3)))
    run(*at(serve({"made-1": "RN", "made-2": "RN"})))
    rerun = tmp_path / "out" / OUTPUTS[1]
    assert run(rerun, *at(serve({"made-2": "RN"})))[0] == 0
    assert (ids(good_in(tmp_path)), ids(rerun_in(tmp_path))) == (["made-0", "made-1"], ["made-2"])
    assert run(rerun, *at(serve()))[0] == 0
    assert (ids(good_in(tmp_path)), ids(rerun_in(tmp_path))) == (["made-0", "made-1", "made-2"], [])


def test_jobs_of_other_puzzles_leave_earlier_doctored_games_where_they_are(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RN"))
    run(*at(serve()))
    jobs(played(board(1), "RN"))
    run(*at(serve()))
    assert ids(good_in(tmp_path)) == ["made-0", "made-1"]


def test_jobs_of_other_puzzles_leave_earlier_jobs_to_run_again_where_they_are(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RRN"))
    assert run(*at(serve({"made-0": "RRN"})))[0] == 0
    assert ids(rerun_in(tmp_path)) == ["made-0"]
    jobs(played(board(1), "RRN"), played(board(2), "RN"))
    assert run(*at(serve({"made-1": "RRN"})))[0] == 0
    assert ids(rerun_in(tmp_path)) == ["made-0", "made-1"]
    assert ids(good_in(tmp_path)) == ["made-2"]


def test_of_several_doctored_games_of_a_puzzle_in_the_file_the_best_stays(run, jobs, serve, tmp_path):
    rows = [played(board(0), script, rollout_id=script, resumed_from=None) for script in ("WRRR", "RRR", "WWRRR")]
    results_file(tmp_path / "out" / OUTPUTS[0], [canonical_row(row) for row in rows])
    jobs(played(board(0), "RN"))
    server = serve()
    assert run(*at(server))[0] == 0
    assert server.seen == []
    assert [row.rollout_id for row in good_in(tmp_path)] == ["RRR"]


def test_nothing_in_the_results_folder_is_written_over(run, jobs, serve, tmp_path):
    folder = tmp_path / "results"
    results_file(folder / "results_1.jsonl", [won(board(5))])
    results_file(folder / "results_7.jsonl", ["nul"])
    before = tree(folder)
    jobs(played(board(0), "RN"))
    for number in (8, 9):
        run(*at(serve({"made-0": "RN"})))
        assert len(rollouts_in(folder / f"results_{number}.jsonl")) == 1
    after = tree(folder)
    assert sorted(after) == ["results_1.jsonl", "results_7.jsonl", "results_8.jsonl", "results_9.jsonl"]
    assert {name: after[name] for name in before} == before


def test_a_game_resumed_three_times_over_is_one_continuous_game(run, serve, tmp_path, capsys):
    """Each step by its own command; the last run wins."""
    puzzle, out, folder = PUZZLES[8], tmp_path / "out", tmp_path / "results"
    results_file(folder / "results_1.jsonl", [played(puzzle, "RN", rollout_id="first")])
    requests = 0
    for script, turns in (("RRN", 2), ("RRORN", 3), ("RRORR", None)):
        assert filter_main([str(folder), "--output-dir", str(out)]) == 0
        assert prep_main(["--output-dir", str(out)]) == 0
        server = serve({"made-8": script})
        assert run(*at(server, *(("--max-turns", turns) if turns else ())))[0] == 0
        requests = len(server.seen)
    (row,) = good_in(tmp_path)
    games = [rollouts_in(folder / f"results_{n}.jsonl")[0] for n in (1, 2, 3, 4)]
    assert [len(game.replies) for game in games] == [2, 3, 5, 5]
    assert [game.resumed_from and game.resumed_from.turns for game in games] == [None, 1, 2, 4]
    assert [game.resumed_from and game.resumed_from.rollout_id for game in games[1:]] == (
        [game.rollout_id for game in games[:-1]]
    )
    assert [game.turns_cut for game in games] == [0, 1, 2, 3]
    assert (row.turns_cut, row.doctored, row.rollout_id) == (3, True, games[-1].rollout_id)
    assert [turn.status for turn in row.guess_history] == ["correct"] * 2 + ["one_away"] + ["correct"] * 2 + ["auto"]
    assert (row.complete_reason, row.reward) == ("all_categories_found", 4.0 + 0.8 + 0.5)
    assert (games[-1].usage.requests, requests) == (1, 1)
    for game in (games[-1], row):
        _, states = replay_rollout(game)
        shown = [{"role": m.role, "content": m.content} for m in game.prompt + game.completion]
        assert shown == conversation(states, game.replies)
        assert [m.role for m in game.completion] == ["assistant", "user"] * 4 + ["assistant"]
        answers = [reply.content for reply in game.replies]
        assert len(answers) == len(set(answers)) == len(game.reply_tokens) == 5


# A run that ends early


def test_an_endpoint_that_stops_the_run_costs_no_game_and_no_job(run, jobs, serve, tmp_path):
    jobs(*(played(puzzle, "RRN") for puzzle in boards(4)))
    server = serve()
    play = server.script
    server.script = lambda seen: refusal(402, "no balance") if seen.nth >= 2 else play(seen)
    status, _, err = run(*at(server, "-c", 1))
    assert (status, "Traceback" in err, err.count("stopped: ")) == (1, False, 1)
    assert len(rollouts_in(tmp_path / "results" / "results_1.jsonl")) == 2
    assert len(good_in(tmp_path)) == 2
    assert sorted([*ids(good_in(tmp_path)), *ids(rerun_in(tmp_path))]) == [f"made-{n}" for n in range(4)]
    assert run(*at(serve()))[0] == 0
    assert (len(good_in(tmp_path)), rerun_in(tmp_path)) == (4, [])


def test_an_endpoint_that_refuses_the_first_request_leaves_all_as_it_was(run, jobs, serve, tmp_path):
    jobs(played(board(0), "RN"), played(board(1), "RN"))
    run(*at(serve({"made-1": "RN"})))
    before = tree(tmp_path)
    status, out, err = run(*at(serve(first=[refusal(401, "no such key")] * 9)))
    assert (status, err.count("stopped: ")) == (1, 1)
    assert tree(tmp_path) == before
    assert "no game got a reply" in out


def test_a_budget_that_is_spent_keeps_what_it_bought(run, jobs, serve, tmp_path):
    jobs(*(played(puzzle, "RRN") for puzzle in boards(4)))
    status, _, err = run(*at(serve(), "-c", 1, "--token-budget", 220))
    assert (status, err.count("stopped: ")) == (0, 1)
    assert (len(good_in(tmp_path)), len(rerun_in(tmp_path))) == (2, 2)


def test_ctrl_c_keeps_every_game_and_every_job(jobs, serve, tmp_path):
    results_file(tmp_path / "out" / OUTPUTS[0], [canonical_row(won(board(7)))])
    jobs(played(board(0), "RRN"), *(played(puzzle, "RRN") for puzzle in boards(3, first=1)))
    server = serve()
    play = server.script

    def step(seen):
        slow = seen.turn == 2 and state_of(seen.messages, PUZZLES).puzzle.puzzle_id != "made-0"
        return Sent(body=play(seen).body, after=0.6 if slow else 0.0)

    server.script = step
    argv = ["--base-url", server.url, "--output-dir", tmp_path / "out", "--results-dir", tmp_path / "results"]
    command = [sys.executable, "doctor_gameplay.py", *map(str, argv)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(2000):
        if sum(seen.turn == 2 for seen in server.seen) >= 4:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (130, False)
    rows = rollouts_in(tmp_path / "results" / "results_1.jsonl")
    assert ids(rows) == ["made-0", "made-1", "made-2", "made-3"]
    assert sum(row.usage.requests for row in rows) == len(server.seen)
    won_ones = {row.info.puzzle_id for row in rows if row.complete_reason == "all_categories_found"}
    assert set(ids(good_in(tmp_path))) == {"made-7"} | won_ones
    assert set(ids(rerun_in(tmp_path))) == {f"made-{n}" for n in range(4)} - won_ones
    assert "made-0" in won_ones


# Bad input


def test_a_missing_input_names_the_command_that_makes_it(run, tmp_path):
    status, out, err = run("--offline")
    path = tmp_path / "out" / "doctor_gameplay.jsonl"
    assert (status, out) == (2, "")
    how = f"make it with: uv run python prep_doctoring.py --output-dir {path.parent}"
    assert err == f"error: no such file: {path}; {how}\n"
    assert tree(tmp_path) == {}


def test_a_missing_input_of_another_name_names_that_command_too(run, tmp_path):
    status, _, err = run(tmp_path / "mine.jsonl", "--offline")
    assert status == 2
    assert err.startswith(f"error: no such file: {tmp_path / 'mine.jsonl'}")
    assert "uv run python prep_doctoring.py" in err


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_in_place_of_the_input_is_exit_2(run, tmp_path, named):
    folder = tmp_path / ("mine" if named else "out/doctor_gameplay.jsonl")
    folder.mkdir(parents=True)
    status, out, err = run(*([folder] if named else []), "--offline")
    assert (status, out, err) == (2, "", f"error: {folder} is a folder; name a file\n")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "DEEPSEEK_API_KEY is not set"),
        (("-k", "MY_KEY"), "MY_KEY is not set"),
        (("--offline", "--max-cost", 1), "--max-cost needs --price-input and --price-output"),
        (("--offline", "--results-dir", __file__), "is not a folder"),
    ],
)
def test_what_is_known_to_be_wrong_is_exit_2_before_anything(run, jobs, tmp_path, flags, says):
    jobs(played(board(0), "RN"))
    before = tree(tmp_path)
    status, out, err = run(*flags)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert says in err
    assert tree(tmp_path) == before


def test_no_jobs_to_play_need_no_key(run, jobs, serve, tmp_path):
    jobs()
    status, _, _ = run()
    assert (status, good_in(tmp_path), rerun_in(tmp_path)) == (0, [], [])
    assert not (tmp_path / "results").exists()
    jobs(played(board(0), "RN"))
    run(*at(serve()))
    assert run()[0] == 0
    assert ids(good_in(tmp_path)) == ["made-0"]


OF_ANOTHER_KIND = {
    "a good example": changed(won(board(0))) | {"kind": "good"},
    "a bad example": changed(lost(board(0))) | {"kind": "bad", "rejection": "game lost"},
    "a rollout of results_N.jsonl": changed(lost(board(0))),
    "a row of sft_examples.jsonl": {"puzzle_id": "a", "prompt": [], "completion": [], "doctoring_type": "none"},
}


@pytest.mark.parametrize("looks", OF_ANOTHER_KIND)
def test_a_row_of_another_kind_is_named_by_file_and_line_with_what_it_looks_like(run, jobs, serve, tmp_path, looks):
    jobs(played(board(1), "RN"), OF_ANOTHER_KIND[looks])
    status, _, err = run(*at(serve()))
    assert status == 0
    assert f"doctor_gameplay.jsonl:2: expected a job, this looks like {looks}; skipped\n" in err
    assert ids(good_in(tmp_path)) == ["made-1"]


def test_every_line_that_is_no_job_is_named_by_its_place(run, jobs, serve):
    spoilt = job(played(board(2), "RRN")) | {"guess_history": []}
    jobs(played(board(1), "RN"), "nul", spoilt, job(played(board(3), "RN")) | {"reply_unfit": []})
    _, _, err = run(*at(serve()))
    for words in ("doctor_gameplay.jsonl:2: expected a JSON object", "made-2: the guess history", ":4: "):
        assert words in err
    _, _, err = run(*at(serve()))
    assert err.count("; skipped\n") == 3


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ({"guess_history": []}, "the guess history is not what its replies give on its board"),
        ({"complete_reason": "all_categories_found"}, "recorded as all_categories_found, replayed as unfinished"),
        ({"reply_unfit": ["no_reasoning"]}, "not the same replies are fit for training as recorded"),
    ],
)
def test_a_job_that_is_not_what_it_says_is_named_by_file_and_line(run, jobs, serve, tmp_path, spoilt, why):
    jobs(played(board(1), "RN"), job(played(board(0), "RN")) | spoilt, played(board(2), "RN"))
    server = serve()
    status, out, err = run(*at(server))
    assert (status, ids(good_in(tmp_path))) == (0, ["made-1", "made-2"])
    assert err.startswith(f"doctor_gameplay.jsonl:2: puzzle made-0: {why}; skipped\n")
    assert "\njobs that are not what their rows say, not played: 1\n" in out
    assert {state_of(seen.messages, PUZZLES).puzzle.puzzle_id for seen in server.seen} == {"made-1", "made-2"}


def test_the_summary_counts_the_lines_that_are_no_job_and_those_that_are_not_what_they_say(run, jobs, serve, tmp_path):
    spoilt = job(played(board(2), "RRN")) | {"guess_history": []}
    jobs(played(board(1), "RN"), *["nul"] * 31, *[spoilt] * 43)
    _, out, _ = run(*at(serve()))
    said = out.replace(str(tmp_path), "")
    assert re.search(r"\b31\b", said)
    assert re.search(r"\b43\b", said)


def test_text_that_no_file_can_hold_costs_no_other_game(run, jobs, tmp_path):
    spoilt = job(played(board(0), "RRN"))
    spoilt["completion"][0]["reasoning_content"] = "Half a pair: \ud800"
    jobs(spoilt, *(played(puzzle, "RRN") for puzzle in boards(5, first=1)))
    assert run("--offline", "-c", 1)[0] == 0
    assert {f"made-{n}" for n in range(1, 6)} <= set(ids(rollouts_in(tmp_path / "results" / "results_1.jsonl")))


@pytest.mark.parametrize("rows", [["nul"], list(OF_ANOTHER_KIND.values())])
def test_an_input_without_one_job_is_a_failure_that_leaves_earlier_outputs_as_they_were(run, jobs, tmp_path, rows):
    results_file(tmp_path / "out" / OUTPUTS[0], [canonical_row(won(board(7)))])
    results_file(tmp_path / "out" / OUTPUTS[1], [job(played(board(6), "RN"))])
    jobs(*rows)
    before = tree(tmp_path)
    status, _, _ = run("--offline")
    assert tree(tmp_path) == before
    assert status == 1


def test_jobs_of_a_newer_version_are_one_line_and_exit_1_before_anything(run, jobs, tmp_path):
    jobs(played(board(1), "RN"), job(played(board(0), "RN")) | {"schema_version": 2})
    before = tree(tmp_path)
    status, out, err = run("--offline")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "written by a newer version" in err
    assert tree(tmp_path) == before


def test_the_line_of_a_doctored_file_that_cannot_be_read_is_not_thrown_away(run, jobs, serve, tmp_path):
    """Its game was paid for, whoever damaged the line."""
    torn = canonical_row(won(board(7))).to_line()[:-40]
    path = results_file(tmp_path / "out" / OUTPUTS[0], [torn])
    jobs(played(board(0), "RN"))
    _, _, err = run(*at(serve()))
    assert "doctored_gameplay.jsonl:1: " in err
    kept = [file for file in path.parent.iterdir() if torn in file.read_text()]
    assert kept


# Conservation


JOBS = {
    "cut": lambda n: job(played(board(n), "RN")),
    "cut late": lambda n: job(played(board(n), "RWRL")),
    "interrupted": lambda n: job(interrupted(board(n), "WO")),
    "resumed": lambda n: job(played(board(n), "ORN", resumed_from=ResumedFrom(rollout_id="a", turns=1))),
    "disagrees": lambda n: job(played(board(n), "RRN")) | {"guess_history": []},
    "rollout": lambda n: lost(board(n)),
    "broken": lambda n: nonsense(n),
}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(sorted(JOBS)), st.integers(0, 4)), max_size=10),
    st.sets(st.integers(0, 4), max_size=2),
    st.integers(1, 2),
)
def test_every_job_is_doctored_or_to_run_again_or_counted(mixture, doctored, tries):
    with tempfile.TemporaryDirectory() as name:
        folder, out, err = Path(name), io.StringIO(), io.StringIO()
        (folder / "out").mkdir()
        results_file(folder / "out" / "doctor_gameplay.jsonl", [line_of(JOBS[kind](n)) for kind, n in mixture])
        if doctored:
            results_file(folder / "out" / OUTPUTS[0], [canonical_row(won(board(n))) for n in sorted(doctored)])
        argv = ["--offline", "-r", str(tries), "-v", "--output-dir", f"{name}/out", "--results-dir", f"{name}/results"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(argv)
        assert "Traceback" not in err.getvalue()
        sound = [(kind, n) for kind, n in mixture if kind not in ("disagrees", "rollout", "broken")]
        if not (folder / "out" / OUTPUTS[1]).exists():  # nothing in it was a job
            assert not sound
            return
        good, rerun = good_in(folder), rerun_in(folder)
        wanted = {n for _, n in sound} - doctored
        numbers = [{f"made-{n}" for n in some} for some in (wanted, doctored)]
        assert set(ids(good)) | set(ids(rerun)) == numbers[0] | numbers[1]
        assert not set(ids(good)) & set(ids(rerun))
        assert len(good) + len(rerun) == len(wanted | doctored)
        assert set(ids(good)) >= numbers[1]

        def told(pattern):
            return int((re.search(rf"^{pattern}.*: (\d+)$", out.getvalue(), re.M) or [0, 0])[1])

        earlier, second = told("jobs of puzzles doctored earlier"), told("second jobs of their puzzles")
        assert len(sound) == len(wanted) + earlier + second
        assert err.getvalue().count("; skipped\n") == len(mixture) - len(sound)
        files = [*(folder / "results").glob("*")] if (folder / "results").exists() else []
        rows = rollouts_in(*files)
        assert len(rows) == len(wanted) * tries
        for row in rows:
            replay_rollout(row)
        assert {row.rollout_id for row in good if row.resumed_from} <= {row.rollout_id for row in rows}
