"""Files that hold games, whatever they are written as: which a name stands for, and their rows as lines of JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

from connections_env.arguments import UsageError
from connections_env.files import Line, read_lines, results_files, shown
from connections_env.puzzle_files import UNREADABLE, one_line
from connections_env.schema import HF_LAYOUTS
from connections_env.steps import check_input

PARQUET = ".parquet"


def files_of(path: Path) -> list[Path]:
    """The file; or the results files of a folder, else the Parquet files in it or of the first layout of a dataset.

    Raises `UsageError`.
    """
    if not path.is_dir():
        check_input(path)
        return [path]
    layouts = [path / layout for layout in HF_LAYOUTS]  # they hold the same games: one is enough
    for found in (results_files(path), *(_parquets(folder) for folder in (path, *layouts))):
        if found:
            return found
    raise UsageError(
        f"no results files in {shown(path)}; name a file, a folder like generate_results or a dataset's folder"
    )


def _parquets(folder: Path) -> list[Path]:
    """Train before test."""
    return sorted(folder.glob(f"*{PARQUET}"), key=lambda path: (path.name.startswith("test"), path.name))


def lines_of_games(path: Path) -> Iterator[Line]:
    """The rows of a file, a line of JSON each; of Parquet `offset` counts rows. Raises `UsageError`, OSError."""
    if path.suffix.lower() != PARQUET:
        yield from read_lines(path)
        return
    import pyarrow.parquet

    nth = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield Line(nth + 1, nth, nth + 1, json.dumps(row, default=str).encode(), torn=False)
                    nth += 1
    except UNREADABLE as error:
        raise UsageError(f"{shown(path)} cannot be read: {one_line(error)}") from None
