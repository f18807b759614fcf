"""The game as a value: a state is a puzzle, a ruleset and the turns so far; all else is derived from them.

    state = GameState(puzzle, NYT)
    state = play(state, Guess(("BUN", "ROLL", "BAGEL", "SCONE")))
    state.turns[-1].status, state.mistakes, observe(state)

A guess status is `correct`, `one_away`, `incorrect`, `invalid` (with a reason, and no mistake) or `auto`: the last
group, which the game completes itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

from connections_env.puzzles import Puzzle, normalise
from connections_env.rulesets import Ruleset

Status = Literal["correct", "one_away", "incorrect", "invalid", "auto"]
Reason = Literal[
    "no_guess",
    "several_guesses",
    "wrong_count",
    "not_on_board",
    "already_found",
    "repeated_item",
    "already_guessed",
]
WON = frozenset({"all_categories_found", "theme_guessing_complete"})


class Guess(NamedTuple):
    """What a reply guessed: words as written, or why no single guess could be read."""

    words: tuple[str, ...] = ()
    problem: Literal["no_guess", "several_guesses"] | None = None


class Turn(NamedTuple):
    """A guess with the game's verdict. Words on the board are spelled as there; `category_idx` is the found group's."""

    words: tuple[str, ...]
    status: Status
    category_idx: int | None = None
    reason: Reason | None = None


@dataclass(frozen=True)
class GameState:
    puzzle: Puzzle
    ruleset: Ruleset
    turns: tuple[Turn, ...] = ()
    themes: tuple[str, ...] | None = None
    """The player's naming of the themes, in the order the groups were found; None until given."""
    # Derived from the turns when a state is made, since every verdict asks for them several times.
    found: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Indices of the found groups, in the order found."""
    mistakes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        mistakes, to_find, found = 0, len(self.puzzle.groups), list[int]()
        for _, status, category_idx, _ in self.turns:
            if category_idx is not None:
                found.append(category_idx)
                to_find -= 1
            elif status != "invalid":
                mistakes += is_mistake(self.ruleset, to_find)
        object.__setattr__(self, "found", tuple(found))
        object.__setattr__(self, "mistakes", mistakes)

    @cached_property
    def remaining(self) -> tuple[str, ...]:
        """Items of groups not yet found, in board order."""
        group_of, found = self.puzzle.group_of, set(self.found)
        return tuple(item for item in self.puzzle.items if group_of[item] not in found)

    @property
    def all_found(self) -> bool:
        return len(self.found) == len(self.puzzle.groups)

    @property
    def asks_themes(self) -> bool:
        """Is the next reply to name the themes?"""
        return self.ruleset.asks_themes and self.themes is None and self.all_found

    @cached_property
    def complete_reason(self) -> str | None:
        """Why the game is over by its own rules, or None while it goes on."""
        if self.themes is not None:
            return "theme_guessing_complete"
        if len(self.found) == len(self.puzzle.groups):
            return None if self.ruleset.asks_themes else "all_categories_found"
        return "max_mistakes" if self.mistakes >= self.ruleset.mistakes_allowed else None

    @property
    def player_turns(self) -> tuple[Turn, ...]:
        return tuple(turn for turn in self.turns if turn.status != "auto")


def is_mistake(ruleset: Ruleset, to_find: int) -> bool:
    """Does a wrong guess count while so many groups are still to be found?"""
    return ruleset.mistakes_count_from is None or to_find <= ruleset.mistakes_count_from


def mistakes_in(statuses: Iterable[str], ruleset: Ruleset, groups: int) -> int:
    """Mistakes in a game on a board of so many groups, by the statuses of the player's guesses."""
    found = mistakes = 0
    for status in statuses:
        if status == "correct":
            found += 1
        elif status != "invalid":
            mistakes += is_mistake(ruleset, groups - found)
    return mistakes


def judge(state: GameState, guess: Guess) -> Turn:
    """The verdict on a guess. Reasons are tried in the order of `Reason`, so that each guess has exactly one."""
    puzzle, words = state.puzzle, guess.words
    groups = [puzzle.group_of.get(word) for word in words]
    if None in groups:  # not, or not all, spelled as on the board
        words = tuple([puzzle.by_plain.get(normalise(word), word) for word in words])
        groups = [puzzle.group_of.get(word) for word in words]
    if guess.problem is not None:
        return Turn(words, "invalid", reason=guess.problem)
    if not words:
        return Turn(words, "invalid", reason="no_guess")
    if len(words) != puzzle.group_size:
        return Turn(words, "invalid", reason="wrong_count")
    if None in groups:
        return Turn(words, "invalid", reason="not_on_board")
    if not (meant := set(groups)).isdisjoint(state.found):
        return Turn(words, "invalid", reason="already_found")
    chosen = set(words)
    if len(chosen) < len(words):
        return Turn(words, "invalid", reason="repeated_item")
    if len(meant) == 1:
        return Turn(words, "correct", category_idx=groups[0])
    if chosen in [set(turn.words) for turn in state.turns if turn.status in ("one_away", "incorrect")]:
        return Turn(words, "invalid", reason="already_guessed")
    one_away = max(map(groups.count, groups)) == puzzle.group_size - 1
    return Turn(words, "one_away" if one_away else "incorrect")


