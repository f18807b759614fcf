"""Folders that are replaced whole: all of the new one takes the place of the old one, or nothing of it."""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from connections_env.files import shown
from connections_env.signals import held_back
from connections_env.steps import replace_files
from connections_env.terminal import notify


@contextlib.contextmanager
def new_folder(folder: Path, files: Mapping[str, bytes], check: Callable[[Path], None]) -> Iterator[Callable[[], None]]:
    """Makes a folder beside the one it is to replace, whole on the disk; gives what puts it in its place.

    What was not put in place is removed. Raises OSError, and what `check` raises of the old one once the new one is
    there, which takes a while.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=_unfinished(folder), dir=folder.parent))
    new, old = made / "new", made / "old"

    def put_in_place() -> None:
        """Replaces the folder; where that fails, the old one is back."""
        with held_back():
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except BaseException:
                if old.exists():
                    old.rename(folder)
                raise

    descriptor = os.open(made, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # while it is held, no other run takes this for a leftover
        replace_files({new / name: content for name, content in files.items()})
        check(folder)
        yield put_in_place
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def bring_back(folder: Path) -> None:
    """Puts a folder back whose run was killed while it replaced it, and removes what killed runs left beside it."""
    folder = folder.resolve()
    for left in sorted(folder.parent.glob(f"{glob.escape(_unfinished(folder))}*")):
        old = left / "old"
        if not (old.exists() or (left / "new").exists()) or _is_in_use(left):
            continue
        if old.exists() and not folder.exists():
            old.rename(folder)
            notify(f"{shown(folder)}: brought back as it was before a run that was killed while it replaced it")
        shutil.rmtree(left, ignore_errors=True)


def _unfinished(folder: Path) -> str:
    """How the names of folders begin in which a new one is made."""
    return f".{folder.name[:100]}.unfinished-"


def _is_in_use(made: Path) -> bool:
    descriptor = os.open(made, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:  # another run has it, or the file system knows no locks and nobody can tell
        return True
    finally:
        os.close(descriptor)
