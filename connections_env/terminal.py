"""Lines for people on stderr."""

import re
import sys

NAMED_PROBLEMS = 20  # problems named one by one unless --verbose asks for all
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def printable(text: str) -> str:
    """One line without what could steer a terminal: what files and endpoints say is data."""
    return " ".join(_CONTROL_CHARACTERS.sub(" ", text).split())


def notify(line: str) -> None:
    """A line that does not tear the progress bar."""
    from tqdm import tqdm  # here, so that `--help` does without

    tqdm.write(printable(line), file=sys.stderr)


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
            notify(f"... and {self.count - self.limit} more lines skipped; -v names them all")
        self.count = 0
