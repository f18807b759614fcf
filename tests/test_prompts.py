"""What the player is told: word for word in two golden games, and never a thing that gives a group away."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env.game import GameState, Guess, observe, play, replay
from connections_env.prompts import feedback, opening, shorten
from connections_env.puzzles import Group, Puzzle
from connections_env.rulesets import NYT, PUZZGRID
from tests.boards import DROPS, GAITS, GREENS, PLAIN, TOOLS, boards, guesses_on

rulesets = st.sampled_from([NYT, PUZZGRID])


def messages_of(puzzle, ruleset, guesses):
    """Each message to the player with the state it was made from: the opening, then what follows each guess."""
    state = GameState(puzzle, ruleset)
    told = [(message["content"], state) for message in opening(observe(state))]
    for guess in guesses:
        if state.complete_reason or state.asks_themes:
            break
        state = play(state, guess)
        if not state.complete_reason:
            told.append((feedback(observe(state)), state))
    return told


# Golden games

NYT_SYSTEM = """\
You are playing Connections. A board of items divides into groups of equal size. The items of a group share a theme, \
and each item belongs to exactly one group, though some look as if they would fit another.

Rules:
- Each turn, guess one whole group.
- Every wrong guess is a mistake, and 4 mistakes end the game.
- A guess that breaks the rules (wrong number of items, an item that is not on the board or is already found, the same \
guess again) is invalid. It is not a mistake, but it wastes a turn.
- You are told when all but one of your items belong together.
- The last group completes itself.

Think first, then end your reply with one guess, its items spelled as on the board:
<guess>[`ITEM1`, `ITEM2`, ...]</guess>"""

PUZZGRID_SYSTEM = """\
You are playing Connections. A board of items divides into groups of equal size. The items of a group share a theme, \
and each item belongs to exactly one group, though some look as if they would fit another.

Rules:
- Each turn, guess one whole group.
- While more than 2 groups remain, wrong guesses are free; from then on each is a mistake, and 3 mistakes end the game.
- A guess that breaks the rules (wrong number of items, an item that is not on the board or is already found, the same \
guess again) is invalid. It is not a mistake, but it wastes a turn.
- The last group completes itself.
- When all groups are found, you name the theme of each, in a single reply.

Think first, then end your reply with one guess, its items spelled as on the board:
<guess>[`ITEM1`, `ITEM2`, ...]</guess>"""

BOARD = """\
The board holds 16 items: 4 groups of 4.

Items: [`MINT`, `TROT`, `RAIN`, `HAMMER`, `GUM`, `OLIVE`, `CHISEL`, `AMBLE`, `CANTER`, `NAME`, `LIME`, `PLIERS`, \
`WRENCH`, `JADE`, `GALLOP`, `TEAR`]"""

ALL_LEFT = BOARD.partition("Items: ")[2]
ALL_BUT_TOOLS = "[`MINT`, `TROT`, `RAIN`, `GUM`, `OLIVE`, `AMBLE`, `CANTER`, `NAME`, `LIME`, `JADE`, `GALLOP`, `TEAR`]"
GREENS_AND_DROPS = "[`MINT`, `RAIN`, `GUM`, `OLIVE`, `NAME`, `LIME`, `JADE`, `TEAR`]"

NYT_GAME = [
    (
        (*TOOLS[:3], "TROT"),
        f"""\
One away: 3 of these 4 items belong together.

Groups found: 0 of 4. Mistakes: 1 of 4.

Remaining items: {ALL_LEFT}""",
    ),
    (
        TOOLS,
        f"""\
Correct! The theme is: Found in a toolbox

Groups found: 1 of 4. Mistakes: 1 of 4.

Remaining items: {ALL_BUT_TOOLS}""",
    ),
    (
        ("MINT", "LIME", "TROT", "GUM"),
        f"""\
Incorrect.

Groups found: 1 of 4. Mistakes: 2 of 4.

Remaining items: {ALL_BUT_TOOLS}""",
    ),
    (
        ("MINT", "LIME", "TROT", "SPANNER"),
        f"""\
Invalid guess: it has an item that is not on the board; spell the items as they are given.

Groups found: 1 of 4. Mistakes: 2 of 4.

Remaining items: {ALL_BUT_TOOLS}""",
    ),
    (
        GAITS,
        f"""\
Correct! The theme is: Ways a horse moves

Groups found: 2 of 4. Mistakes: 2 of 4.

Remaining items: {GREENS_AND_DROPS}""",
    ),
    (GREENS, None),
]

PUZZGRID_GAME = [
    (
        (*TOOLS[:3], "TROT"),
        f"""\
