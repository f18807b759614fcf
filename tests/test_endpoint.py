"""Requests made good, or the run stopped: against a scripted endpoint, on a clock that jumps."""

import asyncio
import base64
import json
import os
import re
import signal
import unicodedata
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from connections_env.durable import ResultsFile
from connections_env.endpoint import Endpoint, EndpointSettings, Prices
from connections_env.files import claim_results_file, results_files
from connections_env.parsing import Reply
from connections_env.play import Answer, Job, PromptTooLong, Stopped
from connections_env.pool import Tally, interrupts, play_all
from connections_env.records import ResumedFrom, Rollout, read_row
from connections_env.rulesets import NYT
from tests.boards import BOARDS, PLAIN
from tests.scripted import (
    Seen,
    Sent,
    Server,
    Step,
    completion,
    guess,
    jump,
    refusal,
    run,
    winner,
)
from tests.wire import KEY, OPENING, Wire

FINE = completion("<guess>[A]</guess>")


@pytest.fixture(autouse=True)
def _jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    jump(monkeypatch)


def one(script: Any, **settings: Any) -> tuple[Answer | str, Wire]:
    wire = Wire(script, **settings)
    return wire.asks(0)[0], wire


def answered(answer: Answer | str) -> Answer:
    assert isinstance(answer, Answer), answer
    return answer


def pauses(wire: Wire) -> list[float]:
    times = [seen.at for seen in wire.seen]
    return [later - earlier for earlier, later in pairwise(times)]


def one_plain_sentence(text: str) -> bool:
    return bool(text) and text == text.strip() and not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in text)


# Whole pools of games


def jobs(count: int, puzzle: Any = PLAIN) -> list[Job]:
    return [Job(f"game-{n}", puzzle, NYT, example_id=n) for n in range(count)]


def resumed(name: str, turns: int) -> Job:
    """A game that goes on after so many right guesses."""
    kept = tuple(Reply(guess(group.members), "Hm.", "stop", 9) for group in PLAIN.groups[:turns])
    return Job(name, PLAIN, NYT, kept=kept, resumed_from=ResumedFrom(rollout_id="before", turns=turns))


def played(wire: Wire, folder: Any, games: list[Job], **options: Any) -> tuple[list[Rollout], Tally]:
    """Plays a pool to its end; gives what is on disk afterwards."""

    async def play() -> Tally:
        results = ResultsFile(lambda: claim_results_file(folder))
        with interrupts(wire.endpoint):
            async with wire.endpoint:
                return await play_all(games, wire.endpoint, results, total=len(games), **options)

    tally = run(play())
    rows = [read_row(line) for path in results_files(folder) for line in path.read_bytes().splitlines()]
    assert all(isinstance(row, Rollout) for row in rows)
    return rows, tally  # type: ignore[return-value]


def reasons(rows: list[Rollout]) -> dict[str, str]:
    return {row.rollout_id: row.complete_reason for row in rows}


# The first request


def test_the_first_request_goes_alone_until_it_is_answered() -> None:
    wire = Wire(lambda seen: Sent(body=FINE, after=50 if seen.nth == 0 else 10))
    for answer in wire.asks(*[0.0] * 10):
        answered(answer)
    assert [seen.at - wire.seen[0].at for seen in wire.seen[1:]] == [pytest.approx(50)] * 9


def test_the_others_wait_while_the_first_request_is_retried() -> None:
    wire = Wire([refusal(503, after=3), Sent(429, headers={"Retry-After": "20"}), FINE])
    for answer in wire.asks(*[0.0] * 5):
        answered(answer)
    assert {seen.request_id for seen in wire.seen[:3]} == {wire.seen[0].request_id}
    assert len({seen.request_id for seen in wire.seen[3:]}) == 4


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 418, 422, 425, 451])
def test_a_refused_first_request_is_the_only_one_and_ends_the_run(status: int) -> None:
    wire = Wire([refusal(status, "no such thing", after=5)])
    assert wire.asks(0, 0, 1, 9, 20) == ["Stopped"] * 5
    assert len(wire.seen) == 1
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert str(status) in wire.why
    assert "no such thing" in wire.why
    assert "models.invalid" in wire.why
    assert one_plain_sentence(wire.why)


def test_a_refused_first_request_that_names_the_context_length_ends_the_run_too() -> None:
    wire = Wire([refusal(400, "maximum context length is 8192 tokens")])
    assert wire.asks(0, 0) == ["Stopped"] * 2
    assert len(wire.seen) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_a_first_request_too_long_ends_only_its_game_where_that_goes_on(tmp_path: Any, status: int) -> None:
    play = winner(PLAIN)
    too_long = refusal(status, "maximum context length is 8192 tokens", after=5)
    wire = Wire(lambda seen: too_long if seen.nth == 0 else play(seen), max_concurrent=1)
    rows, tally = played(wire, tmp_path, [resumed("on-0", 2), resumed("on-1", 2), *jobs(1)])
    assert wire.endpoint.halt is None
    assert (tally.games, tally.good) == (3, 3)
    assert {row.rollout_id: (row.resumed_from and row.resumed_from.turns, row.turns_cut) for row in rows} == {
        "on-0": (1, 1),
        "on-1": (2, 0),
        "game-0": (None, 0),
    }
    assert [seen.turn for seen in wire.seen] == [2, 1, 2, 2, 0, 1, 2]


