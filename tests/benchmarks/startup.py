"""How long each script takes to say what it does, against importing what none can do without.

uv run python -m tests.benchmarks.startup
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
CONTROLS = {  # pydantic imports most of itself only when its BaseModel is touched
    "import argparse, pydantic": ("-c", "import argparse, pydantic"),
    "pydantic.BaseModel": ("-c", "import argparse, pydantic; pydantic.BaseModel"),
}


def seconds(*command: str) -> float:
    started = time.monotonic()
    # With bytecode, as users have it: without, all of this is the time of a compiler.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.monotonic() - started


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=7)
    args = parser.parse_args(argv)
    commands = CONTROLS | {path.name: (path.name, "--help") for path in sorted(ROOT.glob("*.py"))}
    commands["-m connections_env.simulated"] = ("-m", "connections_env.simulated", "--help")
    for command in commands.values():  # once for the disk and the bytecode
        seconds(*command)
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(args.times):  # in turns, so that a slow moment is everyone's
        for name, command in commands.items():
            taken[name].append(seconds(*command))
    bare, model = (median(taken[name]) for name in CONTROLS)
    for name, times in taken.items():
        spread = f"{min(times) * 1000:4.0f} to {max(times) * 1000:4.0f} ms"
        ratios = f"{median(times) / bare:5.2f} and {median(times) / model:5.2f} times the controls"
        print(f"  {name:<30} {median(times) * 1000:5.0f} ms ({spread})  {ratios}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
