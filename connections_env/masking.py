"""A key taken out of text that others wrote, however it is spelled there."""

import html
import re
from collections.abc import Callable
from urllib.parse import quote

MASK = "***"
SHORTEST_SECRET = 12  # characters; "EMPTY" or "local", as servers on this machine are given, is a word of any reply


def masker(secret: str) -> Callable[[str], str]:
    """What takes a secret out of a text: as it is, or escaped for a URL, for JSON or for HTML; all of it or in part."""
    if not secret:
        return lambda text: text
    pattern = re.compile("".join(map(_spellings, secret)))
    return lambda text: pattern.sub(MASK, text)


def _spellings(character: str) -> str:
    code = ord(character)
    spelled = {character, f"\\{character}", html.escape(character), quote(character, safe="")}
    exact = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
    return f"(?:{exact}|(?i:%{code:02x}|\\\\u{code:04x}|&#0*{code};|&#x0*{code:x};))"
