"""From flags to what a paid command works with: its folder, its endpoint, ids for its games, and their playing."""

import argparse
import asyncio
import fcntl
import gc
import hashlib
import ipaddress
import itertools
import os
import random
import resource
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from connections_env.arguments import UsageError
from connections_env.durable import ResultsFile, rescue
from connections_env.endpoint import SAME_COMMAND, Endpoint, EndpointSettings, Halt
from connections_env.files import OFFLINE, shown
from connections_env.masking import without_secrets
from connections_env.play import Job
from connections_env.pool import Tally, interrupts, play_all
from connections_env.prices import prices_of
from connections_env.puzzles import Puzzle
from connections_env.records import SIMULATED
from connections_env.steps import nearest_folder
from connections_env.terminal import notify

RESULTS = Path(__file__).parent.parent / "generate_results"
OFFLINE_BASE_URL = "http://simulated.invalid/v1"
LOOK_EVERY = 0.5  # seconds, whether another run has ended
SPARE_FILES = 64  # beside one socket a request: results, logs, what the interpreter holds open


def results_folder(args: argparse.Namespace) -> Path:
    """The folder of `--results-dir`, known to be usable before anything is paid. Raises `UsageError`."""
    folder: Path = args.results_dir or (RESULTS / OFFLINE if args.offline else RESULTS)
    nearest = nearest_folder(folder)
    if not nearest.is_dir():
        raise UsageError(f"{nearest} is not a folder; choose another --results-dir")
    if not os.access(nearest, os.R_OK | os.X_OK):
        raise UsageError(f"cannot read {nearest}; mend its permissions or choose another --results-dir")
    return folder


def sampling_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags put into every request body."""
    named = {
        "temperature": args.temperature,
        "top_p": args.top_p,
        "max_tokens": args.max_tokens,
        "reasoning_effort": args.reasoning_effort,
    }
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    return {**given, **args.sampling_args}


def open_endpoint(args: argparse.Namespace, puzzles: Sequence[Puzzle], to_go_on: str = SAME_COMMAND) -> Endpoint:
    """The endpoint the flags describe; no request is made yet. Raises `UsageError`."""
    transport = None
    if args.offline:
        # The offline player is slow to import and nobody else needs it.
        from connections_env.player import SimulatedPlayer
        from connections_env.simulated import SimulatedTransport

        transport = SimulatedTransport(SimulatedPlayer(puzzles, args.player_strength, args.seed))
    else:
        _raise_open_files_limit(args.max_concurrent)
    settings = EndpointSettings(
        model=SIMULATED if args.offline else args.model,
        base_url=OFFLINE_BASE_URL if args.offline else args.base_url,
        api_key="" if args.offline else _api_key(args),
        sampling=sampling_of(args),
        max_concurrent=args.max_concurrent,
        max_retries=args.max_retries,
        timeout=args.timeout,
        give_up_after=args.give_up_after,
        prices=prices_of(args),
        max_cost=args.max_cost,
        token_budget=args.token_budget,
        to_go_on=to_go_on,
    )
    return Endpoint(settings, transport, notify)


class WhenNeeded:
    """An endpoint that is opened when it is first asked for: a run with nothing to play needs no key."""

    def __init__(self, open_it: Callable[[], Endpoint]):
        self._open = open_it
        self.opened: Endpoint | None = None

    @property
    def halt(self) -> Halt | None:
        return self.opened.halt if self.opened else None

    def get(self) -> Endpoint:
        """Raises `UsageError` where the flags describe none."""
        if self.opened is None:
            self.opened = self._open()
        return self.opened

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.opened is not None:
            await self.opened.__aexit__()


def _api_key(args: argparse.Namespace) -> str:
    name, url = args.api_key_var, urlsplit(args.base_url)
    key = os.environ.get(name, "").strip()
    if not key.isascii() or not key.isprintable():
        raise UsageError(f"{name} holds characters that no key has; was it copied whole?")
    if _is_loopback(args.base_url):
        return key
    if not key:
        raise UsageError(
            f"{name} is not set: export your key under that name, name another variable with -k, or try --offline"
        )
    if url.scheme == "http":
        notify(f"the key in {name} goes to {url.hostname} unencrypted; use https if it can")
    return key


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _raise_open_files_limit(width: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = width + SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= need:
        return
    if hard != resource.RLIM_INFINITY and hard < need:
        raise UsageError(f"-c {width} needs {need} open files, this machine allows {hard}: lower -c or raise ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def rollout_ids(args: argparse.Namespace, generation: int) -> Callable[[Puzzle, int], str]:
    """Gives the id of a puzzle's nth game in a generation: unique, and offline the same for the same seed."""

    def offline_id(puzzle: Puzzle, nth: int) -> str:
        name = f"{args.seed}\0{generation}\0{puzzle.key}\0{nth}"
        return "offline-" + hashlib.sha256(name.encode()).hexdigest()[:16]

    return offline_id if args.offline else lambda puzzle, nth: uuid.uuid4().hex


@asynccontextmanager
async def alone(does: str, place: Path) -> AsyncIterator[None]:
    """Waits until no other run works at the same place, which would pay for the same things at the same time.

    `place` is a folder, or a file that no run replaces: a lock is the file's, whatever name it has by then.
    """
    descriptor = os.open(place, os.O_RDONLY)
    try:
        for waited in itertools.count():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    notify(f"another run {does} {shown(place)}; waiting for it to end")
                await asyncio.sleep(LOOK_EVERY)
            except OSError:
                break  # a file system without locks
        yield
    finally:
        os.close(descriptor)


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Games make many objects that live for a request, and hardly a cycle: collecting less often spares an eighth."""
    before = gc.get_threshold()
    gc.set_threshold(20_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def play_jobs(
    jobs: list[Job],
    endpoint: Endpoint,
    claim: Callable[[], tuple[Path, int]],
    args: argparse.Namespace,
    place: Path | None = None,
) -> tuple[Tally, Path | None]:
    """Plays the jobs; gives their tally and the file they are in, None where no game got a reply.

    `place` is where `claim` makes the file, if not in the results folder.
    The order is shuffled by `--seed`: whatever ends a run early, what is finished is a fair sample.
    """
    shuffled = random.Random(args.seed).sample(jobs, len(jobs))
    home = place.absolute().parent if place else results_folder(args)

    def cannot_save(error: OSError) -> None:
        where = shown(results.path or place or home)
        endpoint.stop(f"cannot write {where}: {error.strerror}; make room or mend the folder, then go on", 1)

    results = ResultsFile(claim, cannot_save)
    with interrupts(endpoint), fewer_collections():
        tally = await play_all(
            shuffled,
            endpoint,
            results,
            total=len(jobs),
            max_turns=args.max_turns,
            allow_empty_reasoning=args.allow_empty_reasoning,
            progress_every=args.progress_every,
            sampling=without_secrets(sampling_of(args)),
        )
        tally.rescued = len(results.unsaved)
        if results.unsaved:
            rescue(results.unsaved, "results", ("game", "games"), home)
    endpoint.settle()
    return tally, results.path
