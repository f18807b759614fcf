"""Step 5: shortens the reasoning of games that are over the token limits; the guesses stay as they are, to the byte.

Reads good_examples.jsonl and doctored_gameplay.jsonl; writes X_reduced.jsonl for each X.jsonl, and to
reduce_rejects.jsonl, with its numbers, every game that cannot be made to fit. The puzzle's next good rollout takes the
place of such a game; a puzzle without one is dropped and listed in rerun_puzzles.txt.

    uv run python reduce_tokens.py --dry-run
    uv run python reduce_tokens.py --offline --output-dir generate_results/offline
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from connections_env import prompts
from connections_env.command import exit_status
from connections_env.endpoint import Endpoint, Halt
from connections_env.examples import GoodRow, Place, canonical_row
from connections_env.files import ResultsFile, claim_file, line_at, read_lines, shown
from connections_env.flags import UsageError, add_flags, command_parser
from connections_env.foreign import rollout_of
from connections_env.parsing import Asked, Reply, reasoning_of, unfit_reason
from connections_env.play import Disagrees, PromptTooLong, Stopped
from connections_env.pool import interrupts
from connections_env.puzzles import Puzzle, board_key
from connections_env.quality import facts_of, rejection
from connections_env.records import BadRow, FutureRow, Message, Usage
from connections_env.session import OFFLINE_MODEL, open_endpoint
from connections_env.steps import check_input, check_writable, read_step, replacing
from connections_env.tables import reasons_table, share
from connections_env.terminal import NAMED_PROBLEMS, Reporter, notify, printable
from connections_env.tokens import Counts, Limits, Tokenizer, count_game, limits_of, load_tokenizer

GOOD, DOCTORED = "good_examples.jsonl", "doctored_gameplay.jsonl"
REJECTS, RERUN = "reduce_rejects.jsonl", "rerun_puzzles.txt"
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
                spare = spare_of(row, place, row.spares[nth:])
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
            reject = _reject(row, row.completion, self.limits, before, before, "does not replay", [str(error)])
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
            reject = _reject(row, game.completion, self.limits, game.counts, before, why, reasons)
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


def spare_of(row: GoodRow, place: Place, left: list[Place]) -> GoodRow:
    """A good rollout that takes a row's place. Raises `BadRow`, `FutureRow`, `Disagrees`, OSError."""
    rollout = rollout_of(line_at(Path(place.file), place.offset))
    if board_key(rollout.info.all_words) != board_key(row.info.all_words):
        raise BadRow("another puzzle's game; the file is not what it was")
    if why := rejection(facts_of(rollout)):
        raise BadRow(f"not a good game: {why}")
    return canonical_row(rollout, spares=left)


def over_what(counts: Counts, limits: Limits, items: int) -> str:
    """The limit that a game is over, the narrowest first."""
    if max(counts.replies) > limits.reply:
        return "a reply over its limit"
    return "the game over its limit" if counts.completion > limits.game_limit(items) else "the sequence over its limit"


