"""The driver, through its `main`: what it prints to the letter, what it plays, and what it leaves in the folder."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from connections_env.json_lines import SCHEMA_VERSION
from connections_env.quality import facts_of, rejection
from connections_env.records import Cut, Rollout, Usage
from connections_env.salvage import salvage
from iterative_generate import main
from tests.rollouts import (
    REASONING,
    board,
    boards,
    changed,
    empty,
    guess_text,
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

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"^(?P<head>[^\n:]+): (?P<good>\d+) Good, (?P<bad>\d+) Bad(?P<came>[^\n]*)\n"
    r"  - Salvageable: (?P<salvageable>\d+)\n"
    r"  - Unsalvageable: (?P<unsalvageable>\d+)\n"
    r"  - Missing puzzles: (?P<missing>\d+|unknown)$",
    re.MULTILINE,
)


def blocks(out: str) -> list[dict[str, str]]:
    return [match.groupdict() for match in BLOCK.finditer(out)]


def state_of(out: str) -> tuple[int, int, int, int]:
    """Good, salvageable, unsalvageable, missing of the last block."""
    last = blocks(out)[-1]
    return int(last["good"]), int(last["salvageable"]), int(last["unsalvageable"]), int(last["missing"])


def tree(folder: Path) -> dict[str, object]:
    """All that is in a folder: contents and times of change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def rows_of(path: Path) -> list[Rollout]:
    return [Rollout.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Model:
    """An endpoint on loopback. It wins on boards that `wins` accepts, on all others its replies hold no guess."""

    def __init__(self, puzzles):
        self.puzzle_of = {item: puzzle for puzzle in puzzles for item in puzzle.items}
        self.wins = lambda puzzle: True
        self.before_first_answer = lambda: None
        self.asked: list[tuple[str, int]] = []
        """Puzzle id and number of messages of each request."""
        self._lock = threading.Lock()

    def answer(self, messages: list[dict[str, str]]) -> str:
        shown = re.findall(r"\b[A-Z]+X\b", messages[1]["content"])
        puzzle = self.puzzle_of[shown[0]]
        with self._lock:
            if not self.asked:
                self.before_first_answer()
            self.asked.append((puzzle.puzzle_id, len(messages)))
        if not self.wins(puzzle):
            return "I have no idea."
        left = set(re.findall(r"\b[A-Z]+X\b", messages[-1]["content"].rpartition("tems:")[2]))
        return guess_text(next(group.members for group in puzzle.groups if set(group.members) <= left))


@pytest.fixture
def serve(monkeypatch) -> Iterator:
    """Starts an endpoint for puzzles; gives the model and the flags that lead to it."""
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    servers = []

    def start(puzzles) -> tuple[Model, list[str]]:
        model = Model(puzzles)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self):
                messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
                message = {"role": "assistant", "content": model.answer(messages), "reasoning_content": REASONING}
                body = json.dumps(
                    {
                        "id": "x",
                        "object": "chat.completion",
                        "created": 0,
                        "model": "m",
                        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                    }
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return model, ["-b", f"http://127.0.0.1:{server.server_port}/v1", "-c", "16"]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def run(capsys):
    """Runs the driver; gives its exit status, stdout and stderr."""

    def run_main(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(arg) for arg in argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_main


@pytest.fixture
def unplugged(monkeypatch):
    """A machine on which no socket can be opened to anywhere."""

    def refuse(*args, **_):
        raise AssertionError(f"the network was asked for: {args}")

    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


class Place:
    """A puzzle file and a results folder."""

    def __init__(self, root: Path, puzzles):
        self.puzzles = puzzles
        self.results = root / "results"
        self.flags = ["--puzzles", puzzle_file(root / "puzzles.jsonl", puzzles), "--results-dir", self.results]

    def hold(self, number: int, *rows) -> Path:
        return results_file(self.results / f"results_{number}.jsonl", rows)

    @property
    def numbers(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("results_")) for path in self.results.glob("results_*.jsonl"))

    def rows(self, number: int) -> list[Rollout]:
        return rows_of(self.results / f"results_{number}.jsonl")


@pytest.fixture
def place(tmp_path):
    return lambda count=4: Place(tmp_path, boards(count))


# The arithmetic


FIRST = """\
Loop 1: 726 Good, 264 Bad
  - Salvageable: 252
  - Unsalvageable: 12
  - Missing puzzles: 0
"""
SECOND = """\
Loop 2: 748 Good, 242 Bad | 22 (8.7% of Ran Puzzles) -> Good Examples
  - Salvageable: 231
  - Unsalvageable: 11
  - Missing puzzles: 0
"""


@cache
def thousand_games():
    """990 puzzles: 726 won, 252 that can go on, 12 lost from the start, over three files, with worse games beside."""
    puzzles = boards(990)
    good, salvageable, hopeless = puzzles[:726], puzzles[726:978], puzzles[978:]
    halfway = [played(puzzle, "RRN") for puzzle in salvageable]
    return puzzles, {
        1: [*map(won, good[:400]), *(played(puzzle, "N") for puzzle in hopeless)],
        2: [*map(lost, good[350:450]), *halfway[:200]],
        11: [*halfway[200:], *map(won, good[400:])],
    }


@pytest.fixture
def thousand(tmp_path):
    puzzles, files = thousand_games()
    there = Place(tmp_path, puzzles)
    for number, rows in files.items():
        there.hold(number, *rows)
    return there


def test_a_dry_run_counts_990_puzzles_to_the_letter(thousand, run, unplugged):
    before = tree(thousand.results.parent)
    status, out, err = run(*thousand.flags, "--loop", 5, "--dry-run")
    assert out == FIRST
    assert status == 0
    assert err == ""
    assert tree(thousand.results.parent) == before


def test_the_second_loop_counts_what_the_first_one_gave_and_what_another_process_wrote(thousand, run, serve):
    model, endpoint = serve(thousand.puzzles)
    winners = {puzzle.puzzle_id for puzzle in thousand.puzzles[726:748]}
    model.wins = lambda puzzle: puzzle.puzzle_id in winners
    rescued = thousand.puzzles[980]
    model.before_first_answer = lambda: thousand.hold(12, played(rescued, "RN"))
    status, out, _ = run(*thousand.flags, *endpoint, "--loop", 2, "--max-turns", 1)
    assert out.startswith(f"{FIRST}\n{SECOND}\n")
    assert status == 0
    ran = [puzzle_id for puzzle_id, _ in model.asked]
    assert set(ran[:252]) == {puzzle.puzzle_id for puzzle in thousand.puzzles[726:978]}
    assert len(ran[252:]) == 231
    assert set(ran[252:]) == set(ran[:252]) - winners | {rescued.puzzle_id}
    assert thousand.numbers == [1, 2, 11, 12, 13, 14]
    assert len(thousand.rows(12)) == 1
    assert len(thousand.rows(13)) == 252
    assert len(thousand.rows(14)) == 231
    again, out, _ = run(*thousand.flags, "--dry-run")
    assert again == 0
    assert out.splitlines()[0] == "Loop 1: 748 Good, 242 Bad"


def test_a_second_run_counts_what_the_first_one_gave(place, run, serve):
    there = place(8)
    there.hold(1, *(played(puzzle, "RRN") for puzzle in there.puzzles))
    model, endpoint = serve(there.puzzles)
    model.wins = lambda puzzle: puzzle.puzzle_id in {"made-0", "made-3", "made-5"}
    status, out, _ = run(*there.flags, *endpoint)
    assert status == 0
    assert out.startswith("Loop 1: 0 Good, 8 Bad\n  - Salvageable: 8\n  - Unsalvageable: 0\n  - Missing puzzles: 0\n\n")
    assert blocks(out)[-1]["came"] == " | 3 (37.5% of Ran Puzzles) -> Good Examples"
    model.wins = lambda puzzle: True
    status, out, _ = run(*there.flags, *endpoint)
    assert out.startswith("Loop 1: 3 Good, 5 Bad\n  - Salvageable: 5\n  - Unsalvageable: 0\n  - Missing puzzles: 0\n\n")
    assert blocks(out)[-1]["came"] == " | 5 (100.0% of Ran Puzzles) -> Good Examples"
    assert state_of(out) == (8, 0, 0, 0)


def test_the_percentage_is_of_puzzles_and_counts_salvaged_and_fresh_ones(place, run, serve):
    there = place(8)
    there.hold(1, *map(won, there.puzzles[:2]), *(played(puzzle, "RN") for puzzle in there.puzzles[2:4]))
    model, endpoint = serve(there.puzzles)
    model.wins = lambda puzzle: puzzle.puzzle_id in {"made-2", "made-7"}
    _, out, _ = run(*there.flags, *endpoint, "-r", 3, "--max-turns", 4)
    assert blocks(out)[0]["missing"] == "4"
    assert blocks(out)[-1]["came"] == " | 2 (33.3% of Ran Puzzles) -> Good Examples"
    assert sorted({puzzle_id for puzzle_id, _ in model.asked}) == [f"made-{n}" for n in range(2, 8)]
    assert len(there.rows(2)) == 6 * 3


# --dry-run


@pytest.mark.parametrize("loops", [1, 2, 50])
def test_a_dry_run_prints_one_block_whatever_the_number_of_loops(place, run, unplugged, loops):
    there = place(5)
    there.hold(1, won(board(0)), played(board(1), "RN"), played(board(2), "N"))
    status, out, err = run(*there.flags, "--dry-run", "--loop", loops)
    assert out == "Loop 1: 1 Good, 2 Bad\n  - Salvageable: 1\n  - Unsalvageable: 1\n  - Missing puzzles: 2\n"
    assert (status, err) == (0, "")


def test_a_dry_run_makes_no_folder(place, run, unplugged, tmp_path):
    there = place(3)
    before = tree(tmp_path)
    status, out, _ = run(*there.flags, "--dry-run")
    assert out == "Loop 1: 0 Good, 0 Bad\n  - Salvageable: 0\n  - Unsalvageable: 0\n  - Missing puzzles: 3\n"
    assert status == 0
    assert tree(tmp_path) == before
    assert not there.results.exists()


def test_an_offline_dry_run_counts_the_bundled_puzzles(run, unplugged, tmp_path):
    status, out, _ = run("--offline", "--dry-run", "--results-dir", tmp_path / "none")
    assert (status, state_of(out)) == (0, (0, 0, 0, 70))


def test_a_dry_run_of_a_hub_dataset_that_is_not_here_counts_what_it_can_and_says_how_to_fetch_it(
    place, run, unplugged, tmp_path, monkeypatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    there = place(3)
    there.hold(1, won(board(0)), played(board(1), "RN"), played(board(2), "N"))
    before = tree(tmp_path)
    status, out, _ = run("--dry-run", "--results-dir", there.results)
    assert out.startswith(
        "Loop 1: 1 Good, 2 Bad\n  - Salvageable: 1\n  - Unsalvageable: 1\n  - Missing puzzles: unknown\n"
    )
    assert "hf download --repo-type dataset ericbotti/connections-puzzles" in out
    assert status == 0
    assert tree(tmp_path) == before


# Which puzzles


def test_only_the_chosen_puzzles_are_counted_and_others_are_one_line_on_stderr(place, run, unplugged):
    there = place(3)
    others = [won(board(number)) for number in range(50, 60)]
    there.hold(1, won(board(0)), *others, played(board(70), "RN"))
    _, out, err = run(*there.flags, "--dry-run")
    assert state_of(out) == (1, 0, 0, 2)
    assert len(err.splitlines()) == 1
    assert "11" in err
    assert "--all-puzzles" in err
    _, out, err = run(*there.flags, "--dry-run", "--all-puzzles")
    assert state_of(out) == (11, 1, 0, 2)
    assert err == ""


def test_all_puzzles_plays_those_that_only_the_folder_knows(place, run, serve):
    there = place(1)
    there.hold(1, won(board(0)), played(board(50), "RN"), played(board(51), "N"))
    _, endpoint = serve([board(50), board(51)])
    status, out, _ = run(*there.flags, *endpoint, "--all-puzzles", "--restart-unsalvageable")
    assert (status, state_of(out)) == (0, (3, 0, 0, 0))
    assert sorted(row.info.puzzle_id for row in there.rows(2)) == ["made-50", "made-51"]


def test_num_examples_takes_the_first_puzzles(place, run, serve):
    there = place(6)
    _, endpoint = serve(there.puzzles)
    _, out, _ = run(*there.flags, *endpoint, "-n", 2)
    assert state_of(out) == (2, 0, 0, 0)
    assert sorted(row.info.puzzle_id for row in there.rows(1)) == ["made-0", "made-1"]


def test_a_puzzle_ids_file_chooses_the_puzzles(place, run, serve, tmp_path):
    there = place(6)
    ids = tmp_path / "rerun_puzzles.txt"
    ids.write_text("made-4\n\nmade-1\n")
    _, endpoint = serve(there.puzzles)
    _, out, _ = run(*there.flags, *endpoint, "--puzzle-ids-file", ids)
    assert state_of(out) == (2, 0, 0, 0)
    assert sorted(row.info.puzzle_id for row in there.rows(1)) == ["made-1", "made-4"]


def test_a_split_chooses_the_puzzles(run, unplugged, tmp_path):
    for split, count in (("train_sft", 70), ("test", 20)):
        _, out, _ = run("--offline", "--dry-run", "--results-dir", tmp_path, "--split", split)
        assert state_of(out) == (0, 0, 0, count)


def test_several_rollouts_are_played_of_each_puzzle(place, run, serve):
    there = place(2)
    there.hold(1, played(board(0), "RN"))
    _, endpoint = serve(there.puzzles)
    run(*there.flags, *endpoint, "-r", 3)
    rows = there.rows(2)
    assert sorted(row.info.puzzle_id for row in rows) == ["made-0"] * 3 + ["made-1"] * 3
    assert len({row.rollout_id for row in rows}) == 6
    assert [row.resumed_from.turns for row in rows if row.info.puzzle_id == "made-0"] == [1, 1, 1]
    assert [row.resumed_from for row in rows if row.info.puzzle_id == "made-1"] == [None] * 3


def test_results_and_puzzles_meet_by_their_items_whatever_their_ids_order_and_case(place, run, unplugged):
    there = place(3)
    renamed = json.loads(won(board(0)).to_line().replace("made-0", "another-name"))
    lower = type(board(1))(
        "low",
        tuple(item.lower() for item in board(1).items[::-1]),
        tuple(type(g)(g.theme, tuple(map(str.lower, g.members)), g.linking_terms) for g in board(1).groups),
    )
    wrong_id = json.loads(won(board(40)).to_line().replace("made-40", "made-2"))
    there.hold(1, renamed, won(lower), wrong_id)
    _, out, _ = run(*there.flags, "--dry-run")
    assert state_of(out) == (2, 0, 0, 1)


# The best rollout, over all files


def test_the_best_rollout_of_a_puzzle_counts_whichever_file_it_is_in(place, run, unplugged):
    there = place(3)
    there.hold(2, won(board(0)), played(board(1), "N"), played(board(2), "N"))
    there.hold(9, lost(board(0)), played(board(2), "RN"))
    there.hold(10, played(board(0), "N"), won(board(1)))
    results_file(there.results / "good_examples.jsonl", [won(board(2))])
    results_file(there.results / "results_3.jsonl.bak", [won(board(2))])
    _, out, _ = run(*there.flags, "--dry-run")
    assert state_of(out) == (2, 1, 0, 0)


def test_the_better_of_two_games_counts_even_where_they_go_by_one_id(place, run, unplugged):
    there = place(2)
    there.hold(1, played(board(0), "N", rollout_id="a"), won(board(1), rollout_id="b"))
    there.hold(2, won(board(0), rollout_id="a"), played(board(1), "N", rollout_id="b"))
    _, out, _ = run(*there.flags, "--dry-run")
    assert state_of(out) == (2, 0, 0, 0)


def test_the_salvaged_game_is_the_one_that_keeps_most(place, run, serve):
    there = place(1)
    there.hold(1, played(board(0), "RN", rollout_id="one"), played(board(0), "WN", rollout_id="none"))
    there.hold(5, played(board(0), "RRN", rollout_id="two"))
    there.hold(6, played(board(0), "ORN", rollout_id="one, late"))
    _, endpoint = serve(there.puzzles)
    run(*there.flags, *endpoint)
    (row,) = there.rows(7)
    assert (row.resumed_from.rollout_id, row.resumed_from.turns) == ("two", 2)
    assert row.reply_models == ["scripted", "scripted", row.model]
    assert row.model != "scripted"
    assert row.cuts == [Cut(turns=1, kept=2, truncate="last-valid")]


def test_a_longer_truncation_keeps_more(place, run, unplugged):
    there = place(3)
    there.hold(1, played(board(0), "RWN"), played(board(1), "WN"), played(board(2), "WWWW"))
    _, out, _ = run(*there.flags, "--dry-run")
    assert state_of(out) == (0, 3, 0, 0)
    _, out, _ = run(*there.flags, "--dry-run", "--truncate", "last-valid")
    assert state_of(out) == (0, 3, 0, 0)
    _, out, _ = run(*there.flags, "--dry-run", "--truncate", "last-correct")
    assert state_of(out) == (0, 1, 2, 0)


@pytest.mark.parametrize(("mode", "turns"), [("last-valid", 3), ("last-correct", 1)])
def test_the_kept_turns_are_those_of_the_truncation(place, run, serve, mode, turns):
    there = place(1)
    first = played(board(0), "RWON")
    there.hold(1, first)
    model, endpoint = serve(there.puzzles)
    run(*there.flags, *endpoint, "--truncate", mode)
    (row,) = there.rows(2)
    assert row.resumed_from.turns == turns
    assert row.guess_history[:turns] == first.guess_history[:turns]
    assert model.asked[0] == ("made-0", 2 + 2 * turns)
    assert rejection(facts_of(row)) is None


def test_an_interrupted_game_goes_on_with_its_turns_and_its_board_as_shown(place, run, serve):
    there = place(2)
    half = interrupted(board(0), "OR", rollout_id="half")
    there.hold(1, half)
    _, endpoint = serve(there.puzzles)
    status, out, _ = run(*there.flags, *endpoint)
    assert (status, state_of(out)) == (0, (2, 0, 0, 0))
    row = next(row for row in there.rows(2) if row.info.puzzle_id == "made-0")
    assert (row.resumed_from.rollout_id, row.resumed_from.turns) == ("half", 2)
    assert row.completion[: len(half.completion)] == half.completion
    assert row.prompt == half.prompt
    assert row.info.all_words == half.info.all_words
    assert [turn.status for turn in row.guess_history] == ["one_away", "correct", "correct", "correct", "auto"]
    assert row.reply_tokens[:2] == half.reply_tokens
    assert row.complete_reason == "all_categories_found"


def test_a_resumed_game_has_a_fresh_turn_allowance(place, run, serve):
    there = place(1)
    there.hold(1, interrupted(board(0), "ROOW"))
    _, endpoint = serve(there.puzzles)
    _, out, _ = run(*there.flags, *endpoint, "--max-turns", 2)
    assert state_of(out) == (1, 0, 0, 0)


# When it stops


def test_it_stops_when_all_is_good(place, run, serve):
    there = place(3)
    model, endpoint = serve(there.puzzles)
    status, out, _ = run(*there.flags, *endpoint, "--loop", 9)
    assert (status, state_of(out)) == (0, (3, 0, 0, 0))
    assert there.numbers == [1]
    assert len(model.asked) == 9
    assert "Loop 3:" not in out


def test_it_plays_nothing_when_all_is_good_from_the_start(place, run, serve):
    there = place(3)
    there.hold(1, *map(won, there.puzzles))
    model, endpoint = serve(there.puzzles)
    before = tree(there.results)
    status, out, _ = run(*there.flags, *endpoint, "--loop", 9)
    assert out.startswith("Loop 1: 3 Good, 0 Bad\n  - Salvageable: 0\n  - Unsalvageable: 0\n  - Missing puzzles: 0\n")
    assert len(blocks(out)) == 1
    assert (status, model.asked, tree(there.results)) == (0, [], before)


@pytest.mark.parametrize("rows", [[won, won, won], [won, lambda puzzle: played(puzzle, "N"), won]])
def test_a_run_with_nothing_to_play_needs_no_key(place, run, unplugged, rows):
    there = place(3)
    there.hold(1, *(row(puzzle) for row, puzzle in zip(rows, there.puzzles, strict=True)))
    before = tree(there.results)
    status, out, err = run(*there.flags, "--loop", 3)
    assert (status, err, len(blocks(out)), tree(there.results)) == (0, "", 1, before)
    assert "Spent" not in out


def test_a_run_with_something_to_play_and_no_key_is_exit_2_and_prints_no_block(place, run, unplugged):
    there = place(3)
    there.hold(1, won(board(0)), won(board(1)), played(board(2), "RN"))
    before = tree(there.results)
    status, out, err = run(*there.flags, "--loop", 3)
    assert (status, out, tree(there.results)) == (2, "", before)
    assert err == (
        "error: DEEPSEEK_API_KEY is not set: export your key under that name, name another variable with -k, or try "
        "--offline\n"
    )


def test_what_is_hopeless_needs_a_key_once_it_is_to_be_restarted(place, run, unplugged):
    there = place(1)
    there.hold(1, played(board(0), "N"))
    assert run(*there.flags)[0] == 0
    status, out, err = run(*there.flags, "--restart-unsalvageable")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "DEEPSEEK_API_KEY is not set" in err


def test_it_stops_when_nothing_can_run_and_restarts_the_unsalvageable_when_told_to(place, run, serve):
    there = place(3)
    there.hold(1, won(board(0)), played(board(1), "N"), played(board(2), "LRR"))
    model, endpoint = serve(there.puzzles)
    before = tree(there.results)
    status, out, _ = run(*there.flags, *endpoint, "--loop", 9)
    assert (status, state_of(out), model.asked, tree(there.results)) == (0, (1, 0, 2, 0), [], before)
    assert "--restart-unsalvageable" in out
    status, out, _ = run(*there.flags, *endpoint, "--loop", 9, "--restart-unsalvageable")
    assert (status, state_of(out)) == (0, (3, 0, 0, 0))
    assert [row.resumed_from for row in there.rows(2)] == [None, None]


def test_the_command_that_comes_next_restarts_what_this_one_restarted(place, run, serve):
    there = place(1)
    model, endpoint = serve(there.puzzles)
    model.wins = lambda puzzle: False
    given = [*there.flags, *endpoint, "--restart-unsalvageable", "--max-turns", 1]
    _, out, _ = run(*given)
    assert state_of(out) == (0, 0, 1, 0)
    command = " ".join(map(str, given))
    assert f"\n  uv run python iterative_generate.py {command}  # 1 puzzle is left to play\n" in out


def test_it_ends_with_a_summary_and_the_command_that_comes_next(place, run, serve):
    there = place(2)
    model, endpoint = serve(there.puzzles)
    model.wins = lambda puzzle: False
    _, out, _ = run(*there.flags, *endpoint, "--max-turns", 1)
    tail = out[BLOCK.search(out).end() :]
    assert str(there.results) in tail
    assert "uv run python " in tail


def test_the_percentage_is_of_the_puzzles_that_ran_and_not_of_those_a_budget_left_out(place, run, serve):
    there = place(4)
    _, endpoint = serve(there.puzzles)
    # A request costs 15 tokens, a game three requests.
    status, out, _ = run(*there.flags, *endpoint, "-c", 1, "--token-budget", 45)
    assert (status, state_of(out)) == (0, (1, 0, 0, 3))
    assert len(there.rows(1)) == 1
    assert blocks(out)[-1]["came"] == " | 1 (100.0% of Ran Puzzles) -> Good Examples"


def test_the_percentage_leaves_out_what_another_run_made_good_meanwhile(place, run, serve):
    there = place(2)
    there.hold(1, played(board(0), "N"))  # keeps nothing, so it is not played
    model, endpoint = serve(there.puzzles)
    model.before_first_answer = lambda: there.hold(5, won(board(0)))
    _, out, _ = run(*there.flags, *endpoint)
    assert {asked for asked, _ in model.asked} == {"made-1"}
    assert blocks(out)[-1]["came"] == " | 1 (100.0% of Ran Puzzles) -> Good Examples"
    assert state_of(out) == (2, 0, 0, 0)


def test_a_run_that_reaches_nobody_leaves_no_file_and_says_so(place, run, monkeypatch):
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    there = place(2)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # not listening: whoever connects is refused
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        status, out, err = run(*there.flags, "-b", url, "--max-retries", 0, "--loop", 3)
    assert status == 1
    assert out.startswith("Loop 1: 0 Good, 0 Bad\n")
    assert "Loop 2:" not in out
    assert not there.results.exists() or list(there.results.iterdir()) == []
    assert url in err.splitlines()[-1]


# --export


def exported(path: Path) -> list[str]:
    return [json.loads(line)["puzzle_id"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_export_of_good_games_within_the_limits_needs_no_key(place, run, unplugged, tmp_path):
    there, out_dir = place(3), tmp_path / "out"
    there.hold(1, *map(won, there.puzzles))
    before = tree(there.results)
    status, out, _ = run(*there.flags, "--export", out_dir / "sft_examples.jsonl")
    assert (status, state_of(out), tree(there.results)) == (0, (3, 0, 0, 0), before)
    assert exported(out_dir / "sft_examples.jsonl") == ["puzzle-made-0", "puzzle-made-1", "puzzle-made-2"]
    assert (out_dir / "rerun_puzzles.txt").read_text() == ""


def test_an_export_of_a_game_over_a_limit_needs_a_key_and_writes_no_dataset_without_one(
    place, run, unplugged, tmp_path
):
    there, out_dir = place(2), tmp_path / "out"
    there.hold(1, *map(won, there.puzzles))
    status, _, err = run(*there.flags, "--export", out_dir / "sft_examples.jsonl", "--max-reply-tokens", 30)
    assert status == 2
    assert err.splitlines()[-1].startswith("error: DEEPSEEK_API_KEY is not set")
    assert not (out_dir / "sft_examples.jsonl").exists()


def test_one_budget_bounds_the_games_and_the_reduction_of_an_export(place, run, serve, tmp_path):
    there, path = place(2), tmp_path / "out" / "sft_examples.jsonl"
    model, endpoint = serve(there.puzzles)
    long = [reply._replace(reasoning=REASONING * 40) for reply in script_replies(board(0), "RRR")]
    there.hold(1, rollout(board(0), long))
    # A request is 15 tokens: the three of a game leave enough for one of the reduction.
    budget = ("-c", 1, "--token-budget", 46, "--max-reply-tokens", 200, "--export", path)
    status, _, err = run(*there.flags, *endpoint, *budget)
    assert (status, path.exists()) == (1, False)
    assert [asked for asked, _ in model.asked] == ["made-1"] * 3 + ["made-0"]
    assert "stopped: the token budget is used up: 60 of 46 tokens\n" in err
    assert f"{path} was not written: 1 game is still to be reduced; run the command again\n" in err


def test_an_export_knows_a_puzzle_by_its_board_whatever_the_results_call_it(place, run, unplugged, tmp_path):
    there, path = place(2), tmp_path / "out" / "sft_examples.jsonl"
    there.hold(1, won(board(1)), played(board(0), "N"))
    assert run(*there.flags, "--loop", 1, "--export", path)[0] == 0
    assert path.with_name("rerun_puzzles.txt").read_text() == "made-0\n"
    other_name = json.loads(won(board(0)).to_line().replace('"made-0"', '"another-name"'))
    there.hold(2, other_name)
    assert run(*there.flags, "--export", path)[0] == 0
    assert exported(path) == ["puzzle-made-1", "puzzle-another-name"]
    assert path.with_name("rerun_puzzles.txt").read_text() == ""


def test_an_export_lists_exactly_the_puzzles_without_a_row_to_run_again(place, run, serve, tmp_path):
    there, out_dir = place(6), tmp_path / "out"
    there.hold(1, won(board(1)), played(board(2), "N"), won(board(4)), played(board(5), "RN"))
    model, endpoint = serve(there.puzzles)
    model.wins = lambda puzzle: puzzle.puzzle_id == "made-5"
    path = out_dir / "sft_examples.jsonl"
    status, _, _ = run(*there.flags, *endpoint, "--max-turns", 2, "--export", path)
    assert status == 0
    assert exported(path) == ["puzzle-made-1", "puzzle-made-4", "puzzle-made-5"]
    listed = out_dir / "rerun_puzzles.txt"
    assert listed.read_text() == "made-0\nmade-2\nmade-3\n"
    model.wins = lambda puzzle: puzzle.puzzle_id != "made-2"
    status, _, _ = run(*there.flags, *endpoint, "--export", path, "--restart-unsalvageable")
    assert status == 0
    assert listed.read_text() == "made-2\n"
    assert len(exported(path)) == 5


# The numbers of results files


def test_results_go_one_above_the_highest_number_and_nothing_there_is_touched(place, run, serve):
    there = place(2)
    there.hold(3, played(board(0), "RN"))
    there.hold(12, played(board(1), "RN"))
    before = {path: path.read_bytes() for path in there.results.iterdir()}
    _, endpoint = serve(there.puzzles)
    run(*there.flags, *endpoint)
    assert there.numbers == [3, 12, 13]
    assert {path: path.read_bytes() for path in before} == before


def test_offline_loops_never_lose_a_good_puzzle_and_a_second_run_goes_on_from_there(run, unplugged, tmp_path):
    flags = ["--offline", "-n", 10, "--results-dir", tmp_path, "--player-strength", "middle"]
    status, out, _ = run(*flags, "--loop", 3)
    assert status == 0
    goods = [int(block["good"]) for block in blocks(out)]
    assert goods == sorted(goods)
    assert goods[0] == 0 < goods[-1]
    assert blocks(out)[0]["missing"] == "10"
    numbers = sorted(path.name for path in tmp_path.iterdir())
    assert numbers == [f"results_{n}.jsonl" for n in range(1, len(numbers) + 1)]
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    before = state_of(out)
    assert before[1] > 0, "the player is so good that nothing is left for the second run"
    status, out, _ = run(*flags)
    first = blocks(out)[0]
    assert first["head"] == "Loop 1"
    assert first["came"] == ""
    assert tuple(int(first[name]) for name in ("good", "salvageable", "unsalvageable", "missing")) == before
    assert state_of(out)[0] >= before[0]
    assert (tmp_path / f"results_{len(numbers) + 1}.jsonl").exists()
    assert {path: path.read_bytes() for path in kept} == kept


def test_each_offline_row_is_what_its_own_replies_give(run, unplugged, tmp_path):
    run("--offline", "-n", 6, "--results-dir", tmp_path, "--player-strength", "low", "--loop", 3)
    rows = [row for path in sorted(tmp_path.iterdir()) for row in rows_of(path)]
    by_id = {row.rollout_id: row for row in rows}
    assert len(by_id) == len(rows)
    for row in rows:
        assert row.simulated
        salvage(row, "next")  # raises where the record is not what its replay gives
        if row.resumed_from:
            parent = by_id[row.resumed_from.rollout_id]
            turns = row.resumed_from.turns
            assert row.guess_history[:turns] == parent.guess_history[:turns]
            assert row.info == parent.info


def test_two_drivers_in_one_folder_never_share_a_file(tmp_path):
    def start(temperature: str) -> subprocess.Popen:
        flags = ["--offline", "-n", "12", "--loop", "3", "--results-dir", str(tmp_path), "--player-strength", "low"]
        command = [sys.executable, str(ROOT / "iterative_generate.py"), *flags, "-T", temperature]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    drivers = [start("0.25"), start("0.5")]
    for driver in drivers:
        _, err = driver.communicate(timeout=60)
        assert driver.returncode == 0, err
    paths = sorted(tmp_path.iterdir())
    writers = [{row.sampling["temperature"] for row in rows_of(path)} for path in paths]
    assert all(len(one) == 1 for one in writers)
    assert {0.25} in writers
    assert {0.5} in writers
    assert sorted(path.name for path in paths) == sorted(f"results_{n}.jsonl" for n in range(1, len(paths) + 1))


# Rows that do not count, cannot be read, or are not what they say


def test_games_without_a_reply_are_reported_as_empty_and_their_puzzle_is_missing(place, run, unplugged):
    there = place(2)
    error_row = changed(empty(board(1))) | {"schema_version": None, "error": {"error": "gone"}}
    there.hold(1, empty(board(0)), error_row)
    _, out, err = run(*there.flags, "--dry-run")
    assert state_of(out) == (0, 0, 0, 2)
    assert err.endswith("results: rollouts: 1 of this project, 1 of older pipelines; 2 not used: 2 empty\n")


def bare(puzzle, *statuses, end, **info):
    """A row that says which puzzle was played and how it went, and nothing more."""
    history = [{"words": ["?"] * 4, "status": status, "category_idx": None} for status in statuses]
    return {
        "info": {"puzzle_id": puzzle.puzzle_id} | info,
        "guess_history": history,
        "complete_reason": end,
        "reward": 5.5,
        "prompt": [],
        "completion": [],
    }


def test_a_row_that_names_no_board_counts_at_its_word_and_is_never_resumed(place, run, serve):
    there = place(3)
    there.hold(
        1,
        bare(board(0), *["correct"] * 4, end="all_categories_found"),
        bare(board(1), "correct", "correct", "invalid", end="max_turns_reached"),
        won(board(2)),
    )
    model, endpoint = serve(there.puzzles)
    status, out, _ = run(*there.flags, *endpoint, "--loop", 2)
    assert (status, state_of(out), model.asked) == (0, (2, 0, 1, 0), [])
    status, out, _ = run(*there.flags, *endpoint, "--restart-unsalvageable")
    assert (status, state_of(out)) == (0, (3, 0, 0, 0))
    assert [(row.info.puzzle_id, row.resumed_from) for row in there.rows(2)] == [("made-1", None)]


def test_a_row_that_names_only_an_id_of_two_boards_counts_for_neither(tmp_path, run, unplugged):
    there = Place(tmp_path, [board(0), replace(board(1), puzzle_id="made-0"), board(2)])
    there.hold(1, *(bare(board(number), *["correct"] * 4, end="all_categories_found") for number in (0, 2)))
    assert state_of(run(*there.flags, "--dry-run")[1]) == (1, 0, 0, 2)


def test_an_older_pipelines_record_counts_and_is_resumed(place, run, serve):
    there = place(1)
    old = changed(played(board(0), "RRN"))
    for name in ("schema_version", "rollout_id", "reply_tokens", "reply_finish", "reply_unfit", "metrics", "themes"):
        del old[name]
    old["info"] = json.dumps(old["info"])
    old["completion"].append({"role": "user", "content": "Invalid."})
    there.hold(1, old)
    _, endpoint = serve(there.puzzles)
    _, out, _ = run(*there.flags, *endpoint)
    assert [block["good"] for block in blocks(out)] == ["0", "1"]
    assert there.rows(2)[0].resumed_from.turns == 2


SPOILT = {
    "a status its reply did not earn": lambda row: row["guess_history"][2].update(status="one_away"),
    "words it did not guess": lambda row: row["guess_history"][0].update(words=["A", "B", "C", "D"]),
    "a turn too few": lambda row: row["guess_history"].pop(2),
    "no completion": lambda row: row.update(completion=[]),
    "recorded as lost": lambda row: row.update(complete_reason="max_mistakes"),
    "recorded as won": lambda row: row.update(complete_reason="all_categories_found"),
    "a token count too few": lambda row: row["reply_tokens"].pop(),
    "a finish reason too many": lambda row: row["reply_finish"].append("stop"),
    "an unfit reply recorded as fit": lambda row: row.update(reply_unfit=[None] * 4),
    "no prompt": lambda row: row.pop("prompt"),
    "no answer key": lambda row: row["info"].update(categories=[]),
    "another answer key": lambda row: row["info"].update(
        categories=[{"group": "x", "members": list(board(9).items[n::4]), "linking_terms": []} for n in range(4)]
    ),
}


def spoilt(how, script="RRWN", **options):
    if how == "an unfit reply recorded as fit":
        script = "RQWW"
    row = changed(played(board(0), script, **options))
    SPOILT[how](row)
    return row


@pytest.mark.parametrize("how", SPOILT)
def test_a_row_that_is_not_what_it_says_is_passed_over_and_the_next_best_is_taken(place, run, serve, how):
    there = place(2)
    there.hold(1, spoilt(how, rollout_id="spoilt"), played(board(0), "RN", rollout_id="honest"))
    _, endpoint = serve(there.puzzles)
    status, out, err = run(*there.flags, *endpoint)
    assert (status, state_of(out)) == (0, (2, 0, 0, 0))
    assert "results_1.jsonl" in err
    row = next(row for row in there.rows(2) if row.info.puzzle_id == "made-0")
    assert (row.resumed_from.rollout_id, row.resumed_from.turns) == ("honest", 1)


@pytest.mark.parametrize("how", SPOILT)
def test_a_puzzle_whose_only_row_is_not_what_it_says_is_played_from_scratch(place, run, serve, how):
    there = place(2)
    there.hold(1, spoilt(how))
    _, endpoint = serve(there.puzzles)
    status, out, _ = run(*there.flags, *endpoint)
    assert status == 0
    # Without an answer key it may also pass as a row that names no board: bad, and not to be resumed.
    assert state_of(out) in [(2, 0, 0, 0), *([(1, 0, 1, 0)] if "answer key" in how else [])]


@pytest.mark.parametrize("how", ["no prompt", "a token count too few", "no answer key", "no completion"])
def test_a_row_that_is_not_what_it_says_stops_no_run_over_all_puzzles(tmp_path, run, serve, how):
    there = Place(tmp_path, [board(1)])
    there.hold(1, spoilt(how))
    _, endpoint = serve([board(0), board(1)])
    status, out, _ = run(*there.flags, *endpoint, "--all-puzzles", "--restart-unsalvageable")
    assert status == 0
    assert state_of(out)[0] >= 1


@pytest.mark.parametrize("how", ["a status its reply did not earn", "a token count too few"])
def test_a_bad_row_that_keeps_nothing_and_is_not_what_it_says_stops_no_restart(place, run, serve, how):
    there = place(2)
    there.hold(1, spoilt(how, "NRRN"))
    _, endpoint = serve(there.puzzles)
    status, out, _ = run(*there.flags, *endpoint, "--restart-unsalvageable")
    assert (status, state_of(out)) == (0, (2, 0, 0, 0))


def test_any_number_of_rows_that_are_not_what_they_say_are_passed_over(place, run, serve):
    there = place(1)
    bad = [spoilt("a status its reply did not earn", rollout_id=f"spoilt-{n}") for n in range(20)]
    there.hold(1, *bad, played(board(0), "RN", rollout_id="honest"))
    _, endpoint = serve(there.puzzles)
    status, out, _ = run(*there.flags, *endpoint)
    assert (status, state_of(out)) == (0, (1, 0, 0, 0))
    assert there.rows(2)[0].resumed_from is not None
    assert there.rows(2)[0].resumed_from.rollout_id == "honest"


def test_unreadable_lines_are_named_by_file_and_line_and_stop_nothing(place, run, unplugged):
    there = place(2)
    there.hold(1, won(board(0)), "nul", "[1]")
    there.hold(2, '{"info": 3}', won(board(1)))
    status, out, err = run(*there.flags, "--dry-run")
    assert (status, state_of(out)) == (0, (2, 0, 0, 0))
    *lines, account = err.splitlines()
    assert lines[0] == "results_1.jsonl:2: expected a JSON object, got 'nul'; skipped"
    assert account.endswith(
        "rollouts: 2 of this project; 3 not used: 3 unreadable (expected a JSON object: 2; "
        "neither messages nor a guess_history: 1)"
    )
    assert [line.split(": ")[0] for line in lines] == ["results_1.jsonl:2", "results_1.jsonl:3", "results_2.jsonl:1"]


def test_every_one_of_many_unreadable_lines_is_counted_and_verbose_names_them_all(place, run, unplugged):
    there = place(1)
    there.hold(1, *["nul"] * 50, won(board(0)))
    _, out, err = run(*there.flags, "--dry-run")
    assert state_of(out) == (1, 0, 0, 0)
    named = [line for line in err.splitlines() if line.startswith("results_1.jsonl:")]
    if len(named) < 50:
        assert str(50 - len(named)) in err.splitlines()[-2]
        assert "-v" in err.splitlines()[-2]
    _, _, err = run(*there.flags, "--dry-run", "-v")
    *lines, account = err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"results_1.jsonl:{n}" for n in range(1, 51)]
    assert account.endswith("; 50 not used: 50 unreadable (expected a JSON object: 50)")


@pytest.mark.parametrize("dry", [True, False])
def test_a_file_of_a_newer_version_ends_the_run_before_anything_is_asked_or_written(place, run, serve, dry):
    there = place(2)
    there.hold(1, won(board(0)))
    there.hold(2, played(board(1), "RN"), changed(won(board(1)), schema_version=SCHEMA_VERSION + 1))
    model, endpoint = serve(there.puzzles)
    before = tree(there.results.parent)
    status, out, err = run(*there.flags, *endpoint, *(["--dry-run"] if dry else []))
    assert (status, out, model.asked) == (1, "", [])
    assert tree(there.results.parent) == before
    (line,) = err.splitlines()
    assert "results_2.jsonl:2: " in line
    assert "newer version" in line


def test_a_file_of_a_newer_version_that_comes_during_a_run_costs_none_of_its_games(place, run, serve):
    there = place(2)
    model, endpoint = serve(there.puzzles)
    future = changed(won(board(0)), schema_version=SCHEMA_VERSION + 1)
    model.before_first_answer = lambda: there.hold(1, future)
    status, out, err = run(*there.flags, *endpoint, "--loop", 2)
    assert status == 1
    assert len(blocks(out)) >= 1
    assert len(there.rows(2)) == 2
    assert "newer version" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--puzzles", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--puzzles", "builtin", "--split", "dev"], "train_sft"),
        (["--puzzles", "builtin"], "DEEPSEEK_API_KEY"),
        (["--puzzles", "builtin", "--max-cost", "1", "-b", "http://127.0.0.1:9/v1"], "--price-input"),
        (["--offline", "--puzzle-ids-file", "nowhere.txt"], "nowhere.txt"),
    ],
    ids=["file", "split", "key", "prices", "ids"],
)
def test_what_is_known_to_be_wrong_is_one_line_and_exit_2(run, unplugged, tmp_path, flags, says):
    status, out, err = run(*flags, "--results-dir", tmp_path / "results")
    assert status == 2
    assert len(err.splitlines()) == 1
    assert says in err
    assert blocks(out) == []
    assert not (tmp_path / "results").exists()


