"""Shows games: the board, and turn by turn what was thought, guessed and answered, with the verdict on all of it.

Reads any file that holds games, from results_N.jsonl to sft_examples.jsonl or .parquet, or a folder of results or of a
dataset; writes nothing.
Flags that narrow (--puzzle-id, --rollout-id, --good, --bad) can be combined with those that choose.

    uv run python -m connections_env.show generate_results/offline --list
    uv run python -m connections_env.show bad_examples.jsonl --random
"""

import argparse
import random
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from connections_env.arguments import at_least, command_parser
from connections_env.command import exit_status
from connections_env.entries import Entry, original, read_entry
from connections_env.files import shown
from connections_env.game_files import files_of, lines_of_games
from connections_env.headlines import list_line
from connections_env.json_lines import BadRow
from connections_env.paging import page
from connections_env.paint import Look, paint_for
from connections_env.showing import game_lines, raw_lines
from connections_env.terminal import say


class Games:
    """The games of a file or folder that a command asks for; what cannot be read is counted."""

    def __init__(self, args: argparse.Namespace):
        self.path: Path = args.file
        self.args = args
        self.unreadable = 0
        self.first_problem = ""
        self.paths = files_of(self.path)

    def entries(self) -> Iterator[Entry]:
        """Those that are wanted, in order, one read at a time."""
        for path in self.paths:
            for line in lines_of_games(path):
                entry = self._read(line.data, path, f"{self._name(path)}:{line.number}", torn=line.torn)
                if entry and self._wanted(entry):
                    yield entry

    def one_at_random(self, seed: int | None) -> Entry | None:
        """A wanted one, each as likely as any other; None where there is none."""
        draw, least, taken = random.Random(seed), 1.0, None
        for path in self.paths:
            for line in lines_of_games(path):
                if (drawn := draw.random()) >= least:  # each line draws, so that few have to be made out
                    continue
                entry = self._read(line.data, path, f"{self._name(path)}:{line.number}", torn=line.torn)
                if entry and self._wanted(entry):
                    least, taken = drawn, entry
        return taken

    @property
    def place_width(self) -> int:
        """Columns that most places take; nothing is read ahead to know them all."""
        return max(len(self._name(path)) for path in self.paths) + len(":10000")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix() if path != self.path else path.name

    def _read(self, data: bytes, path: Path, place: str, *, torn: bool) -> Entry | None:
        try:
            return read_entry(data, place, path)
        except BadRow as error:
            why = f"{place}: {'cut off, or still being written' if torn else error}"
            self.first_problem = self.first_problem or why
            self.unreadable += 1
            if self.args.verbose:
                say(why)
            return None

    def _wanted(self, entry: Entry) -> bool:
        args = self.args
        return (
            (args.puzzle_id is None or entry.is_of(args.puzzle_id))
            and args.rollout_id in (None, entry.rollout_id)
            and not (args.good and entry.why_bad is not None)
            and not (args.bad and entry.why_bad is None)
        )


def run(args: argparse.Namespace) -> int:
    source, paint = Games(args), paint_for(sys.stdout)
    width = args.width or shutil.get_terminal_size().columns
    # What is piped is for other tools, so nothing of it is cut unless a width is given.
    list_width = args.width or (width if sys.stdout.isatty() else None)
    look = Look(width, paint, reasoning=not args.no_reasoning)
    shown_games = 0

    def lines() -> Iterator[str]:
        nonlocal shown_games
        for entry in chosen(source, args):
            shown_games += 1
            if args.list:
                yield list_line(shown_games, entry, source.place_width, paint, list_width)
                continue
            if shown_games > 1:
                yield from ["", paint("faint", "=" * width), ""]
            if args.before and (before := original(entry)):
                entry = before
            yield from raw_lines(entry) if args.raw else game_lines(entry, look)

    page(lines(), pager=not args.no_pager)
    if not shown_games:
        return _nothing(source, args)
    if not (args.list or args.all or args.random or args.number) and (more := others(source, args)):
        say(more)
    if source.unreadable:
        say(f"{_lines(source.unreadable)} could not be read: {source.first_problem}")
    return 0


def chosen(source: Games, args: argparse.Namespace) -> Iterator[Entry]:
    if args.random:
        entry = source.one_at_random(args.seed)
        yield from [entry] if entry else []
    elif args.list or args.all:
        yield from source.entries()
    else:
        first = (args.number or 1) - 1
        yield from islice(source.entries(), first, first + 1)


def others(source: Games, args: argparse.Namespace) -> str:
    """What else there is beside the first game, and how it is chosen; nothing where that was all."""
    again = Games(args)
    count = sum(1 for _ in again.entries())
    source.unreadable, source.first_problem = again.unreadable, again.first_problem
    if count < 2:
        return ""
    return (
        f"the first of {count:,} games; -n N, --random, --puzzle-id ID, --good or --bad choose others, --list names all"
    )


def _nothing(source: Games, args: argparse.Namespace) -> int:
    where = shown(source.path)
    narrowed = args.puzzle_id or args.rollout_id or args.good or args.bad
    if args.number and args.number > 1 and (count := sum(1 for _ in Games(args).entries())):
        what = f"{where} holds {count:,} such games" if narrowed else f"{where} holds {count:,} games"
    elif narrowed:
        what = f"no such game in {where}; --list without it names those there are"
    else:
        what = f"{where} holds no game"
    problem = f" ({_lines(source.unreadable)} could not be read: {source.first_problem})" if source.unreadable else ""
    say(f"error: {what}{problem}")
    return 1


def _lines(count: int) -> str:
    return f"{count:,} line" if count == 1 else f"{count:,} lines"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python -m connections_env.show")
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="a file that holds games, or a folder of results or of a dataset"
    )
    narrow = parser.add_argument_group("which games")
    narrow.add_argument("--puzzle-id", metavar="ID", help="only games of this puzzle")
    narrow.add_argument("--rollout-id", metavar="ID", help="only this rollout")
    verdict = narrow.add_mutually_exclusive_group()
    verdict.add_argument("--good", action="store_true", help="only good games")
    verdict.add_argument("--bad", action="store_true", help="only bad games")
    choose = narrow.add_mutually_exclusive_group()
    choose.add_argument("-n", "--number", type=at_least(1), metavar="N", help="the Nth of them; default the first")
    choose.add_argument("--random", action="store_true", help="one of them, by chance")
    choose.add_argument("--all", action="store_true", help="all of them")
    choose.add_argument("--list", action="store_true", help="one line for each of them")
    narrow.add_argument("--seed", type=int, help="with --random: the same seed chooses the same game")
    layout = parser.add_argument_group("how")
    layout.add_argument("--no-reasoning", action="store_true", help="show how long the reasoning is in its place")
    layout.add_argument("--before", action="store_true", help="show reduced games as they were before")
    layout.add_argument("--raw", action="store_true", help="show the messages as they are")
    layout.add_argument("--width", type=at_least(20), metavar="N", help="columns; default those of the terminal")
    layout.add_argument("--no-pager", action="store_true", help="never page")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be read")
    args = parser.parse_args(argv)
    if args.seed is not None and not args.random:
        parser.error("--seed goes with --random")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: run(args), colours=True)


if __name__ == "__main__":
    raise SystemExit(main())
