"""Step 3: bad games become jobs that go on from the last turn worth keeping.

Home of the policy the driver uses: `salvage` cuts one bad rollout; what lies behind it (what may be kept, what is
better than what) is in `connections_env/truncation.py` and `connections_env/quality.py`.
"""

from connections_env.play import Job, replay_replies
from connections_env.quality import facts_of
from connections_env.records import ResumedFrom, Rollout, history_of
from connections_env.truncation import Truncate, kept_turns


class Disagrees(ValueError):
    """A row whose record is not what its replies make of its board."""


def salvage(rollout: Rollout, rollout_id: str, truncate: Truncate = "last-valid") -> Job | None:
    """The job that resumes a bad rollout on its board as it was shown, or None where nothing can be kept.

    Raises `Disagrees` where replaying the row does not give the guess history and outcome it records.
    """
    puzzle = rollout.puzzle
    if puzzle is None:
        return None
    replies = rollout.replies
    states = replay_replies(puzzle, rollout.ruleset, replies)
    if history_of(states[-1]) != rollout.guess_history or len(states) != len(replies) + 1:
        raise Disagrees("the guess history is not what its replies give on its board")
    if (states[-1].complete_reason or rollout.complete_reason) != rollout.complete_reason:
        raise Disagrees(f"ends as {states[-1].complete_reason}, recorded as {rollout.complete_reason}")
    facts = facts_of(rollout)
    kept = kept_turns(facts.statuses, facts.unfit, facts.complete_reason, truncate)
    if not kept:
        return None
    return Job(
        rollout_id=rollout_id,
        puzzle=puzzle,
        ruleset=rollout.ruleset,
        kept=tuple(replies[:kept]),
        resumed_from=ResumedFrom(rollout_id=rollout.rollout_id, turns=kept),
        example_id=rollout.example_id,
    )
