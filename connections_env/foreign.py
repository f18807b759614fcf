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

from pydantic import ValidationError

from connections_env.boards import ROW, field, number, plain_id, word
from connections_env.dialects import answers_all, replies_of, tagged
from connections_env.examples import looks_like
from connections_env.files import line_at
from connections_env.game import WON, GameState, themes_right
from connections_env.json_lines import BadRow
from connections_env.parsing import Reply, read_guess
from connections_env.play import Job, make_rollout, replay_judged, tokens_of
from connections_env.puzzles import Puzzle
from connections_env.quality import Facts, each_right
from connections_env.records import SIMULATED, Cut, GuessRow, Info, ResumedFrom, Rollout, Usage, read_row
from connections_env.rewards import reward
from connections_env.rulesets import NYT, PUZZGRID, Ruleset
from connections_env.told import board_in, info_in, messages_in, named_ruleset

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
    return rollout if rollout.model else named(rollout, model_beside(path))


def named(rollout: Rollout, model: str) -> Rollout:
    """A rollout that names nobody, with who wrote its new replies; those it goes on from may be another's."""
    earlier = rollout.resumed_from.turns if rollout.resumed_from else 0
    models = [*rollout.reply_models[:earlier], *[model] * len(rollout.reply_models[earlier:])]
    return rollout.model_copy(update={"model": model, "reply_models": models, "simulated": SIMULATED in models})


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
    parent = _parent(row, game)
    before = parent.turns if parent else 0
    # A row that says the simulated player had a hand in it does not say in which replies.
    model, unknown = (SIMULATED, SIMULATED) if row.get("simulated") is True else (word(row.get("model")), "")
    job = Job(
        rollout_id=word(row.get("rollout_id")) or _derived_rollout_id(row),
        puzzle=game.puzzle,
        ruleset=game.ruleset,
        resumed_from=parent,
        cuts=(Cut(turns=None, kept=before, truncate=None),) if before else (),
        example_id=row["example_id"] if isinstance(row.get("example_id"), int) else 0,
    )
    return make_rollout(
        job,
        game.states,
        [reply._replace(model=model if nth >= before else unknown) for nth, reply in enumerate(game.replies)],
        game.ended,
        unfit=game.unfit,
        usage=_usage(row, len(game.replies) - before),
    )


def _parent(row: Mapping[str, Any], game: Game) -> ResumedFrom | None:
    """What a game goes on from, as its row says, or else by the replies of it that its prompt holds."""
    with suppress(ValidationError):
        parent = ResumedFrom.model_validate(row.get("resumed_from"))
        return parent if 0 < parent.turns < len(game.replies) else None
    before = len(_earlier(row, game.puzzle))
    return ResumedFrom(rollout_id=None, turns=before) if before else None


def _usage(row: Mapping[str, Any], replies: int) -> Usage:
    """What the new replies took: counted as verifiers does, or as we do."""
    used = row.get("token_usage")
    if isinstance(used, dict) and used:
        tokens = {name: int(number(used.get(f"{name}_tokens")) or 0) for name in ("input", "output")}
        return Usage(**tokens, requests=replies)
    with suppress(ValidationError):
        return Usage.model_validate(row.get("usage"))
    return Usage()


def game_of(row: Mapping[str, Any]) -> Game | None:
    """The game of a row, None where it names no board at all. Raises `BadRow` where it is none that can be replayed."""
    if "doctoring_type" in row or "kind" in row:
        raise BadRow(f"no game as it was played: this looks like {looks_like(row)}")
    messages = [*messages_in(row, "prompt"), *messages_in(row, "completion")]
    if not messages and "guess_history" not in row and not isinstance(row.get("completion"), list):
        raise BadRow(f"neither messages nor a guess_history: not a game; this looks like {looks_like(row)}")
    if (board := board_in(row)) is None:
        return None
    puzzle, told, said = board[0], messages_in(row, "prompt"), _said(messages_in(row, "completion"))
    earlier = _earlier(row, puzzle)
    replies = [*earlier, *(tagged(said) if origin_of(row) == "older pipelines" else replies_of(said, told, puzzle))]
    game = played(*board, replies, named_ruleset(row), row.get("complete_reason"))
    if not earlier and is_in_vain(game) and answers_all(said, told, puzzle):
        raise BadRow("answers all groups in one reply: no game turn by turn")
    return game


def is_in_vain(game: Game) -> bool:
    """Did no reply make a guess that the game could take?"""
    turns = game.states[-1].turns
    return bool(turns) and all(turn.status == "invalid" for turn in turns)


def _earlier(row: Mapping[str, Any], puzzle: Puzzle) -> list[Reply]:
    """The replies in `prompt` that are of this game, which was resumed; those of other boards show how to play."""
    told = messages_in(row, "prompt")
    if origin_of(row) == "older pipelines":
        return tagged(_said(told))
    replies = replies_of(_said(told), told, puzzle)
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


def _said(messages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [message for message in messages if message.get("role") == "assistant"]


def _derived_rollout_id(row: Mapping[str, Any]) -> str:
    """The same row always gets the same id, wherever its file lies."""
    name = json.dumps(row, sort_keys=True)
    return f"{origin_of(row).partition(' ')[0]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _on_its_word(row: Mapping[str, Any]) -> Rollout:
    info = info_in(row)
    puzzle_id = plain_id(field(info, ROW, "puzzle_id")) or plain_id(row.get("puzzle_id"))
    if not puzzle_id:
        raise BadRow(f"names neither a board nor a puzzle_id; this looks like {looks_like(row)}")
    if origin_of(row) == "verifiers" and _said(messages_in(row, "completion")):
        raise BadRow("names no board, so its replies cannot be judged")
    ruleset = named_ruleset(info) or named_ruleset(row)
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
        reply_models=[],
    )
