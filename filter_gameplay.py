"""Step 2: sorts results into good examples and bad ones, the best rollout of each puzzle.

Reads results files, or folders of them; writes good_examples.jsonl (canonical form), bad_examples.jsonl, and the ids of
the puzzles without a good rollout to rerun_puzzles.txt, which later steps bring up to date; drops every rollout but a
puzzle's best, and counts what it drops.

    uv run python filter_gameplay.py
    uv run python filter_gameplay.py generate_results/offline --puzzles builtin --export-rerun-puzzles
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connections_env import report as reports
from connections_env.arguments import UsageError, command_parser
from connections_env.candidates import Candidate
from connections_env.command import exit_status
from connections_env.examples import GoodRow, Place, RejectedRow, canonical_row, count_row
from connections_env.files import OFFLINE, packed_results, results_files, shown
from connections_env.flags import add_flags
from connections_env.json_lines import BadRow
from connections_env.play import Disagrees, replay_rollout
from connections_env.puzzles import Puzzle, board_key
from connections_env.report_source import of_results
from connections_env.sources import chosen_puzzles
from connections_env.standings import UNUSED, Standings, fetch, keys_of
from connections_env.steps import check_writable, lines_of, replace_files
from connections_env.tables import distribution_table, reasons_table
from connections_env.terminal import Reporter, counted, notify
from connections_env.tokens import Limits, Tokenizer, load_tokenizer

RESULTS = Path(__file__).parent / "generate_results"
GOOD, BAD, RERUN = "good_examples.jsonl", "bad_examples.jsonl", "rerun_puzzles.txt"


@dataclass
class Sorted:
    """The best rollout of each puzzle."""

    good: list[GoodRow] = field(default_factory=list)
    bad: list[RejectedRow] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """Rollouts that are in neither list, by reason."""
    to_rerun: list[str] = field(default_factory=list)
    """Ids of the puzzles that have no good rollout."""
    standings: Standings | None = None
    """What they were chosen from."""


def results_of(inputs: list[Path]) -> list[Path]:
    """The files among the inputs and the results files in the folders. Raises `UsageError`."""
    files: list[Path] = []
    for path in inputs:
        found = [path] if path.is_file() else results_files(path) if path.is_dir() else []
        if not found:
            if compressed := packed_results(path):
                raise UsageError(f"{shown(compressed[0])} is compressed; unpack it")
            what = f"{'no results in' if path.is_dir() else 'no such file or folder:'} {shown(path)}"
            if results_files(path / OFFLINE):
                raise UsageError(f"{what} itself; name {shown(path / OFFLINE)} for those of the simulated player")
            raise UsageError(f"{what}; make some results with: uv run python generate_rollouts.py")
        files += found
    return list(dict.fromkeys(files))


def sort_out(standings: Standings, keys: set[str] | None = None) -> Sorted:
    """Walks each puzzle's rollouts from best to worst: the first good one, else the best bad one, that holds.

    `keys` chooses puzzles by the names of `standings.keys_of`; None takes all.
    """
    result = Sorted()
    pending = [key for key in standings.by_puzzle if keys is None or key in keys]
    while pending:
        exhausted = {key for key in pending if not _take_best(key, standings, result)}
        pending = sorted(standings.recall(exhausted))
    written = len(result.good) + len(result.bad)
    left_out = sum(rows for key, rows in standings.rows_of.items() if keys is not None and key not in keys)
    if left_out:
        result.dropped["puzzle not chosen"] = left_out
    passed_over = standings.counts["counted"] - written - result.dropped.total()
    result.dropped["another rollout of the puzzle is better"] = passed_over
    return result


def _take_best(key: str, standings: Standings, result: Sorted) -> bool:
    """Adds the best rollout of a puzzle that is what its row says; False where there is none."""
    for candidate in list(standings.by_puzzle[key]):
        try:
            rollout = fetch(candidate)
            if not rollout.info.all_words:
                raise BadRow("names no board, so it can be counted but not exported")
            if candidate.good:
                result.good.append(canonical_row(rollout, spares=_spares(candidate, standings.by_puzzle[key])))
            else:
                replay_rollout(rollout)
                result.bad.append(RejectedRow(**dict(rollout), rejection=candidate.why_bad or ""))
            return True
        except (Disagrees, BadRow) as error:
            result.dropped[str(error)] += 1
            standings.drop(key, candidate)
    return False


def _spares(chosen: Candidate, candidates: list[Candidate]) -> list[Place]:
    return [Place(file=str(one.path.absolute()), offset=one.offset) for one in candidates if one.good and one != chosen]


def figures(rows: list[GoodRow], tokenizer: Tokenizer) -> dict[str, list[float]]:
    """Name -> a number for each row, or for each reply."""
    counts = [count_row(row, tokenizer) for row in rows]
    return {
        "turns": [float(len(row.reply_tokens)) for row in rows],
        "completion tokens": [float(count.completion) for count in counts],
        "tokens per reply": [float(tokens) for count in counts for tokens in count.replies],
        "total tokens": [float(count.sequence) for count in counts],
        "reward": [row.reward for row in rows],
    }


def run(
    inputs: list[Path],
    output_dir: Path,
    args: argparse.Namespace,
    keys: set[str] | None = None,
    source: Sequence[Puzzle] = (),
) -> Sorted:
    """Reads the inputs and writes both streams, and which puzzles are to be run again, those of `source` among them.

    Where there is no row for either stream, all files stay as they were.
    """
    report, files = Reporter(args.verbose), results_of(inputs)
    if taken := {path.resolve() for path in files} & {(output_dir / name).resolve() for name in (GOOD, BAD)}:
        raise UsageError(f"{shown(taken.pop())} is what this step writes; choose another --output-dir, or give results")
    for path in (packed for folder in inputs for packed in packed_results(folder)):
        notify(f"{shown(path)}: compressed, and so not read; unpack it")
    standings = Standings(args.ruleset, report=report)
    standings.read(files)
    report.finish()
    if standings.mixed:
        notify(standings.account())
    result = sort_out(standings, keys)
    result.dropped |= {name: standings.counts[name] for name in UNUSED}
    result.dropped["unreadable"] = standings.unreadable.total()
    result.dropped["torn last line"] = standings.torn
    if result.good or result.bad:
        result.to_rerun = rerun_ids(result, source)
        replace_files(
            {
                output_dir / GOOD: lines_of(row.to_line() for row in result.good),
                output_dir / BAD: lines_of(row.to_line() for row in result.bad),
                output_dir / RERUN: lines_of(result.to_rerun),
            }
        )
    result.standings = standings
    return result


def summary(result: Sorted, output_dir: Path, tokenizer: Tokenizer) -> str:
    total = len(result.good) + len(result.bad)
    good, bad = shown(output_dir / GOOD), shown(output_dir / BAD)
    parts = [
        f"{counted(total, 'puzzle')}: {len(result.good)} good -> {good}, {len(result.bad)} bad -> {bad}"
        if total
        else f"no rollout to export; {good} and {bad} were not written",
        distribution_table(figures(result.good, tokenizer)),
    ]
    if result.bad:
        parts += ["Why the bad ones are bad:", reasons_table(Counter(row.rejection for row in result.bad), total)]
    if result.dropped.total():
        parts += ["Rollouts in neither:", reasons_table(result.dropped, total + result.dropped.total())]
    return "\n\n".join(filter(None, parts))


def rerun_ids(result: Sorted, source: Sequence[Puzzle]) -> list[str]:
    """Ids of the puzzles that have no good rollout: those of a source, bad or missing, and then the other bad ones."""
    known = {board_key(row.info.all_words) for row in result.good}
    listed = [puzzle.puzzle_id for puzzle in source if puzzle.key not in known]
    known |= {puzzle.key for puzzle in source}
    listed += [row.info.puzzle_id for row in result.bad if board_key(row.info.all_words) not in known]
    return list(dict.fromkeys(listed))


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument(
        "inputs", nargs="*", type=Path, default=[RESULTS], metavar="RESULTS", help="results files or folders of them"
    )
    parser.add_argument(
        "--export-rerun-puzzles",
        action="store_true",
        help=f"list in {RERUN} not only the bad puzzles but also those of --puzzles that are missing",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be read")
    add_flags(parser, "files", "puzzles", "tokens.tokenizer", "prices", "report")
    return parser.parse_args(argv)


def _filter(args: argparse.Namespace) -> int:
    reports.check(args)
    check_writable(args.output_dir)
    tokenizer, puzzles = load_tokenizer(args.tokenizer), list[Puzzle]()
    chosen = any((args.puzzles, args.split, args.puzzle_ids_file, args.num_examples))
    if chosen or args.export_rerun_puzzles:
        puzzles = chosen_puzzles(args, notify)
    source = puzzles if args.export_rerun_puzzles else []
    result = run(args.inputs, args.output_dir, args, keys_of(puzzles) if chosen else None, source)
    print(summary(result, args.output_dir, tokenizer))
    found = bool(result.good or result.bad)
    if found:
        print(f"\n{counted(len(result.to_rerun), 'puzzle')} to run again -> {shown(args.output_dir / RERUN)}")
    if result.standings and reports.wanted(args):
        games = of_results(result.standings, results_of(args.inputs), puzzles if chosen else None)
        reports.make(args, games, Limits())
    return 0 if found else 1


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: _filter(args))


if __name__ == "__main__":
    sys.exit(main())
