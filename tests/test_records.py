"""Lines of results files: our own round-trip, older tools' are replayed, junk is refused by name."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connections_env.foreign import rollout_of
from connections_env.json_lines import SCHEMA_VERSION, BadRow, FutureRow
from connections_env.play import Disagrees
from connections_env.quality import facts_of, rejection
from connections_env.records import Cut, ResumedFrom, Rollout, read_row
from connections_env.rulesets import NYT, PUZZGRID
from connections_env.salvage import salvage
from connections_env.standings import Standings, fetch
from tests.boards import BOARDS, PLAIN
from tests.rollouts import (
    REASONING,
    board,
    changed,
    empty,
    guess_text,
    interrupted,
    line_of,
    played,
    results_file,
    rollout,
    script_replies,
    won,
)

PUZZLE = board(3)
GROUPS = [group.members for group in PUZZLE.groups]


def info(puzzle=PUZZLE):
    """What older pipelines write of a puzzle."""
    return {
        "puzzle_id": puzzle.puzzle_id,
        "all_words": list(puzzle.items),
        "categories": [
            {"group": group.theme, "members": list(group.members), "linking_terms": list(group.linking_terms)}
            for group in puzzle.groups
        ],
    }


def said(role, content, **more):
    return {"role": role, "content": content, **more}


def talk(*contents):
    """Replies, a word of feedback after each, the last one included, as older pipelines leave it."""
    return [message for content in contents for message in (said("assistant", content), said("user", "Noted."))]


def older(*contents, prefix=(), history=(), end="all_categories_found", puzzle=PUZZLE, **more):
    """A record of an older pipeline: no ids, no verdicts on the replies, statuses in its own spelling."""
    return {
        "example_id": 4,
        "prompt": [said("system", "Sort the words."), said("user", "Here they are."), *talk(*prefix)],
        "completion": talk(*contents),
        "task": "default",
        "info": info(puzzle),
        "reward": 3.25,
        "guess_history": [
            {"words": [word.lower() for word in words], "status": status, "category_idx": index}
            for words, status, index in history
        ],
        "complete_reason": end,
        **more,
    }


def guess(words, think="Fairly sure. "):
    return f"{think}{guess_text(words)}"


WON_BY_HAND = {
    "history": [(GROUPS[n], "correct", float(n)) for n in range(4)],  # the last one came by itself
    "end": "all_categories_found",
}
ONE_AWAY = (*GROUPS[0][:3], GROUPS[1][0])


def read(row):
    return rollout_of(line_of(row).encode())


def statuses(row):
    return [turn.status for turn in row.guess_history]


# Our own rows


@pytest.mark.parametrize("puzzle", BOARDS, ids=lambda puzzle: puzzle.puzzle_id)
@pytest.mark.parametrize("ruleset", [NYT, PUZZGRID], ids=lambda ruleset: ruleset.name)
@pytest.mark.parametrize("script", ["", "R", "RONX", "LCQ"])
def test_a_row_of_ours_reads_back_as_it_was_written(puzzle, ruleset, script):
    script = script[: len(puzzle.groups) - 1] if script == "LCQ" else script
    row = played(puzzle, script, ruleset=ruleset, end="interrupted", simulated=True, sampling={"a": {"b": [1, None]}})
    line = row.to_line()
    assert "\n" not in line
    back = read_row(line)
    assert back == row
    assert back.to_line() == line
    assert back.replies == row.replies
    assert back.puzzle.items == puzzle.items
    assert back.puzzle.groups == puzzle.groups
    assert back.ruleset is ruleset


def test_a_row_holds_the_fields_existing_tools_know():
    row = json.loads(played(PUZZLE, "RON", resumed_from=ResumedFrom(rollout_id="first", turns=1)).to_line())
    promised = {
        "rollout_id",
        "example_id",
        "prompt",
        "completion",
        "info",
        "guess_history",
        "complete_reason",
        "reward",
    }
    promised |= {"metrics", "model", "sampling", "usage", "timing", "resumed_from", "schema_version"}
    assert promised <= set(row)
    assert {"puzzle_id", "all_words", "categories", "title", "ruleset", "source"} <= set(row["info"])
    assert set(row["info"]["categories"][0]) == {"group", "members", "linking_terms"}
    assert set(row["guess_history"][0]) == {"words", "status", "category_idx", "reason"}
    assert [turn["status"] for turn in row["guess_history"]] == ["correct", "one_away", "invalid"]
    assert row["guess_history"][2]["reason"] == "no_guess"
    assert row["resumed_from"] == {"rollout_id": "first", "turns": 1}
    assert row["schema_version"] == SCHEMA_VERSION


def test_a_row_begins_with_system_and_user_and_ends_with_the_players_last_reply():
    for script in ("R", "RRR", "RONW", "WWWW"):
        row = json.loads(played(PUZZLE, script).to_line())
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]
        roles = [message["role"] for message in row["completion"]]
        assert roles == ["assistant", "user"] * (len(script) - 1) + ["assistant"]


def test_a_field_that_this_version_does_not_know_does_not_make_a_row_unreadable():
    assert read(changed(won(PUZZLE), note="mine")).complete_reason == "all_categories_found"


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_a_row_of_a_newer_version_is_refused_by_that_name(version):
    with pytest.raises(FutureRow, match=str(version)):
        read(changed(won(PUZZLE), schema_version=version))
    with pytest.raises(FutureRow):
        read({"schema_version": version, "all": "is different"})


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1.0, str(SCHEMA_VERSION + 1)])
def test_a_newer_version_written_as_another_kind_of_number_is_never_read_as_ours(version):
    with pytest.raises((FutureRow, BadRow)):
        read(changed(won(PUZZLE), schema_version=version))


@pytest.mark.parametrize(
    "missing", ["rollout_id", "prompt", "completion", "info", "guess_history", "complete_reason", "reward"]
)
def test_a_row_of_ours_without_a_field_is_refused_by_the_name_of_the_field(missing):
    row = changed(won(PUZZLE))
    del row[missing]
    with pytest.raises(BadRow, match=missing):
        read(row)


# Older pipelines


def test_an_older_record_is_read_by_replaying_its_replies():
    row = read(older(*map(guess, GROUPS[:3]), **WON_BY_HAND))
    assert isinstance(row, Rollout)
    assert statuses(row) == ["correct"] * 3 + ["auto"]
    assert [tuple(turn.words) for turn in row.guess_history[:3]] == [tuple(group) for group in GROUPS[:3]]
    assert row.complete_reason == "all_categories_found"
    assert row.reward == pytest.approx(5.5)
    assert row.example_id == 4
    assert row.resumed_from is None
    assert rejection(facts_of(row)) is None


def test_the_automatic_last_group_recorded_as_correct_is_no_guess_of_the_player():
    facts = facts_of(read(older(*map(guess, GROUPS[:3]), **WON_BY_HAND)))
    assert facts.statuses == ("correct",) * 3


def test_a_trailing_user_message_is_not_part_of_the_game():
    row = read(older(*map(guess, GROUPS[:3]), **WON_BY_HAND))
    assert row.completion[-1].role == "assistant"
    assert [message.role for message in row.prompt] == ["system", "user"]


def test_a_resumed_prefix_in_the_prompt_belongs_to_the_game():
    row = read(older(*map(guess, GROUPS[1:3]), prefix=[guess(GROUPS[0])], model="m", **WON_BY_HAND))
    assert statuses(row) == ["correct"] * 3 + ["auto"]
    assert [message.role for message in row.prompt] == ["system", "user"]
    assert [message.content for message in row.completion if message.role == "assistant"] == list(
        map(guess, GROUPS[:3])
    )
    assert row.resumed_from.turns == 1
    assert row.cuts == [Cut(turns=None, kept=1, truncate=None)], "how many were cut is not in such a row"
    assert (row.reply_models, row.model) == (["", "m", "m"], "m"), "nor who played before"


def test_info_as_a_json_string_is_read():
    as_object = older(*map(guess, GROUPS[:3]), **WON_BY_HAND)
    as_string = as_object | {"info": json.dumps(as_object["info"])}
    assert read(as_string).info == read(as_object).info


def test_info_as_a_json_string_names_the_rules_and_the_source_of_its_game():
    info_of_it = info() | {"ruleset": "puzzgrid", "source": "mine.jsonl"}
    row = read(older(*map(guess, GROUPS[:3]), **WON_BY_HAND, info=json.dumps(info_of_it)))
    assert (row.ruleset, row.info.source) == (PUZZGRID, "mine.jsonl")
    assert (row.complete_reason, rejection(facts_of(row))) == ("interrupted", "unfinished")  # the themes are still due


def test_statuses_come_from_the_replay_and_not_from_the_record():
    lies = [(GROUPS[0], "correct", 0), (ONE_AWAY, "correct", 1)]
    row = read(older(guess(GROUPS[1]), guess(ONE_AWAY), "No idea.", history=lies, end="max_turns_reached"))
    assert statuses(row) == ["correct", "invalid", "invalid"]
    row = read(older(guess(ONE_AWAY), "No idea.", history=lies, end="max_turns_reached"))
    assert [(turn.status, turn.reason) for turn in row.guess_history] == [("one_away", None), ("invalid", "no_guess")]


def test_a_lost_older_record_is_lost():
    wrong = [reply.content for reply in script_replies(PUZZLE, "OOWW")]
    assert read(older(*wrong, end="max_mistakes")).complete_reason == "max_mistakes"


def test_reasoning_beside_the_content_is_kept_whatever_its_name():
    for name in ("reasoning_content", "reasoning"):
        row = older(end="max_turns_reached")
        row["completion"] = [said("assistant", guess_text(GROUPS[0]), **{name: REASONING})]
        adopted = read(row)
        assert adopted.completion[0].reasoning_content == REASONING
        assert adopted.reply_unfit == [None]


def test_an_older_record_without_reasoning_is_not_good():
    contents = [guess(words, think="") for words in GROUPS[:3]]
    assert rejection(facts_of(read(older(*contents, **WON_BY_HAND)))) is not None


def test_the_board_is_the_one_that_was_shown_even_in_the_order_of_its_groups():
    row = older(guess(GROUPS[0]), end="max_turns_reached")
    row["info"]["all_words"] = [word for group in GROUPS for word in group]
    assert list(read(row).puzzle.items) == row["info"]["all_words"]


def test_an_older_record_gets_the_same_id_every_time_and_another_one_gets_another():
    one, other = older(guess(GROUPS[0])), older(guess(GROUPS[1]))
    assert read(one).rollout_id == read(dict(reversed(one.items()))).rollout_id != read(other).rollout_id


def test_an_older_record_can_be_resumed():
    row = read(older(guess(ONE_AWAY), guess(GROUPS[0]), "No idea.", end="max_turns_reached"))
    job = salvage(row, "next")
    assert [reply.content for reply in job.kept] == [guess(ONE_AWAY), guess(GROUPS[0])]
    assert job.puzzle.key == PUZZLE.key


def test_an_adopted_record_written_as_ours_reads_back_the_same():
    row = read(older(guess(GROUPS[0]), guess(ONE_AWAY), "No idea.", end="max_turns_reached"))
    assert read_row(row.to_line()) == row


# Other tools, and rows without a board


def verifiers(completion, **more):
    return {
        "example_id": 0,
        "prompt": [said("user", "Sort these.")],
        "completion": completion,
        "info": {
            "game_id": 77,
            "shuffled_words": list(PUZZLE.items),
            "groups": [{"name": g.theme, "level": n, "words": list(g.members)} for n, g in enumerate(PUZZLE.groups)],
        },
        "reward": 1.0,
        "error": None,
        **more,
    }


def test_a_row_of_a_verifiers_evaluation_gets_its_statuses_by_replay():
    row = read(verifiers(talk(*(f"Well. <guess>{', '.join(words)}</guess>" for words in GROUPS))))
    assert row.info.all_words == list(PUZZLE.items)
    assert statuses(row) == ["correct"] * 3 + ["auto"]
    assert row.complete_reason == "all_categories_found"


@pytest.mark.parametrize(
    "row",
    [
        verifiers([]),
        verifiers([], error={"error": "ModelError", "message": "gone"}),
        verifiers(None, error="timed out"),
        verifiers("<guess>a, b, c, d</guess>"),
        verifiers([said("assistant", None, tool_calls=[{"id": "1"}])]),
        verifiers([said("assistant", [{"type": "text", "text": "hm"}])]),
        verifiers([], info={}),
        verifiers([], info=None),
        verifiers([], info="{not json"),
        verifiers(["loose", 3, None]),
    ],
    ids=range(10),
)
def test_other_rows_of_verifiers_are_read_or_refused_by_name_and_hold_no_guess(row):
    try:
        adopted = read(row)
    except BadRow:
        return
    assert [turn for turn in adopted.guess_history if turn.status != "invalid"] == []


def test_a_row_that_names_no_board_is_taken_at_its_word():
    history = [(GROUPS[n], "correct", n) for n in range(3)]
    row = read(older(history=history, info={"puzzle_id": "made-3"}))
    assert row.info.puzzle_id == "made-3"
    assert row.puzzle is None
    assert row.complete_reason == "all_categories_found"
    assert row.reward == 3.25
    assert rejection(facts_of(row)) is None
    assert salvage(row, "next") is None


def test_a_row_of_ours_whose_board_cannot_be_played_is_refused_or_cannot_be_resumed():
    row = changed(played(PUZZLE, "RRN"))
    row["info"]["categories"] = []
    try:
        assert salvage(read(row), "next") is None
    except (BadRow, Disagrees):
        return


def test_a_row_that_names_neither_board_nor_puzzle_is_refused():
    with pytest.raises(BadRow):
        read(older(info={"title": "no name"}))


# Junk

JUNK = [
    *("", "nul", "null", "true", "3", '"text"', "[]", "[1, {}]", "{", "{}", '{"a": }', "NaN", "\ufeff{}", "\x00\x00"),
    '{"info": {}}',
    '{"info": "[]"}',
    '{"info": "\\ud800", "completion": 3}',
    '{"schema_version": 1}',
    '{"schema_version": "x"}',
    '{"schema_version": [1]}',
    '{"schema_version": true}',
    '{"schema_version": -1, "info": {}}',
    "[" * 100_000,
    '{"info": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
]


@pytest.mark.parametrize("line", JUNK, ids=range(len(JUNK)))
def test_junk_is_refused_by_name(line):
    with pytest.raises(BadRow):
        rollout_of(line.encode("utf-8", "surrogatepass"))


ON_ITS_WORD = older(history=[(GROUPS[0], "correct", 0)], info={"puzzle_id": "made-3"})


@pytest.mark.parametrize(
    "row",
    [
        ON_ITS_WORD | {"reward": 10**400},
        ON_ITS_WORD | {"complete_reason": "\ud800"},
        ON_ITS_WORD | {"info": {"puzzle_id": "\ud800"}},
        ON_ITS_WORD | {"guess_history": [{"status": ["correct"]}, {"status": {}}, 3]},
        older(guess(GROUPS[0]), model="\ud800"),
        older(guess(GROUPS[0]), complete_reason="\udfff"),
        older(guess(GROUPS[0]), info=info() | {"source": "\ud800"}),
        older(guess(GROUPS[0]), info=info() | {"difficulty": 10**400}),
        older(guess(GROUPS[0]), info=info() | {"difficulty": float("nan")}),
        older(guess(GROUPS[0]), info=info() | {"all_words": [*PUZZLE.items[:-1], "\ud800"]}),
        older(guess(GROUPS[0]), info=info() | {"all_words": [*PUZZLE.items[:-1], None]}),
        older(guess(GROUPS[0]), info=info() | {"all_words": [*PUZZLE.items[:-1], PUZZLE.items[0]]}),
        older(
            guess(GROUPS[0]),
            info={
                "all_words": [*GROUPS[0], "A", "B", "C", "\ud800"],
                "categories": [
                    {"group": "x", "members": list(GROUPS[0])},
                    {"group": "y", "members": ["A", "B", "C", "\ud800"]},
                ],
            },
        ),
        older(guess(GROUPS[0]), example_id=10**400),
        older(guess(GROUPS[0]), info=info() | {"ruleset": ["nyt"]}),
        older("\ud800", "<guess>\ud800</guess>"),
    ],
    ids=[
        *("huge reward", "surrogate end", "surrogate id", "odd statuses", "surrogate model", "surrogate reason"),
        *("surrogate source", "huge difficulty", "nan difficulty", "surrogate word", "no word", "word twice"),
        *("surrogate item", "huge example", "odd ruleset", "surrogate reply"),
    ],
)
def test_a_row_of_another_tool_with_a_strange_value_is_read_or_refused_by_name(row):
    try:
        job = salvage(read(row), "next")
    except BadRow:
        return
    if job is not None:  # the game that goes on from it can be written
        assert isinstance(read_row(rollout(job.puzzle, job.kept).to_line()), Rollout)


fields = st.sampled_from(
    [*Rollout.model_fields, *("puzzle_id", "all_words", "categories", "groups", "members", "status", "role", "content")]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields | st.text(max_size=5), inner, max_size=5)
)


def never_anything_but_the_named_errors(data: bytes):
    try:
        row = rollout_of(data)
        salvage(row, "next")
    except (BadRow, FutureRow, Disagrees):
        pass


@settings(max_examples=150)
@given(values)
def test_any_json_value_is_read_or_refused_by_name(value):
    never_anything_but_the_named_errors(json.dumps(value).encode())


@settings(max_examples=150)
@given(st.binary())
@example(b"\xff\xfe{\x00")
@example(b'{"info": \xff}')
def test_any_bytes_are_read_or_refused_by_name(data):
    never_anything_but_the_named_errors(data)


def places(value, path=()):
    """The paths of all values inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in inner:
        yield (*path, name)
        yield from places(child, (*path, name))


