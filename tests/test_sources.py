"""Puzzles from files, from the hub's cache on this machine, and from the bundle."""

import argparse
import json
import os
import socket
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from connections_env.puzzles import normalise
from connections_env.sources import NotOnDisk, SourceError, chosen_puzzles, load_puzzles, other_splits
from tests.rollouts import board, boards, hub_row, puzzle_file

ROOT = Path(__file__).parents[1]
FOUR = boards(4)


def write(path: Path, rows) -> str:
    """Rows as the kind of file that the ending of the name says."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return str(path)


def load(path: Path, rows, split=None):
    return load_puzzles(write(path, rows), split)


def only(path: Path, row):
    loaded = load(path, [row])
    assert loaded.skipped == []
    (puzzle,) = loaded.puzzles
    return puzzle


def archive(number, *groups, **more):
    """A day of the community archive."""
    answers = [
        {"level": level, "group": f"Day {number}, group {level}", "members": list(members)}
        for level, members in enumerate(groups)
    ]
    return {"id": number, "date": f"2031-02-{number:02}", "answers": answers} | more


def members_of(puzzle):
    return [group.members for group in puzzle.groups]


def in_group_order(puzzle):
    return list(chain(*members_of(puzzle)))


# Layouts


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".json"])
def test_the_default_datasets_columns_are_read_from_a_file(tmp_path, ending):
    loaded = load(tmp_path / f"puzzles{ending}", [hub_row(puzzle) for puzzle in FOUR])
    assert loaded.skipped == []
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-0", "made-1", "made-2", "made-3"]
    for puzzle, made in zip(loaded.puzzles, FOUR, strict=True):
        assert puzzle.groups == made.groups
        assert puzzle.key == made.key
        assert puzzle.difficulty == 2.0


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize(("groups", "size"), [(3, 3), (5, 5), (6, 6), (4, 3)])
def test_boards_of_other_sizes_are_read(tmp_path, ending, groups, size):
    made = board(7, groups=groups, size=size)
    puzzle = only(tmp_path / f"puzzles{ending}", hub_row(made))
    assert (puzzle.key, puzzle.groups) == (made.key, made.groups)


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_the_community_archive_is_read(tmp_path, ending):
    loaded = load(tmp_path / f"archive{ending}", [archive(n, *members_of(FOUR[n])) for n in (1, 2)])
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["1", "2"]
    assert [puzzle.key for puzzle in loaded.puzzles] == [FOUR[1].key, FOUR[2].key]
    assert loaded.puzzles[0].groups[3].theme == "Day 1, group 3"


def test_a_level_of_minus_one_means_nothing_to_a_board(tmp_path):
    day = archive(1, *members_of(FOUR[1]))
    for answer in day["answers"]:
        answer["level"] = -1
    assert only(tmp_path / "archive.json", day).key == FOUR[1].key


def test_days_with_blank_members_are_skipped_counted_and_named(tmp_path):
    days = [archive(n, *members_of(FOUR[n])) for n in range(4)]
    days[2]["answers"][1]["members"] = ["", "", "", ""]
    days[3]["answers"][0]["members"][3] = "  "
    loaded = load(tmp_path / "archive.json", days)
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["0", "1"]
    assert [str(row) for row in loaded.skipped] == ["archive.json[3]: blank item", "archive.json[4]: blank item"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda row: row["group_words"][0].append("FIFTH"), "uneven"),
        (lambda row: row["group_words"][0].__setitem__(0, row["group_words"][1][0].lower()), "duplicate"),
        (lambda row: row["group_words"][2].__setitem__(1, None), "blank"),
        (lambda row: row["group_themes"].pop(), "differ"),
        (lambda row: row["all_words"].pop(), "items"),
        (lambda row: row.update(group_words=[]), ""),
        (lambda row: row.update(group_words="ABCD"), ""),
        (lambda row: row.update(group_words={"a": 1}, group_themes=3), ""),
        (lambda row: row.update(group_words=[[["A"]] * 4] * 4), ""),
    ],
    ids=["uneven", "duplicate", "blank", "themes", "items", "empty", "text", "object", "deep"],
)
def test_a_board_that_cannot_be_played_is_skipped_and_named_with_the_reason(tmp_path, spoil, why):
    rows = [hub_row(puzzle) for puzzle in FOUR]
    spoil(rows[1])
    loaded = load(tmp_path / "puzzles.jsonl", rows)
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-0", "made-2", "made-3"]
    (line,) = map(str, loaded.skipped)
    assert line.startswith("puzzles.jsonl:2: ")
    assert why in line


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("gait, pace, horse", ("gait", "pace", "horse")),
        ("gait pace horse", ("gait", "pace", "horse")),
        ("ice cream, sorbet", ("ice cream", "sorbet")),
        ("one", ("one",)),
        ("gait,pace,", ("gait", "pace")),
        ("", ()),
        (["ice cream", "sorbet"], ("ice cream", "sorbet")),
        (None, ()),
    ],
)
def test_linking_terms_are_separated_by_commas_or_by_spaces(tmp_path, written, terms):
    row = hub_row(FOUR[0])
    row["group_linking_terms"][0] = written
    assert only(tmp_path / "puzzles.jsonl", row).groups[0].linking_terms == terms


def test_a_source_without_linking_terms_is_read(tmp_path):
    row = hub_row(FOUR[0])
    del row["group_linking_terms"]
    assert [group.linking_terms for group in only(tmp_path / "puzzles.jsonl", row).groups] == [()] * 4


def test_numbers_are_items(tmp_path):
    row = {"group_words": [[1, 2, 3], [40, 50, 60], ["7", "8", "24"]], "group_themes": ["low", "round", "other"]}
    puzzle = only(tmp_path / "puzzles.jsonl", row)
    assert sorted(puzzle.items) == sorted(["1", "2", "3", "40", "50", "60", "7", "8", "24"])


def test_words_that_other_readers_take_for_values_stay_words(tmp_path):
    row = {"group_words": [["NA", "NULL", "NO"], ["TRUE", "ON", "NaN"], ["null", "1e3", "007"]]}
    row["group_words"][2][0] = "NONE"
    puzzle = only(tmp_path / "puzzles.jsonl", row | {"group_themes": ["a", "b", "c"]})
    assert {"NA", "NULL", "NO", "TRUE", "ON", "NaN", "NONE", "1e3", "007"} == set(puzzle.items)


def test_items_keep_their_spelling(tmp_path):
    items = [["20,000", "O'CLOCK", "ROCK (PAPER)"], ["CAFÉ", "👨‍👩‍👧", "“HEROES”"], ["ice cream", "*NSYNC", "A`B"]]
    row = {"group_words": items, "group_themes": ["a", "b", "c"]}
    for ending in (".jsonl", ".json", ".parquet"):
        puzzle = only(tmp_path / f"puzzles{ending}", row)
        assert [list(group.members) for group in puzzle.groups] == items


# Board order


def test_a_board_that_comes_in_the_order_of_its_groups_is_shuffled(tmp_path):
    puzzle = only(tmp_path / "puzzles.jsonl", hub_row(FOUR[0]))
    assert list(puzzle.items) != in_group_order(FOUR[0])
    assert sorted(puzzle.items) == sorted(in_group_order(FOUR[0]))


def test_a_board_without_an_order_is_shuffled_the_same_way(tmp_path):
    row = hub_row(FOUR[0])
    del row["all_words"]
    with_order = only(tmp_path / "puzzles.jsonl", hub_row(FOUR[0]))
    assert only(tmp_path / "puzzles.jsonl", row).items == with_order.items
    assert only(tmp_path / "archive.json", archive(1, *members_of(FOUR[0]))).items == with_order.items


def test_the_shuffle_depends_on_the_set_of_items_alone(tmp_path):
    row = hub_row(FOUR[0])
    for name in ("group_words", "group_themes", "group_linking_terms"):
        row[name] = row[name][::-1]
    row |= {"puzzle_id": "other", "all_words": list(chain(*row["group_words"]))}
    one, other = only(tmp_path / "a.jsonl", hub_row(FOUR[0])), only(tmp_path / "b.jsonl", row)
    assert one.items == other.items
    assert one.groups == other.groups[::-1]


@pytest.mark.parametrize("name", ["all_words", "words", "shuffled_words"])
def test_an_order_that_a_source_brings_is_kept(tmp_path, name):
    row = hub_row(FOUR[0])
    order = [row["all_words"][place] for place in (3, 0, 7, 12, 1, 4, 5, 2, 15, 14, 8, 9, 6, 10, 11, 13)]
    del row["all_words"]
    assert list(only(tmp_path / "puzzles.jsonl", row | {name: order}).items) == order


# Ids, and puzzles that come twice


def test_ids_are_kept_as_written_and_one_is_derived_where_there_is_none(tmp_path):
    rows = [hub_row(puzzle) for puzzle in FOUR]
    rows[0]["puzzle_id"], rows[1]["puzzle_id"] = "2031-01-05", 7
    del rows[2]["puzzle_id"]
    first = [puzzle.puzzle_id for puzzle in load(tmp_path / "a.jsonl", rows).puzzles]
    assert first[:2] == ["2031-01-05", "7"]
    assert first[2]
    rows[2]["all_words"].reverse()
    assert [puzzle.puzzle_id for puzzle in load(tmp_path / "b.jsonl", rows[::-1]).puzzles][::-1] == first


def test_an_id_of_zero_is_an_id(tmp_path):
    assert only(tmp_path / "puzzles.json", archive(0, *members_of(FOUR[0]))).puzzle_id == "0"


def test_a_puzzle_that_comes_twice_is_taken_once_whatever_its_id_order_and_case(tmp_path):
    again = hub_row(FOUR[0])
    again["puzzle_id"] = "again"
    again["group_words"] = [[word.lower() for word in reversed(group)] for group in reversed(again["group_words"])]
    again["all_words"] = None
    loaded = load(tmp_path / "puzzles.jsonl", [*map(hub_row, FOUR), again])
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-0", "made-1", "made-2", "made-3"]
    assert loaded.skipped == []
    assert [str(row) for row in loaded.duplicates] == ["puzzles.jsonl:5: the same items as puzzles.jsonl:1"]


def test_a_run_says_what_of_its_puzzles_is_left_out_and_which_ids_name_several(tmp_path):
    rows = [hub_row(puzzle) | {"puzzle_id": "one"} for puzzle in (FOUR[0], FOUR[0], FOUR[1])]
    path, told = write(tmp_path / "puzzles.jsonl", [*rows, {}]), []
    args = argparse.Namespace(puzzles=path, split=None, puzzle_ids_file=None, num_examples=None)
    assert len(chosen_puzzles(args, told.append)) == 2
    assert told == [
        "puzzles.jsonl:4: no groups found in it; skipped",
        "puzzles.jsonl:2: the same items as puzzles.jsonl:1; skipped",
        f"{path}: 1 id names more than one board: 'one' names 2",
    ]


# Splits


def test_builtin_gives_train_sft_unless_told_otherwise():
    assert len(load_puzzles("builtin").puzzles) == 70
    assert {puzzle.split for puzzle in load_puzzles("builtin").puzzles} == {"train_sft"}
    others = [load_puzzles("builtin", split).puzzles for split in ("train_sft", "train_rl", "test")]
    assert [len(puzzles) for puzzles in others] == [70, 30, 20]
    assert len({puzzle.key for puzzle in chain(*others)}) == 120


def test_a_builtin_split_that_is_not_there_is_one_line_that_names_those_there_are():
    with pytest.raises(SourceError) as told:
        load_puzzles("builtin", "dev")
    assert "\n" not in str(told.value)
    assert all(name in str(told.value) for name in ("dev", "test", "train_sft", "train_rl"))


def test_a_file_gives_all_it_holds_unless_a_split_is_chosen(tmp_path):
    rows = [hub_row(puzzle) | {"split": split} for puzzle, split in zip(FOUR, "aabc", strict=True)]
    for ending in (".jsonl", ".json", ".parquet"):
        path = tmp_path / f"puzzles{ending}"
        assert len(load(path, rows).puzzles) == 4
        assert [puzzle.puzzle_id for puzzle in load_puzzles(str(path), "a").puzzles] == ["made-0", "made-1"]
        assert [puzzle.split for puzzle in load_puzzles(str(path), "c").puzzles] == ["c"]


def test_a_split_that_a_file_does_not_hold_is_one_line_that_names_those_it_holds(tmp_path):
    rows = [hub_row(puzzle) | {"split": split} for puzzle, split in zip(FOUR, "aabc", strict=True)]
    with pytest.raises(SourceError, match=r"'d'.*a, b, c"):
        load(tmp_path / "puzzles.jsonl", rows, "d")


def test_a_split_of_a_file_without_splits_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(SourceError, match="--split"):
        load(tmp_path / "puzzles.jsonl", [hub_row(FOUR[0])], "train_sft")


def test_splits_that_are_numbers_can_be_chosen(tmp_path):
    rows = [hub_row(puzzle) | {"split": number} for number, puzzle in enumerate(FOUR, 1)]
    assert [puzzle.puzzle_id for puzzle in load(tmp_path / "puzzles.jsonl", rows, "2").puzzles] == ["made-1"]


# Files that are not what they should be


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_a_file_without_rows_is_one_clear_line(tmp_path, ending):
    path = tmp_path / f"empty{ending}"
    if ending == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"group_words": pyarrow.array([], pyarrow.string())}), path)
    else:
        path.write_text({".jsonl": "", ".json": "[]"}[ending])
    with pytest.raises(SourceError, match="no playable puzzle") as told:
        load_puzzles(str(path))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b""),
        ("a.json", b"[{"),
        ("a.json", b"3"),
        ("a.json", b"null"),
        ("a.json", b'"text"'),
        ("a.json", b"[1, null, []]"),
        ("a.json", b"\xff\xfe\x00"),
        ("a.json", b"[" * 100_000),
        ("a.jsonl", b"nul\n[]\n3\n"),
        ("a.jsonl", b"\xff\xff\n"),
        ("a.jsonl", b"[" * 100_000),
        ("a.jsonl", b"   \n\n"),
        ("a.parquet", b""),
        ("a.parquet", b"PAR1"),
        ("a.txt", b"words"),
        ("a", b"words"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:9]),
)
def test_a_file_that_holds_no_puzzles_is_one_clear_line_that_names_it(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError) as told:
        load_puzzles(str(path))
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value)


@pytest.mark.parametrize("source", ["nowhere.jsonl", "a/b/c", "nowhere", "", "a b"])
def test_a_source_that_is_nowhere_is_one_clear_line(source):
    with pytest.raises(SourceError) as told:
        load_puzzles(source)
    assert "\n" not in str(told.value)


def test_a_folder_without_puzzle_files_is_one_clear_line(tmp_path):
    (tmp_path / "odd.jsonl").mkdir()
    (tmp_path / "notes.txt").write_text("words")
    for folder in (tmp_path, tmp_path / "odd.jsonl"):
        with pytest.raises(SourceError) as told:
            load_puzzles(str(folder))
        ending = "they end in one of .json, .jsonl, .csv, .yaml, .yml, .parquet"
        assert str(told.value) == f"no puzzle files in {folder}; {ending}"


JUNK = ["{", "nul", "[1]", "3", '"text"', "{}", "[" * 100_000]


@pytest.mark.parametrize("junk", JUNK, ids=["torn", "nul", "list", "number", "text", "empty", "deep"])
def test_a_line_that_is_no_puzzle_is_skipped_and_named_and_stops_no_other(tmp_path, junk):
    path = puzzle_file(tmp_path / "puzzles.jsonl", FOUR)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], junk, *lines[1:]]))
    loaded = load_puzzles(str(path))
    assert len(loaded.puzzles) == 4
    (line,) = map(str, loaded.skipped)
    assert line.startswith("puzzles.jsonl:2: ")
    assert len(line) < 200


@pytest.mark.parametrize(
    "difficulty", ["hard", None, [], True, 10**400, float("nan")], ids=["word", "none", "list", "true", "huge", "nan"]
)
def test_a_difficulty_of_any_kind_stops_nothing(tmp_path, difficulty):
    loaded = load(tmp_path / "puzzles.jsonl", [hub_row(FOUR[0]) | {"difficulty": difficulty}, hub_row(FOUR[1])])
    assert FOUR[1].key in [puzzle.key for puzzle in loaded.puzzles]


@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_a_byte_order_mark_is_read_over(tmp_path, ending):
    path = tmp_path / f"puzzles{ending}"
    write(path, [hub_row(puzzle) for puzzle in FOUR])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    loaded = load_puzzles(str(path))
    assert (len(loaded.puzzles), loaded.skipped) == (4, [])


def test_separators_that_are_no_line_ends_do_not_cut_a_line(tmp_path):
    row = hub_row(FOUR[0]) | {"title": "one\u2028two\x0bthree\x85four"}
    path = tmp_path / "puzzles.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False).replace("\\u000b", "\\t") + "\n", encoding="utf-8")
    assert load_puzzles(str(path)).skipped == []


# Names


def test_a_folder_whose_name_could_be_a_dataset_of_the_hub_is_named_as_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/puzzles").mkdir(parents=True)
    rows = [hub_row(puzzle) | {"split": split} for puzzle, split in zip(boards(2), ("train", "dev"), strict=True)]
    write(Path("data/puzzles/some.jsonl"), rows)
    loaded = load_puzzles("data/puzzles", "train")
    assert [(puzzle.source, puzzle.split) for puzzle in loaded.puzzles] == [("./data/puzzles", "train")]
    again = load_puzzles("./data/puzzles", "train")
    assert again == loaded
    assert other_splits("./data/puzzles", "train") == other_splits("data/puzzles", "train") == ["dev"]


def test_other_names_stay_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("some").mkdir()
    Path("some/more").mkdir()
    puzzle_file(Path("some/more/puzzles.jsonl"), boards(1))
    for name in ("some", "./some/more", "some/more/", "some/more/puzzles.jsonl", str(tmp_path / "some" / "more")):
        assert {puzzle.source for puzzle in load_puzzles(name).puzzles} == {name}
    puzzle_file(Path("some/puzzles.jsonl"), boards(1))
    assert {puzzle.source for puzzle in load_puzzles("some/puzzles.jsonl").puzzles} == {"some/puzzles.jsonl"}


# The hub, as its client keeps it on this machine

HUB_ID = "someone/boards"
SHA = "0123456789abcdef0123456789abcdef01234567"
SPLIT_SIZES = {"train_sft": 3, "train_rl": 2, "test": 1}
README = """---
configs:
- config_name: default
  data_files:
  - split: train_sft
    path: data/train_sft-*
  - split: train_rl
    path: data/train_rl-*
  - split: test
    path: data/test-*
