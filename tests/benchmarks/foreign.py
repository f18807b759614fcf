"""What results of other tools cost: a dry run over verifiers' results against one over our own rows of the same games.

    uv run python -m tests.benchmarks.foreign
    uv run python -m tests.benchmarks.foreign --rollouts 20000

Foreign rows record no verdicts, so each is replayed. Both folders are read as `analysis.py` reads its own.
"""

import argparse
import json
import sys
import tempfile
from itertools import count
from pathlib import Path

from connections_env.records import Rollout
from tests.benchmarks.analysis import PUZZLES, measure, write_results
from tests.rollouts import board, puzzle_file

PLAIN = {ord(sign): None for sign in "`[]"}  # real models write bare words and commas
TELLING = "You are playing a game of word groups. Answer with <guess>A, B, C, D</guess>, one guess a message."


def in_verifiers(row: Rollout) -> str:
    """The game of a row as a verifiers evaluation writes it down: no verdicts, no ids, other words around the board."""
    puzzle = row.puzzle
    assert puzzle is not None
    groups = [{"name": group.theme, "level": n, "words": list(group.members)} for n, group in enumerate(puzzle.groups)]
    said = [
        {"role": message.role, "content": f"{message.reasoning_content}\n{message.content}".translate(PLAIN)}
        if message.role == "assistant"
        else {"role": message.role, "content": "CORRECT"}
        for message in row.completion
    ]
    told = [{"role": "system", "content": TELLING}, {"role": "user", "content": ", ".join(puzzle.items)}]
    info = {"game_id": puzzle.puzzle_id, "shuffled_words": list(puzzle.items), "groups": groups}
    return json.dumps(
        {
            "example_id": 0,
            "prompt": told,
            "completion": said,
            "info": info,
            "reward": row.reward,
            "error": None,
            "stop_condition": "game_won",
            "metrics": {"groups_found_metric": row.metrics["groups_found"]},
        },
        ensure_ascii=False,
    )


def write_foreign(own: Path, folder: Path) -> float:
    """The games of our rows as other rows; gives the size of all in MB."""
    known: dict[str, str] = {}
    number = count()  # no two rows are alike, or they would be copies of one
    for path in sorted(own.glob("results_*.jsonl")):
        with path.open(encoding="utf-8") as lines, (folder / path.name).open("w", encoding="utf-8") as out:
            for line in lines:
                game = line[line.index('"prompt"') : line.index('"usage"')]  # all but its ids
                if game not in known:
                    known[game] = in_verifiers(Rollout.model_validate_json(line))
                out.write(known[game][:-1] + f', "nth": {next(number)}}}\n')
    return sum(path.stat().st_size for path in folder.glob("results_*.jsonl")) / 1e6


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=100_000)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        own, other = Path(name) / "own", Path(name) / "other"
        puzzles = puzzle_file(Path(name) / "puzzles.jsonl", [board(n) for n in range(PUZZLES)])
        own.mkdir()
        other.mkdir()
        sizes = write_results(own, args.rollouts), write_foreign(own, other)
        print(
            f"  {args.rollouts} rollouts of {PUZZLES} puzzles, {sizes[0]:.0f} MB ours, {sizes[1]:.0f} MB of verifiers"
        )
        found = [measure("dry run", folder, puzzles) for folder in (own, other)]
    for what, (seconds, memory) in zip(("ours", "verifiers"), found, strict=True):
        print(f"  {what:<11} {seconds:7.2f} s  {memory:7.0f} MB")
    (ours, our_memory), (theirs, their_memory) = found
    print(f"  times the time of ours: {theirs / ours:.2f}   of its memory: {their_memory / our_memory:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