def test_after_a_first_request_of_a_resumed_game_that_was_too_long_the_next_goes_alone_again() -> None:
    wire = Wire(lambda seen: refusal(400, "context length", after=50) if seen.nth == 0 else Sent(body=FINE, after=10))
    on = [*OPENING, {"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]

    async def ask(messages: Any, request_id: str) -> Answer | str:
        try:
            return await wire.endpoint.ask(messages, request_id)
        except PromptTooLong:
            return "PromptTooLong"

    async def all_of_them() -> list[Answer | str]:
        async with wire.endpoint:
            return await asyncio.gather(*(ask(on if n == 0 else OPENING, str(n)) for n in range(6)))

    answers = run(all_of_them())
    assert answers[0] == "PromptTooLong"
    for answer in answers[1:]:
        answered(answer)
    assert [round(seen.at - wire.seen[0].at) for seen in wire.seen] == [0, 50, 60, 60, 60, 60]


def test_an_opening_too_long_for_the_model_ends_the_run_after_a_resumed_game_was_too(tmp_path: Any) -> None:
    wire = Wire([refusal(400, "maximum context length is 8192 tokens")], max_concurrent=1)
    rows, _ = played(wire, tmp_path, [resumed("on", 2), *jobs(9)])
    assert rows == []
    assert [seen.turn for seen in wire.seen] == [2, 1, 0]
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert "maximum context length" in wire.why
    assert one_plain_sentence(wire.why)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_a_first_request_of_a_resumed_game_refused_for_another_reason_ends_the_run(status: int, tmp_path: Any) -> None:
    wire = Wire([refusal(status, "no such thing")])
    rows, _ = played(wire, tmp_path, [resumed("on", 1), *jobs(9)])
    assert (rows, len(wire.seen)) == ([], 1)
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><h1>Bad Gateway</h1>\n<p>nginx</html>",
        b'{"error": "plain words"}',
        b'{"error": {"message": null}}',
        b'{"message": "plain words"}',
        b'{"detail": [{"loc": ["body"], "msg": "plain words"}]}',
        b'{"detail": "plain words"}',
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"error": {"message": "\\ud800 plain words\\nand more"}}',
        b"[" * 100_000,
    ],
)
def test_a_refusal_is_one_plain_sentence_whatever_its_body(body: bytes) -> None:
    answer, wire = one([Sent(404, body)])
    assert answer == "Stopped"
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert one_plain_sentence(wire.why)
    assert len(wire.why) < 1000
    assert ("plain words" in wire.why) == (b"plain words" in body)


# Retries

FAULTS: dict[str, Step] = {
    **{str(status): refusal(status, "busy") for status in (408, 429, 500, 502, 503, 504, 520, 529, 599)},
    "a connection refused": httpx2.ConnectError("refused"),
    "a connection timeout": httpx2.ConnectTimeout("slow"),
    "a read timeout": httpx2.ReadTimeout("slow"),
    "a pool timeout": httpx2.PoolTimeout("full"),
    "a dropped connection": httpx2.ReadError("reset by peer"),
    "a server that hangs up": httpx2.RemoteProtocolError("server disconnected without sending a response"),
    "a body that breaks off": Sent(body=FINE, cut=40),
    "an answer that never comes": Sent(body=FINE, after=100_000),
    "HTML": Sent(body=b"<html>welcome</html>", headers={"Content-Type": "text/html"}),
    "HTML that says it is JSON": Sent(body=b"<html>welcome</html>"),
    "truncated JSON": Sent(body=b'{"id": "1", "choices": [{"index": 0, "mess'),
    "an empty body": Sent(body=b""),
    "blank lines alone": Sent(body=b"\n\n\n"),
    "bytes that are not UTF-8": Sent(body=b'{"choices": "\xff\xfe"}'),
    "bytes that are not gzip": Sent(body=b"plainly not", headers={"Content-Encoding": "gzip"}),
    "JSON of great depth": Sent(body=b"[" * 100_000),
    "a number of great length": Sent(body=b'{"choices": ' + b"9" * 10_000 + b"}"),
    **{
        f"the body {body.decode()}": Sent(body=body)
        for body in (
            b"[]",
            b"null",
            b"7",
            b'"hello"',
            b"{}",
            b'{"choices": []}',
            b'{"choices": null}',
            b'{"choices": {}}',
            b'{"choices": "none"}',
            b'{"choices": [null]}',
            b'{"choices": [{}]}',
            b'{"choices": [{"message": null}]}',
            b'{"choices": [{"message": "hello"}]}',
            b'{"error": {"message": "overloaded", "code": 529}}',
        )
    },
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("later", [False, True], ids=["at first", "later"])
def test_a_passing_fault_is_retried_and_counted(fault: str, later: bool) -> None:
    before: list[Step] = [FINE] if later else []
    wire = Wire([*before, FAULTS[fault], FAULTS[fault], FINE])
    answers = wire.asks(*[0.0] * (len(before) + 1))
    assert answered(answers[-1]).reply.content == "<guess>[A]</guess>"
    assert answered(answers[-1]).usage.requests == 3
    assert len(wire.seen) == wire.endpoint.usage.requests == 3 + len(before)
    assert wire.endpoint.failed_attempts == 2
    assert wire.endpoint.halt is None


@pytest.mark.parametrize("fault", ["an answer that never comes", "a dropped connection"])
def test_what_failed_is_said_in_words_of_the_user(fault: str) -> None:
    _, wire = one([FAULTS[fault]], max_retries=1, timeout=77)
    assert ("77 s" in wire.lines[0]) == (fault != "a dropped connection")
    assert ("77 s" in wire.why) or fault == "a dropped connection"
    assert not re.search(r"[a-z]Error|Exception|Timeout\b", wire.said)


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_max_retries_bounds_the_attempts(retries: int) -> None:
    answer, wire = one([refusal(500)], max_retries=retries)
    assert answer == "Stopped"
    assert len(wire.seen) == wire.endpoint.usage.requests == wire.endpoint.failed_attempts == retries + 1


def test_the_client_below_adds_no_retries_of_its_own() -> None:
    _, wire = one([httpx2.ConnectError("refused")], max_retries=0)
    assert len(wire.seen) == 1


def test_pauses_between_attempts_grow_and_vary() -> None:
    runs = [pauses(one([refusal(500)], max_retries=6)[1]) for _ in range(3)]
    for waits in runs:
        assert all(wait > 0 for wait in waits)
        assert sum(waits[3:]) > 3 * sum(waits[:3])
        assert sum(waits) < 600
    assert runs[0] != runs[1] != runs[2]


@pytest.mark.parametrize("status", [408, 429, 500, 503, 529])
@pytest.mark.parametrize("seconds", ["0", "7", "2.5", "300", "86400"])
def test_retry_after_in_seconds_is_obeyed_whatever_its_length(status: int, seconds: str) -> None:
    answer, wire = one([refusal(status, Retry_After=seconds), FINE])
    answered(answer)
    assert float(seconds) <= pauses(wire)[0] < float(seconds) + 5


@pytest.mark.parametrize("ahead", [90, 7200])
def test_retry_after_as_a_date_is_obeyed(ahead: int) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    answer, wire = one([refusal(429, Retry_After=when), FINE])
    answered(answer)
    assert ahead - 30 < pauses(wire)[0] <= ahead + 5


@pytest.mark.parametrize("past", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "-3"])
def test_retry_after_in_the_past_is_no_wait(past: str) -> None:
    answer, wire = one([refusal(503, Retry_After=past), FINE])
    answered(answer)
    assert pauses(wire)[0] < 5


