"""The dataset's layouts: what each row holds, the files beside it, and flags that do not go together."""

import json
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

import collate
from connections_env.dataset import SftRow
from connections_env.examples import canonical_row
from connections_env.parsing import Reply
from connections_env.rulesets import PUZZGRID
from connections_env.schema import GAME, MEANINGS, RESERVED, columns
from tests.boards import PLAIN
from tests.rollouts import REASONING, boards, results_file, rollout, script_replies
from tests.test_collate import good

A, B, C = boards(3)
THOUGHT = f"<think>\n{REASONING}\n</think>\n\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(*flags, games=None, output="rows.jsonl"):
    results_file(Path("good.jsonl"), games or [good(PLAIN, "ORRR")])
    return collate.main(["good.jsonl", "--no-default-exclude", "--output", output, *flags])


def rows(*flags, **options):
    assert export(*flags, **options) == 0
    return [json.loads(line) for line in Path("rows.jsonl").read_text(encoding="utf-8").splitlines()]


def test_openai_rows_are_messages_and_nothing_else():
    (row,) = rows("--format", "openai")
    assert list(row) == ["messages"]
    assert {tuple(message) for message in row["messages"]} == {("role", "content")}
    assert [message["role"] for message in row["messages"]] == [
        "system",
        "user",
        *["assistant", "user"] * 3,
        "assistant",
    ]


def test_openai_rows_are_what_its_library_takes_for_messages():
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import TypeAdapter, ValidationError

    (row,) = rows("--format", "openai")
    form = TypeAdapter(list[ChatCompletionMessageParam])
    form.validate_python(row["messages"])
    with pytest.raises(ValidationError):  # it does not take anything
        form.validate_python([*row["messages"], {"role": "human", "content": "Hello"}])


