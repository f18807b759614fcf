"""Invented boards, and random games on them."""

from hypothesis import strategies as st

from connections_env.game import Guess
from connections_env.puzzles import Group, Puzzle, shuffled


def make(puzzle_id: str, *groups: Group, items: tuple[str, ...] | None = None) -> Puzzle:
    """A puzzle of these groups, shuffled unless a board order is given."""
    return Puzzle(puzzle_id, items or shuffled([item for group in groups for item in group.members]), groups)


PLAIN = make(
    "plain",
    Group("Found in a toolbox", ("HAMMER", "PLIERS", "WRENCH", "CHISEL"), ("tool",)),
    Group("Ways a horse moves", ("TROT", "CANTER", "GALLOP", "AMBLE"), ("gait", "pace", "horse")),
    Group("Shades of green", ("OLIVE", "LIME", "JADE", "MINT"), ("green",)),
    Group("___ drop", ("RAIN", "TEAR", "GUM", "NAME"), ("drop",)),
    items=(
        *("MINT", "TROT", "RAIN", "HAMMER"),
        *("GUM", "OLIVE", "CHISEL", "AMBLE"),
        *("CANTER", "NAME", "LIME", "PLIERS"),
        *("WRENCH", "JADE", "GALLOP", "TEAR"),
    ),
)
TOOLS, GAITS, GREENS, DROPS = (group.members for group in PLAIN.groups)

# Items that hold what separates, wraps or numbers items elsewhere. "5" and "6" stand beside "5, 6, 7, 8".
TRICKY = make(
    "tricky",
    Group("Written with a comma", ("20,000", "1,500", "300,000", "2,400")),
    Group("Starts with a number", ("5, 6, 7, 8", "5", "6", "1. FC KÖLN")),
    Group("Wears a quotation mark or a star", ("O'CLOCK", "ROCK 'N' ROLL", '"HEROES"', "*NSYNC")),
    Group("Not on a typewriter", ("CAFÉ", "LEAD (METAL)", "👨‍👩‍👧", "❤️")),
)

# "5, 6, 7, 8" can be read as "5, 6" | 7 | 8 and as 5 | "6, 7" | 8.
AMBIGUOUS = make(
    "ambiguous",
    Group("Pairs, and an odd one", ("5, 6", "6, 7", "ELEVEN")),
    Group("Low", ("5", "6", "7")),
    Group("High", ("8", "9", "TEN")),
)

THREE = make(
    "three",
    Group("Bees make it", ("HONEY", "WAX", "BUZZ")),
    Group("Kinds of bread", ("RYE", "PITA", "NAAN")),
    Group("Parts of a ship", ("KEEL", "MAST", "HULL")),
)

FIVE = make(
    "five",
    Group("Trees", ("OAK", "ELM", "ASH", "YEW", "FIR")),
    Group("Kitchen tools", ("WHISK", "LADLE", "SIEVE", "GRATER", "TONGS")),
    Group("Card games", ("WHIST", "RUMMY", "SNAP", "BRIDGE", "HEARTS")),
    Group("Knots", ("REEF", "GRANNY", "SLIP", "BOWLINE", "HITCH")),
    Group("Fabrics", ("DENIM", "LINEN", "TWILL", "SATIN", "FELT")),
)

# Nonsense: a group shares its first syllable.
SIX = make(
    "six",
    *(
        Group(f"Starts with {head}", tuple(head + tail for tail in ("DAK", "MEP", "NIL", "ROV", "SUB", "TYX")))
        for head in ("BA", "FE", "GI", "JO", "KU", "LY")
    ),
)

BOARDS = (PLAIN, TRICKY, AMBIGUOUS, THREE, FIVE, SIX)
boards = st.sampled_from(BOARDS)
any_text = st.text(st.characters(exclude_categories=()), max_size=30)  # control characters and lone surrogates too


def perfect(puzzle: Puzzle) -> list[Guess]:
    """The guesses of a perfect game: every group but the last, which the game completes itself."""
    return [Guess(group.members) for group in puzzle.groups[:-1]]


def guesses_on(puzzle: Puzzle) -> st.SearchStrategy[list[Guess]]:
    """Histories of all kinds: right groups, near misses, random picks, junk, and replies that held no guess."""
    items = st.sampled_from(puzzle.items)
    right = st.sampled_from(puzzle.groups).map(lambda group: group.members)
    near = st.tuples(right, items).map(lambda pair: (*pair[0][1:], pair[1]))
    picks = st.lists(items, min_size=puzzle.group_size, max_size=puzzle.group_size, unique=True).map(tuple)
    junk = st.lists(items | any_text, max_size=puzzle.group_size + 2).map(tuple)
    unread = st.sampled_from(["no_guess", "several_guesses"]).map(lambda problem: Guess(problem=problem))
    return st.lists(st.one_of(right, right, near, picks, junk).map(Guess) | unread, max_size=16)
