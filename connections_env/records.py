"""Lines of results files: what is written, and what is read of our own and of older tools' files.

A rollout is a puzzle, a ruleset and replies; all else in a row is derived by replay and written down so that files can
be inspected and ranked without one.
"""

from itertools import zip_longest
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from connections_env.boards import puzzle_from_row
from connections_env.game import GameState, Reason, Status, themes_right
from connections_env.json_lines import SCHEMA_VERSION, BadRow, first_problem, is_ours, read_object
from connections_env.parsing import Reply
from connections_env.puzzles import Puzzle, UnplayableBoard
from connections_env.rewards import reward, reward_components
from connections_env.rulesets import NYT, RULESETS, Ruleset
from connections_env.truncation import TRUNCATE_MODES, Truncate

SIMULATED = "simulated"
"""Whom rows name for what the simulated player wrote, whatever model was asked for at its address."""

CutBy = Literal[Truncate, "too-long"]
CUT_BY: tuple[CutBy, ...] = (*TRUNCATE_MODES, "too-long")


class _Row(BaseModel):
    # Built when first used: `--help` uses none of them.
    model_config = ConfigDict(frozen=True, defer_build=True)


class Message(_Row):
    role: Literal["system", "user", "assistant"]
    content: str
    reasoning_content: str | None = Field(default=None, exclude_if=lambda text: text is None)


class Category(_Row):
    group: str
    members: list[str]
    linking_terms: list[str]


class Info(_Row):
    """The board as it was shown, with its answer key. Empty lists where a foreign row names no board."""

    puzzle_id: str
    all_words: list[str]
    categories: list[Category]
    title: str = ""
    difficulty: float | None = None
    ruleset: str = NYT.name
    source: str = ""
    split: str = ""


class GuessRow(_Row):
    words: list[str]
    status: Status
    category_idx: int | None
    reason: Reason | None


class Usage(_Row):
    """Tokens and requests this rollout was charged for; a resumed rollout does not count its parent's."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    requests: int = 0
    estimated: int = Field(default=0, exclude_if=lambda requests: not requests)
    """Of the requests, those whose tokens are estimated, since nobody said them. Left out where there are none."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cached=self.cached + other.cached,
            reasoning=self.reasoning + other.reasoning,
            requests=self.requests + other.requests,
            estimated=self.estimated + other.estimated,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(**{name: getattr(self, name) - getattr(other, name) for name in Usage.model_fields})


class ResumedFrom(_Row):
    """What a resumed rollout goes on from."""

    rollout_id: str | None
    turns: int = Field(ge=0)
    """Replies kept."""


class Cut(_Row):
    """Where replies were cut off a game before it went on."""

    turns: int | None = Field(ge=1)
    """Replies cut off; None where another tool did not write down how many."""
    kept: int = Field(ge=1)
    """Replies before the cut."""
    truncate: CutBy | None
    """How: `too-long` is reply by reply, until the conversation fitted the model's context; None: not written down."""


class ThemesRow(_Row):
    """The naming of the themes in `puzzgrid`, in the order the groups were found."""

    named: list[str]
    right: list[bool]


