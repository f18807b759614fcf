"""Step 6: what gets into the dataset, what is refused and why, and what the files look like."""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import collate
from connections_env.dataset import SftRow
from connections_env.examples import JobRow, Place, canonical_row, exported
from connections_env.game import GameState
from connections_env.heldout import HeldOut
from connections_env.json_lines import BadRow
from connections_env.parsing import Reply
from connections_env.play import conversation, replay_replies
from connections_env.puzzles import Group, Puzzle
from connections_env.records import Cut, ResumedFrom, history_of
from connections_env.rewards import reward
from connections_env.rulesets import NYT, PUZZGRID
from connections_env.selection import read_good
from connections_env.sources import load_puzzles, other_splits
from connections_env.tokens import Limits, load_tokenizer
from connections_env.validation import Requirements, problems, reply_problem
from tests.boards import BOARDS, PLAIN, TRICKY
from tests.rollouts import (
    REASONING,
    board,
    boards,
    hub_row,
    interrupted,
    lost,
    played,
    puzzle_file,
    results_file,
    rollout,
    script_replies,
)
from tests.test_sources import HUB_ID, fake_hub

A, B, C = boards(3)
NEED = Requirements(load_tokenizer(), Limits())


def good(puzzle, script="RRR", **options):
    fields = {
        name: options.pop(name) for name in ("spares", "original_completion", "reducer_models") if name in options
    }
    if "original_completion" in fields:
        fields = {"reduced": True, "reducer_models": ["short"]} | fields
    return canonical_row(played(puzzle, script, **options), **fields)


def longer(puzzle, script="RRR"):
    """The completion of a won game as it was before its reasoning was cut."""
    return [
        message.model_copy(update={"content": message.content.replace(REASONING, f"{REASONING} Or not. " * 99, 1)})
        if message.role == "assistant"
        else message
        for message in good(puzzle, script).completion
    ]


def raw(row):
    return json.loads(row.to_line())


