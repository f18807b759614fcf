"""A long run against an endpoint that fails in every way that may pass, killed again and again: is anything lost?

    uv run python -m tests.soak --games 20000 --rate 0.1
    uv run python -m tests.soak --games 2000 --keep /tmp/soak

Real processes: the simulated endpoint, its faults mixed at `--rate` and an outage now and then, and the scripts of the
project, which are killed at random moments (mostly with SIGKILL) and started again until every puzzle has a finished
game. Then the files are read with plain JSON and replayed with the game core alone, and compared with what was counted
on the screen, with what the endpoint says it sent, and with what `--dry-run` makes of them. Prints a table; the exit
status is 1 if a promise was broken.
"""

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connections_env import prompts
from connections_env.deliveries import fingerprint
from connections_env.game import GameState, observe, play
from connections_env.parsing import Reply, read_guess, unfit_reason
from connections_env.puzzles import Group, Puzzle
from connections_env.rulesets import NYT
from tests import rollouts

ROOT = Path(__file__).parent.parent
CONCURRENT = 256
PLAYER = ("-c", str(CONCURRENT), "--timeout", "3")  # seconds, so that stalls and drips are over soon
DRIVER = ("iterative_generate.py", "--restart-unsalvageable")
SERVER = ("--retry-after", "0.2", "--spike", "1", "--player-strength", "middle")
OUTAGES = [f"outage@{start}-{start + 1.5}" for start in range(15, 7200, 45)]  # seconds
SIGNALS = [signal.SIGKILL] * 6 + [signal.SIGTERM, signal.SIGHUP]
# Exit statuses that a run may have after a signal, which may also find it just done, or not yet ready to be gentle.
STATUSES = {signal.SIGKILL: {-9, 0}, signal.SIGTERM: {130, -15, 143, 0}, signal.SIGHUP: {130, -1, 129, 0}}
LONGEST_END = 60.0  # seconds from a gentle signal to the end
LONGEST_RUN = 3600.0  # seconds
MOST_LAST_RUNS = 10
_PROGRESS = re.compile(r"([\d,]+)/([\d,]+) games in ")
_OFTEN = ("--progress-every", "0.05")
_LOOP = re.compile(r"^loop \d+: (\d+) of \d+ games played(?:, \d+ of them unfinished)?, in (\S+)$", re.MULTILINE)
_STEP = re.compile(r"^  games: +([\d,]+) of .*?^wrote (\S+)$", re.MULTILINE | re.DOTALL)


@dataclass
class Run:
    """A process of the project, and what was to be seen of it from outside."""

    name: str
    counted: int = 0
    """Games its progress bars had counted when it was last looked at."""
    summaries: dict[str, int] = field(default_factory=dict)
    """Results file -> games it says are in it."""
    files: list[str] = field(default_factory=list)
    """Names of the results files that were not there before."""
    sent_signal: signal.Signals | None = None
    status: int = 0
    log: tuple[int, int] = (0, 0)
    """Bytes of the endpoint's log that were written meanwhile."""

    @property
    def gentle(self) -> bool:
        """Could it save what was half-played?"""
        return self.status >= 0


