"""`--format hf`: a folder that loads as it is, its splits, its card, and what it never replaces."""

import fcntl
import json
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import collate
from connections_env import card, splits
from connections_env.dataset import public_name
from connections_env.examples import canonical_row
from connections_env.records import SIMULATED, Cut, ResumedFrom
from connections_env.rulesets import PUZZGRID
from connections_env.schema import features
from connections_env.terms import source_terms
from tests.boards import FIVE, PLAIN
from tests.rollouts import boards, puzzle_file, results_file, rollout, script_replies
from tests.test_collate import good, longer, named

LAYOUTS = ("trl", "messages", "per-turn")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(*flags, games=None, layout="hf"):
    results_file(Path("good.jsonl"), games or [good(puzzle) for puzzle in boards(12)])
    hf = ["--license", "cc-by-4.0"] if layout == "hf" and "--license" not in flags else []
    return collate.main(["good.jsonl", "--no-default-exclude", "--format", layout, *hf, *flags])


def refused_in_a_line(capsys, *flags):
    """What is said of flags that cannot be meant, in one line."""
    with pytest.raises(SystemExit) as end:
        export(*flags)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def load(folder="sft_dataset", *config, **options):
    import datasets

    return datasets.load_dataset(str(folder), *config, cache_dir="cache", **options)


def files(folder="sft_dataset"):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def the_card():
    return Path("sft_dataset/README.md").read_text(encoding="utf-8")


def written(path="sft_examples.jsonl"):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


# The folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_folder_loads_as_the_rows_that_the_other_formats_write(layout):
    games = [good(PLAIN, "ORRWR"), good(FIVE, "RRRR"), *(good(puzzle, "WRRR") for puzzle in boards(12))]
    assert export(games=games) == 0
    assert export(games=games, layout=layout) == 0
    loaded = load("sft_dataset", layout)
    assert sorted(loaded) == ["test", "train"]
    by_place = sorted([*loaded["train"], *loaded["test"]], key=lambda row: (row["puzzle_id"], row.get("turn")))
    assert by_place == sorted(written(), key=lambda row: (row["puzzle_id"], row.get("turn")))
    assert loaded["train"].features == features(layout)


def test_games_are_the_default_configuration():
    export("--test-size", "0")
    assert list(load(split="train")) == list(load("sft_dataset", "trl", split="train"))


def test_the_folder_holds_these_files_and_no_other():
    export("--test-size", "3")
    parquet = {f"{layout}/{split}-00000-of-00001.parquet" for layout in LAYOUTS for split in ("train", "test")}
    plots = {f"plots/{name}.svg" for name in ("tokens", "turns", "rewards")}
    assert set(files()) == parquet | plots | {"README.md", "chatml_keep_think.jinja", "dataset_info.json"}
    template = Path(collate.__file__).with_name("chatml_keep_think.jinja")
    assert files()["chatml_keep_think.jinja"] == template.read_bytes()


def test_the_same_rows_make_the_same_folder():
    export()
    first = files()
    export()
    assert files() == first


def test_one_row_makes_a_folder(capsys):
    assert export("--test-size", "0", games=[good(PLAIN)]) == 0
    assert load()["train"].num_rows == 1
    assert capsys.readouterr().out.startswith("rows read: 1, examples written: 1 -> sft_dataset\ntrain: 1\n")


@pytest.mark.parametrize(("size", "games", "what"), [("1", 1, "the one game"), ("5", 2, "all 2 games")])
def test_a_test_split_that_leaves_nothing_to_train_on_is_exit_1_and_no_folder(here, capsys, size, games, what):
    assert export("--test-size", size, games=[good(puzzle) for puzzle in boards(games)]) == 1
    told = f"--test-size {size} takes {what} and leaves none to train on; lower it (0: no test split)"
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {told}"
    assert [path.name for path in here.iterdir()] == ["good.jsonl"]


# Splits