@pytest.mark.parametrize("nonsense", ["soon", "", "1e999", "inf", "nan", "Mon, 99 Foo 2031 99:99:99 GMT", "12 s"])
def test_a_retry_after_that_is_neither_seconds_nor_a_date_is_passed_over(nonsense: str) -> None:
    answer, wire = one([refusal(429, Retry_After=nonsense), FINE])
    answered(answer)
    assert 0 < pauses(wire)[0] < 5


def test_a_429_pauses_every_worker() -> None:
    limited = refusal(429, Retry_After="40")
    wire = Wire(lambda seen: limited if seen.nth == 1 else FINE)
    for answer in wire.asks(0, 1, 2, 3, 20, 39, 60):
        answered(answer)
    times = [seen.at - wire.seen[0].at for seen in wire.seen]
    assert times[1] == pytest.approx(1)
    assert len(times) == 8
    assert all(later >= 41 - 0.01 for later in times[2:])


def asked_again_after(at_21: str, at_2: str, *delays: float) -> list[float]:
    """When requests go out after refusals, of the second one at 21 s and of the third at 2 s, with these waits."""
    steps = {1: Sent(body=refusal(429).raw, status=429, headers={"Retry-After": at_21}, after=20)}
    steps[2] = refusal(429, Retry_After=at_2)
    wire = Wire(lambda seen: steps.get(seen.nth, FINE))
    for answer in wire.asks(*delays):
        answered(answer)
    times = [seen.at - wire.seen[0].at for seen in wire.seen]
    assert [round(at) for at in times[:3]] == [0, 1, 2]
    return times[3:]


def test_a_429_that_comes_during_a_pause_prolongs_it_for_every_worker() -> None:
    assert all(later >= 121 - 0.01 for later in asked_again_after("100", "40", 0, 1, 2, 3))


def test_a_429_that_asks_for_less_during_a_pause_does_not_shorten_it() -> None:
    assert all(later >= 102 - 0.01 for later in asked_again_after("5", "100", 0, 1, 2, 30))


def test_a_429_without_a_hint_pauses_every_worker_for_a_moment() -> None:
    wire = Wire(lambda seen: refusal(429) if seen.nth == 1 else FINE)
    for answer in wire.asks(0, 1, 1.001, 1.002):
        answered(answer)
    assert all(seen.at - wire.seen[1].at > 0.01 for seen in wire.seen[2:])


def test_a_500_pauses_only_its_own_worker() -> None:
    wire = Wire(lambda seen: refusal(500, Retry_After="40") if seen.nth == 1 else FINE)
    for answer in wire.asks(0, 1, 2):
        answered(answer)
    assert [round(seen.at - wire.seen[0].at) for seen in wire.seen[:3]] == [0, 1, 2]


def test_a_long_pause_is_announced() -> None:
    _, wire = one([FINE])
    assert wire.lines == []
    wire = Wire([FINE, refusal(429, "slow down", Retry_After="3600"), FINE])
    wire.asks(0, 1)
    assert len(wire.lines) == 1
    assert "429" in wire.lines[0]
    assert "3600" in wire.lines[0]


# Later refusals


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_later_401_402_403_or_404_stops_the_run(status: int) -> None:
    wire = Wire(lambda seen: refusal(status, "no") if seen.nth == 2 else FINE)
    answers = wire.asks(0, 1, 2, 3, 4)
    assert answers[2:] == ["Stopped"] * 3
    assert len(wire.seen) == 3
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert not wire.endpoint.halt.lets_games_finish
    assert str(status) in wire.why
    assert one_plain_sentence(wire.why)


