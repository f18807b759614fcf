"""The inputs of a reduction: which of their rows are over a limit, and what has become of those."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from connections_env.endpoint import Halt
from connections_env.examples import GoodRow, count_row
from connections_env.ledger import text_key
from connections_env.puzzles import board_key
from connections_env.records import Usage
from connections_env.rejects import Finished
from connections_env.steps import read_step
from connections_env.terminal import Reporter
from connections_env.tokens import Counts, Limits, Tokenizer

REJECTS, RERUN = "reduce_rejects.jsonl", "rerun_puzzles.txt"


@dataclass
class Stream:
    """An input, and what has become of those of its rows that are over their limits."""

    path: Path
    output: Path
    rows: list[GoodRow]
    skipped: int = 0
    """Lines that hold no good example."""
    over: dict[int, str] = field(default_factory=dict)
    """Place among the rows -> key of the row, the same for rows that are alike."""
    counts: dict[str, Counts] = field(default_factory=dict)
    finished: dict[str, Finished] = field(default_factory=dict)
    """By key; shared by the streams of a run, so that what is in two of them is reduced once."""

    @property
    def left(self) -> dict[str, GoodRow]:
        """Key -> row still to be reduced."""
        return {key: self.rows[place] for place, key in self.over.items() if key not in self.finished}

    @property
    def outcomes(self) -> list[Finished]:
        return [self.finished[key] for key in self.over.values() if key in self.finished]

    def reduced_rows(self) -> Iterator[GoodRow]:
        for place, row in enumerate(self.rows):
            outcome = self.finished[self.over[place]].row if place in self.over else row
            if outcome is not None:
                yield outcome


def survey(paths: Iterable[Path], folder: Path, limits: Limits, tokenizer: Tokenizer, report: Reporter) -> list[Stream]:
    """Reads the inputs and counts them. Calls nobody, writes nothing."""
    finished: dict[str, Finished] = {}
    streams = []
    for path in paths:
        rows = [row for _, row in read_step(path, GoodRow, report)]
        stream = Stream(path, folder / f"{path.stem}_reduced.jsonl", rows, skipped=report.count, finished=finished)
        report.finish()
        for place, row in enumerate(rows):
            counts = count_row(row, tokenizer)
            if limits.over(counts, len(row.info.all_words)):
                stream.over[place] = key = key_of(row)
                stream.counts[key] = counts
        streams.append(stream)
    return streams


def key_of(row: GoodRow) -> str:
    """The same for the same game with the same games in reserve."""
    parts = [row.rollout_id, *(message.content for message in row.completion), *map(str, row.spares)]
    return text_key("\0".join(parts))


@dataclass
class Outcome:
    streams: list[Stream]
    written: list[Path] = field(default_factory=list)
    """Empty where rows are left to be reduced."""
    to_rerun: int = 0
    """Ids in the list of puzzles to play again, those of earlier steps included."""
    halt: Halt | None = None
    usage: Usage = field(default_factory=Usage)
    """Of this reduction alone."""
    failed_attempts: int = 0
    cost: float | None = None

    @property
    def left(self) -> int:
        return len({key for stream in self.streams for key in stream.left})


def lost_puzzles(streams: list[Stream]) -> list[str]:
    """Ids of the puzzles that were in a stream and have no row in any output."""
    kept = {board_key(row.info.all_words) for stream in streams for row in stream.reduced_rows()}
    rows = (row for stream in streams for row in stream.rows)
    return list(dict.fromkeys(row.info.puzzle_id for row in rows if board_key(row.info.all_words) not in kept))
