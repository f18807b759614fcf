"""What is told of a game before its turns: verdict, outcome, tokens, where it is from; or all of it on one line."""

from collections.abc import Iterator, Sequence

from connections_env.entries import Entry
from connections_env.examples import GoodRow, JobRow
from connections_env.game import WON
from connections_env.paint import Look, Paint, padded, wrapped
from connections_env.play import Disagrees, replay_rollout
from connections_env.quality import facts_of
from connections_env.records import Rollout
from connections_env.terminal import counted, visible
from connections_env.truncation import kept_turns

_LABEL = 9  # columns of the names of figures


def list_line(nth: int, entry: Entry, place_width: int, paint: Paint) -> str:
    """A game on one line: its number, place, puzzle, verdict, turns and reward."""
    rollout = entry.rollout
    turns = f"{entry.turns} {'turn' if entry.turns == 1 else 'turns'}"
    reward = f"reward {rollout.reward:.4g}" if rollout else ""
    verdict = padded(visible(entry.verdict), 22)
    style = "good" if entry.why_bad is None else "bad"
    columns = [f"{nth:>5}", padded(visible(entry.place), place_width), padded(visible(entry.puzzle_id), 20)]
    return "  ".join([*columns, paint(style, verdict), padded(turns, 8), reward]).rstrip()


def head_lines(entry: Entry, look: Look) -> Iterator[str]:
    """What stands above the board."""
    rollout = entry.rollout
    title = visible(rollout.info.title) if rollout else ""
    name = visible(entry.puzzle_id) or "no puzzle id"
    first, *more = wrapped(f"{name}  {title}".rstrip(), look.width)
    yield look.paint("bold", first)
    yield from more
    yield from _figure("verdict", [visible(_verdict(entry))], look, "good" if entry.why_bad is None else "bad")
    if rollout:
        yield from _figure("outcome", _outcome(rollout), look)
        yield from _figure("tokens", _tokens(rollout), look)
    yield from _figure("from", _origin(entry), look, "faint")
    for note in [*entry.notes, *_disagreement(rollout)]:
        yield from _figure("note", [visible(note)], look, "close")


def _figure(name: str, fields: Sequence[str], look: Look, style: str = "") -> Iterator[str]:
    """A name and what it is, in a column of its own."""
    words = [word for field in fields if field for word in (field + ",").split(" ")]
    if not words:
        return
    words[-1] = words[-1].removesuffix(",")
    lines = wrapped(" ".join(words), look.width, " " * _LABEL)
    for nth, line in enumerate(lines):
        yield look.paint("faint", padded("" if nth else name, _LABEL)) + look.paint(style, line[_LABEL:])


def _verdict(entry: Entry) -> str:
    rollout = entry.rollout
    if rollout is None or entry.why_bad is None or not rollout.reply_unfit or entry.rejected:
        return entry.verdict
    if isinstance(rollout, JobRow):
        return f"{entry.verdict}; cut {rollout.truncate.replace('-', ' ')}"
    facts = facts_of(rollout)
    kept = kept_turns(facts.statuses, facts.unfit, facts.complete_reason)
    keeps = f"a cut would keep {kept} of {len(facts.statuses)} turns" if kept else "a cut would keep nothing"
    return f"{entry.verdict}; {keeps}"


def _outcome(rollout: Rollout) -> list[str]:
    reason = rollout.complete_reason
    ended = (
        "won"
        if reason in WON
        else "lost"
        if reason == "max_mistakes"
        else f"unfinished ({visible(reason).replace('_', ' ')})"
    )
    guesses = [guess.status for guess in rollout.guess_history if guess.status != "auto"]
    wrong = sum(status in ("one_away", "incorrect") for status in guesses)
    themes = rollout.themes
    return [
        f"{ended} after {counted(len(guesses), 'guess', 'guesses')}",
        f"{wrong} wrong" if wrong else "",
        f"{guesses.count('invalid')} invalid" if "invalid" in guesses else "",
        f"{sum(themes.right)} of {len(themes.right)} themes right" if themes else "",
        f"reward {rollout.reward:.4g}",
    ]


def _tokens(rollout: Rollout) -> list[str]:
    """Of the replies, and what the game was charged for."""
    used, replies = rollout.usage, rollout.reply_tokens
    seconds = rollout.timing.get("seconds")
    fields = [f"{sum(replies):,} in {counted(len(replies), 'reply', 'replies')}"]
    if used.requests or used.output:
        fields += [
            f"paid {used.input:,} in ({used.cached:,} cached)",
            f"{used.output:,} out ({used.reasoning:,} reasoning)",
            counted(used.requests, "request", "requests"),
        ]
    if isinstance(seconds, int | float):
        fields.append(f"{seconds:,.1f} s")
    if isinstance(rollout, GoodRow) and rollout.reduced:
        before = f"from {rollout.tokens_before:,} as rendered " if rollout.tokens_before else ""
        fields.append(f"reduced {before}by {visible(rollout.reducer_model or 'nobody')} (--before shows the original)")
    return fields


def _origin(entry: Entry) -> list[str]:
    rollout = entry.rollout
    fields = [visible(entry.place), f"rollout {visible(entry.rollout_id)}" if entry.rollout_id else ""]
    if rollout:
        model = visible(rollout.model)
        if rollout.simulated and model != "simulated":
            model = f"{model} (simulated)".strip()
        fields += [model, rollout.info.ruleset, visible(rollout.info.source), visible(rollout.info.split)]
    return fields


def _disagreement(rollout: Rollout | None) -> list[str]:
    """Where a row is not what its replies make of its board."""
    if rollout and rollout.info.all_words:
        try:
            replay_rollout(rollout)
        except Disagrees as error:
            return [f"replayed: {error}"]
    return []
