"""All benchmarks, one after the other.

uv run python -m tests.benchmarks
"""

import sys
import time

from tests.benchmarks import analysis, append, foreign, reduce, rollouts, startup


def main() -> int:
    for module in (startup, append, analysis, foreign, rollouts, reduce):
        print(f"{module.__name__.rpartition('.')[2]}: {(module.__doc__ or '').partition(chr(10))[0]}", flush=True)
        started = time.monotonic()
        module.main([])
        print(f"  ({time.monotonic() - started:.0f} s)\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
