"""A folder that is a dataset of the hub: Parquet by configuration and split, a card, plots, the chat template."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from connections_env import card
from connections_env.arguments import UsageError
from connections_env.card_head import LICENSE_FILE, Shard, boundary_of, head
from connections_env.dataset import SftRow
from connections_env.export import is_address
from connections_env.files import shown
from connections_env.formats import DATASET_INFO, INFO_NAMES, Game, Row, arrow, info_entry, info_text, parquet
from connections_env.plots import histogram
from connections_env.puzzles import board_key
from connections_env.schema import HF_LAYOUTS, SPLITS, shard_file
from connections_env.snippets import TEMPLATE, TEMPLATE_FILE
from connections_env.splits import Boundary

CARD = "README.md"
_PLOTS = ("plots/tokens.svg", "plots/turns.svg", "plots/rewards.svg")
_SHARDS = (shard_file(layout, split) for layout in HF_LAYOUTS for split in SPLITS)
_OURS = frozenset([CARD, LICENSE_FILE, TEMPLATE, DATASET_INFO, *_PLOTS, *_SHARDS])


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
    strange = next((name for name in there if name not in _OURS), None)
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


def split_games(games: Sequence[Game], boundary: Boundary) -> dict[str, list[Game]]:
    """The games by split; a split without games is left out."""
    found: dict[str, list[Game]] = {split: [] for split in SPLITS}
    for game in games:
        found["test" if boundary.holds(key_of(game[0])) else "train"].append(game)
    return {split: them for split, them in found.items() if them}


def folder_boundary(folder: Path) -> Boundary | None:
    """How the folder that is to be replaced was split; None where there is none, or it does not tell."""
    try:
        return boundary_of((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def folder_files(splits: Mapping[str, Sequence[Game]], about: card.About) -> dict[str, bytes]:
    """The files of the folder by name."""
    rows: dict[Shard, list[Row]] = {
        (layout, split): [row for _, rows in games for row in rows[layout]]
        for layout in HF_LAYOUTS
        for split, games in splits.items()
    }
    tables = {shard: arrow(them, shard[0]) for shard, them in rows.items()}
    parquets = {shard: parquet(table) for shard, table in tables.items()}
    files = {shard_file(*shard): content for shard, content in parquets.items()}
    games = [row for those in splits.values() for row, _ in those]
    lengths: dict[str, int] = {
        layout: card.longest([row for split in splits for row in rows[layout, split]]) for layout in HF_LAYOUTS
    }
    top = head(
        name=card.NAME,
        size=card.size_category(len(games)),
        simulated=any(game.simulated for game in games),
        rows={shard: len(them) for shard, them in rows.items()},
        in_memory={shard: table.nbytes for shard, table in tables.items()},
        in_files={shard: len(content) for shard, content in parquets.items()},
        export=about.export,
        boundary=about.boundary,
    )
    body = card.text(games, {split: len(those) for split, those in splits.items()}, lengths, about)
    files[CARD] = (top + body).encode()
    if about.export.license_link and not is_address(about.export.license_link):
        files[LICENSE_FILE] = Path(about.export.license_link).read_bytes()
    files[TEMPLATE] = TEMPLATE_FILE.read_bytes()
    entries = {INFO_NAMES[split]: info_entry(shard_file("messages", split)) for split in splits}
    files[DATASET_INFO] = info_text(entries).encode()
    files |= {name: drawn.encode() for name, drawn in zip(_PLOTS, _plots(games), strict=True)}
    return files


def _plots(games: Sequence[SftRow]) -> Iterator[str]:
    """By tokens, by turns and by rewards."""
    kinds = sorted({game.doctoring_type for game in games}, reverse=True)  # none, then gameplay

    def by_doctoring(name: str) -> dict[str, list[float]]:
        return {f"doctoring {kind}": [getattr(g, name) for g in games if g.doctoring_type == kind] for kind in kinds}

    yield histogram("Games by length in tokens, prompt included", "tokens", by_doctoring("num_tokens"))
    yield histogram("Games by turns", "turns", by_doctoring("num_turns"), whole=True)
    groups = card.by_kind(games)
    several = len({ruleset for ruleset, _ in groups}) > 1
    rewards = {
        f"{ruleset}, {kind}" if several else f"doctoring {kind}": [game.reward for game in them]
        for (ruleset, kind), them in groups.items()
    }
    yield histogram("Games by reward", "reward", rewards)
