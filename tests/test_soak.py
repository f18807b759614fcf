"""The soak itself: a small one keeps its promises, and broken ones are noticed."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.soak import Soak, counted_in, prove, results_in, rows_of, soaked


def test_the_progress_of_loops_is_added_up() -> None:
    first = "0/9 games in 0:00 | 0 good, 0 bad\n1/9 games in 0:30 | 1 good, 0 bad\n9/9 games in 0:41\nloop 1\n"
    assert counted_in(first) == 9
    assert counted_in(f"{first}20/1,040 games in 0:30 | 20 good") == 29
    assert counted_in(f"{first}3/9 games in 0:30 | 20 good") == 12
    assert counted_in("") == 0


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Soak:
    """Played, killed and resumed once; tests change copies of it."""
    one = Soak(tmp_path_factory.mktemp("soak"), games=60, kills=5, rng=random.Random(0))
    (one.folder / "table.txt").write_text(soaked(one, rate=0.1, seed=0, latency=0.1))
    return one


def test_a_small_soak_keeps_all_promises(soak: Soak) -> None:
    assert soak.broken == []
    table = dict(line.rsplit(None, 1) for line in (soak.folder / "table.txt").read_text().splitlines())
    assert int(table["  rows"]) >= 60
    assert int(table["  kills"]) >= 1
    assert int(table["  requests"]) > int(table["  answered"]) > 60


Lines = list[dict[str, Any]]


def first(lines: Lines, so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return next(line for line in lines if so(line))


def won(row: dict[str, Any]) -> bool:
    return row["complete_reason"] == "all_categories_found" and row["resumed_from"] is None


def lose_a_row(lines: Lines) -> None:
    lines.remove(first(lines, won))


def write_a_row_twice(lines: Lines) -> None:
    lines.append(lines[0])


def invent_a_reply(lines: Lines) -> None:
    first(lines, won)["completion"][-1]["reasoning_content"] = "I just knew."


def change_a_verdict(lines: Lines) -> None:
    first(lines, won)["guess_history"][0]["status"] = "auto"


def change_a_question(lines: Lines) -> None:
    first(lines, lambda row: len(row["completion"]) > 1)["completion"][1]["content"] = "Well done."


def forget_the_last_reply(lines: Lines) -> None:
    row = first(lines, won)
    row["completion"], row["complete_reason"] = row["completion"][:-2], "max_turns_reached"
    row["guess_history"] = row["guess_history"][:-2]  # the game completed the last group itself
    for name in ("reply_finish", "reply_tokens"):
        row[name].pop()


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lose_a_row, "ended with 0 and lost "),
        (write_a_row_twice, "is there twice"),
        (invent_a_reply, "were never sent"),
        (change_a_verdict, "its guess history is not that of its replies"),
        (change_a_question, "is not the conversation that its replies lead to"),
        (forget_the_last_reply, "1 answers that were sent are not in it (max_turns_reached)"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    tamper: Callable[[Lines], None], said: str, soak: Soak, tmp_path: Path
) -> None:
    copied = copy_of(soak, tmp_path)
    path = written_gently(copied)
    lines = rows_of(path)
    tamper(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    copied.sizes[path.name] = path.stat().st_size
    prove(copied)
    assert any(said in broken for broken in copied.broken), copied.broken


@pytest.mark.parametrize("line", [b'{"rollout_id": "1', b"nul\n"])
def test_a_line_that_cannot_be_read_is_wrong_where_nobody_was_killed(line: bytes, soak: Soak, tmp_path: Path) -> None:
    copied = copy_of(soak, tmp_path)
    path = written_gently(copied)
    with path.open("ab") as file:
        file.write(line)
    prove(copied)
    assert any("changed after the run" in broken for broken in copied.broken)
    assert any("cannot be read" in broken for broken in copied.broken)


def test_a_state_that_the_files_do_not_bear_out_is_wrong(soak: Soak, tmp_path: Path) -> None:
    copied = copy_of(soak, tmp_path)
    copied.dry_run = copied.dry_run.replace("Missing puzzles: 0", "Missing puzzles: 1")
    prove(copied)
    assert [broken.split(":")[0] for broken in copied.broken] == ["--dry-run"]


def copy_of(soak: Soak, folder: Path) -> Soak:
    shutil.copytree(soak.folder, folder / "copy")
    return replace(soak, folder=folder / "copy", broken=[], sizes=dict(soak.sizes))


def written_gently(soak: Soak) -> Path:
    """A results file with a game won from scratch, its run taken for one that ended by itself."""
    path = next(path for path in results_in(soak.results) if any(map(won, rows_of(path))))
    soak.runs = [replace(one, sent_signal=None, status=0) if path.name in one.files else one for one in soak.runs]
    return path
