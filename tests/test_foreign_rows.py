"""Rows of other tools with board, replies or numbering in other places, and rows that break readers."""

import gzip
import json

import pytest

import iterative_generate
from connections_env import standings
from connections_env.agreement import recorded
from connections_env.foreign import adopt, rollout_of
from connections_env.json_lines import BadRow
from connections_env.judging import judge_line
from connections_env.quality import facts_of, rejection
from connections_env.records import ResumedFrom
from connections_env.sources import SourceError, load_puzzles
from connections_env.standings import Standings
from connections_env.tags import in_our_tags
from tests.rollouts import board, lost, puzzle_file, results_file, won

B = board(3)
GROUPS = [{"name": group.theme, "words": list(group.members)} for group in B.groups]
BOARD = {"game_id": "12", "shuffled_words": list(B.items), "groups": GROUPS}
SAID = [", ".join(group.members) for group in B.groups]


def talk(*contents):
    messages = [
        [{"role": "assistant", "content": content}, {"role": "user", "content": "Go on."}] for content in contents
    ]
    return [message for pair in messages for message in pair]


def row(**fields):
    told = [{"role": "system", "content": "Group them."}, {"role": "user", "content": ", ".join(B.items)}]
    won_game = talk(*(f"Plain to see. <guess>{words}</guess>" for words in SAID))
    return {"prompt": told, "completion": won_game, "info": BOARD} | fields


@pytest.mark.parametrize(
    "fields",
    {
        "answer as JSON": {"info": {}, "answer": json.dumps(BOARD)},
        "answer without info": {"info": None, "answer": json.dumps(BOARD)},
        "the row itself": {"info": None} | BOARD,
        "state": {"info": None, "state": {"info": BOARD}},
        "an object in info": {"info": {"puzzle": BOARD}},
        "JSON in info": {"info": {"puzzle": json.dumps(BOARD)}},
        "groups as JSON": {"info": BOARD | {"groups": json.dumps(GROUPS)}},
        "groups under answer": {"info": {"words": list(B.items), "answers": GROUPS}},
        "groups as lists": {"info": BOARD | {"groups": [list(group.members) for group in B.groups]}},
    }.items(),
    ids=lambda pair: pair[0],
)
def test_the_board_is_found_wherever_the_row_keeps_it(fields):
    rollout = adopt(row(**fields[1]))
    assert (rollout.puzzle.key, rollout.complete_reason) == (B.key, "all_categories_found")
    assert list(rollout.info.all_words) == list(B.items)


def test_a_board_that_cannot_be_played_is_told_with_its_reason():
    uneven = BOARD | {"groups": [GROUPS[0] | {"words": GROUPS[0]["words"][:3]}, *GROUPS[1:]]}
    with pytest.raises(BadRow, match="cannot be played; uneven groups of 3, 4, 4, 4 items"):
        adopt(row(info=uneven))


def test_a_row_of_the_final_dataset_is_no_game_to_read():
    with pytest.raises(BadRow, match="sft_examples"):
        adopt(row(doctoring_type="none"))


def test_themes_named_wrong_make_a_game_bad_the_fast_way_too():
    said = talk(*(f"Plain. <guess>{words}</guess>" for words in SAID[:3]), 'So: <themes>["a", "b", "c", "d"]</themes>')
    line = json.dumps(row(completion=said, info=BOARD | {"ruleset": "puzzgrid"})).encode()
    judged = judge_line(line)
    assert judged is not None
    assert judged.facts == facts_of(rollout_of(line))
    assert rejection(judged.facts) == "wrong themes"


def test_replies_in_the_prompt_that_are_of_another_board_are_examples():
    shown = [*row()["prompt"], *talk("So. <guess>ONE, TWO, THREE, FOUR</guess>")]
    line = json.dumps(row(prompt=shown)).encode()
    assert judge_line(line) is None
    assert (rollout_of(line).complete_reason, rollout_of(line).resumed_from) == ("all_categories_found", None)