# Estimates


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.rpartition("\n\n")[2]


def spent_by(row: Rollout) -> Rollout:
    return row.model_copy(update={"usage": Usage(input=1000, output=500, cached=400, requests=4)})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "The next loop: 4 games, about 4,000 tokens in, 2,000 out (by the mean of 3)\n"),
        (["-r", "2"], "The next loop: 8 games, about 8,000 tokens in, 4,000 out (by the mean of 3)\n"),
        (
            ["--price-input", "10", "--price-cached", "1", "--price-output", "20"],
            "The next loop: 4 games, about 4,000 tokens in, 2,000 out, 0.0656 USD (by the mean of 3)\n",
        ),
        (["--restart-unsalvageable"], "The next loop: 5 games, about 5,000 tokens in, 2,500 out (by the mean of 3)\n"),
    ],
)
def test_a_dry_run_estimates_the_next_loop_by_the_games_at_hand(tmp_path, capsys, flags, said):
    puzzles = [board(n) for n in range(6)]  # 0 good, 1 unsalvageable, 2 salvageable, the others missing
    rows = [won(puzzles[0]), invalid_at(puzzles[1], 0), lost(puzzles[2])]
    results_file(tmp_path / "results" / "results_1.jsonl", map(spent_by, rows))
    source = puzzle_file(tmp_path / "puzzles.jsonl", puzzles)
    argv = ["--dry-run", "--puzzles", str(source), "--results-dir", str(tmp_path / "results"), *flags]
    assert main(argv) == 0
    assert told(capsys) == said


