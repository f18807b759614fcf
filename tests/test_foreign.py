"""Results of other tools: brought to our form by replay, counted by origin, never trusted and never in the way."""

import contextlib
import io
import json
import math
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import collate
import doctor_gameplay
import filter_gameplay
import iterative_generate
import prep_doctoring
import reduce_tokens
from connections_env.agreement import difference, recorded
from connections_env.examples import canonical_row
from connections_env.files import results_files
from connections_env.foreign import adopt, game_of, rollout_of
from connections_env.game import GameState
from connections_env.json_lines import BadRow
from connections_env.judging import judge_line
from connections_env.parsing import Reply, reasoning_of
from connections_env.play import replay_rollout, take_reply
from connections_env.puzzles import Puzzle, board_key
from connections_env.quality import facts_of, rejection
from connections_env.records import Rollout, read_row
from connections_env.rulesets import NYT, PUZZGRID
from connections_env.salvage import salvage
from connections_env.tags import in_our_tags
from tests.boards import AMBIGUOUS, PLAIN, SIX, TRICKY, guesses_on
from tests.boards import BOARDS as ODD_BOARDS
from tests.rollouts import (
    REASONING,
    board,
    boards,
    changed,
    empty,
    guess_text,
    lost,
    played,
    puzzle_file,
    results_file,
    scripted_reply,
    won,
)

GROUPS = [group.members for group in PLAIN.groups]
BACKTICKS = re.compile(r"`([^`]+)`")
INFO = {
    "verifiers": lambda p: {
        "game_id": p.puzzle_id,
        "date": "2030-02-03",
        "shuffled_words": list(p.items),
        "groups": [{"name": g.theme, "level": n, "words": list(g.members)} for n, g in enumerate(p.groups)],
    },
    "words": lambda p: {
        "id": p.puzzle_id,
        "words": list(p.items),
        "groups": [{"theme": g.theme, "members": list(g.members)} for g in p.groups],
    },
    "categories": lambda p: {
        "puzzle_id": p.puzzle_id,
        "all_words": list(p.items),
        "categories": [{"group": g.theme, "members": list(g.members), "linking_terms": []} for g in p.groups],
    },
    "columns": lambda p: {
        "puzzle_id": p.puzzle_id,
        "all_words": list(p.items),
        "group_words": [list(g.members) for g in p.groups],
        "group_themes": [g.theme for g in p.groups],
        "group_linking_terms": [", ".join(g.linking_terms) for g in p.groups],
    },
}


def tagged(words: Iterable[str], tag: str = "guess", reason: str = REASONING) -> str:
    """A reply as players of other environments are asked for it."""
    return f"<reason>{reason}</reason>\n<{tag}>{', '.join(words)}</{tag}>"


def in_commas(reply: Reply) -> str:
    """A scripted reply with its reasoning in tags, and its guess as a bare list of commas."""
    said = re.sub(r"\[(`[^\]]+)\]", lambda match: ", ".join(BACKTICKS.findall(match[1])), reply.content)
    return f"<reason>{reply.reasoning}</reason>\n{said}" if reply.reasoning else said


def contents_of(puzzle: Puzzle, script: str) -> list[str]:
    """What a player of another environment says in a scripted game."""
    state, contents = GameState(puzzle, NYT), list[str]()
    for letter in script:
        contents.append(in_commas(scripted_reply(state, letter)))
        state = take_reply(state, Reply(in_our_tags(contents[-1])))
    return contents


def talk(contents: Iterable[Any], between: str = "Noted.") -> list[dict[str, Any]]:
    """A conversation that ends with the player's last reply."""
    messages = [
        message
        for content in contents
        for message in ({"role": "assistant", "content": content}, {"role": "user", "content": between})
    ]
    return messages[:-1]


def opening(puzzle: Puzzle) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "Sort the words. Say <guess>W, X, Y, Z</guess>."},
        {"role": "user", "content": f"Here: {', '.join(puzzle.items)}"},
    ]


def verifiers(puzzle: Puzzle, contents: Iterable[Any] = (), *, layout: str = "verifiers", **fields: Any) -> dict:
    """A row of `results.jsonl`, without a verdict of its own unless fields give one."""
    return {
        "example_id": 3,
        "prompt": opening(puzzle),
        "completion": talk(contents),
        "task": "default",
        "info": INFO[layout](puzzle),
        "reward": 0.75,
        "error": None,
        "timing": {"generation_ms": 812.25, "scoring_ms": 0.5},
        "is_completed": True,
        "is_truncated": False,
        "oai_tools": None,
        "token_usage": {"input_tokens": 90.0, "output_tokens": 30.0},
    } | fields


def scripted(puzzle: Puzzle, script: str, **fields: Any) -> dict:
    return verifiers(puzzle, contents_of(puzzle, script), **fields)


def verdict_there(condition: str, found: float, mistakes: float) -> dict[str, Any]:
    """The verdict that a row of a verifiers evaluation carries."""
    return {
        "stop_condition": condition,
        "metrics": {"groups_found_metric": found, "mistakes_used_metric": mistakes, "num_turns": 4.0},
    }


def older(puzzle: Puzzle, contents: Sequence[Any], *, prefix: Sequence[Any] = (), as_text=False, **fields: Any) -> dict:
    """A record of an older pipeline; a resumed prefix sits in `prompt`."""
    info = INFO["categories"](puzzle)
    return {
        "example_id": 5,
        "prompt": [*opening(puzzle), *([*talk(prefix), {"role": "user", "content": "Go on."}] if prefix else [])],
        "completion": [*talk(contents), {"role": "user", "content": "The end."}],
        "task": "default",
        "info": json.dumps(info) if as_text else info,
        "reward": 2.5,
        "guess_history": [],
        "complete_reason": "max_turns_reached",
    } | fields


def history(*turns: tuple[Iterable[str], str, float | None]) -> list[dict[str, Any]]:
    return [{"words": list(words), "status": status, "category_idx": group} for words, status, group in turns]


def line(row: dict) -> bytes:
    return json.dumps(row).encode()


def statuses(row: Rollout) -> list[str]:
    return [turn.status for turn in row.guess_history]


def reasons(row: Rollout) -> list[str | None]:
    return [turn.reason for turn in row.guess_history]


# A row of a verifiers evaluation


def test_statuses_outcome_and_reward_follow_from_the_replies():
    row = adopt(scripted(PLAIN, "ROWRXNR", reward=-7.0))
    assert statuses(row) == ["correct", "one_away", "incorrect", "correct", "invalid", "invalid", "correct", "auto"]
    assert row.complete_reason == "all_categories_found"
    # 4 for all groups, 3/7 for efficiency, 5/7 of a half for valid guesses; none stayed one away
    assert row.reward == pytest.approx(4 + 3 / 7 + 0.5 * 5 / 7)


def test_a_perfect_game_scores_the_perfect_reward():
    row = adopt(scripted(PLAIN, "RRR", reward=0.1))
    assert (row.reward, rejection(facts_of(row))) == (5.5, None)


@pytest.mark.parametrize("layout", INFO)
@pytest.mark.parametrize("as_text", [False, True], ids=["object", "json"])
def test_board_and_groups_are_read_in_each_layout(layout, as_text):
    row = scripted(PLAIN, "RRO", layout=layout)
    if as_text:
        row["info"] = json.dumps(row["info"])
    adopted = adopt(row)
    assert adopted.info.all_words == list(PLAIN.items)
    assert adopted.puzzle is not None
    assert [(group.theme, group.members) for group in adopted.puzzle.groups] == [
        (group.theme, group.members) for group in PLAIN.groups
    ]
    assert adopted.info.puzzle_id == "plain"
    assert statuses(adopted) == ["correct", "correct", "one_away"]


@pytest.mark.parametrize(("told", "written"), [(77, "77"), ("0077", "0077"), ("2030-01-02", "2030-01-02")])
def test_an_id_is_kept_as_the_source_writes_it(told, written):
    row = scripted(PLAIN, "R")
    row["info"]["game_id"] = told
    assert adopt(row).info.puzzle_id == written


def test_a_board_without_an_id_gets_the_same_derived_one_whatever_its_order():
    one, other = scripted(PLAIN, "R"), scripted(PLAIN, "RR")
    for row in (one, other):
        del row["info"]["game_id"]
    other["info"]["shuffled_words"].reverse()
    assert adopt(one).info.puzzle_id == adopt(other).info.puzzle_id != ""


def test_the_board_order_is_the_one_that_was_shown_even_group_by_group():
    row = scripted(PLAIN, "R")
    row["info"]["shuffled_words"] = [item for group in GROUPS for item in group]
    assert adopt(row).info.all_words == row["info"]["shuffled_words"]


@pytest.mark.parametrize(("groups", "size"), [(3, 3), (5, 5), (6, 6), (4, 3)])
def test_boards_of_other_sizes_are_replayed(groups, size):
    puzzle = board(3, groups=groups, size=size)
    row = adopt(scripted(puzzle, "R" * (groups - 1)))
    assert statuses(row) == ["correct"] * (groups - 1) + ["auto"]


