"""Games as people read them: what is shown of every kind of file, and what never reaches a terminal."""

import fcntl
import json
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

import collate
import reduce_tokens
from connections_env import entries, show
from connections_env.examples import GoodRow, RejectedRow, canonical_row, count_row
from connections_env.formats import split
from connections_env.paint import FOREGROUNDS, GROUPS, NOBODY, cells, coloured, flowed, plain, wrapped
from connections_env.parsing import Reply
from connections_env.puzzles import Group, Puzzle, shuffled
from connections_env.records import Cut, ResumedFrom, Rollout
from connections_env.rulesets import PUZZGRID
from connections_env.salvage import job_row
from connections_env.tiles import Grid, Tile, grid_for, laid_out
from connections_env.tokens import load_tokenizer
from tests.rollouts import (
    REASONING,
    board,
    changed,
    cut_off_at,
    empty,
    interrupted,
    invalid_at,
    lost,
    played,
    results_file,
    rollout,
    script_replies,
    won,
)

ROOT = Path(__file__).parent.parent
SGR = re.compile(r"\x1b\[[\d;]*m")
ANIMALS = ("🐶", "🐱", "🦊", "🐻‍❄️")
EMOJI = Puzzle(
    "emoji",
    shuffled([*ANIMALS, "日本", "東京", "こんにちは", "漢字", "🇳🇴", "🇫🇷", "🇯🇵", "🇧🇷", "É", "Ü", "Ø", "ÇA VA"]),
    (
        Group("ANIMALS 🐾", ANIMALS),
        Group("日本語", ("日本", "東京", "こんにちは", "漢字")),
        Group("FLAGS", ("🇳🇴", "🇫🇷", "🇯🇵", "🇧🇷")),
        Group("ACCENTS", ("É", "Ü", "Ø", "ÇA VA")),
    ),
    title="Emoji & 漢字",
)
LONG = Puzzle(
    "long",
    shuffled(
        [
            *("TO BE OR NOT TO BE, THAT IS THE QUESTION", "ALL THE WORLD'S A STAGE", "Et tu, Brute?", "20,000"),
            *("5, 6, 7, 8", "007", "PNEUMONOULTRAMICROSCOPICSILICOVOLCANOCONIOSIS", "A", "B"),
        ]
    ),
    (
        Group("SHAKESPEARE", ("TO BE OR NOT TO BE, THAT IS THE QUESTION", "ALL THE WORLD'S A STAGE", "Et tu, Brute?")),
        Group("NUMBERS", ("20,000", "5, 6, 7, 8", "007")),
        Group("LETTERS", ("PNEUMONOULTRAMICROSCOPICSILICOVOLCANOCONIOSIS", "A", "B")),
    ),
)

GOLDEN = """\
made-1
verdict  good
outcome  won after 4 guesses, 1 wrong, reward 5.25
tokens   160 in 4 replies
from     results_1.jsonl:1, rollout r1, scripted, nyt

   SUX   DUX   VUX   TUX
   RUX   HUX   FUX   BUX
   ZUX   MUX   KUX   JUX
   GUX   LUX   NUX   PUX

   A  ZONE0 of 1: BUX | DUX | FUX | GUX
   B  ZONE1 of 1: HUX | JUX | KUX | LUX
   C  ZONE2 of 1: MUX | NUX | PUX | RUX
   D  ZONE3 of 1: SUX | TUX | VUX | ZUX

-- Turn 1, 40 tokens -----------------------------------------------------------
  These belong together, and nothing else on the board does.

   BUX   DUX   FUX   GUX
  correct   A A A A   found 1 of 4   4 mistakes left
  > Correct! The theme is: ZONE0 of 1

-- Turn 2, 40 tokens -----------------------------------------------------------
  These belong together, and nothing else on the board does.

   HUX   JUX   KUX   MUX
  one away   B B B C   found 1 of 4   3 mistakes left
  > One away: 3 of these 4 items belong together.

-- Turn 3, 40 tokens -----------------------------------------------------------
  These belong together, and nothing else on the board does.

   HUX   JUX   KUX   LUX
  correct   B B B B   found 2 of 4   3 mistakes left
  > Correct! The theme is: ZONE1 of 1

-- Turn 4, 40 tokens -----------------------------------------------------------
  These belong together, and nothing else on the board does.

   MUX   NUX   PUX   RUX
  correct   C C C C   found 4 of 4   3 mistakes left

   SUX   VUX   TUX   ZUX
  completed by the game   D D D D
"""


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PAGER", "LESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


Captured = pytest.CaptureFixture[str]


def shown(capsys: Captured, *argv: object, status: int = 0) -> tuple[str, str]:
    """What the command prints, on both streams."""
    capsys.readouterr()
    assert show.main([str(word) for word in argv]) == status
    out, err = capsys.readouterr()
    return out, err


def of(capsys: Captured, *rows: Any, flags: tuple[object, ...] = ()) -> str:
    """What is shown of rows in a results file."""
    return shown(capsys, results_file(Path("results_1.jsonl"), rows), "--width", 80, *flags)[0]


# A game


def test_a_game_is_shown_with_its_board_and_turn_by_turn(capsys: Captured) -> None:
    assert of(capsys, played(board(1), "RORR", rollout_id="r1")) == GOLDEN


