"""The dataset's rows in the layout that a trainer asks for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connections_env.arguments import UsageError
from connections_env.dataset import SftRow
from connections_env.export import Export
from connections_env.files import shown
from connections_env.schema import Format, Reasoning, features
from connections_env.tokens import Tokenizer, count_game

if TYPE_CHECKING:
    import pyarrow

SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
DATASET_INFO = "dataset_info.json"
INFO_NAMES = {"train": "connections", "test": "connections_test"}
"""Split of a `hf` folder -> the name by which LLaMA-Factory finds it."""
# Line ends to Python's splitlines, by which NeMo reads a file, but not to JSON, which would leave them as they are.
_LINE_ENDS = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"})
_OPENS, _CLOSES = "<think>\n", "\n</think>\n\n"

Row = dict[str, Any]
Rows = dict[Format, list[Row]]
"""The rows of a game in each of the layouts that are written."""
Game = tuple[SftRow, Rows]


def rows_of(row: SftRow, export: Export, tokenizer: Tokenizer) -> Rows:
    """A game's rows in the layouts that are written: one, or in `per-turn` one for each right reply."""
    return {layout: [*_rows(row, layout, export.reasoning, tokenizer)] for layout in export.layouts}


def _rows(row: SftRow, layout: Format, reasoning: Reasoning, tokenizer: Tokenizer) -> Iterator[Row]:
    if layout == "per-turn":
        yield from _turns(row, tokenizer)
        return
    columns = row.model_dump()
    if reasoning == "split":
        columns |= {name: [*map(split, columns[name])] for name in ("prompt", "completion")}
    if layout == "trl":
        yield columns
        return
    messages = columns.pop("prompt") + columns.pop("completion")
    if layout == "openai":
        yield {"messages": messages}
    elif layout == "sharegpt":
        turns = [{"from": SPEAKERS[message["role"]], "value": message["content"]} for message in messages]
        yield {"puzzle_id": columns.pop("puzzle_id"), "conversations": turns, **columns}
    else:
        yield {"puzzle_id": columns.pop("puzzle_id"), "messages": messages, **columns}


def _turns(row: SftRow, tokenizer: Tokenizer) -> Iterator[Row]:
    """A row for each right guess, and for the naming of themes: what came before it without reasoning, and the reply.

    `turn` counts the player's replies from 1; `guess_history` ends with what came of the reply.
    """
    (columns,) = _rows(row, "trl", "inline", tokenizer)
    del columns["tokens_before"]
    puzzle_id, prompt, completion = (columns.pop(name) for name in ("puzzle_id", "prompt", "completion"))
    history = columns["guess_history"]
    guesses = [guess for guess in history if guess["status"] != "auto"]
    said = [*prompt]
    for turn, (reply, told) in enumerate(zip(completion[::2], [*completion[1::2], None], strict=True), 1):
        # Each guess has a reply; a reply beyond them names the themes, and in a good game they are right.
        if turn > len(guesses) or guesses[turn - 1]["status"] == "correct":
            counts = count_game(said, [reply], tokenizer)
            so_far = history[:turn] if turn < len(guesses) else history
            figures = {"num_tokens": counts.sequence, "max_reply_tokens": counts.replies[0]}
            talk = {"prompt": [*said], "completion": [reply], "turn": turn}
            yield {"puzzle_id": puzzle_id} | talk | columns | {"guess_history": so_far} | figures
        said.append({"role": "assistant", "content": reply["content"].partition(_CLOSES)[2]})
        if told:
            said.append(told)


def split(message: Mapping[str, str]) -> dict[str, str]:
    """A message with its reasoning beside its content, for templates that want it there."""
    if message["role"] != "assistant":
        return dict(message)
    thought, _, answer = message["content"].removeprefix(_OPENS).partition(_CLOSES)
    return {"role": "assistant", "reasoning_content": thought, "content": answer}


# Files


def jsonl(rows: Sequence[Row]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False, allow_nan=False).translate(_LINE_ENDS) + "\n" for row in rows)


def arrow(rows: Sequence[Row], layout: Format) -> "pyarrow.Table":
    """The rows as a table with the layout's schema, which holds its Features too."""
    import pyarrow

    return pyarrow.Table.from_pylist(list(rows), schema=features(layout).arrow_schema)


def parquet(table: "pyarrow.Table") -> bytes:
    """A table as a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())


def dataset_info(file: Path) -> str:
    """The `dataset_info.json` by which LLaMA-Factory finds a file of messages; other entries in it are kept.

    Raises `UsageError` where there is a file of that name that is none of LLaMA-Factory's.
    """
    path = file.with_name(DATASET_INFO)
    if (entries := _info_entries(path)) is None:
        raise UsageError(
            f"{shown(path)} is not a dataset_info.json of LLaMA-Factory; move it, or choose another output"
        )
    return info_text(entries | {file.stem: info_entry(file.name)})


def dataset_info_without(file: Path) -> str | None:
    """The `dataset_info.json` without what it said of a file that is not `messages` now; None where it said nothing.

    LLaMA-Factory reads the content of messages alone, so one whose reasoning stands beside it has no entry either: it
    would be trained on without.
    """
    entries, ours = _info_entries(file.with_name(DATASET_INFO)) or {}, info_entry(file.name)
    there = entries.get(file.stem, {})
    if any(there.get(name) != ours[name] for name in ("file_name", "columns")):
        return None  # an entry that somebody else wrote may well be of the file as it is now
    return info_text({name: entry for name, entry in entries.items() if name != file.stem})


def _info_entries(path: Path) -> dict[str, Row] | None:
    """The entries of a `dataset_info.json`; none where there is no file, None where it is another kind of file."""
    try:
        entries = json.loads(path.read_bytes()) if path.is_file() else {}
    except (ValueError, RecursionError):
        return None
    # The datasets library has files of this name too, with other things than an object for each dataset.
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        return None
    return entries


def info_entry(name: str) -> Row:
    """What LLaMA-Factory is told of a file of messages, named as from the folder of its `dataset_info.json`."""
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    return {"file_name": name, "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}


def info_text(entries: Mapping[str, Row]) -> str:
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"
