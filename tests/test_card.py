"""The folder's card as the hub reads its head and as people read the rest, of few games and of many."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from connections_env.examples import Place, canonical_row
from connections_env.parsing import Reply
from connections_env.records import SIMULATED
from connections_env.rulesets import PUZZGRID
from connections_env.schema import HF_LAYOUTS, columns, features
from tests.boards import PLAIN
from tests.rollouts import board, boards, guess_text, puzzle_file, rollout, script_replies
from tests.test_collate import good, longer, lost, named, played, raw, spares_of
from tests.test_hf_folder import LAYOUTS, export, files, load, refused_in_a_line, the_card


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def head():
    from huggingface_hub import DatasetCard

    return DatasetCard.load("sft_dataset/README.md").data.to_dict()


def prose():
    """The card without its head and its code."""
    body = the_card().partition("\n---\n")[2]
    return re.sub(r"^```python\n.*?^```", "", body, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bytes_in_the_head_are_what_the_datasets_library_makes_of_the_rows(layout):
    import datasets

    export("--test-size", "0.4", games=[good(puzzle, "WRRR") for puzzle in boards(12)])
    info = datasets.load_dataset_builder("sft_dataset", layout, cache_dir="cache").info
    sizes = {}
    for split, rows in load("sft_dataset", layout).items():
        sizes[split] = datasets.Dataset.from_list(list(rows), features=features(layout))._estimate_nbytes()
        assert info.splits[split].num_bytes == sizes[split]  # what `push_to_hub` of the library writes
        assert info.splits[split].num_examples == len(rows)
    assert len(sizes) == 2
    assert info.dataset_size == sum(sizes.values())
    assert info.download_size == sum(path.stat().st_size for path in Path("sft_dataset", layout).iterdir())
    assert info.download_size != info.dataset_size


# Few games


def test_the_card_of_one_game_reads_as_one():
    export("--test-size", "0", games=[good(PLAIN)])
    text = prose()
    assert "\n1 won game of the word game" in text
    assert "interrupted" not in text
    assert "come from before the cut" not in text
    assert "| of 1 row read | |" in text
    assert "1 of 1 without a wrong guess: the student sees no errors." in text
    assert "There is one split, `train`." in text
    assert not re.search(r"\b1 (?:\w+ )?(?:games|puzzles|replies|rows)\b", text)


def test_fewer_than_four_games_have_no_quarters():
    export("--test-size", "0", games=[good(puzzle) for puzzle in boards(3)])
    assert "| turns | 3 | 3 |  | 3 |  | 3 | 3 |" in the_card()
    export("--test-size", "0", games=[good(puzzle) for puzzle in boards(4)])
    assert "| turns | 4 | 3 | 3 | 3 | 3 | 3 | 3 |" in the_card()


def test_the_card_of_a_test_split_without_a_game_says_so():
    export("--test-size", "0.0001", games=[good(puzzle) for puzzle in boards(2)])
    text = the_card()
    assert "All puzzles here are in `train` so far." in text
    assert "below 0.0001 is `test`" in text
    assert 'eval_dataset=dataset["test"]' not in text


def test_the_card_of_one_simulated_game_warns_of_one():
    export("--test-size", "0", games=[good(PLAIN, simulated=True)])
    assert "**1 of 1 game is the work of a simulated player**, which is no model: all replies of 1." in the_card()


# Languages


@pytest.mark.parametrize(
    ("flags", "codes", "words"),
    [
        ([], ["en"], "English"),
        (["--language", "de"], ["de"], "German"),
        (["--language", "DE, en", "--language", "de"], ["de", "en"], "German and English"),
        (
            ["--language", "pt-br,zh-hant,yue"],
            ["pt-BR", "zh-Hant", "yue"],
            "Portuguese (`pt-BR`), Chinese (`zh-Hant`) and `yue`",
        ),
    ],
)
def test_the_card_tells_the_languages_of_the_puzzles(flags, codes, words):
    export("--test-size", "0", *flags)
    assert head()["language"] == codes
    assert f"The puzzles are in {words}, lean on idioms" in the_card()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("english", "'english' is no code of a language; did you mean en?"),
        ("xx", "'xx' is no code of a language, such as en, pt-BR or yue"),
        ("en,", "'' is no code of a language, such as en, pt-BR or yue"),
        ("en_US", "'en_US' is no code of a language, such as en, pt-BR or yue"),
    ],
)
def test_what_is_no_language_is_one_line(capsys, given, told):
    error = refused_in_a_line(capsys, "--language", given)
    assert error.startswith(f"error: argument --language: {told}; see ")


# A license that the hub has no id for


OTHER = ("--test-size", "0", "--license", "other", "--license-name", "my-license-1.0")


def test_a_license_of_ones_own_is_named_and_linked():
    assert export(*OTHER, "--license-link", "https://example.org/license") == 0
    named = {name: value for name, value in head().items() if name.startswith("license")}
    assert named == {
        "license": "other",
        "license_name": "my-license-1.0",
        "license_link": "https://example.org/license",
    }
    assert "LICENSE" not in files()


def test_a_license_in_a_file_goes_into_the_folder_and_out_of_it_again(here):
    (here / "terms.txt").write_bytes(b"Do as you like.\r\n")
    assert export(*OTHER, "--license-link", "terms.txt") == 0
    assert head()["license_link"] == "LICENSE"
    assert files()["LICENSE"] == b"Do as you like.\r\n"
    assert load()["train"].num_rows == 12
    assert export("--test-size", "0") == 0
    assert "LICENSE" not in files()
    assert "license_name" not in head()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--license", "other"],
            "--license other needs --license-name: nobody may use a dataset whose license cannot be told",
        ),
        (
            ["--license", "other", "--license-name", "x"],
            "--license other needs --license-link: nobody may use a dataset whose license cannot be told",
        ),
        (["--license", "mit", "--license-name", "x"], "--license-name goes with --license other alone"),
        (["--license", "mit", "--license-link", "x"], "--license-link goes with --license other alone"),
        (
            ["--license", "other", "--license-name", "x", "--license-link", "gone"],
            "--license-link gone: neither an address, such as https://..., nor a file",
        ),
        (["--parquet"], "--parquet does not go with --format hf, which is Parquet as it is; leave it out"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line_and_no_folder(here, capsys, flags, told):
    assert export(*flags) == 2
    assert capsys.readouterr().err == f"error: {told}\n"
    assert [path.name for path in here.iterdir()] == ["good.jsonl"]


@pytest.mark.parametrize("name", ["my license", "", "-x", "a/b", "é"])
def test_a_name_of_a_license_is_an_id(capsys, name):
    with pytest.raises(SystemExit) as end:
        export("--license", "other", f"--license-name={name}", "--license-link", "https://example.org")
    assert end.value.code == 2
    assert f"{name!r} is no name for a license" in capsys.readouterr().err


# What a row is


def example():
    """What the fence of the example holds."""
    found = re.search(r"^## An example\n\n(.*)\n\n(`{3,})text\n(.*?)\n\2\n\n## Load it$", the_card(), re.M | re.DOTALL)
    return found[1], found[3], found[2]


def saying(puzzle, content, reasoning, script="RRR"):
    """A good game whose first reply is this and the guess of the first group."""
    replies = script_replies(puzzle, script)
    first = Reply(content + guess_text(puzzle.groups[0].members), reasoning, "stop", 40)
    return canonical_row(rollout(puzzle, [first, *replies[1:]]))


def test_the_example_is_the_first_turn_of_the_first_row_to_train_on():
    export("--test-size", "0.4")
    row = load()["train"][0]
    told, shown, fence = example()
    assert told == "The first turn of a game, after the rules. Above each message stands whose it is:"
    assert fence == "```"
    board, reply, verdict = row["prompt"][-1], row["completion"][0], row["completion"][1]
    assert shown == (f"[user]\n{board['content']}\n\n[assistant]\n{reply['content']}\n\n[user]\n{verdict['content']}")


def test_the_reasoning_of_the_example_is_cut_between_words_and_says_so():
    export("--test-size", "0", games=[saying(PLAIN, "", "Tools. " + "thinking " * 100)])
    told, shown, _ = example()
    thought = re.search(r"<think>\n(.*)\n</think>\n\n<guess>\[`", shown)[1]
    assert thought == "Tools. " + " ".join(["thinking"] * 32) + "…"
    assert told.startswith("The first turn of a game, after the rules, its reasoning cut to 295 of 906 characters.")


@pytest.mark.parametrize("said", ["```", "`````\n# Not a heading", "~~~ ```` | `", "\u202eturned\u200b"])
def test_nothing_a_model_says_ends_the_fence_of_the_example_or_turns_its_lines(said):
    export("--test-size", "0", games=[saying(PLAIN, f"{said}\nand so\n", "")])
    _, shown, fence = example()
    assert fence not in shown
    assert said.encode("ascii", "backslashreplace").decode() in shown
    assert not re.search("[\u202e\u200b]", the_card())
    assert the_card().count("\n## ") == 14


def test_the_example_of_a_game_that_one_guess_wins_has_no_verdict():
    export("--test-size", "0", games=[good(board(3, groups=2, size=4), "R")])
    assert example()[1].count("[user]") == 1


def test_the_card_says_which_configurations_a_column_is_in():
    export("--test-size", "0")
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| (.*?) \| ", the_card(), re.MULTILINE)
    for layout in HF_LAYOUTS:
        assert {name for name, places in rows if places == "all" or f"`{layout}`" in places} == {*columns(layout)}
    assert dict(rows)["tokens_before"] == "`trl`, `messages`"
    assert dict(rows)["turn"] == "`per-turn`"


def test_each_history_of_a_turn_ends_as_the_card_says():
    themed = canonical_row(rollout(PLAIN, [*script_replies(PLAIN, "RWRR", PUZZGRID), named(PLAIN)], ruleset=PUZZGRID))
    export("--test-size", "0", games=[themed])
    assert "its guess ends `guess_history`, but for `auto` after the game's last guess" in the_card()
    rows = load("sft_dataset", "per-turn")["train"]
    ends = [(row["turn"], [guess["status"] for guess in row["guess_history"]][-2:]) for row in rows]
    assert ends == [
        (1, ["correct"]),
        (3, ["incorrect", "correct"]),
        (4, ["correct", "auto"]),
        (5, ["correct", "auto"]),  # the themes
    ]


# Where it comes from


def test_the_card_names_what_made_it_and_where_words_were_moved():
    export("--test-size", "0", games=[saying(PLAIN, "Hello! These are tools.\n", "Hm, tools.")])
    text = prose()
    assert text.count("`connections-sft`") == 3
    assert "the pipeline" not in text
    assert "was moved into the think block, to the end of its reasoning after a blank line" in text
    (row,) = load()["train"]
    assert row["completion"][0]["content"].startswith(
        "<think>\nHm, tools.\n\nHello! These are tools.\n</think>\n\n<guess>"
    )


@pytest.mark.parametrize(
    ("reducers", "by"),
    [
        ([["m"]], "a model"),
        ([[SIMULATED]], "a simulated player"),
        ([[SIMULATED], ["m"]], "a model or a simulated player"),
        ([["m", SIMULATED]], "a model or a simulated player"),
    ],
)
def test_the_card_says_whether_a_model_shortened_the_reasoning(reducers, by):
    games = [
        good(puzzle, original_completion=longer(puzzle), reducer_models=who).model_copy(
            update={"simulated": SIMULATED in who}
        )
        for puzzle, who in zip(boards(2), reducers, strict=False)
    ]
    export("--test-size", "0", "--allow-simulated", games=games)
    assert f"reasoning that was too long was shortened by {by}, guesses untouched. They had" in the_card()


# What was let in


def let_in():
    """The rows of the table by name, and the number in its head."""
    text = the_card().partition("## What was let in\n")[2].partition("\n## ")[0]
    head = re.search(r"^\| of ([\d,]+) rows? read \| \|$", text, re.MULTILINE)
    return int(head[1]), {
        name: int(count) for name, count in re.findall(r"^\| ([^|]+) \| (\d+) \|$", text, re.MULTILINE)
    }


def test_what_was_let_in_adds_up_with_broken_rows_junk_and_spares():
    first, second, third, fourth = boards(4)
    spares = [*spares_of(lost(first), played(first, "RRR")), Place(file="gone.jsonl", offset=0)]
    games = [
        raw(good(first, spares=spares)) | {"reward": 1.0},
        good(second),
        good(second, "ORRR"),
        raw(good(third)) | {"reward": 99.0},
        good(third, "ORRR"),
        raw(good(fourth)) | {"reward": 1.0},
        "junk",
        "{}",
    ]
    export("--test-size", "0", games=games)
    read, counts = let_in()
    other = {name.partition(", ")[2]: counts.pop(name) for name in [*counts] if name.startswith("other rollouts")}
    assert (read, sum(counts.values())) == (8, 8)
    assert counts == {
        "rejected, outcome differs": 3,
        "rejected, unreadable": 2,
        "accepted": 2,
        "a better row of the puzzle is in": 1,
    }
    assert other == {"accepted": 1, "rejected": 1}
    assert counts["accepted"] + other["accepted"] == load()["train"].num_rows
    assert "other rollouts in the results were tried: 2. All other figures add up to the rows read." in the_card()
    assert "The 3 games here are what was accepted of both, rows and other rollouts." in the_card()


def test_the_card_speaks_of_no_other_rollouts_where_none_was_tried():
    export("--test-size", "0", games=[good(PLAIN)])
    assert let_in() == (1, {"accepted": 1})
    assert "rollouts in the results" not in the_card()


def test_the_card_tells_boards_held_out_by_their_items_from_ids_held_out_by_name():
    Path("ids.txt").write_text("made-0\nnone\n\nnone\n")
    puzzle_file(Path("test.jsonl"), boards(4)[2:])
    export("--test-size", "0", "--exclude", "ids.txt", "--exclude", "test.jsonl")
    assert (
        "\nHeld out, since a model may be tested on them: puzzles, whatever the order and letter case of their items "
        "(2 of `test.jsonl`); ids, and every board that a row has under one of them (2 of `ids.txt`).\n"
    ) in the_card()
    assert load()["train"].num_rows == 9


# Its lines


def test_each_paragraph_and_each_bullet_of_the_card_is_one_line():
    cut = good(PLAIN, original_completion=longer(PLAIN), reducer_models=[SIMULATED])
    *some, last = boards(9)
    themed = canonical_row(rollout(last, [*script_replies(last, "RRR", PUZZGRID), named(last)], ruleset=PUZZGRID))
    Path("ids.txt").write_text("none")
    games = [cut.model_copy(update={"simulated": True}), themed, *map(good, some)]
    export("--test-size", "0.3", "--allow-simulated", "--exclude", "ids.txt", games=games)
    lines = re.sub(r"^(`{3,})\w+\n.*?^\1$", "", prose(), flags=re.MULTILINE | re.DOTALL).splitlines()
    own = re.compile(r"\||!\[| *- |$")  # rows of tables, pictures, bullets, and what is between paragraphs
    broken = [line for before, line in pairwise(lines) if before and not own.match(line)]
    assert broken == []
    assert any(len(line) > 300 for line in lines)