CONTEXT_LENGTH = (
    "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens.",
    "the request exceeds the available context size, try increasing it",
    "prompt is too long: 213462 tokens > 200000 maximum",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Input is longer than the context window of this model",
)


@pytest.mark.parametrize("message", CONTEXT_LENGTH)
def test_a_later_400_that_names_the_context_length_ends_only_its_game(message: str) -> None:
    wire = Wire(lambda seen: refusal(400, message) if seen.nth == 1 else FINE)
    answers = wire.asks(0, 1, 2)
    assert answers[1] == "PromptTooLong"
    answered(answers[2])
    assert len(wire.seen) == wire.endpoint.usage.requests == 3
    assert wire.endpoint.halt is None


def test_a_later_422_that_names_the_context_length_is_like_any_other() -> None:
    wire = Wire(lambda seen: refusal(422, CONTEXT_LENGTH[0]) if seen.nth == 1 else FINE)
    assert wire.asks(0, 1)[1] == "Stopped"
    assert wire.endpoint.halt is not None
    assert (wire.endpoint.halt.exit_status, wire.endpoint.halt.lets_games_finish) == (1, True)


def test_a_400_may_name_the_context_length_in_its_code() -> None:
    error = {
        "message": "Input tokens exceed the configured limit of 272000 tokens. Please reduce the length.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    wire = Wire(lambda seen: Sent(400, {"error": error}) if seen.nth == 1 else FINE)
    assert wire.asks(0, 1)[1] == "PromptTooLong"
    assert wire.endpoint.halt is None


def test_a_game_too_long_for_the_context_is_kept_and_the_others_go_on(tmp_path: Any) -> None:
    play = winner(PLAIN)
    too_long = refusal(400, CONTEXT_LENGTH[0])
    wire = Wire(lambda seen: too_long if seen.request_id == "game-1" and seen.turn == 2 else play(seen))
    rows, tally = played(wire, tmp_path, jobs(4))
    assert reasons(rows) == {f"game-{n}": "all_categories_found" for n in (0, 2, 3)} | {"game-1": "prompt_too_long"}
    assert tally.games == 4
    assert wire.endpoint.halt is None


@pytest.mark.parametrize("status", [400, 422])
def test_after_another_400_or_422_running_games_finish_and_no_new_ones_start(tmp_path: Any, status: int) -> None:
    play = winner(PLAIN)

    def script(seen: Seen) -> Step:
        if seen.request_id == "game-1" and seen.turn == 1:
            return refusal(status, "unsupported value")
        return Sent(body=play(seen), after=10)

    wire = Wire(script, max_concurrent=3)
    rows, _ = played(wire, tmp_path, jobs(9))
    assert reasons(rows) == {
        "game-0": "all_categories_found",
        "game-1": "interrupted",
        "game-2": "all_categories_found",
    }
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert str(status) in wire.why
    assert "unsupported value" in wire.why


def test_after_a_401_half_played_games_are_saved_and_nothing_more_is_asked(tmp_path: Any) -> None:
    play = winner(PLAIN)

    def script(seen: Seen) -> Step:
        if seen.request_id == "game-2" and seen.turn == 1:
            return refusal(401, "revoked")
        return Sent(body=play(seen), after=10)

    wire = Wire(script, max_concurrent=4)
    rows, _ = played(wire, tmp_path, jobs(9))
    # The first game is a reply ahead of the others; its last was in flight when another was refused.
    assert reasons(rows) == {"game-0": "all_categories_found"} | {f"game-{n}": "interrupted" for n in (1, 2, 3)}
    refused_at = next(seen.at for seen in wire.seen if seen.request_id == "game-2" and seen.turn == 1)
    assert all(seen.at <= refused_at for seen in wire.seen)


# What answers hold


def reply_to(body: Any, **settings: Any) -> Answer:
    return answered(one([body], **settings)[0])


def test_null_content_is_an_empty_reply() -> None:
    assert reply_to(completion(None)).reply.content == ""


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "<guess>"}, {"type": "text", "text": "[A]"}, {"type": "image"}, "x", None]
    assert reply_to(completion([*parts, {"type": "text", "text": "</guess>"}])).reply.content == "<guess>[A]</guess>"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_from_either_field(name: str) -> None:
    answer = reply_to(completion("<guess>[A]</guess>", thought=None, **{name: "First, …"}))
    assert (answer.reply.content, answer.reply.reasoning) == ("<guess>[A]</guess>", "First, …")


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": None, "reasoning": "First."},
        {"reasoning_content": "", "reasoning": "First."},
        {"reasoning_content": "First.", "reasoning": None},
        {"reasoning_content": "First.", "reasoning": "First."},
    ],
)
def test_the_reasoning_field_that_holds_something_counts(fields: dict[str, Any]) -> None:
    assert reply_to(completion("x", thought=None, **fields)).reply.reasoning == "First."


@pytest.mark.parametrize("odd", [7, {"a": 1}, [], True])
def test_content_and_reasoning_of_odd_types_are_harmless(odd: Any) -> None:
    assert reply_to(completion(odd, thought=odd)).reply.content == ""


def test_the_finish_reason_is_kept() -> None:
    assert reply_to(completion("x", finish="length")).reply.finish_reason == "length"
    assert reply_to(completion("x", finish=None)).reply.finish_reason is None  # type: ignore[arg-type]


def test_blank_keep_alive_lines_before_a_body_are_harmless() -> None:
    raw = b"\n\n\r\n   \n" + Sent(body=FINE).raw
    assert reply_to(Sent(body=raw)).reply.content == "<guess>[A]</guess>"


