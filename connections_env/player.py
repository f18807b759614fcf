"""A simulated player: it knows the answers to a set of puzzles and errs at rates measured on real models.

    player = SimulatedPlayer(puzzles, strength="strong", seed=0)
    player.complete({"model": "simulated", "messages": [...]}, request_id="7-0")  # an OpenAI ChatCompletion as a dict

The rates are those of 1,918 public games of 88 models, in five tiers. The same seed, request id and messages always
give the same bytes: nothing here reads a clock or keeps a state that shows.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from random import Random
from statistics import NormalDist
from typing import Any

from connections_env.game import GameState, Turn, name_themes, play
from connections_env.parsing import item_list, read_guess, read_themes
from connections_env.prompts import SHORTEN, rules
from connections_env.puzzles import Group, Puzzle, board_key, normalise
from connections_env.rulesets import NYT, RULESETS, Ruleset

CHARS_PER_TOKEN = 4
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
    "weak": Tier((-1.27, -3.26, -4.02), 0.79, 1.42, 0.45, 0.045, 0.30, 2.0, 600, 1.45, 0.25),
    "low": Tier((0.85, -1.45, -2.6), 2.73, 1.95, 0.385, 0.058, 0.55, 1.5, 950, 1.08, 0.40),
    "middle": Tier((3.15, 1.05, 0.9), 2.9, 1.75, 0.3, 0.054, 0.60, 1.0, 1900, 1.60, 0.60),
    "strong": Tier((3.7, 2.8, 2.4), 1.5, 1.5, -0.3, 0.045, 0.05, 0.5, 1550, 1.13, 0.80),
    "best": Tier((3.57, 4.26, 4.29), 1.0, 0.56, -1.2, 0.011, 0.083, 0.3, 620, 1.22, 0.93),
}
NEAR_MISS = 0.56  # share of one-aways among wrong guesses

# Ways to be invalid and how often real models are so, in percent of all messages; repeats differ by tier.
_BLUNDERS = {"no_tag": 3.7, "found_item": 0.5, "wrong_count": 0.3, "misspelt": 0.2, "two_guesses": 0.2}
_NO_TAG = {"prose": 55, "unclosed": 15, "cut_off": 15, "undecided": 15}
_FORMS = {"plain": 78, "backticks": 8, "json": 5, "bullets": 3, "other_case": 4, "quoted": 2}
_THINK_INLINE, _THINK_NOWHERE = 0.04, 0.005  # shares of replies; elsewhere reasoning comes in its own field

_OPENERS = (
    "Let me look over the board first: {0}, {1}, {2}, {3} and the rest.",
    "What stands out at once? {0} and {1}, and perhaps {2}.",
    "I start with the words that mean the fewest things. {0} is one, {1} another.",
    "Let me list what is left and see what {0} could be paired with.",
    "Some of these look like decoys, {0} and {2} above all, so I go slowly.",
    "First, the odd ones: {0} and {3} do not say much by themselves.",
)
_AFTER = {
    "correct": (
        "Good, that one is settled. What remains should be easier to split.",
        "That worked, so those items are out of the way.",
        "Right. Now the same again with fewer items.",
    ),
    "one_away": (
        "One away: all but one of {words} belong together, so which is the intruder?",
        "So close. I keep most of {words} and swap a single item.",
        "Only one item of {words} is wrong. Which of them has the best other home?",
    ),
    "incorrect": (
        "That was wrong, so {words} do not go together the way I thought.",
        "Not it. I should take {words} apart and start from another corner.",
        "Hm, {words} mixed at least two groups. Back to the list.",
    ),
    "invalid": (
        "My last guess did not count, so I must mind the format and the spelling this time.",
        "That guess was not valid. I check every item against the list before I answer.",
        "No mistake was counted, but a turn is gone. Again, carefully.",
    ),
}
_MUSINGS = (
    "{0} could be meant literally, but next to {1} and {2} it reads differently.",
    "Does {0} go with {1}? Possibly, though then {2} needs another partner.",
    "If {0} and {1} are together, {2} has to fit as well, and I am not sure that it does.",
    "{0} has at least two meanings, and the second one brings {3} to mind.",
    "Another thought: {1}, {2} and {3} might all follow the same word.",
    "Could {0} be a name? With {2} that would make two of them.",
    "I would not use {0} yet, since {1} pulls it one way and {3} the other.",
    "What about words that come before or after {0}? Then {2} may be one of those as well.",
    "{2} looks as if it were put there to tempt me towards {1}.",
    "Say {0} aloud: it sounds like something else, and so might {3}.",
    "Taking {0} out of the picture, {1} and {2} seem less alike than before.",
    "Let me try {1} as a verb. Then {0} would be a verb too, and {3} perhaps.",
    "There is a short list for {0}: {1} is on it, {3} is a stretch.",
    "Is {3} part of a longer phrase? I can think of one, but it does not help with {0}.",
    "I keep coming back to {0} and {2}. They share a flavour, but two items are no group.",
    "Hidden words: {0} might hold one, {1} does not seem to.",
    "If {1} is the decoy, then {0} is free and the rest falls into place more easily.",
    "Counting again: {0}, {1}, {2}. I would need more to call that a group.",
    "Suppose {2} is slang. {3} could be slang as well, {0} hardly.",
    "Both {0} and {3} feel old-fashioned, which may mean nothing.",
    "Wait, {1} also works with {2}, so that pairing is less safe than it looked.",
    "{0} is hard to place at all. I leave it for the end.",
    "The easy reading of {3} is probably the wrong one here.",
    "I could swap {1} for {0} and the set would still look fine, which worries me.",
    "Let me test it from the other side: where else would {2} go? Perhaps beside {3}.",
    "Change a letter in {0} and you get another word; with {1} I see nothing of the kind.",
    "People who make these boards like to hide {0} behind something like {2}.",
    "No, {0} with {3} is too loose, and too many others would fit it.",
    "That leaves {1}, {2} and {3} without a clear home for the moment.",
    "Hmm.",
    "So far so good, but {0} is still open.",
    "Let me go back a step and look at {2} without {1}.",
)
_PROPOSALS = (
    "What about {words}?",
    "One set that holds together: {words}.",
    "Trying {words} as a whole, each of them seems to do the same job.",
    "The set with the fewest doubts is {words}.",
    "So {words} would be a group, and what is left still divides evenly.",
)
_THEMES_SEEN = (
    'The link would be "{theme}".',
    'I would call it "{theme}".',
    'That fits "{theme}" with nothing left over.',
    '"{theme}" covers all of them.',
)
_DOUBTS = (
    "I am least sure of {0}.",
    "{0} might be the weak point, but I see nothing better.",
    "It is a bit of a gamble because of {0}.",
    "I cannot name the link cleanly, but they look alike.",
)
_CLOSERS = (
    "I will go with that.",
    "That is my guess.",
    "Good enough to try.",
    "Nothing else on the board competes with it, so I guess it now.",
)
_SAID = (
    "I think these belong together.",
    "My next guess is this set.",
    "Here is the group I am most confident in.",
    "These seem to share one theme. Let me try them.",
    "After weighing the alternatives, I choose the following.",
)
_UNDECIDED = (
    "I cannot decide between {0} and {1} yet. Could you tell me whether {2} is with them?",
    "There are two ways to place {0}, and I would rather think more before I guess.",
)
_VAGUE_THEMES = ("Things at home", "Kinds of weather", "Short words", "Famous firsts", "Said by a parent", "In a shop")
_NO_GAME = "I do not see a board that I know here. Send me the items of a game and I will look for the groups."


@dataclass(frozen=True, slots=True)
class _Said:
    """A reply before it is cut to length. `reasoning` None: the endpoint gives no such field."""

    content: str
    reasoning: str | None = None
    finish_reason: str = "stop"


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
            said = _cut(said, limit * CHARS_PER_TOKEN)
        return _completion(said, body.get("model"), turns, digest)

    def _say(self, rng: Random, turns: list[tuple[str, str]], request_id: str, thinks: bool) -> _Said:
        system = next((text for role, text in turns if role == "system"), "")
        first = next((text for role, text in turns if role == "user"), "")
        if system == SHORTEN:
            return _shortened(rng, first, thinks)
        puzzle = self._board(first)
        if puzzle is None:
            return _Said(_NO_GAME)
        replies = tuple(text for role, text in turns if role == "assistant")
        ruleset = self._systems.get(system, NYT)
        for n in range(len(replies) + 1):  # from the front, so that no conversation is long enough to recurse far
            state = self._state(puzzle.key, ruleset, replies[:n])
        if state.complete_reason is not None:
            return _Said("The game is over. Thank you for playing.")
        game = Random(f"{self.seed}\0{self.strength}\0{request_id}\0{puzzle.key}")
        hard, luck, pace = hardness(puzzle), game.gauss(0, 1), game.gauss(0, 1)
        # Hard puzzles make long reasoning: half of the variance of a game's length is the puzzle's own.
        length = self.tier.tokens_sigma * (0.6 * hard + 0.8 * pace) + 0.35 * rng.gauss(0, 1)
        size = min(int(CHARS_PER_TOKEN * self.tier.tokens * math.exp(length)), LONGEST_REASONING)
        if state.asks_themes:
            return _present(rng, *_name_groups(rng, state, self.tier, size), thinks)
        move = _decide(rng, state, self.tier, self.tier.spread * hard + self.tier.luck * luck)
        reasoning = _think(rng, state, move, size if thinks else 240)
        if move.blunder == "no_tag" and (how := _weighted(rng, _NO_TAG)) in ("cut_off", "undecided"):
            if how == "undecided":
                return _present(rng, reasoning, _pick(rng, _UNDECIDED).format(*_ring(rng, state)), thinks)
            cut = reasoning[: -rng.randint(5, 40)]
            return _Said("", cut, "length") if thinks else _Said(cut, None, "length")
        return _present(rng, reasoning, self._write(rng, state, move), thinks)

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
        puzzle, lead = state.puzzle, _pick(rng, _SAID)
        if move.blunder == "no_tag":
            listed = ", ".join(move.words)
            return f"{lead} {listed}." if rng.random() < 0.8 else f"{lead}\n\n<guess>{listed}"
        form = _weighted(rng, _FORMS)
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
    blunder = _weighted(rng, _BLUNDERS | {"repeat": tier.repeats})
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
            return _Move("repeat", _pick(rng, wrong), None)
        case "found_item" if found:
            words[at] = _pick(rng, found)
        case "wrong_count":
            spare = [item for item in state.remaining if item not in words]
            words = words[:-1] if rng.random() < 0.5 else [*words, _pick(rng, spare)]
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
        home = _pick(rng, groups)
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


def written(words: tuple[str, ...], form: str) -> str:
    """Words as they stand inside a guess tag, in one of the forms real models use."""
    if form == "plain" and any(re.search(r"[,;|'\"]", word) for word in words):
        form = "backticks"
    match form:
        case "backticks":
            return item_list(words)
        case "json":
            return json.dumps(words, ensure_ascii=False)
        case "quoted":
            return ", ".join(f'"{word}"' for word in words)
        case "bullets":
            return "\n" + "\n".join(f"- {word}" for word in words) + "\n"
        case "other_case":
            return ", ".join(word.title() if word.isupper() else word.lower() for word in words)
    return ", ".join(word.upper() for word in words)


def _think(rng: Random, state: GameState, move: _Move, size: int) -> str:
    """Reasoning of about `size` characters that ends at the move. A theme is only named where the group is right."""
    ring, listed = _ring(rng, state), ", ".join(move.words)
    if state.player_turns:
        last = state.player_turns[-1]
        shown = "incorrect" if last.status == "one_away" and not state.ruleset.one_away_hint else last.status
        start = [_pick(rng, _AFTER[shown]).format(words=_short(last))]
    else:
        start = [_pick(rng, _OPENERS).format(*ring)]
    end = [_pick(rng, _PROPOSALS).format(words=listed)]
    if move.group and move.group.theme:
        end.append(_pick(rng, _THEMES_SEEN).format(theme=move.group.theme))
    elif not move.group:
        end.append(_pick(rng, _DOUBTS).format(*move.words[:1], *ring))
    end.append(_pick(rng, _CLOSERS))
    return _join(rng, start, end, ring, size)


def _join(rng: Random, start: list[str], end: list[str], ring: list[str], size: int) -> str:
    """Start and end with as many musings between them as the size asks for, in paragraphs."""
    count = max(1, (size - sum(map(len, start + end))) // 83)
    musings, pace = rng.choices(_MUSINGS, k=count), rng.randint(3, 6)
    # A paragraph is formatted as a whole, about four items: most of a reply's time goes here.
    paragraphs = [
        " ".join(musings[n : n + pace]).format(*ring[(at := n * 3 % (len(ring) - 4)) : at + 4])
        for n in range(0, count, pace)
    ]
    return "\n\n".join([" ".join([*start, paragraphs[0]]), *paragraphs[1:], " ".join(end)])


def _name_groups(rng: Random, state: GameState, tier: Tier, size: int) -> tuple[str, str]:
    """Reasoning and the reply that names the themes, in the order the groups were found."""
    named, notes = [], []
    for group in (state.puzzle.groups[index] for index in state.found):
        terms = [term for term in group.linking_terms or (group.theme,) if normalise(term)]
        vague = [text for text in _VAGUE_THEMES if not any(normalise(term) in normalise(text) for term in terms)]
        right = rng.random() < tier.theme or not vague
        fits = group.theme if any(normalise(term) in normalise(group.theme) for term in terms) else terms[0]
        named.append(fits if right else _pick(rng, vague))
        notes.append(f'{", ".join(group.members)}: I would say "{named[-1]}".')
    reasoning = _join(rng, ["All groups are found, so only their names are left."], notes, _ring(rng, state), size)
    answer = json.dumps(named, ensure_ascii=False)
    tagged = rng.random() >= tier.invalid
    return reasoning, "These are the themes.\n\n" + (f"<themes>{answer}</themes>" if tagged else answer)


def _shortened(rng: Random, request: str, thinks: bool) -> _Said:
    """The answer to `prompts.shorten`. One in twenty is not what was asked for: too long, another guess, a lost tag."""
    asked, _, reply = request.partition("\n\n")
    target = int(next(iter(re.findall(r"\d+", asked)), 0)) * CHARS_PER_TOKEN
    head, opened, rest = reply.partition("<think>")
    inside, closed, tail = rest.rpartition("</think>")
    if not closed:
        return _Said(_NO_GAME)
    sentences = re.split(r"(?<=[.?!])\s+", inside.strip())
    # The end leads to the answer, so it is kept first; then the beginning, as far as there is room.
    kept, room = sentences[-1:], target - len(sentences[-1])
    front: list[str] = []
    for part, source in ((kept, sentences[-4:-1][::-1]), (front, sentences[:-4])):
        for sentence in source:
            if len(sentence) + 1 > room:
                break
            part.insert(0, sentence) if part is kept else part.append(sentence)
            room -= len(sentence) + 1
    shorter = " ".join([*front, *kept])[: max(target, 1)]
    match rng.random():
        case luck if luck < 0.02:
            shorter = inside.strip()
        case luck if luck < 0.035:
            tail = re.sub(r"[,，] ?[^,，\]]*\]", "]", tail, count=1)
        case luck if luck < 0.05:
            closed = ""
    content = f"{head}{opened}\n{shorter}\n{closed}{tail}"
    return _Said(content, "I keep the first ideas and the steps that lead to the answer." if thinks else None)


def _present(rng: Random, reasoning: str, content: str, thinks: bool) -> _Said:
    """Reasoning beside the content, as nearly always, or inside it."""
    where = rng.random()
    if not thinks or where < _THINK_NOWHERE:
        return _Said(f"{reasoning}\n\n{content}" if not thinks else content)
    if where < _THINK_NOWHERE + _THINK_INLINE:
        return _Said(f"<think>\n{reasoning}\n</think>\n\n{content}")
    return _Said(content, reasoning)


def _cut(said: _Said, limit: int) -> _Said:
    """A reply cut off after so many characters, reasoning first."""
    thought = len(said.reasoning or "")
    if thought + len(said.content) <= limit:
        return said
    return _Said(said.content[: max(limit - thought, 0)], said.reasoning and said.reasoning[:limit], "length")


def _completion(said: _Said, model: Any, turns: list[tuple[str, str]], digest: str) -> dict[str, Any]:
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


def _ring(rng: Random, state: GameState) -> list[str]:
    """The open items shuffled, twice over, so that any four neighbours can be taken."""
    items = list(state.remaining or state.puzzle.items)
    rng.shuffle(items)
    return items + items


def _short(turn: Turn) -> str:
    return ", ".join(turn.words[:6]) or "that guess"


def _pick(rng: Random, options: Any) -> Any:
    return options[int(rng.random() * len(options))]


def _weighted(rng: Random, weights: Mapping[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
