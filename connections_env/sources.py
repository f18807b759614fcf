"""Puzzles from where users keep them: a Hugging Face dataset, a file, a folder, or the ones bundled here.

load_puzzles("ericbotti/connections-puzzles", "train_sft")
load_puzzles("my_puzzles.jsonl")
load_puzzles("folder/of/files")
load_puzzles("builtin", "test")
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from connections_env.arguments import UsageError
from connections_env.boards import puzzle_from_row, split_of
from connections_env.decoding import Unreadable
from connections_env.layouts import Placed, rows_of, whole_games
from connections_env.puzzle_files import READERS, arrow_row, read_rows
from connections_env.puzzles import Puzzle, UnplayableBoard
from connections_env.terminal import counted

DEFAULT_SOURCE = "ericbotti/connections-puzzles"
DEFAULT_SPLIT = "train_sft"
BUILTIN = Path(__file__).parent / "data" / "puzzles.jsonl"
# As the hub has it: no part begins or ends with a dot or a dash.
NAMED = 10  # boards left out that are named unless --verbose asks for all
_HUB_ID = re.compile(r"(?!.*(?:--|\.\.))(?=.{,96}\Z)\w(?:[\w.-]*\w)?/\w(?:[\w.-]*\w)?", re.ASCII)


class SourceError(ValueError):
    """Puzzles that cannot be had; the message is one line that names the way out."""


class NotOnDisk(SourceError):
    """A hub dataset that was asked for without the network and has no local snapshot."""


class Skipped(NamedTuple):
    """A row that gave no puzzle."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass
class Loaded:
    """Puzzles in source order, no two alike, and what was left out."""

    puzzles: list[Puzzle] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: list[Skipped] = field(default_factory=list)

    def warnings(self) -> list[str]:
        """What is allowed and yet worth knowing, a line each."""
        told = []
        boards = Counter(puzzle.puzzle_id for puzzle in self.puzzles)
        if shared := [puzzle_id for puzzle_id, count in boards.items() if count > 1]:
            names = counted(len(shared), "id names", "ids name")
            told.append(f"{names} more than one board: {shared[0]!r} names {boards[shared[0]]}")
        if nameless := [one.puzzle_id for one in self.puzzles if not all(group.theme for group in one.groups)]:
            count = counted(len(nameless), "board has", "boards have")
            told.append(f"{count} groups without a theme: {nameless[0]!r} for one")
        return told


class NothingPlayable(SourceError):
    """A source that was read and holds no board to play on."""

    def __init__(self, source: str, loaded: Loaded):
        left_out = loaded.skipped
        why = f"; {len(left_out)} skipped, the first: {left_out[0]}" if left_out else ""
        super().__init__(f"no playable puzzle in {source}{why}")
        self.loaded = loaded


def load_puzzles(source: str, split: str | None = None, *, local_only: bool = False) -> Loaded:
    """Puzzles of a split; `local_only` reads a hub dataset from its local snapshot and calls nobody.

    Without `split`, hub and bundled puzzles give `train_sft`, files give all they hold. Raises `SourceError`.
    """
    if (rows := _rows_on_disk(source)) is not None:
        split = split or (DEFAULT_SPLIT if source == "builtin" else None)
        # Puzzles go by their source's name from here on: a folder must not bear that of a dataset of somebody else.
        name = f"./{source}" if _shaped_like_a_hub_id(source) else source
        return _collect(_of_split(rows, source, split), name, split)
    if _HUB_ID.fullmatch(source):
        split = split or DEFAULT_SPLIT
        return _collect(whole_games(_read_hub(source, split, local_only)), source, split)
    raise SourceError(f"no puzzles at {source[:100]!r}: give a file, a dataset id like {DEFAULT_SOURCE}, or builtin")


def is_hub_id(source: str) -> bool:
    """Does a puzzle's source name a dataset of the hub, and nothing on this machine?"""
    return _shaped_like_a_hub_id(source) and not Path(source).exists()


def _shaped_like_a_hub_id(source: str) -> bool:
    return bool(_HUB_ID.fullmatch(source)) and Path(source).suffix.lower() not in READERS


def _rows_on_disk(source: str) -> list[Placed] | None:
    """The rows of a file, a folder or the bundle; None for what must be a hub dataset if anything."""
    path = BUILTIN if source == "builtin" else Path(source)
    try:
        if not source or (path.suffix.lower() not in READERS and not path.exists()):
            return None
        return read_rows(path)
    except ValueError as error:
        raise SourceError(str(error)) from None
    except OSError as error:  # a name too long to be one, a folder that may not be entered
        raise SourceError(f"cannot read {source[:100]!r}: {error.strerror}") from None


def _collect(rows: Iterable[Placed], source: str, split: str | None) -> Loaded:
    loaded, seen = Loaded(), dict[str, str]()
    for place, row in rows:
        if isinstance(row, Unreadable):
            loaded.skipped.append(Skipped(place, row.reason))
            continue
        try:
            puzzle = puzzle_from_row(row, source)
        except UnplayableBoard as error:
            loaded.skipped.append(Skipped(place, str(error)))
            continue
        if first := seen.get(puzzle.key):
            loaded.duplicates.append(Skipped(place, f"the same items as {first}"))
            continue
        seen[puzzle.key] = place
        loaded.puzzles.append(puzzle if puzzle.split or not split else replace(puzzle, split=split))
    if not loaded.puzzles:
        raise NothingPlayable(source, loaded)
    return loaded


