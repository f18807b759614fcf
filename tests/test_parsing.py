"""Replies as models write them: the guess is read where it is certain, named as a problem where not, never mended."""

import html
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connections_env.game import GameState, Guess, judge, name_themes, observe, play
from connections_env.parsing import Reply, canonical, read_guess, read_themes, reasoning_of, unfit_reason
from connections_env.prompts import feedback
from connections_env.puzzles import Group
from connections_env.rewards import reward
from connections_env.rulesets import NYT, PUZZGRID
from tests.boards import AMBIGUOUS, GREENS, PLAIN, TOOLS, TRICKY, any_text, boards, make

TOOL_GUESS = "<guess>[`HAMMER`, `PLIERS`, `WRENCH`, `CHISEL`]</guess>"
GAIT_GUESS = "<guess>[`TROT`, `CANTER`, `GALLOP`, `AMBLE`]</guess>"
NO_GUESS, SEVERAL = Guess(problem="no_guess"), Guess(problem="several_guesses")


def read(inside, puzzle=PLAIN):
    return read_guess(f"<guess>{inside}</guess>", puzzle)


def status(inside, puzzle=PLAIN):
    turn = judge(GameState(puzzle, NYT), read(inside, puzzle))
    return turn.reason or turn.status


# Layouts: how to write a list of items. The marked ones say where each item begins and ends; the bare ones do not.


def joined(template, separator=", ", frame="{}"):
    return lambda items: frame.format(separator.join(template.format(item) for item in items))


def numbered(template):
    return lambda items: "\n".join(template.format(n, item) for n, item in enumerate(items, 1))


def full_width(text):
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


MARKED = {
    "canonical": joined("`{}`", frame="[{}]"),
    "backticks": joined("`{}`"),
    "backticks without spaces": joined("`{}`", ","),
    "backticks on lines": joined("`{}`", ",\n", "[\n{}\n]"),
    "json": lambda items: json.dumps(items, ensure_ascii=False),
    "json with escapes": lambda items: json.dumps(items),
    "json on lines": lambda items: json.dumps(items, indent=2),
    "json without spaces": lambda items: json.dumps(items, separators=(",", ":")),
    "double quotes": joined('"{}"'),
    "single quotes": joined("'{}'"),
    "single quotes in brackets": joined("'{}'", frame="[{}]"),
    "curly double quotes": joined("“{}”"),
    "curly single quotes": joined("‘{}’"),
    "lines": joined("{}", "\n"),
    "lines between blank ones": joined("{}", "\n\n", "\n\n{}\n\n"),
    "windows lines": joined("{}", "\r\n"),
    "dashes": joined("- {}", "\n"),
    "stars": joined("* {}", "\n"),
    "bullets": joined("• {}", "\n", "\n{}\n"),
    "dashes and backticks": joined("- `{}`", "\n"),
    "numbers with full stops": numbered("{}. {}"),
    "numbers with parentheses": numbered("{}) {}"),
    "numbers and bold": numbered("{}. **{}**"),
}
BARE = {
    "commas": joined("{}"),
    "commas without spaces": joined("{}", ","),
    "commas in brackets": joined("{}", frame="[{}]"),
    "commas at the ends of lines": joined("{}", ",\n"),
}
STYLES = {
    "as on the board": str,
    "lower case": str.lower,
    "upper case": str.upper,
    "curly apostrophes": lambda item: item.replace("'", "’"),
    "wide": full_width,
    "padded": lambda item: f"  {item} ",
    "escaped for XML": lambda item: f"&#{ord(item[0])};{html.escape(item[1:])}",
}
LAYOUTS = MARKED | BARE


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("puzzle", [PLAIN, TRICKY], ids=["plain", "tricky"])
def test_every_group_is_read_in_every_layout(layout, puzzle):
    for group in puzzle.groups:
        assert read(LAYOUTS[layout](group.members), puzzle) == Guess(group.members)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("puzzle", [PLAIN, TRICKY], ids=["plain", "tricky"])
