"""Step 5 as it is run: both streams in, shortened games, rejects and a table out; the guesses stay, to the byte."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import iterative_generate
import reduce_tokens
from connections_env.examples import GoodRow, Place, canonical_row
from connections_env.parsing import Reply, canonical
from connections_env.play import replay_rollout
from connections_env.puzzles import Puzzle
from connections_env.records import Rollout
from connections_env.rewriting import accepted, can_fit, chosen, targets
from connections_env.rulesets import NYT, PUZZGRID, Ruleset
from connections_env.steps import still_to_rerun
from connections_env.tokens import Counts, Limits, count_game, load_tokenizer
from reduce_tokens import main
from tests.boards import PLAIN, TOOLS
from tests.rollouts import board, lost, puzzle_file, results_file, rollout, script_replies, won
from tests.scripted import Seen, Sent, Server, completion, refusal, right_reply

SENTENCE = "Each of these could belong to two groups, so I weigh one reading against the other. "  # 18 tokens
GOOD, DOCTORED, REJECTS = "good_examples.jsonl", "doctored_gameplay.jsonl", "reduce_rejects.jsonl"
REPLY = canonical(SENTENCE * 100, TOOLS)
GUESS = REPLY.partition("</think>\n\n")[2]


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.setattr("connections_env.patience.FIRST_BACKOFF", 0.001)
    monkeypatch.chdir(tmp_path)


def game(puzzle: Puzzle, *sentences: int, ruleset: Ruleset = NYT, **fields: Any) -> Rollout:
    """A won game; its replies reason for so many sentences each."""
    script = "R" * (len(puzzle.groups) - 1)
    replies = [
        Reply(reply.content, SENTENCE * count, "stop", reply.tokens)
        for reply, count in zip(script_replies(puzzle, script, ruleset), sentences, strict=True)
    ]
    return rollout(puzzle, replies, ruleset=ruleset, **fields)


def good(puzzle: Puzzle, *sentences: int, spares: Iterable[Place] = (), **fields: Any) -> GoodRow:
    return canonical_row(game(puzzle, *sentences, **fields), spares=list(spares))


def write(name: str, *rows: Rollout) -> list[Place]:
    """Writes rows to a file; gives the place of each."""
    places, offset = [], 0
    with Path(name).open("wb") as file:
        for row in rows:
            places.append(Place(file=name, offset=offset))
            offset += file.write(row.to_line().encode() + b"\n")
    return places


def read(name: str) -> list[GoodRow]:
    return [GoodRow.model_validate_json(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def rejects() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(REJECTS).read_text(encoding="utf-8").splitlines()]


def said(row: Rollout) -> list[str]:
    return [message.content for message in row.completion if message.role == "assistant"]


def guesses(row: Rollout) -> list[str]:
    return [content.partition("</think>")[2] for content in said(row)]


def counted(row: Rollout) -> Counts:
    plain = [[message.model_dump() for message in part] for part in (row.prompt, row.completion)]
    return count_game(*plain, load_tokenizer())


def asked(seen: Seen) -> tuple[int, str]:
    """The target and the reply of a request for shortening."""
    head, _, reply = seen.messages[-1]["content"].partition("\n\n")
    return int(re.findall(r"\d+", head)[0]), reply


def shortened(seen: Seen, sentences: int = 5) -> str:
    return f"<think>\n{SENTENCE * sentences}\n</think>" + asked(seen)[1].partition("</think>")[2]


def obliging(seen: Seen) -> dict[str, Any]:
    return completion(shortened(seen))


def reduced(server: Server, *argv: object) -> int:
    return main(["-b", server.url, "-m", "small", *map(str, argv)])


# What to ask for


def counts_of(*replies: int, feedback: int = 248, prompt: int = 300) -> Counts:
    total = sum(replies) + feedback
    return Counts(replies, total, total + prompt)


def test_targets_by_hand():
    # 2048 - 248 = 1800 for the replies, 80% of it is 1440, of which each gets its share
    assert targets(counts_of(1000, 600, 800), Limits(), 16) == [600, 360, 480]
    # 80% of 1024 is 819, less than the share of 1440 * 1500 / 1600
    assert targets(counts_of(1500, 100), Limits(), 16) == [819, 120]
    # never under 120, however small the share
    assert targets(counts_of(*[8000] * 7, feedback=1048), Limits(), 16) == [120] * 6 + [120]
    assert targets(counts_of(*[8000] * 7), Limits(), 16) == [205] * 7
    # a board of 25 items has 3072, of 20 items 2560
    assert targets(counts_of(1000, 3000, feedback=72), Limits(), 25) == [600, 819]
    assert targets(counts_of(1000, 1000, feedback=560), Limits(), 20) == [800, 800]
    # what a limit of the sequence leaves of 1500 - 300 - 200 = 1000
    assert targets(counts_of(400, 400, feedback=200), Limits(sequence=1500), 16) == [400, 400]
    assert targets(counts_of(900, 900, feedback=200), Limits(sequence=1500), 16) == [400, 400]


def test_only_as_many_replies_are_chosen_as_it_takes_the_longest_first():
    # 2148 tokens: 100 over, and 700 - 530 gained by one
    assert chosen(counts_of(500, 700, 400, 300), Limits(), 16, set()) == {1: 530}
    # 2348 tokens: 300 over, 220 gained by the first, 189 by the second
    assert chosen(counts_of(600, 700, 500, 300), Limits(), 16, set()) == {1: 480, 0: 411}
    assert list(chosen(counts_of(600, 900, 700, 500), Limits(), 16, set())) == [1, 2, 0]
    assert chosen(counts_of(100, 1100, 100), Limits(), 16, set()) == {1: 819}
    assert chosen(counts_of(900, 900, 900), Limits(), 16, {0, 1}) == {2: 480}


def test_a_game_that_feedback_alone_fills_cannot_fit():
    assert can_fit(counts_of(*[8000] * 7), Limits(), 16)
    assert not can_fit(counts_of(*[8000] * 7, feedback=1300), Limits(), 16)


# What came back


def judged(content: str, finish: str = "stop") -> str | None:
    after, why = accepted(REPLY, Reply(content, "never looked at", finish), PLAIN, "guess")
    assert after.endswith(f"</think>\n\n{GUESS}")
    assert why is None or after == REPLY
    return why


THOUGHT = "<think>\nTools, all of them.\n</think>"
OTHER = GUESS.replace("`HAMMER`, `PLIERS`", "`PLIERS`, `HAMMER`")
MISBEHAVIOUR = {
    "tags dropped": (f"Tools, all of them.\n\n{GUESS}", "no whole think block"),
    "closing tag dropped": (f"<think>\nTools.\n\n{GUESS}", "no whole think block"),
    "opening tag dropped": (f"Tools.\n</think>\n\n{GUESS}", "no whole think block"),
    "tags in the other order": (f"</think>Tools.<think>\n\n{GUESS}", "no whole think block"),
    "tags added": (f"{THOUGHT}\n<think>More.</think>\n\n{GUESS}", "more than one think block"),
    "tags spelled otherwise": (f"<thinking>Tools.</thinking>\n\n{GUESS}", "no whole think block"),
    "a guess inside": (f"<think>\nSo {GUESS}\n</think>\n\n{GUESS}", "tags inside the think block"),
    "half a guess inside": (f"<think>\nSo <guess> then.\n</think>\n\n{GUESS}", "tags inside the think block"),
    "nothing": ("", "empty"),
    "nothing inside": (f"<think>\n \n</think>\n\n{GUESS}", "empty"),
    "guess translated": (f"{THOUGHT}\n\n<guess>[`MARTEAU`, `PINCE`, `CLE`, `CISEAU`]</guess>", "guess changed"),
    "guess reordered": (f"{THOUGHT}\n\n{OTHER}", "guess changed"),
    "guess without backticks": (f"{THOUGHT}\n\n{GUESS.replace('`', '')}", "guess changed"),
    "guess in lower case": (f"{THOUGHT}\n\n{GUESS.lower()}", "guess changed"),
    "guess dropped": (THOUGHT, "guess changed"),
    "guess twice": (f"{THOUGHT}\n\n{GUESS}\n{GUESS}", "text after the guess"),
    "text after the guess": (f"{THOUGHT}\n\n{GUESS}\n\nIs this short enough?", "text after the guess"),
    "text before": (f"Here it is:\n{THOUGHT}\n\n{GUESS}", "text before the think block"),
    "code fence": (f"```\n{THOUGHT}\n\n{GUESS}\n```", "code fence"),
    "code fence with a language": (f"```xml\n{THOUGHT}\n\n{GUESS}\n```", "code fence"),
    "control tokens": (f"<think>\nTools.<|im_end|>\n</think>\n\n{GUESS}", "control tokens"),
}


@pytest.mark.parametrize("case", MISBEHAVIOUR)
def test_a_misbehaving_rewriting_is_refused_with_its_reason(case):
    content, why = MISBEHAVIOUR[case]
    assert judged(content) == why


@pytest.mark.parametrize("finish", ["length", "content_filter", "max_tokens"])
def test_a_rewriting_that_was_cut_off_is_refused(finish):
    assert judged(f"{THOUGHT}\n\n{GUESS}", finish) == "cut off"
    assert judged("<think>\nToo", finish) == "cut off"


@pytest.mark.parametrize("content", [f"{THOUGHT}\n\n{GUESS}", f"\n{THOUGHT}\n{GUESS}\n\n", f"{THOUGHT}{GUESS}"])
def test_spaces_around_the_think_block_and_the_guess_are_passed_over(content):
    assert accepted(REPLY, Reply(content, "", "stop"), PLAIN, "guess") == (
        canonical("Tools, all of them.", TOOLS),
        None,
    )


PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "\n",
        "\n\n",
        GUESS,
        OTHER,
        "```",
        "<guess>",
        "</guess>",
        "Tools.",
        "<|im_end|>",
        "<THINK>",
        "",
    ]
)


@given(st.lists(PIECES | st.text(max_size=8), max_size=10).map("".join), st.sampled_from(["stop", "length", ""]))
def test_whatever_comes_back_the_guess_stays_as_it_was(content, finish):
    after, why = accepted(REPLY, Reply(content, "", finish or None), PLAIN, "guess")
    assert after.partition("</think>\n\n")[2] == GUESS
    assert (after == REPLY) is (why is not None)
    assert after.count("<think>") == after.count("</think>") == after.count("<guess>") == 1


# A run


def test_a_row_within_limits_passes_unchanged_and_needs_no_key_and_no_endpoint(capsys, monkeypatch):
    monkeypatch.setattr(reduce_tokens, "open_endpoint", lambda *_: pytest.fail("nothing is over"))
    row = good(board(0), 5, 5, 5, spares=[Place(file="x", offset=7)])
    write(GOOD, row)
    assert main([]) == 0
    assert Path("good_examples_reduced.jsonl").read_bytes() == Path(GOOD).read_bytes()
    out, err = capsys.readouterr()
    assert re.sub(r"[\d.]+ s$", "T s", out, flags=re.MULTILINE) == (
        "  rows:                 1\n"
        "  within limits:        1 (100.0% of the rows)\n"
        "  over a limit:         0 (0.0% of the rows)\n"
        "  reduced:              0\n"
        "  spare in its place:   0\n"
        "  rejected:             0\n"
        "  replies shortened:    0\n"
        "  requests:             0 (0 failed)\n"
        "  tokens in:            0 (0 cached)\n"
        "  tokens out:           0 (0 reasoning)\n"
        "  time:                 T s\n\n"
        "1 row -> good_examples_reduced.jsonl\n"
        "0 rejected games -> reduce_rejects.jsonl\n"
    )
    assert err == "no doctored_gameplay.jsonl: reducing good_examples.jsonl alone\n"


def test_a_key_is_asked_for_where_something_is_over(capsys):
    write(GOOD, good(board(0), 100, 5, 5))
    assert main([]) == 2
    assert "DEEPSEEK_API_KEY is not set" in capsys.readouterr().err


def test_a_long_reply_is_shortened_and_all_else_stays():
    row = good(board(0), 5, 100, 5)
    write(GOOD, row)
    with Server(obliging) as server:
        assert reduced(server) == 0
    (after,) = read("good_examples_reduced.jsonl")
    assert len(server.seen) == 1
    assert asked(server.seen[0])[1] == said(row)[1]
    assert asked(server.seen[0])[0] <= 819
    assert guesses(after) == guesses(row)
    assert said(after)[::2] == said(row)[::2]
    assert said(after)[1].startswith(f"<think>\n{SENTENCE * 4}")
    replay_rollout(after)
    assert (after.reduced, after.reducer_models, after.simulated) == (True, ["small"], False)
    assert after.original_completion == row.completion
    assert after.reply_tokens == [40, counted(after).replies[1], 40]
    assert not Limits().over(counted(after), 16)


def test_both_streams_are_reduced_in_one_command(capsys):
    write(GOOD, good(board(0), 100, 5, 5), good(board(1), 5, 5, 5))
    write(DOCTORED, good(board(2), 5, 100, 100))
    with Server(obliging) as server:
        assert reduced(server) == 0
    assert len(server.seen) == 3
    assert [row.reduced for row in read("good_examples_reduced.jsonl")] == [True, False]
    assert [row.reduced for row in read("doctored_gameplay_reduced.jsonl")] == [True]
    out = capsys.readouterr().out
    assert "  over a limit:         2 (66.7% of the rows)\n  reduced:              2 (100.0% of those over)\n" in out
    assert "  replies shortened:    3\n" in out
    assert out.endswith(
        "2 rows -> good_examples_reduced.jsonl\n1 row -> doctored_gameplay_reduced.jsonl\n"
        "0 rejected games -> reduce_rejects.jsonl\n"
    )


def test_a_game_of_seven_replies_of_8000_tokens_comes_out_within_limits_offline():
    puzzle = board(0)
    replies = [
        Reply(reply.content, " ".join(f"Thought {n}: {SENTENCE}" for n in range(360)), "stop", 8000)
        for reply in script_replies(puzzle, "OROWRR")
    ]
    seven = board(1, groups=8, size=4)
    rows = [
        canonical_row(rollout(puzzle, replies)),
        good(seven, *[450] * 7),
        canonical_row(
            rollout(board(2), [Reply(r.content, SENTENCE * 450, "stop", 1) for r in script_replies(board(2), "OWORRR")])
        ),
    ]
    assert min(counted(rows[1]).replies) > 8000
    write(GOOD, *rows)
    assert main(["--offline"]) == 0
    after = read("good_examples_reduced.jsonl")
    assert len(after) == 3
    for row, one in zip(rows, after, strict=True):
        assert not Limits().over(counted(one), len(one.info.all_words))
        assert guesses(one) == guesses(row)
        replay_rollout(one)
        assert one.simulated, "the simulated player's words are in it"


def test_themes_are_a_guess_too():
    puzzle = board(0)
    replies = [Reply(reply.content, "Short.", "stop", 9) for reply in script_replies(puzzle, "RRR", PUZZGRID)]
    named = rollout(puzzle, replies, ruleset=PUZZGRID)
    state = replay_rollout(named)[1][-1]
    row = canonical_row(
        rollout(puzzle, [*replies, Reply(right_reply(state), SENTENCE * 100, "stop", 9)], ruleset=PUZZGRID)
    )
    write(GOOD, row)
    with Server(obliging) as server:
        assert reduced(server) == 0
    (after,) = read("good_examples_reduced.jsonl")
    assert guesses(after) == guesses(row)
    assert guesses(after)[-1].startswith("\n\n<themes>")
    replay_rollout(after)


def test_a_game_still_over_is_counted_again_and_gets_another_round():
    row = good(board(0), 100, 5, 5)
    write(GOOD, row)
    with Server(lambda seen: completion(shortened(seen, 80 if seen.nth == 0 else 20))) as server:
        assert reduced(server, "-c", 1) == 0
    assert len(server.seen) == 2
    assert asked(server.seen[1])[1].count(SENTENCE.strip()) == 80
    (after,) = read("good_examples_reduced.jsonl")
    assert after.original_completion == row.completion


def test_after_three_rounds_a_game_is_rejected_with_its_numbers(capsys):
    row = good(board(0), 100, 5, 5)
    write(GOOD, row)
    with Server(lambda seen: completion(shortened(seen, 90 - 5 * seen.nth))) as server:
        assert reduced(server) == 0
    assert len(server.seen) == 3
    assert read("good_examples_reduced.jsonl") == []
    (reject,) = rejects()
    before = counted(row)
    assert reject["reply_tokens_before"] == list(before.replies)
    assert reject["game_tokens_before"] == before.completion
    assert reject["reply_tokens"][0] < before.replies[0]
    assert reject["reasons"] == [f"reply 1 has {reject['reply_tokens'][0]:,} of 1,024 tokens"]
    assert reject["limits"] == {"reply": 1024, "game": 2048, "sequence": None}
    assert (reject["puzzle_id"], reject["rollout_id"], reject["why"]) == (
        "made-0",
        row.rollout_id,
        "a reply over its limit",
    )
    assert Path("rerun_puzzles.txt").read_text() == "made-0\n"
    assert "a reply over its limit: 1 (100.0%)" in capsys.readouterr().out


def test_a_row_that_is_reduced_again_keeps_beside_it_what_it_was_at_first():
    row = good(board(0), 100, 5, 5)
    write(GOOD, row)
    with Server(lambda seen: completion(shortened(seen, 40))) as server:
        assert reduced(server) == 0
    (once,) = read("good_examples_reduced.jsonl")
    write(GOOD, once)
    with Server(obliging) as server:
        assert reduced(server, "--max-reply-tokens", 300) == 0
        assert len(server.seen) == 1
    (twice,) = read("good_examples_reduced.jsonl")
    assert counted(twice).completion < counted(once).completion < counted(row).completion
    assert twice.original_completion == once.original_completion == row.completion


def test_what_is_paid_for_already_is_written_again_without_a_key(monkeypatch, capsys):
    write(GOOD, good(board(0), 100, 5, 5))
    with Server(obliging) as server:
        assert reduced(server) == 0
    output = Path("good_examples_reduced.jsonl")
    before = output.read_bytes()
    output.unlink()
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    assert main([]) == 0
    assert output.read_bytes() == before
    assert "  paid for earlier:     1 (100.0% of those over)\n" in capsys.readouterr().out


def test_no_more_is_asked_for_a_game_once_a_reply_over_its_limit_stays_as_it_was():
    row = good(board(0), 100, 100, 5)
    write(GOOD, row)

    def script(seen: Seen) -> dict[str, Any]:
        """Leaves the first reply as it is, and the second one over its limit."""
        return completion(asked(seen)[1] if guesses(row)[0] in asked(seen)[1] else shortened(seen, 95))

    with Server(script) as server:
        assert reduced(server) == 0
    assert len(server.seen) == 3 + 1  # and no second round for the second reply
    (reject,) = rejects()
    assert (reject["why"], reject["refusals"]) == ("a reply over its limit", {"not shorter": 3})


BAD_ANSWERS: dict[str, Callable[[Seen], Any]] = {
    "not shorter": lambda seen: completion(asked(seen)[1].replace("<think>", "<think>\nIndeed.")),
    "cut off": lambda seen: completion(shortened(seen), finish="length"),
    "empty": lambda seen: completion("", thought=shortened(seen)),
    "code fence": lambda seen: completion(f"```\n{shortened(seen)}\n```"),
    "no whole think block": lambda seen: completion(shortened(seen).replace("<think>", "")),
    "more than one think block": lambda seen: completion("<think>Hm.</think>\n" + shortened(seen)),
    "guess changed": lambda seen: completion(shortened(seen).replace("[`", "[`LE ")),
    "text after the guess": lambda seen: completion(shortened(seen) + "\nDone."),
    "too long for the reducer": lambda seen: refusal(400, "this exceeds the maximum context length"),
}


def test_a_reply_that_comes_back_as_long_as_it_was_is_refused():
    write(GOOD, good(board(1), 100, 5, 5), good(board(0), 100, 5, 5))
    with Server(lambda seen: completion(asked(seen)[1]) if seen.nth else obliging(seen)) as server:
        assert reduced(server, "-c", 1) == 0
    (reject,) = rejects()
    assert reject["refusals"] == {"not shorter": 3}


@pytest.mark.parametrize("why", BAD_ANSWERS)
def test_a_refused_rewriting_is_asked_for_again_a_few_times_then_the_reply_stays(why, capsys):
    # The first row proves the endpoint; a game may still fit where another reply gives way.
    write(GOOD, good(board(1), 100, 5, 5), good(board(0), 100, 5, 5))
    with Server(lambda seen: BAD_ANSWERS[why](seen) if seen.nth else obliging(seen)) as server:
        assert reduced(server, "-c", 1) == 0
    times = 1 if why == "too long for the reducer" else 3
    assert len(server.seen) == 1 + times
    assert len({seen.request_id for seen in server.seen}) == len(server.seen), (
        "a second try must not be the same request"
    )
    (reject,) = rejects()
    assert reject["refusals"] == {why: times}
    assert reject["reply_tokens"] == reject["reply_tokens_before"]
    out = capsys.readouterr().out
    assert f"{why}: {times} (100.0%)" in out
    assert "  replies kept:         1, every rewriting was refused\n" in out


def test_a_second_try_may_succeed():
    write(GOOD, good(board(0), 100, 5, 5))
    with Server(lambda seen: obliging(seen) if seen.nth == 2 else completion("No.")) as server:
        assert reduced(server) == 0
    assert len(read("good_examples_reduced.jsonl")) == 1


def test_a_row_that_does_not_replay_is_rejected_before_anything_is_paid():
    row = good(board(0), 100, 5, 5)
    write(GOOD, row.model_copy(update={"reward": 1.0, "guess_history": row.guess_history[::-1]}))
    with Server(obliging) as server:
        assert reduced(server) == 0
    assert server.seen == []
    assert rejects()[0]["why"] == "does not replay"


def test_a_game_that_cannot_fit_is_rejected_before_anything_is_paid():
    write(GOOD, good(board(0), 100, 5, 5))
    with Server(obliging) as server:
        assert reduced(server, "--max-game-tokens", 300) == 0
    assert server.seen == []
    assert rejects()[0]["why"] == "cannot be made to fit, nothing asked"
    assert rejects()[0]["reasons"][-1] == "it would be over at 120 tokens a reply, so nothing was asked"


def test_what_became_of_every_row_is_told_before_a_run_and_after_it(capsys):
    """One that fits, one to be asked for, one that cannot fit and one whose row does not replay."""
    broken = good(board(3), 100, 5, 5)
    write(
        GOOD,
        good(board(1), 3, 3, 3),
        good(board(0), 100, 3, 3),
        good(board(4, groups=6), *[8] * 5),
        broken.model_copy(update={"guess_history": broken.guess_history[::-1]}),
    )
    flags = ("--max-game-tokens", 600)
    assert main(["--dry-run", *map(str, flags)]) == 0
    told = capsys.readouterr().out.partition("\n\n")[2]
    assert told.partition("  replies to shorten")[0] == (
        "  rows:                 4\n"
        "  within limits:        1 (25.0% of the rows)\n"
        "  over a limit:         3 (75.0% of the rows)\n"
        "  to be reduced:        1 (33.3% of those over)\n"
        "  cannot fit:           1 (33.3% of those over)\n"
        "  does not replay:      1 (33.3% of those over)\n"
    )
    for _ in range(2):
        with Server(obliging) as server:
            assert reduced(server, *flags) == 0
        out = capsys.readouterr().out
        assert "  cannot fit:           1 (33.3% of those over), nothing asked\n" in out
        assert ("  paid for earlier:     1 (33.3% of those over)\n" in out) is (not server.seen)


def test_what_cannot_be_asked_for_was_not_paid_for_earlier_and_a_retry_says_why_it_asks_for_nothing(capsys):
    write(GOOD, good(board(0), 100, 5, 5), good(board(1), 100, 5, 5))
    flags = ("--offline", "--max-game-tokens", "300")
    for retry in ([], ["--retry-rejected"]):
        assert main([*flags, *retry]) == 0
        out = capsys.readouterr().out
        assert "paid for earlier" not in out
        assert "  cannot fit:           2 (100.0% of those over), nothing asked\n" in out
        why = "\n\n--retry-rejected had nothing to ask for: cannot be made to fit these limits: 2\n\n"
        assert (why in out) is bool(retry)
    assert main(["--offline", "--max-game-tokens", "9999", "--max-reply-tokens", "9999", "--retry-rejected"]) == 0
    assert "--retry-rejected had nothing to ask for: no game is rejected\n" in capsys.readouterr().out


def test_a_rejected_game_is_told_with_the_ways_on(capsys):
    write(GOOD, good(board(0), 100, 5, 5), good(board(1), 5, 5, 5))
    with Server([completion("No.")]) as server:
        assert reduced(server, "--output-dir", "my files", GOOD) == 0
        out = capsys.readouterr().out
        assert out.endswith(
            "1 puzzle without a row -> my files/rerun_puzzles.txt\n\n"
            "1 puzzle has no row now: its games were rejected, but it counts as good, so iterative_generate.py does "
            "not play it again. With the other flags of these runs:\n"
            "  uv run python reduce_tokens.py --retry-rejected --output-dir 'my files'  # asks once more for 1 game\n"
            "  uv run python generate_rollouts.py --puzzle-ids-file 'my files/rerun_puzzles.txt'  "
            "# plays all it lists afresh\n"
        )
        assert reduced(server, "--output-dir", "my files", GOOD, "--dry-run") == 0
        assert "  rejected earlier:     1 (100.0% of those over)\n" in capsys.readouterr().out
    with Server(obliging) as server:
        assert reduced(server, "--output-dir", "my files", GOOD, "--retry-rejected") == 0
    assert "has no row" not in capsys.readouterr().out
    assert Path("my files/rerun_puzzles.txt").read_text() == ""


# Spares


def test_the_next_good_rollout_takes_the_place_of_a_game_that_does_not_fit(capsys):
    places = write(
        "results_1.jsonl",
        lost(board(0)),
        won(board(1)),
        game(board(0), 101, 102, 5),
        game(board(0), 6, 6, 6),
        won(board(0)),
    )
    missing = Place(file="gone.jsonl", offset=0)
    write(GOOD, good(board(0), 100, 5, 5, spares=[*places[:2], missing, *places[2:]]))
    with Server([completion("No.")]) as server:
        assert reduced(server, "-c", 1) == 0
    (after,) = read("good_examples_reduced.jsonl")
    assert said(after)[0].count(SENTENCE.strip()) == 6
    assert after.spares == places[4:]
    assert not after.reduced
    assert len(server.seen) == 3 + 2 * 3  # of the spare that is over, two replies
    found = rejects()
    assert [one["is_spare"] for one in found] == [False, True, True, True, True]
    assert [one["why"] for one in found] == [
        "a reply over its limit",
        *["a spare that cannot be used"] * 3,
        "a reply over its limit",
    ]
    assert "not a good game: game lost" in found[1]["reasons"][0]
    assert "a row of another puzzle lies there now" in found[2]["reasons"][0]
    out = capsys.readouterr().out
    assert "  reduced:              0 (0.0% of those over)\n  spare in its place:   1 (100.0% of those over)\n" in out
    assert not Path("rerun_puzzles.txt").exists()


def test_a_spare_is_reduced_too():
    places = write("results_1.jsonl", game(board(0), 5, 100, 5))
    write(GOOD, good(board(0), 100, 5, 5, spares=places))
    with Server(lambda seen: completion("No.") if seen.nth < 3 else obliging(seen)) as server:
        assert reduced(server, "-c", 1) == 0
    (after,) = read("good_examples_reduced.jsonl")
    assert after.reduced
    assert after.original_completion == good(board(0), 5, 100, 5).completion


def test_ids_without_a_row_are_added_to_those_listed_and_ids_with_one_taken_off():
    assert still_to_rerun(["a", "b", "c"], {"b"}, ["d", "a"]) == ["a", "c", "d"]
    Path("rerun_puzzles.txt").write_text("made-1\nelsewhere\n")
    write(GOOD, good(board(0), 100, 5, 5), good(board(1), 5, 5, 5))
    with Server([completion("No.")]) as server:
        assert reduced(server) == 0
    assert Path("rerun_puzzles.txt").read_text() == "elsewhere\nmade-0\n"


def test_a_puzzle_that_the_other_stream_has_is_not_lost():
    write(GOOD, good(board(0), 100, 5, 5))
    write(DOCTORED, good(board(0), 5, 5, 5))
    with Server([completion("No.")]) as server:
        assert reduced(server) == 0
    assert not Path("rerun_puzzles.txt").exists()


# Stopped runs


def progress() -> list[Path]:
    return sorted(Path().glob(".reductions_*"))


def test_a_stopped_run_leaves_the_old_output_and_the_next_pays_only_for_the_rest(capsys):
    write(GOOD, *(good(board(n), 100, 5, 5) for n in range(10)))
    Path("good_examples_reduced.jsonl").write_text("old\n")
    with Server(obliging) as server:
        assert reduced(server, "-c", 1, "--token-budget", 400) == 1  # a request is 110 tokens
    assert len(server.seen) == 4
    assert Path("good_examples_reduced.jsonl").read_text() == "old\n"
    assert not Path(REJECTS).exists()
    out, err = capsys.readouterr()
    assert "  unfinished:           6 (60.0% of those over)\n" in out
    assert "stopped: the token budget is used up: 440 of 400 tokens\n" in err
    assert err.endswith(
        "4 of 10 rows are finished, the outputs are as they were; what was paid for is kept: run the same command "
        "again to go on\n"
    )
    assert len(progress()) == 1
    with progress()[0].open("a") as file:
        file.write('{"key": "torn')
    with Server(obliging) as server:
        assert reduced(server, "-c", 1) == 0
    assert len(server.seen) == 6
    assert len(read("good_examples_reduced.jsonl")) == 10
    assert "  paid for earlier:     4 (40.0% of those over)\n" in capsys.readouterr().out


def test_games_that_cannot_be_made_to_fit_are_paid_for_once_unless_asked():
    write(GOOD, good(board(0), 100, 5, 5), good(board(1), 5, 5, 5))

    def refusing(seen):
        return completion("")

    for argv, expected in (([], True), ([], False), (["--retry-rejected"], True)):
        with Server(refusing) as server:
            assert reduced(server, "-c", 1, *argv) == 0
        assert bool(server.seen) is expected
        rejects = map(json.loads, Path(REJECTS).read_text().splitlines())
        assert [row["puzzle_id"] for row in rejects] == ["made-0"]


def test_what_was_paid_for_under_other_limits_is_not_paid_for_again():
    write(GOOD, *(good(board(n), 100, 5, 5) for n in range(3)))
    with Server(obliging) as server:
        assert reduced(server, "-c", 1, "--token-budget", 150) == 1
    assert len(server.seen) == 2
    with Server(obliging) as server:
        assert reduced(server, "--max-reply-tokens", 900) == 0
    assert len(server.seen) == 1


def test_what_the_simulated_player_reduced_is_not_taken_for_a_models_work():
    write(GOOD, good(board(0), 100, 5, 5))
    assert main(["--offline"]) == 0
    assert read("good_examples_reduced.jsonl")[0].simulated
    with Server(obliging) as server:
        assert reduced(server) == 0
    assert len(server.seen) == 1
    assert not read("good_examples_reduced.jsonl")[0].simulated


def test_a_finished_run_is_not_paid_for_again_and_new_rows_alone_are():
    rows = [good(board(n), 100, 5, 5) for n in range(3)]
    write(GOOD, *rows[:2])
    with Server(obliging) as server:
        assert reduced(server) == 0
        first = read("good_examples_reduced.jsonl")
        write(GOOD, *rows)
        assert reduced(server) == 0
    assert len(server.seen) == 3
    assert read("good_examples_reduced.jsonl")[:2] == first


def test_an_endpoint_that_refuses_ends_the_run_with_status_1_and_leaves_the_output(capsys):
    write(GOOD, *(good(board(n), 100, 5, 5) for n in range(4)))
    Path("good_examples_reduced.jsonl").write_text("old\n")
    with Server(lambda seen: obliging(seen) if seen.nth < 2 else refusal(402, "no balance")) as server:
        assert reduced(server, "-c", 1) == 1
    assert "top up the account" in capsys.readouterr().err
    assert Path("good_examples_reduced.jsonl").read_text() == "old\n"
    assert len(progress()) == 1


def test_an_interrupted_run_keeps_what_is_finished_and_leaves_the_output(capsys):
    write(GOOD, *(good(board(n), 100, 5, 5) for n in range(6)))
    Path("good_examples_reduced.jsonl").write_text("old\n")

    def interrupting(seen: Seen) -> Sent:
        if seen.nth == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return Sent(body=obliging(seen), after=0.1)

    with Server(interrupting) as server:
        assert reduced(server, "-c", 1) == 130
    assert len(server.seen) == 3
    assert Path("good_examples_reduced.jsonl").read_text() == "old\n"
    assert "3 of 6 rows are finished, " in capsys.readouterr().err
    with Server(obliging) as server:
        assert reduced(server) == 0
    assert len(server.seen) == 3


LONG = (110, 100, 90)  # sentences; each of the replies is over its limit
ENDS: dict[str, tuple[list[object], int]] = {
    "a used-up budget": (["--token-budget", 200], 1),
    "a revoked key": ([], 1),
    "ctrl-c": ([], 130),
    "ctrl-c twice": ([], 130),
}


def undisturbed() -> bytes:
    """The output of a run over the one game in the folder that nothing disturbs, in a folder of its own."""
    before = Path(GOOD).read_bytes()
    Path("apart").mkdir(exist_ok=True)
    Path("apart", GOOD).write_bytes(before)
    with Server(obliging) as server:
        assert main(["-b", server.url, "-m", "small", "-c", "1", "--output-dir", "apart"]) == 0
    assert len(server.seen) == len(LONG)
    return Path("apart/good_examples_reduced.jsonl").read_bytes()


def ending(how: str) -> Callable[[Seen], Any]:
    """A script that shortens two replies, after which the run ends."""

    def step(seen: Seen) -> Any:
        if how == "a revoked key" and seen.nth == 2:
            return refusal(401, "revoked")
        if how == "ctrl-c" and seen.nth == 1:
            os.kill(os.getpid(), signal.SIGINT)
            return Sent(body=obliging(seen), after=0.1)
        if how == "ctrl-c twice" and seen.nth == 2:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            return Sent(body=obliging(seen), after=60)
        return obliging(seen)

    return step


@pytest.mark.parametrize("how", ENDS)
def test_a_run_that_ends_halfway_through_a_game_keeps_the_replies_it_rewrote(how):
    row, (flags, status) = good(board(0), *LONG), ENDS[how]
    write(GOOD, row)
    expected = undisturbed()
    with Server(ending(how)) as server:
        assert reduced(server, "-c", 1, *flags) == status
    first = [asked(seen)[1] for seen in server.seen]
    assert first == said(row)[: len(first)]
    assert not Path("good_examples_reduced.jsonl").exists()
    with Server(obliging) as server:
        assert reduced(server, "-c", 1) == 0
    assert [asked(seen)[1] for seen in server.seen] == said(row)[2:]
    assert Path("good_examples_reduced.jsonl").read_bytes() == expected


def test_a_run_that_ends_again_and_again_pays_for_each_reply_once_and_comes_to_the_same_output():
    rows = [good(board(n), *LONG) for n in range(3)]
    write(GOOD, rows[0])
    undisturbed()
    write(GOOD, *rows)
    asked_for: list[str] = []
    for _ in range(20):
        with Server(obliging) as server:
            status = reduced(server, "-c", 1, "--token-budget", 1)  # a request a run
        asked_for += [asked(seen)[1] for seen in server.seen]
        if status == 0:
            break
        assert len(server.seen) == 1
    assert sorted(asked_for) == sorted(text for row in rows for text in said(row))
    after = read("good_examples_reduced.jsonl")
    assert after[0] == read("apart/good_examples_reduced.jsonl")[0]
    assert [row.reducer_models for row in after] == [["small"]] * 3


def test_of_a_later_round_too_the_replies_it_rewrote_are_kept():
    row = good(board(0), 110, 5, 5)
    write(GOOD, row)
    rounds = [100, 90, 10]  # sentences: only the third fits
    for nth, flags in enumerate((["--token-budget", 1], ["--token-budget", 1], [])):
        with Server(lambda seen, nth=nth: completion(shortened(seen, rounds[nth]))) as server:
            assert reduced(server, "-c", 1, *flags) == (1 if flags else 0)
        assert [asked(seen)[1].count(SENTENCE.strip()) for seen in server.seen] == [[110, 100, 90][nth]]
    (after,) = read("good_examples_reduced.jsonl")
    assert after.original_completion == row.completion


def test_every_model_that_rewrote_a_reply_of_a_game_is_named():
    write(GOOD, good(board(0), *LONG))
    with Server(obliging) as server:
        assert main(["-b", server.url, "-m", "b", "-c", "1", "--token-budget", "200"]) == 1
    write(GOOD, good(board(0), *LONG), good(board(1), *LONG))
    with Server(obliging) as server:
        assert main(["-b", server.url, "-m", "a"]) == 0
    assert len(server.seen) == 1 + 3
    assert [row.reducer_models for row in read("good_examples_reduced.jsonl")] == [["a", "b"], ["a"]]


def test_a_rewriting_that_was_refused_is_not_kept():
    row = good(board(0), *LONG)
    write(GOOD, row)
    with Server(lambda seen: completion("No.") if seen.nth else obliging(seen)) as server:
        assert reduced(server, "-c", 1, "--token-budget", 300) == 1
    assert len(server.seen) == 3
    assert server.seen[0].messages[-1]["content"].endswith(said(row)[0])
    with Server(obliging) as server:
        assert reduced(server) == 0
    assert sorted(asked(seen)[1] for seen in server.seen) == sorted(said(row)[1:])


def test_of_a_spare_too_the_replies_it_rewrote_are_kept():
    places = write("results_1.jsonl", game(board(0), *LONG))
    row = good(board(0), 80, 5, 5, spares=places)
    write(GOOD, row)
    long = said(row)[0]

    def refusing_the_first(seen: Seen) -> Any:
        return completion("No.") if asked(seen)[1] == long else obliging(seen)

    with Server(refusing_the_first) as server:
        assert reduced(server, "-c", 1, "--token-budget", 500) == 1  # three tries in vain, two replies of the spare
    assert len(server.seen) == 5
    with Server(refusing_the_first) as server:
        assert reduced(server, "-c", 1) == 0
    wanted = said(good(board(0), *LONG))
    assert [asked(seen)[1] for seen in server.seen if asked(seen)[1] != long] == wanted[2:]
    (after,) = read("good_examples_reduced.jsonl")
    assert after.reduced
    assert not Limits().over(counted(after), 16)


def test_what_was_tried_in_vain_is_tried_again_only_when_asked_and_nothing_else_is():
    write(GOOD, good(board(0), *LONG), good(board(1), 100, 5, 5), good(board(2), 5, 5, 5))
    in_vain = said(good(board(1), 100, 5, 5))[0]
    with Server(lambda seen: completion("No.") if asked(seen)[1] == in_vain else obliging(seen)) as server:
        assert reduced(server) == 0
        paid = len(server.seen)
        assert reduced(server) == 0
    assert len(server.seen) == paid
    with Server(obliging) as server:
        assert reduced(server, "--retry-rejected") == 0
    assert [asked(seen)[1] for seen in server.seen] == [in_vain]


def test_a_game_rejected_once_falls_back_to_a_spare_that_came_later():
    long = good(board(0), 100, 5, 5)
    write(GOOD, long)
    with Server([completion("No.")]) as server:
        assert reduced(server) == 0
    assert read("good_examples_reduced.jsonl") == []
    (spare,) = write("results_1.jsonl", game(board(0), 6, 6, 6))
    write(GOOD, long.model_copy(update={"spares": [spare]}))
    with Server([]) as server:
        assert reduced(server) == 0
    assert server.seen == []
    assert len(read("good_examples_reduced.jsonl")) == 1


def test_a_game_in_both_streams_is_paid_for_once():
    write(GOOD, good(board(0), *LONG))
    write(DOCTORED, good(board(0), *LONG))
    with Server(lambda seen: Sent(body=obliging(seen), after=0.05)) as server:
        assert reduced(server) == 0
    assert len(server.seen) == len(LONG)
    assert len(read("doctored_gameplay_reduced.jsonl")) == 1


def test_another_model_pays_for_nothing_that_is_paid_for():
    write(GOOD, good(board(0), *LONG))
    with Server(obliging) as server:
        assert main(["-b", server.url, "-m", "b", "-c", "1", "--token-budget", "200"]) == 1
        for model in "aba":
            assert main(["-b", server.url, "-m", model]) == 0
    assert len(server.seen) == len(LONG)


def test_limits_no_rewriting_can_meet_cost_nothing():
    write(GOOD, good(board(0), 20, 20, 20))
    with Server([]) as server:
        assert reduced(server, "--max-reply-tokens", 110, "--max-game-tokens", 9999) == 0
    assert server.seen == []
    (reject,) = map(json.loads, Path(REJECTS).read_text().splitlines())
    assert "nothing was asked" in reject["reasons"][-1]


def test_what_a_simulated_endpoint_wrote_into_a_real_game_is_asked_for_again():
    write(GOOD, good(board(0), *LONG))
    pretend = lambda seen: obliging(seen) | {"system_fingerprint": "simulated-player"}  # noqa: E731
    with Server(pretend) as server:
        assert reduced(server) == 0
    after = read("good_examples_reduced.jsonl")[0]
    assert (after.simulated, after.reducer_models, after.model) == (True, ["simulated"], "scripted")
    with Server(obliging) as server:
        assert reduced(server) == 0
    assert len(server.seen) == len(LONG)
    assert not read("good_examples_reduced.jsonl")[0].simulated


def test_who_reduced_a_row_before_stays_named():
    first = {"reduced": True, "reducer_models": ["first"]}
    row = good(board(0), *LONG).model_copy(update=first)
    write(GOOD, row.model_copy(update={"original_completion": row.completion}))
    with Server(obliging) as server:
        assert reduced(server) == 0
    (after,) = read("good_examples_reduced.jsonl")
    assert after.reducer_models == ["first", "small"]
    assert after.original_completion == row.completion


def test_two_exports_into_one_folder_pay_once(tmp_path):
    puzzles = [board(n) for n in range(4)]
    results_file(tmp_path / "res" / "results_1.jsonl", [game(puzzle, *LONG) for puzzle in puzzles])
    flags = ["--puzzles", puzzle_file(tmp_path / "p.jsonl", puzzles), "--results-dir", tmp_path / "res", "-m", "small"]
    with Server(lambda seen: Sent(body=obliging(seen), after=0.1)) as server:
        flags += ["--export", tmp_path / "sft.jsonl", "-b", server.url, "-c", 1]
        command = [sys.executable, Path(iterative_generate.__file__), *flags]
        runs = [
            subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        told = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert len(server.seen) == 4 * len(LONG)
    assert len((tmp_path / "sft.jsonl").read_text().splitlines()) == 4


def test_two_runs_over_one_input_pay_once(tmp_path):
    write(GOOD, *(good(board(n), *LONG) for n in range(4)))
    with Server(lambda seen: Sent(body=obliging(seen), after=0.05)) as server:
        command = [sys.executable, str(Path(reduce_tokens.__file__)), "-b", server.url, "-m", "small", "-c", "2"]
        runs = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        told = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum("another run reduces games in .; waiting for it to end" in err for _, err in told) == 1
    assert len(server.seen) == 4 * len(LONG)


def test_replies_of_many_games_are_in_flight_together_and_no_more_than_c():
    write(GOOD, *(good(board(n), 100, 100, 100) for n in range(8)))
    with Server(lambda seen: Sent(body=obliging(seen), after=0.05)) as server:
        assert reduced(server, "-c", 6) == 0
    assert len(server.seen) == 24
    assert server.most_in_flight == 6


def test_offline_a_run_comes_out_the_same_at_any_concurrency():
    write(GOOD, *(good(board(n), 100, 60, 80) for n in range(12)))
    found = []
    for width in (1, 64):
        assert main(["--offline", "-c", str(width)]) == 0
        found.append(Path("good_examples_reduced.jsonl").read_bytes())
        Path("good_examples_reduced.jsonl").unlink()
    assert found[0] == found[1]


# Told


def test_dry_run_tells_the_plan_calls_nobody_and_writes_nothing(capsys, monkeypatch):
    monkeypatch.setattr(reduce_tokens, "open_endpoint", lambda *_: pytest.fail("calls nobody"))
    row = good(board(0), 5, 60, 5)
    write(GOOD, row, good(board(1), 5, 5, 5))
    assert main(["--dry-run"]) == 0
    assert [path.name for path in Path().iterdir()] == [GOOD]
    counts = counted(row)
    out = capsys.readouterr().out
    assert re.sub(r"about [\d,]*\d", "about N", out) == (
        f"  made-0: reply 2 has {counts.replies[1]:,} of 1,024 tokens: reply 2 to 819\n\n"
        "  rows:                 2\n"
        "  within limits:        1 (50.0% of the rows)\n"
        "  over a limit:         1 (50.0% of the rows)\n"
        "  to be reduced:        1 (100.0% of those over)\n"
        "  replies to shorten:   1\n"
        "  tokens in:            about N\n"
        "  tokens out:           about N, and what the model thinks\n"
    )


def test_dry_run_with_prices_tells_what_the_plan_costs(capsys):
    write(GOOD, good(board(0), 5, 60, 5))
    assert main(["--dry-run", "--price-input", "1000", "--price-output", "2000"]) == 0
    out = capsys.readouterr().out
    tokens_in, tokens_out = (
        int(re.search(rf"{what}: +about ([\d,]+)", out)[1].replace(",", "")) for what in ("in", "out")
    )
    cost = (tokens_in * 1000 + tokens_out * 2000) / 1e6
    assert out.endswith(f"  cost:                 about {cost:.4f} USD, and what the model thinks\n")
    assert main(["--dry-run", "--max-cost", "1"]) == 2


def test_verbose_tells_each_reduction(capsys):
    write(GOOD, good(board(0), 5, 100, 5))
    with Server(lambda seen: obliging(seen) if seen.nth else completion("No.")) as server:
        assert reduced(server, "-v") == 0
    told = r"made-0: round 1, reply 2: [\d,]+ tokens, target \d+ -> \d+ \(refused: no whole think block\)"
    assert re.search(told, capsys.readouterr().err)


# Bad input


@pytest.mark.parametrize(
    ("argv", "name", "maker"),
    [
        ([], "good_examples.jsonl", "filter_gameplay.py"),
        (["doctored_gameplay.jsonl"], "doctored_gameplay.jsonl", "doctor_gameplay.py"),
    ],
)
def test_a_missing_input_names_the_command_that_makes_it(argv, name, maker, capsys):
    assert main(argv) == 2
    assert capsys.readouterr().err == f"error: no such file: {name}; make it with: uv run python {maker}\n"


def test_the_command_for_a_missing_input_makes_it_in_the_same_folder(tmp_path, capsys):
    assert main(["--output-dir", str(tmp_path / "my files")]) == 2
    how = "make it with: uv run python filter_gameplay.py --output-dir 'my files'"
    assert capsys.readouterr().err == f"error: no such file: my files/good_examples.jsonl; {how}\n"


def test_a_row_of_the_wrong_kind_is_named_by_file_and_line_and_counted(capsys):
    row = good(board(0), 5, 5, 5)
    Path(GOOD).write_text(f"{row.to_line()}\n{won(board(1)).to_line()}\nnul\n")
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert (
        "good_examples.jsonl:2: expected a good example, this looks like a rollout of results_N.jsonl; skipped" in err
    )
    assert "good_examples.jsonl:3: expected a JSON object, got 'nul'; skipped" in err
    assert out.startswith(
        "  rows:                 3\n"
        "  skipped:              2 (66.7% of the lines)\n"
        "  within limits:        1 (100.0% of the rows)\n"
    )


def test_a_file_without_any_good_example_replaces_nothing(capsys):
    Path(GOOD).write_text(won(board(1)).to_line() + "\n")
    Path("good_examples_reduced.jsonl").write_text("old\n")
    assert main([]) == 1
    assert Path("good_examples_reduced.jsonl").read_text() == "old\n"
    assert "error: good_examples.jsonl holds no good example; nothing was written\n" in capsys.readouterr().err


def test_files_lie_in_the_output_folder_and_named_inputs_where_they_are_named():
    Path("there").mkdir()
    write("there/good_examples.jsonl", good(board(0), 5, 5, 5))
    assert main(["--output-dir", "there"]) == 0
    assert Path("there/good_examples_reduced.jsonl").is_file()
    assert main(["there/good_examples.jsonl", "--output-dir", "elsewhere"]) == 0
    assert Path("elsewhere/good_examples_reduced.jsonl").is_file()


def test_two_inputs_of_one_name_are_refused(capsys):
    for folder in "ab":
        Path(folder).mkdir()
        write(f"{folder}/x.jsonl", good(board(0), 5, 5, 5))
    assert main(["a/x.jsonl", "b/x.jsonl"]) == 2
    assert "x_reduced.jsonl" in capsys.readouterr().err


@given(st.lists(st.tuples(*[st.sampled_from([1, 30, 70])] * 3), max_size=4), st.integers(0, 3))
def test_every_row_is_written_or_rejected_with_a_reason_and_every_guess_stays(tmp_path_factory, games, seed):
    folder = tmp_path_factory.mktemp("run")
    rows = [good(board(n), *sentences) for n, sentences in enumerate(games)]
    (folder / GOOD).write_text("".join(row.to_line() + "\n" for row in rows))
    assert main(["--offline", "--seed", str(seed), "--output-dir", str(folder)]) == 0
    after = {row.info.puzzle_id: row for row in read(str(folder / "good_examples_reduced.jsonl"))}
    rejected = [json.loads(line) for line in (folder / REJECTS).read_text().splitlines()]
    assert len(after) + len(rejected) == len(rows)
    assert all(reject["reasons"] for reject in rejected)
    for row in rows:
        if one := after.get(row.info.puzzle_id):
            assert guesses(one) == guesses(row)
            replay_rollout(one)
            assert not Limits().over(counted(one), 16)
