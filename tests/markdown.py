"""Fenced code blocks of a Markdown page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    file: str
    """Name in the first line's comment (``# main.py``); empty: none."""


def blocks(page: Path) -> list[Block]:
    found = []
    for language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        named = _NAME.match(text)
        found.append(Block(language, text, named[1] if named else ""))
    return found