@pytest.mark.parametrize("size", ["1.5", "-1", "nan", "inf", "many", "1e400"])
def test_a_test_size_is_a_share_or_a_whole_number(capsys, size):
    with pytest.raises(SystemExit) as end:
        export("--test-size", size)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_puzzle_is_on_the_same_side_in_every_configuration():
    export("--test-size", "0.4")
    sides = [{split: {row["puzzle_id"] for row in load("sft_dataset", layout)[split]} for split in ("train", "test")}
             for layout in LAYOUTS]  # fmt: skip
    assert sides[0] == sides[1] == sides[2]
    assert not sides[0]["train"] & sides[0]["test"]


@pytest.mark.parametrize("size", ["0.4", "4"])
def test_a_puzzle_keeps_its_side_when_the_dataset_grows(size):
    def sides():
        loaded = load(download_mode="force_redownload")
        return {row["puzzle_id"]: split for split in ("train", "test") for row in loaded[split]}

    export("--test-size", size, games=[good(puzzle) for puzzle in boards(12)])
    first = sides()
    export("--test-size", size, games=[good(puzzle, "WRRR") for puzzle in reversed(boards(30))])
    assert first.items() <= sides().items()


def test_a_share_is_about_that_share_and_a_number_exactly_that_number():
    keys = [f"board {number}" for number in range(4000)]

    def chosen(size):
        cut = splits.boundary_for(size, [], lambda: keys)
        return {key for key in keys if cut.holds(key)}

    assert 300 < len(chosen(0.1)) < 500
    assert chosen(0.1) < chosen(0.2)
    assert [len(chosen(number)) for number in (1, 7, 3999, 4000, 5000)] == [1, 7, 3999, 4000, 4000]
    assert chosen(0) == set()


def test_the_side_of_a_board_is_known_for_good():
    assert math.isclose(splits.place("a board"), 0.3112602, abs_tol=1e-6)


def test_a_board_is_on_one_side_under_any_id_order_and_case():
    lower = replace(PLAIN, puzzle_id="other", items=PLAIN.items[::-1])
    sides = []
    for puzzle in (PLAIN, lower):
        export("--test-size", "0.5", games=[good(puzzle), *(good(one) for one in boards(9))])
        loaded = load(download_mode="force_redownload")
        sides.append(f"puzzle-{puzzle.puzzle_id}" in loaded["test"]["puzzle_id"])
    assert sides[0] == sides[1]


# The card


def test_the_head_of_the_card_is_what_the_hub_asks_for():
    from huggingface_hub import DatasetCard

    export("--test-size", "2")
    head = DatasetCard.load("sft_dataset/README.md").data.to_dict()
    assert head["license"] == "cc-by-4.0"
    assert head["language"] == ["en"]
    assert head["task_categories"] == ["text-generation"]
    assert head["size_categories"] == ["n<1K"]
    assert head["pretty_name"] == "Connections games with reasoning"
    assert {"reasoning", "sft", "multi-turn"} <= set(head["tags"])
    assert [config["config_name"] for config in head["configs"]] == list(LAYOUTS)
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": "trl/train-*"},
        {"split": "test", "path": "trl/test-*"},
    ]
    (trl,) = (info for info in head["dataset_info"] if info["config_name"] == "trl")
    assert [feature["name"] for feature in trl["features"]] == list(features("trl"))
    assert {split["name"]: split["num_examples"] for split in trl["splits"]} == {"train": 10, "test": 2}


def resumed(puzzle, script, turns, *cuts, **options):
    return good(puzzle, script, resumed_from=ResumedFrom(rollout_id="x", turns=turns), cuts=cuts, **options)


