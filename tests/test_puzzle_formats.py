"""Every format in which puzzles circulate, written by the tests and read back.

The formats' names are those of the parameters below; boards are nonsense words, and arbitrary ones by hypothesis.
"""

import csv
import io
import json
import os
import string
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connections_env.boards import is_known, linking_terms, plain_id
from connections_env.exporting import export, hub_rows, terms_text
from connections_env.puzzles import Group, Puzzle, derived_id, normalise, shuffled
from connections_env.sources import NothingPlayable, SourceError, load_puzzles
from tests.rollouts import board, boards, hub_row

FOUR = boards(4)
ENDINGS = [".json", ".jsonl", ".csv", ".yaml", ".yml", ".parquet"]


# Puzzles -> rows of a format


def archive(puzzle):
    answers = [{"level": -1, "group": g.theme, "members": list(g.members)} for g in puzzle.groups]
    return {"id": puzzle.puzzle_id, "date": "2032-03-04", "answers": answers}


def newspaper(puzzle):
    def card(item):
        return {"content": item, "position": puzzle.items.index(item)}

    categories = [{"title": g.theme, "cards": [card(item) for item in g.members]} for g in puzzle.groups]
    return {"status": "OK", "id": puzzle.puzzle_id, "print_date": "2032-03-04", "categories": categories}


def harness(puzzle):
    groups = [{"name": g.theme, "color": "teal", "words": list(g.members)} for g in puzzle.groups]
    return {"id": puzzle.puzzle_id, "difficulty": 2.5, "words": list(puzzle.items), "groups": groups}


def tutorial(puzzle):
    groups = [{"words": list(g.members), "reason": g.theme} for g in puzzle.groups]
    return {"words": list(puzzle.items), "solution": {"groups": groups}}


def by_theme(puzzle):
    return {g.theme: list(g.members) for g in puzzle.groups}


def fine_tuning(puzzle):
    return {"game_id": puzzle.puzzle_id, "words": list(puzzle.items), "solution": by_theme(puzzle)}


def grouped_by_theme(puzzle):
    return {"game_id": puzzle.puzzle_id, "words": list(puzzle.items), "groups": by_theme(puzzle)}


def research_wall(puzzle):
    groups = {
        f"group_{n}": {"group_id": f"w_{n}", "gt_words": list(g.members), "gt_connection": g.theme}
        for n, g in enumerate(puzzle.groups, 1)
    }
    themes = [g.theme for g in puzzle.groups]
    return {"wall_id": puzzle.puzzle_id, "words": list(puzzle.items), "gt_connections": themes, "groups": groups}


def contest(puzzle):
    answers = [{"answerDescription": g.theme, "words": list(g.members)} for g in puzzle.groups]
    return {"date": "2032-03-04", "words": list(puzzle.items), "answers": answers, "difficulty": None}


def columns(puzzle):
    (row,) = hub_rows([puzzle])
    return row


ROWS = {
    "columns": columns,
    "archive": archive,
    "newspaper": newspaper,
    "harness": harness,
    "tutorial": tutorial,
    "fine_tuning": fine_tuning,
    "grouped_by_theme": grouped_by_theme,
    "research_wall": research_wall,
    "contest": contest,
}
WITHOUT_ID = {"tutorial", "contest"}
WITHOUT_ORDER = {"archive"}


def word_rows(puzzle):
    size = puzzle.group_size
    return [
        {
            "Game ID": puzzle.puzzle_id,
            "Puzzle Date": "2032-03-04",
            "Word": item,
            "Group Name": puzzle.groups[puzzle.group_of[item]].theme,
            "Group Level": str(puzzle.group_of[item]),
            "Starting Row": str(1 + place // size),
            "Starting Column": str(1 + place % size),
        }
        for place, item in enumerate(puzzle.items)
    ]


# Rows -> files


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def csv_text(rows, cell=str):
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, rows[0])
    table.writeheader()
    table.writerows({name: cell(value) if value is not None else "" for name, value in row.items()} for row in rows)
    return text.getvalue()


