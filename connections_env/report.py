"""A page of all games, for `--report FILE.html` and `--view`: what they say together, and each one turn by turn."""

import argparse
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from connections_env.arguments import UsageError
from connections_env.files import shown
from connections_env.prices import prices_of
from connections_env.report_counts import Overview
from connections_env.report_games import Packed, Picks
from connections_env.report_page import is_report, page
from connections_env.report_source import Source, games_in
from connections_env.steps import check_writable, replace_files
from connections_env.tokens import Limits, Tokenizer

GAMES, PORT = 10_000, 8800


class Made(NamedTuple):
    games: int
    left_out: int


def wanted(args: argparse.Namespace) -> bool:
    return bool(args.report or args.view)


def check(args: argparse.Namespace, *others: Path | None) -> None:
    """Raises `UsageError` for a report that could not be written, or not without harm: before any work.

    `others` are files that the command writes.
    """
    if args.port is not None and not args.view:
        raise UsageError("--port is where --view serves; give --view too")
    if args.report_games is not None and not wanted(args):
        raise UsageError("--report-games is about the page; give --report FILE.html or --view too")
    if args.port is not None and args.port > 65535:
        raise UsageError(f"--port {args.port} is no port; give one up to 65535")
    path: Path | None = args.report
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {shown(path)}: a report is a page; give it a name that ends in .html")
    if path.absolute() in [other.absolute() for other in others if other]:
        raise UsageError(f"--report {shown(path)} is also where the dataset goes; choose another name")
    check_replaceable(path)
    check_writable(path.absolute().parent)


def check_replaceable(path: Path) -> None:
    """Raises `UsageError` for anything there that is not an older report."""
    if path.is_dir():
        raise UsageError(f"--report {shown(path)} is a folder; name a file in it")
    try:
        taken = (path.exists() or path.is_symlink()) and not (path.is_file() and is_report(path))
    except OSError as error:
        raise UsageError(f"--report {shown(path)}: cannot look at it ({error.strerror}); choose another name") from None
    if taken:
        raise UsageError(f"--report {shown(path)}: there is a file that is no report; move it or choose another name")


def make(args: argparse.Namespace, source: Source, limits: Limits, tokenizer: Tokenizer | None = None) -> None:
    """Writes and serves the report, whichever is asked for. Raises `UsageError`, OSError."""
    from connections_env.viewing import serve  # here, since few look at once

    if args.report:
        check_replaceable(args.report)  # once more: the games may have taken hours
        made = write(args.report, args, source, limits, tokenizer)
        print(f"\n{_said(made)} -> {shown(args.report)}")
    if args.view and args.report:
        serve(args.report, args.port or PORT)
    elif args.view:
        with tempfile.TemporaryDirectory(prefix="connections-report-") as folder:
            path = Path(folder) / "report.html"
            made = write(path, args, source, limits, tokenizer)
            print(f"\n{_said(made)}")
            serve(path, args.port or PORT)


def write(
    path: Path, args: argparse.Namespace, source: Source, limits: Limits, tokenizer: Tokenizer | None = None
) -> Made:
    """Writes the page, reading the games twice: all of them to count and choose, those to be shown once more."""
    overview = Overview(source, limits, tokenizer, prices_of(args))
    picks = Picks(args.report_games or GAMES)
    for game in games_in(source, overview.left_out):
        overview.take(game)
        picks.see(game)
    overview.finish()
    packed, chosen = Packed(source, tokenizer), picks.in_order
    made = Made(len(chosen), picks.seen - len(chosen))

    def rest() -> dict[str, Any]:
        about = {"title": source.title, "made": datetime.now(UTC).isoformat(timespec="minutes"), **made._asdict()}
        return {"index": packed.index(), "overview": overview.figures() | {"about": about}}

    def pieces() -> Iterator[str]:
        yield from page(packed.blocks(chosen), rest)

    replace_files({path: pieces()})
    return made


def _said(made: Made) -> str:
    games = "1 game" if made.games == 1 else f"{made.games:,} games"
    counted = f" ({made.left_out:,} more are counted, not shown; --report-games takes more)" if made.left_out else ""
    return f"Report of {games}{counted}"
