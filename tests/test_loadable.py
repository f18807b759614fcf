"""What a trainer could not load as it is, rule by rule; and what Arrow makes of the files, by loading them."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import collate
from connections_env.dataset import build_row
from connections_env.formats import Export, rows_of
from connections_env.loadable import unloadable
from connections_env.puzzles import Group, Puzzle, shuffled
from connections_env.schema import FORMATS, RESERVED, columns, features
from connections_env.tokens import load_tokenizer
from tests.boards import PLAIN
from tests.rollouts import board, boards, results_file
from tests.test_collate import good

TOKENIZER = load_tokenizer()
SINGLE = [layout for layout in FORMATS if layout != "hf"]


def rows(layout, reasoning="inline", puzzle=PLAIN, script="ORRR"):
    export = Export(layout=layout, reasoning=reasoning)
    return rows_of(build_row(good(puzzle, script), TOKENIZER), export, TOKENIZER)[layout]


def row(layout="trl", reasoning="inline"):
    return copy.deepcopy(rows(layout, reasoning)[0])


@pytest.mark.parametrize("layout", SINGLE)
def test_the_rows_of_every_layout_load(layout):
    assert [unloadable(one, layout) for one in rows(layout)] == [[]] * len(rows(layout))


@pytest.mark.parametrize("layout", ["trl", "messages"])
def test_split_rows_load_and_are_told_from_inline_ones(layout):
    (one,) = rows(layout, "split")
    assert unloadable(one, layout, "split") == []
    assert unloadable(one, layout)[0].startswith("keys: ")
    assert unloadable(rows(layout)[0], layout, "split")[0].startswith("reasoning: ")


def at(*path, value):
    def edit(one):
        for step in path[:-1]:
            one = one[step]
        one[path[-1]] = value

    return edit


def without(*path):
    def edit(one):
        for step in path[:-1]:
            one = one[step]
        del one[path[-1]]

    return edit


def changed(*path, change):
    def edit(one):
        for step in path[:-1]:
            one = one[step]
        one[path[-1]] = change(one[path[-1]])

    return edit


def unthink(text):
    return text[text.index("<guess>") :]


def first_reply(change):
    return changed("completion", 0, "content", change=change)


def emptied(one):
    for category in one["categories"]:
        category["linking_terms"] = []


def dated(one):
    for category in one["categories"]:
        category["members"] = [f"2024-01-{nth:02}" for nth in range(1, 5)]


def swapped(one):
    one["completion"].insert(0, one["prompt"].pop())


# The rules of "A trainer must be able to load it as it is" -> rows that break one of them.
BROKEN = {
    "a message with a third key": ("trl", at("completion", 0, "name", value="x"), "keys"),
    "a message with a null beside its content": ("trl", at("prompt", 0, "tool_calls", value=None), "keys"),
    "a message without content": ("trl", without("prompt", 0, "content"), "keys"),
    "a message that is text": ("trl", at("prompt", 0, value="Hello"), "keys"),
    "an empty message": ("trl", at("completion", 1, "content", value=""), "empty message"),
    "a message of white space": ("messages", at("messages", 1, "content", value=" \n"), "empty message"),
    "an empty turn": ("sharegpt", at("conversations", 1, "value", value=""), "empty message"),
    "content in parts": ("trl", at("prompt", 0, "content", value=[{"type": "text"}]), "type"),
    "two user messages in a row": ("trl", at("completion", 2, "role", value="user"), "roles"),
    "two replies in a row": ("openai", at("messages", 3, "role", value="assistant"), "roles"),
    "a role of its own": ("trl", at("completion", 1, "role", value="environment"), "roles"),
    "a system message in the middle": ("messages", at("messages", 3, "role", value="system"), "roles"),
    "a speaker of its own": ("sharegpt", at("conversations", 1, "from", value="player"), "roles"),
    "a prompt that ends with assistant": ("trl", lambda one: one["prompt"].append(one["completion"].pop(0)), "roles"),
    "a completion that starts with user": ("trl", swapped, "roles"),
    "a completion that ends with user": ("trl", lambda one: one["completion"].pop(), "no last reply"),
    "messages that end with user": ("messages", lambda one: one["messages"].pop(), "no last reply"),
    "an empty completion": ("trl", at("completion", value=[]), "empty"),
    "a turn of two replies": (
        "per-turn",
        lambda one: one["completion"].extend([one["prompt"][-1], *one["completion"]]),
        "roles",
    ),
    "reasoning beside the content too": ("trl", at("completion", 0, "reasoning_content", value="So."), "keys"),
    "no think block": ("trl", first_reply(unthink), "reasoning"),
    "an empty think block": ("trl", first_reply(lambda text: "<think>\n\n</think>\n\n" + unthink(text)), "reasoning"),
    "two think blocks": ("trl", first_reply(lambda text: text + "<think>\nMore.\n</think>"), "reasoning"),
    "a think block left open": ("trl", first_reply(lambda text: text.replace("</think>", "")), "reasoning"),
    "a newline less after the think block": (
        "trl",
        first_reply(lambda text: text.replace("</think>\n\n", "</think>\n")),
        "reasoning",
    ),
    "reasoning in an earlier reply": (
        "per-turn",
        at("prompt", 2, "content", value="<think>\nSo.\n</think>\n\n<guess>[`A`]</guess>"),
        "reasoning",
    ),
    "messages beside prompt and completion": ("trl", at("messages", value=[]), "columns"),
    "prompt beside messages": ("messages", at("prompt", value=[]), "columns"),
    "a column that is none of the layout": ("openai", at("puzzle_id", value="puzzle-1"), "columns"),
    "a column less": ("trl", without("reward"), "columns"),
    "an integer for a float": ("trl", at("reward", value=5), "type"),
    "a bool for a float": ("trl", at("accuracy", value=True), "type"),
    "a float for an integer": ("trl", at("num_turns", value=3.0), "type"),
    "a bool for an integer": ("trl", at("resumed_turns", value=False), "type"),
    "an integer of more than 64 bits": ("trl", at("num_tokens", value=2**63), "type"),
    "an integer for a bool": ("trl", at("doctored", value=0), "type"),
    "not a number": ("trl", at("reward", value=math.nan), "type"),
    "infinity": ("trl", at("reward", value=math.inf), "type"),
    "null for text": ("trl", at("reducer_model", value=None), "type"),
    "a category index that is text": ("trl", at("guess_history", 1, "category_idx", value="0"), "type"),
    "half a character": ("trl", at("model", value="\ud83d"), "type"),
    "an object keyed by data": ("trl", at("categories", value={"GREEN": ["OLIVE"]}), "type"),
    "a verdict without a key": ("trl", without("guess_history", 0, "category_idx"), "keys"),
    "a verdict with the reason of an invalid guess": ("trl", at("guess_history", 0, "reason", value=None), "keys"),
    "an empty history": ("trl", at("guess_history", value=[]), "empty"),
    "no linking terms at all": ("trl", emptied, "empty"),
    "no group index at all": (
        "trl",
        lambda one: [guess.update(category_idx=None) for guess in one["guess_history"]],
        "empty",
    ),
    "a date for an id": ("trl", at("puzzle_id", value="2024-01-05"), "dates"),
    "an id without its prefix": ("trl", at("puzzle_id", value="7"), "id"),
    "a date for a rollout id": ("messages", at("rollout_id", value="2024-01-05T10:00:00Z"), "dates"),
    "a board of dates": ("trl", dated, "dates"),
    **{f"a column {name}": ("trl", at(name, value="x"), "columns") for name in sorted(RESERVED)},
}


@pytest.mark.parametrize(("layout", "edit", "why"), BROKEN.values(), ids=BROKEN)
def test_a_row_that_breaks_a_rule_is_told_by_it(layout, edit, why):
    (one, *_) = rows(layout) if layout != "per-turn" else rows(layout)[1:]
    one = copy.deepcopy(one)
    edit(one)
    assert unloadable(one, layout)[0].partition(":")[0] == why


def test_every_rule_that_roles_break_is_told():
    one = row()
    one["prompt"].append(one["completion"].pop(0))
    assert unloadable(one, "trl")[:2] == [
        "roles: a prompt ends with user",
        "roles: a completion starts with assistant",
    ]


@pytest.mark.parametrize(
    "edit",
    [
        without("completion", 0, "reasoning_content"),
        at("completion", 0, "reasoning_content", value=" "),
        at("completion", 0, "reasoning_content", value=None),
        at("completion", 1, "reasoning_content", value="I see."),
        at("prompt", 0, "reasoning_content", value=None),
        changed("completion", 0, "content", change=lambda text: f"<think>\nSo.\n</think>\n\n{text}"),
    ],
)
def test_split_reasoning_is_in_every_reply_once_and_nowhere_else(edit):
    one = row("trl", "split")
    edit(one)
    assert unloadable(one, "trl", "split")


def test_a_column_is_named_where_trainers_misread_it():
    one = row() | {"labels": "x"}
    assert unloadable(one, "trl") == ["columns: 'labels' is none of this layout, and trainers misread it"]


def test_columns_that_are_wrong_are_told_in_the_order_of_the_row_and_then_of_the_layout():
    one = {name: value for name, value in row().items() if name not in ("reward", "source", "tokenizer")}
    one = {"zebra": 1, **one, "text": "x", "apple": 1}
    assert unloadable(one, "trl") == [
        "columns: 'zebra' is none of this layout",
        "columns: 'text' is none of this layout, and trainers misread it",
        "columns: 'apple' is none of this layout",
        "columns: 'reward' is missing",
        "columns: 'source' is missing",
        "columns: 'tokenizer' is missing",
    ]


def test_the_checks_and_the_features_are_of_one_schema():
    for layout in SINGLE:
        arrow = features(layout).arrow_schema
        assert arrow.names == list(columns(layout))
        assert list(rows(layout)[0]) == arrow.names
    assert (
        not RESERVED & set(columns("trl")) | RESERVED & set(columns("messages")) | RESERVED & set(columns("per-turn"))
    )


# What Arrow makes of the files


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def collated(path, games, *flags):
    results_file(Path("good.jsonl"), games)
    assert collate.main(["good.jsonl", "--no-default-exclude", "--output", path, *flags]) == 0


def load(*paths, **options):
    import datasets

    kind = "parquet" if paths[0].endswith(".parquet") else "json"
    return datasets.load_dataset(kind, data_files=list(paths), split="train", cache_dir="cache", **options)


def written(*paths):
    return [json.loads(line) for path in paths for line in Path(path).read_text("utf-8").splitlines()]


def termless(number):
    puzzle = board(number)
    return replace(puzzle, groups=tuple(replace(group, linking_terms=()) for group in puzzle.groups))


SMALL = {"chunksize": 9000}  # bytes, so that the first rows alone give the types


@pytest.mark.parametrize("layout", SINGLE)
def test_odd_rows_first_give_no_column_another_type(here, layout):
    odd = [good(termless(number), "WRRR") for number in range(20)]
    collated("rows.jsonl", [*odd, good(board(20)), good(PLAIN, "ORRR")], "--format", layout)
    loaded = load("rows.jsonl", **SMALL)
    assert list(loaded) == written("rows.jsonl")
    assert loaded.features == features(layout)


@pytest.mark.parametrize("layout", SINGLE)
def test_two_files_load_as_one(here, layout):
    collated("a.jsonl", [good(termless(number)) for number in range(3)], "--format", layout, "--parquet")
    collated("b.jsonl", [good(board(3), "WRRR"), good(PLAIN, "ORRR")], "--format", layout, "--parquet")
    for paths in (["a.jsonl", "b.jsonl"], ["b.jsonl", "a.jsonl"]):
        loaded = load(*paths)
        assert list(loaded) == written(*paths)
        assert loaded.features == features(layout)
    loaded = load("a.parquet", "b.parquet")
    assert list(loaded) == written("a.jsonl", "b.jsonl")
    assert loaded.features == features(layout)


@pytest.mark.parametrize("layout", SINGLE)
@pytest.mark.parametrize("script", ["RRR", "WRRR", "OOORRR"])
def test_one_row_of_json_has_the_features_of_the_schema(here, layout, script):
    collated("rows.jsonl", [good(termless(0), script)], "--format", layout)
    assert load("rows.jsonl").features == features(layout)


def test_a_guess_of_the_dataset_has_no_reason_since_none_is_invalid(here):
    collated("rows.jsonl", [good(board(0), "ORRR")])
    (one,) = written("rows.jsonl")
    assert {tuple(guess) for guess in one["guess_history"]} == {("words", "status", "category_idx")}
    assert [guess["category_idx"] is None for guess in one["guess_history"]] == [True, False, False, False, False]


@pytest.mark.parametrize("layout", ["trl", "messages", "sharegpt", "per-turn"])
def test_ids_that_are_dates_stay_text(here, layout):
    games = [good(replace(puzzle, puzzle_id=f"2024-01-0{nth}")) for nth, puzzle in enumerate(boards(3), 1)]
    collated("rows.jsonl", games, "--format", layout)
    assert set(load("rows.jsonl")["puzzle_id"]) == {f"puzzle-2024-01-0{nth}" for nth in range(1, 4)}


def test_whole_rewards_first_leave_the_column_a_float(here):
    theme_game = [good(board(number), "WWRRR") for number in range(2)]  # 5.1
    whole = [good(board(number), "OOORRR") for number in range(2, 30)]  # 5.0
    collated("rows.jsonl", [*whole, *theme_game])
    loaded = load("rows.jsonl", **SMALL)
    assert loaded["reward"][0] == 5.0
    assert loaded["reward"][-1] == 5.1
    assert loaded.features["reward"].dtype == "float64"


def test_no_row_of_a_turn_has_an_empty_history(here):
    collated("rows.jsonl", [good(board(number)) for number in range(12)], "--format", "per-turn")
    assert all(one["guess_history"] for one in written("rows.jsonl"))
    assert list(load("rows.jsonl", **SMALL)) == written("rows.jsonl")


def test_a_board_of_dates_alone_is_refused_and_one_with_a_word_is_not(here, capsys):
    def calendar(name, first):
        dates = [first, *(f"2024-{month:02}-{day:02}" for month in range(1, 5) for day in range(1, 5))][:16]
        groups = [Group(f"2024-0{n}-01", tuple(dates[4 * n : 4 * n + 4]), ("x",)) for n in range(4)]
        return Puzzle(name, shuffled(dates), tuple(replace(group, theme="days") for group in groups))

    results_file(Path("good.jsonl"), [good(calendar("a", "2023-12-31")), good(calendar("b", "NEW YEAR"))])
    assert collate.main(["good.jsonl", "--no-default-exclude"]) == 0
    assert [one["puzzle_id"] for one in written("sft_examples.jsonl")] == ["puzzle-b"]
    (reject,) = written("sft_rejects.jsonl")
    assert reject["reasons"][0].startswith("not loadable: dates: guess_history[].words[] holds nothing but dates")
    assert list(load("sft_examples.jsonl")) == written("sft_examples.jsonl")


@pytest.mark.parametrize("layout", ["trl", "messages"])
def test_split_rows_load_without_a_null_key(here, layout):
    collated("rows.jsonl", [good(board(number), "WRRR") for number in range(9)], "--format", layout,
             "--reasoning-format", "split")  # fmt: skip
    assert list(load("rows.jsonl", **SMALL)) == written("rows.jsonl")
