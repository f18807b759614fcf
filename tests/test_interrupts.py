"""Processes stopped in every way: what was paid for is kept, and the same command goes on from there."""

import fcntl
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import filter_gameplay
import prep_doctoring
from connections_env.files import read_lines
from connections_env.parsing import Reply
from connections_env.records import Rollout, read_row
from connections_env.steps import replace_files
from tests.rollouts import REASONING, board, boards, guess_text, puzzle_file, results_file, rollout, won
from tests.rollouts import played as played_by
from tests.scripted import Seen, Sent, Server, Step, completion, state_of, until, winner
from tests.test_broken_files import contents, ran

ROOT = Path(__file__).parents[1]
PUZZLES = boards(6)
TEMPORARY = re.compile(r"(^|/)\.(?!reductions_\d+\.jsonl$)")


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def serve() -> Iterator[Callable[[Any], Server]]:
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(Server(script))


def heard() -> None:
    """Under nohup SIGHUP is ignored, and so it would be by the processes started from here."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(script: str, *argv: object, code: str = "", **options: Any) -> "subprocess.Popen[str]":
    """A script as a process in the current folder; `code` runs in it before its `main`."""
    command = [sys.executable, str(ROOT / f"{script}.py")]
    if code:
        before = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {script}\n{code}\n"
        command = [sys.executable, "-c", f"{before}sys.exit({script}.main())"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    return subprocess.Popen([*command, *map(str, argv)], **(pipes | {"preexec_fn": heard} | options))


def ended(process: "subprocess.Popen[str]", *statuses: int) -> tuple[str, str]:
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in statuses, err
    assert "Traceback" not in err
    return out, err


def goes_on(script: str, *argv: object) -> None:
    """The same command again, to its end."""
    status, _, err = ran(importlib.import_module(script), *argv)
    assert status == 0, err


def games_in(folder: Path) -> list[Rollout]:
    """All whole games; a torn last line is left out."""
    lines = [line for path in sorted(folder.glob("results_*.jsonl")) for line in read_lines(path) if not line.torn]
    rows = [read_row(line.data) for line in lines]
    assert all(isinstance(row, Rollout) for row in rows)
    return rows  # type: ignore[return-value]


def asked(seen: list[Seen]) -> Counter[tuple[str, int]]:
    """(puzzle, turn) -> how often it was asked for."""
    return Counter((state_of(one.messages, PUZZLES).puzzle.puzzle_id, one.turn) for one in seen)


def unfinished_files(folder: Path) -> list[str]:
    return [name for name in contents(folder) if TEMPORARY.search(name) and not name.startswith(".cache")]


# Games


def jobs() -> None:
    """doctor_gameplay.jsonl, of six games with one right guess each."""
    results_file(Path("in/results_1.jsonl"), [played_by(puzzle, "RN") for puzzle in PUZZLES])
    assert ran(filter_gameplay, "in")[0] == ran(prep_doctoring)[0] == 0


def flags_of(script: str) -> list[object]:
    if script == "doctor_gameplay":
        jobs()
        return ["--results-dir", "results", "-c", 2]
    return ["--results-dir", "results", "-c", 2, "--puzzles", puzzle_file(Path("p.jsonl"), PUZZLES)]


STOPS = [
    ("generate_rollouts", signal.SIGHUP, 5),
    ("iterative_generate", signal.SIGINT, 1),
    ("iterative_generate", signal.SIGTERM, 8),
    ("iterative_generate", signal.SIGKILL, 9),
    ("doctor_gameplay", signal.SIGTERM, 5),
    ("doctor_gameplay", signal.SIGHUP, 1),
    ("doctor_gameplay", signal.SIGKILL, 7),
]


@pytest.mark.parametrize(("script", "number", "requests"), STOPS)
def test_a_stopped_run_loses_nothing_it_was_told_and_the_next_pays_for_nothing_twice(
    tmp_path: Path, serve: Any, script: str, number: signal.Signals, requests: int
) -> None:
    play = winner(*PUZZLES)
    server, argv = serve(lambda seen: Sent(body=play(seen), after=0.1)), flags_of(script)
    process = start(script, *argv, "-b", server.url)
    until(lambda: len(server.seen) >= requests, process)
    process.send_signal(number)
    killed = number == signal.SIGKILL
    ended(process, -9 if killed else 130)
    first = games_in(tmp_path / "results")
    if not killed:
        assert sum(row.usage.requests for row in first) == len(server.seen)
        assert unfinished_files(tmp_path) == []
    paid = asked(server.seen)

    server.script, server.seen = play, []
    goes_on("iterative_generate" if script == "generate_rollouts" else script, *argv, "-b", server.url)
    finished = {row.info.puzzle_id for row in first if row.complete_reason == "all_categories_found"}
    assert not finished & {puzzle for puzzle, _ in asked(server.seen)}
    if not killed and script != "doctor_gameplay":  # which plays a job again from where it was cut
        assert max((paid + asked(server.seen)).values()) == 1
    if script == "doctor_gameplay":
        lines = Path("doctored_gameplay.jsonl").read_text().splitlines()
        won_ones = [json.loads(line)["info"]["puzzle_id"] for line in lines]
        assert sorted(won_ones) == sorted(puzzle.puzzle_id for puzzle in PUZZLES)
    else:
        rows = games_in(tmp_path / "results")
        won_now = {row.info.puzzle_id for row in rows if row.complete_reason == "all_categories_found"}
        assert won_now == {puzzle.puzzle_id for puzzle in PUZZLES}
    assert killed or unfinished_files(tmp_path) == []


@pytest.mark.parametrize("script", ["iterative_generate", "doctor_gameplay"])
def test_a_second_ctrl_c_ends_at_once_and_keeps_what_was_answered(tmp_path: Path, serve: Any, script: str) -> None:
    play = winner(*PUZZLES)
    server, argv = serve(lambda seen: Sent(body=play(seen), after=0 if seen.nth < 7 else 300)), flags_of(script)
    process = start(script, *argv, "-b", server.url)
    until(lambda: len(server.seen) >= 9, process)
    process.send_signal(signal.SIGINT)
    assert process.stderr
    while "interrupted" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    ended(process, 130)
    assert (
        sum(
            len(row.replies) - (row.resumed_from.turns if row.resumed_from else 0)
            for row in games_in(tmp_path / "results")
        )
        == 7
    )
    assert unfinished_files(tmp_path) == []


# Reductions


def long_games(count: int) -> None:
    rows = [
        rollout(
            board(n),
            [Reply(guess_text(g.members), f"{g.theme} {REASONING * 150}", "stop", 3000) for g in board(n).groups[:3]],
        )
        for n in range(count)
    ]
    results_file(Path("in/results_1.jsonl"), rows)
    assert ran(filter_gameplay, "in")[0] == 0


def shorten(seen: Seen) -> Step:
    text = seen.messages[-1]["content"]
    theme = re.findall(r"ZONE\d of \d+", text)[-1]
    return completion(f"<think>\nShort: {theme}.\n</think>\n\n{re.findall('<guess>.*?</guess>', text)[-1]}")


def themes(seen: list[Seen]) -> Counter[str]:
    return Counter(re.findall(r"ZONE\d of \d+", one.messages[-1]["content"])[-1] for one in seen)


@pytest.mark.parametrize(("number", "requests"), [(signal.SIGINT, 1), (signal.SIGTERM, 6), (signal.SIGKILL, 8)])
def test_a_stopped_reduction_leaves_the_outputs_and_the_next_pays_for_no_reply_twice(
    tmp_path: Path, serve: Any, number: signal.Signals, requests: int
) -> None:
    long_games(5)
    Path("good_examples_reduced.jsonl").write_text("old\n")
    server = serve(lambda seen: Sent(body=shorten(seen), after=0.1))  # type: ignore[arg-type]
    process = start("reduce_tokens", "-b", server.url, "-c", 2)
    until(lambda: len(server.seen) >= requests, process)
    process.send_signal(number)
    killed = number == signal.SIGKILL
    ended(process, -9 if killed else 130)
    assert Path("good_examples_reduced.jsonl").read_text() == "old\n"
    assert killed or unfinished_files(tmp_path) == []
    server.script = shorten
    goes_on("reduce_tokens", "-b", server.url, "-c", 2)
    twice = [theme for theme, times in themes(server.seen).items() if times > 1]
    assert len(themes(server.seen)) == 15
    assert len(twice) <= (2 if killed else 0)
    assert len(Path("good_examples_reduced.jsonl").read_text().splitlines()) == 5


# While outputs are written


STOP_AT = """
import os, pathlib
real, left = getattr({owner}, {name!r}), [{nth}]
def stopped(*args, **options):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), {number})
    return real(*args, **options)
