"""The simulated endpoint over real HTTP, with the faults that were ordered: all that touches a socket.

async with listening(Service(answer, Faults()), "127.0.0.1", 8001) as addresses:
    ...
"""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from connections_env.deliveries import Delivery, delivery, record, whole
from connections_env.faults import Faults

if TYPE_CHECKING:  # the transport does without a web server
    from aiohttp import web

REQUEST_ID = "X-Client-Request-Id"
LARGEST_BODY = 64 * 2**20  # bytes; the whole game comes back with each turn
COUNT_EVERY = 1.0  # seconds
LOOK_AT_DOOR_EVERY = 0.02  # seconds
BACKLOG = 4096

Answering = Callable[[str, str, bytes, str], tuple[int, dict[str, Any]]]
"""Method, path, body and request id -> status and JSON body."""


@dataclass
class Service:
    """An endpoint, what goes wrong at it, and what has."""

    answer: Answering
    faults: Faults = field(default_factory=Faults)
    latency: float = 0.0
    """Seconds before each answer."""
    retry_after: float = 1.0
    spike: float = 5.0
    limit: int | None = None
    """Requests in flight beyond which others are 429."""
    log: TextIO | None = None
    """Gets a line before and after each answer is sent."""
    started: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    """Times each fault was injected; `limited`, `requests` and `answered` (in full, with a completion)."""
    in_flight: int = 0

    @property
    def now(self) -> float:
        """Seconds since the server started."""
        return time.monotonic() - self.started

    async def handle(self, request: "web.Request") -> "web.StreamResponse":
        raw = await request.read()
        request_id = request.headers.get(REQUEST_ID, "")
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            return await deliver(request, whole(*self.answer(request.method, request.path, raw, request_id)))
        self.counts["requests"] += 1
        if self.limit is not None and self.in_flight >= self.limit:
            self.counts["limited"] += 1
            return await deliver(request, self._delivery("429", {}, request))
        self.in_flight += 1
        try:
            return await self._complete(request, raw, request_id)
        finally:
            self.in_flight -= 1

    async def _complete(self, request: "web.Request", raw: bytes, request_id: str) -> "web.StreamResponse":
        await asyncio.sleep(self.latency)
        status, body = self.answer(request.method, request.path, raw, request_id)
        goes_out = whole(status, body)
        if status == 200 and (hit := self.faults.for_request(request_id, raw, self.now)):
            self.counts[hit.kind] += 1
            goes_out = self._delivery(hit.manner, body, request)
        if goes_out.completion is None:
            return await deliver(request, goes_out)
        line = record(request_id, json.loads(raw), goes_out.completion) if self.log else {}
        self._write({"event": "sending", **line})
        response = await deliver(request, goes_out)
        if request.transport is not None:  # else the client went away meanwhile
            self.counts["answered"] += 1
            self._write({"event": "sent", **line})
        return response

    def _delivery(self, kind: str, completion: dict[str, Any], request: "web.Request") -> Delivery:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return delivery(kind, completion, key=key, retry_after=self.retry_after, spike=self.spike, now=time.time())

    def _write(self, line: dict[str, str]) -> None:
        if self.log is not None:
            self.log.write(json.dumps(line) + "\n")
            self.log.flush()


async def deliver(request: "web.Request", goes_out: Delivery) -> "web.StreamResponse":
    """Sends what goes out; never returns where the connection is cut, or left without an answer, until it is lost."""
    from aiohttp import web

    response = web.StreamResponse(status=goes_out.status or 200, headers={"Content-Type": goes_out.content_type})
    if goes_out.retry_after is not None:
        response.headers["Retry-After"] = goes_out.retry_after
    if goes_out.length is not None:
        response.content_length = goes_out.length
    with contextlib.suppress(ConnectionError):  # the client went away
        if goes_out.pieces:
            await response.prepare(request)
        for pause, piece in goes_out.pieces:
            if pause:
                await asyncio.sleep(pause)
            await response.write(piece)
        if goes_out.end == "whole":
            await response.write_eof()
            return response
        if goes_out.end == "reset" and request.transport is not None:
            reset(request.transport)
        await asyncio.get_running_loop().create_future()  # cancelled when the connection is lost
    return response


def reset(transport: asyncio.Transport) -> None:
    """Closes a connection with RST instead of FIN (SO_LINGER of no seconds), what was not sent yet thrown away."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _SlammedDoor(asyncio.Protocol):
    """Closes a connection as soon as it is accepted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@asynccontextmanager
async def listening(service: Service, host: str, port: int) -> AsyncIterator[list[tuple[str, int]]]:
    """Serves while in this block; gives the addresses, one for each of the host's. OSError when it cannot listen."""
    from aiohttp import web

    app = web.Application(client_max_size=LARGEST_BODY)
    app.router.add_route("*", "/{path:.*}", service.handle)
    # A handler must not outlive its connection: that is what ends stalls and drips.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
    await runner.setup()

    def accept() -> asyncio.BaseProtocol:
        if service.faults.for_connection():
            service.counts["refused"] += 1
            return _SlammedDoor()
        assert runner.server is not None
        return runner.server()

    door = Door(accept)
    keeper = None
    try:
        await door.open([(host, port)])
        service.started = time.monotonic()
        if service.faults.may_refuse:
            keeper = asyncio.create_task(door.keep(service))
        yield door.addresses
    finally:
        if keeper is not None:
            keeper.cancel()
        door.shut()
        await runner.cleanup()


class Door:
    """The listening sockets, which can be closed and opened again at the same addresses."""

    def __init__(self, accept: Callable[[], asyncio.BaseProtocol]):
        self._accept = accept
        self._servers: list[asyncio.Server] = []
        self.addresses: list[tuple[str, int]] = []

    async def open(self, addresses: list[tuple[str, int]]) -> None:
        loop = asyncio.get_running_loop()
        for host, port in addresses:
            self._servers.append(await loop.create_server(self._accept, host, port, backlog=BACKLOG))
        self.addresses = [one.getsockname()[:2] for server in self._servers for one in server.sockets]

    def shut(self) -> None:
        while self._servers:
            self._servers.pop().close()

    async def keep(self, service: Service) -> None:
        """Shuts and opens by the faults, for ever."""
        addresses = self.addresses
        while True:
            shut = service.faults.shut(service.now)
            if shut and self._servers:
                self.shut()
            elif not shut and not self._servers:
                with contextlib.suppress(OSError):  # taken meanwhile; tried again
                    await self.open(addresses)
            await asyncio.sleep(LOOK_AT_DOOR_EVERY)


@asynccontextmanager
async def counting(service: Service, path: Path | None) -> AsyncIterator[None]:
    """Keeps a file with the counts: written once a second and at the end, replaced so that it is always whole."""
    if path is None:
        yield
        return
    write_counts(service, path)  # at once, so that a file that cannot be written is known before anything is served
    keeper = asyncio.create_task(_count_forever(service, path))
    try:
        yield
    finally:
        keeper.cancel()
        write_counts(service, path)


async def _count_forever(service: Service, path: Path) -> None:
    while True:
        await asyncio.sleep(COUNT_EVERY)
        write_counts(service, path)


def write_counts(service: Service, path: Path) -> None:
    counts = {"requests": 0, "answered": 0} | dict(sorted(service.counts.items()))
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(counts) + "\n", encoding="utf-8")
    part.replace(path)
