"""One request to an OpenAI-compatible endpoint: an answer, or a failure in plain words."""

import asyncio
import json
import re
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from connections_env.completions import estimated_usage, read_completion, read_error, read_retry_after, read_usage
from connections_env.masking import MASK, SHORTEST_SECRET, masker
from connections_env.play import Answer
from connections_env.prompts import Message
from connections_env.records import Usage
from connections_env.terminal import printable

if TYPE_CHECKING:  # importing these takes a second, which `--help` and `--dry-run` should not pay
    from httpx2 import AsyncBaseTransport
    from openai import APIStatusError, AsyncOpenAI

_STAINLESS = tuple(
    f"x-stainless-{name}"
    for name in (
        *("lang", "package-version", "os", "arch", "runtime", "runtime-version", "async"),
        *("retry-count", "read-timeout", "raw-response"),
    )
)
_NEEDED = ("accept", "content-type", "user-agent", "authorization")
CONNECT_TIMEOUT = 30.0  # seconds
LONGEST_MESSAGE = 300  # characters kept of what an endpoint says about an error
SHORTEST_IN_URL = 4  # characters; masking less would only garble what is said
LONGEST_START = 60  # characters shown of an answer that is something else, such as a proxy's page
_CONTEXT_LENGTH = re.compile(r"context|maximum.{0,20}(length|token)|too (long|many tokens)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without an answer. `status` is None where no HTTP status came, or one that was no failure."""

    what: str
    status: int | None = None
    retry_after: float | None = None
    """Seconds, as the endpoint asked for."""
    too_long: bool = False
    """The conversation does not fit the model's context."""
    usage: Usage = field(default_factory=lambda: Usage(requests=1))

    @property
    def rate_limited(self) -> bool:
        return self.status == 429

    @property
    def may_pass(self) -> bool:
        """Might the same request be answered another time?"""
        return self.status is None or self.status in (408, 429) or self.status >= 500


class Client:
    """Sends requests once each, as many at a time as `width`. `transport` replaces the network below it."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout: float,
        width: int,
        transport: "AsyncBaseTransport | None" = None,
    ):
        self._base_url, self._api_key, self._timeout, self._width = base_url, api_key, timeout, width
        self._transport = transport
        self._url, self._headers = _address(base_url)
        self.without_key = masker(api_key, *_secrets_of(base_url))
        self._openai: AsyncOpenAI | None = None

    @property
    def place(self) -> str:
        """The endpoint as messages may name it: without user, password or query."""
        url = urlsplit(self._base_url)
        return f"{url.scheme}://{url.hostname}{f':{url.port}' if url.port else ''}{url.path}"

    @property
    def _is_openai(self) -> bool:
        return f".{urlsplit(self._base_url).hostname}".endswith(".openai.com")

    async def close(self) -> None:
        if self._openai is not None:
            await self._openai.close()

    async def send(self, body: dict[str, Any], request_id: str) -> Answer | Failure:
        """Posts one chat-completions body. Raises nothing but what is a bug."""
        import httpx2
        import msgspec
        import openai

        encoded = msgspec.json.encode(body)
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._opened().post(
                    self._url,
                    content=encoded,
                    # What the client makes of a body costs more than all the rest of a request, and validates nothing.
                    cast_to=httpx2.Response,
                    # The header by which OpenAI lets a client name its own requests.
                    options={"headers": {"X-Client-Request-Id": request_id, **self._headers}},
                )
        except openai.APIStatusError as error:
            return self._refusal(error)
        except (TimeoutError, openai.APIConnectionError) as error:
            cause = _root(error)
            if isinstance(cause, TimeoutError):
                return Failure(f"no answer within {self._timeout:g} s")
            return Failure(f"cannot reach {self.place}: {self._clean(str(cause)) or type(cause).__name__}")
        except openai.APIError:
            return Failure("the answer is no chat completion")
        try:
            completion = json.loads(response.content)
        except (ValueError, RecursionError):  # no JSON, or none of sane depth
            text = response.content.decode(errors="replace").strip()
            start = self._clean(text[:LONGEST_START])
            what = f"the answer is no chat completion{start and f' but starts {start!r}'}"
            return Failure(what, usage=_of_broken(text, body["messages"]))
        try:
            return self._without_key(read_completion(completion, body["messages"]))
        except (AttributeError, LookupError, TypeError):
            said = self._clean(read_error(completion if isinstance(completion, dict) else None))
            usage = read_usage(completion) or Usage(requests=1)
            return Failure(f"the answer is no chat completion{said and f': {said}'}", usage=usage)

    def _refusal(self, error: "APIStatusError") -> Failure:
        status, said = error.status_code, self._clean(read_error(error.body))
        usage = None
        with suppress(ValueError, RecursionError):
            usage = read_usage(json.loads(error.response.content))  # beside the `error` that is all of `error.body`
        return Failure(
            f"{status}: {said}" if said else str(status),
            status,
            retry_after=read_retry_after(error.response.headers),
            too_long=status == 413 or (status == 400 and bool(_CONTEXT_LENGTH.search(f"{said} {error.code}"))),
            usage=usage or Usage(requests=1),
        )

    def _clean(self, text: str) -> str:
        """What the other side said, fit for a terminal, without what we proved ourselves by."""
        return printable(self.without_key(text))[:LONGEST_MESSAGE]

    def _without_key(self, answer: Answer) -> Answer:
        """The answer, should a gateway or the model have put our key into it: replies go to files."""
        key, reply = self._api_key, answer.reply
        said = (reply.content, reply.reasoning, reply.finish_reason or "")
        if len(key) < SHORTEST_SECRET or not any(key in text for text in said):
            return answer
        content, reasoning, finish = (text.replace(key, MASK) for text in said)
        cleaned = reply._replace(content=content, reasoning=reasoning, finish_reason=finish or None)
        return replace(answer, reply=cleaned)

    def _opened(self) -> "AsyncOpenAI":
        if self._openai is None:
            from openai import AsyncOpenAI, DefaultAioHttpClient, DefaultAsyncHttpxClient, Omit, Timeout

            timeout = Timeout(self._timeout, connect=min(CONNECT_TIMEOUT, self._timeout))
            if self._transport is not None:
                http_client = DefaultAsyncHttpxClient(transport=self._transport, timeout=timeout)
            else:
                from httpx2 import Limits

                # Both limits default to far less than a paid endpoint allows, and None means 100.
                limits = Limits(max_connections=self._width, max_keepalive_connections=self._width)
                http_client = DefaultAioHttpClient(limits=limits, timeout=timeout)
            key = self._api_key or "none"
            self._openai = AsyncOpenAI(
                api_key=key,
                base_url=self._base_url,
                default_headers={"Authorization": f"Bearer {key}"},  # or the environment could name another
                max_retries=0,
                http_client=http_client,
            )
            # Ten headers on the interpreter and the machine, which no endpoint needs, are a fifth of a request's work.
            self._headers.update(dict.fromkeys(_STAINLESS, Omit()))
            if not self._is_openai:  # whom alone the headers concern that the client takes from OPENAI_* variables
                more = (name for name in self._openai.default_headers if name.lower() not in _NEEDED)
                self._headers |= dict.fromkeys(more, Omit())
        return self._openai


def _address(base_url: str) -> tuple[str, dict[str, Any]]:
    """Where requests go, whole, or it would be put together for each; and the headers that what it held becomes.

    A user and password are sent as basic authentication (RFC 7617), in place of the key: both go by the same header.
    """
    url = urlsplit(base_url)
    user, at, host = url.netloc.rpartition("@")
    whole = urlunsplit(url._replace(netloc=host, path=f"{url.path.rstrip('/')}/chat/completions", fragment=""))
    return whole, {"Authorization": f"Basic {b64encode(unquote(user).encode()).decode()}"} if at else {}


def _secrets_of(base_url: str) -> list[str]:
    """What in a URL proves who asks, in the forms in which it is sent."""
    url = urlsplit(base_url)
    user = unquote(url.netloc.rpartition("@")[0])
    secrets = [b64encode(user.encode()).decode(), user, user.partition(":")[2], url.query]
    secrets += [value for _, value in parse_qsl(url.query)]
    return [secret for secret in secrets if len(secret) >= SHORTEST_IN_URL]


def _of_broken(text: str, messages: list[Message]) -> Usage:
    """What an answer took that broke off: it was made and is paid for, as far as it came, whatever became of it."""
    return estimated_usage(messages, text) if text.startswith("{") else Usage(requests=1)


def _root(error: BaseException) -> BaseException:
    """The error that caused the others, as libraries wrap each other's; a timeout's own cause is its machinery."""
    while not isinstance(error, TimeoutError) and (cause := error.__cause__ or error.__context__):
        error = cause
    return error
