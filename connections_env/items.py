"""The inside of a guess tag, read into items of a board.

Layout is forgiven: commas or lines, brackets, JSON, quotes, bullets, XML escapes, letter case. An item may itself hold
what separates items ("20,000", "5, 6, 7, 8"), so the text is cut every way in which all pieces are items; two ways that
give different guesses of the right size are an ambiguity, and nobody guesses which was meant.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise

from connections_env.game import Guess
from connections_env.puzzles import SEPARATOR, Puzzle, normalise, squash

_FENCE = re.compile(r"```[a-z]*\s(.*)```", re.DOTALL)
_BULLET = re.compile(r"^(?:[-*•–]|\d{1,2}[.)])\s+")
_PAIRS = {"`": "`", '"': '"', "'": "'", "“": "”", "‘": "’", "*": "*", "[": "]"}
_LONGEST_QUOTED = 12  # chunks that one quoted word off the board may span
_LONGEST_WORD = 100  # characters kept of a word that is not on the board, so that a runaway tag stays out of records
_MOST_READINGS = 4  # kept of one number of items; two that differ are enough to know that a text is ambiguous


def read_items(text: str, puzzle: Puzzle) -> Guess:
    """Cuts the inside of a guess tag into items, spelled as on the board where they are on it."""
    words = [piece.strip() for piece in text.split(",")]
    if puzzle.longest_run == 1 and len(words) <= len(puzzle.items) and puzzle.group_of.keys() >= set(words):
        return Guess(tuple(words))  # as by far the most are written; all below would come to the same
    for inside in _insides(text):
        readings = _readings(inside, puzzle)
        if len(readings) == 1:
            return Guess(readings[0])
        fitting = {frozenset(words): words for words in readings if len(words) == len(set(words)) == puzzle.group_size}
        if len(fitting) > 1:
            return Guess(problem="several_guesses")
        if readings:
            return Guess(next(iter(fitting.values()), readings[0]))
    return Guess(tuple(_best_effort(inside, _chunks(inside), puzzle)))


def _insides(text: str) -> Iterator[str]:
    """The text of an answer as written, then without its brackets, then with its XML escapes resolved."""
    yield text
    if fenced := _FENCE.fullmatch(text):
        yield (text := fenced[1].strip())
    if text.startswith("{") and text.endswith("}"):
        yield (text := _only_list(text) or text)
    if (text[:1], text[-1:]) in (("[", "]"), ("(", ")")):
        yield (text := text[1:-1].strip())
    if "&" in text:
        with suppress(ValueError):  # a character reference of more digits than Python turns into a number
            yield html.unescape(text)


def _only_list(text: str) -> str | None:
    """The one list in a JSON object, as JSON: {"guess": [...]} says no more than the list does, nor does one text."""
    with suppress(ValueError, RecursionError):
        values = list(json.loads(text).values())
        lists = [value for value in values if isinstance(value, list)]
        if len(lists) == 1:
            return json.dumps(lists[0], ensure_ascii=False)
        if len(values) == 1 and isinstance(values[0], str):
            return values[0].strip()
    return None


def _chunks(text: str) -> list[tuple[int, int]]:
    """Spans between separators, blank ones left out."""
    bounds = [0, *(match.end() for match in SEPARATOR.finditer(text)), len(text) + 1]
    spans = [(start, end - 1) for start, end in pairwise(bounds)]
    return [(start, end) for start, end in spans if text[start:end].strip()]


def _readings(text: str, puzzle: Puzzle) -> list[tuple[str, ...]]:
    """The ways of joining neighbouring chunks so that all of them are items: an item may itself hold separators.

    Of each number of items a few readings are kept, so that neither their count nor the time can explode.
    """
    if puzzle.longest_run == 1:  # as on nearly all boards: there is nothing to join
        pieces = [piece for piece in SEPARATOR.split(text) if piece.strip()]
        items = [item for piece in pieces[: len(puzzle.items) + 1] if (item := _item(piece, puzzle))]
        return [tuple(items)] if items and len(items) == len(pieces) <= len(puzzle.items) else []
    spans = _chunks(text)
    if len(spans) > len(puzzle.items) * puzzle.longest_run:
        return []  # more pieces than the board has, however they are joined
    ways: list[dict[int, list[tuple[str, ...]]]] = [{} for _ in spans] + [{0: [()]}]
    for i in reversed(range(len(spans))):
        for run in range(1, min(puzzle.longest_run, len(spans) - i) + 1):
            if item := _item(text[spans[i][0] : spans[i + run - 1][1]], puzzle):
                for count, rests in ways[i + run].items():
                    ways[i].setdefault(count + 1, []).extend((item, *rest) for rest in rests)
        for readings in ways[i].values():
            readings.sort(key=lambda words: len(set(words)) < len(words))  # with a repeated item last
            del readings[_MOST_READINGS:]
    return [words for readings in ways[0].values() for words in readings if words]


def _best_effort(text: str, spans: list[tuple[int, int]], puzzle: Puzzle) -> Iterator[str]:
    """Words of a guess that is not made of items throughout: enough of them to tell what is wrong with it."""
    i = given = 0
    while i < len(spans) and given <= len(puzzle.items):
        start = spans[i][0]
        for run in range(min(puzzle.longest_run, len(spans) - i), 0, -1):
            if item := _item(text[start : spans[i + run - 1][1]], puzzle):
                break
        else:
            # A quoted word is one word, whatever it holds.
            ends = (n for n, (_, end) in enumerate(spans[i : i + _LONGEST_QUOTED], 1) if _is_quoted(text[start:end]))
            run = next(ends, 1)
            item = [*spellings(text[start : spans[i + run - 1][1]][: 4 * _LONGEST_WORD])][-1][:_LONGEST_WORD]
        yield encodable(item)
        i, given = i + run, given + 1


def _is_quoted(piece: str) -> bool:
    piece = piece.strip()
    return len(piece) > 2 and piece[0] in '`"“' and piece[-1] == _PAIRS[piece[0]]


def encodable(text: str) -> str:
    """Text without what UTF-8 cannot carry: JSON escapes can stand for half a character."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def text_of(value: object) -> str:
    """The content of a message as text; a list of parts is joined. What UTF-8 cannot carry is replaced."""
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        value = "".join(text for text in texts if isinstance(text, str))
    return encodable(value) if value and isinstance(value, str) else ""


