"""Step 4: resumes bad games where they were cut, and keeps those that end well.

Reads doctor_gameplay.jsonl; writes every game to the next results_N.jsonl, good ones also to doctored_gameplay.jsonl
(canonical form, added to what is there) and the jobs that gave none to doctor_gameplay_rerun.jsonl, which is itself an
input; drops nothing. A puzzle that has a doctored game already is not played again.

    uv run python doctor_gameplay.py --offline
    uv run python doctor_gameplay.py doctor_gameplay_rerun.jsonl -r 2 --max-cost 5 --price-input 0.3 --price-output 0.5
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from connections_env.command import exit_status
from connections_env.examples import GoodRow, JobRow, canonical_row
from connections_env.files import claim_results_file, next_number, read_lines, shown
from connections_env.flags import UsageError, add_flags, command_parser
from connections_env.foreign import rollout_of
from connections_env.play import Disagrees, Job, replay_rollout
from connections_env.pool import run_table
from connections_env.puzzles import Puzzle, board_key
from connections_env.quality import facts_of, rank, rejection
from connections_env.records import BadRow, ResumedFrom, Rollout
from connections_env.session import open_endpoint, play_jobs, results_folder, rollout_ids
from connections_env.steps import check_input, check_writable, read_step, write_rows
from connections_env.terminal import Reporter, printable

DOCTORED, RERUN = "doctored_gameplay.jsonl", "doctor_gameplay_rerun.jsonl"


@dataclass
class Ward:
    """The jobs of a run."""

    to_play: dict[str, JobRow] = field(default_factory=dict)
    """Board key -> job, one a puzzle."""
    doctored: dict[str, GoodRow] = field(default_factory=dict)
    """Board key -> the best doctored game so far, earlier runs included."""
    already_doctored: int = 0
    second_jobs: int = 0
    disagreeing: int = 0
    unreadable: int = 0
    jobs: int = 0
    """Rows that are jobs."""


def admit(source: Path, doctored: Path, report: Reporter) -> Ward:
    """Reads the jobs and the games doctored earlier."""
    ward = Ward()
    for row in read_step(doctored, GoodRow, report) if doctored.exists() else ():
        _keep_better(ward.doctored, row)
    if report.count:  # it is about to be written anew, without them
        raise UsageError(f"{shown(doctored)} has lines that cannot be read; mend them or move the file away")
    for job in read_step(source, JobRow, report):
        ward.jobs += 1
        key = board_key(job.info.all_words)
        try:
            replay_rollout(job)
        except Disagrees as error:
            report(f"{source.name}: puzzle {job.info.puzzle_id}: {error}; skipped")
            ward.disagreeing += 1
            continue
        if key in ward.doctored:
            ward.already_doctored += 1
        elif key in ward.to_play:
            ward.second_jobs += 1
        else:
            ward.to_play[key] = job
    ward.unreadable = report.count - ward.disagreeing
    if ward.unreadable and not ward.jobs:
        raise BadRow(f"{shown(source)} holds no job")
    return ward


def _keep_better(doctored: dict[str, GoodRow], row: GoodRow) -> None:
    key = board_key(row.info.all_words)
    if key not in doctored or rank(facts_of(row), 0) < rank(facts_of(doctored[key]), 0):
        doctored[key] = row


def resume(row: JobRow, puzzle: Puzzle, rollout_id: str) -> Job:
    """The game a job asks for."""
    replies = tuple(row.replies)
    return Job(
        rollout_id=rollout_id,
        puzzle=puzzle,
        ruleset=row.ruleset,
        kept=replies,
        resumed_from=ResumedFrom(rollout_id=row.rollout_id, turns=len(replies)),
        turns_cut=row.turns_cut,
        example_id=row.example_id,
        simulated=row.simulated,
    )


def jobs_of(rows: Iterable[JobRow], tries: int, new_id: Callable[[Puzzle, int], str]) -> list[Job]:
    boards = ((row, row.puzzle) for row in rows)
    return [resume(row, board, new_id(board, nth)) for row, board in boards if board for nth in range(tries)]


def discharge(played: Iterable[Rollout], ward: Ward) -> None:
    """Keeps the good games among those played, the best of each puzzle."""
    for rollout in played:
        if rejection(facts_of(rollout)) is None:
            _keep_better(ward.doctored, canonical_row(rollout))


def write(ward: Ward, output_dir: Path) -> list[JobRow]:
    """Writes what is doctored and what is not; gives the latter."""
    left = [job for key, job in ward.to_play.items() if key not in ward.doctored]
    write_rows({output_dir / DOCTORED: ward.doctored.values(), output_dir / RERUN: left})
    return left


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument("input", nargs="?", type=Path, help="jobs; default doctor_gameplay.jsonl in --output-dir")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be used")
    add_flags(parser, "files", "results", "play", "endpoint", "budget", "offline")
    return parser.parse_args(argv)


async def _doctor(args: argparse.Namespace) -> int:
    source = args.input or args.output_dir / "doctor_gameplay.jsonl"
    check_input(source, "prep_doctoring.py")
    folder = results_folder(args)
    check_writable(folder)
    check_writable(args.output_dir)
    report = Reporter(args.verbose)
    ward = admit(source, args.output_dir / DOCTORED, report)
    report.finish()
    jobs = jobs_of(ward.to_play.values(), args.rollouts_per_example, rollout_ids(args, next_number(folder)))
    halt, started = None, time.monotonic()
    if jobs:
        async with open_endpoint(args, list({job.puzzle.key: job.puzzle for job in jobs}.values())) as endpoint:
            tally, path = await play_jobs(jobs, endpoint, lambda: claim_results_file(folder), args)
        discharge((rollout_of(line.data) for line in read_lines(path)) if path else (), ward)
        print(run_table(tally, len(jobs), len(ward.to_play), endpoint, time.monotonic() - started), end="\n\n")
        print(f"every game -> {shown(path)}" if path else "no game got a reply")
        halt = endpoint.halt
    left = write(ward, args.output_dir)
    not_played = {
        "jobs of puzzles doctored earlier were not played again": ward.already_doctored,
        "jobs were second ones of their puzzle and not played": ward.second_jobs,
        "jobs are not what their rows say and were not played": ward.disagreeing,
        "lines are no jobs": ward.unreadable,
    }
    for what, count in not_played.items():
        if count:
            print(f"{count} {what}")
    print(f"{len(ward.doctored)} doctored games -> {shown(args.output_dir / DOCTORED)}")
    print(f"{len(left)} jobs to run again -> {shown(args.output_dir / RERUN)}")
    if halt:
        print(printable(f"stopped: {halt.why}"), file=sys.stderr)
        return halt.exit_status
    return 0


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: asyncio.run(_doctor(args)))


if __name__ == "__main__":
    sys.exit(main())
