"""Results files: their numbers, durable appends, tolerant reading."""

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env.durable import ResultsFile
from connections_env.files import (
    claim_file,
    claim_results_file,
    line_at,
    next_number,
    read_lines,
    results_files,
    results_number,
)
from connections_env.steps import replace_files
from tests.scripted import full_after

ROOT = Path(__file__).parents[1]


def claimed(folder: Path) -> str:
    path, fd = claim_results_file(folder)
    os.close(fd)
    return path.name


def appending(folder: Path, rows: list[str], then: Any = None, pause: float = 0.0, **options: Any) -> ResultsFile:
    async def append() -> ResultsFile:
        async with ResultsFile(lambda: claim_results_file(folder), **options) as results:
            for row in rows:
                results.append(row, *([lambda row=row: then(row)] if then else []))
                await asyncio.sleep(pause)
        return results

    return asyncio.run(append())


# Numbers


def test_a_results_number_is_read_from_the_whole_name_alone() -> None:
    names = ["results_1.jsonl", "results_20.jsonl", "results_x.jsonl", "results_1.jsonl.bak", "my_results_1.jsonl"]
    names += ["results_.jsonl", "results_1.json", "results_-1.jsonl", "results_1.5.jsonl", "Results_1.jsonl"]
    assert [results_number(Path("folder") / name) for name in names] == [1, 20] + [None] * 8


def test_the_first_number_of_a_folder_is_one(tmp_path: Path) -> None:
    assert next_number(tmp_path) == next_number(tmp_path / "none") == 1
    assert claimed(tmp_path / "made" / "deep") == "results_1.jsonl"


def test_the_next_number_is_one_above_the_highest_and_gaps_are_not_filled(tmp_path: Path) -> None:
    for name in ("results_2.jsonl", "results_9.jsonl", "results_10.jsonl", "results_99.json", "notes.txt"):
        (tmp_path / name).touch()
    assert next_number(tmp_path) == 11
    assert [claimed(tmp_path) for _ in range(2)] == ["results_11.jsonl", "results_12.jsonl"]


def test_whatever_bears_a_number_has_taken_it(tmp_path: Path) -> None:
    (tmp_path / "results_7.jsonl").mkdir()
    assert claimed(tmp_path) == "results_8.jsonl"
    (tmp_path / "results_20.jsonl").symlink_to(tmp_path / "nowhere")
    assert claimed(tmp_path) == "results_21.jsonl"
    assert not (tmp_path / "nowhere").exists()


