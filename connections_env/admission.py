"""What the dataset's card tells of the rows that were read: which came in, which did not, and what was held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connections_env.provenance import named
from connections_env.rulesets import Ruleset
from connections_env.terminal import counted


@dataclass(frozen=True)
class Admission:
    """What became of the rows read, and of the other rollouts that were looked up for puzzles without a row."""

    read: int = 0
    """Lines of the inputs."""
    became: Mapping[str, int] = field(default_factory=dict)
    """What became of the rows read -> how many: `read` together."""
    spares_accepted: int = 0
    spares_rejected: int = 0
    puzzles_held_out: Mapping[str, int] = field(default_factory=dict)
    """Source of puzzles that may not be in -> how many it has."""
    ids_held_out: Mapping[str, int] = field(default_factory=dict)
    """File of ids that may not be in -> how many it lists."""


def admission(rulesets: Sequence[Ruleset], told: Admission) -> str:
    themes = ", the themes it had to name all right" if any(ruleset.asks_themes for ruleset in rulesets) else ""
    rows = sorted(told.became.items(), key=lambda one: (-one[1], one[0]))
    parts = [
        "## What was let in",
        "A game is in only if the game itself would have produced it: played again from its own text, each verdict, "
        "the history, the reward and the outcome are what the rules give; it was won without an invalid guess"
        f"{themes}; every reply is complete, with reasoning and exactly one answer; it is within the token limits; it "
        "is the best of its puzzle's games that are all this.",
        "\n".join(
            [
                f"| of {counted(told.read, 'row')} read | |",
                "|---|---|",
                *(f"| {what} | {count:,} |" for what, count in [*rows, *_spares(told)]),
            ]
        ),
    ]
    if _spares(told):
        tried = told.spares_accepted + told.spares_rejected
        games = counted(told.became["accepted"] + told.spares_accepted, "game here is", "games here are")
        parts.append(
            f"Where no row of a puzzle was accepted, its other rollouts in the results were tried: {tried:,}. All "
            f"other figures add up to the rows read. The {games} what was accepted of both, rows and other rollouts."
        )
    if held := _held_out(told):
        parts.append(f"Held out, since a model may be tested on them: {held}.")
    return "\n\n".join(parts)


def _spares(told: Admission) -> list[tuple[str, int]]:
    counts = {"accepted": told.spares_accepted, "rejected": told.spares_rejected}
    return [(f"other rollouts of their puzzles, {what}", count) for what, count in counts.items()] * any(
        counts.values()
    )


def _held_out(told: Admission) -> str:
    """Boards are known by their items, ids by what rows call theirs."""
    puzzles = ", ".join(f"{count:,} of {named(name)}" for name, count in sorted(told.puzzles_held_out.items()))
    ids = ", ".join(f"{count:,} of {named(name)}" for name, count in sorted(told.ids_held_out.items()))
    parts = [
        f"puzzles, whatever the order and letter case of their items ({puzzles})" if puzzles else "",
        f"ids, and every board that a row has under one of them ({ids})" if ids else "",
    ]
    return "; ".join(filter(None, parts))
