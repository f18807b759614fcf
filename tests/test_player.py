"""The simulated player: errs as real models do, the same way every time, in forms the parser reads."""

import json
import random
from collections import Counter
from itertools import combinations

import pytest

from connections_env import prompts
from connections_env.game import (
    WON,
    GameState,
    Guess,
    Turn,
    judge,
    name_themes,
    observe,
    play,
    replay,
    themes_right,
)
from connections_env.parsing import Reply, canonical, read_guess, read_themes, reasoning_of, unfit_reason
from connections_env.player import SimulatedPlayer
from connections_env.player_moves import TIERS, hardness, misspelt, wrong_guess
from connections_env.player_talk import written
from connections_env.puzzles import Group, Puzzle, shuffled
from connections_env.rulesets import NYT, PUZZGRID, Ruleset

# Solved, invalid messages and one-aways among wrong guesses, in percent, as measured on real models.
MEASURED = {
    "weak": (6, 6.4, 56),
    "low": (35, 11.1, 56),
    "middle": (65, 12.1, 56),
    "strong": (90, 4.3, 56),
    "best": (99.9, 1.1, 56),
}


def board(number: int, groups: int = 4, size: int = 4) -> Puzzle:
    """A board of invented words; the number makes the difference."""
    rng = random.Random(number)
    words: dict[str, None] = {}
    while len(words) < groups * size:
        words["".join(rng.choice("BCDFGKLMNPRSTVZ") + rng.choice("AEIOU") for _ in range(3)) + rng.choice("KLNT")] = (
            None
        )
    items = [*words]
    cut = [tuple(items[i : i + size]) for i in range(0, len(items), size)]
    themes = tuple(Group(f"zorb number {n}", members, (f"zorb number {n}",)) for n, members in enumerate(cut))
    return Puzzle(f"board-{number}", shuffled(items), themes)


AWKWARD_GROUPS = (
    Group("numbers", ("20,000", "5, 6, 7, 8", "½", "NULL")),
    Group("sounds", ('"OH"', "ROCK 'N' ROLL", "🐝", "- D")),
    Group("{theme}", ("CAFÉ", "{0}", "%s", "STRASSE")),
    Group("letters", ("A (B)", "x;y", "a; b", "[C]")),
)
AWKWARD = Puzzle("awkward", tuple(item for group in AWKWARD_GROUPS for item in group.members), AWKWARD_GROUPS)


def reply_to(player: SimulatedPlayer, messages: list[prompts.Message], request_id: str, **body: object) -> Reply:
    completion = player.complete({"model": "simulated", "messages": messages, **body}, request_id)
    choice = completion["choices"][0]
    said = choice["message"]
    return Reply(said["content"], said.get("reasoning_content") or "", choice["finish_reason"])


def game(
    player: SimulatedPlayer, puzzle: Puzzle, request_id: str, ruleset: Ruleset = NYT, most: int = 11
) -> tuple[GameState, list[Reply]]:
    """A game of at most so many replies, its end state and the replies."""
    state, replies = GameState(puzzle, ruleset), list[Reply]()
    messages = prompts.opening(observe(state))
    while state.complete_reason is None and len(replies) < most:
        reply = reply_to(player, messages, request_id)
        replies.append(reply)
        said = [{"role": "assistant", "content": reply.content}]
        if state.asks_themes:
            state = name_themes(state, read_themes(reply.content))
        else:
            state = play(state, read_guess(reply.content, puzzle))
            said.append({"role": "user", "content": prompts.feedback(observe(state))})
        messages = messages + said
    return state, replies


@pytest.mark.parametrize("strength", TIERS)
def test_a_tier_plays_at_the_measured_rates(strength: str) -> None:
    solved, invalid, one_away = MEASURED[strength]
    puzzles = [board(number) for number in range(450)]
    player = SimulatedPlayer(puzzles, strength)
    statuses: Counter[str] = Counter()
    won = 0
    games = 0
    for puzzle in puzzles:
        for again in range(6 if strength == "best" else 2):  # the best are rarely wrong
            state, _ = game(player, puzzle, f"{puzzle.puzzle_id}-{again}")
            statuses.update(turn.status for turn in state.player_turns)
            won += state.complete_reason in WON
            games += 1
    wrong = statuses["one_away"] + statuses["incorrect"]
    assert 100 * won / games == pytest.approx(solved, abs=5)
    assert 100 * statuses["invalid"] / statuses.total() == pytest.approx(invalid, abs=2.5)
    assert 100 * statuses["one_away"] / wrong == pytest.approx(one_away, abs=6)