def json_cell(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def put(path, content):
    """Writes a file; a list of rows as the ending says. The path as text."""
    if path.suffix == ".parquet" and isinstance(content, list):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), path)
        return str(path)
    if not isinstance(content, str | bytes):
        write = {".json": json.dumps, ".jsonl": jsonl, ".csv": lambda rows: csv_text(rows, json_cell)}
        content = write.get(path.suffix, lambda rows: yaml.safe_dump(rows, sort_keys=False))(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def load(path, content, split=None):
    return load_puzzles(put(path, content), split)


def only(path, content):
    loaded = load(path, content)
    assert (loaded.skipped, loaded.duplicates) == ([], [])
    (puzzle,) = loaded.puzzles
    return puzzle


def skipped(path, content):
    """What is said of a file that holds nothing but boards that cannot be played."""
    with pytest.raises(NothingPlayable) as told:
        load(path, content)
    return [str(row) for row in told.value.loaded.skipped]


def bare(puzzle):
    """What every format can carry."""
    return [(group.theme, group.members) for group in puzzle.groups]


# Every format in every kind of file


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", ROWS)
def test_every_layout_is_read_from_every_kind_of_file(tmp_path, layout, ending):
    loaded = load(tmp_path / f"puzzles{ending}", [ROWS[layout](puzzle) for puzzle in FOUR])
    assert (loaded.skipped, loaded.duplicates) == ([], [])
    assert [bare(puzzle) for puzzle in loaded.puzzles] == [bare(puzzle) for puzzle in FOUR]
    assert [puzzle.items for puzzle in loaded.puzzles] == [puzzle.items for puzzle in FOUR]
    ids = [derived_id(p.items) if layout in WITHOUT_ID else p.puzzle_id for p in FOUR]
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ids


@pytest.mark.parametrize("layout", ROWS)
def test_a_csv_as_pandas_writes_it_holds_python_lists(tmp_path, layout):
    loaded = load(tmp_path / "a.csv", csv_text([ROWS[layout](puzzle) for puzzle in FOUR]))
    assert [bare(puzzle) for puzzle in loaded.puzzles] == [bare(puzzle) for puzzle in FOUR]


@pytest.mark.parametrize("layout", ROWS)
def test_a_single_puzzle_may_be_a_whole_file(tmp_path, layout):
    for ending in (".json", ".yaml"):
        assert bare(only(tmp_path / f"day{ending}", ROWS[layout](FOUR[1]))) == bare(FOUR[1])


@pytest.mark.parametrize("wrapper", ["dataset", "puzzles", "data"])
@pytest.mark.parametrize("ending", [".json", ".jsonl", ".yaml"])
def test_wrapped_puzzles_are_read_and_what_lies_beside_them_is_not(tmp_path, wrapper, ending):
    document = {"seasons": {"1": {"walls": 2}}, "notes": [{"by": "me"}], wrapper: [harness(p) for p in FOUR]}
    loaded = load(tmp_path / f"all{ending}", [document] if ending == ".jsonl" else document)
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-0", "made-1", "made-2", "made-3"]
    assert loaded.skipped == []


def test_walls_are_found_below_their_episodes(tmp_path):
    walls = {
        "https://example.org/one": {"wall_1": by_theme(FOUR[0]), "wall_2": by_theme(FOUR[1])},
        "https://example.org/two": {"wall_1": by_theme(FOUR[2])},
    }
    for ending in (".json", ".yaml"):
        loaded = load(tmp_path / f"walls{ending}", walls)
        assert [bare(puzzle) for puzzle in loaded.puzzles] == [bare(puzzle) for puzzle in FOUR[:3]]
        assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == [derived_id(p.items) for p in FOUR[:3]]
        assert loaded.skipped == []


def test_a_wall_that_holds_a_word_twice_is_skipped_and_named_by_where_it_lies(tmp_path):
    spoilt = by_theme(FOUR[1]) | {"ZONE0 of 1": [FOUR[1].groups[1].members[0], *FOUR[1].groups[0].members[1:]]}
    loaded = load(tmp_path / "walls.json", {"one": {"wall_1": by_theme(FOUR[0]), "wall_2": spoilt}})
    assert len(loaded.puzzles) == 1
    word = FOUR[1].groups[1].members[0]
    assert [str(row) for row in loaded.skipped] == [f"walls.json[one][wall_2]: duplicate item {word!r}"]


def test_a_theme_that_stands_twice_in_a_wall_costs_the_wall_and_no_group_in_silence(tmp_path):
    one, two = (json.dumps(by_theme(puzzle)) for puzzle in FOUR[:2])
    twice = two.replace("ZONE1 of 1", "ZONE0 of 1")
    told = "the same key twice: 'ZONE0 of 1'"
    loaded = load(tmp_path / "a.json", f'{{"e": {{"wall_1": {one}, "wall_2": {twice}}}}}')
    assert [str(row) for row in loaded.skipped] == [f"a.json[e][wall_2]: {told}"]
    loaded = load(tmp_path / "a.yaml", f"e:\n  wall_1: {one}\n  wall_2: {twice}\n")
    assert [str(row) for row in loaded.skipped] == [f"a.yaml[e][wall_2]: {told}"]


def test_a_mapping_of_few_short_lists_is_no_puzzle(tmp_path):
    settings = {"files": ["a", "b"], "keywords": ["c", "d"]}
    assert skipped(tmp_path / "package.json", settings) == ["package.json: no groups found in it"]


def test_groups_that_are_given_twice_must_agree(tmp_path):
    row = harness(FOUR[0]) | {"answers": archive(FOUR[0])["answers"][::-1]}
    assert bare(only(tmp_path / "a.json", row))[::-1] == bare(FOUR[0])
    row["answers"] = archive(FOUR[1])["answers"]
    assert skipped(tmp_path / "a.json", row) == ["a.json: its groups are given twice, and differ"]


def test_tags_called_categories_do_not_hide_the_groups(tmp_path):
    for tags in (["sports", "film"], [{"name": "sports"}], "sports", 3, None, {}):
        assert bare(only(tmp_path / "a.json", harness(FOUR[0]) | {"categories": tags})) == bare(FOUR[0])


def test_a_group_that_is_no_object_is_not_passed_over(tmp_path):
    row = archive(FOUR[0])
    row["answers"].append("a fifth group")
    assert skipped(tmp_path / "a.json", row) == ["a.json: some of its groups are no objects"]


def test_a_mapping_of_groups_gives_their_themes_unless_they_name_their_own(tmp_path):
    row = {"groups": {g.theme: {"level": n, "members": list(g.members)} for n, g in enumerate(FOUR[0].groups)}}
    assert bare(only(tmp_path / "a.json", row)) == bare(FOUR[0])


# The newspaper's own files


def test_the_board_is_shown_as_its_cards_are_placed(tmp_path):
    day = newspaper(FOUR[0])
    assert only(tmp_path / "day.json", day).items == FOUR[0].items
    for category in day["categories"]:
        for card in category["cards"]:
            card["position"] = 15 - card["position"]
    assert only(tmp_path / "day.json", day).items == FOUR[0].items[::-1]


@pytest.mark.parametrize("position", [None, "left", 15])
def test_places_that_are_none_or_shared_give_no_order(tmp_path, position):
    day = newspaper(FOUR[0])
    cards = [card for category in day["categories"] for card in category["cards"]]
    for card in cards:
        card["position"] = 15 - card["position"]
    next(card for card in cards if card["position"] == 0)["position"] = position
    assert only(tmp_path / "day.json", day).items == shuffled(FOUR[0].items)


def test_boards_with_picture_cards_are_skipped_with_that_reason(tmp_path):
    days = [newspaper(puzzle) for puzzle in FOUR]
    days[2]["categories"][1]["cards"][3] = {"image_url": "https://example.org/x.svg", "position": 3}
    loaded = load(tmp_path / "days.jsonl", days)
    assert len(loaded.puzzles) == 3
    assert [str(row) for row in loaded.skipped] == ["days.jsonl:3: picture cards, which have no text"]


# A row a word


def write_words(path, rows):
    return put(path, csv_text(rows) if path.suffix == ".csv" else rows)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json", ".jsonl", ".yaml"])
def test_words_in_rows_of_their_own_are_gathered_into_games(tmp_path, ending):
    rows = [row for puzzle in FOUR for row in word_rows(puzzle)]
    rows = rows[::2] + rows[1::2]  # those of a game are not adjacent
    loaded = load_puzzles(write_words(tmp_path / f"words{ending}", rows))
    assert loaded.skipped == []
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-0", "made-1", "made-2", "made-3"]
    assert [puzzle.items for puzzle in loaded.puzzles] == [puzzle.items for puzzle in FOUR]
    for puzzle, made in zip(loaded.puzzles, FOUR, strict=True):
        assert {g.theme: set(g.members) for g in puzzle.groups} == {g.theme: set(g.members) for g in made.groups}


@pytest.mark.parametrize(
    "spelled", [str.lower, str.upper, lambda name: name.replace(" ", "_"), lambda n: n.replace(" ", "")]
)
def test_names_of_columns_are_compared_without_case_spaces_and_underscores(tmp_path, spelled):
    rows = [{spelled(name): value for name, value in row.items()} for row in word_rows(FOUR[0])]
    assert only(tmp_path / "words.csv", csv_text(rows)).items == FOUR[0].items


def test_games_without_ids_are_told_by_their_dates(tmp_path):
    rows = [row for puzzle, day in zip(FOUR, "1234", strict=True) for row in word_rows(puzzle)]
    for n, row in enumerate(rows):
        del row["Game ID"]
        row["Puzzle Date"] = f"2032-03-0{1 + n // 16}"
    loaded = load(tmp_path / "words.csv", csv_text(rows))
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == [derived_id(puzzle.items) for puzzle in FOUR]
    for row in rows:
        del row["Puzzle Date"]
    told = "a word of no game: it has neither an id nor a date"
    assert skipped(tmp_path / "words.csv", csv_text(rows))[:1] == [f"words.csv:2: {told}"]


def test_a_game_that_lacks_a_word_is_named_by_its_first_row(tmp_path):
    rows = [row for puzzle in FOUR[:2] for row in word_rows(puzzle)]
    del rows[20]
    loaded = load(tmp_path / "words.csv", csv_text(rows))
    assert len(loaded.puzzles) == 1
    (line,) = map(str, loaded.skipped)
    assert line.startswith("words.csv:18: uneven groups of ")


def test_two_groups_of_one_name_are_told_apart_by_their_levels(tmp_path):
    rows = word_rows(FOUR[0])
    for row in rows:
        row["Group Name"] = "___ FISH"
    puzzle = only(tmp_path / "words.csv", csv_text(rows))
    assert {frozenset(g.members) for g in puzzle.groups} == {frozenset(g.members) for g in FOUR[0].groups}


# Words as they are written

ODD = (
    ("NA", "NULL", "null", "None", "~"),
    ("TRUE", "false", "NO", "On", "yes"),
    ("24", "8.0", "1e3", "007", "1_000"),
    ("0x1F", "NaN", "-5", "+1", "1,000"),
    ("2031-01-01", "12:30", "=1+1", "'", "[A"),
)


def odd_puzzle():
    words = [word for group in ODD for word in group if word != "null"] + ["{B}"]
    groups = [words[n : n + 5] for n in range(0, 25, 5)]
    return Puzzle(
        "odd",
        tuple(word for n in range(5) for word in words[n::5]),
        tuple(Group(f"G{n}", tuple(group)) for n, group in enumerate(groups)),
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_words_that_look_like_values_stay_words(tmp_path, ending):
    puzzle = only(tmp_path / f"odd{ending}", [columns(odd_puzzle())])
    assert (puzzle.items, bare(puzzle)) == (odd_puzzle().items, bare(odd_puzzle()))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_words_that_look_like_values_stay_words_in_rows_of_their_own(tmp_path, ending):
    (puzzle,) = load_puzzles(write_words(tmp_path / f"odd{ending}", word_rows(odd_puzzle()))).puzzles
    assert puzzle.items == odd_puzzle().items


def test_numbers_and_truths_without_quotes_stay_as_they_are_written(tmp_path):
    written = '{"solution": {"figures": [8.0, 1e3, -5, 100000000000000000000], "truths": [true, false, "x", NaN]}}'
    puzzle = only(tmp_path / "a.json", written)
    assert bare(puzzle) == [
        ("figures", ("8.0", "1e3", "-5", "100000000000000000000")),
        ("truths", ("TRUE", "FALSE", "x", "NaN")),
    ]
    assert bare(only(tmp_path / "a.jsonl", written)) == bare(puzzle)
    python = str({"figures": ["FIG"], "truths": [True, False, "x", "NaN"]}).replace("'FIG'", "8.0, 1e3, -5, 0x10")
    puzzle = only(tmp_path / "a.csv", csv_text([{"solution": python}]))
    assert bare(puzzle) == [("figures", ("8.0", "1e3", "-5", "0x10")), ("truths", ("TRUE", "FALSE", "x", "NaN"))]


def test_bare_yaml_words_stay_words(tmp_path):
    text = """
puzzles:
  - id: 007
    title: null
    difficulty: 3.1
    groups:
      - {name: null, words: [NO, ON, TRUE, null]}
      - {name: "null", words: [~, 8.0, 1e3, 0o17]}
      - {name: , words: [2031-01-01, 12:30, 1_000, CRÊPE]}
"""
    puzzle = only(tmp_path / "a.yaml", text)
    assert bare(puzzle) == [
        ("", ("NO", "ON", "TRUE", "null")),
        ("null", ("~", "8.0", "1e3", "0o17")),
        ("", ("2031-01-01", "12:30", "1_000", "CRÊPE")),
    ]
    assert (puzzle.puzzle_id, puzzle.title, puzzle.difficulty) == ("007", "", 3.1)


def test_a_null_is_no_id_and_no_split_in_any_format(tmp_path):
    for ending in ENDINGS:
        row = columns(FOUR[0]) | {"puzzle_id": None, "split": None}
        puzzle = only(tmp_path / f"a{ending}", [row])
        assert (puzzle.puzzle_id, puzzle.split) == (derived_id(FOUR[0].items), "")


@pytest.mark.parametrize("ending", [".json", ".csv", ".parquet"])
def test_a_null_among_the_words_is_a_blank(tmp_path, ending):
    row = columns(FOUR[0])
    row["group_words"][0][0] = None
    assert skipped(tmp_path / f"a{ending}", [row])[0].endswith(": blank item")


def test_an_empty_cell_is_a_field_that_is_not_there(tmp_path):
    row = columns(FOUR[0]) | {"group_linking_terms": "", "puzzle_id": "", "id": "31"}
    puzzle = only(tmp_path / "a.csv", [row])
    assert (puzzle.puzzle_id, bare(puzzle)) == ("31", bare(FOUR[0]))


def test_an_empty_cell_among_the_words_is_a_blank(tmp_path):
    rows = word_rows(FOUR[0])
    rows[3]["Word"] = ""
    assert skipped(tmp_path / "a.csv", csv_text(rows)) == ["a.csv:2: blank item"]


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv", ".yaml"])
def test_byte_order_marks_and_windows_line_ends_are_read_over(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    put(path, [harness(puzzle) for puzzle in FOUR])
    lines = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    loaded = load(path, b"\xef\xbb\xbf" + lines)
    assert (loaded.skipped, [bare(puzzle) for puzzle in loaded.puzzles]) == ([], [bare(p) for p in FOUR])
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == [puzzle.puzzle_id for puzzle in FOUR]


def test_objects_with_unlike_keys_share_a_parquet_column(tmp_path):
    path = tmp_path / "a.parquet"
    themes = [g.theme for puzzle in FOUR for g in puzzle.groups]
    of_all = pyarrow.struct([(theme, pyarrow.list_(pyarrow.string())) for theme in themes])
    pyarrow.parquet.write_table(
        pyarrow.table({"solution": pyarrow.array([by_theme(puzzle) for puzzle in FOUR], of_all)}), path
    )
    assert [bare(puzzle) for puzzle in load_puzzles(str(path)).puzzles] == [bare(puzzle) for puzzle in FOUR]


def test_dates_bytes_and_maps_of_parquet_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    made = {
        "puzzle_id": pyarrow.array([20_000], pyarrow.date32()),
        "title": pyarrow.array([b"Bytes"], pyarrow.binary()),
        "solution": pyarrow.array(
            [list(by_theme(FOUR[0]).items())], pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.string()))
        ),
    }
    pyarrow.parquet.write_table(pyarrow.table(made), path)
    (puzzle,) = load_puzzles(str(path)).puzzles
    assert (puzzle.puzzle_id, puzzle.title, bare(puzzle)) == ("2024-10-04", "Bytes", bare(FOUR[0]))


# Splits and ids, whatever the format


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_split_is_chosen_from_every_kind_of_file(tmp_path, ending):
    rows = [columns(puzzle) | {"split": split} for puzzle, split in zip(FOUR, ("a", "b", "b", "07"), strict=True)]
    path = put(tmp_path / f"a{ending}", rows)
    assert [puzzle.puzzle_id for puzzle in load_puzzles(path, "b").puzzles] == ["made-1", "made-2"]
    assert [puzzle.split for puzzle in load_puzzles(path, "07").puzzles] == ["07"]
    with pytest.raises(SourceError, match=r"has no split 'c'; it has 07, a, b$"):
        load_puzzles(path, "c")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_split_of_what_has_none_is_refused_for_files_and_folders(tmp_path, ending):
    path = put(tmp_path / f"a{ending}", [columns(puzzle) for puzzle in FOUR])
    for source in (path, str(tmp_path)):
        with pytest.raises(SourceError) as told:
            load_puzzles(source, "train_sft")
        assert str(told.value) == f"{source} has no splits; leave out --split"


def test_two_boards_under_one_id_are_both_taken_and_told_once(tmp_path):
    rows = [harness(puzzle) | {"id": name} for puzzle, name in zip(boards(6), "aabbbc", strict=True)]
    loaded = load(tmp_path / "a.json", rows)
    assert len(loaded.puzzles) == 6
    assert loaded.warnings() == ["2 ids name more than one board: 'a' names 2"]
    assert load(tmp_path / "a.json", rows[1:]).warnings() == ["1 id names more than one board: 'b' names 3"]
    assert load(tmp_path / "a.json", rows[4:]).warnings() == []


# Folders


def test_a_folder_is_read_in_the_order_of_its_names_and_other_files_are_passed_over(tmp_path):
    (tmp_path / "a").mkdir()
    for name, puzzle in zip(("b.json", "a/z.yaml", "c.csv", "big.parquet"), FOUR, strict=True):
        put(tmp_path / name, [columns(puzzle)])
    (tmp_path / "big.parquet").rename(tmp_path / "B.PARQUET")
    for name in ("notes.txt", "README.md", ".hidden.json", "a/.cache.yaml"):
        (tmp_path / name).write_text("{ no puzzle")
    (tmp_path / ".git").mkdir()
    put(tmp_path / ".git" / "x.json", [columns(board(9))])
    loaded = load_puzzles(str(tmp_path))
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-3", "made-1", "made-0", "made-2"]
    assert loaded.skipped == []


def test_a_file_of_a_folder_that_cannot_be_read_is_named_and_stops_no_other(tmp_path):
    put(tmp_path / "a.json", b"{")
    put(tmp_path / "b.jsonl", b"\xff\n")
    put(tmp_path / "c.parquet", b"PAR1")
    put(tmp_path / "d.yaml", b"a: [")
    put(tmp_path / "e.csv", b'"a')
    (tmp_path / "f.json").symlink_to("nowhere.json")
    (tmp_path / "g.json").symlink_to("g.json")
    os.mkfifo(tmp_path / "h.json")
    (tmp_path / "z").mkdir()
    put(tmp_path / "z" / "day.json", newspaper(FOUR[0]))
    loaded = load_puzzles(str(tmp_path))
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-0"]
    assert [row.place for row in loaded.skipped] == [
        *("a.json", "b.jsonl", "c.parquet", "d.yaml", "e.csv", "f.json", "g.json", "h.json")
    ]
    assert all(row.reason.startswith("cannot be read: ") for row in loaded.skipped)
    assert str(loaded.skipped[5]) == "f.json: cannot be read: No such file or directory"
    assert str(loaded.skipped[7]) == "h.json: cannot be read: not a file"


def test_places_in_a_folder_name_the_file_from_there(tmp_path):
    (tmp_path / "sub").mkdir()
    put(tmp_path / "sub" / "a.jsonl", [columns(FOUR[0]), {"words": []}])
    assert [row.place for row in load_puzzles(str(tmp_path)).skipped] == ["sub/a.jsonl:2"]


def test_links_in_a_folder_that_lead_back_to_it_end(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    put(tmp_path / "a" / "b" / "x.json", newspaper(FOUR[0]))
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    put(elsewhere / "y.json", newspaper(FOUR[1]))
    (tmp_path / "linked").symlink_to(elsewhere)
    loaded = load_puzzles(str(tmp_path))
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == ["made-0", "made-1"]
    assert loaded.duplicates == []


# Files that are not what they should be


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("a.jsonl", b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("a.csv", b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("a.csv", b'a,b\n1,"2', "line 2: unexpected end of data"),
        ("a.csv", b"word,word\n", "two columns named 'word'"),
        ("a.yaml", b"a: [1, 2", "line 1: expected ',' or ']', but got '<stream end>'"),
        ("a.yml", b"a: *x", "line 1: found undefined alias 'x'"),
        ("a.yaml", b"a: \x00", "unacceptable character #x0000: special characters are not allowed"),
        ("a.yaml", b"? [a]\n: b", "line 1: a key that is no text"),
        ("a.yaml", b"\xfe", "'utf-8' codec can't decode byte 0xfe in position 0: invalid start byte"),
    ],
    ids=lambda value: value if isinstance(value, str) and value[:2] == "a." else "",
)
def test_a_broken_file_is_one_line_that_names_it(tmp_path, name, content, told):
    with pytest.raises(SourceError) as error:
        load(tmp_path / name, content)
    assert str(error.value) == f"cannot read {tmp_path / name}: {told}"


def test_a_json_file_that_holds_an_object_a_line_is_read_as_such(tmp_path):
    text = "".join(json.dumps(columns(puzzle)) + "\n" for puzzle in FOUR[:3])
    boards = [puzzle.key for puzzle in load(tmp_path / "a.json", text + "nul\n").puzzles]
    assert boards == [puzzle.key for puzzle in FOUR[:3]]
    assert [row.place for row in load(tmp_path / "a.json", text + "nul\n").skipped] == ["a.json:4"]


def test_a_line_of_a_table_that_is_too_short_is_named_and_stops_no_other(tmp_path):
    text = csv_text([columns(FOUR[0]), columns(FOUR[1])]).splitlines()
    loaded = load(tmp_path / "a.csv", "\n".join([text[0], "one,two", ",,,", "", *text[1:]]))
    assert len(loaded.puzzles) == 2
    assert [str(row) for row in loaded.skipped] == ["a.csv:2: 2 cells under 14 columns"]


def test_a_cell_that_holds_no_list_after_all_is_named(tmp_path):
    rows = [columns(FOUR[0]), columns(FOUR[1]) | {"group_words": "[['A' 'B'] ['C' 'D']]"}]
    loaded = load(tmp_path / "a.csv", rows)
    assert [str(row) for row in loaded.skipped] == ["a.csv:3: group_words is neither a JSON nor a Python list"]


def test_a_cell_is_read_and_never_run(tmp_path):
    mark = tmp_path / "ran"
    row = columns(FOUR[0]) | {"group_words": f"[__import__('pathlib').Path({str(mark)!r}).touch()]"}
    assert skipped(tmp_path / "a.csv", [row]) == ["a.csv:2: group_words is neither a JSON nor a Python list"]
    assert not mark.exists()


def test_games_that_were_played_are_not_taken_for_puzzles(tmp_path):
    row = {"prompt": [{"role": "user"}], "completion": [{"role": "assistant"}], "info": harness(FOUR[0])}
    assert skipped(tmp_path / "a.jsonl", [row]) == ["a.jsonl:1: a game that was played, not a puzzle"]
    assert bare(only(tmp_path / "sft_examples.jsonl", [row | archive(FOUR[1])])) == bare(FOUR[1])


def test_yaml_that_repeats_itself_by_aliases_ends(tmp_path):
    laughs = "a0: &a0 {x: {y: z}}\n" + "".join(
        f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(9))}}}\n" for n in range(1, 12)
    )
    told = skipped(tmp_path / "laughs.yaml", laughs)
    assert 9 < len(told) < 200
    assert any(line.endswith("an object that stands elsewhere too") for line in told)
    assert skipped(tmp_path / "self.yaml", "&a {b: *a}") == ["self.yaml[b]: an object that stands elsewhere too"]
    assert skipped(tmp_path / "self.yaml", "&a [*a]") == ["self.yaml[1]: expected a puzzle, got a list"]
    assert skipped(tmp_path / "self.yaml", "&a {groups: *a}") == ["self.yaml: no groups found in it"]


