"""Every answer the reducer was paid for, so that no reply is paid for twice: whatever the limits, the input or the run.

    .reductions_1.jsonl    beside the outputs; a line for each answer, accepted or refused

Each run writes a file of its own and reads those of all runs; none is ever deleted.
"""

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from connections_env.durable import ResultsFile, rescue
from connections_env.files import claim_file, read_lines
from connections_env.records import Usage


class Rewriting(BaseModel):
    """What the reducer made of one reply."""

    model_config = ConfigDict(defer_build=True)

    before: str
    """The reply that was to be shortened, as `text_key` names it."""
    after: str | None
    """The shortened reply; None where the answer was refused."""
    refused: str | None = None
    """Why."""
    model: str
    simulated: bool
    usage: Usage | None = None
    """What the answer took; None in lines of older versions."""


@dataclass(frozen=True)
class Paid:
    """What answers took together."""

    answers: int = 0
    unknown: int = 0
    """Of them, those that do not say."""
    estimated: int = 0
    """Of them, those whose endpoint did not say, so that it is estimated."""
    usage: Usage = field(default_factory=Usage)

    def __add__(self, other: "Paid") -> "Paid":
        return Paid(
            self.answers + other.answers,
            self.unknown + other.unknown,
            self.estimated + other.estimated,
            self.usage + other.usage,
        )


def rewritings_in(folder: Path) -> Iterator[Rewriting]:
    """All answers in a folder, in the order in which they came. Raises OSError."""
    for path in sorted(folder.glob(".reductions_*.jsonl")):
        for line in read_lines(path):
            with contextlib.suppress(ValidationError):  # a torn line of a run that was killed
                yield Rewriting.model_validate_json(line.data)


def paid_for(folder: Path) -> Paid:
    """What all reductions in a folder took, the refused answers too. Raises OSError."""
    paid = Paid()
    for one in rewritings_in(folder):
        told = one.usage
        paid += Paid(1, estimated=told.estimated > 0, usage=told) if told else Paid(1, unknown=1)
    return paid


def text_key(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


class Ledger:
    """The rewritings in a folder. What the simulated player wrote counts only for its own games, or `offline`."""

    def __init__(self, folder: Path, *, offline: bool = False, retry_rejected: bool = False):
        self.folder, self.offline, self.retry_rejected = folder, offline, retry_rejected
        self._accepted: dict[str, list[Rewriting]] = {}
        self._refused: dict[str, list[Rewriting]] = {}
        self._sink: ResultsFile | None = None
        self.complete = True
        """Is every answer saved?"""
        for one in rewritings_in(folder):
            self._take(one)
        self.earlier = {before: len(refused) for before, refused in self._refused.items()}
        """Reply -> answers that earlier runs refused."""

    def _take(self, one: Rewriting) -> None:
        (self._refused if one.after is None else self._accepted).setdefault(one.before, []).append(one)

    @property
    def empty(self) -> bool:
        return not self._accepted and not self._refused

    def accepted(self, content: str, *, simulated: bool) -> Rewriting | None:
        """The accepted rewriting of a reply, if there is one that may be used for such a game."""
        return next((one for one in self._accepted.get(text_key(content), []) if self._counts(one, simulated)), None)

    def refusals(self, content: str, *, simulated: bool) -> list[str]:
        """Why rewritings of a reply were refused; with `retry_rejected` by this run alone."""
        key = text_key(content)
        known = self._refused.get(key, [])[self.earlier.get(key, 0) if self.retry_rejected else 0 :]
        return [one.refused or "" for one in known if self._counts(one, simulated)]

    def tries(self, content: str) -> int:
        """How many answers were refused so far, by all runs: the next request is to be another one."""
        return len(self._refused.get(text_key(content), []))

    def _counts(self, one: Rewriting, simulated: bool) -> bool:
        return simulated or self.offline or not one.simulated

    @contextlib.asynccontextmanager
    async def saving(self, on_failure: Callable[[OSError], None]) -> AsyncIterator[None]:
        """While in this block, `add` writes to a file of this run, and `on_failure` hears at once where it cannot.

        What the file could not take is saved in the end, in another or where `rescue` says.
        """
        async with ResultsFile(self._claim, on_failure) as self._sink:
            yield
        if unsaved := self._sink.unsaved:
            try:
                self._add_file(unsaved)
            except OSError:
                self.complete = rescue(unsaved, ".reductions", ("answer paid for", "answers paid for"), self.folder)

    def _add_file(self, lines: list[str]) -> None:
        """A file of its own for these lines: the whole of it or none. Raises OSError."""
        path, descriptor = self._claim()
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(line.encode() + b"\n" for line in lines)
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def _claim(self) -> tuple[Path, int]:
        for number in count(1):
            path = self.folder / f".reductions_{number}.jsonl"
            with contextlib.suppress(FileExistsError):
                return path, claim_file(path)
        raise AssertionError("numbers do not end")

    def add(self, one: Rewriting) -> None:
        """Keeps what was just paid for."""
        assert self._sink is not None
        self._take(one)
        self._sink.append(one.model_dump_json())