def test_the_card_discloses_doctoring_and_reduction_with_their_numbers():
    first, second, third, fourth = boards(4)
    valid = Cut(turns=2, kept=1, truncate="last-valid")
    doctored = [
        resumed(first, "RORR", 1, valid),
        resumed(second, "RORR", 3, valid),  # it was interrupted, and went on
        resumed(
            third, "RORR", 3, Cut(turns=1, kept=2, truncate="last-correct"), Cut(turns=1, kept=3, truncate="too-long")
        ),
    ]
    shortened = good(PLAIN, original_completion=longer(PLAIN), reducer_models=["short|er`\n# x", "gpt-5"])
    export("--test-size", "0", games=[*doctored, resumed(fourth, "RRR", 2), shortened, good(FIVE, "RRRR")])
    text = the_card()
    assert "**3 of 6 games are doctored**" in text
    assert "5 of their 12 replies come from before the last cut. They were cut:\n" in text
    assert "first invalid guess, unfit reply or losing mistake (`last-valid`): 2\n" in text
    assert "first invalid guess, unfit reply or losing mistake (`last-correct`): 1\n" in text
    assert "until the conversation fitted the model's context (`too-long`): 1\n" in text
    assert "in more than one of these ways: 1, counted in each\n" in text
    assert "(`unknown`)" not in text
    assert "- 1 game was interrupted and went on later, with nothing cut.\n" in text
    assert "begun by one teacher" not in text
    assert "**1 of 6 games are reduced**" in text
    openai = "those of [OpenAI](https://openai.com/policies/) if asked at its maker's API, else those of the endpoint"
    assert f"| `short\\|er' # x` and `gpt-5` | 1 | those of its maker and of the endpoint; {openai} |" in text
    assert "| reward, `nyt`, doctoring `gameplay` | 3 |" in text
    assert "doctoring gameplay" in Path("sft_dataset/plots/rewards.svg").read_text()


def test_the_card_of_games_of_which_nothing_was_cut_or_shortened_names_no_way_and_no_reducer():
    export("--test-size", "0")
    text = the_card()
    assert "cut and played on from there.\n- **0 of" in text
    assert "interrupted" not in text
    assert "Reducers" not in text


def test_the_card_names_everybody_who_played_a_game():
    cut = Cut(turns=1, kept=1, truncate="last-valid")

    def game(number, *models):
        row = resumed(boards(9)[number], "RRR", 1, cut)
        simulated = SIMULATED in models
        return row.model_copy(update={"reply_models": [*models], "model": models[-1], "simulated": simulated})

    mixed = [game(0, "deepseek-x", "b", "b"), game(1, "deepseek-x", "b", "b"), game(2, "b", "b", "b")]
    export("--test-size", "0", "--allow-simulated", games=[*mixed, game(3, "", "b", "b"), game(4, SIMULATED, "b", "b")])
    text = the_card()
    deepseek, other = "those of [DeepSeek](https://", "those of its maker and of the endpoint |"
    (row,) = re.findall(r"^\| `deepseek-x`, then `b` \| 2 \| (.*)$", text, re.MULTILINE)
    assert row.startswith(deepseek)
    assert row.endswith(f"; {other}")
    assert f"| `b` | 1 | {other}" in text
    assert f"| not recorded, then `b` | 1 | {other}" in text
    assert f"| a simulated player, then `b` | 1 | none: it is part of connections-sft; {other}" in text
    assert "- 4 games were begun by one teacher and went on with another.\n" in text
    assert "**1 of 5 games are the work of a simulated player**, which is no model: some replies of 1." in text


def test_the_card_tells_the_rules_of_each_ruleset_that_occurs():
    late, early = boards(9)[4:6]
    games = [
        good(PLAIN, "ORRR"),
        good(FIVE, "RRRR"),
        *(
            canonical_row(rollout(puzzle, [*script_replies(puzzle, script, PUZZGRID), named(puzzle)], ruleset=PUZZGRID))
            for puzzle, script in ((early, "WRRR"), (late, "RRWR"))
        ),
    ]
    export("--test-size", "0", games=games)
    text = the_card()
    assert "| | `nyt` | `puzzgrid` |\n" in text
    assert "| games | 2 | 2 |\n" in text
    assert "| mistakes that end the game | 4 | 3 |\n" in text
    assert "| a wrong guess is a mistake | always | once 2 groups or fewer remain |\n" in text
    assert "| a guess that is one item away is told | yes | no |\n" in text
    assert "| reward of perfect play | 5.5 | 11.25 |\n" in text
    assert "| games without a wrong guess | 1 | 0 |\n" in text
    assert "| games without a mistake | 1 | 1 |\n" in text, "the wrong guess came before mistakes count"
    assert "In `puzzgrid` there are also 0.25 for naming themes at all" in text
    assert "and 1 of 4 without a wrong guess" in text
    assert "| reward, `nyt`, doctoring `none` | 2 | 5.25 |" in text
    assert "| reward, `puzzgrid`, doctoring `none` | 2 | 11 |" in text
    assert "puzzgrid, none" in Path("sft_dataset/plots/rewards.svg").read_text()