def test_lone_surrogates_are_harmless(tmp_path: Any) -> None:
    raw = Sent(body=completion("CUT \ud83d <guess>[`\udc00`]</guess>", thought="half \ud83d")).raw
    wire = Wire(lambda seen: Sent(body=raw))
    rows, _ = played(wire, tmp_path, jobs(1), max_turns=2)
    assert "CUT ? <guess>" in rows[0].completion[0].content
    assert rows[0].completion[0].reasoning_content == "half ?"


def test_a_lone_surrogate_in_the_finish_reason_is_harmless(tmp_path: Any) -> None:
    rows, _ = played(Wire([completion("x", finish="\ud83d")]), tmp_path, jobs(1), max_turns=2)
    assert rows[0].complete_reason == "max_turns_reached"


def test_usage_is_read() -> None:
    details = {
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    usage = reply_to(completion("x", usage={"prompt_tokens": 100, "completion_tokens": 40, **details})).usage
    assert usage.model_dump() == {"input": 100, "output": 40, "cached": 60, "reasoning": 30, "requests": 1}


def test_the_cached_tokens_of_deepseek_are_read() -> None:
    deepseek = {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}
    usage = reply_to(completion("x", usage={"prompt_tokens": 100, "completion_tokens": 40, **deepseek})).usage
    assert (usage.input, usage.cached) == (100, 64)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        "many",
        [1],
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": 12},
        {"prompt_tokens": "12", "completion_tokens": "5"},
        {"prompt_tokens": 12.5, "completion_tokens": 5.5},
    ],
)
def test_usage_that_is_missing_is_estimated(usage: Any) -> None:
    got = reply_to(completion("y" * 4000, thought="z" * 4000, usage=usage)).usage
    asked = sum(len(message["content"]) for message in OPENING)
    assert asked / 8 < got.input < asked
    assert 1000 < got.output < 8000
    assert (got.requests, got.estimated) == (1, 1)


@pytest.mark.parametrize(
    "details",
    [
        {"prompt_tokens_details": None, "completion_tokens_details": None},
        {"prompt_tokens_details": [], "completion_tokens_details": "many"},
        {"prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": {"reasoning_tokens": None}},
        {"prompt_tokens_details": {"cached_tokens": "many"}},
        {"prompt_tokens_details": ["x"]},
    ],
)
def test_odd_usage_details_do_not_cost_a_paid_answer(details: dict[str, Any]) -> None:
    answer, wire = one([completion("x", usage={"prompt_tokens": 100, "completion_tokens": 40, **details})])
    usage = answered(answer).usage
    assert (usage.input, usage.output) == (100, 40)
    assert len(wire.seen) == 1


def test_the_reply_carries_the_endpoints_count_of_its_tokens() -> None:
    assert reply_to(completion("x", usage=(100, 77))).reply.tokens == 77


# What requests hold


def test_a_body_holds_exactly_model_messages_and_the_sampling() -> None:
    _, wire = one([FINE])
    assert wire.seen[0].body == {"model": "m", "messages": OPENING}
    sampling = {"temperature": 0.5, "thinking": {"type": "enabled"}, "seed": 3, "stop": None, "x": ["é", 1.0]}
    _, wire = one([FINE], sampling=sampling)
    assert wire.seen[0].body == {"model": "m", "messages": OPENING, **sampling}
    assert wire.seen[0].path == "/v1/chat/completions"


def test_the_rollout_id_goes_along_as_a_header_of_every_attempt() -> None:
    _, wire = one([refusal(500), FINE])
    assert [seen.headers["x-client-request-id"] for seen in wire.seen] == ["0", "0"]


def test_the_key_goes_along_as_bearer() -> None:
    _, wire = one([FINE])
    assert wire.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in wire.seen[0].raw


def test_reasoning_is_never_sent_back(tmp_path: Any) -> None:
    wire = Wire(winner(PLAIN, thought="SECRET THOUGHTS"))
    rows, _ = played(wire, tmp_path, jobs(1))
    assert rows[0].completion[0].reasoning_content == "SECRET THOUGHTS"
    assert len(wire.seen) == 3
    for seen in wire.seen:
        assert b"SECRET" not in seen.raw
        assert all(set(message) == {"role", "content"} for message in seen.messages)


def test_no_more_requests_are_in_flight_than_allowed(tmp_path: Any) -> None:
    play = winner(*BOARDS)
    wire = Wire(lambda seen: Sent(body=play(seen), after=1 + seen.nth % 7), max_concurrent=5)
    played(wire, tmp_path, [job for board in BOARDS for job in jobs(3, board)])
    assert wire.transport.most_in_flight == 5


# Budgets


@pytest.mark.parametrize("width", [1, 4, 16])
def test_a_token_budget_is_overshot_by_at_most_what_is_in_flight(tmp_path: Any, width: int) -> None:
    play = winner(PLAIN, usage=(900, 100))
    wire = Wire(lambda seen: Sent(body=play(seen), after=1 + seen.nth % 3), max_concurrent=width, token_budget=30_500)
    played(wire, tmp_path, jobs(60))
    spent = wire.endpoint.usage.input + wire.endpoint.usage.output
    assert 30_500 <= spent <= 30_500 + width * 1000
    assert wire.endpoint.halt is not None
    assert "token budget" in wire.why


