"""What a run makes of outages, waits asked for, refusals and unusable answers, on a clock that jumps."""

import json
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connections_env.durable import ResultsFile
from connections_env.endpoint import Prices
from connections_env.files import claim_results_file, results_files
from connections_env.play import Answer, Job
from connections_env.pool import Tally, interrupts, play_all
from connections_env.records import Rollout, read_row
from connections_env.rulesets import NYT
from tests import wire
from tests.boards import PLAIN
from tests.scripted import (
    Seen,
    Sent,
    Step,
    completion,
    jump,
    refusal,
    run,
    winner,
)

ROOT = Path(__file__).parents[1]
FINE = completion("<guess>[A]</guess>")
PLAY = winner(PLAIN)
PER_GAME = 3  # requests of a game of PLAIN that is won without a mistake
NOT_REPEATED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# An endpoint on a clock that jumps


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    jump(monkeypatch)


class Wire(wire.Wire):
    """One that also plays games."""

    def plays(self, count: int) -> tuple[list[Rollout], Tally]:
        """A pool of so many games of one puzzle, to its end; gives the rows on disk afterwards."""
        games = [Job(f"game-{n}", PLAIN, NYT, example_id=n) for n in range(count)]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)

            async def play() -> Tally:
                results = ResultsFile(lambda: claim_results_file(folder))
                with interrupts(self.endpoint):
                    async with self.endpoint:
                        return await play_all(games, self.endpoint, results, total=count)

            tally = run(play())
            rows = [read_row(line) for path in results_files(folder) for line in path.read_bytes().splitlines()]
        assert all(isinstance(row, Rollout) for row in rows)
        return rows, tally  # type: ignore[return-value]


def plain(text: str) -> bool:
    """One line that moves no cursor."""
    return bool(text) and not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in text)


def ends(rows: list[Rollout]) -> Counter[str]:
    return Counter(row.complete_reason for row in rows)


# Outages


OUTAGES: dict[str, Step] = {
    "503": refusal(503, "maintenance"),
    "500": refusal(500),
    "a refused connection": httpx2.ConnectError("refused"),
    "a reset connection": httpx2.ReadError("reset by peer"),
    "a proxy's page": Sent(200, b"<html>back soon</html>"),
    "429": refusal(429, "slow down"),
    "slow 503": refusal(503, "maintenance", after=7.0),
    "503 with Retry-After": refusal(503, "maintenance", Retry_After="4"),
    "429 with Retry-After": refusal(429, "slow down", Retry_After="4"),
}


@NOT_REPEATED
@given(
    length=st.floats(1, 270),
    begins=st.integers(1, 60),
    width=st.integers(2, 12),
    kind=st.sampled_from(sorted(OUTAGES)),
    retries=st.integers(2, 6),
)
def test_an_outage_below_the_limit_costs_no_game_and_the_run_goes_on_within_20_seconds(
    clock: None, length: float, begins: int, width: int, kind: str, retries: int
) -> None:
    span: list[float] = []
    back: list[float] = []

    def script(seen: Seen) -> Step:
        if seen.nth == begins:
            span[:] = [seen.at, seen.at + length]
        if span and span[0] <= seen.at < span[1]:
            return OUTAGES[kind]
        if span:
            back.append(seen.at)
        return Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=width, max_retries=retries)
    rows, tally = wire.plays(40)
    assert wire.endpoint.halt is None
    assert ends(rows) == {"all_categories_found": 40}
    assert tally.won == 40
    assert back[0] <= span[1] + 25
    assert sum(row.usage.requests for row in rows) == len(wire.seen)


@pytest.mark.parametrize("kind", sorted(OUTAGES))
def test_a_short_outage_at_the_start_costs_no_game(clock: None, kind: str) -> None:
    wire = Wire(lambda seen: OUTAGES[kind] if seen.at < 1008 else Sent(body=PLAY(seen), after=1), max_concurrent=4)
    rows, _ = wire.plays(12)
    assert wire.endpoint.halt is None
    assert ends(rows) == {"all_categories_found": 12}


@pytest.mark.parametrize("status", [503, 429])
def test_requests_told_to_wait_one_after_another_do_not_put_the_end_off_for_ever(clock: None, status: int) -> None:
    def script(seen: Seen) -> Step:
        if seen.nth >= 20:
            return refusal(status, "later", after=0.3 * (seen.nth % 7), Retry_After="10")
        return Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=4, give_up_after=300)
    rows, _ = wire.plays(40)
    assert wire.endpoint.halt is not None
    assert 290 <= wire.seen[-1].at - wire.seen[20].at <= 340
    assert sum(len(row.replies) for row in rows) == 20