@pytest.mark.parametrize("rows", [[], [lost(board(0))]])
def test_where_no_game_says_what_it_took_nothing_is_estimated(tmp_path, capsys, rows):
    results_file(tmp_path / "r" / "results_1.jsonl", rows)
    source = puzzle_file(tmp_path / "puzzles.jsonl", [board(0)])
    assert main(["--dry-run", "--puzzles", str(source), "--results-dir", str(tmp_path / "r")]) == 0
    assert "The next loop" not in capsys.readouterr().out


def test_where_nothing_is_left_nothing_is_estimated(tmp_path, capsys):
    results_file(tmp_path / "r" / "results_1.jsonl", [won(board(0))])
    source = puzzle_file(tmp_path / "puzzles.jsonl", [board(0)])
    assert main(["--dry-run", "--puzzles", str(source), "--results-dir", str(tmp_path / "r")]) == 0
    assert "The next loop" not in capsys.readouterr().out


def test_a_budget_without_prices_is_said_before_anything_is_printed(tmp_path, capsys):
    source = puzzle_file(tmp_path / "puzzles.jsonl", [board(0)])
    argv = ["--dry-run", "--puzzles", str(source), "--results-dir", str(tmp_path / "r"), "--max-cost", "1"]
    assert main(argv) == 2
    assert capsys.readouterr().out == ""
