"""Results rows made by playing scripted games, and boards of nonsense words in any number.

A script is a letter a turn, so that a game reads at a glance:

    R  a right group               L  a right group, the reply cut off by length
    O  one away                    C  a right group, a chat control token in the reply
    W  wrong, two of each          Q  a right group, no reasoning
    N  no guess (invalid)          X  a guess of an item that is not on the board (invalid)

    played(puzzle, "RRORR")        # 4x4: won, one mistake
    played(puzzle, "RN")           # went on for two turns, the second one invalid
"""

import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from connections_env.game import GameState
from connections_env.parsing import Reply, item_list
from connections_env.play import Job, make_rollout, replay_replies, take_reply
from connections_env.puzzles import Group, Puzzle, shuffled
from connections_env.records import SIMULATED, Cut, ResumedFrom, Rollout
from connections_env.rulesets import NYT, Ruleset

_CONSONANTS = "BDFGHJKLMNPRSTVZ"
_VOWELS = "AEIOU"
REASONING = "These belong together, and nothing else on the board does."


def nonsense(number: int) -> str:
    """A word that means nothing, another one for every number."""
    word = ""
    while number or not word:
        number, consonant = divmod(number, len(_CONSONANTS))
        number, vowel = divmod(number, len(_VOWELS))
        word = _CONSONANTS[consonant] + _VOWELS[vowel] + word
    return word + "X"


def board(number: int, *, groups: int = 4, size: int = 4) -> Puzzle:
    """The board of this number: `groups` groups of `size` items, no item on two boards (up to 64 items)."""
    words = [nonsense(64 * number + place) for place in range(groups * size)]
    members = [tuple(words[size * n : size * (n + 1)]) for n in range(groups)]
    made = tuple(Group(f"ZONE{n} of {number}", group, (f"zone{n}",)) for n, group in enumerate(members))
    return Puzzle(f"made-{number}", shuffled(words), made)


def boards(count: int, first: int = 0) -> list[Puzzle]:
    return [board(number) for number in range(first, first + count)]


def hub_row(puzzle: Puzzle) -> dict[str, Any]:
    """The row of a puzzle in the columns of the default dataset, `all_words` in the order of the groups."""
    size = puzzle.group_size
    return {
        "puzzle_id": puzzle.puzzle_id,
        "creator": "nobody",
        "difficulty": 2.0,
        "quality": 3.0,
        "country": "NO",
        "created_at": "2030-01-02T03:04:05Z",
        "tags": ["made up"],
        "title": "",
        "all_words": [item for group in puzzle.groups for item in group.members],
        "num_groups": len(puzzle.groups),
        "group_words": [list(group.members) for group in puzzle.groups],
        "group_themes": [group.theme for group in puzzle.groups],
        "group_linking_terms": [", ".join(group.linking_terms) for group in puzzle.groups],
        "grid_size": f"{len(puzzle.groups)}x{size}",
    }


def puzzle_file(path: Path, puzzles: Iterable[Puzzle]) -> Path:
    path.write_text("".join(json.dumps(hub_row(puzzle)) + "\n" for puzzle in puzzles), encoding="utf-8")
    return path


