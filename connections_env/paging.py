"""Long output through a pager, as git does it: $PAGER or less, and only where it is longer than the screen."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain


def page(lines: Iterator[str], *, pager: bool) -> None:
    """Prints lines as they come; through the pager where they outgrow the terminal. Raises BrokenPipeError.

    To leave the pager before the end is to have seen enough, and no failure.
    """
    command = os.environ.get("PAGER", "less").strip() if pager and sys.stdout.isatty() else ""
    if command in ("", "cat") or not shutil.which(command.split()[0]):
        for line in lines:
            print(line)
        return
    size = shutil.get_terminal_size()
    first, rows = list[str](), 0
    for line in lines:
        first.append(line)
        # A line too long wraps; escapes and wide characters make this a guess, which a pager does not mind.
        rows += 1 + len(line) // size.columns
        if rows >= size.lines:
            _through(command, chain(first, lines))
            return
    for line in first:
        print(line)


def _through(command: str, lines: Iterator[str]) -> None:
    """Feeds a pager until it is left; Ctrl-C is the pager's, and ends only the feeding."""
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}  # colours pass, and what was seen stays on the screen
    process = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=environment)
    assert process.stdin
    try:
        for line in lines:
            process.stdin.write(line.encode(errors="backslashreplace") + b"\n")
    except (BrokenPipeError, KeyboardInterrupt):  # it was left before its end, or the rest is not wanted
        pass
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        signal.signal(signal.SIGINT, before)