def test_a_completion_that_is_text_is_one_reply():
    assert [turn.status for turn in adopt(row(completion=f"So. <guess>{SAID[0]}</guess>")).guess_history] == ["correct"]
    as_json = json.dumps(row()["completion"])
    assert adopt(row(completion=as_json)).complete_reason == "all_categories_found"


@pytest.mark.parametrize("inside", ["```json\n{}\n```", "```\n{}\n```"])
def test_a_fence_inside_the_guess_is_taken_off(inside):
    guess = json.dumps(list(B.groups[0].members))
    reply = f"So. <guess>{inside.replace('{}', guess)}</guess>"
    assert adopt(row(completion=talk(reply))).guess_history[0].status == "correct"


def test_a_guess_that_is_one_text_in_an_object_is_read():
    reply = f"So. <guess>{json.dumps({'guess': SAID[0]})}</guess>"
    assert adopt(row(completion=talk(reply))).guess_history[0].status == "correct"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<answer><guess>A</guess></answer>", "<guess>A</guess>"),
        ("<scratchpad>why</scratchpad><guess>A</guess>", "<think>why</think><guess>A</guess>"),
        ("so <guess>A</guess> no</think><answer>B</answer>", "so <guess>A</guess> no</think><guess>B</guess>"),
    ],
)
def test_tags_of_other_tools_never_stay_in_a_reply(written, read):
    assert in_our_tags(written) == read


def test_a_row_that_another_tool_numbered_is_no_newer_version_of_ours():
    assert adopt(row(schema_version=2)).complete_reason == "all_categories_found"
    assert rollout_of(json.dumps(row(schema_version="9.0")).encode()).complete_reason == "all_categories_found"


def test_a_row_nested_without_end_is_unreadable_and_stops_no_other(tmp_path):
    deep = json.dumps(row()).replace('"Group them."', "[" * 800 + "]" * 800)
    told = []
    found = Standings("nyt", report=told.append)
    found.read([results_file(tmp_path / "results_1.jsonl", [won(board(0)), deep, won(board(1))])])
    assert found.counts["counted"] + found.unreadable.total() == 3
    assert found.counts["counted"] >= 2


def test_a_first_row_longer_than_a_share_of_the_work_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(standings, "PAYS_FROM", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr(standings.threading, "active_count", lambda: 1)
    long = row(note="x" * 200_000)
    found = Standings("nyt")
    found.read([results_file(tmp_path / "results_1.jsonl", [long, *[won(board(n)) for n in range(20)]])])
    assert found.counts["counted"] == 21


def test_a_row_that_names_only_an_id_that_two_boards_bear_is_of_neither(tmp_path, capsys):
    boards = [board(0), board(1)]
    path = puzzle_file(tmp_path / "puzzles.jsonl", boards)
    path.write_text(path.read_text().replace("made-0", "7").replace("made-1", "7"))
    history = [{"words": ["?"] * 4, "status": "correct", "category_idx": n} for n in range(4)]
    bare = {"info": {"puzzle_id": "7"}, "guess_history": history, "complete_reason": "all_categories_found"}
    results_file(tmp_path / "results" / "results_1.jsonl", [bare])
    flags = ["--dry-run", "--puzzles", str(path), "--results-dir", str(tmp_path / "results")]
    assert iterative_generate.main(flags) == 0
    assert capsys.readouterr().out.startswith("Loop 1: 0 Good, 0 Bad\n")


@pytest.mark.parametrize("source", ["./typo", "../typo", "a--b/c", "a/.b", "-/x", "x" * 5000])
def test_a_path_that_is_not_there_is_one_line(source):
    with pytest.raises(SourceError, match=r"no puzzles at|cannot read") as error:
        load_puzzles(source)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "name",
    ["context_window_exceeded", "unsolved", "not_won", "connection_closed", "game_over", "has_final_env_response"],
)
def test_an_end_whose_name_says_neither_won_nor_lost_says_nothing(name):
    assert recorded({"stop_condition": name}) is None


