"""An OpenAI-compatible chat endpoint: one request after another made good, or the run stopped for a stated reason.

    async with Endpoint(settings) as endpoint:
        answer = await endpoint.ask(messages, rollout_id)

Retries, pauses, budgets and the decision to stop are ours; the openai client below sends each request once.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from connections_env.completions import read_completion, read_error, read_retry_after, read_usage
from connections_env.play import Answer, PromptTooLong, Stopped
from connections_env.prompts import Message
from connections_env.records import Usage

if TYPE_CHECKING:  # importing these takes a second, which `--help` and `--dry-run` should not pay
    from httpx2 import AsyncBaseTransport
    from openai import AsyncOpenAI

INTERRUPTED = 130  # exit status after a signal, as shells give it
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 60.0  # seconds; doubled from one attempt to the next, halved at most by jitter
CONNECT_TIMEOUT = 30.0  # seconds
_CONTEXT_LENGTH = re.compile(r"context|maximum.{0,20}(length|token)|too (long|many tokens)", re.IGNORECASE)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_WAY_OUT = {
    401: "check the API key",
    402: "top up the account",
    403: "check what the API key may do",
    404: "check --model and --base-url",
}


@dataclass(frozen=True)
class Prices:
    """USD per million tokens."""

    input: float
    cached: float
    output: float

    def cost(self, usage: Usage) -> float:
        fresh = usage.input - usage.cached
        return (fresh * self.input + usage.cached * self.cached + usage.output * self.output) / 1e6


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
    prices: Prices | None = None
    max_cost: float | None = None
    token_budget: int | None = None


@dataclass(frozen=True, slots=True)
class _Retry:
    """An attempt that failed in a way that another may not."""

    what: str
    rate_limited: bool = False
    retry_after: float | None = None
    usage: Usage = field(default_factory=lambda: Usage(requests=1))


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
        self.failed_attempts = 0
        self.halt: Halt | None = None
        self._transport = transport
        self._notify = notify
        self._client: AsyncOpenAI | None = None
        self._first = asyncio.Lock()
        self._proven = False
        self._aborting = False
        self._halted = asyncio.Event()
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._paused_until = 0.0  # on the monotonic clock, shared by all workers
        self._last_answer = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    @property
    def cost(self) -> float | None:
        """USD spent so far; None where no prices are known."""
        return self.settings.prices.cost(self.usage) if self.settings.prices else None

    def stop(self, why: str, exit_status: int, *, lets_games_finish: bool = False) -> None:
        """Ends the run. The first reason stays unless the user interrupts, but games may then be stopped too."""
        if self.halt is None or exit_status == INTERRUPTED:
            self.halt = Halt(why, exit_status, lets_games_finish)
        elif not lets_games_finish:
            self.halt = replace(self.halt, lets_games_finish=False)
        if not lets_games_finish:
            self._halted.set()

    def abort(self) -> None:
        """Gives up the requests in flight."""
        self._aborting = True
        for task in self._in_flight:
            task.cancel()

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

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
        began, failure = time.monotonic(), ""
        for attempt in range(1, self.settings.max_retries + 2):
            while (pause := self._paused_until - time.monotonic()) > 0:  # another 429 may prolong it meanwhile
                await self._wait(pause)
            await self._wait(0)
            self._check_budget()
            got = await self._attempt(body, request_id)
            if isinstance(got, Answer):
                self._last_answer = time.monotonic()
                self.usage += got.usage
                return Answer(got.reply, got.usage.model_copy(update={"requests": attempt}))
            failure = got.what
            self.failed_attempts += 1
            self.usage += got.usage
            delay = got.retry_after if got.retry_after is not None else _backoff(attempt)
            if got.rate_limited:
                self._paused_until = max(self._paused_until, time.monotonic() + delay)
            if attempt <= self.settings.max_retries:
                if not self._proven or delay > LONGEST_BACKOFF:
                    self._notify(
                        f"{got.what}; trying again in {delay:.1f} s ({attempt} of {self.settings.max_retries})"
                    )
                await self._wait(delay)
        if self._last_answer < began:
            # Others would have been answered meanwhile: it is the endpoint that is out, not this request.
            way_out = "run the same command again to go on" if self._proven else "check --base-url and try again"
            self.stop(f"{self._place} gave no answer in {time.monotonic() - began:.0f} s ({failure}); {way_out}", 1)
        raise Stopped

    async def _wait(self, seconds: float) -> None:
        """Sleeps, unless the run is halted before or meanwhile."""
        if seconds > 0 and not self._halted.is_set():
            try:
                await asyncio.wait_for(self._halted.wait(), seconds)
            except TimeoutError:
                return
        if self._halted.is_set():
            raise Stopped

    def _check_budget(self) -> None:
        limit, spent = self.settings.token_budget, self.usage.input + self.usage.output
        if limit is not None and spent >= limit:
            self.stop(f"the token budget is used up: {spent:,} of {limit:,} tokens", 0)
            raise Stopped
        if self.settings.max_cost is not None and self.cost is not None and self.cost >= self.settings.max_cost:
            self.stop(f"the budget is used up: {self.cost:.4f} of {self.settings.max_cost:.4f} USD", 0)
            raise Stopped

    async def _attempt(self, body: dict[str, Any], request_id: str) -> "Answer | _Retry":
        import openai
        from openai.types.chat import ChatCompletion

        task = asyncio.current_task()
        assert task is not None
        self._in_flight.add(task)
        completion: Any = None
        try:
            async with asyncio.timeout(self.settings.timeout):
                completion = await self._opened().post(
                    "/chat/completions",
                    body=body,
                    cast_to=ChatCompletion,
                    # The header by which OpenAI lets a client name its own requests.
                    options={"headers": {"X-Client-Request-Id": request_id}},
                )
            return read_completion(completion, body["messages"])
        except openai.APIStatusError as error:
            return self._refused(
                error.status_code, error.response.headers, self._clean(read_error(error.body)), error.code
            )
        except (TimeoutError, openai.APIConnectionError) as error:
            cause = _root(error)
            if isinstance(cause, TimeoutError):
                return _Retry(f"no answer within {self.settings.timeout:g} s")
            return _Retry(f"cannot reach {self._place}: {self._clean(str(cause)) or type(cause).__name__}")
        except (openai.APIError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            return _Retry("the answer is no chat completion", usage=read_usage(completion) or Usage(requests=1))
        except asyncio.CancelledError:
            if not self._aborting:
                raise
            task.uncancel()
            raise Stopped from None
        finally:
            self._in_flight.discard(task)

    def _refused(self, status: int, headers: Mapping[str, str], said: str, code: str | None) -> "_Retry":
        """Decides about an error status: try again, end this game, end all games, or end the run."""
        what = f"{status}: {said}" if said else str(status)
        if status in (408, 429) or status >= 500:
            return _Retry(what, rate_limited=status == 429, retry_after=read_retry_after(headers))
        self.usage += Usage(requests=1)
        self.failed_attempts += 1
        too_long = status == 413 or (status == 400 and _CONTEXT_LENGTH.search(f"{said} {code}"))
        if self._proven and too_long:
            raise PromptTooLong
        when = "refused a request" if self._proven else "refused the first request"
        way_out = _WAY_OUT.get(status, "check --model, --sampling-args and the other request flags")
        self.stop(
            f"{self._place} {when} ({what}); {way_out}",
            1,
            lets_games_finish=self._proven and status not in _WAY_OUT,
        )
        raise Stopped

    @property
    def _place(self) -> str:
        """The endpoint as messages may name it: without user, password or query."""
        url = urlsplit(self.settings.base_url)
        return f"{url.scheme}://{url.hostname}{f':{url.port}' if url.port else ''}{url.path}"

    def _clean(self, text: str) -> str:
        """What the other side said, fit for a terminal: one short line without control characters or our key."""
        text = _CONTROL_CHARACTERS.sub(" ", text)
        if self.settings.api_key:
            text = text.replace(self.settings.api_key, "***")
        return " ".join(text.split())[:300]

    def _opened(self) -> "AsyncOpenAI":
        if self._client is None:
            from openai import AsyncOpenAI, DefaultAioHttpClient, DefaultAsyncHttpxClient, Timeout

            width = self.settings.max_concurrent
            timeout = Timeout(self.settings.timeout, connect=min(CONNECT_TIMEOUT, self.settings.timeout))
            if self._transport is not None:
                http_client = DefaultAsyncHttpxClient(transport=self._transport, timeout=timeout)
            else:
                from httpx2 import Limits

                # Both limits default to far less than a paid endpoint allows, and None means 100.
                limits = Limits(max_connections=width, max_keepalive_connections=width)
                http_client = DefaultAioHttpClient(limits=limits, timeout=timeout)
            self._client = AsyncOpenAI(
                api_key=self.settings.api_key or "none",
                base_url=self.settings.base_url,
                max_retries=0,
                http_client=http_client,
            )
        return self._client


def _backoff(attempt: int) -> float:
    return min(FIRST_BACKOFF * 2.0 ** (attempt - 1), LONGEST_BACKOFF) * random.uniform(0.5, 1.0)


def _root(error: BaseException) -> BaseException:
    """The error that caused the others, as libraries wrap each other's; a timeout's own cause is its machinery."""
    while not isinstance(error, TimeoutError) and (cause := error.__cause__ or error.__context__):
        error = cause
    return error