def test_a_puzzle_that_an_alias_repeats_is_read(tmp_path):
    text = f"one: &one {json.dumps(harness(FOUR[0]))}\ntwo: *one\n"
    assert [puzzle.puzzle_id for puzzle in load(tmp_path / "a.yaml", text).puzzles] == ["made-0"]


def test_objects_nested_without_end_are_named(tmp_path):
    deep = '{"a": ' * 30 + "{}" + "}" * 30
    assert skipped(tmp_path / "a.json", deep) == [f"a.json{'[a]' * 8}: objects nested too deep"]


# Arbitrary puzzles

printable = st.characters(exclude_categories=("Cs",))
looks_like_more = st.sampled_from(
    [
        "NULL",
        "null",
        "~",
        "TRUE",
        "no",
        "1e3",
        "8.0",
        "007",
        "NaN",
        "1,000",
        "5, 6",
        "O'B",
        '"q"',
        "[A]",
        "{",
        "é\n",
        "_",
    ]
)
words = (st.text(printable, max_size=8) | looks_like_more).map(str.strip)

terms = st.lists(words.filter(bool), max_size=3).map(tuple)


@st.composite
def puzzles(draw, *, least=2):
    count, size = draw(st.integers(least, 4)), draw(st.integers(least, 4))
    items = draw(st.lists(words.filter(normalise), min_size=count * size, max_size=count * size, unique_by=normalise))
    # A wall with a theme called "words" could as well be a row that names its words; it is not guessed at.
    themes = draw(
        st.lists(words.filter(lambda theme: not is_known({theme: []})), min_size=count, max_size=count, unique=True)
    )
    groups = [Group(theme, tuple(items[n * size : (n + 1) * size]), draw(terms)) for n, theme in enumerate(themes)]
    return Puzzle(
        puzzle_id=draw(words.filter(lambda text: text and plain_id(text) == text)),
        items=tuple(draw(st.permutations(items))),
        groups=tuple(groups),
        title=draw(words),
        difficulty=draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
        split=draw(st.sampled_from(["", "train"])),
    )


