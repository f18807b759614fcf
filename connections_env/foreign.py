"""Rollouts of other tools brought to our form by replaying their replies on their board.

Read are records of older pipelines for this game, which have the fields of ours without ids and verdicts on the
replies, whose `info` may be a JSON string and whose `prompt` may hold what was played of a resumed game before; and the
`results.jsonl` of verifiers evaluations (github.com/PrimeIntellect-ai/verifiers) of any Connections environment, which
hold a board and replies and no guess history.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from connections_env.boards import ROW, field, number, plain_id, puzzle_from_row, raw_groups, word
from connections_env.decoding import Unreadable
from connections_env.examples import looks_like
from connections_env.files import line_at
from connections_env.game import WON, GameState, themes_right
from connections_env.layouts import table_row
from connections_env.parsing import Reply, read_guess
from connections_env.play import Job, make_rollout, replay_judged, tokens_of
from connections_env.puzzles import Puzzle, UnplayableBoard
from connections_env.quality import Facts, each_right
from connections_env.records import BadRow, GuessRow, Info, ResumedFrom, Rollout, Usage, read_row
from connections_env.rewards import reward
from connections_env.rulesets import NYT, PUZZGRID, RULESETS, Ruleset
from connections_env.tags import reply_from

Origin = Literal["older pipelines", "verifiers"]


@dataclass(frozen=True, slots=True)
class Game:
    """What another tool's row holds of a game, replayed on ours."""

    puzzle: Puzzle
    ruleset: Ruleset
    replies: list[Reply]
    """All of them, those after the end of our game too."""
    states: list[GameState]
    unfit: list[str | None]
    ended: str
    """`complete_reason` here; what the row says, where our game is not over."""

    @property
    def facts(self) -> Facts:
        end, used = self.states[-1], self.replies[: len(self.unfit)]
        return Facts(
            statuses=tuple([turn.status for turn in end.turns if turn.status != "auto"]),
            unfit=tuple(self.unfit),
            tokens=tuple(map(tokens_of, used)),
            complete_reason=self.ended,
            reward=reward(end),
            groups=len(self.puzzle.groups),
            ruleset=self.ruleset,
            themes_right=end.themes is None or each_right(end.themes, themes_right(end)),
        )


def rollout_of(data: bytes) -> Rollout:
    """The rollout on a line, ours or another tool's. Raises `BadRow`, `FutureRow`."""
    row = read_row(data)
    return row if isinstance(row, Rollout) else adopt(row)


def rollout_at(path: Path, offset: int) -> Rollout:
    """The rollout on the line that starts at a byte. Raises `BadRow`, `FutureRow`, OSError."""
    rollout = rollout_of(line_at(path, offset))
    return rollout if rollout.model else rollout.model_copy(update={"model": model_beside(path)})


@lru_cache
def model_beside(results: Path) -> str:
    """The model that verifiers names in the `metadata.json` beside its results, or nothing."""
    with suppress(OSError, ValueError, RecursionError, AttributeError):
        return word(json.loads((results.parent / "metadata.json").read_text(encoding="utf-8")).get("model"))
    return ""


def origin_of(row: Mapping[str, Any]) -> Origin:
    """Which kind of tool wrote a row: older pipelines keep a guess history, verifiers does not."""
    return "older pipelines" if "guess_history" in row else "verifiers"


def adopt(row: Mapping[str, Any]) -> Rollout:
    """Our row for another tool's game. Raises `BadRow` where it is no game at all.

    A row that names no board keeps its own account of the game and has no replies: it can be counted, not replayed.
    """
    game = game_of(row)
    if game is None:
        return _on_its_word(row)
    before = len(_earlier(row, game.puzzle))
    used = row.get("token_usage")
    spent = used if isinstance(used, dict) else {}
    job = Job(
        rollout_id=_derived_rollout_id(row),
        puzzle=game.puzzle,
        ruleset=game.ruleset,
        resumed_from=ResumedFrom(rollout_id=None, turns=before) if before else None,
        turns_cut=1 if before else 0,  # how many, those tools did not write down
        example_id=row["example_id"] if isinstance(row.get("example_id"), int) else 0,
    )
    return make_rollout(
        job,
        game.states,
        game.replies,
        game.ended,
        unfit=game.unfit,
        model=word(row.get("model")),
        usage=Usage(
            input=int(number(spent.get("input_tokens")) or 0),
            output=int(number(spent.get("output_tokens")) or 0),
            requests=len(game.replies) - before if spent else 0,
        ),
    )


