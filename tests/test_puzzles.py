"""When two items are the same, when two boards are, and which boards cannot be played."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connections_env.puzzles import Group, Puzzle, UnplayableBoard, board_key, derived_id, normalise, shuffled
from tests.boards import BOARDS, PLAIN, TRICKY, any_text, boards

# Characters whose case folding, composition or compatibility form is another character with a life of its own.
knotty = st.text(st.sampled_from("ŉΐẞßſKÅıİ´`’ˈʼ″‴ﷺ①½Ａ，ﬁﬃǰͅᾳ̈́a'\" \t\u00a0\u200b\u200d\ufe0f\u00ad\u2028\u0345"))


@given(any_text | knotty)
@example("ŉ")
@example("ΐ\u0345")
@example("\u1e9e\u0307")
def test_normalise_is_idempotent(text):
    assert normalise(normalise(text)) == normalise(text)


@given(any_text | knotty)
def test_normalised_text_has_no_outer_double_or_line_breaking_space(text):
    plain = normalise(text)
    assert plain == " ".join(plain.split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("O'CLOCK", "o’clock"),
        ("O'CLOCK", "O‘Clock"),
        ('"HEROES"', "“Heroes”"),
        ("CAFÉ", "cafe\u0301"),
        ("STRASSE", "straße"),
        ("BREAD", "ｂｒｅａｄ"),
        ("20,000", "２０，０００"),
        ("  NEW \u00a0 YORK\n", "new york"),
        ("ﬁsh", "FISH"),
    ],
)
def test_items_that_differ_in_case_quotes_spaces_or_width_are_the_same(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"), [("CAFÉ", "CAFE"), ("20,000", "20000"), ("O'CLOCK", "OCLOCK"), ("5", "5,"), ("RE-DO", "REDO")]
)
def test_items_that_differ_in_letters_or_punctuation_are_not(one, other):
    assert normalise(one) != normalise(other)


@given(boards, st.randoms())
def test_identity_is_the_set_of_items_whatever_order_case_and_quotes(puzzle, random):
    items = list(puzzle.items)
    random.shuffle(items)
    restyled = [unicodedata.normalize("NFD", item.lower().replace("'", "’").replace('"', "”")) for item in items]
    assert board_key(restyled) == puzzle.key
    assert derived_id(restyled) == derived_id(puzzle.items)


def test_identity_ignores_id_title_and_grouping():
    columns = zip(*(group.members for group in PLAIN.groups), strict=True)
    regrouped = Puzzle("another id", PLAIN.items[::-1], tuple(Group("?", column) for column in columns), "A title")
    assert regrouped.key == PLAIN.key


def test_different_boards_have_different_keys_and_ids():
    assert len({puzzle.key for puzzle in BOARDS}) == len({derived_id(puzzle.items) for puzzle in BOARDS}) == len(BOARDS)


def test_derived_id_never_changes():
    assert derived_id(["sun", "MOON", "Star", "o’clock"]) == "board-51b4eff400cf"


def test_shuffled_order_never_changes():
    assert shuffled(["SUN", "MOON", "STAR", "COMET", "O'CLOCK", "CAFÉ"]) == (
        *("STAR", "O'CLOCK", "CAFÉ", "SUN", "MOON", "COMET"),
    )


@given(boards, st.randoms())
def test_shuffled_order_does_not_depend_on_the_order_given(puzzle, random):
    items = list(puzzle.items)
    random.shuffle(items)
    assert shuffled(items) == shuffled(puzzle.items)
    assert sorted(shuffled(items)) == sorted(puzzle.items)


def test_shuffled_order_does_not_depend_on_case():
    assert [item.lower() for item in shuffled(PLAIN.items)] == [*shuffled([item.lower() for item in PLAIN.items])]


@pytest.mark.parametrize(
    ("groups", "items", "reason"),
    [
        ([("A", "B"), ("C", " ")], None, "blank item"),
        ([("A", "B"), ("C", "\u200b")], None, "blank item"),
        ([("A", "B"), ("C", "a")], None, "duplicate item 'a'"),
        ([("O'CLOCK", "B"), ("C", "o’clock")], None, "duplicate item 'o’clock'"),
        ([("A", "B"), ("C", "D", "E")], None, "uneven groups of 2, 3 items"),
        ([("A", "B")], None, "1 group(s)"),
        ([], None, "0 group(s)"),
        ([("A",), ("B",)], None, "fewer than 2 items"),
        ([(), ()], None, "fewer than 2 items"),
        ([("A", "B"), ("C", "D")], ("A", "B", "C"), "items are not those of its groups"),
        ([("A", "B"), ("C", "D")], ("A", "B", "C", "E"), "items are not those of its groups"),
        ([("A", "B"), ("C", "D")], ("A", "B", "C", "D", "D"), "items are not those of its groups"),
    ],
)
def test_a_board_that_cannot_be_played_is_refused_with_its_reason(groups, items, reason):
    members = tuple(item for group in groups for item in group)
    with pytest.raises(UnplayableBoard) as refusal:
        Puzzle("p", items or members, tuple(Group("theme", group) for group in groups))
    assert reason in str(refusal.value)


def test_an_item_spelled_otherwise_in_its_group_is_found_on_the_board():
    puzzle = Puzzle("p", ("Café", "B", "C", "D"), (Group("x", ("CAFE\u0301", "b")), Group("y", ("c", "d"))))
    assert puzzle.group_of == {"Café": 0, "B": 0, "C": 1, "D": 1}


def test_a_board_of_commas_quotes_and_emoji_is_playable():
    assert TRICKY.group_size == 4
    assert len(TRICKY.by_plain) == 16
