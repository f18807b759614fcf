"""A folder that is a dataset of the hub: Parquet by configuration and split, a card, plots, the chat template."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from connections_env import card
from connections_env.dataset import SftRow
from connections_env.files import shown
from connections_env.flags import UsageError
from connections_env.formats import DATASET_INFO, INFO_NAMES, Game, Row, info_entry, info_text, parquet
from connections_env.plots import histogram
from connections_env.puzzles import board_key
from connections_env.schema import HF_LAYOUTS, Format, features
from connections_env.snippets import TEMPLATE, TEMPLATE_FILE
from connections_env.splits import for_test
from connections_env.steps import replace_files

SPLITS = ("train", "test")
CARD = "README.md"
_OURS = re.compile(
    rf"{CARD}|{re.escape(TEMPLATE)}|{re.escape(DATASET_INFO)}|plots/(?:tokens|turns|rewards)\.svg|"
    rf"(?:{'|'.join(HF_LAYOUTS)})/(?:{'|'.join(SPLITS)})-00000-of-00001\.parquet"
)


def check_folder(folder: Path) -> None:
    """Raises `UsageError` for a folder that cannot be replaced, or that nobody could load."""
    if not folder.name or folder.name == "..":
        raise UsageError(f"{folder} has no name of its own to be replaced by; name a folder in it")
    if found := re.search(r"[*?[\]]|::", str(folder)):
        raise UsageError(f"{folder}: load_dataset cannot load a folder with {found[0]} in its name; choose another")
    check_ours(folder)


def check_ours(folder: Path) -> None:
    """Raises `UsageError` for a folder that holds anything this step did not write, since it is replaced whole."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{shown(folder)} is a file; name a folder")
    there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    strange = next((name for name in there if not _OURS.fullmatch(name)), None)
    written_here = CARD in there and card.MADE_HERE in (folder / CARD).read_text(encoding="utf-8", errors="replace")
    if strange is None and there and not written_here:
        strange = there[0]
    if strange is not None:
        raise UsageError(
            f"{shown(folder)} holds what this step did not write ({strange}) and would be replaced whole; choose "
            "another --output"
        )


def key_of(game: SftRow) -> str:
    return board_key(item for category in game.categories for item in category.members)


def split_games(games: Sequence[Game], size: float, folder: Path) -> dict[str, list[Game]]:
    """The games by split; a split without games is left out."""
    keys = [key_of(row) for row, _ in games]
    test = for_test(keys, size, earlier_splits(folder) if size >= 1 else {})
    found: dict[str, list[Game]] = {split: [] for split in SPLITS}
    for key, game in zip(keys, games, strict=True):
        found["test" if key in test else "train"].append(game)
    return {split: them for split, them in found.items() if them}


def earlier_splits(folder: Path) -> dict[str, str]:
    """Board's key -> split, in the folder that is to be replaced; empty where there is none."""
    import pyarrow
    import pyarrow.parquet

    found: dict[str, str] = {}
    for split in SPLITS:
        path = folder / HF_LAYOUTS[0] / _file_name(split)
        try:
            rows = pyarrow.parquet.read_table(path, columns=["categories"])["categories"].to_pylist()
            found |= {board_key(item for group in groups for item in group["members"]): split for groups in rows}
        except FileNotFoundError:
            continue
        except (OSError, pyarrow.ArrowException, LookupError, TypeError) as error:
            why = f"cannot be read ({type(error).__name__}), so its puzzles' sides are not known"
            raise UsageError(f"{shown(path)} {why}; remove the folder to split anew") from None
    return found


def _file_name(split: str) -> str:
    return f"{split}-00000-of-00001.parquet"


