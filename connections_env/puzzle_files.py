"""Rows of puzzle files (.json .jsonl .csv .yaml .yml .parquet) and of folders of them.

Words stay as they are written: no reader here takes NA for nothing or 007 for 7.
"""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from connections_env.boards import Row, word
from connections_env.decoding import Unreadable, from_json, from_yaml
from connections_env.layouts import Placed, rows_of, table_row, whole_games


def read_rows(path: Path) -> list[Placed]:
    """The rows of a file or folder, and what in it is none. Raises ValueError with one line that names the way out.

    In a folder, files of other kinds are passed over, and files that cannot be read are rows that cannot.
    """
    if path.is_dir():
        return list(_folder_rows(path))
    if path.suffix.lower() not in READERS:
        raise ValueError(f"cannot read puzzles from {path}; give a folder or one of {', '.join(READERS)}")
    try:
        return _file_rows(path, path.name)
    except FileNotFoundError:
        raise ValueError(f"no such file: {path}; name a file, a folder, a dataset id or builtin") from None
    except UNREADABLE as error:
        raise ValueError(f"cannot read {path}: {one_line(error)}") from None


def _folder_rows(folder: Path) -> Iterator[Placed]:
    refused: list[OSError] = []
    paths = sorted(_paths_below(folder, refused), key=lambda path: path.parts)
    for path in paths:
        name = word(str(path.relative_to(folder)))
        try:
            yield from _file_rows(path, name)
        except UNREADABLE as error:
            yield name, Unreadable(f"cannot be read: {one_line(error)}")
    for refusal in refused:
        yield word(str(refusal.filename)), Unreadable(f"cannot be read: {one_line(refusal)}")
    if not paths and not refused:
        raise ValueError(f"no puzzle files in {folder}; they end in one of {', '.join(READERS)}")


def _paths_below(folder: Path, refused: list[OSError]) -> Iterator[Path]:
    """The puzzle files below a folder but for hidden ones; of folders that links lead to, each is entered once."""
    entered: set[str] = set()
    for parent, folders, files in os.walk(folder, onerror=refused.append, followlinks=True):
        if (real := os.path.realpath(parent)) in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in files if name[0] != "." and Path(name).suffix.lower() in READERS)


def _file_rows(path: Path, name: str) -> list[Placed]:
    if path.exists() and not path.is_file():
        raise ValueError("not a file")  # a pipe would be waited for without end
    return whole_games(READERS[path.suffix.lower()](path, name))


def one_line(error: BaseException) -> str:
    """What an error of a library or of the system says, in a line."""
    text = getattr(error, "strerror", None) or str(error)
    return next(iter(text.splitlines()), type(error).__name__)


def _jsonl(path: Path, name: str) -> Iterator[Placed]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{name}:{number}"
            try:
                row = from_json(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, Mapping | Unreadable):
                yield from rows_of(place, row)
            else:
                yield place, Unreadable(f"expected a JSON object, got {line.strip()[:40]!r}")


def _json(path: Path, name: str) -> Iterator[Placed]:
    try:
        return rows_of(name, from_json(path.read_text(encoding="utf-8-sig")))
    except ValueError as error:
        if "Extra data" in str(error):  # more than one value: many call their JSON Lines .json too
            return _jsonl(path, name)
        raise


def _yaml(path: Path, name: str) -> Iterator[Placed]:
    documents = from_yaml(path.read_text(encoding="utf-8-sig"))
    for number, document in enumerate(documents, 1):
        yield from rows_of(name if len(documents) == 1 else f"{name}({number})", document)


def _csv(path: Path, name: str) -> Iterator[Placed]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            columns = next(reader, [])
            if twice := sorted({column for column in columns if column and columns.count(column) > 1}):
                raise ValueError(f"two columns named {twice[0]!r}")
            first_line = reader.line_num + 1
            for cells in reader:
                place, first_line = f"{name}:{first_line}", reader.line_num + 1
                if any(cells) and len(cells) != len(columns):
                    yield place, Unreadable(f"{len(cells)} cells under {len(columns)} columns")
                elif any(cells):
                    row = {name: cell or None for name, cell in zip(columns, cells, strict=True)}
                    yield from rows_of(place, table_row(row))
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from None


def _parquet(path: Path, name: str) -> Iterator[Placed]:
    import pyarrow.parquet  # slow to import, and few puzzle files are Parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist(maps_as_pydicts="strict")
    except (pyarrow.ArrowException, KeyError) as error:  # the second for a map with a key twice
        raise ValueError(one_line(error)) from None
    return (placed for number, row in enumerate(rows, 1) for placed in rows_of(f"{name}[{number}]", arrow_row(row)))


def arrow_row(row: Row) -> Row | Unreadable:
    """A row as Arrow's tables give it."""
    return table_row({name: _from_arrow(value) for name, value in row.items()})


def _from_arrow(value: Any) -> Any:
    if isinstance(value, dict):
        # Objects of unlike keys (theme -> words) share one schema, in which each lacks the others' keys.
        return {name: _from_arrow(child) for name, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_from_arrow(child) for child in value]
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str | int | float | None) else str(value)  # dates, decimals


READERS = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".parquet": _parquet,
}
# Broken files, bytes that are not UTF-8, dates that no calendar holds, nesting without end.
UNREADABLE = (OSError, ValueError, OverflowError, RecursionError)
