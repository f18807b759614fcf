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
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from connections_env import prompts
from connections_env.command import exit_status
from connections_env.endpoint import SAME_COMMAND, Endpoint, Halt
from connections_env.examples import GoodRow, count_row
from connections_env.files import shown
from connections_env.flags import UsageError, add_flags, command_parser
from connections_env.ledger import Ledger, text_key
from connections_env.play import Disagrees, Stopped
from connections_env.pool import interrupts
from connections_env.prices import Prices, prices_of
from connections_env.progress import Progress
from connections_env.puzzles import board_key
from connections_env.records import BadRow, Usage
from connections_env.reduction import Finished, Plan, Reducer, open_game
from connections_env.session import alone, open_endpoint
from connections_env.steps import (
    check_input,
    check_writable,
    lines_of,
    read_step,
    replace_files,
    rerun_list,
)
from connections_env.tables import reasons_table, share
from connections_env.terminal import NAMED_PROBLEMS, Reporter, notify, say
from connections_env.tokens import Counts, Limits, Tokenizer, limits_of, load_tokenizer

GOOD, DOCTORED = "good_examples.jsonl", "doctored_gameplay.jsonl"
REJECTS, RERUN = "reduce_rejects.jsonl", "rerun_puzzles.txt"


# The streams


@dataclass
class Stream:
    """An input, and what has become of those of its rows that are over their limits."""

    path: Path
    output: Path
    rows: list[GoodRow]
    skipped: int = 0
    """Lines that hold no good example."""
    over: dict[int, str] = field(default_factory=dict)
    """Place among the rows -> key of the row, the same for rows that are alike."""
    counts: dict[str, Counts] = field(default_factory=dict)
    finished: dict[str, Finished] = field(default_factory=dict)
    """By key; shared by the streams of a run, so that what is in two of them is reduced once."""

    @property
    def left(self) -> dict[str, GoodRow]:
        """Key -> row still to be reduced."""
        return {key: self.rows[place] for place, key in self.over.items() if key not in self.finished}

    @property
    def outcomes(self) -> list[Finished]:
        return [self.finished[key] for key in self.over.values() if key in self.finished]

    def reduced_rows(self) -> Iterator[GoodRow]:
        for place, row in enumerate(self.rows):
            outcome = self.finished[self.over[place]].row if place in self.over else row
            if outcome is not None:
                yield outcome


def survey(paths: Iterable[Path], folder: Path, limits: Limits, tokenizer: Tokenizer, report: Reporter) -> list[Stream]:
    """Reads the inputs and counts them. Calls nobody, writes nothing."""
    finished: dict[str, Finished] = {}
    streams = []
    for path in paths:
        rows = [row for _, row in read_step(path, GoodRow, report)]
        stream = Stream(path, folder / f"{path.stem}_reduced.jsonl", rows, skipped=report.count, finished=finished)
        report.finish()
        for place, row in enumerate(rows):
            counts = count_row(row, tokenizer)
            if limits.over(counts, len(row.info.all_words)):
                stream.over[place] = key = key_of(row)
                stream.counts[key] = counts
        streams.append(stream)
    return streams


def key_of(row: GoodRow) -> str:
    """The same for the same game with the same games in reserve."""
    parts = [row.rollout_id, *(message.content for message in row.completion), *map(str, row.spares)]
    return text_key("\0".join(parts))


# The run


@dataclass
class Outcome:
    streams: list[Stream]
    written: list[Path] = field(default_factory=list)
    """Empty where rows are left to be reduced."""
    to_rerun: int = 0
    """Ids in the list of puzzles to play again, those of earlier steps included."""
    halt: Halt | None = None
    usage: Usage = field(default_factory=Usage)
    """Of this reduction alone."""
    failed_attempts: int = 0
    cost: float | None = None

    @property
    def left(self) -> int:
        return len({key for stream in self.streams for key in stream.left})


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
        "rows",
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


def lost_puzzles(streams: list[Stream]) -> list[str]:
    """Ids of the puzzles that were in a stream and have no row in any output."""
    kept = {board_key(row.info.all_words) for stream in streams for row in stream.reduced_rows()}
    rows = (row for stream in streams for row in stream.rows)
    return list(dict.fromkeys(row.info.puzzle_id for row in rows if board_key(row.info.all_words) not in kept))


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


# What is told


