"""A reply read with the board in hand: its guess, its reasoning, its fitness for training, its canonical form.

Nothing here guesses at what was meant. Layout is forgiven (commas or lines, brackets, JSON, quotes, bullets, letter
case); words are not: a misspelt item stays misspelt, and a reply that can be read two ways is no guess. All of it runs
in time linear in the length of the reply.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from connections_env.game import Guess
from connections_env.puzzles import Puzzle, normalise

Asked = Literal["guess", "themes"]

_TAG = re.compile(r"<\s{0,8}(/?)\s{0,8}(think|thinking|guess|themes)\s{0,8}>", re.IGNORECASE)
_BEGUN_TAG = re.compile(r"<\s*/?\s*(?:think|thinking|guess|themes)?\s*\Z", re.IGNORECASE)
_LONGEST_BEGUN_TAG = 32  # characters of it looked at, so that cutting many stays linear
_SEPARATOR = re.compile(r"[,，、;；|\n]")
_BULLET = re.compile(r"^(?:[-*•–]|\d{1,2}[.)])\s+")
_PAIRS = {"`": "`", '"': '"', "'": "'", "“": "”", "‘": "’", "*": "*", "[": "]"}
_CONTROL_TOKEN = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]")
_LONGEST_WORD = 100  # characters kept of a word that is not on the board, so that a runaway tag stays out of records
_MOST_READINGS = 4  # kept of one number of items; two that differ are enough to know that a text is ambiguous
_EMPTY = " \t\r\n[],，、;；|"  # an answer of nothing but these is talk about the format


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of the player. `reasoning` came beside `content`; `tokens` is the endpoint's count for both."""

    content: str
    reasoning: str = ""
    finish_reason: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: Literal["thought", "said", "answer"]
    text: str


def _dissect(content: str, asked: Asked) -> list[_Piece]:
    """Cuts a reply at its tags. An answer is the inside of a complete tag pair outside of any think block."""
    pieces: list[_Piece] = []
    start, thinking, seen_think, opened = 0, False, False, False

    def cut(kind: Literal["thought", "said", "answer"], end: int) -> None:
        pieces.append(_Piece("thought" if thinking else kind, content[start:end]))

    for tag in _TAG.finditer(content):
        closing, name = bool(tag[1]), tag[2].lower()
        if name.startswith("think"):
            cut("said", tag.start())
            if closing and not seen_think:
                # Chat templates of reasoning models open the block in the prompt: all so far was thinking.
                pieces = [_Piece("thought", piece.text) for piece in pieces]
            thinking, seen_think, opened = not closing, True, False
        elif name == asked and not thinking:
            cut("answer" if closing and opened else "said", tag.start())
            opened = not closing
        else:
            cut("said", tag.start())
        start = tag.end()
    cut("said", len(content))
    return pieces


def _answers(pieces: Iterable[_Piece]) -> list[str]:
    """The different answers of a reply, in order; empty ones are none."""
    return list(dict.fromkeys(piece.text.strip() for piece in pieces if _is_answer(piece)))


def _is_answer(piece: _Piece) -> bool:
    return piece.kind == "answer" and bool(piece.text.strip(_EMPTY))


def read_guess(content: str, puzzle: Puzzle) -> Guess:
    """The one guess of a reply; the same guess written twice is one, two different ones are a problem."""
    guesses: dict[tuple[str, ...], Guess] = {}
    for text in _answers(_dissect(content, "guess")):
        guess = _read_items(text, puzzle)
        guesses.setdefault(tuple(sorted(map(normalise, guess.words))), guess)
        if len(guesses) > 1:
            return Guess(problem="several_guesses")
    return next(iter(guesses.values()), Guess(problem="no_guess"))


def _read_items(text: str, puzzle: Puzzle) -> Guess:
    """Cuts the inside of a guess tag into items, spelled as on the board where they are on it."""
    longest_run = 1 + max(len(_SEPARATOR.findall(item)) for item in puzzle.items)
    by_squashed = {_squash(plain): item for plain, item in puzzle.by_plain.items()}
    bracketed = text.startswith("[") and text.endswith("]")
    for inside in (text, text[1:-1].strip()) if bracketed else (text,):
        spans = _chunks(inside)
        if len(spans) > len(puzzle.items) * longest_run:
            break  # more pieces than the board has, however they are joined
        readings = _readings(inside, spans, longest_run, puzzle, by_squashed)
        fitting = {frozenset(words): words for words in readings if len(words) == len(set(words)) == puzzle.group_size}
        if len(fitting) > 1:
            return Guess(problem="several_guesses")
        if readings:
            return Guess(next(iter(fitting.values()), readings[0]))
    inside = text[1:-1] if bracketed else text
    return Guess(tuple(_best_effort(inside, _chunks(inside), longest_run, puzzle, by_squashed)))


def _chunks(text: str) -> list[tuple[int, int]]:
    """Spans between separators, blank ones left out."""
    bounds = [0, *(match.end() for match in _SEPARATOR.finditer(text)), len(text) + 1]
    spans = [(start, end - 1) for start, end in pairwise(bounds)]
    return [(start, end) for start, end in spans if text[start:end].strip()]


