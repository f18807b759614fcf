"""What a collation tells of what became of its rows."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from connections_env.files import shown
from connections_env.outputs import REJECTS, RERUN
from connections_env.selection import Outcome, Reject
from connections_env.tables import distribution_table, reasons_table, share
from connections_env.terminal import counted


def summary(outcome: Outcome, output: Path) -> str:
    """What became of the rows, and what is in the dataset."""
    rows, rejects = outcome.rows, outcome.rejects + outcome.spare_rejects
    if outcome.written:
        head = f"rows read: {outcome.read}, examples written: {len(rows)} -> {shown(output)}"
        if outcome.splits:
            head += "\n" + ", ".join(f"{split}: {count}" for split, count in outcome.splits.items())
            if outcome.boundary.size >= 1:
                asked = counted(int(outcome.boundary.size), "puzzle")
                head += f"\n--test-size {outcome.boundary.below} is where the test split ends, asked for as {asked}"
        elif len(outcome.games) != (lines := sum(len(them) for _, made in outcome.games for them in made.values())):
            head += f"\na row a right reply: {lines}"
    else:
        why = f"{len(rows)} fit, but --strict takes no rejects" if rows else "none fit for the dataset"
        head = f"rows read: {outcome.read}, {why}; {shown(output)} was not written"
    parts = [
        head,
        reasons_table(outcome.became, outcome.read),
        _notes(outcome, output, rejects),
    ]
    if rows:
        perfect = sum(row.accuracy == 1 for row in rows)
        rewards: dict[str, list[float]] = {}
        for row in rows:
            rewards.setdefault(row.ruleset, []).append(row.reward)
        kinds = Counter(f"doctoring type {row.doctoring_type}" for row in rows)
        parts += [
            f"{reasons_table(kinds, len(rows))}\n  perfect games: {share(perfect, len(rows))}",
            distribution_table(
                {
                    **{f"reward, {name}" if len(rewards) > 1 else "reward": them for name, them in rewards.items()},
                    "accuracy": [row.accuracy for row in rows],
                    "turns": [row.num_turns for row in rows],
                    "longest reply, tokens": [row.max_reply_tokens for row in rows],
                    "total tokens": [row.num_tokens for row in rows],
                }
            ),
        ]
    return "\n\n".join(filter(None, parts))


def _notes(outcome: Outcome, output: Path, rejects: Sequence[Reject]) -> str:
    simulated = sum(row.simulated for row in outcome.rows)
    notes = []
    if simulated:
        who = "all examples" if simulated == outcome.accepted else f"{simulated} of {outcome.accepted} examples"
        notes.append(f"simulated, in whole or in part: {who}; for trying things out")
    if outcome.spares_used or outcome.spare_rejects:
        tried = outcome.spares_used + len(outcome.spare_rejects)
        notes.append(f"other rollouts tried where no row of a puzzle held: {tried}, {outcome.spares_used} accepted")
    held = [f"{count} of {name}" for name, count in outcome.held_out.puzzles.items()]
    held += [f"{counted(count, 'id')} of {name}" for name, count in outcome.held_out.listed.items()]
    if held:
        refused = sum(reject.reason == "held out" for reject in rejects)
        notes.append(f"puzzles that may not be in: {', '.join(held)}; rows refused for it: {refused}")
    if outcome.same_id:
        notes.append(f"puzzles whose id another one has too: {outcome.same_id}; a hash of their items ends it")
    if rejects:
        notes.append(f"rejects, with all their reasons: {len(rejects)} -> {shown(output.with_name(REJECTS))}")
    if outcome.without_row:
        where = f"{shown(output.with_name(RERUN))}, for generate_rollouts.py --puzzle-ids-file"
        notes.append(f"puzzles without a row: {len(outcome.without_row)} -> {where}")
    return "\n".join(notes)
