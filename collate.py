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
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from connections_env.card import About
from connections_env.command import exit_status
from connections_env.dataset import SftRow, build_row
from connections_env.examples import ID_PREFIX, GoodRow, looks_like
from connections_env.files import read_lines, results_number, shown
from connections_env.flags import UsageError, add_flags, command_parser
from connections_env.formats import DATASET_INFO, Export, check_export, dataset_info, jsonl, parquet, rows_of
from connections_env.heldout import HeldOut, hold_out, hold_out_other_splits
from connections_env.hf_folder import Game, NewFolder, check_folder, folder_files, split_games
from connections_env.hub import check_login, hub_id, push
from connections_env.loadable import unloadable
from connections_env.play import Disagrees
from connections_env.quality import Rank, facts_of, rank
from connections_env.records import BadRow, FutureRow, first_problem, read_object
from connections_env.schema import FORMATS, REASONINGS
from connections_env.splits import share_or_number
from connections_env.steps import MADE_BY as STEP_FILES
from connections_env.steps import check_input, check_writable, lines_of, replace_files, rerun_list, spare_row
from connections_env.tables import distribution_table, reasons_table, share
from connections_env.terminal import Reporter, notify
from connections_env.tokens import Limits, Tokenizer, limits_of, load_tokenizer
from connections_env.validation import Requirements, problems

INPUTS = ("good_examples_reduced.jsonl", "doctored_gameplay_reduced.jsonl")
OUTPUT, REJECTS, RERUN = "sft_examples.jsonl", "sft_rejects.jsonl", "rerun_puzzles.txt"
FOLDER, TEST_SIZE = "sft_dataset", 0.1


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
    games: list[Game] = field(default_factory=list)
    """What is in the dataset, and its rows in the layouts that are written."""
    splits: dict[str, int] = field(default_factory=dict)
    """Games by split, where there are splits."""
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
    def rows(self) -> list[SftRow]:
        return [row for row, _ in self.games]

    @property
    def accepted(self) -> int:
        return len(self.games)


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


def choose(group: Sequence[Candidate], need: Requirements, export: Export, outcome: Outcome) -> tuple[int, Game] | None:
    """The best row of a puzzle that holds, and its place in the order; None if neither its rows nor their spares do."""
    ordered = sorted(group, key=lambda candidate: (candidate.rank, candidate.nth))
    for passed, candidate in enumerate(ordered):
        if isinstance(game := built(candidate.row, need, export, candidate.faults), tuple):
            outcome.better_in += len(ordered) - passed - 1
            return candidate.nth, game
        info = candidate.row.info
        outcome.rejects.append(Reject(candidate.place, info.puzzle_id, candidate.row.rollout_id, game))
    if need.held_out.where(ordered[0].row):
        return None  # and so are its spares
    for place in dict.fromkeys(place for candidate in ordered for place in candidate.row.spares):
        spare = None
        try:
            spare = spare_row(place, ordered[0].key)
            game = built(spare, need, export)
        except (BadRow, FutureRow, Disagrees, OSError) as error:
            game = [f"spare cannot be used: {error}"]
        if isinstance(game, tuple):
            outcome.spares_used += 1
            return ordered[0].nth, game
        puzzle_id = ordered[0].row.info.puzzle_id
        where = f"{place.file}, byte {place.offset}"
        rollout_id = spare.rollout_id if spare else None
        outcome.spare_rejects.append(Reject(where, puzzle_id, rollout_id, game))
    return None