def read_back(name, content):
    with tempfile.TemporaryDirectory() as folder:
        loaded = load(Path(folder, name), content)
    assert (loaded.skipped, loaded.duplicates) == ([], [])
    (puzzle,) = loaded.puzzles
    return puzzle


def in_group_order(puzzle):
    return [*map(normalise, puzzle.items)] == [normalise(item) for g in puzzle.groups for item in g.members]


@settings(deadline=None, max_examples=60)
@given(puzzle=puzzles(), layout=st.sampled_from(sorted(ROWS)), ending=st.sampled_from(ENDINGS))
def test_any_puzzle_is_the_same_after_a_way_through_any_format(puzzle, layout, ending):
    read = read_back(f"a{ending}", [ROWS[layout](puzzle)])
    assert (read.key, bare(read)) == (puzzle.key, bare(puzzle))
    assert read.puzzle_id == (derived_id(puzzle.items) if layout in WITHOUT_ID else puzzle.puzzle_id)
    if layout not in WITHOUT_ORDER and not in_group_order(puzzle):
        assert read.items == puzzle.items


@settings(deadline=None)
@given(puzzle=puzzles(least=3), ending=st.sampled_from([".json", ".yaml"]))
def test_any_wall_is_the_same_after_a_way_through_a_file(puzzle, ending):
    read = read_back(f"a{ending}", {"episode one": {"wall_1": by_theme(puzzle)}})
    assert (bare(read), read.puzzle_id) == (bare(puzzle), derived_id(puzzle.items))


