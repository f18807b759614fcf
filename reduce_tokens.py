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
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from connections_env import prompts
from connections_env.command import exit_status
from connections_env.endpoint import Endpoint, Halt
from connections_env.examples import GoodRow
from connections_env.files import shown
from connections_env.flags import UsageError, add_flags, command_parser
from connections_env.play import Stopped
from connections_env.pool import interrupts
from connections_env.progress import Finished, Progress, key_of
from connections_env.puzzles import board_key
from connections_env.records import BadRow, Message, Usage
from connections_env.reduction import Reducer, count_row
from connections_env.rewriting import can_fit, chosen
from connections_env.session import OFFLINE_MODEL, open_endpoint
from connections_env.steps import check_input, check_writable, list_for_rerun, read_step, replacing
from connections_env.tables import reasons_table, share
from connections_env.terminal import NAMED_PROBLEMS, Reporter, notify, printable
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
    progress: Progress
    skipped: int = 0
    """Lines that hold no good example."""
    over: dict[int, str] = field(default_factory=dict)
    """Place among the rows -> key under which the row's outcome is kept."""
    counts: dict[str, Counts] = field(default_factory=dict)
    earlier: set[str] = field(default_factory=set)
    """Keys that an earlier run finished."""

    @property
    def left(self) -> dict[str, GoodRow]:
        """Key -> row still to be reduced; rows that are alike, once."""
        return {key: self.rows[place] for place, key in self.over.items() if key not in self.progress.finished}

    @property
    def outcomes(self) -> list[Finished]:
        finished = self.progress.finished
        return [finished[key] for key in self.over.values() if key in finished]

    def reduced_rows(self) -> Iterator[GoodRow]:
        for place, row in enumerate(self.rows):
            outcome = self.progress.finished[self.over[place]].row if place in self.over else row
            if outcome is not None:
                yield outcome


def survey(
    path: Path,
    folder: Path,
    limits: Limits,
    tokenizer: Tokenizer,
    model: str,
    report: Reporter,
    *,
    retry_rejected: bool = False,
) -> Stream:
    """Reads an input, counts it, and finds what earlier runs finished of it. Calls nobody, writes nothing."""
    output = folder / f"{path.stem}_reduced.jsonl"
    stream = Stream(path, output, [row for _, row in read_step(path, GoodRow, report)], Progress(output))
    stream.skipped = report.count
    report.finish()
    for place, row in enumerate(stream.rows):
        counts = count_row(row, tokenizer)
        if limits.over(counts, len(row.info.all_words)):
            stream.over[place] = key = key_of(row, limits, tokenizer, simulated=model == OFFLINE_MODEL)
            stream.counts[key] = counts
    stream.progress.read(set(stream.over.values()), retry_rejected=retry_rejected)
    _take_over(stream, limits, tokenizer, model)
    stream.earlier = set(stream.progress.finished)
    return stream


def _take_over(stream: Stream, limits: Limits, tokenizer: Tokenizer, model: str) -> None:
    """Takes rows from the output of an earlier run that still fit, if the same model reduced them."""
    if not stream.output.is_file():
        return
    wanted = {(row.rollout_id, _said(row.completion)): key for key, row in stream.left.items()}
    for _, row in read_step(stream.output, GoodRow, lambda line: None):
        key = wanted.get((row.rollout_id, _said(row.original_completion or [])))
        counts = count_row(row, tokenizer) if key and row.reducer_model == model else None
        if key and counts and not limits.over(counts, len(row.info.all_words)):
            pairs = zip(stream.counts[key].replies, counts.replies, strict=False)
            shortened = [(was, now) for was, now in pairs if was != now]
            row = row.model_copy(update={"spares": stream.left[key].spares})
            stream.progress.finished[key] = Finished(key=key, row=row, shortened=shortened)


def _said(messages: list[Message]) -> tuple[str, ...]:
    return tuple(message.content for message in messages)


# The run


@dataclass
class Outcome:
    streams: list[Stream]
    written: list[Path] = field(default_factory=list)
    """Empty where rows are left to be reduced."""
    lost: list[str] = field(default_factory=list)
    """Ids of puzzles without any row."""
    to_rerun: int = 0
    """Ids in the list of puzzles to play again, those of earlier steps included."""
    halt: Halt | None = None
    usage: Usage = field(default_factory=Usage)
    failed_attempts: int = 0
    cost: float | None = None

    @property
    def left(self) -> int:
        return sum(len(stream.left) for stream in self.streams)


