"""What a command line may hold: its parser, the types of its values, and what is said where one is wrong."""

import argparse
import json
import math
import os
import re
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import urlsplit

DEFAULT_BASE_URL = "https://api.deepseek.com"
# What the rollout loop itself decides, or could not read.
RESERVED_IN_BODY = ("messages", "model", "n", "stream")


class UsageError(Exception):
    """Something known to be wrong before the first request; the message is one line that names the way out."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like every other error here, instead of after a screen of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def command_parser(description: str | None, prog: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring; flags must be written out."""
    return _Parser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def at_least(least: float, kind: Callable[[str], Any] = int) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not math.isfinite(value) or value < least:
            raise argparse.ArgumentTypeError(f"{text} is not a number of {least:g} or more")
        return value

    return number


def between(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value: float = at_least(least, float)(text)
        if value > most:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least:g} to {most:g}")
        return value

    return number


def variable_name(text: str) -> str:
    """A variable's name; the text is not repeated where it is none, since it may be the key."""
    name = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text, re.ASCII)
    if not name or (text != text.upper() and text not in os.environ):
        raise argparse.ArgumentTypeError("takes the name of an environment variable, not the key itself")
    return text


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        # What cannot be sent: NaN, numbers too large, halves of characters.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('give a JSON object like \'{"thinking": {"type": "disabled"}}\'')
    if reserved := sorted(set(value) & set(RESERVED_IN_BODY)):
        raise argparse.ArgumentTypeError(f"{', '.join(reserved)} cannot be set here")
    return value


def base_url(text: str) -> str:
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        usable = False
    if not usable:
        shown = text.rpartition("@")[2]  # what stands before it may be a password
        raise argparse.ArgumentTypeError(f"{shown!r} is no URL like {DEFAULT_BASE_URL} or http://127.0.0.1:8080/v1")
    return text
