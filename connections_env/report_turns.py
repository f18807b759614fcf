"""A game as the page of a report shows it: all that was said, and what its replay makes of each turn."""

from collections.abc import Sequence
from typing import Any

from connections_env.dataset import public_name
from connections_env.examples import GoodRow
from connections_env.game import GameState
from connections_env.lineage import cuts_after
from connections_env.parsing import Asked, Reply, reasoning_of
from connections_env.play import Disagrees, replay_replies, replay_rollout
from connections_env.records import Rollout
from connections_env.rewards import reward_components
from connections_env.tokens import END_OF_TURN, Counts, Tokenizer
from connections_env.transcripts import feedback_of


def game_of(
    row: Rollout, tokenizer: Tokenizer | None = None, counts: Counts | None = None, before: Counts | None = None
) -> dict[str, Any]:
    """A game as the page shows it, turn by turn, with what its replay says of the board after each.

    `counts` are its tokens as a trainer counts them, and `before` what they were before its reduction; without them
    those of the endpoint are shown.
    """
    states, note = _states(row)
    counted = counts.replies if counts else row.reply_tokens
    estimated = {} if counts else dict(enumerate(row.reply_estimated))
    turns = [
        _turn(row, states, nth, reply) | {"tokens": tokens, "estimated": estimated.get(nth, False)}
        for nth, (reply, tokens) in enumerate(zip(row.replies, counted, strict=True))
    ]
    for turn, feedback in zip(turns, feedback_of(row), strict=False):
        turn["feedback"] = feedback
    if isinstance(row, GoodRow) and row.reduced and row.original_completion:
        for turn, was in zip(turns, _before(row), strict=False):
            if was != turn["content"]:
                turn["before"] = reasoning_of(Reply(was), "themes" if turn["status"] == "themes" else "guess")
                turn["beforeTokens"] = tokenizer.count(was + END_OF_TURN) if tokenizer else None
    return {
        "prompt": [{"role": message.role, "content": message.content} for message in row.prompt],
        "turns": turns,
        "seams": _seams(row),
        "themes": row.themes.model_dump() if row.themes else None,
        "usage": row.usage.model_dump(),
        "timing": row.timing,
        "sampling": row.sampling,
        "parts": {name: part for name, part in reward_components(states[-1]).items() if part} if states else {},
        "reducer": ", ".join(map(public_name, row.reducer_models)) if isinstance(row, GoodRow) else None,
        "counted": tokenizer.name if tokenizer and counts else None,
        "completion": [one.completion for one in (before, counts) if one],
        "note": note,
    }


def _states(row: Rollout) -> tuple[list[GameState], str | None]:
    """The states of a game, and what does not fit its record; none where it names no board."""
    puzzle = row.puzzle
    if puzzle is None:
        return [], "this row names no board that can be played, so its game is shown as recorded"
    try:
        return replay_rollout(row)[1], None
    except Disagrees as error:
        return replay_replies(puzzle, row.ruleset, row.replies), f"replayed here, this row does not hold: {error}"


def _reasoning(reply: Reply, asked: Asked = "guess") -> str | None:
    """A reply's reasoning; None where it is just what came beside the content, as it mostly is."""
    reasoning = reasoning_of(reply, asked)
    return None if reasoning == reply.reasoning else reasoning


def _turn(row: Rollout, states: Sequence[GameState], nth: int, reply: Reply) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "content": reply.content,
        "beside": reply.reasoning,
        "reasoning": "",
        "words": [],
        "status": "late",
        "reason": None,
        "mistakes": states[-1].mistakes if states else 0,
        "found": [*states[-1].found] if states else [],
        "auto": False,
        "finish": row.reply_finish[nth],
        "unfit": row.reply_unfit[nth],
        "feedback": "",
    }
    if nth + 1 >= len(states):
        return turn | {"reasoning": _reasoning(reply)}
    before, after = states[nth], states[nth + 1]
    turn |= {
        "mistakes": after.mistakes,
        "found": [*after.found],
        "auto": after.turns[-1].status == "auto" and not before.asks_themes,
    }
    if before.asks_themes:
        return turn | {"status": "themes", "reasoning": _reasoning(reply, "themes")}
    played = after.player_turns[-1]
    return turn | {
        "reasoning": _reasoning(reply),
        "words": [*played.words],
        "status": played.status,
        "reason": played.reason,
    }


def _seams(row: Rollout) -> list[dict[str, Any]]:
    """Where the game goes on from an earlier one, after so many turns, and what was cut off that one, or ones before.

    `cut` counts replies, and is None where nobody wrote down how many; `last` is the game's own going on.
    """
    seams, own = list[dict[str, Any]](), row.resumed_from.turns if row.resumed_from else None
    for turns in range(len(row.replies)):
        cuts = [cut.turns for cut in cuts_after(row, turns)]
        if cuts or turns == own:
            seams.append(
                {"after": turns, "cut": None if None in cuts else sum(filter(None, cuts)), "last": turns == own}
            )
    return seams


def _before(row: GoodRow) -> list[str]:
    return [message.content for message in row.original_completion or () if message.role == "assistant"]
