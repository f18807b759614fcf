"""Step 6: checks every good game once more and writes the dataset, one row a puzzle.

Reads good_examples_reduced.jsonl and doctored_gameplay_reduced.jsonl. Writes sft_examples.jsonl, and beside it
sft_rejects.jsonl (what was refused, and why) and rerun_puzzles.txt (puzzles still without a row). Drops rows that the
game itself would not have produced, that are over a token limit or held out, and all but the best row of a puzzle.

    uv run python collate.py
    uv run python collate.py good_examples.jsonl --exclude my_test_puzzles.jsonl --strict
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from connections_env import report as report_page
from connections_env.command import exit_status
from connections_env.dataset import FORMATS, Format, SftRow, build_row, sft_line
from connections_env.examples import ID_PREFIX, GoodRow, looks_like
from connections_env.files import read_lines, results_number, shown
from connections_env.flags import UsageError, add_flags, command_parser
from connections_env.heldout import HeldOut, hold_out, hold_out_other_splits
from connections_env.play import Disagrees
from connections_env.quality import Rank, facts_of, rank
from connections_env.records import BadRow, FutureRow, first_problem, read_object
from connections_env.report_source import of_examples
from connections_env.steps import MADE_BY as STEP_FILES
from connections_env.steps import check_input, check_writable, lines_of, replace_files, rerun_list, spare_row
from connections_env.tables import distribution_table, reasons_table, share
from connections_env.terminal import Reporter, notify
from connections_env.tokens import Limits, Tokenizer, limits_of, load_tokenizer
from connections_env.validation import Requirements, problems

INPUTS = ("good_examples_reduced.jsonl", "doctored_gameplay_reduced.jsonl")
OUTPUT, REJECTS, RERUN = "sft_examples.jsonl", "sft_rejects.jsonl", "rerun_puzzles.txt"


class WrongKind(BadRow):
    """A row of another file than this step reads."""


class WrongLength(BadRow):
    """A row with more or fewer replies than it records."""


@dataclass(frozen=True)
class Candidate:
    """A row of an input, and where it lies."""

    row: GoodRow
    place: str
    nth: int
    """Of all lines of all inputs."""
    faults: tuple[str, ...] = ()
    """Problems of the line that reading it into a row would hide."""

    @property
    def key(self) -> str:
        """The same for rows of the same board."""
        puzzle = self.row.puzzle
        return puzzle.key if puzzle else self.row.info.puzzle_id

    @property
    def rank(self) -> Rank:
        return rank(facts_of(self.row), kept=0)


@dataclass(frozen=True)
class Reject:
    """A line of `sft_rejects.jsonl`. Ids are None where the line does not tell them."""

    place: str
    puzzle_id: str | None
    rollout_id: str | None
    reasons: list[str]
    """Each `reason: detail`; the first one is the one that is counted."""

    @property
    def reason(self) -> str:
        return self.reasons[0].partition(": ")[0]


@dataclass
class Outcome:
    """What became of the rows of the inputs: `read` is `accepted - spares_used + better_in + rejects of rows`."""

    read: int = 0
    wrong_kind: int = 0
    """Lines that are rows of another kind of file, or none at all."""
    rows: list[SftRow] = field(default_factory=list)
    written: bool = False
    better_in: int = 0
    """Rows of puzzles of which a better row is in the dataset."""
    rejects: list[Reject] = field(default_factory=list)
    """Rows of the inputs that were refused."""
    spare_rejects: list[Reject] = field(default_factory=list)
    """Other rollouts of their puzzles, looked up in results files, that were refused too."""
    spares_used: int = 0
    without_row: list[str] = field(default_factory=list)
    """Ids of the puzzles that another game could still bring in."""
    held_out: HeldOut = field(default_factory=HeldOut)

    @property
    def accepted(self) -> int:
        return len(self.rows)


# Reading the inputs


def read_candidates(inputs: Iterable[Path], outcome: Outcome, report: Callable[[str], None]) -> Iterator[Candidate]:
    """The good games in the inputs; lines that are none are rejects. Raises `FutureRow` with the place."""
    for path in inputs:
        for line in read_lines(path):
            place = f"{shown(path)}:{line.number}"
            outcome.read += 1
            try:
                row, faults = read_good(line.data)
            except FutureRow as error:
                raise FutureRow(f"{place}: {error}") from None
            except BadRow as error:
                report(f"{place}: {error}; skipped")
                outcome.wrong_kind += isinstance(error, WrongKind)
                reason = f"turns missing: {error}" if isinstance(error, WrongLength) else f"unreadable: {error}"
                outcome.rejects.append(Reject(place, *_labels(line.data), [reason]))
                continue
            yield Candidate(row, place, outcome.read, faults)


def read_good(data: bytes) -> tuple[GoodRow, tuple[str, ...]]:
    """A line as a good example, and the keys of its messages that are not theirs. Raises `BadRow`, `FutureRow`."""
    raw = read_object(data)
    if raw.get("kind") != "good":
        raise WrongKind(f"expected a good example, this looks like {looks_like(raw)}")
    try:
        row = GoodRow.model_validate(raw)
    except ValidationError as error:
        # Only what a whole row says of itself has no field to its name: that its lists are of one length.
        raise (BadRow if error.errors()[0]["loc"] else WrongLength)(first_problem(error)) from None
    extra = {key for message in (*raw["prompt"], *raw["completion"]) for key in message} - {"role", "content"}
    return row, tuple(f"extra key: a message has {key!r} beside role and content" for key in sorted(extra))


def _labels(data: bytes) -> tuple[str | None, str | None]:
    """Puzzle id and rollout id of a line that is no good example, as far as it tells them."""
    try:
        raw = json.loads(data)
        named = raw["info"]["puzzle_id"], raw["rollout_id"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None, None
    return named if all(isinstance(name, str) for name in named) else (None, None)


# Choosing and building rows


def choose(group: Sequence[Candidate], need: Requirements, outcome: Outcome) -> tuple[int, GoodRow] | None:
    """The best row of a puzzle that holds, and its place in the order; None if neither its rows nor their spares do."""
    ordered = sorted(group, key=lambda candidate: (candidate.rank, candidate.nth))
    for passed, candidate in enumerate(ordered):
        if found := [*candidate.faults, *problems(candidate.row, need)]:
            info = candidate.row.info
            outcome.rejects.append(Reject(candidate.place, info.puzzle_id, candidate.row.rollout_id, found))
        else:
            outcome.better_in += len(ordered) - passed - 1
            return candidate.nth, candidate.row
    if need.held_out.where(ordered[0].row):
        return None  # and so are its spares
    for place in dict.fromkeys(place for candidate in ordered for place in candidate.row.spares):
        spare = None
        try:
            spare = spare_row(place, ordered[0].key)
            found = problems(spare, need)
        except (BadRow, FutureRow, Disagrees, OSError) as error:
            found = [f"spare cannot be used: {error}"]
        if spare and not found:
            outcome.spares_used += 1
            return ordered[0].nth, spare
        puzzle_id = ordered[0].row.info.puzzle_id
        where = f"{place.file}, byte {place.offset}"
        rollout_id = spare.rollout_id if spare else None
        outcome.spare_rejects.append(Reject(where, puzzle_id, rollout_id, found))
    return None


# The step


def run(
    inputs: Sequence[Path],
    output: Path,
    *,
    tokenizer: Tokenizer,
    limits: Limits,
    exclude: Iterable[str] = (),
    default_exclude: bool = True,
    allow_simulated: bool = False,
    layout: Format = "trl",
    strict: bool = False,
    report: Callable[[str], None] = notify,
) -> Outcome:
    """Writes the dataset, and the rejects and the puzzles without a row beside it.

    Without a single row, or with a reject where `strict`, `output` stays as it was.
    Raises `UsageError`, `SourceError`, `FutureRow`, OSError.
    """
    check_output(output, inputs)
    outcome, held_out = Outcome(), HeldOut()
    for what in exclude:
        hold_out(held_out, what)
    candidates = list(read_candidates(inputs, outcome, report))
    if default_exclude:
        hold_out_other_splits(held_out, (candidate.row for candidate in candidates), notify)
    if outcome.read and outcome.wrong_kind == outcome.read:
        raise BadRow(f"{' and '.join(map(shown, inputs))}: no good example in it; nothing was written")
    real = any(not candidate.row.simulated for candidate in candidates)
    need = Requirements(tokenizer, limits, held_out, refuse_simulated=real and not allow_simulated)
    outcome.held_out = held_out

    by_puzzle: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_puzzle.setdefault(candidate.key, []).append(candidate)
    chosen = []
    without_row = [reject.puzzle_id for reject in outcome.rejects if reject.puzzle_id]
    known = {candidate.row.info.puzzle_id for candidate in candidates}
    outcome.without_row = [puzzle_id for puzzle_id in dict.fromkeys(without_row) if puzzle_id not in known]
    for group in by_puzzle.values():
        if found := choose(group, need, outcome):
            chosen.append(found)
        elif not held_out.where(group[0].row):
            outcome.without_row.append(group[0].row.info.puzzle_id)
    outcome.rows = [build_row(row, tokenizer) for _, row in sorted(chosen, key=lambda one: one[0])]

    outcome.written = bool(outcome.rows) and not (strict and outcome.rejects)
    kept = {row.puzzle_id.removeprefix(ID_PREFIX) for row in outcome.rows if outcome.written}
    rejects, rerun = output.with_name(REJECTS), output.with_name(RERUN)
    files: dict[Path, Iterable[str]] = {
        rejects: lines_of(
            json.dumps(vars(one), ensure_ascii=False) for one in (*outcome.rejects, *outcome.spare_rejects)
        ),
        rerun: lines_of(rerun_list(rerun, kept, outcome.without_row)),
    }
    if outcome.written:
        files[output] = (sft_line(row, layout) for row in outcome.rows)
    replace_files(files)
    return outcome


def check_output(output: Path, inputs: Sequence[Path] = ()) -> None:
    """Raises `UsageError` for a dataset that would replace a file of another kind."""
    taken = output.name in (*STEP_FILES, REJECTS, RERUN) or results_number(output) is not None
    if taken or output.resolve() in {path.resolve() for path in inputs}:
        raise UsageError(f"{shown(output)} is the name of another file of ours; choose another output")
    if output.is_dir():
        raise UsageError(f"{shown(output)} is a folder; name a file in it")


def summary(outcome: Outcome, output: Path) -> str:
    """What became of the rows, and what is in the dataset."""
    rows, rejects = outcome.rows, outcome.rejects + outcome.spare_rejects
    became = Counter(
        {
            "accepted" if outcome.written else "fit": len(rows) - outcome.spares_used,
            "a better row of the puzzle is in": outcome.better_in,
        }
    )
    became.update(f"rejected, {reject.reason}" for reject in outcome.rejects)
    if outcome.written:
        head = f"rows read: {outcome.read}, examples written: {len(rows)} -> {shown(output)}"
    else:
        why = f"{len(rows)} fit, but --strict takes no rejects" if rows else "none fit for the dataset"
        head = f"rows read: {outcome.read}, {why}; {shown(output)} was not written"
    parts = [
        head,
        reasons_table(became, outcome.read),
        _notes(outcome, output, rejects),
    ]
    if rows:
        perfect = sum(row.accuracy == 1 for row in rows)
        kinds = Counter(f"doctoring type {row.doctoring_type}" for row in rows)
        parts += [
            f"{reasons_table(kinds, len(rows))}\n  perfect games: {share(perfect, len(rows))}",
            distribution_table(
                {
                    "reward": [row.reward for row in rows],
                    "accuracy": [row.accuracy for row in rows],
                    "turns": [row.num_turns for row in rows],
                    "longest reply, tokens": [row.max_reply_tokens for row in rows],
                    "total tokens": [row.num_tokens for row in rows],
                }
            ),
        ]
    return "\n\n".join(filter(None, parts))


def _notes(outcome: Outcome, output: Path, rejects: Sequence[Reject]) -> str:
    simulated = sum(row.simulated for row in outcome.rows)
    notes = []
    if simulated:
        who = "all examples" if simulated == outcome.accepted else f"{simulated} of {outcome.accepted} examples"
        notes.append(f"simulated, played by no model: {who}; for trying things out")
    if outcome.spares_used or outcome.spare_rejects:
        tried = outcome.spares_used + len(outcome.spare_rejects)
        notes.append(f"other rollouts tried where no row of a puzzle held: {tried}, {outcome.spares_used} accepted")
    if held := Counter([*outcome.held_out.boards.values(), *outcome.held_out.ids.values()]):
        refused = sum(reject.reason == "held out" for reject in rejects)
        which = ", ".join(f"{count} of {name}" for name, count in held.items())
        notes.append(f"puzzles that may not be in: {which}; rows refused for it: {refused}")
    if rejects:
        notes.append(f"rejects, with all their reasons: {len(rejects)} -> {shown(output.with_name(REJECTS))}")
    if outcome.without_row:
        where = f"{shown(output.with_name(RERUN))}, for generate_rollouts.py --puzzle-ids-file"
        notes.append(f"puzzles without a row: {len(outcome.without_row)} -> {where}")
    return "\n".join(notes)


def existing_inputs(given: list[Path], folder: Path) -> list[Path]:
    """The inputs, known to be there; without any given, those that step 5 writes. Raises `UsageError`."""
    for path in given:
        check_input(path)
        if path.name == OUTPUT:
            raise UsageError(f"{shown(path)} is what this step writes, not what it reads: give it good examples")
    if given:
        return given
    found = []
    for path in (folder / name for name in INPUTS):
        unreduced = path.with_name(path.name.replace("_reduced", ""))
        if path.is_file():
            found.append(path)
        elif unreduced.is_file():
            raise UsageError(
                f"no such file: {shown(path)}, but {shown(unreduced)} is there; reduce it with: uv run python "
                f"reduce_tokens.py, or give it as it is: uv run python collate.py {shown(unreduced)}"
            )
        elif found:
            notify(f"no {shown(path)}: no doctored games, going on with {shown(found[0])} alone")
        else:
            check_input(path)
    return found


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument(
        "inputs",
        nargs="*",
        type=Path,
        metavar="GOOD",
        help=f"good games; default {' and '.join(INPUTS)} in --output-dir",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="SOURCE",
        help="hold out these puzzles: a file, a dataset id, builtin, any of them with :SPLIT, or a .txt file of ids; "
        "may be given more than once",
    )
    parser.add_argument(
        "--no-default-exclude", action="store_true", help="do not hold out the other splits of the rows' own sources"
    )
    parser.add_argument("--allow-simulated", action="store_true", help="take simulated games beside real ones")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="trl",
        help="trl: prompt and completion (default); messages: one list of messages",
    )
    parser.add_argument(
        "--strict", action="store_true", help="write no dataset and exit with 1 if any row was rejected"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be read")
    add_flags(parser, "files", "tokens", "prices", "report")
    return parser.parse_args(argv)


def _collate(args: argparse.Namespace) -> int:
    report_page.check(args)
    check_writable(args.output_dir)
    inputs, output = existing_inputs(args.inputs, args.output_dir), args.output_dir / OUTPUT
    report = Reporter(args.verbose)
    outcome = run(
        inputs,
        output,
        tokenizer=load_tokenizer(args.tokenizer),
        limits=limits_of(args),
        exclude=args.exclude,
        default_exclude=not args.no_default_exclude,
        allow_simulated=args.allow_simulated,
        layout=args.format,
        strict=args.strict,
        report=report,
    )
    report.finish()
    print(summary(outcome, output))
    if report_page.wanted(args):
        refused = {reject.place: reject.reason for reject in outcome.rejects}
        games = of_examples(inputs, [row.rollout_id for row in outcome.rows], refused, outcome.spares_used)
        report_page.make(args, games, limits_of(args), load_tokenizer(args.tokenizer))
    return 0 if outcome.written else 1


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: _collate(args))


if __name__ == "__main__":
    sys.exit(main())
