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
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from connections_env.arguments import UsageError, command_parser
from connections_env.command import exit_status
from connections_env.examples import GoodRow, JobRow, Place, RejectedRow, canonical_row
from connections_env.files import claim_results_file, next_number, read_lines, results_files, shown
from connections_env.flags import add_flags
from connections_env.foreign import rollout_of
from connections_env.json_lines import BadRow
from connections_env.play import Disagrees, Job, replay_rollout
from connections_env.pool import run_table
from connections_env.puzzles import Puzzle, board_key
from connections_env.quality import facts_of, rank, rejection
from connections_env.records import ResumedFrom, Rollout
from connections_env.salvage import job_row
from connections_env.session import alone, open_endpoint, play_jobs, results_folder, rollout_ids
from connections_env.steps import check_input, check_writable, locked, read_step, write_rows
from connections_env.terminal import Reporter, counted, notify, say

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
    found_earlier: int = 0
    disagreeing: int = 0
    unreadable: int = 0
    jobs: int = 0
    """Rows that are jobs."""


def admit(source: Path, doctored: Path, report: Reporter) -> Ward:
    """Reads the jobs and the games doctored earlier."""
    ward = Ward()
    for _, row in read_step(doctored, GoodRow, report) if doctored.exists() else ():
        _keep_better(ward.doctored, row)
    rerun = doctored.with_name(RERUN)
    if rerun.exists() and rerun.resolve() != source.resolve():
        for _ in read_step(rerun, JobRow, report):
            pass
    if report.count:  # both are about to be written anew, without them
        raise UsageError(f"{shown(doctored)} or {RERUN} has lines that cannot be read; mend them or move the file away")
    for place, job in read_step(source, JobRow, report):
        ward.jobs += 1
        key = board_key(job.info.all_words)
        try:
            replay_rollout(job)
        except Disagrees as error:
            report(f"{place}: puzzle {job.info.puzzle_id}: {error}; skipped")
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
        cuts=tuple(row.cuts),
        example_id=row.example_id,
    )


def jobs_of(rows: Iterable[JobRow], tries: int, new_id: Callable[[Puzzle, int], str]) -> list[Job]:
    boards = ((row, row.puzzle) for row in rows)
    return [resume(row, board, new_id(board, nth)) for row, board in boards if board for nth in range(tries)]


def games_of(paths: Iterable[Path], parents: set[str]) -> Iterator[tuple[Rollout, Place]]:
    """The games in results files that go on from one of these rollouts, and where they lie."""
    for path in paths:
        for line in read_lines(path):
            with suppress(BadRow):  # others name what cannot be read; here only our own games are looked for
                game = rollout_of(line.data)
                if game.resumed_from and game.resumed_from.rollout_id in parents:
                    yield game, Place(file=str(path.absolute()), offset=line.offset)


def collect(games: Iterable[tuple[Rollout, Place]], ward: Ward) -> None:
    """Takes in what came of the jobs: the best good game of each puzzle, else the bad one that got furthest."""
    good: dict[str, list[tuple[Rollout, Place]]] = {}
    for game, place in games:
        key = board_key(game.info.all_words)
        if why := rejection(facts_of(game)):
            if key in ward.to_play:
                ward.to_play[key] = _further(ward.to_play[key], game, why)
        else:
            good.setdefault(key, []).append((game, place))
    for found in good.values():
        ordered = sorted(found, key=lambda pair: rank(facts_of(pair[0]), 0))
        for nth, (game, place) in enumerate(ordered, 1):
            try:
                row = canonical_row(game, spares=[place for _, place in ordered[nth:]])
            except Disagrees as error:
                notify(f"{shown(Path(place.file))}, byte {place.offset}: {error}; the next best game is taken")
            else:
                _keep_better(ward.doctored, row)
                break


