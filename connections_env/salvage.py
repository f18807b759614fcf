"""A bad game cut where it is still worth something, as a job that goes on from there."""

from connections_env.examples import JobRow, RejectedRow
from connections_env.play import Job, make_rollout, replay_replies, replay_rollout
from connections_env.quality import facts_of, rejection
from connections_env.records import Cut, ResumedFrom, Rollout
from connections_env.truncation import Truncate, kept_turns


def salvage(rollout: Rollout, rollout_id: str, truncate: Truncate = "last-valid") -> Job | None:
    """The job that resumes a bad rollout on its board as it was shown; None where nothing can be kept, or it is good.

    Raises `Disagrees` where replaying the row does not give what it records.
    """
    if not rollout.info.all_words:
        return None  # it names no board, so it was taken at its word
    puzzle, _ = replay_rollout(rollout)
    facts = facts_of(rollout)
    if rejection(facts) is None:
        return None  # a good game is over, there is nothing to go on with
    kept = kept_turns(facts.statuses, facts.unfit, facts.complete_reason, truncate)
    if not kept:
        return None
    replies = rollout.replies
    cut = [Cut(turns=len(replies) - kept, kept=kept, truncate=truncate)] if kept < len(replies) else []
    return Job(
        rollout_id=rollout_id,
        puzzle=puzzle,
        ruleset=rollout.ruleset,
        kept=tuple(replies[:kept]),
        resumed_from=ResumedFrom(rollout_id=rollout.rollout_id, turns=kept),
        cuts=(*rollout.cuts, *cut),
        example_id=rollout.example_id,
    )


def job_row(bad: RejectedRow, truncate: Truncate) -> JobRow | None:
    """The part of a bad game that is kept, with where and why it was cut; None where nothing is."""
    job = salvage(bad, bad.rollout_id, truncate)
    if job is None:
        return None
    kept = len(job.kept)
    states = replay_replies(job.puzzle, job.ruleset, job.kept)
    part = make_rollout(job, states, job.kept, "interrupted", sampling=bad.sampling)
    cut_why = _why(bad, kept) if kept < len(bad.replies) else ""
    fields = dict(part) | {"resumed_from": bad.resumed_from}
    return JobRow(**fields, rejection=bad.rejection, truncate=truncate, cut_why=cut_why)


def _why(bad: RejectedRow, kept: int) -> str:
    """What the first reply that was cut did."""
    guesses = [guess for guess in bad.guess_history if guess.status != "auto"]
    if kept < len(guesses) and guesses[kept].status == "invalid":
        return f"invalid guess: {guesses[kept].reason}".replace("_", " ")
    if why := bad.reply_unfit[kept]:
        return f"unfit reply: {why.replace('_', ' ')}"
    return "wrong guess" if kept < len(guesses) else "wrong themes"
