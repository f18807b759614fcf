"""The columns of the final dataset: one table, from which its Features, Parquet schema, card and checks are made.

A type is the name of an Arrow type, a list with the type of its entries, or a dict of fields; `or null` is said where
a value may be missing. Nothing else is ever null, and every key is in every row: Arrow takes a column's type from the
first rows of a file, so a column that is empty there cannot take text later.
"""

from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import datasets

Format = Literal["trl", "messages", "openai", "sharegpt", "per-turn", "hf"]
FORMATS: tuple[Format, ...] = get_args(Format)
Reasoning = Literal["inline", "split"]
REASONINGS: tuple[Reasoning, ...] = get_args(Reasoning)
HF_LAYOUTS: tuple[Format, ...] = ("trl", "messages", "per-turn")
"""The configs of a `hf` folder, the default one first."""

MESSAGES = [{"role": "string", "content": "string"}]
TURNS = [{"from": "string", "value": "string"}]

GAME: dict[str, Any] = {
    "puzzle_id": "string",
    "prompt": MESSAGES,
    "completion": MESSAGES,
    "reward": "float64",
    "accuracy": "float64",
    "guess_history": [
        {"words": ["string"], "status": "string", "category_idx": "int64 or null", "reason": "string or null"}
    ],
    "categories": [{"group": "string", "members": ["string"], "linking_terms": ["string"]}],
    "doctored": "bool",
    "doctoring_type": "string",
    "complete_reason": "string",
    "rollout_id": "string",
    "source": "string",
    "model": "string",
    "simulated": "bool",
    "resumed_turns": "int64",
    "reduced": "bool",
    "reducer_model": "string",
    "tokens_before": "int64",
    "num_turns": "int64",
    "num_tokens": "int64",
    "max_reply_tokens": "int64",
    "tokenizer": "string",
}
_ABOUT_THE_GAME = {name: kind for name, kind in GAME.items() if name not in ("puzzle_id", "prompt", "completion")}

# What a trainer takes for something else, or for the conversation itself.
RESERVED = frozenset(
    {"labels", "input_ids", "image", "images", "chat_template_kwargs", "text", "conversations", "tools"}
)


def columns(layout: Format) -> dict[str, Any]:
    """Column -> type, in the order of the file."""
    if layout == "messages":
        return {"puzzle_id": "string", "messages": MESSAGES, **_ABOUT_THE_GAME}
    if layout == "sharegpt":
        return {"puzzle_id": "string", "conversations": TURNS, **_ABOUT_THE_GAME}
    if layout == "openai":
        return {"messages": MESSAGES}
    if layout == "per-turn":
        # What a whole game was before its reduction says nothing of a turn.
        kept = {name: kind for name, kind in _ABOUT_THE_GAME.items() if name != "tokens_before"}
        return {"puzzle_id": "string", "prompt": MESSAGES, "completion": MESSAGES, "turn": "int64", **kept}
    return GAME


def features(layout: Format) -> "datasets.Features":
    """The same for the `datasets` library; its `arrow_schema` is that of the Parquet files."""
    import datasets

    def feature(kind: Any) -> Any:
        if isinstance(kind, str):
            return datasets.Value(kind.removesuffix(" or null"))
        if isinstance(kind, list):
            return datasets.List(feature(kind[0]))
        return {name: feature(inner) for name, inner in kind.items()}

    return datasets.Features({name: feature(kind) for name, kind in columns(layout).items()})