@pytest.mark.parametrize("width", [1, 4, 16])
def test_a_cost_budget_is_overshot_by_at_most_what_is_in_flight(tmp_path: Any, width: int) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_cache_hit_tokens": 400}
    cost = (600 * 2.0 + 400 * 0.5 + 100 * 8.0) / 1e6
    play = winner(PLAIN, usage=usage)
    settings = {"prices": Prices(2.0, 0.5, 8.0), "max_cost": 30.5 * cost, "max_concurrent": width}
    wire = Wire(lambda seen: Sent(body=play(seen), after=1 + seen.nth % 3), **settings)
    played(wire, tmp_path, jobs(60))
    assert 31 <= len(wire.seen) <= 30 + width
    assert wire.endpoint.cost == pytest.approx(len(wire.seen) * cost)
    assert wire.endpoint.halt is not None


def test_a_budget_holds_where_the_endpoint_reports_no_usage(tmp_path: Any) -> None:
    wire = Wire(winner(PLAIN, usage=None), max_concurrent=2, token_budget=3000)
    played(wire, tmp_path, jobs(200))
    assert wire.endpoint.halt is not None
    assert len(wire.seen) < 100


def test_a_used_up_budget_saves_the_half_played_games(tmp_path: Any) -> None:
    play = winner(PLAIN, usage=(900, 100))
    wire = Wire(lambda seen: Sent(body=play(seen), after=10), max_concurrent=4, token_budget=2000)
    rows, _ = played(wire, tmp_path, jobs(8))
    assert set(reasons(rows).values()) == {"interrupted"}
    assert sum(row.usage.requests for row in rows) == len(wire.seen)


def test_retries_do_not_outlive_a_used_up_budget() -> None:
    wire = Wire(lambda seen: refusal(500) if seen.request_id == "1" else FINE, token_budget=300)
    answers = wire.asks(0, 0, 0.01, 0.02)
    assert answers[1] == "Stopped"
    assert len(wire.seen) <= 5


def test_a_run_that_an_error_ends_stays_failed_when_its_budget_is_used_up_too(tmp_path: Any) -> None:
    play = winner(PLAIN, usage=(900, 100))

    def script(seen: Seen) -> Step:
        return refusal(422, "unsupported") if seen.request_id == "game-1" else Sent(body=play(seen), after=10)

    wire = Wire(script, max_concurrent=3, token_budget=2500)
    played(wire, tmp_path, jobs(9))
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert "unsupported" in wire.why


# Outages


def test_an_outage_stops_the_run_and_says_how_to_go_on(tmp_path: Any) -> None:
    play = winner(PLAIN)

    def script(seen: Seen) -> Step:
        return refusal(503, "maintenance") if seen.nth > 10 else Sent(body=play(seen), after=1)

    wire = Wire(script, max_concurrent=4)
    rows, _ = played(wire, tmp_path, jobs(50))
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert one_plain_sentence(wire.why)
    assert "again" in wire.why
    assert "maintenance" in wire.why
    assert sum(row.usage.requests for row in rows) >= 11
    assert {"interrupted"} <= set(reasons(rows).values()) <= {"interrupted", "all_categories_found"}
    assert 300 <= wire.seen[-1].at - wire.seen[11].at <= 310
    assert len(wire.seen) <= 11 + 4 * 30


def test_an_endpoint_that_was_never_reached_stops_the_run() -> None:
    answer, wire = one([httpx2.ConnectError("[Errno -2] Name or service not known")])
    assert answer == "Stopped"
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert "Name or service not known" in wire.why
    assert "models.invalid" in wire.why


def test_one_request_that_always_fails_does_not_stop_the_others(tmp_path: Any) -> None:
    play = winner(PLAIN)

    def script(seen: Seen) -> Step:
        return refusal(500) if (seen.request_id, seen.turn) == ("game-1", 1) else Sent(body=play(seen), after=2)

    wire = Wire(script, max_concurrent=3)
    rows, tally = played(wire, tmp_path, jobs(30))
    assert wire.endpoint.halt is None
    assert tally.won == 29
    assert reasons(rows)["game-1"] == "interrupted"


# What the user reads holds no secret and moves no cursor

NASTY = f"key {KEY} is \x1b[31mbad\x1b[0m\x07\r\nsee\u2028below \u009b1A\x00 \x7f done"


@pytest.mark.parametrize(
    "step",
    [
        refusal(401, NASTY),
        refusal(400, NASTY),
        refusal(500, NASTY),
        refusal(429, NASTY),
        Sent(403, NASTY.encode()),
        Sent(502, NASTY.encode(), {"Content-Type": "text/html"}),
        Sent(401, {"error": NASTY}),
        Sent(401, {"detail": [{"msg": NASTY}]}),
        Sent(401, {"error": {"message": "x" * 285 + KEY}}),
        httpx2.ConnectError(NASTY),
        httpx2.ReadError(NASTY),
    ],
)
@pytest.mark.parametrize("later", [False, True], ids=["at first", "later"])
def test_no_message_holds_the_key_or_control_characters(step: Step, later: bool) -> None:
    wire = Wire([FINE, step] if later else [step], max_retries=2)
    wire.asks(0, 1)
    wire.endpoint.settle()
    assert wire.endpoint.halt is not None
    assert KEY not in wire.said
    assert KEY[:12] not in wire.said
    assert all(one_plain_sentence(line) for line in [*wire.lines, wire.why])


def test_settings_do_not_show_the_key() -> None:
    wire = Wire([FINE])
    assert KEY not in repr(wire.endpoint.settings)


@pytest.mark.parametrize(
    "step", [refusal(401, "no"), refusal(500, "no"), httpx2.ConnectError("refused"), Sent(body=b"")]
)
def test_user_and_password_in_the_url_are_not_shown(step: Step) -> None:
    url = "https://user:hunter2@models.invalid:8443/v1?token=hunter3"
    answer, wire = one([step], base_url=url, max_retries=1)
    assert answer == "Stopped"
    assert "hunter" not in wire.said
    assert "models.invalid:8443" in wire.why


