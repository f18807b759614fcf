"""A reply read with the board in hand: its guess, its reasoning, its fitness for training, its canonical form.

Nothing here guesses at what was meant: a misspelt item stays misspelt, and a reply that can be read two ways is no
guess. All of it runs in time linear in the length of the reply.
"""

import json
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from connections_env.game import Guess
from connections_env.items import encodable, item_list, read_items, spellings
from connections_env.puzzles import Puzzle, normalise

Asked = Literal["guess", "themes"]

_TAG = re.compile(r"<\s{0,8}(/?)\s{0,8}(think|thinking|guess|themes)\s{0,8}>", re.IGNORECASE)
_BEGUN_TAG = re.compile(r"<\s*/?\s*(?:think|thinking|guess|themes)?\s*\Z", re.IGNORECASE)
_OPENS, _CLOSES = "<guess>", "</guess>"
_LONGEST_BEGUN_TAG = 32  # characters of it looked at, so that cutting many stays linear
# What templates steer by, tool tags included (single tokens of Qwen3), by how it begins: a single character is found
# many times faster than a pattern.
_CONTROL_TOKENS = {
    "<": re.compile(r"<(?:\|[^|<>\s]{1,40}\||｜[^｜<>]{1,40}｜|/?s|(?:start|end)_of_turn|/?tool_(?:call|response))>"),
    "[": re.compile(r"\[/?INST\]"),
}
_CONTROL_CHARACTERS = bytes([*range(0x00, 0x09), *range(0x0E, 0x20), 0x7F])  # such as no text has
_WORD = re.compile(r"\w")  # a dash or a zero-width space is no reasoning
_EMPTY = re.compile(r"[\s\[\],，、;；|]*")  # an answer of nothing but these is talk about the format
_CUT_OFF = frozenset({"length", "max_tokens", "content_filter", "insufficient_system_resource", "abort"})


class Reply(NamedTuple):
    """One reply of the player. `reasoning` came beside `content`; `tokens` is the endpoint's count for both.

    `model` is who wrote it, empty where nobody wrote that down.
    """

    content: str
    reasoning: str = ""
    finish_reason: str | None = None
    tokens: int | None = None
    model: str = ""


def _dissect(content: str, asked: Asked) -> tuple[list[str], list[str]]:
    """A reply cut at its tags: the texts before its first answer, and its different answers.

    An answer is the inside of a complete tag pair outside of any think block; an empty one is talk about the format.
    """
    if asked == "guess" and (plain := plain_guess(content)):
        start, end = plain
        if not _EMPTY.fullmatch(content, start + len(_OPENS), end):
            return [content[:start]], [content[start + len(_OPENS) : end].strip()]
    texts: list[str] = []
    answers: list[str] = []
    for is_answer, text in _pieces(content, asked):
        if is_answer and not _EMPTY.fullmatch(text):
            answers.append(text.strip())
        elif not answers:
            texts.append(text)
    return texts, list(dict.fromkeys(answers))


def plain_guess(content: str) -> tuple[int, int] | None:
    """Where the guess tags of a reply begin that holds no other tag, as most replies do; else None.

    Finding single characters is so much faster than searching for tags that it pays to look for this first.
    """
    start = content.find("<")
    end = content.find("<", start + 1)
    if content.startswith(_OPENS, start) and content.startswith(_CLOSES, end) and content.find("<", end + 1) < 0:
        return start, end
    return None


def _pieces(content: str, asked: Asked) -> list[tuple[bool, str]]:
    """What lies between the tags of a reply, and whether it is the inside of an answer's tags."""
    pieces: list[tuple[bool, str]] = []
    start, thinking, seen_think, opened = 0, False, False, False
    for tag in _TAG.finditer(content):
        closing, name = bool(tag[1]), tag[2].lower()
        text, start, is_answer = content[start : tag.start()], tag.end(), False
        if name.startswith("think"):
            if closing and not seen_think:
                # Chat templates of reasoning models open the block in the prompt: all so far was thinking.
                pieces = [(False, earlier) for _, earlier in pieces]
            thinking, seen_think, opened = not closing, True, False
        elif name == asked and not thinking:
            is_answer, opened = closing and opened, not closing
        pieces.append((is_answer, text))
    return [*pieces, (False, content[start:])]


