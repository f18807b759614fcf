"""How long step 5 takes for many replies at a latency, against the simulated player over real HTTP.

    uv run python -m tests.benchmarks.reduce
    uv run python -m tests.benchmarks.reduce --replies 200 --latency 0.05 -c 16

The limit is what no client can beat: replies x latency / requests in flight.
"""

import argparse
import contextlib
import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import reduce_tokens
from connections_env.examples import canonical_row
from connections_env.parsing import Reply
from tests.rollouts import board, rollout, script_replies

TURNS = 3  # replies of a game that is won on a board of four groups
MUSING = "Each of these could belong to two groups, so I weigh one reading against the other before I settle. "


def write_games(path: Path, replies: int, characters: int) -> int:
    """Writes won games whose every reply is over the limits; gives the number of replies."""
    games = -(-replies // TURNS)
    with path.open("w", encoding="utf-8") as file:
        for number in range(games):
            puzzle = board(number)
            long = [
                Reply(reply.content, MUSING * (characters // len(MUSING)) + f"Board {number}.", "stop", reply.tokens)
                for reply in script_replies(puzzle, "R" * TURNS)
            ]
            file.write(canonical_row(rollout(puzzle, long)).to_line() + "\n")
    return games * TURNS


@contextlib.contextmanager
def served(latency: float) -> Iterator[str]:
    """The base URL of a simulated player in a process of its own."""
    command = [sys.executable, "-m", "connections_env.simulated", "--port", "0", "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds (0.2)")
    parser.add_argument("--characters", type=int, default=6000, help="of a reply (6000)")
    parser.add_argument("-c", "--max-concurrent", type=int, default=64)
    args = parser.parse_args(argv)
    import openai  # noqa: F401  a second that is not the reducer's

    with tempfile.TemporaryDirectory() as folder, served(args.latency) as url:
        replies = write_games(Path(folder) / "good_examples.jsonl", args.replies, args.characters)
        shared = ["--output-dir", folder, "-b", url, "-m", "simulated", "-c", str(args.max_concurrent)]
        out = io.StringIO()
        started = time.monotonic()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            status = reduce_tokens.main(shared)
        seconds = time.monotonic() - started
    print(out.getvalue())
    found = re.search(r"requests: +([\d,]+)", out.getvalue())
    requests = int(found[1].replace(",", "")) if found else 0
    limit = replies * args.latency / args.max_concurrent
    print(f"  {replies} replies, {requests} requests, {args.latency:g} s each, {args.max_concurrent} at once")
    print(f"  seconds: {seconds:.2f}   limit: {limit:.2f}   ratio: {seconds / limit:.2f}")
    print(
        f"  limit for the requests made, refused answers included: {requests * args.latency / args.max_concurrent:.2f}"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
