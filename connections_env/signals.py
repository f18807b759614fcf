"""The signals that ask a command to end, and the moments in which it must not."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def all_like_ctrl_c() -> Iterator[None]:
    """Whatever asks for the end raises KeyboardInterrupt, so that what was begun is tidied up. Nohup's wish stands."""
    heard = [number for number in INTERRUPTS[1:] if _in_main_thread() and signal.getsignal(number) == signal.SIG_DFL]
    for number in heard:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """What asks for the end is heard when the block is over: for files that belong together."""
    came: list[int] = []
    heard = [number for number in INTERRUPTS if _in_main_thread() and callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """SIGTERM and SIGHUP end the process and those it starts on the spot: for work that leaves nothing to tidy up."""
    ours = [number for number in INTERRUPTS[1:] if _in_main_thread() and signal.getsignal(number) == _end]
    for number in ours:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
