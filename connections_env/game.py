"""The game as a value: a state is a puzzle, a ruleset and the turns so far; all else is derived from them.

    state = GameState(puzzle, NYT)
    state = play(state, Guess(("BUN", "ROLL", "BAGEL", "SCONE")))
    state.turns[-1].status, state.mistakes, observe(state)

A guess status is `correct`, `one_away`, `incorrect`, `invalid` (with a reason, and no mistake) or `auto`: the last
group, which the game completes itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Guess:
    """What a reply guessed: words as written, or why no single guess could be read."""

    words: tuple[str, ...] = ()
    problem: Literal["no_guess", "several_guesses"] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
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

    @cached_property
    def found(self) -> tuple[int, ...]:
        """Indices of the found groups, in the order found."""
        return tuple(turn.category_idx for turn in self.turns if turn.category_idx is not None)

    @cached_property
    def remaining(self) -> tuple[str, ...]:
        """Items of groups not yet found, in board order."""
        group_of, found = self.puzzle.group_of, set(self.found)
        return tuple(item for item in self.puzzle.items if group_of[item] not in found)

    @cached_property
    def mistakes(self) -> int:
        count, to_find = 0, len(self.puzzle.groups)
        for turn in self.turns:
            if turn.category_idx is not None:
                to_find -= 1
            elif turn.status != "invalid" and is_mistake(self.ruleset, to_find):
                count += 1
        return count

    @property
    def asks_themes(self) -> bool:
        """Is the next reply to name the themes?"""
        return self.ruleset.asks_themes and self.themes is None and not self.remaining

    @property
    def complete_reason(self) -> str | None:
        """Why the game is over by its own rules, or None while it goes on."""
        if self.themes is not None:
            return "theme_guessing_complete"
        if not self.remaining:
            return None if self.ruleset.asks_themes else "all_categories_found"
        return "max_mistakes" if self.mistakes >= self.ruleset.mistakes_allowed else None

    @property
    def player_turns(self) -> tuple[Turn, ...]:
        return tuple(turn for turn in self.turns if turn.status != "auto")


def is_mistake(ruleset: Ruleset, to_find: int) -> bool:
    """Does a wrong guess count while so many groups are still to be found?"""
    return ruleset.mistakes_count_from is None or to_find <= ruleset.mistakes_count_from


def judge(state: GameState, guess: Guess) -> Turn:
    """The verdict on a guess. Reasons are tried in the order of `Reason`, so that each guess has exactly one."""
    puzzle = state.puzzle
    words = tuple(puzzle.by_plain.get(normalise(word), word) for word in guess.words)
    if guess.problem is not None:
        return Turn(words, "invalid", reason=guess.problem)
    if not words:
        return Turn(words, "invalid", reason="no_guess")
    if len(words) != puzzle.group_size:
        return Turn(words, "invalid", reason="wrong_count")
    if any(word not in puzzle.group_of for word in words):
        return Turn(words, "invalid", reason="not_on_board")
    if any(puzzle.group_of[word] in state.found for word in words):
        return Turn(words, "invalid", reason="already_found")
    chosen = frozenset(words)
    if len(chosen) < len(words):
        return Turn(words, "invalid", reason="repeated_item")
    if any(turn.status != "invalid" and chosen == frozenset(turn.words) for turn in state.turns):
        return Turn(words, "invalid", reason="already_guessed")
    closest, hits = _closest_group(puzzle, words)
    if hits == puzzle.group_size:
        return Turn(words, "correct", category_idx=closest)
    return Turn(words, "one_away" if hits == puzzle.group_size - 1 else "incorrect")


def _closest_group(puzzle: Puzzle, words: tuple[str, ...]) -> tuple[int, int]:
    """Index of the group most of the words belong to, and how many of them do."""
    indices = [puzzle.group_of[word] for word in words]
    return max(((index, indices.count(index)) for index in indices), key=lambda pair: pair[1])


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
    after = replace(state, turns=(*state.turns, judge(state, guess)))
    left = [i for i in range(len(state.puzzle.groups)) if i not in after.found]
    if after.turns[-1].status == "correct" and len(left) == 1:
        after = replace(after, turns=(*after.turns, Turn(after.remaining, "auto", category_idx=left[0])))
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
