"""The driver: plays what has no good game yet, again and again, each time building on all that is there.

Reads the results_N.jsonl of a folder; writes one more a loop; drops nothing. A loop resumes the bad games worth keeping
and starts the missing ones, as one pool of work.

    uv run python iterative_generate.py --loop 3 --offline
    uv run python iterative_generate.py --loop 5 --dry-run
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import collate
import filter_gameplay
import reduce_tokens
from connections_env import collation_tables, reduction_tables
from connections_env import report as reports
from connections_env.arguments import at_least, command_parser
from connections_env.command import exit_status
from connections_env.endpoint import Endpoint
from connections_env.estimate import Estimate, estimate
from connections_env.files import claim_results_file, line_number, next_number, packed_results, results_files, shown
from connections_env.flags import add_flags
from connections_env.json_lines import BadRow
from connections_env.ledger import Ledger
from connections_env.masking import masked_command
from connections_env.outputs import RERUN, check_output
from connections_env.play import Disagrees, Job
from connections_env.prices import prices_of
from connections_env.puzzles import Puzzle, board_key
from connections_env.reduction import Plan
from connections_env.report_source import Source, of_results, reduced_in
from connections_env.rulesets import RULESETS
from connections_env.salvage import salvage
from connections_env.session import (
    WhenNeeded,
    alone,
    open_endpoint,
    play_jobs,
    results_folder,
    rollout_ids,
)
from connections_env.situation import Known, Situation, assess
from connections_env.sources import NotOnDisk, chosen_puzzles
from connections_env.standings import Standings, fetch, keys_of
from connections_env.steps import check_writable, lines_of, replace_files
from connections_env.streams import survey
from connections_env.terminal import Reporter, counted, notify, say
from connections_env.tokens import limits_of, load_tokenizer
from generate_rollouts import fresh_jobs

NewId = Callable[[Puzzle, int], str]


def plan(situation: Situation, standings: Standings, args: argparse.Namespace, new_id: NewId) -> list[Job]:
    """Jobs for the salvageable and the missing puzzles, and with `--restart-unsalvageable` for the rest."""
    made: list[Job] = []
    afresh = [*situation.missing, *(situation.unsalvageable if args.restart_unsalvageable else [])]
    to_resume = situation.salvageable
    while to_resume:
        exhausted = [one for one in to_resume if not _resume(one, standings, args, new_id, made)]
        more = standings.recall({one.key for one in exhausted})
        # A puzzle none of whose rows was what it said has none.
        afresh += [one for one in exhausted if not standings.by_puzzle[one.key]]
        to_resume = [replace(one, candidates=standings.by_puzzle[one.key]) for one in exhausted if one.key in more]
    examples = [(one.example_id, board) for one in afresh if (board := one.board()) is not None]
    made += fresh_jobs(examples, RULESETS[args.ruleset], args.rollouts_per_example, new_id)
    return made


def _resume(one: Known, standings: Standings, args: argparse.Namespace, new_id: NewId, made: list[Job]) -> bool:
    """Adds the jobs that resume a puzzle's best rollout that is what its row says; the others are forgotten.

    False where there is none, or only such as cannot be resumed.
    """
    for candidate in list(one.candidates):
        if not candidate.kept:
            return False
        try:
            rollout = fetch(candidate)
            if job := salvage(rollout, "", args.truncate):  # replayed once, however many games are played from it
                tries = range(args.rollouts_per_example)
                made += [replace(job, rollout_id=new_id(job.puzzle, nth)) for nth in tries]
            return True
        except (Disagrees, BadRow, OSError) as error:
            place = f"{standings.name(candidate.path)}:{line_number(candidate.path, candidate.offset)}"
            notify(f"{place}: {error}; the next best rollout is taken")
            standings.drop(one.key, candidate)
    return False


def look(puzzles: list[Puzzle], args: argparse.Namespace, report: Reporter, *, puzzles_known: bool = True) -> Standings:
    """Reads the folder; one line on stderr for each kind of result in it that does not count."""
    folder = results_folder(args)
    standings = Standings(args.ruleset, args.truncate, report, verdicts=args.dry_run and args.verbose)
    standings.read(results_files(folder))
    report.finish()
    for path in packed_results(folder):
        notify(f"{shown(path)}: compressed, and so not read; unpack it")
    counts, where = standings.counts, shown(folder)
    others = len(standings.others(puzzles)) if puzzles_known and not args.all_puzzles else 0
    if others:
        notify(f"{where}: results of {counted(others, 'other puzzle')} are left out (--all-puzzles takes them in)")
    if standings.mixed:
        notify(f"{where}: {standings.account()}")
    for line in standings.differences:
        notify(line)
    if compared := counts["verdicts that agree"] + counts["verdicts that differ"]:
        notify(
            f"{where}: {counts['verdicts that agree']:,} of {compared:,} verdicts of other tools agree with the replay"
        )
    if counts["simulated"] and not args.offline:
        notify(f"{where}: {counted(counts['simulated'], 'rollout is', 'rollouts are')} of the simulated player")
    return standings


def forecast(situation: Situation, standings: Standings, args: argparse.Namespace) -> Estimate | None:
    """What the next loop would take, by the mean of the games at hand."""
    left = len(situation.salvageable) + len(situation.missing)
    games = left + (len(situation.unsalvageable) if args.restart_unsalvageable else 0)
    took = standings.took_simulated if args.offline else standings.took
    return estimate(took, games * args.rollouts_per_example, prices_of(args))


def dry_run(args: argparse.Namespace, report: Reporter) -> Source:
    """Prints one loop's block for what is there, and gives that. Calls nobody, writes nothing."""
    prices_of(args)  # what is wrong with them is said before anything else
    puzzles, unknown = [], None
    try:
        puzzles = chosen_puzzles(args, report, local_only=True)
    except NotOnDisk as error:
        unknown = error
    standings = look(puzzles, args, report, puzzles_known=unknown is None)
    # Without the puzzles, what the folder holds can be counted all the same; what it lacks cannot.
    situation = assess(puzzles, standings, all_puzzles=args.all_puzzles or unknown is not None)
    print(situation.block("Loop 1", puzzles_known=unknown is None))
    if unknown is None and (next_loop := forecast(situation, standings, args)):
        print(f"\nThe next loop: {next_loop}")
    if unknown is not None:
        print(f"\n{unknown}")
    return games_of(args, standings, puzzles if unknown is None else None)


