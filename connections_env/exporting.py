"""Puzzles as files with the columns of `ericbotti/connections-puzzles`, read back as they were by --puzzles."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connections_env.arguments import UsageError
from connections_env.boards import linking_terms
from connections_env.formats import parquet
from connections_env.puzzles import Puzzle
from connections_env.steps import check_writable, lines_of, replace_files

_ENDINGS = (".jsonl", ".parquet")


def check_export(path: Path, *, force: bool) -> None:
    """Raises `UsageError` where puzzles cannot be written to, or would take the place of something."""
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"cannot write puzzles to {path}; give a name that ends in {' or '.join(_ENDINGS)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file")
    if os.path.lexists(path) and not force:  # a link that leads nowhere is somebody's too
        raise UsageError(f"{path} exists; choose another name, or replace it with --force")
    check_writable(path.parent)


def export(puzzles: Sequence[Puzzle], path: Path) -> None:
    """Writes the file whole or not at all. Raises OSError."""
    rows = hub_rows(puzzles)
    if path.suffix.lower() == ".parquet":
        _replace_parquet(path, rows)
    else:
        replace_files({path: lines_of(json.dumps(row, ensure_ascii=False) for row in rows)})


def hub_rows(puzzles: Sequence[Puzzle]) -> list[dict[str, Any]]:
    """A row a puzzle; `all_words` is the board as it is shown. What a `Puzzle` does not hold is null.

    `split` is there if any of the puzzles has one.
    """
    rows = [_hub_row(puzzle) for puzzle in puzzles]
    if any(puzzle.split for puzzle in puzzles):
        for row, puzzle in zip(rows, puzzles, strict=True):
            row["split"] = puzzle.split or None
    return rows


def _hub_row(puzzle: Puzzle) -> dict[str, Any]:
    return {
        "puzzle_id": puzzle.puzzle_id,
        "creator": None,
        "difficulty": puzzle.difficulty,
        "quality": None,
        "country": None,
        "created_at": None,
        "tags": [],
        "title": puzzle.title,
        "all_words": list(puzzle.items),
        "num_groups": len(puzzle.groups),
        "group_words": [list(group.members) for group in puzzle.groups],
        "group_themes": [group.theme for group in puzzle.groups],
        "group_linking_terms": [terms_text(group.linking_terms) for group in puzzle.groups],
        "grid_size": f"{len(puzzle.groups)}x{puzzle.group_size}",
    }


def terms_text(terms: tuple[str, ...]) -> str:
    """Linking terms as the one string that reads back as them.

    Commas separate them; a single one that holds a space ends in a comma; any that hold commas are a JSON list.
    """
    listed = ", ".join(terms)
    return next(
        (text for text in (listed, f"{listed},") if linking_terms(text) == terms), json.dumps(terms, ensure_ascii=False)
    )


def _replace_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow

    text, texts, figure = pyarrow.string(), pyarrow.list_(pyarrow.string()), pyarrow.float64()
    types = {
        **{"difficulty": figure, "quality": figure, "tags": texts, "all_words": texts, "num_groups": pyarrow.int64()},
        **{"group_words": pyarrow.list_(texts), "group_themes": texts, "group_linking_terms": texts},
    }
    # Said and not inferred, since a column of nulls would have no type, nor one that looks like dates the right one.
    schema = pyarrow.schema([(name, types.get(name, text)) for name in rows[0]])
    replace_files({path: parquet(pyarrow.Table.from_pylist(list(rows), schema=schema))})
