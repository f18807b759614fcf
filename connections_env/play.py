"""The game loop: a model is a callable that answers messages; a game is what its replies make of a puzzle.

rollout = await play_game(job, ask, max_turns=11)
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from connections_env import prompts
from connections_env.game import WON, GameState, name_themes, observe, play
from connections_env.parsing import Reply, read_guess, read_reply, read_themes, unfit_by_form
from connections_env.prompts import Message
from connections_env.puzzles import Puzzle
from connections_env.records import SIMULATED, Cut, ResumedFrom, Rollout, Usage, info_of, outcome_of
from connections_env.records import Message as MessageRow
from connections_env.rulesets import Ruleset

CHARACTERS_PER_TOKEN = 4  # English prose in the vocabularies of today's models; used only where nobody counted


class PromptTooLong(Exception):
    """The conversation no longer fits the model's context: this game ends, others go on."""


class Stopped(Exception):
    """The run is over before the game is: what is half-played is kept as `interrupted`."""


@dataclass(frozen=True, slots=True)
class Answer:
    reply: Reply
    usage: Usage
    simulated: bool = False
    """Given by the simulated player, wherever it was served."""


Ask = Callable[[list[Message], str], Awaitable[Answer]]
"""Sends messages on behalf of a rollout id. Raises `PromptTooLong` or `Stopped`."""


@dataclass(frozen=True, slots=True)
class Job:
    """A game to play: from scratch, or on from the kept replies of an earlier rollout."""

    rollout_id: str
    puzzle: Puzzle
    ruleset: Ruleset
    kept: tuple[Reply, ...] = ()
    resumed_from: ResumedFrom | None = None
    example_id: int = 0
    cuts: tuple[Cut, ...] = ()
    """Of the games it goes on from."""


def default_max_turns(puzzle: Puzzle, ruleset: Ruleset) -> int:
    """Replies a game may take: enough for every group and mistake, and three invalid guesses."""
    return max(10, len(puzzle.groups) + ruleset.mistakes_allowed + 3)


def take_reply(state: GameState, reply: Reply) -> GameState:
    """The state after a reply to the question the state asks."""
    if state.asks_themes:
        return name_themes(state, read_themes(reply.content))
    return play(state, read_guess(reply.content, state.puzzle))


def replay_replies(puzzle: Puzzle, ruleset: Ruleset, replies: Sequence[Reply]) -> list[GameState]:
    """The states of a game, the opening first, one more than the replies used; those after the end are not."""
    states = [GameState(puzzle, ruleset)]
    for reply in replies:
        if states[-1].complete_reason is not None:
            break
        states.append(take_reply(states[-1], reply))
    return states


def replay_judged(
    puzzle: Puzzle, ruleset: Ruleset, replies: Sequence[Reply]
) -> tuple[list[GameState], list[str | None]]:
    """What `replay_replies` and `unfit_replies` give, each reply read once."""
    states, unfit = [GameState(puzzle, ruleset)], list[str | None]()
    for reply in replies:
        state = states[-1]
        if state.complete_reason is not None:
            break
        if state.asks_themes:
            states.append(name_themes(state, read_themes(reply.content)))
            unfit.append(unfit_by_form(reply, "themes", None))
        else:
            guess, why = read_reply(reply, puzzle)
            states.append(play(state, guess))
            unfit.append(why)
    return states, unfit


def estimated_tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def conversation(states: Sequence[GameState], replies: Sequence[Reply]) -> list[Message]:
    """The messages of a game up to its last state, the next question included while the game goes on."""
    messages = prompts.opening(observe(states[0]))
    for state, reply in zip(states[1:], replies, strict=False):
        messages.append({"role": "assistant", "content": reply.content})
        if state.complete_reason is None:
            messages.append({"role": "user", "content": prompts.feedback(observe(state))})
    return messages


class Disagrees(ValueError):
    """A row whose record is not what its replies make of its board; the message says where."""


def replay_rollout(rollout: Rollout) -> tuple[Puzzle, list[GameState]]:
    """The board and the states of a recorded game. Raises `Disagrees`: the replay is the truth, the record a note."""
    puzzle, replies = rollout.puzzle, rollout.replies
    if puzzle is None:
        raise Disagrees("its board cannot be played")
    states, unfit = replay_judged(puzzle, rollout.ruleset, replies)
    if len(states) != len(replies) + 1:
        raise Disagrees("it has replies after the end of the game")
    outcome = outcome_of(states[-1])
    if outcome["guess_history"] != rollout.guess_history:
        raise Disagrees("the guess history is not what its replies give on its board")
    if outcome["themes"] != rollout.themes:
        raise Disagrees("the themes are not those its replies name")
    if unfit != rollout.reply_unfit:
        raise Disagrees("not the same replies are fit for training as recorded")
    if not abs(outcome["reward"] - rollout.reward) < 1e-6:  # written so that NaN fails
        raise Disagrees(f"its reward is {outcome['reward']:g}, recorded as {rollout.reward:g}")
    ends, ended = states[-1].complete_reason, rollout.complete_reason
    if ends != ended and (ends is not None or ended in WON | {"max_mistakes"}):
        raise Disagrees(f"recorded as {ended}, replayed as {ends or 'unfinished'}")
    return puzzle, states


