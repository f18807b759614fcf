"""Does a row load in every trainer as it is? The same checks for all exports, of a row as it is about to be written.

Learned by running them: chat templates that drop or double reasoning, trainers that take a column for something else,
and Arrow, which infers the types of a JSON file from its first rows.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connections_env.examples import ID_PREFIX
from connections_env.schema import MESSAGES, RESERVED, Format, Reasoning, columns

# What Arrow's JSON reader takes for a timestamp where every string of a column is like it.
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d(?::?\d\d){0,2}(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII)
_THINK_TAG = re.compile(r"</?think>")
_THOUGHT = re.compile(r"<think>\n(?=\S)(?:(?!</?think>).)*\S\n</think>\n\n(?=<)(?!<think>)", re.DOTALL)
_ROLES = {"system": "system", "human": "user", "gpt": "assistant"}
_TYPES: dict[str, type[Any]] = {"string": str, "float64": float, "int64": int, "bool": bool}


def unloadable(row: Mapping[str, Any], layout: Format, reasoning: Reasoning = "inline") -> list[str]:
    """Why a trainer could not load a row of a layout as it is, each as `reason: detail`; empty if it could."""
    found = [*_column_problems(row, layout)]
    split = reasoning == "split"
    for name, kind in columns(layout).items():
        if name in row:
            optional = {"reasoning_content"} if kind is MESSAGES and split else set[str]()
            leaves: dict[str, list[Any]] = {where: [] for where in _leaf_columns(kind, name)}
            found += _type_problems(row[name], kind, name, leaves, optional)
            found += _inference_problems(leaves)
    if found:
        return found  # what follows can rely on the form
    if not row.get("puzzle_id", ID_PREFIX).startswith(ID_PREFIX):
        found.append(f"id: {row['puzzle_id']!r} lacks the prefix {ID_PREFIX!r}, without which ids can look like dates")
    prompt, completion = _parts(row, layout)
    if layout == "per-turn" and len(completion) > 1:
        found.append(f"roles: a completion of {len(completion)} messages, where one reply is to be learned")
    return [*found, *talk_problems(prompt, completion), *_reasonings(prompt, completion, split=split)]


def _column_problems(row: Mapping[str, Any], layout: Format) -> Iterator[str]:
    due = columns(layout)  # of no layout both messages and prompt
    for name in row:
        if name not in due:
            misread = ", and trainers misread it" if name in RESERVED else ""
            yield f"columns: {name!r} is none of this layout{misread}"
    for name in due:
        if name not in row:
            yield f"columns: {name!r} is missing"


def _leaf_columns(kind: Any, where: str) -> Iterator[str]:
    """The columns that Arrow makes of a nested one."""
    if isinstance(kind, list):
        yield from _leaf_columns(kind[0], f"{where}[]")
    elif isinstance(kind, dict):
        for name, inner in kind.items():
            yield from _leaf_columns(inner, f"{where}.{name}")
    else:
        yield where


def _type_problems(
    value: Any, kind: Any, where: str, leaves: dict[str, list[Any]], optional: set[str]
) -> Iterator[str]:
    """Where a value is not of its type; its leaves are gathered by their columns."""
    if isinstance(kind, list):
        if not isinstance(value, list):
            yield f"type: {where} is {type(value).__name__}, not a list"
            return
        for entry in value:
            yield from _type_problems(entry, kind[0], f"{where}[]", leaves, optional)
    elif isinstance(kind, dict):
        if not isinstance(value, dict) or not kind.keys() <= value.keys() <= kind.keys() | optional:
            keys = f"has the keys {', '.join(map(str, value))}" if isinstance(value, dict) else f"is {value!r:.60}"
            yield f"keys: {where} {keys}, not exactly {', '.join(kind)}"
            return
        for name, inner in value.items():
            yield from _type_problems(inner, kind.get(name, "string"), f"{where}.{name}", leaves, set())
    else:
        yield from _leaf_problems(value, kind, where)
        leaves.setdefault(where, []).append(value)


def _leaf_problems(value: Any, kind: str, where: str) -> Iterator[str]:
    name = kind.removesuffix(" or null")
    if value is None and name != kind:
        return
    # By its own type and not by isinstance: a bool is an int to Python, and an integer no float to Arrow.
    if type(value) is not _TYPES[name]:
        yield f"type: {where} is {value!r:.60}, not a {name}"
    elif name == "float64" and not math.isfinite(value):
        yield f"type: {where} is {value}, which JSON cannot hold"
    elif name == "int64" and not -(2**63) <= value < 2**63:
        yield f"type: {where} is {value}, more than 64 bits"
    elif name == "string" and any("\ud800" <= character <= "\udfff" for character in value):
        yield f"type: {where} holds half a character, which UTF-8 cannot"


def _inference_problems(leaves: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Where Arrow, were this row the first of its file, would take a column for another type than it is."""
    for where, values in leaves.items():
        strings = [value for value in values if isinstance(value, str)]
        if strings and all(map(_DATE.fullmatch, strings)):
            yield f"dates: {where} holds nothing but dates ({strings[0]}), which are read as timestamps"
        if all(value is None for value in values):
            yield f"empty: {where} has no value to tell its type by"