def rows_of(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def collated(rows, *flags, name="good.jsonl"):
    """Exit status of a run over these rows, other splits left alone."""
    results_file(Path(name), rows)
    return collate.main([name, "--no-default-exclude", *flags])


def dataset():
    return rows_of(Path("sft_examples.jsonl"))


def rejects():
    return rows_of(Path("sft_rejects.jsonl"))


def reasons():
    return [[reason.partition(": ")[0] for reason in one["reasons"]] for one in rejects()]


# A whole run

SUMMARY = """\
rows read: 5, examples written: 3 -> sft_examples.jsonl

  accepted:                         3 (60.0%)
  a better row of the puzzle is in: 1 (20.0%)
  rejected, unreadable:             1 (20.0%)

rejects, with all their reasons: 1 -> sft_rejects.jsonl

  doctoring type none:     2 (66.7%)
  doctoring type gameplay: 1 (33.3%)
  perfect games: 2 (66.7%)

                              min       p25    median       p75       max      mean
  reward                     5.25      5.38      5.50      5.50      5.50      5.42
  accuracy                   0.75      0.88         1         1         1      0.92
  turns                         3         3         3      3.50         4      3.33
  longest reply, tokens        39        39        39        41        43     40.33
  total tokens                546       546       546       644       742     611.3
"""


def test_both_streams_become_one_file_with_the_best_row_of_each_puzzle(here, capsys):
    doctored, cut = ResumedFrom(rollout_id="before", turns=1), Cut(turns=2, kept=1, truncate="last-valid")
    results_file(
        here / "good_examples_reduced.jsonl",
        [good(A, rollout_id="a"), good(B, "ORRR", rollout_id="b-worse"), good(C, "WRRR", rollout_id="c")],
    )
    results_file(
        here / "doctored_gameplay_reduced.jsonl",
        [good(B, rollout_id="b-better", resumed_from=doctored, cuts=[cut]), {"kind": "nothing"}],
    )
    assert collate.main([]) == 0
    out, err = capsys.readouterr()
    assert out == SUMMARY
    assert err == (
        "doctored_gameplay_reduced.jsonl:2: expected a good example, this looks like an object with kind; skipped\n"
        "some rows name no source, so nothing but --exclude holds puzzles out for them\n"
    )
    assert [row["rollout_id"] for row in dataset()] == ["a", "c", "b-better"]
    assert [(row["doctored"], row["doctoring_type"], row["resumed_turns"]) for row in dataset()] == [
        (False, "none", 0),
        (False, "none", 0),
        (True, "gameplay", 1),
    ]
    assert [row["accuracy"] for row in dataset()] == [1.0, 0.75, 1.0]
    assert rejects() == [
        {
            "place": "doctored_gameplay_reduced.jsonl:2",
            "puzzle_id": None,
            "rollout_id": None,
            "reasons": ["unreadable: expected a good example, this looks like an object with kind"],
        }
    ]
    assert (here / "rerun_puzzles.txt").read_text() == ""


def test_a_row_has_exactly_the_columns_of_the_dataset_in_their_order(here):
    assert collated([good(A, reducer_models=["short"], original_completion=longer(A)), good(B)]) == 0
    first, second = dataset()
    assert list(first) == list(second) == list(SftRow.model_fields)
    assert first["puzzle_id"] == "puzzle-made-0"
    assert (first["reduced"], first["reducer_model"]) == (True, "short")
    assert first["tokens_before"] > first["num_tokens"] + 900  # of prompt and completion, as num_tokens
    assert (second["reducer_model"], second["tokens_before"]) == ("", second["num_tokens"])
    assert [set(message) for message in first["prompt"] + first["completion"]] == [{"role", "content"}] * 7
    assert first["guess_history"][-1]["status"] == "auto"


def replayed_from_its_own_text(row):
    """The conversation, history and reward that a dataset row's replies give on the board its prompt shows."""
    items = re.findall(r"`([^`]+)`", row["prompt"][1]["content"])
    groups = [Group(g["group"], tuple(g["members"]), tuple(g["linking_terms"])) for g in row["categories"]]
    puzzle = Puzzle("any", tuple(items), tuple(groups))
    replies = [Reply(message["content"]) for message in row["completion"][::2]]
    ruleset = PUZZGRID if row["complete_reason"] == "theme_guessing_complete" else NYT
    states = replay_replies(puzzle, ruleset, replies)
    assert states[-1].complete_reason == row["complete_reason"]
    history = [guess.model_dump(exclude={"reason"}) for guess in history_of(states[-1])]
    return conversation(states, replies), history, reward(states[-1])


@pytest.mark.parametrize("puzzle", [one for one in BOARDS if one.puzzle_id != "tricky"], ids=lambda one: one.puzzle_id)
@pytest.mark.parametrize("wrong", ["", "W", "O", "OW"])
def test_every_accepted_row_replays_from_its_own_text(here, puzzle, wrong):
    if puzzle.group_size < 4 and "W" in wrong:
        wrong = "O"
    assert collated([good(puzzle, wrong + "R" * (len(puzzle.groups) - 1))]) == 0
    (row,) = dataset()
    messages, history, points = replayed_from_its_own_text(row)
    assert messages == row["prompt"] + row["completion"]
    assert history == row["guess_history"]
    assert points == row["reward"]


def test_items_that_hold_separators_and_marks_are_accepted(here):
    assert collated([good(TRICKY)]) == 0


def test_a_puzzgrid_game_with_its_themes_is_accepted(here):
    themes = json.dumps([group.theme for group in A.groups])
    replies = [*script_replies(A, "RRR", PUZZGRID), Reply(f"<themes>{themes}</themes>", REASONING, "stop", 40)]
    assert collated([canonical_row(rollout(A, replies, ruleset=PUZZGRID))]) == 0
    (row,) = dataset()
    assert row["complete_reason"] == "theme_guessing_complete"
    assert row["completion"][-1]["content"].endswith("</themes>")
    assert replayed_from_its_own_text(row)[0] == row["prompt"] + row["completion"]


# Tampering

WRONG = good(PLAIN, "ORRR")  # one away, then right


def content(place, nth, change):
    def edit(row):
        message = row[place][nth]
        before = message["content"]
        message["content"] = change(before)
        assert message["content"] != before

    return edit


def swap(old, new):
    return lambda text: text.replace(old, new, 1)


def swapped_turns(row):
    row["completion"][0], row["completion"][2] = row["completion"][2], row["completion"][0]


def swapped_feedback(row):
    row["completion"][1], row["completion"][3] = row["completion"][3], row["completion"][1]


def doubled_turn(row):
    row["completion"][2:2] = row["completion"][:2]
    for name in ("reply_tokens", "reply_finish", "reply_unfit", "reply_models"):
        row[name].insert(0, row[name][0])


def doubled_message(row):
    row["completion"].insert(1, row["completion"][1])


def trailing_feedback(row):
    row["completion"].append({"role": "user", "content": "You won."})


def extra_key(row):
    row["completion"][0]["tool_calls"] = []


def beside_content(row):
    row["completion"][0]["reasoning_content"] = "and so on"


def turn_after_the_end(row):
    row["completion"] += [{"role": "user", "content": "Go on."}, row["completion"][-1]]
    for name in ("reply_tokens", "reply_finish", "reply_unfit", "reply_models"):
        row[name].append(row[name][-1])


def two_blocks(text):
    return "<think>\nFirst.\n</think>\n\n" + text


def emptied(text):
    return f"<think>\n\n{text[text.index('</think>') :]}"


def thinking(thought):
    return lambda text: f"<think>\n{thought}\n{text[text.index('</think>') :]}"


def another_guess(text):
    return f"{text}<guess>[`A`]</guess>"


def without_last_reply(row):
    for name in ("completion", "reply_tokens", "reply_finish", "reply_unfit", "reply_models"):
        row[name].pop()


def set_to(**fields):
    return lambda row: row.update(fields)


def board_order(row):
    row["info"]["all_words"] = row["info"]["all_words"][::-1]


def other_answer_key(row):
    categories = row["info"]["categories"]
    first, second = categories[0]["members"], categories[1]["members"]
    first[0], second[0] = second[0], first[0]


TAMPERED = {
    "a feedback word": (content("completion", 1, swap("One away", "Correct")), ["feedback differs"]),
    "a feedback count": (content("completion", 3, swap("found: 1", "found: 2")), ["feedback differs"]),
    "a guess item": (
        content("completion", 2, lambda text: text.replace("HAMMER", "TEAR")),
        ["history differs", "feedback differs", "outcome differs", "unfinished"],
    ),
    "an item off the board": (content("completion", 2, swap("`HAMMER`", "`ANVIL`")), ["history differs"]),
    "an item in other spelling": (content("completion", 2, swap("`HAMMER`", "`Hammer`")), ["not canonical"]),
    "swapped items": (content("completion", 2, swap("`HAMMER`, `PLIERS`", "`PLIERS`, `HAMMER`")), ["history differs"]),
    "swapped turns": (swapped_turns, ["history differs", "feedback differs"]),
    "swapped feedback": (swapped_feedback, ["feedback differs"]),
    "the system prompt": (content("prompt", 0, swap("4 mistakes", "5 mistakes")), ["prompt differs"]),
    "the board's order": (content("prompt", 1, swap("`MINT`, `TROT`", "`TROT`, `MINT`")), ["prompt differs"]),
    "the recorded board's order": (board_order, ["prompt differs", "feedback differs"]),
    "the answer key": (other_answer_key, ["history differs"]),
    "a doubled turn": (doubled_turn, ["history differs", "feedback differs", "invalid guess"]),
    "a doubled message": (doubled_message, ["roles", "feedback differs"]),
    "a trailing feedback": (trailing_feedback, ["no last reply", "feedback differs"]),
    "a turn after the end": (turn_after_the_end, ["feedback differs", "goes on after its end"]),
    "an empty think": (content("completion", 0, emptied), ["empty reasoning"]),
    "no think": (content("completion", 0, lambda text: text[text.index("<guess>") :]), ["think blocks"]),
    "two thinks": (content("completion", 0, two_blocks), ["think blocks"]),
    "a think left open": (content("completion", 0, swap("</think>", "")), ["think blocks", "history differs"]),
    "a guess in JSON": (content("completion", 4, lambda text: text.replace("`", '"')), ["not canonical"]),
    "a guess without brackets": (content("completion", 4, swap("<guess>[", "<guess>")), ["not canonical"]),
    "a newline less": (content("completion", 4, swap("</think>\n\n", "</think>\n")), ["not canonical"]),
    "words after the guess": (content("completion", 4, lambda text: f"{text}\nDone."), ["not canonical"]),
    "words before the guess": (content("completion", 4, swap("\n\n<guess>", "\n\nSo: <guess>")), ["not canonical"]),
    "a second guess": (content("completion", 6, another_guess), ["not canonical", "invalid guess"]),
    "an empty message": (content("completion", 1, lambda text: " "), ["empty message", "feedback differs"]),
    "a control token": (content("completion", 0, swap("These", "<|im_end|>")), ["control tokens"]),
    "a tool call": (content("completion", 0, swap("These", "<tool_call>These")), ["control tokens"]),
    "a tool response's end": (content("completion", 0, swap("These", "</tool_response>")), ["control tokens"]),
    "a NUL": (content("completion", 0, swap("These", "The\0se")), ["control tokens"]),
    "a zero-width space alone": (content("completion", 0, thinking("\u200b")), ["empty reasoning"]),
    "dashes alone": (content("completion", 0, thinking("- -- \u2014 \u2013")), ["empty reasoning"]),
    "dots alone": (content("completion", 0, thinking("...\n...")), ["empty reasoning"]),
    "an extra key": (extra_key, ["extra key"]),
    "reasoning beside content": (beside_content, ["extra key"]),
    "another role": (lambda row: row["completion"][1].update(role="system"), ["roles", "feedback differs"]),
    "a prompt of one message": (lambda row: row["prompt"].pop(0), ["prompt differs"]),
    "the last reply gone": (without_last_reply, ["no last reply"]),
    "a message gone": (lambda row: row["completion"].pop(1), ["roles", "feedback differs"]),
    "the reward": (set_to(reward=5.75), ["outcome differs"]),
    "a part of the reward": (lambda row: row["metrics"].update(almost=99.0), ["outcome differs"]),
    "a part of the reward that is no number": (
        lambda row: row["metrics"].update(almost=float("nan")),
        ["outcome differs"],
    ),
    "a part of the reward gone": (lambda row: row["metrics"].pop("found"), ["outcome differs"]),
    "a part that no reward has": (lambda row: row["metrics"].update(charm=1.0), ["outcome differs"]),
    "all parts of the reward gone": (set_to(metrics={}), ["outcome differs"]),
    "the roles of the prompt": (lambda row: row["prompt"][0].update(role="user"), ["roles", "prompt differs"]),
    "the reason of the end": (set_to(complete_reason="max_mistakes"), ["outcome differs"]),
    "the history": (lambda row: row["guess_history"][0].update(status="correct", category_idx=0), ["history differs"]),
    "a verdict gone": (lambda row: row["guess_history"].pop(), ["history differs"]),
    "a reply cut off": (set_to(reply_finish=["length"] * 4), ["reply cut off"]),
    "the fitness of a reply": (set_to(reply_unfit=[None, "cut_off", None, None]), ["outcome differs"]),
    "the ruleset": (lambda row: row["info"].update(ruleset="puzzgrid"), ["prompt differs"]),
    "the categories": (lambda row: row["info"].update(categories=[]), ["no board"]),
    "a reply without its record": (lambda row: row["reply_tokens"].pop(), ["turns missing"]),
    "no content": (lambda row: row["completion"][0].update(content=None), ["unreadable"]),
    "a reply gone": (lambda row: row["completion"].__delitem__(slice(0, 2)), ["turns missing"]),
    "a turn twice": (lambda row: row["completion"].extend(row["completion"][-2:]), ["turns missing"]),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "why"), TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_row_is_refused_with_the_right_reason(here, capsys, edit, why):
    row = raw(WRONG)
    edit(row)
    assert collated([WRONG]) == 0
    assert collated([row]) == 1
    assert reasons()[0][0] == why[0]
    assert set(why) <= set(reasons()[0])
    assert "rejected, " + why[0] in capsys.readouterr().out


def test_the_detail_of_a_reason_says_where_and_what(here):
    row = raw(WRONG)
    row["completion"][1]["content"] = "Well done."
    collated([row])
    assert rejects()[0] == {
        "place": "good.jsonl:1",
        "puzzle_id": "plain",
        "rollout_id": WRONG.rollout_id,
        "reasons": [
            "feedback differs: after reply 1, the game says 'One away: 3 of these 4 items belong together.', "
            "not 'Well done.'"
        ],
    }


INSIDE_THINK = re.compile(r"(?<=<think>\n).*?(?=\n</think>)", re.DOTALL)


def without_thoughts(row):
    """All that a game fixes of a row; what was thought is the player's own."""
    return [
        message | {"content": INSIDE_THINK.sub("...", message["content"])}
        for message in (*row["prompt"], *row["completion"])
    ]


@st.composite
def edits(draw, text):
    """A text with something taken out, put in, written in other letters, or another text altogether."""
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    pieces = ["", " ", "\n", "`", "<think>", "</think>", "<guess>", "HAMMER", "TEAR", "4", "One away", "<|im_end|>"]
    piece = draw(st.sampled_from(pieces) | st.text(max_size=8))
    return draw(
        st.sampled_from(
            [
                text[:start] + text[end:],
                text[:start] + piece + text[start:],
                text[:start] + piece + text[end:],
                text[:start] + text[start:end].swapcase() + text[end:],
                text[:start] + text[start:end] * 2 + text[end:],
                piece,
            ]
        )
    )


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_edit_of_a_single_message_passes_but_one_of_its_thoughts(data):
    before = raw(data.draw(st.sampled_from([WRONG, good(TRICKY), good(PLAIN, "WORRR")])))
    after = json.loads(json.dumps(before))
    place = data.draw(st.sampled_from(["prompt", "completion"]))
    nth = data.draw(st.integers(0, len(after[place]) - 1))
    message = after[place][nth]
    if data.draw(st.integers(0, 5)):
        message["content"] = data.draw(edits(message["content"]))
    else:
        other = data.draw(st.sampled_from(before["prompt"] + before["completion"]))
        message.update(data.draw(st.sampled_from([{"role": other["role"]}, {"content": other["content"]}, other])))
    try:
        row, faults = read_good(json.dumps(after).encode())
    except BadRow:
        return
    if not [*faults, *problems(row, NEED)]:
        assert without_thoughts(after) == without_thoughts(before)


# Limits


@pytest.mark.parametrize(
    ("flag", "detail"),
    [
        ("--max-reply-tokens", "reply 1 has"),
        ("--max-game-tokens", "the game has"),
        ("--max-sequence-tokens", "prompt and game have"),
    ],
)
def test_a_row_over_a_limit_is_refused_and_its_puzzle_listed(here, flag, detail):
    assert collated([good(A)], flag, "20") == 1
    assert rejects()[0]["reasons"][0].startswith(f"over a token limit: {detail}")
    assert Path("rerun_puzzles.txt").read_text() == "made-0\n"
    assert not Path("sft_examples.jsonl").exists()


def test_the_limits_are_those_that_the_row_just_meets(here):
    collated([good(A)])
    (row,) = dataset()
    assert collated([good(A)], "--max-sequence-tokens", str(row["num_tokens"])) == 0
    assert collated([good(A)], "--max-sequence-tokens", str(row["num_tokens"] - 1)) == 1
    assert collated([good(A)], "--max-reply-tokens", str(row["max_reply_tokens"])) == 0
    assert collated([good(A)], "--max-reply-tokens", str(row["max_reply_tokens"] - 1)) == 1


# One row a puzzle


def test_the_best_row_of_a_puzzle_is_taken_whatever_the_order(here):
    rows = [
        good(A, "ORRR", rollout_id="a mistake", tokens=1),
        good(A, rollout_id="short", tokens=20),
        good(A, rollout_id="long", tokens=30),
    ]
    for order in (rows, rows[::-1]):
        assert collated(order) == 0
        assert [row["rollout_id"] for row in dataset()] == ["short"]
        assert rejects() == []


@pytest.mark.parametrize(("script", "best"), [("RRR", "nyt"), ("ORRR", "puzzgrid")])
def test_games_by_different_rules_are_compared_by_what_perfect_play_earns(here, script, best):
    """Of 5.5 an nyt game earns all, or 5.25 after a wrong guess: less than the puzzgrid game's 11 of 11.25."""
    themes = [*script_replies(A, "ORRR", PUZZGRID), named(A)]
    faulty = canonical_row(rollout(A, themes, ruleset=PUZZGRID))
    assert faulty.reward == 11
    for order in ([good(A, script), faulty], [faulty, good(A, script)]):
        assert collated(order) == 0
        assert [row["ruleset"] for row in dataset()] == [best]


def test_rows_of_one_board_are_one_puzzle_under_any_id_order_and_case(here):
    again = Puzzle("other id", tuple(item.lower() for item in A.items[::-1]), A.groups)
    assert collated([good(A, tokens=1), good(again)]) == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-0"]


def test_a_row_that_fails_gives_way_to_the_next_best_of_its_puzzle(here, capsys):
    broken = raw(good(A)) | {"reward": 99.0}
    assert collated([broken, good(A, "ORRR", rollout_id="next"), good(A, "WORRR")]) == 0
    assert [row["rollout_id"] for row in dataset()] == ["next"]
    assert reasons() == [["outcome differs"]]
    assert Path("rerun_puzzles.txt").read_text() == ""
    assert "better row of the puzzle is in: 1" in capsys.readouterr().out


def spares_of(*rows):
    """Places of these rows in a results file."""
    path = results_file(Path("results_1.jsonl"), rows)
    lines = path.read_bytes().splitlines(keepends=True)
    return [Place(file=str(path), offset=sum(map(len, lines[:nth]))) for nth in range(len(lines))]


def test_a_puzzle_without_a_row_that_holds_falls_back_to_its_spares(here, capsys):
    older = {
        name: value
        for name, value in raw(played(A, "ORRR")).items()
        if name in ("prompt", "completion", "info", "guess_history", "complete_reason", "reward")
    }
    spares = [*spares_of(lost(A), played(B, "RRR"), "not JSON", older), Place(file="gone.jsonl", offset=0)]
    before = Path("results_1.jsonl").read_bytes()
    broken = raw(good(A, spares=[spares[4], *spares[:4]])) | {"reward": 1.0}
    assert collated([broken, good(C)], "-v") == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-0", "puzzle-made-2"]
    assert dataset()[0]["rollout_id"].startswith("older-")
    assert [one["place"] for one in rejects()][:2] == ["good.jsonl:1", "gone.jsonl, byte 0"]
    assert [one["reasons"][0].removeprefix("spare cannot be used: ") for one in rejects()][2:] == [
        "not a good game: game lost",
        "a row of another puzzle lies there now",
        "expected a JSON object, got 'not JSON'",
    ]
    assert "other rollouts tried where no row of a puzzle held: 5, 1 accepted\n" in capsys.readouterr().out
    assert Path("results_1.jsonl").read_bytes() == before


def test_a_spare_is_in_canonical_form(here):
    (spare,) = spares_of(played(A, "RRR"))
    assert collated([raw(good(A, spares=[spare])) | {"reward": 1.0}]) == 0
    assert dataset()[0]["completion"] == exported(good(A).completion)


def test_a_spare_has_to_meet_the_same_requirements(here):
    spares = spares_of(played(A, "RRR"))
    assert collated([good(A, spares=spares)], "--max-reply-tokens", "20") == 1
    assert reasons() == [["over a token limit"] * 3] * 2


# Held-out puzzles


def shouted_backwards(puzzle):
    groups = [replace(group, members=tuple(m.lower() for m in group.members[::-1])) for group in puzzle.groups[::-1]]
    return Puzzle("another id", tuple(item.lower() for item in puzzle.items[::-1]), tuple(groups))


def test_an_excluded_puzzle_is_refused_whatever_the_order_and_case_of_its_items(here):
    puzzle_file(here / "test.jsonl", [shouted_backwards(A)])
    assert collated([good(A, spares=spares_of(played(A, "RRR"))), good(B)], "--exclude", "test.jsonl") == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-1"]
    assert [one["reasons"] for one in rejects()] == [["held out: its puzzle is in test.jsonl"]]
    assert Path("rerun_puzzles.txt").read_text() == ""  # playing it again would not bring it in


def test_an_earlier_dataset_can_be_excluded(here):
    collated([good(A)])
    Path("sft_examples.jsonl").rename("earlier.jsonl")
    assert collated([good(A), good(B)], "--exclude", "earlier.jsonl") == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-1"]


@pytest.mark.parametrize("listed", ["made-0\n", "\ufeffnone\r\n\r\npuzzle-made-0\r\n"])
def test_ids_are_excluded_with_and_without_their_prefix(here, listed):
    Path("ids.txt").write_text(listed, encoding="utf-8")
    assert collated([good(A), good(B)], "--exclude", "ids.txt") == 0
    assert reasons() == [["held out"]]


def test_exclude_takes_one_split_of_a_source_and_may_be_repeated(here):
    bundled = {split: load_puzzles("builtin", split).puzzles[0] for split in ("train_sft", "train_rl", "test")}
    rows = [good(puzzle, "R" * (len(puzzle.groups) - 1)) for puzzle in bundled.values()]
    assert collated(rows, "--exclude", "builtin:test", "--exclude", "builtin:train_rl") == 0
    assert [row["puzzle_id"] for row in dataset()] == [f"puzzle-{bundled['train_sft'].puzzle_id}"]


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (
            "nowhere",
            "no puzzles at 'nowhere': give a file, a dataset id like ericbotti/connections-puzzles, or builtin",
        ),
        ("no.txt", "cannot read no.txt: No such file or directory"),
        ("no.jsonl", "no such file: no.jsonl; name a file, a folder, a dataset id or builtin"),
        ("builtin:dev", "builtin has no split 'dev'; it has test, train_rl, train_sft"),
    ],
)
def test_an_exclude_that_cannot_be_read_is_a_usage_error(here, capsys, flag, told):
    assert collated([good(A)], "--exclude", flag) == 2
    assert capsys.readouterr().err == f"error: {told}\n"
    assert not Path("sft_examples.jsonl").exists()