def test_a_resumed_game_tells_where_it_was_cut_and_from_which_game(capsys: Captured) -> None:
    parent = ResumedFrom(rollout_id="parent-1", turns=2)
    cut = Cut(turns=3, kept=2, truncate="last-valid")
    row = played(board(1), "RORR", resumed_from=parent, cuts=[cut])
    out = of(capsys, row)
    cut = out.index("-- resumed here, from parent-1, 3 replies cut off -----")
    assert out.index("-- Turn 2, 40 tokens ---") < cut < out.index("-- Turn 3, 40 tokens ---")
    merely = of(capsys, row.model_copy(update={"cuts": []}))
    assert "-- resumed here, from parent-1, nothing cut off ---" in merely
    elsewhere = Cut(turns=None, kept=1, truncate=None)
    parent = ResumedFrom(rollout_id=None, turns=1)
    unknown = of(capsys, row.model_copy(update={"resumed_from": parent, "cuts": [elsewhere]}))
    assert unknown.index("-- resumed here, from an earlier game, replies cut off ---") < unknown.index("-- Turn 2")


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (won(board(1)), "good"),
        (lost(board(1)), "bad: game lost; a cut would keep 4 of 5 turns"),
        (invalid_at(board(1), 1), "bad: invalid guess; a cut would keep nothing"),
        (cut_off_at(board(1), 2), "bad: reply cut off; a cut would keep 1 of 3 turns"),
        (interrupted(board(1), "RW"), "bad: unfinished; a cut would keep 2 of 2 turns"),
        (empty(board(1)), "bad: no reply"),
    ],
)
def test_the_verdict_says_why_a_game_is_bad_and_what_a_cut_would_keep(
    row: Rollout, verdict: str, capsys: Captured
) -> None:
    assert of(capsys, row).split("\n")[1] == f"verdict  {verdict}"


def test_wrong_and_invalid_guesses_are_told_with_their_letters_and_reasons(capsys: Captured) -> None:
    out = of(capsys, played(board(1), "ONXWWW"))
    verdicts = [line.strip() for line in out.splitlines() if "mistakes left" in line or "mistake left" in line]
    assert verdicts == [
        "one away   A A A B   found 0 of 4   3 mistakes left",
        "invalid: no guess   found 0 of 4   3 mistakes left",
        "invalid: not on board   ? A A A   found 0 of 4   3 mistakes left",
        "incorrect   A A B B   found 0 of 4   2 mistakes left",
        "incorrect   A A B B   found 0 of 4   1 mistake left",
        "incorrect   A A B B   found 0 of 4   0 mistakes left",
    ]
    assert "> Invalid guess: it has an item that is not on the board; spell the items as they are given." in " ".join(
        out.split()
    )


def test_the_naming_of_themes_is_shown_right_and_wrong(capsys: Captured) -> None:
    puzzle = board(1)
    replies = script_replies(puzzle, "WRRR", PUZZGRID)
    replies.append(Reply('<themes>["the zone0", "?", "zone2"]</themes>', "Naming them.", "stop", 9))
    out = of(capsys, rollout(puzzle, replies, ruleset=PUZZGRID))
    assert "outcome  won after 4 guesses, 1 wrong, 2 of 4 themes right, reward " in out
    assert "  incorrect   A A B B   found 0 of 4   mistakes do not count yet\n" in out
    assert out.endswith(
        "  A  right   the zone0\n"
        "  B  wrong   ? (it is ZONE1 of 1)\n"
        "  C  right   zone2\n"
        "  D  wrong   (nothing) (it is ZONE3 of 1)\n"
    )


def test_unfit_replies_are_marked_and_those_after_the_end_are_told(capsys: Captured) -> None:
    out = of(capsys, played(board(1), "RQCL"[:3]))
    assert "-- Turn 2, 40 tokens, unfit: no reasoning ---" in out
    assert "  (no reasoning)\n" in out
    assert "-- Turn 3, 40 tokens, unfit: control tokens ---" in out
    over = won(board(1)).model_dump(mode="json")
    for name, value in {"reply_tokens": 1, "reply_finish": None, "reply_unfit": None, "reply_models": "m"}.items():
        over[name] = [*over[name], value]
    over["completion"] += [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "Why?"}]
    out = of(capsys, over)
    assert "  the game was over before this reply\n" in out
    assert "note     replayed: it has replies after the end of the game\n" in out


def test_a_record_that_is_not_what_its_replies_give_is_told(capsys: Captured) -> None:
    assert "note     replayed: its reward is 5.5, recorded as 4\n" in of(capsys, changed(won(board(1)), reward=4.0))


def test_reasoning_is_folded_to_its_length(capsys: Captured) -> None:
    out = of(capsys, won(board(1)), flags=("--no-reasoning",))
    assert out.count(f"  (reasoning: {len(REASONING)} characters, about {-(-len(REASONING) // 4)} tokens)\n") == 3
    assert REASONING not in out


# Other files


def test_rows_of_other_tools_are_shown_as_replayed_and_raw_as_they_are(capsys: Captured) -> None:
    puzzle = board(1)
    info = {"puzzle_id": "77", "all_words": list(puzzle.items)}
    info |= {"categories": [{"group": group.theme, "members": list(group.members)} for group in puzzle.groups]}
    said = [
        {
            "role": "assistant",
            "content": f"<reason>Hm, hm.</reason><answer>{', '.join(puzzle.groups[0].members)}</answer>",
        },
        {"role": "user", "content": "Good boy!"},
        {"role": "assistant", "content": "I give up."},
    ]
    row = {
        "example_id": 1,
        "prompt": [{"role": "user", "content": "Play."}],
        "completion": said,
        "info": info,
        "reward": 9,
    }
    Path("metadata.json").write_text('{"model": "some/model"}')
    out = of(capsys, row)
    assert out.startswith("77\nverdict  bad: invalid guess; a cut would keep 1 of 2 turns\n")
    assert ", some/model, nyt\nnote     a game of verifiers; verdicts are those of its replay\n" in out
    assert "  Hm, hm.\n" in out
    raw = of(capsys, row, flags=("--raw",)).split("\n")
    assert raw[1:4] == ["", "[user: content]", "Play."]
    assert raw[4:7] == ["", "[assistant: content]", said[0]["content"]]
    assert "Good boy!" in raw