def test_two_outages_that_together_exceed_the_limit_cost_no_game(clock: None) -> None:
    down = ((1005, 1205), (1225, 1425), (1445, 1645))

    def script(seen: Seen) -> Step:
        if any(start <= seen.at < end for start, end in down):
            return refusal(503)
        return Sent(body=PLAY(seen), after=2)

    wire = Wire(script, max_concurrent=4)
    rows, _ = wire.plays(60)
    assert wire.endpoint.halt is None
    assert ends(rows) == {"all_categories_found": 60}


@pytest.mark.parametrize("kind", sorted(OUTAGES))
@pytest.mark.parametrize(("limit", "width"), [(20.0, 1), (60.0, 4), (300.0, 16), (1800.0, 4)])
def test_an_outage_over_the_limit_stops_the_run_saves_all_and_says_how_to_go_on(
    clock: None, kind: str, limit: float, width: int
) -> None:
    def script(seen: Seen) -> Step:
        return OUTAGES[kind] if seen.nth >= 20 else Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=width, give_up_after=limit, max_retries=10**6)
    rows, _ = wire.plays(40)
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert not wire.endpoint.halt.lets_games_finish
    assert plain(wire.why)
    assert "https://models.invalid/v1" in wire.why
    assert "run the same command again to go on" in wire.why
    assert {"503": "maintenance", "429": "slow down", "a reset connection": "reset by peer"}.get(kind, "") in wire.why
    assert sum(len(row.replies) for row in rows) == 20
    assert set(ends(rows)) <= {"all_categories_found", "interrupted"}
    assert limit <= wire.seen[-1].at - wire.seen[19].at <= limit + 30


def test_below_three_failures_no_time_is_too_long(clock: None) -> None:
    wire = Wire([FINE, refusal(503, after=500), refusal(503, after=500), FINE], give_up_after=1, timeout=9999)
    assert isinstance(wire.asks(0, 1)[1], Answer)
    assert wire.endpoint.halt is None


def test_three_failures_within_the_limit_stop_nothing(clock: None) -> None:
    wire = Wire([FINE, *[refusal(503)] * 4, FINE], give_up_after=300)
    assert isinstance(wire.asks(0, 1)[1], Answer)
    assert wire.endpoint.halt is None


@pytest.mark.parametrize("retries", [0, 1, 3, 6])
@pytest.mark.parametrize("turn", [0, 1, 2])
def test_a_request_that_fails_while_others_are_answered_is_given_up_after_its_retries(
    clock: None, retries: int, turn: int
) -> None:
    def script(seen: Seen) -> Step:
        if (seen.request_id, seen.turn) == ("game-2", turn):
            return refusal(500, "cannot")
        return Sent(body=PLAY(seen), after=0.1)

    wire = Wire(script, max_concurrent=4, max_retries=retries)
    rows, tally = wire.plays(600)
    assert wire.endpoint.halt is None
    assert tally.won == 599
    assert sum((seen.request_id, seen.turn) == ("game-2", turn) for seen in wire.seen) == retries + 1
    lost_one = [(row.complete_reason, len(row.replies)) for row in rows if row.rollout_id == "game-2"]
    assert lost_one == ([("interrupted", turn)] if turn else [])


@pytest.mark.parametrize("retries", [0, 2])
def test_429_never_counts_against_the_retries(clock: None, retries: int) -> None:
    def script(seen: Seen) -> Step:
        nth = sum((other.request_id, other.turn) == (seen.request_id, seen.turn) for other in wire.seen)
        if seen.request_id == "game-2" and seen.turn == 1 and nth <= 15:
            return refusal(429, "slow down", Retry_After="1")
        return Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=4, max_retries=retries)
    rows, _ = wire.plays(40)
    assert wire.endpoint.halt is None
    assert ends(rows) == {"all_categories_found": 40}


# Retry-After


