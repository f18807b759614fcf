"""The simulated endpoint: below the openai client, and as a process over HTTP."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from connections_env import prompts
from connections_env.game import GameState, observe
from connections_env.parsing import read_guess
from connections_env.player import SimulatedPlayer
from connections_env.puzzles import Group, Puzzle, shuffled
from connections_env.rulesets import NYT
from connections_env.simulated import REQUEST_ID, SimulatedTransport, main

ROOT = Path(__file__).parents[1]
GROUPS = [["BLORT", "SNEEP", "QUIVVEL"], ["DRAMP", "FLOOB", "GRINTLE"], ["HUSK, TWICE", "MIZZ", "PLONK"]]
THEMES = ["zorb", "zirb", "zarb"]
PUZZLE = Puzzle(
    "nonsense",
    shuffled([word for group in GROUPS for word in group]),  # as boards without an order of their own are
    tuple(Group(theme, tuple(group)) for theme, group in zip(THEMES, GROUPS, strict=True)),
)
OPENING: Any = prompts.opening(observe(GameState(PUZZLE, NYT)))
BODY = {"model": "simulated", "messages": OPENING}


def client(latency: float = 0.0) -> AsyncOpenAI:
    transport = SimulatedTransport(SimulatedPlayer([PUZZLE], "best"), latency)
    http = DefaultAsyncHttpxClient(transport=transport)
    return AsyncOpenAI(api_key="none", base_url="https://models.invalid", http_client=http, max_retries=0)


@pytest.mark.parametrize("latency", [0.0, 0.01])
def test_the_openai_client_plays_through_the_transport(latency: float) -> None:
    async def ask() -> Any:
        async with client(latency) as endpoint:
            headers = {REQUEST_ID: "rollout-1"}
            return await endpoint.chat.completions.create(model="any", messages=OPENING, extra_headers=headers)

    completion = asyncio.run(ask())
    choice = completion.choices[0]
    assert completion.model == "any"
    assert choice.finish_reason == "stop"
    assert completion.usage.total_tokens > completion.usage.completion_tokens > 0
    assert len(read_guess(choice.message.content, PUZZLE).words) == 3
    assert choice.message.reasoning_content


def test_the_request_id_header_tells_one_rollout_from_another() -> None:
    async def ask(request_id: str) -> str:
        async with client() as endpoint:
            headers = {REQUEST_ID: request_id}
            answer = await endpoint.chat.completions.create(model="any", messages=OPENING, extra_headers=headers)
            return answer.model_dump_json()

    assert asyncio.run(ask("a")) == asyncio.run(ask("a")) != asyncio.run(ask("b"))


def test_many_requests_at_once_give_what_each_gives_alone() -> None:
    async def ask(endpoint: AsyncOpenAI, n: int) -> str:
        headers = {REQUEST_ID: str(n)}
        answer = await endpoint.chat.completions.create(model="any", messages=OPENING, extra_headers=headers)
        return answer.model_dump_json()

    async def all_at_once() -> list[str]:
        async with client() as endpoint:
            return await asyncio.gather(*(ask(endpoint, n) for n in range(50)))

    async def one_by_one() -> list[str]:
        async with client() as endpoint:
            return [await ask(endpoint, n) for n in range(50)]

    assert asyncio.run(all_at_once()) == asyncio.run(one_by_one())


def test_a_bad_body_is_400_in_the_shape_the_client_knows() -> None:
    async def ask() -> None:
        async with client() as endpoint:
            await endpoint.chat.completions.create(model="any", messages=[])

    with pytest.raises(openai.BadRequestError, match="`messages` must be a non-empty list") as caught:
        asyncio.run(ask())
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (json.dumps({"messages": OPENING}).encode(), "`model` must be a non-empty string"),
        (b'{"model": "m", "messages": "hello"}', "`messages` must be a non-empty list"),
        (b'{"model": "m", "messages": ["hello"]}', "`messages[0]` must be an object with a `role`"),
        (b'{"model": "m", "messages": [{"role": "user"}]}', "`messages[0].content` must be a string"),
        (json.dumps({**BODY, "max_tokens": 0}).encode(), "`max_tokens` must be a whole number above 0"),
        (json.dumps({**BODY, "stream": True}).encode(), "this endpoint does not stream"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(raw: bytes, message: str) -> None:
    assert _sent("POST", "/v1/chat/completions", raw) == (400, message)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/chat/completions"), ("POST", "/v1/embeddings"), ("POST", "/models"), ("GET", "/")]
)
def test_other_paths_are_404(method: str, path: str) -> None:
    assert _sent(method, path, b"{}") == (404, f"there is nothing at {method} {path}")


def _sent(method: str, path: str, raw: bytes) -> tuple[int, str]:
    async def send() -> httpx2.Response:
        transport = SimulatedTransport(SimulatedPlayer([PUZZLE]))
        async with httpx2.AsyncClient(transport=transport, base_url="https://models.invalid") as http:
            return await http.request(method, path, content=raw)

    response = asyncio.run(send())
    return response.status_code, response.json()["error"]["message"]


@pytest.fixture(scope="module")
def puzzles_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("puzzles") / "nonsense.jsonl"
    row = {"puzzle_id": "nonsense", "group_words": GROUPS, "group_themes": THEMES}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return path


def start(puzzles: Path | str, *flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "connections_env.simulated", "--port", "0", "--puzzles", str(puzzles), *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def server(puzzles_file: Path) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    process = start(puzzles_file, "--player-strength", "best", "--latency", "0.01")
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("serving 1 puzzle on http://127.0.0.1:"), line
    assert line.endswith("/v1\n")
    yield process, line.split()[-1]
    process.kill()
    process.communicate()


def test_the_server_gives_what_the_transport_gives(server: "tuple[subprocess.Popen[str], str]") -> None:
    _, url = server
    headers = {REQUEST_ID: "rollout-1"}
    with httpx2.Client(headers=headers, trust_env=False) as http:
        served = http.post(f"{url}/chat/completions", json=BODY)
        bare = http.post(f"{url.removesuffix('/v1')}/chat/completions", json=BODY)
        models = http.get(f"{url}/models").json()
        wrong = http.post(f"{url}/chat/completions", content=b"{")
        nothing = http.get(f"{url}/files")

    expected = SimulatedPlayer([PUZZLE], "best").complete(BODY, "rollout-1")
    assert (served.status_code, served.json()) == (200, expected)
    assert bare.json() == expected
    assert [model["id"] for model in models["data"]] == ["simulated"]
    assert (wrong.status_code, nothing.status_code) == (400, 404)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_quietly(server: "tuple[subprocess.Popen[str], str]", number: signal.Signals) -> None:
    process, _ = server
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com"])
def test_only_loopback_is_served(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--host", host])
    assert caught.value.code == 2
    assert f"{host!r} is not loopback; use 127.0.0.1, ::1 or localhost" in capsys.readouterr().err


def test_a_port_in_use_is_one_line_and_exit_1(puzzles_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--puzzles", str(puzzles_file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"error: cannot listen on 127.0.0.1 port {port}: ")


def test_puzzles_that_cannot_be_had_are_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--puzzles", str(tmp_path / "none.jsonl")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "none.jsonl" in err
    assert err.count("\n") == 1