def test_a_row_that_names_no_board_is_shown_by_its_record(capsys: Captured) -> None:
    row = {"puzzle_id": "9", "guess_history": [{"status": "correct"}, {"status": "one_away"}], "completion": []}
    assert "no board is named; its guesses were: correct, one away\n" in of(capsys, row)


def test_a_job_ends_where_it_is_to_be_resumed(capsys: Captured) -> None:
    job = job_row(RejectedRow(**dict(lost(board(1))), rejection="game lost"), "last-valid")
    assert job
    out = of(capsys, job)
    assert "verdict  job: game lost; cut last valid\n" in out
    assert out.splitlines()[-1].startswith("-- to be resumed here, 1 reply was cut off (wrong guess) ---")


def test_a_reduced_game_is_shown_as_it_is_and_as_it_was(capsys: Captured) -> None:
    row = canonical_row(won(board(1)))
    short = [
        message.model_copy(update={"content": message.content.replace(REASONING, "Obvious.")})
        for message in row.completion
    ]
    fields = {"completion": short, "original_completion": row.completion, "reduced": True}
    reduced = GoodRow(**(dict(row) | fields | {"reducer_models": ["reducer"]}))
    before = count_row(row, load_tokenizer()).completion
    out = of(capsys, reduced)
    said = " ".join(out.split())
    told = f"reduced by reducer (--before shows the original), the game had {before} before, as a trainer counts them"
    assert told in said
    assert "Obvious." in out
    assert REASONING not in out
    before = of(capsys, reduced, flags=("--before",))
    assert before.count(REASONING) == 3
    assert "Obvious." not in before
    assert "note     as it was before it was reduced\n" in before
    assert ", estimated\n" in before
    assert before.count(", about 30 tokens ---") == 3
    assert REASONING in of(capsys, reduced, flags=("--before", "--raw"))
    assert of(capsys, row, flags=("--before",)) == of(capsys, row)


def test_a_game_of_several_names_all_and_each_cut_in_its_place(capsys: Captured) -> None:
    replies = [
        reply._replace(model="\x1bfirst" if nth < 2 else "second")
        for nth, reply in enumerate(script_replies(board(1), "RORR"))
    ]
    cuts = [Cut(turns=2, kept=1, truncate="last-valid")]
    row = rollout(board(1), replies, resumed_from=ResumedFrom(rollout_id="p", turns=2), cuts=cuts, rollout_id="r")
    out = of(capsys, row)
    assert "rollout r, \\x1bfirst, then second, nyt\n" in out
    earlier = out.index("-- resumed here, by an earlier game, 2 replies cut off ---")
    assert out.index("-- Turn 1,") < earlier < out.index("-- Turn 2,")
    here = out.index("-- resumed here, from p, nothing cut off ---")
    assert out.index("-- Turn 2,") < here < out.index("-- Turn 3,")
    results_file(Path("good.jsonl"), [canonical_row(row)])
    assert collate.main(["good.jsonl", "--no-default-exclude"]) == 0
    example, _ = shown(capsys, "sft_examples.jsonl", "--width", 80)
    assert "\\x1bfirst, then second, nyt\n" in example
    assert "-- resumed here, by an earlier game, replies cut off ---" in example
    assert "-- resumed here, from an earlier game, nothing cut off ---" in example
    assert collate.main(["good.jsonl", "--no-default-exclude", "--format", "per-turn"]) == 0
    first, second, *_ = shown(capsys, "sft_examples.jsonl", "--width", 80, "--all")[0].split("puzzle-made-1\n")[1:]
    assert "\\x1bfirst, nyt\n" in first
    assert "\\x1bfirst, then second, nyt\n" in second


def test_a_job_tells_how_many_replies_it_was_cut_by_and_not_those_before_it(capsys: Captured) -> None:
    cuts = [Cut(turns=5, kept=1, truncate="last-valid")]
    bad = played(board(1), "RRN", resumed_from=ResumedFrom(rollout_id="p", turns=1), cuts=cuts)
    job = job_row(RejectedRow(**dict(bad), rejection="invalid guess"), "last-valid")
    assert job
    out = of(capsys, job)
    assert "-- resumed here, from p, 5 replies cut off ---" in out
    assert "-- to be resumed here, 1 reply was cut off (invalid guess: no guess) ---" in out


@pytest.mark.parametrize("layout", ["trl", "messages"])
def test_an_example_of_the_dataset_is_shown_on_the_board_its_prompt_shows(layout: str, capsys: Captured) -> None:
    row = canonical_row(played(board(1), "RORR", simulated=True))
    results_file(Path("good_examples_reduced.jsonl"), [row])
    assert collate.main(["good_examples_reduced.jsonl", "--format", layout, "--no-default-exclude"]) == 0
    out, _ = shown(capsys, "sft_examples.jsonl", "--width", 80)
    assert out.startswith("puzzle-made-1\nverdict  good\noutcome  won after 4 guesses, 1 wrong, reward 5.25\n")
    of_results = of(capsys, row).split("\n\n", 1)[1]
    figures = re.compile(r"(?:about )?\d+ tokens -*")
    assert figures.sub("", out.split("\n\n", 1)[1]) == figures.sub("", of_results)
    assert "note     an example of the dataset, " in out
    assert " tokens as a trainer counts them, its prompt included\n" in out.replace("\n         ", " ")
    for wanted in ("made-1", "puzzle-made-1"):
        assert shown(capsys, "sft_examples.jsonl", "--puzzle-id", wanted)[0]


