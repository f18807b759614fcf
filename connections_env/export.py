"""What collation is to write: the flags that say so, and what does not go together."""

import argparse
import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from connections_env.arguments import UsageError
from connections_env.hub import hub_id
from connections_env.languages import language_codes
from connections_env.schema import FORMATS, HF_LAYOUTS, REASONINGS, Format, Reasoning
from connections_env.splits import share_or_number

TEST_SIZE = 0.1
_OF_THE_FOLDER = ("license", "license_name", "license_link", "language", "test_size", "push_to_hub", "yes")

# The hub refuses a card with another id in it ("Licenses" in its documentation); `other` stands for all the rest.
# fmt: off
LICENSES = (
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1",
    "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "h-research",
    "intel-research", "lppl-1.3c", "ms-pl", "apple-ascl", "apple-amlr", "mpl-2.0", "odc-by", "odbl", "openmdw-1.0",
    "openrail++", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "lgpl-lr",
    "deepfloyd-if-license", "fair-noncommercial-research-license", "llama2", "llama3", "llama3.1", "llama3.2",
    "llama3.3", "llama4", "gemma", "unknown", "other",
)
# fmt: on


@dataclass(frozen=True)
class Export:
    """What is to be written."""

    layout: Format = "trl"
    reasoning: Reasoning = "inline"
    parquet: bool = False
    """Parquet beside JSONL."""
    license: str = ""
    """Of a `hf` folder."""
    license_name: str = ""
    """Of a license that the hub has no id for."""
    license_link: str = ""
    """Where that one can be read: an address, or a file that goes into the folder."""
    languages: tuple[str, ...] = ("en",)
    """Of the puzzles of a `hf` folder."""
    test_size: float = 0.0
    """Of a `hf` folder: a share of the puzzles where below 1, else their number."""
    hub_id: str = ""
    """Where a `hf` folder is to be sent."""

    @property
    def has_entry(self) -> bool:
        """Is it what LLaMA-Factory reads by the `dataset_info.json` beside it?"""
        return (self.layout, self.reasoning) == ("messages", "inline")

    @property
    def layouts(self) -> tuple[Format, ...]:
        return HF_LAYOUTS if self.layout == "hf" else (self.layout,)


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("export")
    group.add_argument(
        "--format",
        choices=FORMATS,
        default="trl",
        help="trl: prompt and completion (default); messages: one list, with a dataset_info.json for LLaMA-Factory; "
        "openai: messages and nothing else; sharegpt: conversations; per-turn: a row a right reply, after a history "
        "without reasoning; hf: a folder for the hub with trl, messages and per-turn as Parquet",
    )
    group.add_argument("--parquet", action="store_true", help="write Parquet beside JSONL (hf is Parquet as it is)")
    group.add_argument(
        "--reasoning-format",
        choices=REASONINGS,
        default="inline",
        help="inline: in a think block of the content (default); split: in reasoning_content",
    )
    group.add_argument("--license", type=license_id, metavar="ID", help="hf: the dataset's, such as cc-by-4.0; needed")
    group.add_argument(
        "--license-name",
        type=license_name,
        metavar="NAME",
        help="hf: its name, such as my-license-1.0, where ID is other",
    )
    group.add_argument(
        "--license-link",
        metavar="LINK",
        help="hf: where it can be read, an address or a file that goes into the folder",
    )
    group.add_argument(
        "--language",
        type=language_codes,
        action="extend",
        metavar="CODE",
        help="hf: of the puzzles, as ISO 639 or BCP 47 names it (en); several between commas, or given more than once",
    )
    group.add_argument(
        "--test-size",
        type=share_or_number,
        metavar="N",
        help=f"hf: puzzles of the test split, a share below 1 or a number of the source's ({TEST_SIZE}); 0 for none",
    )
    group.add_argument(
        "--push-to-hub", type=hub_id, metavar="ID", help="hf: send the folder to this dataset of the hub"
    )
    group.add_argument("--yes", action="store_true", help="hf: replace a dataset that is on the hub without asking")


def license_id(text: str) -> str:
    """The value of `--license`: an id by which the hub knows a license."""
    if text in LICENSES:
        return text
    near = difflib.get_close_matches(text.lower().replace(" ", "-"), LICENSES, n=3)
    meant = f"; did you mean {', '.join(near)}?" if near else ", such as cc-by-4.0 or mit"
    raise argparse.ArgumentTypeError(f"{text!r} is no license id of the hub{meant} (other is for all it has no id for)")


def license_name(text: str) -> str:
    """The value of `--license-name`: an id of one's own."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name for a license: letters, digits, dots and hyphens, such as my-license-1.0"
        )
    return text


def is_address(link: str) -> bool:
    return bool(re.fullmatch(r"https?://[^\s/]+\S*", link))


def export_of(args: argparse.Namespace) -> Export:
    """What the flags ask for. Raises `UsageError` for what does not go together."""
    if args.format == "hf":
        _check_folder_flags(args)
    else:
        for flag in _OF_THE_FOLDER:
            if getattr(args, flag) is not None and getattr(args, flag) is not False:  # 0 is a size
                raise UsageError(f"--{flag.replace('_', '-')} goes with --format hf alone")
    if args.reasoning_format == "split":
        _check_split(args.format, args.parquet)
    return Export(
        layout=args.format,
        reasoning=args.reasoning_format,
        parquet=args.parquet,
        license=args.license or "",
        license_name=args.license_name or "",
        license_link=args.license_link or "",
        languages=tuple(dict.fromkeys(args.language or ["en"])),
        test_size=TEST_SIZE if args.test_size is None else args.test_size,
        hub_id=args.push_to_hub or "",
    )


def _check_folder_flags(args: argparse.Namespace) -> None:
    if not args.license:
        raise UsageError("--format hf needs --license, such as cc-by-4.0: nobody may use a dataset without one")
    for flag, value in (("--license-name", args.license_name), ("--license-link", args.license_link)):
        if args.license == "other" and not value:
            raise UsageError(f"--license other needs {flag}: nobody may use a dataset whose license cannot be told")
        if args.license != "other" and value is not None:
            raise UsageError(f"{flag} goes with --license other alone")
    if args.license_link and not is_address(args.license_link) and not Path(args.license_link).is_file():
        raise UsageError(f"--license-link {args.license_link}: neither an address, such as https://..., nor a file")
    if args.yes and not args.push_to_hub:
        raise UsageError("--yes goes with --push-to-hub alone")
    if args.parquet:
        raise UsageError("--parquet does not go with --format hf, which is Parquet as it is; leave it out")


def _check_split(layout: Format, parquet: bool) -> None:
    why = {
        "openai": "what takes that format refuses messages with reasoning_content, or any other key of their own",
        "sharegpt": "its turns have no place for reasoning but their text",
        "per-turn": "its earlier replies carry no reasoning, and templates that take it off show that of the last one",
        "hf": "its Parquet has one set of keys for all messages, so that most would have a null reasoning_content",
    }.get(layout)
    if why:
        raise UsageError(f"--reasoning-format split does not go with --format {layout}: {why}")
    if parquet:
        raise UsageError(
            "--reasoning-format split does not go with --parquet: it has one set of keys for all messages, so that "
            "most would have a null reasoning_content; leave out --parquet"
        )
