"""One reply's rewriting: which replies to shorten and to how many tokens, and whether an answer may be taken."""

import hashlib
import json
import re

from connections_env.parsing import Asked, Reply, reasoning_of, unfit_reason
from connections_env.puzzles import Puzzle
from connections_env.tokens import Counts, Limits

AIM = 80  # percent of a limit that is aimed at: models count badly
LEAST = 120  # tokens; a reply's target is never under it
_THINK_TAG = re.compile(r"<\s*/?\s*think(?:ing)?\s*>", re.IGNORECASE)


# What to ask for


def game_limit(counts: Counts, limits: Limits, items: int) -> int:
    """Most tokens the completion may have, by the limit of the game and by that of the whole sequence."""
    limit = limits.game_limit(items)
    prompt = counts.sequence - counts.completion
    return limit if limits.sequence is None else min(limit, limits.sequence - prompt)


def targets(counts: Counts, limits: Limits, items: int) -> list[int]:
    """Tokens each reply is to have: 80% of a reply's limit, or less: its share of 80% of what a game may say."""
    replies = sum(counts.replies)
    room = max(game_limit(counts, limits, items) - (counts.completion - replies), 0)
    shares = [AIM * room * tokens // (100 * replies) for tokens in counts.replies]
    return [max(min(AIM * limits.reply // 100, share), LEAST) for share in shares]


def chosen(counts: Counts, limits: Limits, items: int, given_up: set[int]) -> dict[int, int]:
    """Reply -> target, the longest first: those over the limit of one, and as many more as the game takes to fit."""
    aims, over = targets(counts, limits, items), counts.completion - game_limit(counts, limits, items)
    picked: dict[int, int] = {}
    for turn in sorted(range(len(aims)), key=lambda turn: -counts.replies[turn]):
        gain = counts.replies[turn] - aims[turn]
        if turn not in given_up and gain > 0 and (over > 0 or counts.replies[turn] > limits.reply):
            picked[turn] = aims[turn]
            over -= gain
    return picked


def can_fit(counts: Counts, limits: Limits, items: int) -> bool:
    """Would the game fit if every reply came down to the least that is ever asked for?"""
    feedback, least = counts.completion - sum(counts.replies), [min(tokens, LEAST) for tokens in counts.replies]
    return max(least) <= limits.reply and feedback + sum(least) <= game_limit(counts, limits, items)


def inside_of(content: str) -> str:
    """The inside of the think block of a canonical reply."""
    return content.partition("</think>")[0].removeprefix("<think>\n").removesuffix("\n")


def request_id(*parts: object) -> str:
    """Names a request: the same one always alike, a second try otherwise. Safe in a header, whatever the parts."""
    return "reduce-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


# What came back


def accepted(before: str, answer: Reply, puzzle: Puzzle, asked: Asked) -> tuple[str, str | None]:
    """The rewritten reply, or the old one and why the answer is refused. Only `content` is looked at.

    The answer's spaces around its think block and its guess are passed over: what is kept of it is the inside alone.
    """
    said, tail = answer.content.strip(), before.partition("</think>")[2]
    unfit = unfit_reason(Reply("", said, answer.finish_reason), puzzle, asked)
    if why := _refused(said, tail.strip(), unfit):
        return before, why
    inside = said.removeprefix("<think>").partition("</think>")[0].strip()
    after = f"<think>\n{inside}\n</think>{tail}"
    # A tag in the reasoning would be gone when the reply is next written, or open a second guess.
    return (after, None) if reasoning_of(Reply(after), asked) == inside else (before, "tags inside the think block")


def _refused(said: str, answer: str, unfit: str | None) -> str | None:
    """What is wrong with the form of a shortened reply that should end with `answer`."""
    if unfit in ("cut_off", "control_tokens"):
        return unfit.replace("_", " ")
    if not said:
        return "empty"
    if said.startswith("```"):
        return "code fence"
    tags = _THINK_TAG.findall(said)
    if len(tags) > 2:
        return "more than one think block"
    if tags != ["<think>", "</think>"]:
        return "no whole think block"
    head, _, rest = said.partition("<think>")
    inside, _, tail = rest.partition("</think>")
    if head:
        return "text before the think block"
    if not inside.strip() or unfit == "no_reasoning":
        return "empty"
    if tail.strip() == answer:
        return None
    return "text after the guess" if tail.strip().startswith(answer) else "guess changed"
