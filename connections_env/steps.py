"""How a step reads what the step before it wrote, and leaves its own files whole or not at all."""

import contextlib
import errno
import fcntl
import os
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from connections_env.arguments import UsageError
from connections_env.examples import GoodRow, JobRow, Place, RejectedRow, canonical_row, looks_like
from connections_env.files import read_lines, shown
from connections_env.foreign import rollout_at
from connections_env.json_lines import BadRow, FutureRow, first_problem, read_object
from connections_env.leftovers import hold, leftovers, unfinished
from connections_env.puzzles import board_key
from connections_env.quality import facts_of, rejection
from connections_env.records import Rollout
from connections_env.signals import held_back

MADE_BY = {
    "good_examples.jsonl": "filter_gameplay.py",
    "bad_examples.jsonl": "filter_gameplay.py",
    "doctor_gameplay.jsonl": "prep_doctoring.py",
    "doctored_gameplay.jsonl": "doctor_gameplay.py",
    "doctor_gameplay_rerun.jsonl": "doctor_gameplay.py",
    "good_examples_reduced.jsonl": "reduce_tokens.py",
    "doctored_gameplay_reduced.jsonl": "reduce_tokens.py",
    "reduce_rejects.jsonl": "reduce_tokens.py",
}
StepRow = TypeVar("StepRow", GoodRow, RejectedRow, JobRow)
MENDED_BY = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EISDIR: "move it away",
    errno.EACCES: "mend the permissions",
    errno.EPERM: "mend the permissions",
    errno.EROFS: "mend the permissions",
}


class CannotWrite(OSError):
    """A file or folder that could not be put in its place, and what to do; as one line."""

    def __init__(self, path: Path, error: OSError):
        super().__init__(error.errno, error.strerror or type(error).__name__, str(path))

    def __str__(self) -> str:
        mend = MENDED_BY.get(self.errno or 0, "mend that")
        return f"cannot write {shown(Path(self.filename))}: {self.strerror}; {mend}, then run the same command again"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Any OSError in this block is about this path: raises `CannotWrite`."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(path, error) from error


def check_input(path: Path, maker: str | None = None) -> None:
    """Raises `UsageError` for an input that is not there, naming the command that makes it."""
    if path.is_dir():
        raise UsageError(f"{shown(path)} is a folder; name a file")
    if not path.is_file():
        # A file of another name is one that the user gave it, wherever the step that makes such files puts its own.
        beside = output_dir_flag(path.parent) if path.name in MADE_BY else ""
        maker = MADE_BY.get(path.name, maker)
        how = f"; make it with: uv run python {maker}{beside}" if maker else ""
        raise UsageError(f"no such file: {shown(path)}{how}")


def output_dir_flag(folder: Path) -> str:
    """What a command is to be given for its files to lie in a folder; nothing where that is the current one."""
    return "" if folder.absolute() == Path.cwd() else f" --output-dir {shlex.quote(shown(folder))}"


def read_step(path: Path, kind: type[StepRow], report: Callable[[str], None]) -> Iterator[tuple[str, StepRow]]:
    """The rows of a step's file, each with its place (`good_examples.jsonl:3`).

    Lines that are none are reported with theirs, and with what they look like.
    """
    expected = {"good": "a good example", "bad": "a bad example", "job": "a job"}[kind.model_fields["kind"].default]
    for line in read_lines(path):
        place = f"{path.name}:{line.number}"
        try:
            row = read_object(line.data)
            if row.get("kind") != kind.model_fields["kind"].default:
                raise BadRow(f"expected {expected}, this looks like {looks_like(row)}")
            yield place, kind.model_validate(row)
        except ValidationError as error:
            report(f"{place}: {first_problem(error)}; skipped")
        except BadRow as error:
            report(f"{place}: {error}; skipped")
        except FutureRow as error:
            raise FutureRow(f"{path}:{line.number}: {error}") from None


def spare_row(place: Place, key: str, spares: Sequence[Place] = ()) -> GoodRow:
    """Another good rollout of a puzzle (by its board's key), from a results file, with the spares that are left.

    Raises `BadRow`, `FutureRow`, `Disagrees`, OSError.
    """
    rollout = rollout_at(Path(place.file), place.offset)
    if board_key(rollout.info.all_words) != key:
        raise BadRow("a row of another puzzle lies there now")
    if why := rejection(facts_of(rollout)):
        raise BadRow(f"not a good game: {why}")
    return canonical_row(rollout, spares=list(spares))


def still_to_rerun(listed: list[str], kept: set[str], lost: list[str]) -> list[str]:
    """The ids that earlier steps listed, without those that have a row now, and the newly lost ones."""
    return list(dict.fromkeys([*(puzzle_id for puzzle_id in listed if puzzle_id not in kept), *lost]))


def rerun_list(path: Path, kept: set[str], lost: list[str]) -> list[str]:
    """The ids of the list of puzzles to play again, brought up to date."""
    listed = path.read_text(encoding="utf-8-sig").split("\n") if path.is_file() else []
    return still_to_rerun([line.strip() for line in listed if line.strip()], kept, lost)


def lines_of(texts: Iterable[str]) -> Iterator[str]:
    return (f"{text}\n" for text in texts)


def check_writable(folder: Path) -> None:
    """Raises `UsageError` where a folder is none or takes no files: before anything is paid for or done in vain."""
    nearest = nearest_folder(folder)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {nearest}; mend its permissions or choose another folder")
    disk = os.statvfs(nearest)
    if disk.f_blocks and not disk.f_bavail:  # file systems of the kernel's own have no blocks at all
        raise UsageError(f"cannot write to {nearest}: its disk is full; make room or choose another folder")


def nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists as far as can be seen."""
    # os.path.exists, since Path.exists raises below a folder that cannot be entered.
    return next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))  # noqa: PTH110


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other runs that ask for it out of a folder's files; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_rows(files: Mapping[Path, Iterable[Rollout]]) -> None:
    """Replaces several files at once, so that they all stay as they were if one cannot be written."""
    replace_files({path: (row.to_line() + "\n" for row in rows) for path, rows in files.items()})


def replace_files(files: Mapping[Path, Iterable[str] | bytes]) -> None:
    """Puts files with these lines or bytes in the place of others: all or, where one cannot be written, none.

    Raises `CannotWrite`. All of them lie on the disk, whole, before the first takes its place.
    """
    written: dict[Path, Path] = {}
    descriptors: list[int] = []
    try:
        for path, lines in files.items():
            with writing(path):
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
                path.parent.mkdir(parents=True, exist_ok=True)
                for left in leftovers(path):
                    with contextlib.suppress(OSError):  # another user's, say
                        left.unlink()
                descriptor, name = tempfile.mkstemp(prefix=unfinished(path), dir=path.parent)
                descriptors.append(descriptor)
                written[path] = Path(name)
                hold(descriptor)
                written[path].chmod(0o644)
            _fill(descriptor, path, lines)
        with held_back():
            for path, temporary in written.items():
                with writing(path):
                    temporary.replace(path)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
        for descriptor in descriptors:
            os.close(descriptor)


def _fill(descriptor: int, path: Path, lines: Iterable[str] | bytes) -> None:
    """Brings the lines or bytes that are to lie at a path to the disk."""
    file = os.fdopen(descriptor, "wb", closefd=False)
    try:
        with file:
            file.writelines([lines] if isinstance(lines, bytes) else (line.encode() for line in lines))
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        if error.filename is not None:  # a file that the lines are read from
            raise
        raise CannotWrite(path, error) from error
