"""An endpoint played from a script: below the HTTP client, or on a loopback port.

A script is a list of steps, the last of which repeats, or a function from what was `Seen` to a step. A step is a JSON
body sent with status 200, a `Sent`, or an exception: the connection breaks before anything is answered.

`run` runs a coroutine on a clock that jumps to the next deadline instead of waiting for it.
"""

import asyncio
import contextlib
import errno
import json
import os
import selectors
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest
from aiohttp import web

from connections_env import prompts
from connections_env.game import GameState, observe
from connections_env.parsing import Reply, item_list
from connections_env.play import replay_replies
from connections_env.puzzles import Puzzle
from connections_env.rulesets import RULESETS

REQUEST_ID = "x-client-request-id"


@dataclass(frozen=True)
class Seen:
    """A request: when it came (seconds on the loop's clock), as the how manieth from 0, and what it said."""

    at: float
    nth: int
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def messages(self) -> list[dict[str, str]]:
        return self.body["messages"]

    @property
    def request_id(self) -> str:
        return self.headers[REQUEST_ID]

    @property
    def turn(self) -> int:
        """Replies the player has given before, so 0 for the opening."""
        return sum(message["role"] == "assistant" for message in self.messages)


@dataclass(frozen=True)
class Sent:
    """An answer: its status, body and headers, how long it takes, and after how many bytes of it the line breaks."""

    status: int = 200
    body: bytes | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0.0
    cut: int | None = None

    @property
    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    @property
    def all_headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", **self.headers}


Step = Mapping[str, Any] | Sent | Exception
Script = Sequence[Step] | Callable[[Seen], Step]


def refusal(status: int, message: str = "no", after: float = 0.0, **headers: str) -> Sent:
    """An error as OpenAI-compatible endpoints word it; underscores in header names become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(status, {"error": {"message": message, "type": "error", "code": None}}, named, after)


def completion(
    content: Any, thought: Any = "Hm.", usage: Any = (100, 10), finish: str = "stop", **message: Any
) -> dict[str, Any]:
    """A chat completion; `usage` is (tokens in, tokens out), a dict, or None to leave it out. So is `thought`."""
    message = {"role": "assistant", "content": content, **message}
    if thought is not None:
        message["reasoning_content"] = thought
    if isinstance(usage, tuple):
        usage = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    return body if usage is None else body | {"usage": usage}


def guess(items: Iterable[str]) -> str:
    return f"<guess>{item_list(items)}</guess>"


def state_of(messages: Sequence[Mapping[str, str]], puzzles: Iterable[Puzzle]) -> GameState:
    """The state of the game that a conversation is about."""
    for puzzle in puzzles:
        for ruleset in RULESETS.values():
            if prompts.opening(observe(GameState(puzzle, ruleset))) == list(messages[:2]):
                said = [Reply(message["content"]) for message in messages if message["role"] == "assistant"]
                return replay_replies(puzzle, ruleset, said)[-1]
    raise AssertionError(f"a conversation about no known puzzle: {messages[:2]}")


def right_reply(state: GameState) -> str:
    """The next reply of a perfect game."""
    groups = state.puzzle.groups
    if state.asks_themes:
        named = [(groups[i].linking_terms or (groups[i].theme,))[0] for i in state.found]
        return f"<themes>{json.dumps(named, ensure_ascii=False)}</themes>"
    return guess(next(group.members for i, group in enumerate(groups) if i not in state.found))


def winner(*puzzles: Puzzle, **fields: Any) -> Callable[[Seen], dict[str, Any]]:
    """A script that plays every game of these puzzles perfectly; `fields` are those of `completion`."""
    return lambda seen: completion(right_reply(state_of(seen.messages, puzzles)), **fields)


class _Player:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.in_flight = self.most_in_flight = 0

    def next(self, at: float, path: str, headers: Mapping[str, str], raw: bytes) -> Sent | Exception:
        seen = Seen(at, len(self.seen), path, {name.lower(): value for name, value in headers.items()}, raw)
        self.seen.append(seen)
        step = self.script(seen) if callable(self.script) else self.script[min(seen.nth, len(self.script) - 1)]
        return step if isinstance(step, Sent | Exception) else Sent(body=step)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1


class _Body(httpx2.AsyncByteStream):
    def __init__(self, raw: bytes, cut: int | None) -> None:
        self.raw, self.cut = raw, cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.raw[: self.cut]
        if self.cut is not None:
            raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")


class ScriptedTransport(httpx2.AsyncBaseTransport, _Player):
    """Plays a script below an HTTP client."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raw = await request.aread()
        with self.counted():
            step = self.next(asyncio.get_running_loop().time(), request.url.path, request.headers, raw)
            await asyncio.sleep(0 if isinstance(step, Exception) else step.after)
        if isinstance(step, Exception):
            raise step
        return httpx2.Response(step.status, headers=step.all_headers, stream=_Body(step.raw, step.cut), request=request)


