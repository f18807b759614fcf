"""Disks that fill up or vanish, folders full of oddities, and files of any bytes: what is good is kept and counted."""

import contextlib
import errno
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import collate
import doctor_gameplay
import filter_gameplay
import generate_rollouts
import iterative_generate
import prep_doctoring
import reduce_tokens
from connections_env.files import read_lines
from connections_env.ledger import Ledger
from connections_env.parsing import Reply
from connections_env.records import Rollout, read_row
from tests.rollouts import (
    REASONING,
    board,
    boards,
    guess_text,
    hub_row,
    line_of,
    lost,
    played,
    puzzle_file,
    results_file,
    rollout,
    won,
)
from tests.scripted import Seen, Sent, Server, completion, winner
from tests.test_generate_rollouts import as_nobody

ROOT = Path(__file__).parents[1]
PROPERTY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BLOCK = re.compile(r"Loop 1: (\d+) Good, (\d+) Bad\n.*: (\d+)\n.*: (\d+)\n.*: (\d+)$", re.MULTILINE)
ERROR = re.compile(r"^(?:stopped|error): ", re.MULTILINE)


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no long pauses, all that is written below the temporary folder."""
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.setattr("connections_env.patience.FIRST_BACKOFF", 0.001)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where games go that cannot be saved
    monkeypatch.chdir(tmp_path)


def ran(script: Any, *argv: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a script."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", how, newline="\n") for how in ("strict", "backslashreplace"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = script.main([str(word) for word in argv])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    for stream in (out, err):
        stream.seek(0)
    return status, out.read(), err.read()


def good_and_missing(out: str) -> tuple[int, int]:
    """Good and missing puzzles of the first block."""
    block = BLOCK.search(out)
    assert block, out
    return int(block[1]), int(block[5])


def one_line(err: str) -> str:
    """The one line of all that names an error."""
    assert "Traceback" not in err
    (line,) = [line for line in re.split(r"[\r\n]+", err) if ERROR.match(line)]
    return line


def games_in(*paths: Path) -> list[Rollout]:
    rows = [read_row(line.data) for path in paths for line in read_lines(path)]
    assert all(isinstance(row, Rollout) for row in rows)
    return rows  # type: ignore[return-value]


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can grow over so many bytes; the kernel cuts the write that would pass them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """What hangs is an error, not a test run without end."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"still there after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# A disk that fills up


def test_a_run_whose_file_cannot_grow_keeps_whole_games_and_the_next_run_plays_only_the_rest(tmp_path: Path) -> None:
    puzzles, folder = boards(40), tmp_path / "results"
    argv = ["--puzzles", puzzle_file(tmp_path / "p.jsonl", puzzles), "--results-dir", folder, "-c", 4]
    with Server(winner(*puzzles)) as server:
        argv += ["-b", server.url]
        with room_for(40_000):
            status, _, err = ran(iterative_generate, *argv)
        assert status == 1
        line = one_line(err)
        assert "File too large" in line
        assert "results_1.jsonl" in line
        kept, rescued = games_in(folder / "results_1.jsonl"), games_in(*tmp_path.glob("results_rescued_*"))
        assert 4 <= len(kept) <= 12
        assert sum(row.usage.requests for row in kept + rescued) == len(server.seen)
        before = (folder / "results_1.jsonl").read_bytes()
        status, out, err = ran(iterative_generate, *argv)
        assert (status, good_and_missing(out)) == (0, (len(kept), 40 - len(kept)))
    assert (folder / "results_1.jsonl").read_bytes() == before
    assert not {row.info.puzzle_id for row in kept} & {
        row.info.puzzle_id for row in games_in(folder / "results_2.jsonl")
    }