def test_the_other_splits_of_the_bundled_puzzles_are_held_out_by_default(here, capsys):
    chosen = load_puzzles("builtin", "train_sft").puzzles[:3] + load_puzzles("builtin", "test").puzzles[:1]
    rows = [good(puzzle, "R" * (len(puzzle.groups) - 1)) for puzzle in chosen]
    results_file(Path("good.jsonl"), rows)
    assert collate.main(["good.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [one["reasons"] for one in rejects()] == [["held out: its puzzle is in builtin:test"]]
    assert "puzzles that may not be in: 20 of builtin:test, 30 of builtin:train_rl; rows refused for it: 1\n" in out
    assert len(dataset()) == 3
    assert collate.main(["good.jsonl", "--no-default-exclude"]) == 0
    assert len(dataset()) == 4


def test_a_board_that_is_in_another_split_too_is_held_out(here):
    rows = [
        hub_row(A) | {"split": "train"},
        hub_row(B) | {"split": "train"},
        hub_row(shouted_backwards(B)) | {"split": "dev"},
    ]
    results_file(Path("puzzles.jsonl"), rows)
    results_file(Path("good.jsonl"), [good(replace(p, source="puzzles.jsonl", split="train")) for p in (A, B)])
    assert other_splits("puzzles.jsonl", "train") == ["dev"]
    assert collate.main(["good.jsonl"]) == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-0"]


def test_other_splits_of_a_hub_dataset_are_held_out_from_the_local_snapshot_alone(here, monkeypatch, capsys):
    import socket

    from huggingface_hub import constants

    def refuse(*args, **_):
        raise AssertionError(f"the network was asked for: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(fake_hub(here / "hub")))
    rows = [good(replace(board(n), source=HUB_ID, split="train_sft")) for n in range(4)]  # 3 is of train_rl
    results_file(Path("good.jsonl"), rows)
    assert other_splits(HUB_ID, "train_sft") == ["test", "train_rl"]
    assert collate.main(["good.jsonl"]) == 0
    assert [one["reasons"] for one in rejects()] == [[f"held out: its puzzle is in {HUB_ID}:train_rl"]]
    capsys.readouterr()

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here / "empty"))
    assert collate.main(["good.jsonl"]) == 0
    assert len(dataset()) == 4
    assert capsys.readouterr().err == (
        f"the other splits of {HUB_ID} are not held out: there is no file or folder {HUB_ID}, and the dataset of that "
        f"name is not on this machine; fetch it with: hf download --repo-type dataset {HUB_ID}\n"
    )


def test_a_source_without_splits_has_no_others():
    assert other_splits("puzzles.jsonl", "") == []


# Simulated games


def test_simulated_rows_beside_real_ones_are_refused_unless_allowed(here, capsys):
    rows = [good(A), good(B, simulated=True)]
    assert collated(rows) == 0
    assert [row["simulated"] for row in dataset()] == [False]
    assert reasons() == [["simulated"]]
    capsys.readouterr()
    assert collated(rows, "--allow-simulated") == 0
    assert [row["simulated"] for row in dataset()] == [False, True]
    assert "\nsimulated, in whole or in part: 1 of 2 examples; for trying things out\n" in capsys.readouterr().out


def test_a_dataset_of_simulated_rows_alone_is_written_and_says_so(here, capsys):
    assert collated([good(A, simulated=True), good(B, simulated=True)]) == 0
    assert len(dataset()) == 2
    assert "\nsimulated, in whole or in part: all examples; for trying things out\n" in capsys.readouterr().out


# Formats and files


def test_messages_format_has_one_list_in_place_of_prompt_and_completion(here):
    assert collated([good(A)]) == 0
    (trl,) = dataset()
    assert collated([good(A)], "--format", "messages") == 0
    (row,) = dataset()
    assert list(row)[:2] == ["puzzle_id", "messages"]
    assert row.pop("messages") == trl.pop("prompt") + trl.pop("completion")
    assert row == trl


@pytest.mark.parametrize("layout", ["trl", "messages"])
def test_the_file_loads_as_it_is_with_floats_strings_and_no_dates(here, layout):
    import datasets

    dated = [replace(puzzle, puzzle_id=f"2024-01-0{nth}") for nth, puzzle in enumerate((A, B), 1)]
    rows = [
        good(dated[0], "WWRRR"),
        good(dated[1], "WRWRR", reducer_models=["m"], original_completion=longer(dated[1], "WRWRR")),
    ]
    assert collated(rows, "--format", layout) == 0
    assert dataset()[0]["reward"] == 5.1
    loaded = datasets.load_dataset(
        "json", data_files=str(here / "sft_examples.jsonl"), split="train", cache_dir=str(here / "cache")
    )
    assert loaded["puzzle_id"][:] == ["puzzle-2024-01-01", "puzzle-2024-01-02"]
    assert loaded.features["puzzle_id"].dtype == "string"
    assert {loaded.features[name].dtype for name in ("reward", "accuracy")} == {"float64"}
    assert {loaded.features[name].dtype for name in ("reducer_model", "tokens_before")} == {"string", "int64"}


def test_whole_numbers_are_written_as_floats_where_the_column_holds_floats(here):
    assert collated([good(A)]) == 0
    assert '"reward": 5.5, "accuracy": 1.0,' in Path("sft_examples.jsonl").read_text()


def test_a_column_that_is_empty_in_the_first_rows_has_its_type_from_the_start(here):
    import datasets

    rows = [good(board(n)) for n in range(20)] + [
        good(board(20), reducer_models=["m"], original_completion=longer(board(20)))
    ]
    assert collated(rows) == 0
    loaded = datasets.load_dataset(
        "json", data_files="sft_examples.jsonl", split="train", cache_dir=str(here / "cache"), chunksize=9000
    )
    assert len(loaded) == 21


def test_text_is_written_as_it_is(here):
    assert collated([good(TRICKY)]) == 0
    assert "CAFÉ" in Path("sft_examples.jsonl").read_text(encoding="utf-8")


def test_ids_that_differ_by_the_prefix_alone_stay_two(here):
    rows = [good(replace(puzzle, puzzle_id=name)) for puzzle, name in ((A, "7"), (B, "puzzle-7"))]
    for order in (rows, rows[::-1]):
        assert collated(order) == 0
        assert sorted(row["puzzle_id"] for row in dataset()) == ["puzzle-7", "puzzle-puzzle-7"]
        assert len({row["rollout_id"] for row in dataset()}) == 2
    assert Path("rerun_puzzles.txt").read_text() == ""


def hashed(puzzle):
    digest = hashlib.sha256("\n".join(sorted(item.lower() for item in puzzle.items)).encode()).hexdigest()
    return f"puzzle-1-{digest[:8]}"


@pytest.mark.parametrize("layout", ["trl", "messages", "sharegpt", "per-turn"])
def test_puzzles_of_one_id_each_get_one_of_their_own_whatever_the_order(here, capsys, layout):
    rows = [good(replace(puzzle, puzzle_id="1", source=f"{nth}.jsonl")) for nth, puzzle in enumerate((A, B))]
    ids = {"0.jsonl": hashed(A), "1.jsonl": hashed(B), "": "puzzle-made-2"}
    for order in ([*rows, good(C)], [good(C), *rows[::-1]]):
        assert collated(order, "--format", layout) == 0
        assert {row["source"]: row["puzzle_id"] for row in dataset()} == ids
        told = "puzzles whose id another one has too: 2; a hash of their items ends it\n"
        assert told in capsys.readouterr().out
    assert collated([rows[0], good(C)], "--format", layout) == 0
    assert {row["puzzle_id"] for row in dataset()} == {"puzzle-1", "puzzle-made-2"}
    assert "another one has too" not in capsys.readouterr().out


def test_a_puzzle_is_to_be_played_again_though_another_of_its_id_has_a_row(here):
    Path("rerun_puzzles.txt").write_text("1\nmade-2\n")
    rows = [good(replace(puzzle, puzzle_id="1")) for puzzle in (A, B)]
    assert collated([rows[0], raw(rows[1]) | {"reward": 1.0}, good(C)]) == 0
    assert sorted(row["puzzle_id"] for row in dataset()) == ["puzzle-1", "puzzle-made-2"]
    assert Path("rerun_puzzles.txt").read_text() == "1\n"
    assert collated([*rows, good(C)]) == 0
    assert Path("rerun_puzzles.txt").read_text() == ""


def test_of_puzzles_of_one_id_a_bare_one_holds_out_all_and_one_with_a_hash_its_own(here):
    rows = [good(replace(puzzle, puzzle_id="1")) for puzzle in (A, B)]
    for listed, left in (("1", []), ("puzzle-1", []), (hashed(A), ["puzzle-1"]), (hashed(C), [hashed(A), hashed(B)])):
        Path("ids.txt").write_text(listed)
        assert collated([*rows, good(C)], "--exclude", "ids.txt") == 0
        assert [row["puzzle_id"] for row in dataset()] == [*left, "puzzle-made-2"]


@pytest.mark.parametrize(
    ("listed", "held_out"),
    [("7", ["7"]), ("puzzle-7", ["7", "puzzle-7"]), ("puzzle-puzzle-7", ["puzzle-7"]), ("puzzle-8", [])],
)
def test_an_id_is_held_out_as_it_is_and_as_the_dataset_writes_it(here, listed, held_out):
    Path("ids.txt").write_text(listed)
    rows = [good(replace(puzzle, puzzle_id=name)) for puzzle, name in ((A, "7"), (B, "puzzle-7"), (C, "x"))]
    assert collated(rows, "--exclude", "ids.txt") == 0
    assert [one["puzzle_id"] for one in rejects()] == held_out
    assert all(one["reasons"] == ["held out: its puzzle is in ids.txt"] for one in rejects())
    assert len(dataset()) == 3 - len(held_out)


def test_a_puzzle_held_out_by_its_id_comes_in_by_no_spare_of_another_name_and_is_not_to_be_played_again(here):
    Path("ids.txt").write_text("made-0")
    spares = spares_of(played(replace(A, puzzle_id="another-name"), "RRR"))
    assert collated([good(A, spares=spares), good(B)], "--exclude", "ids.txt") == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-1"]
    assert [(one["puzzle_id"], one["reasons"]) for one in rejects()] == [
        ("made-0", ["held out: its puzzle is in ids.txt"])
    ]
    assert Path("rerun_puzzles.txt").read_text() == ""


@pytest.mark.parametrize("order", [1, -1])
def test_a_puzzle_held_out_by_one_of_its_ids_is_held_out_by_all(here, order):
    Path("ids.txt").write_text("made-0")
    rows = [good(A), good(replace(A, puzzle_id="another-name"))][::order]
    assert collated([*rows, good(B)], "--exclude", "ids.txt") == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-1"]
    assert [one["reasons"] for one in rejects()] == [["held out: its puzzle is in ids.txt"]] * 2
    assert Path("rerun_puzzles.txt").read_text() == ""


def test_rows_stand_in_the_order_of_the_inputs(here):
    assert collated([good(puzzle) for puzzle in (C, A, B)]) == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-2", "puzzle-made-0", "puzzle-made-1"]


def test_strict_writes_no_dataset_beside_a_reject_and_the_earlier_one_stays(here, capsys):
    broken = raw(good(A)) | {"reward": 1.0}
    assert collated([good(C)], "--strict") == 0
    before = Path("sft_examples.jsonl").read_bytes()
    capsys.readouterr()
    assert collated([broken, good(B)], "--strict") == 1
    out, err = capsys.readouterr()
    assert Path("sft_examples.jsonl").read_bytes() == before
    assert out.startswith(
        "rows read: 2, 1 fit, but --strict takes no rejects; sft_examples.jsonl was not written\n\n"
        "  fit:                              1 (50.0%)\n"
        "  rejected, outcome differs:        1 (50.0%)\n\n"
        "rejects, with all their reasons: 1 -> sft_rejects.jsonl\n"
    )
    assert "Traceback" not in err
    assert [one["puzzle_id"] for one in rejects()] == ["made-0"]
    assert "made-0" in Path("rerun_puzzles.txt").read_text().splitlines()
    assert collated([broken, good(B)]) == 0
    assert [row["puzzle_id"] for row in dataset()] == ["puzzle-made-1"]


def test_strict_without_an_earlier_dataset_leaves_none(here):
    assert collated([raw(good(A)) | {"reward": 1.0}, good(B)], "--strict") == 1
    assert not Path("sft_examples.jsonl").exists()
    assert [one["puzzle_id"] for one in rejects()] == ["made-0"]


def test_strict_lets_pass_what_only_gives_way_to_a_better_row(here):
    assert collated([good(A), good(A, "ORRR"), good(B)], "--strict") == 0
    assert len(dataset()) == 2


def test_without_a_single_row_the_earlier_dataset_stays(here, capsys):
    assert collated([good(A)]) == 0
    before = Path("sft_examples.jsonl").read_bytes()
    capsys.readouterr()
    assert collated([raw(good(B)) | {"reward": 1.0}]) == 1
    assert Path("sft_examples.jsonl").read_bytes() == before
    assert capsys.readouterr().out.startswith(
        "rows read: 1, none fit for the dataset; sft_examples.jsonl was not written\n"
    )
    assert reasons() == [["outcome differs"]]
    assert Path("rerun_puzzles.txt").read_text() == "made-1\n"


def test_a_run_that_fails_replaces_nothing(here, monkeypatch, capsys):
    collated([good(A)])
    before = {path.name: path.read_bytes() for path in here.iterdir()}

    def full(_):
        yield "half of the dataset\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("connections_env.outputs.jsonl", full)
    assert collated([good(A)]) == 1
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before
    assert capsys.readouterr().err == (
        "error: cannot write sft_examples.jsonl: No space left on device; make room, then run the same command again\n"
    )


PARENT = {"rollout_id": "x", "turns": 1}
CUTS = [{"turns": 1, "kept": 2, "truncate": "last-valid"}]
CUT_ELSEWHERE = Cut(turns=None, kept=1, truncate=None)
REDUCED = {
    "reduced": True,
    "reducer_models": ["short"],
    "original_completion": [message.model_dump(exclude_none=True) for message in longer(A)],
}
SIMULATED_IS = "a row is simulated where the simulated player wrote some of it, and nowhere else"
REDUCED_IS = "a row is reduced where it holds what it was before, and nowhere else"


def named(puzzle):
    """The reply that names every theme."""
    themes = json.dumps([group.linking_terms[0] for group in puzzle.groups])
    return Reply(f"<themes>{themes}</themes>", REASONING, "stop", 40)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ({"resumed_from": PARENT | {"turns": 3}}, "3 replies resumed, 3 in the game"),
        ({"cuts": CUTS}, "turns were cut off a game that it goes on from, and it goes on from none"),
        ({"cuts": CUTS, "resumed_from": PARENT}, "the last cut kept 2 replies, 1 were resumed"),
        ({"model": "other"}, "played by 'other', the last reply is by ['scripted']"),
        ({"reply_models": ["other"] * 3}, "played by 'scripted', the last reply is by ['other']"),
        (
            {"reply_models": ["other", "another", "scripted"], "resumed_from": PARENT},
            "the replies since it was resumed are by several models",
        ),
        ({"simulated": True}, SIMULATED_IS),
        ({"reply_models": ["simulated"] * 3, "model": "simulated"}, SIMULATED_IS),
        (REDUCED | {"reducer_models": ["simulated"]}, SIMULATED_IS),
        ({"reduced": True, "reducer_models": ["short"]}, REDUCED_IS),
        ({"original_completion": REDUCED["original_completion"]}, REDUCED_IS),
        (REDUCED | {"reducer_models": []}, "a row is reduced where it names who did it, and nowhere else"),
        ({"reducer_models": ["short"]}, "a row is reduced where it names who did it, and nowhere else"),
        (
            REDUCED | {"original_completion": raw(good(B))["completion"]},
            "more than the reasoning is other than before the reduction",
        ),
    ],
    ids=[
        *("resumed later than it ended", "cut off nothing", "kept more than was resumed", "another player"),
        *("another last player", "two players at once", "a player called simulated", "a simulated player in secret"),
        *("a simulated reducer in secret", "reduced from nothing", "reduced in secret"),
        *("reduced by nobody", "a reducer of nothing", "reduced from another game"),
    ],
)
def test_a_past_that_cannot_be_is_refused(here, edit, why):
    assert collated([raw(good(A)) | edit]) == 1
    assert [reason for reason in rejects()[0]["reasons"] if reason.startswith("lineage")] == [f"lineage differs: {why}"]


