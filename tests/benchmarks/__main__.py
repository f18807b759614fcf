"""Benchmarks, one after the other.

uv run python -m tests.benchmarks
uv run python -m tests.benchmarks startup append
"""

import argparse
import sys
import time

from tests.benchmarks import analysis, append, foreign, reduce, rollouts, startup

ALL = {
    "startup": startup,
    "append": append,
    "analysis": analysis,
    "foreign": foreign,
    "rollouts": rollouts,
    "reduce": reduce,
}


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Times what has to be fast.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)} (all)")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in ALL]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(ALL)}")
    return args


def main(argv: list[str] | None = None) -> int:
    for name in parse_args(argv).names or ALL:
        print(f"{name}: {(ALL[name].__doc__ or '').partition(chr(10))[0]}", flush=True)
        started = time.monotonic()
        ALL[name].main([])
        print(f"  ({time.monotonic() - started:.0f} s)\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
