"""Secrets taken out of what is written or shown: of text that others wrote, of JSON, of command lines."""

import html
import json
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

MASK = "***"
SHORTEST_SECRET = 12  # characters; "EMPTY" or "local", as servers on this machine are given, is a word of any reply
_URL = re.compile(r"\w+://\S*[@?]")
_SECRET = re.compile(r"key|secret|password|auth|bearer|credential|token$", re.IGNORECASE)  # not max_tokens


def masker(*secrets: str) -> Callable[[str], str]:
    """What takes secrets out of a text: as they are, or escaped for a URL, for JSON or for HTML; in all or in part."""
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)
    if not longest_first:
        return lambda text: text
    pattern = re.compile("|".join("".join(map(_spellings, secret)) for secret in longest_first))
    return lambda text: pattern.sub(MASK, text)


def _spellings(character: str) -> str:
    code = ord(character)
    spelled = {character, f"\\{character}", html.escape(character), quote(character, safe="")}
    exact = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
    return f"(?:{exact}|(?i:%{code:02x}|\\\\u{code:04x}|&#0*{code};|&#x0*{code:x};))"


def without_secrets(value: Any) -> Any:
    """JSON fit for a file: values under names that speak of secrets are masked, and so are credentials in URLs."""
    if isinstance(value, dict):
        return {name: MASK if _SECRET.search(name) else without_secrets(inner) for name, inner in value.items()}
    if isinstance(value, str):
        return _without_credentials(value) if _URL.match(value) else value
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value


def masked_command(words: Sequence[str]) -> str:
    """A command line as it may be shown: no passwords or queries in URLs, no secrets in JSON."""
    return shlex.join(map(_masked, words))


def without_flag(words: Sequence[str], flag: str) -> list[str]:
    """A command line without a flag that takes a value, written as `--flag value` or `--flag=value`."""
    kept, rest = list[str](), iter(words)
    for word in rest:
        if word == flag:
            next(rest, None)
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept


def _masked(word: str) -> str:
    """A word without secrets: after `--flag=`, `-S`, `-S=` or by itself, JSON or a URL."""
    flag, value = re.fullmatch(r"(--[\w-]+=|-[A-Za-z]=?(?=[{\s]|\w+://))?(.*)", word, re.DOTALL).groups("")  # type: ignore[union-attr]
    if value.lstrip().startswith("{"):
        try:
            given = json.loads(value)
        except ValueError:
            return word  # a file of an odd name: what -S takes is known to be JSON by now
        kept = without_secrets(given)
        return word if kept == given else flag + json.dumps(kept, ensure_ascii=False)
    return flag + _without_credentials(value)


def _without_credentials(text: str) -> str:
    """A URL without user, password, query and fragment; other text as it is."""
    if "://" not in text:
        return text
    try:
        url = urlsplit(text)
        return urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment=""))
    except ValueError:
        return MASK
