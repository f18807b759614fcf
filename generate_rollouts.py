"""Step 1: plays puzzles with a model and writes every game to results_N.jsonl.

Reads puzzles; writes one row a game, won or not; drops nothing. Games that got no reply at all are counted only.

    uv run python generate_rollouts.py --offline -n 8
    uv run python generate_rollouts.py -n 100 -c 128 --max-cost 5 --price-input 0.3 --price-output 0.5
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from connections_env.endpoint import Endpoint
from connections_env.files import ResultsFile, claim_file, claim_results_file, next_number, shown
from connections_env.flags import UsageError, add_flags, command_parser
from connections_env.play import Job
from connections_env.pool import Tally, cannot_save, interrupts, play_all, rescue
from connections_env.puzzles import Puzzle
from connections_env.rulesets import RULESETS, Ruleset
from connections_env.session import (
    check_writable,
    chosen_puzzles,
    open_endpoint,
    results_folder,
    rollout_ids,
    sampling_of,
    without_secrets,
)
from connections_env.sources import SourceError
from connections_env.terminal import notify, printable


def fresh_jobs(
    examples: Iterable[tuple[int, Puzzle]],
    ruleset: Ruleset,
    rollouts_per_example: int,
    new_id: Callable[[Puzzle, int], str],
) -> Iterator[Job]:
    """Games from scratch; an example is a puzzle with its place in its source."""
    for example_id, puzzle in examples:
        for nth in range(rollouts_per_example):
            yield Job(new_id(puzzle, nth), puzzle, ruleset, example_id=example_id)


async def run(
    jobs: list[Job], endpoint: Endpoint, claim: Callable[[], tuple[Path, int]], args: argparse.Namespace
) -> tuple[Tally, Path | None]:
    """Plays the jobs; gives their tally and the file they are in, None where no game got a reply.

    The order is shuffled by `--seed`: whatever ends a run early, what is finished is a fair sample.
    """
    shuffled = random.Random(args.seed).sample(jobs, len(jobs))
    results = ResultsFile(claim, on_failure=lambda error: endpoint.stop(cannot_save(results, error), 1))
    with interrupts(endpoint):
        tally = await play_all(
            shuffled,
            endpoint,
            results,
            total=len(jobs),
            max_turns=args.max_turns,
            allow_empty_reasoning=args.allow_empty_reasoning,
            sampling=without_secrets(sampling_of(args)),
        )
    endpoint.settle()
    if tally.unsaved:
        try:
            notify(f"{len(tally.unsaved)} games that could not be saved are in {rescue(tally.unsaved)}")
        except OSError as error:
            notify(f"{len(tally.unsaved)} games could not be saved anywhere: {error.strerror}")
    return tally, results.path


def table(tally: Tally, asked_for: int, puzzles: int, endpoint: Endpoint, seconds: float) -> str:
    """What the run gave and took, a line a figure."""
    used = endpoint.usage
    rows = {
        "puzzles": f"{puzzles:,}",
        "games": f"{tally.games:,} of {asked_for:,}",
        "good": _share(tally.good, tally.games),
        "won": _share(tally.won, tally.games),
        "with an invalid guess": _share(tally.with_invalid, tally.games),
        "lost": _share(tally.lost, tally.games),
        "unfinished": _share(tally.unfinished, tally.games),
        "without a reply": f"{asked_for - tally.games:,} (not written)" if asked_for > tally.games else "",
        "tokens in": f"{used.input:,} ({used.cached:,} cached)",
        "tokens out": f"{used.output:,} ({used.reasoning:,} reasoning)",
        "requests": f"{used.requests:,} ({endpoint.failed_attempts:,} failed)",
        "cost": "" if endpoint.cost is None else f"{endpoint.cost:.4f} USD",
        "time": f"{seconds:.1f} s",
    }
    return "\n".join(f"  {name + ':':<23}{value}" for name, value in rows.items() if value)


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else "0"


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the games here; default the next results_N.jsonl"
    )
    add_flags(parser, "puzzles", "results", "play", "endpoint", "budget", "offline")
    return parser.parse_args(argv)


async def _play(args: argparse.Namespace) -> int:
    folder = results_folder(args)
    if args.output and args.output.exists():
        raise UsageError(f"{args.output} exists and is never written over; choose another --output")
    check_writable(args.output.absolute().parent if args.output else folder)
    puzzles = chosen_puzzles(args, notify)
    started = time.monotonic()
    new_id = rollout_ids(args, next_number(folder))
    jobs = list(fresh_jobs(enumerate(puzzles), RULESETS[args.ruleset], args.rollouts_per_example, new_id))
    async with open_endpoint(args, puzzles, notify) as endpoint:
        tally, path = await run(jobs, endpoint, lambda: _claim(args.output, folder), args)
    print(table(tally, len(jobs), len(puzzles), endpoint, time.monotonic() - started))
    print(f"\nwrote {shown(path)}" if path else "\nno game got a reply; nothing was written")
    if endpoint.halt:
        print(printable(f"stopped: {endpoint.halt.why}"), file=sys.stderr)
        return endpoint.halt.exit_status
    return 0


def _claim(output: Path | None, folder: Path) -> tuple[Path, int]:
    return (output, claim_file(output)) if output else claim_results_file(folder)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return asyncio.run(_play(args))
    except (UsageError, SourceError) as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