def _of_split(rows: list[Placed], source: str, split: str | None) -> list[Placed]:
    if split is None:
        return rows
    splits = _split_names(rows)
    if not splits:
        raise SourceError(f"{source} has no splits; leave out --split")
    if split not in splits:
        raise SourceError(f"{source} has no split {split!r}; it has {', '.join(sorted(splits))}")
    # Rows that cannot be read belong to no split; they stay, to be counted and named.
    return [(place, row) for place, row in rows if isinstance(row, Unreadable) or split_of(row) == split]


def _split_names(rows: Iterable[Placed]) -> set[str]:
    return {split for _, row in rows if not isinstance(row, Unreadable) and (split := split_of(row))}


def other_splits(source: str, split: str) -> list[str]:
    """Names of the splits a source holds beside this one; those of a hub dataset are read from its local snapshot.

    Empty where `split` is: a source without splits. Raises `SourceError`.
    """
    if not split:
        return []
    if (rows := _rows_on_disk(source)) is not None:
        names = _split_names(rows)
    elif _HUB_ID.fullmatch(source):
        names = _hub_splits(source)
    else:
        raise SourceError(f"no puzzles at {source[:100]!r}")
    return sorted(names - {split})


def _read_hub(dataset_id: str, split: str, local_only: bool) -> Iterator[Placed]:
    """Rows of a split, through a snapshot in the hub client's cache, so that a later dry run needs no network."""
    import datasets

    datasets.disable_progress_bars()
    folder = _snapshot(dataset_id, local_only)
    try:
        # Streaming reads the snapshot in place; without it a converted copy of every split would be cached. What it
        # leaves in a cache all the same (locks) goes with the folder.
        with tempfile.TemporaryDirectory() as cache:
            rows = datasets.load_dataset(folder, split=split, streaming=True, cache_dir=cache)
            for number, row in enumerate(rows, 1):
                yield from rows_of(f"{dataset_id}/{split}[{number}]", arrow_row(row))
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise SourceError(f"cannot load split {split!r} of {dataset_id}: {str(error).splitlines()[0]}") from None


def _hub_splits(dataset_id: str) -> set[str]:
    import datasets

    datasets.disable_progress_bars()
    folder = _snapshot(dataset_id, local_only=True)
    try:
        with tempfile.TemporaryDirectory() as cache:
            return set(datasets.load_dataset(folder, streaming=True, cache_dir=cache))
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise SourceError(f"cannot read the splits of {dataset_id}: {str(error).splitlines()[0]}") from None


def _snapshot(dataset_id: str, local_only: bool) -> str:
    """The folder of a dataset in the hub client's cache."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return huggingface_hub.snapshot_download(dataset_id, repo_type="dataset", local_files_only=local_only)
    except LocalEntryNotFoundError:
        raise NotOnDisk(
            f"there is no file or folder {dataset_id}, and the dataset of that name is not on this machine; "
            f"fetch it with: hf download --repo-type dataset {dataset_id}"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise SourceError(f"cannot load {dataset_id} from the hub: {str(error).splitlines()[0]}") from None


def puzzle_source(args: argparse.Namespace) -> str:
    return args.puzzles or ("builtin" if getattr(args, "offline", False) else DEFAULT_SOURCE)


def chosen_puzzles(
    args: argparse.Namespace, report: Callable[[str], None], *, local_only: bool = False
) -> list[Puzzle]:
    """The puzzles the flags choose, in source order. Reports skipped boards. Raises `SourceError`, `UsageError`."""
    loaded = load_puzzles(puzzle_source(args), args.split, local_only=local_only)
    left_out = [*loaded.skipped, *loaded.duplicates]
    named = left_out if getattr(args, "verbose", False) else left_out[:NAMED]
    for row in named:
        report(f"{row}; skipped")
    if len(named) < len(left_out):
        report(f"... and {counted(len(left_out) - len(named), 'more board')} skipped")
    for line in loaded.warnings():
        report(f"{puzzle_source(args)}: {line}")
    puzzles = loaded.puzzles
    if args.puzzle_ids_file:
        puzzles = _listed(puzzles, args.puzzle_ids_file, report)
    return puzzles[: args.num_examples]


def _listed(puzzles: list[Puzzle], path: Path, report: Callable[[str], None]) -> list[Puzzle]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    wanted = {line.strip() for line in lines if line.strip()}
    if unknown := sorted(wanted - {puzzle.puzzle_id for puzzle in puzzles}):
        report(f"{path}: {counted(len(unknown), 'id is', 'ids are')} not in the puzzles, {unknown[0]!r} for one")
    chosen = [puzzle for puzzle in puzzles if puzzle.puzzle_id in wanted]
    if not chosen:
        raise UsageError(
            f"{path} lists none of the {counted(len(puzzles), 'puzzle')}; is it of another source or split?"
        )
    return chosen
