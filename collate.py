"""Step 6: checks every good game once more and writes the dataset, one row a puzzle.

Reads good_examples_reduced.jsonl and doctored_gameplay_reduced.jsonl. Writes sft_examples.jsonl, or the folder
sft_dataset with --format hf, and beside it sft_rejects.jsonl (what was refused, and why) and rerun_puzzles.txt (puzzles
still without a row). Drops rows that the game itself would not have produced, that a trainer could not load as they
are, that are over a token limit or held out, and all but the best row of a puzzle.

    uv run python collate.py
    uv run python collate.py good_examples.jsonl --exclude my_test_puzzles.jsonl --strict
    uv run python collate.py --format hf --license cc-by-4.0
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from connections_env import report as reports
from connections_env.arguments import UsageError, command_parser
from connections_env.card_head import boundary_of
from connections_env.collation_tables import summary
from connections_env.command import exit_status
from connections_env.examples import GoodRow
from connections_env.export import Export, add_export_flags, export_of
from connections_env.files import shown
from connections_env.flags import add_flags
from connections_env.folders import bring_back, new_folder
from connections_env.heldout import HeldOut, hold_out, hold_out_other_splits
from connections_env.hf_folder import check_ours, folder_boundary, key_of
from connections_env.hub import Published, check_can_agree, check_login, look, push
from connections_env.json_lines import BadRow
from connections_env.outputs import REJECTS, RERUN, check_output, dataset_files, hf_files
from connections_env.report_source import of_examples
from connections_env.selection import Outcome, choose_all, read_candidates
from connections_env.signals import held_back
from connections_env.splits import Boundary, boundary_for, check_published, moved, whole_sources
from connections_env.steps import check_input, check_writable, lines_of, output_dir_flag, replace_files, rerun_list
from connections_env.terminal import Reporter, counted, notify
from connections_env.tokens import Limits, Tokenizer, limits_of, load_tokenizer
from connections_env.validation import Requirements

INPUTS = ("good_examples_reduced.jsonl", "doctored_gameplay_reduced.jsonl")
OUTPUT, FOLDER = "sft_examples.jsonl", "sft_dataset"


def run(
    inputs: Sequence[Path],
    output: Path,
    *,
    tokenizer: Tokenizer,
    limits: Limits,
    exclude: Iterable[str] = (),
    default_exclude: bool = True,
    allow_simulated: bool = False,
    export: Export = Export(),  # noqa: B008  (frozen)
    published: Boundary | None = None,
    strict: bool = False,
    report: Callable[[str], None] = notify,
) -> Outcome:
    """Writes the dataset, and the rejects and the puzzles without a row beside it: what cannot be written whole is not.

    Without a single row, or with a reject where `strict`, `output` stays as it was. `published` is the boundary between
    the splits of the dataset that a folder is to replace on the hub.
    Raises `UsageError`, `SourceError`, `FutureRow`, OSError.
    """
    if export.layout == "hf":
        bring_back(output)
    check_output(output, inputs, export)
    outcome, held_out = Outcome(), HeldOut()
    for what in exclude:
        hold_out(held_out, what)
    candidates = list(read_candidates(inputs, outcome, report))
    if default_exclude:
        hold_out_other_splits(held_out, (candidate.row for candidate in candidates), notify)
    if outcome.read and outcome.wrong_kind == outcome.read:
        raise BadRow(f"{' and '.join(map(shown, inputs))}: no good example in it; give it {' or '.join(INPUTS)}")
    real = any(not candidate.row.simulated for candidate in candidates)
    need = Requirements(tokenizer, limits, held_out, refuse_simulated=real and not allow_simulated)
    outcome.held_out = held_out

    choose_all(candidates, need, export, outcome)
    outcome.written = bool(outcome.games) and not (strict and outcome.rejects)
    kept = set(outcome.with_row if outcome.written else [])
    rejects, rerun = output.with_name(REJECTS), output.with_name(RERUN)
    outcome.without_row = rerun_list(rerun, kept, outcome.without_row)
    files: dict[Path, Iterable[str] | bytes] = {
        rejects: lines_of(
            json.dumps(vars(one), ensure_ascii=False) for one in (*outcome.rejects, *outcome.spare_rejects)
        ),
        rerun: lines_of(outcome.without_row),
    }
    if not outcome.written:
        replace_files(files)
    elif export.layout == "hf":
        folder = _folder((one.row for one in candidates), outcome, output, export, limits, published)
        with new_folder(output, folder, check_ours) as put_in_place, held_back():
            replace_files(files)
            put_in_place()
    else:
        replace_files(files | dataset_files(outcome.games, output, export))
    return outcome


def _folder(
    rows: Iterable[GoodRow], outcome: Outcome, output: Path, export: Export, limits: Limits, published: Boundary | None
) -> dict[str, bytes]:
    """The files of the folder; says so where puzzles change sides by it. Raises `BadRow`."""
    before = folder_boundary(output)
    earlier = [one for one in (published, before) if one]
    outcome.boundary = boundary_for(export.test_size, earlier, lambda: whole_sources(rows, notify))
    files = hf_files(outcome, output, export, limits)
    if before and (changed := moved(before, outcome.boundary, map(key_of, outcome.rows))):
        puzzles = counted(changed, "puzzle is", "puzzles are")
        notify(f"{puzzles} on another side, train or test, than in the {shown(output)} that this one replaces")
    return files


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
            beside = output_dir_flag(path.parent)
            raise UsageError(
                f"no such file: {shown(path)}, but {shown(unreduced)} is there; reduce it with: uv run python "
                f"reduce_tokens.py{beside}, or give it as it is: uv run python collate.py {shown(unreduced)}{beside}"
            )
        elif found:
            notify(f"no {shown(path)}: reading {shown(found[0])} alone")
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
        "--output", type=Path, metavar="PATH", help=f"default {OUTPUT}, for hf the folder {FOLDER}, in --output-dir"
    )
    parser.add_argument(
        "--strict", action="store_true", help="write no dataset and exit with 1 if any row was rejected"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be read")
    add_export_flags(parser)
    add_flags(parser, "files", "tokens", "prices", "report")
    return parser.parse_args(argv)


def _collate(args: argparse.Namespace) -> int:
    export = export_of(args)
    output = args.output or args.output_dir / (FOLDER if export.layout == "hf" else OUTPUT)
    reports.check(args)
    check_writable(args.output_dir)
    check_writable(output.absolute().parent)
    inputs = existing_inputs(args.inputs, args.output_dir)
    there = _published(export, args.yes) if export.hub_id else None
    published = boundary_of(there.card) if there else None
    report = Reporter(args.verbose)
    outcome = run(
        inputs,
        output,
        tokenizer=load_tokenizer(args.tokenizer),
        limits=limits_of(args),
        exclude=args.exclude,
        default_exclude=not args.no_default_exclude,
        allow_simulated=args.allow_simulated,
        export=export,
        published=published,
        strict=args.strict,
        report=report,
    )
    report.finish()
    print(summary(outcome, output))
    try:
        if outcome.written and export.hub_id:
            sys.stdout.flush()
            print(f"\nsent to {push(output, export.hub_id, there, yes=args.yes)}")
    finally:  # whatever became of the sending
        if reports.wanted(args):
            refused = {reject.place: reject.reason for reject in outcome.rejects}
            games = of_examples(inputs, [row.rollout_id for row in outcome.rows], refused, outcome.spares_used)
            reports.make(args, games, limits_of(args), load_tokenizer(args.tokenizer))
    return 0 if outcome.written else 1


def _published(export: Export, yes: bool) -> Published | None:
    """The dataset that is to be replaced on the hub, known to be split in the same way."""
    check_login()
    there = look(export.hub_id)
    if there and not yes:
        check_can_agree(export.hub_id)
    if there and (boundary := boundary_of(there.card)):
        check_published(export.test_size, boundary, f"{export.hub_id} on the hub")
    elif there:
        notify(f"{export.hub_id} on the hub does not tell how it was split, so its puzzles may change sides")
    return there


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: _collate(args))


if __name__ == "__main__":
    sys.exit(main())
