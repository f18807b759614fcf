"""Step 1 as it is run: flags in, a results file, a table and an exit status out."""

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import doctor_gameplay
import iterative_generate
import reduce_tokens
from connections_env.files import read_lines, results_files
from connections_env.masking import without_secrets
from connections_env.puzzles import Puzzle
from connections_env.records import Rollout, read_row
from generate_rollouts import main, parse_args
from tests.boards import FIVE, PLAIN, THREE
from tests.scripted import Script, Seen, Sent, Server, Step, completion, full_after, refusal, until, winner

ROOT = Path(__file__).parents[1]
KEY = "sk-test-0123456789abcdef"
OFFLINE = ("--offline", "--puzzles", "builtin")


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key in the environment, no long pauses, and results nowhere but in a temporary folder."""
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.setattr("connections_env.patience.FIRST_BACKOFF", 0.001)
    monkeypatch.setattr("connections_env.session.RESULTS", tmp_path / "default")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where games go that cannot be saved


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def write_puzzles(path: Path, *puzzles: Puzzle) -> Path:
    rows = [
        {
            "puzzle_id": puzzle.puzzle_id,
            "all_words": puzzle.items,
            "categories": [
                {"group": group.theme, "members": group.members, "linking_terms": group.linking_terms}
                for group in puzzle.groups
            ],
        }
        for puzzle in puzzles
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def puzzles(tmp_path: Path) -> Path:
    return write_puzzles(tmp_path / "puzzles.jsonl", PLAIN, THREE, FIVE)


def status_of(*argv: object) -> int:
    try:
        return main([str(argument) for argument in argv])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def rows_in(*paths: Path) -> list[Rollout]:
    rows = [read_row(line.data) for path in paths for line in read_lines(path)]
    assert all(isinstance(row, Rollout) for row in rows)
    return rows  # type: ignore[return-value]


def refused(capsys: pytest.CaptureFixture[str], folder: Path, argv: tuple[object, ...], *words: str) -> None:
    """Exit 2 before anything is done; the last line on stderr, and only it, is an error that holds the words."""
    capsys.readouterr()
    assert status_of(*argv) == 2
    out, err = capsys.readouterr()
    *_, last = err.splitlines()
    assert out == ""
    assert "Traceback" not in err
    assert len(re.findall(r"^(?:\S+: )?error: ", err, re.MULTILINE)) == 1
    assert re.match(r"(\S+: )?error: ", last)
    for word in words:
        assert word in last
    assert not folder.exists() or not any(folder.iterdir())


def stopped(capsys: pytest.CaptureFixture[str], argv: tuple[object, ...], *words: str) -> str:
    """Exit 1: the endpoint or the disk ended the run, and one line says so. Gives what stdout says."""
    capsys.readouterr()
    assert status_of(*argv) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    (line,) = [line for line in re.split(r"[\r\n]+", err) if re.match(r"(stopped|error): ", line)]
    for word in words:
        assert word in line
    return out


# Offline


def test_offline_plays_n_puzzles_r_times(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(*OFFLINE, "-n", 3, "-r", 2, "--results-dir", folder) == 0
    out, err = capsys.readouterr()
    rows = rows_in(folder / "results_1.jsonl")
    assert len(rows) == len({row.rollout_id for row in rows}) == 6
    assert sorted(row.example_id for row in rows) == [0, 0, 1, 1, 2, 2]
    assert len({row.info.puzzle_id for row in rows}) == 3
    assert all(row.simulated for row in rows)
    assert "6/6" in err
    assert "6/6" not in out


def test_offline_results_lie_in_their_own_folder(tmp_path: Path) -> None:
    assert status_of("--offline", "-n", 1) == 0
    assert [path.name for path in results_files(tmp_path / "default" / "offline")] == ["results_1.jsonl"]
    assert results_files(tmp_path / "default") == []


def test_offline_needs_no_key_and_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("offline")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    assert status_of("--offline", "-n", 1, "--results-dir", folder) == 0


def test_each_run_takes_the_next_number(folder: Path) -> None:
    for _ in range(2):
        assert status_of(*OFFLINE, "-n", 1, "--results-dir", folder) == 0
    assert [path.name for path in results_files(folder)] == ["results_1.jsonl", "results_2.jsonl"]


def test_a_second_offline_run_plays_other_games_of_the_same_puzzles(folder: Path) -> None:
    for _ in range(2):
        assert status_of(*OFFLINE, "-n", 3, "--results-dir", folder) == 0
    first, second = (rows_in(folder / f"results_{number}.jsonl") for number in (1, 2))
    assert {row.info.puzzle_id for row in first} == {row.info.puzzle_id for row in second}
    assert {row.rollout_id for row in first}.isdisjoint(row.rollout_id for row in second)
    assert {row.completion[0].content for row in first} != {row.completion[0].content for row in second}


def played_at(folder: Path, *flags: object) -> list[bytes]:
    assert status_of(*OFFLINE, "-n", 6, "-r", 2, "--results-dir", folder, *flags) == 0
    rows = [json.loads(line.data) for line in read_lines(folder / "results_1.jsonl")]
    for row in rows:
        del row["timing"]
    return sorted(json.dumps(row).encode() for row in rows)


def test_the_same_seed_gives_the_same_rows_at_any_concurrency(tmp_path: Path) -> None:
    first = played_at(tmp_path / "a", "-c", 1)
    assert first == played_at(tmp_path / "b", "-c", 32) == played_at(tmp_path / "c", "-c", 32)
    assert first != played_at(tmp_path / "d", "--seed", 1)


# A scripted endpoint


@pytest.fixture
def server() -> Iterator[Callable[[Script], Server]]:
    started: list[Server] = []

    def start(script: Script) -> Server:
        started.append(Server(script).__enter__())
        return started[-1]

    yield start
    for each in started:
        each.__exit__()


def flags(server: Server, puzzles: Path, folder: Path, *more: object) -> tuple[object, ...]:
    return ("--puzzles", puzzles, "--results-dir", folder, "-b", server.url, *more)


def test_the_table_says_what_the_run_gave_and_took(
    server: Any, puzzles: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_cache_hit_tokens": 400}
    usage["completion_tokens_details"] = {"reasoning_tokens": 70}  # type: ignore[assignment]
    play = winner(PLAIN, usage=usage)
    there = server(lambda seen: refusal(503, Retry_After="0") if seen.nth == 4 else play(seen))
    prices = ("--price-input", 2, "--price-cached", 0.5, "--price-output", 8)
    assert status_of(*flags(there, puzzles, folder, "-n", 1, "-r", 3, "-c", 1, *prices)) == 0
    out = re.sub(r"[\d.]+ s$", "... s", capsys.readouterr().out, flags=re.MULTILINE)
    path = folder / "results_1.jsonl"
    assert out.splitlines() == [
        "  puzzles:               1",
        "  games:                 3 of 3",
        "  good:                  3 (100.0%)",
        "  won:                   3 (100.0%)",
        "  with an invalid guess: 0 (0.0%)",
        "  lost:                  0 (0.0%)",
        "  unfinished:            0 (0.0%)",
        "  tokens in:             9,000 (3,600 cached)",
        "  tokens out:            900 (630 reasoning)",
        "  requests:              10 (1 failed)",
        "  cost:                  0.0198 USD",
        "  time:                  ... s",
        "",
        f"wrote {path}",
    ]
    assert sum(row.usage.requests for row in rows_in(path)) == 10


def test_a_loopback_endpoint_needs_no_key(server: Any, puzzles: Path, folder: Path) -> None:
    there = server(winner(PLAIN, THREE, FIVE))
    assert status_of(*flags(there, puzzles, folder)) == 0
    rows = rows_in(folder / "results_1.jsonl")
    assert {row.info.puzzle_id for row in rows} == {"plain", "three", "five"}
    assert {row.complete_reason for row in rows} == {"all_categories_found"}
    assert {row.model for row in rows} == {"deepseek-flash"}
    assert not any(row.simulated for row in rows)
    url = there.url.replace("127.0.0.1", "localhost")
    assert status_of("--puzzles", puzzles, "--results-dir", folder, "-n", 1, "-b", url) == 0


def test_the_body_holds_what_the_flags_say_and_no_more(server: Any, puzzles: Path, folder: Path) -> None:
    there = server(winner(PLAIN))
    assert status_of(*flags(there, puzzles, folder, "-n", 1, "--seed", 7)) == 0
    assert all(seen.body.keys() == {"model", "messages"} for seen in there.seen)
    extra = {"thinking": {"type": "enabled"}, "seed": 3, "max_tokens": 50}
    given = ("-m", "big", "-T", 0.5, "--top-p", 0.9, "-t", 9, "--reasoning-effort", "max", "-S", json.dumps(extra))
    before = len(there.seen)
    assert status_of(*flags(there, puzzles, folder, "-n", 1, *given)) == 0
    body = there.seen[before].body
    del body["messages"]
    sampling = {"temperature": 0.5, "top_p": 0.9, "reasoning_effort": "max", **extra}
    assert body == {"model": "big", **sampling}
    (row,) = rows_in(folder / "results_2.jsonl")
    assert (row.model, row.sampling) == ("big", sampling)


def test_a_temperature_of_zero_is_sent(server: Any, puzzles: Path, folder: Path) -> None:
    there = server(winner(PLAIN))
    assert status_of(*flags(there, puzzles, folder, "-n", 1, "-T", 0, "--top-p", 0)) == 0
    assert [(seen.body["temperature"], seen.body["top_p"]) for seen in there.seen] == [(0, 0)] * 3


@pytest.mark.parametrize(
    ("prices", "spent", "requests"),
    [
        (("--price-input", 1000, "--price-cached", 500, "--price-output", 1000), "0.2700 of 0.2100", 3),
        (("--price-input", 1000, "--price-output", 1000), "0.2200 of 0.2100", 2),  # cached tokens cost no less
    ],
)
def test_a_cost_budget_ends_the_run_saves_what_is_half_played_and_says_what_was_spent(
    server: Any, puzzles: Path, folder: Path, capsys: Any, prices: Any, spent: str, requests: int
) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_cache_hit_tokens": 40}
    there = server(winner(FIVE, usage=usage))
    ids = folder.parent / "ids.txt"
    ids.write_text("five\n")
    budget = ("--puzzle-ids-file", ids, "-c", 1, "--max-cost", 0.21, *prices)
    assert status_of(*flags(there, puzzles, folder, *budget)) == 0
    assert len(there.seen) == requests
    (row,) = rows_in(folder / "results_1.jsonl")
    assert (row.complete_reason, len(row.replies)) == ("interrupted", requests)
    out, err = capsys.readouterr()
    assert re.search(r"  cost: +(.+)", out)[1] == f"{spent.split()[0]} USD"  # type: ignore[index]
    assert f"stopped: the budget is used up: {spent} USD\n" in err


def test_the_id_of_a_rollout_is_that_of_its_requests(server: Any, puzzles: Path, folder: Path) -> None:
    there = server(winner(PLAIN))
    assert status_of(*flags(there, puzzles, folder, "-n", 1, "-r", 3)) == 0
    ids = {row.rollout_id for row in rows_in(folder / "results_1.jsonl")}
    assert ids == {seen.request_id for seen in there.seen}
    assert len(ids) == 3


def test_output_goes_to_a_new_file(server: Any, puzzles: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "mine.jsonl"
    assert status_of(*flags(server(winner(PLAIN)), puzzles, folder, "-n", 1, "--output", path)) == 0
    assert len(rows_in(path)) == 1
    assert f"wrote {path}" in capsys.readouterr().out
    assert not folder.exists() or not any(folder.iterdir())


def test_output_that_exists_is_refused_and_unchanged(
    server: Any, puzzles: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, path = server(winner(PLAIN)), tmp_path / "mine.jsonl"
    path.write_text("paid for\n")
    refused(capsys, folder, flags(there, puzzles, folder, "--output", path), str(path), "--output")
    refused(capsys, folder, flags(there, puzzles, folder, "--output", tmp_path), str(tmp_path))
    assert path.read_text() == "paid for\n"
    assert there.seen == []


@pytest.mark.parametrize("where", ["new/mine.jsonl", "new/deeper/mine.jsonl", "puzzles.jsonl/mine.jsonl"])
def test_output_is_never_found_unwritable_after_games_are_paid_for(
    server: Any, puzzles: Path, folder: Path, tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there, path = server(winner(PLAIN)), tmp_path / where
    status = status_of(*flags(there, puzzles, folder, "-n", 1, "--output", path))
    assert "Traceback" not in capsys.readouterr().err
    if there.seen:
        assert (status, len(rows_in(path))) == (0, 1)
    else:
        assert status == 2


def test_only_listed_puzzles_are_played(server: Any, puzzles: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_bytes(b"\xef\xbb\xbffive\r\n\r\n  plain \r\nunheard-of\r\n")
    there = server(winner(PLAIN, THREE, FIVE))
    assert status_of(*flags(there, puzzles, folder, "--puzzle-ids-file", ids)) == 0
    assert {row.info.puzzle_id for row in rows_in(folder / "results_1.jsonl")} == {"five", "plain"}
    assert "unheard-of" in capsys.readouterr().err


def test_n_takes_the_first_puzzles(server: Any, puzzles: Path, folder: Path) -> None:
    assert status_of(*flags(server(winner(PLAIN, THREE, FIVE)), puzzles, folder, "-n", 2)) == 0
    assert {row.info.puzzle_id for row in rows_in(folder / "results_1.jsonl")} == {"plain", "three"}


def order_of_games(server: Any, puzzles: Path, folder: Path, seed: int) -> list[str]:
    """The items of the boards in the order in which their games began, one at a time."""
    there = server(winner(PLAIN, THREE, FIVE))
    assert status_of(*flags(there, puzzles, folder, "-r", 4, "-c", 1, "--seed", seed)) == 0
    return [seen.messages[1]["content"] for seen in there.seen if len(seen.messages) == 2]


def test_games_are_begun_in_an_order_that_the_seed_shuffles(server: Any, puzzles: Path, folder: Path) -> None:
    first, same, other = (order_of_games(server, puzzles, folder, seed) for seed in (0, 0, 1))
    assert first == same != other
    assert Counter(first) == Counter(other)
    assert first != sorted(first, key=[*dict.fromkeys(first)].index)  # the games of a puzzle do not come in a row


DEFAULTS = {
    "model": "deepseek-flash",
    "base_url": "https://api.deepseek.com",
    "api_key_var": "DEEPSEEK_API_KEY",
    **dict.fromkeys(("temperature", "top_p", "max_tokens", "reasoning_effort")),
    "sampling_args": {},
    "max_concurrent": 64,
    "max_retries": 6,
    "timeout": 600.0,
    "give_up_after": 300.0,
    "max_cost": None,
    "token_budget": None,
    "seed": 0,
}
OF_GAMES = {"rollouts_per_example": 1, "max_turns": None, "allow_empty_reasoning": False}
OF_PUZZLES = {"puzzles": None, "split": None, "num_examples": None, "ruleset": "nyt"}
OF_TOKENS = {"tokenizer": "qwen3", "max_reply_tokens": 1024, "max_game_tokens": None, "max_sequence_tokens": None}


@pytest.mark.parametrize(
    ("parse", "expected"),
    [
        (parse_args, OF_GAMES | OF_PUZZLES),
        (iterative_generate.parse_args, OF_GAMES | OF_PUZZLES | OF_TOKENS | {"loop": 1, "truncate": "last-valid"}),
        (doctor_gameplay.parse_args, OF_GAMES),
        (reduce_tokens.parse_args, OF_TOKENS),
    ],
)
def test_flags_that_are_not_given_are_what_the_documentation_says(parse: Any, expected: dict[str, Any]) -> None:
    given = vars(parse([]))
    assert {name: given[name] for name in DEFAULTS | expected} == DEFAULTS | expected


def test_max_turns_bounds_a_game(server: Any, puzzles: Path, folder: Path) -> None:
    there = server([completion("no idea", thought="Hm.")])
    assert status_of(*flags(there, puzzles, folder, "-n", 1, "--max-turns", 2)) == 0
    (row,) = rows_in(folder / "results_1.jsonl")
    assert (row.complete_reason, len(there.seen)) == ("max_turns_reached", 2)


def test_a_board_that_cannot_be_played_is_named_and_the_others_go_on(
    server: Any, puzzles: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with puzzles.open("a") as file:
        file.write('{"puzzle_id": "odd", "categories": [{"group": "a", "members": ["X", "X"]}]}\nnul\n')
    assert status_of(*flags(server(winner(PLAIN, THREE, FIVE)), puzzles, folder)) == 0
    err = capsys.readouterr().err
    assert "puzzles.jsonl:4" in err
    assert "puzzles.jsonl:5" in err
    assert len(rows_in(folder / "results_1.jsonl")) == 3


# What is wrong before the first request: exit 2

BAD_FLAGS: list[tuple[str, ...]] = [
    ("-n", "0"),
    ("-n", "many"),
    ("-n", "1.5"),
    ("-r", "0"),
    ("-c", "0"),
    ("--max-retries", "-1"),
    ("--max-turns", "0"),
    ("--timeout", "0"),
    ("--timeout", "nan"),
    ("-T", "-1"),
    ("-T", "nan"),
    ("-T", "inf"),
    ("--top-p", "nan"),
    ("--top-p", "1e999"),
    ("-t", "0"),
    ("-S", "{"),
    ("-S", "[]"),
    ("-S", "7"),
    ("-S", '{"messages": []}'),
    ("-S", '{"stream": true}'),
    ("-S", '{"n": 2}'),
    ("-S", '{"temperature": NaN}'),
    ("-S", '{"temperature": 1e999}'),
    ("-S", '{"stop": "\\ud800"}'),
    ("-S", '{"a": {"b": [-Infinity]}}'),
    ("--max-cost", "-1"),
    ("--max-cost", "nan"),
    ("--max-cost", "1"),
    ("--max-cost", "1", "--price-input", "1"),
    ("--max-cost", "1", "--price-output", "1"),
    ("--max-cost", "1", "--price-input", "nan", "--price-output", "1"),
    ("--token-budget", "0"),
    ("--token-budget", "lots"),
    ("--seed", "x"),
    ("--ruleset", "chess"),
    ("--player-strength", "godlike"),
    ("-b", "ftp://models.invalid"),
    ("-b", "127.0.0.1:8000/v1"),
    ("-b", ""),
    ("--no-such-flag",),
    ("--temp", "1"),
]


@pytest.mark.parametrize("bad", BAD_FLAGS, ids=lambda bad: " ".join(bad)[:40])
def test_a_bad_flag_value_is_one_clear_line(bad: tuple[str, ...], folder: Path, capsys: Any) -> None:
    refused(capsys, folder, ("--puzzles", "builtin", "-n", "1", "--offline", "--results-dir", folder, *bad))


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://:80/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:port/v1",
        "http://[::1/v1",
    ],
)
def test_a_base_url_that_is_none_is_one_clear_line(
    url: str, puzzles: Path, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    refused(capsys, folder, ("--puzzles", puzzles, "--results-dir", folder, "--max-retries", 0, "-b", url))


@pytest.mark.parametrize("key", [None, "", "  \n"])
def test_a_missing_key_names_its_variable_and_the_way_out(
    key: str | None, puzzles: Path, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key is not None:
        monkeypatch.setenv("DEEPSEEK_API_KEY", key)
        monkeypatch.setenv("OTHER_KEY", key)
    start = ("--puzzles", puzzles, "--results-dir", folder)
    refused(capsys, folder, start, "DEEPSEEK_API_KEY", "--offline")
    refused(capsys, folder, (*start, "-k", "OTHER_KEY", "-b", "https://models.invalid/v1"), "OTHER_KEY")


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"“{KEY}”", f"{KEY}\x1b[31m"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(
    key: str, puzzles: Path, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", key)
    capsys.readouterr()
    assert status_of("--puzzles", puzzles, "--results-dir", folder) == 2
    out, err = capsys.readouterr()
    assert "DEEPSEEK_API_KEY" in err
    assert KEY not in out + err


@pytest.mark.parametrize("content", ["", "\n\n", "[]", "{}", "nul\n", '{"puzzle_id": "1"}\n', "\0\0"])
def test_a_file_without_a_playable_puzzle_is_one_clear_line(
    content: str, tmp_path: Path, folder: Path, capsys: Any
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(content)
    refused(capsys, folder, ("--offline", "--puzzles", path, "--results-dir", folder), "some.jsonl")


@pytest.mark.parametrize(
    "source", ["none.jsonl", "folder", "folder/x.jsonl", "notes.txt", "not a source", "broken.json"]
)
def test_a_puzzle_source_that_cannot_be_read_is_one_clear_line(
    source: str, tmp_path: Path, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.json").write_text("{")
    refused(capsys, folder, ("--offline", "--puzzles", source, "--results-dir", folder), source)


def test_an_unknown_split_names_those_there_are(puzzles: Path, folder: Path, capsys: Any) -> None:
    refused(capsys, folder, (*OFFLINE, "--split", "nope", "--results-dir", folder), "nope", "train_sft")
    refused(capsys, folder, ("--offline", "--puzzles", puzzles, "--split", "x", "--results-dir", folder), "--split")


@pytest.mark.parametrize("content", [None, b"", b"\n", b"unheard-of\n", b"\xff\xfe\n"])
def test_a_list_of_ids_that_names_no_puzzle_is_one_clear_line(
    content: bytes | None, tmp_path: Path, folder: Path, capsys: Any
) -> None:
    path = tmp_path / "ids.txt"
    if content is not None:
        path.write_bytes(content)
    refused(capsys, folder, (*OFFLINE, "--puzzle-ids-file", path, "--results-dir", folder), "ids.txt")


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_results_folder_that_is_a_file_is_one_clear_line(tmp_path: Path, below: str, capsys: Any) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    refused(capsys, tmp_path / "none", (*OFFLINE, "--results-dir", path / below), str(path), "--results-dir")
    assert path.read_text() == "x"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything; the code under test does not run as root."""
    user = os.getresuid()
    if os.geteuid() == 0:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(*user)