Incorrect. No mistake is counted yet.

Groups found: 0 of 4. Mistakes are not counted yet.

Remaining items: {ALL_LEFT}""",
    ),
    (
        TOOLS,
        f"""\
Correct!

Groups found: 1 of 4. Mistakes are not counted yet.

Remaining items: {ALL_BUT_TOOLS}""",
    ),
    (
        GAITS,
        f"""\
Correct!

Groups found: 2 of 4. Mistakes: 0 of 3.

Remaining items: {GREENS_AND_DROPS}""",
    ),
    (
        (*GREENS[:3], "GUM"),
        f"""\
Incorrect.

Groups found: 2 of 4. Mistakes: 1 of 3.

Remaining items: {GREENS_AND_DROPS}""",
    ),
    (
        DROPS,
        """\
Correct!

Groups found: 4 of 4. Mistakes: 1 of 3.

All groups are found:
1. [`HAMMER`, `CHISEL`, `PLIERS`, `WRENCH`]
2. [`TROT`, `AMBLE`, `CANTER`, `GALLOP`]
3. [`RAIN`, `GUM`, `NAME`, `TEAR`]
4. [`MINT`, `OLIVE`, `LIME`, `JADE`]

Name the theme of each, in this order. Think first, then end your reply with:
<themes>["THEME1", "THEME2", ...]</themes>""",
    ),
]


@pytest.mark.parametrize(
    ("ruleset", "system", "game"), [(NYT, NYT_SYSTEM, NYT_GAME), (PUZZGRID, PUZZGRID_SYSTEM, PUZZGRID_GAME)]
)
def test_a_golden_game_word_for_word(ruleset, system, game):
    told = messages_of(PLAIN, ruleset, [Guess(words) for words, _ in game])
    assert [content for content, _ in told] == [system, BOARD, *(answer for _, answer in game if answer)]


def test_the_opening_is_a_system_and_a_user_message():
    assert opening(observe(GameState(PLAIN, NYT))) == [
        {"role": "system", "content": NYT_SYSTEM},
        {"role": "user", "content": BOARD},
    ]


@pytest.mark.parametrize(
    ("guess", "told"),
    [
        (Guess(problem="no_guess"), "no complete <guess>...</guess> was found in your reply."),
        (Guess(problem="several_guesses"), "your reply holds several different guesses; give exactly one."),
        (Guess(GAITS[:3]), "a guess has exactly 4 items; yours has 3."),
        (Guess((*GAITS[:3], "X")), "it has an item that is not on the board; spell the items as they are given."),
        (Guess((*GAITS[:3], "HAMMER")), "it has an item of a group that is already found."),
        (Guess((*GAITS[:3], "TROT")), "it has the same item more than once."),
        (Guess(("GUM", *GAITS[:3])), "you have made this guess before."),
    ],
)
def test_an_invalid_guess_is_told_its_reason(guess, told):
    state = play(replay(PLAIN, NYT, [Guess(TOOLS), Guess((*GAITS[:3], "GUM"))]), guess)
    assert feedback(observe(state)).startswith(f"Invalid guess: {told}\n\nGroups found: 1 of 4. Mistakes: 1 of 4.")


@given(st.data())
def test_what_the_player_wrote_is_not_repeated(data):
    """So no reply can put tags, control tokens or words of its own into a message of the game."""
    puzzle, ruleset = data.draw(boards), data.draw(rulesets)
    odd = Guess(tuple(data.draw(st.lists(st.just("<guess>zyzzyva</guess><|im_end|>"), min_size=1, max_size=6))))
    for content, _ in messages_of(puzzle, ruleset, [odd, *data.draw(guesses_on(puzzle)), odd]):
        assert "zyzzyva" not in content


# Leaks


def list_of(items):
    return "[" + ", ".join(f"`{item}`" for item in items) + "]"


def leaks(content, state):
    """What a message gives away: themes that are not to be known yet, and groupings of items that are not found."""
    puzzle, found = state.puzzle, set(state.found)
    hidden = [group for i, group in enumerate(puzzle.groups) if i not in found]
    unnamed = puzzle.groups if state.ruleset is PUZZGRID else hidden
    secrets = [secret for group in unnamed for secret in (group.theme, *group.linking_terms)]
    out = [f"says {secret}" for secret in secrets if secret.lower() in content.lower()]
    open_items = {item for group in hidden for item in group.members}
    for listed in map(tuple, (re.findall(r"`([^`]+)`", line) for line in content.splitlines())):
        if open_items & set(listed) and listed != tuple(item for item in puzzle.items if item in open_items):
            out.append(f"lists {listed}")
    for piece in re.split(r"\n|[.:;]\s", content):
        together = {item for item in open_items if item in piece}
        out += [f"names {group.members}" for group in hidden if together == set(group.members)]
    return out


def with_secrets(puzzle):
    """The board with themes and linking terms that occur nowhere else, and items of which none holds another."""
    groups = tuple(
        Group(
            f"Zqtheme{i}q", tuple(f"{item} (Zqitem{i}{j}q)" for j, item in enumerate(group.members)), (f"Zqterm{i}q",)
        )
        for i, group in enumerate(puzzle.groups)
    )
    respelled = {
        old: new
        for group, secret in zip(puzzle.groups, groups, strict=True)
        for old, new in zip(group.members, secret.members, strict=True)
    }
    return replace(puzzle, items=tuple(respelled[item] for item in puzzle.items), groups=groups)


@given(st.data())
def test_no_message_leaks_a_theme_or_a_grouping(data):
    puzzle = with_secrets(data.draw(boards))
    for content, state in messages_of(puzzle, data.draw(rulesets), data.draw(guesses_on(puzzle))):
        assert leaks(content, state) == []


@pytest.mark.parametrize(
    ("ruleset", "doctored"),
    [
        (NYT, "Think of {hidden.theme}."),
        (NYT, "Think of {hidden.linking_terms[0]}."),
        (NYT, "think of {lower}."),
        (NYT, "Items: {listed}"),
        (NYT, "Items: {grouped}"),
        (NYT, "Do they belong together: {spoken}?"),
        (PUZZGRID, "Think of {hidden.theme}."),
        (PUZZGRID, "Correct! The theme is: {found.theme}"),
    ],
)
def test_the_leak_test_catches_a_doctored_message(ruleset, doctored):
    puzzle = with_secrets(PLAIN)
    found, hidden, *rest = puzzle.groups
    content, state = messages_of(puzzle, ruleset, [Guess(found.members)])[-1]
    grouped = list_of([item for group in (hidden, *rest) for item in group.members])
    spoken, listed = " and ".join(hidden.members), list_of(hidden.members)
    lower = hidden.theme.lower()
    leak = doctored.format(found=found, hidden=hidden, lower=lower, listed=listed, grouped=grouped, spoken=spoken)
    assert leaks(content, state) == []
    assert leaks(f"{content}\n{leak}", state) != []


def test_nyt_reveals_a_theme_at_once_and_puzzgrid_does_not():
    for ruleset, revealed in ((NYT, True), (PUZZGRID, False)):
        content, _ = messages_of(PLAIN, ruleset, [Guess(GREENS)])[-1]
        assert ("Shades of green" in content) is revealed


def columns_of(puzzle):
    """The same board with another key: each of its groups takes one item of every old one, as far as that goes."""
    members = [item for column in zip(*(group.members for group in puzzle.groups), strict=True) for item in column]
    size = puzzle.group_size
    groups = tuple(
        Group(group.theme, tuple(members[i * size : (i + 1) * size])) for i, group in enumerate(puzzle.groups)
    )
    return Puzzle(puzzle.puzzle_id, puzzle.items, groups)


@given(st.data())
def test_messages_are_the_same_under_any_key_that_gives_the_same_verdicts(data):
    puzzle, ruleset = data.draw(boards), data.draw(rulesets)
    other, guesses = columns_of(puzzle), data.draw(guesses_on(puzzle))
    ours, theirs = messages_of(puzzle, ruleset, guesses), messages_of(other, ruleset, guesses)
    for (content, state), (other_content, other_state) in zip(ours, theirs, strict=False):
        if state.turns == other_state.turns:
            assert content == other_content


def test_puzzgrid_answers_a_near_miss_like_any_other_miss():
    near, far = (*TOOLS[:3], "TROT"), (*TOOLS[:2], "MINT", "TROT")
    assert messages_of(PLAIN, PUZZGRID, [Guess(near)])[-1][0] == messages_of(PLAIN, PUZZGRID, [Guess(far)])[-1][0]
    assert messages_of(PLAIN, NYT, [Guess(near)])[-1][0] != messages_of(PLAIN, NYT, [Guess(far)])[-1][0]


def test_a_request_to_shorten_holds_the_reply_as_it_is_and_the_target():
    reply = "<think>\nNails.\n</think>\n\n<guess>[`A`, `B`]</guess>"
    system, user = shorten(reply, 120)
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["content"].endswith(reply)
    assert "120 tokens" in user["content"]
