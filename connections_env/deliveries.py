"""What goes over the wire for one request: an answer as it should be, or what a fault makes of it. Pure data.

delivery("reset-body", completion).pieces   # half of the body, and nothing more
"""

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

DRIP_EVERY = 0.25  # seconds between two bytes
BLANK_EVERY = 0.05  # seconds between two blank lines
BLANK_LINES = 3
BEFORE_RESET = 0.02  # seconds that the first half of a body gets to arrive
JSON, HTML = "application/json; charset=utf-8", "text/html"
PAGE = b"<!DOCTYPE html>\n<html><head><title>%b</title></head><body><center><h1>%b</h1></center></body></html>\n"
# kind: status, message, type, code
_ERRORS: dict[str, tuple[int, str, str, str | None]] = {
    "429": (429, "Rate limit reached for requests", "rate_limit_error", "rate_limit_exceeded"),
    "429-date": (429, "Rate limit reached for requests", "rate_limit_error", "rate_limit_exceeded"),
    "429-bare": (429, "Rate limit reached for requests", "rate_limit_error", "rate_limit_exceeded"),
    "500": (500, "The server had an error while processing your request", "server_error", None),
    "503": (503, "The server is overloaded or not ready yet", "service_unavailable_error", None),
    "529": (529, "Overloaded", "overloaded_error", None),
    "401": (401, "Authentication Fails (no such user)", "authentication_error", "invalid_request_error"),
    "402": (402, "Insufficient Balance", "unknown_error", "invalid_request_error"),
    "403": (403, "Your project is not allowed to use this model", "permission_error", None),
    "404": (404, "The model does not exist or you do not have access to it", "not_found_error", "model_not_found"),
    "400-model": (400, "Model Not Exist", "invalid_request_error", "invalid_request_error"),
    "too-long": (
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. "
        "Please reduce the length of the messages.",
        "invalid_request_error",
        "context_length_exceeded",
    ),
    "echo-key": (401, "Incorrect API key provided: {key}.", "invalid_request_error", "invalid_api_key"),
}
_DETAIL = [{"type": "extra_forbidden", "loc": ["body", "thinking"], "msg": "Extra inputs are not permitted"}]


@dataclass(frozen=True)
class Delivery:
    """Pieces of a body, each after a pause, and how it ends."""

    status: int
    pieces: list[tuple[float, bytes]]
    """Seconds to wait, and what is sent then."""
    content_type: str = JSON
    length: int | None = None
    """The Content-Length; None for a body in chunks."""
    retry_after: str | None = None
    end: Literal["whole", "reset", "never"] = "whole"
    """`reset` cuts the connection after the last piece (before the head if there is none), `never` sends nothing."""
    completion: dict[str, Any] | None = None
    """The answer that a client can read from it."""


def whole(status: int, body: dict[str, Any], after: float = 0.0, **fields: Any) -> Delivery:
    """JSON as it should be."""
    raw = json.dumps(body).encode()
    return Delivery(status, [(after, raw)], length=len(raw), completion=body if status == 200 else None, **fields)


def error(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI puts it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def delivery(
    kind: str,
    completion: dict[str, Any],
    *,
    key: str = "",
    retry_after: float = 1.0,
    spike: float = 5.0,
    now: float = 0,
) -> Delivery:
    """What a fault of this kind makes of an answer.

    `key` is what came as the API key, `retry_after` and `spike` are in seconds, `now` is a Unix time. KeyError for a
    kind that has no delivery of its own.
    """
    raw = json.dumps(completion).encode()
    middle = len(raw) // 2
    match kind:
        case "reset":
            return Delivery(0, [], end="reset")
        case "stall":
            return Delivery(0, [], end="never")
        case "reset-body":
            return Delivery(200, [(0, raw[:middle]), (BEFORE_RESET, b"")], length=len(raw), end="reset")
        case "drip":
            drops = [(DRIP_EVERY, raw[n : n + 1]) for n in range(len(raw))]
            return Delivery(200, drops, length=len(raw), completion=completion)
        case "blank-lines":
            lines = [(BLANK_EVERY, b"\n")] * BLANK_LINES
            return Delivery(200, [*lines, (BLANK_EVERY, raw)], completion=completion)
        case "truncated":
            return Delivery(200, [(0, raw[:middle])], length=middle)
        case "invalid":
            return _text(200, str(completion).encode(), JSON)
        case "html":
            return _text(200, PAGE % (b"Just a moment...", b"Checking your browser"), HTML)
        case "502":
            return _text(502, PAGE % (b"502 Bad Gateway", b"502 Bad Gateway"), HTML)
        case "422":
            return whole(422, {"detail": _DETAIL})
        case "spike":
            return whole(200, completion, spike)
        case "no-choices":
            return Delivery(**{**vars(whole(200, {**completion, "choices": []})), "completion": None})
        case "no-usage":
            return whole(200, {name: value for name, value in completion.items() if name != "usage"})
        case "null-content" | "parts" | "length" | "content-filter":
            return whole(200, _reworded(kind, completion))
    status, message, type_, code = _ERRORS[kind]
    wait = None if status != 429 or kind == "429-bare" else f"{retry_after:g}"
    if kind == "429-date":
        wait = format_datetime(datetime.fromtimestamp(math.ceil(now + retry_after), UTC), usegmt=True)
    return whole(status, error(message.replace("{key}", key), type_, code), retry_after=wait)


def _text(status: int, raw: bytes, content_type: str) -> Delivery:
    return Delivery(status, [(0, raw)], content_type, len(raw))


def _reworded(kind: str, completion: dict[str, Any]) -> dict[str, Any]:
    """The completion with another content or finish_reason."""
    choice = completion["choices"][0]
    content, finish = choice["message"]["content"], choice["finish_reason"]
    middle = len(content) // 2
    match kind:
        case "null-content":
            content = None
        case "parts":
            content = [{"type": "text", "text": content[:middle]}, {"type": "text", "text": content[middle:]}]
        case "length":
            content, finish = content[:middle], "length"
        case "content-filter":
            content, finish = "", "content_filter"
    changed = {**choice, "message": {**choice["message"], "content": content}, "finish_reason": finish}
    return {**completion, "choices": [changed, *completion["choices"][1:]]}


def record(request_id: str, body: dict[str, Any], completion: dict[str, Any]) -> dict[str, str]:
    """A line about an answer: whose it was, to which conversation, and what it said, the last two as fingerprints."""
    message = completion["choices"][0]["message"]
    content = message["content"] or ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content)
    asked = [[message["role"], message["content"]] for message in body["messages"]]
    said = [content, message.get("reasoning_content") or ""]
    return {"id": request_id, "asked": fingerprint(asked), "said": fingerprint(said)}


def fingerprint(value: Any) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of a value as JSON without spaces, in ASCII."""
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:32]
