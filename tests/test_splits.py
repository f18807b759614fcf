"""`--test-size`: which side a puzzle is on, and that it stays there."""

from pathlib import Path

import pytest

from connections_env import splits
from connections_env.card_head import boundary_of
from tests.rollouts import boards, puzzle_file
from tests.test_collate import good
from tests.test_hf_folder import export, load, the_card


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_source(puzzle, source="source.jsonl"):
    game = good(puzzle)
    return game.model_copy(update={"info": game.info.model_copy(update={"source": source})})


def fresh(folder="sft_dataset"):
    """Puzzle id -> split, in the folder as it is now."""
    loaded = load(folder, download_mode="force_redownload")
    return {puzzle_id: split for split, rows in loaded.items() for puzzle_id in rows["puzzle_id"]}


@pytest.mark.parametrize("size", [1, 5, 20])
def test_a_number_is_the_same_cut_whichever_puzzles_of_the_source_have_a_game(size):
    puzzles = boards(40)
    puzzle_file(Path("source.jsonl"), puzzles)

    def cut(name, some):
        assert export("--test-size", str(size), "--output", name, games=[of_source(puzzle) for puzzle in some]) == 0
        return boundary_of(Path(name, "README.md").read_text(encoding="utf-8"))

    every = cut("all", puzzles)
    assert list(fresh("all").values()).count("test") == size
    assert cut("some", puzzles[::3]) == cut("others", puzzles[1::2]) == every
    assert sum(every.holds(puzzle.key) for puzzle in puzzles) == size


def test_the_share_that_a_number_became_splits_alike_in_any_folder(capsys):
    export("--test-size", "3")
    cut, shown = boundary_of(the_card()), capsys.readouterr()
    assert f"\n--test-size {cut.below} is where the test split ends, asked for as 3 puzzles\n" in shown.out
    assert shown.err == (
        "which puzzles are for test is told by the rows alone, and may change in another folder (some rows name no "
        "source); --test-size with a share below 1 does without\n"
    )
    assert f"wherever it is made with `--test-size {cut.below}`" in the_card()
    export("--test-size", str(cut.below), "--output", "other")
    assert fresh("other") == fresh()


def test_a_source_that_is_gone_is_told_and_its_rows_are_what_there_is(capsys):
    games = [of_source(puzzle, "gone/away.jsonl") for puzzle in boards(8)]
    assert export("--test-size", "2", games=games) == 0
    assert list(fresh().values()).count("test") == 2
    error = capsys.readouterr().err
    assert error.startswith("which puzzles are for test is told by the rows alone, and may change in another folder (")
    assert "gone/away.jsonl" in error


def test_a_puzzle_whose_game_went_and_came_back_keeps_its_side():
    games = [good(puzzle) for puzzle in boards(12)]
    export("--test-size", "4", games=games)
    before = fresh()
    first = next(puzzle_id for puzzle_id, split in before.items() if split == "test")
    export("--test-size", "4", games=[game for game in games if f"puzzle-{game.info.puzzle_id}" != first])
    assert fresh() == {puzzle_id: split for puzzle_id, split in before.items() if puzzle_id != first}
    export("--test-size", "4", games=games)
    assert fresh() == before


@pytest.mark.parametrize(("sizes", "changed"), [(("0.1", "0.9"), True), (("4", "0"), True), (("0.5", "0.5"), False)])
def test_puzzles_that_change_sides_by_another_size_are_told(capsys, sizes, changed):
    export("--test-size", sizes[0])
    before = fresh()
    capsys.readouterr()
    export("--test-size", sizes[1])
    error = capsys.readouterr().err
    moved = len(before.items() - fresh().items())
    told = f"{moved} puzzles are on another side, train or test, than in the sft_dataset that this one replaces\n"
    assert (moved > 1) == changed
    assert error == (told if changed else "")


@pytest.mark.parametrize(
    "head", ["", "test_split: 3", "test_split:\n  size: x\n  below: 1", "a: [", "test_split:\n  size: 1", "- 1"]
)
def test_a_card_that_does_not_tell_its_cut_has_none(head):
    assert boundary_of(f"---\n{head}\n---\n# Mine") is None


@pytest.mark.parametrize("size", ["0.00001", "0.123456789", "3", "0"])
def test_the_cut_in_the_head_is_read_back_as_it_was_written(size):
    export("--test-size", size)
    cut = boundary_of(the_card())
    assert cut.size == float(size)
    assert cut.below == float(size) or size == "3"
    assert boundary_of(the_card().replace("\n", "\r\n")) == cut


def test_a_number_becomes_the_shortest_share_between_two_puzzles():
    keys = [f"board {number}" for number in range(1000)]
    places = sorted(map(splits.place, keys))
    for number in (1, 10, 500, 999):
        below = splits.boundary_for(number, [], lambda: keys).below
        assert places[number - 1] < below <= places[number]
        assert len(str(below)) <= 8