def _in(seconds: float, form: str) -> str:
    if form == "seconds":
        return str(int(seconds))
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("seconds", [50, 400, 7200, 86_400])
def test_retry_after_beyond_the_limit_is_obeyed_and_the_run_goes_on(
    clock: None, form: str, status: int, seconds: int
) -> None:
    def script(seen: Seen) -> Step:
        if 1010 <= seen.at < 1005 + seconds:
            return refusal(status, "later", Retry_After=_in(1012 + seconds - seen.at, form))
        return Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=4, give_up_after=300)
    rows, _ = wire.plays(40)
    assert wire.endpoint.halt is None
    assert ends(rows) == {"all_categories_found": 40}
    asked = [seen.at for seen in wire.seen]
    assert sum(1020 < at < 1005 + seconds for at in asked) == 0
    assert any(at <= 1012 + seconds + 25 for at in asked if at > 1005 + seconds)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_an_endpoint_that_still_fails_after_the_wait_it_asked_for_stops_the_run(
    clock: None, form: str, status: int
) -> None:
    failed: list[float] = []

    def script(seen: Seen) -> Step:
        if seen.at >= 1005:
            failed.append(seen.at)
            return refusal(status, "later", after=1, Retry_After=_in(1000, form))
        return Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=4, give_up_after=300)
    rows, _ = wire.plays(40)
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert "run the same command again to go on" in wire.why
    assert 990 <= failed[-1] - failed[0] <= 1060
    assert sum(len(row.replies) for row in rows) == len(wire.seen) - len(failed)


def test_a_game_too_long_for_the_context_is_a_sign_of_life(clock: None) -> None:
    def script(seen: Seen) -> Step:
        if seen.request_id == "0":
            return FINE
        if seen.request_id == "1":
            return refusal(503) if seen.at < 1500 else FINE
        return refusal(400, "maximum context length is 8192 tokens")

    wire = Wire(script, give_up_after=100, max_retries=10**6)
    first, second, *others = wire.asks(0, 1, *range(50, 550, 50))
    assert wire.endpoint.halt is None
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert others == ["PromptTooLong"] * 10


# Refusals later in a run


@pytest.mark.parametrize("status", [401, 402, 403, 404])
@pytest.mark.parametrize("width", [1, 8])
def test_a_permanent_error_later_says_after_how_many_answers_and_little_is_asked_after_it(
    clock: None, status: int, width: int
) -> None:
    answered = 0

    def script(seen: Seen) -> Step:
        nonlocal answered
        if answered >= 37:
            return refusal(status, "no more", after=0.5)
        answered += 1
        return Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=width)
    rows, _ = wire.plays(100)
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 1
    assert plain(wire.why)
    said = re.search(r"refused a request after (\d+) answers", wire.why)
    assert said, wire.why
    assert 37 - width < int(said[1]) <= 37
    assert len(wire.seen) <= 37 + width
    assert sum(len(row.replies) for row in rows) == 37


def test_after_one_answer_it_is_one_answer(clock: None) -> None:
    wire = Wire([FINE, refusal(402, "no balance")])
    wire.asks(0, 5)
    assert "after 1 answer" in wire.why
    assert "1 answers" not in wire.why


# Width


def widths(script: Callable[[Seen], Step], width: int, games: int = 80) -> tuple[Wire, list[tuple[float, int]]]:
    """The requests in flight whenever one more was sent."""
    seen_in_flight: list[tuple[float, int]] = []

    def noting(seen: Seen) -> Step:
        seen_in_flight.append((seen.at, wire.transport.in_flight))
        return script(seen)

    wire = Wire(noting, max_concurrent=width)
    wire.plays(games)
    return wire, seen_in_flight


@pytest.mark.parametrize("status", [500, 503, 529])
def test_5xx_never_narrows_the_width(clock: None, status: int) -> None:
    def script(seen: Seen) -> Step:
        return refusal(status, "busy") if seen.nth % 5 == 4 and seen.nth < 60 else Sent(body=PLAY(seen), after=5)

    wire, in_flight = widths(script, 16)
    assert wire.endpoint.halt is None
    later = [count for at, count in in_flight if at > wire.seen[60].at]
    assert max(later[:40]) == 16


def test_a_429_halves_the_width_for_all(clock: None) -> None:
    def script(seen: Seen) -> Step:
        if seen.nth == 40:
            return refusal(429, "slow down", Retry_After="3")
        return Sent(body=PLAY(seen), after=5)

    wire, in_flight = widths(script, 16)
    at = wire.seen[40].at
    assert max(count for when, count in in_flight if when < at) == 16
    (second,) = [when for when, _ in in_flight if when > at][:1]
    assert second >= at + 3
    just_after = [count for when, count in in_flight if second <= when < second + 5]
    assert max(just_after) <= 9
    assert max(count for when, count in in_flight if when > at) > 9


