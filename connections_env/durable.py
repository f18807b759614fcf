"""Rows appended so that they are on the disk before anyone counts them, without holding up the event loop."""

import asyncio
import errno
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from connections_env.files import shown
from connections_env.terminal import counted, notify

SYNC_EVERY = 0.05  # seconds between fsyncs while rows come in


class ResultsFile:
    """Rows appended durably to a file that is claimed when the first row comes, so a failed start leaves none.

        async with ResultsFile(lambda: claim_results_file(folder)) as results:
            results.append(line, then=count_it)

    `append` writes at once; `then` is called once the row is synced to the disk. Syncs run in a thread, one for all
    rows of the last `SYNC_EVERY` seconds. `on_failure` hears of a row that cannot be written (a full disk, say) or
    synced. After a sync that failed nothing more is counted: another would report success for pages that are lost.
    What is not safe in the end is in `unsaved`.
    """

    def __init__(self, claim: Callable[[], tuple[Path, int]], on_failure: Callable[[OSError], None] = lambda e: None):
        self._claim = claim
        self._on_failure = on_failure
        self._fd: int | None = None
        self._size = 0
        self._unsynced: list[tuple[str, Callable[[], None]]] = []
        self._failed = False
        self._dirty = asyncio.Event()
        self.path: Path | None = None
        self.unsaved: list[str] = []
        """Rows that could not be written, or that were in the file when a sync failed or the file was removed."""

    async def __aenter__(self) -> Self:
        self._syncer = asyncio.create_task(self._sync_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._syncer.cancel()
        await asyncio.gather(self._syncer, return_exceptions=True)
        if self._fd is None:
            return
        try:
            if self._unsynced and not self._failed:
                os.fsync(self._fd)
                self._count(len(self._unsynced))
            self._check_not_removed(self._fd)
        except OSError as error:
            self._fail(error)
        finally:
            if os.fstat(self._fd).st_nlink:
                self.unsaved += [line for line, _ in self._unsynced]
            else:  # not splitlines, which also cuts at characters that JSON leaves as they are
                self.unsaved += os.pread(self._fd, self._size, 0).decode().split("\n")[:-1]
            with suppress(OSError):  # what it could tell, the sync has told
                os.close(self._fd)
            self._fd = None

    def append(self, line: str, then: Callable[[], None] = lambda: None) -> None:
        """Adds a row; one that cannot be written is in `unsaved`."""
        try:
            if self._fd is None:
                self.path, self._fd = self._claim()
                self._size = os.fstat(self._fd).st_size
            self._write(self._fd, line)
        except OSError as error:
            self.unsaved.append(line)
            self._on_failure(error)
            return
        self._unsynced.append((line, then))
        self._dirty.set()

    def _write(self, descriptor: int, line: str) -> None:
        try:
            data = memoryview(line.encode() + b"\n")
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            # Half a row would be glued to the next one, and a file without a row is none.
            os.ftruncate(descriptor, self._size)
            if not self._size and self.path:
                os.close(descriptor)
                self.path.unlink()
                self.path = self._fd = None
            raise
        self._size = os.fstat(descriptor).st_size

    def _fail(self, error: OSError) -> None:
        self._failed = True
        self._on_failure(error)

    def _check_not_removed(self, descriptor: int) -> None:
        if not os.fstat(descriptor).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "removed while it was written", str(self.path))

    def _count(self, synced: int) -> None:
        done, self._unsynced = self._unsynced[:synced], self._unsynced[synced:]
        for _, then in done:
            then()

    async def _sync_forever(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(SYNC_EVERY)
            self._dirty.clear()
            waiting = len(self._unsynced)
            if self._fd is not None and waiting:
                try:
                    await asyncio.to_thread(os.fsync, self._fd)
                    self._check_not_removed(self._fd)
                except OSError as error:
                    self._fail(error)
                    return
                self._count(waiting)


def rescue(rows: list[str], name: str, what: tuple[str, str], home: Path) -> bool:
    """Writes rows that belong in a folder to the system's temporary one, often another disk, and says where.

    `what` they are, for one of them and for several. False where that cannot be done either, which it says too.
    """
    try:
        with tempfile.NamedTemporaryFile(prefix=f"{name}_rescued_", suffix=".jsonl", delete=False) as file:
            file.writelines(row.encode() + b"\n" for row in rows)
    except OSError as error:
        notify(f"{counted(len(rows), *what)} could not be saved anywhere: {error.strerror}")
        return False
    where = "is" if len(rows) == 1 else "are"
    notify(f"{counted(len(rows), *what)} that could not be saved {where} in {file.name}; move it to {shown(home)}")
    return True