def talk_problems(prompt: Sequence[Mapping[str, str]], completion: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Where messages are no conversation that a chat template renders as it is meant, each as `reason: detail`.

    Of a game before it is laid out (`validation.problems`) as of each row that is made of it.
    """
    for nth, message in enumerate((*prompt, *completion), 1):
        for name, text in message.items():
            if not text.strip():
                yield f"empty message: {name} of message {nth}"
    roles = [message["role"] for message in (*prompt, *completion)]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if spoken != ["assistant" if nth % 2 else "user" for nth in range(len(spoken))]:
        yield "roles: after the system message, user and assistant take turns"
    if [message["role"] for message in prompt[-1:]] != ["user"]:
        yield "roles: a prompt ends with user"
    if [message["role"] for message in completion[:1]] != ["assistant"]:
        yield "roles: a completion starts with assistant"
    if [message["role"] for message in completion[-1:]] != ["assistant"]:
        yield "no last reply: a completion ends with assistant"


def _reasonings(
    prompt: Sequence[Mapping[str, str]], completion: Sequence[Mapping[str, str]], *, split: bool
) -> Iterator[str]:
    """Where the reasoning of a reply is not where it belongs."""
    for nth, message in enumerate((*prompt, *completion), 1):
        learned = message["role"] == "assistant" and nth > len(prompt)
        yield from (f"{why} (message {nth})" for why in _reasoning_problems(message, split=split, learned=learned))


def _reasoning_problems(message: Mapping[str, str], *, split: bool, learned: bool) -> Iterator[str]:
    """Reasoning stands in one place, and only in replies that are learned from."""
    content, beside = message["content"], message.get("reasoning_content")
    if message["role"] != "assistant":
        if beside is not None:
            yield "reasoning: beside a message that is no reply"
    elif not learned:
        if beside is not None or _THINK_TAG.search(content):
            yield "reasoning: in an earlier reply"
    elif not split:
        if not (thought := _THOUGHT.match(content)) or _THINK_TAG.search(content, thought.end()):
            yield "reasoning: not one think block, a blank line and the answer"
    elif beside is None or _THINK_TAG.search(content) or _THINK_TAG.search(beside):
        yield "reasoning: not beside the content alone"


def _parts(row: Mapping[str, Any], layout: Format) -> tuple[list[Mapping[str, str]], list[Mapping[str, str]]]:
    """The prompt and the completion of a row of any layout."""
    if "prompt" in row:
        return row["prompt"], row["completion"]
    said = row.get("messages")
    if said is None:
        turns = row["conversations"]
        said = [{"role": _ROLES.get(turn["from"], turn["from"]), "content": turn["value"]} for turn in turns]
    first = next((nth for nth, message in enumerate(said) if message["role"] == "assistant"), len(said))
    return said[:first], said[first:]
