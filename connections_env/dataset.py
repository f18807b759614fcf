"""The final dataset: a row a puzzle, with all that is told of it; `formats.py` lays it out for trainers."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from connections_env.examples import GoodRow, before_reduction, count_row, exported, exported_id
from connections_env.game import Status
from connections_env.play import replay_rollout
from connections_env.records import Category, history_of
from connections_env.rewards import reward
from connections_env.tokens import Tokenizer


class Guess(BaseModel):
    """A guess and its verdict.

    Results say of an invalid guess why it is one. A game with an invalid guess is not let in, so that here the column
    would be null in all rows of all files: a JSON file has no type for such a one, and would load with other features
    than the same rows in Parquet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    words: list[str]
    status: Status
    category_idx: int | None
    """Of the group in the order of `categories`; null for a wrong guess. A won game has right ones too."""


class SftRow(BaseModel):
    """A row of the final dataset: `schema.MEANINGS` says what is in each column. Every key is in every row.

    Nothing is null in one row and a value in another: Arrow takes a column's type from the first rows of a file, and a
    column that is null there cannot take text later.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    puzzle_id: str
    prompt: list[dict[str, str]]
    completion: list[dict[str, str]]
    reward: float
    accuracy: float
    guess_history: list[Guess]
    categories: list[Category]
    ruleset: str
    doctored: bool
    doctoring_type: Literal["none", "gameplay"]
    complete_reason: str
    rollout_id: str
    source: str
    model: str
    reply_models: list[str]
    simulated: bool
    resumed_turns: int
    turns_before_cut: int
    truncate: str
    reduced: bool
    reducer_model: str
    tokens_before: int
    num_turns: int
    num_tokens: int
    max_reply_tokens: int
    tokenizer: str


def build_row(row: GoodRow, tokenizer: Tokenizer) -> SftRow:
    """The dataset's row of a game; history and figures come from its replay. Raises `Disagrees`."""
    _, states = replay_rollout(row)
    end, counts = states[-1], count_row(row, tokenizer)
    # Another tool may not say how it cut.
    ways = dict.fromkeys(cut.truncate or "unknown" for cut in row.cuts)
    right = sum(turn.status == "correct" for turn in end.player_turns)
    return SftRow(
        puzzle_id=exported_id(row.info.puzzle_id),
        prompt=exported(row.prompt),
        completion=exported(row.completion),
        reward=reward(end),
        accuracy=right / len(end.player_turns),
        guess_history=[Guess(**guess.model_dump(exclude={"reason"})) for guess in history_of(end)],
        categories=[*map(_with_terms, row.info.categories)],
        ruleset=row.ruleset.name,
        doctored=row.doctored,
        doctoring_type="gameplay" if row.doctored else "none",
        complete_reason=row.complete_reason,
        rollout_id=row.rollout_id,
        source=public_name(row.info.source),
        model=public_name(row.model),
        reply_models=[*map(public_name, row.reply_models)],
        simulated=row.simulated,
        resumed_turns=row.resumed_from.turns if row.resumed_from else 0,
        turns_before_cut=row.cuts[-1].kept if row.cuts else 0,
        truncate=", ".join(ways) or "none",
        reduced=row.reduced,
        reducer_model=", ".join(map(public_name, row.reducer_models)),
        tokens_before=count_row(before_reduction(row), tokenizer).sequence,
        num_turns=len(row.replies),
        num_tokens=counts.sequence,
        max_reply_tokens=max(counts.replies),
        tokenizer=public_name(tokenizer.name),
    )


def _with_terms(category: Category) -> Category:
    """The same with its theme as the linking term where it has none, which means the same (`game.themes_right`).

    A list that is empty in all rows of a file would have no type there.
    """
    return category if category.linking_terms else category.model_copy(update={"linking_terms": [category.group]})


def public_name(name: str) -> str:
    """A name without the folders of this machine, which are no business of those who get the dataset."""
    path = Path(name)
    return path.name if path.is_absolute() or path.parts[:1] in (("..",), ("~",)) else name
