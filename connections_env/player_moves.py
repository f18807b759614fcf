"""What the simulated player does: how well each tier plays, what it guesses next, and in which way it goes wrong.

The rates are those of 1,918 public games of 88 models.
"""

import hashlib
import math
from dataclasses import dataclass
from itertools import combinations
from random import Random
from statistics import NormalDist

from connections_env.game import GameState
from connections_env.items import item_list
from connections_env.parsing import read_guess
from connections_env.player_talk import pick, weighted
from connections_env.puzzles import Group, Puzzle


@dataclass(frozen=True, slots=True)
class Tier:
    """How well a player plays. Skills are log-odds, fitted so that whole games come out as the measured ones did."""

    skill: tuple[float, float, float]
    """A valid guess is right, on the middling puzzle: no group found yet, some found, two groups left."""
    spread: float
    """What one standard deviation of a puzzle's hardness takes from the skill, in every game alike."""
    luck: float
    """What one standard deviation of a game's luck takes from it."""
    after_near: float
    """Added to the skill when the last valid guess was one away."""
    invalid: float
    """Share of invalid replies after a valid one."""
    stuck: float
    """Share of invalid replies after an invalid one."""
    repeats: float
    """Weight, among the ways to be invalid, of giving an earlier wrong guess again."""
    tokens: float
    """Median output tokens of a reply."""
    tokens_sigma: float
    """Standard deviation of their natural logarithm between games."""
    theme: float
    """A theme is named right."""


TIERS = {
    "weak": Tier((-1.27, -3.26, -4.02), 0.79, 1.42, 0.45, 0.045, 0.30, 5.0, 600, 1.45, 0.25),
    "low": Tier((0.85, -1.45, -2.6), 2.73, 1.95, 0.385, 0.058, 0.55, 2.5, 950, 1.08, 0.40),
    "middle": Tier((3.05, 0.9, 0.75), 2.9, 1.75, 0.35, 0.054, 0.60, 2.0, 1900, 1.60, 0.60),
    "strong": Tier((3.7, 2.75, 2.4), 1.6, 1.5, -0.3, 0.045, 0.05, 1.5, 1550, 1.13, 0.80),
    "best": Tier((3.57, 4.26, 4.29), 1.0, 0.56, -1.2, 0.011, 0.083, 0.3, 620, 1.22, 0.93),
}
NEAR_MISS = 0.56  # share of one-aways among wrong guesses
# Ways to be invalid and how often real models are so, in percent of all messages; repeats differ by tier.
BLUNDERS = {"no_tag": 3.7, "found_item": 0.5, "wrong_count": 0.3, "misspelt": 0.2, "two_guesses": 0.2}


@dataclass(frozen=True, slots=True)
class Move:
    blunder: str | None
    """A key of `BLUNDERS`, `repeat`, or None for a valid guess."""
    words: tuple[str, ...]
    group: Group | None
    """The group that the words are, if they are one."""


def hardness(puzzle: Puzzle) -> float:
    """How hard a puzzle is for every player, about standard normal; its `difficulty` (1 to 5) counting half."""
    own = NormalDist().inv_cdf((int(hashlib.sha256(puzzle.key.encode()).hexdigest()[:12], 16) + 0.5) / 16**12)
    if puzzle.difficulty is None:
        return own
    return 0.7 * own + 0.7 * (min(max(puzzle.difficulty, 1.0), 5.0) - 2.7)


def decide(rng: Random, state: GameState, tier: Tier, burden: float) -> Move:
    """The next move. `burden` is what puzzle and game take from the skill, in log-odds."""
    last = state.turns[-1] if state.turns else None
    valid = [turn for turn in state.player_turns if turn.status != "invalid"]
    wrong = [turn.words for turn in valid if turn.status != "correct" and {*turn.words} <= {*state.remaining}]
    near = valid[-1].words if wrong and valid[-1].status == "one_away" else ()
    groups = [group for i, group in enumerate(state.puzzle.groups) if i not in state.found]
    stage = 0 if not state.found else 2 if len(groups) == 2 else 1
    skill = tier.skill[stage] - burden + (tier.after_near if near else 0.0)

    aim = _next_group(rng, state.puzzle, groups, near)
    astray = wrong_guess(rng, state, near) if rng.random() >= 1 / (1 + math.exp(-skill)) else ()
    words = astray or tuple(rng.sample(aim.members, len(aim.members)))
    group = None if astray else aim
    if rng.random() >= (tier.stuck if last and last.status == "invalid" else tier.invalid):
        return Move(None, words, group)
    blunder = weighted(rng, BLUNDERS | {"repeat": tier.repeats})
    return _blunder(rng, state, Move(blunder, words, group), wrong)