---
# Boards
"""


def fake_hub(root: Path, readme: str = README) -> Path:
    """The hub client's cache with one dataset in it."""
    repository = root / f"datasets--{HUB_ID.replace('/', '--')}"
    snapshot = repository / "snapshots" / SHA
    (snapshot / "data").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(SHA)
    (snapshot / "README.md").write_text(readme)
    first = 0
    for split, count in SPLIT_SIZES.items():
        write(snapshot / "data" / f"{split}-00000-of-00001.parquet", [hub_row(p) for p in boards(count, first)])
        first += count
    return root


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The fake cache in place of the machine's, and no network."""
    from huggingface_hub import constants

    def refuse(*args, **_):
        raise AssertionError(f"the network was asked for: {args}")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return fake_hub(tmp_path / "hub")


def test_a_split_of_a_dataset_is_read_from_its_snapshot_without_the_network(hub):
    loaded = load_puzzles(HUB_ID, "train_rl", local_only=True)
    assert loaded.skipped == []
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-3", "made-4"]
    assert loaded.puzzles[0].groups == board(3).groups
    assert {(puzzle.source, puzzle.split) for puzzle in loaded.puzzles} == {(HUB_ID, "train_rl")}
    assert list(loaded.puzzles[0].items) != in_group_order(board(3))