def collated(layout: str, *flags: str) -> None:
    rows = [canonical_row(played(board(1), "RORR", simulated=True)), canonical_row(won(board(2), simulated=True))]
    results_file(Path("good_examples_reduced.jsonl"), rows)
    argv = ["good_examples_reduced.jsonl", "--format", layout, "--no-default-exclude", *flags]
    assert collate.main(argv) == 0


@pytest.mark.parametrize("layout", ["trl", "messages", "sharegpt", "per-turn", "openai"])
def test_a_parquet_file_is_shown_as_its_jsonl_is(layout: str, capsys: Captured) -> None:
    collated(layout, "--parquet")
    for flags in (["--all"], ["--list"], ["-n", "2", "--raw"], ["--random", "--seed", "1"]):
        plainly = shown(capsys, "sft_examples.jsonl", *flags)[0].replace("examples.jsonl:", "examples.parquet:")
        assert shown(capsys, "sft_examples.parquet", *flags)[0].split() == plainly.split()


def test_a_folder_for_the_hub_is_shown_by_its_first_layout_or_by_the_one_named(capsys: Captured) -> None:
    collated("hf", "--license", "mit", "--test-size", "1")
    listed = [line.split() for line in shown(capsys, "sft_dataset", "--list")[0].splitlines()]
    assert [line[1] for line in listed] == ["trl/train-00000-of-00001.parquet:1", "trl/test-00000-of-00001.parquet:1"]
    assert {line[2] for line in listed} == {"puzzle-made-1", "puzzle-made-2"}
    turns = shown(capsys, "sft_dataset/per-turn", "--list")[0].splitlines()
    assert len(turns) == 6


def test_a_row_of_one_turn_is_no_unfinished_game(capsys: Captured) -> None:
    collated("per-turn")
    out = shown(capsys, "sft_examples.jsonl", "-n", 2, "--width", 80)[0]
    assert out.startswith(
        "puzzle-made-1\nverdict  good: turn 3 of a game, ends with a right guess\n"
        "outcome  2 of 4 groups found, 1 wrong\ntokens   about "
    )
    assert "unfinished" not in out
    assert "no reasoning" not in out
    assert out.count(REASONING) == 1
    assert "  correct   B B B B   found 2 of 4   3 mistakes left\n" in out
    listed = shown(capsys, "sft_examples.jsonl", "--list")[0].splitlines()
    assert [re.split("  +", line.strip())[3] for line in listed[:3]] == ["good, turn 1", "good, turn 3", "good, turn 4"]
    assert shown(capsys, "sft_examples.jsonl", "--list", "--bad", status=1)[0] == ""


@pytest.mark.parametrize("reasoning", ["inline", "split"])
def test_a_row_of_messages_alone_is_shown_on_the_board_it_tells(reasoning: str, capsys: Captured) -> None:
    collated("openai")
    if reasoning == "split":  # which is not written here, but by other tools
        path = Path("sft_examples.jsonl")
        rows = [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]
        results_file(path, [{"messages": [*map(split, row)]} for row in rows])
    out = shown(capsys, "sft_examples.jsonl", "--width", 80)[0]
    assert "\nverdict  good\noutcome  won after 4 guesses, 1 wrong, reward 5.25\n" in out
    assert "   A  ZONE0 of 1: BUX | DUX | FUX | GUX\n" in out
    assert "   D  (its theme is not told): SUX | VUX | TUX | ZUX\n" in out
    of_results = of(capsys, played(board(1), "RORR")).partition("-- Turn 1")[2]
    figures = re.compile(r"(?:about )?\d+ tokens -*")
    assert figures.sub("", out.partition("-- Turn 1")[2]) == figures.sub("", of_results)


def test_themes_that_a_player_named_are_those_of_the_board_it_tells(capsys: Captured) -> None:
    puzzle = board(1)
    themes = Reply('<themes>["zone0", "zone1", "zone2", "zone3"]</themes>', "Naming them.", "stop", 9)
    row = rollout(puzzle, [*script_replies(puzzle, "RRR", PUZZGRID), themes], ruleset=PUZZGRID)
    results_file(Path("good_examples.jsonl"), [canonical_row(row)])
    assert collate.main(["good_examples.jsonl", "--format", "openai", "--no-default-exclude"]) == 0
    out = shown(capsys, "sft_examples.jsonl", "--width", 80)[0]
    assert "outcome  won after 3 guesses, 4 of 4 themes right, reward 11.25\n" in out
    assert "   D  zone3: " in out


@pytest.mark.parametrize("spoilt", ["Items: [`", "Correct!", "<guess>"])
def test_messages_that_tell_no_board_of_ours_are_shown_as_a_conversation(spoilt: str, capsys: Captured) -> None:
    collated("openai")
    path = Path("sft_examples.jsonl")
    path.write_text(path.read_text(encoding="utf-8").replace(spoilt, "Words: ["), encoding="utf-8")
    out = shown(capsys, path, "--width", 80)[0]
    assert "verdict  no board\n" in out
    assert "-- assistant ---" in out


def test_tokens_that_nobody_counted_are_said_to_be_estimated(capsys: Captured) -> None:
    replies = [reply._replace(tokens=None if nth else 40) for nth, reply in enumerate(script_replies(board(1), "RORR"))]
    out = of(capsys, rollout(board(1), replies))
    assert "tokens   about 118 in 4 replies, 3 of them estimated\n" in out
    assert [line[3:].rstrip(" -") for line in out.splitlines() if line.startswith("-- Turn")] == [
        "Turn 1, 40 tokens",
        *(f"Turn {nth}, about 26 tokens" for nth in (2, 3, 4)),
    ]