def test_items_with_commas_are_found_in_a_bare_list_of_commas():
    row = adopt(verifiers(TRICKY, [tagged(TRICKY.groups[0].members), tagged(TRICKY.groups[2].members)]))
    assert statuses(row) == ["correct", "correct"]


def test_a_guess_that_can_be_read_two_ways_is_not_guessed_at():
    row = adopt(verifiers(AMBIGUOUS, ["Low. <guess>5, 6, 7, 8</guess>"]))
    assert reasons(row) == ["several_guesses"]


def test_the_fourth_mistake_ends_the_game_and_what_follows_is_no_part_of_it():
    row = adopt(verifiers(PLAIN, [*contents_of(PLAIN, "RWWOW"), "I go on. <guess>A, B, C, D</guess>", "And on."]))
    assert row.complete_reason == "max_mistakes"
    assert len(row.replies) == len(statuses(row)) == 5


def test_a_last_group_guessed_after_the_win_is_no_part_of_the_game():
    row = adopt(verifiers(PLAIN, map(tagged, GROUPS)))
    assert statuses(row) == ["correct", "correct", "correct", "auto"]
    assert (len(row.replies), row.reward) == (3, 5.5)
    assert row.completion[-1].role == "assistant"


@pytest.mark.parametrize("ended", ["game_lost", "game_won", "max_turns_reached", "no_tools", None, 3])
def test_a_verdict_that_our_rules_do_not_share_leaves_the_game_unfinished(ended):
    row = adopt(scripted(PLAIN, "RWWN", stop_condition=ended))
    assert row.complete_reason not in ("max_mistakes", "all_categories_found", "theme_guessing_complete")
    assert rejection(facts_of(row)) == "invalid guess"
    row = adopt(scripted(PLAIN, "RWW", stop_condition=ended))
    assert rejection(facts_of(row)) == "unfinished"
    replay_rollout(row)


def test_a_game_lost_there_by_a_repeated_guess_can_be_salvaged_here():
    contents = contents_of(PLAIN, "ROWW")
    row = adopt(verifiers(PLAIN, [*contents, contents[1]], **verdict_there("game_lost", 1, 4)))
    assert reasons(row)[-1] == "already_guessed"
    job = salvage(row, "next")
    assert job is not None
    assert [reply.content for reply in job.kept] == [reply.content for reply in row.replies[:4]]
    assert (job.resumed_from.rollout_id, job.resumed_from.turns) == (row.rollout_id, 4)


# Replies


@pytest.mark.parametrize("tag", ["reason", "reasoning", "REASON", "Reasoning"])
def test_what_a_reason_tag_holds_is_reasoning_and_the_tag_is_not(tag):
    content = f"<{tag}>All of these are tools.</{tag}>\n<guess>{', '.join(GROUPS[0])}</guess>"
    row = adopt(verifiers(PLAIN, [content, *map(tagged, GROUPS[1:3])]))
    assert row.reply_unfit == [None] * 3
    first = canonical_row(row).completion[0].content
    assert first == f"<think>\nAll of these are tools.\n</think>\n\n{guess_text(GROUPS[0])}"


@pytest.mark.parametrize(
    "content",
    [
        "<reason>Tools, I say.</reason><guess>{}</guess>",
        "Hm. <reason>Tools, I say.</reason> So: <guess>{}</guess> Right?",
        "<think>Tools.</think><reason>They all fit in a box.</reason><guess>{}</guess>",
        "<think>Tools.</think>\n\n<reasoning>They all fit in a box.</reasoning>\n<answer>{}</answer>",
        "<reason>Tools.</reason><reason>They fit in a box.</reason><guess>{}</guess>",
        "<reason>Tools.</reason><reasoning>They fit in a box.</reasoning><guess>{}</guess>",
        "<reason>Tools.<guess>{}</guess></reason>",
        "<reason>Tools, never closed.\n<guess>{}</guess>",
        "Tools, never opened.</reason>\n<guess>{}</guess>",
        "<reason><think>Tools.</think></reason><guess>{}</guess>",
        "<think><reason>Tools.</reason></think><guess>{}</guess>",
        "<reason>Tools.</reason>\n<answer>{}</answer>",
        "< reason >Tools.</ reason >\n<guess>{}</guess>",
        "<reason>Tools: 3 < 4.</reason>\n<guess>{}</guess>",
    ],
)
def test_no_reason_tag_ends_up_in_the_training_text(content):
    row = adopt(verifiers(PLAIN, [content.format(", ".join(GROUPS[0])), *map(tagged, GROUPS[1:3])]))
    if rejection(facts_of(row)) is None:  # a reply that is no clear guess never gets that far
        first = canonical_row(row).completion[0].content
        assert not re.search(r"<\s*/?\s*(reason|reasoning|answer)\b", first, re.IGNORECASE)
        assert "ools" in first
    else:
        assert statuses(row)[0] == "invalid"


@pytest.mark.parametrize("opened", ["<reason>", "<reasoning>"])
def test_an_empty_reason_is_no_reasoning(opened):
    closed = opened.replace("<", "</")
    row = adopt(verifiers(PLAIN, [f"{opened} {closed}<guess>{', '.join(GROUPS[0])}</guess>"]))
    assert (statuses(row), row.reply_unfit) == (["correct"], ["no_reasoning"])


def test_an_answer_tag_is_the_guess_of_a_reply_without_a_guess_tag():
    row = adopt(verifiers(PLAIN, [tagged(words, "answer") for words in GROUPS[:3]]))
    assert statuses(row) == ["correct", "correct", "correct", "auto"]
    assert canonical_row(row).completion[0].content == f"<think>\n{REASONING}\n</think>\n\n{guess_text(GROUPS[0])}"


@pytest.mark.parametrize(
    "order", ["<answer>{1}</answer>, or <guess>{0}</guess>", "<guess>{0}</guess><answer>{1}</answer>"]
)
def test_the_guess_tag_counts_where_an_answer_tag_is_there_too(order):
    words = [", ".join(group) for group in GROUPS]
    row = adopt(verifiers(PLAIN, [f"Well. {order.format(*words)}"]))
    assert [turn.words for turn in row.guess_history] == [list(GROUPS[0])]


def test_two_different_answers_are_several_guesses():
    words = [", ".join(group) for group in GROUPS]
    row = adopt(verifiers(PLAIN, [f"Well. <answer>{words[0]}</answer> or <answer>{words[1]}</answer>"]))
    assert reasons(row) == ["several_guesses"]


def test_the_same_answer_twice_is_one_guess():
    words = ", ".join(GROUPS[0])
    row = adopt(verifiers(PLAIN, [f"Well. <answer>{words}</answer> Yes: <answer>{words}</answer>"]))
    assert statuses(row) == ["correct"]


def test_an_answer_inside_a_think_block_does_not_count():
    words = [", ".join(group) for group in GROUPS]
    row = adopt(verifiers(PLAIN, [f"<think>Not <answer>{words[1]}</answer>.</think><answer>{words[0]}</answer>"]))
    assert [turn.words for turn in row.guess_history] == [list(GROUPS[0])]
    row = adopt(verifiers(PLAIN, [f"<think>Maybe <answer>{words[1]}</answer>.</think> I pass."]))
    assert reasons(row) == ["no_guess"]


def test_a_guess_tag_inside_a_think_block_hides_no_answer():
    words = [", ".join(group) for group in GROUPS]
    row = adopt(verifiers(PLAIN, [f"<think>Not <guess>{words[1]}</guess>.</think><answer>{words[0]}</answer>"]))
    assert [turn.words for turn in row.guess_history] == [list(GROUPS[0])]


@pytest.mark.parametrize("content", ["<answer>{}", "{}</answer>", "<answer>{}<answer>", "{}", "answer: {}"])
def test_an_answer_tag_that_is_not_a_pair_holds_no_guess(content):
    row = adopt(verifiers(PLAIN, ["So: " + content.format(", ".join(GROUPS[0]))]))
    assert reasons(row) == ["no_guess"]


def test_a_misspelt_item_in_an_answer_stays_misspelt():
    row = adopt(verifiers(PLAIN, ["So: <answer>HAMER, PLIERS, WRENCH, CHISEL</answer>"]))
    assert reasons(row) == ["not_on_board"]


@pytest.mark.parametrize("content", [tagged(GROUPS[0]), guess_text(GROUPS[0]), "No tag.", "", "a < b <guess>x</guess>"])
def test_our_tags_are_left_as_they_are_and_the_translation_is_idempotent(content):
    once = in_our_tags(content)
    assert in_our_tags(once) == once
    if "<reason" not in content:
        assert once == content


def test_content_in_parts_is_joined():
    parts = [{"type": "text", "text": f"<reason>{REASONING}</reason><gue"}, {"type": "text", "text": "ss>"}]
    parts += [{"type": "text", "text": ", ".join(GROUPS[0])}, {"type": "text", "text": "</guess>"}]
    row = adopt(verifiers(PLAIN, [parts, *map(tagged, GROUPS[1:3])]))
    assert statuses(row) == ["correct", "correct", "correct", "auto"]
    assert rejection(facts_of(row)) is None
    assert row.completion[0].content == in_our_tags(tagged(GROUPS[0]).replace("\n", ""))