@dataclass
class Soak:
    """A soak's folder and its state."""

    folder: Path
    games: int
    kills: int
    rng: random.Random
    puzzles: int = 0
    dry_run: str = ""
    """What `--dry-run` says at the end."""
    runs: list[Run] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Promises that were, and where."""
    sizes: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    unfinished: set[str] = field(default_factory=set)
    """Ids of puzzles without a finished game."""

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def log(self) -> Path:
        return self.folder / "sent.jsonl"


def results_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("results_*.jsonl"), key=lambda path: int(path.stem.removeprefix("results_")))


# The processes


@contextmanager
def endpoint(soak: Soak, rate: float, seed: int, latency: float) -> Iterator[str]:
    """The endpoint in a process of its own; gives its base URL."""
    flags = ["--port", "0", "--puzzles", str(soak.folder / "puzzles.jsonl"), "--seed", str(seed), *SERVER]
    flags += ["--latency", str(latency)]
    flags += ["--faults", str(rate), "--count", str(soak.folder / "counts.json"), "--log", str(soak.log)]
    flags += [word for outage in OUTAGES if rate for word in ("--fault", outage)]
    command = [sys.executable, "-m", "connections_env.simulated", *flags]
    with (soak.folder / "endpoint.err").open("w") as err:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=err, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        if process.poll() is not None:
            soak.broken.append(f"the endpoint ended by itself with status {process.returncode}")
    finally:
        process.terminate()
        process.communicate()
    if said := (soak.folder / "endpoint.err").read_text():
        soak.broken.append(f"the endpoint said: {said[-300:]!r}")


def command_of(soak: Soak, url: str, script: str, *flags: str) -> list[str]:
    where = ("--puzzles", str(soak.folder / "puzzles.jsonl"), "--results-dir", str(soak.results))
    return [sys.executable, script, *where, "-b", url, "-m", "simulated", *PLAYER, *_OFTEN, *flags]


def run(soak: Soak, command: list[str], limit: float, patience: float) -> None:
    """Runs a command until it ends, or kills it once it has counted `limit` games, or after `patience` seconds."""
    number = len(soak.runs) + 1
    one = Run(f"run {number}")
    out, err = soak.folder / f"run_{number}.out", soak.folder / f"run_{number}.err"
    before, log_before = set(results_in(soak.results)), soak.log.stat().st_size
    with out.open("w") as to_out, err.open("w") as to_err:
        process = subprocess.Popen(command, cwd=ROOT, stdout=to_out, stderr=to_err, preexec_fn=hear_hangups)
    began = time.monotonic()
    while process.poll() is None:
        time.sleep(0.02)
        one.counted = counted_in(err.read_text(errors="replace"))
        if one.sent_signal is None and (one.counted >= limit or time.monotonic() - began > patience):
            one.sent_signal = soak.rng.choice(SIGNALS)
            process.send_signal(one.sent_signal)
            began, patience = time.monotonic(), LONGEST_END
        elif one.sent_signal is not None and time.monotonic() - began > patience:
            soak.broken.append(f"{one.name}: still there {patience:g} s after {one.sent_signal.name}")
            process.kill()
            process.wait()
    one.status = process.wait()
    said = err.read_text(errors="replace")
    one.counted = counted_in(said)
    pairs = [*_LOOP.findall(said.replace("\r", "\n")), *_STEP.findall(out.read_text())]
    one.summaries = {Path(path).name: int(games.replace(",", "")) for games, path in pairs}
    one.files = [path.name for path in results_in(soak.results) if path not in before]
    # What a dead process left in its sockets is still being answered for a moment.
    one.log = log_before, soak.log.stat().st_size
    soak.runs.append(one)
    look_at(soak, one, said)


def hear_hangups() -> None:
    """Under nohup SIGHUP is ignored, and so it would be by the processes started from here."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def counted_in(stderr: str) -> int:
    """Games that lines of progress have counted, one loop after the other."""
    whole = last = last_total = 0
    for games, total in _PROGRESS.findall(stderr.replace(",", "")):
        if int(total) != last_total or int(games) < last:
            whole += last
        last, last_total = int(games), int(total)
    return whole + last


def look_at(soak: Soak, one: Run, stderr: str) -> None:
    """Holds a run that has just ended against its own words."""
    allowed = STATUSES[one.sent_signal] if one.sent_signal else {0}
    if one.status not in allowed:
        last = stderr.replace("\r", "\n").strip().splitlines()[-1:]
        soak.broken.append(f"{one.name}: exit status {one.status} after {name_of(one.sent_signal)}: {last}")
    if "Traceback" in stderr:
        soak.broken.append(f"{one.name}: a traceback on stderr")
    in_file = {name: rows_of(soak.results / name) for name in one.files}
    rows = sum(map(len, in_file.values()))
    if rows < one.counted:
        soak.broken.append(f"{one.name}: its progress counted {one.counted} games, its files hold {rows}")
    for name, games in one.summaries.items():
        if (there := len(in_file.get(name, ()))) != games:
            soak.broken.append(f"{one.name}: says {games} games are in {name}, {there} are")
    soak.rows += rows
    for row in (row for found in in_file.values() for row in found):
        if row["complete_reason"] != "interrupted":
            soak.unfinished.discard(row["info"]["puzzle_id"])
    soak.sizes |= {name: (soak.results / name).stat().st_size for name in one.files}


