"""The simulated player as an endpoint: below the openai client, or over real HTTP.

    client = AsyncOpenAI(api_key="none", http_client=DefaultAsyncHttpxClient(transport=SimulatedTransport(player)))
    uv run python -m connections_env.simulated --port 8001
    uv run python generate_rollouts.py --base-url http://127.0.0.1:8001/v1 --model simulated --puzzles builtin

The server listens on loopback only, and prints one line when it does.
"""

import argparse
import asyncio
import ipaddress
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import httpx2

from connections_env.player import TIERS, SimulatedPlayer
from connections_env.sources import SourceError, load_puzzles

if TYPE_CHECKING:
    from aiohttp import web

MODEL = "simulated"
REQUEST_ID = "X-Client-Request-Id"
LARGEST_BODY = 64 * 2**20  # bytes; the whole game comes back with each turn


def answer(player: SimulatedPlayer, method: str, path: str, raw: bytes, request_id: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and JSON body for one request. Base URLs differ, so only the end of `path` counts."""
    if method == "POST" and path.endswith("/chat/completions"):
        body = _parsed(raw)
        return (400, _error(body)) if isinstance(body, str) else (200, player.complete(body, request_id))
    if method == "GET" and path.endswith("/models"):
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": MODEL}
        return 200, {"object": "list", "data": [model]}
    return 404, _error(f"there is nothing at {method} {path}", "not_found")


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


def _error(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


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


def application(player: SimulatedPlayer, latency: float = 0.0) -> "web.Application":
    """The endpoint as an aiohttp application; `latency` is in seconds."""
    from aiohttp import web  # here, so that the transport does without a web server

    async def handle(request: web.Request) -> web.Response:
        raw = await request.read()
        await asyncio.sleep(latency)
        status, body = answer(player, request.method, request.path, raw, request.headers.get(REQUEST_ID, ""))
        return web.json_response(body, status=status)

    app = web.Application(client_max_size=LARGEST_BODY)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


async def serve(player: SimulatedPlayer, host: str, port: int, latency: float = 0.0) -> None:
    """Serves until SIGINT or SIGTERM. Raises OSError when it cannot listen."""
    from aiohttp import web

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(player, latency), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=4096).start()
        shown = f"[{host}]" if ":" in host else host
        print(f"serving {len(player.puzzles)} puzzles on http://{shown}:{runner.addresses[0][1]}/v1", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


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


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m connections_env.simulated",
        description="Serve a simulated player as an OpenAI-compatible endpoint on this machine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", type=loopback, default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=8001, help="0: any free port")
    parser.add_argument("--puzzles", default="builtin", help="builtin, a file, or a Hugging Face dataset id")
    parser.add_argument("--split", help="split of the puzzles")
    parser.add_argument("--player-strength", choices=TIERS, default="strong", help="how well it plays")
    parser.add_argument("--seed", type=int, default=0, help="another seed plays otherwise")
    parser.add_argument("--latency", type=seconds, default=0.0, help="seconds before each answer")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        puzzles = load_puzzles(args.puzzles, args.split).puzzles
        player = SimulatedPlayer(puzzles, args.player_strength, args.seed)
        asyncio.run(serve(player, args.host, args.port, args.latency))
    except SourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, OverflowError) as error:  # the second for a port that is no port number
        reason = getattr(error, "strerror", None) or error
        print(f"error: cannot listen on {args.host} port {args.port}: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 130


if __name__ == "__main__":
    sys.exit(main())