def test_every_group_is_read_in_every_style(style, puzzle):
    for group in puzzle.groups:
        assert read(", ".join(map(STYLES[style], group.members)), puzzle) == Guess(group.members)


@given(st.data(), st.sampled_from([*MARKED.values()]), st.sampled_from([*STYLES.values()]))
def test_a_guess_in_any_marked_layout_is_read_back_exactly(data, layout, style):
    puzzle = data.draw(boards)
    size = puzzle.group_size
    items = data.draw(st.lists(st.sampled_from(puzzle.items), min_size=size, max_size=size, unique=True))
    assert read(layout([style(item) for item in items]), puzzle) == Guess(tuple(items))


@given(st.data(), st.sampled_from([*BARE.values()]), st.sampled_from([*STYLES.values()]))
def test_a_guess_in_any_bare_layout_is_read_back_exactly_or_not_at_all(data, layout, style):
    puzzle = data.draw(boards)
    size = puzzle.group_size
    items = data.draw(st.lists(st.sampled_from(puzzle.items), min_size=size, max_size=size, unique=True))
    found = read(layout([style(item) for item in items]), puzzle)
    assert set(found.words) == set(items) if found.problem is None else puzzle is AMBIGUOUS and found == SEVERAL


@given(st.data(), st.sampled_from([*MARKED.values()]))
def test_any_number_of_items_is_read_as_so_many(data, layout):
    items = data.draw(st.lists(st.sampled_from(PLAIN.items), min_size=1, max_size=16, unique=True))
    assert len(read(layout(items)).words) == len(items)


@pytest.mark.parametrize("tag", ["guess", "GUESS", "Guess"])
def test_a_tag_may_have_any_letter_case(tag):
    assert read_guess(f"<{tag}>hammer, pliers, wrench, chisel</{tag}>", PLAIN) == Guess(TOOLS)


# Items that hold commas


def test_the_item_with_commas_and_the_items_in_it_are_told_apart():
    assert read("5, 6, 7, 8, 5, 6, 1. FC Köln", TRICKY) == Guess(TRICKY.groups[1].members)
    assert read('["5, 6, 7, 8", "5", "20,000", "6"]', TRICKY) == Guess(("5, 6, 7, 8", "5", "20,000", "6"))
    assert read("`5`, `6`, `20,000`, `1,500`", TRICKY) == Guess(("5", "6", "20,000", "1,500"))


@pytest.mark.parametrize("inside", ["5,6,7,8 , 5 , 6 , 1. FC KÖLN", "5 , 6 , 7 , 8, 5, 6, 1. FC KÖLN"])
def test_spaces_after_the_commas_of_an_item_may_vary(inside):
    assert read(inside, TRICKY) == Guess(TRICKY.groups[1].members)


@pytest.mark.parametrize("inside", ["5, 6, 7, 8", "[5, 6, 7, 8]", "5,6,7,8", "8, 5, 6, 7", "5\n6, 7, 8\n8"])
def test_what_can_be_read_two_ways_is_no_right_guess(inside):
    assert status(inside, AMBIGUOUS) in ("several_guesses", "wrong_count", "repeated_item")


@pytest.mark.parametrize("inside", ["5, 6, 7, 8", "[5, 6, 7, 8]", "5,6,7,8"])
def test_two_readings_of_the_right_size_are_several_guesses(inside):
    assert read(inside, AMBIGUOUS) == SEVERAL


@pytest.mark.parametrize("layout", ["canonical", "backticks", "json", "double quotes", "dashes and backticks", "lines"])
@pytest.mark.parametrize("items", [("5, 6", "7", "8"), ("5", "6, 7", "8"), ("5, 6", "6, 7", "ELEVEN")])
def test_marking_the_items_removes_the_ambiguity(layout, items):
    assert read(MARKED[layout](items), AMBIGUOUS) == Guess(items)


