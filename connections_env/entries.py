"""A line of any file that holds games, as something to look at.

Read are results files, ours and those of other tools, the files between the steps, the dataset in its layouts, and the
rejects. What names no board is a conversation all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connections_env.boards import number, puzzle_from_row, word
from connections_env.examples import ID_PREFIX, GoodRow, JobRow, RejectedRow, looks_like
from connections_env.files import line_at, read_lines
from connections_env.foreign import adopt, model_beside, named, origin_of
from connections_env.items import read_items, text_of
from connections_env.json_lines import BadRow, FutureRow, first_problem, is_ours, read_object
from connections_env.play import estimated_tokens
from connections_env.puzzles import Puzzle, UnplayableBoard
from connections_env.quality import facts_of, rejection
from connections_env.records import CUT_BY, Cut, ResumedFrom, Rollout
from connections_env.transcripts import messages_of, puzzle_told, ruleset_of

TRAINER = "as a trainer counts them"
_KINDS: dict[str, type[Rollout]] = {"good": GoodRow, "bad": RejectedRow, "job": JobRow}


@dataclass(frozen=True, slots=True)
class Entry:
    place: str
    """`results_1.jsonl:3`"""
    puzzle_id: str
    rollout_id: str
    messages: list[dict[str, str]]
    """As the line has them: `role`, `content`, and `reasoning_content` where it has any."""
    rollout: Rollout | None = None
    """None: the line names no board, so nothing can be said of its guesses but what its messages say."""
    notes: list[str] = field(default_factory=list)
    """What the line says beside its game."""
    rejected: bool = False
    """A line of a file of rejects."""
    turn: int | None = None
    """Of a row that is one turn of a game, with what came before it: which turn."""

    @property
    def why_bad(self) -> str | None:
        """Why the game is not good; None if it is."""
        if self.rejected or self.rollout is None:
            return "rejected" if self.rejected else "no board"
        if isinstance(self.rollout, RejectedRow | JobRow):
            return self.rollout.rejection
        facts = facts_of(self.rollout)
        if self.turn is not None:
            # The replies before it are without reasoning on purpose, and the game goes on.
            ended = facts.statuses[-1:] == ("correct",) or self.rollout.themes is not None
            return facts.unfit[-1].replace("_", " ") if facts.unfit[-1] else None if ended else "no right guess"
        return rejection(facts) if facts.statuses else "no reply"

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.turn is not None:
            return f"{'good' if self.why_bad is None else f'bad: {self.why_bad}'}, turn {self.turn}"
        if self.why_bad is None or self.rejected or self.rollout is None:
            return self.why_bad or "good"
        return f"{'job' if isinstance(self.rollout, JobRow) else 'bad'}: {self.why_bad}"

    @property
    def turns(self) -> int:
        if self.rollout is not None:  # the messages of other tools may show how to play before the game begins
            return len(self.rollout.reply_tokens)
        return sum(message["role"] == "assistant" for message in self.messages)

    def is_of(self, puzzle_id: str) -> bool:
        """Is it a game of this puzzle? Ids are prefixed in datasets."""
        return puzzle_id in (self.puzzle_id, self.puzzle_id.removeprefix(ID_PREFIX))


def read_entry(data: bytes, place: str, path: Path) -> Entry:
    """The entry on a line. Raises `BadRow`."""
    try:
        row = read_object(data)
        if isinstance(row.get("reasons"), list) and "place" in row:
            return _refused(row, place, path)
        if "is_spare" in row and isinstance(row.get("reasons"), list):
            return _not_reduced(row, place)
        if "doctoring_type" in row:
            return _example(row, place)
        if puzzle := puzzle_told(messages := messages_of(row)) if row.keys() == {"messages"} else None:
            return _retold(messages, puzzle, place)
        return _ours(row, place) if is_ours(row) else _foreign(row, place, path)
    except FutureRow as error:
        raise BadRow(str(error)) from None


def _ours(row: Mapping[str, Any], place: str) -> Entry:
    try:
        rollout = _KINDS.get(word(row.get("kind")), Rollout).model_validate(row)
    except ValidationError as error:
        raise BadRow(first_problem(error)) from None
    return _entry(rollout, place)


def _entry(rollout: Rollout, place: str, notes: list[str] | None = None) -> Entry:
    messages = [message.model_dump() for message in (*rollout.prompt, *rollout.completion)]
    return Entry(place, rollout.info.puzzle_id, rollout.rollout_id, messages, rollout, notes or [])


def _foreign(row: Mapping[str, Any], place: str, path: Path) -> Entry:
    messages = messages_of(row)
    try:
        rollout = adopt(row)
    except BadRow:
        if not messages:
            raise
        puzzle_id, rollout_id = word(row.get("puzzle_id")), word(row.get("rollout_id"))
        return Entry(place, puzzle_id, rollout_id, messages, notes=[f"no game as it was played: {looks_like(row)}"])
    if not rollout.model:
        rollout = named(rollout, model_beside(path.absolute()))
    notes = [f"a game of {origin_of(row)}; verdicts are those of its replay"]
    return Entry(place, rollout.info.puzzle_id, rollout.rollout_id, messages, rollout, notes)


def _example(row: Mapping[str, Any], place: str) -> Entry:
    """A row of the dataset: its game replayed on the board that its prompt shows."""
    messages = messages_of(row)
    opening = [message["content"] for message in messages if message["role"] != "assistant"][:2]
    categories, puzzle_id = row.get("categories"), word(row.get("puzzle_id"))
    info: dict[str, Any] = {"categories": categories, "puzzle_id": puzzle_id, "source": row.get("source")}
    try:
        puzzle = puzzle_from_row(info)
    except UnplayableBoard as error:
        raise BadRow(f"its board cannot be played; {error}") from None
    shown = read_items("".join(opening[1:]).rpartition("Items: ")[2], puzzle).words
    info["all_words"] = shown if {*shown} == {*puzzle.items} else puzzle.items
    turn = row["turn"] if isinstance(row.get("turn"), int) else None
    rollout = _replayed(messages, info, {name: row.get(name) for name in ("complete_reason", "model")})
    resumed = row.get("resumed_turns")
    known: dict[str, Any] = {
        "rollout_id": word(row.get("rollout_id")),
        "simulated": row.get("simulated") is True,
        "cuts": _cuts(row),
        "resumed_from": ResumedFrom(rollout_id=None, turns=resumed)
        if isinstance(resumed, int) and resumed > 0
        else None,
    }
    if isinstance(models := row.get("reply_models"), list) and len(models) >= (replies := len(rollout.reply_models)):
        known["reply_models"] = [*map(word, models[:replies])]  # a row a turn has those up to it
    what = "an example of the dataset" if turn is None else "an example of one turn"
    notes = [f"{what}, {_figure(row, 'num_tokens')} tokens {TRAINER}, its prompt included"]
    if row.get("reduced") is True:
        before = f" from {_figure(row, 'tokens_before')} tokens" if "tokens_before" in row else ""
        notes.append(f"reduced by {word(row.get('reducer_model'))}{before}")
    reward = number(row.get("reward"))
    if turn is not None:
        notes.append(f"the reward of the whole game is {reward}; replies before this one are without their reasoning")
    elif reward is None or abs(rollout.reward - reward) > 1e-6:
        notes.append(f"its reward is {rollout.reward:g}, recorded as {reward}")
    rollout = rollout.model_copy(update=known)
    return Entry(place, puzzle_id, known["rollout_id"], messages, rollout, notes, turn=turn)


def _retold(messages: list[dict[str, str]], puzzle: Puzzle, place: str) -> Entry:
    """A row of nothing but messages, in which a game of ours tells its own board."""
    groups = [{"group": group.theme, "members": group.members} for group in puzzle.groups]
    rollout = _replayed(messages, {"all_words": puzzle.items, "categories": groups, "puzzle_id": puzzle.puzzle_id}, {})
    notes = ["messages alone; the board is read from them, so no theme is known that they do not tell"]
    return Entry(place, puzzle.puzzle_id, "", messages, rollout, notes)


def _replayed(messages: list[dict[str, str]], info: Mapping[str, Any], fields: Mapping[str, Any]) -> Rollout:
    """The game of a conversation of ours on its board. Raises `BadRow`."""
    ruleset = ruleset_of(messages)
    told = {"prompt": messages[:2], "completion": messages[2:], "guess_history": []}
    return adopt(told | dict(fields) | {"info": dict(info) | {"ruleset": ruleset.name if ruleset else None}})


def _cuts(row: Mapping[str, Any]) -> list[Cut]:
    """The last cut of a doctored row of the dataset, which does not say how many replies were cut off."""
    kept, truncate = row.get("turns_before_cut"), row.get("truncate")
    if row.get("doctored") is not True or not isinstance(kept, int) or kept < 1:
        return []
    return [Cut(turns=None, kept=kept, truncate=truncate if truncate in CUT_BY else None)]


def _refused(row: Mapping[str, Any], place: str, path: Path) -> Entry:
    """A line of sft_rejects.jsonl, with the game it speaks of as far as that is still where it was."""
    notes = [f"rejected: {text_of(reason)}" for reason in row["reasons"]]
    there = _followed(word(row["place"]), path.parent)
    puzzle_id, rollout_id = word(row.get("puzzle_id")), word(row.get("rollout_id"))
    if there is None or rollout_id not in ("", there.rollout_id):
        return Entry(
            place, puzzle_id, rollout_id, [], notes=[*notes, f"its game is no longer at {row['place']}"], rejected=True
        )
    notes += [f"its game is at {row['place']}", *there.notes]
    return Entry(place, there.puzzle_id, there.rollout_id, there.messages, there.rollout, notes, rejected=True)


def _followed(place: str, beside: Path) -> Entry | None:
    """What lies at a place as rejects name them: `good_examples.jsonl:3`, or `results_1.jsonl, byte 1234`."""
    by_byte = ", byte " in place
    name, _, nth = place.rpartition(", byte " if by_byte else ":")
    path = next((path for path in (Path(name), beside / Path(name).name) if path.is_file()), None)
    if path is None or not nth.isdecimal() or path.name.endswith("_rejects.jsonl"):
        return None
    try:
        if by_byte:
            return read_entry(line_at(path, int(nth)), place, path)
        lines = (line.data for line in read_lines(path) if line.number == int(nth))
        data = next(lines, None)
        return None if data is None else read_entry(data, place, path)
    except (BadRow, OSError):
        return None


def _not_reduced(row: Mapping[str, Any], place: str) -> Entry:
    """A line of reduce_rejects.jsonl: its replies as far as they were reduced, without the board."""
    notes = [f"rejected: {text_of(row.get('why'))}", *map(text_of, row["reasons"])]
    if row.get("game_tokens"):
        notes.append(f"{_figure(row, 'game_tokens_before')} tokens before, {_figure(row, 'game_tokens')} after")
    puzzle_id, rollout_id = word(row.get("puzzle_id")), word(row.get("rollout_id"))
    return Entry(place, puzzle_id, rollout_id, messages_of(row), notes=notes, rejected=True)


def original(entry: Entry) -> Entry | None:
    """A reduced game as it was before; None where the line does not say."""
    row = entry.rollout
    if not isinstance(row, GoodRow) or not row.original_completion:
        return None
    if [message.role for message in row.original_completion] != [message.role for message in row.completion]:
        return None  # not of this game
    before = row.model_copy(update={"completion": row.original_completion, "reduced": False})
    # What is recorded of the replies are the tokens they have now.
    tokens = [estimated_tokens(reply.content) for reply in before.replies]
    notes = [*entry.notes, "as it was before it was reduced"]
    counts = {"reply_tokens": tokens, "reply_estimated": [True] * len(tokens)}
    shown = _entry(before.model_copy(update=counts), entry.place, notes)
    return replace(shown, rejected=entry.rejected)


def _figure(row: Mapping[str, Any], name: str) -> str:
    return f"{number(row.get(name)) or 0:,.0f}"
