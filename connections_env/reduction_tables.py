"""What a reduction tells: what it would do, and what it did."""

import shlex
from collections import Counter

from connections_env import prompts
from connections_env.files import shown
from connections_env.play import Disagrees
from connections_env.prices import Prices
from connections_env.records import Usage
from connections_env.reduction import ROUNDS, Plan, open_game
from connections_env.rejects import CANNOT_FIT, NO_REPLAY, NO_SPARE, Finished
from connections_env.rewriting import can_fit
from connections_env.streams import REJECTS, RERUN, Outcome, Stream, lost_puzzles
from connections_env.tables import reasons_table, share
from connections_env.terminal import NAMED_PROBLEMS, counted

ROWS, OVER = "the rows", "those over"
"""What the shares are of."""
ASKED, HOPELESS, TRIED, EARLIER = "to be reduced", "cannot fit", "rejected earlier", "paid for earlier"
"""What a run would make of a row that is over."""


def summary(outcome: Outcome, seconds: float, *, retried: bool = False) -> str:
    """What was over, what was reduced and from how many tokens to how many, what was rejected and why.

    `retried` where what earlier runs rejected was to be tried again.
    """
    done = [done for stream in outcome.streams for done in stream.outcomes]
    rows = sum(len(stream.rows) for stream in outcome.streams)
    skipped = sum(stream.skipped for stream in outcome.streams)
    over = sum(len(stream.over) for stream in outcome.streams)
    earlier = sum(one.earlier and not one.asked for one in done)
    cannot_fit = sum(one.cannot_fit for one in done)
    shortened = [pair for one in done for pair in one.shortened]
    refusals: Counter[str] = sum((one.refusals for one in done), Counter())
    kept = sum(one.kept for one in done)
    rejects = [reject for one in done for reject in one.rejects]
    used = outcome.usage
    figures = {
        "rows": f"{rows + skipped:,}",
        "skipped": share(skipped, rows + skipped, "the lines") if skipped else "",
        "within limits": share(rows - over, rows, ROWS),
        "over a limit": share(over, rows, ROWS),
        "reduced": share(sum(one.row is not None and not one.is_spare for one in done), over, OVER),
        "spare in its place": share(sum(one.row is not None and one.is_spare for one in done), over, OVER),
        "rejected": share(sum(one.row is None for one in done), over, OVER),
        "unfinished": share(over - len(done), over, OVER) if outcome.left else "",
        "cannot fit": f"{share(cannot_fit, over, OVER)}, nothing asked" if cannot_fit else "",
        "paid for earlier": share(earlier, over, OVER) if earlier else "",
        "replies shortened": f"{len(shortened):,}",
        "replies kept": f"{kept:,}, every rewriting was refused" if kept else "",
        "their tokens before": _sum_and_mean([was for was, _ in shortened]),
        "their tokens after": _sum_and_mean([now for _, now in shortened]),
        "requests": f"{used.requests:,} ({outcome.failed_attempts:,} failed)",
        "tokens in": f"{used.input:,} ({used.cached:,} cached)",
        "tokens out": f"{used.output:,} ({used.reasoning:,} reasoning)",
        "cost": "" if outcome.cost is None else f"{outcome.cost:.4f} USD",
        "time": f"{seconds:.1f} s",
    }
    parts = ["\n".join(f"  {name + ':':<22}{value}" for name, value in figures.items() if value)]
    if rejects:
        parts += ["Games rejected, spares included:", reasons_table(Counter(one.why for one in rejects), len(rejects))]
    if refusals:
        parts += ["Rewritings refused:", reasons_table(refusals, refusals.total())]
    if retried and not used.requests and not outcome.left:
        parts.append(_why_nothing_was_retried(done))
    if outcome.written:
        parts.append(_files(outcome))
        parts += _way_on(outcome)
    return "\n\n".join(parts)


def _why_nothing_was_retried(done: list[Finished]) -> str:
    whys = Counter(reject.why for one in done for reject in one.rejects)
    fixed = {CANNOT_FIT: "cannot be made to fit these limits", NO_REPLAY: NO_REPLAY, NO_SPARE: NO_SPARE}
    reasons = [f"{fixed[why]}: {whys[why]:,}" for why in fixed if whys[why]]
    if over := sum(count for why, count in whys.items() if why not in fixed):
        reasons.append(f"still over after {ROUNDS} rounds of shortening: {over:,}")
    why = "; ".join(reasons) or "no game is rejected"
    return f"--retry-rejected had nothing to ask for: {why}"