def results_file(path: Path, rows: Iterable["Rollout | str | dict[str, Any]"]) -> Path:
    """Rows of ours, objects, or lines as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line_of(row) + "\n" for row in rows), encoding="utf-8")
    return path


def line_of(row: "Rollout | str | dict[str, Any]") -> str:
    if isinstance(row, Rollout):
        return row.to_line()
    return row if isinstance(row, str) else json.dumps(row)


def guess_text(words: Sequence[str]) -> str:
    return f"<guess>{item_list(words)}</guess>"


def scripted_reply(state: GameState, letter: str, tokens: int = 40) -> Reply:
    """The reply a letter stands for (see the head of this file)."""
    puzzle = state.puzzle
    if letter == "N":
        return Reply("I cannot decide.", REASONING, "stop", tokens)
    open_groups = [group.members for n, group in enumerate(puzzle.groups) if n not in state.found]
    if letter == "X":
        return Reply(guess_text(("NOTHERE", *open_groups[0][1:])), REASONING, "stop", tokens)
    if letter in "OW":
        return Reply(guess_text(_wrong(state, open_groups, 1 if letter == "O" else 2)), REASONING, "stop", tokens)
    content = guess_text(open_groups[0])
    if letter == "C":
        content = f"<|im_start|> {content}"
    reasoning = "" if letter == "Q" else REASONING
    return Reply(content, reasoning, "length" if letter == "L" else "stop", tokens)


def _wrong(state: GameState, open_groups: list[tuple[str, ...]], strangers: int) -> tuple[str, ...]:
    """A wrong guess that was not made yet: so many items of one group in place of another's."""
    made = {frozenset(turn.words) for turn in state.turns}
    first, second = open_groups[:2]
    for kept in combinations(first, len(first) - strangers):
        for others in combinations(second, strangers):
            if frozenset(kept + others) not in made:
                return kept + others
    raise ValueError("no such guess is left")


def script_replies(
    puzzle: Puzzle, script: str, ruleset: Ruleset = NYT, tokens: int | Sequence[int] = 40
) -> list[Reply]:
    state, replies = GameState(puzzle, ruleset), list[Reply]()
    for turn, letter in enumerate(script):
        replies.append(scripted_reply(state, letter, tokens if isinstance(tokens, int) else tokens[turn]))
        state = take_reply(state, replies[-1])
    return replies


def rollout(
    puzzle: Puzzle,
    replies: Sequence[Reply],
    *,
    ruleset: Ruleset = NYT,
    rollout_id: str | None = None,
    end: str = "max_turns_reached",
    resumed_from: ResumedFrom | None = None,
    cuts: Sequence[Cut] = (),
    model: str = "scripted",
    simulated: bool = False,
    **fields: Any,
) -> Rollout:
    """The row of these replies; `end` is the reason of a game that its own rules do not end.

    Those that name nobody are `model`'s.
    """
    writer = SIMULATED if simulated else model
    replies = [reply._replace(model=reply.model or writer) for reply in replies]
    states = replay_replies(puzzle, ruleset, replies)
    name = rollout_id or f"{puzzle.puzzle_id}-{abs(hash((tuple(replies), end))):x}"
    job = Job(name, puzzle, ruleset, resumed_from=resumed_from, cuts=tuple(cuts))
    return make_rollout(job, states, replies, states[-1].complete_reason or end, **fields)


def played(
    puzzle: Puzzle, script: str, *, ruleset: Ruleset = NYT, tokens: int | Sequence[int] = 40, **options: Any
) -> Rollout:
    """The row of a scripted game."""
    return rollout(puzzle, script_replies(puzzle, script, ruleset, tokens), ruleset=ruleset, **options)


def won(puzzle: Puzzle, **options: Any) -> Rollout:
    return played(puzzle, "R" * (len(puzzle.groups) - 1), **options)


def lost(puzzle: Puzzle, **options: Any) -> Rollout:
    """Lost after one group."""
    return played(puzzle, "RWWWW", **options)


def invalid_at(puzzle: Puzzle, turn: int, **options: Any) -> Rollout:
    """A game whose guess number `turn` (from 1) is invalid and the last one; those before are right."""
    return played(puzzle, "R" * (turn - 1) + "N", **options)


def cut_off_at(puzzle: Puzzle, turn: int, **options: Any) -> Rollout:
    """A game won although reply number `turn` was cut off by length."""
    return played(puzzle, "R" * (turn - 1) + "L" + "R" * (len(puzzle.groups) - 1 - turn), **options)


def interrupted(puzzle: Puzzle, script: str = "R", **options: Any) -> Rollout:
    return played(puzzle, script, end="interrupted", **options)


def empty(puzzle: Puzzle, **options: Any) -> Rollout:
    """A game that got no reply."""
    return played(puzzle, "", end="interrupted", **options)


def changed(row: Rollout, **fields: Any) -> dict[str, Any]:
    """A row's JSON with fields replaced: a record that its replies no longer bear out."""
    return json.loads(row.to_line()) | fields