class Rollout(_Row):
    """One line of `results_N.jsonl`: a game. Lists named `reply_*` have an entry for each reply of the player."""

    rollout_id: str
    example_id: int = 0
    prompt: list[Message]
    completion: list[Message]
    info: Info
    guess_history: list[GuessRow]
    themes: ThemesRow | None = None
    complete_reason: str
    reward: float
    metrics: dict[str, float] = Field(default_factory=dict)
    reply_tokens: list[int]
    reply_finish: list[str | None]
    reply_unfit: list[str | None]
    reply_models: list[str]
    """Who wrote each reply; empty where nobody wrote that down."""
    reply_estimated: list[bool] = Field(default_factory=list, exclude_if=lambda estimated: not any(estimated))
    """Are a reply's tokens estimated from its length, since nobody counted them? Left out where all were counted."""
    model: str = ""
    """Who wrote the last reply."""
    sampling: dict[str, JsonValue] = Field(default_factory=dict)
    usage: Usage = Field(default_factory=Usage)
    timing: dict[str, JsonValue] = Field(default_factory=dict)
    resumed_from: ResumedFrom | None = None
    cuts: list[Cut] = Field(default_factory=list)
    """Of the games it goes on from, all the way up, the last one last; none where they were only interrupted."""
    simulated: bool = False
    """Did the simulated player write any of it?"""
    schema_version: int = SCHEMA_VERSION

    @model_validator(mode="after")
    def _is_one_game(self) -> Self:
        replies = sum(message.role == "assistant" for message in self.completion)
        lists = (self.reply_tokens, self.reply_finish, self.reply_unfit, self.reply_models)
        if any(len(entries) != replies for entries in lists):
            raise ValueError("as many entries are needed in each reply_ list as the completion has replies")
        if len(self.reply_estimated) not in (0, replies):
            raise ValueError("as many entries are needed in reply_estimated as the completion has replies")
        if self.info.ruleset not in RULESETS:
            raise ValueError(f"unknown ruleset {self.info.ruleset!r}")
        return self

    @property
    def replies(self) -> list[Reply]:
        said = [message for message in self.completion if message.role == "assistant"]
        counted = [
            None if estimated else tokens
            for tokens, estimated in zip_longest(self.reply_tokens, self.reply_estimated, fillvalue=False)
        ]
        return [
            Reply(message.content, message.reasoning_content or "", finish, tokens, model)
            for message, finish, tokens, model in zip(said, self.reply_finish, counted, self.reply_models, strict=True)
        ]

    @property
    def doctored(self) -> bool:
        """Were turns cut off a game that this one goes on from? One that merely went on is not doctored."""
        return bool(self.cuts)

    @property
    def turns_cut(self) -> int | None:
        """Replies cut off in all; None where another tool did not write down how many."""
        counts = [cut.turns for cut in self.cuts]
        return None if None in counts else sum(filter(None, counts))

    @property
    def puzzle(self) -> Puzzle | None:
        """The board in the order it was shown; None where the row names none that can be played."""
        try:
            return puzzle_from_row(self.info.model_dump(), self.info.source, as_shown=True)
        except UnplayableBoard:
            return None

    @property
    def tokens_estimated(self) -> int:
        """Replies whose tokens nobody counted."""
        return sum(self.reply_estimated)

    @property
    def ruleset(self) -> Ruleset:
        return RULESETS[self.info.ruleset]

    def to_line(self) -> str:
        return self.model_dump_json()


def info_of(puzzle: Puzzle, ruleset: Ruleset) -> Info:
    return Info(
        puzzle_id=puzzle.puzzle_id,
        all_words=list(puzzle.items),
        categories=[
            Category(group=group.theme, members=list(group.members), linking_terms=list(group.linking_terms))
            for group in puzzle.groups
        ],
        title=puzzle.title,
        difficulty=puzzle.difficulty,
        ruleset=ruleset.name,
        source=puzzle.source,
        split=puzzle.split,
    )


def history_of(state: GameState) -> list[GuessRow]:
    return [
        GuessRow(words=list(turn.words), status=turn.status, category_idx=turn.category_idx, reason=turn.reason)
        for turn in state.turns
    ]


def outcome_of(state: GameState) -> dict[str, Any]:
    """The fields of a row that follow from the final state of its game."""
    right = themes_right(state)
    counted = {
        "groups_found": float(len(state.found)),
        "mistakes": float(state.mistakes),
        "invalid_guesses": float(sum(turn.status == "invalid" for turn in state.turns)),
        "guesses": float(len(state.player_turns)),
    }
    return {
        "guess_history": history_of(state),
        "themes": None if state.themes is None else ThemesRow(named=list(state.themes), right=list(right)),
        "reward": reward(state),
        "metrics": reward_components(state) | counted,
    }


def read_row(line: bytes | str) -> "Rollout | dict[str, Any]":
    """A line as a `Rollout` of ours, or as the object that another tool wrote. Raises `BadRow`, `FutureRow`."""
    row = read_object(line)
    if not is_ours(row):
        return row
    try:
        return Rollout.model_validate(row)
    except ValidationError as error:
        raise BadRow(first_problem(error)) from None
