"""Text laid out and coloured for a terminal: how wide it is, where it breaks, what colours are seen on any background.

All that is laid out here is `visible` already (see `terminal.py`), so the only escapes that come out are our own.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

Paint = Callable[[str, str], str]
"""A style and a text in it."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a game is shown."""

    width: int
    paint: Paint
    reasoning: bool = True
    """False: its length alone."""


BLACK = 16
# Backgrounds of tiles, with black text on them: those of the newspaper's game, then more of the same lightness.
GROUPS = (221, 149, 153, 183, 216, 158, 218, 187)
NOBODY = 250
"""Background of a tile that is of no group."""
# Foregrounds. Numbers are those of the 256 colours, since the first 16 are whatever a terminal's theme makes of them.
FOREGROUNDS = {"good": 29, "close": 130, "bad": 160, "broken": 133, "faint": 243}
_SGR = {
    "bold": "1",
    **{name: f"1;38;5;{colour}" for name, colour in FOREGROUNDS.items() if name != "faint"},
    "faint": f"38;5;{FOREGROUNDS['faint']}",
    "nobody": f"38;5;{BLACK};48;5;{NOBODY}",
    **{f"group{n}": f"38;5;{BLACK};48;5;{colour}" for n, colour in enumerate(GROUPS)},
}


def coloured(style: str, text: str) -> str:
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if text and style else text


def plain(style: str, text: str) -> str:
    return text


def paint_for(stream: TextIO) -> Paint:
    """Colours for a terminal, unless NO_COLOR is set; for anything else only if FORCE_COLOR is (force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return plain
    if forced := os.environ.get("FORCE_COLOR"):
        return plain if forced == "0" else coloured
    return coloured if stream.isatty() and os.environ.get("TERM") != "dumb" else plain


def group_style(index: int | None) -> str:
    return "nobody" if index is None else f"group{index % len(GROUPS)}"


def cells(text: str) -> int:
    """Columns that a line takes."""
    if text.isascii():
        return len(text)
    import wcwidth  # here, so that `--help` does without

    return wcwidth.width(text, control_codes="ignore")


def padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def centred(text: str, width: int) -> str:
    left = (width - cells(text)) // 2
    return padded(" " * left + text, width)


def cut(text: str, width: int, *, end: bool = False) -> str:
    """A line in no more columns than these, an ellipsis for what is cut off its end, or to keep its `end` its start."""
    if cells(text) <= width:
        return text
    import wcwidth

    graphemes = list(wcwidth.iter_graphemes(text))
    kept, used = list[str](), 1
    for grapheme in reversed(graphemes) if end else graphemes:
        used += cells(grapheme)
        if used > width:
            break
        kept.append(grapheme)
    return "…" + "".join(reversed(kept)) if end else "".join(kept) + "…"


def wrapped(line: str, width: int, indent: str = "") -> list[str]:
    """A line broken at spaces, each part behind the indent; its own indent is kept, words too long are cut.

    Takes time linear in its length, which the libraries' wrapping does not: models write words of 100 kB.
    """
    own = indent + " " * min(len(line) - len(line.lstrip(" ")), width // 2)
    return _filled(line.strip(" ").split(" "), " ", width, own)


def flowed(fields: Iterable[str], width: int, indent: str = "", gap: str = "   ") -> list[str]:
    """Short texts side by side, broken between them."""
    return _filled([field for field in fields if field], gap, width, indent)


def _filled(words: Sequence[str], gap: str, width: int, indent: str) -> list[str]:
    room, lines, line, used = max(width - len(indent), 1), list[str](), list[str](), 0
    for word in words:
        for part, size in _cut(word, room):
            if line and used + len(gap) + size > room:
                lines.append((indent + gap.join(line)).rstrip())
                line, used = [], 0
            used += size + (len(gap) if line else 0)
            line.append(part)
    lines.append((indent + gap.join(line)).rstrip())
    return lines


def _cut(word: str, room: int) -> Iterator[tuple[str, int]]:
    """A word and its width, cut into pieces where it is wider than there is room."""
    size = cells(word)
    if size <= room:
        yield word, size
        return
    if word.isascii():
        for start in range(0, len(word), room):
            yield (piece := word[start : start + room]), len(piece)
        return
    import wcwidth

    part, used = list[str](), 0
    for grapheme in wcwidth.iter_graphemes(word):
        size = cells(grapheme)
        if part and used + size > room:
            yield "".join(part), used
            part, used = [], 0
        part.append(grapheme)
        used += size
    yield "".join(part), used
