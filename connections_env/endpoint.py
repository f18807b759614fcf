"""An OpenAI-compatible chat endpoint: one request after another made good, or the run stopped for a stated reason.

    async with Endpoint(settings) as endpoint:
        answer = await endpoint.ask(messages, rollout_id)

Retries, pauses, budgets and the decision to stop are made here; `client.py` sends each request once.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, Self

from connections_env.client import Client, Failure
from connections_env.patience import Attempts, Breaker
from connections_env.play import Answer, PromptTooLong, Stopped
from connections_env.prices import Prices
from connections_env.prompts import Message
from connections_env.records import Usage
from connections_env.terminal import counted, show_trace
from connections_env.width import Width

if TYPE_CHECKING:
    from httpx2 import AsyncBaseTransport

SAME_COMMAND = "run the same command again to go on"
WORTH_TELLING = 10.0  # seconds of waiting
INTERRUPTED = 130  # exit status after a signal, as shells give it
_WAY_OUT = {
    401: "check the API key",
    402: "top up the account",
    403: "check what the API key may do",
    404: "check --model and --base-url",
}


@dataclass(frozen=True)
class EndpointSettings:
    model: str
    base_url: str
    api_key: str = field(repr=False)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Goes into the body of every request as it is."""
    max_concurrent: int = 64
    max_retries: int = 6
    timeout: float = 600.0
    give_up_after: float = 300.0
    """Seconds of nothing but failures that may pass, after which the run is stopped."""
    prices: Prices | None = None
    max_cost: float | None = None
    token_budget: int | None = None
    to_go_on: str = SAME_COMMAND
    """What the user is to do once an outage is over."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Why the run ends early, and with which exit status."""

    why: str
    exit_status: int
    lets_games_finish: bool = False
    """No new games are started, those under way are played to their end."""


