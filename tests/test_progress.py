"""What a paid run says of itself while it goes on: on a terminal, and where there is none."""

import asyncio
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

import generate_rollouts
from connections_env import progress
from connections_env.endpoint import Endpoint, EndpointSettings, Prices
from connections_env.progress import Progress, duration, fitted, money, short
from connections_env.records import Usage
from connections_env.terminal import notify

ROOT = Path(__file__).parent.parent
FIELDS = ["12/70 games in 1:30", "8 good, 4 bad", "6:10 left", "0.42 of about 2.40 USD", "34 in flight", "3 retries"]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def endpoint(prices: Prices | None = None) -> Endpoint:
    return Endpoint(EndpointSettings("m", "http://127.0.0.1:1/v1", "", prices=prices))


def told(one: Progress, *, final: bool = False) -> str:
    return progress.SEPARATOR.join(one.fields(final=final))


def test_a_run_is_told_of_from_its_first_request_to_its_end() -> None:
    clock, asked = Clock(), endpoint()
    one = Progress("game", 8, asked, lambda: f"{one.done} good, 0 bad", every=30, clock=clock)
    assert told(one) == "0/8 games in 0:00 | 0 good, 0 bad | 0 in flight"
    clock.now += 30
    one.begun, asked.usage = 4, Usage(input=2000, output=600)
    assert told(one) == "0/8 games in 0:30 | 0 good, 0 bad | 2.6k tokens | 0 in flight | 20 tokens/s"
    # One has ended and three are half done: 2.5 games in 50 s, so 110 s for the 5.5 that are left.
    clock.now += 20
    one.begun, one.ended, one.done, asked.retries = 4, 1, 1, 1
    asked.usage = Usage(input=4000, output=1000)
    assert told(one) == (
        "1/8 games in 0:50 | 1 good, 0 bad | 1:50 left | 5.0k of about 16k tokens | 0 in flight | 1 retry | 20 tokens/s"
    )
    clock.now += 3550
    one.begun = one.ended = one.done = 8
    asked.retries, asked.usage = 1200, Usage(input=1_000_000, output=720_000)
    assert told(one, final=True) == (
        "8/8 games in 1:00:00 | 8 good, 0 bad | 1.7M tokens | 1,200 retries | 200 tokens/s"
    )


def test_a_run_that_gets_no_answer_promises_no_time_left() -> None:
    clock, asked = Clock(), endpoint()
    one = Progress("game", 8, asked, lambda: "", every=30, clock=clock)
    waiting: Any = object()
    asked._in_flight.add(waiting)
    one.begun, one.ended, one.done, asked.answers = 4, 1, 1, 10
    clock.now += 50
    assert told(one) == "1/8 games in 0:50 | 1:50 left | 1 in flight"
    clock.now += 49  # less than ten times as long as from one answer to the next
    assert "left" in told(one)
    clock.now += 1
    assert told(one) == "1/8 games in 1:40 | no answer for 0:50 | 1 in flight"
    asked.answers = 11
    assert "left" in told(one)
    clock.now += 600
    asked._in_flight.clear()  # nothing is due
    assert "no answer" not in told(one)


def test_one_game_is_no_games() -> None:
    clock = Clock()
    one = Progress("game", 1, endpoint(), lambda: "", every=30, clock=clock)
    one.done = 1
    assert told(one, final=True) == "1/1 game in 0:00"


def test_a_later_loop_tells_what_the_command_has_cost_and_its_own_retries() -> None:
    clock, asked = Clock(), endpoint(Prices(input=1.0, cached=0.5, output=2.0))
    asked.usage, asked.retries = Usage(input=1_000_000, output=500_000), 7
    one = Progress("game", 4, asked, lambda: "0 good, 1 bad", every=30, clock=clock)
    assert told(one) == "0/4 games in 0:00 | 0 good, 1 bad | 2.00 USD | 0 in flight"
    clock.now += 10
    one.begun = one.ended = one.done = 1
    asked.usage += Usage(input=100_000, cached=100_000, output=100_000)
    # 2 USD went before; 0.25 for this game makes 1 for all four.
    assert told(one) == (
        "1/4 games in 0:10 | 0 good, 1 bad | 0:30 left | 2.25 of about 3.00 USD | 0 in flight | 10k tokens/s"
    )


