"""Lines of the files between the steps: what each is, and how a line of the wrong kind is told.

    good_examples.jsonl, doctored_gameplay.jsonl, *_reduced.jsonl   GoodRow
    bad_examples.jsonl                                              RejectedRow
    doctor_gameplay.jsonl, doctor_gameplay_rerun.jsonl              JobRow

All are rollouts with a few fields more, so that whatever reads results reads them too.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from connections_env.parsing import Asked, canonical, read_themes, reasoning_of
from connections_env.play import Job, make_rollout, replay_rollout
from connections_env.puzzles import board_hash
from connections_env.records import Message, Rollout
from connections_env.tokens import Counts, Tokenizer, count_game
from connections_env.truncation import Truncate

# What the final dataset puts before ids: loaders take strings like 2024-01-05 for dates.
ID_PREFIX = "puzzle-"


class Place(BaseModel):
    """Where a row lies: a results file as it was named to the step, and the byte its line starts at."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    file: str
    offset: int


class GoodRow(Rollout):
    """A good game in canonical form: each reply is a think block and a guess, with nothing beside `content`."""

    kind: Literal["good"] = "good"
    spares: list[Place] = Field(default_factory=list)
    """The puzzle's other good rollouts, the best first, for when this one fails later."""
    reduced: bool = False
    reducer_models: list[str] = Field(default_factory=list)
    """Who shortened its replies."""
    original_completion: list[Message] | None = None
    """What it was before it was reduced; None where it was not."""


class RejectedRow(Rollout):
    """A puzzle's best bad game, as it was played."""

    kind: Literal["bad"] = "bad"
    rejection: str


class JobRow(Rollout):
    """The part of a bad game that is kept, to be resumed: under the bad game's id, its own cut the last of `cuts`."""

    kind: Literal["job"] = "job"
    rejection: str
    """Why the game was bad."""
    truncate: Truncate = "last-valid"
    """How it was cut; what comes of it is cut alike."""
    cut_why: str
    """What the first reply that was cut off did; empty where the game was only interrupted."""


def canonical_row(rollout: Rollout, **fields: Any) -> GoodRow:
    """A good rollout rewritten in canonical form. Raises `Disagrees` where it is not what its row says."""
    puzzle, states = replay_rollout(rollout)
    replies = []
    for nth, (state, reply) in enumerate(zip(states, rollout.replies, strict=False)):
        asked: Asked = "themes" if state.asks_themes else "guess"
        words = read_themes(reply.content) if state.asks_themes else states[-1].player_turns[nth].words
        content = canonical(reasoning_of(reply, asked), words, asked)
        replies.append(reply._replace(content=content, reasoning=""))
    job = Job(rollout.rollout_id, puzzle, rollout.ruleset, example_id=rollout.example_id)
    written = make_rollout(job, states, replies, rollout.complete_reason)
    kept = {"prompt": written.prompt, "completion": written.completion, "reply_unfit": written.reply_unfit}
    return GoodRow(**(dict(rollout) | kept | fields))


def exported_id(puzzle_id: str, items: Iterable[str] = ()) -> str:
    """A puzzle's id in the dataset; it takes the board's `items` where another puzzle there has the same id."""
    tail = f"-{board_hash(items)[:8]}" if items else ""
    return f"{ID_PREFIX}{puzzle_id}{tail}"


def exported(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages as a trainer gets them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def count_row(row: Rollout, tokenizer: Tokenizer) -> Counts:
    """The tokens of a row, as a trainer will count them."""
    return count_game(exported(row.prompt), exported(row.completion), tokenizer)


def before_reduction(row: GoodRow) -> GoodRow:
    """A row with the completion that it had before it was reduced; as it is where it was not."""
    return row.model_copy(update={"completion": row.original_completion or row.completion})


def looks_like(row: Mapping[str, Any]) -> str:
    """What a row seems to be, for messages about rows of another kind than expected."""
    kinds = {"good": "a good example", "bad": "a bad example", "job": "a job for doctor_gameplay.py"}
    if row.get("kind") in kinds:
        return kinds[row["kind"]]
    if "doctoring_type" in row:
        return "a row of sft_examples.jsonl"
    if "traces" in row or {"nodes", "task"} <= row.keys():
        return "a line of the traces.jsonl that verifiers writes from 0.3 on"
    if "completion" in row and "guess_history" in row:
        return "a rollout of results_N.jsonl"
    return f"an object with {', '.join(map(str, [*row][:4])) or 'nothing in it'}"
