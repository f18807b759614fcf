"""What a reduction tells: what it would do, and what it did."""

from collections import Counter

from connections_env import prompts
from connections_env.files import shown
from connections_env.play import Disagrees
from connections_env.prices import Prices
from connections_env.records import Usage
from connections_env.reduction import Plan, open_game
from connections_env.streams import REJECTS, RERUN, Outcome, Stream
from connections_env.tables import reasons_table, share
from connections_env.terminal import NAMED_PROBLEMS, counted


def summary(outcome: Outcome, seconds: float) -> str:
    """What was over, what was reduced and from how many tokens to how many, what was rejected and why."""
    done = [done for stream in outcome.streams for done in stream.outcomes]
    rows = sum(len(stream.rows) for stream in outcome.streams)
    skipped = sum(stream.skipped for stream in outcome.streams)
    over = sum(len(stream.over) for stream in outcome.streams)
    earlier = sum(not one.asked for one in done)
    shortened = [pair for one in done for pair in one.shortened]
    refusals: Counter[str] = sum((one.refusals for one in done), Counter())
    kept = sum(one.kept for one in done)
    rejects = [reject for one in done for reject in one.rejects]
    used = outcome.usage
    figures = {
        "rows": f"{rows + skipped:,}",
        "skipped": share(skipped, rows + skipped) if skipped else "",
        "within limits": share(rows - over, rows),
        "over a limit": share(over, rows),
        "reduced": share(sum(one.row is not None and not one.is_spare for one in done), over),
        "spare in its place": share(sum(one.row is not None and one.is_spare for one in done), over),
        "rejected": share(sum(one.row is None for one in done), over),
        "unfinished": share(outcome.left, over) if outcome.left else "",
        "paid for earlier": share(earlier, over) if earlier else "",
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
    if outcome.written:
        parts.append(_files(outcome))
    return "\n\n".join(parts)


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
    lines, requests, tokens_in, tokens_out, earlier = list[str](), 0, 0, 0, 0
    todo = {key: (stream, row) for stream in streams for key, row in stream.left.items()}
    for key, (stream, row) in todo.items():
        reasons = "; ".join(plan.limits.over(stream.counts[key], len(row.info.all_words)))
        try:
            game = open_game(row, stream.counts[key])
            left = plan.todo(game)
            over = plan.limits.over(game.counts, len(row.info.all_words))
        except Disagrees as error:
            lines.append(f"  {row.info.puzzle_id}: {reasons}: cannot be reduced: {error}")
            continue
        if left:
            asked = [prompts.shorten(game.contents[turn], target) for turn, target in left.items()]
            requests += len(left)
            tokens_in += sum(plan.tokenizer.count(message["content"]) for messages in asked for message in messages)
            tokens_out += sum(left.values())
            what = ", ".join(f"reply {turn + 1} to {target:,}" for turn, target in sorted(left.items()))
        else:
            earlier += 1
            what = "cannot be made to fit" if over else "paid for earlier"
        lines.append(f"  {row.info.puzzle_id}: {reasons}: {what}")
    if not verbose and len(lines) > NAMED_PROBLEMS:
        lines[NAMED_PROBLEMS:] = [f"  ... and {len(lines) - NAMED_PROBLEMS} more; -v names them all"]
    rows, over_limits = sum(len(stream.rows) for stream in streams), sum(len(stream.over) for stream in streams)
    figures = {
        "rows": f"{rows:,}",
        "over a limit": share(over_limits, rows),
        "to be reduced": f"{len(todo) - earlier:,}",
        "replies to shorten": f"{requests:,}",
        "tokens in": f"about {tokens_in:,}",
        "tokens out": f"about {tokens_out:,}, and what the model thinks",
    }
    if prices:
        cost = prices.cost(Usage(input=tokens_in, output=tokens_out))
        figures["cost"] = f"about {cost:.4f} USD, and what the model thinks"
    return "\n".join(
        [*lines, *([""] if lines else []), *(f"  {name + ':':<22}{text}" for name, text in figures.items())]
    )