setattr({owner}, {name!r}, stopped)
"""


def stop_at(what: str, nth: int, number: signal.Signals) -> str:
    """Code that sends a signal when a file is about to be synced, or to be put in another's place, the nth time."""
    owner, name = ("os", "fsync") if what == "sync" else ("pathlib.Path", "replace")
    return STOP_AT.format(owner=owner, name=name, nth=nth, number=int(number))


@pytest.mark.parametrize(
    ("script", "number", "nth"),
    [
        ("reduce_tokens", signal.SIGTERM, 1),
        ("reduce_tokens", signal.SIGKILL, 2),
        ("doctor_gameplay", signal.SIGINT, 2),
        ("doctor_gameplay", signal.SIGHUP, 1),
        ("doctor_gameplay", signal.SIGKILL, 1),
    ],
)
def test_a_run_stopped_while_it_writes_its_outputs_leaves_each_whole_and_the_next_pays_nothing(
    tmp_path: Path, serve: Any, script: str, number: signal.Signals, nth: int
) -> None:
    if script == "reduce_tokens":
        long_games(2)
        server, argv = serve(shorten), list[object]()
        output = Path("good_examples_reduced.jsonl")
    else:
        server, argv = serve(winner(*PUZZLES)), flags_of(script)
        output = Path("doctored_gameplay.jsonl")
    code = stop_at("replace", nth, number)
    ended(start(script, *argv, "-b", server.url, code=code), -9 if number == signal.SIGKILL else 130)
    paid = len(server.seen)
    assert paid >= 6
    assert number == signal.SIGKILL or unfinished_files(tmp_path) == []
    goes_on(script, *argv, "-b", server.url)
    assert len(server.seen) == paid
    assert len(output.read_text().splitlines()) == (2 if script == "reduce_tokens" else 6)


