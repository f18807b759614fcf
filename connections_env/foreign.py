"""Rollouts of other tools brought to our form by replaying their replies on their board.

Read are records of older pipelines for this game, which have the fields of ours without ids and verdicts on the
replies, whose `info` may be a JSON string and whose `prompt` may hold what was played of a resumed game before; and the
`results.jsonl` of verifiers evaluations (github.com/PrimeIntellect-ai/verifiers) of any Connections environment, which
hold a board and replies and no guess history.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from connections_env.boards import number, puzzle_from_row, word
from connections_env.examples import looks_like
from connections_env.files import line_at
from connections_env.game import WON, GameState
from connections_env.items import text_of
from connections_env.parsing import Reply, plain_guess
from connections_env.play import Job, make_rollout, replay_judged, tokens_of
from connections_env.puzzles import Puzzle, UnplayableBoard
from connections_env.quality import Facts
from connections_env.records import BadRow, GuessRow, Info, ResumedFrom, Rollout, Usage, read_row
from connections_env.rewards import reward
from connections_env.rulesets import NYT, PUZZGRID, RULESETS, Ruleset

Origin = Literal["older pipelines", "verifiers"]
_TAG = re.compile(r"<\s{0,8}(/?)\s{0,8}(reason|reasoning|think|thinking|answer|guess)\s{0,8}>", re.IGNORECASE)
_THOUGHTS = frozenset({"reason", "reasoning", "think", "thinking"})


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
        )


def rollout_of(data: bytes) -> Rollout:
    """The rollout on a line, ours or another tool's. Raises `BadRow`, `FutureRow`."""
    row = read_row(data)
    return row if isinstance(row, Rollout) else adopt(row)


def rollout_at(path: Path, offset: int) -> Rollout:
    """The rollout on the line that starts at a byte. Raises `BadRow`, `FutureRow`, OSError."""
    rollout = rollout_of(line_at(path, offset))
    return rollout if rollout.model else rollout.model_copy(update={"model": _model_beside(path)})


@lru_cache
def _model_beside(results: Path) -> str:
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
    game, before = game_of(row), len(_replies(_messages(row, "prompt")))
    if game is None:
        return _on_its_word(row)
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
        model=word(row.get("model")),
        usage=Usage(
            input=int(number(spent.get("input_tokens")) or 0),
            output=int(number(spent.get("output_tokens")) or 0),
            requests=len(game.replies) - before if spent else 0,
        ),
    )


def game_of(row: Mapping[str, Any]) -> Game | None:
    """The game of a row, None where it names no board that can be played. Raises `BadRow` where it is no game."""
    info, messages = info_in(row), [*_messages(row, "prompt"), *_messages(row, "completion")]
    if not messages and "guess_history" not in row and not isinstance(row.get("completion"), list):
        raise BadRow("neither messages nor a guess_history: not a game")
    board = board_in(info)
    return board and played(*board, _replies(messages), _named_ruleset(row), row.get("complete_reason"))


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
    info = row.get("info")
    if isinstance(info, str):
        try:
            info = json.loads(info)
        except (ValueError, RecursionError):
            raise BadRow("info is a string that is no JSON") from None
    if not isinstance(info, dict):
        raise BadRow(f"no info object says which puzzle was played; this looks like {looks_like(row)}")
    return info


def board_in(info: Mapping[str, Any]) -> tuple[Puzzle, Ruleset | None] | None:
    """The board that was played, in the order shown, and its rules where they are named."""
    try:
        puzzle = puzzle_from_row(info, word(info.get("source")), as_shown=True)
    except UnplayableBoard:
        return None
    return puzzle, _named_ruleset(info)


def _named_ruleset(fields: Mapping[str, Any]) -> Ruleset | None:
    return RULESETS.get(str(fields.get("ruleset")))


def _messages(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    messages = row.get(name)
    return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []


def _replies(messages: Iterable[Mapping[str, Any]]) -> list[Reply]:
    return [
        reply_from(message.get("content"), message.get("reasoning_content") or message.get("reasoning"))
        for message in messages
        if message.get("role") == "assistant"
    ]


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
    outside, blocks = list[str](), True  # names outside of thoughts; are those well-formed blocks?
    thinking = False
    for name in names:
        if name.strip("/") in _THOUGHTS:
            blocks &= name.startswith("/") == thinking
            thinking = not name.startswith("/")
        elif not thinking:
            outside.append(name)
    renamed = {} if "guess" in outside else {"answer": "guess"}
    thinks = blocks and not thinking and not {"think", "thinking"} & {*names} and {"guess", "answer"} & {*outside}
    tags = renamed | dict.fromkeys(("reason", "reasoning"), "think" if thinks else "")

    def ours(tag: re.Match[str]) -> str:
        name = tags.get(tag[2].lower(), tag[2])
        return tag[0] if name == tag[2] else f"<{tag[1]}{name}>" if name else ""

    return _TAG.sub(ours, content) if tags.keys() & {name.strip("/") for name in names} else content


def _derived_rollout_id(row: Mapping[str, Any]) -> str:
    """The same row always gets the same id, wherever its file lies."""
    kind = "older" if origin_of(row) == "older pipelines" else "verifiers"
    return f"{kind}-" + hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]


def _on_its_word(row: Mapping[str, Any]) -> Rollout:
    info = info_in(row)
    puzzle_id = word(info.get("puzzle_id")) or word(row.get("puzzle_id"))
    if not puzzle_id:
        raise BadRow("names neither a board nor a puzzle_id")
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