# What failed and unusable answers took


USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
UNUSABLE: dict[str, Sent] = {
    "no choices": Sent(200, {"id": "1", "object": "chat.completion", "choices": [], "usage": USAGE}),
    "null choices": Sent(200, {"choices": None, "usage": USAGE}),
    "a choice without a message": Sent(200, {"choices": [{}], "usage": USAGE}),
    "an error in a 200": Sent(200, {"error": {"message": "overloaded"}, "usage": USAGE}),
    "a 500 with usage": Sent(500, {"error": {"message": "no"}, "usage": USAGE}),
    "a 503 with usage": Sent(503, {"error": {"message": "no"}, "usage": USAGE}),
    "a 429 with usage": Sent(429, {"error": {"message": "no"}, "usage": USAGE}, {"Retry-After": "1"}),
}


@pytest.mark.parametrize("kind", sorted(UNUSABLE))
@pytest.mark.parametrize("times", [1, 3])
def test_tokens_of_unusable_answers_count_in_the_total_and_in_the_row_of_the_game(
    clock: None, kind: str, times: int
) -> None:
    def script(seen: Seen) -> Step:
        return UNUSABLE[kind] if 2 <= seen.nth < 2 + times else Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=1)
    rows, _ = wire.plays(4)
    assert ends(rows) == {"all_categories_found": 4}
    paid = (100 * PER_GAME * 4 + 1000 * times, 10 * PER_GAME * 4 + 500 * times)
    assert (wire.endpoint.usage.input, wire.endpoint.usage.output) == paid
    assert (sum(row.usage.input for row in rows), sum(row.usage.output for row in rows)) == paid
    assert sorted(row.usage.input for row in rows) == [300, 300, 300, 300 + 1000 * times]
    assert wire.endpoint.usage.requests == len(wire.seen) == sum(row.usage.requests for row in rows)


@pytest.mark.parametrize("width", [1, 5])
def test_a_budget_counts_tokens_of_unusable_answers(clock: None, width: int) -> None:
    wire = Wire(lambda seen: FINE if seen.nth == 0 else UNUSABLE["no choices"], max_concurrent=width, token_budget=9000)
    wire.plays(20)
    assert wire.endpoint.halt is not None
    assert 9000 <= wire.endpoint.usage.input + wire.endpoint.usage.output < 9000 + 1500 * width
    assert len(wire.seen) <= 7 + width


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("spend", ["tokens", "cost"])
def test_a_budget_holds_to_within_what_is_in_flight_under_faults(clock: None, width: int, spend: str) -> None:
    unusable = list(UNUSABLE.values())

    def script(seen: Seen) -> Step:
        return unusable[seen.nth % 7] if seen.nth % 3 == 1 else Sent(body=PLAY(seen), after=1)

    if spend == "tokens":
        wire = Wire(script, max_concurrent=width, token_budget=20_000)
    else:
        wire = Wire(script, max_concurrent=width, prices=Prices(1e6, 1e6, 1e6), max_cost=20_000)
    wire.plays(200)
    assert wire.endpoint.halt is not None
    assert 20_000 <= wire.endpoint.usage.input + wire.endpoint.usage.output < 20_000 + 1500 * width


# The pause after a 429


@pytest.mark.parametrize("waiting", [0, 48])
def test_nothing_is_sent_in_a_pause_whoever_waits_for_a_place(clock: None, waiting: int) -> None:
    def script(seen: Seen) -> Step:
        if 1010 <= seen.at < 1010.5:
            return refusal(429, "slow down", after=0.2 + seen.nth % 5 / 10, Retry_After="7")
        return Sent(body=FINE, after=1 + seen.nth % 7 / 10)

    wire = Wire(script, max_concurrent=16)
    answers = wire.asks(0, *(n / 4 for n in range(20, 60 + waiting)), *([9.9] * waiting))
    assert all(isinstance(answer, Answer) for answer in answers)
    first = min(seen.at for seen in wire.seen if seen.at >= 1010)
    assert not [seen.at for seen in wire.seen if first + 0.7 < seen.at < first + 7]