def test_user_and_password_are_not_shown_when_nobody_listens() -> None:
    with Server([FINE]) as server:
        port = server.port
    lines: list[str] = []
    settings = EndpointSettings("m", f"http://user:hunter2@127.0.0.1:{port}/v1", KEY, max_retries=0)

    async def ask() -> str:
        async with Endpoint(settings, notify=lines.append) as endpoint:
            with pytest.raises(Stopped):
                await endpoint.ask(OPENING, "r")
            assert endpoint.halt is not None
            return endpoint.halt.why

    why = asyncio.run(ask())
    assert "hunter2" not in "\n".join([why, *lines])
    assert f"127.0.0.1:{port}" in why
    assert one_plain_sentence(why)


def test_user_and_password_in_the_url_go_as_basic_authentication_and_its_query_stays_behind_the_path() -> None:
    with Server([FINE]) as server:
        url = f"http://us%40er:hunter2@127.0.0.1:{server.port}/v1/?api-version=3"
        wanted = EndpointSettings("m", url, KEY)

        async def ask() -> Answer:
            async with Endpoint(wanted) as endpoint:
                return await endpoint.ask(OPENING, "r")

        assert asyncio.run(ask()).reply.content == "<guess>[A]</guess>"
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions?api-version=3"
    assert seen.headers["authorization"] == "Basic " + base64.b64encode(b"us@er:hunter2").decode()


@pytest.mark.parametrize("said", ["hunter2", "user:hunter2", base64.b64encode(b"user:hunter2").decode(), "hunt/er3"])
@pytest.mark.parametrize("form", [str, urllib.parse.quote_plus, json.dumps])
def test_what_the_url_proves_is_masked_when_it_is_echoed(said: str, form: Any) -> None:
    url = "https://user:hunter2@models.invalid/v1?token=hunt%2Fer3"
    answer, wire = one([refusal(401, f"not you: {form(said)}")], base_url=url)
    assert answer == "Stopped"
    assert "hunt" not in wire.said
    assert "***" in wire.said


# Models that hide their reasoning


def hidden(*puzzles: Any) -> Callable[[Seen], dict[str, Any]]:
    return winner(*puzzles, thought=None)


def test_twenty_first_replies_without_reasoning_stop_the_run(tmp_path: Any) -> None:
    wire = Wire(hidden(PLAIN), max_concurrent=1)
    rows, _ = played(wire, tmp_path, jobs(30))
    assert len(wire.seen) == 20
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert "--allow-empty-reasoning" in wire.why
    assert sum(row.usage.requests for row in rows) == 20


def test_requests_in_flight_when_the_reasoning_is_missed_are_kept(tmp_path: Any) -> None:
    play = hidden(PLAIN)
    wire = Wire(lambda seen: Sent(body=play(seen), after=1 + seen.nth % 5), max_concurrent=16)
    rows, _ = played(wire, tmp_path, jobs(60))
    assert wire.endpoint.halt is not None
    assert 20 <= len(wire.seen) <= 20 + 15
    assert sum(row.usage.requests for row in rows) == len(wire.seen)


def test_allow_empty_reasoning_goes_on(tmp_path: Any) -> None:
    wire = Wire(hidden(PLAIN))
    _, tally = played(wire, tmp_path, jobs(30), allow_empty_reasoning=True)
    assert wire.endpoint.halt is None
    assert (tally.games, tally.won, tally.good) == (30, 30, 0)


@pytest.mark.parametrize("nth", [0, 19])
def test_one_reply_with_reasoning_among_the_first_twenty_is_enough(tmp_path: Any, nth: int) -> None:
    with_it, without = winner(PLAIN), hidden(PLAIN)
    wire = Wire(lambda seen: with_it(seen) if seen.nth == nth else without(seen), max_concurrent=1)
    _, tally = played(wire, tmp_path, jobs(12))
    assert wire.endpoint.halt is None
    assert tally.games == 12


def test_reasoning_before_the_guess_counts(tmp_path: Any) -> None:
    def script(seen: Seen) -> Step:
        body = hidden(PLAIN)(seen)
        body["choices"][0]["message"]["content"] = "Tools first. " + body["choices"][0]["message"]["content"]
        return body

    wire = Wire(script)
    _, tally = played(wire, tmp_path, jobs(12))
    assert wire.endpoint.halt is None
    assert tally.good == 12


# Interrupts


def signalling(*moments: tuple[float, signal.Signals]) -> Callable[[Seen], Step]:
    """A script that wins, takes 100 s a reply, and sends signals so many seconds after the first game's second turn."""
    play, sent = winner(PLAIN), []

    def script(seen: Seen) -> Step:
        if seen.turn == 1 and not sent:
            for delay, number in moments:
                sent.append(asyncio.get_running_loop().call_later(delay, os.kill, os.getpid(), number))
        return Sent(body=play(seen), after=100)

    return script


