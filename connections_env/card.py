"""The dataset's card: where its games come from, what was done to them, and how to train on them."""

import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connections_env.dataset import SftRow
from connections_env.export import Export
from connections_env.puzzle_files import READERS
from connections_env.schema import MEANINGS, columns
from connections_env.snippets import TEMPLATE, loading, playing, training
from connections_env.splits import rule
from connections_env.terminal import printable
from connections_env.tokens import Limits
from connections_env.trainers import other_trainers

MADE_HERE = "<!-- written by collate.py of connections-sft: a new run replaces the whole folder -->"
NAME = "Connections games with reasoning"
SIMULATED = "simulated player"


@dataclass(frozen=True)
class About:
    """What a card tells beyond its rows."""

    export: Export
    limits: Limits
    folder: str
    """As a user who stands where the command was run names it, or its name alone."""
    read: int = 0
    became: Mapping[str, int] = field(default_factory=dict)
    """What became of the rows read -> how many."""
    held_out: Mapping[str, int] = field(default_factory=dict)
    """Source of puzzles that may not be in -> how many it has."""

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
    simulated = sum(game.simulated for game in games)
    warning = f"> **{simulated:,} of {len(games):,} games were played by a simulated player**, not by a model: for "
    parts = [
        MADE_HERE,
        f"# {NAME}",
        *([f"{warning}trying things out, not for training."] if simulated else []),
        f"{len(games):,} won games of the word game *Connections*: a board of items divides into groups that share a "
        "theme; the player names one group a turn and is told how the guess went. Each reply of the player holds its "
        "reasoning and one guess, and every game was played again from its own text before it was let in.",
        loading(about.loads, counts["train"]),
        _columns(),
        _provenance(games),
        _doctoring(games),
        _filters(games, about),
        _budget(games, about),
        f"## Splits\n\n{rule(about.export.test_size if 'test' in counts else 0, counts)}",
        _statistics(games),
        training(about.loads, lengths, on_hub=bool(about.export.hub_id), has_test="test" in counts),
        other_trainers(about.loads, lengths, on_hub=bool(about.export.hub_id), has_test="test" in counts),
        playing(about.loads, on_hub=bool(about.export.hub_id)),
        _limits(games),
    ]
    return "\n\n".join(parts) + "\n"


def _columns() -> str:
    kinds = {**columns("trl"), **columns("messages"), **columns("per-turn")}
    rows = [f"| `{name}` | {_kind(kind)} | {MEANINGS[name]} |" for name, kind in kinds.items()]
    return "\n".join(["## Columns\n", "| column | type | meaning |", "|---|---|---|", *rows])


def _kind(kind: object) -> str:
    return kind if isinstance(kind, str) else "list"


def _counted(title: str, values: Iterable[str], terms: Callable[[str], str]) -> str:
    counts = sorted(Counter(values).items(), key=lambda one: (-one[1], one[0]))
    rows = [f"| {_named(name)} | {count:,} | {terms(name)} |" for name, count in counts]
    return "\n".join([f"| {title} | games | terms |", "|---|---|---|", *rows])


def _named(name: str) -> str:
    """A name from a file, which may hold anything, as code in a table."""
    plain = printable(name).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else "not recorded"


# By the beginnings of models' names; the providers' own pages, as of autumn 2026.
_PROVIDERS = {
    "deepseek": (
        "DeepSeek",
        "https://cdn.deepseek.com/policies/en-US/deepseek-open-platform-terms-of-service.html",
    ),
    "gpt": ("OpenAI", "https://openai.com/policies/"),
    "claude": ("Anthropic", "https://www.anthropic.com/legal/commercial-terms"),
    "gemini": ("Google", "https://ai.google.dev/gemini-api/terms"),
}


def model_terms(model: str) -> str:
    """Who sets the terms for what a model wrote."""
    if model == SIMULATED:
        return "none: it is part of the pipeline"
    family = model.lower().rpartition("/")[2]
    known = next((page for start, page in _PROVIDERS.items() if family.startswith(start)), None)
    return "those of [{}]({}), if asked there".format(*known) if known else "those of its maker and of the endpoint"


def source_terms(source: str) -> str:
    """Where the terms of a source's puzzles stand."""
    if source == "builtin":
        return "made for the pipeline"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source, re.ASCII) and Path(source).suffix.lower() not in READERS:
        return f"see [its card](https://huggingface.co/datasets/{source})"
    return "those of whoever made the puzzles"


def _provenance(games: Sequence[SftRow]) -> str:
    return f"""## Where it comes from

Puzzles, each with at most one game; ids are the source's own behind a prefix:

{_counted("source of the puzzle", (game.source for game in games), source_terms)}

Teachers: the replies, reasoning included, were written by

{_counted("model", (SIMULATED if game.simulated else game.model for game in games), model_terms)}

The license of this dataset is that of its making. It cannot give what the terms of puzzles and teachers do not: read
them before you publish the dataset or a model trained on it.

The rules, the board and the verdicts after each guess were written by the game. A reply was brought into one form: a
think block, a blank line, the guess with its items spelled as on the board; words after the guess were dropped."""


