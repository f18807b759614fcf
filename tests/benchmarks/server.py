"""An endpoint that costs next to nothing, so that what is measured is the client: canned replies, in its own process.

    python -m tests.benchmarks.server PUZZLES.jsonl --latency 0.2

It wins every game: the nth reply to a board is its nth group. It reads no JSON, only where the board is named and how
many replies the conversation holds.
"""

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from connections_env.boards import puzzle_from_row
from connections_env.items import item_list

THOUGHT = "Each of these could belong to two groups, so I weigh one reading against the other before I settle. "
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_BOARD = re.compile(rb"Items: (.*?)\"")


def body(content: str, thought: str) -> bytes:
    """A whole HTTP answer."""
    message = {"role": "assistant", "content": content, "reasoning_content": thought}
    usage = {"prompt_tokens": 600, "completion_tokens": 400, "total_tokens": 1000}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "canned",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage | {"completion_tokens_details": {"reasoning_tokens": 380}},
    }
    raw = json.dumps(completion).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(raw), raw)


def answers(puzzles: Path, characters: int) -> dict[tuple[bytes, int], bytes]:
    """Board as it stands in a request, and number of replies before -> answer."""
    thought, found = (THOUGHT * (characters // len(THOUGHT) + 1))[:characters], {}
    for line in puzzles.read_text(encoding="utf-8").splitlines():
        puzzle = puzzle_from_row(json.loads(line))
        for turn, group in enumerate(puzzle.groups):
            found[item_list(puzzle.items).encode(), turn] = body(f"<guess>{item_list(group.members)}</guess>", thought)
    return found


class Connection(asyncio.Protocol):
    def __init__(self, canned: dict[tuple[bytes, int], bytes], latency: float):
        self.canned, self.latency, self.unread = canned, latency, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while (head := self.unread.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self.unread, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self.unread) < end:
                return
            request, self.unread = self.unread[head + 4 : end], self.unread[end:]
            asyncio.get_running_loop().call_later(self.latency, self.answer, request)

    def answer(self, request: bytes) -> None:
        board = _BOARD.search(request)
        turn = request.count(b'"role":"assistant"')
        if board and not self.transport.is_closing():
            self.transport.write(self.canned[board[1], turn])


async def serve(canned: dict[tuple[bytes, int], bytes], latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(canned, latency), "127.0.0.1", 0, backlog=8192)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def served(puzzles: Path, latency: float, characters: int) -> Iterator[str]:
    """The base URL of such an endpoint in a process of its own."""
    flags = [str(puzzles), "--latency", str(latency), "--characters", str(characters)]
    command = [sys.executable, "-m", "tests.benchmarks.server", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("puzzles", type=Path)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds (0.2)")
    parser.add_argument("--characters", type=int, default=1600, help="of reasoning in each reply (1600)")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(answers(args.puzzles, args.characters), args.latency))