@pytest.mark.parametrize(
    "edit", [REDUCED, {"resumed_from": PARENT}, {"cuts": CUTS, "resumed_from": PARENT | {"turns": 2}}]
)
def test_a_past_that_can_be_is_not_refused(here, edit):
    assert collated([raw(good(A)) | edit]) == 0


def test_a_row_tells_who_wrote_it_and_where_it_was_cut(here):
    replies = [
        reply._replace(model=model)
        for reply, model in zip(script_replies(A, "RORR"), ["/home/me/first", "second", "", "third"], strict=True)
    ]
    cuts = [Cut(turns=3, kept=1, truncate="last-correct"), Cut(turns=1, kept=2, truncate="last-valid")]
    mixed = rollout(A, replies, resumed_from=ResumedFrom(rollout_id="x", turns=3), cuts=cuts, model="")
    other = played(B, "RRR", resumed_from=ResumedFrom(rollout_id=None, turns=1), cuts=[CUT_ELSEWHERE])
    themes = [*script_replies(C, "RRR", PUZZGRID), named(C)]
    assert (
        collated([canonical_row(mixed), canonical_row(other), canonical_row(rollout(C, themes, ruleset=PUZZGRID))]) == 0
    )
    rows = dataset()
    assert [row["reply_models"] for row in rows] == [
        ["first", "second", "", "third"],
        ["scripted"] * 3,
        ["scripted"] * 4,
    ]
    assert [row["model"] for row in rows] == ["third", "scripted", "scripted"]
    cut = [(row["doctored"], row["resumed_turns"], row["turns_before_cut"], row["truncate"]) for row in rows]
    assert cut == [(True, 3, 2, "last-correct, last-valid"), (True, 1, 1, "unknown"), (False, 0, 0, "none")]
    assert [row["ruleset"] for row in rows] == ["nyt", "nyt", "puzzgrid"]


