"""The dataset's card: where its games come from, what was done to them, and how to train on them."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from connections_env.admission import Admission, admission
from connections_env.dataset import SftRow
from connections_env.excerpt import excerpt
from connections_env.export import Export
from connections_env.game import mistakes_in
from connections_env.languages import in_words
from connections_env.provenance import doctoring, provenance, simulated
from connections_env.rewards import perfect
from connections_env.rulesets import RULESETS, Ruleset
from connections_env.schema import HF_LAYOUTS, MEANINGS, columns
from connections_env.snippets import TEMPLATE, loading, playing, training
from connections_env.splits import Boundary, rule
from connections_env.terminal import counted
from connections_env.terms import PIPELINE
from connections_env.tokens import Limits
from connections_env.trainers import other_trainers

MADE_HERE = "<!-- written by collate.py of connections-sft: a new run replaces the whole folder -->"
NAME = "Connections games with reasoning"
_REWARD = (
    "The last group completes itself. The reward is the sum of 4 x the share of the groups that were found; the fewest "
    "guesses that win (one less than there are groups) / the guesses made; 0.5 x the share of the guesses that were "
    "valid; and 0.5 for each group that was one item away and never found."
)
_THEMES = (
    " In `puzzgrid` there are also 0.25 for naming themes at all, 0.5 for naming as many as there are groups, 4 x the "
    "share that is right, and 1 where all are."
)


@dataclass(frozen=True)
class About:
    """What a card tells beyond its rows."""

    export: Export
    limits: Limits
    folder: str
    """As a user who stands where the command was run names it, or its name alone."""
    boundary: Boundary
    admission: Admission = field(default_factory=Admission)

    @property
    def loads(self) -> str:
        """What `load_dataset` is given."""
        return self.export.hub_id or self.folder


def size_category(rows: int) -> str:
    """The hub's name for a dataset of so many rows."""
    names = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
    place = next((nth for nth, _ in enumerate(names) if rows < 10 ** (3 + nth)), len(names) - 1)
    return f"{names[place - 1]}<n<{names[place]}" if place else "n<1K"


def longest(rows: Iterable[Mapping[str, int]]) -> int:
    """The `max_length` that holds all rows: their most tokens, rounded up to a multiple of 64."""
    return math.ceil(max(row["num_tokens"] for row in rows) / 64) * 64


def text(games: Sequence[SftRow], counts: Mapping[str, int], lengths: Mapping[str, int], about: About) -> str:
    """The card below its head. `counts` are games by split, `lengths` the longest row of each configuration."""
    names = [ruleset for ruleset in RULESETS.values() if any(game.ruleset == ruleset.name for game in games)]
    asks = " (in `puzzgrid`, the last one: the themes)" if any(ruleset.asks_themes for ruleset in names) else ""
    warning = simulated(games)
    parts = [
        MADE_HERE,
        f"# {NAME}",
        *([warning] if warning else []),
        f"{counted(len(games), 'won game')} of the word game *Connections*, made by `{PIPELINE}`: a board of items "
        "divides into groups that share a theme; the player names one group a turn and is told how the guess went. "
        f"Each reply of the player holds its reasoning and one guess{asks}, and every game was played again from its "
        "own text before it was let in.",
        excerpt(games[0]),
        loading(about.loads, counts["train"]),
        _columns(),
        _rules(games, names),
        provenance(games),
        doctoring(games),
        admission(names, about.admission),
        _budget(games, about),
        f"## Splits\n\n{rule(about.boundary, counts)}",
        _statistics(games),
        training(about.loads, lengths, on_hub=bool(about.export.hub_id), has_test="test" in counts),
        other_trainers(about.loads, lengths, on_hub=bool(about.export.hub_id), has_test="test" in counts),
        playing(about.loads, on_hub=bool(about.export.hub_id)),
        _limits(games, about.export.languages),
    ]
    return "\n\n".join(parts) + "\n"


def _columns() -> str:
    layouts = {layout: columns(layout) for layout in HF_LAYOUTS}
    kinds = {name: kind for them in layouts.values() for name, kind in them.items()}
    places = {name: [layout for layout, them in layouts.items() if name in them] for name in kinds}
    rows = [f"| `{name}` | {_kind(kind)} | {_in(places[name])} | {MEANINGS[name]} |" for name, kind in kinds.items()]
    return "\n".join(["## Columns\n", "| column | type | in | meaning |", "|---|---|---|---|", *rows])


def _in(layouts: Sequence[str]) -> str:
    """The configurations that have a column."""
    return "all" if len(layouts) == len(HF_LAYOUTS) else ", ".join(f"`{layout}`" for layout in layouts)


def _kind(kind: object) -> str:
    return kind if isinstance(kind, str) else "list"


