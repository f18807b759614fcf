"""A simulated player: it knows the answers to a set of puzzles and errs at rates measured on real models.

    player = SimulatedPlayer(puzzles, strength="strong", seed=0)
    player.complete({"model": "simulated", "messages": [...]}, request_id="7-0")  # an OpenAI ChatCompletion as a dict

The rates are those of 1,918 public games of 88 models, in five tiers. The same seed, request id and messages always
give the same bytes: nothing here reads a clock or keeps a state that shows.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from random import Random
from statistics import NormalDist
from typing import Any

from connections_env.completions import SIMULATED
from connections_env.game import GameState, name_themes, play
from connections_env.items import item_list
from connections_env.parsing import read_guess, read_themes
from connections_env.player_talk import (
    CHARS_PER_TOKEN,
    FORMS,
    LEADS,
    NO_GAME,
    UNDECIDED,
    Said,
    cut_to,
    named_groups,
    pick,
    presented,
    reasoning_for,
    ring_of_items,
    shortened,
    weighted,
    written,
)
from connections_env.prompts import SHORTEN, rules
from connections_env.puzzles import Group, Puzzle, board_key
from connections_env.rulesets import NYT, RULESETS, Ruleset

LONGEST_REASONING = 56_000  # characters; with the rest of the reply it stays under 60 kB


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
_BLUNDERS = {"no_tag": 3.7, "found_item": 0.5, "wrong_count": 0.3, "misspelt": 0.2, "two_guesses": 0.2}
_NO_TAG = {"prose": 55, "unclosed": 15, "cut_off": 15, "undecided": 15}


@dataclass(frozen=True, slots=True)
class _Move:
    blunder: str | None
    """A key of `_BLUNDERS`, `repeat`, or None for a valid guess."""
    words: tuple[str, ...]
    group: Group | None
    """The group that the words are, if they are one."""


class SimulatedPlayer:
    """Plays the given puzzles. Raises ValueError for an unknown strength; `complete` raises nothing on any messages."""

    def __init__(self, puzzles: Iterable[Puzzle], strength: str = "strong", seed: int = 0) -> None:
        if strength not in TIERS:
            raise ValueError(f"no player strength {strength!r}; there are {', '.join(TIERS)}")
        self.strength, self.tier, self.seed = strength, TIERS[strength], seed
        self.puzzles = {puzzle.key: puzzle for puzzle in puzzles}
        self._systems = {rules(ruleset): ruleset for ruleset in RULESETS.values()}
        # A conversation comes back one turn longer each time: what was read or played once need not be again.
        self._board = lru_cache(maxsize=4096)(lambda first: self.puzzles.get(board_key(_listed(first))))
        self._read = lru_cache(maxsize=4096)(lambda content, key: read_guess(content, self.puzzles[key]))
        self._state = lru_cache(maxsize=4096)(self._replayed)

    def complete(self, body: dict[str, Any], request_id: str) -> dict[str, Any]:
        """The ChatCompletion that answers a chat-completions request body; `request_id` tells first from second try."""
        messages = [message for message in body.get("messages") or () if isinstance(message, dict)]
        turns = [(str(message.get("role")), _text(message.get("content"))) for message in messages]
        key = json.dumps([self.seed, self.strength, request_id, turns])
        digest = hashlib.sha256(key.encode()).hexdigest()
        thinks = (body.get("thinking") or {}) != {"type": "disabled"}
        said = self._say(Random(int(digest[:16], 16)), turns, request_id, thinks)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if isinstance(limit, int):
            said = cut_to(said, limit * CHARS_PER_TOKEN)
        return _completion(said, body.get("model"), turns, digest)

    def _say(self, rng: Random, turns: list[tuple[str, str]], request_id: str, thinks: bool) -> Said:
        system = next((text for role, text in turns if role == "system"), "")
        first = next((text for role, text in turns if role == "user"), "")
        if system == SHORTEN:
            return shortened(rng, first, thinks)
        puzzle = self._board(first)
        if puzzle is None:
            return Said(NO_GAME)
        replies = tuple(text for role, text in turns if role == "assistant")
        ruleset = self._systems.get(system, NYT)
        for n in range(len(replies) + 1):  # from the front, so that no conversation is long enough to recurse far
            state = self._state(puzzle.key, ruleset, replies[:n])
        if state.complete_reason is not None:
            return Said("The game is over. Thank you for playing.")
        game = Random(json.dumps([self.seed, self.strength, request_id, puzzle.key]))
        hard, luck, pace = hardness(puzzle), game.gauss(0, 1), game.gauss(0, 1)
        # Hard puzzles make long reasoning: half of the variance of a game's length is the puzzle's own.
        length = self.tier.tokens_sigma * (0.6 * hard + 0.8 * pace) + 0.35 * rng.gauss(0, 1)
        size = min(int(CHARS_PER_TOKEN * self.tier.tokens * math.exp(length)), LONGEST_REASONING)
        if state.asks_themes:
            return presented(rng, *named_groups(rng, state, self.tier.theme, self.tier.invalid, size), thinks)
        move = _decide(rng, state, self.tier, self.tier.spread * hard + self.tier.luck * luck)
        reasoning = reasoning_for(rng, state, move.words, move.group, size if thinks else 240)
        if move.blunder == "no_tag" and (how := weighted(rng, _NO_TAG)) in ("cut_off", "undecided"):
            if how == "undecided":
                return presented(rng, reasoning, pick(rng, UNDECIDED).format(*ring_of_items(rng, state)), thinks)
            cut = reasoning[: -rng.randint(5, 40)]
            return Said("", cut, "length") if thinks else Said(cut, None, "length")
        return presented(rng, reasoning, self._write(rng, state, move), thinks)

    def _replayed(self, key: str, ruleset: Ruleset, replies: tuple[str, ...]) -> GameState:
        if not replies:
            return GameState(self.puzzles[key], ruleset)
        state = self._state(key, ruleset, replies[:-1])
        if state.complete_reason is not None:
            return state
        if state.asks_themes:
            return name_themes(state, read_themes(replies[-1]))
        return play(state, self._read(replies[-1], key))

    def _write(self, rng: Random, state: GameState, move: _Move) -> str:
        """What stands after the reasoning: a sentence and the guess, in a form in which it is read as it is meant."""
        puzzle, lead = state.puzzle, pick(rng, LEADS)
        if move.blunder == "no_tag":
            listed = ", ".join(move.words)
            return f"{lead} {listed}." if rng.random() < 0.8 else f"{lead}\n\n<guess>{listed}"
        form = weighted(rng, FORMS)
        if move.blunder not in (None, "repeat"):
            content = f"{lead}\n\n<guess>{written(move.words, form)}</guess>"
            if move.blunder == "two_guesses":
                other = wrong_guess(rng, state) or move.words[::-1][1:]
                content += f"\n\nOr rather:\n\n<guess>{written(other, form)}</guess>"
            return content
        for readable in (form, "backticks", "json", "bullets"):
            content = f"{lead}\n\n<guess>{written(move.words, readable)}</guess>"
            if set(self._read(content, puzzle.key).words) == set(move.words):
                break
        return content


def hardness(puzzle: Puzzle) -> float:
    """How hard a puzzle is for every player, about standard normal; its `difficulty` (1 to 5) counting half."""
    own = NormalDist().inv_cdf((int(hashlib.sha256(puzzle.key.encode()).hexdigest()[:12], 16) + 0.5) / 16**12)
    if puzzle.difficulty is None:
        return own
    return 0.7 * own + 0.7 * (min(max(puzzle.difficulty, 1.0), 5.0) - 2.7)


def _decide(rng: Random, state: GameState, tier: Tier, burden: float) -> _Move:
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
        return _Move(None, words, group)
    blunder = weighted(rng, _BLUNDERS | {"repeat": tier.repeats})
    return _blunder(rng, state, _Move(blunder, words, group), wrong)


def _next_group(rng: Random, puzzle: Puzzle, groups: list[Group], near: tuple[str, ...]) -> Group:
    """Mostly the group just missed, else one of the rest; each board has groups that are seen first."""
    if near and rng.random() < 0.8:
        return max(groups, key=lambda group: len({*group.members} & {*near}))
    first = sorted(groups, key=lambda group: hashlib.sha256(f"{puzzle.key}{group.members}".encode()).digest())
    return next((group for group in first if rng.random() < 0.55), first[-1])


def _blunder(rng: Random, state: GameState, move: _Move, wrong: list[tuple[str, ...]]) -> _Move:
    """The move made invalid in its way, or without a tag where that way is not open: no earlier guess, say."""
    words, at = list(move.words), rng.randrange(len(move.words))
    found = [item for item in state.puzzle.items if item not in state.remaining]
    match move.blunder:
        case "repeat" if wrong:
            return _Move("repeat", pick(rng, wrong), None)
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
            return _Move("no_tag", move.words, move.group)
    return _Move(move.blunder, tuple(words), None if move.blunder != "two_guesses" else move.group)


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


def _completion(said: Said, model: Any, turns: list[tuple[str, str]], digest: str) -> dict[str, Any]:
    sizes = [len(text) // CHARS_PER_TOKEN + 4 for _, text in turns]
    # What an earlier request of this conversation sent is cached, in blocks of 64 tokens.
    sent_before = max((i for i, (role, _) in enumerate(turns) if role == "assistant"), default=0)
    reasoning_tokens = -(-len(said.reasoning or "") // CHARS_PER_TOKEN)
    output = reasoning_tokens + -(-len(said.content) // CHARS_PER_TOKEN)
    message = {"role": "assistant", "content": said.content}
    if said.reasoning is not None:
        message["reasoning_content"] = said.reasoning
    return {
        "id": f"chatcmpl-{digest[:24]}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "system_fingerprint": SIMULATED,
        "choices": [{"index": 0, "message": message, "finish_reason": said.finish_reason, "logprobs": None}],
        "usage": {
            "prompt_tokens": sum(sizes),
            "completion_tokens": output,
            "total_tokens": sum(sizes) + output,
            "prompt_tokens_details": {"cached_tokens": sum(sizes[:sent_before]) // 64 * 64},
            "completion_tokens_details": {"reasoning_tokens": reasoning_tokens},
        },
    }


def _text(content: Any) -> str:
    """A message's text; content may also come as a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _listed(message: str) -> list[str]:
    """The items that `prompts.opening` lists. They are cut at what stands between two, as an item may hold anything."""
    start, end = message.find("[`"), message.rfind("`]")
    return message[start + 2 : end].split("`, `") if 0 <= start < end else []