def test_what_ends_a_line_in_unicode_ends_none_of_a_file(here):
    thought = "One\u2028two\u2029three\x85four."
    replies = [Reply(reply.content, thought, "stop", 40) for reply in script_replies(A, "RRR")]
    (row,) = rows(games=[canonical_row(rollout(A, replies))])
    assert row["completion"][0]["content"].startswith(f"<think>\n{thought}\n</think>")
    assert len((here / "rows.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_sharegpt_rows_are_turns_of_human_and_gpt():
    (row,) = rows("--format", "sharegpt")
    (same,) = rows("--format", "messages")
    assert [turn["from"] for turn in row["conversations"]] == ["system", "human", *["gpt", "human"] * 3, "gpt"]
    assert [turn["value"] for turn in row["conversations"]] == [message["content"] for message in same["messages"]]
    assert list(row) == ["puzzle_id", "conversations", *list(same)[2:]]


def test_a_right_guess_is_a_row_after_a_history_without_reasoning():
    turns = rows("--format", "per-turn")
    (game,) = rows("--format", "trl")
    assert [row["turn"] for row in turns] == [2, 3, 4]  # the first guess was one away
    for row in turns:
        before = 2 * (row["turn"] - 1)
        assert row["completion"] == [game["completion"][before]]
        assert row["prompt"] == game["prompt"] + [
            message | {"content": message["content"].removeprefix(THOUGHT)} for message in game["completion"][:before]
        ]
        assert "<think>" not in json.dumps(row["prompt"])
        assert row["prompt"][-1]["role"] == "user"
    assert [len(row["guess_history"]) for row in turns] == [2, 3, 5]  # with the last right guess, the last group
    assert [row["guess_history"][-1]["status"] for row in turns] == ["correct", "correct", "auto"]
    assert {row["num_turns"] for row in turns} == {4}


def test_the_reply_that_names_the_themes_is_a_row_too():
    themes = json.dumps([group.theme for group in A.groups])
    replies = [*script_replies(A, "RRR", PUZZGRID), Reply(f"<themes>{themes}</themes>", REASONING, "stop", 40)]
    turns = rows("--format", "per-turn", games=[canonical_row(rollout(A, replies, ruleset=PUZZGRID))])
    assert [row["turn"] for row in turns] == [1, 2, 3, 4]
    assert turns[-1]["completion"][0]["content"].endswith("</themes>")
    assert [len(row["guess_history"]) for row in turns] == [1, 2, 4, 4]


def test_split_reasoning_stands_beside_the_content_and_nowhere_else():
    (row,) = rows("--reasoning-format", "split")
    (inline,) = rows()
    for message, before in zip(row["completion"], inline["completion"], strict=True):
        if message["role"] == "assistant":
            assert list(message) == ["role", "reasoning_content", "content"]
            thought, content = message["reasoning_content"], message["content"]
            assert f"<think>\n{thought}\n</think>\n\n{content}" == before["content"]
        else:
            assert message == before
    assert row["prompt"] == inline["prompt"]
    assert row["num_tokens"] == inline["num_tokens"]  # the template shows both alike


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--format", "openai"], "--format openai: what takes that format refuses messages with reasoning_content"),
        (["--format", "sharegpt"], "--format sharegpt: its turns have no place for reasoning but their text"),
        (["--format", "per-turn"], "--format per-turn: its earlier replies carry no reasoning, and templates that"),
        (["--format", "hf", "--license", "mit"], "--format hf: its Parquet has one set of keys for all messages"),
        (["--parquet"], "--parquet: it has one set of keys for all messages, so that most would have a null"),
    ],
)
def test_split_reasoning_is_refused_where_it_would_be_lost_or_leave_nulls(here, capsys, flags, told):
    assert export("--reasoning-format", "split", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --reasoning-format split does not go with {told}")
    assert error.count("\n") == 1
    assert [path.name for path in here.iterdir()] == ["good.jsonl"]


ENTRY = {
    "file_name": "rows.jsonl",
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}


def entries():
    return json.loads(Path("dataset_info.json").read_text(encoding="utf-8"))


def test_llama_factory_finds_the_messages_by_their_entry():
    rows("--format", "messages")
    assert entries() == {"rows": ENTRY}


def test_other_entries_of_a_dataset_info_stay(here):
    Path("dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}, "rows": {"file_name": "old"}}')
    rows("--format", "messages")
    assert entries() == {"mine": {"file_name": "mine.json"}, "rows": ENTRY}


def test_reasoning_beside_the_content_has_no_entry_since_llama_factory_would_drop_it(here):
    rows("--format", "messages", "--reasoning-format", "split")
    assert not (here / "dataset_info.json").exists()


@pytest.mark.parametrize(
    "flags",
    [
        *(["--format", layout] for layout in ("trl", "openai", "sharegpt", "per-turn")),
        ["--format", "messages", "--reasoning-format", "split"],
    ],
)
def test_an_entry_goes_with_the_messages_that_it_was_of(capsys, flags):
    rows("--format", "messages")
    edited = {name: entry | {"num_samples": 99} for name, entry in entries().items()}
    Path("dataset_info.json").write_text(json.dumps({"mine": {"file_name": "mine.json"}} | edited))
    capsys.readouterr()
    rows(*flags)
    assert entries() == {"mine": {"file_name": "mine.json"}}
    told = "dataset_info.json has no entry rows any more: rows.jsonl is no longer what it said\n"
    assert capsys.readouterr().err == told
    rows(*flags)
    assert capsys.readouterr().err == ""
    rows("--format", "messages")
    assert entries() == {"mine": {"file_name": "mine.json"}, "rows": ENTRY}


@pytest.mark.parametrize(
    "content",
    [
        '{"rows": {"file_name": "rows.jsonl", "columns": {"prompt": "prompt"}}}',
        '{"other": {"file_name": "rows.jsonl", "columns": {"messages": "messages"}}}',
        '{"citation": "", "features": {}}',
        "[" * 100_000,
        "{",
    ],
)
def test_a_dataset_info_that_others_wrote_stays_where_no_messages_are_written(capsys, content):
    Path("dataset_info.json").write_text(content)
    rows()
    assert Path("dataset_info.json").read_text() == content
    assert capsys.readouterr().err == ""


def test_no_dataset_info_is_made_for_what_llama_factory_does_not_read(here):
    for layout in ("trl", "openai", "sharegpt", "per-turn"):
        rows("--format", layout)
    assert not (here / "dataset_info.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", "nul", '{"citation": "", "features": {}}'])
def test_a_dataset_info_of_another_kind_is_left_alone(here, capsys, content):
    Path("dataset_info.json").write_text(content)
    assert export("--format", "messages") == 2
    assert "dataset_info.json is not a dataset_info.json of LLaMA-Factory" in capsys.readouterr().err
    assert Path("dataset_info.json").read_text() == content
    assert not Path("rows.jsonl").exists()


@pytest.mark.parametrize("layout", ["trl", "messages", "openai", "sharegpt", "per-turn"])
def test_parquet_beside_jsonl_holds_the_same_rows(layout):
    import pyarrow.parquet

    written = rows("--format", layout, "--parquet", games=[good(A), good(B, "WRRR")])
    assert pyarrow.parquet.read_table("rows.parquet").to_pylist() == written


def test_parquet_of_an_earlier_run_is_named_where_it_is_not_written_anew(capsys):
    rows("--parquet")
    capsys.readouterr()
    rows()
    assert capsys.readouterr().err == "rows.parquet is of an earlier run; --parquet writes it anew\n"


@pytest.mark.parametrize(
    ("name", "content", "flags"),
    [
        ("rows.jsonl", b'{"messages": [{"role": "user", "content": "Hello"}]}\n', []),
        ("rows.jsonl", b'{"prompt": "Once upon a time"}\n', ["--format", "per-turn"]),
        ("rows.jsonl", b"Dear diary\n", []),
        ("rows.jsonl", b"\n\n", []),
        ("rows.jsonl", b"[" * 100_000, []),
        ("rows.jsonl", b"PAR1", []),
        ("rows.parquet", b"PAR1", ["--parquet"]),
        ("rows.parquet", b"\x00", ["--parquet"]),
    ],
)
def test_a_file_that_is_no_dataset_of_this_step_is_not_replaced(capsys, name, content, flags):
    Path(name).write_bytes(content)
    assert export(*flags) == 2
    assert capsys.readouterr().err == f"error: {name} is there and no dataset of this step; choose another output\n"
    assert Path(name).read_bytes() == content


def test_parquet_of_another_kind_is_not_replaced(capsys):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), "rows.parquet")
    assert export("--parquet") == 2
    assert "rows.parquet is there and no dataset of this step" in capsys.readouterr().err


