"""Results are read in stretches, in several processes where that pays; what comes of it is the same."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env import standings as module
from connections_env.candidates import SPARES
from connections_env.files import line_number, lines_in
from connections_env.json_lines import FutureRow
from connections_env.scan import Stretch
from connections_env.standings import Standings, cut
from tests.rollouts import board, changed, empty, interrupted, lost, results_file, won


@pytest.fixture
def folder(tmp_path):
    """Six files: many rollouts of a few puzzles, rows that do not count, lines that are none, a torn last one."""
    for number in range(1, 7):
        rows = [kind(board(n)) for n in range(5) for kind in (won, lost, interrupted, empty)]
        rows = [changed(row, rollout_id=f"{number}-{nth}") for nth, row in enumerate(rows)]
        path = results_file(tmp_path / f"results_{number}.jsonl", [*rows, "{", "", "nonsense", *rows[:2]])
        with path.open("a") as file:
            file.write('{"torn')
    return tmp_path


def read(folder, files=None):
    told: list[str] = []
    standings = Standings("nyt", report=told.append)
    standings.read(files or sorted(folder.glob("*.jsonl")))
    return standings, told


def as_many_processes_as_can_be(monkeypatch):
    monkeypatch.setattr(module, "PAYS_FROM", 1)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 3)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.threading, "active_count", lambda: 1)


def test_several_processes_find_what_one_finds_and_tell_it_in_the_same_order(folder, monkeypatch):
    alone, told_alone = read(folder)
    as_many_processes_as_can_be(monkeypatch)
    together, told_together = read(folder)
    assert told_together == told_alone
    assert told_alone[0].startswith("results_1.jsonl:21: ")
    assert told_alone[1].startswith("results_1.jsonl:23: ")
    assert told_alone[2] == "results_1.jsonl:26: torn last line, its writer died or is still writing; skipped"
    for name in ("by_puzzle", "counts", "rows_of", "torn", "_beyond_spares", "_read_to"):
        assert getattr(together, name) == getattr(alone, name), name
    assert {len(best) for best in alone.by_puzzle.values()} == {SPARES}
    assert alone.counts["counted"] == 6 * 15
    assert alone.counts["copy of another row"] == 6 * 2


def test_what_is_added_to_a_file_is_read_and_nothing_twice(folder, monkeypatch):
    standings, told = read(folder)
    before = dict(standings.counts)
    standings.read(sorted(folder.glob("*.jsonl")))
    assert (dict(standings.counts), len(told)) == (before, 18)
    path = folder / "results_1.jsonl"
    with path.open("a") as file:
        file.write('"}\n' + won(board(9)).to_line() + "\n{\n")
    standings.read([path])
    assert told[-1].startswith("results_1.jsonl:28: ")
    assert [one.why_bad for one in standings.by_puzzle[board(9).key]] == [None]


@pytest.mark.parametrize("several", [False, True])
def test_a_row_of_a_newer_version_is_named_by_its_line(folder, monkeypatch, several):
    if several:
        as_many_processes_as_can_be(monkeypatch)
    results_file(folder / "results_9.jsonl", [won(board(1)), "", changed(won(board(2)), schema_version=9)])
    with pytest.raises(FutureRow, match=r"results_9\.jsonl:3: "):
        read(folder)


def test_a_recall_reads_no_further_than_was_read(folder):
    standings, _ = read(folder)
    key = board(0).key
    for candidate in list(standings.by_puzzle[key]):
        standings.drop(key, candidate)
    with (folder / "results_7.jsonl").open("w") as file:
        file.write(won(board(0), rollout_id="later").to_line() + "\n")
    assert standings.recall({key}) == {key}
    assert standings.by_puzzle[key]
    assert "later" not in {one.rollout_id for one in standings.by_puzzle[key]}


@given(st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")), max_size=12), st.integers(1, 60))
def test_a_file_is_cut_where_lines_begin(tmp_path_factory, lines, most):
    path = tmp_path_factory.mktemp("cut") / "lines"
    path.write_bytes(b"\n".join(lines))
    size = path.stat().st_size
    cuts = list(cut(Stretch(path, 0, None), size, most))
    pieces = [piece for piece, _ in cuts]
    assert sum(length for _, length in cuts) == size
    assert [piece.start for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end is None
    whole = path.read_bytes()
    assert all(whole[piece.start - 1 : piece.start] == b"\n" for piece in pieces[1:])


@given(st.binary(max_size=300).map(lambda text: text.replace(b"x", b"\n")))
def test_lines_are_those_of_the_file(tmp_path_factory, monkeypatch_block, content):
    path: Path = tmp_path_factory.mktemp("lines") / "lines"
    path.write_bytes(content)
    with path.open("rb") as file, path.open("rb") as same:
        assert [bytes(line) for line in lines_in(file)] == list(same)
    offset = 0
    for number, line in enumerate(content.splitlines(keepends=True) if b"\r" not in content else [], 1):
        if b"\n" in line:
            assert line_number(path, offset) == 1 + content[:offset].count(b"\n") == number
        offset += len(line)


@pytest.fixture(scope="module")
def monkeypatch_block():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connections_env.files._BLOCK", 7)
        yield


@pytest.mark.parametrize("ending", ["", "\n"])
def test_a_line_nested_without_end_is_no_row_and_stops_nothing(tmp_path, ending):
    path = results_file(tmp_path / "results_1.jsonl", [won(board(0))])
    with path.open("a") as file:
        file.write("[" * 50_000 + "]" * 50_000 + ending)
    standings, told = read(tmp_path)
    assert [*standings.by_puzzle] == [board(0).key]
    assert (standings.torn, standings.unreadable.total()) == ((0, 1) if ending else (1, 0))
    assert len(told) == 1
