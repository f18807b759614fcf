"""Lines for people on stderr."""

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from connections_env.unseen import character_class

NAMED_PROBLEMS = 20  # problems named one by one unless --verbose asks for all
_STEERING = r"\t" + character_class(r"\U{:08x}")
_CONTROL_CHARACTERS = re.compile(rf"[\n{_STEERING}]+")
_ALL_BUT_NEWLINES = re.compile(f"[{_STEERING}]")
_ALL_BUT_COLOURS = re.compile(rf"(?!\x1b\[[\d;]*m)[{_STEERING}]")
_LINE_ENDS = re.compile(r"\r\n|[\n\u2028\u2029]")
TAB = "    "


def printable(text: str) -> str:
    """One line without what could steer a terminal: what files and endpoints say is data."""
    return " ".join(_CONTROL_CHARACTERS.sub(" ", text).split())


def visible(text: str) -> str:
    """One line of a text, with what could steer a terminal written out: an escape as \\x1b."""
    return _CONTROL_CHARACTERS.sub(lambda found: ascii(found[0])[1:-1], text.replace("\t", TAB))


def visible_lines(text: str) -> list[str]:
    """The lines of a text, each as `visible` gives it."""
    return [visible(line) for line in _LINE_ENDS.split(text)]


def counted(number: int, one: str, many: str = "") -> str:
    """`1 game`, `1,200 games`; `many` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def notify(line: str) -> None:
    """A line that does not tear the progress bar. Lost without harm where nobody listens any more."""
    from tqdm import tqdm  # here, so that `--help` does without

    tqdm.write(printable(line), file=Listener())


def say(line: str) -> None:
    """A line on standard error without a progress bar around."""
    print(printable(line), file=Listener())


def show_trace(error: BaseException, clean: Callable[[str], str]) -> None:
    """The trace of an error, still a line a line; `clean` takes out what nobody may see."""
    import traceback

    from tqdm import tqdm

    for line in clean("".join(traceback.format_exception(error))).splitlines():
        indent = " " * (len(line) - len(line.lstrip(" ")))
        tqdm.write(indent + printable(line), file=Listener())


class Output:
    """Standard output: names of files, ids and reasons that others chose can neither steer a terminal nor end a run."""

    def __init__(self, stream: TextIO, *, colours: bool = False):
        self.stream = stream
        self._steering = _ALL_BUT_COLOURS if colours else _ALL_BUT_NEWLINES

    def write(self, text: str) -> int:
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(self._steering.sub(" ", text).encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Listener:
    """Standard error that may be gone: a terminal closed or a pipe cut must not end a run that is paid for."""

    # All are one stream: tqdm looks for bars on the stream it writes to, and takes them away meanwhile.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listener)

    __hash__ = object.__hash__

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the second where Python has closed it
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)  # what a progress bar asks of a terminal: its encoding, its size


class Reporter:
    """Problems with files, on stderr: the first ones by name, the rest as a count."""

    def __init__(self, verbose: bool):
        self.limit = sys.maxsize if verbose else NAMED_PROBLEMS
        self.count = 0

    def __call__(self, line: str) -> None:
        self.count += 1
        if self.count <= self.limit:
            notify(line)

    def finish(self) -> None:
        """Says how many were left unnamed since the last call."""
        if self.count > self.limit:
            more = counted(self.count - self.limit, "more line")
            notify(f"... and {more} skipped; -v names them all")
        self.count = 0