@settings(deadline=None)
@given(puzzle=puzzles(), ending=st.sampled_from([".csv", ".parquet"]))
def test_any_puzzle_is_the_same_after_a_way_through_rows_of_words(puzzle, ending):
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_puzzles(write_words(Path(folder, f"a{ending}"), word_rows(puzzle)))
    assert loaded.skipped == []
    (read,) = loaded.puzzles
    groups = [{(g.theme, frozenset(g.members)) for g in each.groups} for each in (read, puzzle)]
    assert groups[0] == groups[1]
    assert (read.puzzle_id, read.key) == (puzzle.puzzle_id, puzzle.key)


@settings(deadline=None)
@given(puzzle=puzzles(), ending=st.sampled_from([".jsonl", ".parquet"]))
def test_any_puzzle_that_is_exported_and_loaded_is_equal(puzzle, ending):
    with tempfile.TemporaryDirectory() as folder:
        first, again = Path(folder, f"a{ending}"), Path(folder, f"b{ending}")
        export([puzzle], first)
        (read,) = load_puzzles(str(first)).puzzles
        export([read], again)
        (reread,) = load_puzzles(str(again)).puzzles
    if not in_group_order(puzzle):  # that order would give the answer away
        assert read == Puzzle(**vars_of(puzzle) | {"source": str(first)})
    assert reread == Puzzle(**vars_of(read) | {"source": str(again)})