def built(row: GoodRow, need: Requirements, export: Export, faults: Sequence[str] = ()) -> Game | list[str]:
    """A row as the dataset has it, or why it may not be in."""
    if found := [*faults, *problems(row, need)]:
        return found
    made = build_row(row, need.tokenizer)
    rows = rows_of(made, export, need.tokenizer)
    found = [why for layout, them in rows.items() for one in them for why in unloadable(one, layout, export.reasoning)]
    return [f"not loadable: {why}" for why in dict.fromkeys(found)] or (made, rows)


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
    export: Export = Export(),  # noqa: B008  (frozen)
    strict: bool = False,
    report: Callable[[str], None] = notify,
) -> Outcome:
    """Writes the dataset, and the rejects and the puzzles without a row beside it: all of it or nothing.

    Without a single row, or with a reject where `strict`, `output` stays as it was.
    Raises `UsageError`, `SourceError`, `FutureRow`, OSError.
    """
    check_output(output, inputs, export)
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
        if found := choose(group, need, export, outcome):
            chosen.append(found)
        elif not held_out.where(group[0].row):
            outcome.without_row.append(group[0].row.info.puzzle_id)
    outcome.games = [game for _, game in sorted(chosen, key=lambda one: one[0])]

    outcome.written = bool(outcome.games) and not (strict and outcome.rejects)
    kept = {row.puzzle_id.removeprefix(ID_PREFIX) for row in outcome.rows if outcome.written}
    rejects, rerun = output.with_name(REJECTS), output.with_name(RERUN)
    files: dict[Path, Iterable[str] | bytes] = {
        rejects: lines_of(
            json.dumps(vars(one), ensure_ascii=False) for one in (*outcome.rejects, *outcome.spare_rejects)
        ),
        rerun: lines_of(rerun_list(rerun, kept, outcome.without_row)),
    }
    if not outcome.written:
        replace_files(files)
    elif export.layout == "hf":
        with NewFolder(output, hf_files(outcome, output, export, limits)) as folder:
            replace_files(files)
            folder.put_in_place()
    else:
        replace_files(files | dataset_files(outcome.games, output, export))
    return outcome


def dataset_files(games: Sequence[Game], output: Path, export: Export) -> dict[Path, Iterable[str] | bytes]:
    """The dataset as one file, with what goes beside it."""
    rows = [row for _, rows in games for row in rows[export.layout]]
    files: dict[Path, Iterable[str] | bytes] = {output: jsonl(rows)}
    if export.parquet:
        files[output.with_suffix(".parquet")] = parquet(rows, export.layout)
    elif output.with_suffix(".parquet").exists():
        notify(f"{shown(output.with_suffix('.parquet'))} is of an earlier run; --parquet writes it anew")
    if export.layout == "messages" and (info := dataset_info(output, export)) is not None:
        files[output.with_name(DATASET_INFO)] = info.encode()
    return files


def hf_files(outcome: Outcome, output: Path, export: Export, limits: Limits) -> dict[str, bytes]:
    """The dataset as a folder. Raises `BadRow` where nothing is left to train on."""
    splits = split_games(outcome.games, export.test_size, output)
    outcome.splits = {split: len(games) for split, games in splits.items()}
    if "train" not in splits:
        raise BadRow(f"--test-size {export.test_size:g} leaves none of {outcome.accepted} games to train on")
    held_out = Counter([*outcome.held_out.boards.values(), *outcome.held_out.ids.values()])
    about = About(export, limits, shown(output.absolute()), outcome.read, +became(outcome), held_out)
    return folder_files(splits, about)


def check_output(output: Path, inputs: Sequence[Path] = (), export: Export = Export()) -> None:  # noqa: B008  (frozen)
    """Raises `UsageError` for a dataset that would replace anything but an earlier dataset."""
    taken = output.name in (*STEP_FILES, REJECTS, RERUN, DATASET_INFO) or results_number(output) is not None
    if taken or output.resolve() in {path.resolve() for path in inputs}:
        raise UsageError(f"{shown(output)} is the name of another file of ours; choose another output")
    if export.layout == "hf":
        check_folder(output)
        return
    if output.suffix == ".parquet":
        raise UsageError(f"{shown(output)}: the rows are written as JSON; name a .jsonl file and add --parquet")
    for path in (output, output.with_suffix(".parquet")) if export.parquet else (output,):
        if path.is_dir():
            raise UsageError(f"{shown(path)} is a folder; name a file in it")
        if path.exists() and not is_dataset(path):
            raise UsageError(f"{shown(path)} is there and no dataset of this step; choose another output")
    if export.layout == "messages":
        dataset_info(output, export)


def is_dataset(path: Path) -> bool:
    """Does a file begin as a dataset of this step does? An empty one may be replaced too."""
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return path.suffix == ".parquet"
        file.seek(0)
        first = file.readline()
    try:
        row = json.loads(first) if first.strip() else {"messages": []}
    except ValueError:
        return False
    # A rollout has a prompt too; what it was played on is in its info.
    return isinstance(row, dict) and "info" not in row and bool(row.keys() & {"prompt", "messages", "conversations"})


def became(outcome: Outcome) -> Counter[str]:
    """What became of the rows read."""
    counts = Counter(
        {
            "accepted" if outcome.written else "fit": outcome.accepted - outcome.spares_used,
            "a better row of the puzzle is in": outcome.better_in,
        }
    )
    counts.update(f"rejected, {reject.reason}" for reject in outcome.rejects)
    return counts


