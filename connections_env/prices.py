"""What tokens cost, as the flags say."""

import argparse
from dataclasses import dataclass

from connections_env.arguments import UsageError
from connections_env.records import Usage


@dataclass(frozen=True)
class Prices:
    """USD per million tokens."""

    input: float
    cached: float
    output: float

    def cost(self, usage: Usage) -> float:
        fresh = usage.input - usage.cached
        return (fresh * self.input + usage.cached * self.cached + usage.output * self.output) / 1e6


def prices_of(args: argparse.Namespace) -> Prices | None:
    """The prices of the flags; None where none are given. Raises `UsageError` for a budget without them."""
    if args.price_input is None or args.price_output is None:
        if getattr(args, "max_cost", None) is not None:
            raise UsageError("--max-cost needs --price-input and --price-output (and --price-cached where it differs)")
        return None
    cached = args.price_input if args.price_cached is None else args.price_cached
    return Prices(args.price_input, cached, args.price_output)