def test_a_reject_of_collation_is_shown_with_its_reasons_and_the_game_it_speaks_of(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results_file(Path("mine/good.jsonl"), [canonical_row(won(board(1))), canonical_row(won(board(2)))])
    argv = ["mine/good.jsonl", "--output-dir", "mine", "--max-game-tokens", "20", "--no-default-exclude"]
    assert collate.main(argv) == 1
    monkeypatch.chdir(tmp_path / "mine")  # the place is looked for beside the rejects too
    out, _ = shown(capsys, "sft_rejects.jsonl", "-n", 2, "--width", 80)
    assert out.startswith("made-2\nverdict  rejected\noutcome  won after 3 guesses, reward 5.5\n")
    assert "note     rejected: over a token limit: " in out
    assert "note     its game is at mine/good.jsonl:2\n" in out
    assert "  completed by the game   D D D D\n" in out
    Path("good.jsonl").unlink()
    out, _ = shown(capsys, "sft_rejects.jsonl", "-n", 2)
    assert "note     its game is no longer at mine/good.jsonl:2\n" in out


def test_a_reject_of_reduction_is_shown_as_a_conversation(capsys: Captured) -> None:
    good = canonical_row(won(board(1), simulated=True))
    results_file(Path("good_examples.jsonl"), [good])
    argv = ["good_examples.jsonl", "--offline", "--max-reply-tokens", "5", "--progress-every", "0"]
    assert reduce_tokens.main(argv) == 0
    out, _ = shown(capsys, "reduce_rejects.jsonl", "--width", 80)
    assert out.startswith("made-1\nverdict  rejected\n")
    assert "note     rejected: " in out
    assert out.count("-- assistant ---") == 3
    assert f"  {REASONING}\n" in out
    assert "  <guess>[`" in out


@pytest.mark.parametrize(
    "line",
    [
        {**json.loads(won(board(1)).to_line()), "kind": ["good"]},
        {"is_spare": False, "why": 1, "reasons": True, "completion": 3},
        {"doctoring_type": "none", "categories": None},
        {"place": "x:1", "reasons": [None]},
        {"messages": {"role": "user"}},
    ],
)
def test_a_line_that_is_odd_stops_no_other(line: dict[str, Any], capsys: Captured) -> None:
    path = results_file(Path("r.jsonl"), [line, won(board(2))])
    assert "made-2 " in shown(capsys, path, "--list")[0]
    assert shown(capsys, path, "--all", "--before")[0]


# Which games


def some(path: str = "results_1.jsonl") -> Path:
    rows = [won(board(1)), lost(board(2)), "{torn", won(board(3)), invalid_at(board(1), 2)]
    return results_file(Path(path), rows)


def test_without_a_choice_the_first_game_is_shown_and_the_others_are_told_of(capsys: Captured) -> None:
    out, err = shown(capsys, some())
    assert out.startswith("made-1\nverdict  good\n")
    assert err == (
        "the first of 4 games; -n N, --random, --puzzle-id ID, --good or --bad choose others, --list names all\n"
        "1 line could not be read: results_1.jsonl:3: expected a JSON object, got '{torn'\n"
    )
    assert shown(capsys, results_file(Path("one.jsonl"), [won(board(1))]))[1] == ""


def test_games_are_listed_a_line_each_and_chosen_by_their_number(capsys: Captured) -> None:
    listed = shown(capsys, some(), "--list")[0].splitlines()
    assert [re.split(r"  +", line.strip()) for line in listed] == [
        ["1", "results_1.jsonl:1", "made-1", "good", "3 turns", "reward 5.5"],
        ["2", "results_1.jsonl:2", "made-2", "bad: game lost", "5 turns", "reward 2.1"],
        ["3", "results_1.jsonl:4", "made-3", "good", "3 turns", "reward 5.5"],
        ["4", "results_1.jsonl:5", "made-1", "bad: invalid guess", "2 turns", "reward 2.25"],
    ]
    assert shown(capsys, some(), "-n", 3)[0].startswith("made-3\n")
    assert shown(capsys, some(), "-n", 2, "--bad")[0].startswith("made-1\n")
    bad = shown(capsys, some(), "--list", "--bad")[0].splitlines()
    assert [line.split()[:2] for line in bad] == [["1", "results_1.jsonl:2"], ["2", "results_1.jsonl:5"]]
    assert len(shown(capsys, some(), "--list", "--good")[0].splitlines()) == 2
    assert len(shown(capsys, some(), "--list", "--puzzle-id", "made-1")[0].splitlines()) == 2


def test_a_rollout_is_found_by_its_id_and_all_are_shown_one_after_the_other(capsys: Captured) -> None:
    path = results_file(Path("r.jsonl"), [won(board(n), rollout_id=f"id-{n}") for n in (1, 2, 3)])
    assert shown(capsys, path, "--rollout-id", "id-2")[0].startswith("made-2\n")
    out = shown(capsys, path, "--all", "--width", 20)[0]
    assert re.findall(r"^made-\d$", out, re.MULTILINE) == ["made-1", "made-2", "made-3"]
    assert out.count(f"\n\n{'=' * 20}\n\n") == 2


def test_chance_is_repeated_by_its_seed_and_reaches_every_game_that_is_wanted(capsys: Captured) -> None:
    path = some()
    seen = {seed: shown(capsys, path, "--random", "--seed", seed)[0] for seed in range(30)}
    assert {out.split("\n")[0] for out in seen.values()} == {"made-1", "made-2", "made-3"}
    assert all(shown(capsys, path, "--random", "--seed", seed)[0] == out for seed, out in seen.items())
    bad = {shown(capsys, path, "--random", "--bad", "--seed", seed)[0].split("\n")[1] for seed in range(20)}
    assert all(verdict.startswith("verdict  bad: ") for verdict in bad)
    assert shown(capsys, path, "--random")[1].count("the first of") == 0


def test_a_folder_is_all_of_its_results_files(capsys: Captured) -> None:
    results_file(Path("out/results_2.jsonl"), [won(board(2))])
    results_file(Path("out/results_10.jsonl"), [won(board(3))])
    results_file(Path("out/run/results.jsonl"), [won(board(4))])
    listed = shown(capsys, "out", "--list")[0].splitlines()
    assert [line.split()[1:3] for line in listed] == [
        ["results_2.jsonl:1", "made-2"],
        ["results_10.jsonl:1", "made-3"],
        ["run/results.jsonl:1", "made-4"],
    ]


def test_reading_stops_with_the_game_that_was_asked_for(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = entries.read_entry
    monkeypatch.setattr(show, "read_entry", lambda data, place, path: read.append(place) or whole(data, place, path))
    assert shown(capsys, some(), "-n", 2)[0].startswith("made-2\n")
    assert read == ["results_1.jsonl:1", "results_1.jsonl:2"]


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["nothing.jsonl"], 2, "error: no such file: nothing.jsonl"),
        (["bad_examples.jsonl"], 2, "make it with: uv run python filter_gameplay.py"),
        (["."], 2, "error: no results files in .; name a file, a folder like generate_results or a dataset's"),
        (["games.jsonl", "-n", "9"], 1, "error: games.jsonl holds 4 games (1 line could not be read: games.jsonl:3:"),
        (["games.jsonl", "--bad", "-n", "9"], 1, "error: games.jsonl holds 2 such games"),
        (["games.jsonl", "--puzzle-id", "x"], 1, "error: no such game in games.jsonl; --list without it names"),
        (["empty.jsonl"], 1, "error: empty.jsonl holds no game\n"),
        (["text.txt"], 1, "error: text.txt holds no game (2 lines could not be read: text.txt:1: expected a JSON"),
        (["sub/broken.parquet"], 2, "error: sub/broken.parquet cannot be read: Parquet file size is 4 bytes"),
        (["future.jsonl"], 1, "future.jsonl:1: written by a newer version of this project"),
    ],
)
def test_what_cannot_be_shown_is_one_line(argv: list[str], status: int, said: str, capsys: Captured) -> None:
    some("games.jsonl")
    Path("empty.jsonl").touch()
    Path("sub").mkdir()
    Path("sub/broken.parquet").write_text("nope")
    Path("text.txt").write_text("no\x1b[2J\ngames\n")
    results_file(Path("future.jsonl"), [changed(won(board(1)), schema_version=99)])
    out, err = shown(capsys, *argv, status=status)
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    "argv", [["--seed", "1"], ["--good", "--bad"], ["--all", "--random"], ["-n", "0"], ["--width", "9"]]
)
def test_flags_that_contradict_are_refused(argv: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as end:
        show.main(["games.jsonl", *argv])
    assert end.value.code == 2


def test_every_unreadable_line_is_named_when_asked(capsys: Captured) -> None:
    path = results_file(Path("r.jsonl"), ["1", won(board(1)), '{"a": 2}'])
    with path.open("a") as file:
        file.write('{"half')
    err = shown(capsys, path, "--list", "-v")[1].splitlines()
    assert [line.partition(": ")[0] for line in err[:3]] == ["r.jsonl:1", "r.jsonl:3", "r.jsonl:4"]
    assert err[2] == "r.jsonl:4: cut off, or still being written"
    assert err[3].startswith("3 lines could not be read: r.jsonl:1: ")


# What reaches a terminal

STEERING = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), 0x2066, 0x2069)))


