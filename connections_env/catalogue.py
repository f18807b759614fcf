"""What puzzles a file, a folder or a dataset holds, and what is left out and why.

uv run python -m connections_env.puzzles my_puzzles.csv --show 2
uv run python -m connections_env.puzzles folder/of/files --export puzzles.parquet

Reads every format that --puzzles takes anywhere. --export writes the puzzles with the columns of
ericbotti/connections-puzzles, boards in the order in which they are shown.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from connections_env.arguments import at_least, command_parser
from connections_env.boards import word
from connections_env.command import exit_status
from connections_env.exporting import check_export, export
from connections_env.puzzles import Puzzle
from connections_env.sources import Loaded, NothingPlayable, Skipped, load_puzzles, other_splits
from connections_env.tables import reasons_table
from connections_env.terminal import printable

_NAMED = 10  # skipped rows that are named unless --verbose asks for all


def run(source: str, split: str | None, show: int, output: Path | None, *, force: bool, verbose: bool) -> int:
    if output:
        check_export(output, force=force)
    try:
        loaded = load_puzzles(source, split)
    except NothingPlayable as error:
        loaded = error.loaded
    # Hub and bundled puzzles are read a split at a time; so is a file with --split.
    taken = {puzzle.split for puzzle in loaded.puzzles}
    others = other_splits(source, taken.pop()) if len(taken) == 1 else []
    for line in report(source, loaded, others, verbose=verbose):
        print(line)
    for puzzle in loaded.puzzles[:show]:
        print("", *shown(puzzle), sep="\n")
    if not loaded.puzzles:
        return 1
    if output:
        export(loaded.puzzles, output)
        print(f"\nExported to {_plain(str(output))}")
    return 0


def report(source: str, loaded: Loaded, others: list[str], *, verbose: bool) -> Iterator[str]:
    """What was found, a line or a block of lines at a time."""
    count = len(loaded.puzzles)
    yield f"{_plain(source)}: {count:,} {'puzzle' if count == 1 else 'puzzles'}"
    if loaded.puzzles:
        sizes = Counter(f"{len(puzzle.groups)} x {puzzle.group_size}" for puzzle in loaded.puzzles)
        yield f"Boards (groups x size):\n{reasons_table(sizes, count)}"
    splits = Counter(_plain(puzzle.split) or "(none)" for puzzle in loaded.puzzles)
    if splits.keys() - {"(none)"}:
        yield f"Splits:\n{reasons_table(splits, count)}"
    if others:
        yield f"Other splits: {_plain(', '.join(others))}"
    if loaded.skipped:
        kinds = Counter(_plain(kind_of(row)) for row in loaded.skipped)
        yield f"Skipped: {len(loaded.skipped):,}\n{reasons_table(kinds, len(loaded.skipped))}"
        yield from _named(loaded.skipped, len(loaded.skipped) if verbose else _NAMED)
    if loaded.duplicates:
        yield f"Duplicates, boards of the same items: {len(loaded.duplicates):,}"
        yield from _named(loaded.duplicates, len(loaded.duplicates) if verbose else 0)
    for line in loaded.warnings():
        yield _plain(f"Warning: {line}")


def _named(rows: list[Skipped], count: int) -> Iterator[str]:
    yield from (_plain(f"- {row}") for row in rows[:count])
    if 0 < count < len(rows):
        yield f"... and {len(rows) - count:,} more; -v names them all"


def kind_of(row: Skipped) -> str:
    """The reason without what it says of this one row, so that rows can be counted by it."""
    return re.split(r",? got |: | ['\"]", row.reason)[0]


def shown(puzzle: Puzzle) -> Iterator[str]:
    """A puzzle for people: its label, its board as it is shown, its groups."""
    yield " ".join(filter(None, (_plain(puzzle.puzzle_id), puzzle.title and f"({_plain(puzzle.title)})")))
    items, size = [*map(_plain, puzzle.items)], puzzle.group_size
    rows = [items[start : start + size] for start in range(0, len(items), size)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield f"  {'  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))}".rstrip()
    for group in puzzle.groups:
        yield _plain(f"{group.theme}: {' | '.join(group.members)}")
        if group.linking_terms:
            yield f"  linking terms: {_plain(' | '.join(group.linking_terms))}"


def _plain(text: str) -> str:
    """What files and names say, as a terminal can show it."""
    return printable(word(text))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python -m connections_env.puzzles")
    parser.add_argument("source", metavar="SOURCE", help="file, folder, dataset id or builtin")
    parser.add_argument("--split", help="split to take; default train_sft for datasets and builtin, all of a file")
    parser.add_argument("--show", type=at_least(1), default=0, metavar="N", help="print the first N puzzles")
    parser.add_argument("--export", type=Path, metavar="OUT", help="write the puzzles to this .jsonl or .parquet file")
    parser.add_argument("--force", action="store_true", help="let --export replace a file")
    parser.add_argument("-v", "--verbose", action="store_true", help="name everything that is left out")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(
        lambda: run(args.source, args.split, args.show, args.export, force=args.force, verbose=args.verbose)
    )