def _rules(games: Sequence[SftRow], rulesets: Sequence[Ruleset]) -> str:
    """The rules that were played by, and what the reward counts in each."""
    played = {ruleset.name: [game for game in games if game.ruleset == ruleset.name] for ruleset in rulesets}
    rows = {
        "games": [f"{len(played[ruleset.name]):,}" for ruleset in rulesets],
        "mistakes that end the game": [str(ruleset.mistakes_allowed) for ruleset in rulesets],
        "a wrong guess is a mistake": [_when(ruleset) for ruleset in rulesets],
        "a guess that is one item away is told": ["yes" if ruleset.one_away_hint else "no" for ruleset in rulesets],
        "themes": [_themes(ruleset) for ruleset in rulesets],
        "reward of perfect play": [f"{perfect(ruleset):g}" for ruleset in rulesets],
        "games without a wrong guess": [_without(played[one.name], _wrong_guesses) for one in rulesets],
        "games without a mistake": [_without(played[one.name], _mistakes) for one in rulesets],
    }
    reward = _REWARD + (_THEMES if any(ruleset.asks_themes for ruleset in rulesets) else "")
    return "\n".join(
        [
            "## Rules\n",
            f"| | {' | '.join(f'`{ruleset.name}`' for ruleset in rulesets)} |",
            f"|---|{'---|' * len(rulesets)}",
            *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items()),
            f"\n{reward} All games here are won, without an invalid guess: by the same rules, their rewards differ "
            "only by the guesses made beyond the fewest.",
        ]
    )


def _when(ruleset: Ruleset) -> str:
    count_from = ruleset.mistakes_count_from
    return "always" if count_from is None else f"once {count_from} groups or fewer remain"


def _themes(ruleset: Ruleset) -> str:
    shown = "shown with each group found" if ruleset.reveals_themes else "not shown"
    asked = "; the player names all in one last reply, right if it has a linking term of the group"
    return shown + (asked if ruleset.asks_themes else "")


def _without(games: Sequence[SftRow], count: Callable[[SftRow], int]) -> str:
    return f"{sum(not count(game) for game in games):,}"


def _wrong_guesses(game: SftRow) -> int:
    return sum(guess.status in ("one_away", "incorrect") for guess in game.guess_history)


def _mistakes(game: SftRow) -> int:
    """By the game's own rules, by which not every wrong guess need be one."""
    statuses = (guess.status for guess in game.guess_history if guess.status != "auto")
    return mistakes_in(statuses, RULESETS[game.ruleset], len(game.categories))


def _budget(games: Sequence[SftRow], about: About) -> str:
    limits, names = about.limits, ", ".join(f"`{name}`" for name in sorted({game.tokenizer for game in games}))
    by_board = "2,048 for boards of up to 16 items, 128 an item and at most 3,072 for larger ones"
    game = f"{limits.game:,}" if limits.game is not None else by_board
    whole = f" Prompt and completion: at most {limits.sequence:,}." if limits.sequence is not None else ""
    return f"""## Tokens

Counted with the tokenizer {names} on the conversation as `{TEMPLATE}` renders it, end-of-turn tokens included. A \
reply: at most {limits.reply:,}. A completion: {game}.{whole}"""


def _statistics(games: Sequence[SftRow]) -> str:
    figures: dict[str, list[float]] = {
        "tokens of a game": [game.num_tokens for game in games],
        "tokens of its longest reply": [game.max_reply_tokens for game in games],
        "turns": [game.num_turns for game in games],
        "accuracy": [game.accuracy for game in games],
    }
    for (ruleset, kind), them in by_kind(games).items():
        figures[f"reward, `{ruleset}`, doctoring `{kind}`"] = [game.reward for game in them]
    rows = [f"| {name} | {len(them):,} | {' | '.join(map(_figure, _spread(them)))} |" for name, them in figures.items()]
    return "\n".join(
        [
            "## Statistics\n",
            "| | games | min | p25 | median | p75 | max | mean |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "\n![games by length in tokens](plots/tokens.svg)",
            "![games by turns](plots/turns.svg)",
            "![games by reward, by ruleset and doctoring type](plots/rewards.svg)",
        ]
    )


def by_kind(games: Sequence[SftRow]) -> dict[tuple[str, str], list[SftRow]]:
    """The games by ruleset and doctoring type, between which rewards cannot be compared."""
    found: dict[tuple[str, str], list[SftRow]] = {}
    for game in sorted(games, key=lambda game: (game.ruleset, game.doctored)):
        found.setdefault((game.ruleset, game.doctoring_type), []).append(game)
    return found


def _spread(numbers: Sequence[float]) -> tuple[float | None, ...]:
    """Minimum, quartiles, maximum and mean; no quarters of fewer than four."""
    p25, p75 = statistics.quantiles(numbers, method="inclusive")[::2] if len(numbers) >= 4 else (None, None)
    return min(numbers), p25, statistics.median(numbers), p75, max(numbers), statistics.fmean(numbers)


def _figure(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.2f}"


def _limits(games: Sequence[SftRow], languages: Sequence[str]) -> str:
    faultless = sum(not _wrong_guesses(game) for game in games)
    errors = "no errors" if faultless == len(games) else "few errors, and those it sees are all recovered from"
    return f"""## Known limits

- Only won games are in, and {faultless:,} of {len(games):,} without a wrong guess: the student sees {errors}.
- Nothing judges the reasoning beyond the form of a reply and the guess it leads to; it may be wrong where the guess \
is right. It is the models' named above, with their habits and errors.
- Harder puzzles are under-represented: a puzzle that no game won is not in.
- The puzzles are in {in_words(languages)}, lean on idioms and on common cultural knowledge, and belong to those who \
made them.
- Token counts hold for the tokenizer and the template named above, and for no other."""
