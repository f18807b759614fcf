"""Step 1: plays puzzles with a model and writes every game to results_N.jsonl.

Reads puzzles; writes one row a game, won or not; drops nothing. Games that got no reply at all are counted only.

    uv run python generate_rollouts.py --offline -n 8
    uv run python generate_rollouts.py -n 100 -c 128 --max-cost 5 --price-input 0.3 --price-output 0.5
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from connections_env.arguments import UsageError, command_parser
from connections_env.command import exit_status
from connections_env.files import claim_file, claim_results_file, next_number, shown
from connections_env.flags import add_flags
from connections_env.masking import masked_command, without_flag
from connections_env.play import Job
from connections_env.pool import run_table
from connections_env.puzzles import Puzzle
from connections_env.rulesets import RULESETS, Ruleset
from connections_env.session import open_endpoint, play_jobs, results_folder, rollout_ids
from connections_env.sources import chosen_puzzles
from connections_env.steps import check_writable
from connections_env.terminal import notify, say


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


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the games here; default the next results_N.jsonl"
    )
    add_flags(parser, "puzzles", "results", "play", "endpoint", "budget", "prices", "progress", "offline")
    args = parser.parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    return args


async def _play(args: argparse.Namespace) -> int:
    folder = results_folder(args)
    if args.output and args.output.exists():
        raise UsageError(f"{args.output} exists and is never written over; choose another --output")
    check_writable(args.output.absolute().parent if args.output else folder)
    puzzles = chosen_puzzles(args, notify)
    started = time.monotonic()
    new_id = rollout_ids(args, next_number(folder))
    jobs = list(fresh_jobs(enumerate(puzzles), RULESETS[args.ruleset], args.rollouts_per_example, new_id))
    to_go_on = how_to_go_on(args)
    async with open_endpoint(args, puzzles, to_go_on) as endpoint:
        tally, path = await play_jobs(jobs, endpoint, lambda: _claim(args.output, folder), args, place=args.output)
    print(run_table(tally, len(jobs), len(puzzles), endpoint, time.monotonic() - started))
    if path:
        print(f"\nwrote {shown(path)}")
    elif not tally.rescued:
        print("\nno game got a reply; nothing was written")
    if endpoint.halt:
        say(f"stopped: {endpoint.halt.why}")
        if tally.games and to_go_on not in endpoint.halt.why:
            say(to_go_on)
        return endpoint.halt.exit_status
    return 0


def how_to_go_on(args: argparse.Namespace) -> str:
    """The same command would play all of it once more; the driver, with the same flags, resumes what is half-played."""
    words = list(args.argv)
    output: Path | None = args.output
    if not output:
        return f"to go on: uv run python iterative_generate.py {masked_command(words)}".rstrip()
    flags = without_flag(without_flag(words, "--output"), "--results-dir")
    driver = masked_command([*flags, "--results-dir", shown(output.absolute().parent)])
    found = output.match("results*.jsonl")
    renamed = "" if found else f", name {shown(output)} results_{output.stem.removeprefix('results_')}.jsonl and run"
    return f"to go on{renamed}: uv run python iterative_generate.py {driver}"


def _claim(output: Path | None, folder: Path) -> tuple[Path, int]:
    return (output, claim_file(output)) if output else claim_results_file(folder)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: asyncio.run(_play(args)))


if __name__ == "__main__":
    sys.exit(main())
