"""A simulated player: it knows the answers to a set of puzzles and errs at rates measured on real models.

    player = SimulatedPlayer(puzzles, strength="strong", seed=0)
    player.complete({"model": "simulated", "messages": [...]}, request_id="7-0")  # an OpenAI ChatCompletion as a dict

The same seed, request id and messages always
give the same bytes: nothing here reads a clock or keeps a state that shows.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from functools import lru_cache
from random import Random
from typing import Any

from connections_env.completions import FINGERPRINT
from connections_env.game import GameState, name_themes, play
from connections_env.parsing import read_guess, read_themes
from connections_env.player_moves import TIERS, Move, decide, hardness, wrong_guess
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
from connections_env.puzzles import Puzzle, board_key
from connections_env.rulesets import NYT, RULESETS, Ruleset

LONGEST_REASONING = 56_000  # characters; with the rest of the reply it stays under 60 kB


_NO_TAG = {"prose": 55, "unclosed": 15, "cut_off": 15, "undecided": 15}


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
        move = decide(rng, state, self.tier, self.tier.spread * hard + self.tier.luck * luck)
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

    def _write(self, rng: Random, state: GameState, move: Move) -> str:
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
        "system_fingerprint": FINGERPRINT,
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