def games_of(args: argparse.Namespace, standings: Standings, puzzles: list[Puzzle] | None) -> Source:
    """All games of the folder, for a report; of the puzzles that count, where they are known."""
    stream = args.export and args.export.parent / f"{Path(filter_gameplay.GOOD).stem}_reduced.jsonl"
    reduced = reduced_in(stream) if reports.wanted(args) and stream and stream.is_file() else {}
    files = results_files(results_folder(args))
    ledgers = [args.export.parent] if args.export else []
    return of_results(standings, files, puzzles, others=args.all_puzzles, reduced=reduced, ledgers=ledgers)


async def loop(args: argparse.Namespace, report: Reporter) -> tuple[int, Source]:
    """Assess, print, plan, play: up to `--loop` times, each over all results in the folder.

    Gives the exit status and the games that are there then.
    """
    folder = results_folder(args)
    check_writable(folder)
    if args.export:  # what is wrong with it is to be known before anything is paid
        check_writable(args.export.absolute().parent)
        check_output(args.export)
        load_tokenizer(args.tokenizer)
    puzzles = chosen_puzzles(args, report)
    standings = look(puzzles, args, report)
    situation = assess(puzzles, standings, all_puzzles=args.all_puzzles)
    boards = [board for one in (*situation.salvageable, *situation.unsalvageable) if (board := one.board())]
    started, done, came_of_it = time.monotonic(), 0, ""
    async with WhenNeeded(lambda: open_endpoint(args, [*puzzles, *boards])) as endpoint:
        for number in range(1, args.loop + 1):
            made = plan(situation, standings, args, rollout_ids(args, next_number(folder)))
            if made:
                endpoint.get()  # what is wrong with the key or the prices is said before anything else
            print(situation.block(f"Loop {number}", came_of_it), end="\n\n", flush=True)
            if not made:
                break
            if expected := forecast(situation, standings, args):
                notify(f"loop {number}: {expected}")
            tally, path = await play_jobs(made, endpoint.get(), lambda: claim_results_file(folder), args)
            where = shown(path) if path else "no file"
            unfinished = f", {tally.unfinished} of them unfinished" if tally.unfinished else ""
            notify(f"loop {number}: {tally.games:,} of {counted(len(made), 'game')} played{unfinished}, in {where}")
            standings.read(results_files(folder))
            report.finish()
            before = {one.key for one in situation.good}
            situation = assess(puzzles, standings, all_puzzles=args.all_puzzles)
            newly_good = {one.key for one in situation.good} & tally.ran - before
            share = len(newly_good) / max(len(tally.ran), 1)
            came_of_it = f" | {len(newly_good)} ({share:.1%} of Ran Puzzles) -> Good Examples"
            done = number
            if endpoint.halt is not None or not tally.games:
                break  # what gave nothing now would give nothing again
        if made and tally.games:  # else the last block printed is the state still
            print(situation.block(f"After loop {done}", came_of_it), end="\n\n")
        status = endpoint.halt.exit_status if endpoint.halt else 0
        if args.export and status:
            notify(f"{args.export} was not written: the run stopped before")
        elif args.export:
            status = await export(puzzles, args, report, endpoint)
        if endpoint.opened:
            print(spent(endpoint.opened, time.monotonic() - started))
        print(next_steps(situation, args, folder))
    if endpoint.halt is not None:
        say(f"stopped: {endpoint.halt.why}")
        status = endpoint.halt.exit_status or status
    return status, games_of(args, standings, puzzles)


