"""Games of other tools whose guesses are not in guess tags, and those whose board is only told."""

import json

import pytest

from connections_env.agreement import difference, recorded
from connections_env.foreign import adopt, game_of
from connections_env.json_lines import BadRow
from connections_env.judging import judge_line
from connections_env.quality import facts_of, rejection
from tests.rollouts import board

B = board(3)
GROUPS = [{"name": group.theme, "words": list(group.members)} for group in B.groups]
INFO = {"game_id": "12", "shuffled_words": list(B.items), "groups": GROUPS}
WORDS = [list(group.members) for group in B.groups]
WRONG = [*WORDS[0][:-1], WORDS[1][0]]
WHY = "These belong together, as far as I can see."
WON = "all_categories_found"


def row(replies, *, told="Group them.", **fields):
    prompt = [{"role": "system", "content": told}, {"role": "user", "content": "Words: " + ", ".join(B.items)}]
    said = [reply if isinstance(reply, dict) else {"content": reply} for reply in replies]
    turns = [[{"role": "assistant"} | reply, {"role": "user", "content": "Go on."}] for reply in said]
    return {"prompt": prompt, "completion": [one for turn in turns for one in turn], "info": INFO} | fields


def listed(words):
    return ", ".join(words)


WAYS = {
    "tags": lambda words: f"{WHY} <guess>{listed(words)}</guess>",
    "tags of another name": lambda words: f"{WHY}\n<action>{listed(words)}</action>",
    "a reasoning tag and an object": lambda words: (
        f"<reasoning>{WHY}</reasoning>\n{json.dumps({'category': 'X', 'guess': words})}"
    ),
    "an object": lambda words: json.dumps({"reasoning": WHY, "guess": words}, indent=1),
    "an object with a text": lambda words: json.dumps({"reasoning": WHY, "words": listed(words)}),
    "an object with a key a word": lambda words: json.dumps(
        {"why": WHY} | {f"word{n}": word for n, word in enumerate(words)}
    ),
    "a fenced object": lambda words: f"{WHY}\n```json\n{json.dumps({'guess': words})}\n```\nLet me know!",
    "a list": lambda words: f"{WHY}\n{json.dumps(words)}",
    "a list behind words": lambda words: f"{WHY} So: {json.dumps(words)}",
    "a marked line": lambda words: f"{WHY}\n\n**My guess:** {listed(words)}\n",
    "a box": lambda words: f"{WHY} \\boxed{{{listed(words)}}}",
    "a boxed text": lambda words: f"{WHY} \\boxed{{\\text{{{listed(words)}}}}}",
    "a last line": lambda words: f"{WHY}\n{listed(words)}",
    "a last line behind thoughts": lambda words: f"<think>{WHY}</think>{listed(words)}",
}


def called(arguments, name="submit_guess", **message):
    """A call as verifiers writes it: as text, its arguments as text within."""
    return {
        "content": None,
        "tool_calls": [json.dumps({"id": "1", "name": name, "arguments": json.dumps(arguments)})],
    } | message


CALLS = {
    "a list": lambda words: called({"words": words}, content=WHY),
    "a list and why": lambda words: called({"reasoning": WHY, "words": words}),
    "a text": lambda words: called({"guess": listed(words)}, reasoning_content=WHY),
    "a word each": lambda words: called({f"word_{n}": word for n, word in enumerate(words, 1)}, content=WHY),
    "a function": lambda words: {
        "content": WHY,
        "tool_calls": [{"type": "function", "function": {"name": "guess", "arguments": json.dumps({"items": words})}}],
    },
}


@pytest.mark.parametrize("way", [*WAYS.values(), *CALLS.values()], ids=[*WAYS, *(f"call {name}" for name in CALLS)])
def test_a_game_is_read_whatever_its_guesses_are_told_in(way):
    rollout = adopt(row([way(WRONG), *map(way, WORDS)]))
    statuses = [guess.status for guess in rollout.guess_history]
    assert statuses == ["one_away", *["correct"] * (len(WORDS) - 1), "auto"]
    assert (rollout.complete_reason, rejection(facts_of(rollout))) == (WON, None)


@pytest.mark.parametrize("way", [*WAYS.values(), *CALLS.values()], ids=[*WAYS, *(f"call {name}" for name in CALLS)])
def test_a_line_is_judged_as_its_row_is_adopted_whatever_its_guesses_are_told_in(way):
    line = json.dumps(row([way(WRONG), *map(way, WORDS)])).encode()
    judged = judge_line(line)
    assert judged is None or judged.facts == facts_of(adopt(json.loads(line)))


@pytest.mark.parametrize("told", ["Answer with <guess>A, B, C, D</guess>.", "End in <answer>A, B, C, D</answer>."])
@pytest.mark.parametrize("way", ["an object", "a list", "a marked line", "a last line"])
def test_where_the_prompt_asks_for_tags_nothing_else_is_a_guess(told, way):
    rollout = adopt(row(map(WAYS[way], WORDS), told=told))
    assert {guess.reason for guess in rollout.guess_history} == {"no_guess"}


def test_where_one_reply_has_tags_a_reply_without_is_no_guess():
    rollout = adopt(row([WAYS["a marked line"](WORDS[0]), WAYS["tags"](WORDS[0])]))
    assert [guess.reason or guess.status for guess in rollout.guess_history] == ["no_guess", "correct"]


