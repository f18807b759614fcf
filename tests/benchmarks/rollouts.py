"""How close step 1 comes to what an endpoint allows: games over real HTTP, saving included.

    uv run python -m tests.benchmarks.rollouts
    uv run python -m tests.benchmarks.rollouts --games 4000 --latency 2 -c 2000

The limit is what no client can beat: games x turns x latency / requests in flight. The control sends as many requests
through the bare openai client, as its own documentation has it, and plays no game.
"""

import argparse
import asyncio
import contextlib
import gc
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import generate_rollouts
from tests.benchmarks.server import served
from tests.rollouts import board, puzzle_file

TURNS = 4  # replies of a game that is won on a board of five groups
MOST_PUZZLES = 1024  # more games than these are second tries


@dataclass
class Measured:
    seconds: float
    cpu: float
    peak: float
    """MB of resident memory."""


@contextlib.contextmanager
def measuring() -> Iterator[Measured]:
    gc.collect()
    found = Measured(time.monotonic(), time.process_time(), 0.0)
    yield found
    found.seconds = time.monotonic() - found.seconds
    found.cpu = time.process_time() - found.cpu
    found.peak = peak()


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def play(folder: Path, puzzles: Path, url: str, games: int, width: int, tries: int) -> Measured:
    """Plays all games through step 1; every one of them must be won and in the file."""
    flags = ["--puzzles", str(puzzles), "--results-dir", str(folder), "-b", url, "-m", "canned", "-c", str(width)]
    out, err = io.StringIO(), io.StringIO()
    with measuring() as found, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = generate_rollouts.main([*flags, "-r", str(tries)])
    assert status == 0, err.getvalue()
    rows = sum(1 for path in folder.glob("results_*.jsonl") for _ in path.open("rb"))
    assert rows == games, f"{rows} rows of {games} games"
    for path in folder.glob("results_*.jsonl"):
        with path.open(encoding="utf-8") as file:
            assert json.loads(file.readline())["complete_reason"] == "all_categories_found"
        path.unlink()
    return found


async def bare(url: str, messages: list[dict[str, str]], requests: int, width: int) -> None:
    """The control: as many requests through `AsyncOpenAI.chat.completions.create` over its default backend."""
    from openai import AsyncOpenAI

    queue = iter(range(requests))
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def work() -> None:
            for _ in queue:
                await client.chat.completions.create(model="canned", messages=messages)  # type: ignore[arg-type]

        async with asyncio.TaskGroup() as workers:
            for _ in range(width):
                workers.create_task(work())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=4096)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds (0.2)")
    parser.add_argument("--characters", type=int, default=1600, help="of reasoning in each reply (1600)")
    parser.add_argument("-c", "--max-concurrent", type=int, default=256)
    parser.add_argument("--no-control", action="store_true")
    args = parser.parse_args(argv)
    import openai  # a second that is not the engine's

    openai.AsyncOpenAI(api_key="none")

    with tempfile.TemporaryDirectory() as name:
        folder, games = Path(name) / "results", args.games
        tries = -(-games // MOST_PUZZLES)
        boards = [board(n, groups=5) for n in range(games // tries)]
        puzzles, games = puzzle_file(Path(name) / "puzzles.jsonl", boards), tries * len(boards)
        limit = games * TURNS * args.latency / args.max_concurrent
        with served(puzzles, args.latency, args.characters) as url:
            play(folder, puzzles, url, len(puzzles.read_text().splitlines()), args.max_concurrent, 1)  # warm
            before = peak()
            one = play(folder, puzzles, url, games, args.max_concurrent, tries)
            print(f"  {games} games of {TURNS} turns, {args.latency:g} s a reply, {args.max_concurrent} at once")
            print(f"  limit    {limit:7.2f} s")
            print(
                f"  step 1   {one.seconds:7.2f} s  {limit / one.seconds:5.2f} of the limit  "
                f"{1000 * one.cpu / games:5.2f} ms CPU a game  {one.peak:4.0f} MB, "
                f"+{one.peak - before:.0f} since the first run"
            )
            if not args.no_control:
                messages = first_messages(puzzles)
                with measuring() as control:
                    asyncio.run(bare(url, messages, games * TURNS, args.max_concurrent))
                print(
                    f"  control  {control.seconds:7.2f} s  {limit / control.seconds:5.2f} of the limit  "
                    f"{1000 * control.cpu / games:5.2f} ms CPU for as many requests"
                )
    return 0


def first_messages(puzzles: Path) -> list[dict[str, str]]:
    from connections_env import prompts
    from connections_env.boards import puzzle_from_row
    from connections_env.game import GameState, observe
    from connections_env.rulesets import NYT

    puzzle = puzzle_from_row(json.loads(puzzles.open().readline()))
    return prompts.opening(observe(GameState(puzzle, NYT)))


if __name__ == "__main__":
    sys.exit(main())