def test_only_a_reading_of_the_right_size_counts():
    assert read("5, 6, 7", AMBIGUOUS) == Guess(("5", "6", "7"))
    assert read("5, 6, 6, 7, ELEVEN", AMBIGUOUS) == Guess(("5, 6", "6, 7", "ELEVEN"))


def runs_of_numbers(*runs):
    """A 5x5 board with the items "1" to "10", these runs of them ("1, 2"), and words."""
    numbers = [*map(str, range(1, 11)), *(", ".join(map(str, run)) for run in runs)]
    items = [*numbers, *(f"WORD {letter}" for letter in "ABCDEFGHIJKLMNO")][:25]
    return make("runs", *(Group(f"theme {i}", tuple(items[i::5])) for i in range(5)))


ONE_TO_TEN = ", ".join(map(str, range(1, 11)))


def test_the_one_reading_of_the_right_size_is_found_among_many():
    puzzle = runs_of_numbers((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))
    assert read(ONE_TO_TEN, puzzle) == Guess(("1, 2", "3, 4", "5, 6", "7, 8", "9, 10"))


def test_two_readings_of_the_right_size_are_noticed_among_many():
    pieces = [(1, 2), (2, 3), (3, 4), (1, 2, 3), (2, 3, 4), (1, 2, 3, 4)]
    puzzle = runs_of_numbers(*pieces, (5, 6, 7, 8, 9, 10), (1, 2, 3, 4, 5, 6))
    # 1 | 2 | 3 | 4 | "5, 6, 7, 8, 9, 10" or "1, 2, 3, 4, 5, 6" | 7 | 8 | 9 | 10
    assert read(ONE_TO_TEN, puzzle) == SEVERAL


# Words are never mended