def test_tokens_a_second_are_those_of_the_last_half_minute() -> None:
    clock, asked = Clock(), endpoint()
    one = Progress("game", 9, asked, lambda: "", every=30, clock=clock)
    for _ in range(600):
        clock.now += 1
        asked.usage += Usage(output=100)
        one.fields()
    for _ in range(30):
        clock.now += 1
        asked.usage += Usage(output=10)
        line = told(one)
    assert line.endswith("| 10 tokens/s")


def test_a_narrow_line_spends_fewer_words_before_anything_is_left_out() -> None:
    clock, asked = Clock(), endpoint(Prices(input=1.0, cached=0.5, output=2.0))
    one = Progress("game", 1000, asked, lambda: "290 good, 22 bad", every=30, clock=clock)
    clock.now += 3723
    one.begun = one.ended = one.done = 312
    asked.usage, asked.retries = Usage(input=2_000_000, output=5_200_000), 3
    assert one.line(140) == (
        "312/1,000 games in 1:02:03 | 290 good, 22 bad | 2:16:50 left | 12.40 of about 39.74 USD | 0 in flight | "
        "3 retries | 1.4k tokens/s"
    )
    assert one.line(100) == (
        "312/1,000 in 1:02:03 | 290 good, 22 bad | 2:16:50 left | $12.40/39.74 | 1.4k/s | 0 open | 3 retries"
    )
    assert one.line(79) == "312/1,000 in 1:02:03 | 290 good, 22 bad | 2:16:50 left | $12.40/39.74 | 1.4k/s"
    without = Progress("game", 9, endpoint(), lambda: "", every=30, clock=clock)
    without.endpoint.usage, without.begun, without.ended = Usage(input=2000), 3, 3
    clock.now += 60
    assert without.line(43) == "0/9 in 1:00 | 2:00 left | 2.0k/6.0k tokens"


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (200, " | ".join(FIELDS)),
        (89, "12/70 games in 1:30 | 8 good, 4 bad | 6:10 left | 0.42 of about 2.40 USD | 34 in flight"),
        (79, "12/70 games in 1:30 | 8 good, 4 bad | 6:10 left | 0.42 of about 2.40 USD"),
        (39, "12/70 games in 1:30 | 8 good, 4 bad"),
        (19, "12/70 games in 1:30"),
        (7, "12/70 g"),
        (0, ""),
    ],
)
def test_what_does_not_fit_is_left_out_from_the_right(width: int, line: str) -> None:
    assert fitted(FIELDS, width) == line


def test_figures_are_short() -> None:
    assert [*map(duration, (0, 7.4, 59.6, 754, 3723, 90_000))] == [
        "0:00",
        "0:07",
        "1:00",
        "12:34",
        "1:02:03",
        "25:00:00",
    ]
    counts = (0, 950, 999, 1000, 1234, 9_949, 9_951, 123_456, 999_499, 999_600, 4_512_345, 12_345_678, 2e9)
    assert [*map(short, counts)] == [
        *("0", "950", "999", "1.0k", "1.2k", "9.9k", "10k", "123k", "999k", "1.0M", "4.5M", "12M", "2,000M")
    ]
    assert [*map(money, (0, 0.0042, 0.5, 1, 1234.567))] == ["0.00", "0.0042", "0.50", "1.00", "1,234.57"]


# Where there is no terminal