def test_the_card_of_nyt_games_alone_speaks_of_no_other_rules():
    export("--test-size", "0")
    assert "puzzgrid" not in the_card()
    assert "| reward of perfect play | 5.5 |\n" in the_card()


def test_the_card_names_puzzles_and_teachers_with_their_terms():
    def game(number, source, model):
        row = good(boards(3)[number])
        players = {"model": model, "reply_models": [model] * 3}
        return row.model_copy(update=players | {"info": row.info.model_copy(update={"source": source})})

    made = [
        game(0, "someone/puzzles", "deepseek-flash"),
        game(1, "/home/me/mine.csv", "org/x|y"),
        game(2, "builtin", ""),
    ]
    export("--test-size", "0", games=made)
    text = the_card()
    assert "| `someone/puzzles` | 1 | see [its card](https://huggingface.co/datasets/someone/puzzles) |" in text
    assert "| `mine.csv` | 1 | those of whoever made the puzzles |" in text
    assert "/home/me" not in text
    assert "| `builtin` | 1 | made for connections-sft |" in text
    assert "| `deepseek-flash` | 1 | those of [DeepSeek](https://" in text
    assert "| `org/x\\|y` | 1 | those of its maker and of the endpoint |" in text
    assert "| not recorded | 1 |" in text


def test_the_card_says_what_was_left_out_and_the_limits():
    twice = [good(PLAIN), good(PLAIN, "ORRR"), good(FIVE, "RRRR")]
    export("--test-size", "0", "--max-reply-tokens", "900", "--max-game-tokens", "1500", games=twice)
    text = the_card()
    assert "| of 3 rows read | |" in text
    assert "| accepted | 2 |" in text
    assert "| a better row of the puzzle is in | 1 |" in text
    assert "tokenizer `qwen3`" in text
    assert "at most 900. A completion: 1,500." in text


def test_the_card_warns_of_simulated_games():
    export("--test-size", "0", games=[good(puzzle, simulated=True) for puzzle in boards(3)])
    text = the_card()
    assert "**3 of 3 games are the work of a simulated player**, which is no model: all replies of 3." in text
    assert "| a simulated player | 3 | none: it is part of connections-sft |" in text
    assert "- simulated\n" in text


def test_the_card_does_not_call_a_models_game_played_where_it_was_only_shortened_by_a_simulated_player():
    row = good(PLAIN, original_completion=longer(PLAIN), reducer_models=[SIMULATED])
    export("--test-size", "0", games=[row.model_copy(update={"simulated": True}), good(FIVE, "RRRR", simulated=True)])
    text = the_card()
    assert "which is no model: all replies of 1, nothing but shortened reasoning in 1." in text
    assert "| `scripted` | 1 | those of its maker and of the endpoint |" in text
    assert "\n| reducer | games | terms |\n|---|---|---|\n| a simulated player | 1 | none: it is part" in text


def test_max_length_in_the_card_holds_the_longest_row():
    export("--test-size", "0", games=[good(PLAIN, "ORRWR"), good(FIVE, "RRRR")])
    most = max(load(split="train")["num_tokens"])
    (length,) = map(int, re.findall(r"max_length=(\d+),", the_card()))
    assert most <= length < most + 64
    assert length % 64 == 0


@pytest.fixture
def hub(monkeypatch):
    """A hub that takes everything and has nothing yet."""
    monkeypatch.setattr(collate, "check_login", lambda: None)
    monkeypatch.setattr(collate, "look", lambda _: None)
    monkeypatch.setattr(collate, "push", lambda *_, **__: "there")


@pytest.mark.usefixtures("hub")
def test_a_dataset_for_the_hub_is_loaded_from_there_in_its_card():
    export("--test-size", "0", "--push-to-hub", "me/games")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", the_card(), re.MULTILINE | re.DOTALL))
    assert 'load_dataset("me/games")' in code
    assert 'hf_hub_download("me/games", "chatml_keep_think.jinja", repo_type="dataset")' in code
    assert "sft_dataset" not in code


def test_every_block_of_code_in_the_card_compiles(here):
    export("--test-size", "0", "--output", 'odd "name" \\ é')
    text = Path('odd "name" \\ é/README.md').read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        compile(block, "card", "exec")
    assert load('odd "name" \\ é')["train"].num_rows == 12


