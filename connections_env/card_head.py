"""The head of the dataset's card: the YAML that the hub and `load_dataset` read."""

import re
from collections.abc import Mapping

from connections_env.export import Export, is_address
from connections_env.schema import HF_LAYOUTS, Format, features
from connections_env.splits import Boundary

LICENSE_FILE = "LICENSE"
_BOUNDARY = "test_split"

Shard = tuple[Format, str]
"""A configuration and a split, whose rows are in one file."""


def head(
    *,
    name: str,
    size: str,
    simulated: bool,
    rows: Mapping[Shard, int],
    in_memory: Mapping[Shard, int],
    in_files: Mapping[Shard, int],
    export: Export,
    boundary: Boundary,
) -> str:
    """The YAML between its dashes. `size` is the hub's name for it; bytes are counted as the `datasets` library does.

    That is in `num_bytes` and `dataset_size` the Arrow tables (`Dataset._estimate_nbytes`, as `push_to_hub` writes
    them), in `download_size` the Parquet files.
    """
    import datasets
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    splits = {layout: [split for one, split in rows if one == layout] for layout in HF_LAYOUTS}
    data = DatasetCardData(
        language=[*export.languages],
        license=export.license,
        pretty_name=name,
        task_categories=["text-generation"],
        size_categories=[size],
        tags=["connections", "word-game", "reasoning", "multi-turn", "sft", "trl", *(["simulated"] * simulated)],
    )
    if export.license_name:
        data["license_name"] = export.license_name
        data["license_link"] = export.license_link if is_address(export.license_link) else LICENSE_FILE
    data["configs"] = [
        {"config_name": layout}
        | ({"default": True} if layout == HF_LAYOUTS[0] else {})
        | {"data_files": [{"split": split, "path": f"{layout}/{split}-*"} for split in splits[layout]]}
        for layout in HF_LAYOUTS
    ]
    infos = DatasetInfosDict()
    for layout in HF_LAYOUTS:
        shards = [(layout, split) for split in splits[layout]]
        infos[layout] = datasets.DatasetInfo(
            features=features(layout),
            splits=[{"name": one[1], "num_bytes": in_memory[one], "num_examples": rows[one]} for one in shards],
            download_size=sum(in_files[one] for one in shards),
            dataset_size=sum(in_memory[one] for one in shards),
        )
    infos.to_dataset_card_data(data)
    data[_BOUNDARY] = vars(boundary)
    told = data.to_yaml(line_break="\n")
    return f"---\n{told}\n---\n\n"


def boundary_of(card: str) -> Boundary | None:
    """How the dataset of a card was split; None where the card does not tell."""
    import yaml

    found = re.match(r"---\r?\n(.*?)\n---\s", card, re.DOTALL)
    try:
        told = yaml.safe_load(found[1])[_BOUNDARY] if found else {}
        boundary = Boundary(float(told["size"]), float(told["below"]))
    except (yaml.YAMLError, ValueError, LookupError, TypeError):
        return None
    return boundary if boundary.size >= 0 and 0 <= boundary.below <= 1 else None
