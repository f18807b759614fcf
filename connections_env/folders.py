"""Folders that are replaced whole: all of the new one takes the place of the old one, or nothing of it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from connections_env.files import shown
from connections_env.leftovers import hold, leftovers, unfinished
from connections_env.signals import held_back
from connections_env.steps import replace_files, writing
from connections_env.terminal import notify


@contextlib.contextmanager
def new_folder(folder: Path, files: Mapping[str, bytes], check: Callable[[Path], None]) -> Iterator[Callable[[], None]]:
    """Makes a folder beside the one it is to replace, whole on the disk; gives what puts it in its place.

    What was not put in place is removed. Raises `CannotWrite`, and what `check` raises of the old one once the new one
    is there, which takes a while.
    """
    folder = folder.resolve()
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=unfinished(folder), dir=folder.parent))
    new, old = made / "new", made / "old"

    def put_in_place() -> None:
        """Replaces the folder; where that fails, the old one is back."""
        with held_back(), writing(folder):
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
        hold(descriptor)
        with writing(folder):  # and not where its files lie meanwhile
            replace_files({new / name: content for name, content in files.items()})
        check(folder)
        yield put_in_place
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def bring_back(folder: Path) -> None:
    """Puts a folder back whose run was killed while it replaced it, and removes what killed runs left beside it."""
    folder = folder.resolve()
    for left in leftovers(folder):
        if (old := left / "old").exists() and not folder.exists():
            old.rename(folder)
            notify(f"{shown(folder)}: brought back as it was before a run that was killed while it replaced it")
        shutil.rmtree(left, ignore_errors=True)