def test_every_way_to_be_invalid_occurs() -> None:
    puzzles = [board(number) for number in range(120)]
    player = SimulatedPlayer(puzzles, "low")
    states = [game(player, puzzle, f"{puzzle.puzzle_id}-{n}")[0] for puzzle in puzzles for n in range(4)]
    reasons = Counter(turn.reason for state in states for turn in state.turns if turn.reason)
    assert set(reasons) == {
        "no_guess",
        "several_guesses",
        "wrong_count",
        "not_on_board",
        "already_found",
        "already_guessed",
    }
    assert reasons.most_common(1)[0][0] == "no_guess"


def test_the_same_arguments_give_the_same_bytes() -> None:
    puzzle = board(1)
    messages = prompts.opening(observe(GameState(puzzle, NYT)))
    body = {"model": "simulated", "messages": messages}

    def told(request_id: str, seed: int = 0, strength: str = "strong") -> str:
        return json.dumps(SimulatedPlayer([board(2), puzzle], strength, seed).complete(body, request_id))

    player = SimulatedPlayer([puzzle])
    game(player, puzzle, "warms up whatever the player remembers")
    assert told("a") == told("a") == json.dumps(player.complete(body, "a"))
    assert len({told("a"), told("b"), told("a", seed=1), told("a", strength="weak")}) == 4


def test_a_second_try_may_go_otherwise() -> None:
    puzzles = [board(number) for number in range(60)]
    player = SimulatedPlayer(puzzles, "middle")
    won = [{game(player, p, f"{p.puzzle_id}-{n}")[0].complete_reason in WON for n in range(6)} for p in puzzles]
    assert won.count({True, False}) > 15


def test_hard_puzzles_are_hard_throughout() -> None:
    puzzles = sorted((board(number) for number in range(200)), key=hardness)
    player = SimulatedPlayer(puzzles, "middle")

    def wins(some: list[Puzzle]) -> int:
        return sum(game(player, p, f"{p.puzzle_id}-{n}")[0].complete_reason in WON for p in some for n in range(4))

    assert wins(puzzles[:30]) > 100 > 60 > wins(puzzles[-30:])


def test_difficulty_makes_a_puzzle_harder() -> None:
    easy, plain, hard = (
        Puzzle("", puzzle.items, puzzle.groups, difficulty=level)
        for puzzle, level in ((board(3), 1.0), (board(3), 3.0), (board(3), 5.0))
    )
    assert hardness(easy) < hardness(plain) < hardness(hard) == hardness(Puzzle("", hard.items, hard.groups, "", 99))


@pytest.mark.parametrize("form", ["plain", "backticks", "json", "quoted", "bullets", "other_case"])
def test_every_written_form_is_read_by_the_parser(form: str) -> None:
    puzzle = board(4)
    for group in puzzle.groups:
        content = f"So.\n\n<guess>{written(group.members, form)}</guess>"
        assert set(read_guess(content, puzzle).words) == set(group.members)


def test_awkward_items_stay_readable() -> None:
    player = SimulatedPlayer([AWKWARD], "best")
    ends = [game(player, AWKWARD, str(n))[0] for n in range(200)]
    assert sum(state.complete_reason in WON for state in ends) > 190
    assert sum(turn.status == "invalid" for state in ends for turn in state.turns) < 20


@pytest.mark.parametrize(("groups", "size"), [(2, 2), (2, 4), (3, 3), (4, 3), (5, 4), (5, 5), (6, 6), (12, 2)])
@pytest.mark.parametrize("ruleset", [NYT, PUZZGRID], ids=lambda ruleset: ruleset.name)
def test_boards_of_any_shape_are_played(groups: int, size: int, ruleset: Ruleset) -> None:
    puzzle = board(5, groups, size)
    for strength in ("weak", "strong"):
        player = SimulatedPlayer([puzzle], strength)
        ends = [game(player, puzzle, str(n), ruleset, most=30)[0] for n in range(30)]
        assert any(turn.status == "correct" for state in ends for turn in state.turns)
        assert all(len(state.turns) >= 1 for state in ends)


