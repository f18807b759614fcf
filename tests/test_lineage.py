"""Who wrote a game and where it was cut, through any number of cuts and resumptions, against an independent count."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections_env.examples import GoodRow, RejectedRow
from connections_env.lineage import cuts_after, played_by, stretches
from connections_env.parsing import Reply
from connections_env.play import Answer, Job, PromptTooLong, play_game, replay_replies
from connections_env.quality import facts_of, rejection
from connections_env.records import SIMULATED, Cut, ResumedFrom, Rollout, Usage, read_row
from connections_env.rulesets import NYT
from connections_env.salvage import job_row, salvage
from connections_env.truncation import TRUNCATE_MODES, Truncate
from connections_env.validation import lineage_problems
from doctor_gameplay import resume
from tests.rollouts import board, played, scripted_reply

PUZZLE = board(0, groups=5, size=4)


@dataclass(frozen=True)
class Stage:
    """One sitting: who plays, what is said, how many requests are too long first, and how the game is cut after it."""

    model: str
    script: str
    too_long: int
    truncate: Truncate
    by_hand: bool
    """Resumed by steps 3 and 4, not by the driver."""


STAGES = st.builds(
    Stage,
    model=st.sampled_from(["a", "b", SIMULATED]),
    script=st.text("RRROWNL", min_size=1, max_size=3),
    too_long=st.sampled_from([0, 0, 0, 1, 2]),
    truncate=st.sampled_from(TRUNCATE_MODES),
    by_hand=st.booleans(),
)


@dataclass
class World:
    """Numbers every reply that anybody gives, and knows who gave it."""

    writers: list[str] = field(default_factory=list)

    def play(self, job: Job, stage: Stage) -> Rollout | None:
        script, refused = iter(stage.script), 0

        async def ask(messages: list[dict[str, str]], _: str) -> Answer:
            nonlocal refused
            said = [Reply(message["content"]) for message in messages if message["role"] == "assistant"]
            if said and refused < stage.too_long:
                refused += 1
                raise PromptTooLong
            reply = scripted_reply(replay_replies(PUZZLE, NYT, said)[-1], next(script))
            self.writers.append(stage.model)
            numbered = reply._replace(reasoning=f"Reply {len(self.writers) - 1}.")
            return Answer(numbered, Usage(requests=1), simulated=stage.model == SIMULATED)

        asked_for = "whatever" if stage.model == SIMULATED else stage.model
        return asyncio.run(play_game(job, ask, len(stage.script), model=asked_for))


def numbers(row: Rollout) -> list[int]:
    """Of the replies of a game, as their own text tells them."""
    return [int(reply.reasoning.removeprefix("Reply ").rstrip(".")) for reply in row.replies]


def next_job(row: Rollout, why: str, stage: Stage, name: str) -> Job | None:
    if not stage.by_hand:
        return salvage(row, name, stage.truncate)
    job = job_row(RejectedRow(**dict(row), rejection=why), stage.truncate)
    return job and resume(job, PUZZLE, name)


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@given(st.lists(STAGES, min_size=1, max_size=6))
def test_a_game_cut_and_resumed_by_anybody_any_number_of_times_tells_its_lineage(stages: list[Stage]) -> None:
    world, lost, last_cut, ways = World(), 0, 0, set[str]()
    job, before = Job("0", PUZZLE, NYT), list[int]()
    for nth, stage in enumerate(stages):
        row = world.play(job, stage)
        assert row is not None
        now = numbers(row)
        kept = shared(before, now)
        if not kept:
            lost, last_cut, ways = 0, 0, set()
        elif kept < len(before):
            lost, last_cut = lost + len(before) - kept, kept
            if kept < len(job.kept):
                ways.add("too-long")
            if len(job.kept) < len(before):
                ways.add(stages[nth - 1].truncate)

        assert row.reply_models == [world.writers[number] for number in now]
        assert row.model == world.writers[now[-1]] == stage.model
        assert row.simulated == any(world.writers[number] == SIMULATED for number in now)
        assert (row.resumed_from.turns if row.resumed_from else 0) == kept
        assert (row.turns_cut, row.cuts[-1].kept if row.cuts else 0) == (lost, last_cut)
        assert {cut.truncate for cut in row.cuts} == ways
        assert row.doctored == bool(lost)
        assert read_row(row.to_line()) == row
        assert not [*lineage_problems(GoodRow(**dict(row)))]

        if (why := rejection(facts_of(row))) is None:
            break
        job, before = next_job(row, why, stage, str(nth + 1)) or Job(str(nth + 1), PUZZLE, NYT), now
        if not job.kept:
            before = []


def cut(kept: int, turns: int | None = 1) -> Cut:
    return Cut(turns=turns, kept=kept, truncate="last-valid")


def game(*models: str, cuts: Sequence[Cut] = ()) -> Rollout:
    row = played(PUZZLE, "R" * len(models), resumed_from=ResumedFrom(rollout_id="x", turns=3), cuts=cuts)
    return row.model_copy(update={"reply_models": [*models], "model": models[-1]})


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ("aaa", "a"),
        ("aab", "a, then b"),
        ("aba", "a, then b, then a"),
        (["", "", "b"], "an unknown model, then b"),
        (["", "", ""], ""),
    ],
)
def test_who_played_is_told_in_order(models: Sequence[str], told: str) -> None:
    assert played_by(game(*models)) == told
    assert stretches(models)[-1] == models[-1]


def test_a_cut_is_told_where_it_is_until_a_later_one_takes_its_place_away() -> None:
    row = game(*"aaaa", cuts=[cut(2), cut(4), cut(3, 5), cut(3, 7)])
    there: dict[int, list[Any]] = {turns: [one.turns for one in cuts_after(row, turns)] for turns in range(5)}
    assert there == {0: [], 1: [], 2: [1], 3: [5, 7], 4: []}
    assert row.turns_cut == 14


def test_how_many_were_cut_is_not_known_where_one_cut_does_not_say() -> None:
    assert game(*"aaaa", cuts=[cut(2, None), cut(3)]).turns_cut is None


def test_a_row_that_does_not_say_who_wrote_each_reply_is_none() -> None:
    line = game(*"aaaa").model_copy(update={"reply_models": ["a"]}).to_line()
    with pytest.raises(ValueError, match="as many entries are needed in each reply_ list"):
        read_row(line)