@pytest.mark.parametrize("below", ["", "deeper/still"])
@pytest.mark.parametrize("mode", [0o000, 0o300, 0o500])
def test_a_results_folder_that_cannot_be_used_is_one_clear_line(
    open_folder: Path, mode: int, below: str, capsys: Any
) -> None:
    if below and mode == 0o300:
        pytest.skip("nothing above the results folder has to be listed")
    folder = open_folder / "closed"
    folder.mkdir()
    (folder / "results_3.jsonl").touch()
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    folder.chmod(mode)
    try:
        with as_nobody():
            status = status_of(*OFFLINE, "-n", 1, "--results-dir", folder / below)
    finally:
        folder.chmod(0o700)
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert str(folder) in err
    assert [path.name for path in folder.iterdir()] == ["results_3.jsonl"]


def test_too_few_open_files_is_one_clear_line(
    puzzles: Path, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (256, 1024))
    start = ("--puzzles", puzzles, "--results-dir", folder, "-b", "http://127.0.0.1:9/v1")
    refused(capsys, folder, (*start, "-c", 2500), "ulimit", "-c")


def test_the_open_files_limit_is_raised_where_it_can_be(
    server: Any, puzzles: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr("resource.getrlimit", lambda which: (256, 4096))
    monkeypatch.setattr("resource.setrlimit", lambda which, limits: raised.append(limits))
    assert status_of(*flags(server(winner(PLAIN)), puzzles, folder, "-n", 1, "-c", 2500)) == 0
    assert [(soft >= 2500, hard) for soft, hard in raised] == [(True, 4096)]


# What the endpoint or the disk does to a run: exit 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (refusal(404, "model big not found"), ("404", "model big not found", "--model")),
        (refusal(401, "bad key"), ("401", "bad key", "API key")),
        (refusal(402, "Insufficient Balance"), ("402", "Insufficient Balance")),
        (refusal(422, "unknown field"), ("422", "unknown field", "--sampling-args")),
    ],
)
def test_a_refused_first_request_is_one_request_one_line_and_no_file(
    server: Any, puzzles: Path, folder: Path, capsys: Any, step: Step, words: tuple[str, ...]
) -> None:
    there = server([step])
    out = stopped(capsys, flags(there, puzzles, folder, "-r", 20), *words)
    assert len(there.seen) == 1
    assert not folder.exists() or not any(folder.iterdir())
    assert "wrote" not in out


