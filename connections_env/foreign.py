"""Rollouts of other tools brought to our form by replaying their replies on their board.

Read today: records of older pipelines for this game. They have the fields of ours without ids and verdicts on the
replies; `info` may be a JSON string, and the part of a resumed game that was played earlier may sit in `prompt`.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from connections_env.boards import number, puzzle_from_row, word
from connections_env.examples import looks_like
from connections_env.game import WON
from connections_env.items import encodable
from connections_env.parsing import Reply
from connections_env.play import Job, make_rollout, replay_replies
from connections_env.puzzles import UnplayableBoard
from connections_env.records import BadRow, GuessRow, Info, ResumedFrom, Rollout, read_row
from connections_env.rulesets import NYT, PUZZGRID, RULESETS, Ruleset


def rollout_of(data: bytes) -> Rollout:
    """The rollout on a line, ours or another tool's. Raises `BadRow`, `FutureRow`."""
    row = read_row(data)
    return row if isinstance(row, Rollout) else adopt(row)


def adopt(row: Mapping[str, Any]) -> Rollout:
    """Our row for another tool's game. Raises `BadRow` where it is no game at all.

    A row that names no board keeps its own account of the game and has no replies: it can be counted, not replayed.
    """
    info = _info(row)
    messages = [*_messages(row, "prompt"), *_messages(row, "completion")]
    if not messages and "guess_history" not in row:
        raise BadRow("neither messages nor a guess_history: not a game")
    ruleset = _ruleset(row, info)
    try:
        puzzle = puzzle_from_row(info, word(info.get("source")), as_shown=True)
    except UnplayableBoard:
        return _on_its_word(row, info, ruleset)
    replies = [_reply(message) for message in messages if message.get("role") == "assistant"]
    before = sum(message.get("role") == "assistant" for message in _messages(row, "prompt"))
    states = replay_replies(puzzle, ruleset, replies)
    job = Job(
        rollout_id=_derived_rollout_id(row),
        puzzle=puzzle,
        ruleset=ruleset,
        resumed_from=ResumedFrom(rollout_id=None, turns=before) if before else None,
        turns_cut=1 if before else 0,  # how many, those tools did not write down
        example_id=row["example_id"] if isinstance(row.get("example_id"), int) else 0,
    )
    recorded = word(row.get("complete_reason")) or "interrupted"
    # A game that its own tool calls finished and ours does not (a rule that differs) can still go on.
    unfinished = recorded if recorded not in WON | {"max_mistakes"} else "interrupted"
    return make_rollout(job, states, replies, states[-1].complete_reason or unfinished, model=word(row.get("model")))


def _info(row: Mapping[str, Any]) -> dict[str, Any]:
    info = row.get("info")
    if isinstance(info, str):
        try:
            info = json.loads(info)
        except (ValueError, RecursionError):
            raise BadRow("info is a string that is no JSON") from None
    if not isinstance(info, dict):
        raise BadRow(f"no info object says which puzzle was played; this looks like {looks_like(row)}")
    return info


def _messages(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    messages = row.get(name)
    return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []


def _ruleset(row: Mapping[str, Any], info: Mapping[str, Any]) -> Ruleset:
    named = RULESETS.get(str(info.get("ruleset") or row.get("ruleset")))
    return named or (PUZZGRID if row.get("complete_reason") == "theme_guessing_complete" else NYT)


def _reply(message: Mapping[str, Any]) -> Reply:
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return Reply(_text(message.get("content")), _text(reasoning))


def _text(value: Any) -> str:
    return encodable(value) if isinstance(value, str) else ""


def _derived_rollout_id(row: Mapping[str, Any]) -> str:
    """The same row always gets the same id, wherever its file lies."""
    return "older-" + hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]


def _on_its_word(row: Mapping[str, Any], info: Mapping[str, Any], ruleset: Ruleset) -> Rollout:
    puzzle_id = word(info.get("puzzle_id")) or word(row.get("puzzle_id"))
    if not puzzle_id:
        raise BadRow("names neither a board nor a puzzle_id")
    history = row.get("guess_history")
    guesses = [guess for guess in history if isinstance(guess, dict)] if isinstance(history, list) else []
    return Rollout(
        rollout_id=_derived_rollout_id(row),
        prompt=[],
        completion=[],
        info=Info(puzzle_id=puzzle_id, all_words=[], categories=[], ruleset=ruleset.name),
        guess_history=[
            GuessRow(words=[], status=guess["status"], category_idx=None, reason=None)
            for guess in guesses
            if guess.get("status") in ("correct", "one_away", "incorrect", "invalid", "auto")
        ],
        complete_reason=word(row.get("complete_reason")) or "interrupted",
        reward=number(row.get("reward")) or 0.0,
        reply_tokens=[],
        reply_finish=[],
        reply_unfit=[],
    )