def summary(outcome: Outcome, output: Path) -> str:
    """What became of the rows, and what is in the dataset."""
    rows, rejects = outcome.rows, outcome.rejects + outcome.spare_rejects
    if outcome.written:
        head = f"rows read: {outcome.read}, examples written: {len(rows)} -> {shown(output)}"
        if outcome.splits:
            head += "\n" + ", ".join(f"{split}: {count}" for split, count in outcome.splits.items())
        elif len(outcome.games) != (lines := sum(len(them) for _, made in outcome.games for them in made.values())):
            head += f"\na row a right reply: {lines}"
    else:
        why = f"{len(rows)} fit, but --strict takes no rejects" if rows else "none fit for the dataset"
        head = f"rows read: {outcome.read}, {why}; {shown(output)} was not written"
    parts = [
        head,
        reasons_table(became(outcome), outcome.read),
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
        help="trl: prompt and completion (default); messages: one list, with a dataset_info.json for LLaMA-Factory; "
        "openai: messages and nothing else; sharegpt: conversations; per-turn: a row a right reply, after a history "
        "without reasoning; hf: a folder for the hub with trl, messages and per-turn as Parquet",
    )
    parser.add_argument(
        "--output", type=Path, metavar="PATH", help=f"default {OUTPUT}, for hf the folder {FOLDER}, in --output-dir"
    )
    parser.add_argument("--parquet", action="store_true", help="write Parquet beside JSONL")
    parser.add_argument(
        "--reasoning-format",
        choices=REASONINGS,
        default="inline",
        help="inline: in a think block of the content (default); split: in reasoning_content",
    )
    parser.add_argument("--license", type=license_id, metavar="ID", help="hf: the dataset's, such as cc-by-4.0; needed")
    parser.add_argument(
        "--test-size",
        type=share_or_number,
        metavar="N",
        help=f"hf: puzzles of the test split, a share below 1 or a number ({TEST_SIZE}); 0 for none",
    )
    parser.add_argument(
        "--push-to-hub", type=hub_id, metavar="ID", help="hf: send the folder to this dataset of the hub"
    )
    parser.add_argument("--yes", action="store_true", help="hf: replace a dataset that is on the hub without asking")
    parser.add_argument(
        "--strict", action="store_true", help="write no dataset and exit with 1 if any row was rejected"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="name every line that cannot be read")
    add_flags(parser, "files", "tokens")
    args = parser.parse_args(argv)
    given = [
        flag
        for flag, value in (
            ("--license", args.license),
            ("--test-size", args.test_size),
            ("--push-to-hub", args.push_to_hub),
            ("--yes", args.yes),
        )
        if value not in (None, False)
    ]
    if given and args.format != "hf":
        parser.error(f"{given[0]} goes with --format hf alone")
    if args.format == "hf" and not args.license:
        parser.error("--format hf needs --license, such as cc-by-4.0: nobody may use a dataset without one")
    if args.yes and not args.push_to_hub:
        parser.error("--yes goes with --push-to-hub alone")
    return args


def license_id(text: str) -> str:
    """A license as the hub names it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no license of the hub such as cc-by-4.0, mit or other")
    return text


def export_of(args: argparse.Namespace) -> Export:
    """What the flags ask for. Raises `UsageError` for what does not go together."""
    export = Export(
        layout=args.format,
        reasoning=args.reasoning_format,
        parquet=args.parquet,
        license=args.license or "",
        test_size=TEST_SIZE if args.test_size is None else args.test_size,
        hub_id=args.push_to_hub or "",
    )
    check_export(export)
    return export


def _collate(args: argparse.Namespace) -> int:
    export = export_of(args)
    output = args.output or args.output_dir / (FOLDER if export.layout == "hf" else OUTPUT)
    check_writable(args.output_dir)
    check_writable(output.absolute().parent)
    inputs = existing_inputs(args.inputs, args.output_dir)
    if export.hub_id:
        check_login()
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
        strict=args.strict,
        report=report,
    )
    report.finish()
    print(summary(outcome, output))
    if outcome.written and export.hub_id:
        sys.stdout.flush()
        print(f"\nsent to {push(output, export.hub_id, yes=args.yes)}")
    return 0 if outcome.written else 1


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: _collate(args))


if __name__ == "__main__":
    sys.exit(main())