def vars_of(puzzle):
    return {name: getattr(puzzle, name) for name in Puzzle.__dataclass_fields__}


@given(terms)
@example(("two words",))
@example(("a", "b, c"))
@example((",",))
@example(('["x"]',))
def test_linking_terms_read_back_from_their_text(terms):
    assert linking_terms(terms_text(terms)) == terms


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ((), ""),
        (("one",), "one"),
        (("two words",), "two words,"),
        (("one", "two words"), "one, two words"),
        (("a, b", "c"), '["a, b", "c"]'),
    ],
)
def test_linking_terms_are_written_as_one_string(terms, text):
    assert terms_text(terms) == text


# Arbitrary bytes

yaml_like = st.text(f"{string.ascii_letters[:4]}01{{}}[]:-&*!|>'\"#%@ \n?~,<.\t", max_size=60).map(str.encode)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["groups", "answers", "words", "solution", "data", "cards", "members", "word", "group", "id"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


def loads_or_says_why(name, content):
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert load(Path(folder, name), content).puzzles
        except SourceError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
            assert name in str(error)  # noqa: PT017


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(ENDINGS), st.binary(max_size=80) | yaml_like)
def test_arbitrary_bytes_are_puzzles_or_one_clear_line(ending, content):
    loads_or_says_why(f"a{ending}", content)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([".json", ".jsonl", ".yaml"]), json_values)
