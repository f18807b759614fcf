"""Lines for people on stderr."""

import re
import sys

from tqdm import tqdm

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def printable(text: str) -> str:
    """One line without what could steer a terminal: what files and endpoints say is data."""
    return " ".join(_CONTROL_CHARACTERS.sub(" ", text).split())


def notify(line: str) -> None:
    """A line that does not tear the progress bar."""
    tqdm.write(printable(line), file=sys.stderr)