def test_rewards_of_different_rules_are_summed_up_apart(here, capsys):
    themes = [*script_replies(C, "RRR", PUZZGRID), named(C)]
    assert collated([good(A), canonical_row(rollout(C, themes, ruleset=PUZZGRID))]) == 0
    out = capsys.readouterr().out
    assert "\n  reward, nyt                5.50 " in out
    assert "\n  reward, puzzgrid          11.25 " in out


@pytest.mark.parametrize("puzzle_id", ["", " ", "two\nlines"])
def test_an_id_that_no_list_can_hold_is_refused(here, puzzle_id):
    assert collated([good(replace(A, puzzle_id=puzzle_id))]) == 1
    assert reasons() == [["no puzzle id"]]


def test_a_difference_is_shown_where_it_is(here):
    row = raw(good(A))
    row["completion"][1]["content"] = row["completion"][1]["content"].replace(A.items[-1], "ELSE").replace("`]", "!`]")
    assert collated([row]) == 1
    (why,) = (one for one in rejects()[0]["reasons"] if one.startswith("feedback"))
    due, said = why.split(", not ")
    assert due.partition("says ")[2] != said


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_file_that_cannot_be_written_leaves_the_others_as_they_were(here, monkeypatch, capsys, nth):
    collated([raw(good(A)) | {"reward": 1.0}, good(B)])
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    sync, synced = os.fsync, []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) == nth:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", full)
    assert collated([raw(good(A)) | {"reward": 1.0}, good(C)], name="more.jsonl") == 1
    assert len(synced) == nth
    Path("more.jsonl").unlink()
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before
    name = ("sft_rejects.jsonl", "rerun_puzzles.txt", "sft_examples.jsonl")[nth - 1]
    assert capsys.readouterr().err.endswith(
        f"error: cannot write {name}: No space left on device; make room, then run the same command again\n"
    )


