"""Puzzles from where users keep them: a Hugging Face dataset, a file, or the ones bundled here.

load_puzzles("ericbotti/connections-puzzles", "train_sft")
load_puzzles("my_puzzles.jsonl")
load_puzzles("builtin", "test")
"""

import argparse
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connections_env.boards import puzzle_from_row
from connections_env.flags import UsageError
from connections_env.puzzles import Puzzle, UnplayableBoard

DEFAULT_SOURCE = "ericbotti/connections-puzzles"
DEFAULT_SPLIT = "train_sft"
BUILTIN = Path(__file__).parent / "data" / "puzzles.jsonl"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


Rows = Iterable[tuple[str, Any]]
"""Places, as an error message names them, and what lies there."""


class SourceError(ValueError):
    """Puzzles that cannot be had; the message is one line that names the way out."""


class NotOnDisk(SourceError):
    """A hub dataset that was asked for without the network and has no local snapshot."""


@dataclass
class Loaded:
    """Puzzles in source order, no two alike; what was left out, as `place: reason`."""

    puzzles: list[Puzzle] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def load_puzzles(source: str, split: str | None = None, *, local_only: bool = False) -> Loaded:
    """Puzzles of a split; `local_only` reads a hub dataset from its local snapshot and calls nobody.

    Without `split`, hub and bundled puzzles give `train_sft`, files give all they hold. Raises `SourceError`.
    """
    path = Path(source)
    rows: Rows
    if source == "builtin":
        rows, split = _read_jsonl(BUILTIN), split or DEFAULT_SPLIT
    elif path.suffix.lower() in _READERS or path.exists():
        rows = _read_file(path)
    elif _HUB_ID.fullmatch(source):
        split = split or DEFAULT_SPLIT
        return _collect(_read_hub(source, split, local_only), source, split)
    else:
        raise SourceError(f"no puzzles at {source!r}: give a file, a dataset id like {DEFAULT_SOURCE}, or builtin")
    return _collect(_of_split(rows, source, split), source, split)


def _collect(rows: Rows, source: str, split: str | None) -> Loaded:
    loaded, seen = Loaded(), dict[str, str]()
    for place, row in rows:
        try:
            if not isinstance(row, dict):
                raise UnplayableBoard(f"expected a JSON object, got {str(row)[:40]!r}")
            puzzle = puzzle_from_row({**row, "split": row.get("split") or split}, source)
        except UnplayableBoard as error:
            loaded.skipped.append(f"{place}: {error}")
            continue
        if first := seen.get(puzzle.key):
            loaded.skipped.append(f"{place}: the same items as {first}")
            continue
        seen[puzzle.key] = place
        loaded.puzzles.append(puzzle)
    if not loaded.puzzles:
        why = f"; {len(loaded.skipped)} skipped, the first: {loaded.skipped[0]}" if loaded.skipped else ""
        raise SourceError(f"no playable puzzle in {source}{why}")
    return loaded


def _of_split(rows: Rows, source: str, split: str | None) -> Rows:
    if split is None:
        return rows
    rows = list(rows)
    splits = _split_names(rows)
    if not splits:
        raise SourceError(f"{source} has no splits; leave out --split")
    if split not in splits:
        raise SourceError(f"{source} has no split {split!r}; it has {', '.join(sorted(splits))}")
    # Rows that cannot be read belong to no split; they stay, to be counted and named.
    return [(place, row) for place, row in rows if not isinstance(row, dict) or str(row.get("split")) == split]


def _split_names(rows: Rows) -> set[str]:
    return {str(row["split"]) for _, row in rows if isinstance(row, dict) and row.get("split")}


def other_splits(source: str, split: str) -> list[str]:
    """Names of the splits a source holds beside this one; those of a hub dataset are read from its local snapshot.

    Empty where `split` is: a source without splits. Raises `SourceError`.
    """
    path = Path(source)
    if not split:
        return []
    if source == "builtin":
        names = _split_names(_read_jsonl(BUILTIN))
    elif path.suffix.lower() in _READERS or path.exists():
        names = _split_names(_read_file(path))
    elif _HUB_ID.fullmatch(source):
        names = _hub_splits(source)
    else:
        raise SourceError(f"no puzzles at {source!r}")
    return sorted(names - {split})


def _read_file(path: Path) -> Rows:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"cannot read puzzles from {path}; give one of {', '.join(_READERS)}")
    try:
        return list(reader(path))
    except FileNotFoundError:
        raise SourceError(f"no such file: {path}") from None
    except (OSError, ValueError, RecursionError) as error:  # broken JSON or Parquet, bytes that are not UTF-8
        raise SourceError(f"cannot read {path}: {str(error).splitlines()[0]}") from None


def _read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = line.strip()  # not an object: `_collect` counts and names it
            yield f"{path.name}:{number}", row


def _read_json(path: Path) -> Iterator[tuple[str, Any]]:
    rows = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(rows, list):
        raise ValueError("expected a JSON list of puzzles")
    for number, row in enumerate(rows, 1):
        yield f"{path.name}[{number}]", row


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow.parquet  # slow to import, and few puzzle files are Parquet

    for number, row in enumerate(pyarrow.parquet.read_table(path).to_pylist(), 1):
        yield f"{path.name}[{number}]", row


_READERS = {".jsonl": _read_jsonl, ".json": _read_json, ".parquet": _read_parquet}


def _read_hub(dataset_id: str, split: str, local_only: bool) -> Iterator[tuple[str, Any]]:
    """Rows of a split, through a snapshot in the hub client's cache, so that a later dry run needs no network."""
    import datasets

    datasets.disable_progress_bars()
    folder = _snapshot(dataset_id, local_only)
    try:
        # Streaming reads the snapshot in place; without it a converted copy of every split would be cached. What it
        # leaves in a cache all the same (locks) goes with the folder.
        with tempfile.TemporaryDirectory() as cache:
            rows = datasets.load_dataset(folder, split=split, streaming=True, cache_dir=cache)
            yield from ((f"{dataset_id}/{split}[{number}]", row) for number, row in enumerate(rows, 1))
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
            f"{dataset_id} is not on this machine and the hub was not reached; "
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
    for line in loaded.skipped[:10]:
        report(f"{line}; skipped")
    if len(loaded.skipped) > 10:
        report(f"... and {len(loaded.skipped) - 10} more boards skipped")
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
        report(f"{path}: {len(unknown)} ids are not in the puzzles, {unknown[0]!r} for one")
    chosen = [puzzle for puzzle in puzzles if puzzle.puzzle_id in wanted]
    if not chosen:
        raise UsageError(f"{path} lists none of the {len(puzzles)} puzzles; is it of another source or split?")
    return chosen