async def export(puzzles: list[Puzzle], args: argparse.Namespace, report: Reporter, endpoint: WhenNeeded) -> int:
    """From the results to the final file: steps 2, 5 and 6, their files beside it. Gives the exit status."""
    work, tokenizer, limits = args.export.parent, load_tokenizer(args.tokenizer), limits_of(args)
    keys = None if args.all_puzzles else keys_of(puzzles)
    work.mkdir(parents=True, exist_ok=True)
    async with alone("reduces games in", work):
        best = filter_gameplay.run([results_folder(args)], work, args, keys, puzzles)
        print(filter_gameplay.summary(best, work, tokenizer), end="\n\n")
        if not best.good:
            print("nothing to export: no good game yet\n")
            return 1
        began = time.monotonic()
        streams = survey([work / filter_gameplay.GOOD], work, limits, tokenizer, report)
        goal = Plan(limits, tokenizer, Ledger(work, offline=args.offline))
        # The endpoint of the games, so that one budget bounds the whole command.
        reduced = await reduce_tokens.run(
            streams,
            work,
            goal,
            lambda: nullcontext(endpoint.get()),
            progress_every=args.progress_every,
            verbose=args.verbose,
        )
    print(reduction_tables.summary(reduced, time.monotonic() - began), end="\n\n")
    if reduced.left:
        left = counted(reduced.left, "game is", "games are")
        notify(f"{args.export} was not written: {left} still to be reduced; run the command again")
        return 1
    outcome = collate.run([streams[0].output], args.export, tokenizer=tokenizer, limits=limits, report=report)
    report.finish()
    # Results may know a puzzle by another id than its source, so what is missing is told by the boards.
    there = {board_key([word for group in row.categories for word in group.members]) for row in outcome.rows}
    missing = [puzzle.puzzle_id for puzzle in puzzles if puzzle.key not in there]
    of_source = {puzzle.key for puzzle in puzzles}
    played = {row.info.puzzle_id: board_key(row.info.all_words) for row in (*best.good, *best.bad)}
    others = [name for name in outcome.without_row if name in played and played[name] not in of_source]
    outcome.without_row = list(dict.fromkeys([*missing, *others]))
    replace_files({work / RERUN: lines_of(outcome.without_row)})
    print(collation_tables.summary(outcome, args.export), end="\n\n")
    return 0 if outcome.rows else 1


def spent(endpoint: Endpoint, seconds: float) -> str:
    used = endpoint.usage
    cost = "" if endpoint.cost is None else f", {endpoint.cost:.4f} USD"
    return (
        f"Spent: {counted(used.requests, 'request')} ({endpoint.failed_attempts:,} failed), {used.input:,} tokens in "
        f"({used.cached:,} cached), {used.output:,} out ({used.reasoning:,} reasoning){cost}, {seconds:.1f} s"
    )


def next_steps(situation: Situation, args: argparse.Namespace, folder: Path) -> str:
    """What can be done from here, as commands."""
    again = f"uv run python iterative_generate.py {masked_command(args.argv)}"
    steps = [f"Results: {shown(folder)}", "Next:"]
    left = len(situation.salvageable) + len(situation.missing)
    if args.restart_unsalvageable:
        left += len(situation.unsalvageable)
    if left:
        steps.append(f"  {again}  # {counted(left, 'puzzle is', 'puzzles are')} left to play")
    elif situation.unsalvageable:
        puzzles = counted(len(situation.unsalvageable), "puzzle is", "puzzles are")
        steps.append(f"  {again} --restart-unsalvageable  # {puzzles} left to play")
    else:
        steps.append(f"  {again} --dry-run  # all is good")
    return "\n".join(steps)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument("--loop", type=at_least(1), default=1, metavar="N", help="generations to play at most (1)")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what is there; calls nobody, writes nothing but a --report"
    )
    parser.add_argument(
        "--restart-unsalvageable", action="store_true", help="also play from scratch what cannot be resumed"
    )
    parser.add_argument(
        "--all-puzzles", action="store_true", help="also take in puzzles that only the results folder knows"
    )
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="go on through filter, reduction and collation, to this file"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be read")
    add_flags(parser, "puzzles", "results", "salvage", "play", "endpoint", "budget", "prices", "offline")
    add_flags(parser, "progress", "tokens", "report")
    args = parser.parse_args(argv)
    if args.export and args.dry_run:
        parser.error("--dry-run writes nothing, so it cannot --export")
    args.argv = sys.argv[1:] if argv is None else argv
    return args


def _drive(args: argparse.Namespace) -> int:
    reports.check(args, args.export)
    report = Reporter(args.verbose)
    status, games = (0, dry_run(args, report)) if args.dry_run else asyncio.run(loop(args, report))
    if reports.wanted(args):
        tokenizer = load_tokenizer(args.tokenizer) if games.reduced else None
        reports.make(args, games, limits_of(args), tokenizer)
    return status


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: _drive(args))


if __name__ == "__main__":
    sys.exit(main())
