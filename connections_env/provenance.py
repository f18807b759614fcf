"""Where the games of a dataset come from and what was done to them, for its card."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from connections_env.dataset import SftRow
from connections_env.lineage import stretches
from connections_env.records import SIMULATED
from connections_env.terminal import counted, printable
from connections_env.terms import PIPELINE, model_terms, source_terms

_WAYS = {
    "last-valid": "before the first invalid guess, unfit reply or losing mistake",
    "last-correct": "after the last right guess before the first invalid guess, unfit reply or losing mistake",
    "too-long": "reply by reply from the end, until the conversation fitted the model's context",
    "unknown": "by another tool, which did not write down how",
}


def named(name: str) -> str:
    """A name from a file, which may hold anything, as code in a table."""
    plain = printable(name).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else "not recorded"


def _writer(model: str) -> str:
    return "a simulated player" if model == SIMULATED else named(model)


def _table(title: str, values: Iterable[tuple[str, ...]], told: Callable[[tuple[str, ...]], tuple[str, str]]) -> str:
    """Values and how many games have each, the most frequent first; `told` gives a value in words and its terms."""
    counts = sorted(Counter(values).items(), key=lambda one: (-one[1], one[0]))
    rows = [(told(value), count) for value, count in counts]
    return "\n".join(
        [
            f"| {title} | games | terms |",
            "|---|---|---|",
            *(f"| {words} | {count:,} | {terms} |" for (words, terms), count in rows),
        ]
    )


def _terms(models: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(map(model_terms, models)))


def provenance(games: Sequence[SftRow]) -> str:
    """Whose puzzles, and who wrote the replies."""
    sources = ((game.source,) for game in games)
    teachers = (tuple(stretches(game.reply_models)) for game in games)
    return f"""## Where it comes from

Made by `{PIPELINE}`, which has models play puzzles, resumes games that failed, shortens reasoning that is too long, \
and lets in what holds. What it did here is told below.

Puzzles, each with at most one game; ids are the source's own behind a prefix:

{_table("source of the puzzle", sources, lambda one: (named(one[0]), source_terms(one[0])))}

Teachers: the replies, reasoning included, were written by

{_table("teacher", teachers, lambda models: (", then ".join(map(_writer, models)), _terms(models)))}
{_reducers(games)}
The license of this dataset is that of its making. It cannot give what the terms of puzzles and models do not: read \
them before you publish the dataset or a model trained on it.

The rules, the board and the verdicts after each guess were written by the game. A reply was brought into one form: a \
think block, a blank line, the answer with its items spelled as on the board. What the model said to the user before \
its answer was moved into the think block, to the end of its reasoning after a blank line (and is all there is where \
the model showed no reasoning); words after the answer were dropped."""


def _reducers(games: Sequence[SftRow]) -> str:
    reducers = [tuple(game.reducer_model.split(", ")) for game in games if game.reduced]
    if not reducers:
        return ""
    table = _table("reducer", reducers, lambda models: (" and ".join(map(_writer, models)), _terms(models)))
    return f"\nReducers: the reasoning of replies that were too long was written anew, shorter, by\n\n{table}\n"


def simulated(games: Sequence[SftRow]) -> str | None:
    """The warning that a simulated player had a hand in it; None where it had none."""
    found = [game for game in games if game.simulated]
    if not found:
        return None
    parts = {
        "all replies of": sum({*game.reply_models} == {SIMULATED} for game in found),
        "some replies of": sum(SIMULATED in game.reply_models and len({*game.reply_models}) > 1 for game in found),
        "nothing but shortened reasoning in": sum(SIMULATED not in game.reply_models for game in found),
    }
    told = ", ".join(f"{what} {count:,}" for what, count in parts.items() if count)
    return (
        f"> **{len(found):,} of {_games_are(games)} the work of a simulated player**, which is no model: {told}. "
        "They are for trying things out, not for training."
    )


def doctoring(games: Sequence[SftRow]) -> str:
    """What was cut, resumed and shortened."""
    doctored = [game for game in games if game.doctored]
    merely = sum(game.resumed_turns > 0 and not game.doctored for game in games)
    handed_on = sum(len({*game.reply_models}) > 1 for game in games)
    lines = [
        "## Doctoring\n",
        f"- **{len(doctored):,} of {_games_are(games)} doctored** (`doctoring_type: gameplay`): a game that "
        f"failed or did not end was cut and played on from there.{_consequence(doctored) if doctored else ''}",
        *_ways(doctored),
        *([f"- {_games_were(merely)} interrupted and went on later, with nothing cut."] if merely else []),
        *([f"- {_games_were(handed_on)} begun by one teacher and went on with another."] if handed_on else []),
        _reduction(games),
    ]
    return "\n".join(lines)


def _consequence(doctored: Sequence[SftRow]) -> str:
    before, replies = (sum(getattr(game, name) for game in doctored) for name in ("turns_before_cut", "num_turns"))
    return (
        f" They show fewer failures than the teacher makes; {before:,} of their {replies:,} replies come from before "
        "the last cut. They were cut:"
    )


def _games_are(games: Sequence[SftRow]) -> str:
    return counted(len(games), "game is", "games are")


def _games_were(count: int) -> str:
    return counted(count, "game was", "games were")


def _ways(doctored: Sequence[SftRow]) -> Iterator[str]:
    """How games were cut, a line a way; a game may have been cut in several."""
    ways = Counter(way for game in doctored for way in game.truncate.split(", "))
    for way, what in _WAYS.items():
        if count := ways[way]:
            yield f"  - {what} (`{way}`): {count:,}"
    if several := sum(", " in game.truncate for game in doctored):
        yield f"  - in more than one of these ways: {several:,}, counted in each"


def _reduction(games: Sequence[SftRow]) -> str:
    reduced = [game for game in games if game.reduced]
    told = (
        f"- **{len(reduced):,} of {_games_are(games)} reduced**: reasoning that was too long was shortened"
        f"{_by_whom(reduced)}, guesses untouched."
    )
    if not reduced:
        return told
    before, after = sum(game.tokens_before for game in reduced), sum(game.num_tokens for game in reduced)
    return f"{told} They had {before:,} tokens and have {after:,}."


def _by_whom(reduced: Sequence[SftRow]) -> str:
    simulated = {reducer == SIMULATED for game in reduced for reducer in game.reducer_model.split(", ")}
    names = {False: "a model", True: "a simulated player"}
    return " by " + " or ".join(names[kind] for kind in sorted(simulated)) if simulated else ""
