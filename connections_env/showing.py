"""A game laid out for people: its board, and turn by turn what was thought, guessed and answered."""

from collections.abc import Iterator

from connections_env.entries import Entry
from connections_env.examples import JobRow
from connections_env.game import GameState, Turn, is_mistake, themes_right
from connections_env.headlines import head_lines
from connections_env.lineage import cuts_after
from connections_env.paint import Look, cells, flowed, group_style, wrapped
from connections_env.parsing import Asked, Reply, reasoning_of
from connections_env.play import estimated_tokens, replay_replies
from connections_env.puzzles import Puzzle
from connections_env.records import Rollout
from connections_env.terminal import counted, visible, visible_lines
from connections_env.tiles import INDENT, Grid, Tile, grid_for, laid_out
from connections_env.transcripts import feedback_of, reply_of

_STYLES = {"correct": "good", "one_away": "close", "incorrect": "bad", "invalid": "broken", "auto": "faint"}


def game_lines(entry: Entry, look: Look) -> Iterator[str]:
    """A game, line by line."""
    yield from head_lines(entry, look)
    rollout, puzzle = entry.rollout, entry.rollout.puzzle if entry.rollout else None
    if rollout is None:
        yield from _conversation(entry, look)
    elif puzzle is None:
        statuses = ", ".join(guess.status.replace("_", " ") for guess in rollout.guess_history)
        yield from ["", *wrapped(f"no board is named; its guesses were: {statuses or 'none'}", look.width)]
    else:
        grid = grid_for(map(visible, puzzle.items), puzzle.group_size, look.width)
        yield from _board(puzzle, grid, look)
        yield from _turns(entry, rollout, puzzle, grid, look)


def raw_lines(entry: Entry) -> Iterator[str]:
    """The messages of a line as they are, neither wrapped nor read."""
    yield visible(f"{entry.place} {entry.puzzle_id} {entry.rollout_id}").rstrip()
    for message in entry.messages:
        for name, text in message.items():
            if name != "role":
                yield from ["", f"[{visible(message['role'])}: {name}]", *visible_lines(text)]


def _board(puzzle: Puzzle, grid: Grid, look: Look) -> Iterator[str]:
    """The board as it was shown, in the colours of the answer key below it."""
    tiles = [Tile(visible(item), group_style(puzzle.group_of.get(item))) for item in puzzle.items]
    yield ""
    yield from laid_out(tiles, grid, look.paint)
    yield ""
    for index, group in enumerate(puzzle.groups):
        text = visible(f"{group.theme}: {' | '.join(group.members)}")
        letter = look.paint(group_style(index), f" {_letter(index)} ")
        first, *more = wrapped(text, look.width, INDENT + "    ")
        yield f"{INDENT}{letter} {first.strip()}"
        yield from more


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def _turns(entry: Entry, rollout: Rollout, puzzle: Puzzle, grid: Grid, look: Look) -> Iterator[str]:
    replies = rollout.replies
    states = replay_replies(puzzle, rollout.ruleset, replies)
    told = feedback_of(rollout)
    for nth, reply in enumerate(replies):
        yield from _seam(rollout, nth, look)
        unfit, tokens = rollout.reply_unfit[nth], f"{rollout.reply_tokens[nth]:,} tokens"
        if rollout.reply_estimated and rollout.reply_estimated[nth]:
            tokens = f"about {tokens}"
        bare = entry.turn is not None and nth + 1 < len(replies)  # without its reasoning, and not by its own fault
        why = (
            f"unfit: {visible(unfit.replace('_', ' '))}"
            if unfit and not bare and unfit not in ("no_guess", "several_guesses")
            else ""
        )
        yield from _rule(f"Turn {nth + 1}", tokens, why, look)
        if nth + 1 >= len(states):
            yield from _thoughts(reply, "guess", look)
            for line in wrapped("the game was over before this reply", look.width, INDENT):
                yield look.paint("broken", line)
            continue
        before, after = states[nth], states[nth + 1]
        if not bare:
            yield from _thoughts(reply, "themes" if before.asks_themes else "guess", look)
        yield from (
            _named_themes(after, look) if before.asks_themes else _guess(after.player_turns[-1], after, grid, look)
        )
        if nth < len(told) and told[nth]:
            for line in wrapped(f"> {_first_paragraph(told[nth])}", look.width, INDENT):
                yield look.paint("faint", line)
        if after.turns[len(before.turns) + 1 :]:
            yield from ["", *_guess(after.turns[-1], after, grid, look)]
    if isinstance(rollout, JobRow):
        cut = counted(rollout.cuts[-1].turns or 0 if rollout.cut_why else 0, "reply was", "replies were")
        why = f" ({rollout.cut_why})" if rollout.cut_why else ""
        yield from _rule("to be resumed here", f"{cut} cut off{visible(why)}", "", look)


