"""One turn of a game for the dataset's card, so that its readers see what a row is."""

import re
from collections.abc import Mapping

from connections_env.dataset import SftRow
from connections_env.formats import split
from connections_env.terminal import visible_lines

REASONING = 300
"""Characters of the reasoning that are shown at most."""


def excerpt(game: SftRow) -> str:
    """The first turn: the board, the reply with its reasoning cut short, the verdict where another turn follows."""
    parts = split(game.completion[0])
    thought, answer = parts["reasoning_content"], parts["content"]
    short = _cut(thought)
    reply = {"role": "assistant", "content": f"<think>\n{short}\n</think>\n\n{answer}"}
    said = "\n\n".join(map(_said, [game.prompt[-1], reply, *game.completion[1:2]]))
    cut = f", its reasoning cut to {len(short):,} of {len(thought):,} characters" if short != thought else ""
    return (
        f"## An example\n\nThe first turn of a game, after the rules{cut}. Above each message stands whose it is:\n\n"
        f"{fenced(said)}"
    )


def _said(message: Mapping[str, str]) -> str:
    return f"[{message['role']}]\n{message['content']}"


def _cut(text: str) -> str:
    """At most so many characters, whole words where they are no longer than that."""
    if len(text) <= REASONING:
        return text
    return text[: REASONING - 1].rsplit(maxsplit=1)[0] + "…"


def fenced(text: str) -> str:
    """A text as a block of markdown that nothing in it can end; what nobody would see is written out."""
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", text))]))
    return "\n".join([f"{fence}text", *visible_lines(text), fence])