@pytest.mark.parametrize(
    "content",
    [
        None,
        3,
        2.5,
        True,
        {},
        {"text": "hm"},
        [],
        [None],
        ["hm"],
        [{"type": "image_url"}],
        [{"text": None}],
        [{"text": 3}],
    ],
)
def test_content_of_any_other_kind_holds_no_guess_and_is_no_crash(content):
    row = adopt(verifiers(PLAIN, [tagged(GROUPS[0]), content, tagged(GROUPS[1])]))
    assert "correct" in statuses(row)
    assert set(reasons(row)) <= {None, "no_guess"}
    replay_rollout(row)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("make", [verifiers, older], ids=["verifiers", "older"])
def test_reasoning_beside_the_content_is_kept(name, make):
    row = make(PLAIN, [f"<guess>{', '.join(words)}</guess>" for words in GROUPS[:3]])
    for message in row["completion"]:
        if message["role"] == "assistant":
            message[name] = REASONING
    adopted = adopt(row)
    assert rejection(facts_of(adopted)) is None
    assert [reasoning_of(reply) for reply in adopted.replies] == [REASONING] * 3


def test_reasoning_beside_the_content_comes_before_that_in_tags():
    row = verifiers(PLAIN, [tagged(GROUPS[0], reason="Last words."), *map(tagged, GROUPS[1:3])])
    row["completion"][0]["reasoning_content"] = "First thoughts."
    first = canonical_row(adopt(row)).completion[0].content
    assert first == f"<think>\nFirst thoughts.\n\nLast words.\n</think>\n\n{guess_text(GROUPS[0])}"


@pytest.mark.parametrize("reasoning", [None, "", 3, [], {}, [{"text": "x"}]])
def test_reasoning_of_any_other_kind_is_no_crash(reasoning):
    row = verifiers(PLAIN, [f"<guess>{', '.join(GROUPS[0])}</guess>"])
    row["completion"][0]["reasoning_content"] = reasoning
    adopted = adopt(row)
    assert statuses(adopted) == ["correct"]
    replay_rollout(adopted)


def test_a_control_token_makes_a_foreign_reply_unfit():
    row = adopt(verifiers(PLAIN, [f"<|im_end|> {tagged(GROUPS[0])}", *map(tagged, GROUPS[1:3])]))
    assert row.reply_unfit == ["control_tokens", None, None]
    assert rejection(facts_of(row)) == "control tokens"


@pytest.mark.parametrize(
    "unit", ["<reason>", "</reason>", "<answer>", "</answer>", "<think>", "<", "< ", "<reason><guess>"]
)
def test_a_huge_reply_of_odd_tags_takes_linear_time(unit):
    content = unit * (400_000 // len(unit)) + tagged(GROUPS[0], "answer")
    start = time.perf_counter()
    adopt(verifiers(PLAIN, [content]))
    assert time.perf_counter() - start < 5


# Records of older pipelines


def test_a_prefix_in_the_prompt_is_part_of_the_game():
    row = adopt(older(PLAIN, [tagged(GROUPS[1]), tagged(GROUPS[2])], prefix=[tagged(GROUPS[0])], as_text=True))
    assert statuses(row) == ["correct", "correct", "correct", "auto"]
    assert [message.role for message in row.prompt] == ["system", "user"]
    assert len(row.replies) == 3
    assert row.reward == 5.5


def test_a_prefix_in_the_prompt_of_a_verifiers_row_is_part_of_the_game():
    row = verifiers(PLAIN, [tagged(GROUPS[1])])
    row["prompt"] += [*talk([tagged(GROUPS[0])]), {"role": "user", "content": "Go on."}]
    assert statuses(adopt(row)) == ["correct", "correct"]


def test_the_automatic_last_group_recorded_as_correct_is_no_guess():
    turns = [(words, "correct", float(n)) for n, words in enumerate(GROUPS)]
    row = older(PLAIN, map(tagged, GROUPS[:3]), guess_history=history(*turns), complete_reason="all_categories_found")
    adopted = adopt(row)
    assert statuses(adopted) == ["correct", "correct", "correct", "auto"]
    assert adopted.reward == 5.5


def test_what_an_older_record_says_of_itself_is_not_believed():
    row = older(PLAIN, ["No idea."], guess_history=history((GROUPS[0], "correct", 0)), reward=5.5)
    row["complete_reason"] = "all_categories_found"
    adopted = adopt(row)
    assert (statuses(adopted), adopted.reward) == (["invalid"], 0)
    assert rejection(facts_of(adopted)) == "invalid guess"


# Rows with nothing in them


@pytest.mark.parametrize(
    "fields",
    [
        {"error": {"error": "ModelError", "error_chain_str": "gone"}},
        {"error": "timed out"},
        {"error": {"error": "x"}, "completion": None},
        {"completion": None},
        {"completion": []},
        {"completion": ""},
        {"completion": [{"role": "user", "content": "Are you there?"}]},
        {"stop_condition": "has_error", "error": {"error": "x"}, "metrics": None, "reward": None},
        {"error": {"error": "x"}, "prompt": None},
        {"error": {"error": "x"}, "prompt": [], "timing": None, "token_usage": None, "example_id": None},
    ],
)
@pytest.mark.parametrize("as_text", [False, True], ids=["object", "json"])
def test_a_row_without_a_reply_is_adopted_as_a_game_without_one(fields, as_text):
    row = verifiers(PLAIN, **fields)
    row["info"] = json.dumps(row["info"]) if as_text else row["info"]
    adopted = adopt(row)
    assert (adopted.replies, adopted.guess_history, adopted.reward) == ([], [], 0)
    assert adopted.puzzle.key == PLAIN.key
    replay_rollout(adopted)


# What an adopted row is


@pytest.mark.parametrize("script", ["", "R", "RRR", "RON", "XNX", "OWOW", "QRL", "RCR", "WWRRR"])
@pytest.mark.parametrize("puzzle", [PLAIN, SIX, board(2, groups=5, size=5)], ids=lambda puzzle: puzzle.puzzle_id)
def test_an_adopted_row_is_one_of_ours(script, puzzle):
    row = adopt(scripted(puzzle, script)) if script else adopt(verifiers(puzzle))
    assert read_row(row.to_line()) == row
    replay_rollout(row)
    assert [message.role for message in row.prompt] == ["system", "user"]
    assert not row.simulated


def test_a_scripted_game_has_the_facts_it_has_when_played_here():
    for script in ("RRR", "RON", "OWOW", "QRR", "RCR", "RXRR", "WWWRRR", "NNN"):
        here, there = facts_of(played(PLAIN, script)), facts_of(adopt(scripted(PLAIN, script)))
        assert there._replace(tokens=(), complete_reason="") == here._replace(tokens=(), complete_reason=""), script
        assert rejection(there) == rejection(here)


def test_ids_tell_rows_apart_and_stay_the_same():
    rows = [
        scripted(PLAIN, "RR"),
        scripted(PLAIN, "RO"),
        scripted(PLAIN, "RR", example_id=4),
        scripted(PLAIN, "RR", timing={"generation_ms": 3.0}),
        scripted(board(1), "RR"),
        older(PLAIN, contents_of(PLAIN, "RR")),
        older(PLAIN, contents_of(PLAIN, "RR")[1:], prefix=contents_of(PLAIN, "RR")[:1]),
    ]
    ids = [adopt(row).rollout_id for row in rows]
    assert len(set(ids)) == len(ids)
    assert ids == [adopt(dict(reversed(row.items()))).rollout_id for row in rows]
    assert ids == [rollout_of(json.dumps(row, indent=1).encode()).rollout_id for row in rows]
    assert ids == [rollout_of(json.dumps(row, ensure_ascii=False).encode()).rollout_id for row in rows]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b'"x"',
        b"{",
        b"\0",
        b"\0" * 64,
        b"{}",
        b'{"info": 3}',
        b"\xff\xfe",
        b'{"completion": []}',
    ],
)
def test_a_line_that_is_no_row_is_refused_by_name(data):
    assert judge_line(data) is None
    with pytest.raises(BadRow):
        rollout_of(data)


# The fast way and the slow way


odd_text = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    [
        *(
            "<|im_end|>",
            "</s>",
            "[INST]",
            "\x00",
            "\x1b",
            "\x7f",
            "\ud83d",
            "\ufeff",
            "—",
            "\u2028",
            "`",
            '"',
            "\\",
            "&amp;",
        ),
        *("<guess>", "</guess>", "<answer>", "</answer>", "<reason>", "</reason>", "<reasoning>", "</reasoning>"),
        *("<think>", "</think>", "<themes>", "< guess >", "<GUESS>", "<Answer>", "<", ">", "<reason", "<guess><guess>"),
    ]
)
scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | odd_text
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3)
)
extras = st.dictionaries(
    st.sampled_from(["metrics", "task", "oai_tools", "model", "trajectory", "is_truncated", "x", "rollout_id", "id"]),
    anything,
    max_size=2,
)