class Server(_Player):
    """Plays a script on a loopback port while in its block, in a thread of its own; `url` is a base URL."""

    def __enter__(self) -> "Server":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        with self.counted():
            step = self.next(asyncio.get_running_loop().time(), request.path_qs, request.headers, raw)
            await asyncio.sleep(0 if isinstance(step, Exception) else step.after)
        assert request.transport is not None
        if isinstance(step, Exception):
            request.transport.abort()
            return web.Response()
        response = web.StreamResponse(
            status=step.status, headers={**step.all_headers, "Content-Length": str(len(step.raw))}
        )
        await response.prepare(request)
        await response.write(step.raw[: step.cut])
        if step.cut is not None:
            request.transport.close()
        return response


# A clock that jumps


class _Jump(asyncio.SelectorEventLoop):
    """Where nothing is left to do until a deadline, it is the deadline."""

    LONGEST = 10 * 86_400.0  # seconds; a run that waits longer will wait for ever

    def __init__(self) -> None:
        self.now, selector = 1000.0, selectors.DefaultSelector()
        wait = selector.select

        def select(timeout: float | None = None) -> Any:
            if timeout is None or timeout <= 0:
                return wait(timeout)
            if events := wait(0):
                return events
            self.now += timeout
            if self.now > self.LONGEST:
                raise RuntimeError("waits for ever")
            return []

        selector.select = select  # type: ignore[method-assign]
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, however long it sleeps. `clock` must be in force where it reads the time."""
    _warm_up()
    with asyncio.Runner(loop_factory=_Jump) as runner:
        return runner.run(coroutine)


@cache
def _warm_up() -> None:
    """The client asks about its platform once, in a thread, which a clock that jumps would not wait for."""

    async def ask() -> None:
        http_client = openai.DefaultAsyncHttpxClient(transport=ScriptedTransport([completion("x")]))
        async with openai.AsyncOpenAI(api_key="none", base_url="https://a.invalid", http_client=http_client) as client:
            await client.chat.completions.create(model="m", messages=[])

    asyncio.run(ask())


def clock() -> float:
    """The running loop's time; the real one where none runs."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the endpoint and its gate read the clock of the loop they run on."""
    for module in ("endpoint", "patience", "width"):
        monkeypatch.setattr(f"connections_env.{module}.time", SimpleNamespace(monotonic=clock))


def full_after(left: int) -> Any:
    """A write for a disk with so many bytes left: the last one that fits is cut, as the kernel does."""
    write = os.write

    def limited(fd: int, data: Any) -> int:
        nonlocal left
        if fd <= 2:
            return write(fd, data)
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(fd, bytes(data)[:left])
        left -= written
        return written

    return limited


def until(fact: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Waits for what a process does, as the endpoint or the disk sees it."""
    for _ in range(3000):
        if fact():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("waited for ever")