@pytest.mark.parametrize("first", ["trl", "messages", "openai", "sharegpt", "per-turn"])
def test_any_layout_replaces_any_other(first):
    rows("--format", first, "--parquet")
    Path("other.jsonl").touch()
    assert export("--parquet", output="other.jsonl") == 0
    for layout in ("openai", "trl"):
        rows("--format", layout, "--parquet")


def test_each_row_and_reply_of_a_dataset_a_turn_is_counted(capsys):
    rows("--format", "per-turn", games=[good(A), good(B, "WRRR")])
    head, lines = capsys.readouterr().out.splitlines()[:2]
    assert head == "rows read: 2, examples written: 2 -> rows.jsonl"
    assert lines == "a row a right reply: 6"


def kind_of(annotation):
    """The type that the schema has for an annotation of a row."""
    simple = {str: "string", float: "float64", int: "int64", bool: "bool", int | None: "int64 or null"}
    if annotation == dict[str, str]:
        return {"role": "string", "content": "string"}  # a message
    if get_origin(annotation) is list:
        return [kind_of(*get_args(annotation))]
    if get_origin(annotation) is Literal:
        return "string"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {name: kind_of(field.annotation) for name, field in annotation.model_fields.items()}
    return simple[annotation]


def test_the_row_of_a_game_and_the_schema_have_the_same_columns_of_the_same_types():
    assert list(SftRow.model_fields) == list(GAME)
    assert kind_of(SftRow) == GAME
    assert list(MEANINGS) == [*["puzzle_id", "prompt", "completion", "messages"], *[*GAME][3:], "turn"]


def test_every_column_has_a_meaning_and_none_is_misread():
    known = {name for layout in ("trl", "messages", "per-turn") for name in columns(layout)}
    assert set(MEANINGS) == known
    assert not known & RESERVED


@pytest.mark.parametrize(
    "flags",
    [
        ["--license", "mit"],
        ["--license-name", "x"],
        ["--license-link", "x"],
        ["--language", "en"],
        ["--test-size", "0"],
        ["--push-to-hub", "me/games"],
        ["--yes"],
    ],
)
def test_flags_of_the_folder_go_with_it_alone(here, capsys, flags):
    assert export(*flags) == 2
    assert capsys.readouterr().err == f"error: {flags[0]} goes with --format hf alone\n"


@pytest.mark.parametrize("name", ["rows.parquet", "a.parquet"])
def test_jsonl_is_not_written_to_a_parquet_file(capsys, name):
    assert export(output=name) == 2
    told = f"error: {name}: the rows are written as JSON; name a .jsonl file; collate.py --parquet writes both\n"
    assert capsys.readouterr().err == told


def test_a_source_is_told_without_the_folders_of_this_machine(here):
    game = good(A)
    named = game.model_copy(update={"info": game.info.model_copy(update={"source": str(here / "mine.jsonl")})})
    assert [row["source"] for row in rows(games=[named])] == ["mine.jsonl"]