def _item(piece: str, puzzle: Puzzle) -> str | None:
    """The board's item that a piece of text names, or None."""
    if len(piece) > 64 + 6 * puzzle.longest_item:  # six: JSON may write an apostrophe as `\u2019`
        return None
    piece = piece.strip()
    if piece[:1] != "`" and (item := puzzle.by_plain.get(normalise(piece))):  # nearly all
        return item
    for spelling in spellings(piece):
        plain = normalise(spelling)
        if item := puzzle.by_plain.get(plain) or puzzle.by_squashed.get(squash(plain)):
            return item
    return None


def spellings(piece: str) -> Iterator[str]:
    """A piece as written, then with one layer of wrapping after the other taken off."""
    piece = piece.strip()
    if len(piece) > 2 and piece[0] == piece[-1] == "`":
        yield piece[1:-1].strip()  # before the piece itself, in which the backticks would be taken for apostrophes
    yield piece
    if _BULLET.match(piece):
        yield (piece := _BULLET.sub("", piece))
    for _ in range(4):  # **"A"** has three layers
        if len(piece) < 3 or _PAIRS.get(piece[0]) != piece[-1]:
            break
        if "\\" in piece and piece[0] == '"':
            with suppress(ValueError):
                yield str(json.loads(piece))
        piece = piece[1:-1].strip()
        yield piece
    if piece.endswith("."):
        yield piece[:-1]


def item_list(items: Iterable[str]) -> str:
    """Items as prompts and canonical guesses write them: [`A`, `B`]."""
    return "[" + ", ".join(f"`{item}`" for item in items) + "]"