def _reject(
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


# The streams


@dataclass
class Stream:
    """An input, and what has become of those of its rows that are over their limits."""

    path: Path
    output: Path
    rows: list[GoodRow]
    skipped: int = 0
    """Lines that hold no good example."""
    over: dict[int, str] = field(default_factory=dict)
    """Place among the rows -> key under which the row's outcome is kept."""
    counts: dict[str, Counts] = field(default_factory=dict)
    finished: dict[str, Finished] = field(default_factory=dict)
    """By key."""
    earlier: set[str] = field(default_factory=set)
    """Keys that an earlier run finished."""
    progress: list[Path] = field(default_factory=list)

    @property
    def left(self) -> dict[str, GoodRow]:
        """Key -> row still to be reduced; rows that are alike, once."""
        return {key: self.rows[place] for place, key in self.over.items() if key not in self.finished}

    @property
    def outcomes(self) -> list[Finished]:
        return [self.finished[key] for key in self.over.values() if key in self.finished]

    def reduced_rows(self) -> Iterator[GoodRow]:
        for place, row in enumerate(self.rows):
            outcome = self.finished[self.over[place]].row if place in self.over else row
            if outcome is not None:
                yield outcome


def survey(path: Path, folder: Path, limits: Limits, tokenizer: Tokenizer, model: str, report: Reporter) -> Stream:
    """Reads an input, counts it, and finds what earlier runs finished of it. Calls nobody, writes nothing."""
    stream = Stream(path, folder / f"{path.stem}_reduced.jsonl", list(read_step(path, GoodRow, report)))
    stream.skipped = report.count
    report.finish()
    for place, row in enumerate(stream.rows):
        counts = count_row(row, tokenizer)
        if limits.over(counts, len(row.info.all_words)):
            stream.over[place] = key = progress_key(row, limits, tokenizer, model)
            stream.counts[key] = counts
    stream.progress = sorted(folder.glob(f".{stream.output.stem}.progress_*.jsonl"))
    wanted = stream.left
    for line in (line for file in stream.progress for line in read_lines(file)):
        with contextlib.suppress(ValidationError):  # a torn line of a run that was killed
            done = Finished.model_validate_json(line.data)
            if done.key in wanted:
                stream.finished[done.key] = done
    _take_over(stream, limits, tokenizer, model)
    stream.earlier = set(stream.finished)
    return stream


def _take_over(stream: Stream, limits: Limits, tokenizer: Tokenizer, model: str) -> None:
    """Takes rows from the output of an earlier run that still fit, if the same model reduced them."""
    if not stream.output.is_file():
        return
    wanted = {(row.rollout_id, _texts(row.completion)): key for key, row in stream.left.items()}
    for row in read_step(stream.output, GoodRow, lambda line: None):
        key = wanted.get((row.rollout_id, _texts(row.original_completion or [])))
        counts = count_row(row, tokenizer) if key and row.reducer_model == model else None
        if key and counts and not limits.over(counts, len(row.info.all_words)):
            pairs = zip(stream.counts[key].replies, counts.replies, strict=False)
            shortened = [(was, now) for was, now in pairs if was != now]
            spares = stream.left[key].spares
            row = row.model_copy(update={"spares": spares})
            stream.finished[key] = Finished(key=key, row=row, shortened=shortened)


def _texts(messages: list[Message]) -> tuple[str, ...]:
    return tuple(message.content for message in messages)


def progress_key(row: GoodRow, limits: Limits, tokenizer: Tokenizer, model: str) -> str:
    """The same for the same game, limits and tokenizer, whatever the model: only the simulated player's are apart."""
    parts = [_texts(row.completion), asdict(limits), tokenizer.name, model == OFFLINE_MODEL]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def claim_progress(output: Path) -> tuple[Path, int]:
    """Creates a progress file beside an output; each run has its own, so that none is torn or deleted by another."""
    for number in count(1):
        path = output.parent / f".{output.stem}.progress_{number}.jsonl"
        with contextlib.suppress(FileExistsError):
            return path, claim_file(path)
    raise AssertionError("numbers do not end")


# The run


@dataclass
class Outcome:
    streams: list[Stream]
    written: list[Path] = field(default_factory=list)
    """Empty where rows are left to be reduced."""
    lost: list[str] = field(default_factory=list)
    """Ids of puzzles without any row."""
    halt: Halt | None = None
    usage: Usage = field(default_factory=Usage)
    failed_attempts: int = 0
    cost: float | None = None

    @property
    def left(self) -> int:
        return sum(len(stream.left) for stream in self.streams)


async def run(
    streams: list[Stream],
    folder: Path,
    limits: Limits,
    tokenizer: Tokenizer,
    connect: Callable[[], AbstractAsyncContextManager[Endpoint]],
    *,
    verbose: bool = False,
) -> Outcome:
    """Reduces what is over its limits and, once all of it is finished, writes the outputs.

    `connect` gives the endpoint; it is not called where nothing is left to reduce.
    """
    outcome = Outcome(streams)
    if outcome.left:
        async with connect() as endpoint:
            await _reduce_all(streams, Reducer(endpoint, limits, tokenizer, verbose))
            outcome.halt, outcome.usage = endpoint.halt, endpoint.usage
            outcome.failed_attempts, outcome.cost = endpoint.failed_attempts, endpoint.cost
    if not outcome.left:
        outcome.lost = lost_puzzles(streams)
        outcome.written = list(_write(outcome, folder))
        for stream in streams:
            for path in stream.progress:
                path.unlink(missing_ok=True)
    return outcome


async def _reduce_all(streams: list[Stream], reducer: Reducer) -> None:
    """Twice as many rows at a time as requests may be in flight, so that one always waits for a place that is free."""
    endpoint = reducer.endpoint
    todo = [(stream, key, row) for stream in streams for key, row in stream.left.items()]
    queue = iter(todo)
    with interrupts(endpoint), tqdm(total=len(todo), unit="row", dynamic_ncols=True) as bar:

        def count_one() -> None:
            bar.update()

        async def work(files: dict[Path, ResultsFile]) -> None:
            for stream, key, row in queue:
                if endpoint.halt is not None:
                    return
                try:
                    done = await reducer.finish(row, key, stream.counts[key])
                    stream.finished[key] = done
                    files[stream.output].append(done.model_dump_json(), count_one)
                except Stopped:
                    continue
                except OSError as error:
                    endpoint.stop(_cannot_save(stream, error), 1)
                except Exception as error:  # a bug of ours must not take the other rows with it
                    traceback.print_exc()
                    endpoint.stop(f"{type(error).__name__} at {row.info.puzzle_id}: please report it", 1)

        async with AsyncExitStack() as stack:
            files = {
                stream.output: await stack.enter_async_context(_progress_file(stream, endpoint)) for stream in streams
            }
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(2 * endpoint.settings.max_concurrent, len(todo))):
                    workers.create_task(work(files))
    for stream in streams:
        if (path := files[stream.output].path) is not None:
            stream.progress.append(path)
    endpoint.settle()


