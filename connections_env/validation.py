"""Is a row what the game itself would have produced? Every example is played again from its own text."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

from connections_env.examples import GoodRow, before_reduction, count_row, exported
from connections_env.game import GameState
from connections_env.heldout import HeldOut
from connections_env.loadable import talk_problems
from connections_env.parsing import Asked, Reply, canonical, control_token, read_guess, read_themes, reasoning_of
from connections_env.play import Job, make_rollout, replay_replies
from connections_env.puzzles import Puzzle
from connections_env.quality import facts_of, rejection
from connections_env.records import SIMULATED, GuessRow, Message, Rollout
from connections_env.tokens import Limits, Tokenizer


@dataclass(frozen=True)
class Requirements:
    """What a row has to meet beyond being a game that the environment would have produced."""

    tokenizer: Tokenizer
    limits: Limits
    held_out: HeldOut = field(default_factory=HeldOut)
    refuse_simulated: bool = False


def problems(row: GoodRow, need: Requirements) -> list[str]:
    """Why a row may not enter the dataset, each as `reason: detail`; empty if it may.

    The row is taken at its text: its replies are played on its board again, and every message and verdict, the reward,
    its parts and the outcome must be those that come of that. What no replay can tell is taken as it is recorded: who
    wrote it, when and for how much (`model`, `sampling`, `timing`, `usage`, `reply_tokens`), and where its puzzle is
    from; what it says of its past must only fit together.
    """
    found = []
    if not row.info.puzzle_id.strip() or not row.info.puzzle_id.isprintable():
        found.append(f"no puzzle id: {row.info.puzzle_id!r} is none that a list, a line each, can hold")
    if where := need.held_out.where(row):
        found.append(f"held out: its puzzle is in {where}")
    if need.refuse_simulated and row.simulated:
        found.append("simulated: not a model's work alone, and other rows are; --allow-simulated takes both")
    if (puzzle := row.puzzle) is None:
        return [*found, "no board: its board cannot be played"]
    over = need.limits.over(count_row(row, need.tokenizer), len(puzzle.items))
    return [
        *found,
        *talk_problems(exported(row.prompt), exported(row.completion)),
        *control_problems(row, need.tokenizer),
        *replay_problems(row, puzzle),
        *lineage_problems(row),
        *(f"over a token limit: {what}" for what in over),
    ]


def control_problems(row: GoodRow, tokenizer: Tokenizer) -> Iterator[str]:
    """Texts that a tokenizer or a template would take for marks of its own."""
    for nth, message in enumerate((*row.prompt, *row.completion), 1):
        text = message.content
        if message.role == "assistant":
            text = text.replace("<think>", "").replace("</think>", "")
        if control := control_token(text) or next(iter(tokenizer.special_in(text)), None):
            yield f"control tokens: message {nth} holds {control!r}"


def replay_problems(row: GoodRow, puzzle: Puzzle) -> Iterator[str]:
    """Where a row is not what playing its replies on its board gives."""
    replies = row.replies
    states = replay_replies(puzzle, row.ruleset, replies)
    ended = states[-1].complete_reason or "unfinished"
    game = make_rollout(Job(row.rollout_id, puzzle, row.ruleset), states, replies, ended)

    for nth, (state, reply) in enumerate(zip(states, replies, strict=False), 1):
        if why := reply_problem(reply, state):
            yield f"{why} (reply {nth})"
    if exported(row.prompt) != exported(game.prompt):
        yield "prompt differs: the rules and the board are not as the game opens on this board"
    for nth, (recorded, played) in enumerate(zip_longest(row.guess_history, game.guess_history), 1):
        if recorded != played:
            was, now = _verdict(recorded), _verdict(played)
            if was == now and recorded and played:
                was, now = f"{was} ({_details(recorded)})", f"{now} ({_details(played)})"
            yield f"history differs: guess {nth} is recorded as {was}, replayed as {now}"
            break
    told, due = (_contents(m for m in one.completion if m.role == "user") for one in (row, game))
    for nth, (said, should_be) in enumerate(zip_longest(told, due), 1):
        if said != should_be:
            yield f"feedback differs: after reply {nth}, {_first_difference(should_be, said)}"
            break
    if len(replies) >= len(states):
        yield f"goes on after its end: {len(replies)} replies, the game ends with reply {len(states) - 1}"
    kept, made = _figures(row), _figures(game)
    for name in made | kept:
        if not math.isclose(kept.get(name, math.nan), made.get(name, math.nan), abs_tol=1e-6):
            there, here = (f"{them[name]:g}" if name in them else "none" for them in (kept, made))
            yield f"outcome differs: {name} recorded as {there}, replayed as {here}"
    if row.complete_reason != ended:
        yield f"outcome differs: recorded as {row.complete_reason}, replayed as {ended}"
    if row.themes != game.themes:
        yield "outcome differs: other themes are recorded than its replies name"
    if why := rejection(facts_of(game)):
        yield f"{why}: the game that its replies make is not a good one"
    if row.reply_unfit != game.reply_unfit and len(replies) < len(states):
        yield "outcome differs: other replies are recorded as fit for training than are"


def lineage_problems(row: GoodRow) -> Iterator[str]:
    """Where what a row says of its past cannot be: games it goes on from, who wrote it, what it was before."""
    resumed, models = row.resumed_from.turns if row.resumed_from else 0, row.reply_models
    if row.resumed_from and resumed >= len(models):
        yield f"lineage differs: {resumed} replies resumed, {len(models)} in the game"
    if row.cuts and not row.resumed_from:
        yield "lineage differs: turns were cut off a game that it goes on from, and it goes on from none"
    elif row.cuts and row.cuts[-1].kept > resumed:
        yield f"lineage differs: the last cut kept {row.cuts[-1].kept} replies, {resumed} were resumed"
    if models[-1:] != [row.model]:
        yield f"lineage differs: played by {row.model!r:.60}, the last reply is by {models[-1:]!r:.60}"
    if len({*models[resumed:]}) > 1:
        yield "lineage differs: the replies since it was resumed are by several models"
    if row.simulated != (SIMULATED in {*models, *row.reducer_models}):
        yield "lineage differs: a row is simulated where the simulated player wrote some of it, and nowhere else"
    if row.reduced != bool(row.original_completion):
        yield "lineage differs: a row is reduced where it holds what it was before, and nowhere else"
    if row.reduced != bool(row.reducer_models):
        yield "lineage differs: a row is reduced where it names who did it, and nowhere else"
    if [*map(_unthought, before_reduction(row).completion)] != [*map(_unthought, row.completion)]:
        yield "lineage differs: more than the reasoning is other than before the reduction"


def _unthought(message: Message) -> tuple[str, str]:
    """Role and content, of a reply what follows its think block."""
    return message.role, message.content.rpartition("</think>")[2]


def reply_problem(reply: Reply, state: GameState) -> str | None:
    """Why a reply is not exactly in canonical form for the question it answers, or None."""
    asked: Asked = "themes" if state.asks_themes else "guess"
    words = read_themes(reply.content) if state.asks_themes else read_guess(reply.content, state.puzzle).words
    reasoning = reasoning_of(Reply(reply.content), asked)
    if (blocks := (reply.content.count("<think>"), reply.content.count("</think>"))) != (1, 1):
        return f"think blocks: opened {blocks[0]} and closed {blocks[1]} times"
    if not reasoning:
        return "empty reasoning: nothing in the think block"
    return None if reply.content == canonical(reasoning, words, asked) else f"not canonical: the {asked} or its layout"


def _contents(messages: Iterable[Message]) -> list[str]:
    return [message.content for message in messages]


def _verdict(guess: GuessRow | None) -> str:
    return f"{guess.status} {', '.join(guess.words)}" if guess else "none"


def _figures(row: Rollout) -> dict[str, float]:
    """The reward and its parts, by their places in the row."""
    return {"reward": row.reward} | {f"metrics.{name}": figure for name, figure in row.metrics.items()}


def _details(guess: GuessRow) -> str:
    return f"group {guess.category_idx}, reason {guess.reason}"


def _first_difference(due: str | None, said: str | None) -> str:
    """The first line in which two messages differ, None being no message at all."""
    if due is None or said is None:
        return "the game says nothing more" if due is None else "what the game says is missing"
    lines = zip_longest(due.split("\n"), said.split("\n"))
    should_be, is_now = next((one, other) for one, other in lines if one != other)
    if should_be is None or is_now is None:
        return f"the game says {should_be!r:.80}, not {is_now!r:.80}"
    same = next((nth for nth, (one, other) in enumerate(zip(should_be, is_now, strict=False)) if one != other), 0)
    start = max(same - 30, 0) if same > 50 else 0
    return f"the game says {should_be[start : start + 80]!r}, not {is_now[start : start + 80]!r}"
