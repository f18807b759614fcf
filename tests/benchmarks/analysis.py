"""How fast a folder of results is read, judged and counted: a dry run against `json.loads` of everything, kept.

    uv run python -m tests.benchmarks.analysis
    uv run python -m tests.benchmarks.analysis --rollouts 20000

Each reader runs in a process of its own over the same files, which were read once before, so that the disk does not
count. Memory is the peak of the process and its children above what they need before they read.
"""

import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.rollouts import board, interrupted, lost, played, puzzle_file, won

PUZZLES, FILES = 1000, 8
FILLER = "Each of these could belong to two groups, so I weigh one reading against the other before I settle. "
KINDS = (won, lost, interrupted, lambda puzzle: played(puzzle, "RWRN"), lambda puzzle: played(puzzle, "WRWRR"))


def write_results(folder: Path, rollouts: int) -> float:
    """Writes so many rollouts of 7 to 9 kB; gives the size of all in MB."""
    lines: list[tuple[str, str]] = []
    for number in range(PUZZLES):
        row = KINDS[number % len(KINDS)](board(number))
        text = row.to_line()
        short = max(7000 + 2000 * (number % 11) // 10 - len(text.encode()), 0)
        first = row.completion[0].content
        padded = json.dumps(first + " " + (FILLER * (short // len(FILLER) + 1))[:short], ensure_ascii=False)
        head, _, tail = text.replace(json.dumps(first, ensure_ascii=False), padded, 1).partition(row.rollout_id)
        lines.append((head, tail))
    files = [(folder / f"results_{n}.jsonl").open("w", encoding="utf-8") for n in range(1, FILES + 1)]
    for nth in range(rollouts):
        head, tail = lines[nth * 7919 % PUZZLES]
        files[nth * FILES // rollouts].write(f"{head}rollout-{nth}{tail}\n")
    for file in files:
        file.close()
    return sum(path.stat().st_size for path in folder.glob("results_*.jsonl")) / 1e6


def peak() -> float:
    """MB."""
    return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def dry_run(folder: Path, puzzles: Path) -> None:
    import iterative_generate

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert iterative_generate.main(["--dry-run", "--puzzles", str(puzzles), "--results-dir", str(folder)]) == 0
    assert out.getvalue().startswith("Loop 1: "), out.getvalue()


def load_everything(folder: Path, puzzles: Path) -> None:
    rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.open("rb")]
    assert rows


READERS = {"dry run": dry_run, "json.loads": load_everything}


def measure(reader: str, folder: Path, puzzles: Path) -> tuple[float, float]:
    """Seconds and MB of one reader, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.analysis", "--reader", reader, str(folder), str(puzzles)]
    seconds, megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(megabytes)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--reader", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.reader:
        if args.reader[0] == "dry run":
            import iterative_generate  # noqa: F401  what `--help` needs is not what reading needs
        before, started = peak(), time.monotonic()
        READERS[args.reader[0]](*map(Path, args.reader[1:]))
        print(time.monotonic() - started, peak() - before)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder, puzzles = (
            Path(name) / "results",
            puzzle_file(Path(name) / "puzzles.jsonl", [board(n) for n in range(PUZZLES)]),
        )
        folder.mkdir()
        megabytes = write_results(folder, args.rollouts)
        print(f"  {args.rollouts} rollouts of {PUZZLES} puzzles, {megabytes:.0f} MB")
        found = {reader: measure(reader, folder, puzzles) for reader in READERS}
    for reader, (seconds, memory) in found.items():
        print(f"  {reader:<11} {seconds:7.2f} s  {memory:7.0f} MB")
    (ours, our_memory), (control, control_memory) = found.values()
    print(f"  times faster: {control / ours:.1f}   share of its memory: 1/{control_memory / our_memory:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