def _way_on(outcome: Outcome) -> list[str]:
    """What can be done for the puzzles whose games were all rejected, if there are any."""
    if not (lost := len(lost_puzzles(outcome.streams))):
        return []
    folder = outcome.streams[0].output.parent
    gone = [one for stream in outcome.streams for one in stream.outcomes if one.row is None]
    again = sum(any(reject.refusals for reject in one.rejects) for one in gone)
    counts, it = "its games were rejected, but it counts", "it"
    if lost > 1:
        counts, it = "their games were rejected, but they count", "them"
    lines = [
        f"{counted(lost, 'puzzle has', 'puzzles have')} no row now: {counts} as good, so iterative_generate.py does "
        f"not play {it} again. With the other flags of these runs:"
    ]
    if again:
        retry = f"uv run python reduce_tokens.py --retry-rejected --output-dir {shlex.quote(shown(folder))}"
        lines.append(f"  {retry}  # asks once more for {counted(again, 'game')}")
    listed = shlex.quote(shown(folder / RERUN))
    lines.append(f"  uv run python generate_rollouts.py --puzzle-ids-file {listed}  # plays all it lists afresh")
    return ["\n".join(lines)]


def _sum_and_mean(tokens: list[int]) -> str:
    return f"{sum(tokens):,} (mean {sum(tokens) / len(tokens):,.1f})" if tokens else ""


def _files(outcome: Outcome) -> str:
    lines = [
        f"{counted(len(list(stream.reduced_rows())), 'row')} -> {shown(stream.output)}" for stream in outcome.streams
    ]
    rejects = sum(len(done.rejects) for stream in outcome.streams for done in stream.outcomes)
    others = {REJECTS: counted(rejects, "rejected game"), RERUN: f"{counted(outcome.to_rerun, 'puzzle')} without a row"}
    return "\n".join(
        [*lines, *(f"{others[path.name]} -> {shown(path)}" for path in outcome.written if path.name in others)]
    )


def forecast(streams: list[Stream], plan: Plan, prices: Prices | None, *, verbose: bool) -> str:
    """What a run would ask for, and about how many tokens that takes if every first rewriting is accepted."""
    lines, requests, tokens_in, tokens_out, became = list[str](), 0, 0, 0, Counter[str]()
    todo = {key: (stream, row) for stream in streams for key, row in stream.left.items()}
    for key, (stream, row) in todo.items():
        reasons = "; ".join(plan.limits.over(stream.counts[key], len(row.info.all_words)))
        try:
            game = open_game(row, stream.counts[key])
            left = plan.todo(game)
            over = plan.limits.over(game.counts, len(row.info.all_words))
        except Disagrees as error:
            lines.append(f"  {row.info.puzzle_id}: {reasons}: cannot be reduced: {error}")
            became[NO_REPLAY] += 1
            continue
        if left:
            asked = [prompts.shorten(game.contents[turn], target) for turn, target in left.items()]
            became[ASKED] += 1
            requests += len(left)
            tokens_in += sum(plan.tokenizer.count(message["content"]) for messages in asked for message in messages)
            tokens_out += sum(left.values())
            what = ", ".join(f"reply {turn + 1} to {target:,}" for turn, target in sorted(left.items()))
        else:
            hopeless = not can_fit(stream.counts[key], plan.limits, len(row.info.all_words))
            became[HOPELESS if hopeless else TRIED if over else EARLIER] += 1
            what = "cannot be made to fit" if hopeless else TRIED if over else EARLIER
        lines.append(f"  {row.info.puzzle_id}: {reasons}: {what}")
    if not verbose and len(lines) > NAMED_PROBLEMS:
        lines[NAMED_PROBLEMS:] = [f"  ... and {len(lines) - NAMED_PROBLEMS} more; -v names them all"]
    rows, over_limits = sum(len(stream.rows) for stream in streams), sum(len(stream.over) for stream in streams)
    skipped = sum(stream.skipped for stream in streams)
    became["alike, counted once"] = over_limits - len(todo)
    figures = {
        "rows": f"{rows + skipped:,}",
        "skipped": share(skipped, rows + skipped, "the lines") if skipped else "",
        "within limits": share(rows - over_limits, rows, ROWS),
        "over a limit": share(over_limits, rows, ROWS),
        ASKED: share(became.pop(ASKED, 0), over_limits, OVER),
        **{what: share(count, over_limits, OVER) for what, count in became.items() if count},
        "replies to shorten": f"{requests:,}",
        "tokens in": f"about {tokens_in:,}",
        "tokens out": f"about {tokens_out:,}, and what the model thinks",
    }
    if prices:
        cost = prices.cost(Usage(input=tokens_in, output=tokens_out))
        figures["cost"] = f"about {cost:.4f} USD, and what the model thinks"
    return "\n".join(
        [*lines, *([""] if lines else []), *(f"  {name + ':':<22}{text}" for name, text in figures.items() if text)]
    )