@pytest.mark.parametrize("name", ["sft_rejects.jsonl", "rerun_puzzles.txt"])
def test_a_folder_in_the_way_of_a_file_leaves_the_others_as_they_were(here, capsys, name):
    collated([good(A)])
    Path(name).unlink()
    Path(name).mkdir()
    before = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    assert collated([good(A), good(B)], name="more.jsonl") == 1
    Path("more.jsonl").unlink()
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == before
    assert capsys.readouterr().err.endswith(
        f"error: cannot write {name}: is a folder; move it away, then run the same command again\n"
    )


def test_inputs_of_another_kind_alone_leave_the_rejects_of_the_last_run(here, capsys):
    collated([raw(good(A)) | {"reward": 1.0}, good(B)])
    before = Path("sft_rejects.jsonl").read_bytes()
    assert collated([interrupted(A)], name="results_1.jsonl") == 1
    assert Path("sft_rejects.jsonl").read_bytes() == before
    assert capsys.readouterr().err.endswith(
        "error: results_1.jsonl: no good example in it; "
        "give it good_examples_reduced.jsonl or doctored_gameplay_reduced.jsonl\n"
    )


def test_the_dataset_is_no_input(here, capsys):
    collated([good(A)])
    assert collate.main(["sft_examples.jsonl"]) == 2
    assert "is what this step writes, not what it reads" in capsys.readouterr().err