def groups_one_away(state: GameState) -> frozenset[int]:
    """Indices of the groups that some guess missed by one item."""
    group_of, need = state.puzzle.group_of, state.puzzle.group_size - 1
    near: set[int] = set()
    for turn in state.turns:
        if turn.status == "one_away":
            indices = [group_of[word] for word in turn.words]
            near.update(index for index in indices if indices.count(index) == need)
    return frozenset(near)


def play(state: GameState, guess: Guess) -> GameState:
    """The state after a guess, the last group completed by the game itself. ValueError when the game is over."""
    if state.complete_reason is not None or state.asks_themes:
        raise ValueError("no guess is due: all groups are found or the game is over")
    after = GameState(state.puzzle, state.ruleset, (*state.turns, judge(state, guess)))
    if after.turns[-1].status == "correct" and len(after.found) == len(state.puzzle.groups) - 1:
        last = state.puzzle.group_of[after.remaining[0]]
        after = GameState(state.puzzle, state.ruleset, (*after.turns, Turn(after.remaining, "auto", category_idx=last)))
    return after


def name_themes(state: GameState, themes: Iterable[str]) -> GameState:
    """The state after the one reply that names the themes. ValueError when none is due."""
    if not state.asks_themes:
        raise ValueError("no themes are due")
    return replace(state, themes=tuple(themes))


def themes_right(state: GameState) -> tuple[bool, ...]:
    """For each group in the order found: does the player's theme hold one of its linking terms (or its theme)?"""
    named = state.themes or ()
    return tuple(i < len(named) and _names_theme(named[i], state.puzzle, index) for i, index in enumerate(state.found))


def _names_theme(said: str, puzzle: Puzzle, index: int) -> bool:
    group = puzzle.groups[index]
    terms = [term for term in map(normalise, group.linking_terms or (group.theme,)) if term]
    return any(term in normalise(said) for term in terms)


def replay(puzzle: Puzzle, ruleset: Ruleset, guesses: Iterable[Guess]) -> GameState:
    """The state after a sequence of guesses; those after the end of the game are not played."""
    state = GameState(puzzle, ruleset)
    for guess in guesses:
        if state.complete_reason is not None or state.asks_themes:
            break
        state = play(state, guess)
    return state


@dataclass(frozen=True, slots=True)
class FoundGroup:
    items: tuple[str, ...]
    theme: str | None
    """None where the ruleset does not show it yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The last guess as its player may know it: `one_away` reads `incorrect` where the ruleset gives no hint."""

    words: tuple[str, ...]
    status: Status
    reason: Reason | None
    was_mistake: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """All that the player may see. It has no field that could hold the answer to an unfound group."""

    ruleset: Ruleset
    groups_total: int
    group_size: int
    remaining: tuple[str, ...]
    found: tuple[FoundGroup, ...]
    mistakes: int
    mistakes_count: bool
    """Would a wrong guess now be a mistake?"""
    last: Verdict | None
    asks_themes: bool


def observe(state: GameState) -> Observation:
    """What the player sees of a state."""
    puzzle, ruleset = state.puzzle, state.ruleset
    in_board_order = {i: tuple(w for w in puzzle.items if puzzle.group_of[w] == i) for i in state.found}
    found = tuple(
        FoundGroup(in_board_order[i], puzzle.groups[i].theme if ruleset.reveals_themes else None) for i in state.found
    )
    last = None
    if state.player_turns:
        turn = state.player_turns[-1]
        before = replace(state, turns=state.turns[:-1])
        status: Status = "incorrect" if turn.status == "one_away" and not ruleset.one_away_hint else turn.status
        last = Verdict(turn.words, status, turn.reason, was_mistake=state.mistakes > before.mistakes)
    return Observation(
        ruleset=ruleset,
        groups_total=len(puzzle.groups),
        group_size=puzzle.group_size,
        remaining=state.remaining,
        found=found,
        mistakes=state.mistakes,
        mistakes_count=is_mistake(ruleset, len(puzzle.groups) - len(state.found)),
        last=last,
        asks_themes=state.asks_themes,
    )
