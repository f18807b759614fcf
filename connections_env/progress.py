"""What is paid for while an input is reduced, kept beside the output until all of the input is finished.

    .good_examples_reduced.progress_1.jsonl    a line for each rewriting that was accepted, and for each finished row

Each run writes a file of its own, so that none is torn or deleted by another, and reads those of all runs.
"""

import contextlib
import glob
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Container
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from connections_env.examples import GoodRow
from connections_env.files import ResultsFile, claim_file, read_lines
from connections_env.records import Message
from connections_env.steps import replacing
from connections_env.tokens import Limits, Tokenizer


class Reject(BaseModel):
    """A line of reduce_rejects.jsonl: a game that does not fit, as far as it was reduced. Nothing is counted of a
    spare that cannot be used."""

    puzzle_id: str
    rollout_id: str
    why: str
    reasons: list[str]
    is_spare: bool = False
    limits: dict[str, int | None] = {}
    reply_tokens: list[int] = []
    reply_tokens_before: list[int] = []
    game_tokens: int = 0
    game_tokens_before: int = 0
    sequence_tokens: int = 0
    refusals: dict[str, int] = {}
    completion: list[Message] = []


class Finished(BaseModel):
    """What became of a row that was over its limits."""

    kind: Literal["finished"] = "finished"
    key: str
    row: GoodRow | None = None
    """None: neither it nor a spare fits."""
    is_spare: bool = False
    rejects: list[Reject] = []
    shortened: list[tuple[int, int]] = []
    """Tokens of each shortened reply of `row`, before and after."""
    kept: int = 0
    """Replies whose every rewriting was refused."""
    refusals: Counter[str] = Counter()


class Rewritten(BaseModel):
    """A reply's accepted rewriting, for when its game is not finished before the run ends."""

    kind: Literal["rewritten"] = "rewritten"
    key: str
    """Of the row it was made for."""
    before: str
    after: str
    model: str
    simulated: bool


_LINE: TypeAdapter[Finished | Rewritten] = TypeAdapter(Annotated[Finished | Rewritten, Field(discriminator="kind")])


def key_of(row: GoodRow, limits: Limits, tokenizer: Tokenizer, *, simulated: bool) -> str:
    """The same for the same game, limits and tokenizer, whoever reduces it: only the simulated player is apart."""
    parts = [[message.content for message in row.completion], asdict(limits), tokenizer.name, simulated]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Progress:
    """The progress of all runs over one input, by the keys of its rows."""

    def __init__(self, output: Path):
        self.output = output
        self.finished: dict[str, Finished] = {}
        self._rewritten: dict[tuple[str, str], Rewritten] = {}
        self._files = sorted(output.parent.glob(f"{glob.escape(self._path('').stem)}*.jsonl"))
        self._sink: ResultsFile | None = None

    def _path(self, number: int | str) -> Path:
        return self.output.with_name(f".{self.output.stem}.progress_{number}.jsonl")

    def read(self, wanted: Container[str], *, retry_rejected: bool = False) -> None:
        """Takes in what was done for these keys; with `retry_rejected` not what was tried in vain."""
        for line in (line for file in self._files for line in read_lines(file)):
            with contextlib.suppress(ValidationError):  # a torn line of a run that was killed
                done = _LINE.validate_json(line.data)
                if done.key in wanted and not (retry_rejected and isinstance(done, Finished) and done.rejects):
                    self._take(done)

    def _take(self, done: Finished | Rewritten) -> None:
        if isinstance(done, Finished):
            self.finished[done.key] = done
        else:
            self._rewritten[done.key, done.before] = done

    def rewriting(self, key: str, before: str) -> Rewritten | None:
        """The accepted rewriting of a reply's text, if it is paid for already."""
        return self._rewritten.get((key, before))

    @contextlib.asynccontextmanager
    async def saving(self, on_failure: Callable[[OSError], None]) -> AsyncIterator[None]:
        """While in this block, `add` writes to a file of this run."""
        async with ResultsFile(self._claim, on_failure) as self._sink:
            yield
        if self._sink.path is not None:
            self._files.append(self._sink.path)

    def _claim(self) -> tuple[Path, int]:
        for number in count(1):
            with contextlib.suppress(FileExistsError):
                return self._path(number), claim_file(self._path(number))
        raise AssertionError("numbers do not end")

    def add(self, done: Finished | Rewritten, then: Callable[[], None] = lambda: None) -> None:
        """Keeps what was done; `then` is called once it is safe. Raises OSError."""
        assert self._sink is not None
        self._take(done)
        self._sink.append(done.model_dump_json(), then)

    def close(self) -> None:
        """Once the output is written: keeps only what was tried in vain, so that it is not paid for again."""
        in_vain = [done for done in self.finished.values() if done.rejects]
        kept = self._path(0)
        if in_vain:
            with replacing(kept) as file:
                file.writelines(done.model_dump_json() + "\n" for done in in_vain)
        for path in {*self._files, kept} - ({kept} if in_vain else set()):
            path.unlink(missing_ok=True)
