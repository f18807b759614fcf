"""What a finished game costs the event loop until it is safe: serialised, written, and synced by a thread meanwhile.

    uv run python -m tests.benchmarks.append
    uv run python -m tests.benchmarks.append --folder /mnt/slow_disk

The control writes and syncs each record at once, as a tool does that takes no chances; both make the same file.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from connections_env.durable import ResultsFile
from connections_env.files import claim_results_file
from connections_env.records import Rollout
from tests.rollouts import REASONING, board, changed, won

PAUSE_EVERY = 50  # records; then others get their turn, as they do when games end


def records(count: int) -> list[Rollout]:
    """Rollouts of about 8 kB."""
    row = changed(won(board(0)))
    row["completion"][0]["content"] = REASONING * (5000 // len(REASONING)) + row["completion"][0]["content"]
    return [Rollout.model_validate(row | {"rollout_id": f"rollout-{nth}"}) for nth in range(count)]


async def ours(folder: Path, rows: list[Rollout]) -> tuple[float, float, int]:
    """Seconds on the event loop, seconds in all, records that were called safe."""
    busy, safe, started = 0.0, 0, time.monotonic()

    def count() -> None:
        nonlocal safe
        safe += 1

    async with ResultsFile(lambda: claim_results_file(folder)) as results:
        for nth, row in enumerate(rows):
            began = time.perf_counter()
            results.append(row.to_line(), count)
            busy += time.perf_counter() - began
            if nth % PAUSE_EVERY == 0:
                await asyncio.sleep(0.001)
    return busy, time.monotonic() - started, safe


def at_once(folder: Path, rows: list[Rollout]) -> float:
    with (folder / "at_once.jsonl").open("w", encoding="utf-8") as file:
        started = time.perf_counter()
        for row in rows:
            file.write(row.to_line() + "\n")
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - started


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="where to write; default the system's temporary folder")
    args = parser.parse_args(argv)
    rows = records(args.records)
    rows[0].to_line()  # builds what serialises
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        busy, seconds, safe = asyncio.run(ours(Path(name), rows))
        control = at_once(Path(name), rows)
        (written,) = Path(name).glob("results_*.jsonl")
        assert safe == len(rows)
        assert written.read_bytes() == (Path(name) / "at_once.jsonl").read_bytes()
        size = written.stat().st_size / len(rows)
    per_record, per_control = 1e6 * busy / len(rows), 1e6 * control / len(rows)
    print(f"  {len(rows)} records of {size:,.0f} bytes, all of them synced, in {seconds:.2f} s")
    print(f"  on the event loop {per_record:6.1f} us a record   control {per_control:8.1f} us")
    print(f"  ratio to the control: {per_record / per_control:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