def test_a_folder_in_the_way_of_the_dataset_is_exit_2_and_leaves_the_others_as_they_were(here, capsys):
    collated([raw(good(A)) | {"reward": 1.0}, good(B)])
    Path("sft_examples.jsonl").unlink()
    Path("sft_examples.jsonl").mkdir()
    before = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    capsys.readouterr()
    assert collated([raw(good(A)) | {"reward": 1.0}, good(C)], name="more.jsonl") == 2
    Path("more.jsonl").unlink()
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == before
    assert capsys.readouterr().err == "error: sft_examples.jsonl is a folder; name a file in it\n"


def test_a_row_of_a_newer_version_stops_the_run(here, capsys):
    collated([good(A)])
    assert collated([raw(good(A)) | {"schema_version": 99}]) == 1
    assert capsys.readouterr().err.startswith("error: good.jsonl:1: written by a newer version of this project")
    assert len(dataset()) == 1


def test_an_input_is_never_the_output(here, capsys):
    before = results_file(here / "both.jsonl", [good(A)]).read_bytes()
    (here / "link.jsonl").symlink_to("both.jsonl")
    for output in ("both.jsonl", "link.jsonl"):
        assert collate.main(["both.jsonl", "--output", output]) == 2
        told = f"error: {output} is an input, which is never written over; choose another output\n"
        assert capsys.readouterr().err == told
    assert Path("both.jsonl").read_bytes() == before