def _doctoring(games: Sequence[SftRow]) -> str:
    doctored = [game for game in games if game.doctored]
    resumed = sum(game.resumed_turns > 0 and not game.doctored for game in games)
    reduced = [game for game in games if game.reduced]
    lines = [
        "## Doctoring\n",
        f"- **{len(doctored):,} of {len(games):,} games are doctored** (`doctoring_type: gameplay`): a failed game was "
        "cut before its first invalid guess, unfit reply or losing mistake and played on from there. They show fewer "
        f"failures than the teacher makes; {sum(game.resumed_turns for game in doctored):,} of their "
        f"{sum(game.num_turns for game in doctored):,} replies come from before the cut.",
        f"- {resumed:,} games were interrupted and went on later, with nothing cut.",
        f"- **{len(reduced):,} of {len(games):,} games are reduced**: reasoning that was too long was shortened by a "
        "model, guesses untouched.",
    ]
    if reduced:
        before, after = sum(game.tokens_before for game in reduced), sum(game.num_tokens for game in reduced)
        who = ", ".join(map(_named, sorted({game.reducer_model for game in reduced})))
        lines[-1] += f" They had {before:,} tokens and have {after:,}; shortened by {who}."
    return "\n".join(lines)


def _filters(games: Sequence[SftRow], about: About) -> str:
    lines = [
        "## What was let in\n",
        "A game is in only if the game itself would have produced it: played again from its own text, each verdict, "
        "the history, the reward and the outcome are what the rules give; it was won without an invalid guess; every "
        "reply is complete, with reasoning and exactly one guess; it is within the token limits; it is the best of "
        "its puzzle's games.\n",
        f"| of {about.read:,} good games looked at | |",
        "|---|---|",
        *(f"| {what} | {count:,} |" for what, count in sorted(about.became.items(), key=lambda one: (-one[1], one[0]))),
    ]
    if about.held_out:
        held = ", ".join(f"{count:,} of `{name}`" for name, count in sorted(about.held_out.items()))
        lines.append(f"\nHeld out, whatever the order and letter case of their items: puzzles {held}.")
    return "\n".join(lines)


def _budget(games: Sequence[SftRow], about: About) -> str:
    limits, names = about.limits, ", ".join(f"`{name}`" for name in sorted({game.tokenizer for game in games}))
    by_board = "2,048 for boards of up to 16 items, 128 an item and at most 3,072 for larger ones"
    game = f"{limits.game:,}" if limits.game is not None else by_board
    whole = f" Prompt and completion: at most {limits.sequence:,}." if limits.sequence is not None else ""
    return f"""## Tokens

Counted with the tokenizer {names} on the conversation as `{TEMPLATE}` renders it, end-of-turn tokens included. A reply:
at most {limits.reply:,}. A completion: {game}.{whole}"""


def _statistics(games: Sequence[SftRow]) -> str:
    figures: dict[str, list[float]] = {
        "tokens of a game": [game.num_tokens for game in games],
        "tokens of its longest reply": [game.max_reply_tokens for game in games],
        "turns": [game.num_turns for game in games],
        "accuracy": [game.accuracy for game in games],
    }
    for kind in sorted({game.doctoring_type for game in games}):
        figures[f"reward, doctoring `{kind}`"] = [game.reward for game in games if game.doctoring_type == kind]
    rows = [f"| {name} | {len(them):,} | {' | '.join(map(_figure, _spread(them)))} |" for name, them in figures.items()]
    return "\n".join(
        [
            "## Statistics\n",
            "| | games | min | p25 | median | p75 | max | mean |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "\n![games by length in tokens](plots/tokens.svg)",
            "![games by turns](plots/turns.svg)",
            "![games by reward, by doctoring type](plots/rewards.svg)",
        ]
    )


def _spread(numbers: Sequence[float]) -> tuple[float, ...]:
    p25, median, p75 = statistics.quantiles(numbers, method="inclusive") if len(numbers) > 1 else [*numbers] * 3
    return min(numbers), p25, median, p75, max(numbers), statistics.fmean(numbers)


def _figure(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.2f}"


def _limits(games: Sequence[SftRow]) -> str:
    perfect = sum(game.accuracy == 1 for game in games)
    return f"""## Known limits

- Only won games are in, and {perfect:,} of {len(games):,} without a mistake: the student sees few errors, and those it
  sees are all recovered from.
- Nothing judges the reasoning beyond the form of a reply and the guess it leads to; it may be wrong where the guess is
  right. It is the teacher's, with the teacher's habits and errors.
- Harder puzzles are under-represented: a puzzle that no game won is not in.
- The puzzles are in English, lean on its idioms and on common cultural knowledge, and belong to those who made them.
- Token counts hold for the tokenizer and the template named above, and for no other."""
