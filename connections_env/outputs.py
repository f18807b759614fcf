"""The files of a dataset: what they may replace, and what is written."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from connections_env.admission import Admission
from connections_env.arguments import UsageError
from connections_env.card import About
from connections_env.dataset import public_name
from connections_env.export import Export
from connections_env.files import results_number, shown
from connections_env.formats import DATASET_INFO, Game, arrow, dataset_info, dataset_info_without, jsonl, parquet
from connections_env.hf_folder import check_folder, folder_files, split_games
from connections_env.json_lines import BadRow
from connections_env.prompts import FIRST_WORDS
from connections_env.selection import Outcome
from connections_env.steps import MADE_BY as STEP_FILES
from connections_env.terminal import notify
from connections_env.tokens import Limits

REJECTS, RERUN = "sft_rejects.jsonl", "rerun_puzzles.txt"


def dataset_files(games: Sequence[Game], output: Path, export: Export) -> dict[Path, Iterable[str] | bytes]:
    """The dataset as one file, with what goes beside it."""
    rows = [row for _, rows in games for row in rows[export.layout]]
    files: dict[Path, Iterable[str] | bytes] = {output: jsonl(rows)}
    if export.parquet:
        files[output.with_suffix(".parquet")] = parquet(arrow(rows, export.layout))
    elif output.with_suffix(".parquet").exists():
        notify(f"{shown(output.with_suffix('.parquet'))} is of an earlier run; --parquet writes it anew")
    info = output.with_name(DATASET_INFO)
    if export.has_entry:
        files[info] = dataset_info(output).encode()
    elif (without := dataset_info_without(output)) is not None:
        files[info] = without.encode()
        notify(f"{shown(info)} has no entry {output.stem} any more: {shown(output)} is no longer what it said")
    return files


def hf_files(outcome: Outcome, output: Path, export: Export, limits: Limits) -> dict[str, bytes]:
    """The dataset as a folder. Raises `BadRow` where nothing is left to train on."""
    splits = split_games(outcome.games, outcome.boundary)
    outcome.splits = {split: len(games) for split, games in splits.items()}
    if "train" not in splits:
        games = "the one game" if outcome.accepted == 1 else f"all {outcome.accepted} games"
        raise BadRow(
            f"--test-size {export.test_size:g} takes {games} and leaves none to train on; lower it (0: no test split)"
        )
    admission = Admission(
        outcome.read,
        +outcome.became,
        outcome.spares_used,
        len(outcome.spare_rejects),
        _published(outcome.held_out.puzzles),
        _published(outcome.held_out.listed),
    )
    # As the command named it where that can be told to others; never the folders of this machine.
    folder = output.name if Path(shown(output.absolute())).is_absolute() else shown(output.absolute())
    return folder_files(splits, About(export, limits, folder, outcome.boundary, admission))


def _published(counts: Mapping[str, int]) -> Counter[str]:
    """Counts by names that can be told to others."""
    told = Counter[str]()
    for name, count in counts.items():
        told[public_name(name)] += count
    return told


def check_output(output: Path, inputs: Sequence[Path] = (), export: Export = Export()) -> None:  # noqa: B008  (frozen)
    """Raises `UsageError` for a dataset that would replace anything but an earlier dataset."""
    if output.resolve() in {path.resolve() for path in inputs}:
        raise UsageError(f"{shown(output)} is an input, which is never written over; choose another output")
    if output.name in (*STEP_FILES, REJECTS, RERUN, DATASET_INFO) or results_number(output) is not None:
        raise UsageError(f"{shown(output)} is the name of another file of ours; choose another output")
    if export.layout == "hf":
        check_folder(output)
        return
    if output.suffix == ".parquet":
        raise UsageError(
            f"{shown(output)}: the rows are written as JSON; name a .jsonl file; collate.py --parquet writes both"
        )
    for path in (output, output.with_suffix(".parquet")) if export.parquet else (output,):
        if path.is_dir():
            raise UsageError(f"{shown(path)} is a folder; name a file in it")
        if path.exists() and not is_dataset(path):
            raise UsageError(f"{shown(path)} is there and no dataset of this step; choose another output")
    if export.has_entry:
        dataset_info(output)


def is_dataset(path: Path) -> bool:
    """Does a file begin as a dataset of this step does? An empty one may be replaced too."""
    if not path.stat().st_size:
        return True
    row = _first_of_parquet(path) if path.suffix == ".parquet" else _first_of_jsonl(path)
    if not isinstance(row, dict):
        return False
    # Many files hold messages and nothing else; ours open with the rules of the game.
    return {"puzzle_id", "doctoring_type"} <= row.keys() or FIRST_WORDS in str(row.get("messages"))[:200]


def _first_of_jsonl(path: Path) -> Any:
    with path.open("rb") as file, suppress(ValueError, RecursionError):
        return json.loads(file.readline())


def _first_of_parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    with suppress(OSError, pyarrow.ArrowException), pyarrow.parquet.ParquetFile(path) as file:
        return next((row for batch in file.iter_batches(1) for row in batch.to_pylist()), None)