SEEDS = [
    changed(played(PUZZLE, "RON")),
    changed(interrupted(PLAIN, "RR")),
    changed(played(PUZZLE, "RRR", ruleset=PUZZGRID)),
    older(guess(GROUPS[0]), guess(ONE_AWAY), "No idea.", end="max_turns_reached"),
    older(guess(GROUPS[1]), prefix=[guess(GROUPS[0])], **WON_BY_HAND),
    ON_ITS_WORD,
    verifiers(talk(*map(guess, GROUPS[:2]))),
]


@st.composite
def spoilt(draw):
    """A good row with one value, anywhere in it, replaced or taken away."""
    row = json.loads(json.dumps(draw(st.sampled_from(SEEDS))))
    *way, last = draw(st.sampled_from(list(places(row))))
    holder = row
    for name in way:
        holder = holder[name]
    if draw(st.booleans()):
        holder[last] = draw(values)
    else:
        del holder[last]
    return row


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(spoilt())
def test_a_row_with_one_value_spoilt_is_read_refused_or_found_to_disagree(row):
    never_anything_but_the_named_errors(json.dumps(row).encode())


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(row=spoilt())
def test_a_spoilt_row_never_stops_the_reading_of_the_others(row, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("spoilt")
    good = won(board(4), rollout_id="good")
    standings = Standings("nyt", report=lambda line: None)
    try:
        standings.read([results_file(folder / "results_1.jsonl", [row, good])])
    except FutureRow:
        return
    assert fetch(standings.of(board(4))[0]) == good


def test_every_line_is_counted_and_the_bad_ones_are_named_by_file_and_line(tmp_path):
    told = []
    standings = Standings("nyt", report=told.append)
    rows = [won(PUZZLE), "nul", "", empty(board(4)), "[]", "   ", played(board(5), "R"), '{"half": ']
    standings.read([results_file(tmp_path / "results_3.jsonl", rows)])
    assert standings.counts["counted"] == 2
    assert standings.counts["empty"] == 1
    assert standings.unreadable.total() == 3
    assert [line.split(": ")[0] for line in told] == ["results_3.jsonl:2", "results_3.jsonl:5", "results_3.jsonl:8"]
    assert told[0] == "results_3.jsonl:2: expected a JSON object, got 'nul'; skipped"


def test_a_byte_order_mark_and_crlf_line_ends_are_read_over(tmp_path):
    path = tmp_path / "results_1.jsonl"
    lines = [won(PUZZLE).to_line(), won(board(4)).to_line()]
    path.write_bytes(b"\xef\xbb\xbf" + "".join(line + "\r\n" for line in lines).encode())
    standings = Standings("nyt", report=pytest.fail)
    standings.read([path])
    assert standings.counts["counted"] == 2
    assert [fetch(standings.of(p)[0]).info.puzzle_id for p in (PUZZLE, board(4))] == ["made-3", "made-4"]


def test_a_torn_last_line_is_named_once_and_read_when_it_is_whole(tmp_path):
    path, told = tmp_path / "results_1.jsonl", []
    first, second = won(PUZZLE).to_line(), won(board(4)).to_line()
    cuts = [10, len(second) // 2, second.rindex("}", 0, -1) + 1]  # the last one ends with a closed brace
    for cut in cuts:
        told.clear()
        path.write_text(f"{first}\n{second[:cut]}")
        standings = Standings("nyt", report=told.append)
        standings.read([path])
        standings.read([path])
        assert len(told) == 1
        assert told[0].startswith("results_1.jsonl:2: ")
        path.write_text(f"{first}\n{second}\n")
        standings.read([path])
        assert standings.of(board(4)) != [], f"cut after {second[cut - 20 : cut]!r}"


def test_a_last_line_without_its_line_end_is_read(tmp_path):
    path = tmp_path / "results_1.jsonl"
    path.write_text(won(PUZZLE).to_line())
    standings = Standings("nyt", report=pytest.fail)
    standings.read([path])
    assert standings.counts["counted"] == 1
