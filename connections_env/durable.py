"""Rows appended so that they are on the disk before anyone counts them, without holding up the event loop."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

SYNC_EVERY = 0.05  # seconds between fsyncs while rows come in


class ResultsFile:
    """Rows appended durably to a file that is claimed when the first row comes, so a failed start leaves none.

        async with ResultsFile(lambda: claim_results_file(folder)) as results:
            results.append(line, then=count_it)

    `append` writes at once; `then` is called once the row is synced to the disk. Syncs run in a thread, one for all
    rows of the last `SYNC_EVERY` seconds. `append` raises OSError (a full disk, say); `on_failure` hears of a sync
    that fails, after which nothing more is counted.
    """

    def __init__(self, claim: Callable[[], tuple[Path, int]], on_failure: Callable[[OSError], None] = lambda e: None):
        self._claim = claim
        self._on_failure = on_failure
        self._fd: int | None = None
        self._size = 0
        self._unsynced: list[Callable[[], None]] = []
        self._dirty = asyncio.Event()
        self.path: Path | None = None
        self.orphaned: list[str] = []
        """Rows that were in the file when it was removed while it was written."""

    async def __aenter__(self) -> Self:
        self._syncer = asyncio.create_task(self._sync_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._syncer.cancel()
        await asyncio.gather(self._syncer, return_exceptions=True)
        if self._fd is not None:
            try:
                if self._unsynced:
                    os.fsync(self._fd)
                    self._count(len(self._unsynced))
                self._check_not_removed(self._fd)
            except OSError as error:
                self._on_failure(error)
            finally:
                if not os.fstat(self._fd).st_nlink:
                    # Not splitlines, which also cuts at characters that JSON leaves as they are.
                    self.orphaned = os.pread(self._fd, self._size, 0).decode().split("\n")[:-1]
                os.close(self._fd)
                self._fd = None

    def append(self, line: str, then: Callable[[], None] = lambda: None) -> None:
        if self._fd is None:
            self.path, self._fd = self._claim()
            self._size = os.fstat(self._fd).st_size
        try:
            data = memoryview(line.encode() + b"\n")
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            # Half a row would be glued to the next one, and a file without a row is none.
            os.ftruncate(self._fd, self._size)
            if not self._size and self.path:
                os.close(self._fd)
                self.path.unlink()
                self.path = self._fd = None
            raise
        self._size = os.fstat(self._fd).st_size
        self._unsynced.append(then)
        self._dirty.set()

    def _check_not_removed(self, descriptor: int) -> None:
        if not os.fstat(descriptor).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "removed while it was written", str(self.path))

    def _count(self, synced: int) -> None:
        done, self._unsynced = self._unsynced[:synced], self._unsynced[synced:]
        for then in done:
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
                    self._on_failure(error)
                    return
                self._count(waiting)