def test_an_endpoint_that_nobody_serves_is_one_line_and_no_file(puzzles: Path, folder: Path, capsys: Any) -> None:
    with Server([refusal(500)]) as gone:
        url = gone.url
    argv = ("--puzzles", puzzles, "--results-dir", folder, "-b", url, "--max-retries", 1)
    stopped(capsys, argv, url, "again")
    assert not folder.exists() or not any(folder.iterdir())


def test_a_model_that_hides_its_reasoning_is_found_out(server: Any, puzzles: Path, folder: Path, capsys: Any) -> None:
    there = server(winner(PLAIN, thought=None))
    argv = flags(there, puzzles, folder, "-n", 1, "-r", 50, "-c", 4)
    stopped(capsys, argv, "--allow-empty-reasoning")
    assert len(there.seen) < 30
    assert sum(row.usage.requests for row in rows_in(folder / "results_1.jsonl")) == len(there.seen)
    assert status_of(*argv, "--allow-empty-reasoning") == 0


def test_a_disk_that_is_full_from_the_start_is_one_line_and_no_file(
    server: Any, puzzles: Path, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = flags(server(winner(PLAIN)), puzzles, folder, "-n", 1, "-r", 9, "-c", 2)
    monkeypatch.setattr(os, "write", full_after(100))
    out = stopped(capsys, argv, "No space left on device")
    assert not folder.exists() or not any(folder.iterdir())
    assert "wrote" not in out


def test_a_disk_that_fills_up_ends_the_run_and_keeps_whole_rows(
    server: Any, puzzles: Path, folder: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = server(winner(PLAIN))
    argv = flags(there, puzzles, folder, "-n", 1, "-r", 90, "-c", 2)
    monkeypatch.setattr(os, "write", full_after(20_000))
    out = stopped(capsys, argv, "No space left on device", "results_1.jsonl")
    rows = rows_in(folder / "results_1.jsonl")
    rescued = rows_in(*tmp_path.glob("results_rescued_*.jsonl"))
    assert 2 <= len(rows) < 20
    assert sum(row.usage.requests for row in rows + rescued) == len(there.seen)
    assert f"games:                 {len(rows)} of 90" in out
    assert len(there.seen) < 80
    assert (folder / "results_1.jsonl").read_bytes().endswith(b"}\n")


def test_a_disk_that_cannot_sync_ends_the_run_with_one_line(
    server: Any, puzzles: Path, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    argv = flags(server(winner(PLAIN)), puzzles, folder, "-n", 1, "-r", 4)
    monkeypatch.setattr(os, "fsync", broken)
    stopped(capsys, argv, "Input/output error")


def test_a_reply_that_nothing_expects_does_not_end_the_run(server: Any, puzzles: Path, folder: Path) -> None:
    play = winner(PLAIN)
    odd = Sent(body=b"[" * 100_000)
    there = server(lambda seen: odd if seen.nth == 3 else play(seen))
    assert status_of(*flags(there, puzzles, folder, "-n", 1, "-r", 4)) == 0
    assert len(rows_in(folder / "results_1.jsonl")) == 4


@pytest.mark.parametrize(
    "name", ["api_key", "Authorization", "client_secret", "password", "access_token", "X-Auth-Token"]
)
def test_secrets_in_the_sampling_are_masked_in_rows(name: str) -> None:
    sampling = {"max_tokens": 50, "headers": [{name: KEY}], name: KEY, "temperature": 0.5}
    masked = without_secrets(sampling)
    assert KEY not in json.dumps(masked)
    assert (masked["max_tokens"], masked["temperature"]) == (50, 0.5)


# As processes


def start(*argv: object, **env: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(ROOT / "generate_rollouts.py"), *map(str, argv)]
    kept = {name: value for name, value in os.environ.items() if name != "DEEPSEEK_API_KEY"}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    return subprocess.Popen(command, cwd=ROOT, env=kept | env, **pipes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_half_played_games_and_exits_130(
    server: Any, puzzles: Path, folder: Path, number: signal.Signals
) -> None:
    play = winner(PLAIN, FIVE)
    there = server(lambda seen: Sent(body=play(seen), after=0 if seen.turn == 0 else 0.5))
    process = start(*flags(there, write_puzzles(puzzles, FIVE), folder, "-r", 30, "-c", 4))
    until(lambda: sum(seen.turn == 1 for seen in there.seen) >= 4, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    rows = rows_in(folder / "results_1.jsonl")
    assert len(rows) == 4
    assert {row.complete_reason for row in rows} == {"interrupted"}
    assert sum(row.usage.requests for row in rows) == len(there.seen)
    assert "results_1.jsonl" in out


def test_a_second_ctrl_c_gives_up_what_is_in_flight(server: Any, puzzles: Path, folder: Path) -> None:
    play = winner(PLAIN)
    there = server(lambda seen: Sent(body=play(seen), after=0 if seen.turn == 0 else 300))
    process = start(*flags(there, puzzles, folder, "-n", 1, "-r", 9, "-c", 3))
    until(lambda: sum(seen.turn == 1 for seen in there.seen) >= 3, process)
    process.send_signal(signal.SIGINT)
    assert process.stderr
    while "interrupted" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    rows = rows_in(folder / "results_1.jsonl")
    assert [(row.complete_reason, len(row.replies)) for row in rows] == [("interrupted", 1)] * 3


def test_kill_9_loses_no_game_that_was_counted(server: Any, puzzles: Path, folder: Path) -> None:
    play = winner(PLAIN)
    there = server(lambda seen: Sent(body=play(seen), after=0.02))
    argv = flags(there, puzzles, folder, "-n", 1, "-c", 8, "--progress-every", 0.1, "-r", 400)
    process = start(*argv)
    assert process.stderr
    said = ""
    while counted(said, 400) < 20:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.kill()
    _, rest = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    lines = list(read_lines(folder / "results_1.jsonl"))
    whole = [line for line in lines if not line.torn]
    assert 20 <= counted(said + rest, 400) <= len(whole) < 400
    assert len(lines) - len(whole) <= 1
    assert all(isinstance(read_row(line.data), Rollout) for line in whole)

    before = (folder / "results_1.jsonl").read_bytes()
    assert status_of(*argv[:-1], 2) == 0
    assert len(rows_in(folder / "results_2.jsonl")) == 2
    assert (folder / "results_1.jsonl").read_bytes() == before


def counted(said: str, total: int) -> int:
    return max([int(n) for n in re.findall(rf"(\d+)/{total} games", said)], default=0)


def test_two_runs_in_one_folder_never_share_a_file(server: Any, puzzles: Path, folder: Path) -> None:
    play = winner(PLAIN)
    there = server(lambda seen: Sent(body=play(seen), after=0.05))
    argv = flags(there, puzzles, folder, "-n", 1, "-r", 8, "-c", 4)
    processes = [start(*argv, "-m", name) for name in ("one", "two")]
    outs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    paths = results_files(folder)
    assert [path.name for path in paths] == ["results_1.jsonl", "results_2.jsonl"]
    for path in paths:
        rows = rows_in(path)
        (model,) = {row.model for row in rows}
        assert len(rows) == 8
        assert f"wrote {path}" in outs[["one", "two"].index(model)]


def test_the_key_is_in_no_file_and_no_output(server: Any, puzzles: Path, folder: Path) -> None:
    play, echo = winner(PLAIN), f"your key {KEY} (Bearer {KEY}) is no good"

    def script(seen: Seen) -> Step:
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        if seen.nth == 0:
            return refusal(500, echo, Retry_After="0")
        return refusal(401, echo) if seen.nth >= 8 else play(seen)

    sampling = json.dumps({"api_key": KEY, "headers": {"Authorization": f"Bearer {KEY}"}})
    argv = flags(server(script), puzzles, folder, "-n", 1, "-r", 9, "-c", 2, "-S", sampling)
    process = start(*argv, DEEPSEEK_API_KEY=KEY)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is no good" in err
    assert len(rows_in(folder / "results_1.jsonl")) >= 2
    written = [path.read_text() for path in folder.iterdir()]
    for text in (out, err, *written):
        assert KEY not in text
        assert KEY[8:] not in text


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        (
            None,
            "to go on: uv run python iterative_generate.py --offline --token-budget 1 -c 1 --puzzles builtin "
            "--results-dir games",
        ),
        (
            "mine/results_7.jsonl",
            "to go on: uv run python iterative_generate.py --offline --token-budget 1 -c 1 --puzzles builtin "
            "--results-dir mine",
        ),
        (
            "mine/x.jsonl",
            "to go on, name mine/x.jsonl results_x.jsonl and run: uv run python iterative_generate.py --offline "
            "--token-budget 1 -c 1 --puzzles builtin --results-dir mine",
        ),
    ],
)
def test_what_is_said_to_go_on_by_finds_the_games_with_the_flags_they_were_played_with(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str | None,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    to = ("--results-dir", "games", "--output", output) if output else ("--results-dir", "games")
    flags = ("--offline", "--token-budget", "1", "-c", "1", "--puzzles", "builtin")
    assert status_of(*flags, *to) == 0
    assert capsys.readouterr().err.splitlines()[-1] == hint
    if output:
        named = Path(output).with_name(Path(output).name.replace("x.jsonl", "results_x.jsonl"))
        Path(output).rename(named)
    assert iterative_generate.main(["--dry-run", *hint.partition("iterative_generate.py ")[2].split()]) == 0
    assert "Missing puzzles: 69\n" in capsys.readouterr().out


def test_games_that_are_saved_elsewhere_got_a_reply_and_the_conflict_is_named(
    server: Any, puzzles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, play = tmp_path / "mine.jsonl", winner(PLAIN, THREE, FIVE)

    def meanwhile(seen: Seen) -> Step:
        output.write_text("another run's\n")
        return play(seen)

    argv = ("-b", server(meanwhile).url, "--puzzles", puzzles, "--output", output)
    out = stopped(capsys, argv, f"cannot write {output}: File exists")
    assert re.search(r"games: +0 of 3\n(?s:.*)saved elsewhere: +[1-3]\n", out)
    assert "no game got a reply" not in out
    assert output.read_text() == "another run's\n"


@pytest.mark.parametrize(("flag", "value"), [("-T", "2.1"), ("-T", "-1"), ("--top-p", "1.01"), ("--top-p", "nan")])
def test_sampling_beyond_what_help_says_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    refused(capsys, folder, ("--offline", "--results-dir", folder, flag, value), value)


def test_a_full_disk_is_seen_before_anything_is_paid(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.statvfs_result((4096, 4096, 1000, 0, 0, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    refused(
        capsys, folder, ("--offline", "--results-dir", folder), "its disk is full; make room or choose another folder"
    )