def test_results_files_come_by_number_and_only_files_count(tmp_path: Path) -> None:
    for n in (10, 9, 2):
        (tmp_path / f"results_{n}.jsonl").touch()
    (tmp_path / "results_3.jsonl").mkdir()
    (tmp_path / "results_4.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "other.jsonl").touch()
    assert [path.name for path in results_files(tmp_path)] == [f"results_{n}.jsonl" for n in (2, 9, 10)]
    assert results_files(tmp_path / "none") == []


def test_threads_never_claim_the_same_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        names = list(pool.map(lambda _: claimed(tmp_path), range(200)))
    assert len(set(names)) == 200
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_processes_never_claim_the_same_file(tmp_path: Path) -> None:
    claim = (
        "import sys; from pathlib import Path; from connections_env.files import claim_results_file\n"
        "sys.stdin.readline()\n"
        "for _ in range(50): print(claim_results_file(Path(sys.argv[1]))[0].name)"
    )
    command = [sys.executable, "-c", claim, str(tmp_path)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    names = []
    for process in processes:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    for process in processes:
        names += process.communicate(timeout=30)[0].split()
        assert process.returncode == 0
    assert len(names) == len(set(names)) == 200


def test_a_file_that_exists_is_never_claimed_or_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("paid for\n")
    with pytest.raises(FileExistsError):
        claim_file(path)
    assert path.read_text() == "paid for\n"


def test_a_number_taken_in_between_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connections_env.files.next_number", lambda folder: 1)
    (tmp_path / "results_1.jsonl").write_text("another run's\n")
    (tmp_path / "results_2.jsonl").write_text("another run's\n")
    assert claimed(tmp_path) == "results_3.jsonl"
    assert (tmp_path / "results_1.jsonl").read_text() == "another run's\n"


# Appends


def test_no_row_leaves_no_file_and_no_folder(tmp_path: Path) -> None:
    results = appending(tmp_path / "folder", [])
    assert results.path is None
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_claimed_when_the_first_row_comes(tmp_path: Path) -> None:
    async def append() -> None:
        async with ResultsFile(lambda: claim_results_file(tmp_path)) as results:
            await asyncio.sleep(0)
            assert list(tmp_path.iterdir()) == []
            (tmp_path / "results_4.jsonl").touch()
            results.append("{}")
            assert results.path == tmp_path / "results_5.jsonl"

    asyncio.run(append())


def test_each_row_is_one_line_in_order(tmp_path: Path) -> None:
    rows = [json.dumps({"n": n, "text": "é\u2028\n\r\x85 \0 …" * n}, ensure_ascii=False) for n in range(50)]
    results = appending(tmp_path, rows)
    assert results.path is not None
    assert results.path.read_bytes() == b"".join(row.encode() + b"\n" for row in rows)


def test_a_row_is_in_the_file_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    async def append() -> None:
        async with ResultsFile(lambda: claim_results_file(tmp_path)) as results:
            results.append("{}")
            assert results.path is not None
            assert results.path.read_bytes() == b"{}\n"

    asyncio.run(append())


def test_two_open_files_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    async def append() -> None:
        claim = lambda: claim_results_file(tmp_path)  # noqa: E731
        async with ResultsFile(claim) as one, ResultsFile(claim) as two:
            for n in range(10):
                one.append(f'{{"one": {n}}}')
                two.append(f'{{"two": {n}}}')

    asyncio.run(append())
    contents = [path.read_text() for path in results_files(tmp_path)]
    assert [("one" in text, "two" in text, text.count("\n")) for text in contents] == [
        (True, False, 10),
        (False, True, 10),
    ]


@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_a_row_counts_only_after_a_sync_that_followed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    synced, counted, fsync = 0, [], os.fsync
    rows = [f'{{"n": {n}}}' for n in range(12)]
    path = tmp_path / "results_1.jsonl"

    def watched(fd: int) -> None:
        nonlocal synced
        size = path.stat().st_size  # at the least this much is durable when the sync returns
        fsync(fd)
        synced = max(synced, size)

    def count(row: str) -> None:
        counted.append(row)
        assert synced >= sum(len(row) + 1 for row in counted)

    monkeypatch.setattr(os, "fsync", watched)
    appending(tmp_path, rows, count, pause)
    assert counted == rows


def test_a_row_that_comes_during_a_sync_counts_only_after_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = list[str]()

    async def append_two() -> None:
        loop, came = asyncio.get_running_loop(), threading.Event()

        def second() -> None:
            results.append("two", lambda: events.append("two counts"))
            came.set()

        def fsync(descriptor: int) -> None:
            if not events:
                loop.call_soon_threadsafe(second)
                assert came.wait(20)
            events.append("sync")

        monkeypatch.setattr(os, "fsync", fsync)
        async with ResultsFile(lambda: claim_results_file(tmp_path)) as results:
            results.append("one", lambda: events.append("one counts"))
            while "one counts" not in events:
                await asyncio.sleep(0.001)

    asyncio.run(append_two())
    assert events == ["sync", "one counts", "sync", "two counts"]


def test_rows_are_counted_while_the_file_is_still_open(tmp_path: Path) -> None:
    async def append() -> None:
        counted = asyncio.Event()
        async with ResultsFile(lambda: claim_results_file(tmp_path)) as results:
            results.append("{}", counted.set)
            await asyncio.wait_for(counted.wait(), 20)

    asyncio.run(append())


def test_syncs_run_off_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    threads = []
    monkeypatch.setattr(os, "fsync", lambda fd: threads.append(threading.current_thread()))

    async def append() -> None:
        counted = asyncio.Event()
        async with ResultsFile(lambda: claim_results_file(tmp_path)) as results:
            results.append("{}", counted.set)
            await asyncio.wait_for(counted.wait(), 20)
            assert threads[0] is not threading.main_thread()

    asyncio.run(append())


def test_many_rows_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (syncs.append(fd), fsync(fd)))
    appending(tmp_path, ["{}"] * 500)
    assert 1 <= len(syncs) < 50


@pytest.mark.parametrize("left", [8, 9, 12, 15])
def test_a_failed_write_leaves_no_half_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    counted, failures = list[str](), list[str]()

    async def append() -> None:
        hear = lambda error: failures.append(error.strerror)  # noqa: E731
        async with ResultsFile(lambda: claim_results_file(tmp_path), hear) as results:
            results.append('{"n":1}', lambda: counted.append("1"))
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", full_after(left - 8))
                results.append('{"n":2}', lambda: counted.append("2"))
            assert (results.unsaved, failures) == (['{"n":2}'], ["No space left on device"])
            results.append('{"n":3}', lambda: counted.append("3"))

    asyncio.run(append())
    assert (tmp_path / "results_1.jsonl").read_bytes() == b'{"n":1}\n{"n":3}\n'
    assert counted == ["1", "3"]


def test_a_row_written_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
        appending(tmp_path, ['{"text": "short writes"}'] * 3)
    assert (tmp_path / "results_1.jsonl").read_bytes() == b'{"text": "short writes"}\n' * 3


@pytest.mark.parametrize("left", [0, 3])
def test_a_first_row_that_cannot_be_written_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.setattr(os, "write", full_after(left))
    failures: list[OSError] = []
    assert appending(tmp_path, ["{}" * 10], on_failure=failures.append).unsaved == ["{}" * 10]
    assert [error.strerror for error in failures] == ["No space left on device"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [0, 3])
@pytest.mark.parametrize("before", [b'{"paid": 1}\n', b'{"paid": 1}\n{"torn'])
def test_a_row_that_cannot_be_appended_leaves_a_file_that_holds_something_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes, left: int
) -> None:
    path, counted = tmp_path / "mine.jsonl", list[str]()
    path.write_bytes(before)

    async def append() -> None:
        async with ResultsFile(lambda: (path, os.open(path, os.O_WRONLY | os.O_APPEND))) as results:
            for _ in range(2):
                with monkeypatch.context() as patch:
                    patch.setattr(os, "write", full_after(left))
                    results.append('{"n":1}', lambda: counted.append("1"))
                assert (results.path, path.read_bytes()) == (path, before)
            results.append('{"n":2}', lambda: counted.append("2"))
        assert results.unsaved == ['{"n":1}'] * 2

    asyncio.run(append())
    assert path.read_bytes() == before + b'{"n":2}\n'
    assert counted == ["2"]


