"""Step 5: shortens the reasoning of games that are over the token limits; the guesses stay as they are, to the byte.

Reads good_examples.jsonl and doctored_gameplay.jsonl; writes X_reduced.jsonl for each X.jsonl, and to
reduce_rejects.jsonl, with its numbers, every game that cannot be made to fit. The puzzle's next good rollout takes the
place of such a game; a puzzle without one is dropped and listed in rerun_puzzles.txt.

    uv run python reduce_tokens.py --dry-run
    uv run python reduce_tokens.py --offline --output-dir generate_results/offline
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path
from typing import NoReturn

from connections_env.arguments import UsageError, command_parser
from connections_env.command import exit_status
from connections_env.endpoint import SAME_COMMAND, Endpoint
from connections_env.files import shown
from connections_env.flags import add_flags
from connections_env.json_lines import BadRow
from connections_env.ledger import Ledger
from connections_env.play import Stopped
from connections_env.pool import interrupts
from connections_env.prices import prices_of
from connections_env.progress import Progress
from connections_env.reduction import Plan, Reducer
from connections_env.reduction_tables import forecast, summary
from connections_env.session import alone, open_endpoint
from connections_env.steps import (
    check_input,
    check_writable,
    lines_of,
    replace_files,
    rerun_list,
)
from connections_env.streams import REJECTS, RERUN, Outcome, Stream, lost_puzzles, survey
from connections_env.terminal import Reporter, counted, notify, say
from connections_env.tokens import limits_of, load_tokenizer

GOOD, DOCTORED = "good_examples.jsonl", "doctored_gameplay.jsonl"


async def run(
    streams: list[Stream],
    folder: Path,
    plan: Plan,
    connect: Callable[[], AbstractAsyncContextManager[Endpoint]],
    *,
    progress_every: float = 0.0,
    verbose: bool = False,
) -> Outcome:
    """Reduces what is over its limits and, once all of it is finished, writes the outputs.

    `connect` gives the endpoint; it is not called where nothing is left to be asked.
    """
    outcome = Outcome(streams)
    if outcome.left and not plan.ledger.empty:
        await _finish_what_is_paid_for(streams, plan)
    if outcome.left:
        async with connect() as endpoint:
            usage, failed, cost = endpoint.usage, endpoint.failed_attempts, endpoint.cost
            await _reduce_all(streams, endpoint, plan, progress_every, verbose=verbose)
            outcome.halt, outcome.usage = endpoint.halt, endpoint.usage - usage
            outcome.failed_attempts = endpoint.failed_attempts - failed
            outcome.cost = None if endpoint.cost is None else endpoint.cost - (cost or 0.0)
    if not outcome.left:
        _write(outcome, folder)
    return outcome


async def _finish_what_is_paid_for(streams: list[Stream], plan: Plan) -> None:
    """Finishes the rows for which nothing is to be asked any more."""

    async def nobody(messages: list[dict[str, str]], request_id: str) -> NoReturn:
        raise Stopped

    reducer = Reducer(nobody, "", plan)
    for stream in streams:
        for key, row in stream.left.items():
            with suppress(Stopped):
                stream.finished[key] = await reducer.finish(row, stream.counts[key])


async def _reduce_all(
    streams: list[Stream], endpoint: Endpoint, plan: Plan, progress_every: float, *, verbose: bool
) -> None:
    """Twice as many rows at a time as requests may be in flight, so that one always waits for a place that is free."""
    reducer, folder = Reducer(endpoint.ask, endpoint.settings.model, plan, verbose), plan.ledger.folder
    todo = {key: (stream, row) for stream in streams for key, row in stream.left.items()}
    queue = iter(todo.items())

    def cannot_save(error: OSError) -> None:
        place = f"cannot write to {shown(folder)}: {error.strerror}"
        endpoint.stop(f"{place}; make room or mend the folder, then run again", 1)

    rejected = 0
    progress = Progress(
        "row",
        len(todo),
        endpoint,
        lambda: f"{progress.done - rejected:,} reduced, {rejected:,} rejected",
        every=progress_every,
    )

    async def work() -> None:
        nonlocal rejected
        for key, (stream, row) in queue:
            if endpoint.halt is not None:
                return
            progress.begun += 1
            try:
                stream.finished[key] = done = await reducer.finish(row, stream.counts[key])
                progress.done += 1
                rejected += done.row is None
            except Stopped:
                continue
            except Exception as error:  # a bug of ours must not take the other rows with it
                endpoint.stop_for_bug(error, f"at {row.info.puzzle_id}")
            finally:
                progress.ended += 1

    with interrupts(endpoint):
        async with progress, plan.ledger.saving(cannot_save), asyncio.TaskGroup() as workers:
            for _ in range(min(2 * endpoint.settings.max_concurrent, len(todo))):
                workers.create_task(work())
    endpoint.settle()


def _write(outcome: Outcome, folder: Path) -> None:
    """Writes all files of a finished run."""
    streams = outcome.streams
    rejects = [reject for stream in streams for done in stream.outcomes for reject in done.rejects]
    files: dict[Path, Iterable[str]] = {
        stream.output: lines_of(row.to_line() for row in stream.reduced_rows()) for stream in streams
    }
    files[folder / REJECTS] = lines_of(reject.model_dump_json() for reject in rejects)
    kept, lost = {row.info.puzzle_id for stream in streams for row in stream.reduced_rows()}, lost_puzzles(streams)
    if lost or (folder / RERUN).is_file():
        listed = rerun_list(folder / RERUN, kept, lost)
        outcome.to_rerun = len(listed)
        files[folder / RERUN] = lines_of(listed)
    replace_files(files)
    outcome.written = list(files)


# The command


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument(
        "inputs", nargs="*", type=Path, help=f"good games; default {GOOD} and {DOCTORED} in --output-dir"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would be reduced and how many tokens it takes; calls nobody"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell each reduction, name every line skipped")
    parser.add_argument(
        "--retry-rejected", action="store_true", help="try games again that an earlier run could not make fit"
    )
    add_flags(parser, "files", "tokens", "play.seed", "endpoint", "budget", "prices", "progress", "offline")
    return parser.parse_args(argv)


def chosen_inputs(args: argparse.Namespace) -> list[Path]:
    """The inputs that are to be read. Raises `UsageError` where one is missing that must be there."""
    if not args.inputs:
        check_input(args.output_dir / GOOD)
        doctored = args.output_dir / DOCTORED
        if doctored.is_file():
            return [args.output_dir / GOOD, doctored]
        notify(f"no {shown(doctored)}: reducing {shown(args.output_dir / GOOD)} alone")
        return [args.output_dir / GOOD]
    for path in args.inputs:
        check_input(path)
    if twice := [stem for stem, times in Counter(path.stem for path in args.inputs).items() if times > 1]:
        raise UsageError(f"two inputs would both be written to {twice[0]}_reduced.jsonl; reduce one at a time")
    return list(args.inputs)


async def _reduce(args: argparse.Namespace) -> int:
    inputs, prices, started = chosen_inputs(args), prices_of(args), time.monotonic()
    if not args.dry_run:
        check_writable(args.output_dir)
        args.output_dir.mkdir(parents=True, exist_ok=True)
    limits, tokenizer, report = limits_of(args), load_tokenizer(args.tokenizer), Reporter(args.verbose)
    async with nullcontext() if args.dry_run else alone("reduces games in", args.output_dir):
        streams = survey(inputs, args.output_dir, limits, tokenizer, report)
        for stream in streams:
            if stream.skipped and not stream.rows:
                raise BadRow(f"{shown(stream.path)} holds no good example; nothing was written")
        ledger = Ledger(args.output_dir, offline=args.offline, retry_rejected=args.retry_rejected)
        plan = Plan(limits, tokenizer, ledger)
        if args.dry_run:
            print(forecast(streams, plan, prices, verbose=args.verbose))
            return 0
        outcome = await run(
            streams,
            args.output_dir,
            plan,
            lambda: open_endpoint(args, []),
            progress_every=args.progress_every,
            verbose=args.verbose,
        )
    print(summary(outcome, time.monotonic() - started, retried=args.retry_rejected))
    if not outcome.left:
        return 0
    over = len({key for stream in streams for key in stream.over.values()})
    why = outcome.halt.why if outcome.halt else "the endpoint gave some requests up"
    say(f"stopped: {why}")
    kept = "what was paid for is kept: " if ledger.complete else ""
    finished = f"{over - outcome.left:,} of {counted(over, 'row is', 'rows are')} finished"
    say(f"{finished}, the outputs are as they were; {kept}{SAME_COMMAND}")
    # A used-up budget leaves the outputs unwritten: the next step must not go on with old ones.
    return (outcome.halt.exit_status if outcome.halt else 0) or 1


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: asyncio.run(_reduce(args)))


if __name__ == "__main__":
    sys.exit(main())