def test_a_dataset_gives_train_sft_unless_told_otherwise(hub):
    loaded = load_puzzles(HUB_ID, local_only=True)
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-0", "made-1", "made-2"]


def test_a_dataset_whose_card_says_nothing_of_its_files_is_read_by_their_names(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(fake_hub(tmp_path / "plain", "# Boards\n")))
    assert len(load_puzzles(HUB_ID, "test", local_only=True).puzzles) == 1


def test_a_split_that_a_dataset_does_not_hold_is_one_line_that_names_those_it_holds(hub):
    with pytest.raises(SourceError) as told:
        load_puzzles(HUB_ID, "train", local_only=True)
    assert "\n" not in str(told.value)
    assert all(f"{name}" in str(told.value) for name in ("'train'", HUB_ID, *SPLIT_SIZES))


def test_a_dataset_that_is_not_on_this_machine_is_said_so_with_the_command_that_fetches_it(hub):
    with pytest.raises(NotOnDisk) as told:
        load_puzzles("someone/else", local_only=True)
    assert "\n" not in str(told.value)
    assert "hf download --repo-type dataset someone/else" in str(told.value)


def test_a_snapshot_without_data_is_one_clear_line(hub):
    for path in hub.rglob("*.parquet"):
        path.unlink()
    with pytest.raises(SourceError) as told:
        load_puzzles(HUB_ID, local_only=True)
    assert "\n" not in str(told.value)
    assert HUB_ID in str(told.value)


