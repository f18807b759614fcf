"""The page of a report: one HTML file that needs nothing else, whatever is in the games.

What models said is data here three times over: it is compressed and in base64, so that no text of it can end an
element; the page puts it in as text alone, and its policy lets no other script or style run than its own.
"""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from connections_env.unseen import character_class

MARKER = '<meta name="generator" content="connections-sft report">'
HEAD = 2**12  # bytes of a file in which the marker of a report lies
_DATA = Path(__file__).parent / "data"
_SCRIPTS = ("text", "charts", "cards", "overview", "games", "list", "board", "turn", "game", "start")


def is_report(path: Path) -> bool:
    """Was this file written as a report? Raises OSError."""
    with path.open("rb") as file:
        return MARKER.encode() in file.read(HEAD)


def page(blocks: Iterable[str], index: Callable[[], dict[str, Any]]) -> Iterator[str]:
    """The text of a page, piece by piece; `index` is asked for the rest when the last block has been taken."""
    style, script = _style(), _script()
    shell = (_DATA / "report.html").read_text(encoding="utf-8")
    before, after = shell.split("<!-- data -->")
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    yield (
        before.replace("<!-- marker -->", MARKER)
        .replace("<!-- policy -->", "; ".join(f"{name} {value}" for name, value in policy.items()))
        .replace("/* style */", style)
    )
    for number, text in enumerate(blocks):
        yield _element(f"block-{number}", text)
    for name, value in index().items():
        yield _element(name, as_json(value))
    yield after.replace("/* script */", script)


def as_json(value: Any) -> str:
    """JSON that every browser reads: of numbers that are none, as rows may hold them, nothing is known."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _element(name: str, text: str) -> str:
    packed = gzip.compress(text.encode(), compresslevel=6, mtime=0)
    return f'<script type="text/plain" id="{name}">{base64.b64encode(packed).decode()}</script>\n'


@cache
def _style() -> str:
    return (_DATA / "report.css").read_text(encoding="utf-8")


@cache
def _script() -> str:
    parts = [(_DATA / f"report_{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return '"use strict";\n' + "\n".join(parts).replace("/* unseen */", character_class(r"\u{{{:x}}}"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