def folder_files(splits: Mapping[str, Sequence[Game]], about: card.About) -> dict[str, bytes]:
    """The files of the folder by name."""
    rows: dict[tuple[Format, str], list[Row]] = {
        (layout, split): [row for _, rows in games for row in rows[layout]]
        for layout in HF_LAYOUTS
        for split, games in splits.items()
    }
    files = {f"{layout}/{_file_name(split)}": parquet(them, layout) for (layout, split), them in rows.items()}
    games = [row for those in splits.values() for row, _ in those]
    lengths: dict[str, int] = {
        layout: card.longest([row for split in splits for row in rows[layout, split]]) for layout in HF_LAYOUTS
    }
    body = card.text(games, {split: len(those) for split, those in splits.items()}, lengths, about)
    counts = {place: len(them) for place, them in rows.items()}
    sizes = {place: len(files[f"{place[0]}/{_file_name(place[1])}"]) for place in rows}
    files[CARD] = (_head(counts, sizes, games, about) + body).encode()
    files[TEMPLATE] = TEMPLATE_FILE.read_bytes()
    entries = {INFO_NAMES[split]: info_entry(f"messages/{_file_name(split)}") for split in splits}
    files[DATASET_INFO] = info_text(entries).encode()
    files |= {f"plots/{name}.svg": drawn.encode() for name, drawn in _plots(games)}
    return files


def _plots(games: Sequence[SftRow]) -> Iterator[tuple[str, str]]:
    kinds = sorted({game.doctoring_type for game in games}, reverse=True)  # none, then gameplay

    def by_kind(name: str) -> dict[str, list[float]]:
        return {f"doctoring {kind}": [getattr(g, name) for g in games if g.doctoring_type == kind] for kind in kinds}

    yield "tokens", histogram("Games by length in tokens, prompt included", "tokens", by_kind("num_tokens"))
    yield "turns", histogram("Games by turns", "turns", by_kind("num_turns"), whole=True)
    yield "rewards", histogram("Games by reward", "reward", by_kind("reward"))


def _head(
    counts: Mapping[tuple[Format, str], int],
    sizes: Mapping[tuple[Format, str], int],
    games: Sequence[SftRow],
    about: card.About,
) -> str:
    """The card's YAML: what the hub and `load_dataset` read."""
    import datasets
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    splits = {layout: [split for one, split in counts if one == layout] for layout in HF_LAYOUTS}
    simulated = ["simulated"] if any(game.simulated for game in games) else []
    data = DatasetCardData(
        language=["en"],
        license=about.export.license,
        pretty_name=card.NAME,
        task_categories=["text-generation"],
        size_categories=[card.size_category(len(games))],
        tags=["connections", "word-game", "reasoning", "multi-turn", "sft", "trl", *simulated],
    )
    data["configs"] = [
        {"config_name": layout}
        | ({"default": True} if layout == HF_LAYOUTS[0] else {})
        | {"data_files": [{"split": split, "path": f"{layout}/{split}-*"} for split in splits[layout]]}
        for layout in HF_LAYOUTS
    ]
    infos = DatasetInfosDict()
    for layout in HF_LAYOUTS:
        size = sum(sizes[layout, split] for split in splits[layout])
        infos[layout] = datasets.DatasetInfo(
            features=features(layout),
            splits=[
                {"name": split, "num_bytes": sizes[layout, split], "num_examples": counts[layout, split]}
                for split in splits[layout]
            ],
            download_size=size,
            dataset_size=size,
        )
    infos.to_dataset_card_data(data)
    told = data.to_yaml(line_break="\n")
    return f"---\n{told}\n---\n\n"


@contextlib.contextmanager
def new_folder(folder: Path, files: Mapping[str, bytes]) -> Iterator[Callable[[], None]]:
    """Makes a folder beside the one it is to replace, whole on the disk; gives what puts it in its place.

    What was not put in place is removed. Raises OSError, and `UsageError` where the old one is no longer only ours.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name[:100]}.", dir=folder.parent))
    new, old = made / "new", made / "old"

    def put_in_place() -> None:
        """Replaces the folder; where that fails, the old one is back."""
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise

    try:
        replace_files({new / name: content for name, content in files.items()})
        check_ours(folder)  # once more: this took a while
        yield put_in_place
    finally:
        shutil.rmtree(made, ignore_errors=True)
