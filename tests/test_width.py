"""The gate before the endpoint: how many requests it lets through, in which order, and how it narrows and widens."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env.width import Width

EARLIER = 0.0  # sent before anything was ever narrowed; later requests are sent at `time.monotonic()`


class Crowd:
    """Tasks at a gate by their names: who waits, in the order of coming, and who is let in."""

    def __init__(self, ceiling: int) -> None:
        self.width = Width(ceiling)
        self.waiting: dict[str, asyncio.Task[None]] = {}
        self.inside: list[str] = []

    async def come(self, *names: str) -> None:
        for name in names:
            self.waiting[name] = asyncio.create_task(self._enter(name))
            await settled()

    async def _enter(self, name: str) -> None:
        await self.width.enter()
        del self.waiting[name]
        self.inside.append(name)

    async def go(self, *names: str) -> None:
        for name in names:
            self.inside.remove(name)
            self.width.leave()
            await settled()

    async def give_up(self, name: str) -> None:
        self.waiting.pop(name).cancel()
        await settled()


async def settled() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def at_the_gate(ceiling: int, story: Callable[[Crowd], Awaitable[None]]) -> Crowd:
    """A crowd after its story."""

    async def tell() -> Crowd:
        crowd = Crowd(ceiling)
        await story(crowd)
        for task in crowd.waiting.values():
            task.cancel()
        return crowd

    return asyncio.run(tell())


def narrowed(ceiling: int, sent: Iterable[float]) -> list[float]:
    """What is allowed after each 429 to requests sent at these times."""
    width, allowed = Width(ceiling), []
    for at in sent:
        width.narrow(at)
        allowed.append(width.allowed)
    return allowed


# Through the gate


@pytest.mark.parametrize("ceiling", [1, 2, 7])
def test_no_more_than_the_ceiling_are_let_in(ceiling: int) -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.come(*map(str, range(20)))
        assert crowd.inside == [str(n) for n in range(ceiling)]
        assert crowd.width.in_use == ceiling

    at_the_gate(ceiling, story)


def test_who_waits_is_let_in_in_the_order_of_coming() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.come(*"ABCDEF")
        await crowd.go("B", "A")
        assert crowd.inside == [*"CD"]
        await crowd.go("D", "C")
        assert crowd.inside == [*"EF"]

    at_the_gate(2, story)


def test_one_that_leaves_lets_in_as_many_as_have_room() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.come("A")
        crowd.width.narrow(EARLIER)
        crowd.width.narrow(time.monotonic())
        await crowd.come(*"BCDE")
        assert crowd.inside == ["A"]
        while crowd.width.allowed < 3:
            crowd.width.widen(time.monotonic())
        await crowd.go("A")
        assert crowd.inside == [*"BCD"]

    at_the_gate(4, story)


def test_after_narrowing_nobody_is_let_in_until_enough_have_left() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.come(*"ABCDEF")
        crowd.width.narrow(EARLIER)
        await crowd.go("A", "B")
        assert crowd.inside == [*"CD"]
        await crowd.go("C")
        assert crowd.inside == [*"DE"]

    at_the_gate(4, story)


def test_one_that_gives_up_waiting_takes_no_place_from_those_behind_it() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.come(*"ABCDE")
        await crowd.give_up("B")
        await crowd.give_up("D")
        await crowd.go("A")
        assert crowd.inside == ["C"]
        await crowd.go("C")
        assert crowd.inside == ["E"]
        await crowd.go("E")
        assert crowd.width.in_use == 0
        await crowd.come("F")
        assert crowd.inside == ["F"]

    at_the_gate(1, story)


def test_an_open_gate_lets_everyone_through_those_who_wait_and_those_who_come() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.come(*"ABCDE")
        await crowd.give_up("C")
        crowd.width.open()
        await settled()
        assert crowd.inside == [*"ABDE"]
        crowd.width.narrow(time.monotonic())
        await crowd.come(*"FG")
        assert crowd.inside == [*"ABDEFG"]

    at_the_gate(1, story)


# How wide


def test_a_429_halves_what_is_allowed_and_never_to_less_than_one() -> None:
    width, allowed = Width(20), []
    for _ in range(7):
        width.narrow(time.monotonic())
        allowed.append(width.allowed)
    assert allowed == [10, 5, 2.5, 1.25, 1, 1, 1]


@pytest.mark.parametrize("ceiling", [1, 2, 64])
def test_one_is_let_in_however_often_it_was_narrowed(ceiling: int) -> None:
    async def story(crowd: Crowd) -> None:
        for _ in range(9):
            crowd.width.narrow(time.monotonic())
        await crowd.come(*"AB")
        assert crowd.inside == ["A"]
        await crowd.go("A")
        assert crowd.inside == ["B"]

    at_the_gate(ceiling, story)


def test_a_crowd_sent_before_the_last_narrowing_narrows_only_once() -> None:
    sent = time.monotonic()
    assert narrowed(64, [sent] * 64) == [32] * 64
    assert narrowed(64, [sent + n / 1e9 for n in range(5)]) == [32] * 5


def test_a_request_sent_after_the_last_narrowing_narrows_again() -> None:
    later = time.monotonic() + 3600
    assert narrowed(64, [EARLIER, EARLIER, later]) == [32, 32, 16]


@pytest.mark.parametrize("places", [1, 2, 5, 30])
def test_a_round_of_answers_widens_by_about_one_place(places: int) -> None:
    width = Width(64)
    width.allowed = float(places)
    for _ in range(places):
        width.widen(time.monotonic())
    assert places + 0.7 < width.allowed <= places + 1
    if places == 1:
        assert width.allowed == 2


@pytest.mark.parametrize("ceiling", [1, 2, 3, 64])
def test_it_widens_up_to_the_ceiling_and_stays_there(ceiling: int) -> None:
    width = Width(ceiling)
    width.narrow(EARLIER)
    for _ in range(ceiling**2):
        before = width.allowed
        width.widen(time.monotonic())
        assert before <= width.allowed <= ceiling
    assert width.allowed == ceiling


# Any course of things

STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "come", "go", "go", "give up", "narrow", "widen"]), st.integers(0, 99)),
    max_size=40,
)


@given(st.integers(1, 5), STEPS)
def test_whatever_happens_no_place_is_lost_none_is_given_twice_and_the_oldest_is_next(
    ceiling: int, steps: list[tuple[str, int]]
) -> None:
    async def story(crowd: Crowd) -> None:
        width = crowd.width

        async def leave(nth: int) -> None:
            waited = list(crowd.waiting)
            await crowd.go(crowd.inside[nth % len(crowd.inside)])
            let_in = len(waited) - len(crowd.waiting)
            assert list(crowd.waiting) == waited[let_in:]
            assert crowd.inside[len(crowd.inside) - let_in :] == waited[:let_in]
            assert not crowd.waiting or width.in_use + 1 > width.allowed

        for number, (what, nth) in enumerate(steps):
            if what == "come":
                await crowd.come(str(number))
            elif what == "go" and crowd.inside:
                await leave(nth)
            elif what == "give up" and crowd.waiting:
                await crowd.give_up(list(crowd.waiting)[nth % len(crowd.waiting)])
            elif what == "narrow":
                width.narrow(time.monotonic())
            elif what == "widen":
                width.widen(time.monotonic())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert width.in_use == len(crowd.inside) <= ceiling
            assert 1 <= width.allowed <= ceiling
        while crowd.inside:
            await leave(0)
        assert (crowd.waiting, width.in_use) == ({}, 0)

    at_the_gate(ceiling, story)


def test_through_a_crowd_of_any_size_all_come_in_the_end() -> None:
    async def story(crowd: Crowd) -> None:
        places: list[int] = []

        async def work(width: Width) -> None:
            await width.enter()
            places.append(width.in_use)
            await asyncio.sleep(0)
            width.leave()

        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work(crowd.width)) for _ in range(200)]
        await asyncio.gather(*tasks)
        assert (len(places), max(places), crowd.width.in_use) == (200, 3, 0)

    at_the_gate(3, story)
