"""What is told of a game before its turns: verdict, outcome, tokens, where it is from; or all of it on one line."""

from collections.abc import Iterator, Sequence

from connections_env.entries import TRAINER, Entry
from connections_env.examples import GoodRow, JobRow, before_reduction, count_row
from connections_env.game import WON
from connections_env.lineage import played_by
from connections_env.paint import Look, Paint, cells, cut, padded, wrapped
from connections_env.play import Disagrees, replay_rollout
from connections_env.quality import facts_of
from connections_env.records import SIMULATED, Rollout
from connections_env.terminal import counted, visible
from connections_env.tokens import load_tokenizer
from connections_env.truncation import kept_turns

_LABEL = 9  # columns of the names of figures


# Columns of a list: how wide each is, and how narrow it may become. Where there is no room for them the reward goes
# first, then the turns, then the place: what a game is called and what became of it are worth more.
_PUZZLE, _VERDICT, _TURNS, _REWARD = (20, 18), (22, 18), 8, 12
_NUMBER, _LEAST_PLACE, _LEAST_NAME, _GAP = 5, 9, 6, "  "


def list_line(nth: int, entry: Entry, place_width: int, paint: Paint, width: int | None = None) -> str:
    """A game on one line: its number, place, puzzle, verdict, turns and reward; in so many columns, if given."""
    rollout = entry.rollout
    turns = f"{entry.turns} {'turn' if entry.turns == 1 else 'turns'}"
    reward = f"reward {rollout.reward:.4g}" if rollout and entry.turn is None else ""
    place, puzzle, verdict, more = _list_columns(place_width, width)
    style = "good" if entry.why_bad is None else "bad"
    texts = [
        ("", f"{nth:>{_NUMBER}}"),
        ("", _column(visible(entry.place), place, end=True, cut_off=width is not None)),
        ("", _column(visible(entry.puzzle_id), puzzle, cut_off=width is not None)),
        (style, _column(visible(entry.verdict), verdict, cut_off=width is not None)),
        *(("", text) for text in (padded(turns, _TURNS), reward)[:more]),
    ]
    if not place:
        del texts[1]
    while width is not None and len(texts) > 1 and cells(_GAP.join(text for _, text in texts).rstrip()) > width:
        texts.pop()
    return _GAP.join(paint(style, text) if style else text for style, text in texts).rstrip()


def _list_columns(place: int, width: int | None) -> tuple[int, int, int, int]:
    """Columns of place (0: none), puzzle and verdict, and how many of the others there is room for."""
    widths, least = [place, _PUZZLE[0], _VERDICT[0]], [min(place, _LEAST_PLACE), _PUZZLE[1], _VERDICT[1]]
    if width is None:
        return (*widths, 2)  # type: ignore[return-value]
    for more, others in ((2, (_TURNS, _REWARD)), (1, (_TURNS,)), (0, ())):
        spare = width - _NUMBER - sum(others) - len(_GAP) * (3 + more)
        if spare >= sum(least):
            break
    else:
        spare = width - _NUMBER - 2 * len(_GAP)
        verdict = min(_VERDICT[1], max(spare - _LEAST_NAME, _LEAST_NAME))
        return 0, min(_PUZZLE[0], max(spare - verdict, 1)), verdict, 0
    for at in range(3):
        widths[at] = max(least[at], widths[at] - max(sum(widths) - spare, 0))
    return (*widths, more)  # type: ignore[return-value]


def _column(text: str, width: int, *, end: bool = False, cut_off: bool) -> str:
    return padded(cut(text, width, end=end) if cut_off else text, width)


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
        yield from _figure("outcome", _outcome(rollout) if entry.turn is None else _so_far(rollout), look)
        yield from _figure("tokens", _tokens(rollout), look)
    yield from _figure("from", _origin(entry), look, "faint")
    for note in [*entry.notes, *_disagreement(rollout if entry.turn is None else None)]:
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
    if rollout is not None and entry.turn is not None and entry.why_bad is None:
        ends = "the themes named" if rollout.themes else "a right guess"
        return f"good: turn {entry.turn} of a game, ends with {ends}"
    if rollout is None or entry.why_bad is None or entry.turn is not None or not rollout.reply_unfit or entry.rejected:
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


def _so_far(rollout: Rollout) -> list[str]:
    """Where a game stands at the end of a row that is one turn of it."""
    statuses = [guess.status for guess in rollout.guess_history]
    found = sum(status in ("correct", "auto") for status in statuses)
    wrong = sum(status in ("one_away", "incorrect") for status in statuses)
    return [f"{found} of {len(rollout.info.categories)} groups found", f"{wrong} wrong" if wrong else ""]


def _tokens(rollout: Rollout) -> list[str]:
    """Of the replies, and what the game was charged for."""
    used, replies = rollout.usage, rollout.reply_tokens
    seconds = rollout.timing.get("seconds")
    guessed = rollout.tokens_estimated
    fields = [f"{'about ' if guessed else ''}{sum(replies):,} in {counted(len(replies), 'reply', 'replies')}"]
    if guessed:
        fields.append("estimated" if guessed == len(replies) else f"{guessed:,} of them estimated")
    if used.requests or used.output:
        fields += [
            f"paid {used.input:,} in ({used.cached:,} cached)",
            f"{used.output:,} out ({used.reasoning:,} reasoning)",
            counted(used.requests, "request", "requests")
            + (f" ({used.estimated:,} estimated)" if used.estimated else ""),
        ]
    if isinstance(seconds, int | float):
        fields.append(f"{seconds:,.1f} s")
    if isinstance(rollout, GoodRow) and rollout.reduced:
        fields.append(f"reduced by {visible(', '.join(rollout.reducer_models))} (--before shows the original)")
        if rollout.original_completion:
            before = count_row(before_reduction(rollout), load_tokenizer()).completion
            fields.append(f"the game had {before:,} before, {TRAINER}")
    return fields


def _origin(entry: Entry) -> list[str]:
    rollout = entry.rollout
    fields = [visible(entry.place), f"rollout {visible(entry.rollout_id)}" if entry.rollout_id else ""]
    if rollout:
        model = visible(played_by(rollout))
        if rollout.simulated and SIMULATED not in rollout.reply_models:
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