def make_steps(folder: Path) -> None:
    """The files of every step, of five good games and three bad ones."""
    long = [Reply(guess_text(group.members), REASONING * 200, "stop", 3000) for group in board(9).groups[:3]]
    rows = [won(board(n)) for n in range(5)] + [lost(board(n)) for n in range(5, 8)] + [rollout(board(9), long)]
    results_file(folder / "in" / "results_1.jsonl", rows)
    assert ran(filter_gameplay, folder / "in", "--output-dir", folder)[0] == 0
    assert ran(prep_doctoring, "--output-dir", folder)[0] == 0


CANNOT_WRITE = re.compile(
    r"error: cannot write [\w.]+: File too large; allow larger files \(ulimit -f\), then run the same command again"
)


@pytest.mark.parametrize("room", [0, 100, 2000])
def test_a_step_that_cannot_write_leaves_the_files_of_the_run_before_and_no_other(tmp_path: Path, room: int) -> None:
    make_steps(tmp_path)
    with Server(lambda seen: completion(f"<think>\nShort.\n</think>\n\n{last_guess(seen)}")) as server:
        assert ran(reduce_tokens, "-b", server.url)[0] == 0
        asked = len(server.seen)
        assert asked >= 3
        assert ran(collate)[0] == 0
        steps: list[tuple[Any, list[object]]] = [
            (filter_gameplay, ["in"]),
            (prep_doctoring, []),
            (reduce_tokens, ["-b", server.url]),
            (collate, []),
            (collate, ["--format", "hf", "--license", "mit", "--test-size", "0"]),
            (filter_gameplay, ["in", "--report", "games.html"]),
        ]
        for script, argv in steps:
            before = contents(tmp_path)
            with room_for(room):
                status, _, err = ran(script, *argv)
            assert status == 1, script
            assert CANNOT_WRITE.fullmatch(one_line(err)), err
            assert contents(tmp_path) == before
            assert ran(script, *argv)[0] == 0
        assert len(server.seen) == asked