@pytest.mark.parametrize(
    "word", ["HAMER", "HAMMERS", "HAM MER", "THE HAMMER", "HAMMER!", "HÄMMER", "HAMM", "H", "锤子"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_misspelt_item_is_never_fixed(word, layout):
    inside = LAYOUTS[layout]([word, *TOOLS[1:]])
    assert status(inside) == "not_on_board"
    assert "HAMMER" not in read(inside).words


@pytest.mark.parametrize(
    "word", ["20000", "20.000", "20,00", "20,0000", "5, 6, 7", "5 6 7 8", "OCLOCK", "CAFE", "LEAD"]
)
def test_an_item_without_its_punctuation_or_accent_is_another_word(word):
    assert status(json.dumps([word, "1,500", "300,000", "2,400"]), TRICKY) in ("not_on_board", "wrong_count")


def test_a_word_that_is_not_on_the_board_is_recorded_as_written():
    assert read("Hamer, pliers, wrench, chisel") == Guess(("Hamer", "PLIERS", "WRENCH", "CHISEL"))


def test_an_item_written_twice_is_read_twice():
    assert status("HAMMER, HAMMER, WRENCH, CHISEL") == "repeated_item"


# Tags


@pytest.mark.parametrize(
    "content",
    [
        f"<think>maybe {GAIT_GUESS}</think>{TOOL_GUESS}",
        f"<think>maybe {GAIT_GUESS}\n</think>\n\n{TOOL_GUESS}",
        f"<THINK>maybe {GAIT_GUESS}</THINK>{TOOL_GUESS}",
        f"<think>maybe <guess>a, b</think>{TOOL_GUESS}",
        f"<think>the format is </guess></think>{TOOL_GUESS}",
        f"{TOOL_GUESS}<think>or {GAIT_GUESS}</think>",
        f"{TOOL_GUESS}<think>or {GAIT_GUESS}",
        f"<think>a</think><think>{GAIT_GUESS}</think>{TOOL_GUESS}",
    ],
)
def test_tags_inside_a_think_block_do_not_count(content):
    assert read_guess(content, PLAIN) == Guess(TOOLS)


def test_a_guess_inside_an_unclosed_think_block_does_not_count():
    assert read_guess(f"<think>so it is {TOOL_GUESS}", PLAIN) == NO_GUESS


def test_a_think_block_opened_by_the_chat_template_is_known_by_its_end():
    assert read_guess(f"maybe {GAIT_GUESS}, no\n</think>\n\n{TOOL_GUESS}", PLAIN) == Guess(TOOLS)
    assert read_guess(f"so it is {TOOL_GUESS}\n</think>", PLAIN) == NO_GUESS


@pytest.mark.parametrize("between", ["", "\nNo, wait:\n", "<think>hm</think>"])
def test_two_different_guesses_are_several(between):
    assert read_guess(f"{TOOL_GUESS}{between}{GAIT_GUESS}", PLAIN) == SEVERAL


def test_a_right_guess_beside_one_that_is_not_on_the_board_is_several():
    assert read_guess(f"{TOOL_GUESS}<guess>`A`, `B`, `C`, `D`</guess>", PLAIN) == SEVERAL
    assert read_guess(f"<guess>HAMER, PLIERS, WRENCH, CHISEL</guess>{TOOL_GUESS}", PLAIN) == SEVERAL


def test_guesses_that_differ_in_a_repeated_item_are_different():
    assert (
        read_guess(f"{TOOL_GUESS}<guess>[`HAMMER`, `HAMMER`, `PLIERS`, `WRENCH`, `CHISEL`]</guess>", PLAIN) == SEVERAL
    )


@pytest.mark.parametrize("again", [TOOL_GUESS, "<guess>chisel, wrench, pliers, hammer</guess>"])
def test_the_same_guess_twice_is_one_whatever_its_order_and_layout(again):
    assert read_guess(f"{TOOL_GUESS} In short: {again}", PLAIN) == Guess(TOOLS)


@pytest.mark.parametrize(
    "content",
    [
        *("", " \n", "HAMMER, PLIERS, WRENCH, CHISEL", "[`HAMMER`, `PLIERS`, `WRENCH`, `CHISEL`]"),
        *("<guess>", "</guess>", "<guess>[`HAMMER`, `PLIERS`, `WRENCH`, `CHISEL`]", "HAMMER, PLIERS</guess>"),
        *("</guess>HAMMER, PLIERS, WRENCH, CHISEL<guess>", "<answer>HAMMER, PLIERS, WRENCH, CHISEL</answer>"),
        *("<guess></guess>", "<guess> \n </guess>", "&lt;guess&gt;HAMMER&lt;/guess&gt;", "<guess/>"),
    ],
)
def test_without_a_complete_tag_that_holds_something_there_is_no_guess(content):
    assert read_guess(content, PLAIN) == NO_GUESS


@pytest.mark.parametrize("inside", ["[]", ",", "[ ]", "[,]", ", ,\n,"])
def test_a_tag_that_holds_no_words_is_no_guess(inside):
    assert status(inside) == "no_guess"


def test_an_empty_pair_of_tags_beside_a_guess_is_talk_about_the_format():
    assert read_guess(f"I answer in <guess></guess> tags. {TOOL_GUESS}", PLAIN) == Guess(TOOLS)


def test_nested_tags_are_the_innermost_pair():
    assert read_guess(f"<guess>{TOOL_GUESS}</guess>", PLAIN) == Guess(TOOLS)
    assert read_guess(f"I put it in <guess> tags: {TOOL_GUESS}", PLAIN) == Guess(TOOLS)


# Whatever comes


fragments = st.one_of(
    st.sampled_from(["<guess>", "</guess>", "<think>", "</think>", "<THINK >", "<themes>", "</themes>", "<think", ">"]),
    st.sampled_from([*PLAIN.items, *TRICKY.items, *AMBIGUOUS.items]),
    st.sampled_from([TOOL_GUESS, GAIT_GUESS, f"<think>{TOOL_GUESS}", "<|im_end|>", '<themes>["a", "b"]</themes>']),
    st.sampled_from(
        [*", , , \n\n[[]]``\"'“”‘’**-\\&;|{}", "\\u", '"\\ud800"', "&#", "&apos;", "9" * 5_000, "1. ", "- "]
    ),
    any_text,
)
replies = st.lists(fragments, max_size=20).map("".join)


@given(boards, st.sampled_from([NYT, PUZZGRID]), st.lists(replies, max_size=8))
@example(PLAIN, NYT, ["<guess>&#" + "9" * 5_000 + ";</guess>"])
@example(PLAIN, NYT, ["<guess>" + "[" * 100_000 + "</guess>"])
@example(PLAIN, NYT, ["<themes>&#" + "9" * 5_000 + ";</themes>"])
@example(PLAIN, NYT, ["<themes>" + "[" * 100_000 + "</themes>"])
@example(PLAIN, NYT, ["<themes>" + "9" * 5_000 + "</themes>"])
@example(
    PLAIN, PUZZGRID, [TOOL_GUESS, GAIT_GUESS, f"<guess>{', '.join(GREENS)}</guess>", '<themes>["\ud800"]</themes>']
)
def test_no_sequence_of_replies_however_malformed_raises(puzzle, ruleset, contents):
    state = GameState(puzzle, ruleset)
    for content in contents:
        for reply in (Reply(content), Reply(content, reasoning=content)):
            unfit_reason(reply, puzzle)
            unfit_reason(reply, puzzle, "themes")
            reasoning_of(reply)
            reasoning_of(reply, "themes")
        guess, themes = read_guess(content, puzzle), read_themes(content)
        if state.asks_themes:
            state = name_themes(state, themes)
        if state.complete_reason is None:
            state = play(state, guess)
            feedback(observe(state))
    assert reward(state) >= 0


@given(boards, replies)
def test_a_problem_comes_without_words_and_words_without_a_problem(puzzle, content):
    guess = read_guess(content, puzzle)
    assert guess.problem is None or guess.words == ()


MANY = 200_000


@pytest.mark.parametrize(
    ("content", "guess"),
    [
        pytest.param(f"{'so on and on ' * 14} {TOOL_GUESS}\n" * 1_000, Guess(TOOLS), id="one guess 1,000 times"),
        pytest.param(f"{TOOL_GUESS}{'x' * 150}" * 999 + GAIT_GUESS, SEVERAL, id="another guess after 999"),
        pytest.param("".join(f"<guess>word {n}</guess>{'x' * 180}" for n in range(1_000)), SEVERAL, id="1,000 guesses"),
        pytest.param("<guess></guess>" * 14_000 + TOOL_GUESS, Guess(TOOLS), id="14,000 empty tags"),
        pytest.param(f"<think>{GAIT_GUESS}</think>" * 2_500 + TOOL_GUESS, Guess(TOOLS), id="2,500 think blocks"),
        pytest.param(TOOL_GUESS + "<think>" * 29_000, Guess(TOOLS), id="a guess before 29,000 open thinks"),
        pytest.param("<think>" * 29_000 + TOOL_GUESS, NO_GUESS, id="200 kB of open thinks"),
        pytest.param("</think>" * 25_000 + TOOL_GUESS, Guess(TOOLS), id="200 kB of closed thinks"),
        pytest.param("<guess>" * 29_000, NO_GUESS, id="200 kB of open tags"),
        pytest.param("</guess>" * 25_000, NO_GUESS, id="200 kB of closed tags"),
        pytest.param("<" * MANY + TOOL_GUESS, Guess(TOOLS), id="200 kB of <"),
        pytest.param("<guess" + " " * MANY + ">", NO_GUESS, id="200 kB inside the brackets of a tag"),
        pytest.param(f"Nails. {'<' * MANY}" + TOOL_GUESS, Guess(TOOLS), id="a word and 200 kB of <"),
        pytest.param("<|" * (MANY // 2) + TOOL_GUESS, Guess(TOOLS), id="200 kB of <|"),
        pytest.param(" \n" * (MANY // 2) + TOOL_GUESS, Guess(TOOLS), id="200 kB of blank lines"),
        pytest.param(f"<guess>{' ' * 300_000}</guess>", NO_GUESS, id="300 kB of spaces in a tag"),
    ],
)
def test_a_huge_reply_is_read_like_a_small_one(content, guess):
    assert read_guess(content, PLAIN) == guess
    assert unfit_reason(Reply(content, reasoning="why"), PLAIN) == guess.problem
    assert read_themes(content) == ()
    reasoning_of(Reply(content, reasoning=content))


@pytest.mark.parametrize("puzzle", [PLAIN, TRICKY, AMBIGUOUS], ids=["plain", "tricky", "ambiguous"])
@pytest.mark.parametrize(
    "unit", ["HAMMER, ", "5, 6, 7, 8, ", "x", ",", "`", '"', "[", "\\", "&", "&#9", "- ", "* ", "\n1. a"]
)
def test_a_huge_guess_is_not_a_right_one_and_is_kept_short(puzzle, unit):
    inside = unit * (300_000 // len(unit))
    assert status(inside, puzzle) in ("no_guess", "wrong_count", "not_on_board")
    assert sum(map(len, read(inside, puzzle).words)) < 10_000
    read_themes(f"<themes>{inside}</themes>")


# Themes


@pytest.mark.parametrize(
    "inside",
    [
        '["tools", "gaits, of horses", "green", "___ drop"]',
        '[\n  "tools",\n  "gaits, of horses",\n  "green",\n  "___ drop"\n]',
        "tools\ngaits, of horses\ngreen\n___ drop",
        "1. tools\n2. gaits, of horses\n3. green\n4. ___ drop",
        "- tools\n- gaits, of horses\n- green\n- ___ drop",
        "[`tools`, `gaits, of horses`, `green`, `___ drop`]",
    ],
)
def test_themes_are_read_in_every_layout(inside):
    assert read_themes(f"Thoughts.\n<themes>{inside}</themes>") == ("tools", "gaits, of horses", "green", "___ drop")


@pytest.mark.parametrize(
    "content",
    [
        *("", "tools, gaits", "<themes>", '<themes>["a"]', "<themes></themes>", "<think><themes>a</themes></think>"),
        '<themes>["a"]</themes><themes>["b"]</themes>',
    ],
)
def test_without_a_single_complete_tag_there_are_no_themes(content):
    assert read_themes(content) == ()


# Reasoning


@pytest.mark.parametrize(
    ("reply", "reasoning"),
    [
        (Reply(TOOL_GUESS), ""),
        (Reply(TOOL_GUESS, reasoning="Nails.\n"), "Nails."),
        (Reply(f"So tools.\n{TOOL_GUESS}"), "So tools."),
        (Reply(f"So tools.\n{TOOL_GUESS}", reasoning="Nails."), "Nails.\n\nSo tools."),
        (Reply(f"<think>\nNails.\n</think>\n\n{TOOL_GUESS}"), "Nails."),
        (Reply(f"<think>\nNails.\n</think>\n\nSo tools.\n\n{TOOL_GUESS}"), "Nails.\n\nSo tools."),
        (Reply(f"Nails.\n</think>\n\n{TOOL_GUESS}"), "Nails."),
        (Reply(f"So tools. {TOOL_GUESS}", reasoning="<think>\nNails.\n</think>"), "Nails.\n\nSo tools."),
        (Reply(f"One line.\n\n  Another.  {TOOL_GUESS} More."), "One line.\n\n  Another."),
        (Reply(f"<think>\n</think>{TOOL_GUESS}", reasoning=" \n"), ""),
    ],
)
def test_reasoning_is_reasoning_content_a_blank_line_and_what_comes_before_the_guess(reply, reasoning):
    assert reasoning_of(reply) == reasoning


def test_what_is_said_between_an_empty_pair_of_tags_and_the_guess_is_reasoning():
    reasoning = reasoning_of(Reply(f"I answer in <guess></guess> tags. Nails make me think of tools. {TOOL_GUESS}"))
    assert "Nails make me think of tools." in reasoning


# Fitness


THOUGHT = f"<think>\nNails.\n</think>\n\n{TOOL_GUESS}"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(THOUGHT), None),
        (Reply(THOUGHT, finish_reason="stop"), None),
        (Reply(TOOL_GUESS, reasoning="Nails."), None),
        (Reply(f"Nails. {TOOL_GUESS} Shall I go on?"), None),
        (Reply(f"{THOUGHT} {TOOL_GUESS}"), None),
        (Reply(THOUGHT, finish_reason="length"), "cut_off"),
        (Reply("<think>\nNails.", finish_reason="length"), "cut_off"),
        (Reply(THOUGHT, finish_reason="max_tokens"), "cut_off"),
        (Reply(THOUGHT, finish_reason="content_filter"), "cut_off"),
        (Reply(THOUGHT, finish_reason="insufficient_system_resource"), "cut_off"),
        (Reply(THOUGHT, finish_reason="abort"), "cut_off"),
        (Reply(f"{THOUGHT}<|im_end|>"), "control_tokens"),
        (Reply(THOUGHT, reasoning="<|im_start|>assistant"), "control_tokens"),
        (Reply(f"<|endoftext|>{THOUGHT}"), "control_tokens"),
        (Reply(f"{THOUGHT}<｜end▁of▁sentence｜>"), "control_tokens"),
        (Reply(f"{THOUGHT}</s>"), "control_tokens"),
        (Reply(f"<start_of_turn>{THOUGHT}"), "control_tokens"),
        (Reply(f"[/INST] {THOUGHT}"), "control_tokens"),
        (Reply(f"<tool_call>{THOUGHT}"), "control_tokens"),
        (Reply(THOUGHT, reasoning="Nails. </tool_response>"), "control_tokens"),
        (Reply(f"\x1b[2J{THOUGHT}"), "control_tokens"),
        (Reply("<think>\nNails.\n</think>\n\nTools."), "no_guess"),
        (Reply(f"<think>\nNails. {TOOL_GUESS}"), "no_guess"),
        (Reply(THOUGHT + GAIT_GUESS), "several_guesses"),
        (Reply(TOOL_GUESS), "no_reasoning"),
        (Reply(f"<think>\n\n</think>\n\n{TOOL_GUESS}"), "no_reasoning"),
        (Reply(f"{TOOL_GUESS} I chose tools."), "no_reasoning"),
    ],
)
def test_a_reply_is_fit_when_complete_and_with_reasoning_one_guess_and_no_control_tokens(reply, reason):
    assert unfit_reason(reply, PLAIN) == reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('Easy. <themes>["a", "b"]</themes>', None),
        ('<themes>["a", "b"]</themes>', "no_reasoning"),
        (f"Easy. {TOOL_GUESS}", "no_themes"),
        ('Easy. <themes>["a"]</themes><themes>["b"]</themes>', "no_themes"),
    ],
)
def test_a_theme_reply_is_fit_by_its_own_tag(content, reason):
    assert unfit_reason(Reply(content), PLAIN, "themes") == reason


@given(boards, replies)
@example(PLAIN, "Hm. <guess>[]</guess>")
@example(PLAIN, "Hm. <guess>,</guess>")
@example(PLAIN, "Hm. <guess>,\u3000,</guess>")
@example(PLAIN, "Hm. <guess>[\x0b]</guess>")
def test_a_reply_in_which_the_game_sees_no_single_guess_is_not_fit(puzzle, content):
    if judge(GameState(puzzle, NYT), read_guess(content, puzzle)).reason in ("no_guess", "several_guesses"):
        assert unfit_reason(Reply(content, reasoning="why"), puzzle) is not None


# The canonical form


def test_the_canonical_reply_has_exactly_these_bytes():
    assert canonical("Nails.\n\nSo tools.", TOOLS) == (
        "<think>\nNails.\n\nSo tools.\n</think>\n\n<guess>[`HAMMER`, `PLIERS`, `WRENCH`, `CHISEL`]</guess>"
    )


def test_the_canonical_theme_reply_has_exactly_these_bytes():
    assert canonical("Easy.", ['"Heroes"', "café"], "themes") == (
        '<think>\nEasy.\n</think>\n\n<themes>["\\"Heroes\\"", "café"]</themes>'
    )


def wrapped(reply, puzzle):
    return canonical(reasoning_of(reply), read_guess(reply.content, puzzle).words)


def test_wrapping_spells_items_as_on_the_board_and_drops_text_after_the_guess():
    reply = Reply("So tools. <guess>hammer, pliers, wrench, chisel</guess> Shall I go on?", reasoning="Nails.")
    assert wrapped(reply, PLAIN) == f"<think>\nNails.\n\nSo tools.\n</think>\n\n{TOOL_GUESS}"


@given(boards, replies, replies, st.integers(0, 5))
@example(PLAIN, "a <think<think>> b", "", 0)
@example(PLAIN, "a", "Draft: <guess<guess>> b", 0)
@example(PLAIN, "a", f"a <{' ' * 40}<think<think>think> b", 0)
@example(PLAIN, f"Draft: {GAIT_GUESS}</think>", "", 0)
@example(PLAIN, "", f"<think>Draft: {GAIT_GUESS}</think>", 0)
@example(PLAIN, " \x1c\u2028 a \r\n", "\t", 0)
def test_wrapping_is_idempotent_and_leaves_one_think_block_and_one_guess(puzzle, content, reasoning, pick):
    group = puzzle.groups[pick % len(puzzle.groups)]
    reply = Reply(f"{content}<guess>{json.dumps(group.members)}</guess>", reasoning)
    if read_guess(reply.content, puzzle) == Guess(group.members):  # not within an unclosed think, not one of two
        once = wrapped(reply, puzzle)
        assert re.findall(r"</?\s*(?:think|guess)\s*>", once, re.I) == ["<think>", "</think>", "<guess>", "</guess>"]
        assert wrapped(Reply(once), puzzle) == once


@given(st.data())
def test_the_canonical_form_of_any_items_is_read_back_exactly(data):
    puzzle = data.draw(boards)
    size = puzzle.group_size
    items = data.draw(st.lists(st.sampled_from(puzzle.items), min_size=size, max_size=size, unique=True))
    assert read_guess(canonical("Because.", items), puzzle) == Guess(tuple(items))
    assert reasoning_of(Reply(canonical("Because.", items))) == "Because."


def test_the_backticks_of_the_canonical_form_are_not_taken_for_quotes_of_an_item():
    puzzle = make("quotes", Group("Letters", ("N", "T")), Group("Short words", ("'N'", "'TIS")))
    for items in [("N", "T"), ("'N'", "'TIS"), ("N", "'N'")]:
        assert read_guess(canonical("Because.", items), puzzle) == Guess(items)


@given(st.lists(any_text.map(str.strip).filter(bool), min_size=1, max_size=6))
def test_the_canonical_form_of_any_themes_is_read_back_exactly(themes):
    themes = [theme.encode("utf-8", "replace").decode() for theme in themes]  # no file can hold half a character
    if not re.search(r"</?\s*(?:think|thinking|themes)\s*>", "".join(themes), re.I):
        assert read_themes(canonical("Because.", themes, "themes")) == tuple(themes)
