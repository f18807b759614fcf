"""Whole games played by a scripted model, and their rows."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env import prompts
from connections_env.game import GameState, observe
from connections_env.lineage import played_by
from connections_env.parsing import Reply
from connections_env.play import (
    Answer,
    Job,
    PromptTooLong,
    Stopped,
    conversation,
    default_max_turns,
    play_game,
    replay_replies,
)
from connections_env.puzzles import Puzzle
from connections_env.records import SIMULATED, Cut, ResumedFrom, Rollout, Usage, outcome_of, read_row
from connections_env.rulesets import NYT, PUZZGRID, RULESETS, Ruleset
from tests.boards import BOARDS, DROPS, FIVE, GAITS, GREENS, PLAIN, SIX, THREE, TOOLS, any_text, boards
from tests.scripted import guess, right_reply, state_of

NEAR = (*TOOLS[:3], GAITS[0])
FAR = (*TOOLS[:2], *GAITS[:2])
WRONG = [FAR, (*GAITS[:2], *GREENS[:2]), (*GREENS[:2], *DROPS[:2]), (*DROPS[:2], *TOOLS[:2])]
THEMES = '<themes>["tools", "horse gaits", "greens", "drops"]</themes>'


class Model:
    """Gives replies in turn and keeps what it was asked; an exception among them is raised."""

    def __init__(self, replies: Iterable[Any]) -> None:
        self.replies = iter(replies)
        self.asked: list[list[dict[str, str]]] = []
        self.request_ids: list[str] = []

    async def __call__(self, messages: list[dict[str, str]], request_id: str) -> Answer:
        self.asked.append([dict(message) for message in messages])
        self.request_ids.append(request_id)
        reply = next(self.replies)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, str):
            reply = Reply(reply, "Hm.", "stop", 10)
        usage = Usage(input=100, output=10, cached=50, reasoning=4, requests=1)
        return Answer(reply, usage, simulated=reply.model == SIMULATED)


def played(
    replies: Iterable[Any], puzzle: Puzzle = PLAIN, ruleset: Ruleset = NYT, turns: int | None = None, **job: Any
) -> tuple[Rollout | None, Model]:
    model = Model(replies)
    game = Job("r1", puzzle, ruleset, **job)
    turns = turns or default_max_turns(puzzle, ruleset)
    return asyncio.run(play_game(game, model, turns, model="m", sampling={"temperature": 0.5})), model


def row_of(replies: Iterable[Any], *args: Any, **options: Any) -> Rollout:
    row, _ = played(replies, *args, **options)
    assert row is not None
    return row


def roles(row: Rollout) -> str:
    return "".join(message.role[0] for message in row.completion)


def checked(row: Rollout) -> None:
    """What holds of every row."""
    assert [message.role for message in row.prompt] == ["system", "user"]
    count = len(row.replies)
    assert roles(row) == "au" * (count - 1) + "a"
    assert len(row.reply_tokens) == len(row.reply_finish) == len(row.reply_unfit) == count
    again = read_row(row.to_line())
    assert again == row
    assert "\n" not in row.to_line()
    puzzle, ruleset = row.puzzle, row.ruleset
    assert puzzle is not None
    states = replay_replies(puzzle, ruleset, row.replies)
    assert len(states) == count + 1
    for name, value in outcome_of(states[-1]).items():
        assert getattr(row, name) == value, name
    if states[-1].complete_reason is not None:
        assert row.complete_reason == states[-1].complete_reason
    else:
        assert row.complete_reason in {"max_turns_reached", "interrupted", "prompt_too_long"}
    said = conversation(states, row.replies)
    shown = [{"role": message.role, "content": message.content} for message in [*row.prompt, *row.completion]]
    assert shown == said[: len(shown)]
    assert len(said) - len(shown) == (states[-1].complete_reason is None)


# Games from scratch


def test_perfect_play_wins() -> None:
    row, model = played(map(guess, (TOOLS, GAITS, GREENS)))
    assert row is not None
    checked(row)
    assert row.complete_reason == "all_categories_found"
    assert row.reward == pytest.approx(5.5)
    assert [turn.status for turn in row.guess_history] == ["correct"] * 3 + ["auto"]
    assert [turn.category_idx for turn in row.guess_history] == [0, 1, 2, 3]
    assert roles(row) == "auaua"
    assert model.asked[0] == prompts.opening(observe(GameState(PLAIN, NYT)))
    assert model.request_ids == ["r1"] * 3


def test_puzzgrid_is_won_by_naming_the_themes() -> None:
    row = row_of([guess(TOOLS), guess(GAITS), guess(GREENS), THEMES], ruleset=PUZZGRID)
    checked(row)
    assert row.complete_reason == "theme_guessing_complete"
    assert row.themes is not None
    assert row.themes.right == [True, True, True, True]
    assert row.reward == pytest.approx(5.5 + 0.25 + 0.5 + 4 + 1)
    assert roles(row) == "auauaua"


def test_puzzgrid_ends_with_the_one_reply_about_themes_whatever_it_says() -> None:
    row, model = played([guess(TOOLS), guess(GAITS), guess(GREENS), "no idea"], ruleset=PUZZGRID, turns=10)
    assert row is not None
    checked(row)
    assert row.complete_reason == "theme_guessing_complete"
    assert row.themes is not None
    assert row.themes.right == [False] * 4
    assert len(model.asked) == 4


def test_the_last_mistake_loses() -> None:
    row, model = played([guess(words) for words in WRONG])
    assert row is not None
    checked(row)
    assert (row.complete_reason, row.reward) == ("max_mistakes", 0.5)
    assert len(model.asked) == 4


def test_the_turns_run_out() -> None:
    row, model = played(["hm"] * 9, turns=3)
    assert row is not None
    checked(row)
    assert row.complete_reason == "max_turns_reached"
    assert [turn.reason for turn in row.guess_history] == ["no_guess"] * 3
    assert len(model.asked) == 3


def test_a_game_won_with_its_last_turn_is_won() -> None:
    row = row_of(map(guess, (TOOLS, GAITS, GREENS)), turns=3)
    assert row.complete_reason == "all_categories_found"


@pytest.mark.parametrize(
    ("puzzle", "ruleset", "turns"),
    [(PLAIN, NYT, 11), (THREE, NYT, 10), (FIVE, NYT, 12), (SIX, NYT, 13), (SIX, PUZZGRID, 12), (THREE, PUZZGRID, 10)],
)
def test_the_default_allowance_is_ten_or_groups_mistakes_and_three(
    puzzle: Puzzle, ruleset: Ruleset, turns: int
) -> None:
    assert default_max_turns(puzzle, ruleset) == turns


@pytest.mark.parametrize(("end", "reason"), [(PromptTooLong(), "prompt_too_long"), (Stopped(), "interrupted")])
def test_a_game_that_is_cut_short_keeps_its_replies(end: Exception, reason: str) -> None:
    row = row_of([guess(TOOLS), guess(NEAR), end])
    checked(row)
    assert row.complete_reason == reason
    assert [turn.status for turn in row.guess_history] == ["correct", "invalid"]
    assert roles(row) == "aua"


@pytest.mark.parametrize("end", [PromptTooLong(), Stopped()])
def test_a_game_without_a_reply_leaves_no_row(end: Exception) -> None:
    assert played([end])[0] is None


def test_the_model_is_told_what_the_game_says() -> None:
    _, model = played([guess(NEAR), guess(FAR), guess(TOOLS), guess(GAITS), guess(GREENS)])
    states = replay_replies(PLAIN, NYT, [Reply(guess(words)) for words in (NEAR, FAR, TOOLS, GAITS, GREENS)])
    for n, asked in enumerate(model.asked):
        assert [message["role"] for message in asked] == ["system", "user"] + ["assistant", "user"] * n
        if n:
            assert asked[-1]["content"] == prompts.feedback(observe(states[n]))
    assert model.asked[-1][:-2] == model.asked[-2]


def test_usage_is_summed_and_fields_go_into_the_row() -> None:
    row = row_of(map(guess, (TOOLS, GAITS, GREENS)), example_id=7)
    assert row.usage == Usage(input=300, output=30, cached=150, reasoning=12, requests=3)
    assert (row.rollout_id, row.example_id, row.model, row.sampling) == ("r1", 7, "m", {"temperature": 0.5})
    assert row.timing.keys() >= {"started", "seconds"}
    assert row.resumed_from is None


def test_what_made_each_reply_unfit_is_in_the_row() -> None:
    row = row_of(
        [
            Reply(guess(TOOLS), "So.", "length", 5),
            Reply(guess(GAITS), "", "stop", 6),
            Reply(guess(GREENS), "So.", "stop", None),
        ]
    )
    checked(row)
    assert row.reply_unfit == ["cut_off", "no_reasoning", None]
    assert row.reply_finish == ["length", "stop", "stop"]
    assert row.reply_tokens[:2] == [5, 6]
    assert row.reply_tokens[2] > 0


def test_reasoning_is_kept_in_the_row_and_not_shown_to_the_model() -> None:
    row, model = played([Reply(guess(words), f"Secret {words[0]}", "stop", 9) for words in (TOOLS, GAITS, GREENS)])
    assert row is not None
    assert [message.reasoning_content for message in row.completion[::2]] == [
        f"Secret {words[0]}" for words in (TOOLS, GAITS, GREENS)
    ]
    assert "Secret" not in json.dumps(model.asked)
    assert all(message.keys() == {"role", "content"} for asked in model.asked for message in asked)
    assert "reasoning_content" not in json.loads(row.to_line())["completion"][1]


# Resumed games


def resumed(
    kept: Sequence[str], replies: Iterable[Any], by: str = "before", **options: Any
) -> tuple[Rollout | None, Model]:
    parent = ResumedFrom(rollout_id="parent", turns=len(kept))
    before = tuple(Reply(text, f"Thought {n}", "stop", 20 + n, by) for n, text in enumerate(kept))
    return played(replies, kept=before, resumed_from=parent, **options)


def test_a_resumed_game_is_recorded_whole_with_its_parent() -> None:
    row, model = resumed([guess(TOOLS), guess(FAR[:2] + DROPS[:2])], [guess(GAITS), guess(GREENS)])
    assert row is not None
    checked(row)
    assert row.complete_reason == "all_categories_found"
    assert roles(row) == "auauaua"
    assert row.resumed_from == ResumedFrom(rollout_id="parent", turns=2)
    assert row.reply_tokens == [20, 21, 10, 10]
    assert row.completion[0].reasoning_content == "Thought 0"
    assert len(model.asked[0]) == 2 + 2 * 2
    assert "Thought" not in json.dumps(model.asked)


def test_a_resumed_game_equals_the_same_game_played_in_one_go() -> None:
    replies = [guess(words) for words in (TOOLS, NEAR, GAITS, GREENS)]
    whole = row_of(replies)
    for cut in range(1, len(replies)):
        row, _ = resumed(replies[:cut], replies[cut:])
        assert row is not None
        for name in ("guess_history", "reward", "metrics", "complete_reason", "prompt", "info"):
            assert getattr(row, name) == getattr(whole, name)
        assert [message.content for message in row.completion] == [message.content for message in whole.completion]


def test_a_resumed_game_is_charged_only_for_its_own_replies() -> None:
    row, _ = resumed([guess(TOOLS)], [guess(GAITS), guess(GREENS)])
    assert row is not None
    assert row.usage.requests == 2


def test_a_resumed_game_has_a_fresh_turn_allowance() -> None:
    row, model = resumed([guess(TOOLS), guess(GAITS)], ["hm"] * 9, turns=3)
    assert row is not None
    checked(row)
    assert row.complete_reason == "max_turns_reached"
    assert len(model.asked) == 3
    assert len(row.replies) == 5


def test_earlier_mistakes_count_in_a_resumed_game() -> None:
    row, model = resumed([guess(words) for words in WRONG[:3]], [guess(WRONG[3]), guess(TOOLS)])
    assert row is not None
    assert row.complete_reason == "max_mistakes"
    assert len(model.asked) == 1


def test_each_reply_of_a_resumed_game_is_its_writers() -> None:
    row, _ = resumed([guess(TOOLS)], [guess(GAITS), guess(GREENS)], by="other")
    assert row is not None
    checked(row)
    assert row.reply_models == ["other", "m", "m"]
    assert (row.model, played_by(row)) == ("m", "other, then m")
    assert not row.simulated


def test_a_game_that_the_simulated_player_began_is_simulated_whoever_ends_it() -> None:
    row, _ = resumed([guess(TOOLS)], [guess(GAITS), guess(GREENS)], by=SIMULATED)
    assert row is not None
    assert (row.reply_models, row.model, row.simulated) == ([SIMULATED, "m", "m"], "m", True)


def test_the_simulated_player_is_named_whatever_model_was_asked_for() -> None:
    row, _ = resumed([guess(TOOLS)], [Reply(guess(words), "Hm.", "stop", 9, SIMULATED) for words in (GAITS, GREENS)])
    assert row is not None
    assert (played_by(row), row.model, row.simulated) == ("before, then simulated", SIMULATED, True)


def test_a_resumed_game_without_a_new_reply_leaves_no_row() -> None:
    row, model = resumed([guess(TOOLS), guess(GAITS)], [Stopped()])
    assert (row, len(model.asked)) == (None, 1)


def turns_asked(model: Model) -> list[int]:
    """Replies that each request held."""
    return [sum(message["role"] == "assistant" for message in asked) for asked in model.asked]


KEPT = [guess(TOOLS), guess(FAR[:2] + DROPS[:2]), guess(GAITS)]


@pytest.mark.parametrize("too_long", [1, 2])
def test_a_resumed_game_too_long_to_go_on_is_cut_reply_by_reply_until_it_is_not(too_long: int) -> None:
    left = [KEPT, [*KEPT[:2]], [*KEPT[:1]]][too_long]
    more = [guess(words) for words in (GAITS, GREENS)]
    earlier = (Cut(turns=4, kept=3, truncate="last-correct"),)
    row, model = resumed(KEPT, [*[PromptTooLong()] * too_long, *more], cuts=earlier, example_id=7)
    assert row is not None
    checked(row)
    assert turns_asked(model) == [*range(3, 3 - too_long - 1, -1), 3 - too_long + 1]
    assert model.asked[too_long] == model.asked[0][: 2 + 2 * len(left)]
    assert set(model.request_ids) == {"r1"}
    assert row.resumed_from == ResumedFrom(rollout_id="parent", turns=len(left))
    assert row.cuts == [*earlier, Cut(turns=too_long, kept=len(left), truncate="too-long")]
    assert (row.turns_cut, row.example_id, row.rollout_id) == (4 + too_long, 7, "r1")
    assert [reply.content for reply in row.replies] == [*left, *more]
    assert row.reply_tokens == [*[20, 21, 22][: len(left)], 10, 10]
    assert row.complete_reason == "all_categories_found"
    assert row.usage.requests == 2


def test_a_resumed_game_of_which_no_reply_can_be_kept_goes_on_from_scratch() -> None:
    wins = [guess(words) for words in (TOOLS, GAITS, GREENS)]
    refused = [PromptTooLong()] * 3
    earlier = (Cut(turns=4, kept=3, truncate="last-valid"),)
    row, model = resumed(KEPT, [*refused, *wins], cuts=earlier, by=SIMULATED, example_id=7)
    assert row is not None
    checked(row)
    assert turns_asked(model) == [3, 2, 1, 0, 1, 2]
    assert model.asked[3] == prompts.opening(observe(GameState(PLAIN, NYT)))
    fresh = row_of(wins, example_id=7)
    for name in Rollout.model_fields.keys() - {"timing", "resumed_from"}:
        assert getattr(row, name) == getattr(fresh, name), name
    assert row.resumed_from == ResumedFrom(rollout_id="parent", turns=0)
    assert (row.cuts, row.simulated, row.reply_models) == ([], False, ["m"] * 3)


@pytest.mark.parametrize("too_long", [0, 1, 3])
def test_the_turn_allowance_of_a_cut_game_counts_only_its_new_replies(too_long: int) -> None:
    row, model = resumed(KEPT, [*[PromptTooLong()] * too_long, *["hm"] * 9], turns=2)
    assert row is not None
    checked(row)
    assert row.complete_reason == "max_turns_reached"
    assert len(model.asked) == too_long + 2
    assert len(row.replies) == 3 - too_long + 2


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_an_opening_that_alone_is_too_long_leaves_no_row(kept: int) -> None:
    row, model = resumed(KEPT[:kept], [PromptTooLong()] * 9) if kept else played([PromptTooLong()] * 9)
    assert row is None
    assert turns_asked(model) == [*range(kept, -1, -1)]


def test_a_game_stopped_while_it_is_cut_leaves_no_row() -> None:
    row, model = resumed(KEPT, [PromptTooLong(), Stopped()])
    assert (row, turns_asked(model)) == (None, [3, 2])


@pytest.mark.parametrize("too_long", [0, 1, 3])
def test_a_resumed_game_too_long_after_a_new_reply_is_cut_no_further(too_long: int) -> None:
    row, model = resumed(KEPT, [*[PromptTooLong()] * too_long, "hm", PromptTooLong()])
    assert row is not None
    checked(row)
    assert row.complete_reason == "prompt_too_long"
    assert len(row.replies) == 3 - too_long + 1
    assert turns_asked(model)[-1] == 3 - too_long + 1


def test_a_resumed_game_that_is_cut_short_holds_old_and_new_replies() -> None:
    row, _ = resumed([guess(TOOLS)], [guess(GAITS), Stopped()])
    assert row is not None
    checked(row)
    assert (row.complete_reason, roles(row)) == ("interrupted", "aua")


def test_puzzgrid_resumes_at_the_question_about_themes() -> None:
    kept = [guess(TOOLS), guess(GAITS), guess(GREENS)]
    row, model = resumed(kept, [THEMES], ruleset=PUZZGRID)
    assert row is not None
    checked(row)
    assert row.complete_reason == "theme_guessing_complete"
    assert "<themes>" in model.asked[0][-1]["content"]


# Any replies at all


def replies_on(puzzle: Puzzle) -> st.SearchStrategy[list[Reply]]:
    items = st.sampled_from(puzzle.items)
    right = st.sampled_from(puzzle.groups).map(lambda group: group.members)
    near = st.tuples(right, items).map(lambda pair: (*pair[0][1:], pair[1]))
    picks = st.lists(items, max_size=puzzle.group_size + 1).map(tuple)
    words = st.one_of(right, right, near, picks, st.lists(any_text, max_size=4).map(tuple))
    laid_out = st.one_of(
        words.map(guess),
        words.map(lambda some: f"<guess>{', '.join(some)}</guess>"),
        words.map(lambda some: f"<guess>{json.dumps(some)}</guess>"),
        words.map(lambda some: f"So <think>no</think> {guess(some)} or {guess(some[::-1])}"),
        st.lists(any_text, max_size=6).map(lambda names: f"<themes>{json.dumps(names)}</themes>"),
        st.lists(any_text, max_size=6).map(lambda names: f"<themes>{', '.join(names)}</themes>"),
        any_text,
    )
    clean = st.text(max_size=10)  # as `read_completion` gives texts: what UTF-8 cannot carry is replaced
    return st.lists(
        st.builds(
            Reply,
            laid_out.map(lambda text: text.encode("utf-8", "replace").decode()),
            clean,
            st.sampled_from(["stop", "length", "content_filter", None]),
            st.none() | st.integers(0, 10_000),
        ),
        min_size=1,
        max_size=16,
    )


games = boards.flatmap(
    lambda puzzle: st.tuples(st.just(puzzle), st.sampled_from(sorted(RULESETS)), replies_on(puzzle), st.integers(1, 16))
)


@given(games, st.sampled_from([Stopped, PromptTooLong]))
def test_replaying_the_replies_of_a_row_gives_its_history_reward_and_outcome(game: Any, end: type[Exception]) -> None:
    puzzle, ruleset, replies, turns = game
    row = row_of([*replies, end()], puzzle, RULESETS[ruleset], turns)
    checked(row)
    assert row.puzzle == puzzle
    assert row.replies[0].content == replies[0].content


@given(games, st.data())
def test_a_game_resumed_anywhere_replays_too(game: Any, data: Any) -> None:
    puzzle, ruleset, replies, turns = game
    first = row_of([*replies, Stopped()], puzzle, RULESETS[ruleset], turns)
    if first.complete_reason not in {"interrupted", "max_turns_reached"}:
        return
    parent = ResumedFrom(rollout_id="r0", turns=len(first.replies))
    more = data.draw(replies_on(puzzle))
    job = {"kept": tuple(first.replies), "resumed_from": parent}
    row = row_of([*more, Stopped()], puzzle, RULESETS[ruleset], 16, **job)
    checked(row)
    assert row.completion[: len(first.completion)] == first.completion
    assert row.guess_history[: len(first.guess_history)] == first.guess_history


@pytest.mark.parametrize("names", [r'["\ud83d", "a", "b", "c"]', r'["a\udc00"]', '["a", NaN, 1e999]', "[" * 100_000])
def test_themes_of_any_spelling_make_a_row_that_can_be_written(names: str) -> None:
    row = row_of([guess(TOOLS), guess(GAITS), guess(GREENS), f"<themes>{names}</themes>"], ruleset=PUZZGRID)
    checked(row)


@pytest.mark.parametrize("items", [r'["\ud83d", "a", "b", "c"]', r'"\udc00", a, b, c', "&#xD800;, a, b, c"])
def test_guesses_of_any_spelling_make_a_row_that_can_be_written(items: str) -> None:
    checked(row_of([f"<guess>{items}</guess>"], turns=1))


@pytest.mark.parametrize("puzzle", BOARDS, ids=lambda puzzle: puzzle.puzzle_id)
@pytest.mark.parametrize("ruleset", sorted(RULESETS))
def test_every_board_can_be_won(puzzle: Puzzle, ruleset: str) -> None:
    async def ask(messages: list[dict[str, str]], request_id: str) -> Answer:
        return Answer(Reply(right_reply(state_of(messages, BOARDS)), "Hm.", "stop", 10), Usage(requests=1))

    row = asyncio.run(play_game(Job("r", puzzle, RULESETS[ruleset]), ask, 10))
    assert row is not None
    checked(row)
    assert row.reward == pytest.approx({"nyt": 5.5, "puzzgrid": 11.25}[ruleset])
    assert row.reply_unfit == [None] * len(row.replies)