def test_a_doctor_whose_own_files_do_not_fit_names_them_and_the_next_run_has_its_games(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_steps(tmp_path)
    before = contents(tmp_path)

    def full(**_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("connections_env.steps.tempfile.mkstemp", full)
        status, _, err = ran(doctor_gameplay, "--offline", "--results-dir", "in", "--player-strength", "best")
    assert (status, one_line(err)) == (
        1,
        "error: cannot write doctored_gameplay.jsonl: No space left on device; make room, then run the same command "
        "again",
    )
    assert contents(tmp_path).keys() - before.keys() == {"in/results_2.jsonl"}
    status, out, _ = ran(doctor_gameplay, "--offline", "--results-dir", "in", "--player-strength", "best")
    assert status == 0
    assert re.search(r"jobs with a good game in the results already: [1-9]", out)


def last_guess(seen: Seen) -> str:
    return re.findall(r"<guess>.*?</guess>", seen.messages[-1]["content"], re.DOTALL)[-1]


def test_replies_that_a_full_disk_cannot_keep_end_the_reduction_at_once_and_with_one_line(tmp_path: Path) -> None:
    make_steps(tmp_path)
    with Server(lambda seen: completion(f"<think>\nShort.\n</think>\n\n{last_guess(seen)}")) as server:
        before = contents(tmp_path)
        with room_for(0):
            status, _, err = ran(reduce_tokens, "-b", server.url, "-c", 1)
        assert status == 1
        assert "File too large" in one_line(err)
        assert len(server.seen) <= 1
        assert {name: data for name, data in contents(tmp_path).items() if data} == before


def test_answers_that_a_full_disk_cannot_keep_are_rescued_and_read_once_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(ledger: Ledger) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    make_steps(tmp_path)
    with Server(lambda seen: completion(f"<think>\nShort.\n</think>\n\n{last_guess(seen)}")) as server:
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "_claim", full)
            status, _, err = ran(reduce_tokens, "-b", server.url, "-c", 1)
        assert status == 1
        assert "stopped: cannot write" in err
        assert "what was paid for is kept: run the same command again" in err
        asked = len(server.seen)
        (rescued,) = tmp_path.glob(".reductions_rescued_*.jsonl")
        assert re.search(
            rf"answers? paid for that could not be saved (is|are) in {re.escape(str(rescued))}; move it to", err
        )
        kept = [line for path in tmp_path.glob(".reductions_*.jsonl") for line in path.read_text().splitlines()]
        assert len(kept) == asked >= 1
        assert ran(reduce_tokens, "-b", server.url)[0] == 0
        assert len(server.seen) == 3


# A folder that vanishes or takes nothing


def test_a_reduction_whose_file_is_removed_keeps_what_was_paid_for(tmp_path: Path) -> None:
    make_steps(tmp_path)

    def step(seen: Seen) -> Sent:
        if seen.nth == 1:
            (tmp_path / ".reductions_1.jsonl").unlink()
        return Sent(body=completion(f"<think>\nShort.\n</think>\n\n{last_guess(seen)}"), after=0.2)

    with Server(step) as server:
        status, _, err = ran(reduce_tokens, "-b", server.url, "-c", 1)
        assert status == 1
        assert "removed while it was written" in one_line(err)
        assert ran(reduce_tokens, "-b", server.url, "-c", 1)[0] == 0
        assert len(server.seen) == 3


@pytest.mark.parametrize("said", ["plain", "a line\u2028apart, \x85 and \x0b too", "é 猫 \U0001f600"])
def test_games_whose_folder_is_removed_are_rescued_whole_to_a_file_named_on_stderr(tmp_path: Path, said: str) -> None:
    puzzles, folder = boards(12), tmp_path / "results"
    play = winner(*puzzles, thought=said)

    def step(seen: Seen) -> Sent:
        if seen.nth == 20:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
        return Sent(body=play(seen))

    with Server(step) as server:
        argv = ["--puzzles", puzzle_file(tmp_path / "p.jsonl", puzzles), "--results-dir", folder, "-c", 2]
        status, _, err = ran(generate_rollouts, *argv, "-b", server.url)
        asked = len(server.seen)
    assert status == 1
    assert "results_1.jsonl" in one_line(err)
    (rescued,) = tmp_path.glob("results_rescued_*.jsonl")
    assert str(rescued) in err
    rows = games_in(rescued)
    assert sum(row.usage.requests for row in rows) == asked
    assert {reply.reasoning for row in rows for reply in row.replies} == {said}


def test_games_are_rescued_in_any_locale(tmp_path: Path) -> None:
    call = """rescue(['{"a": "\\xe9 \\u732b"}'], "results", ("game", "games"), Path("home"))"""
    command = f"from pathlib import Path; from connections_env.durable import rescue; {call}"
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (rescued,) = tmp_path.glob("results_rescued_*.jsonl")
    assert done.stderr == f"1 game that could not be saved is in {rescued}; move it to home\n"
    assert rescued.read_bytes() == '{"a": "\xe9 \u732b"}\n'.encode()


@pytest.fixture
def shut() -> Iterator[Path]:
    """A folder below one that everybody may enter, in which nobody may write."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        shut = Path(name, "shut")
        shut.mkdir()
        for path in (Path(name), shut):
            path.chmod(0o755)
        yield shut
        shut.chmod(0o755)


@pytest.mark.parametrize("script", [doctor_gameplay, reduce_tokens, iterative_generate])
def test_a_folder_that_takes_nothing_is_found_out_before_anything_is_asked(
    tmp_path: Path, shut: Path, script: Any
) -> None:
    make_steps(tmp_path)
    for name in ("good_examples.jsonl", "doctor_gameplay.jsonl"):
        (shut / name).write_bytes((tmp_path / name).read_bytes())
    free = shut.parent / "free"
    free.mkdir()
    free.chmod(0o777)
    with Server(winner(*boards(9))) as server:
        argv: list[object] = ["-b", server.url]
        if script is iterative_generate:
            argv += ["--puzzles", puzzle_file(shut / "p.jsonl", boards(9)), "--results-dir", free]
            argv += ["--export", shut / "sft.jsonl"]
        else:
            argv += ["--output-dir", shut]
            argv += ["--results-dir", free] if script is doctor_gameplay else []
        before = contents(shut.parent)
        shut.chmod(0o555)
        with as_nobody():
            status, _, err = ran(script, *argv)
        assert (status, len(server.seen), contents(shut.parent) == before) == (2, 0, True), err
    assert str(shut) in one_line(err)


# What else may lie in a folder of results


def oddities(folder: Path) -> None:
    """Everything that bears the name of a results file and is none."""
    (folder / "results_7.jsonl").mkdir()
    (folder / "results_8.jsonl").symlink_to("results_8.jsonl")
    (folder / "results_9.jsonl").symlink_to(folder / "results_10.jsonl")
    (folder / "results_10.jsonl").symlink_to(folder / "results_9.jsonl")
    (folder / "results_11.jsonl").symlink_to("nowhere")
    os.mkfifo(folder / "results_12.jsonl")
    os.mkfifo(folder / "results.jsonl")
    (folder / "results_13.jsonl").touch()
    (folder / "results_14.jsonl").write_bytes(b"\n\r\n \n\xef\xbb\xbf")
    (folder / "results_15.jsonl").symlink_to("/dev/null")
    (folder / "below").symlink_to(folder, target_is_directory=True)


def test_what_only_looks_like_a_results_file_stops_no_script_and_takes_its_number(tmp_path: Path) -> None:
    folder, puzzles = tmp_path / "results", boards(3)
    results_file(folder / "results_2.jsonl", [won(board(0))])
    (folder / "results_3.jsonl").write_bytes(b"\xef\xbb\xbf" + line_of(won(board(1))).encode() + b"\r\n")
    oddities(folder)
    argv = ["--puzzles", puzzle_file(tmp_path / "p.jsonl", puzzles), "--results-dir", folder]
    with within(20):
        status, out, _ = ran(iterative_generate, *argv, "--dry-run")
        assert (status, good_and_missing(out)) == (0, (2, 1))
        status, out, _ = ran(filter_gameplay, folder)
        assert (status, len(games_in(Path("good_examples.jsonl")))) == (0, 2)
        with Server(winner(*puzzles)) as server:
            assert ran(iterative_generate, *argv, "-b", server.url)[0] == 0
            assert ran(generate_rollouts, *argv, "-b", server.url)[0] == 0
    assert [len(games_in(folder / f"results_{n}.jsonl")) for n in (16, 17)] == [1, 3]
    assert not (folder / "nowhere").exists()


NAMED_INPUTS: list[tuple[Any, tuple[str, ...]]] = [
    (filter_gameplay, ()),
    (prep_doctoring, ()),
    (doctor_gameplay, ("--offline",)),
    (reduce_tokens, ("--offline",)),
    (collate, ()),
    (generate_rollouts, ("--offline", "--puzzles")),
    (generate_rollouts, ("--offline", "--puzzle-ids-file")),
    (iterative_generate, ("--dry-run", "--puzzles")),
    (collate, ("good_examples_reduced.jsonl", "--exclude")),
]
NO_FILES = {"a folder": 7, "a link to itself": 8, "a dangling link": 11, "a pipe": 12}


def may_be_named(what: str, script: Any, flags: tuple[str, ...]) -> bool:
    """Folders hold results and puzzles, and a shell may hand a list of ids over as a pipe."""
    if what == "a folder":
        return script is filter_gameplay or flags[-1:] in (("--puzzles",), ("--exclude",))
    return what == "a pipe" and flags[-1:] == ("--puzzle-ids-file",)


@pytest.mark.parametrize(
    ("script", "flags", "what"),
    [(*one, what) for one in NAMED_INPUTS for what in NO_FILES if not may_be_named(what, *one)],
    ids=lambda value: getattr(value, "__name__", None) or " ".join(value) if not isinstance(value, str) else value,
)
def test_what_is_no_file_is_one_line_and_exit_2_where_it_is_named(
    tmp_path: Path, script: Any, flags: tuple[str, ...], what: str
) -> None:
    folder, name = tmp_path / "odd", f"results_{NO_FILES[what]}.jsonl"
    folder.mkdir()
    oddities(folder)
    Path("good_examples_reduced.jsonl").touch()
    before = set(contents(tmp_path))
    with within(10):
        status, out, err = ran(script, *flags, folder / name)
    assert (status, out, set(contents(tmp_path))) == (2, "", before)
    assert name in one_line(err)
    assert err.count("\n") == 1


def test_ten_thousand_results_files_are_read_and_the_next_run_takes_the_next_number(tmp_path: Path) -> None:
    folder, puzzles = tmp_path / "results", boards(101)
    lines = [line_of(won(puzzle)) + "\n" for puzzle in puzzles[:100]]
    folder.mkdir()
    for n in range(10_000):
        (folder / f"results_{n + 1}.jsonl").write_text(lines[n % 100])
    argv = ["--puzzles", puzzle_file(tmp_path / "p.jsonl", puzzles), "--results-dir", folder]
    with Server(winner(*puzzles)) as server:
        status, out, _ = ran(iterative_generate, *argv, "-b", server.url)
        assert (status, good_and_missing(out), len(server.seen)) == (0, (100, 1), 3)
    assert len(games_in(folder / "results_10001.jsonl")) == 1
    assert len(list(folder.iterdir())) == 10_001


@pytest.mark.parametrize(
    "line",
    [
        b"x" * 50_000_000,
        b'{"a": "' + b"x" * 50_000_000 + b'"}',
        b'{"info": {"puzzle_id": "' + b"\xff\0" * 25_000_000,
        b"[" * 50_000_000,
    ],
    ids=["letters", "an object", "cut in a string", "brackets"],
)
def test_an_unreadable_line_of_50_mb_costs_no_other_and_is_named_shortly(tmp_path: Path, line: bytes) -> None:
    folder = tmp_path / "results"
    results_file(folder / "results_1.jsonl", [won(board(0))])
    with (folder / "results_1.jsonl").open("ab") as file:
        file.write(line + b"\n" + line_of(won(board(1))).encode() + b"\n")
    argv = ["--puzzles", puzzle_file(tmp_path / "p.jsonl", boards(2)), "--results-dir", folder]
    status, out, err = ran(iterative_generate, *argv, "--dry-run")
    assert (status, good_and_missing(out)) == (0, (2, 0))
    assert err.startswith("results_1.jsonl:2: ")
    assert len(err) < 1000


def test_a_game_of_50_mb_is_good_and_goes_through_the_filter(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    long = [Reply(guess_text(group.members), "So. " * 4_000_000, "stop", 9) for group in board(0).groups[:3]]
    results_file(folder / "results_1.jsonl", [rollout(board(0), long), won(board(1))])
    argv = ["--puzzles", puzzle_file(tmp_path / "p.jsonl", boards(2)), "--results-dir", folder]
    status, out, _ = ran(iterative_generate, *argv, "--dry-run")
    assert (status, good_and_missing(out)) == (0, (2, 0))


# Any bytes


GOOD_LINES = [line_of(won(board(n))).encode() for n in range(3)]
VICTIMS = [line_of(row).encode() for row in (won(board(50)), lost(board(51)), played(board(52), "RN"))]
VERIFIERS = {
    "example_id": 4,
    "prompt": [{"role": "user", "content": "Sort these."}],
    "completion": [{"role": "assistant", "content": guess_text(board(53).groups[0].members)}],
    "info": {"game_id": "made-53", "groups": [{"name": g.theme, "words": list(g.members)} for g in board(53).groups]},
    "reward": 0.5,
}
VICTIMS.append(json.dumps(VERIFIERS).encode())
SPOILS = [b"", b"\0", b"\xff", b'"', b"{", b"}", b"[", b",", b":", b"\\", b"\\ud800", b"\xed\xa0\x80", b"\r", b"\x1b["]
VALUES = [b"NaN", b"Infinity", b"-1e999", b"1" + b"0" * 5000, b"null", b"[]", b"{}", b'""', b"true", b'"\\ud800"']
VALUES += [b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"\xff", b"1.5", b"9" * 30, b'["\\udfff"]']
NAMED_VALUE = re.compile(rb'": ?("(?:[^"\\]|\\.)*"|-?[\d.]+|null|true|false|[\[{])')


@st.composite
def mutations(draw: Any) -> bytes:
    """A line of a game with bytes spoilt, cut, glued to another, or a value replaced by what nobody expects."""
    line = draw(st.sampled_from(VICTIMS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(line) - 1, 0)))
        match draw(st.sampled_from(["spoil", "flip", "cut", "glue", "value", "drop"])):
            case "spoil":
                line = line[:at] + draw(st.sampled_from(SPOILS)) + line[at + draw(st.integers(0, 2)) :]
            case "flip":
                line = line[:at] + bytes([draw(st.integers(0, 255))]) + line[at + 1 :]
            case "cut":
                line = draw(st.sampled_from([line[:at], line[at:]]))
            case "drop":
                line = line[:at] + line[at + draw(st.integers(1, 400)) :]
            case "glue":
                line = line + draw(st.sampled_from([*VICTIMS, b"", line[:at]]))
            case "value":
                places = list(NAMED_VALUE.finditer(line))
                if places:
                    start, end = draw(st.sampled_from(places)).span(1)
                    line = line[:start] + draw(st.sampled_from(VALUES)) + line[end:]
    return line


def is_of_the_future(line: bytes) -> bool:
    """A newer version ends a run, by design."""
    return re.search(rb'"schema_version"\s*:\s*-?\d', line) is not None and b'"schema_version": 1' not in line


junk = (st.binary(max_size=60) | mutations()).map(lambda line: line.replace(b"\n", b" "))


def surely_unreadable(line: bytes) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        return not isinstance(json.loads(line.decode()), dict)
    return bool(line.removeprefix(b"\xef\xbb\xbf").strip())


@PROPERTY
@given(st.lists(junk, min_size=1, max_size=5), st.randoms(use_true_random=False), st.booleans())
@example([b'{"\xed\xa0\x80role": "assistant", "completion": []}'], None, True)
@example([b'{"info": NaN}', b'"\\ud800"', b"1" * 5000, b"\xff\xfe{\0}\0", b"\x1e"], None, True)
def test_whatever_lies_between_good_lines_costs_none_of_them_and_is_named(
    lines: list[bytes], rng: Any, ended: bool
) -> None:
    lines = [line for line in lines if not is_of_the_future(line)]
    mixed = [*lines, *GOOD_LINES]
    if rng:
        rng.shuffle(mixed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "results" / "results_4.jsonl"
        path.parent.mkdir()
        path.write_bytes(b"\n".join(mixed) + (b"\n" if ended else b""))
        puzzles = puzzle_file(folder / "p.jsonl", boards(5))
        told = ran(
            iterative_generate, "--dry-run", "-v", "--puzzles", puzzles, "--results-dir", folder / "results", "-n", 5
        )
        filtered = ran(filter_gameplay, "-v", "--output-dir", folder, folder / "results")
        good = [row.info.puzzle_id for row in games_in(folder / "good_examples.jsonl")]
    assert good_and_missing(told[1]) == (3, 2), told
    assert {"made-0", "made-1", "made-2"} <= set(good), filtered
    for status, _, err in (told, filtered):
        assert status == 0, err
        assert "Traceback" not in err
        named = re.findall(r"^results_4\.jsonl:(\d+): .*; skipped$", err, re.MULTILINE)
        counts = re.findall(r"(\d+) (?:unreadable|torn last line)", err)
        assert len(set(named)) == len(named) == sum(map(int, counts)), err
        bad = {n for n, line in enumerate(mixed, 1) if surely_unreadable(line) and line not in GOOD_LINES}
        assert bad <= set(map(int, named)), (err, mixed)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_results_file_cut_at_any_byte_keeps_every_game_before_and_is_not_written_to(data: st.DataObject) -> None:
    whole = b"".join(line + b"\n" for line in GOOD_LINES)
    ends = [end for end, byte in enumerate(whole) if byte == ord("\n")]
    cut = data.draw(st.integers(0, len(whole)) | st.sampled_from([end + by for end in ends for by in (-1, 0, 1)]))
    kept = sum(end <= cut for end in ends)  # without its newline a last line is still whole
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "results", "results_1.jsonl")
        path.parent.mkdir()
        path.write_bytes(whole[:cut])
        argv = ["--puzzles", puzzle_file(Path(name, "p.jsonl"), boards(3)), "--results-dir", path.parent]
        status, out, err = ran(iterative_generate, "--dry-run", *argv)
        assert (status, good_and_missing(out)) == (0, (kept, 3 - kept))
        assert ("results_1.jsonl:" in err) == (cut not in (0, *ends, *(end + 1 for end in ends)))
        assert ran(filter_gameplay, "--output-dir", name, path)[0] == (0 if kept else 1)
        if kept:
            assert len(games_in(Path(name, "good_examples.jsonl"))) == kept
        assert path.read_bytes() == whole[:cut]


PUZZLE_LINE = json.dumps(hub_row(board(60))).encode()


@st.composite
def puzzle_bytes(draw: Any) -> bytes:
    line = draw(st.sampled_from([PUZZLE_LINE, PUZZLE_LINE + b"\n" + PUZZLE_LINE, b"[" + PUZZLE_LINE + b"]"]))
    for _ in range(draw(st.integers(1, 4))):
        places = list(NAMED_VALUE.finditer(line))
        at = draw(st.integers(0, max(len(line) - 1, 0)))
        if places and draw(st.booleans()):
            start, end = draw(st.sampled_from(places)).span(1)
            line = line[:start] + draw(st.sampled_from(VALUES)) + line[end:]
        else:
            line = line[:at] + draw(st.sampled_from(SPOILS)) + line[at + draw(st.integers(0, 2)) :]
    return line


@PROPERTY
@given(
    st.sampled_from([".json", ".jsonl", ".csv", ".yaml", ".parquet"]),
    st.binary(max_size=80) | puzzle_bytes() | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")),
)
@example(".yaml", b"a: !!python/object/apply:os.system ['touch x']")
@example(".yaml", b"&a [*a]")
@example(".csv", b"\0")
@example(".csv", b"a" * 200_000 + b"\n" + b'"' * 3)
@example(".json", b"[" * 100_000)
@example(".json", PUZZLE_LINE.decode().encode("utf-16"))
def test_any_bytes_as_puzzles_are_boards_or_one_line(ending: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, f"odd{ending}")
        path.write_bytes(data)
        status, out, err = ran(iterative_generate, "--dry-run", "--puzzles", path, "--results-dir", name)
        assert [entry.name for entry in Path(name).iterdir()] == [path.name]
    assert "Traceback" not in err
    if status == 2:
        assert out == ""
        assert "odd" in one_line(err)
    else:
        assert status == 0, err
        assert good_and_missing(out)[0] == 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_parquet_file_with_bytes_spoilt_is_boards_or_one_line(data: st.DataObject) -> None:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([hub_row(board(60))]), sink)
    spoilt = bytearray(sink.getvalue())
    for at in data.draw(st.lists(st.integers(0, len(spoilt) - 1), min_size=1, max_size=4)):
        spoilt[at] = data.draw(st.integers(0, 255))
    test_any_bytes_as_puzzles_are_boards_or_one_line.hypothesis.inner_test(".parquet", bytes(spoilt))  # type: ignore[attr-defined]
