"""The folder's card as the hub reads its head and as people read the rest, of few games and of many."""

import re
from pathlib import Path

import pytest

from connections_env.schema import features
from tests.boards import PLAIN
from tests.rollouts import boards
from tests.test_collate import good
from tests.test_hf_folder import LAYOUTS, export, files, load, the_card


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
    assert "| of 1 good game looked at | |" in text
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
    with pytest.raises(SystemExit) as end:
        export("--language", given)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: argument --language: {told}; see ")
    assert error.count("\n") == 1


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
