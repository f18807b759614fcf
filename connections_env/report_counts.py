"""The figures of a report: counted over all games as they are read, none of them kept."""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from connections_env.dataset import public_name
from connections_env.examples import GoodRow, count_row
from connections_env.game import WON, mistakes_in
from connections_env.histograms import Steps, bars_of
from connections_env.ledger import Paid, paid_for
from connections_env.prices import Prices
from connections_env.quality import Facts
from connections_env.records import Usage
from connections_env.report_source import Judged, Source
from connections_env.tokens import Limits, Tokenizer

Standing = Literal["good", "salvageable", "unsalvageable"]
STANDINGS: tuple[Standing, ...] = get_args(Standing)
REPLY_STEP, GAME_STEP = 32, 64  # tokens that are counted as one figure


@dataclass(slots=True)
class FileCount:
    """One file of the source, and where the puzzles stand after it."""

    name: str
    games: int = 0
    newly_good: int = 0
    """Puzzles whose first good game lies in this file."""
    usage: Usage = field(default_factory=Usage)
    standings: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Level:
    """Puzzles of one difficulty, and their games."""

    puzzles: set[str] = field(default_factory=set)
    solved: set[str] = field(default_factory=set)
    games: int = 0
    won: int = 0


@dataclass(slots=True)
class Overview:
    """Sums over games."""

    source: Source
    limits: Limits
    tokenizer: Tokenizer | None = None
    """Counts what a trainer will see; None: the figures of the endpoint are taken."""
    prices: Prices | None = None
    games: int = 0
    good: int = 0
    won: int = 0
    simulated: int = 0
    doctored: int = 0
    reduced: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rewards: Counter[float] = field(default_factory=Counter)
    mistakes_won: Counter[int] = field(default_factory=Counter)
    mistakes_lost: Counter[int] = field(default_factory=Counter)
    reply_tokens: Steps = field(default_factory=lambda: Steps(REPLY_STEP))
    game_tokens: Steps = field(default_factory=lambda: Steps(GAME_STEP))
    replies_estimated: int = 0
    games_estimated: int = 0
    """Games with a reply whose tokens nobody counted."""
    usage_estimated: int = 0
    """Games with a request whose endpoint did not say what it took."""
    usage_unknown: int = 0
    """Games of other tools that do not say either."""
    game_limits: Counter[int] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    models: Counter[str] = field(default_factory=Counter)
    reduced_in: set[Path] = field(default_factory=set)
    """Folders of the games that were reduced."""
    levels: dict[int | None, Level] = field(default_factory=dict)
    standing: dict[str, int] = field(default_factory=dict)
    """Key of a puzzle -> index of its best standing so far."""
    chosen: set[str] = field(default_factory=set)
    """Keys of the puzzles in the dataset."""
    files: list[FileCount] = field(default_factory=list)

    def take(self, game: Judged) -> None:
        self._open_files(game.spot.file)
        row, good = game.row, game.why_bad is None
        self.games += 1
        self.good += good
        self.won += row.complete_reason in WON
        self.simulated += row.simulated
        self.doctored += row.doctored
        self.usage += row.usage
        self.usage_estimated += row.usage.estimated > 0
        self.usage_unknown += not row.usage.output
        self.models.update({public_name(model) for model in row.reply_models or [row.model]})
        if math.isfinite(row.reward):
            self.rewards[round(row.reward, 2)] += 1
        if game.why_bad is not None:
            self.reasons[game.why_bad] += 1
        if game.chosen:
            self.chosen.add(game.key)
        won = row.complete_reason in WON
        (self.mistakes_won if won else self.mistakes_lost)[mistakes_of(game.facts)] += 1
        self._take_standing(game)
        self._take_level(game)
        self._take_tokens(game)

    def _open_files(self, number: int) -> None:
        """A count for every file up to this one, those without a game included."""
        while len(self.files) <= number:
            self._close_file()
            self.files.append(FileCount(self.source.shown_paths[len(self.files)]))

    def _close_file(self) -> None:
        if self.files:
            self.files[-1].standings = Counter(STANDINGS[index] for index in self.standing.values())

    def _take_standing(self, game: Judged) -> None:
        file = self.files[game.spot.file]
        file.games += 1
        file.usage += game.row.usage
        index = 0 if game.why_bad is None else 1 if game.kept else 2
        before = self.standing.get(game.key)
        if before is None or index < before:
            self.standing[game.key] = index
            file.newly_good += index == 0

    def _take_level(self, game: Judged) -> None:
        difficulty = game.row.info.difficulty
        known = None if difficulty is None or not math.isfinite(difficulty) else math.floor(difficulty)
        level = self.levels.setdefault(known, Level())
        level.puzzles.add(game.key)
        level.games += 1
        level.won += game.row.complete_reason in WON
        if game.why_bad is None:
            level.solved.add(game.key)

    def _take_tokens(self, game: Judged) -> None:
        row = game.row
        replies, total, estimated = row.reply_tokens, sum(row.reply_tokens), row.reply_estimated
        if isinstance(row, GoodRow):
            if row.reduced:
                self.reduced += 1
                self.reduced_in.add(self.source.paths[game.spot.file].absolute().parent)
            if self.tokenizer is not None:
                counts = count_row(row, self.tokenizer)
                replies, total, estimated = list(counts.replies), counts.completion, []
        limit = self.limits.game_limit(len(row.info.all_words))
        self.game_limits[limit] += 1
        self.game_tokens.take(total, limit)
        self.games_estimated += any(estimated)
        # Those that a game resumed were counted with the game that it goes on from.
        earlier = row.resumed_from.turns if row.resumed_from and not self.source.examples else 0
        for tokens in replies[earlier:]:
            self.reply_tokens.take(tokens, self.limits.reply)
        self.replies_estimated += sum(estimated[earlier:])

    def finish(self) -> None:
        self._open_files(len(self.source.files) - 1)
        self._close_file()

    def figures(self) -> dict[str, Any]:
        """All of it as JSON. Raises OSError."""
        seen = len(self.standing)
        puzzles = seen if self.source.puzzles is None else self.source.puzzles
        return {
            "puzzles": puzzles,
            "goodPuzzles": sum(index == 0 for index in self.standing.values()),
            "chosen": len(self.chosen),
            "examples": self.source.examples,
            **{name: getattr(self, name) for name in ("games", "good", "won", "simulated", "doctored", "reduced")},
            "leftOut": dict(self.left_out),
            "models": dict(self.models.most_common()),
            "usage": self.usage.model_dump(),
            "usageEstimated": self.usage_estimated,
            "usageUnknown": self.usage_unknown,
            "cost": self.prices.cost(self.usage) if self.prices else None,
            "reduction": self._reduction(),
            "files": [self._file(file, puzzles) for file in self.files],
            "levels": self._levels(),
            "reasons": dict(self.reasons.most_common()),
            "rewards": sorted(self.rewards.items()),
            "mistakes": [
                {"mistakes": n, "won": self.mistakes_won[n], "other": self.mistakes_lost[n]}
                for n in range(max([*self.mistakes_won, *self.mistakes_lost], default=-1) + 1)
            ],
            "counted": self.tokenizer.name if self.tokenizer and self.source.examples else None,
            "replyTokens": bars_of(self.reply_tokens, [self.limits.reply]),
            "gameTokens": bars_of(self.game_tokens, self.game_limits),
            "replyLimit": self.limits.reply,
            "gameLimits": sorted(self.game_limits.items()),
            "repliesOver": self.reply_tokens.over.total(),
            "gamesOver": self.game_tokens.over.total(),
            "repliesEstimated": self.replies_estimated,
            "gamesEstimated": self.games_estimated,
        }

    def _reduction(self) -> dict[str, Any]:
        """What the reducer took: of a dataset for the games that were reduced, of results whatever it tried.

        It is not known of games whose ledger is not beside them.
        """
        folders = self.reduced_in if self.source.examples else self.source.ledgers
        ledgers = [paid_for(folder) for folder in sorted(folders)]
        paid = sum(ledgers, Paid())
        if self.source.examples:
            known = all(ledger.answers for ledger in ledgers)
        else:
            known = bool(ledgers) and (paid.answers > 0 or not self.source.reduced)
        return {
            "known": known,
            "answers": paid.answers,
            "estimated": paid.estimated,
            "unknown": paid.unknown,
            "usage": paid.usage.model_dump(),
            "cost": self.prices.cost(paid.usage) if self.prices else None,
        }

    def _file(self, file: FileCount, puzzles: int) -> dict[str, Any]:
        known: dict[str, int] = {name: file.standings[name] for name in STANDINGS}
        return {
            "name": file.name,
            "games": file.games,
            "newlyGood": file.newly_good,
            "input": file.usage.input,
            "output": file.usage.output,
            "cost": self.prices.cost(file.usage) if self.prices else None,
            **known,
            "missing": puzzles - sum(known.values()),
        }

    def _levels(self) -> list[dict[str, Any]]:
        named = sorted((level, found) for level, found in self.levels.items() if level is not None)
        unknown = [(None, self.levels[None])] if None in self.levels else []
        return [
            {
                "level": level,
                "puzzles": len(found.puzzles),
                "solved": len(found.solved),
                "games": found.games,
                "won": found.won,
            }
            for level, found in [*named, *unknown]
        ]


def mistakes_of(facts: Facts) -> int:
    """Mistakes in a game, by the rules it was played by."""
    return mistakes_in(facts.statuses, facts.ruleset, facts.groups)