@pytest.mark.parametrize("colour", ["", "1"])
@pytest.mark.parametrize("flags", [(), ("--raw",), ("--list",), ("--no-reasoning",)])
def test_nothing_that_a_file_says_steers_the_terminal(
    flags: tuple[str, ...], colour: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    if colour:
        monkeypatch.setenv("FORCE_COLOR", colour)
    evil = f"{STEERING}\x1b[2J\x1b]0;title\x07"
    row = json.loads(played(board(1), "RNRR").to_line())
    for message in (*row["prompt"], *row["completion"]):
        message["content"] = f"{evil}{message['content']}{evil}"
        message["reasoning_content"] = evil
    for name in ("rollout_id", "model"):
        row[name] = evil
    row["info"] |= {"puzzle_id": f"x{evil}", "title": evil, "source": evil, "split": evil}
    row["info"]["all_words"][0] += evil
    for category in row["info"]["categories"]:
        category["group"] += evil
        category["members"] = [f"{word}{evil}" for word in category["members"]]
    bad = row | {"kind": "bad", "rejection": evil, "reply_unfit": [evil] * 4, "complete_reason": evil}
    job = bad | {"kind": "job", "cut_why": evil}
    reduced = row | {"kind": "good", "reduced": True, "reducer_models": [evil]}
    foreign = {"prompt": row["prompt"], "completion": row["completion"], "info": row["info"], "model": evil}
    reject = {"puzzle_id": evil, "rollout_id": evil, "why": evil, "is_spare": False, "reasons": [evil]}
    reject["completion"] = row["completion"]
    refused = {"place": evil, "puzzle_id": evil, "rollout_id": evil, "reasons": [evil]}
    for one in (
        row,
        bad,
        job,
        reduced,
        foreign,
        reject,
        refused,
        {"messages": [{"role": evil, "content": evil}], "x": evil},
    ):
        path = results_file(Path("r.jsonl"), [one])
        capsys.readouterr()
        show.main([str(path), *flags, "-v"])
        out, err = capsys.readouterr()
        steering = set(SGR.sub("", out) if colour else out) | set(err)
        assert not steering & (set(STEERING) - {"\n"}), (one, out, err)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 140])