def _next_group(rng: Random, puzzle: Puzzle, groups: list[Group], near: tuple[str, ...]) -> Group:
    """Mostly the group just missed, else one of the rest; each board has groups that are seen first."""
    if near and rng.random() < 0.8:
        return max(groups, key=lambda group: len({*group.members} & {*near}))
    first = sorted(groups, key=lambda group: hashlib.sha256(f"{puzzle.key}{group.members}".encode()).digest())
    return next((group for group in first if rng.random() < 0.55), first[-1])


def _blunder(rng: Random, state: GameState, move: Move, wrong: list[tuple[str, ...]]) -> Move:
    """The move made invalid in its way, or without a tag where that way is not open: no earlier guess, say."""
    words, at = list(move.words), rng.randrange(len(move.words))
    found = [item for item in state.puzzle.items if item not in state.remaining]
    match move.blunder:
        case "repeat" if wrong:
            return Move("repeat", pick(rng, wrong), None)
        case "found_item" if found:
            words[at] = pick(rng, found)
        case "wrong_count":
            spare = [item for item in state.remaining if item not in words]
            words = words[:-1] if rng.random() < 0.5 else [*words, pick(rng, spare)]
        case "misspelt":
            words[at] = misspelt(rng, words[at], state.puzzle)
        case "two_guesses":
            pass
        case _:
            return Move("no_tag", move.words, move.group)
    return Move(move.blunder, tuple(words), None if move.blunder != "two_guesses" else move.group)


def wrong_guess(rng: Random, state: GameState, near: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A plausible guess that is wrong and new: mostly a group with one intruder. Empty if there is none."""
    puzzle = state.puzzle
    groups = [group.members for i, group in enumerate(puzzle.groups) if i not in state.found]
    size = puzzle.group_size
    tried = {frozenset(turn.words) for turn in state.turns}
    away = 1 if size == 2 or rng.random() < NEAR_MISS else 2
    for _ in range(12):
        home = pick(rng, groups)
        if near and rng.random() < 0.8:
            home = max(groups, key=lambda members: len({*members} & {*near}))
        # The board's own trap: the same members let go and the same intruders let in, game after game.
        trap = Random(puzzle.key + home[0]) if rng.random() < 0.5 else rng
        mates = trap.sample(home, size)
        others = trap.sample([item for group in groups if group != home for item in group], size)
        guess = mates[: size - away] + others[:away]
        if away == 2 and max(len({*guess} & {*members}) for members in groups) >= size - 1:
            # Two intruders of one group beside a single mate would be one away from that group: size 3.
            guess = [group[0] for group in groups][:size] if len(groups) >= size else mates[:-1] + others[:1]
        if frozenset(guess) not in tried:
            rng.shuffle(guess)
            return tuple(guess)
    left = (guess for guess in combinations(state.remaining, size) if frozenset(guess) not in tried)
    return next((guess for guess in left if len({puzzle.group_of[item] for item in guess}) > 1), ())


def misspelt(rng: Random, item: str, puzzle: Puzzle) -> str:
    """An item with a slip in it, that is no item of the board."""
    at = rng.randrange(len(item))
    slips = [item[:at] + item[at + 1 :], item[:at] + item[at] + item[at:], item + "S"]
    for slip in [*rng.sample(slips, 3), item + " X"]:
        read = read_guess(f"<guess>{item_list([slip])}</guess>", puzzle).words
        if read and not any(word in puzzle.group_of for word in read):
            return slip
    return item + " X"
