"""A reply read with the board in hand: its guess, its reasoning, its fitness for training, its canonical form.

Nothing here guesses at what was meant: a misspelt item stays misspelt, and a reply that can be read two ways is no
guess. All of it runs in time linear in the length of the reply.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from connections_env.game import Guess
from connections_env.items import encodable, item_list, read_items, spellings
from connections_env.puzzles import Puzzle, normalise

Asked = Literal["guess", "themes"]

_TAG = re.compile(r"<\s{0,8}(/?)\s{0,8}(think|thinking|guess|themes)\s{0,8}>", re.IGNORECASE)
_BEGUN_TAG = re.compile(r"<\s*/?\s*(?:think|thinking|guess|themes)?\s*\Z", re.IGNORECASE)
_LONGEST_BEGUN_TAG = 32  # characters of it looked at, so that cutting many stays linear
# What templates steer by, tool tags included (single tokens of Qwen3), and characters no text has.
_CONTROL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|</?tool_(?:call|response)>"
    r"|[\x00-\x08\x0e-\x1f\x7f]"
)
_CONTROL_START = re.compile(r"[<\[\x00-\x08\x0e-\x1f\x7f]")  # found ten times faster than what it may begin
_WORD = re.compile(r"\w")  # a dash or a zero-width space is no reasoning
_EMPTY = re.compile(r"[\s\[\],，、;；|]*")  # an answer of nothing but these is talk about the format
_CUT_OFF = frozenset({"length", "max_tokens", "content_filter", "insufficient_system_resource", "abort"})


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
    return piece.kind == "answer" and not _EMPTY.fullmatch(piece.text)


def read_guess(content: str, puzzle: Puzzle) -> Guess:
    """The one guess of a reply; the same guess written twice is one, two different ones are a problem."""
    guesses: dict[tuple[str, ...], Guess] = {}
    for text in _answers(_dissect(content, "guess")):
        guess = read_items(text, puzzle)
        guesses.setdefault(tuple(sorted(map(normalise, guess.words))), guess)
        if len(guesses) > 1:
            return Guess(problem="several_guesses")
    return next(iter(guesses.values()), Guess(problem="no_guess"))


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
        return tuple(encodable(str(theme)).strip() for theme in listed)
    answer = answer.removeprefix("[").removesuffix("]")
    # A theme may hold a comma, so commas separate only where nothing better does.
    parts = re.findall(r"`([^`\n]+)`", answer) or (answer.split("\n") if "\n" in answer.strip() else answer.split(","))
    bare = (list(spellings(part.strip().rstrip(",")))[-1] if part.strip() else "" for part in parts)
    return tuple(encodable(theme) for theme in bare if theme)


def reasoning_of(reply: Reply, asked: Asked = "guess") -> str:
    """`reasoning_content`, a blank line, and what `content` says before its answer, all think tags taken off."""
    texts = _TAG.split(reply.reasoning)[::3]  # the pattern has two groups: every third part is text
    for piece in _dissect(reply.content, asked):
        if _is_answer(piece):
            break
        texts.append(piece.text)
    texts = [text.strip() for text in texts if _WORD.search(text)]
    return "\n\n".join([*filter(None, map(_without_begun_tags, texts[:-1])), *texts[-1:]])


def _without_begun_tags(text: str) -> str:
    """Text without the tags begun at its end, which would close where the next text is joined to it."""
    end = len(text)
    while begun := _BEGUN_TAG.search(text, max(0, end - _LONGEST_BEGUN_TAG), end):
        end = begun.start()
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end]


def control_token(text: str) -> str | None:
    """The first thing in a text that would steer a chat template or a tokenizer, or None."""
    begun = _CONTROL_START.search(text)
    found = begun and _CONTROL_TOKEN.search(text, begun.start())
    return found and found[0]


def unfit_reason(reply: Reply, puzzle: Puzzle, asked: Asked = "guess") -> str | None:
    """Why a reply may not enter training data, or None if it is fit."""
    return unfit_by_form(reply, asked, read_guess(reply.content, puzzle).problem if asked == "guess" else None)


def unfit_by_form(reply: Reply, asked: Asked, problem: str | None) -> str | None:
    """The same where the guess has been read already; `problem` is why it is none."""
    if reply.finish_reason in _CUT_OFF:
        return "cut_off"
    if control_token(reply.content) or control_token(reply.reasoning):
        return "control_tokens"
    if asked == "themes":
        if not read_themes(reply.content):
            return "no_themes"
    elif problem:
        return problem
    return None if reasoning_of(reply, asked) else "no_reasoning"


def canonical(reasoning: str, words: Iterable[str], asked: Asked = "guess") -> str:
    """The only form in which a reply enters training data; the newlines are part of it."""
    if asked == "themes":
        return f"<think>\n{reasoning}\n</think>\n\n<themes>{json.dumps([*words], ensure_ascii=False)}</themes>"
    return f"<think>\n{reasoning}\n</think>\n\n<guess>{item_list(words)}</guess>"