def game_of(row: Mapping[str, Any]) -> Game | None:
    """The game of a row, None where it names no board at all. Raises `BadRow` where it is none that can be replayed."""
    if "doctoring_type" in row or "kind" in row:
        raise BadRow(f"no game as it was played: this looks like {looks_like(row)}")
    messages = [*_messages(row, "prompt"), *_messages(row, "completion")]
    if not messages and "guess_history" not in row and not isinstance(row.get("completion"), list):
        raise BadRow(f"neither messages nor a guess_history: not a game; this looks like {looks_like(row)}")
    if (board := board_in(row)) is None:
        return None
    replies = [*_earlier(row, board[0]), *_replies(_messages(row, "completion"))]
    return played(*board, replies, _named_ruleset(row), row.get("complete_reason"))


def _earlier(row: Mapping[str, Any], puzzle: Puzzle) -> list[Reply]:
    """The replies in `prompt` that are of this game, which was resumed; those of other boards show how to play."""
    replies = _replies(_messages(row, "prompt"))
    if origin_of(row) == "older pipelines":
        return replies
    guesses = [read_guess(reply.content, puzzle).words for reply in replies]
    return replies if all(words and puzzle.group_of.keys() >= {*words} for words in guesses) else []


def played(
    puzzle: Puzzle, ruleset: Ruleset | None, replies: list[Reply], other: Ruleset | None, recorded: object
) -> Game:
    rules = ruleset or other or (PUZZGRID if recorded == "theme_guessing_complete" else NYT)
    states, unfit = replay_judged(puzzle, rules, replies)
    # A game that its own tool calls finished and ours does not (a rule that differs) can still go on.
    said = word(recorded) or "interrupted"
    unfinished = said if said not in WON | {"max_mistakes"} else "interrupted"
    return Game(puzzle, rules, replies, states, unfit, states[-1].complete_reason or unfinished)


def info_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of its puzzle; empty where it says nothing. Raises `BadRow` for text that is no JSON."""
    info = row.get("info")
    if isinstance(info, str):
        try:
            info = json.loads(info)
        except (ValueError, RecursionError):
            raise BadRow("info is a string that is no JSON") from None
    return info if isinstance(info, dict) else {}


def board_in(row: Mapping[str, Any]) -> tuple[Puzzle, Ruleset | None] | None:
    """The board that was played, in the order shown, and its rules where they are named; None where no board is.

    It lies in `info` or in an object there, else in `answer`, `state` or the row itself; any of them may be JSON as
    text. Raises `BadRow` for one that cannot be played.
    """
    info = info_in(row)
    for outer in (info, _object(row.get("answer")), _object(row.get("state")), row):
        for inner in (outer, *map(_object, outer.values())):
            fields = table_row({**info, **outer, **inner})
            try:
                if isinstance(fields, Unreadable) or not raw_groups(fields):
                    continue
                puzzle = puzzle_from_row(fields, word(info.get("source")), as_shown=True)
            except UnplayableBoard as error:
                raise BadRow(f"its board cannot be played; {error}") from None
            return puzzle, _named_ruleset(info)
    return None


def _object(value: Any) -> Mapping[str, Any]:
    """An object, written as one or as JSON; empty where it is anything else."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    return value if isinstance(value, dict) else {}


def _named_ruleset(fields: Mapping[str, Any]) -> Ruleset | None:
    return RULESETS.get(str(fields.get("ruleset")))


def _messages(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The messages of a field, which may hold them as JSON; a text that is none is a single message."""
    messages = row.get(name)
    if isinstance(messages, str) and messages.strip():
        with suppress(ValueError, RecursionError):
            messages = json.loads(messages)
        if isinstance(messages, str):
            messages = [{"role": "assistant" if name == "completion" else "user", "content": messages}]
    return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []


def _replies(messages: Iterable[Mapping[str, Any]]) -> list[Reply]:
    return [
        reply_from(message.get("content"), message.get("reasoning_content") or message.get("reasoning"))
        for message in messages
        if message.get("role") == "assistant"
    ]


def _derived_rollout_id(row: Mapping[str, Any]) -> str:
    """The same row always gets the same id, wherever its file lies."""
    name = json.dumps(row, sort_keys=True)
    return f"{origin_of(row).partition(' ')[0]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _on_its_word(row: Mapping[str, Any]) -> Rollout:
    info = info_in(row)
    puzzle_id = plain_id(field(info, ROW, "puzzle_id")) or plain_id(row.get("puzzle_id"))
    if not puzzle_id:
        raise BadRow(f"names neither a board nor a puzzle_id; this looks like {looks_like(row)}")
    ruleset = _named_ruleset(info) or _named_ruleset(row)
    history = row.get("guess_history")
    guesses = [guess for guess in history if isinstance(guess, dict)] if isinstance(history, list) else []
    return Rollout(
        rollout_id=_derived_rollout_id(row),
        prompt=[],
        completion=[],
        info=Info(puzzle_id=puzzle_id, all_words=[], categories=[], ruleset=(ruleset or NYT).name),
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