def test_a_folder_elsewhere_is_named_without_the_folders_of_this_machine(here, monkeypatch):
    (here / "work").mkdir()
    monkeypatch.chdir(here / "work")
    export("--test-size", "0", "--output", str(here / "data" / "games"))
    text = (here / "data" / "games" / "README.md").read_text(encoding="utf-8")
    assert 'load_dataset("games")' in text
    assert str(here) not in text


def card_settings(folder="sft_dataset"):
    """What the card gives as the settings of each trainer: trainer -> YAML, read."""
    text = Path(folder, "README.md").read_text(encoding="utf-8").split("## Train with another trainer")[1]
    sections = re.findall(r"^### (.*?) [\d.]+\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    return {name: yaml.safe_load(re.findall(r"```yaml\n(.*?)^```", said, re.DOTALL | re.MULTILINE)[0])
            for name, said in sections}  # fmt: skip


def lengths_in(found):
    return {
        found["LLaMA-Factory"]["cutoff_len"],
        found["axolotl"]["sequence_len"],
        found["verl"]["data"]["max_length"],
    }


def test_each_trainer_of_the_card_has_settings_that_hold_the_longest_row():
    export("--test-size", "0", games=[good(PLAIN, "ORRWR"), good(FIVE, "RRRR")])
    found = card_settings()
    assert list(found) == ["LLaMA-Factory", "axolotl", "verl", "torchtune", "NeMo AutoModel"]
    most = max(load(split="train")["num_tokens"])
    (length,) = lengths_in(found)
    assert most <= length < most + 64
    assert found["torchtune"]["tokenizer"]["max_seq_len"] is None


@pytest.mark.parametrize("folder", ["sft_dataset", 'odd "name" \\ é: # {x}'])
@pytest.mark.parametrize("size", ["0", "3"])
def test_the_settings_in_the_card_name_files_that_are_there(folder, size):
    export("--test-size", size, "--output", folder)
    found = card_settings(folder)
    factory, axolotl, verl = found["LLaMA-Factory"], found["axolotl"], found["verl"]["data"]
    assert factory["dataset_dir"] == folder
    entries = json.loads(Path(folder, "dataset_info.json").read_text())
    splits = ["connections", "connections_test"] if size == "3" else ["connections"]
    assert list(entries) == splits
    assert [factory["dataset"], *filter(None, [factory.get("eval_dataset")])] == splits
    train, template = f"{folder}/messages/train-00000-of-00001.parquet", f"{folder}/chatml_keep_think.jinja"
    assert [one["path"] for one in axolotl["datasets"]] == [train]
    assert axolotl["chat_template_jinja"] == found["NeMo AutoModel"]["dataset"]["chat_template"] == template
    assert found["NeMo AutoModel"]["dataset"]["path_or_dataset_id"] == verl["train_files"] == train
    assert found["torchtune"]["dataset"]["data_files"] == train
    test = [one["path"] for one in axolotl.get("test_datasets", [])]
    assert test == [*filter(None, [verl.get("val_files")])]
    assert len(test) == len(splits) - 1
    named = [train, template, *test, *(f"{folder}/{entry['file_name']}" for entry in entries.values())]
    assert [path for path in named if not Path(path).is_file()] == []
    (line,) = re.findall(r"^export TEMPLATE=.*$", Path(folder, "README.md").read_text("utf-8"), re.MULTILINE)
    shown = subprocess.run(["bash", "-c", f'{line}; echo "$TEMPLATE"'], capture_output=True, check=True)
    assert shown.stdout.strip() == Path(template).read_bytes().strip()


@pytest.mark.usefixtures("hub")
def test_a_dataset_of_the_hub_is_fetched_before_trainers_read_its_files():
    export("--test-size", "0", "--push-to-hub", "me/games")
    assert "\nhf download me/games --repo-type dataset --local-dir games\n" in the_card()
    assert card_settings()["LLaMA-Factory"]["dataset_dir"] == "games"


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (1, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (99_999, "10K<n<100K"),
        (10**9, "100M<n<1B"),
        (10**12, "100M<n<1B"),
    ],
)
def test_the_size_of_a_dataset_by_the_hubs_names(rows, name):
    assert card.size_category(rows) == name