def name_of(number: signal.Signals | None) -> str:
    return number.name if number else "no signal"


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that are whole."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def play_and_kill(soak: Soak, url: str) -> None:
    """Starts runs and kills them until there are games enough, then lets them end."""
    run(soak, command_of(soak, url, "generate_rollouts.py"), limit=soak.games / soak.kills, patience=LONGEST_RUN)
    while soak.rows < soak.games:
        many = soak.games / soak.kills
        limit = max(1.0, soak.rng.uniform(0.2, 1.8) * many)
        # Some are killed by the clock: while they start, while they read, between two games.
        patience = soak.rng.uniform(0.3, 4) if soak.rng.random() < 0.25 else LONGEST_RUN
        rows = soak.rows
        run(soak, command_of(soak, url, *DRIVER, "--loop", "3"), limit, patience)
        if soak.runs[-1].sent_signal is None and soak.rows == rows:
            break  # all is good
    for _ in range(MOST_LAST_RUNS):
        if not soak.unfinished:
            return
        run(soak, command_of(soak, url, *DRIVER), limit=float("inf"), patience=LONGEST_RUN)
    if soak.unfinished:
        soak.broken.append(f"{len(soak.unfinished)} puzzles have no finished game after {MOST_LAST_RUNS} quiet runs")


# The proof


@dataclass
class Proof:
    """What the files hold, read and replayed from scratch."""

    soak: Soak
    rows: int = 0
    torn: int = 0
    lost_games: int = 0
    """Games that had an answer and were in flight when their run was killed."""
    replies: dict[str, list[str]] = field(default_factory=dict)
    """Rollout id -> fingerprints of all its replies."""
    standing: dict[frozenset[str], str] = field(default_factory=dict)
    """Board -> good, salvageable or unsalvageable, by its best game."""

    def wrong(self, where: str, what: str) -> None:
        self.soak.broken.append(f"{where}: {what}")


def prove(soak: Soak) -> Proof:
    """Holds the files against every promise; adds those that are broken to the soak's list."""
    proof = Proof(soak)
    sending, sent = answers_sent(soak.log)
    for path in results_in(soak.results):
        if path.stat().st_size != soak.sizes.get(path.name):
            proof.wrong(path.name, "changed after the run that wrote it had ended")
        prove_file(proof, path, sending, sent)
    if strangers := {path.name for path in soak.results.iterdir()} - soak.sizes.keys():
        proof.wrong(str(soak.results), f"holds other files: {sorted(strangers)}")
    for one in soak.runs:
        prove_nothing_lost(proof, one)
    count = Counter(proof.standing.values())
    expected = (
        f"Loop 1: {count['good']} Good, {count['salvageable'] + count['unsalvageable']} Bad\n"
        f"  - Salvageable: {count['salvageable']}\n  - Unsalvageable: {count['unsalvageable']}\n"
        f"  - Missing puzzles: {soak.puzzles - count.total()}\n"
    )
    if soak.dry_run != expected:
        proof.wrong("--dry-run", f"printed {soak.dry_run!r}, a replay of the files gives {expected!r}")
    return proof


Pairs = dict[str, set[tuple[str, str]]]
"""Request id -> fingerprints of conversations and of the answers to them."""


def answers_sent(log: Path) -> tuple[Pairs, Pairs]:
    """The answers that the endpoint began to send, and those it sent in full."""
    events: dict[str, Pairs] = {"sending": defaultdict(set), "sent": defaultdict(set)}
    with log.open() as lines:
        for line in map(json.loads, lines):
            events[line["event"]][line["id"]].add((line["asked"], line["said"]))
    return events["sending"], events["sent"]


def prove_file(proof: Proof, path: Path, sending: Pairs, sent: Pairs) -> None:
    """Reads a results file with nothing but a JSON parser."""
    writer = next(one for one in proof.soak.runs if path.name in one.files)
    *lines, last = path.read_bytes().split(b"\n")
    for number, line in enumerate([*lines, last] if last else lines, 1):
        where = f"{path.name}:{number}"
        try:
            row = json.loads(line)
        except ValueError:
            if number > len(lines) and not writer.gentle:
                proof.torn += 1
            else:
                proof.wrong(where, f"cannot be read: {line[:60]!r} (written by {writer.name}, {writer.status})")
            continue
        proof.rows += 1
        if row["rollout_id"] in proof.replies:
            proof.wrong(where, f"rollout id {row['rollout_id']} is there twice")
        prove_row(proof, where, row)
        prove_answers(proof, where, row, sending[row["rollout_id"]], sent[row["rollout_id"]])