def test_a_failed_sync_is_an_error_and_its_rows_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    counted: list[str] = []
    monkeypatch.setattr(os, "fsync", broken)
    failures: list[OSError] = []
    appending(tmp_path, ["{}"], counted.append, 0.1, on_failure=failures.append)
    assert failures[0].errno == errno.EIO
    assert counted == []


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_after_a_failed_sync_nothing_counts_and_what_was_not_safe_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    """The kernel reports a failed write to the disk once, and then forgets it."""
    calls, fsync = list[int](), os.fsync

    def broken_at_second(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", broken_at_second)
    counted, failures = list[str](), list[OSError]()

    async def append() -> ResultsFile:
        async with ResultsFile(lambda: claim_results_file(tmp_path), failures.append) as results:
            results.append("first", lambda: counted.append("first"))
            while not counted:
                await asyncio.sleep(0.01)
            for row in ("second", "third"):
                results.append(row, lambda row=row: counted.append(row))
                await asyncio.sleep(pause)
        return results

    assert asyncio.run(append()).unsaved == ["second", "third"]
    assert (counted, len(failures)) == (["first"], 1)


def test_a_close_that_fails_after_a_sync_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, close = list[str](), os.close

    def broken(fd: int) -> None:
        close(fd)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    async def append() -> ResultsFile:
        async with ResultsFile(lambda: claim_results_file(tmp_path)) as results:
            results.append("{}", lambda: counted.append("{}"))
            monkeypatch.setattr(os, "close", broken)
        return results

    try:
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(append()).unsaved == []
    finally:
        monkeypatch.undo()
        loop.close()
    assert counted == ["{}"]


# Reading


def lines(tmp_path: Path, raw: bytes, **position: int) -> list[Any]:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(raw)
    return list(read_lines(path, **position))


def test_line_endings_are_taken_off(tmp_path: Path) -> None:
    read = lines(tmp_path, b'{"a":1}\n{"b":2}\r\n{"c":3}\n')
    assert [(line.number, line.data, line.torn) for line in read] == [
        (1, b'{"a":1}', False),
        (2, b'{"b":2}', False),
        (3, b'{"c":3}', False),
    ]
    assert [(line.offset, line.end) for line in read] == [(0, 8), (8, 17), (17, 25)]


def test_a_byte_order_mark_is_taken_off(tmp_path: Path) -> None:
    read = lines(tmp_path, b'\xef\xbb\xbf{"a":1}\r\n{"b":2}\n')
    assert [(line.offset, line.data) for line in read] == [(0, b'{"a":1}'), (12, b'{"b":2}')]
    assert line_at(tmp_path / "rows.jsonl", 0) == b'{"a":1}'


def test_blank_lines_are_left_out_but_numbered(tmp_path: Path) -> None:
    read = lines(tmp_path, b'\n\r\n  \t\n{"a":1}\n\n\n{"b":2}\n\n')
    assert [(line.number, line.data) for line in read] == [(4, b'{"a":1}'), (7, b'{"b":2}')]


@pytest.mark.parametrize("raw", [b"", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b" \r\n\r\n"])
def test_a_file_without_rows_has_no_lines(tmp_path: Path, raw: bytes) -> None:
    assert lines(tmp_path, raw) == []


@pytest.mark.parametrize("tail", [b'{"b":', b'{"b":2}', b'{"b":2}\r', b"\0\0\0\0"])
def test_a_last_line_without_an_end_is_torn(tmp_path: Path, tail: bytes) -> None:
    read = lines(tmp_path, b'{"a":1}\n' + tail)
    assert [line.torn for line in read] == [False, True]


def test_a_separator_that_is_no_newline_byte_does_not_split_a_line(tmp_path: Path) -> None:
    row = '{"text": "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\rh"}'.encode()
    read = lines(tmp_path, row + b"\n" + row + b"\r\n")
    assert [line.data for line in read] == [row, row]


def test_nul_bytes_and_invalid_utf8_stop_nothing(tmp_path: Path) -> None:
    read = lines(tmp_path, b'{"a":1}\n\0\0\0\n\xff\xfe{\n{"b":2}\n')
    assert [line.number for line in read if line.data.startswith(b"{")] == [1, 4]
    assert read[-1].data == b'{"b":2}'


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_lines(tmp_path / "none.jsonl"))


