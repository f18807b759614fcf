"""`python -m connections_env.puzzles`: what it prints, what it writes, how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from connections_env.catalogue import main
from connections_env.puzzles import Group, Puzzle
from connections_env.sources import load_puzzles
from tests.boards import PLAIN, THREE
from tests.rollouts import board, hub_row
from tests.test_puzzle_formats import columns, harness, newspaper, put
from tests.test_sources import HUB_ID, fake_hub

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *words):
    """What the command prints, line by line, and its exit status."""
    status = main([*map(str, words)])
    told = capsys.readouterr()
    return status, told.out.splitlines(), told.err


def mixed(here):
    """A file with boards of two sizes, two of one id, a duplicate, and three that cannot be played."""
    picture = newspaper(board(5))
    del picture["categories"][0]["cards"][0]["content"]
    rows = [
        harness(board(0)),
        harness(board(1)) | {"id": "made-0"},
        harness(board(2, groups=3, size=3)),
        harness(board(0)) | {"id": "again"},
        {"words": ["A"]},
        picture,
        harness(board(6)) | {"words": ["A"]},
        harness(board(7)) | {"groups": harness(board(7))["groups"][:3]},
    ]
    return put(here / "mixed.json", rows)


def test_it_counts_boards_by_size_what_is_skipped_by_reason_and_duplicates(here, capsys):
    mixed(here)
    assert run(capsys, "mixed.json") == (
        0,
        [
            "mixed.json: 3 puzzles",
            "Boards (groups x size):",
            "  4 x 4: 2 (66.7%)",
            "  3 x 3: 1 (33.3%)",
            "Skipped: 4",
            "  the board's items are not those of its groups: 2 (50.0%)",
            "  no groups found in it:                         1 (25.0%)",
            "  picture cards, which have no text:             1 (25.0%)",
            "- mixed.json[5]: no groups found in it",
            "- mixed.json[6]: picture cards, which have no text",
            "- mixed.json[7]: the board's items are not those of its groups",
            "- mixed.json[8]: the board's items are not those of its groups",
            "Duplicates, boards of the same items: 1",
            "Warning: 1 id names more than one board: 'made-0' names 2",
        ],
        "",
    )


def test_ten_skipped_rows_are_named_and_all_of_them_with_verbose(here, capsys):
    rows = [columns(board(0)), columns(board(0)), *({"group_words": [["A", f"B{n}"], ["A", "C"]]} for n in range(12))]
    put(here / "a.jsonl", rows)
    status, lines, _ = run(capsys, "a.jsonl")
    assert status == 0
    assert lines[3:5] == ["Skipped: 12", "  duplicate item: 12 (100.0%)"]
    assert lines[5:15] == [f"- a.jsonl:{n}: duplicate item 'A'" for n in range(3, 13)]
    assert lines[15:] == ["... and 2 more; -v names them all", "Duplicates, boards of the same items: 1"]
    _, lines, _ = run(capsys, "a.jsonl", "-v")
    assert lines[5:17] == [f"- a.jsonl:{n}: duplicate item 'A'" for n in range(3, 15)]
    assert lines[17:] == ["Duplicates, boards of the same items: 1", "- a.jsonl:2: the same items as a.jsonl:1"]


def test_files_of_a_folder_that_cannot_be_read_are_counted_and_named(here, capsys):
    (here / "days").mkdir()
    put(here / "days" / "1.json", newspaper(board(0)))
    put(here / "days" / "2.json", b"{")
    put(here / "days" / "3.json", b"\xff")
    status, lines, _ = run(capsys, "days")
    assert status == 0
    assert lines[0] == "days: 1 puzzle"
    assert lines[3:6] == [
        "Skipped: 2",
        "  cannot be read: 2 (100.0%)",
        "- 2.json: cannot be read: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ]


def test_splits_are_counted_and_a_chosen_one_names_the_others(here, capsys):
    rows = [columns(board(n)) | {"split": split} for n, split in enumerate(["a", "b", "b", None])]
    put(here / "a.jsonl", rows)
    _, lines, _ = run(capsys, "a.jsonl")
    assert lines[3:] == ["Splits:", "  b:      2 (50.0%)", "  (none): 1 (25.0%)", "  a:      1 (25.0%)"]
    _, lines, _ = run(capsys, "a.jsonl", "--split", "b")
    assert lines[0] == "a.jsonl: 2 puzzles"
    assert lines[3:] == ["Splits:", "  b: 2 (100.0%)", "Other splits: a"]


def test_a_split_of_a_dataset_names_the_others(here, capsys, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(fake_hub(here / "hub")))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    status, lines, _ = run(capsys, HUB_ID)
    assert (status, lines[0]) == (0, f"{HUB_ID}: 3 puzzles")
    assert lines[3:] == ["Splits:", "  train_sft: 3 (100.0%)", "Other splits: test, train_rl"]


def test_puzzles_are_shown_as_a_player_sees_them_with_their_groups(here, capsys):
    put(here / "a.json", [columns(PLAIN) | {"title": "Odds and Ends"}, columns(THREE)])
    _, lines, _ = run(capsys, "a.json", "--show", "1")
    assert lines[4:] == [
        "",
        "plain (Odds and Ends)",
        "  MINT    TROT   RAIN    HAMMER",
        "  GUM     OLIVE  CHISEL  AMBLE",
        "  CANTER  NAME   LIME    PLIERS",
        "  WRENCH  JADE   GALLOP  TEAR",
        "Found in a toolbox: HAMMER | PLIERS | WRENCH | CHISEL",
        "  linking terms: tool",
        "Ways a horse moves: TROT | CANTER | GALLOP | AMBLE",
        "  linking terms: gait | pace | horse",
        "Shades of green: OLIVE | LIME | JADE | MINT",
        "  linking terms: green",
        "___ drop: RAIN | TEAR | GUM | NAME",
        "  linking terms: drop",
    ]
    assert run(capsys, "a.json", "--show", "9")[1].count("") == 2


def test_what_files_say_cannot_steer_a_terminal(here, capsys):
    evil = "\x1b[2J\x07"
    groups = tuple(Group(f"{evil}T{n}", (f"{evil}A{n}", f"B{n}\nC"), (evil + "term",)) for n in range(2))
    puzzle = Puzzle(f"{evil}id", (groups[0].members[0], *groups[1].members, groups[0].members[1]), groups, title=evil)
    rows = [columns(puzzle) | {"split": f"{evil}s"}, {"group_words": [[evil + "A", evil + "A"]] * 2}]
    put(here / "a.json", {f"{evil}one": rows, "\ud800two": rows[1:]})
    status, lines, err = run(capsys, "a.json", "--show", "1", "-v")
    text = "\n".join(lines)
    assert (status, err) == (0, "")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "  [2J A0" in text
    assert "a.json[?two][1]: duplicate item" in text


def test_a_file_name_that_is_not_utf8_is_printed_all_the_same(here, capsys):
    name = os.fsdecode(b"\xff.json")
    put(here / name, [columns(board(0))])
    assert run(capsys, name)[1][0] == "?.json: 1 puzzle"


def test_nothing_playable_is_exit_1_with_the_reasons_and_no_file(here, capsys):
    put(here / "a.jsonl", [{"words": ["A"]}])
    assert run(capsys, "a.jsonl", "--export", "out.jsonl") == (
        1,
        [
            "a.jsonl: 0 puzzles",
            "Skipped: 1",
            "  no groups found in it: 1 (100.0%)",
            "- a.jsonl:1: no groups found in it",
        ],
        "",
    )
    assert not Path("out.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.csv"], "no such file: nowhere.csv; name a file, a folder, a dataset id or builtin"),
        (
            ["nowhere"],
            "no puzzles at 'nowhere': give a file, a dataset id like ericbotti/connections-puzzles, or builtin",
        ),
        (["broken.json"], "cannot read broken.json: Expecting value: line 1 column 1 (char 0)"),
        (["a.json", "--split", "train"], "a.json has no splits; leave out --split"),
        (["a.json", "--export", "a.csv"], "cannot write puzzles to a.csv; give a name that ends in .jsonl or .parquet"),
        (["a.json", "--export", "kept.jsonl"], "kept.jsonl exists; choose another name, or replace it with --force"),
        (["a.json", "--export", "folder.jsonl", "--force"], "folder.jsonl is a folder; name a file"),
    ],
)
def test_what_is_wrong_with_the_command_is_one_line_and_exit_2(here, capsys, words, told):
    put(here / "a.json", newspaper(board(0)))
    put(here / "broken.json", b"x")
    put(here / "kept.jsonl", b"mine")
    (here / "folder.jsonl").mkdir()
    assert run(capsys, *words) == (2, [], f"error: {told}\n")
    assert Path("kept.jsonl").read_bytes() == b"mine"


@pytest.mark.parametrize("words", [[], ["a.json", "--show", "0"], ["a.json", "--shw", "1"]])
def test_flags_that_are_none_are_exit_2(capsys, words):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("; see python -m connections_env.puzzles --help\n")


EXPORTED = {
    "puzzle_id": "three",
    "creator": None,
    "difficulty": 1.5,
    "quality": None,
    "country": None,
    "created_at": None,
    "tags": [],
    "title": "Bees",
    "all_words": ["RYE", "HONEY", "KEEL", "WAX", "PITA", "MAST", "BUZZ", "NAAN", "HULL"],
    "num_groups": 3,
    "group_words": [["HONEY", "WAX", "BUZZ"], ["RYE", "PITA", "NAAN"], ["KEEL", "MAST", "HULL"]],
    "group_themes": ["Bees make it", "Kinds of bread", "Parts of a ship"],
    "group_linking_terms": ["bee, hive", "flat bread,", ""],
    "grid_size": "3x3",
    "split": "test",
}


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_an_export_holds_the_columns_of_the_default_dataset_in_the_boards_own_order(here, capsys, ending):
    put(here / "a.json", [EXPORTED])
    status, lines, _ = run(capsys, "a.json", "--export", f"new/out{ending}")
    assert (status, lines[-1]) == (0, f"Exported to new/out{ending}")
    path = here / "new" / f"out{ending}"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    if ending == ".jsonl":
        assert path.read_text() == json.dumps(EXPORTED, ensure_ascii=False) + "\n"
    else:
        table = pyarrow.parquet.read_table(path)
        assert table.to_pylist() == [EXPORTED]
        assert str(table.schema.field("creator").type) == "string"
        assert str(table.schema.field("quality").type) == "double"
    assert load_puzzles(str(path)).puzzles[0].groups[1].linking_terms == ("flat bread",)


def test_an_export_of_puzzles_without_splits_has_no_such_column(here, capsys):
    put(here / "a.json", [columns(board(0))])
    run(capsys, "a.json", "--export", "out.jsonl")
    assert list(json.loads(Path("out.jsonl").read_text())) == list(hub_row(board(0)))


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_force_replaces_a_file_even_the_one_that_is_read(here, capsys, ending):
    path = put(here / f"a{ending}", [columns(board(0)), columns(board(0)), columns(board(1))])
    assert run(capsys, path, "--export", path, "--force")[0] == 0
    loaded = load_puzzles(path)
    assert ([puzzle.puzzle_id for puzzle in loaded.puzzles], loaded.duplicates) == (["made-0", "made-1"], [])


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(here, capsys, monkeypatch, ending):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    put(here / "a.json", [columns(board(0))])
    (here / "out").mkdir()
    put(here / "out" / f"kept{ending}", b"mine")
    status, _, err = run(capsys, "a.json", "--export", f"out/kept{ending}", "--force")
    assert (status, err) == (
        1,
        f"error: cannot write out/kept{ending}: No space left on device; make room, then run the same command again\n",
    )
    assert [entry.name for entry in Path("out").iterdir()] == [f"kept{ending}"]
    assert Path("out", f"kept{ending}").read_bytes() == b"mine"


def test_help_answers_without_slow_packages_and_as_a_module():
    ask = """
import contextlib, io, runpy, sys
sys.argv = ["puzzles", "--help"]
out = io.StringIO()
with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
    runpy.run_module("connections_env.puzzles", run_name="__main__")
assert "usage: python -m connections_env.puzzles" in out.getvalue()
print(*sorted({"pyarrow", "datasets", "huggingface_hub", "yaml", "pandas", "openai", "tiktoken"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