@pytest.mark.parametrize(("number", "at"), [(signal.SIGINT, 10), (signal.SIGTERM, 97)])
def test_a_signal_lets_replies_in_flight_come_back_and_saves_half_played_games(
    tmp_path: Any, number: signal.Signals, at: float, capsys: pytest.CaptureFixture[str]
) -> None:
    wire = Wire(signalling((at, number)), max_concurrent=3)
    rows, tally = played(wire, tmp_path, jobs(9))
    assert reasons(rows) == {f"game-{n}": "interrupted" for n in range(3)}
    assert sum(row.usage.requests for row in rows) == len(wire.seen)
    assert sorted(len(row.guess_history) for row in rows) == [1, 1, 2]
    assert tally.unfinished == 3
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_sigterm_alone_saves_half_played_games_within_seconds(tmp_path: Any) -> None:
    wire = Wire(signalling((10, signal.SIGTERM)), max_concurrent=3)
    rows, _ = played(wire, tmp_path, jobs(9))
    assert reasons(rows) == {"game-0": "interrupted"}  # the others had no reply yet
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 130


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_a_second_signal_gives_up_the_requests_in_flight(tmp_path: Any, numbers: Any) -> None:
    wire = Wire(signalling((10, numbers[0]), (12, numbers[1])), max_concurrent=3)
    ended = []

    async def play() -> None:
        results = ResultsFile(lambda: claim_results_file(tmp_path))
        with interrupts(wire.endpoint):
            async with wire.endpoint:
                await play_all(jobs(9), wire.endpoint, results, total=9)
        ended.append(asyncio.get_running_loop().time())

    run(play())
    second_turn = next(seen.at for seen in wire.seen if seen.turn == 1)
    assert ended[0] - second_turn < 50
    rows = [read_row(line) for path in results_files(tmp_path) for line in path.read_bytes().splitlines()]
    assert all(isinstance(row, Rollout) and row.complete_reason == "interrupted" for row in rows)
    assert sum(row.usage.requests for row in rows) == sum(seen.at + 100 <= ended[0] for seen in wire.seen)
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 130


def test_a_signal_during_a_long_pause_ends_it(tmp_path: Any) -> None:
    ended = []

    def script(seen: Seen) -> Step:
        asyncio.get_running_loop().call_later(10, os.kill, os.getpid(), signal.SIGINT)
        return refusal(429, Retry_After="80000")

    wire = Wire(script)

    async def play() -> None:
        results = ResultsFile(lambda: claim_results_file(tmp_path))
        with interrupts(wire.endpoint):
            async with wire.endpoint:
                await play_all(jobs(3), wire.endpoint, results, total=3)
        ended.append(asyncio.get_running_loop().time())

    run(play())
    assert ended[0] - wire.seen[0].at < 60
    assert len(wire.seen) == 1
    assert list(tmp_path.iterdir()) == []


def test_two_signals_stop_a_run_at_once_that_was_already_ending(tmp_path: Any) -> None:
    play, sent, ended = winner(PLAIN, usage=(900, 100)), [], []

    def script(seen: Seen) -> Step:
        if seen.nth == 2 and not sent:
            for delay in (20, 30):  # the budget is used up at 10
                sent.append(asyncio.get_running_loop().call_later(delay, os.kill, os.getpid(), signal.SIGINT))
        return Sent(body=play(seen), after=10 if seen.nth < 2 else 500)

    wire = Wire(script, max_concurrent=4, token_budget=2000)

    async def go() -> None:
        results = ResultsFile(lambda: claim_results_file(tmp_path))
        with interrupts(wire.endpoint):
            async with wire.endpoint:
                await play_all(jobs(9), wire.endpoint, results, total=9)
        ended.append(asyncio.get_running_loop().time())

    run(go())
    assert wire.endpoint.halt is not None
    assert (wire.endpoint.halt.why, wire.endpoint.halt.exit_status) == ("interrupted", 130)
    assert ended[0] - wire.seen[2].at < 100


# Over real sockets


def test_more_than_a_hundred_requests_can_be_in_flight() -> None:
    width = 300
    with Server(lambda seen: Sent(body=FINE, after=0 if seen.nth == 0 else 1.0)) as server:
        settings = EndpointSettings("m", server.url, "", max_concurrent=width, max_retries=0)

        async def ask() -> None:
            async with Endpoint(settings) as endpoint:
                await asyncio.gather(*(endpoint.ask(OPENING, str(n)) for n in range(width + 1)))

        asyncio.run(ask())
        assert server.most_in_flight > 100


def test_faults_over_a_socket_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connections_env.patience.FIRST_BACKOFF", 0.001)
    faults: list[Step] = [
        ConnectionError(),
        Sent(body=FINE, cut=30),
        Sent(body=b"<html>", headers={"Content-Type": "text/html"}),
        Sent(body=FINE, after=1),
        refusal(503, Retry_After="0"),
    ]
    with Server([FINE, *faults, Sent(body=b"\n\n\n" + Sent(body=FINE).raw)]) as server:
        settings = EndpointSettings("m", server.url, KEY, max_retries=len(faults), timeout=0.5)

        async def ask() -> Answer:
            async with Endpoint(settings) as endpoint:
                await endpoint.ask(OPENING, "a")
                return await endpoint.ask(OPENING, "b")

        answer = asyncio.run(ask())
    assert answer.reply.content == "<guess>[A]</guess>"
    assert answer.usage.requests == 1 + len(faults)
    assert [seen.request_id for seen in server.seen] == ["a"] + ["b"] * (1 + len(faults))


def test_the_helper_plays_whole_games(tmp_path: Any) -> None:
    wire = Wire(winner(*BOARDS))
    rows, tally = played(wire, tmp_path, [Job(board.puzzle_id, board, NYT) for board in BOARDS])
    assert tally.good == tally.won == len(BOARDS)
    assert all(row.reward == pytest.approx(5.5) for row in rows)
    assert guess(("A", "B")) == "<guess>[`A`, `B`]</guess>"