def _progress_file(stream: Stream, endpoint: Endpoint) -> ResultsFile:
    return ResultsFile(
        partial(claim_progress, stream.output), lambda error: endpoint.stop(_cannot_save(stream, error), 1)
    )


def _cannot_save(stream: Stream, error: OSError) -> str:
    return f"cannot write beside {shown(stream.output)}: {error.strerror}; make room or mend the folder, then run again"


def lost_puzzles(streams: list[Stream]) -> list[str]:
    """Ids of the puzzles that were in a stream and have no row in any output."""
    kept = {board_key(row.info.all_words) for stream in streams for row in stream.reduced_rows()}
    rows = (row for stream in streams for row in stream.rows)
    return list(dict.fromkeys(row.info.puzzle_id for row in rows if board_key(row.info.all_words) not in kept))


def still_to_rerun(listed: list[str], kept: set[str], lost: list[str]) -> list[str]:
    """The ids that earlier steps listed, without those that have a row now, and the newly lost ones."""
    return list(dict.fromkeys([*(puzzle_id for puzzle_id in listed if puzzle_id not in kept), *lost]))


def _write(outcome: Outcome, folder: Path) -> Iterator[Path]:
    """Writes all files of a finished run; gives their paths."""
    for stream in outcome.streams:
        with replacing(stream.output) as file:
            file.writelines(row.to_line() + "\n" for row in stream.reduced_rows())
        yield stream.output
    with replacing(folder / REJECTS) as file:
        for done in (done for stream in outcome.streams for done in stream.outcomes):
            file.writelines(reject.model_dump_json() + "\n" for reject in done.rejects)
    yield folder / REJECTS
    rerun = folder / RERUN
    listed = rerun.read_text(encoding="utf-8-sig").split("\n") if rerun.is_file() else []
    kept = {row.info.puzzle_id for stream in outcome.streams for row in stream.reduced_rows()}
    ids = still_to_rerun([line.strip() for line in listed if line.strip()], kept, outcome.lost)
    if ids or listed:
        with replacing(rerun) as file:
            file.writelines(f"{puzzle_id}\n" for puzzle_id in ids)
        yield rerun


