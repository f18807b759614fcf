"""What an endpoint sends back, read with suspicion: completions, error bodies, Retry-After."""

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from connections_env.items import text_of
from connections_env.parsing import Reply
from connections_env.play import Answer, estimated_tokens
from connections_env.prompts import Message
from connections_env.records import Usage

MOST_TOKENS = 10**9  # of one request; a larger count is a mistake
_CACHED = ("prompt_tokens_details", "cached_tokens")
FINGERPRINT = "simulated-player"
"""The `system_fingerprint` by which the simulated player's answers are told from a real model's."""


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the Retry-After header, in either of its forms (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    with suppress(ValueError):
        seconds = float(value)
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max((until - datetime.now(UTC)).total_seconds(), 0.0)


def read_error(body: object) -> str:
    """The message in an error body, wherever it is."""
    if isinstance(body, dict):
        inner = body.get("error")
        body = inner.get("message") if isinstance(inner, dict) else inner or body.get("message") or body.get("detail")
    return body if isinstance(body, str) else str(body or "")


def read_completion(completion: Any, messages: list[Message]) -> Answer:
    """Reply and usage of a ChatCompletion as JSON. Raises where it is none (AttributeError, LookupError, TypeError).

    Nothing validates what endpoints send, so every field may be missing or of another type.
    """
    choice = completion["choices"][0]
    message = choice["message"]
    content = text_of(message.get("content"))
    reasoning = text_of(message.get("reasoning_content") or message.get("reasoning"))
    told = read_usage(completion)
    usage = told or estimated_usage(messages, reasoning + content)
    finish = text_of(choice.get("finish_reason")) or None
    simulated = completion.get("system_fingerprint") == FINGERPRINT
    return Answer(Reply(content, reasoning, finish, told.output if told else None), usage, simulated)


def estimated_usage(messages: list[Message], said: str) -> Usage:
    """What a request took whose answer does not say: budgets must hold all the same."""
    asked = sum(estimated_tokens(message["content"]) for message in messages)
    return Usage(input=asked, output=estimated_tokens(said), requests=1, estimated=1)


def read_usage(completion: Any) -> Usage | None:
    """What a completion cost, or None where it does not say."""
    counts = completion.get("usage") if isinstance(completion, dict) else None
    asked, said = (_count(counts, name, none=-1) for name in ("prompt_tokens", "completion_tokens"))
    if asked < 0 or said < 0:
        return None
    return Usage(
        input=asked,
        output=said,
        # DeepSeek names it otherwise than OpenAI. Both are parts of a whole, whatever is said: no cost is negative.
        cached=min(asked, _count(counts, *_CACHED) or _count(counts, "prompt_cache_hit_tokens")),
        reasoning=min(said, _count(counts, "completion_tokens_details", "reasoning_tokens")),
        requests=1,
    )


def _count(counts: Any, *path: str, none: int = 0) -> int:
    """The number at a path of keys, `none` where there is none that could be a count."""
    for name in path:
        counts = counts.get(name) if isinstance(counts, dict) else None
    return counts if isinstance(counts, int) and 0 <= counts < MOST_TOKENS else none
