"""How a game is made to fit its token limits: the reasoning of its replies is rewritten, their answers are not."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from connections_env import prompts
from connections_env.endpoint import Endpoint
from connections_env.examples import GoodRow, canonical_row
from connections_env.parsing import Asked
from connections_env.play import Disagrees, PromptTooLong
from connections_env.progress import Finished, Progress, Reject, Rewritten
from connections_env.puzzles import Puzzle, board_key
from connections_env.records import BadRow, FutureRow, Message
from connections_env.rewriting import LEAST, accepted, can_fit, chosen, inside_of, request_id
from connections_env.steps import spare_row
from connections_env.terminal import notify
from connections_env.tokens import Counts, Limits, Tokenizer, count_game

ROUNDS = 3  # over a game
ATTEMPTS = 3  # at a reply, in a round


@dataclass
class Game:
    """A game on its way through the rounds."""

    key: str
    """Under which its progress is kept."""
    row: GoodRow
    puzzle: Puzzle
    asked: list[Asked]
    contents: list[str]
    """Of the replies, as shortened so far."""
    counts: Counts
    given_up: set[int] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    models: set[str] = field(default_factory=set)
    """That rewrote its replies."""
    simulated: bool = False

    @property
    def completion(self) -> list[Message]:
        said = iter(self.contents)
        return [
            message if message.role == "user" else message.model_copy(update={"content": next(said)})
            for message in self.row.completion
        ]

    def take(self, turn: int, rewritten: Rewritten) -> None:
        self.contents[turn] = rewritten.after
        self.models.add(rewritten.model)
        self.simulated |= rewritten.simulated


@dataclass(frozen=True)
class Reducer:
    """Makes games fit, by the rewriting of an endpoint."""

    endpoint: Endpoint
    limits: Limits
    tokenizer: Tokenizer
    progress: Progress
    verbose: bool = False

    async def finish(self, row: GoodRow, key: str, counts: Counts) -> Finished:
        """The row made to fit, or else the puzzle's next good rollout that can be. Raises `Stopped`, OSError."""
        done = Finished(key=key)
        done.row = await self._reduced(row, counts, done)
        for nth, place in enumerate(row.spares, 1):
            if done.row is not None:
                break
            done.is_spare = True
            try:
                spare = spare_row(place, board_key(row.info.all_words), row.spares[nth:])
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
                continue
            done.row = await self._reduced(spare, count_row(spare, self.tokenizer), done)
        return done

    async def _reduced(self, row: GoodRow, before: Counts, done: Finished) -> GoodRow | None:
        """The row within its limits, or None: then the reason is among the rejects of `done`."""
        items = len(row.info.all_words)
        if not self.limits.over(before, items):
            return row
        try:
            game = open_game(done.key, row, before)
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
                "reducer_model": ", ".join(sorted(game.models)),
                "tokens_before": row.tokens_before or before.completion,
                "original_completion": row.original_completion or row.completion,
                "simulated": row.simulated or game.simulated,
            }
        )

    async def _shorten(self, game: Game, nth: int, turn: int, target: int) -> None:
        """Has one reply rewritten, asking again a few times where the answer is refused."""
        before, refusals = game.contents[turn], list[str]()
        if paid := self.progress.rewriting(game.key, before):
            game.take(turn, paid)
            return
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
                paid = Rewritten(
                    key=game.key,
                    before=before,
                    after=after,
                    model=self.endpoint.settings.model,
                    simulated=answer.simulated,
                )
                self.progress.add(paid)
                game.take(turn, paid)
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


def open_game(key: str, row: GoodRow, counts: Counts) -> Game:
    """A row ready to be shortened. Raises `Disagrees` where it is not what it says, before anything is paid for it."""
    canon = canonical_row(row)
    contents = [message.content for message in canon.completion if message.role == "assistant"]
    asked: list[Asked] = ["themes" if content.endswith("</themes>") else "guess" for content in contents]
    assert canon.puzzle is not None  # or it would not have replayed
    return Game(key, canon, canon.puzzle, asked, contents, counts)


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
