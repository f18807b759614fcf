"""The bundled puzzles: their number, their structure, and a second solver's verdict on each."""

import json
import re
from collections import Counter
from itertools import chain

import pytest

from connections_env.boards import puzzle_from_row
from connections_env.puzzles import normalise
from connections_env.sources import BUILTIN, load_puzzles

ROWS = [json.loads(line) for line in BUILTIN.read_text(encoding="utf-8").splitlines()]
VERDICTS = {
    row["puzzle_id"]: row
    for row in map(json.loads, (BUILTIN.parent / "second_solver.jsonl").read_text(encoding="utf-8").splitlines())
}
each_puzzle = pytest.mark.parametrize("row", ROWS, ids=[row["puzzle_id"] for row in ROWS])


def plain(items):
    return frozenset(map(normalise, items))


def test_there_are_120_puzzles_in_splits_of_70_30_and_20():
    assert Counter(row["split"] for row in ROWS) == {"train_sft": 70, "train_rl": 30, "test": 20}
    assert len({row["puzzle_id"] for row in ROWS}) == len({row["title"] for row in ROWS}) == 120


@pytest.mark.parametrize("split", sorted({row["split"] for row in ROWS}))
def test_every_puzzle_of_a_split_can_be_played_and_none_is_skipped(split):
    loaded = load_puzzles("builtin", split)
    assert loaded.skipped == []
    assert [puzzle.puzzle_id for puzzle in loaded.puzzles] == [r["puzzle_id"] for r in ROWS if r["split"] == split]
    assert {puzzle.split for puzzle in loaded.puzzles} == {split}


def test_no_two_puzzles_hold_the_same_items():
    assert len({puzzle_from_row(row).key for row in ROWS}) == 120


def test_no_two_puzzles_share_more_than_half_of_their_items():
    keys = [plain(chain(*row["group_words"])) for row in ROWS]
    for n, one in enumerate(keys):
        for other in keys[n + 1 :]:
            assert 2 * len(one & other) <= min(len(one), len(other))


def test_no_group_is_in_two_puzzles_by_its_theme_or_by_its_members():
    themes = Counter(normalise(theme) for row in ROWS for theme in row["group_themes"])
    members = Counter(plain(group) for row in ROWS for group in row["group_words"])
    assert [theme for theme, times in themes.items() if times > 1] == []
    assert [group for group, times in members.items() if times > 1] == []


@each_puzzle
def test_a_puzzle_has_unique_items_even_groups_themes_and_linking_terms(row):
    items = list(chain(*row["group_words"]))
    assert len(plain(items)) == len(items)
    assert all(item.strip() == item and item for item in items)
    assert len({len(group) for group in row["group_words"]}) == 1
    assert len(row["group_words"]) == len(row["group_themes"]) == len(row["group_linking_terms"]) == row["num_groups"]
    assert all(theme.strip() for theme in row["group_themes"])
    assert all(terms.strip() for terms in row["group_linking_terms"])


@each_puzzle
def test_the_grid_size_is_that_of_the_groups(row):
    numbers = sorted(map(int, re.fullmatch(r"(\d+)x(\d+)", row["grid_size"]).groups()))
    assert numbers == sorted([len(row["group_words"]), len(row["group_words"][0])])


@each_puzzle
def test_a_board_is_not_shown_in_the_order_of_its_groups(row):
    puzzle = puzzle_from_row(row)
    assert puzzle.items != tuple(chain(*row["group_words"]))
    assert plain(puzzle.items) == plain(chain(*row["group_words"]))


@each_puzzle
def test_a_red_herring_is_on_the_board_spans_groups_and_is_no_group(row):
    groups = [plain(group) for group in row["group_words"]]
    themes = {normalise(theme) for theme in row["group_themes"]}
    for herring in row["red_herrings"]:
        items = plain(herring["items"])
        assert items <= frozenset(chain(*groups)), herring
        assert len(items) == len(herring["items"]) >= 2, herring
        assert sum(bool(items & group) for group in groups) >= 2, herring
        assert items not in groups, herring
        assert normalise(herring["theme"]) not in themes, herring


def test_most_puzzles_have_a_red_herring():
    assert sum(bool(row["red_herrings"]) for row in ROWS) > 100


def test_difficulties_are_spread_in_the_set_and_in_every_split():
    for split in {row["split"] for row in ROWS}:
        found = [row["difficulty"] for row in ROWS if row["split"] == split]
        assert all(isinstance(value, float) for value in found)
        assert len(set(found)) >= 4
        assert max(found) - min(found) >= 1


def test_some_boards_are_not_four_by_four():
    sizes = Counter(row["grid_size"] for row in ROWS)
    assert sizes["4x4"] > 90
    assert {"3x3", "3x4", "5x4", "5x5", "6x6"} <= set(sizes)
    assert sum(sizes.values()) - sizes["4x4"] >= 15


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("commas", ","),
        ("numbers", r"^[\d,.]+$"),
        ("emoji", "[\U0001f300-\U0001faff\u2600-\u27bf]"),
        ("quotes", "[\"'“”‘’]"),
        ("accents", "[À-ÖØ-öø-ÿ]"),
        ("parentheses", r"[()]"),
        ("spaces", " "),
    ],
)
def test_some_items_hold(kind, pattern):
    items = [item for row in ROWS for group in row["group_words"] for item in group]
    assert any(re.search(pattern, item) for item in items), kind


def test_linking_terms_occur_with_commas_and_with_several_words():
    terms = [term for row in ROWS for term in row["group_linking_terms"]]
    assert any("," in term for term in terms)


def test_the_second_solver_has_a_verdict_on_every_puzzle_and_on_no_other():
    assert set(VERDICTS) == {row["puzzle_id"] for row in ROWS}


@each_puzzle
def test_the_second_solvers_groups_are_those_of_the_answer_key(row):
    verdict = VERDICTS[row["puzzle_id"]]
    assert {plain(group) for group in verdict["groups"]} == {plain(group) for group in row["group_words"]}
    assert len(verdict["groups"]) == len(verdict["themes"]) == row["num_groups"]
    assert verdict["agrees"] is True
    assert verdict["unique"] is True
