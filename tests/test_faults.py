"""Faults of the simulated endpoint: which requests are hit, and what exactly arrives at a client that knows nothing."""

import asyncio
import email.utils
import http.client
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connections_env import prompts
from connections_env.deliveries import fingerprint
from connections_env.faults import KINDS, MIXED, Fault, Faults, chance, fault_of, mixed, pick
from connections_env.game import GameState, observe
from connections_env.parsing import read_guess
from connections_env.player import SimulatedPlayer
from connections_env.rulesets import NYT
from connections_env.serving import REQUEST_ID, Service, counting, listening
from connections_env.simulated import answer, parse_args
from tests import rollouts
from tests.test_simulated import start

PUZZLE = rollouts.board(0)
PLAYER = SimulatedPlayer([PUZZLE], "best")
BODY: Any = {"model": "simulated", "messages": prompts.opening(observe(GameState(PUZZLE, NYT)))}
COMPLETION = PLAYER.complete(BODY, "game-1")
MESSAGE = COMPLETION["choices"][0]["message"]
KEY = "sk-something-nobody-should-see"


@contextmanager
def served(*faults: str, rest: "dict[str, Any] | None" = None, count: Path | None = None) -> Iterator[Service]:
    """The endpoint in a thread of its own; `service.port` is where it listens."""
    service = Service(lambda *request: answer(PLAYER, *request), Faults(map(fault_of, faults)), **(rest or {}))
    ready, ended, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        async with counting(service, count), listening(service, "127.0.0.1", 0) as addresses:
            service.port = addresses[0][1]
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield service
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(20)
        loop.close()


def request_bytes(body: Any = BODY, request_id: str = "game-1") -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{REQUEST_ID}: {request_id}\r\nContent-Length: {len(raw)}"
    return f"{head}\r\n\r\n".encode() + raw


def dialled(service: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=20)


