"""What games still to be played would take, by what those of the results at hand took."""

from dataclasses import dataclass
from typing import NamedTuple

from connections_env.prices import Prices
from connections_env.records import Usage
from connections_env.terminal import counted


@dataclass(slots=True)
class Took:
    """Sums over games."""

    games: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0

    def __iadd__(self, other: "Took") -> "Took":
        self.games += other.games
        self.input += other.input
        self.cached += other.cached
        self.output += other.output
        return self


class Estimate(NamedTuple):
    games: int
    usage: Usage
    of: int
    """Games whose mean this is."""
    cost: float | None
    """USD; None where no prices are known."""

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", {self.cost:.4f} USD"
        return (
            f"{counted(self.games, 'game')}, about {self.usage.input:,} tokens in, "
            f"{self.usage.output:,} out{cost} (by the mean of {self.of:,})"
        )


def estimate(took: Took, games: int, prices: Prices | None) -> Estimate | None:
    """For so many games; None where there is none to play, or none that says what it took."""
    if not took.games or not games:
        return None
    usage = Usage(
        input=round(games * took.input / took.games),
        cached=round(games * took.cached / took.games),
        output=round(games * took.output / took.games),
    )
    return Estimate(games, usage, took.games, prices.cost(usage) if prices else None)
