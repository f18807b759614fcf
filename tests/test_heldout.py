"""What is held out of a dataset, where several sources have the same puzzles."""

from pathlib import Path

import pytest

import collate
from connections_env.sources import load_puzzles
from tests.rollouts import boards, hub_row, puzzle_file, results_file
from tests.test_collate import collated, dataset, good, rejects
from tests.test_hf_folder import export, the_card

A, B, C = boards(3)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    puzzle_file(Path("one.jsonl"), [A, B])
    puzzle_file(Path("two.jsonl"), [B])


@pytest.mark.parametrize("order", [["one.jsonl", "two.jsonl"], ["two.jsonl", "one.jsonl"]])
def test_each_source_counts_all_its_puzzles_in_whatever_order_they_are_named(capsys, order):
    flags = [flag for name in order for flag in ("--exclude", name)]
    assert collated([good(B), good(C)], *flags) == 0
    told = {"one.jsonl": "2 of one.jsonl", "two.jsonl": "1 of two.jsonl"}
    both = ", ".join(told[name] for name in order)
    assert f"puzzles that may not be in: {both}; rows refused for it: 1\n" in capsys.readouterr().out
    assert [one["reasons"] for one in rejects()] == [[f"held out: its puzzle is in {order[0]}"]]
    export(*flags)
    assert "(2 of `one.jsonl`, 1 of `two.jsonl`)" in the_card()


def test_a_source_named_twice_counts_once(capsys):
    assert collated([good(C)], "--exclude", "two.jsonl", "--exclude", "two.jsonl") == 0
    assert "puzzles that may not be in: 1 of two.jsonl; rows refused for it: 0\n" in capsys.readouterr().out


def test_ids_are_told_from_puzzles_and_the_first_list_of_an_id_is_named(capsys):
    Path("ids.txt").write_text("made-1\nmade-1\nnone\n")
    Path("more.txt").write_text("made-1\n")
    assert collated([good(B), good(C)], "--exclude", "ids.txt", "--exclude", "more.txt", "--exclude", "one.jsonl") == 0
    told = "puzzles that may not be in: 2 of one.jsonl, 2 ids of ids.txt, 1 id of more.txt; rows refused for it: 1\n"
    assert told in capsys.readouterr().out
    assert [one["reasons"] for one in rejects()] == [["held out: its puzzle is in one.jsonl"]]
    assert collated([good(B), good(C)], "--exclude", "ids.txt", "--exclude", "more.txt") == 0
    assert [one["reasons"] for one in rejects()] == [["held out: its puzzle is in ids.txt"]]


@pytest.mark.parametrize("recorded", ["./data/puzzles", "data/puzzles"])
def test_the_other_splits_of_a_folder_that_is_named_like_a_dataset_are_held_out(capsys, recorded):
    """Rows of before recorded the name as it was given."""
    Path("data/puzzles").mkdir(parents=True)
    rows = [hub_row(puzzle) | {"split": split} for puzzle, split in ((A, "train"), (B, "train"), (C, "dev"))]
    results_file(Path("data/puzzles/some.jsonl"), rows)
    train, dev = (load_puzzles("data/puzzles", split).puzzles for split in ("train", "dev"))
    games = [good(puzzle) for puzzle in (*train, *dev)]
    games = [game.model_copy(update={"info": game.info.model_copy(update={"source": recorded})}) for game in games]
    results_file(Path("good.jsonl"), games)
    assert collate.main(["good.jsonl", "--format", "hf", "--license", "mit", "--test-size", "0"]) == 0
    assert [one["reasons"] for one in rejects()] == [[f"held out: its puzzle is in {recorded}:dev"]]
    assert f"| `{recorded}` | 2 | those of whoever made the puzzles |" in the_card()
    assert "huggingface.co/datasets" not in the_card()
    assert collate.main(["good.jsonl"]) == 0
    assert {row["source"] for row in dataset()} == {recorded}
    assert capsys.readouterr().err == ""