@pytest.mark.parametrize("name", ["mistakes_remaining", "mistakes_allowed", "mistakes_penalty", "groups_found_reward"])
def test_a_metric_that_counts_something_else_is_not_compared(name):
    assert recorded({"metrics": {name: 4.0}}) is None


def test_a_copy_of_a_row_is_counted_apart_and_takes_no_spares_place(tmp_path, capsys):
    first = [json.dumps(row(example_id=nth)) for nth in range(3)]
    (tmp_path / "run").mkdir()
    results_file(tmp_path / "results.jsonl", [*first, first[0]])
    results_file(tmp_path / "run" / "results.jsonl", first)
    puzzles = puzzle_file(tmp_path / "puzzles.jsonl", [B])
    assert (
        iterative_generate.main(["--dry-run", "--puzzles", str(puzzles), "--results-dir", str(tmp_path), "--verbose"])
        == 0
    )
    out, err = capsys.readouterr()
    assert out.startswith("Loop 1: 1 Good, 0 Bad\n")
    assert "rollouts: 7 of verifiers; 4 not used: 4 copies of other rows\n" in err
    found = Standings("nyt")
    found.read([tmp_path / "results.jsonl", tmp_path / "run" / "results.jsonl"])
    assert [(one.path.parent.name, one.offset > 0) for one in found.by_puzzle[B.key]] == [
        (tmp_path.name, False),
        (tmp_path.name, True),
        (tmp_path.name, True),
    ]


@pytest.mark.parametrize("simulated", [False, True])
def test_a_row_of_ours_without_what_is_told_of_each_reply_keeps_all_else(tmp_path, capsys, simulated):
    whole = lost(
        B, rollout_id="mine", model="m", simulated=simulated, resumed_from=ResumedFrom(rollout_id="p", turns=1)
    )
    told = json.loads(whole.to_line())
    bare = {name: value for name, value in told.items() if not name.startswith("reply_") and name != "cuts"}
    read = rollout_of(json.dumps(bare).encode())
    assert (read.rollout_id, read.resumed_from, read.usage) == ("mine", whole.resumed_from, whole.usage)
    assert (read.guess_history, read.complete_reason, read.reward) == (
        whole.guess_history,
        "max_mistakes",
        whole.reward,
    )
    assert (read.model, read.simulated) == (whole.model, simulated)
    results_file(tmp_path / "results_1.jsonl", [bare])
    puzzles = puzzle_file(tmp_path / "puzzles.jsonl", [B])
    assert iterative_generate.main(["--dry-run", "--puzzles", str(puzzles), "--results-dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "Loop 1: 0 Good, 1 Bad\n  - Salvageable: 1\n" in out
    assert ("1 rollout is of the simulated player" in err) == simulated


def test_a_compressed_file_of_results_is_named(tmp_path, capsys):
    (tmp_path / "results_1.jsonl.gz").write_bytes(gzip.compress(json.dumps(row()).encode()))
    results_file(tmp_path / "results_2.jsonl", [json.dumps(row())])
    puzzles = puzzle_file(tmp_path / "puzzles.jsonl", [B])
    assert iterative_generate.main(["--dry-run", "--puzzles", str(puzzles), "--results-dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Loop 1: 1 Good")
    assert f"{tmp_path / 'results_1.jsonl.gz'}: compressed, and so not read; unpack it\n" in err


def test_a_file_that_is_compressed_whatever_its_name_says_so():
    with pytest.raises(BadRow, match=r"got what gzip compressed; unpack the file$"):
        rollout_of(gzip.compress(b"{}"))


def test_a_list_of_rows_in_one_line_is_no_torn_line(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps([row()]))
    told: list[str] = []
    found = Standings("nyt", report=told.append)
    found.read([path])
    assert (found.torn, found.unreadable.total()) == (0, 1)
    assert told[0].startswith("results.jsonl:1: expected a JSON object, got '[{")