def prove_row(proof: Proof, where: str, row: dict[str, Any]) -> None:
    """Plays a row's replies again: are the verdicts, the questions and the end what the game makes of them?"""
    info, said = row["info"], replies_of(row)
    groups = tuple(Group(one["group"], tuple(one["members"])) for one in info["categories"])
    state = GameState(puzzle := Puzzle(info["puzzle_id"], tuple(info["all_words"]), groups), NYT)
    expected = prompts.opening(observe(state))
    for reply in said:
        if state.complete_reason is not None:
            proof.wrong(where, "goes on after its end")
            return
        state = play(state, read_guess(reply.content, puzzle))
        expected.append({"role": "assistant", "content": reply.content})
        if state.complete_reason is None:
            expected.append({"role": "user", "content": prompts.feedback(observe(state))})
    if expected[-1]["role"] == "user":
        del expected[-1]
    if conversation_of(row) != [[message["role"], message["content"]] for message in expected]:
        proof.wrong(where, "is not the conversation that its replies lead to")
    if [[list(turn.words), turn.status] for turn in state.turns] != [
        [guess["words"], guess["status"]] for guess in row["guess_history"]
    ]:
        proof.wrong(where, "its guess history is not that of its replies")
    if row["complete_reason"] != (state.complete_reason or row["complete_reason"]):
        proof.wrong(where, f"recorded as {row['complete_reason']}, replayed as {state.complete_reason}")
    if state.complete_reason is None and row["complete_reason"] not in ("interrupted", "max_turns_reached"):
        proof.wrong(where, f"recorded as {row['complete_reason']}, but its game goes on")
    proof.replies[row["rollout_id"]] = [fingerprint([reply.content, reply.reasoning]) for reply in said]
    key, standing = frozenset(puzzle.items), standing_of(state, said, puzzle)
    order = ["good", "salvageable", "unsalvageable"]
    proof.standing[key] = min(proof.standing.get(key, standing), standing, key=order.index)


def replies_of(row: dict[str, Any]) -> list[Reply]:
    said = [message for message in row["completion"] if message["role"] == "assistant"]
    return [
        Reply(message["content"], message.get("reasoning_content") or "", finish, tokens)
        for message, finish, tokens in zip(said, row["reply_finish"], row["reply_tokens"], strict=True)
    ]


def conversation_of(row: dict[str, Any]) -> list[list[str]]:
    return [[message["role"], message["content"]] for message in row["prompt"] + row["completion"]]


def standing_of(state: GameState, said: list[Reply], puzzle: Puzzle) -> str:
    """What a game makes of its puzzle: worked out anew, by the words of the design and not by the code that does it."""
    turns = [turn for turn in state.turns if turn.status != "auto"]
    fit = [unfit_reason(reply, puzzle) is None for reply in said]
    valid = [turn.status != "invalid" for turn in turns]
    if state.complete_reason == "all_categories_found" and all(fit) and all(valid):
        return "good"
    kept = len(turns) - (state.complete_reason == "max_mistakes")
    fine = [a and b for a, b in zip(fit, valid, strict=True)][:kept]
    return "salvageable" if fine and fine[0] else "unsalvageable"


def prove_answers(
    proof: Proof, where: str, row: dict[str, Any], sending: set[tuple[str, str]], sent: set[tuple[str, str]]
) -> None:
    """Every reply was sent to this very conversation, or is its parent's; every answer that was sent is in the row."""
    messages, said = conversation_of(row), proof.replies.get(row["rollout_id"], [])
    parent, kept = row["resumed_from"], 0
    if parent:
        kept = parent["turns"]
        if said[:kept] != proof.replies.get(parent["rollout_id"], [])[:kept] or len(said[:kept]) < kept:
            proof.wrong(where, f"does not begin as {parent['rollout_id']} does, from which it was resumed")
    turns = [(fingerprint(messages[: 2 + 2 * n]), one) for n, one in enumerate(said)]
    if invented := [n for n in range(kept, len(said)) if turns[n] not in sending]:
        proof.wrong(where, f"replies {invented} were never sent")
    missing = sent - set(turns[kept:])
    # An interrupted game may have been left while its next answer was on its way.
    if len(missing) > (row["complete_reason"] == "interrupted"):
        proof.wrong(where, f"{len(missing)} answers that were sent are not in it ({row['complete_reason']})")


