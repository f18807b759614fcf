"""A conversation read back: its messages whatever their layout, and the board that one of ours tells by itself.

A row that is nothing but messages has no answer key. But a won game of ours says in its prompt which items there are,
and in what the player was told which of its guesses were groups; the last group is what is left.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connections_env.boards import word
from connections_env.formats import SPEAKERS
from connections_env.items import item_list, text_of
from connections_env.parsing import Reply, read_themes
from connections_env.prompts import rules
from connections_env.puzzles import Group, Puzzle, UnplayableBoard, derived_id
from connections_env.records import Rollout
from connections_env.rulesets import RULESETS, Ruleset

NOT_TOLD = "(its theme is not told)"
_ROLES = {speaker: role for role, speaker in SPEAKERS.items()}  # of sharegpt
_OPENING = re.compile(r"The board holds \d+ items: (\d+) groups of \d+\.\n\nItems: (\[`.*`\])", re.DOTALL)
_GUESS = re.compile(r"<guess>(\[`.*`\])</guess>\s*\Z", re.DOTALL)
_RIGHT = re.compile(r"Correct!(?: The theme is: (.*))?")
_FOUND = re.compile(r"^\d+\. (\[`.*`\])$", re.MULTILINE)


def messages_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages of a row of any layout, in order."""
    return [
        message
        for name in ("prompt", "messages", "conversations", "completion")
        for message in _said(row.get(name), name)
    ]


def _said(messages: Any, name: str) -> Iterator[dict[str, str]]:
    if isinstance(messages, str) and messages.strip():
        messages = [{"role": "assistant" if name == "completion" else "user", "content": messages}]
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict):
            continue
        role, content = word(message.get("role") or message.get("from")), message.get("content") or message.get("value")
        reasoning = text_of(message.get("reasoning_content") or message.get("reasoning"))
        said = {"role": _ROLES.get(role, role or "user"), "content": text_of(content)}
        yield said | ({"reasoning_content": reasoning} if reasoning else {})


def reply_of(message: Mapping[str, str]) -> Reply:
    return Reply(message["content"], message.get("reasoning_content", ""))


def feedback_of(rollout: Rollout) -> list[str]:
    """What the player was told after each reply; nothing after the last."""
    said = list[str]()
    for message in rollout.completion:
        if message.role == "assistant":
            said.append("")
        elif said:
            said[-1] += message.content
    return said


def ruleset_of(messages: Sequence[Mapping[str, str]]) -> Ruleset | None:
    """The rules that a conversation of ours begins with; None for any other."""
    return next(
        (ruleset for ruleset in RULESETS.values() if messages and rules(ruleset) == messages[0]["content"]), None
    )


def puzzle_told(messages: Sequence[Mapping[str, str]]) -> Puzzle | None:
    """The board of a won game of ours, groups in the order found; None where the conversation is not one."""
    opening = _OPENING.fullmatch(messages[1]["content"]) if len(messages) > 2 else None
    if opening is None or ruleset_of(messages) is None:
        return None
    items, groups, themes = _items(opening[2]), list[tuple[str, ...]](), list[str]()
    for message, told in zip(messages[2::2], [*messages[3::2], None], strict=False):
        guess = _GUESS.search(message["content"])
        right = _RIGHT.match(told["content"]) if told else None
        if guess and (right or told is None):
            groups.append(_items(guess[1]))
            themes.append((right and right[1]) or NOT_TOLD)
        if told is not None and (all_found := _FOUND.findall(told["content"])):
            groups = [*map(_items, all_found)]
            named = read_themes(messages[-1]["content"])
            themes = [*named, *[NOT_TOLD] * len(groups)][: len(groups)]
    rest = tuple(item for item in items if not any(item in group for group in groups))
    if rest:
        groups, themes = [*groups, rest], [*themes, NOT_TOLD]
    try:
        made = tuple(Group(theme, group, (theme,)) for theme, group in zip(themes, groups, strict=True))
        return Puzzle(derived_id(items), items, made) if len(made) == int(opening[1]) else None
    except UnplayableBoard:
        return None


def _items(listed: str) -> tuple[str, ...]:
    """Items as `item_list` lists them; nothing where it would list them otherwise."""
    items = tuple(listed[2:-2].split("`, `"))
    return items if item_list(items) == listed else ()