@pytest.mark.parametrize(
    "name", ["results_1.jsonl", "a-file-with-a-rather-long-name.jsonl", "日本語の長い名前のファイルです.jsonl"]
)
def test_no_line_of_a_list_is_wider_than_asked_for(width: int, name: str, capsys: Captured) -> None:
    rows = [
        changed(
            won(board(1)), info=won(EMOJI).model_dump()["info"] | {"puzzle_id": "日本語の名前がとても長い🐻‍❄️パズル"}
        )
    ]
    path = results_file(Path(name), [*rows, lost(board(2)), invalid_at(board(123456789), 1)])
    lines = shown(capsys, path, "--list", "--width", width)[0].splitlines()
    assert len(lines) == 3
    assert max(map(cells, lines)) <= width


def test_a_list_of_80_columns_has_the_reward_whatever_it_is(capsys: Captured) -> None:
    path = results_file(Path("results_1.jsonl"), [played(board(2), "RORR"), won(board(1))])
    assert shown(capsys, path, "--list", "--width", 80)[0].splitlines()[0].endswith("reward 5.25")
    long = changed(won(board(1)), reward=4.833333)
    path = results_file(Path("results_1.jsonl"), [long])
    assert shown(capsys, path, "--list", "--width", 80)[0].endswith("reward 4.833\n")


def test_what_does_not_fit_a_list_is_cut_with_an_ellipsis_and_then_left_out(capsys: Captured) -> None:
    path = results_file(Path("a-long-name.jsonl"), [changed(lost(board(2)), rollout_id="x")])
    listed = [shown(capsys, path, "--list", "--width", width)[0].strip() for width in (80, 70, 60, 44, 24)]
    assert [re.split(r"  +", line) for line in listed] == [
        ["1", "….jsonl:1", "made-2", "bad: game lost", "5 turns", "reward 2.1"],
        ["1", "….jsonl:1", "made-2", "bad: game lost", "5 turns"],
        ["1", "….jsonl:1", "made-2", "bad: game lost"],
        ["1", "made-2", "bad: game lost"],
        ["1", "made-2", "bad: gam…"],
    ]
    assert "a-long-name.jsonl:1" in shown(capsys, path, "--list")[0]  # piped, nothing is cut


@pytest.mark.parametrize("width", [20, 40, 80, 140])
@pytest.mark.parametrize(
    "row", [played(EMOJI, "RORR"), played(LONG, "NXORR"), played(board(3, groups=6, size=6), "RORRRR")]
)
def test_no_line_is_wider_than_the_terminal(width: int, row: Rollout, capsys: Captured) -> None:
    path = results_file(Path("r.jsonl"), [row])
    out = shown(capsys, path, "--width", width)[0]
    assert max(map(cells, out.splitlines())) <= width


def test_what_is_said_in_place_of_a_turn_is_no_wider_than_asked_for(capsys: Captured) -> None:
    over = won(board(1)).model_dump()
    over["completion"] += [{"role": "user", "content": "More?"}, over["completion"][-1]]
    for name in ("reply_tokens", "reply_finish", "reply_unfit", "reply_models"):
        over[name].append(over[name][-1])
    path = results_file(Path("r.jsonl"), [over])
    out = shown(capsys, path, "--width", 24, "--no-reasoning")[0]
    assert max(map(cells, out.splitlines())) <= 24
    assert "the game was over\n  before this reply\n" in out
    assert re.search(r"\(reasoning: \d+\n  characters, about \d+\n  tokens\)", out)


def test_wide_characters_stand_in_columns() -> None:
    texts = ["🐶", "日本", "こんにちは", "AB", "🐻‍❄️", "🇳🇴"]
    lines = laid_out([Tile(text, "") for text in texts], grid_for(texts, 3, 80), plain)
    assert grid_for(texts, 3, 80) == Grid(3, 10)
    assert lines == [
        "       🐶          日本      こんにちは",
        "       AB           🐻‍❄️           🇳🇴",
    ]


def test_a_board_too_wide_is_laid_out_in_fewer_columns_and_phrases_are_broken() -> None:
    texts = ["TO BE OR NOT TO BE", "NO", "YES", "PNEUMONOULTRAMICROSCOPIC"]
    assert grid_for(texts, 4, 80) == Grid(4, 16)
    assert grid_for(texts, 4, 40) == Grid(2, 16)
    assert grid_for(texts, 4, 20) == Grid(1, 16)
    assert grid_for([], 4, 20) == Grid(4, 1)
    lines = laid_out([Tile(text, "") for text in texts], Grid(2, 16), plain)
    assert lines == [
        "   TO BE OR NOT TO           NO",
        "          BE",
        "         YES          PNEUMONOULTRAMIC",
        "                          ROSCOPIC",
    ]


def test_lines_break_at_spaces_and_keep_their_indent() -> None:
    assert wrapped("", 10, "  ") == [""]
    assert wrapped("a bc def ghij", 8, "  ") == ["  a bc", "  def", "  ghij"]
    assert wrapped("   if x:  y", 9) == ["   if x:", "   y"]
    assert wrapped("x" * 9, 4) == ["xxxx", "xxxx", "x"]
    assert wrapped("日本語です", 5) == ["日本", "語で", "す"]
    assert wrapped("👩‍👩‍👧👩‍👩‍👧", 3) == ["👩‍👩‍👧", "👩‍👩‍👧"]
    assert flowed(["one", "", "two", "three"], 9, " ") == [" one", " two", " three"]


# Colours