def unfit_replies(states: Sequence[GameState], replies: Sequence[Reply]) -> list[str | None]:
    """For each reply why it may not be trained on, or None."""
    found = []
    for state, after, reply in zip(states, states[1:], replies, strict=False):
        judged = None if state.asks_themes else after.player_turns[-1].reason
        problem = judged if judged in ("no_guess", "several_guesses") else None
        found.append(unfit_by_form(reply, "themes" if state.asks_themes else "guess", problem))
    return found


async def play_game(job: Job, ask: Ask, max_turns: int, model: str = "", **fields: Any) -> Rollout | None:
    """Plays up to `max_turns` new replies of `model`. None if not a single one came: there is nothing new to keep.

    A conversation that is too long before anything new was said would be too long each time it is resumed, so its last
    kept replies are cut until it is not. `fields` go into the row as they are (sampling).
    """
    replies, usage = list(job.kept), Usage()
    states = replay_replies(job.puzzle, job.ruleset, replies)
    messages = conversation(states, replies)
    started, clock = datetime.now(UTC), time.monotonic()
    end: str | None = None
    while len(replies) - len(job.kept) < max_turns:
        try:
            answer = await ask(messages, job.rollout_id)
        except PromptTooLong:
            if job.kept and len(replies) == len(job.kept):
                job = _keeping_less(job)
                replies, states = list(job.kept), states[: len(job.kept) + 1]
                messages = conversation(states, replies)
                continue
            end = "prompt_too_long"
            break
        except Stopped:
            end = "interrupted"
            break
        replies.append(answer.reply._replace(model=SIMULATED if answer.simulated else model))
        usage += answer.usage
        states.append(take_reply(states[-1], answer.reply))
        messages.append({"role": "assistant", "content": answer.reply.content})
        if states[-1].complete_reason is not None:
            break
        messages.append({"role": "user", "content": prompts.feedback(observe(states[-1]))})
    if len(replies) == len(job.kept):
        return None
    return make_rollout(
        job,
        states,
        replies,
        complete_reason=states[-1].complete_reason or end or "max_turns_reached",
        messages=messages,
        usage=usage,
        timing={"started": started.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - clock, 3)},
        **fields,
    )


def _keeping_less(job: Job) -> Job:
    """The job that goes on from one reply earlier; where that was the first, nothing is left of the failed game."""
    kept, cuts = job.kept[:-1], list(job.cuts)
    resumed_from = job.resumed_from and job.resumed_from.model_copy(update={"turns": len(kept)})
    if kept:
        goes_on = bool(cuts) and (cuts[-1].truncate, cuts[-1].kept) == ("too-long", len(job.kept))
        before = cuts.pop().turns or 0 if goes_on else 0
        cuts.append(Cut(turns=before + 1, kept=len(kept), truncate="too-long"))
    return replace(job, kept=kept, resumed_from=resumed_from, cuts=tuple(cuts) if kept else ())


def make_rollout(
    job: Job,
    states: Sequence[GameState],
    replies: Sequence[Reply],
    complete_reason: str,
    messages: Sequence[Message] = (),
    unfit: Sequence[str | None] | None = None,
    **fields: Any,
) -> Rollout:
    """The row of a game, its conversation ending with the player's last reply.

    `messages` and why replies are `unfit` are worked out where they are not at hand.
    """
    replies = replies[: len(states) - 1]
    models = [reply.model for reply in replies]
    messages = list(messages or conversation(states, replies))
    if replies and messages[-1]["role"] == "user":
        del messages[-1]
    reasoning = iter(reply.reasoning or None for reply in replies)
    estimated = [reply.tokens is None for reply in replies]
    rows = [
        MessageRow.model_validate(
            message | ({"reasoning_content": next(reasoning)} if message["role"] == "assistant" else {})
        )
        for message in messages
    ]
    return Rollout(
        rollout_id=job.rollout_id,
        example_id=job.example_id,
        prompt=rows[:2],
        completion=rows[2:],
        info=info_of(job.puzzle, job.ruleset),
        complete_reason=complete_reason,
        reply_tokens=[tokens_of(reply) for reply in replies],
        reply_estimated=estimated if any(estimated) else [],
        reply_finish=[reply.finish_reason for reply in replies],
        reply_unfit=unfit_replies(states, replies) if unfit is None else list(unfit),
        reply_models=models,
        model=models[-1] if models else "",
        simulated=SIMULATED in models,
        resumed_from=job.resumed_from,
        cuts=list(job.cuts),
        **outcome_of(states[-1]),
        **fields,
    )


def tokens_of(reply: Reply) -> int:
    """Tokens of a reply as its endpoint counted them, else estimated."""
    return reply.tokens if reply.tokens is not None else estimated_tokens(reply.reasoning + reply.content)