async def run(
    streams: list[Stream],
    folder: Path,
    limits: Limits,
    tokenizer: Tokenizer,
    connect: Callable[[], AbstractAsyncContextManager[Endpoint]],
    *,
    verbose: bool = False,
) -> Outcome:
    """Reduces what is over its limits and, once all of it is finished, writes the outputs.

    `connect` gives the endpoint; it is not called where nothing is left to reduce.
    """
    outcome = Outcome(streams)
    if outcome.left:
        async with connect() as endpoint:
            await _reduce_all([(one, Reducer(endpoint, limits, tokenizer, one.progress, verbose)) for one in streams])
            outcome.halt, outcome.usage = endpoint.halt, endpoint.usage
            outcome.failed_attempts, outcome.cost = endpoint.failed_attempts, endpoint.cost
    if not outcome.left:
        outcome.lost = lost_puzzles(streams)
        outcome.written = list(_write(outcome, folder))
        for stream in streams:
            stream.progress.close()
    return outcome


async def _reduce_all(streams: list[tuple[Stream, Reducer]]) -> None:
    """Twice as many rows at a time as requests may be in flight, so that one always waits for a place that is free."""
    endpoint = streams[0][1].endpoint
    todo = [(stream, reducer, key, row) for stream, reducer in streams for key, row in stream.left.items()]
    queue = iter(todo)
    with interrupts(endpoint), tqdm(total=len(todo), unit="row", dynamic_ncols=True) as bar:

        def count_one() -> None:
            bar.update()

        async def work() -> None:
            for stream, reducer, key, row in queue:
                if endpoint.halt is not None:
                    return
                try:
                    stream.progress.add(await reducer.finish(row, key, stream.counts[key]), count_one)
                except Stopped:
                    continue
                except OSError as error:
                    _cannot_save(endpoint, stream, error)
                except Exception as error:  # a bug of ours must not take the other rows with it
                    traceback.print_exc()
                    endpoint.stop(f"{type(error).__name__} at {row.info.puzzle_id}: please report it", 1)

        async with AsyncExitStack() as stack:
            for stream, _ in streams:
                await stack.enter_async_context(stream.progress.saving(partial(_cannot_save, endpoint, stream)))
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(2 * endpoint.settings.max_concurrent, len(todo))):
                    workers.create_task(work())
    endpoint.settle()


def _cannot_save(endpoint: Endpoint, stream: Stream, error: OSError) -> None:
    why = f"cannot write beside {shown(stream.output)}: {error.strerror}; make room or mend the folder, then run again"
    endpoint.stop(why, 1)


def lost_puzzles(streams: list[Stream]) -> list[str]:
    """Ids of the puzzles that were in a stream and have no row in any output."""
    kept = {board_key(row.info.all_words) for stream in streams for row in stream.reduced_rows()}
    rows = (row for stream in streams for row in stream.rows)
    return list(dict.fromkeys(row.info.puzzle_id for row in rows if board_key(row.info.all_words) not in kept))


def _write(outcome: Outcome, folder: Path) -> Iterator[Path]:
    """Writes all files of a finished run; gives their paths."""
    for stream in outcome.streams:
        with replacing(stream.output) as file:
            file.writelines(row.to_line() + "\n" for row in stream.reduced_rows())
        yield stream.output
    with replacing(folder / REJECTS) as file:
        for done in (done for stream in outcome.streams for done in stream.outcomes):
            file.writelines(reject.model_dump_json() + "\n" for reject in done.rejects)
    yield folder / REJECTS
    rerun = folder / RERUN
    kept = {row.info.puzzle_id for stream in outcome.streams for row in stream.reduced_rows()}
    if rerun.is_file() or outcome.lost:
        outcome.to_rerun = list_for_rerun(rerun, kept, outcome.lost)
        yield rerun


# What is told


