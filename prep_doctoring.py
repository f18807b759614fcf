"""Step 3: bad games become jobs that go on from the last turn worth keeping.

Home of the policy the driver uses: `salvage` cuts one bad rollout; what may be kept of it is in
`connections_env/truncation.py`.
"""

from connections_env.play import Job, replay_rollout
from connections_env.quality import facts_of
from connections_env.records import ResumedFrom, Rollout
from connections_env.truncation import Truncate, kept_turns


def salvage(rollout: Rollout, rollout_id: str, truncate: Truncate = "last-valid") -> Job | None:
    """The job that resumes a bad rollout on its board as it was shown, or None where nothing can be kept.

    Raises `Disagrees` where replaying the row does not give what it records.
    """
    if not rollout.info.all_words:
        return None  # it names no board, so it was taken at its word
    puzzle, _ = replay_rollout(rollout)
    facts = facts_of(rollout)
    kept = kept_turns(facts.statuses, facts.unfit, facts.complete_reason, truncate)
    if not kept:
        return None
    replies = rollout.replies
    cut_before = rollout.resumed_from.cut if rollout.resumed_from else 0
    return Job(
        rollout_id=rollout_id,
        puzzle=puzzle,
        ruleset=rollout.ruleset,
        kept=tuple(replies[:kept]),
        resumed_from=ResumedFrom(rollout_id=rollout.rollout_id, turns=kept, cut=cut_before + len(replies) - kept),
        example_id=rollout.example_id,
        simulated=rollout.simulated,
    )