def _readings(
    text: str, spans: list[tuple[int, int]], longest_run: int, puzzle: Puzzle, by_squashed: dict[str, str]
) -> list[tuple[str, ...]]:
    """The ways of joining neighbouring chunks so that all of them are items: an item may itself hold separators.

    Of each number of items a few readings are kept, so that neither their count nor the time can explode.
    """
    ways: list[dict[int, list[tuple[str, ...]]]] = [{} for _ in spans] + [{0: [()]}]
    for i in reversed(range(len(spans))):
        for run in range(1, min(longest_run, len(spans) - i) + 1):
            if item := _item(text[spans[i][0] : spans[i + run - 1][1]], puzzle, by_squashed):
                for count, rests in ways[i + run].items():
                    ways[i].setdefault(count + 1, []).extend((item, *rest) for rest in rests)
        for readings in ways[i].values():
            readings.sort(key=lambda words: len(set(words)) < len(words))  # with a repeated item last
            del readings[_MOST_READINGS:]
    return [words for readings in ways[0].values() for words in readings if words]


def _best_effort(
    text: str, spans: list[tuple[int, int]], longest_run: int, puzzle: Puzzle, by_squashed: dict[str, str]
) -> Iterator[str]:
    """Words of a guess that is not made of items throughout: enough of them to tell what is wrong with it."""
    i = given = 0
    while i < len(spans) and given <= len(puzzle.items):
        for run in range(min(longest_run, len(spans) - i), 0, -1):
            if item := _item(text[spans[i][0] : spans[i + run - 1][1]], puzzle, by_squashed):
                break
        yield item or next(reversed([*_spellings(text[slice(*spans[i])][: 4 * _LONGEST_WORD])]))[:_LONGEST_WORD]
        i, given = i + run, given + 1


def _squash(plain: str) -> str:
    return re.sub(r"\s?([,;|])\s?", r"\1", plain)


def _item(piece: str, puzzle: Puzzle, by_squashed: dict[str, str]) -> str | None:
    """The board's item that a piece of text names, or None."""
    if len(piece) > 64 + 8 * max(map(len, puzzle.items)):  # eight: an apostrophe may come as `&apos;` or `\u2019`
        return None
    for spelling in _spellings(piece):
        plain = normalise(spelling)
        if item := puzzle.by_plain.get(plain) or by_squashed.get(_squash(plain)):
            return item
    return None


def _spellings(piece: str) -> Iterator[str]:
    """A piece as written, then with one layer of wrapping after the other taken off."""
    piece = piece.strip()
    yield piece
    if "&" in piece:
        with suppress(ValueError):  # a character reference of more digits than Python turns into a number
            yield (piece := html.unescape(piece))
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


def read_themes(content: str) -> tuple[str, ...]:
    """The themes a reply names, in its order; empty where it holds no single complete `<themes>` tag."""
    answers = _answers(_dissect(content, "themes"))
    if len(answers) != 1:
        return ()
    answer = answers[0]
    try:
        listed = json.loads(answer)
    except (ValueError, RecursionError):
        listed = None
    if isinstance(listed, list) and all(isinstance(theme, str | int | float) for theme in listed):
        return tuple(str(theme).strip() for theme in listed)
    answer = answer.removeprefix("[").removesuffix("]")
    # A theme may hold a comma, so commas separate only where nothing better does.
    parts = re.findall(r"`([^`\n]+)`", answer) or (answer.split("\n") if "\n" in answer.strip() else answer.split(","))
    bare = (list(_spellings(part.strip().rstrip(",")))[-1] if part.strip() else "" for part in parts)
    return tuple(theme for theme in bare if theme)


def reasoning_of(reply: Reply, asked: Asked = "guess") -> str:
    """`reasoning_content`, a blank line, and what `content` says before its answer, all think tags taken off."""
    texts = _TAG.split(reply.reasoning)[::3]  # the pattern has two groups: every third part is text
    for piece in _dissect(reply.content, asked):
        if _is_answer(piece):
            break
        texts.append(piece.text)
    return "\n\n".join(text for text in map(_without_begun_tags, texts) if text)


def _without_begun_tags(text: str) -> str:
    """Text without the tags it begins at its end, which would close where the next text is joined to it."""
    text = text.strip()
    end = len(text)
    while begun := _BEGUN_TAG.search(text, max(0, end - _LONGEST_BEGUN_TAG), end):
        end = begun.start()
    return text[:end].rstrip()


def unfit_reason(reply: Reply, puzzle: Puzzle, asked: Asked = "guess") -> str | None:
    """Why a reply may not enter training data, or None if it is fit."""
    if reply.finish_reason in ("length", "content_filter"):
        return "cut_off"
    if _CONTROL_TOKEN.search(reply.content) or _CONTROL_TOKEN.search(reply.reasoning):
        return "control_tokens"
    if asked == "themes":
        if not read_themes(reply.content):
            return "no_themes"
    elif problem := read_guess(reply.content, puzzle).problem:
        return problem
    return None if reasoning_of(reply, asked) else "no_reasoning"


def canonical(reasoning: str, words: Iterable[str], asked: Asked = "guess") -> str:
    """The only form in which a reply enters training data; the newlines are part of it."""
    if asked == "themes":
        return f"<think>\n{reasoning}\n</think>\n\n<themes>{json.dumps([*words], ensure_ascii=False)}</themes>"
    return f"<think>\n{reasoning}\n</think>\n\n<guess>{item_list(words)}</guess>"


def item_list(items: Iterable[str]) -> str:
    """Items as prompts and canonical guesses write them: [`A`, `B`]."""
    return "[" + ", ".join(f"`{item}`" for item in items) + "]"
