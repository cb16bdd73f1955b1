"""YAML as a tree that remembers its lines, read strictly.

Where YAML 1.1 and 1.2 readers disagree about a plain scalar (``yes``, ``012``, ``1:30``, ``1_000``) it becomes an
Ambiguous, which no field accepts: kubectl and Evoke must never read one file differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

Step: TypeAlias = str | int
Path: TypeAlias = tuple[Step, ...]


class Ambiguous(msgspec.Struct, frozen=True):
    """A plain scalar that YAML readers disagree about."""

    text: str
    meanings: str


class Node:
    """A value and the 1-based line it stands on. Mappings hold (line of the key, node)."""

    __slots__ = ("line", "size", "value")

    def __init__(self, value: Any, line: int, size: int = 1) -> None:
        self.value, self.line, self.size = value, line, size

    def plain(self) -> Any:
        """The value without lines; scalars stay as they are."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, (_, node) in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def line_of(self, path: Path) -> int:
        """Line of *path*, or of the deepest part of it that is there."""
        node, line = self, self.line
        for step in path:
            inner = node.value
            if isinstance(inner, dict) and step in inner:
                line, node = inner[step]
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                node = inner[step]
                line = node.line
            else:
                break
        return line


def text_of(path: Path) -> str:
    """``spec.triggers.dapr[0].name``; keys that are no words stand in quotes."""
    return "".join(_steps(path)).lstrip(".")


def _steps(path: Path) -> Iterator[str]:
    for step in path:
        if isinstance(step, int):
            yield f"[{step}]"
        elif re.fullmatch(r"[\w-]{1,80}", step):
            yield f".{step}"
        else:
            yield f'["{step[:80]}"]'


_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_MAYBE = {"yes", "no", "on", "off", "y", "n"}
_INT = re.compile(r"[-+]?(0|[1-9]\d{0,18})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d{1,30}\.\d{0,30}|\.\d{1,30}|\d{1,30})([eE][-+]?\d{1,4})?", re.ASCII)
_OCTAL = re.compile(r"[-+]?0\d+|0o[0-7]+", re.ASCII)
_OTHER = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0b[01_]+)", re.ASCII)
_SIXTY = re.compile(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?", re.ASCII)
_UNDER = re.compile(r"[-+]?\d[\d_]*_[\d_]*(\.[\d_]*)?", re.ASCII)
_HUGE = re.compile(r"[-+]?[\d.]+[eE]\+?([4-9]\d\d|3[1-9]\d|\d{4,})", re.ASCII)
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
_DOUBTFUL = (
    (_OCTAL, "octal to some YAML readers and decimal or text to others"),
    (_SIXTY, "a number in base 60 to some YAML readers and text to others"),
    (_UNDER, "a number to some YAML readers and text to others"),
    (_OTHER, "a number to some YAML readers and text to others"),
    (_SPECIAL, "no number in JSON"),
    (_HUGE, "too large for a number in JSON"),
)


def scalar(text: str) -> Any:
    """What the plain scalar *text* means."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text.lower() in _MAYBE:
        return Ambiguous(text, "a boolean to some YAML readers and text to others")
    return _number(text) if len(text) <= 64 and text[0] in "+-.0123456789" else text


def _number(text: str) -> Any:
    """A number, what may be one, or text after all."""
    if _INT.fullmatch(text):
        return int(text)
    for form, meanings in _DOUBTFUL:
        if form.fullmatch(text):
            return Ambiguous(text, meanings)
    return float(text) if _FLOAT.fullmatch(text) and set(text) & set(".eE") else text
