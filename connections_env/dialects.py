"""How the replies of another tool's row say their guesses, brought to tags of ours.

A row is of one dialect throughout: calls of a tool; else guess and answer tags; else, where neither its prompt nor a
reply has such tags, the first of the others that lets a reply name as many items of the board as a group has: tags of
other names, JSON, a marked line, or a last line that is nothing but the guess.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from connections_env.items import text_of
from connections_env.parsing import Reply, read_guess
from connections_env.puzzles import SEPARATOR, Puzzle, normalise
from connections_env.tags import THOUGHTS, reply_from

Messages = Sequence[Mapping[str, Any]]
Said = tuple[str, list[str]]
"""What is said before a guess, and every guess as text."""

_NAMED = re.compile(r"<\s{0,8}/?\s{0,8}(?:guess|answer)\s{0,8}>", re.IGNORECASE)
_THOUGHT = re.compile(rf"<\s{{0,8}}(/?)\s{{0,8}}(?:{'|'.join(sorted(THOUGHTS))})\s{{0,8}}>", re.IGNORECASE)
_OTHER_TAG = re.compile(r"<([a-z_]{1,30})>([^<>]{3,2000})</\1>", re.IGNORECASE)
_FENCED = re.compile(r"```(?:json)?\s([^`]*)```")
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\\text\{[^{}]*\})*)\}")
_MARKED = re.compile(
    r"^[\s*#>_-]{0,9}(?:(?:my|the|final|next|first) ){0,3}(?:guess|answer)[\s*_]{0,5}:[\s*_]{0,5}(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_GUESSING = re.compile("guess|submit|answer|select|group|connect", re.IGNORECASE)
_KEYS = ("guess", "guesses", "words", "items", "members", "group", "groups", "answer", "selection", "final_answer")
_NUMBERED = re.compile(r"[a-z_]*\d{1,2}", re.IGNORECASE)
_LONGEST_JSON = 20_000  # characters at the end of a reply
_MOST_BEGINNINGS = 24  # places tried at which it may begin
_LEAST_GROUPS = 3  # named in an answer to the whole board; two are two guesses at once


def replies_of(said: Messages, told: Messages, puzzle: Puzzle) -> list[Reply]:
    """The replies that assistant messages hold; `told` are those of the prompt."""
    if any(message.get("tool_calls") for message in said):
        guessing = _guessing(said)
        return [_reply(message, _called(message, guessing)) for message in said]
    if not has_tags(said) and not has_tags(told):
        for dialect in (_other_tags, _json_at_the_end, _marked, _last_line):
            replies = [_reply(message, _translated(text_of(message.get("content")), dialect)) for message in said]
            if any(_names_a_group(reply, puzzle) for reply in replies):
                return replies
    return tagged(said)


def tagged(said: Messages) -> list[Reply]:
    """The replies of messages that say their guesses in tags, if at all."""
    return [_reply(message, message.get("content")) for message in said]


def has_tags(messages: Messages) -> bool:
    return any(_NAMED.search(text_of(message.get("content"))) for message in messages)


def _reply(message: Mapping[str, Any], content: Any) -> Reply:
    return reply_from(content, message.get("reasoning_content") or message.get("reasoning"))


def _names_a_group(reply: Reply, puzzle: Puzzle) -> bool:
    words = read_guess(reply.content, puzzle).words
    return len(words) == puzzle.group_size and puzzle.group_of.keys() >= {*words}


def _in_tags(before: str, guesses: Sequence[str]) -> str:
    return "\n".join([*filter(None, [before.strip()]), *(f"<guess>{guess}</guess>" for guess in guesses)])


# Tool calls


def _guessing(said: Messages) -> set[str]:
    """The names of the tools by which a row guesses: those that sound like it, or the only one there is."""
    names = {name for message in said for name, _ in _calls(message)}
    return {name for name in names if _GUESSING.search(name)} or (names if len(names) == 1 else set())


def _called(message: Mapping[str, Any], guessing: set[str]) -> str:
    """What a message says and the guesses that it makes by calls, in our tags."""
    before, guesses = [text_of(message.get("content"))], list[str]()
    for name, arguments in _calls(message):
        if name in guessing:
            why, words = guesses_in(arguments)
            before.append(why)
            guesses += words
    return _in_tags("\n\n".join(filter(None, before)), guesses)


def _calls(message: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and arguments of each call. Both may stand in a `function`; a call and its arguments may be JSON as text."""
    calls = message.get("tool_calls")
    for call in map(_from_json, calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            function = call.get("function")
            inner = function if isinstance(function, dict) else call
            yield str(inner.get("name")), _from_json(inner.get("arguments"))


def _from_json(value: Any) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(value) if isinstance(value, str) else value
    return None


# Text. Each dialect gives what is said before the first guess of a text and all guesses, None where there is none.


def _translated(content: str, dialect: Callable[[str], Said | None]) -> str:
    """A reply with its guesses, which stand behind its thoughts, in our tags; what comes after them is dropped."""
    thoughts = list(_THOUGHT.finditer(content))
    if thoughts and not thoughts[-1][1]:
        return content  # it was cut off while thinking
    start = thoughts[-1].end() if thoughts else 0
    found = dialect(content[start:])
    return _in_tags(content[:start] + found[0], found[1]) if found else content


def _other_tags(text: str) -> Said | None:
    tags = list(_OTHER_TAG.finditer(text))
    last = [tag for tag in tags if tag[1] == tags[-1][1]]
    return (text[: last[0].start()], [tag[2].strip() for tag in last]) if last else None


def _marked(text: str) -> Said | None:
    if boxes := list(_BOXED.finditer(text)):
        return text[: boxes[0].start()], [re.sub(r"\\text\{([^{}]*)\}", r"\1", box[1]) for box in boxes]
    lines = list(_MARKED.finditer(text))
    return (text[: lines[0].start()], [line[1].rstrip(" *_\r") for line in lines]) if lines else None


def _last_line(text: str) -> Said | None:
    before, _, line = text.rstrip().rpartition("\n")
    return (before, [line]) if SEPARATOR.search(line) else None


def _json_at_the_end(text: str) -> Said | None:
    for start, inside in _ends_in_json(text.rstrip()):
        before, guesses = guesses_in(_from_json(inside))
        if guesses:
            return f"{text[:start].strip()}\n\n{before}", guesses
    return None


def _ends_in_json(text: str) -> Iterator[tuple[int, str]]:
    """Ends of a text that may be JSON, the longest first, and where they begin: fenced, or from a bracket on."""
    if fenced := next(reversed([*_FENCED.finditer(text)]), None):
        yield fenced.start(), fenced[1]
    elif text[-1:] in ("}", "]"):
        from_here = max(0, len(text) - _LONGEST_JSON)
        starts = [match.start(1) for match in re.compile(r"(?:^|[\s:])([\[{])").finditer(text, from_here)]
        yield from ((start, text[start:]) for start in starts[-_MOST_BEGINNINGS:])


def guesses_in(value: Any) -> Said:
    """What a JSON value says before its guess, and its guesses: lists of words, or words in a text."""
    if isinstance(value, str):
        return "", [value] if SEPARATOR.search(value) else []
    if isinstance(value, list):
        if len(value) > 1 and all(isinstance(word, str | int | float) for word in value):
            return "", [json.dumps(value, ensure_ascii=False)]
        return "", [guess for one in value if isinstance(one, list | dict) for guess in guesses_in(one)[1]]
    if not isinstance(value, dict):
        return "", []
    names = {name: str(name).lower() for name in value}
    held = sorted((_KEYS.index(known), name) for name, known in names.items() if known in _KEYS)
    found = next(((name, guesses) for _, name in held if (guesses := guesses_in(value[name])[1])), None)
    if found is None and (lists := [name for name in value if isinstance(value[name], list | dict)]):
        found = lists[0], [guess for name in lists for guess in guesses_in(value[name])[1]]
    if found is None:
        numbered = [name for name in value if _NUMBERED.fullmatch(name) and isinstance(value[name], str)]
        if len(numbered) < 2:
            return "", []
        found = numbered[0], [json.dumps([value[name] for name in numbered], ensure_ascii=False)]
    before = [value[name] for name in [*value][: [*value].index(found[0])] if isinstance(value[name], str)]
    return "\n\n".join(before), found[1]


# Answers to the whole board at once


def answers_all(said: Messages, told: Messages, puzzle: Puzzle) -> bool:
    """Does a reply name the groups of the board all at once, as environments of a single turn ask for?

    Of a conversation that has tags, only what is in them is an answer.
    """
    tags = has_tags(said) or has_tags(told)
    if not tags and len(said) > 1:
        return False
    need = min(len(puzzle.groups), max(_LEAST_GROUPS, len(puzzle.groups) - 1))
    answers = [_named(_answer(text_of(one.get("content")), tags=tags), puzzle) for one in said]
    return any(items >= need * puzzle.group_size and (tags or in_full >= need) for in_full, items in answers)


def _answer(content: str, *, tags: bool) -> str:
    thoughts = list(_THOUGHT.finditer(content))
    content = content[thoughts[-1].end() if thoughts else 0 :]
    if not tags:
        return content
    found = list(_NAMED.finditer(content))
    return content[found[0].end() : found[-1].start()] if found else ""


def _named(text: str, puzzle: Puzzle) -> tuple[int, int]:
    """How many lines or lists of a text name as many items as a group has, and how many items all of it names."""
    items = sorted(puzzle.by_plain, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, items))})(?!\w)")
    named, in_full = set[str](), 0
    for piece in re.split(r"[\n\]};|]|</", text):
        words = set(pattern.findall(normalise(piece)))
        # A theme may be a word of the board too.
        in_full += puzzle.group_size <= len(words) <= puzzle.group_size + 1 and len(words & named) <= 1
        named |= words
    return in_full, len(named)