def summary(outcome: Outcome, seconds: float) -> str:
    """What was over, what was reduced and from how many tokens to how many, what was rejected and why."""
    done = [done for stream in outcome.streams for done in stream.outcomes]
    rows = sum(len(stream.rows) for stream in outcome.streams)
    skipped = sum(stream.skipped for stream in outcome.streams)
    over = sum(len(stream.over) for stream in outcome.streams)
    earlier = sum(not one.asked for one in done)
    shortened = [pair for one in done for pair in one.shortened]
    refusals: Counter[str] = sum((one.refusals for one in done), Counter())
    kept = sum(one.kept for one in done)
    rejects = [reject for one in done for reject in one.rejects]
    used = outcome.usage
    figures = {
        "rows": f"{rows + skipped:,}",
        "skipped": share(skipped, rows + skipped) if skipped else "",
        "within limits": share(rows - over, rows),
        "over a limit": share(over, rows),
        "reduced": share(sum(one.row is not None and not one.is_spare for one in done), over),
        "spare in its place": share(sum(one.row is not None and one.is_spare for one in done), over),
        "rejected": share(sum(one.row is None for one in done), over),
        "unfinished": share(outcome.left, over) if outcome.left else "",
        "paid for earlier": share(earlier, over) if earlier else "",
        "replies shortened": f"{len(shortened):,}",
        "replies kept": f"{kept:,}, every rewriting was refused" if kept else "",
        "their tokens before": _sum_and_mean([was for was, _ in shortened]),
        "their tokens after": _sum_and_mean([now for _, now in shortened]),
        "requests": f"{used.requests:,} ({outcome.failed_attempts:,} failed)",
        "tokens in": f"{used.input:,} ({used.cached:,} cached)",
        "tokens out": f"{used.output:,} ({used.reasoning:,} reasoning)",
        "cost": "" if outcome.cost is None else f"{outcome.cost:.4f} USD",
        "time": f"{seconds:.1f} s",
    }
    parts = ["\n".join(f"  {name + ':':<22}{value}" for name, value in figures.items() if value)]
    if rejects:
        parts += ["Games rejected, spares included:", reasons_table(Counter(one.why for one in rejects), len(rejects))]
    if refusals:
        parts += ["Rewritings refused:", reasons_table(refusals, refusals.total())]
    if outcome.written:
        parts.append(_files(outcome))
    return "\n\n".join(parts)


def _sum_and_mean(tokens: list[int]) -> str:
    return f"{sum(tokens):,} (mean {sum(tokens) / len(tokens):,.1f})" if tokens else ""


def _files(outcome: Outcome) -> str:
    lines = [f"{len(list(stream.reduced_rows()))} rows -> {shown(stream.output)}" for stream in outcome.streams]
    rejects = sum(len(done.rejects) for stream in outcome.streams for done in stream.outcomes)
    others = {REJECTS: f"{rejects} rejected games", RERUN: f"{outcome.to_rerun} puzzles without a row"}
    return "\n".join(
        [*lines, *(f"{others[path.name]} -> {shown(path)}" for path in outcome.written if path.name in others)]
    )


def forecast(streams: list[Stream], plan: Plan, prices: Prices | None, *, verbose: bool) -> str:
    """What a run would ask for, and about how many tokens that takes if every first rewriting is accepted."""
    lines, requests, tokens_in, tokens_out, earlier = list[str](), 0, 0, 0, 0
    todo = {key: (stream, row) for stream in streams for key, row in stream.left.items()}
    for key, (stream, row) in todo.items():
        reasons = "; ".join(plan.limits.over(stream.counts[key], len(row.info.all_words)))
        try:
            game = open_game(row, stream.counts[key])
            left = plan.todo(game)
            over = plan.limits.over(game.counts, len(row.info.all_words))
        except Disagrees as error:
            lines.append(f"  {row.info.puzzle_id}: {reasons}: cannot be reduced: {error}")
            continue
        if left:
            asked = [prompts.shorten(game.contents[turn], target) for turn, target in left.items()]
            requests += len(left)
            tokens_in += sum(plan.tokenizer.count(message["content"]) for messages in asked for message in messages)
            tokens_out += sum(left.values())
            what = ", ".join(f"reply {turn + 1} to {target:,}" for turn, target in sorted(left.items()))
        else:
            earlier += 1
            what = "cannot be made to fit" if over else "paid for earlier"
        lines.append(f"  {row.info.puzzle_id}: {reasons}: {what}")
    if not verbose and len(lines) > NAMED_PROBLEMS:
        lines[NAMED_PROBLEMS:] = [f"  ... and {len(lines) - NAMED_PROBLEMS} more; -v names them all"]
    rows, over_limits = sum(len(stream.rows) for stream in streams), sum(len(stream.over) for stream in streams)
    figures = {
        "rows": f"{rows:,}",
        "over a limit": share(over_limits, rows),
        "to be reduced": f"{len(todo) - earlier:,}",
        "replies to shorten": f"{requests:,}",
        "tokens in": f"about {tokens_in:,}",
        "tokens out": f"about {tokens_out:,}, and what the model thinks",
    }
    if prices:
        cost = prices.cost(Usage(input=tokens_in, output=tokens_out))
        figures["cost"] = f"about {cost:.4f} USD, and what the model thinks"
    return "\n".join(
        [*lines, *([""] if lines else []), *(f"  {name + ':':<22}{text}" for name, text in figures.items())]
    )


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
        notify(f"no {shown(doctored)}: there are no doctored games to reduce")
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
    print(summary(outcome, time.monotonic() - started))
    if not outcome.left:
        return 0
    over = len({key for stream in streams for key in stream.over.values()})
    why = outcome.halt.why if outcome.halt else "the endpoint gave some requests up"
    say(f"stopped: {why}")
    kept = "what was paid for is kept: " if ledger.complete else ""
    say(f"{over - outcome.left} of {over} rows are finished, the outputs are as they were; {kept}{SAME_COMMAND}")
    # A used-up budget leaves the outputs unwritten: the next step must not go on with old ones.
    return (outcome.halt.exit_status if outcome.halt else 0) or 1


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: asyncio.run(_reduce(args)))


if __name__ == "__main__":
    sys.exit(main())
