"""How a game is made to fit its token limits: the reasoning of its replies is rewritten, their answers are not."""

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from connections_env import prompts
from connections_env.endpoint import Endpoint
from connections_env.examples import GoodRow, canonical_row
from connections_env.parsing import Asked, Reply, reasoning_of, unfit_reason
from connections_env.play import Disagrees, PromptTooLong
from connections_env.puzzles import Puzzle, board_key
from connections_env.records import BadRow, FutureRow, Message
from connections_env.steps import spare_row
from connections_env.terminal import notify
from connections_env.tokens import Counts, Limits, Tokenizer, count_game

AIM = 80  # percent of a limit that is aimed at: models count badly
LEAST = 120  # tokens; a reply's target is never under it
ROUNDS = 3  # over a game
ATTEMPTS = 3  # at a reply, in a round
_THINK_TAG = re.compile(r"<\s*/?\s*think(?:ing)?\s*>", re.IGNORECASE)


# What to ask for


def game_limit(counts: Counts, limits: Limits, items: int) -> int:
    """Most tokens the completion may have, by the limit of the game and by that of the whole sequence."""
    limit = limits.game_limit(items)
    prompt = counts.sequence - counts.completion
    return limit if limits.sequence is None else min(limit, limits.sequence - prompt)


def targets(counts: Counts, limits: Limits, items: int) -> list[int]:
    """Tokens each reply is to have: 80% of a reply's limit, or less: its share of 80% of what a game may say."""
    replies = sum(counts.replies)
    room = max(game_limit(counts, limits, items) - (counts.completion - replies), 0)
    shares = [AIM * room * tokens // (100 * replies) for tokens in counts.replies]
    return [max(min(AIM * limits.reply // 100, share), LEAST) for share in shares]


def chosen(counts: Counts, limits: Limits, items: int, given_up: set[int]) -> dict[int, int]:
    """Reply -> target, the longest first: those over the limit of one, and as many more as the game takes to fit."""
    aims, over = targets(counts, limits, items), counts.completion - game_limit(counts, limits, items)
    picked: dict[int, int] = {}
    for turn in sorted(range(len(aims)), key=lambda turn: -counts.replies[turn]):
        gain = counts.replies[turn] - aims[turn]
        if turn not in given_up and gain > 0 and (over > 0 or counts.replies[turn] > limits.reply):
            picked[turn] = aims[turn]
            over -= gain
    return picked


def can_fit(counts: Counts, limits: Limits, items: int) -> bool:
    """Would the game fit if every reply came down to the least that is ever asked for?"""
    feedback = counts.completion - sum(counts.replies)
    return feedback + sum(min(tokens, LEAST) for tokens in counts.replies) <= game_limit(counts, limits, items)


def inside_of(content: str) -> str:
    """The inside of the think block of a canonical reply."""
    return content.partition("</think>")[0].removeprefix("<think>\n").removesuffix("\n")


def request_id(*parts: object) -> str:
    """Names a request: the same one always alike, a second try otherwise. Safe in a header, whatever the parts."""
    return "reduce-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


# What came back


def accepted(before: str, answer: Reply, puzzle: Puzzle, asked: Asked) -> tuple[str, str | None]:
    """The rewritten reply, or the old one and why the answer is refused. Only `content` is looked at.

    The answer's spaces around its think block and its guess are passed over: what is kept of it is the inside alone.
    """
    said, tail = answer.content.strip(), before.partition("</think>")[2]
    unfit = unfit_reason(Reply("", said, answer.finish_reason), puzzle, asked)
    if why := _refused(said, tail.strip(), unfit):
        return before, why
    inside = said.removeprefix("<think>").partition("</think>")[0].strip()
    after = f"<think>\n{inside}\n</think>{tail}"
    # A tag in the reasoning would be gone when the reply is next written, or open a second guess.
    return (after, None) if reasoning_of(Reply(after), asked) == inside else (before, "tags inside the think block")


def _refused(said: str, answer: str, unfit: str | None) -> str | None:
    """What is wrong with the form of a shortened reply that should end with `answer`."""
    if unfit in ("cut_off", "control_tokens"):
        return unfit.replace("_", " ")
    if not said:
        return "empty"
    if said.startswith("```"):
        return "code fence"
    tags = _THINK_TAG.findall(said)
    if len(tags) > 2:
        return "more than one think block"
    if tags != ["<think>", "</think>"]:
        return "no whole think block"
    head, _, rest = said.partition("<think>")
    inside, _, tail = rest.partition("</think>")
    if head:
        return "text before the think block"
    if not inside.strip():
        return "empty"
    if tail.strip() == answer:
        return None
    return "text after the guess" if tail.strip().startswith(answer) else "guess changed"


# One game


class Reject(BaseModel):
    """A line of reduce_rejects.jsonl: a game that does not fit, as far as it was reduced. Nothing is counted of a
    spare that cannot be used."""

    puzzle_id: str
    rollout_id: str
    why: str
    reasons: list[str]
    is_spare: bool = False
    limits: dict[str, int | None] = {}
    reply_tokens: list[int] = []
    reply_tokens_before: list[int] = []
    game_tokens: int = 0
    game_tokens_before: int = 0
    sequence_tokens: int = 0
    refusals: dict[str, int] = {}
    completion: list[Message] = []


class Finished(BaseModel):
    """What became of a row that was over its limits; a line of the progress file."""

    key: str
    row: GoodRow | None = None
    """None: neither it nor a spare fits."""
    is_spare: bool = False
    rejects: list[Reject] = []
    shortened: list[tuple[int, int]] = []
    """Tokens of each shortened reply of `row`, before and after."""
    kept: int = 0
    """Replies whose every rewriting was refused."""
    refusals: Counter[str] = Counter()


@dataclass
class Game:
    """A game on its way through the rounds."""

    row: GoodRow
    puzzle: Puzzle
    asked: list[Asked]
    contents: list[str]
    """Of the replies, as shortened so far."""
    counts: Counts
    given_up: set[int] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    simulated: bool = False

    @property
    def completion(self) -> list[Message]:
        said = iter(self.contents)
        return [
            message if message.role == "user" else message.model_copy(update={"content": next(said)})
            for message in self.row.completion
        ]


@dataclass(frozen=True)
class Reducer:
    """Makes games fit, by the rewriting of an endpoint."""

    endpoint: Endpoint
    limits: Limits
    tokenizer: Tokenizer
    verbose: bool = False

    async def finish(self, row: GoodRow, key: str, counts: Counts) -> Finished:
        """The row made to fit, or else the puzzle's next good rollout that can be. Raises `Stopped`."""
        done = Finished(key=key)
        done.row = await self._reduced(row, counts, done)
        for nth, place in enumerate(row.spares, 1):
            if done.row is not None:
                break
            done.is_spare = True
            try:
                spare = spare_row(place, board_key(row.info.all_words), row.spares[nth:])
                done.row = await self._reduced(spare, count_row(spare, self.tokenizer), done)
            except (BadRow, FutureRow, Disagrees, OSError) as error:
                reasons = [f"{place.file}, byte {place.offset}: {error}"]
                done.rejects.append(
                    Reject(
                        puzzle_id=row.info.puzzle_id,
                        rollout_id="",
                        why="a spare that cannot be used",
                        reasons=reasons,
                        is_spare=True,
                    )
                )
        return done

    async def _reduced(self, row: GoodRow, before: Counts, done: Finished) -> GoodRow | None:
        """The row within its limits, or None: then the reason is among the rejects of `done`."""
        items = len(row.info.all_words)
        if not self.limits.over(before, items):
            return row
        try:
            game = open_game(row, before)
        except Disagrees as error:
            reject = reject_of(row, row.completion, self.limits, before, before, "does not replay", [str(error)])
            done.rejects.append(reject.model_copy(update={"is_spare": done.is_spare}))
            return None
        for nth in range(ROUNDS if can_fit(before, self.limits, items) else 0):
            if any(game.counts.replies[turn] > self.limits.reply for turn in game.given_up):
                break  # what is asked of the others is paid in vain
            todo = chosen(game.counts, self.limits, items, game.given_up)
            await _all([self._shorten(game, nth, turn, target) for turn, target in todo.items()])
            game.counts = count_row(row.model_copy(update={"completion": game.completion}), self.tokenizer)
            if not todo or not self.limits.over(game.counts, items):
                break
        done.refusals.update(game.refusals)
        done.kept += len(game.given_up)
        if reasons := self.limits.over(game.counts, items):
            if not can_fit(before, self.limits, items):
                reasons.append(f"it would be over at {LEAST} tokens a reply, so nothing was asked")
            why = over_what(game.counts, self.limits, items)
            reject = reject_of(row, game.completion, self.limits, game.counts, before, why, reasons)
            done.rejects.append(reject.model_copy(update={"is_spare": done.is_spare, "refusals": dict(game.refusals)}))
            return None
        changed = [(was, now) for was, now in zip(before.replies, game.counts.replies, strict=True)]
        done.shortened = [(was, now) for was, now in changed if was != now]
        reply_tokens = [
            now if was != now else tokens for (was, now), tokens in zip(changed, row.reply_tokens, strict=True)
        ]
        return game.row.model_copy(
            update={
                "completion": game.completion,
                "reply_tokens": reply_tokens,
                "reduced": True,
                "reducer_model": self.endpoint.settings.model,
                "tokens_before": row.tokens_before or before.completion,
                "original_completion": row.original_completion or row.completion,
                "simulated": row.simulated or game.simulated,
            }
        )

    async def _shorten(self, game: Game, nth: int, turn: int, target: int) -> None:
        """Has one reply rewritten, asking again a few times where the answer is refused."""
        before, refusals = game.contents[turn], list[str]()
        tokens, outside = self.tokenizer.count(before), self.tokenizer.count(before.replace(inside_of(before), "", 1))
        messages = prompts.shorten(before, max(target - outside, LEAST // 2))
        for attempt in range(ATTEMPTS):
            try:
                answer = await self.endpoint.ask(messages, request_id(game.row.rollout_id, nth, turn, attempt))
            except PromptTooLong:
                refusals.append("too long for the reducer")
                break
            after, why = accepted(before, answer.reply, game.puzzle, game.asked[turn])
            if why is None and self.tokenizer.count(after) >= tokens:
                why = "not shorter"
            if why is None:
                game.contents[turn] = after
                game.simulated |= answer.simulated
                break
            refusals.append(why)
        game.refusals.update(refusals)
        if game.contents[turn] == before:
            game.given_up.add(turn)
        if self.verbose:
            now = self.tokenizer.count(game.contents[turn])
            outcome = "kept as it was" if turn in game.given_up else f"{now:,}"
            refused = f" (refused: {', '.join(refusals)})" if refusals else ""
            where = f"{game.row.info.puzzle_id}: round {nth + 1}, reply {turn + 1}"
            notify(f"{where}: {tokens:,} tokens, target {target:,} -> {outcome}{refused}")


def open_game(row: GoodRow, counts: Counts) -> Game:
    """A row ready to be shortened. Raises `Disagrees` where it is not what it says, before anything is paid for it."""
    canon = canonical_row(row)
    contents = [message.content for message in canon.completion if message.role == "assistant"]
    asked: list[Asked] = ["themes" if content.endswith("</themes>") else "guess" for content in contents]
    assert canon.puzzle is not None  # or it would not have replayed
    return Game(canon, canon.puzzle, asked, contents, counts)


def over_what(counts: Counts, limits: Limits, items: int) -> str:
    """The limit that a game is over, the narrowest first."""
    if max(counts.replies) > limits.reply:
        return "a reply over its limit"
    return "the game over its limit" if counts.completion > limits.game_limit(items) else "the sequence over its limit"


def reject_of(
    row: GoodRow, completion: list[Message], limits: Limits, now: Counts, before: Counts, why: str, reasons: list[str]
) -> Reject:
    return Reject(
        puzzle_id=row.info.puzzle_id,
        rollout_id=row.rollout_id,
        why=why,
        reasons=reasons,
        limits={"reply": limits.reply, "game": limits.game_limit(len(row.info.all_words)), "sequence": limits.sequence},
        reply_tokens=list(now.replies),
        reply_tokens_before=list(before.replies),
        game_tokens=now.completion,
        game_tokens_before=before.completion,
        sequence_tokens=now.sequence,
        completion=completion,
    )


def count_row(row: GoodRow, tokenizer: Tokenizer) -> Counts:
    prompt, completion = (
        [{"role": message.role, "content": message.content} for message in messages]
        for messages in (row.prompt, row.completion)
    )
    return count_game(prompt, completion, tokenizer)


async def _all(work: list[Coroutine[Any, Any, None]]) -> None:
    """Waits for all, whatever becomes of one: what is paid for is waited for."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