# Wrong inputs


@pytest.mark.parametrize(
    ("there", "given", "told"),
    [
        (
            [],
            [],
            "no such file: good_examples_reduced.jsonl; make it with: uv run python reduce_tokens.py",
        ),
        (
            [],
            ["doctored_gameplay.jsonl"],
            "no such file: doctored_gameplay.jsonl; make it with: uv run python doctor_gameplay.py",
        ),
        (
            ["good_examples.jsonl"],
            [],
            "no such file: good_examples_reduced.jsonl, but good_examples.jsonl is there; reduce it with: uv run "
            "python reduce_tokens.py, or give it as it is: uv run python collate.py good_examples.jsonl",
        ),
        (
            ["good_examples_reduced.jsonl", "doctored_gameplay.jsonl"],
            [],
            "no such file: doctored_gameplay_reduced.jsonl, but doctored_gameplay.jsonl is there; reduce it with: uv "
            "run python reduce_tokens.py, or give it as it is: uv run python collate.py doctored_gameplay.jsonl",
        ),
    ],
)
def test_a_missing_input_names_the_command_that_makes_it(here, capsys, there, given, told):
    for name in there:
        results_file(here / name, [good(A)])
    assert collate.main(given) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


def test_a_doctored_stream_that_is_missing_altogether_is_one_line(here, capsys):
    results_file(here / "out" / "good_examples_reduced.jsonl", [good(A)])
    assert collate.main(["--output-dir", "out", "--no-default-exclude"]) == 0
    assert capsys.readouterr().err == (
        "no out/doctored_gameplay_reduced.jsonl: reading out/good_examples_reduced.jsonl alone\n"
    )
    assert len(rows_of(here / "out" / "sft_examples.jsonl")) == 1


def test_a_row_of_another_kind_is_named_by_file_and_line_with_what_it_looks_like(here, capsys):
    collated([good(C)])
    (product,) = dataset()
    job = JobRow(**dict(played(A, "R")), rejection="game lost", cut=1, cut_why="wrong guess")
    assert collated([good(B), job, played(A, "RRR"), product, "nul"]) == 0
    expected = "expected a good example, this looks like"
    assert capsys.readouterr().err == (
        f"good.jsonl:2: {expected} a job for doctor_gameplay.py; skipped\n"
        f"good.jsonl:3: {expected} a rollout of results_N.jsonl; skipped\n"
        f"good.jsonl:4: {expected} a row of sft_examples.jsonl; skipped\n"
        "good.jsonl:5: expected a JSON object, got 'nul'; skipped\n"
    )
    assert [one["puzzle_id"] for one in rejects()] == ["made-0", "made-0", None, None]
    assert Path("rerun_puzzles.txt").read_text() == "made-0\n"


def test_every_row_is_written_or_counted(here):
    rows = [good(A), good(A, "ORRR"), raw(good(B)) | {"reward": 1.0}, "nul", good(C)]
    inputs = [results_file(here / "good.jsonl", rows)]
    outcome = collate.run(
        inputs, here / "sft_examples.jsonl", tokenizer=NEED.tokenizer, limits=Limits(), default_exclude=False
    )
    assert outcome.read == len(rows)
    assert (outcome.accepted, outcome.better_in, len(outcome.rejects)) == (2, 1, 2)
    assert outcome.without_row == ["made-1"]


def test_a_results_file_is_never_an_output(here):
    path = results_file(here / "good.jsonl", [good(A)])
    with pytest.raises(collate.UsageError, match="results_1"):
        collate.run([path], here / "results_1.jsonl", tokenizer=NEED.tokenizer, limits=Limits())


def test_boards_are_held_out_by_their_items_and_ids_by_their_names():
    held = HeldOut(boards={A.key: "a file"}, ids={"made-1": "a list"})
    assert [held.where(good(puzzle)) for puzzle in (A, B, C)] == ["a file", "a list", None]


def test_a_state_asks_one_reply_at_a_time():
    reply = Reply(good(PLAIN).completion[0].content)
    assert reply_problem(reply, GameState(PLAIN, NYT)) is None