def rgb(number: int) -> tuple[int, ...]:
    """The red, green and blue of one of xterm's 256 colours above the first 16."""
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    levels = (0, 95, 135, 175, 215, 255)
    return levels[(number - 16) // 36], levels[(number - 16) // 6 % 6], levels[(number - 16) % 6]


def lightness(number: int) -> float:
    """Relative luminance (WCAG 2.1)."""
    parts = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in (v / 255 for v in rgb(number))
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("number", FOREGROUNDS.values())
def test_every_colour_is_seen_on_black_and_on_white(number: int) -> None:
    assert (lightness(number) + 0.05) / 0.05 > 3.8
    assert 1.05 / (lightness(number) + 0.05) > 3.8


@pytest.mark.parametrize("number", [*GROUPS, NOBODY])
def test_black_is_read_on_every_tile(number: int) -> None:
    assert (lightness(number) + 0.05) / 0.05 > 7


def test_a_tile_has_the_colour_of_its_group_in_board_and_guess(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = of(capsys, played(board(1), "ORRR"))
    first, second = board(1).groups[0].members, board(1).groups[1].members
    for item in (*first, *second):
        style = "group0" if item in first else "group1"
        tiles = [coloured(style, f" {item} ")]
        assert all(tile in out for tile in tiles)
        assert out.count(f" {item} \x1b[0m") == out.count(tiles[0])
    assert coloured("close", "one away") in out
    monkeypatch.delenv("FORCE_COLOR")
    assert [line.rstrip() for line in SGR.sub("", out).split("\n")] == of(capsys, played(board(1), "ORRR")).split("\n")


@pytest.mark.parametrize(
    ("env", "is_coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_a_pipe_gets_colours_only_by_force(
    env: dict[str, str], is_coloured: bool, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in of(capsys, won(board(1)))) == is_coloured


# On a terminal, and in a pipe


def on_a_terminal(*argv: str, rows: int = 24, **env: str) -> tuple[str, int]:
    """What a person sees on a terminal of 80 columns, and the exit status."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
    command = [sys.executable, "-m", "connections_env.show", *argv]
    there = {"TERM": "xterm", "PYTHONPATH": str(ROOT)} | env
    inherited = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=inherited | there)
    os.close(its)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # closed at the other end
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    return seen.decode().replace("\r\n", "\n"), process.wait(timeout=60)


def test_a_list_on_a_terminal_is_no_wider_than_it() -> None:
    results_file(Path(f"{'long' * 15}.jsonl"), [won(board(1)), invalid_at(board(2), 1)])
    seen, status = on_a_terminal(f"{'long' * 15}.jsonl", "--list", "--no-pager", NO_COLOR="1")
    assert status == 0
    lines = seen.splitlines()
    assert [max(map(cells, lines)) <= 80, len(lines)] == [True, 2]
    assert all("…" in line for line in lines)


PAGER = "cat > paged.txt; echo paged"


def test_what_is_longer_than_the_screen_is_paged_in_colour_and_in_full() -> None:
    some()
    seen, status = on_a_terminal("results_1.jsonl", PAGER=PAGER)
    assert (seen.split("\n")[0], status) == ("paged", 0)
    assert "the first of 4 games" in seen
    paged = Path("paged.txt").read_text()
    assert coloured("good", "good") in paged
    assert "completed by the game" in SGR.sub("", paged)


@pytest.mark.parametrize(
    ("argv", "rows", "env"),
    [
        (("results_1.jsonl",), 200, {"PAGER": PAGER}),
        (("results_1.jsonl", "--no-pager"), 24, {"PAGER": PAGER}),
        (("results_1.jsonl",), 24, {"PAGER": ""}),
        (("results_1.jsonl",), 24, {"PAGER": "cat"}),
        (("results_1.jsonl",), 24, {"PAGER": "no-such-pager-anywhere"}),
    ],
)
def test_what_fits_or_is_not_to_be_paged_is_printed(argv: tuple[str, ...], rows: int, env: dict[str, str]) -> None:
    some()
    seen, status = on_a_terminal(*argv, rows=rows, **env)
    assert status == 0
    assert "paged" not in seen
    assert "completed by the game" in SGR.sub("", seen)


@pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
def test_a_terminal_without_colours_gets_none(name: str) -> None:
    some()
    seen, _ = on_a_terminal("results_1.jsonl", "--no-pager", **{name: "1" if name == "NO_COLOR" else "dumb"})
    assert "made-1" in seen
    assert "\x1b" not in seen


def test_lines_that_wrap_are_counted_for_the_pager() -> None:
    some()
    listed = ("results_1.jsonl", "--list", "--width", "200")
    seen, _ = on_a_terminal(*listed, rows=9, PAGER=PAGER)  # four lines of 96 columns
    assert not seen.startswith("paged")
    Path("results_1.jsonl").rename(name := f"results_{'x' * 90}.jsonl")
    seen, _ = on_a_terminal(name, *listed[1:], rows=9, PAGER=PAGER)
    assert seen.startswith("paged")


def test_a_pager_that_is_left_early_is_no_failure() -> None:
    results_file(Path("many.jsonl"), [won(board(n)) for n in range(200)])
    seen, status = on_a_terminal("many.jsonl", "--all", PAGER="head -n 3")
    assert status == 0
    assert [line for line in SGR.sub("", seen).splitlines() if line.startswith("made-")] == ["made-0"]
    assert "Traceback" not in seen


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    results_file(Path("many.jsonl"), [won(board(n)) for n in range(200)])
    command = f"{sys.executable} -m connections_env.show many.jsonl --all | head -n 1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert (done.stdout, done.stderr) == ("made-0\n", "")


def test_what_an_encoding_lacks_is_written_out() -> None:
    results_file(Path("r.jsonl"), [played(EMOJI, "RRR")])
    command = [sys.executable, "-m", "connections_env.show", "r.jsonl"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert done.returncode == 0
    assert b"\\U0001f436" in done.stdout