def _seam(rollout: Rollout, nth: int, look: Look) -> Iterator[str]:
    """Where a resumed game goes on from an earlier one, and where that one, or one before it, was cut."""
    cuts = [cut.turns for cut in cuts_after(rollout, nth)]
    # How many, other tools and datasets do not say.
    some = "replies" if None in cuts else counted(sum(filter(None, cuts)), "reply", "replies")
    cut = f"{some} cut off" if cuts else "nothing cut off"
    if rollout.resumed_from and rollout.resumed_from.turns == nth:
        parent = rollout.resumed_from.rollout_id
        yield from _rule("resumed here", f"from {visible(parent) if parent else 'an earlier game'}", cut, look)
    elif cuts:
        yield from _rule("resumed here", "by an earlier game", cut, look)


def _rule(head: str, detail: str, warning: str, look: Look) -> Iterator[str]:
    text = ", ".join(filter(None, (head, detail, warning)))
    if cells(text) + 6 > look.width:
        yield from ["", *(look.paint("bold", line) for line in wrapped(text, look.width))]
        return
    dashes = "-" * (look.width - cells(text) - 4)
    rest = look.paint("faint", detail and f", {detail}") + look.paint("bad", warning and f", {warning}")
    yield from ["", f"{look.paint('faint', '--')} {look.paint('bold', head)}{rest} {look.paint('faint', dashes)}"]


def _thoughts(reply: Reply, asked: Asked, look: Look) -> Iterator[str]:
    text = reasoning_of(reply, asked)
    if not text:
        yield look.paint("bad", f"{INDENT}(no reasoning)")
    elif not look.reasoning:
        size = f"{len(text):,} characters, about {estimated_tokens(text):,} tokens"
        for line in wrapped(f"(reasoning: {size})", look.width, INDENT):
            yield look.paint("faint", line)
    else:
        for line in visible_lines(text):
            yield from wrapped(line.rstrip(), look.width, INDENT)
    yield ""


def _guess(turn: Turn, state: GameState, grid: Grid, look: Look) -> Iterator[str]:
    """The tiles of a guess, each the colour of the group it is truly of; the verdict; where the game stands."""
    puzzle, ruleset = state.puzzle, state.ruleset
    groups = [puzzle.group_of.get(item) for item in turn.words]
    tiles = [Tile(visible(item), group_style(group)) for item, group in zip(turn.words, groups, strict=True)]
    yield from laid_out(tiles, grid, look.paint)
    status = "completed by the game" if turn.status == "auto" else turn.status.replace("_", " ")
    if turn.reason:
        status += f": {turn.reason.replace('_', ' ')}"
    count = is_mistake(ruleset, len(puzzle.groups) - len(state.found))
    left = ruleset.mistakes_allowed - state.mistakes
    fields = [status, " ".join("?" if group is None else _letter(group) for group in groups)]
    if turn.status != "auto":
        fields += [
            f"found {len(state.found)} of {len(puzzle.groups)}",
            f"{counted(left, 'mistake', 'mistakes')} left" if count else "mistakes do not count yet",
        ]
    for nth, line in enumerate(flowed(fields, look.width, INDENT)):
        text = line.strip()
        end = len(status) if not nth and text.startswith(status) else 0
        yield INDENT + look.paint(_STYLES[turn.status], text[:end]) + text[end:]


def _named_themes(state: GameState, look: Look) -> Iterator[str]:
    """What the player named each found group, and what its theme is."""
    said = state.themes or ()
    for nth, (index, right) in enumerate(zip(state.found, themes_right(state), strict=True)):
        named = visible(said[nth]) if nth < len(said) else "(nothing)"
        text = named if right else f"{named} (it is {visible(state.puzzle.groups[index].theme)})"
        first, *more = wrapped(text, look.width, INDENT + " " * 11)
        verdict = look.paint("good" if right else "bad", "right" if right else "wrong")
        yield f"{INDENT}{_letter(index)}  {verdict}   {first.strip()}"
        yield from more


def _first_paragraph(told: str) -> str:
    """Of what the game said; the rest tells what is shown anyway."""
    return visible(told.strip().partition("\n\n")[0].replace("\n", " "))


def _conversation(entry: Entry, look: Look) -> Iterator[str]:
    """The messages of a line that names no board."""
    for message in entry.messages:
        yield from _rule(visible(message["role"]), "", "", look)
        text = message["content"]
        if message["role"] == "assistant":
            yield from _thoughts(reply_of(message), "guess", look)
            text = text[max(text.find("<guess>"), 0) :] if "<guess>" in text else text.rpartition("</think>")[2]
        for line in visible_lines(text.strip()):
            yield from wrapped(line.rstrip(), look.width, INDENT)