def test_wrong_guesses_are_wrong_and_new_down_to_the_last() -> None:
    puzzle = board(6, groups=2, size=3)
    state, rng = GameState(puzzle, PUZZGRID), random.Random(0)
    wrong = []
    while guess := wrong_guess(rng, state):
        assert judge(state, Guess(guess)).status in ("one_away", "incorrect")
        wrong.append(frozenset(guess))
        state = GameState(puzzle, PUZZGRID, (*state.turns, Turn(guess, judge(state, Guess(guess)).status)))
    assert len(wrong) == len({*wrong}) == len([*combinations(puzzle.items, 3)]) - 2


def test_a_misspelt_item_is_not_on_the_board() -> None:
    for puzzle in (board(7), AWKWARD):
        for item in (item for item in puzzle.items if not {*item} & {*",;|"}):
            others = [other for other in puzzle.items if other != item][: puzzle.group_size - 1]
            slip = misspelt(random.Random(item), item, puzzle)
            guess = read_guess(f"<guess>{json.dumps([slip, *others], ensure_ascii=False)}</guess>", puzzle)
            assert judge(GameState(puzzle, NYT), guess).reason == "not_on_board"


def test_most_replies_are_fit_and_a_few_think_in_the_content() -> None:
    puzzles = [board(number) for number in range(150)]
    player = SimulatedPlayer(puzzles)
    replies = [(r, p) for p in puzzles for n in range(2) for r in game(player, p, f"{p.puzzle_id}-{n}")[1]]
    fit = sum(unfit_reason(reply, puzzle) is None for reply, puzzle in replies)
    inline = sum(reply.content.startswith("<think>") for reply, _ in replies)
    assert 0.9 < fit / len(replies) < 1
    assert 0.02 < inline / len(replies) < 0.07
    assert all(reply.reasoning == "" for reply, _ in replies if reply.content.startswith("<think>"))
    assert max(len(reply.reasoning) + len(reply.content) for reply, _ in replies) < 60_000


def test_a_wrong_guess_names_no_theme() -> None:
    puzzles = [board(number) for number in range(40)]
    player = SimulatedPlayer(puzzles, "weak")
    named = {True: 0, False: 0}
    for puzzle in puzzles:
        state, replies = game(player, puzzle, puzzle.puzzle_id)
        for turn, reply in zip(state.player_turns, replies, strict=True):
            named[turn.status == "correct"] += "zorb" in reasoning_of(reply) and turn.status != "invalid"
    assert named[False] == 0 < named[True]


def test_reasoning_is_about_the_items_of_the_board() -> None:
    puzzle = board(8)
    reply = reply_to(SimulatedPlayer([puzzle]), prompts.opening(observe(GameState(puzzle, NYT))), "a")
    assert sum(item in reasoning_of(reply) for item in puzzle.items) > puzzle.group_size


def test_puzzgrid_themes_are_named_in_the_order_found() -> None:
    puzzles = [board(number) for number in range(60)]
    right = {}
    for strength in ("weak", "best"):
        player = SimulatedPlayer(puzzles, strength)
        states = []
        for puzzle in puzzles:
            guesses = [Guess(puzzle.groups[index].members) for index in (2, 0, 3)]
            state = replay(puzzle, PUZZGRID, guesses)
            messages = _conversation(puzzle, PUZZGRID, guesses)
            states.append(name_themes(state, read_themes(reply_to(player, messages, puzzle.puzzle_id).content)))
        right[strength] = sum(sum(themes_right(state)) for state in states) / 240
    assert right["weak"] == pytest.approx(0.25, abs=0.12)
    assert right["best"] == pytest.approx(0.93, abs=0.06)


def _conversation(puzzle: Puzzle, ruleset: Ruleset, guesses: list[Guess]) -> list[prompts.Message]:
    """The messages of a game after these guesses, in canonical replies."""
    state = GameState(puzzle, ruleset)
    messages = prompts.opening(observe(state))
    for guess in guesses:
        state = play(state, guess)
        messages.append({"role": "assistant", "content": canonical("Because.", guess.words)})
        messages.append({"role": "user", "content": prompts.feedback(observe(state))})
    return messages


def test_a_resumed_game_goes_on_from_where_it_was() -> None:
    puzzle = board(9)
    player = SimulatedPlayer([puzzle], "best")
    messages = _conversation(puzzle, NYT, [Guess(puzzle.groups[1].members)])
    state = replay(puzzle, NYT, [Guess(puzzle.groups[1].members)])
    statuses = Counter(
        judge(state, read_guess(reply_to(player, messages, str(n)).content, puzzle)).status for n in range(100)
    )
    assert statuses["correct"] > 85