def test_one_burst_of_429_halves_the_width_once(clock: None) -> None:
    def script(seen: Seen) -> Step:
        if 1010 <= seen.at < 1011:
            return refusal(429, "slow down", after=0.1 + seen.nth % 9 / 10, Retry_After="3")
        return Sent(body=PLAY(seen), after=1)

    _, in_flight = widths(script, 32, games=300)
    again = min(at for at, _ in in_flight if at >= 1012)
    assert max(count for at, count in in_flight if at < again + 0.9 and at >= again) == 16


@pytest.mark.parametrize("width", [8, 64, 640])
def test_after_a_storm_of_429_the_width_is_back_within_90_rounds_of_answers(clock: None, width: int) -> None:
    def script(seen: Seen) -> Step:
        if 1003 <= seen.at < 1040:
            return refusal(429, "slow down")
        return Sent(body=PLAY(seen), after=1)

    wire, in_flight = widths(script, width, games=40 * width)
    back = next(seen.at for seen in wire.seen if seen.at >= 1040)
    assert max(count for at, count in in_flight if back <= at < back + 0.5) <= max(width // 8, 1)
    assert max(count for at, count in in_flight if back + 8 < at < back + 14) >= width // 2
    assert max(count for at, count in in_flight if at < back + 90) == width


# One request alone


@pytest.mark.parametrize("length", [60, 200])
def test_an_outage_that_meets_one_worker_costs_no_game(clock: None, length: float) -> None:
    def script(seen: Seen) -> Step:
        return refusal(503) if 1005 <= seen.at < 1005 + length else Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=1)
    rows, _ = wire.plays(12)
    assert wire.endpoint.halt is None
    assert ends(rows) == {"all_categories_found": 12}


def test_an_outage_that_meets_the_last_game_costs_it_nothing(clock: None) -> None:
    def script(seen: Seen) -> Step:
        if seen.request_id == "game-7" and seen.turn == 1 and seen.at < 1100:
            return refusal(500)
        return Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=8)
    rows, _ = wire.plays(8)
    assert wire.endpoint.halt is None
    assert ends(rows) == {"all_categories_found": 8}


def test_a_wait_asked_for_in_an_earlier_outage_does_not_put_off_the_end_of_a_later_one(clock: None) -> None:
    def script(seen: Seen) -> Step:
        if seen.nth == 5:
            return refusal(503, "later", Retry_After="7200")
        return refusal(503) if seen.at >= 1020 else Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=4, give_up_after=300)
    wire.plays(60)
    assert wire.endpoint.halt is not None
    assert wire.seen[-1].at < 1400


def test_of_many_told_to_wait_equally_long_one_says_so(clock: None) -> None:
    def script(seen: Seen) -> Step:
        return refusal(429, "slow down", Retry_After="61") if 1003 <= seen.at < 1005 else Sent(body=PLAY(seen), after=1)

    wire = Wire(script, max_concurrent=16)
    wire.plays(60)
    assert [line for line in wire.lines if "slow down" in line] == ["429: slow down; trying again in 61.0 s"]


# Counts that cannot be


def test_cached_tokens_beside_the_prompts_make_no_negative_cost(clock: None) -> None:
    usage = {"prompt_tokens": 60, "completion_tokens": 10, "prompt_cache_hit_tokens": 6_000_000}
    wire = Wire([completion("<guess>[A]</guess>", usage=usage)], prices=Prices(1.0, 0.1, 2.0))
    wire.asks(0)
    assert wire.endpoint.usage.cached == 60
    assert wire.endpoint.cost == pytest.approx((60 * 0.1 + 10 * 2) / 1e6)


@pytest.mark.parametrize("count", [-5, 10**30])
def test_a_count_that_cannot_be_is_estimated(clock: None, count: int) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": count}
    wire = Wire([completion("<guess>[A]</guess>", usage=usage)])
    wire.asks(0)
    assert 0 < wire.endpoint.usage.input < 10_000
    assert 0 < wire.endpoint.usage.output < 100


def test_a_budget_counts_what_answers_held_that_broke_off(clock: None) -> None:
    torn = json.dumps(completion("x" * 8000)).encode()[:-200]
    wire = Wire(lambda seen: FINE if seen.nth == 0 else Sent(body=torn), token_budget=20_000)
    wire.asks(0, 1)
    assert wire.endpoint.halt is not None
    assert wire.endpoint.halt.exit_status == 0
    assert len(wire.seen) < 14
