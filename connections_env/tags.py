"""Replies in the tags of other environments, brought to ours."""

import re
from typing import Any

from connections_env.items import text_of
from connections_env.parsing import Reply, plain_guess

_OUR_THOUGHTS = frozenset({"think", "thinking"})
THOUGHTS = _OUR_THOUGHTS | {"reason", "reasoning", "thought", "thoughts", "scratchpad", "reflection", "analysis"}
_TAG = re.compile(rf"<\s{{0,8}}(/?)\s{{0,8}}({'|'.join(sorted(THOUGHTS))}|answer|guess)\s{{0,8}}>", re.IGNORECASE)


def reply_from(content: Any, reasoning: Any) -> Reply:
    return Reply(in_our_tags(text_of(content)), text_of(reasoning))


def in_our_tags(content: str) -> str:
    """A reply in the tags of other environments, in ours.

    `<reason>` around what comes before the guess is thinking, and elsewhere no tag at all; `<answer>` is the guess
    where no `<guess>` stands outside of what is thought.
    """
    if plain_guess(content):
        return content
    names = [f"{slash}{name.lower()}" for slash, name in _TAG.findall(content)]
    outside, blocks, began = list[str](), True, False  # names outside of thoughts; are those well-formed blocks?
    thinking = False
    for name in names:
        if name.strip("/") in THOUGHTS:
            if name.startswith("/") and not began:
                outside.clear()  # its block was opened by the prompt, so all so far was thinking
            blocks &= name.startswith("/") == thinking
            thinking, began = not name.startswith("/"), True
        elif not thinking:
            outside.append(name)
    others = THOUGHTS - _OUR_THOUGHTS
    thinks = blocks and not thinking and not _OUR_THOUGHTS & {*names} and {"guess", "answer"} & {*outside}
    tags = {"answer": "" if "guess" in outside else "guess"} | dict.fromkeys(others, "think" if thinks else "")

    def ours(tag: re.Match[str]) -> str:
        name = tags.get(tag[2].lower(), tag[2])
        return tag[0] if name == tag[2] else f"<{tag[1]}{name}>" if name else ""

    return _TAG.sub(ours, content) if tags.keys() & {name.strip("/") for name in names} else content