# What is never replaced


def test_a_new_run_replaces_the_folder_whole(here):
    export("--test-size", "4")
    export("--test-size", "0", games=[good(PLAIN)])
    assert not (here / "sft_dataset/trl/test-00000-of-00001.parquet").exists()
    assert load(download_mode="force_redownload")["train"]["puzzle_id"] == ["puzzle-plain"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", "mine"),
        ("README.md", "# My dataset"),
        ("trl/train-00000-of-00002.parquet", "x"),
        (".git/HEAD", "x"),
    ],
)
def test_a_folder_of_anothers_making_is_left_alone(here, capsys, name, content):
    path = here / "sft_dataset" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert export() == 2
    told = (
        f"sft_dataset holds what this step did not write ({name}) and would be replaced whole; choose another --output"
    )
    assert capsys.readouterr().err == f"error: {told}\n"
    assert files() == {name: content.encode()}


def test_a_file_of_anothers_in_our_folder_is_left_alone(here):
    export()
    (here / "sft_dataset" / "notes.txt").write_text("mine")
    assert export() == 2
    assert (here / "sft_dataset" / "notes.txt").read_text() == "mine"


def test_a_file_that_comes_while_the_folder_is_written_is_left_alone(here, monkeypatch):
    export()
    made = collate.hf_files

    def meanwhile(*args):
        (here / "sft_dataset" / "notes.txt").write_text("mine")
        return made(*args)

    monkeypatch.setattr(collate, "hf_files", meanwhile)
    assert export() == 2
    assert (here / "sft_dataset" / "notes.txt").read_text() == "mine"
    assert [path.name for path in here.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_may_be_filled(here):
    (here / "sft_dataset").mkdir()
    assert export() == 0


@pytest.mark.parametrize("name", [".", "..", "/", "sub/.."])
def test_a_folder_without_a_name_of_its_own_is_refused(capsys, name):
    assert export("--output", name) == 2
    assert "has no name of its own to be replaced by; name a folder in it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["my [data]", "a*", "what?", "a::b"])
def test_a_name_that_load_dataset_takes_for_a_pattern_is_refused(here, capsys, name):
    assert export("--output", name) == 2
    assert f"error: {name}: load_dataset cannot load a folder with " in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["good.jsonl"]


def test_a_file_in_the_way_of_the_folder_is_left_alone(here, capsys):
    Path("games").write_text("mine")
    assert export("--output", "games") == 2
    assert capsys.readouterr().err == "error: games is a file; name a folder\n"


def test_a_disk_that_fills_up_leaves_the_earlier_folder_and_nothing_half_written(here, monkeypatch, capsys):
    export()
    before, names = files(), sorted(path.name for path in here.iterdir())
    synced, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert export(games=[good(PLAIN), good(FIVE, "RRRR")]) == 1
    assert capsys.readouterr().err.endswith(
        "error: cannot write sft_dataset: No space left on device; make room, then run the same command again\n"
    )
    assert files() == before
    assert sorted(path.name for path in here.iterdir()) == names


KILLED = """
import os, signal, collate
synced, calls = os.fsync, []
def fsync(descriptor):
    calls.append(descriptor)
    if len(calls) == {nth}:
        os.kill(os.getpid(), signal.SIGKILL)
    synced(descriptor)
os.fsync = fsync
collate.main(["good.jsonl", "--no-default-exclude", "--format", "hf", "--license", "mit"])
"""


@pytest.mark.parametrize("nth", [2, 8, 10])  # in the middle of the folder, at its last file, in the rejects after it
def test_a_run_killed_while_it_writes_leaves_the_earlier_folder_whole(here, nth):
    export()
    before = files()
    results_file(Path("good.jsonl"), [good(PLAIN), good(FIVE, "RRRR")])
    command = [sys.executable, "-c", KILLED.format(nth=nth)]
    root = Path(collate.__file__).parent
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(root)}, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert files() == before
    assert export("--test-size", "0", games=[good(PLAIN)]) == 0