def prove_nothing_lost(proof: Proof, one: Run) -> None:
    """Games with an answer but without a row: none in a run that ended gently, those in flight in a killed one."""
    answers: Counter[str] = Counter()
    with proof.soak.log.open("rb") as log:
        log.seek(one.log[0])
        for line in map(json.loads, log.read(one.log[1] - one.log[0]).splitlines()):
            answers[line["id"]] += line["event"] == "sent"
    lost = [name for name, times in answers.items() if times and name not in proof.replies]
    if not one.gentle:
        proof.lost_games += len(lost)
        if len(lost) > CONCURRENT:
            proof.wrong(one.name, f"{len(lost)} games were lost, more than the {CONCURRENT} that can be in flight")
        return
    # After a signal the first answer of a game may come when nobody waits for it any more.
    lost = [name for name in lost if one.sent_signal is None or answers[name] > 1]
    if lost:
        proof.wrong(one.name, f"ended with {one.status} and lost {len(lost)} games, {lost[0]} among them")


# The command


def table(soak: Soak, proof: Proof, seconds: float) -> str:
    counts = json.loads((soak.folder / "counts.json").read_text())
    killed = Counter(name_of(one.sent_signal) for one in soak.runs if one.sent_signal)
    shown = {kind: counts[kind] for kind in sorted(counts, key=lambda kind: -counts[kind])}
    shown |= {"puzzles": soak.puzzles, "games": sum(one.counted for one in soak.runs), "rows": proof.rows}
    shown |= {"kills": sum(killed.values()), **{f"  {name}": times for name, times in sorted(killed.items())}}
    shown |= {"restarts": len(soak.runs) - 1, "torn lines": proof.torn, "lost in flight": proof.lost_games}
    shown |= Counter(proof.standing.values())
    return "\n".join([*(f"  {name:<16}{times:>9,}" for name, times in shown.items()), f"  seconds {seconds:>17,.1f}"])


def soaked(soak: Soak, rate: float, seed: int, latency: float) -> str:
    """Plays, proves, and gives the table."""
    began, soak.puzzles = time.monotonic(), max(4, soak.games * 2 // 3)
    boards = rollouts.boards(soak.puzzles)
    rollouts.puzzle_file(soak.folder / "puzzles.jsonl", boards)
    soak.results.mkdir()
    soak.log.touch()
    soak.unfinished = {board.puzzle_id for board in boards}
    with endpoint(soak, rate, seed, latency) as url:
        play_and_kill(soak, url)
    look = command_of(soak, url, "iterative_generate.py", "--dry-run")
    done = subprocess.run(look, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        soak.broken.append(f"--dry-run: exit status {done.returncode}: {done.stderr[-300:]}")
    soak.dry_run = done.stdout
    return table(soak, prove(soak), time.monotonic() - began)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Play, kill, resume, and prove it.")
    parser.add_argument(
        "--games", type=int, default=20_000, help="to play at least (20000), on two thirds as many puzzles"
    )
    parser.add_argument("--rate", type=float, default=0.1, help="share of requests that meet a fault (0.1)")
    parser.add_argument("--kills", type=int, default=20, help="about so many (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults, the player and the kills (0)")
    parser.add_argument("--latency", type=float, default=0.01, help="seconds before each answer (0.01)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder and leave it")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.keep:
        args.keep.mkdir(parents=True)
    folder = (args.keep or Path(tempfile.mkdtemp(prefix="soak_"))).absolute()
    soak = Soak(folder, args.games, args.kills, random.Random(args.seed))
    print(soaked(soak, args.rate, args.seed, args.latency))
    if soak.broken:
        print(f"\n{len(soak.broken)} promises broken (see {folder}):")
        print("\n".join(f"  {what}" for what in soak.broken[:50]))
        return 1
    print("\nall promises kept")
    if not args.keep:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