def test_a_row_of_an_older_pipeline_guesses_in_tags_alone():
    older = row([WAYS["a marked line"](WORDS[0])], guess_history=[{"words": [], "status": "invalid"}])
    assert [guess.reason for guess in adopt(older).guess_history] == ["no_guess"]


def test_a_guess_within_thoughts_is_none():
    rollout = adopt(row([WAYS["a list"](WORDS[0]), f"<think>{WHY}\n{json.dumps(WORDS[1])}"]))
    assert [guess.reason or guess.status for guess in rollout.guess_history] == ["correct", "no_guess"]


def test_calls_of_other_tools_are_no_guesses():
    looks = called({"words": WORDS[1]}, name="look_up")
    rollout = adopt(row([looks, called({"words": WORDS[0]}, content=WHY)]))
    assert [guess.reason or guess.status for guess in rollout.guess_history] == ["no_guess", "correct"]


def test_two_calls_in_one_reply_are_several_guesses():
    both = called({"words": WORDS[0]})
    both["tool_calls"] += called({"words": WORDS[1]})["tool_calls"]
    assert [guess.reason for guess in adopt(row([both])).guess_history] == ["several_guesses"]


@pytest.mark.parametrize(
    "calls", [None, [], "nonsense", [None], ["{"], [{"function": None}], [{"name": 1, "arguments": "["}], [3]]
)
def test_calls_that_are_none_are_no_guess_and_no_crash(calls):
    rollout = adopt(row([{"content": "Well.", "tool_calls": calls}]))
    assert [guess.reason for guess in rollout.guess_history] == ["no_guess"]


WHOLE = "\n".join(f"{group.theme}: {listed(group.members)}" for group in B.groups)


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>{WHY}</think>\n<answer>\n{WHOLE}\n</answer>",
        f"{WHY}\n```json\n{json.dumps({group.theme: list(group.members) for group in B.groups})}\n```",
        f"{WHY}\n{json.dumps(WORDS)}",
        f"{WHY}\n\n{WHOLE}",
    ],
)
def test_an_answer_to_the_whole_board_is_no_game(reply):
    with pytest.raises(BadRow, match=r"^answers all groups in one reply: no game turn by turn$"):
        adopt(row([reply]))
    assert judge_line(json.dumps(row([reply])).encode()) is None


def test_a_reply_that_weighs_all_groups_and_guesses_one_is_a_game():
    rollout = adopt(row([f"{WHOLE}\n<guess>{listed(WORDS[0])}</guess>"]))
    assert [guess.status for guess in rollout.guess_history] == ["correct"]


def test_a_reply_that_weighs_all_groups_where_tags_are_asked_for_is_a_game_without_a_guess():
    rollout = adopt(row([WHOLE], told="Answer with <guess>A, B, C, D</guess>."))
    assert [guess.reason for guess in rollout.guess_history] == ["no_guess"]


ANSWERS = {
    "groups in text": WHOLE,
    "words alone": "\n".join(map(listed, WORDS)),
    "numbered": "\n".join(f"{n}. **{group.theme}**: {listed(group.members)}" for n, group in enumerate(B.groups, 1)),
    "parted by bars": " | ".join(map(listed, WORDS)),
    "lists": json.dumps(WORDS),
    "themes": json.dumps({group.theme: list(group.members) for group in B.groups}),
    "themes and texts": json.dumps({group.theme: listed(group.members) for group in B.groups}),
    "as Python prints it": str({group.theme: list(group.members) for group in B.groups}),
    "objects": json.dumps(GROUPS),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("info", [{}, {"date": "2031-01-01", "difficulty": 2}], ids=["no info", "info of other things"])
def test_a_board_that_only_the_answer_names_is_read_in_the_order_of_the_prompt(answer, info):
    rollout = adopt(row(map(WAYS["tags"], WORDS), info=info, answer=answer))
    assert (rollout.puzzle.key, tuple(rollout.info.all_words)) == (B.key, B.items)
    assert rollout.complete_reason == WON


def test_an_answer_in_text_whose_words_the_prompt_does_not_show_is_no_board():
    unlike = ANSWERS["groups in text"].replace(WORDS[0][0], "SOMETHING ELSE")
    with pytest.raises(BadRow, match=r"^names neither a board nor a puzzle_id"):
        adopt(row(map(WAYS["tags"], WORDS), info={}, answer=unlike))


def test_themes_of_other_rows_that_a_table_lists_with_nothing_under_them_are_none():
    solution = {group.theme: list(group.members) for group in B.groups} | {"OF ANOTHER ROW": None}
    rollout = adopt(row(map(WAYS["tags"], WORDS), info={"words": list(B.items), "solution": solution}))
    assert rollout.complete_reason == WON


def test_info_and_messages_as_python_prints_them_are_read():
    game = row(map(WAYS["tags"], WORDS))
    printed = {name: str(game[name]) for name in ("prompt", "completion", "info")}
    assert adopt(printed).completion == adopt(game).completion


def test_a_completion_that_looks_like_a_list_of_words_is_a_reply():
    assert len(adopt(row([], completion=json.dumps(WORDS[0]))).reply_tokens) == 1


def test_several_guesses_in_a_reply_that_counted_there_explain_a_difference():
    both = f"{WAYS['tags'](WORDS[0])} <guess>{listed(WORDS[1])}</guess>"
    there = row([both], metrics={"groups_found": 2})
    assert difference(recorded(there), game_of(there)) == (
        "2 groups found there, 0 here: each guess of a reply with several counts there"
    )