# What is told


def summary(outcome: Outcome, seconds: float) -> str:
    """What was over, what was reduced and from how many tokens to how many, what was rejected and why."""
    done = [done for stream in outcome.streams for done in stream.outcomes]
    rows = sum(len(stream.rows) for stream in outcome.streams)
    skipped = sum(stream.skipped for stream in outcome.streams)
    over = sum(len(stream.over) for stream in outcome.streams)
    earlier = sum(key in stream.earlier for stream in outcome.streams for key in stream.over.values())
    shortened = [pair for one in done for pair in one.shortened]
    refusals: Counter[str] = sum((one.refusals for one in done), Counter())
    rejects = [reject for one in done for reject in one.rejects]
    used = outcome.usage
    figures = {
        "rows": f"{rows + skipped:,}",
        "skipped": share(skipped, rows + skipped) if skipped else "",
        "within limits": share(rows - over, rows),
        "over a limit": share(over, rows),
        "reduced": share(sum(one.row is not None and not one.is_spare for one in done), over),
        "spare in its place": share(sum(one.row is not None and one.is_spare for one in done), over),
        "rejected": share(sum(one.row is None for one in done), over),
        "unfinished": share(outcome.left, over) if outcome.left else "",
        "finished earlier": f"{earlier:,} of {over:,} over a limit" if earlier else "",
        "replies shortened": f"{len(shortened):,}",
        "replies kept": f"{sum(one.kept for one in done):,} (every rewriting was refused)",
        "their tokens before": _sum_and_mean([was for was, _ in shortened]),
        "their tokens after": _sum_and_mean([now for _, now in shortened]),
        "requests": f"{used.requests:,} ({outcome.failed_attempts:,} failed)",
        "tokens in": f"{used.input:,} ({used.cached:,} cached)",
        "tokens out": f"{used.output:,} ({used.reasoning:,} reasoning)",
        "cost": "" if outcome.cost is None else f"{outcome.cost:.4f} USD",
        "time": f"{seconds:.1f} s",
    }
    parts = ["\n".join(f"  {name + ':':<22}{value}" for name, value in figures.items() if value)]
    if rejects:
        parts += ["Games rejected, spares included:", reasons_table(Counter(one.why for one in rejects), len(rejects))]
    if refusals:
        parts += ["Rewritings refused:", reasons_table(refusals, refusals.total())]
    if outcome.written:
        parts.append(_files(outcome))
    return "\n\n".join(parts)


def _sum_and_mean(tokens: list[int]) -> str:
    return f"{sum(tokens):,} (mean {sum(tokens) / len(tokens):,.1f})" if tokens else ""


def _files(outcome: Outcome) -> str:
    lines = [f"{len(list(stream.reduced_rows()))} rows -> {shown(stream.output)}" for stream in outcome.streams]
    rejects = sum(len(done.rejects) for stream in outcome.streams for done in stream.outcomes)
    others = {REJECTS: f"{rejects} rejected games", RERUN: f"{len(outcome.lost)} puzzles without a row"}
    return "\n".join(
        [*lines, *(f"{others[path.name]} -> {shown(path)}" for path in outcome.written if path.name in others)]
    )


