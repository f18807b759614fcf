"""Which side of a dataset a puzzle is on: told by its items alone, so that it stays there from run to run."""

import hashlib
from argparse import ArgumentTypeError
from collections.abc import Collection, Mapping


def place(key: str) -> float:
    """Where a board's key lies between 0 and 1, evenly, and the same on every machine and in every release."""
    digest = hashlib.sha256(f"split\0{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def for_test(keys: Collection[str], size: float, earlier: Mapping[str, str]) -> set[str]:
    """The keys of the test split: a share of all where `size` is below 1, else so many.

    By a share, each puzzle is placed by itself, whatever else there is. By number, those placed lowest are taken; a
    puzzle with a side in the `earlier` dataset (key -> split) keeps it, or new puzzles would push others out of test.
    """
    if size < 1:
        return {key for key in keys if place(key) < size}
    if "test" not in earlier.values():
        earlier = {}  # it was not split at all
    stay = {key for key in keys if earlier.get(key) == "test"}
    new = sorted((key for key in keys if key not in earlier), key=place)
    return stay | set(new[: max(int(size) - len(stay), 0)])


def share_or_number(text: str) -> float:
    """The value of `--test-size`."""
    try:
        size = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not (0 <= size < 1 or (size >= 1 and size.is_integer())):
        raise ArgumentTypeError(f"{text} is neither a share below 1 nor a whole number of puzzles")
    return size


def rule(size: float, counts: Mapping[str, int]) -> str:
    """The rule in words, for the dataset's card."""
    if not size:
        return "There is one split, `train`."
    how = f"{100 * size:.3g}% of all puzzles" if size < 1 else f"{size:.0f} puzzles"
    kept = "" if size < 1 else ", as long as it takes the place of the one before"
    sides = ", ".join(f"{count:,} in `{name}`" for name, count in counts.items())
    return (
        f"Split by puzzle: {sides}. A puzzle is its set of items, whatever their order and letter case, and a SHA-256 "
        f"hash of the set places it: {how} go to `test`, the same ones in every configuration, and a puzzle keeps its "
        f"side when the dataset grows{kept}."
    )
