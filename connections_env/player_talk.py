"""What the simulated player says: reasoning about the board at hand, and guesses in the forms real models write."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from connections_env.game import GameState, Turn
from connections_env.items import item_list
from connections_env.puzzles import Group, normalise

CHARS_PER_TOKEN = 4
FORMS = {"plain": 78, "backticks": 8, "json": 5, "bullets": 3, "other_case": 4, "quoted": 2}
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
_RUNS = [Random(n).sample(_MUSINGS, len(_MUSINGS)) for n in range(100)]  # orders in which no musing comes twice
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
LEADS = (
    "I think these belong together.",
    "My next guess is this set.",
    "Here is the group I am most confident in.",
    "These seem to share one theme. Let me try them.",
    "After weighing the alternatives, I choose the following.",
)
UNDECIDED = (
    "I cannot decide between {0} and {1} yet. Could you tell me whether {2} is with them?",
    "There are two ways to place {0}, and I would rather think more before I guess.",
)
_VAGUE_THEMES = ("Things at home", "Kinds of weather", "Short words", "Famous firsts", "Said by a parent", "In a shop")
NO_GAME = "I do not see a board that I know here. Send me the items of a game and I will look for the groups."


@dataclass(frozen=True, slots=True)
class Said:
    """A reply before it is cut to length. `reasoning` None: the endpoint gives no such field."""

    content: str
    reasoning: str | None = None
    finish_reason: str = "stop"


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


def reasoning_for(rng: Random, state: GameState, words: Sequence[str], group: Group | None, size: int) -> str:
    """Reasoning of about `size` characters that ends at the move. A theme is only named where the group is right."""
    ring, listed = ring_of_items(rng, state), ", ".join(words)
    if state.player_turns:
        last = state.player_turns[-1]
        shown = "incorrect" if last.status == "one_away" and not state.ruleset.one_away_hint else last.status
        start = [pick(rng, _AFTER[shown]).format(words=_short(last))]
    else:
        start = [pick(rng, _OPENERS).format(*ring)]
    end = [pick(rng, _PROPOSALS).format(words=listed)]
    if group and group.theme:
        end.append(pick(rng, _THEMES_SEEN).format(theme=group.theme))
    elif not group:
        end.append(pick(rng, _DOUBTS).format(*words[:1], *ring))
    end.append(pick(rng, _CLOSERS))
    return _join(rng, start, end, ring, size)


def _join(rng: Random, start: list[str], end: list[str], ring: list[str], size: int) -> str:
    """Start and end with as many musings between them as the size asks for, in paragraphs."""
    count = max(1, (size - sum(map(len, start + end))) // 83)
    runs = rng.choices(_RUNS, k=-(-count // len(_MUSINGS)))
    musings, pace = [text for run in runs for text in run][:count], rng.randint(3, 6)
    # A paragraph is formatted as a whole, about four items: most of a reply's time goes here.
    paragraphs = [
        " ".join(musings[n : n + pace]).format(*ring[(at := n * 3 % (len(ring) - 4)) : at + 4])
        for n in range(0, count, pace)
    ]
    return "\n\n".join([" ".join([*start, paragraphs[0]]), *paragraphs[1:], " ".join(end)])


def named_groups(rng: Random, state: GameState, right: float, untagged: float, size: int) -> tuple[str, str]:
    """Reasoning and the reply that names the themes, in the order the groups were found.

    `right` and `untagged` are the chances that a theme is right and that the answer comes without its tag.
    """
    named, notes = [], []
    opener = "All groups are found, so only their names are left."
    for group in (state.puzzle.groups[index] for index in state.found):
        terms = [term for term in group.linking_terms or (group.theme,) if normalise(term)]
        vague = [text for text in _VAGUE_THEMES if not any(normalise(term) in normalise(text) for term in terms)]
        knows = rng.random() < right or not vague
        fits = group.theme if any(normalise(term) in normalise(group.theme) for term in terms) else terms[0]
        named.append(fits if knows else pick(rng, vague))
        notes.append(f'{", ".join(group.members)}: I would say "{named[-1]}".')
    reasoning = _join(rng, [opener], notes, ring_of_items(rng, state), size)
    answer = json.dumps(named, ensure_ascii=False)
    tagged = rng.random() >= untagged
    return reasoning, "These are the themes.\n\n" + (f"<themes>{answer}</themes>" if tagged else answer)


def shortened(rng: Random, request: str, thinks: bool) -> Said:
    """The answer to `prompts.shorten`. One in twenty is not what was asked for: too long, another guess, a lost tag."""
    asked, _, reply = request.partition("\n\n")
    # Capitals and rare words take more tokens than prose: with some room to spare, a real vocabulary agrees.
    target = int(0.85 * CHARS_PER_TOKEN * int(next(iter(re.findall(r"\d{1,9}", asked)), 0)))
    head, opened, rest = reply.partition("<think>")
    inside, closed, tail = rest.rpartition("</think>")
    if not closed:
        return Said(NO_GAME)
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
    return Said(content, "I keep the first ideas and the steps that lead to the answer." if thinks else None)


def presented(rng: Random, reasoning: str, content: str, thinks: bool) -> Said:
    """Reasoning beside the content, as nearly always, or inside it."""
    where = rng.random()
    if not thinks or where < _THINK_NOWHERE:
        return Said(f"{reasoning}\n\n{content}" if not thinks else content)
    if where < _THINK_NOWHERE + _THINK_INLINE:
        return Said(f"<think>\n{reasoning}\n</think>\n\n{content}")
    return Said(content, reasoning)


def cut_to(said: Said, limit: int) -> Said:
    """A reply cut off after so many characters, reasoning first."""
    thought = len(said.reasoning or "")
    if thought + len(said.content) <= limit:
        return said
    return Said(said.content[: max(limit - thought, 0)], said.reasoning and said.reasoning[:limit], "length")


def ring_of_items(rng: Random, state: GameState) -> list[str]:
    """The open items shuffled, twice over, so that any four neighbours can be taken."""
    items = list(state.remaining or state.puzzle.items)
    rng.shuffle(items)
    return items + items


def _short(turn: Turn) -> str:
    return ", ".join(turn.words[:6]) or "that guess"


def pick(rng: Random, options: Any) -> Any:
    return options[int(rng.random() * len(options))]


def weighted(rng: Random, weights: Mapping[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