def asked(service: Any, body: Any = BODY, request_id: str = "game-1") -> tuple[int, Any, bytes]:
    """Status, headers and body of one request on a connection of its own. Raises what http.client does."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {KEY}", REQUEST_ID: request_id}
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def status_of(service: Any, **what: Any) -> int | None:
    """The status of one request; None where no HTTP answer came."""
    try:
        return asked(service, **what)[0]
    except (OSError, http.client.HTTPException):
        return None


def counted(service: Service, kind: str) -> None:
    assert service.counts[kind] == 1
    assert service.counts["requests"] == 2


# What arrives: the first request is hit, the second one is answered


@pytest.mark.parametrize("kind", ["429", "429-date", "429-bare"])
def test_a_429_names_the_wait_in_both_forms_or_not_at_all(kind: str) -> None:
    before = time.time()
    with served(f"{kind}#1", rest={"retry_after": 30.0}) as service:
        status, headers, raw = asked(service)
        assert json.loads(asked(service)[2]) == COMPLETION
    assert status == 429
    assert json.loads(raw)["error"]["code"] == "rate_limit_exceeded"
    wait = headers["Retry-After"]
    if kind == "429":
        assert wait == "30"
    elif kind == "429-bare":
        assert wait is None
    else:
        assert wait.endswith(" GMT")
        assert before + 30 <= email.utils.parsedate_to_datetime(wait).timestamp() <= time.time() + 32
    counted(service, kind)


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("500", 500, "The server had an error while processing your request"),
        ("503", 503, "The server is overloaded or not ready yet"),
        ("529", 529, "Overloaded"),
        ("401", 401, "Authentication Fails (no such user)"),
        ("402", 402, "Insufficient Balance"),
        ("403", 403, "Your project is not allowed to use this model"),
        ("404", 404, "The model does not exist or you do not have access to it"),
        ("400-model", 400, "Model Not Exist"),
        ("echo-key", 401, f"Incorrect API key provided: {KEY}."),
    ],
)
def test_an_error_is_its_status_with_a_message_as_openai_puts_it(kind: str, status: int, said: str) -> None:
    with served(f"{kind}#1") as service:
        got, headers, raw = asked(service)
        assert asked(service)[0] == 200
    assert (got, json.loads(raw)["error"]["message"]) == (status, said)
    assert headers["Content-Type"].startswith("application/json")
    assert headers["Retry-After"] is None
    counted(service, kind)


def test_too_long_is_the_code_and_wording_of_openai() -> None:
    with served("too-long#1") as service:
        status, _, raw = asked(service)
    error = json.loads(raw)["error"]
    assert (status, error["code"]) == (400, "context_length_exceeded")
    assert error["message"].startswith("This model's maximum context length is 8192 tokens.")


def test_422_comes_with_a_list_of_details() -> None:
    with served("422#1") as service:
        status, _, raw = asked(service)
    assert status == 422
    assert json.loads(raw)["detail"][0]["loc"] == ["body", "thinking"]


@pytest.mark.parametrize(("kind", "status", "title"), [("502", 502, "502 Bad Gateway"), ("html", 200, "Just a moment")])
def test_a_proxy_answers_with_a_page(kind: str, status: int, title: str) -> None:
    with served(f"{kind}#1") as service:
        got, headers, raw = asked(service)
        assert asked(service)[0] == 200
    assert (got, headers["Content-Type"]) == (status, "text/html")
    assert raw.startswith(b"<!DOCTYPE html>")
    assert title.encode() in raw
    counted(service, kind)


def test_reset_is_an_rst_before_a_byte() -> None:
    with served("reset#1") as service:
        with dialled(service) as client:
            client.sendall(request_bytes())
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert asked(service)[0] == 200
    counted(service, "reset")


def test_reset_body_is_an_rst_after_half_of_the_body() -> None:
    with served("reset-body#1") as service:
        with dialled(service) as client:
            client.sendall(request_bytes())
            got = read_to_reset(client)
        assert asked(service)[0] == 200
    head, body = got.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 OK")
    whole = json.dumps(COMPLETION).encode()
    assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(whole)  # type: ignore[index]
    assert body == whole[: len(whole) // 2]
    counted(service, "reset-body")


def test_a_stall_sends_nothing_and_keeps_the_connection() -> None:
    with served("stall#1") as service, dialled(service) as client:
        client.settimeout(0.4)
        client.sendall(request_bytes())
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert asked(service)[0] == 200
    counted(service, "stall")
    assert service.counts["answered"] == 1


def test_a_drip_is_the_whole_body_byte_by_byte() -> None:
    with served("drip#1") as service, dialled(service) as client:
        client.sendall(request_bytes())
        got, pieces = b"", 0
        while b'\r\n\r\n{"i' not in got:
            got += client.recv(65536)
            pieces += 1
        assert pieces >= 3
    head, body = got.split(b"\r\n\r\n", 1)
    assert b"Content-Length: %d" % len(json.dumps(COMPLETION)) in head
    assert len(body) < 10
    assert (service.counts["drip"], service.counts["answered"]) == (1, 0)  # nobody waited for the rest


@pytest.mark.parametrize("kind", ["truncated", "invalid"])
def test_broken_json_comes_whole_as_far_as_http_goes(kind: str) -> None:
    with served(f"{kind}#1") as service:
        status, headers, raw = asked(service)
        assert asked(service)[0] == 200
    assert (status, int(headers["Content-Length"])) == (200, len(raw))
    with pytest.raises(ValueError):  # noqa: PT011
        json.loads(raw)
    if kind == "truncated":
        assert json.dumps(COMPLETION).encode().startswith(raw)
    else:
        assert raw == str(COMPLETION).encode()
    counted(service, kind)
    assert service.counts["answered"] == 1


def hit(kind: str) -> tuple[Any, Service]:
    """The JSON of an answer that is hit."""
    with served(f"{kind}#1", rest={"spike": 0.3}) as service:
        status, _, raw = asked(service)
        assert json.loads(asked(service)[2]) == COMPLETION
    assert status == 200
    counted(service, kind)
    return json.loads(raw), service


def test_no_choices_is_an_answer_without_one() -> None:
    got, service = hit("no-choices")
    assert got == {**COMPLETION, "choices": []}
    assert service.counts["answered"] == 1


def test_no_usage_is_the_answer_without_it() -> None:
    got, service = hit("no-usage")
    assert got == {name: value for name, value in COMPLETION.items() if name != "usage"}
    assert service.counts["answered"] == 2


@pytest.mark.parametrize(
    ("kind", "content", "finish"),
    [
        ("null-content", lambda text: None, "stop"),
        ("length", lambda text: text[: len(text) // 2], "length"),
        ("content-filter", lambda text: "", "content_filter"),
    ],
)
def test_a_spoilt_answer_differs_in_content_and_finish_reason_alone(
    kind: str, content: Callable[[str], Any], finish: str
) -> None:
    got, service = hit(kind)
    message = {**MESSAGE, "content": content(MESSAGE["content"])}
    assert got["choices"] == [{**COMPLETION["choices"][0], "message": message, "finish_reason": finish}]
    assert {**got, "choices": []} == {**COMPLETION, "choices": []}
    assert service.counts["answered"] == 2


def test_parts_joined_are_the_content() -> None:
    got, _ = hit("parts")
    parts = got["choices"][0]["message"]["content"]
    assert [part["type"] for part in parts] == ["text", "text"]
    assert "".join(part["text"] for part in parts) == MESSAGE["content"]


def test_blank_lines_come_before_the_body() -> None:
    with served("blank-lines#1") as service:
        status, headers, raw = asked(service)
    assert (status, headers["Transfer-Encoding"]) == (200, "chunked")
    assert raw == b"\n\n\n" + json.dumps(COMPLETION).encode()


def test_a_spike_is_a_late_answer() -> None:
    began = time.monotonic()
    got, _ = hit("spike")
    assert got == COMPLETION
    assert time.monotonic() - began >= 0.3


def test_a_refused_connection_is_closed_before_a_byte() -> None:
    with served("refused#1") as service:
        with dialled(service) as client:
            client.settimeout(20)
            assert client.recv(1) == b""
        assert asked(service)[0] == 200
    assert (service.counts["refused"], service.counts["requests"]) == (1, 1)


def test_while_refused_nobody_listens_open_connections_are_reset_and_later_all_is_well() -> None:
    with served("refused@0.2-0.7") as service:
        with dialled(service) as client:
            client.sendall(request_bytes())
            assert client.recv(12) == b"HTTP/1.1 200"
            until(lambda: refused(service))
            client.sendall(request_bytes())
            read_to_reset(client)
        until(lambda: status_of(service) == 200)
    assert service.counts["refused"] >= 1


def refused(service: Any) -> bool:
    try:
        dialled(service).close()
    except ConnectionRefusedError:
        return True
    return False


def read_to_reset(client: socket.socket) -> bytes:
    """What comes before the RST, which has to come."""
    got = b""
    try:
        while data := client.recv(65536):
            got += data
    except ConnectionResetError:
        return got
    raise AssertionError("the connection was closed in order")


def test_an_outage_begins_with_the_request_it_hits_and_ends() -> None:
    seen = set()
    for n in range(8):
        with served("outage#1", rest={}) as service:
            service.faults.outage = 0.2
            first = status_of(service, request_id=f"game-{n}")
            seen.add(first)
            until(lambda: status_of(service) == 200)
        assert first in (503, None)
    assert seen == {503, None}


def until(so: Callable[[], bool]) -> None:
    """Waits until something is so."""
    end = time.monotonic() + 20
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_span_hits_every_request_in_it_and_none_before() -> None:
    with served("503@0.3-1000", "500#1") as service:
        assert status_of(service) == 500  # a number comes before a span
        until(lambda: service.now > 0.3)
        assert [status_of(service) for _ in range(5)] == [503] * 5


def test_other_requests_than_chat_completions_and_bad_ones_are_spared() -> None:
    with served("503=1") as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        connection.request("GET", "/v1/models")
        assert connection.getresponse().status == 200
        connection.close()
        assert asked(service, body={"model": "x", "messages": []})[0] == 400
        assert asked(service)[0] == 503


def test_an_answer_after_a_fault_comes_on_the_same_connection() -> None:
    with served("503#1", "429#2", "html#3", "blank-lines#4") as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        seen = []
        for _ in range(5):
            connection.request("POST", "/chat/completions", json.dumps(BODY).encode())
            seen.append((status := connection.getresponse()).status)
            status.read()
        connection.close()
    assert seen == [503, 429, 200, 200, 200]


def test_beyond_the_limit_requests_are_429() -> None:
    with served(rest={"limit": 2, "latency": 0.5}) as service:
        clients = [dialled(service) for _ in range(5)]
        for client in clients:
            client.sendall(request_bytes())
        heads = [client.recv(4096) for client in clients]
        for client in clients:
            client.close()
        assert status_of(service) == 200
    limited = [head for head in heads if head.startswith(b"HTTP/1.1 429")]
    assert len(limited) == 3
    assert all(b"Retry-After: 1\r\n" in head for head in limited)
    assert service.counts == {"requests": 6, "limited": 3, "answered": 3}


def test_counts_are_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    with served("503#1", "reset#2", "no-usage#3", count=path) as service:
        assert json.loads(path.read_text()) == {"requests": 0, "answered": 0}
        assert [status_of(service) for _ in range(4)] == [503, None, 200, 200]
        until(lambda: json.loads(path.read_text())["answered"] == 2)  # while it serves
    assert json.loads(path.read_text()) == {"requests": 4, "answered": 2, "503": 1, "no-usage": 1, "reset": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_log_names_each_answer_before_and_after_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("w") as log, served("503#1", "parts#2", "drip#3", rest={"log": log}) as service:
        assert [status_of(service) for _ in range(2)] == [503, 200]
        with dialled(service) as client:
            client.sendall(request_bytes())
            client.recv(1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.pop("event") for line in lines] == ["sending", "sent", "sending"]
    asked_ = fingerprint([[message["role"], message["content"]] for message in BODY["messages"]])
    said = fingerprint([MESSAGE["content"], MESSAGE["reasoning_content"]])
    assert lines == [{"id": "game-1", "asked": asked_, "said": said}] * 3


# Who is hit


def test_every_kind_has_a_nature_and_a_delivery_or_a_way_of_its_own() -> None:
    with served(*(f"{kind}#{n}" for n, kind in enumerate(KINDS, 1)), rest={"retry_after": 0}) as service:
        service.faults.outage = service.spike = 0
        for _ in (*KINDS, "one for the connection that is refused"):
            with dialled(service) as client:
                client.settimeout(0.1)
                client.sendall(request_bytes())
                with suppress(OSError):
                    client.recv(1)
    assert {kind: service.counts[kind] for kind in KINDS} == dict.fromkeys(KINDS, 1)


def hits(faults: Faults, requests: int) -> list[str | None]:
    got = [faults.for_request(f"game-{n}", b"{}", 0.0) for n in range(requests)]
    return [one.kind if one else None for one in got]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rates_are_met(seed: int) -> None:
    seen = Counter(hits(Faults([Fault("503", 0.1), Fault("stall", 0.03)], seed), 20_000))
    assert seen["503"] == pytest.approx(2000, abs=200)  # five standard deviations are 212
    assert seen["stall"] == pytest.approx(600, abs=120)
    assert seen.total() == 20_000


def test_rates_are_met_over_http() -> None:
    with served("503=0.3", "500=0.2") as service:
        seen = Counter(status_of(service, request_id=str(n)) for n in range(400))
    assert set(seen) == {200, 500, 503}
    assert 80 <= seen[503] <= 160
    assert 45 <= seen[500] <= 120
    assert (service.counts["503"], service.counts["500"]) == (seen[503], seen[500])


def test_the_mix_is_all_that_costs_no_game_together_at_its_rate() -> None:
    faults = Faults(mixed(0.21))
    seen = Counter(hits(faults, 40_000))
    assert {*seen} == {*MIXED, None} - {"refused"}
    assert sum(faults.rates.values()) == pytest.approx(0.21)
    assert 1 - seen[None] / 40_000 == pytest.approx(0.21 * (1 - 1 / len(MIXED)), abs=0.015)
    shut = sum(faults.for_connection() for _ in range(40_000))
    assert shut / 40_000 == pytest.approx(0.21 / len(MIXED), abs=0.004)
    assert {KINDS[kind][0] for kind in MIXED} == {"passes", "harmless"}


def test_the_same_seed_hits_the_same_requests_in_any_order_and_another_one_others() -> None:
    def of(seed: int, order: int) -> dict[str, str | None]:
        faults = Faults(mixed(0.5), seed)
        got = {}
        for n in range(500)[::order]:
            one = faults.for_request(f"game-{n}", b"{}", 0.0)
            got[f"game-{n}"] = one.kind if one else None
        return got

    assert of(0, 1) == of(0, -1) != of(1, 1)


def test_a_retry_is_another_draw() -> None:
    faults = Faults([Fault("503", 0.5)])
    attempts = [faults.for_request("game-1", b"{}", 0.0) for _ in range(40)]
    assert 8 <= sum(one is None for one in attempts) <= 32
    again = Faults([Fault("503", 0.5)])
    assert [again.for_request("game-1", b"{}", 0.0) for _ in range(40)] == attempts


def test_at_rate_0_nothing_is_hit_and_at_rate_1_everything() -> None:
    assert set(hits(Faults([Fault("503", 0.0)]), 1000)) == {None}
    assert set(hits(Faults([Fault("503", 1.0)]), 1000)) == {"503"}


def test_picking_goes_along_the_rates() -> None:
    rates = {"a": 0.25, "b": 0.5}
    assert [pick(rates, at) for at in (0, 0.24, 0.25, 0.74, 0.75, 0.99)] == ["a", "a", "b", "b", None, None]
    assert 0 <= chance(1, "x") < 1
    assert chance(1, "x") == chance(1, "x") != chance(2, "x")


# The command line


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("503=0.05", Fault("503", rate=0.05)),
        ("429-date=1", Fault("429-date", rate=1.0)),
        ("reset-body@1.5-20", Fault("reset-body", span=(1.5, 20.0))),
        ("stall#7", Fault("stall", number=7)),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert fault_of(text) == fault
    assert parse_args(["--fault", text]).fault == [fault]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--fault", "504=0.1"], "there is no fault '504'; there are 429, 429-date, "),
        (["--fault", "503"], "'503' is none of KIND=RATE, KIND@FROM-TO or KIND#N"),
        (["--fault", "503=2"], "2 is not a rate from 0 to 1"),
        (["--fault", "503=-0.1"], "-0.1 is not a rate from 0 to 1"),
        (["--fault", "503=nan"], "nan is not a rate from 0 to 1"),
        (["--fault", "503=x"], "x is not a rate from 0 to 1"),
        (["--fault", "503@5"], "is none of KIND=RATE"),
        (["--fault", "503@x-y"], "is none of KIND=RATE"),
        (["--fault", "503@5-5"], "503@5-5: a span ends after it starts"),
        (["--fault", "503#0"], "503#0: the first request is number 1"),
        (["--fault", "503#x"], "is none of KIND=RATE"),
        (["--faults", "1.1"], "1.1 is not a rate from 0 to 1"),
        (["--fault", "503=0.6", "--fault", "500=0.6"], "the rates come to 1.2, which is more than 1"),
        (["--fault", "503=0.6", "--faults", "0.5"], "the rates come to 1.1, which is more than 1"),
        (["--limit", "0"], "'0' is not a whole number above 0"),
        (["--retry-after", "-1"], "-1 is not a number of seconds"),
    ],
)
def test_what_is_no_fault_is_a_usage_error(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_args(flags)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_help_has_a_line_for_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_args(["--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for kind, (_, what) in KINDS.items():
        assert re.search(rf"^  {kind} +(\* )?{re.escape(what[:20])}", said, re.MULTILINE), kind


def test_a_file_that_cannot_be_written_is_one_line_and_exit_1(tmp_path: Path) -> None:
    for flag in ("--count", "--log"):
        process = start("builtin", flag, str(tmp_path / "none" / "file"))
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        assert re.fullmatch(rf"error: cannot write {tmp_path}/none/file\S*: No such file or directory\n", err)


def test_the_openai_client_sees_the_faults_of_the_command(tmp_path: Path) -> None:
    import openai

    count, log = tmp_path / "counts.json", tmp_path / "log.jsonl"
    flags = (
        "--player-strength",
        "best",
        "--fault",
        "echo-key#1",
        "--fault",
        "parts#2",
        "--count",
        str(count),
        "--log",
        str(log),
    )
    process = start(str(rollouts.puzzle_file(tmp_path / "one.jsonl", [PUZZLE])), *flags)
    assert process.stdout
    url = process.stdout.readline().split()[-1]
    with openai.OpenAI(api_key=KEY, base_url=url, max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError, match=KEY):
            client.chat.completions.create(**BODY)
        said: Any = client.chat.completions.create(**BODY).choices[0].message.content
    assert len(read_guess("".join(part["text"] for part in said), PUZZLE).words) == 4
    process.terminate()
    assert process.wait(20) == 130
    process.communicate()
    assert json.loads(count.read_text()) == {"requests": 2, "answered": 1, "echo-key": 1, "parts": 1}
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["sending", "sent"]