@pytest.mark.parametrize(
    ("number", "what", "nth", "kept"),
    [
        (signal.SIGINT, "sync", 1, True),
        (signal.SIGTERM, "sync", 2, True),
        (signal.SIGINT, "replace", 2, False),
        (signal.SIGHUP, "replace", 1, False),
    ],
)
def test_files_that_belong_together_are_all_old_or_all_new_when_a_step_is_stopped(
    tmp_path: Path, number: signal.Signals, what: str, nth: int, kept: bool
) -> None:
    results_file(Path("in/results_1.jsonl"), [won(board(0))])
    outputs = ("good_examples.jsonl", "bad_examples.jsonl", "rerun_puzzles.txt")
    for name in outputs:
        Path(name).write_text("old\n")
    before = contents(tmp_path)
    ended(start("filter_gameplay", "in", code=stop_at(what, nth, number)), 130)
    now = contents(tmp_path)
    assert set(now) == set(before)
    assert {name for name in now if now[name] == b"old\n"} == ({*outputs} if kept else set())


SLOW_READERS = """
import time, connections_env.standings as standings
standings.PAYS_FROM, scan = 1, standings.scan_some
def slow(*args, **options):
    open(f"read_{{time.time_ns()}}", "w").close()
    time.sleep({seconds})
    return scan(*args, **options)
slow.__module__, slow.__qualname__ = "connections_env.standings", "scan_some"
standings.scan_some = slow
"""


@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_processes_that_read_results_end_with_the_command_and_say_nothing(
    tmp_path: Path, number: signal.Signals | None
) -> None:
    results_file(Path("results/results_1.jsonl"), [won(puzzle) for puzzle in PUZZLES])
    argv = ["--dry-run", "--puzzles", puzzle_file(Path("p.jsonl"), PUZZLES), "--results-dir", "results"]
    code = SLOW_READERS.format(seconds=20 if number else 0)
    process = start("iterative_generate", *argv, code=code, start_new_session=True)
    if number:
        until(lambda: bool(list(tmp_path.glob("read_*"))), process)
        os.killpg(process.pid, number)  # as a terminal does: to all of them
    out, err = ended(process, *((130, -number) if number else (0,)))
    assert (out.startswith("Loop 1: 6 Good"), "KeyboardInterrupt" in err) == (not number, False)
    assert list(tmp_path.glob("read_*"))