def test_a_snapshot_file_that_is_damaged_is_one_clear_line(hub):
    for path in hub.rglob("*.parquet"):
        path.write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError) as told:
        load_puzzles(HUB_ID, local_only=True)
    assert "\n" not in str(told.value)
    assert HUB_ID in str(told.value)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def offline_mode(tmp_path_factory):
    """What a new process gives that runs with the hub client's own offline mode; and what it left behind."""
    home = tmp_path_factory.mktemp("home")
    fake_hub(home / "hub")
    before = tree(home)
    code = """
import iterative_generate
from connections_env.sources import SourceError, load_puzzles
print("found", [puzzle.puzzle_id for puzzle in load_puzzles("someone/boards", "train_sft").puzzles])
for source, split in (("someone/boards", "nosuch"), ("someone/else", None)):
    try:
        load_puzzles(source, split)
    except SourceError as error:
        print("told", str(error))
flags = ["--puzzles", "someone/boards", "--split", "test", "--results-dir", "nowhere", "--dry-run", "--loop", "3"]
print("status", iterative_generate.main(flags))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    environment |= {"HF_HUB_CACHE": str(home / "hub"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(home / "ds")}
    environment |= {"HF_HOME": str(home / "hf"), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=home,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr, sorted(tree(home) - before)


def test_a_snapshot_is_found_in_the_hub_clients_offline_mode(offline_mode):
    assert offline_mode[0][0] == "found ['made-0', 'made-1', 'made-2']"


def test_in_offline_mode_what_is_missing_is_one_clear_line_too(offline_mode):
    split, dataset = (line for line in offline_mode[0] if line.startswith("told"))
    assert all(name in split for name in ("nosuch", *SPLIT_SIZES))
    assert "hf download --repo-type dataset someone/else" in dataset


def test_a_dry_run_over_a_snapshot_prints_its_block_and_nothing_else(offline_mode):
    assert offline_mode[0][-5:] == [
        "Loop 1: 0 Good, 0 Bad",
        "  - Salvageable: 0",
        "  - Unsalvageable: 0",
        "  - Missing puzzles: 1",
        "status 0",
    ]
    assert offline_mode[1] == ""


def test_reading_a_snapshot_writes_nothing(offline_mode):
    assert offline_mode[2] == []


def test_normalised_items_meet_across_layouts(tmp_path):
    by_columns = only(tmp_path / "a.jsonl", hub_row(FOUR[0]))
    by_archive = only(tmp_path / "b.json", archive(1, *[[w.lower() for w in g] for g in members_of(FOUR[0])]))
    assert by_columns.key == by_archive.key
    assert sorted(map(normalise, by_columns.items)) == sorted(map(normalise, by_archive.items))
