"""The simulated player as an endpoint: below the openai client, or over real HTTP.

    client = AsyncOpenAI(api_key="none", http_client=DefaultAsyncHttpxClient(transport=SimulatedTransport(player)))
    uv run python -m connections_env.simulated --port 8001
    uv run python generate_rollouts.py --base-url http://127.0.0.1:8001/v1 --model simulated --puzzles builtin
    uv run python -m connections_env.simulated --faults 0.1 --fault outage@20-40 --count counts.json

The server listens on loopback only, and prints one line when it does. What it is asked to do wrong (`--fault`) it does
to real connections; the transport below the client does nothing wrong.
"""

import argparse
import asyncio
import ipaddress
import json
import re
import signal
import sys
import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from connections_env.deliveries import error
from connections_env.faults import KINDS, MIXED, Faults, fault_of, mixed, rate_of
from connections_env.player import SimulatedPlayer
from connections_env.player_moves import TIERS
from connections_env.serving import REQUEST_ID, Service, counting, listening
from connections_env.sources import SourceError, load_puzzles
from connections_env.terminal import counted, say

MODEL = "simulated"


def answer(player: SimulatedPlayer, method: str, path: str, raw: bytes, request_id: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and JSON body for one request. Base URLs differ, so only the end of `path` counts."""
    if method == "POST" and path.endswith("/chat/completions"):
        body = _parsed(raw)
        return (400, error(body)) if isinstance(body, str) else (200, player.complete(body, request_id))
    if method == "GET" and path.endswith("/models"):
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": MODEL}
        return 200, {"object": "list", "data": [model]}
    return 404, error(f"there is nothing at {method} {path}", "not_found")


def _parsed(raw: bytes) -> dict[str, Any] | str:
    """The request body, or what is wrong with it."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    if not isinstance(body, dict):
        return "the body is not a JSON object"
    if not isinstance(body.get("model"), str) or not body["model"]:
        return "`model` must be a non-empty string"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "`messages` must be a non-empty list"
    for n, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return f"`messages[{n}]` must be an object with a `role`"
        if not isinstance(message.get("content"), str | list):
            return f"`messages[{n}].content` must be a string"
    for name in ("max_tokens", "max_completion_tokens"):
        limit = body.get(name)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            return f"`{name}` must be a whole number above 0"
    return "this endpoint does not stream" if body.get("stream") else body


class SimulatedTransport(httpx2.AsyncBaseTransport):
    """Answers below an HTTP client what the endpoint would; `latency` is in seconds. No request leaves the process."""

    def __init__(self, player: SimulatedPlayer, latency: float = 0.0) -> None:
        self.player, self.latency = player, latency

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raw = await request.aread()
        # Even at no latency others get their turn: a loop that never waits would hold up the progress bar and Ctrl-C.
        await asyncio.sleep(self.latency)
        status, body = answer(self.player, request.method, request.url.path, raw, request.headers.get(REQUEST_ID, ""))
        return httpx2.Response(status, json=body, request=request)


async def serve(player: SimulatedPlayer, args: argparse.Namespace) -> None:
    """Serves until SIGINT or SIGTERM. Raises OSError when it cannot listen, or cannot write what it was told to."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with ExitStack() as files:
        service = Service(
            partial(answer, player),
            Faults([*args.fault, *mixed(args.faults)], args.seed, args.outage),
            latency=args.latency,
            retry_after=args.retry_after,
            spike=args.spike,
            limit=args.limit,
            log=files.enter_context(args.log.open("a", encoding="utf-8")) if args.log else None,
        )
        async with counting(service, args.count), listening(service, args.host, args.port) as addresses:
            shown = f"[{args.host}]" if ":" in args.host else args.host
            print(
                f"serving {counted(len(player.puzzles), 'puzzle')} on http://{shown}:{addresses[0][1]}/v1", flush=True
            )
            await stop.wait()


def loopback(host: str) -> str:
    """The host, if nobody outside this machine can reach it; an argparse type."""
    try:
        inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise argparse.ArgumentTypeError(f"{host!r} is not loopback; use 127.0.0.1, ::1 or localhost")
    return host


def seconds(text: str) -> float:
    """A number of seconds, 0 or more; an argparse type."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def at_least_one(text: str) -> int:
    """A whole number above 0; an argparse type."""
    if not re.fullmatch(r"0*[1-9]\d*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def plainly(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argparse type that says what its reader says."""

    def value(text: str) -> Any:
        try:
            return read(text)
        except ValueError as wrong:
            raise argparse.ArgumentTypeError(str(wrong)) from None

    return value


def listed_kinds() -> str:
    """The kinds of faults, a line each, for `--help`."""
    lines = [f"  {kind:<15}{'' if kind in MIXED else '* '}{what}" for kind, (_, what) in KINDS.items()]
    wrapped = [textwrap.fill(line, 100, subsequent_indent=" " * 17) for line in lines]
    return "\n".join(["kinds of faults (* not among those that --faults mixes):", *wrapped])


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m connections_env.simulated",
        description="Serve a simulated player as an OpenAI-compatible endpoint on this machine.",
        epilog=listed_kinds(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", type=loopback, default="127.0.0.1", help="loopback address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8001, help="0: any free port (8001)")
    parser.add_argument("--puzzles", default="builtin", help="builtin, a file, or a Hugging Face dataset id (builtin)")
    parser.add_argument("--split", help="split of the puzzles")
    parser.add_argument("--player-strength", choices=TIERS, default="strong", help="how well it plays (strong)")
    parser.add_argument(
        "--seed", type=int, default=0, help="another seed plays otherwise, and other requests are hit (0)"
    )
    parser.add_argument("--latency", type=seconds, default=0.0, help="seconds before each answer (0)")
    parser.add_argument(
        "--limit", type=at_least_one, metavar="N", help="429 to requests that come while N are in flight"
    )
    faults = parser.add_argument_group("faults, done to chat completions")
    faults.add_argument(
        "--fault",
        type=plainly(fault_of),
        action="append",
        default=[],
        metavar="SPEC",
        help="KIND=RATE: a share (0 to 1) of the requests; KIND@FROM-TO: all that come in a span of seconds since the "
        "server started; KIND#N: the Nth request alone; may be given again",
    )
    faults.add_argument(
        "--faults", type=plainly(rate_of), default=0.0, metavar="RATE", help="all that cost no game, together so often"
    )
    faults.add_argument("--retry-after", type=seconds, default=1.0, metavar="SECONDS", help="what a 429 asks for (1)")
    faults.add_argument("--spike", type=seconds, default=5.0, metavar="SECONDS", help="length of a latency spike (5)")
    faults.add_argument("--outage", type=seconds, default=5.0, metavar="SECONDS", help="length of an outage (5)")
    faults.add_argument(
        "--count", type=Path, metavar="FILE", help="keep there, as a JSON object, how often what was done"
    )
    faults.add_argument(
        "--log", type=Path, metavar="FILE", help="append a JSON line before and after each answer that is sent"
    )
    args = parser.parse_args(argv)
    try:
        Faults([*args.fault, *mixed(args.faults)])
    except ValueError as wrong:
        parser.error(str(wrong))
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        puzzles = load_puzzles(args.puzzles, args.split).puzzles
        player = SimulatedPlayer(puzzles, args.player_strength, args.seed)
        asyncio.run(serve(player, args))
    except SourceError as wrong:
        say(f"error: {wrong}")
        return 2
    except (OSError, OverflowError) as wrong:  # the second for a port that is no port number
        reason, file = getattr(wrong, "strerror", None) or wrong, getattr(wrong, "filename", None)
        place = f"write {file}" if file else f"listen on {args.host} port {args.port}"
        say(f"error: cannot {place}: {reason}")
        return 1
    except KeyboardInterrupt:
        pass
    return 130


if __name__ == "__main__":
    sys.exit(main())
