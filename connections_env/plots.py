"""Histograms as SVG, written by hand: they render wherever a dataset's card does and need no library."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 20, 56, 48
COLOURS = ("#3b6fb6", "#e08a2e", "#4a9a5b", "#9a4a8b")


def histogram(title: str, axis: str, series: Mapping[str, Sequence[float]], *, whole: bool = False) -> str:
    """Bars of how many numbers of each series fall into each bin, one series on top of the other.

    With `whole`, the numbers are whole and each has its own bin where there are not too many.
    """
    numbers = [number for values in series.values() for number in values]
    edges = bins(numbers, whole=whole)
    counts = {name: count(values, edges) for name, values in series.items()}
    highest = max(map(sum, zip(*counts.values(), strict=True)))
    wide = (WIDTH - LEFT - RIGHT) / (len(edges) - 1)
    base = HEIGHT - BOTTOM
    scale = (base - TOP) / highest
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 20, title, size=15),
    ]
    for nth, name in enumerate(series if len(series) > 1 else []):
        parts += [
            f'<rect x="{LEFT + 150 * nth}" y="30" width="12" height="12" fill="{COLOURS[nth % len(COLOURS)]}"/>',
            _text(LEFT + 150 * nth + 17, 40, name),
        ]
    for level in {0, highest // 2, highest}:
        y = base - level * scale
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{level:,}", anchor="end"))
    for place in range(len(edges) - 1):
        y, x = float(base), LEFT + place * wide
        for nth, name in enumerate(series):
            high = counts[name][place] * scale
            y -= high
            if high:
                parts.append(
                    f'<rect x="{x + 1:.1f}" y="{y:.1f}" width="{wide - 2:.1f}" height="{high:.1f}" '
                    f'fill="{COLOURS[nth % len(COLOURS)]}"><title>{escape(name)}, {_shown(edges[place])}: '
                    f"{counts[name][place]:,}</title></rect>"
                )
    every = math.ceil(len(edges) / 12)
    for place, edge in enumerate(edges[:-1] if whole else edges):
        if place % every == 0:
            middle = wide / 2 if whole else 0.0
            parts.append(_text(LEFT + place * wide + middle, base + 16, _shown(edge), anchor="middle"))
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, axis, anchor="middle"), "</svg>"]
    return "\n".join(parts) + "\n"


def bins(numbers: Sequence[float], *, whole: bool = False) -> list[float]:
    """Edges of about 16 bins of one round width that hold all numbers; each bin is without its upper edge."""
    low, high = min(numbers), max(numbers)
    # Sums of the same figures may differ in their last digits.
    width = _round_width((high - low) / 16) if high - low > 1e-3 else 1.0
    width = max(width, 1.0) if whole else width
    first = math.floor(low / width + 1e-9)
    last = math.floor(high / width + 1e-9) + 1
    return [round(place * width, 9) for place in range(first, last + 1)]


def _round_width(least: float) -> float:
    unit = 10.0 ** math.floor(math.log10(least))
    return next(unit * step for step in (1, 2, 5, 10) if unit * step >= least * (1 - 1e-9))


def count(numbers: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many of the numbers are in each bin."""
    width = edges[1] - edges[0]
    found = [0] * (len(edges) - 1)
    for number in numbers:
        place = math.floor((number - edges[0]) / width + 1e-9)
        found[min(max(place, 0), len(found) - 1)] += 1
    return found


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def _shown(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:g}"