class Endpoint:
    """Answers messages until the run is halted. `transport` replaces the network below the openai client."""

    def __init__(
        self,
        settings: EndpointSettings,
        transport: "AsyncBaseTransport | None" = None,
        notify: Callable[[str], None] = lambda line: None,
    ):
        self.settings = settings
        self.usage = Usage()
        self.failed_attempts = self.retries = 0
        self.halt: Halt | None = None
        self._notify = notify
        self._client = Client(
            settings.base_url,
            settings.api_key,
            timeout=settings.timeout,
            width=settings.max_concurrent,
            transport=transport,
        )
        self._width = Width(settings.max_concurrent)
        self._first = asyncio.Lock()
        self._proven = False
        self._aborting = False
        self._halted = asyncio.Event()
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._paused_until = 0.0  # on the monotonic clock, shared by all workers
        self._told_until = 0.0  # until when a wait is known that was told
        self._breaker = Breaker(settings.give_up_after)
        self.answers = 0
        self._given_up = ""  # why a game was, since the last answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    @property
    def cost(self) -> float | None:
        """USD spent so far; None where no prices are known."""
        return self.settings.prices.cost(self.usage) if self.settings.prices else None

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def stop(self, why: str, exit_status: int, *, lets_games_finish: bool = False) -> None:
        """Ends the run. The first reason stays unless the user interrupts, but games may then be stopped too."""
        if self.halt is None or exit_status == INTERRUPTED:
            self.halt = Halt(why, exit_status, lets_games_finish)
        elif not lets_games_finish:
            self.halt = replace(self.halt, lets_games_finish=False)
        if not lets_games_finish:
            self._halted.set()
            self._width.open()

    def abort(self) -> None:
        """Gives up the requests in flight."""
        self._aborting = True
        for task in self._in_flight:
            task.cancel()

    def stop_for_bug(self, error: Exception, where: str) -> None:
        """Ends the run over an error of ours: its trace goes to stderr, without the key."""
        show_trace(error, self._client.without_key)
        self.stop(f"{type(error).__name__} {where}: please report it", 1)

    def settle(self) -> None:
        """To be called when no more is asked: says so if the end of it was an outage too short for the breaker."""
        if self._given_up:
            with suppress(Stopped):
                self._stop_for_outage(self._given_up)

    async def ask(self, messages: list[Message], request_id: str) -> Answer:
        """The answer to a conversation. Raises `PromptTooLong` or `Stopped`.

        The first request of a run goes alone: what is wrong with the key, the model or the body is wrong for all.
        """
        if not self._proven:
            async with self._first:
                if not self._proven:
                    answer = await self._ask(messages, request_id)
                    self._proven = True
                    return answer
        return await self._ask(messages, request_id)

    async def _ask(self, messages: list[Message], request_id: str) -> Answer:
        body = {"model": self.settings.model, "messages": messages, **self.settings.sampling}
        attempts, spent_before = Attempts(), Usage()
        while True:
            sent, got = await self._send(body, request_id, attempts)
            if isinstance(got, Answer):
                self.answers += 1
                self._breaker.answered(sent)
                self._given_up = ""
                self._width.widen(sent)
                return replace(got, usage=spent_before + got.usage) if attempts.made > 1 else got
            spent_before += got.usage
            if got.too_long:
                self._breaker.answered(sent)
            if not got.may_pass:
                self._refuse(got, resumed=any(message["role"] == "assistant" for message in messages))
            if not got.rate_limited:
                await self._wait(self._delay(got, attempts))

    def _delay(self, failure: Failure, attempts: Attempts) -> float:
        """Seconds to wait before a request is tried again; raises `Stopped` where it, or the run, is given up."""
        # Who never answered may well be misspelt, and giving up costs nothing yet.
        own = not self._proven or self._breaker.last_answered >= attempts.last_failed
        attempts.failed(own=own and not failure.rate_limited)
        if self._breaker.failed(failure.retry_after):
            self._stop_for_outage(failure.what)
        if attempts.own_failures > self.settings.max_retries:
            self._give_up(failure.what, attempts)
        delay = max(attempts.backoff(failure.rate_limited, self._breaker), failure.retry_after or 0.0)
        if time.monotonic() >= self._told_until and (not self._proven or delay > WORTH_TELLING):
            self._told_until = time.monotonic() + delay  # the others are told the same
            self._notify(f"{failure.what}; trying again in {delay:.1f} s")
        return delay

    def _slow_down(self, failure: Failure, sent: float, attempts: Attempts) -> None:
        """After a 429: the endpoint lives and is full, which is about everyone's requests and never about this one."""
        self._width.narrow(sent)
        self._paused_until = max(self._paused_until, time.monotonic() + self._delay(failure, attempts))

    async def _send(self, body: dict[str, Any], request_id: str, attempts: Attempts) -> tuple[float, Answer | Failure]:
        """When the request was sent and what came back, once no pause, no crowd and no budget is in its way."""
        await self._take_place()
        task = asyncio.current_task()
        assert task is not None
        self._in_flight.add(task)
        try:
            if self._halted.is_set():
                raise Stopped
            self._check_budget()
            self.retries += attempts.made > 0
            attempts.made += 1
            sent = time.monotonic()
            got = await self._client.send(body, request_id)
            self.usage += got.usage
            self.failed_attempts += isinstance(got, Failure)
            if isinstance(got, Failure) and got.rate_limited:
                self._slow_down(got, sent, attempts)  # before the place goes to the next who waits
            return sent, got
        except asyncio.CancelledError:
            if not self._aborting:
                raise
            task.uncancel()
            raise Stopped from None
        finally:
            self._in_flight.discard(task)
            self._width.leave()

    async def _take_place(self) -> None:
        """Waits until no pause is on and there is room: a 429 may begin or prolong a pause while others wait."""
        while not self._halted.is_set():
            if (pause := self._paused_until - time.monotonic()) > 0:
                await self._wait(pause)
            await self._width.enter()
            if self._paused_until <= time.monotonic():
                return
            self._width.leave()
        raise Stopped

    async def _wait(self, seconds: float) -> None:
        """Sleeps, unless the run is halted before or meanwhile."""
        try:
            await asyncio.wait_for(self._halted.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped

    def _check_budget(self) -> None:
        limit, spent = self.settings.token_budget, self.usage.input + self.usage.output
        if limit is not None and spent >= limit:
            self.stop(f"the token budget is used up: {spent:,} of {limit:,} tokens{self._on_top()}", 0)
            raise Stopped
        if self.settings.max_cost is not None and self.cost is not None and self.cost >= self.settings.max_cost:
            spent_of = f"{self.cost:.4f} of {self.settings.max_cost:.4f} USD"
            self.stop(f"the budget is used up: {spent_of}{self._on_top()}", 0)
            raise Stopped

    def _on_top(self) -> str:
        """What was sent before the budget was found used up, and will be charged all the same."""
        others = len(self._in_flight) - 1  # the one that asks has a place, and is not sent
        return f", and what {counted(others, 'request')} in flight will cost" if others > 0 else ""

    def _refuse(self, failure: Failure, *, resumed: bool) -> NoReturn:
        """Ends this game, all games or the run over a failure that will not pass."""
        if failure.too_long and (self._proven or resumed):  # a game that goes on may be too long all by itself
            raise PromptTooLong
        status = failure.status or 0
        answers = counted(self.answers, "answer")
        when = f"refused a request after {answers}" if self._proven else "refused the first request"
        way_out = _WAY_OUT.get(status, "check --model, --sampling-args and the other request flags")
        self.stop(
            f"{self._client.place} {when} ({failure.what}); {way_out}",
            1,
            lets_games_finish=self._proven and status not in _WAY_OUT,
        )
        raise Stopped

    def _give_up(self, what: str, attempts: Attempts) -> NoReturn:
        """Ends this game; the run goes on, unless it has not begun yet."""
        if not self._proven:
            self._stop_for_outage(what)
        self._given_up = what
        self._notify(f"gave a request up after {counted(attempts.made, 'attempt')} ({what}); the next run asks again")
        raise Stopped

    def _stop_for_outage(self, what: str) -> NoReturn:
        way_out = self.settings.to_go_on if self._proven else "check --base-url, or try again later"
        self.stop(f"{self._client.place} gives no answer ({what}); {way_out}", 1)
        raise Stopped
