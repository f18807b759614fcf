"""What a run that was killed left beside the files and folders it was to replace.

A run holds a lock on what it makes, and the lock goes with the process, however it ends: what nobody holds is a
leftover. What is still empty may be new, its lock about to be taken.
"""

import fcntl
import glob
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def unfinished(path: Path) -> str:
    """How the names begin under which something is made that is to take a path's place, in the same folder."""
    return f".{path.name[:100]}.unfinished-"


def hold(descriptor: int) -> None:
    """Keeps others from taking an open file or folder for a leftover."""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def leftovers(path: Path) -> Iterator[Path]:
    """What killed runs left that were to put it in a path's place."""
    for made in sorted(path.parent.glob(f"{glob.escape(unfinished(path))}*")):
        with suppress(OSError):  # gone meanwhile
            if (any(made.iterdir()) if made.is_dir() else made.stat().st_size) and not _is_held(made):
                yield made


def _is_held(made: Path) -> bool:
    descriptor = os.open(made, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:  # by another run; or the file system knows no locks, and nobody can tell
        return True
    finally:
        os.close(descriptor)