@st.composite
def guesses_said(draw, words):
    """The inside of a tag: words in one of the ways players list them."""
    style = draw(st.sampled_from(["commas"] * 5 + ["backticks", "json", "lines", "bullets", "tight", "lower", "stop"]))
    return {
        "commas": ", ".join(words),
        "backticks": "[" + ", ".join(f"`{word}`" for word in words) + "]",
        "json": json.dumps(words),
        "lines": "\n".join(words),
        "bullets": "".join(f"\n- {word}" for word in words),
        "tight": ",".join(words),
        "lower": ", ".join(words).lower(),
        "stop": ", ".join(words) + ".",
    }[style]


@st.composite
def replies_said(draw, puzzle, words):
    """What a message may hold for a guess: mostly text, tags of all tools, in their place or not."""
    inside, other = draw(guesses_said(words)), draw(guesses_said(list(puzzle.groups[0].members)))
    form = draw(
        st.sampled_from(
            [
                *["<reason>{t}</reason>\n<guess>{g}</guess>"] * 4,
                *["{t} <guess>{g}</guess>"] * 3,
                *["<reason>{t}</reason><answer>{g}</answer>", "{t} <answer>{g}</answer>"] * 2,
                "<reasoning>{t}</reasoning><guess>{g}</guess>",
                "<think>{t}</think><guess>{g}</guess>",
                "<think>{t} <guess>{o}</guess></think><answer>{g}</answer>",
                "<think>{t}</think><reason>{t}</reason><guess>{g}</guess>",
                "{t} <guess>{g}</guess> or <answer>{o}</answer>",
                "{t} <answer>{o}</answer> or <guess>{g}</guess>",
                "{t} <answer>{o}</answer> or <answer>{g}</answer>",
                "{t} <guess>{o}</guess> or <guess>{g}</guess>",
                "<reason>{t} <guess>{g}</guess></reason>",
                "<reason>{t}<answer>{g}</answer></reason>",
                "<reason>{t} <guess>{g}</guess>",
                "{t}</reason><guess>{g}</guess>",
                "<guess>{g}</guess> {t}",
                "<guess>{g}</guess>",
                "{t} <GUESS>{g}</GUESS>",
                "{t} < guess >{g}</ guess >",
                "{t} <guess>{g}",
                "{t} <guess></guess> <answer>{g}</answer>",
                "{t}",
                "",
            ]
        )
    )
    thought = draw(st.sampled_from([REASONING, REASONING, "", "—"]) | odd_text)
    text = form.format(t=thought, g=inside, o=other)
    cut = draw(st.integers(0, len(text)))
    return draw(
        st.sampled_from(
            [
                *[text] * 8,
                [{"type": "text", "text": text}],
                [{"type": "text", "text": text[:cut]}, {"type": "text", "text": text[cut:]}],
                [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": text}],
            ]
        )
        | st.sampled_from([text, None, [], {}, 3, [None, text], [{"type": "text", "text": None}]])
    )


@st.composite
def foreign_rows(draw):
    """Games of other tools: mostly as they come, with odd things in any place."""
    puzzle = draw(st.sampled_from([PLAIN, PLAIN, board(1), *ODD_BOARDS]))
    script = draw(st.text("RRRLOCWQNX", max_size=8))
    try:
        contents: list[Any] = contents_of(puzzle, script)
    except (IndexError, ValueError):  # over before the script is
        contents = []
    for guess in draw(guesses_on(puzzle)) if not contents or draw(st.booleans()) else []:
        contents.append(draw(replies_said(puzzle, list(guess.words))))
    info = INFO[draw(st.sampled_from([*INFO]))](puzzle) | draw(st.just({}) | extras)
    if draw(st.integers(0, 9)) == 0:
        info.pop(draw(st.sampled_from([*info])), None)
    if draw(st.integers(0, 9)) == 0:
        info[draw(st.sampled_from([*info, "ruleset", "split", "title", "all_words"]))] = draw(anything)
    row = draw(st.sampled_from([verifiers, older]))(puzzle, contents)
    cut = draw(st.integers(0, len(contents)))
    if draw(st.booleans()):
        row["prompt"] = [*opening(puzzle), *talk(contents[:cut])]
        row["completion"] = talk(contents[cut:])
    for message in row["completion"]:
        if draw(st.integers(0, 4)) == 0:
            message[draw(st.sampled_from(["reasoning_content", "reasoning", "tool_calls", "name"]))] = draw(
                st.just(REASONING) | anything
            )
        if draw(st.integers(0, 14)) == 0:
            message["role"] = draw(st.sampled_from(["tool", "system", "developer", "Assistant", None, 3]))
    row["info"] = json.dumps(info) if draw(st.booleans()) else info
    row |= draw(st.just({}) | extras)
    if draw(st.integers(0, 9)) == 0:
        names = [*row, "guess_history", "complete_reason", "rollout_id", "error", "reasoning"]
        row[draw(st.sampled_from(names))] = draw(anything)
    if draw(st.integers(0, 9)) == 0:
        row.pop(draw(st.sampled_from([*row])))
    order = draw(st.permutations([*row])) if draw(st.booleans()) else [*row]
    return {name: row[name] for name in order}


@st.composite
def lines_of_rows(draw):
    """A row as some writer of JSON puts it on a line."""
    row = draw(foreign_rows())
    ascii_only, tight = draw(st.booleans()), draw(st.booleans())
    text = json.dumps(row, ensure_ascii=ascii_only, separators=(",", ":") if tight else None)
    before, after = draw(st.sampled_from([("", ""), ("", ""), (" ", "  "), ("", "\r"), ("\t", "")]))
    return f"{before}{text}{after}".encode("utf-8", "replace")


def slowly(data: bytes) -> Rollout | None:
    """The row of a line, or None where it is refused; any other error is none that may occur."""
    try:
        return rollout_of(data)
    except BadRow:
        return None


def assert_fast_is_slow(data: bytes) -> None:
    judged = judge_line(data)
    assert judged == judge_line(memoryview(data))
    if judged is None:
        return
    row = slowly(data)
    assert row is not None, "the fast way counts a row that the slow way refuses"
    assert judged.facts == facts_of(row)
    assert judged.key == board_key(row.info.all_words)


PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROPERTY
@given(foreign_rows())
def test_the_fast_way_gives_what_the_adopted_row_holds(row):
    data = json.dumps(row).encode()
    judged = judge_line(data)
    try:
        adopted = adopt(json.loads(data))
    except BadRow:
        assert judged is None
        return
    if judged is not None:
        assert judged.facts == facts_of(adopted)
        assert judged.key == board_key(adopted.info.all_words)


@PROPERTY
@given(lines_of_rows())
def test_the_fast_way_gives_what_the_line_read_in_full_holds(data):
    assert_fast_is_slow(data)


@pytest.mark.parametrize("script", ["RRR", "RON", "OWOW", "QRR", "RCR", "RXRR", "LRR", ""])
@pytest.mark.parametrize("layout", INFO)
def test_plain_rows_are_read_the_fast_way(script, layout):
    row = scripted(PLAIN, script, layout=layout)
    for info in (row["info"], json.dumps(row["info"])):
        data = line(row | {"info": info})
        assert_fast_is_slow(data)
        if script and layout == "verifiers" and not isinstance(info, str):
            assert judge_line(data) is not None


@PROPERTY
@given(lines_of_rows(), st.data())
def test_a_line_with_bytes_spoilt_is_judged_as_it_is_read(data, draws):
    spoilt = bytearray(data)
    for _ in range(draws.draw(st.integers(1, 3))):
        at = draws.draw(st.integers(0, max(len(spoilt) - 1, 0)))
        much = draws.draw(st.sampled_from([0, 1, 1, 1, 7]))
        spoilt[at : at + much] = draws.draw(
            st.sampled_from([b"", b"\0", b"\xff", b"\n", b"\x1b", b'"', b"\xed\xa0\x80"])
        )
    assert_fast_is_slow(bytes(spoilt))


@pytest.mark.parametrize("spoilt", [b"\0", b"\xff", b"\x1b", b"\xed\xa0\x80", b"\t", b"\\ud800", b"\\x", b"\xc3"])
@pytest.mark.parametrize(
    "where", [b"812.25", b"default", b"Sort the words", b"Noted", b"Found in", b"2030-02-03", b"These belong"]
)
def test_a_byte_that_json_forbids_is_judged_as_it_is_read_wherever_it_stands(where, spoilt):
    data = line(scripted(PLAIN, "RO"))
    assert where in data
    assert_fast_is_slow(data.replace(where, where + spoilt, 1))


@pytest.mark.parametrize(
    "name", ["completion", "info", "prompt", "error", "content", "role", "groups", "shuffled_words"]
)
def test_of_a_name_given_twice_the_same_one_counts_both_ways(name):
    data = line(scripted(PLAIN, "RO"))
    for value in (b"[]", b"null", b"{}", b'"assistant"', b'"x"'):
        twice = b'"' + name.encode() + b'": ' + value + b', "' + name.encode() + b'":'
        assert_fast_is_slow(data.replace(b'"' + name.encode() + b'":', twice, 1))


@PROPERTY
@given(st.binary(max_size=80) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
@example(b"[" * 100_000)
@example(b'{"info":' * 50_000)
@example(b'{"completion": ' + b"[" * 100_000)
@example(b"\xef\xbb\xbf{}")
@example(b'{"info": "' + b"[" * 50_000 + b'", "completion": []}')
def test_arbitrary_bytes_make_nothing_raise_but_bad_row(data):
    assert_fast_is_slow(data)
    slowly(data)


@PROPERTY
@given(st.dictionaries(st.sampled_from(["info", "completion", "prompt", "error", "guess_history", "x"]), anything))
@example({"info": {"words": ["A"], "groups": 3}, "completion": [{"role": "assistant", "content": "x"}]})
@example({"info": {"words": {"a": 1}, "groups": [[["A"]]]}, "completion": [[], {}, 3]})
@example({"info": "[1, 2]", "completion": []})
@example({"info": '{"words": 1e999}', "completion": []})
@example({"info": "[" * 50_000, "completion": []})
@example({"info": {"puzzle_id": "x"}, "guess_history": 3, "completion": []})
@example({"info": {"puzzle_id": "x"}, "guess_history": [{"words": 3, "status": "correct", "category_idx": 1e300}]})
@example({"info": {"puzzle_id": "x"}, "guess_history": [None], "complete_reason": ["a"], "reward": "NaN"})
def test_arbitrary_objects_are_adopted_or_refused_as_bad_rows(row):
    with contextlib.suppress(BadRow):
        adopt(row)
    assert_fast_is_slow(json.dumps(row).encode())


@PROPERTY
@given(foreign_rows())
def test_any_row_is_adopted_or_refused_and_an_adopted_board_replays_to_itself(row):
    try:
        adopted = adopt(row)
    except BadRow:
        return
    assert adopt(json.loads(json.dumps(row))) == adopted or any_nan(row)
    if adopted.info.all_words:
        replay_rollout(adopted)
        assert adopted.completion == [] or adopted.completion[-1].role == "assistant"
        assert math.isfinite(adopted.reward)
        assert read_row(adopted.to_line().encode()) == adopted


def any_nan(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(any_nan, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and math.isnan(value)


@PROPERTY
@given(foreign_rows(), st.data())
def test_no_value_put_in_any_place_makes_a_row_raise(row, draws):
    place, name = draws.draw(st.sampled_from([*holders(row)]))
    place[name] = draws.draw(anything)
    with contextlib.suppress(BadRow):
        adopt(row)
    assert_fast_is_slow(json.dumps(row).encode())


def holders(value: Any):
    """Each list or object of a row with each of its indices or names."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in inner:
        yield value, name
        yield from holders(child)


@PROPERTY
@given(foreign_rows())
def test_a_verdict_of_any_row_is_compared_without_an_error(row):
    with contextlib.suppress(BadRow):
        verdict, game = recorded(row), game_of(row)
        if verdict is not None and game is not None:
            why = difference(verdict, game)
            assert why is None or (why and "\n" not in why)


@PROPERTY
@given(st.lists(odd_text | st.just("words"), max_size=12).map("".join))
def test_our_tags_of_any_text_are_a_fixed_point_and_lose_no_word(content):
    once = in_our_tags(content)
    assert in_our_tags(once) == once
    tags = re.compile(r"<\s*/?\s*\w+\s*>")
    assert tags.sub("", once) == tags.sub("", content)


# What the commands read


ACCOUNT = re.compile(
    r"^[^\n]*?(?:: )?rollouts: (?P<used>[^;\n]*)(?:; (?P<total>\d+) not used: (?P<reasons>[^\n]*))?\n", re.MULTILINE
)


class Stopped(Exception):
    """A command that ended with another status than 0; the message is what it said."""


class Commands:
    """A puzzle file and a results folder, and the commands that read them."""

    def __init__(self, root: Path, count: int = 8):
        self.root, self.results, self.out = root, root / "res", root / "out"
        self.source = puzzle_file(root / "puzzles.jsonl", boards(count))

    def write(self, name: str, *rows, model: str | None = None) -> Path:
        path = results_file(self.results / name, rows)
        if model is not None:
            path.with_name("metadata.json").write_text(
                json.dumps({"env_id": "words", "model": model, "num_examples": 2})
            )
        return path

    def run(self, command, *argv: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = command.main([str(word) for word in argv])
            except SystemExit as end:
                status = end.code
        return status, out.getvalue(), err.getvalue()

    def dry(self, *flags: object, folder: Path | None = None) -> tuple[str, str]:
        where = ["--puzzles", self.source, "--results-dir", folder or self.results]
        status, out, err = self.run(iterative_generate, "--dry-run", *where, *flags)
        assert status == 0, err
        return out, err

    def filter(self, *inputs: object, flags: Sequence[object] = ()) -> tuple[str, str]:
        argv = [*(inputs or [self.results]), *flags, "--output-dir", self.out]
        status, out, err = self.run(filter_gameplay, *argv)
        if status:
            raise Stopped(err)
        return out, err

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(text) for text in (self.out / name).read_text(encoding="utf-8").splitlines()]

    @property
    def good(self) -> list[dict[str, Any]]:
        return self.rows("good_examples.jsonl")

    @property
    def bad(self) -> list[dict[str, Any]]:
        return self.rows("bad_examples.jsonl")


@pytest.fixture
def there(tmp_path):
    return Commands(tmp_path)


def state_of(out: str) -> tuple[int, int, int, int]:
    """Good, salvageable, unsalvageable, missing."""
    found = re.search(
        r"Loop 1: (\d+) Good, (\d+) Bad\n.*: (\d+)\n.*: (\d+)\n.*: (\d+)\n",
        out,
    )
    good, bad, salvageable, unsalvageable, missing = map(int, found.groups())
    assert bad == salvageable + unsalvageable
    return good, salvageable, unsalvageable, missing


def account(err: str) -> tuple[dict[str, int], dict[str, int]]:
    """What the summary line counts: origins of the used rows, reasons of the others."""
    found = [*ACCOUNT.finditer(err)]
    assert len(found) == 1, err
    used = {name: int(n) for n, name in re.findall(r"(\d+) of ([a-z ]+)", found[0]["used"])}
    reasons = found[0]["reasons"] or ""
    outer = re.sub(r" \([^)]*\)", "", reasons)
    unused = {name: int(n) for n, name in re.findall(r"(\d+) ([a-z ]+)", outer)}
    assert sum(unused.values()) == int(found[0]["total"] or 0)
    if inner := re.search(r"unreadable \((.*)\)", reasons):
        assert unused["unreadable"] == sum(int(n) for n in re.findall(r": (\d+)(?:;|$)", inner[1]))
    return used, unused


def test_games_of_other_tools_are_counted_like_our_own(there):
    there.write("results_1.jsonl", won(board(0)), lost(board(1)))
    there.write("results_2.jsonl", older(board(2), contents_of(board(2), "RRR"), as_text=True))
    there.write("results.jsonl", scripted(board(3), "RRR"), scripted(board(4), "RN"), scripted(board(5), "N"))
    out, err = there.dry()
    assert state_of(out) == (3, 2, 1, 2)
    told = "rollouts: 2 of this project, 1 of older pipelines, 3 of verifiers\n"
    assert err == f"{there.results}: {told}"
    _, err = there.filter()
    assert told in err
    assert f": {told}" not in err
    assert {row["info"]["puzzle_id"] for row in there.good} == {"made-0", "made-2", "made-3"}
    assert {row["info"]["puzzle_id"] for row in there.bad} == {"made-1", "made-4", "made-5"}


def test_an_error_row_is_empty_and_no_crash(there):
    error = {"error": "EmptyModelResponseError", "error_chain_repr": "EmptyModelResponseError('')"}
    there.write(
        "results.jsonl",
        verifiers(board(0), error=error, **verdict_there("has_error", 0, 0)),
        verifiers(board(1)),
        verifiers(board(2), completion=None, error="gone"),
        scripted(board(3), "RRR"),
    )
    out, err = there.dry("-v")
    assert state_of(out) == (1, 0, 0, 7)
    assert account(err) == ({"verifiers": 4}, {"empty": 3})
    for number in (1, 2, 3):
        assert f"results.jsonl:{number}: " in err
    out, err = there.filter()
    assert account(err) == ({"verifiers": 4}, {"empty": 3})
    assert [row["info"]["puzzle_id"] for row in there.good] == ["made-3"]
    assert there.bad == []


def test_an_error_after_replies_leaves_a_game_to_go_on_with(there):
    there.write("results.jsonl", scripted(board(0), "RR", error={"error": "ModelError"}, stop_condition="has_error"))
    out, err = there.dry()
    assert state_of(out) == (0, 1, 0, 7)
    assert account(err) == ({"verifiers": 1}, {})


def test_an_empty_row_does_not_stand_in_the_way_of_a_good_one(there):
    there.write(
        "results.jsonl", verifiers(board(0), error="x"), scripted(board(0), "RRR"), verifiers(board(0), error="x")
    )
    assert state_of(there.dry()[0]) == (1, 0, 0, 7)


def test_the_summary_line_is_there_only_where_something_is_foreign_or_unused(there):
    path = there.write("results_1.jsonl", won(board(0)), lost(board(1)))
    assert "rollouts:" not in there.dry()[1] + there.dry("-v")[1] + there.filter()[1]
    path.write_bytes(path.read_bytes() + b'{"rollout_id": "x", "comp')
    for err in (there.dry()[1], there.filter()[1]):
        assert account(err) == ({"this project": 2}, {"torn last line": 1})
    path.unlink()
    there.write("results_1.jsonl", won(board(0)), empty(board(1)))
    for err in (there.dry()[1], there.filter()[1]):
        assert account(err) == ({"this project": 2}, {"empty": 1})


def test_games_by_other_rules_are_counted_and_not_used(there):
    there.write("results_1.jsonl", won(board(0)), played(board(1), "RRR", ruleset=PUZZGRID))
    out, err = there.dry()
    assert state_of(out) == (1, 0, 0, 7)
    _, unused = account(err)
    assert unused == {"by other rules than nyt": 1}


@pytest.mark.parametrize(
    "broken",
    [
        "nope",
        "\0\0\0\0",
        "[1, 2]",
        '{"completion": [{"role": "assistant", "content": "x"}]}',
        json.dumps(verifiers(board(0), info=None)),
        json.dumps(verifiers(board(0), info={})),
        json.dumps(verifiers(board(0), info="{not json")),
        json.dumps(verifiers(board(0)))[:-20],
        '{"info": ' * 30_000,
        "[" * 30_000,
    ],
    ids=range(10),
)
def test_a_broken_line_is_counted_and_named_and_stops_no_other(there, broken):
    path = there.write("results.jsonl", scripted(board(0), "RRR"), broken, scripted(board(1), "RRR"))
    for read in (there.dry, there.filter):
        _, err = read()
        assert account(err) == ({"verifiers": 2}, {"unreadable": 1})
    out, err = there.dry("-v")
    assert state_of(out)[0] == 2
    assert re.search(rf"{path.name}:2: [^\n]*; skipped\n", err)
    assert len(there.good) == 2


def test_content_parts_of_odd_kinds_stop_no_other_row(there):
    odd = verifiers(board(0), [[{"type": "text", "text": 3}], [{"type": "text", "text": ["x"]}]])
    there.write("results.jsonl", odd, scripted(board(1), "RRR"))
    assert state_of(there.dry()[0])[0] == 1


def test_bytes_that_are_no_utf8_are_judged_alike_by_the_count_and_by_the_filter(there):
    row = json.dumps(scripted(board(0), "RRR", task="default"))
    there.write("results.jsonl", row, scripted(board(1), "RRR"))
    path = there.results / "results.jsonl"
    path.write_bytes(path.read_bytes().replace(b"default", b"d\xfffault", 1))
    counted, taken = state_of(there.dry()[0])[0], there.filter()
    assert counted == len(there.good), taken


@pytest.mark.parametrize("kept", [5, 200, -1])
def test_half_a_row_at_the_end_is_a_torn_last_line(there, kept):
    whole = line(scripted(board(1), "RRR"))
    path = there.write("results.jsonl", scripted(board(0), "RRR"))
    path.write_bytes(path.read_bytes() + whole[:kept])
    for read in (there.dry, there.filter):
        assert account(read()[1]) == ({"verifiers": 1}, {"torn last line": 1})
    assert re.search(r"results\.jsonl:2: ", there.dry("-v")[1])


def test_a_whole_last_row_without_a_line_ending_is_read(there):
    path = there.write("results.jsonl", scripted(board(0), "RRR"))
    path.write_bytes(path.read_bytes() + line(scripted(board(1), "RRR")))
    out, err = there.dry()
    assert state_of(out)[0] == 2
    assert account(err) == ({"verifiers": 2}, {})
    there.filter()
    assert len(there.good) == 2


def test_windows_line_endings_and_a_byte_order_mark_are_no_part_of_a_row(there):
    path = there.write("results.jsonl", scripted(board(0), "RRR"), scripted(board(1), "RRR"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    assert account(there.dry()[1]) == ({"verifiers": 2}, {})
    there.filter()
    assert len(there.good) == 2


KINDS: dict[str, tuple[Any, str]] = {
    "ours": (lambda p: won(p), "this project"),
    "ours lost": (lambda p: lost(p), "this project"),
    "ours empty": (lambda p: empty(p), "this project, empty"),
    "older": (lambda p: older(p, contents_of(p, "RRR"), as_text=True), "older pipelines"),
    "older resumed": (lambda p: older(p, contents_of(p, "RRR")[1:], prefix=contents_of(p, "R")), "older pipelines"),
    "verifiers": (lambda p: scripted(p, "RRR"), "verifiers"),
    "verifiers as json": (lambda p: scripted(p, "RN") | {"info": json.dumps(INFO["words"](p))}, "verifiers"),
    "verifiers error": (lambda p: verifiers(p, error={"error": "x"}), "verifiers, empty"),
    "by other rules": (lambda p: played(p, "RRR", ruleset=PUZZGRID), "this project, by other rules than nyt"),
    "no json": (lambda p: "nope", "unreadable"),
    "no info": (lambda p: verifiers(p, ["x"], info=None), "unreadable"),
    "no object": (lambda p: "3", "unreadable"),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from([*KINDS]), st.integers(0, 7), st.integers(0, 3)), max_size=14),
    st.sampled_from([b"", b"", b'{"half', b"\0\0"]),
)
def test_the_counts_add_up_with_every_line(mixture, torn):
    with tempfile.TemporaryDirectory() as name:
        here = Commands(Path(name))
        files = ["results_1.jsonl", "results_2.jsonl", "results_extra.jsonl", "runs/a/results.jsonl"]
        for number, path in enumerate(files):
            here.write(path, *(KINDS[kind][0](board(n)) for kind, n, place in mixture if place == number))
        last = here.results / files[-1]
        last.write_bytes(last.read_bytes() + torn)
        used, unused = dict[str, int](), dict[str, int]()
        for kind, *_ in mixture:
            for label in KINDS[kind][1].split(", "):
                held = unused if label in ("empty", "unreadable", "by other rules than nyt") else used
                held[label] = held.get(label, 0) + 1
        counted = [(kind, n) for kind, n, _ in mixture if not KINDS[kind][1].endswith(("empty", "unreadable", "nyt"))]
        if copies := len(counted) - len({*counted}):
            unused["copies of other rows"] = copies
        if torn:
            unused["torn last line"] = 1
        for read in (here.dry, here.filter):
            try:
                _, err = read()
            except Stopped as stopped:  # nothing to filter
                err = str(stopped)
                assert sum(used.values()) == unused.get("empty", 0) + unused.get("by other rules than nyt", 0)
            if unused or set(used) - {"this project"}:
                assert account(err) == (used, unused)
            else:
                assert "rollouts:" not in err


# The folder


def test_files_are_read_by_number_and_then_those_by_name_here_and_below(there):
    names = [
        "results_2.jsonl",
        "results_10.jsonl",
        "results.jsonl",
        "results_old.jsonl",
        "a/results.jsonl",
        "b/c/results.jsonl",
    ]
    for name in reversed(names):
        there.write(name, scripted(board(0), "RRR") | {"task": name})
    others = ["my_results.jsonl", "results.json", "results_1.jsonl.bak", "a/results_1.jsonl", "a/results_old.jsonl"]
    for name in [*others, "rollouts.jsonl", "good_examples.jsonl", "a/metadata.jsonl"]:
        there.write(name, scripted(board(1), "RRR"))
    (there.results / "d" / "results.jsonl").mkdir(parents=True)
    read = [str(path.relative_to(there.results)) for path in results_files(there.results)]
    assert read[:2] == names[:2]
    assert sorted(read[2:]) == sorted(names[2:])
    out, err = there.dry()
    assert state_of(out) == (1, 0, 0, 7)
    assert account(err) == ({"verifiers": 6}, {})


def test_a_folder_that_leads_back_to_itself_is_read_once(there):
    there.write("a/results.jsonl", scripted(board(0), "RRR"))
    (there.results / "a" / "again").symlink_to(there.results, target_is_directory=True)
    assert account(there.dry()[1])[0] == {"verifiers": 1}


def test_two_broken_lines_of_files_of_the_same_name_are_told_apart(there):
    there.write("results.jsonl", "nope")
    there.write("a/results.jsonl", "nope")
    there.write("b/results.jsonl", "nope")
    named = re.findall(r"(\S*results\.jsonl):1: ", there.dry("-v")[1])
    assert len(set(named)) == len(named) == 3
    there.write("results.jsonl", scripted(board(0), "RRR", **verdict_there("game_lost", 1, 4)))
    there.write("a/results.jsonl", scripted(board(0), "RRR", **verdict_there("game_lost", 1, 4)))
    named = re.findall(r"(\S*results\.jsonl):1: lost there", there.dry("-v")[1])
    assert len(set(named)) == len(named) == 2


@pytest.mark.parametrize("name", ["offline/results.jsonl", "offline/run/results.jsonl", "offline/results_1.jsonl"])
def test_the_offline_folder_is_never_taken_in_by_the_paid_one(there, name, monkeypatch):
    there.results = there.root / "generate_results"
    there.write("results_1.jsonl", won(board(0)))
    there.write(name, played(board(1), "RRR", simulated=True), scripted(board(2), "RRR"))
    assert state_of(there.dry()[0]) == (1, 0, 0, 7)
    there.filter()
    assert [row["info"]["puzzle_id"] for row in there.good] == ["made-0"]
    monkeypatch.chdir(there.root)
    assert state_of(there.dry(folder=Path("generate_results"))[0]) == (1, 0, 0, 7)
    there.filter("generate_results")
    assert [row["info"]["puzzle_id"] for row in there.good] == ["made-0"]
    assert state_of(there.dry(folder=there.results / "offline")[0]) == (2, 0, 0, 6)


def test_the_model_of_a_run_is_that_of_its_metadata(there):
    there.write("a/results.jsonl", scripted(board(0), "RRR"), scripted(board(1), "RN"), model="maker/strong-1")
    there.write("b/results.jsonl", scripted(board(2), "RRR"), model="maker/weak-2")
    there.write("results_1.jsonl", played(board(3), "RRR"))
    there.write("c/results.jsonl", scripted(board(4), "RRR"))
    there.filter()
    models = {row["info"]["puzzle_id"]: row["model"] for row in [*there.good, *there.bad]}
    assert models == {
        "made-0": "maker/strong-1",
        "made-1": "maker/strong-1",
        "made-2": "maker/weak-2",
        "made-3": "scripted",
        "made-4": "",
    }
    assert all(row["reply_models"] == [row["model"]] * len(row["reply_models"]) for row in [*there.good, *there.bad])
    there.filter(there.results / "a" / "results.jsonl")
    assert [row["model"] for row in there.good] == ["maker/strong-1"]


@pytest.mark.parametrize("metadata", ["", "nope", "[]", "null", '{"model": null}', '{"model": {}}', "\0", "[" * 9999])
def test_metadata_that_names_no_model_is_no_crash(there, metadata):
    path = there.write("a/results.jsonl", scripted(board(0), "RRR"))
    path.with_name("metadata.json").write_text(metadata)
    assert state_of(there.dry()[0])[0] == 1
    there.filter()
    assert [row["model"] for row in there.good] == [""]


def test_metadata_that_is_no_file_or_no_utf8_is_no_crash(there):
    for name in "ab":
        there.write(f"{name}/results.jsonl", scripted(board("ab".index(name)), "RRR"))
    (there.results / "a" / "metadata.json").mkdir()
    (there.results / "b" / "metadata.json").write_bytes(b'{"model": "\xff\xfe"}')
    there.filter()
    assert len(there.good) == 2


# Verdicts of other tools


B = board(0)
MEMBERS = [group.members for group in B.groups]
ONE_AWAY = contents_of(B, "RO")[1]
OF_A_FOUND_GROUP = tagged([MEMBERS[0][0], *MEMBERS[1][1:]])


def verdict_on(script: str, there: tuple[str, float, float], *more: str) -> dict:
    """A game of a script, and what another tool said of it."""
    return verifiers(B, [*contents_of(B, script), *more], **verdict_there(*there))


def why(row: dict) -> str | None:
    game, verdict = game_of(row), recorded(row)
    assert game is not None
    assert verdict is not None
    return difference(verdict, game)


@pytest.mark.parametrize(
    "row",
    [
        verdict_on("RRR", ("game_won", 4, 0)),
        verdict_on("RRR", ("game_won", 4.0, 0.0), tagged(MEMBERS[3])),
        verdict_on("RWOWRR", ("game_won", 4, 3)),
        verdict_on("RWWWW", ("game_lost", 1, 4)),
        verdict_on("RW", ("max_turns_reached", 1, 1)),
        verdict_on("R", ("has_error", 1, 0)),
        verdict_on("RRR", ("all_categories_found", 4, 0)),
        scripted(B, "RRR", stop_condition="game_won"),
        scripted(B, "RRR", metrics={"groups_found_metric": 4.0}),
        scripted(B, "RW", metrics={"mistakes_used_metric": 1.0}, stop_condition=None),
        older(B, contents_of(B, "RRR"), complete_reason="all_categories_found"),
        older(
            B,
            contents_of(B, "RRR"),
            complete_reason="all_categories_found",
            guess_history=history(*((words, "correct", float(n)) for n, words in enumerate(MEMBERS))),
        ),
        older(
            B,
            contents_of(B, "RR")[1:],
            prefix=contents_of(B, "R"),
            guess_history=history(*((words, "correct", n) for n, words in enumerate(MEMBERS[:2]))),
        ),
    ],
    ids=range(13),
)
def test_a_verdict_that_the_replay_bears_out_agrees(row):
    assert why(row) is None


DIFFERENT = [
    (
        verdict_on("ROWW", ("game_lost", 1, 4), ONE_AWAY),
        "lost there, unfinished here, 4 mistakes there, 3 here: a repeated guess counts as a mistake there",
    ),
    (
        verdict_on("ROWWN", ("game_lost", 1, 4)),
        "lost there, unfinished here, 4 mistakes there, 3 here: a reply without a guess counts as a mistake there",
    ),
    (
        verdict_on("ROWW", ("game_lost", 1, 4), OF_A_FOUND_GROUP),
        "lost there, unfinished here, 4 mistakes there, 3 here: a word of a found group counts as a mistake there",
    ),
    (
        verdict_on("RON", ("max_turns_reached", 1, 2)),
        "2 mistakes there, 1 here: a reply without a guess counts as a mistake there",
    ),
]


@pytest.mark.parametrize(("row", "told"), DIFFERENT, ids=range(4))
def test_a_rule_that_differs_is_named(row, told):
    assert why(row) == told


def test_a_game_that_stopped_before_the_last_group_there_is_won_here():
    told = why(verdict_on("RRR", ("max_turns_reached", 3, 0)))
    assert told.startswith("unfinished there, won here, 3 groups found there, 4 here: ")
    assert "last group" in told


def test_mistakes_after_the_end_of_our_game_are_told_as_replies_after_it():
    told = why(verdict_on("RRR", ("game_lost", 3, 1), "I have nothing left to say."))
    assert told.startswith("lost there, won here, 3 groups found there, 4 here, 1 mistake there, 0 here: ")
    assert "after the end of our game" in told


@pytest.mark.parametrize(
    "row",
    [
        verdict_on("RRR", ("game_lost", 0, 4)),
        verdict_on("RRR", ("game_lost", 4, 0)),
        verdict_on("RRR", ("max_turns_reached", 1, 0)),
        verdict_on("R", ("max_turns_reached", 2, 0)),
        verdict_on("R", ("game_won", 4, 0)),
        verdict_on("RW", ("max_turns_reached", 1, 0)),
        verdict_on("RWWWW", ("game_won", 4, 0)),
        verdict_on("RWN", ("max_turns_reached", 1, 4)),
        verdict_on("RN", ("game_won", 4, 1)),
        verdict_on("RWWWW", ("game_won", 4, 0), tagged(MEMBERS[1])),
        older(B, ["No idea."], complete_reason="all_categories_found"),
        older(B, contents_of(B, "RO"), guess_history=history((MEMBERS[1], "correct", 1), (MEMBERS[0], "correct", 0))),
    ],
    ids=range(12),
)
def test_a_difference_that_no_known_rule_makes_is_not_explained_away(row):
    assert why(row).endswith(": no rule that is known to differ explains it")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stop_condition": None, "metrics": None},
        {"stop_condition": 3, "metrics": [1, 2]},
        {"stop_condition": "", "metrics": {}},
        {"metrics": {"num_turns": 3.0, "some_reward": 1.0}},
        {"metrics": {"groups_found_metric": None, "mistakes_used_metric": "x"}},
        {"metrics": {"groups_found_metric": float("nan"), "mistakes_used_metric": float("inf")}},
        {"guess_history": [], "complete_reason": None},
    ],
    ids=range(8),
)
def test_a_row_that_says_nothing_of_the_outcome_is_not_compared(there, fields):
    row = scripted(B, "RRR", **fields)
    assert recorded(row) is None
    there.write("results.jsonl", row)
    _, err = there.dry("-v")
    assert " there, " not in err
    assert not re.search(r"[1-9]\d* of [1-9]\d* verdicts", err)


def test_the_dry_run_tells_how_many_verdicts_agree_and_names_those_that_do_not(there):
    agreeing = scripted(board(1), "RRR", **verdict_there("game_won", 4, 0))
    there.write("results.jsonl", agreeing, *(row for row, _ in DIFFERENT), scripted(board(2), "RRR"), "nope")
    there.write("results_1.jsonl", won(board(3)), older(board(4), contents_of(board(4), "RRR")))
    _, err = there.dry("-v")
    lines = err.splitlines()
    for number, (_, told) in enumerate(DIFFERENT, 2):
        assert [text for text in lines if text.endswith(f"results.jsonl:{number}: {told}")]
    assert f"{there.results}: 1 of 6 verdicts of other tools agree with the replay" in lines
    assert [text for text in lines if "results_1.jsonl:2: unfinished there, won here" in text]
    assert not [text for text in lines if re.search(r"results(_1)?\.jsonl:(1|6): ", text)]
    assert account(err) == ({"this project": 1, "older pipelines": 1, "verifiers": 6}, {"unreadable": 1})


def test_without_v_nothing_is_compared_and_stdout_is_the_same(there):
    there.write("results.jsonl", *(row for row, _ in DIFFERENT), "nope", verifiers(board(1), error="x"))
    there.write("results_1.jsonl", won(board(3)), lost(board(4)))
    quiet, verbose = there.dry(), there.dry("-v")
    assert quiet[0] == verbose[0]
    assert "there" not in quiet[1].replace(str(there.results), "")
    assert quiet[1].splitlines()[-1] in verbose[1].splitlines()


def test_our_own_rows_are_not_compared(there):
    there.write("results_1.jsonl", won(board(0)), changed(lost(board(1)), complete_reason="interrupted"))
    assert "verdicts" not in there.dry("-v")[1]


def test_an_empty_row_has_no_game_to_compare(there):
    there.write("results.jsonl", verifiers(B, error="x", **verdict_there("has_error", 0, 0)))
    assert " there, " not in there.dry("-v")[1]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text("RRROWNX", max_size=8), st.sampled_from([PLAIN, board(1), SIX]))
def test_a_verdict_made_by_our_rules_always_agrees(script, puzzle):
    try:
        contents = contents_of(puzzle, script)
    except (IndexError, ValueError):  # over before the script is
        return
    row = verifiers(puzzle, contents)
    adopted = adopt(row)
    end = {"all_categories_found": "game_won", "max_mistakes": "game_lost"}.get(
        adopted.complete_reason, "max_turns_reached"
    )
    found, mistakes = adopted.metrics["groups_found"], adopted.metrics["mistakes"]
    assert why_or_none(row | verdict_there(end, found, mistakes)) is None
    turns = [guess.model_dump() for guess in adopted.guess_history]
    for turn in turns:
        turn["status"] = turn["status"].replace("auto", "correct")
    told = older(puzzle, contents, guess_history=turns, complete_reason=adopted.complete_reason)
    assert why_or_none(told) is None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text("RRROWNX", max_size=6),
    st.sampled_from(["game_won", "game_lost", "x"]),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_only_a_verdict_that_differs_is_told_and_all_that_differs_is(script, end, found, mistakes):
    try:
        row = scripted(B, script, **verdict_there(end, found, mistakes))
    except (IndexError, ValueError):
        return
    adopted, told = adopt(row), why_or_none(row)
    ours = (adopted.metrics["groups_found"], adopted.metrics["mistakes"])
    if (found, mistakes) != ours:
        assert told is not None or not adopted.replies
    if told is not None:
        assert bool(re.search(rf"\b{found} groups? found there", told)) == (found != ours[0])
        assert bool(re.search(rf"\b{mistakes} mistakes? there", told)) == (mistakes != ours[1])


def why_or_none(row: dict) -> str | None:
    verdict, game = recorded(row), game_of(row)
    return difference(verdict, game) if verdict is not None and game is not None else None


# From a folder of all three kinds to the dataset


@pytest.fixture
def mixed(there):
    """Three good puzzles, three to salvage, an error row, a puzzle without any game."""
    four = contents_of(board(5), "ROWW")
    there.write("results_1.jsonl", won(board(0)), played(board(1), "RWWWW"))
    there.write(
        "results_2.jsonl",
        older(board(2), contents_of(board(2), "RRR")[1:], prefix=contents_of(board(2), "R"), as_text=True),
        older(board(3), contents_of(board(3), "RON")[1:], prefix=contents_of(board(3), "R"), as_text=True),
    )
    there.write(
        "runs/a/results.jsonl",
        scripted(board(4), "RWRR", **verdict_there("game_won", 4, 1)),
        verifiers(board(5), [*four, four[1]], stop_condition="game_lost"),
        verifiers(board(6), error={"error": "x"}),
        model="maker/strong-1",
    )
    return there


def test_salvaged_games_of_other_tools_go_on_and_the_whole_becomes_a_dataset(mixed):
    inputs = {path: path.read_bytes() for path in mixed.results.rglob("*.jsonl")}
    out, err = mixed.dry()
    assert state_of(out) == (3, 3, 0, 2)
    assert account(err) == ({"this project": 2, "older pipelines": 2, "verifiers": 3}, {"empty": 1})

    foreign = [mixed.results / "results_2.jsonl", mixed.results / "runs/a/results.jsonl"]
    parents = {row.info.puzzle_id: row for path in foreign for row in map(rollout_of, inputs[path].splitlines())}
    flags = ["--offline", "--player-strength", "best", "--puzzles", mixed.source, "--results-dir", mixed.results]
    status, out, err = mixed.run(iterative_generate, *flags)
    assert status == 0, err
    assert state_of(out) == (3, 3, 0, 2)
    written = [
        Rollout.model_validate_json(text) for text in (mixed.results / "results_3.jsonl").read_text().splitlines()
    ]
    assert {row.info.puzzle_id for row in written} == {"made-1", "made-3", "made-5", "made-6", "made-7"}
    for row in written:
        replay_rollout(row)
        assert row.simulated
        parent = parents.get(row.info.puzzle_id)
        if row.info.puzzle_id in ("made-6", "made-7"):
            assert row.resumed_from is None
        elif parent is not None:
            kept = row.resumed_from.turns
            assert row.resumed_from.rollout_id == parent.rollout_id
            assert kept == {"made-3": 2, "made-5": 4}[row.info.puzzle_id]
            assert [reply.content for reply in row.replies[:kept]] == [reply.content for reply in parent.replies[:kept]]
            assert len(row.replies) > kept
            assert row.info.all_words == parent.info.all_words
            assert statuses(row)[:kept] == statuses(parent)[:kept]
    assert {path: path.read_bytes() for path in inputs} == inputs

    mixed.filter()
    good = {row["info"]["puzzle_id"]: row for row in mixed.good}
    assert good.keys() >= {"made-0", "made-2", "made-4"}
    assert good["made-4"]["model"] == "maker/strong-1"
    at = ["--output-dir", mixed.out]
    status, _, err = mixed.run(reduce_tokens, "--offline", *at)
    assert status == 0, err
    status, out, err = mixed.run(collate, "--allow-simulated", *at)
    assert status == 0, err
    rows = mixed.rows("sft_examples.jsonl")
    assert {row["puzzle_id"] for row in rows} == {f"puzzle-{name}" for name in good}
    assert not (mixed.out / "sft_rejects.jsonl").exists() or mixed.rows("sft_rejects.jsonl") == []
    canonical = re.compile(r"<think>\n(?P<said>(?s:.+?))\n</think>\n\n<guess>\[(`[^`]+`)(, `[^`]+`)*\]</guess>")
    for row in rows:
        for message in row["completion"]:
            assert "<reason" not in message["content"]
            if message["role"] == "assistant":
                assert canonical.fullmatch(message["content"])
        replied = [Reply(message["content"]) for message in row["completion"] if message["role"] == "assistant"]
        state = GameState(board(int(row["puzzle_id"].removeprefix("puzzle-made-"))), NYT)
        for reply in replied:
            state = take_reply(state, reply)
        assert state.complete_reason == row["complete_reason"] == "all_categories_found"


def test_a_second_run_goes_on_from_the_games_that_the_first_one_resumed(mixed):
    flags = ["--offline", "--player-strength", "best", "--puzzles", mixed.source, "--results-dir", mixed.results]
    for _ in range(2):
        status, _, err = mixed.run(iterative_generate, *flags, "--loop", "3")
        assert status == 0, err
    good, _, _, missing = state_of(mixed.dry()[0].replace("Loop 2", "Loop 1"))
    assert missing == 0
    assert good >= 6


def test_steps_by_hand_take_foreign_games_too(mixed):
    mixed.filter()
    assert {row["info"]["puzzle_id"] for row in mixed.bad} == {"made-1", "made-3", "made-5"}
    at = ["--output-dir", mixed.out]
    assert mixed.run(prep_doctoring, *at)[0] == 0
    jobs = {row["info"]["puzzle_id"]: len(row["guess_history"]) for row in mixed.rows("doctor_gameplay.jsonl")}
    assert jobs == {"made-1": 4, "made-3": 2, "made-5": 4}
    status, _, err = mixed.run(doctor_gameplay, "--offline", "--results-dir", mixed.results, *at)
    assert status == 0, err
    done = mixed.rows("doctored_gameplay.jsonl") + mixed.rows("doctor_gameplay_rerun.jsonl")
    assert {row["info"]["puzzle_id"] for row in done} == {"made-1", "made-3", "made-5"}
