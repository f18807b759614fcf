"""The columns of the final dataset: one table, from which its Features, Parquet schema, card and checks are made.

`dataset.SftRow` has the same columns as fields, which a test holds; what each means is told here alone.

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
SPLITS = ("train", "test")
"""Of a `hf` folder."""

MESSAGES = [{"role": "string", "content": "string"}]
TURNS = [{"from": "string", "value": "string"}]

GAME: dict[str, Any] = {
    "puzzle_id": "string",
    "prompt": MESSAGES,
    "completion": MESSAGES,
    "reward": "float64",
    "accuracy": "float64",
    "guess_history": [{"words": ["string"], "status": "string", "category_idx": "int64 or null"}],
    "categories": [{"group": "string", "members": ["string"], "linking_terms": ["string"]}],
    "ruleset": "string",
    "doctored": "bool",
    "doctoring_type": "string",
    "complete_reason": "string",
    "rollout_id": "string",
    "source": "string",
    "model": "string",
    "reply_models": ["string"],
    "simulated": "bool",
    "resumed_turns": "int64",
    "turns_before_cut": "int64",
    "truncate": "string",
    "reduced": "bool",
    "reducer_model": "string",
    "tokens_before": "int64",
    "num_turns": "int64",
    "num_tokens": "int64",
    "max_reply_tokens": "int64",
    "tokenizer": "string",
}
_ABOUT_THE_GAME = {name: kind for name, kind in GAME.items() if name not in ("puzzle_id", "prompt", "completion")}

# Of the columns of all layouts, for the card.
MEANINGS = {
    "puzzle_id": "the source's id, with a prefix that keeps ids like 2024-01-05 from being read as dates; a hash of "
    "its items follows where puzzles here share an id",
    "prompt": "`role` and `content` of the messages up to the first reply, in `per-turn` up to the one to learn",
    "completion": "all messages from the first reply to the last, in `per-turn` one reply",
    "messages": "the whole conversation",
    "reward": "of the game, as its ruleset counts it: see the rules below",
    "accuracy": "right guesses over the player's guesses",
    "guess_history": "each guess and its verdict (none is invalid), in `per-turn` up to the reply to learn; `auto` is "
    "the last group, which completes itself",
    "categories": "the answer key; a group without linking terms has its theme as one",
    "ruleset": "by which it was played: see the rules below",
    "doctored": "were turns cut off a game before it went on? see doctoring below",
    "doctoring_type": "`none` or `gameplay`",
    "complete_reason": "how the game ended; the themes were named too where it is `theme_guessing_complete`",
    "rollout_id": "of the game in the results files of `connections-sft`",
    "source": "where the puzzle is from",
    "model": "that gave the last reply; the earlier ones of a game that went on may be of another",
    "reply_models": "who gave each reply of the game, from the first; empty text where nobody wrote it down",
    "simulated": "did a simulated player write any of it? for trying things out",
    "resumed_turns": "replies that come from an earlier game which this one goes on from",
    "turns_before_cut": "replies from before the last cut, where turns were cut; 0 where none were",
    "truncate": "`none`, or how turns were cut (see doctoring below), in order where they were cut in several ways; "
    "`unknown` where another tool cut",
    "reduced": "was reasoning shortened?",
    "reducer_model": "by which model, or models; empty where not",
    "tokens_before": "`num_tokens` before it was shortened",
    "num_turns": "replies of the game",
    "num_tokens": "of the whole row, rendered with the chat template",
    "max_reply_tokens": "of the longest reply to learn",
    "tokenizer": "that counted",
    "turn": "which reply of the game, from 1; its guess ends `guess_history`, but for `auto` after the game's last "
    "guess; a reply that names themes is no guess",
}

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


def shard_file(layout: Format, split: str) -> str:
    """The file of a config's split, as named from the `hf` folder; the hub's name for one that is the only one."""
    return f"{layout}/{split}-00000-of-00001.parquet"


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
