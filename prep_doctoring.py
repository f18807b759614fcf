"""Step 3: turns bad games into jobs that go on from the last turn worth keeping.

Reads bad_examples.jsonl; writes doctor_gameplay.jsonl, a job for each game of which something can be kept; drops the
games that keep nothing, and counts them. Deterministic and free.

    uv run python prep_doctoring.py
    uv run python prep_doctoring.py --truncate last-correct --export-unsalvageable
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from connections_env.arguments import command_parser
from connections_env.command import exit_status
from connections_env.examples import JobRow, RejectedRow
from connections_env.files import shown
from connections_env.flags import add_flags
from connections_env.json_lines import BadRow
from connections_env.play import Disagrees
from connections_env.salvage import job_row
from connections_env.steps import check_input, check_writable, lines_of, read_step, replace_files, write_rows
from connections_env.tables import reasons_table
from connections_env.terminal import Reporter, counted
from connections_env.truncation import Truncate

JOBS, UNSALVAGEABLE = "doctor_gameplay.jsonl", "unsalvageable_puzzles.txt"


@dataclass
class Prepared:
    jobs: list[JobRow] = field(default_factory=list)
    unsalvageable: list[str] = field(default_factory=list)
    """Puzzle ids."""
    disagreeing: int = 0


def run(source: Path, output: Path, truncate: Truncate, report: Reporter) -> Prepared:
    """Reads bad games and writes their jobs."""
    prepared = Prepared()
    for place, bad in read_step(source, RejectedRow, report):
        try:
            job = job_row(bad, truncate)
        except Disagrees as error:
            report(f"{place}: puzzle {bad.info.puzzle_id}: {error}; skipped")
            prepared.disagreeing += 1
            continue
        if job is None:
            prepared.unsalvageable.append(bad.info.puzzle_id)
        else:
            prepared.jobs.append(job)
    if not report.count or prepared.jobs or prepared.unsalvageable:  # else there was no bad game in it
        write_rows({output: prepared.jobs})
    return prepared


def summary(prepared: Prepared, output: Path, unreadable: int) -> str:
    rows = len(prepared.jobs) + len(prepared.unsalvageable) + prepared.disagreeing + unreadable
    became = {
        "salvageable": len(prepared.jobs),
        "unsalvageable": len(prepared.unsalvageable),
        "not what its row says": prepared.disagreeing,
        "unreadable": unreadable,
    }
    cuts = Counter(job.cut_why or f"nothing: it was {job.rejection}" for job in prepared.jobs)
    parts = [
        f"{counted(rows, 'bad game')} -> {counted(len(prepared.jobs), 'job')} in {shown(output)}",
        reasons_table(became, rows),
    ]
    if prepared.jobs:
        parts += ["Cut because of:", reasons_table(cuts, len(prepared.jobs))]
    return "\n\n".join(parts)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument("input", nargs="?", type=Path, help="bad games; default bad_examples.jsonl in --output-dir")
    parser.add_argument(
        "--export-unsalvageable", action="store_true", help=f"write the ids of what keeps nothing to {UNSALVAGEABLE}"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be used")
    add_flags(parser, "files", "salvage")
    return parser.parse_args(argv)


def _prepare(args: argparse.Namespace) -> int:
    source, output = args.input or args.output_dir / "bad_examples.jsonl", args.output_dir / JOBS
    check_input(source, "filter_gameplay.py")
    check_writable(args.output_dir)
    report = Reporter(args.verbose)
    prepared = run(source, output, args.truncate, report)
    unreadable = report.count - prepared.disagreeing
    report.finish()
    if (unreadable or prepared.disagreeing) and not prepared.jobs and not prepared.unsalvageable:
        raise BadRow(f"{shown(source)} holds no bad game that is what it says; {shown(output)} was not written")
    print(summary(prepared, output, unreadable))
    if args.export_unsalvageable:
        replace_files({args.output_dir / UNSALVAGEABLE: lines_of(prepared.unsalvageable)})
        print(f"\n{counted(len(prepared.unsalvageable), 'id')} -> {shown(args.output_dir / UNSALVAGEABLE)}")
    return 0


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: _prepare(args))


if __name__ == "__main__":
    sys.exit(main())