def test_plain_lines_come_at_the_interval_and_once_more_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock, asked = Clock(), endpoint()

    async def run() -> None:
        async with Progress("game", 2, asked, lambda: "1 good, 0 bad", every=0.05, clock=clock) as one:
            clock.now += 30
            while "in 0:30" not in (said := capsys.readouterr().err):
                await asyncio.sleep(0.01)
            assert said.splitlines()[0] == "0/2 games in 0:30 | 1 good, 0 bad | 0 in flight"
            one.begun = one.ended = one.done = 2
            clock.now += 5

    asyncio.run(run())
    assert capsys.readouterr().err.splitlines()[-1] == "2/2 games in 0:35 | 1 good, 0 bad"


@pytest.mark.parametrize(("every", "lines"), [("0", 0), ("30", 1)])
def test_a_run_that_ends_sooner_says_one_line_or_none(
    every: str, lines: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--offline", "-n", "20", "--results-dir", str(tmp_path), "--progress-every", every]
    assert generate_rollouts.main(argv) == 0
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if "games in" in line]
    assert len(said) == lines
    assert "\r" not in err
    for line in said:
        good = int(re.findall(r"good: +(\d+)", out)[0])
        assert line.startswith("20/20 games in 0:0")
        assert f" | {good} good, {20 - good} bad | " in line


def test_games_that_came_to_no_end_are_told_apart_from_bad_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate_rollouts.main(["--offline", "-n", "5", "--max-turns", "1", "--results-dir", str(tmp_path)]) == 0
    assert "| 0 good, 0 bad, 5 unfinished |" in capsys.readouterr().err


def test_an_interval_below_zero_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        generate_rollouts.main(["--offline", "--progress-every", "-1"])
    assert end.value.code == 2
    assert "-1 is not a number of 0 or more" in capsys.readouterr().err


# On a terminal


def on_a_terminal(width: int, *argv: str, **env: str) -> tuple[str, str]:
    """What a command says on a terminal of this width (its standard error), and on standard output."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    command = [sys.executable, str(ROOT / "generate_rollouts.py"), *argv]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=its, text=True, env=os.environ | {"TERM": "xterm"} | env
    )
    os.close(its)
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed: that is how Linux ends a terminal
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said.decode(), out


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_line_on_a_terminal_never_wraps_and_ends_with_the_counts_of_the_summary(width: int, tmp_path: Path) -> None:
    prices = ("--price-input", "1", "--price-output", "2")
    said, out = on_a_terminal(width, "--offline", "--results-dir", str(tmp_path), *prices)
    drawn = re.split(r"[\r\n]+", said)
    assert max(map(len, drawn)) < width
    assert said.count("\n") == 1
    good, games = int(re.findall(r"good: +(\d+)", out)[0]), int(re.findall(r"games: +(\d+)", out)[0])
    last = [line for line in drawn if line.strip()][-1].strip()
    assert last.startswith(f"{games}/{games}{' games' if width > 79 else ''} in 0:0")
    assert f" | {good} good, {games - good} bad" in last
    assert (" USD" in last, "tokens/s" in last) == (width > 40, width > 40)


def on_screen(said: str) -> list[str]:
    """The lines a terminal shows after all of this was written to it."""
    lines = []
    for line in said.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_other_lines_stand_above_the_line_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    said.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.delenv("TERM", raising=False)

    async def run() -> None:
        async with Progress("game", 2, endpoint(), lambda: "1 good, 0 bad", every=30, clock=Clock()):
            await asyncio.sleep(0)
            notify("gave a game up after 7 attempts")
            notify("short")

    asyncio.run(run())
    assert on_screen(said.getvalue()) == [
        "gave a game up after 7 attempts",
        "short",
        "0/2 games in 0:00 | 1 good, 0 bad",
        "",
    ]


def test_a_terminal_that_cannot_go_back_gets_plain_lines(tmp_path: Path) -> None:
    said, _ = on_a_terminal(80, "--offline", "-n", "5", "--results-dir", str(tmp_path), TERM="dumb")
    assert "\r" not in said.replace("\r\n", "\n")
    assert said.startswith("5/5 games in 0:0")