# Nobody listens


def shell(line: str, **options: Any) -> "subprocess.Popen[str]":
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(["bash", "-c", line], **(pipes | options))


@pytest.mark.parametrize(
    ("script", "redirection"),
    [*(("iterative_generate", one) for one in (">&-", "2>&-", "<&-", "<&- >&- 2>&-")), ("doctor_gameplay", ">&- 2>&-")],
)
def test_closed_streams_cost_no_game(tmp_path: Path, serve: Any, script: str, redirection: str) -> None:
    server, argv = serve(winner(*PUZZLES)), flags_of(script)
    words = " ".join(str(word) for word in argv)
    process = shell(f"{sys.executable} {ROOT}/{script}.py {words} -b {server.url} {redirection}")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (0, False), err
    assert len(games_in(tmp_path / "results")) == 6
    text = (tmp_path / "results" / "results_1.jsonl").read_text()
    assert all(line.startswith("{") for line in text.splitlines())


def test_a_reader_that_has_seen_enough_costs_no_game_that_is_paid_for(tmp_path: Path, serve: Any) -> None:
    server, argv = serve(winner(*PUZZLES)), " ".join(map(str, flags_of("iterative_generate")))
    process = shell(
        f"{sys.executable} {ROOT}/iterative_generate.py {argv} -b {server.url} | head -1; exit ${{PIPESTATUS[0]}}"
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 1)
    assert out == "Loop 1: 0 Good, 0 Bad\n"
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    rows = games_in(tmp_path / "results")
    assert sum(row.usage.requests for row in rows) == len(server.seen)


def test_a_reader_of_the_progress_that_is_gone_costs_no_game(tmp_path: Path, serve: Any) -> None:
    server, argv = serve(winner(*PUZZLES)), " ".join(map(str, flags_of("generate_rollouts")))
    process = shell(f"{sys.executable} {ROOT}/generate_rollouts.py {argv} -b {server.url} 2> >(head -c 1 >/dev/null)")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(games_in(tmp_path / "results")) == 6


def test_a_run_under_nohup_outlives_its_parent_and_hang_ups(tmp_path: Path, serve: Any) -> None:
    play = winner(*PUZZLES)
    server = serve(lambda seen: Sent(body=play(seen), after=0.05))
    argv = " ".join(map(str, flags_of("iterative_generate")))
    line = f"nohup {sys.executable} {ROOT}/iterative_generate.py {argv} -b {server.url} > out 2> err & echo $!; exit"
    parent = shell(line, stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=heard)
    assert parent.stdout
    child = int(parent.stdout.readline())
    parent.communicate(timeout=20)
    for _ in range(3000):
        if len(server.seen) >= 4:
            break
        time.sleep(0.01)
    os.kill(child, signal.SIGHUP)
    for _ in range(3000):
        if "After loop 1" in Path("out").read_text():
            break
        time.sleep(0.01)
    assert "After loop 1: 6 Good, 0 Bad" in Path("out").read_text()
    assert len(games_in(tmp_path / "results")) == 6


KILLED_BETWEEN_FILES = """
import os, signal
from pathlib import Path
from connections_env.steps import replace_files
synced = os.fsync
def fsync(descriptor):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
replace_files({Path("good.jsonl"): ["new\\\\n"]})
"""


def test_what_a_killed_run_left_beside_a_file_is_removed_by_the_next_one_that_writes_it(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text("old\\n")
    (tmp_path / ".good.jsonl.mine").write_text("kept")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_BETWEEN_FILES],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "good.jsonl").read_text() == "old\\n"
    (left,) = tmp_path.glob(".good.jsonl.unfinished-*")
    with left.open("rb") as held:  # as a run that is still at work holds what it makes
        fcntl.flock(held, fcntl.LOCK_EX)
        replace_files({tmp_path / "good.jsonl": ["newer\\n"]})
        assert left.exists()
    replace_files({tmp_path / "good.jsonl": ["newest\\n"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".good.jsonl.mine", "good.jsonl"]
