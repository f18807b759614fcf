"""Many games at once: workers draw jobs from one iterator, finished games go to disk before they are counted."""

import asyncio
import contextlib
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from connections_env.durable import ResultsFile
from connections_env.endpoint import INTERRUPTED, Endpoint
from connections_env.game import WON
from connections_env.parsing import reasoning_of
from connections_env.play import Answer, Job, default_max_turns, play_game
from connections_env.progress import Progress
from connections_env.prompts import Message
from connections_env.quality import facts_of, rejection
from connections_env.records import Rollout, Usage
from connections_env.signals import INTERRUPTS
from connections_env.tables import share
from connections_env.terminal import notify

GRACE = 5.0  # seconds that replies in flight get after a SIGTERM or SIGHUP
REASONING_EXPECTED_WITHIN = 20  # replies
NO_REASONING = (
    f"none of the first {REASONING_EXPECTED_WITHIN} replies holds reasoning, so no game could become an example; "
    "choose a model or a request that shows its reasoning, or go on with --allow-empty-reasoning"
)


@dataclass
class Tally:
    """What became of a pool of games."""

    games: int = 0
    good: int = 0
    won: int = 0
    with_invalid: int = 0
    lost: int = 0
    unfinished: int = 0
    rescued: int = 0
    """Games that could not be saved in their place; not among the others."""
    usage: Usage = field(default_factory=Usage)
    ran: set[str] = field(default_factory=set)
    """Keys of the boards on which a game got at least one reply."""

    def count(self, rollout: Rollout) -> None:
        facts = facts_of(rollout)
        why = rejection(facts)
        self.games += 1
        self.good += why is None
        self.won += rollout.complete_reason in WON
        self.lost += rollout.complete_reason == "max_mistakes"
        self.unfinished += rollout.complete_reason not in WON | {"max_mistakes"}
        self.with_invalid += "invalid" in facts.statuses
        self.usage += rollout.usage

    def verdicts(self) -> str:
        unfinished = f", {self.unfinished:,} unfinished" if self.unfinished else ""
        return f"{self.good:,} good, {self.games - self.good - self.unfinished:,} bad{unfinished}"


async def play_all(
    jobs: Iterable[Job],
    endpoint: Endpoint,
    results: ResultsFile,
    *,
    total: int,
    max_turns: int | None = None,
    allow_empty_reasoning: bool = False,
    progress_every: float = 0.0,
    **fields: Any,
) -> Tally:
    """Plays the jobs, as many at once as the endpoint's settings allow, until they or the endpoint end.

    `fields` go into every row, `progress_every` is that of `Progress`. Look at `endpoint.halt` for why the run ended
    early.
    """
    tally, queue = Tally(), iter(jobs)
    ask = _Listener(endpoint, allow_empty_reasoning)
    progress = Progress("game", total, endpoint, tally.verdicts, every=progress_every)

    def count(rollout: Rollout) -> None:
        tally.count(rollout)
        progress.done += 1

    async def work() -> None:
        for job in queue:
            if endpoint.halt is not None:
                return
            turns = max_turns or default_max_turns(job.puzzle, job.ruleset)
            progress.begun += 1
            try:
                rollout = await play_game(job, ask, turns, model=endpoint.settings.model, **fields)
                if rollout is not None:
                    tally.ran.add(job.puzzle.key)
                    results.append(rollout.to_line(), partial(count, rollout))
            except Exception as error:  # a bug of ours must not take the other games with it
                endpoint.stop_for_bug(error, f"while playing {job.puzzle.puzzle_id}")
                return
            finally:
                progress.ended += 1

    async with progress, results, asyncio.TaskGroup() as workers:
        for _ in range(min(endpoint.settings.max_concurrent, total)):
            workers.create_task(work())
    return tally


def run_table(tally: Tally, asked_for: int, puzzles: int, endpoint: Endpoint, seconds: float) -> str:
    """What the run gave and took, a line a figure."""
    used = endpoint.usage
    rows = {
        "puzzles": f"{puzzles:,}",
        "games": f"{tally.games:,} of {asked_for:,}",
        "good": share(tally.good, tally.games),
        "won": share(tally.won, tally.games),
        "with an invalid guess": share(tally.with_invalid, tally.games),
        "lost": share(tally.lost, tally.games),
        "unfinished": share(tally.unfinished, tally.games),
        "saved elsewhere": f"{tally.rescued:,}" if tally.rescued else "",
        "without a reply": f"{without:,} (not written)" if (without := asked_for - tally.games - tally.rescued) else "",
        "tokens in": f"{used.input:,} ({used.cached:,} cached)",
        "tokens out": f"{used.output:,} ({used.reasoning:,} reasoning)",
        "requests": f"{used.requests:,} ({endpoint.failed_attempts:,} failed)",
        "cost": "" if endpoint.cost is None else f"{endpoint.cost:.4f} USD",
        "time": f"{seconds:.1f} s",
    }
    return "\n".join(f"  {name + ':':<23}{value}" for name, value in rows.items() if value)


class _Listener:
    """Passes messages on, and stops a run whose model hides its reasoning before it has cost much."""

    def __init__(self, endpoint: Endpoint, allow_empty_reasoning: bool):
        self.endpoint = endpoint
        self.replies_without = 0
        self.satisfied = allow_empty_reasoning

    async def __call__(self, messages: list[Message], request_id: str) -> Answer:
        answer = await self.endpoint.ask(messages, request_id)
        if not self.satisfied:
            if reasoning_of(answer.reply):
                self.satisfied = True
            else:
                self.replies_without += 1
                if self.replies_without == REASONING_EXPECTED_WITHIN:
                    self.endpoint.stop(NO_REASONING, 1)
        return answer


@contextlib.contextmanager
def interrupts(endpoint: Endpoint) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a terminal that is closed end the run gently while in this block, a second one at once.

    Who sends SIGTERM kills soon after, containers within ten seconds: then the replies in flight get only a few.
    """
    loop, before = asyncio.get_running_loop(), False

    def interrupted(number: int) -> None:
        nonlocal before
        if before:
            endpoint.abort()
            return
        before = True
        waiting = f"waiting for what is paid for ({endpoint.in_flight} in flight); " if endpoint.in_flight else ""
        notify(f"interrupted: {waiting}once more to stop at once")
        endpoint.stop("interrupted", INTERRUPTED)
        if number != signal.SIGINT:
            loop.call_later(GRACE, endpoint.abort)

    handlers = {number: signal.getsignal(number) for number in INTERRUPTS}
    heard = [number for number in INTERRUPTS if handlers[number] != signal.SIG_IGN]  # nohup ignores SIGHUP
    for number in heard:
        loop.add_signal_handler(number, interrupted, number)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
            if number != signal.SIGINT:  # which now ends at once what is written, no longer at the next pause
                signal.signal(number, handlers[number])
