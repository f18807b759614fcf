"""Secrets taken out of text that others wrote, however they are spelled there."""

import html
import re
from collections.abc import Callable
from urllib.parse import quote

MASK = "***"
SHORTEST_SECRET = 12  # characters; "EMPTY" or "local", as servers on this machine are given, is a word of any reply


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