json_rows = st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.none(), max_size=3).map(
    lambda row: json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")
)
junk = (
    st.binary(max_size=20)
    .map(lambda data: data.replace(b"\n", b"?").rstrip(b"\r"))
    .map(lambda data: b"x" + data + b"x")
)
blank = st.sampled_from([b"", b" ", b"\t "])
ended = st.tuples(st.one_of(json_rows, junk, blank), st.sampled_from([b"\n", b"\r\n"]))


@given(st.lists(ended, max_size=12), st.booleans(), st.booleans())
def test_any_rows_are_read_back_with_numbers_and_offsets(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[bytes, bytes]], mark: bool, torn: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    if torn and rows:
        rows[-1] = (rows[-1][0], b"")
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + b"".join(data + end for data, end in rows))
    read = list(read_lines(path))
    expected = [(n, data, not end) for n, (data, end) in enumerate(rows, 1) if data.strip()]
    assert [(line.number, line.data, line.torn) for line in read] == expected
    for line in read:
        assert line_at(path, line.offset) == line.data
    position, number = 3 * mark, 1
    for n, (data, end) in enumerate(rows):
        start = 0 if n == 0 else position
        rest = list(read_lines(path, start, number))
        assert rest == [line for line in read if line.number >= number]
        position, number = position + len(data + end), number + 1


@given(st.lists(ended, max_size=8), st.lists(ended, min_size=1, max_size=4))
def test_a_file_that_grew_is_read_on_from_where_it_ended(
    tmp_path_factory: pytest.TempPathFactory, first: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "growing.jsonl"
    path.write_bytes(b"".join(data + end for data, end in first))
    before, size = list(read_lines(path)), path.stat().st_size
    with path.open("ab") as file:
        file.write(b"".join(data + end for data, end in more))
    assert before + list(read_lines(path, size, len(first) + 1)) == list(read_lines(path))


# Files that take the place of others


def test_every_file_is_synced_whole_before_the_first_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = tmp_path / "one.jsonl", tmp_path / "two.bin"
    for path in paths:
        path.write_text("old")
    fsync, synced = os.fsync, list[bytes]()

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())
        assert [path.read_text() for path in paths] == ["old", "old"]

    monkeypatch.setattr(os, "fsync", sync)
    replace_files({paths[0]: ["a\n", "b\n"], paths[1]: b"raw"})
    assert synced == [path.read_bytes() for path in paths] == [b"a\nb\n", b"raw"]


def test_a_file_takes_the_place_of_another_and_is_never_written_into_it(tmp_path: Path) -> None:
    path, link = tmp_path / "good_examples.jsonl", tmp_path / "link"
    path.write_text("old")
    link.hardlink_to(path)
    replace_files({path: ["new\n"]})
    assert (path.read_text(), link.read_text()) == ("new\n", "old")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["good_examples.jsonl", "link"]