def _further(job: JobRow, game: Rollout, why: str) -> JobRow:
    """The job that goes on from a game, if that keeps more than the job the game was played for."""
    try:
        next_job = job_row(RejectedRow(**dict(game), rejection=why), job.truncate)
    except Disagrees:
        return job
    jobs = [job] if next_job is None else [job, next_job]
    return min(jobs, key=lambda one: rank(facts_of(one), len(one.reply_tokens)))


def write(ward: Ward, output_dir: Path) -> list[JobRow]:
    """Adds what is doctored to what is there and writes the jobs that are left; gives the latter."""
    doctored, rerun = output_dir / DOCTORED, output_dir / RERUN
    with locked(output_dir):  # another run may have added to both since they were read
        for _, row in read_step(doctored, GoodRow, lambda line: None) if doctored.exists() else ():
            _keep_better(ward.doctored, row)
        jobs = dict(ward.to_play)
        for _, job in read_step(rerun, JobRow, lambda line: None) if rerun.exists() else ():
            jobs.setdefault(board_key(job.info.all_words), job)
        left = [job for key, job in jobs.items() if key not in ward.doctored]
        write_rows({doctored: ward.doctored.values(), rerun: left})
    return left


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument("input", nargs="?", type=Path, help="jobs; default doctor_gameplay.jsonl in --output-dir")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be used")
    add_flags(parser, "files", "results", "play", "endpoint", "budget", "prices", "progress", "offline")
    return parser.parse_args(argv)


async def _doctor(args: argparse.Namespace) -> int:
    source = args.input or args.output_dir / "doctor_gameplay.jsonl"
    check_input(source, "prep_doctoring.py")
    folder = results_folder(args)
    check_writable(folder)
    check_writable(args.output_dir)
    async with alone("plays the jobs of", source):
        return await _play(args, source, folder)


async def _play(args: argparse.Namespace, source: Path, folder: Path) -> int:
    report = Reporter(args.verbose)
    ward = admit(source, args.output_dir / DOCTORED, report)
    report.finish()
    parents = {job.rollout_id for job in ward.to_play.values()}
    # A run that was killed has its games in the results, paid for and not collected.
    collect(games_of(results_files(folder), parents), ward)
    for key in ward.doctored.keys() & ward.to_play.keys():
        ward.found_earlier += 1
        del ward.to_play[key]
    jobs = jobs_of(ward.to_play.values(), args.rollouts_per_example, rollout_ids(args, next_number(folder)))
    halt, started = None, time.monotonic()
    if jobs:
        async with open_endpoint(args, list({job.puzzle.key: job.puzzle for job in jobs}.values())) as endpoint:
            tally, path = await play_jobs(jobs, endpoint, lambda: claim_results_file(folder), args)
        resumed = {job.resumed_from.rollout_id for job in jobs if job.resumed_from and job.resumed_from.rollout_id}
        collect(games_of([path] if path else [], resumed), ward)
        print(run_table(tally, len(jobs), len(ward.to_play), endpoint, time.monotonic() - started), end="\n\n")
        print(f"every game -> {shown(path)}" if path else "no game got a reply")
        halt = endpoint.halt
        if path is None:
            say(f"stopped: {halt.why if halt else 'nothing was answered'}; no file was changed")
            return (halt.exit_status if halt else 0) or 1
    left = write(ward, args.output_dir)
    not_played = {
        "jobs of puzzles doctored earlier, not played again": ward.already_doctored,
        "jobs with a good game in the results already": ward.found_earlier,
        "second jobs of their puzzles, not played": ward.second_jobs,
        "jobs that are not what their rows say, not played": ward.disagreeing,
        "lines that are no jobs": ward.unreadable,
    }
    for what, count in not_played.items():
        if count:
            print(f"{what}: {count:,}")
    print(f"{counted(len(ward.doctored), 'doctored game')} -> {shown(args.output_dir / DOCTORED)}")
    print(f"{counted(len(left), 'job')} to run again -> {shown(args.output_dir / RERUN)}")
    if halt:
        say(f"stopped: {halt.why}")
        return halt.exit_status
    return 0


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: asyncio.run(_doctor(args)))


if __name__ == "__main__":
    sys.exit(main())
