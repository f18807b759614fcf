"""A report read back: what its blocks hold, and what a browser would take for elements of it."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Elements(HTMLParser):
    """The start tags of a page, and the text inside of its scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.cdata_elem:  # inside of a script or a style
            self.inside.append((self.cdata_elem, data))


def blocks(path: Path) -> dict[str, str]:
    """Name -> text of the data of a page."""
    found = re.findall(r'<script type="text/plain" id="([\w-]+)">([^<]*)</script>', path.read_text(encoding="utf-8"))
    return {name: gzip.decompress(base64.b64decode(data)).decode() for name, data in found}


def overview(path: Path) -> dict[str, Any]:
    return json.loads(blocks(path)["overview"])


def listed(path: Path) -> list[dict[str, Any]]:
    """The rows of the list, the names they share put in."""
    index = json.loads(blocks(path)["index"])
    rows = [dict(zip(index["fields"], row, strict=True)) for row in index["rows"]]
    for row in rows:
        row["puzzle"] = index["puzzles"][row["puzzle"]][0]
        row["file"] = index["files"][row["file"]]
        row["model"] = index["models"][row["model"]]
        row["reason"] = None if row["reason"] is None else index["reasons"][row["reason"]]
        row["ended"] = index["endings"][row["ended"]]
    return rows


def game(path: Path, rollout_id: str) -> dict[str, Any]:
    """All that was said in a game."""
    row = next(row for row in listed(path) if row["rollout"] == rollout_id)
    return json.loads(blocks(path)[f"block-{row['block']}"].split("\n")[row["place"]])
