"""Files the user paid for: numbered results files, and tolerant reading.

Nothing here ever overwrites a file: results files are claimed with O_EXCL and only appended to.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

OFFLINE = "offline"
"""The folder, below that of the paid results, of those of the simulated player."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK = 2**20  # bytes read at a time
_PACKED = {".gz", ".bz2", ".xz", ".zst", ".zip"}
_RESULTS_NAME = re.compile(r"results_(\d+)\.jsonl")


def shown(path: Path) -> str:
    """A path as messages name it: relative to the current folder where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def told_apart(paths: Sequence[Path]) -> list[str]:
    """A name for each of some files: its own, with as many folders as tell files of that name apart.

    Never more than lies below the folder that those share, so that no name says where on a machine it is.
    """
    named: dict[str, list[Path]] = {}
    for path in dict.fromkeys(path.absolute() for path in paths):
        named.setdefault(path.name, []).append(path)
    names: dict[Path, str] = {}
    for alike in named.values():
        shared = os.path.commonpath([path.parent for path in alike])
        below = [path.relative_to(shared).parts for path in alike]
        for length in range(1, max(map(len, below)) + 1):
            ends = ["/".join(parts[-length:]) for parts in below]
            if len({*ends}) == len(ends):
                break
        names |= dict(zip(alike, ends, strict=True))
    return [names[path.absolute()] for path in paths]


def results_number(path: Path) -> int | None:
    """N of `results_N.jsonl`, else None."""
    match = _RESULTS_NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def results_files(folder: Path) -> list[Path]:
    """The results files of a folder; empty where there is no folder. OSError where it cannot be read.

    Those with a number come first, in its order; then others called `results*.jsonl`, and every `results.jsonl` in
    folders below, where evaluation tools write one for each run; never those of the simulated player.
    """
    if not folder.exists():
        return []
    numbered = [(number, path) for path in folder.iterdir() if (number := results_number(path)) is not None]
    below = (path for path in folder.rglob("results.jsonl") if path.relative_to(folder).parts[0] != OFFLINE)
    named = {*folder.glob("results*.jsonl"), *below} - {path for _, path in numbered}
    return [path for path in (*(path for _, path in sorted(numbered)), *sorted(named)) if path.is_file()]


def packed_results(folder: Path) -> list[Path]:
    """What would be results files of a folder, were they not compressed."""
    below = (path for path in folder.rglob("results*.jsonl.*") if path.suffix in _PACKED)
    return sorted(path for path in below if path.relative_to(folder).parts[0] != OFFLINE)


def next_number(folder: Path) -> int:
    """One above the highest number taken, by whatever kind of entry; gaps are not filled."""
    taken = [results_number(path) or 0 for path in folder.iterdir()] if folder.exists() else []
    return max(taken, default=0) + 1


def claim_results_file(folder: Path) -> tuple[Path, int]:
    """Creates the next results file, never one that another process has; gives its path and an open descriptor."""
    number = next_number(folder)
    while True:
        path = folder / f"results_{number}.jsonl"
        try:
            return path, claim_file(path)
        except FileExistsError:
            number += 1


def claim_file(path: Path) -> int:
    """Creates a file that must not exist yet, and its folder. Raises FileExistsError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its number from 1, where it starts and ends in bytes, and its bytes without the line ending."""

    number: int
    offset: int
    end: int
    data: bytes
    torn: bool
    """Has no line ending: the last line of a file whose writer died, or is still writing."""


def read_lines(path: Path, offset: int = 0, number: int = 1) -> Iterator[Line]:
    """Non-blank lines from a position on. A byte order mark and CRLF endings are taken off."""
    with path.open("rb") as file:
        file.seek(offset)
        for raw in file:
            data, end = raw.rstrip(b"\r\n"), offset + len(raw)
            if offset == 0:
                data = data.removeprefix(BYTE_ORDER_MARK)
            if data.strip():
                yield Line(number, offset, end, data, torn=not raw.endswith(b"\n"))
            offset, number = end, number + 1


def lines_in(file: BinaryIO) -> Iterator[memoryview]:
    """The rest of a file, line by line with its ending, without copying a line: twice as fast as the file's own."""
    rest = b""
    while block := file.read(_BLOCK):
        block, start = rest + block, 0
        view = memoryview(block)
        while end := block.find(b"\n", start) + 1:
            yield view[start:end]
            start = end
        rest = block[start:]
    if rest:
        yield memoryview(rest)


def line_at(path: Path, offset: int) -> bytes:
    """The line that starts at a byte."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.readline().rstrip(b"\r\n").removeprefix(BYTE_ORDER_MARK)


def line_number(path: Path, offset: int) -> int:
    """The number, from 1, of the line that starts at a byte."""
    with path.open("rb") as file:
        return 1 + sum(file.read(min(_BLOCK, offset - start)).count(b"\n") for start in range(0, offset, _BLOCK))