def forecast(streams: list[Stream], limits: Limits, tokenizer: Tokenizer, *, verbose: bool) -> str:
    """What a run would reduce, and about how many tokens that takes if every first rewriting is accepted."""
    lines, requests, tokens_in, tokens_out = list[str](), 0, 0, 0
    for stream in streams:
        for key, row in stream.left.items():
            counts, items = stream.counts[key], len(row.info.all_words)
            todo = chosen(counts, limits, items, set()) if can_fit(counts, limits, items) else {}
            said = [message.content for message in row.completion if message.role == "assistant"]
            asked = [prompts.shorten(said[turn], target) for turn, target in todo.items()]
            requests += len(todo)
            tokens_in += sum(tokenizer.count(message["content"]) for messages in asked for message in messages)
            tokens_out += sum(todo.values())
            plan = ", ".join(f"reply {turn + 1} to {target:,}" for turn, target in sorted(todo.items()))
            reasons = "; ".join(limits.over(counts, items))
            lines.append(f"  {row.info.puzzle_id}: {reasons}: {plan or 'cannot be made to fit'}")
    if not verbose and len(lines) > NAMED_PROBLEMS:
        lines[NAMED_PROBLEMS:] = [f"  ... and {len(lines) - NAMED_PROBLEMS} more; -v names them all"]
    rows, over = sum(len(stream.rows) for stream in streams), sum(len(stream.over) for stream in streams)
    to_do = sum(len(stream.left) for stream in streams)
    figures = {
        "rows": f"{rows:,}",
        "over a limit": share(over, rows),
        "to be reduced": f"{to_do:,}",
        "replies to shorten": f"{requests:,}",
        "tokens in": f"about {tokens_in:,}",
        "tokens out": f"about {tokens_out:,}, and what the model thinks",
    }
    return "\n".join(
        [*lines, *([""] if lines else []), *(f"  {name + ':':<22}{text}" for name, text in figures.items())]
    )


# The command


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument(
        "inputs", nargs="*", type=Path, help=f"good games; default {GOOD} and {DOCTORED} in --output-dir"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would be reduced and how many tokens it takes; calls nobody"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell each reduction, name every line skipped")
    add_flags(parser, "files", "tokens", "play.seed", "endpoint", "budget", "offline")
    return parser.parse_args(argv)


def chosen_inputs(args: argparse.Namespace) -> list[Path]:
    """The inputs that are to be read. Raises `UsageError` where one is missing that must be there."""
    if not args.inputs:
        check_input(args.output_dir / GOOD)
        doctored = args.output_dir / DOCTORED
        if doctored.is_file():
            return [args.output_dir / GOOD, doctored]
        notify(f"no {shown(doctored)}: there are no doctored games to reduce")
        return [args.output_dir / GOOD]
    for path in args.inputs:
        check_input(path)
    if twice := [stem for stem, times in Counter(path.stem for path in args.inputs).items() if times > 1]:
        raise UsageError(f"two inputs would both be written to {twice[0]}_reduced.jsonl; reduce one at a time")
    return list(args.inputs)


async def _reduce(args: argparse.Namespace) -> int:
    inputs, started = chosen_inputs(args), time.monotonic()
    if not args.dry_run:
        check_writable(args.output_dir)
    limits, tokenizer, report = limits_of(args), load_tokenizer(args.tokenizer), Reporter(args.verbose)
    model = OFFLINE_MODEL if args.offline else args.model
    streams = [survey(path, args.output_dir, limits, tokenizer, model, report) for path in inputs]
    if args.dry_run:
        print(forecast(streams, limits, tokenizer, verbose=args.verbose))
        return 0
    for stream in streams:
        if stream.skipped and not stream.rows:
            print(f"error: {shown(stream.path)} holds no good example; nothing was written", file=sys.stderr)
            return 1
    outcome = await run(
        streams, args.output_dir, limits, tokenizer, lambda: open_endpoint(args, []), verbose=args.verbose
    )
    print(summary(outcome, time.monotonic() - started))
    if not outcome.left:
        return 0
    over = sum(len(set(stream.over.values())) for stream in streams)
    why = outcome.halt.why if outcome.halt else "the endpoint gave some requests up"
    print(printable(f"stopped: {why}"), file=sys.stderr)
    print(
        f"{over - outcome.left} of {over} rows are finished and kept, the outputs are as they were; "
        "run the same command again to go on",
        file=sys.stderr,
    )
    return outcome.halt.exit_status if outcome.halt else 1


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status(lambda: asyncio.run(_reduce(args)))


if __name__ == "__main__":
    sys.exit(main())