def test_arbitrary_documents_are_puzzles_or_one_clear_line(ending, value):
    loads_or_says_why(f"a{ending}", json.dumps(value))


@settings(deadline=None, max_examples=200)
@given(json_values)
def test_arbitrary_cells_are_puzzles_or_one_clear_line(value):
    loads_or_says_why("a.csv", csv_text([{"id": "1", "groups": str(value)}]))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_damaged_parquet_file_is_read_or_one_clear_line(data):
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([hub_row(FOUR[0])]), sink)
    content = bytearray(sink.getvalue())
    for _ in range(3):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    loads_or_says_why("a.parquet", bytes(content))


TEXTS = [["BASS", "CARP", "COD"], ["1,000", "20,000", "8"], ["SAW", "AWL", "O'CLOCK (ROCK)"]]
PARTED = {
    "commas": ", ".join,
    "commas without spaces": lambda words: (
        ", ".join(words).replace(", ", ",") if "1,000" not in words else "1,000;8;20,000"
    ),
    "bars": " | ".join,
    "lines": "\n".join,
    "JSON": json.dumps,
    "Python": str,
}


@pytest.mark.parametrize("parted", PARTED.values(), ids=PARTED)
@pytest.mark.parametrize(
    "row",
    [
        lambda texts: {"answers": [{"group": f"G{n}", "members": text} for n, text in enumerate(texts)]},
        lambda texts: {"solution": {f"G{n}": text for n, text in enumerate(texts)}},
        lambda texts: {"group_words": texts, "group_themes": [f"G{n}" for n in range(len(texts))]},
    ],
)
def test_words_of_a_group_in_one_text_are_parted(tmp_path, parted, row):
    path = tmp_path / "texts.json"
    path.write_text(json.dumps([row([parted(words) for words in TEXTS])]))
    (found,) = load_puzzles(str(path)).puzzles
    assert [sorted(group.members) for group in found.groups] == [sorted(words) for words in TEXTS]


def test_a_board_in_one_text_keeps_its_order_where_its_commas_part_the_words(tmp_path):
    shown = ["8", "SAW", "COD", "1,000", "AWL", "BASS", "20,000", "CARP", "O'CLOCK (ROCK)"]
    groups = [{"name": "G", "words": words} for words in TEXTS]
    path = tmp_path / "texts.json"
    for text, kept in ((", ".join(shown), True), (" ".join(shown), False)):
        path.write_text(json.dumps([{"words": text, "groups": groups}]))
        (found,) = load_puzzles(str(path)).puzzles
        assert (list(found.items) == shown) is kept


def test_a_text_beside_the_groups_is_not_taken_for_groups(tmp_path):
    groups = [{"name": "G", "words": words} for words in TEXTS]
    path = tmp_path / "texts.json"
    path.write_text(json.dumps([{"groups": groups, "solution": {"how": "look, think", "why": "for fun, say"}}]))
    (found,) = load_puzzles(str(path)).puzzles
    assert [list(group.members) for group in found.groups] == TEXTS
