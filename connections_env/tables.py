"""Tables of figures for people."""

import statistics
from collections.abc import Mapping, Sequence

from connections_env.terminal import printable


def share(part: int, whole: int, of: str = "") -> str:
    """A count with its share of the whole, which may be named: `3 (75.0% of the rows)`."""
    named = f" of {of}" if of else ""
    return f"{part:,} ({part / whole:.1%}{named})" if whole else "0"


def distribution_table(rows: Mapping[str, Sequence[float]]) -> str:
    """Minimum, quartiles (inclusive), maximum and mean of each row's numbers; rows without numbers are left out."""
    filled = {name: numbers for name, numbers in rows.items() if numbers}
    width = max((len(name) for name in filled), default=0)
    head = ("min", "p25", "median", "p75", "max", "mean")
    lines = [" " * (width + 2) + "".join(f"{column:>10}" for column in head)]
    for name, numbers in filled.items():
        p25, median, p75 = statistics.quantiles(numbers, method="inclusive") if len(numbers) > 1 else [*numbers] * 3
        figures = (min(numbers), p25, median, p75, max(numbers), statistics.fmean(numbers))
        lines.append(f"  {name:<{width}}" + "".join(f"{figure:>10,.{_decimals(figure)}f}" for figure in figures))
    return "\n".join(lines) if filled else ""


def _decimals(figure: float) -> int:
    return 0 if float(figure).is_integer() else 1 if abs(figure) >= 100 else 2


def reasons_table(reasons: Mapping[str, int], whole: int) -> str:
    """Each reason with its count and share, the most frequent first."""
    # A reason may be that of a file of others.
    ordered = sorted(
        ((printable(reason), count) for reason, count in reasons.items()), key=lambda one: (-one[1], one[0])
    )
    width = max((len(reason) for reason, _ in ordered), default=0)
    return "\n".join(f"  {reason + ':':<{width + 1}} {share(count, whole)}" for reason, count in ordered if count)