def summary(outcome: Outcome, seconds: float) -> str:
    """What was over, what was reduced and from how many tokens to how many, what was rejected and why."""
    done = [done for stream in outcome.streams for done in stream.outcomes]
    rows = sum(len(stream.rows) for stream in outcome.streams)
    skipped = sum(stream.skipped for stream in outcome.streams)
    over = sum(len(stream.over) for stream in outcome.streams)
    earlier = sum(key in stream.earlier for stream in outcome.streams for key in stream.over.values())
    shortened = [pair for one in done for pair in one.shortened]
    refusals: Counter[str] = sum((one.refusals for one in done), Counter())
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
        "finished earlier": f"{earlier:,} of {over:,} over a limit" if earlier else "",
        "replies shortened": f"{len(shortened):,}",
        "replies kept": f"{sum(one.kept for one in done):,} (every rewriting was refused)",
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


def forecast(streams: list[Stream], limits: Limits, tokenizer: Tokenizer, *, verbose: bool) -> str:
    """What a run would reduce, and about how many tokens that takes if every first rewriting is accepted."""
    lines, requests, tokens_in, tokens_out = list[str](), 0, 0, 0
    for stream in streams:
        for key, row in stream.left.items():
            counts, items = stream.counts[key], len(row.info.all_words)
            todo = chosen(counts, limits, items, set()) if can_fit(counts, limits, items) else {}
            said = [message.content for message in row.completion if message.role == "assistant"]
            asked = [prompts.shorten(said[turn], target) for turn, target in todo.items()]
            requests += len(todo)
            tokens_in += sum(tokenizer.count(message["content"]) for messages in asked for message in messages)
            tokens_out += sum(todo.values())
            plan = ", ".join(f"reply {turn + 1} to {target:,}" for turn, target in sorted(todo.items()))
            reasons = "; ".join(limits.over(counts, items))
            lines.append(f"  {row.info.puzzle_id}: {reasons}: {plan or 'cannot be made to fit'}")
    if not verbose and len(lines) > NAMED_PROBLEMS:
        lines[NAMED_PROBLEMS:] = [f"  ... and {len(lines) - NAMED_PROBLEMS} more; -v names them all"]
    rows, over = sum(len(stream.rows) for stream in streams), sum(len(stream.over) for stream in streams)
    to_do = sum(len(stream.left) for stream in streams)
    figures = {
        "rows": f"{rows:,}",
        "over a limit": share(over, rows),
        "to be reduced": f"{to_do:,}",
        "replies to shorten": f"{requests:,}",
        "tokens in": f"about {tokens_in:,}",
        "tokens out": f"about {tokens_out:,}, and what the model thinks",
    }
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
    add_flags(parser, "files", "tokens", "play.seed", "endpoint", "budget", "offline")
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
    inputs, started = chosen_inputs(args), time.monotonic()
    if not args.dry_run:
        check_writable(args.output_dir)
    limits, tokenizer, report = limits_of(args), load_tokenizer(args.tokenizer), Reporter(args.verbose)
    model = OFFLINE_MODEL if args.offline else args.model
    streams = [
        survey(path, args.output_dir, limits, tokenizer, model, report, retry_rejected=args.retry_rejected)
        for path in inputs
    ]
    for stream in streams:
        if stream.skipped and not stream.rows:
            raise BadRow(f"{shown(stream.path)} holds no good example; nothing was written")
    if args.dry_run:
        print(forecast(streams, limits, tokenizer, verbose=args.verbose))
        return 0
    outcome = await run(
        streams, args.output_dir, limits, tokenizer, lambda: open_endpoint(args, []), verbose=args.verbose
    )
    print(summary(outcome, time.monotonic() - started))
    if not outcome.left:
        return 0
    over = sum(len(set(stream.over.values())) for stream in streams)
    why = outcome.halt.why if outcome.halt else "the endpoint gave some requests up"
    print(printable(f"stopped: {why}"), file=sys.stderr)
    print(
        f"{over - outcome.left} of {over} rows are finished and kept, the outputs are as they were; "
        "run the same command again to go on",
        file=sys.stderr,
    )
    # A used-up budget leaves the outputs unwritten: the next step must not go on with old ones.
    return (outcome.halt.exit_status if outcome.halt else 0) or 1


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: asyncio.run(_reduce(args)))


if __name__ == "__main__":
    sys.exit(main())
