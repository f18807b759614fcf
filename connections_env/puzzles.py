"""A puzzle: a board of items that divides into groups, and when two boards are the same puzzle.

Pure: loading puzzles from disk or hub is the business of `sources.py`.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

# Twins that keyboards, editors and models swap for one another. Translated before NFKC, which would turn the acute
# accent into a space and the double prime into two primes. The backtick is here because models write O`CLOCK.
_TWINS = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′ʼ´`", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑–−", "-"),
        # Invisible: zero-width spaces, direction marks, soft hyphen, emoji and text variation selectors. The
        # zero-width joiner stays, since it makes one emoji of several.
        **dict.fromkeys("\u200b\u2060\ufeff\u200e\u200f\u00ad\ufe0e\ufe0f"),
    }
)


_LONGEST_REMEMBERED = 64  # characters

SEPARATOR = re.compile(r"[,，、;；|\n]")
"""What parts items in a list, and may also occur inside an item."""


def normalise(text: str) -> str:
    """The form in which items are compared: NFKC, no letter case, straight quotes, single spaces. Idempotent."""
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _normalised(text)


def _normalised(text: str) -> str:
    if text.isascii():
        return " ".join(text.translate(_TWINS).lower().split())
    before = None
    while text != before:  # case folding and NFKC can each undo the other's work; both settle within three rounds
        before = text
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.translate(_TWINS)).casefold())
    return " ".join(text.split())


_remembered = lru_cache(maxsize=16_384)(_normalised)  # a board's items are looked up again with every guess


def squash(plain: str) -> str:
    """Normalised text without the spaces around separators, which no two writers set alike."""
    return re.sub(r"\s?([,;|])\s?", r"\1", plain)


def board_key(items: Iterable[str]) -> str:
    """A puzzle's identity: its set of normalised items, whatever their order, case and label."""
    return "\n".join(sorted({normalise(item) for item in items}))


def derived_id(items: Iterable[str]) -> str:
    """An id for a board that came without one; the same board always gets the same."""
    return f"board-{board_hash(items)[:12]}"


def board_hash(items: Iterable[str]) -> str:
    """A hash of a board's key, in hexadecimal digits."""
    return hashlib.sha256(board_key(items).encode("utf-8", "replace")).hexdigest()


def shuffled(items: Sequence[str]) -> tuple[str, ...]:
    """A board order that depends on the set of items alone, the same on every machine and in every release.

    Sorting by a digest is used because the algorithm behind `random.shuffle` is not promised to stay.
    """
    key = board_key(items)
    return tuple(
        sorted(items, key=lambda item: hashlib.sha256(f"{key}\0{normalise(item)}".encode("utf-8", "replace")).digest())
    )


class UnplayableBoard(ValueError):
    """A board that no game can be played on; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Group:
    """One group of a board. `linking_terms` are words of which a right naming of the theme holds at least one."""

    theme: str
    members: tuple[str, ...]
    linking_terms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Puzzle:
    """A board and its answer key. `items` is the order in which the board is shown.

    Raises `UnplayableBoard` for blank or duplicate items, uneven groups, or items that are not those of the groups.
    """

    puzzle_id: str
    items: tuple[str, ...]
    groups: tuple[Group, ...]
    title: str = ""
    difficulty: float | None = None
    source: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        sizes = [len(group.members) for group in self.groups]
        members = [item for group in self.groups for item in group.members]
        if len(sizes) < 2:
            raise UnplayableBoard(f"{len(sizes)} group(s); at least 2 are needed")
        if len(set(sizes)) > 1:
            raise UnplayableBoard(f"uneven groups of {', '.join(map(str, sizes))} items")
        if sizes[0] < 2:
            raise UnplayableBoard("groups of fewer than 2 items")
        seen: dict[str, str] = {}
        for item in members:
            if not (plain := normalise(item)):
                raise UnplayableBoard("blank item")
            if plain in seen:
                raise UnplayableBoard(f"duplicate item {item!r}")
            seen[plain] = item
        if sorted(map(normalise, self.items)) != sorted(seen):
            raise UnplayableBoard("the board's items are not those of its groups")

    @cached_property
    def key(self) -> str:
        return board_key(self.items)

    @cached_property
    def by_plain(self) -> dict[str, str]:
        """Normalised item -> item as spelled on the board."""
        return {normalise(item): item for item in self.items}

    @cached_property
    def by_squashed(self) -> dict[str, str]:
        """Squashed item -> item as spelled on the board."""
        return {squash(plain): item for plain, item in self.by_plain.items()}

    @cached_property
    def longest_run(self) -> int:
        """Most chunks that an item falls into when text is cut at every separator."""
        return 1 + max(len(SEPARATOR.findall(item)) for item in self.items)

    @cached_property
    def longest_item(self) -> int:
        return max(map(len, self.items))

    @cached_property
    def group_of(self) -> dict[str, int]:
        """Item as spelled on the board -> index of its group."""
        return {self.by_plain[normalise(item)]: i for i, group in enumerate(self.groups) for item in group.members}

    @property
    def group_size(self) -> int:
        return len(self.groups[0].members)


if __name__ == "__main__":
    from connections_env.catalogue import main

    raise SystemExit(main())