BETWEEN = """
import os, pathlib, collate
rename = pathlib.Path.rename
def renamed(path, target):
    done = rename(path, target)
    if path.name == "sft_dataset":
        os.kill(os.getpid(), {number})
    return done
pathlib.Path.rename = renamed
raise SystemExit(collate.main(["good.jsonl", "--no-default-exclude", "--format", "hf", "--license", "mit"]))
"""


def end_between_the_two_renames(number):
    """Ends a run in the moment in which the old folder is out of its place and the new one is not yet in it."""
    results_file(Path("good.jsonl"), [good(PLAIN), good(FIVE, "RRRR")])
    command = [sys.executable, "-c", BETWEEN.format(number=int(number))]
    root = Path(collate.__file__).parent
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(root)}, check=False, capture_output=True)


def unfinished(here):
    return [path.name for path in here.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_between_the_old_folder_and_the_new_one_leaves_the_new_one(here, number):
    export("--test-size", "0", games=[good(PLAIN)])
    assert end_between_the_two_renames(number).returncode == 130
    assert load(split="train").num_rows == 2
    assert unfinished(here) == []


def test_a_folder_whose_run_was_killed_while_it_replaced_it_comes_back_with_the_next_run(here, capsys):
    export("--test-size", "2")
    before = files()
    assert end_between_the_two_renames(signal.SIGKILL).returncode == -signal.SIGKILL
    assert not Path("sft_dataset").exists()
    capsys.readouterr()
    results_file(Path("good.jsonl"), [])
    assert collate.main(["good.jsonl", "--format", "hf", "--license", "mit"]) == 1  # with nothing to write
    told = "sft_dataset: brought back as it was before a run that was killed while it replaced it\n"
    assert told in capsys.readouterr().err
    assert files() == before
    assert unfinished(here) == []


def test_folders_that_killed_runs_left_are_removed_by_the_next_one_and_those_of_a_live_run_are_not(here):
    left, live, strange = (here / f".sft_dataset.unfinished-{name}" for name in ("dead", "live", "empty"))
    for made in (left, live):
        (made / "new").mkdir(parents=True)
    strange.mkdir()
    descriptor = os.open(live, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    export("--test-size", "0", games=[good(PLAIN)])
    os.close(descriptor)
    assert sorted(unfinished(here)) == [strange.name, live.name]


def test_a_folder_that_cannot_take_its_place_gives_it_back_to_the_old_one(here, monkeypatch):
    export()
    before, rename = files(), Path.rename

    def broken(path, target):
        if path.name == "new":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", broken)
    assert export(games=[good(PLAIN)]) == 1
    assert files() == before


# The license


def test_a_folder_needs_a_license(here, capsys):
    results_file(Path("good.jsonl"), [good(PLAIN)])
    assert collate.main(["good.jsonl", "--format", "hf"]) == 2
    told = "error: --format hf needs --license, such as cc-by-4.0: nobody may use a dataset without one\n"
    assert capsys.readouterr().err == told
    assert [path.name for path in here.iterdir()] == ["good.jsonl"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("CC-BY 4.0", "did you mean cc-by-4.0"),
        ("apache2", "did you mean apache-2.0"),
        ("", "such as cc-by-4.0 or mit"),
        ("my own: ask me\n", "such as cc-by-4.0 or mit"),
    ],
)
def test_a_license_is_one_that_the_hub_knows(capsys, given, told):
    assert told in refused_in_a_line(capsys, "--license", given)


def test_what_is_published_names_no_folder_of_this_machine(here):
    held = here / "private" / "mine.jsonl"
    held.parent.mkdir()
    puzzle_file(held, boards(1, 90))
    export("--license", "mit", "--exclude", str(held))
    assert "`mine.jsonl`" in the_card()
    assert str(here) not in the_card()
    assert [public_name(name) for name in ("/home/me/models/m", "../my/p.parquet", "Qwen/Qwen3-4B", "builtin")] == [
        "m",
        "p.parquet",
        "Qwen/Qwen3-4B",
        "builtin",
    ]


@pytest.mark.parametrize("source", ["data/puzzles.parquet", "data/puzzles.yml", "data/puzzles.JSONL"])
def test_a_file_is_not_taken_for_a_dataset_of_the_hub(source):
    assert source_terms(source) == "those of whoever made the puzzles"