def test_reduction_shortens_the_thinking_and_nothing_else() -> None:
    puzzle = board(10)
    player = SimulatedPlayer([puzzle])
    reasoning = " ".join(f"Sentence number {n} is about {puzzle.items[n % 16]}." for n in range(300))
    reply = canonical(reasoning, puzzle.groups[0].members)
    head, tail = reply.split(reasoning)
    faithful = 0
    for n in range(300):
        shorter = reply_to(player, prompts.shorten(reply, 500), str(n))
        inside = shorter.content.removeprefix(head).removesuffix(tail)
        if shorter.content == head + inside + tail and 1000 < len(inside) <= 2000:
            faithful += 1
            assert set(inside.split(". ")) <= set(reasoning.split(". ")) | {reasoning.split(". ")[-1]}
            assert inside.endswith(reasoning.split(". ")[-1])
    assert 0.9 < faithful / 300 < 0.99


def test_reduction_of_theme_replies_and_of_a_single_long_sentence() -> None:
    player = SimulatedPlayer([board(11)])
    reply = canonical("word " * 2000, ["a, b", "c"], "themes")
    shorter = [reply_to(player, prompts.shorten(reply, 120), str(n)).content for n in range(20)]
    assert sum(len(text) < 600 and text.endswith("\n</think>\n\n" + reply.split("\n\n")[-1]) for text in shorter) > 15


def test_max_tokens_cuts_the_reply() -> None:
    puzzle = board(12)
    player = SimulatedPlayer([puzzle])
    messages = prompts.opening(observe(GameState(puzzle, NYT)))
    completion = player.complete({"model": "m", "messages": messages, "max_tokens": 20}, "a")
    assert completion["choices"][0]["finish_reason"] == "length"
    assert completion["usage"]["completion_tokens"] == 20
    assert reply_to(player, messages, "a", max_tokens=100_000).finish_reason == "stop"


def test_thinking_disabled_leaves_a_short_reasoning_in_the_content() -> None:
    puzzle = board(13)
    player = SimulatedPlayer([puzzle])
    messages = prompts.opening(observe(GameState(puzzle, NYT)))
    for n in range(50):
        reply = reply_to(player, messages, str(n), thinking={"type": "disabled"})
        assert reply.reasoning == ""
        assert "<think>" not in reply.content
        assert 40 < len(reasoning_of(reply)) < 1200


@pytest.mark.parametrize(
    "messages",
    [
        prompts.opening(observe(GameState(board(15), NYT))),
        [{"role": "user", "content": "What is the capital of Peru?"}],
        [{"role": "system", "content": prompts.SHORTEN}, {"role": "user", "content": "nothing to shorten"}],
        [{"role": "user", "content": "[`"}, {"role": "assistant", "content": None}],
        [{"role": "user", "content": [{"type": "text", "text": "Items: [`A`]"}, "odd"]}],
        [],
    ],
)
def test_what_it_does_not_know_gets_a_plain_reply(messages: list[prompts.Message]) -> None:
    reply = reply_to(SimulatedPlayer([board(14)]), messages, "a")
    assert reply.content
    assert "<guess>" not in reply.content


def test_a_finished_game_gets_a_plain_reply() -> None:
    puzzle = board(16)
    guesses = [Guess(group.members) for group in puzzle.groups[:3]]
    messages = _conversation(puzzle, NYT, guesses)
    assert "<guess>" not in reply_to(SimulatedPlayer([puzzle]), messages, "a").content


def test_usage_counts_four_characters_a_token() -> None:
    puzzle = board(17)
    player = SimulatedPlayer([puzzle])
    messages = _conversation(puzzle, NYT, [Guess(puzzle.groups[0].members)])
    completion = player.complete({"model": "any/name", "messages": messages}, "a")
    usage, said = completion["usage"], completion["choices"][0]["message"]
    thought = len(said.get("reasoning_content", ""))
    assert completion["model"] == "any/name"
    assert usage["completion_tokens"] == pytest.approx((thought + len(said["content"])) / 4, abs=2)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == pytest.approx(thought / 4, abs=1)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


def test_an_unknown_strength_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no player strength 'superb'; there are weak, low, middle, strong, best"):
        SimulatedPlayer([], "superb")
