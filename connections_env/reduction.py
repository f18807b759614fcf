"""How a game is made to fit its token limits: the reasoning of its replies is rewritten, their answers are not."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from connections_env import prompts
from connections_env.examples import GoodRow, canonical_row, count_row
from connections_env.json_lines import BadRow, FutureRow
from connections_env.ledger import Ledger, Rewriting, text_key
from connections_env.parsing import Asked
from connections_env.play import Ask, Disagrees, PromptTooLong
from connections_env.puzzles import Puzzle, board_key
from connections_env.records import SIMULATED, Message
from connections_env.rejects import CANNOT_FIT, NO_REPLAY, NO_SPARE, Finished, Reject, over_what, reject_of
from connections_env.rewriting import LEAST, accepted, can_fit, chosen, inside_of, request_id
from connections_env.steps import spare_row
from connections_env.terminal import notify
from connections_env.tokens import Counts, Limits, Tokenizer

ROUNDS = 3  # over a game
ATTEMPTS = 3  # at a reply; a reply whose every rewriting is refused stays as it is


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
    requests: int = 0
    rounds: int = 0
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

    def take(self, turn: int, rewriting: Rewriting) -> None:
        self.contents[turn] = rewriting.after or self.contents[turn]
        self.models.add(rewriting.model)
        self.simulated |= rewriting.simulated


def open_game(row: GoodRow, counts: Counts) -> Game:
    """A row ready to be shortened. Raises `Disagrees` where it is not what it says, before it is paid for."""
    canon = canonical_row(row)
    contents = [message.content for message in canon.completion if message.role == "assistant"]
    asked: list[Asked] = ["themes" if content.endswith("</themes>") else "guess" for content in contents]
    assert canon.puzzle is not None  # or it would not have replayed
    return Game(canon, canon.puzzle, asked, contents, counts)


@dataclass(frozen=True)
class Plan:
    """What games are to come down to, and what is known of the way."""

    limits: Limits
    tokenizer: Tokenizer
    ledger: Ledger

    def todo(self, game: Game) -> dict[int, int]:
        """Reply -> target of those to be asked for next, once all that was paid for earlier is taken in."""
        items = len(game.puzzle.items)
        while game.rounds < ROUNDS:
            hopeless = any(game.counts.replies[turn] > self.limits.reply for turn in game.given_up)
            if hopeless or not self.limits.over(game.counts, items) or not can_fit(game.counts, self.limits, items):
                return {}
            picked = chosen(game.counts, self.limits, items, game.given_up)
            unknown = {turn: target for turn, target in picked.items() if not self._known(game, turn)}
            if unknown or not picked:
                return unknown
            self.end_round(game)
        return {}

    def _known(self, game: Game, turn: int) -> bool:
        """Takes in what the ledger holds of a reply; False where it is to be asked for."""
        content, simulated = game.contents[turn], game.row.simulated
        if rewriting := self.ledger.accepted(content, simulated=simulated):
            game.take(turn, rewriting)
            return True
        refusals = self.ledger.refusals(content, simulated=simulated)
        if len(refusals) >= ATTEMPTS:
            game.given_up.add(turn)
            game.refusals.update(refusals)
        return turn in game.given_up

    def end_round(self, game: Game) -> None:
        game.rounds += 1
        game.counts = count_row(game.row.model_copy(update={"completion": game.completion}), self.tokenizer)


@dataclass(frozen=True)
class Reducer:
    """Makes games fit, by the rewriting of a model."""

    ask: Ask
    model: str
    plan: Plan
    verbose: bool = False

    async def finish(self, row: GoodRow, counts: Counts) -> Finished:
        """The row made to fit, or else the puzzle's next good rollout that can be. Raises `Stopped`, OSError."""
        done = Finished()
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
                    Reject(puzzle_id=row.info.puzzle_id, rollout_id="", why=NO_SPARE, reasons=reasons, is_spare=True)
                )
                continue
            done.row = await self._reduced(spare, count_row(spare, self.plan.tokenizer), done)
        return done

    async def _reduced(self, row: GoodRow, before: Counts, done: Finished) -> GoodRow | None:
        """The row within its limits, or None: then the reason is among the rejects of `done`."""
        items, limits = len(row.info.all_words), self.plan.limits
        if not limits.over(before, items):
            return row
        try:
            game = open_game(row, before)
        except Disagrees as error:
            reject = reject_of(row, row.completion, limits, before, before, NO_REPLAY, [str(error)])
            done.rejects.append(reject.model_copy(update={"is_spare": done.is_spare}))
            return None
        todo = self.plan.todo(game)
        done.earlier |= bool(game.models or game.given_up)  # from the ledger: nothing is asked so far
        while todo:
            await _all([self._shorten(game, turn, target) for turn, target in todo.items()])
            self.plan.end_round(game)
            todo = self.plan.todo(game)
        done.refusals.update(game.refusals)
        done.kept += len(game.given_up)
        done.asked += game.requests
        if reasons := limits.over(game.counts, items):
            why = over_what(game.counts, limits, items)
            if not can_fit(before, limits, items):
                reasons.append(f"it would be over at {LEAST} tokens a reply, so nothing was asked")
                why = CANNOT_FIT
            reject = reject_of(row, game.completion, limits, game.counts, before, why, reasons)
            done.rejects.append(reject.model_copy(update={"is_spare": done.is_spare, "refusals": dict(game.refusals)}))
            return None
        changed = [(was, now) for was, now in zip(before.replies, game.counts.replies, strict=True)]
        done.shortened = [(was, now) for was, now in changed if was != now]
        reply_tokens = [
            now if was != now else tokens for (was, now), tokens in zip(changed, row.reply_tokens, strict=True)
        ]
        same = [was == now for was, now in changed]
        estimated = [one and kept for one, kept in zip(row.reply_estimated, same, strict=False)]
        return game.row.model_copy(
            update={
                "completion": game.completion,
                "reply_tokens": reply_tokens,
                "reply_estimated": estimated if any(estimated) else [],
                "reduced": True,
                "reducer_models": [*dict.fromkeys([*row.reducer_models, *sorted(game.models)])],
                "original_completion": row.original_completion or row.completion,
                "simulated": row.simulated or game.simulated,
            }
        )

    async def _shorten(self, game: Game, turn: int, target: int) -> None:
        """Has one reply rewritten, asking again a few times where the answer is refused."""
        plan, before = self.plan, game.contents[turn]
        refusals = plan.ledger.refusals(before, simulated=game.row.simulated)
        count = plan.tokenizer.count
        tokens, outside = count(before), count(before.replace(inside_of(before), "", 1))
        messages = prompts.shorten(before, max(target - outside, LEAST // 2))
        while len(refusals) < ATTEMPTS:
            game.requests += 1
            try:
                answer = await self.ask(messages, request_id(text_key(before), plan.ledger.tries(before)))
            except PromptTooLong:
                refusals.append("too long for the reducer")
                break
            after, why = accepted(before, answer.reply, game.puzzle, game.asked[turn])
            if why is None and count(after) >= tokens:
                why = "not shorter"
            rewriting = Rewriting(
                before=text_key(before),
                after=None if why else after,
                refused=why,
                model=SIMULATED if answer.simulated else self.model,
                simulated=answer.simulated,
                usage=answer.usage,
            )
            plan.ledger.add(rewriting)
            if why is None:
                game.take(turn, rewriting)
                break
            refusals.append(why)
        game.refusals.update(refusals)
        if game.contents[turn] == before:
            game.given_up.add(turn)
        if self.verbose:
            outcome = "kept as it was" if turn in game.given_up else f"{count(game.contents[turn]):,}"
            refused = f" (refused: {', '.join(refusals)})" if refusals else ""
            where = f"{game.row.info.puzzle_id}: round {game.rounds + 1}, reply {turn + 1}"
            notify(f"{where}: {tokens:,} tokens, target {target:,} -> {outcome}{refused}")


async def _all(work: list[Coroutine[Any, Any, None]]) -> None:
    """Waits for all, whatever becomes of one: what is paid for is waited for."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