def read_guess(content: str, puzzle: Puzzle) -> Guess:
    """The one guess of a reply; the same guess written twice is one, two different ones are a problem."""
    return _guess_of(_dissect(content, "guess")[1], puzzle)


def _guess_of(answers: list[str], puzzle: Puzzle) -> Guess:
    if len(answers) == 1:  # by far the most replies
        return read_items(answers[0], puzzle)
    guesses: dict[tuple[str, ...], Guess] = {}
    for text in answers:
        guess = read_items(text, puzzle)
        guesses.setdefault(tuple(sorted(map(normalise, guess.words))), guess)
        if len(guesses) > 1:
            return Guess(problem="several_guesses")
    return next(iter(guesses.values()), Guess(problem="no_guess"))


def read_themes(content: str) -> tuple[str, ...]:
    """The themes a reply names, in its order; empty where it holds no single complete `<themes>` tag."""
    _, answers = _dissect(content, "themes")
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
    texts = [*_untagged(reply.reasoning), *_dissect(reply.content, asked)[0]]
    texts = [text.strip() for text in texts if _WORD.search(text)]
    return "\n\n".join([*filter(None, map(_without_begun_tags, texts[:-1])), *texts[-1:]])


def _untagged(reasoning: str) -> list[str]:
    """The texts between the tags of what came beside the content."""
    return _TAG.split(reasoning)[::3] if reasoning else []  # the pattern has two groups: every third part is text


def _without_begun_tags(text: str) -> str:
    """Text without the tags begun at its end, which would close where the next text is joined to it."""
    end = len(text)
    while begun := _BEGUN_TAG.search(text, max(0, end - _LONGEST_BEGUN_TAG), end):
        end = begun.start()
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end]


def control_token(text: str) -> str | None:
    """A thing in a text that would steer a chat template or a tokenizer, or None."""
    for begins, pattern in _CONTROL_TOKENS.items():
        if (start := text.find(begins)) >= 0 and (found := pattern.search(text, start)):
            return found[0]
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw.translate(None, _CONTROL_CHARACTERS)) == len(raw):
        return None
    return next(character for character in text if character in _CONTROL_CHARACTERS.decode())


def read_reply(reply: Reply, puzzle: Puzzle) -> tuple[Guess, str | None]:
    """The guess of a reply, and why the reply may not enter training data (None if it may), read in one go."""
    said, answers = _dissect(reply.content, "guess")
    guess = _guess_of(answers, puzzle)
    return guess, _unfit(reply, said, guess.problem or (None if guess.words else "no_guess"))


def unfit_reason(reply: Reply, puzzle: Puzzle, asked: Asked = "guess") -> str | None:
    """Why a reply may not enter training data, or None if it is fit."""
    return read_reply(reply, puzzle)[1] if asked == "guess" else unfit_by_form(reply, asked, None)


def unfit_by_form(reply: Reply, asked: Asked, problem: str | None) -> str | None:
    """The same where the guess has been read already; `problem` is why it is none."""
    if asked == "themes" and not read_themes(reply.content):
        problem = "no_themes"
    return _unfit(reply, _dissect(reply.content, asked)[0], problem)


def _unfit(reply: Reply, said: list[str], problem: str | None) -> str | None:
    if reply.finish_reason in _CUT_OFF:
        return "cut_off"
    if control_token(reply.content) or (reply.reasoning and control_token(reply.reasoning)):
        return "control_tokens"
    return problem or (None if any(map(_WORD.search, [*said, *_untagged(reply.reasoning)])) else "no_reasoning")


def canonical(reasoning: str, words: Iterable[str], asked: Asked = "guess") -> str:
    """The only form in which a reply enters training data; the newlines are part of it."""
    if asked == "themes":
        return f"<think>\n{reasoning}\n</think>\n\n<themes>{json.dumps([*words], ensure_ascii=False)}</themes>"
    return f"<think>\n{reasoning}\n</think>\n\n<guess>{item_list(words)}</guess>"
